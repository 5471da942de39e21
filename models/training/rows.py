"""Rows for training: crops of pieces, augmented, encoded, with what conditions them.

A row is a run of ids that starts at a note's border; where a piece ends inside it, the next one
begins with its header of three ids (start, drums, number of channels). Headers and notes are
multiples of three ids long, so the kind of the id at any place follows from the place alone.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from models.engines.pocket.features import (
    BEAT_COLUMNS,
    CHORD,
    GRID_UNKNOWN,
    LEFT,
    LEFT_BARS,
    PHRASE,
    TICK_BINS,
    GlobalFeatures,
    grid,
    outline,
)
from models.engines.pocket.memory import LAGS, NOTHING, nothing, remember, ticks
from models.music.attributes import Attributes, attributes_of
from models.music.form.chords import transposed
from models.music.score.measures import CLASS_OF_METRE
from models.music.score.programs import CHANNELS, DRUMS
from models.music.vocabulary.los_angeles import (
    CHANNEL_COUNT,
    DURATION_STEP_MS,
    NO_DRUMS,
    START,
    TIME_STEP_MS,
    WITH_DRUMS,
    triplets,
)
from models.training.corpus import Corpus
from models.training.form import Form, form_of

SHORTEST_CROP = 32  # notes
_COLUMNS = {"chords": slice(CHORD, None), "phrases": slice(PHRASE, PHRASE + 1), "bars left": slice(LEFT_BARS, LEFT_BARS + 1)}
_SOURCES = {"memory": slice(len(LAGS)), "returns": slice(len(LAGS), None)}
PLANNED = (*_COLUMNS, *_SOURCES)
"""What the network is told besides attributes and beat."""
_FORGET_RATES = {"chords": 0.2, "phrases": 0.25, "bars left": 0.25, "memory": 0.08, "returns": 0.3}
_COMPOUND_WEIGHT = 2.0  # such pieces are one in seven, and a take in 6/8 is heard as one only if its beat is


@dataclass(frozen=True)
class Segment:
    """Part of one piece: ids (n,), grid features of each id (n, GRID_COLUMNS), bar memory (n, ...), attributes."""

    ids: np.ndarray
    grid: np.ndarray
    memory: np.ndarray
    marks: np.ndarray
    attributes: Attributes


@dataclass(frozen=True)
class Batch:
    ids: np.ndarray  # (rows, length + 1)
    grid: np.ndarray  # (rows, length, GRID_COLUMNS)
    segment: np.ndarray  # (rows, length): which of the row's pieces a position belongs to
    attributes: np.ndarray  # (rows, segments, features)
    memory: np.ndarray  # (rows, length, SOURCES)
    marks: np.ndarray  # (rows, length, MARKS)


def segment_of(
    piece: np.ndarray, attributes: Attributes, first: int, count: int, *, form: Form | None = None, semitones: int = 0,
    stretch: float = 1.0, clock_offset_ms: float = 0.0,
) -> Segment:
    """Encode `count` notes of a piece from `first` on, transposed and stretched in time.

    With `first` 0 the header stands in front. Density and instruments are measured from the crop; bar memory reaches
    back beyond it. `form` holds the labels of the whole piece, where they have been made before.
    """
    form = form or form_of(piece)
    heard = piece[:first + count]
    onset_ms = heard["onset_ms"].astype(np.float64) * stretch
    start = np.floor(onset_ms / TIME_STEP_MS).astype(np.int64)
    pitch = heard["pitch"].astype(np.int64)
    pitch = np.where(heard["channel"] == DRUMS, pitch, np.clip(pitch + semitones, 1, 127))
    order = np.lexsort((-pitch, start))
    order = np.concatenate((order[order < first], order[order >= first]))  # the crop's notes last
    rows = np.stack((
        start, np.floor(heard["duration_ms"] * stretch / DURATION_STEP_MS).astype(np.int64),
        heard["channel"].astype(np.int64), pitch, heard["velocity"].astype(np.int64),
    ), axis=1)[order]
    ids = triplets(rows)
    crop, onset_ms, start = heard[first:], onset_ms[first:], start[first:]
    quarter_ms = crop["quarter_ms"].astype(np.float64) * stretch
    late_ms = (start * TIME_STEP_MS + TIME_STEP_MS / 2 + clock_offset_ms) - onset_ms
    in_bar = np.maximum(np.floor((crop["quarters_in_bar"] + late_ms / quarter_ms) * TICK_BINS + 0.5), 0)
    left = len(piece) - 1 - first - np.arange(len(crop))
    bar = crop["bar"].astype(np.int64)
    chords = [transposed(chords[first:first + count], semitones) for chords in (form.chord, form.next_chord)]
    features = np.concatenate((
        grid(quarter_ms, in_bar, left), outline(bar, int(piece["bar"][-1]) - bar, *chords)), axis=1)
    features = features[order[first:] - first].repeat(3, axis=0)
    features[:, LEFT] = grid(quarter_ms, in_bar, left)[:, LEFT].repeat(3)
    memory, marks = (part[3 * first:] for part in _memory(heard[order], ids, form, stretch))
    channels = np.unique(crop["channel"])
    seconds = max((onset_ms[-1] - onset_ms[0]) / 1000, 0.5)
    flat = ids[first:].ravel()
    if not first:
        drums = WITH_DRUMS if DRUMS in channels else NO_DRUMS
        flat = np.concatenate(([START, drums, CHANNEL_COUNT + len(channels)], flat))
        features = np.concatenate((features[:1].repeat(3, axis=0), features))
        memory, marks = (np.concatenate(parts) for parts in zip(nothing(3), (memory, marks), strict=True))
    tonic = None if attributes.tonic is None else (attributes.tonic + semitones) % 12
    return Segment(flat, features, memory, marks, replace(
        attributes, tonic=tonic, density=len(crop) / seconds,
        instruments=tuple(CHANNELS[channel] for channel in channels)))


def _memory(notes: np.ndarray, ids: np.ndarray, form: Form, stretch: float) -> tuple[np.ndarray, np.ndarray]:
    """Bar memory of notes from the beginning of a piece, as `remember` has it."""
    place, bar = ticks(notes["quarters"]), notes["bar"].astype(np.int64)
    starts = np.zeros(len(form.returns), dtype=np.int64)
    starts[bar[::-1]] = (place - ticks(notes["quarters_in_bar"]))[::-1]
    returns = form.returns[bar]
    return remember(
        place, ticks(notes["bar_quarters"]), notes["quarter_ms"] * stretch / TICK_BINS / TIME_STEP_MS, ids,
        starts[bar] - starts[np.maximum(returns, 0)], form.level[bar])


def forget(features: np.ndarray, memory: np.ndarray, names: Collection[str]) -> None:
    """Make what is named, of PLANNED, unknown in grid features and bar memory, in place."""
    for name in names:
        if name in _COLUMNS:
            features[:, _COLUMNS[name]] = GRID_UNKNOWN[_COLUMNS[name]]
        else:
            memory[:, _SOURCES[name]] = NOTHING


class RowSampler:
    """Draws batches of augmented rows; the same seed and batch number give the same batch.

    A share `augmented` of the crops is transposed, and as many are stretched in time. What is named in `without`, of
    PLANNED, is never told.
    """

    def __init__(
        self, corpus: Corpus, pieces: list[int], features: GlobalFeatures, length: int, seed: int,
        augmented: float, without: frozenset[str] = frozenset(),
    ) -> None:
        self._corpus, self._pieces, self._features = corpus, pieces, features
        self._length, self._seed, self._augmented, self._without = length, seed, augmented, without
        self._attributes = {i: attributes_of(corpus.entries[i]) for i in pieces}
        self._forms: dict[int, Form] = {}  # of pieces that were drawn
        self._weights = self._piece_weights()
        shortest = int(np.diff(corpus.offsets)[pieces].min())
        self._segments = -(-(length + 1) // (3 + 3 * shortest)) + 1  # pieces in a row, at most; the first has no header
        self._drop_rates = {"genre": 0.15, "forms": 0.15, "composer": 0.25, "key": 0.1, "metre": 0.15,
                            "density": 0.3, "instruments": 0.1}

    def _piece_weights(self) -> np.ndarray:
        sizes = np.diff(self._corpus.offsets)[self._pieces].astype(np.float64)
        weights: np.ndarray = sizes / sizes.sum()
        if shares := self._corpus.shares:
            sources = [self._corpus.entries[i].get("source", "") for i in self._pieces]
            for source in set(sources):
                mine = np.array([name == source for name in sources])
                if source in shares:
                    weights[mine] *= shares[source] / weights[mine].sum()
        compound = [CLASS_OF_METRE.get(self._attributes[i].metre or "") == "compound" for i in self._pieces]
        weights[compound] *= _COMPOUND_WEIGHT
        weights /= weights.sum()
        return weights

    def batch(self, number: int, rows: int) -> Batch:
        rng = np.random.default_rng((self._seed, number))
        built = [self._row(rng) for _ in range(rows)]
        return Batch(*(np.stack(parts) for parts in zip(*built, strict=True)))

    def _row(self, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        need = self._length + 1
        parts: list[tuple[np.ndarray, ...]] = []
        attributes = np.zeros((self._segments, self._features.size), dtype=np.float32)
        filled = 0
        for number in range(self._segments):
            segment = self._segment(rng, -(-(need - filled) // 3), beginning=number > 0)
            dropped, grid_features, memory = self._forget(rng, segment)
            attributes[number] = self._features.vector(segment.attributes, dropped)
            parts.append((segment.ids, grid_features, np.full(len(segment.ids), number), memory, segment.marks))
            filled += len(segment.ids)
            if filled >= need:
                break
        cut = self._length
        ids, grids, segments, memories, marks = (np.concatenate(kind) for kind in zip(*parts, strict=True))
        return ids[:need], grids[:cut], segments[:cut], attributes, memories[:cut], marks[:cut]

    def _segment(self, rng: np.random.Generator, notes: int, beginning: bool) -> Segment:
        number = int(rng.choice(len(self._pieces), p=self._weights))
        piece = self._corpus.piece(self._pieces[number])
        first = 0
        # A row's later pieces start at their beginning: they follow an end.
        if not beginning and len(piece) > SHORTEST_CROP and rng.random() > 0.35:
            first = int(rng.integers(0, len(piece) - SHORTEST_CROP + 1))
        melodic = piece["pitch"][piece["channel"] != DRUMS]
        semitones = int(rng.integers(-5, 7)) if rng.random() < self._augmented else 0
        if len(melodic) and not (20 <= int(melodic.min()) + semitones and int(melodic.max()) + semitones <= 108):
            semitones = 0
        stretch = float(np.exp(rng.uniform(-0.22, 0.22))) if rng.random() < self._augmented else 1.0
        number = self._pieces[number]
        if number not in self._forms:
            self._forms[number] = form_of(piece)
        return segment_of(
            piece, self._attributes[number], first, notes, form=self._forms[number], semitones=semitones, stretch=stretch,
            clock_offset_ms=float(rng.uniform(-8, 8)))

    def _forget(self, rng: np.random.Generator, segment: Segment) -> tuple[frozenset[str], np.ndarray, np.ndarray]:
        """Which attributes are unknown this time, and grid features and memory with some of them unknown."""
        everything = rng.random() < 0.12
        dropped = frozenset(name for name, rate in self._drop_rates.items() if everything or rng.random() < rate)
        features, memory = segment.grid.copy(), segment.memory.copy()
        if rng.random() < (0.5 if everything else 0.1):
            features[:, :BEAT_COLUMNS - 1] = GRID_UNKNOWN[:BEAT_COLUMNS - 1]
        elif rng.random() < 0.1:
            features[:, 1:BEAT_COLUMNS - 1] = GRID_UNKNOWN[1:BEAT_COLUMNS - 1]  # tempo known, bar unknown
        if rng.random() < 0.3:
            features[:, LEFT] = GRID_UNKNOWN[LEFT]
        # Memory of the lags is there even where nothing is known: it is of the music itself.
        forgotten = {name for name, rate in _FORGET_RATES.items() if rng.random() < rate or (everything and name != "memory")}
        forget(features, memory, forgotten | self._without)
        return dropped, features, memory
