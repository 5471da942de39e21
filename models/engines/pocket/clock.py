"""Where in the bar and in the plan the last note stands, followed id by id, and what the network is told of it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from collections.abc import Sequence as Listed

import numpy as np

from models.engines.pocket.features import (
    BARS_LEFT,
    BARS_LEFT_AT,
    CHORD_AT,
    GRID_COLUMNS,
    GRID_UNKNOWN,
    LEFT,
    LEFT_AT,
    LEFT_EDGES,
    NEXT_CHORD_AT,
    PHRASE_AT,
    PHRASE_BARS,
    TICK_BINS,
    grid,
)
from models.engines.pocket.memory import NOTHING, BarMemory, Source
from models.engines.pocket.steering import Steering
from models.music.form.chords import NO_CHORD, moved
from models.music.form.plan import FormPlan
from models.music.score.programs import CHANNELS, DRUMS
from models.music.vocabulary.los_angeles import DURATION, PITCH, TIME, TIME_STEP_MS

_TIMES = np.arange(DURATION - TIME)


def _compound(beats: int, unit: int) -> bool:
    """Whether a beat is three eighths."""
    return unit == 8 and beats % 3 == 0


def _levels(beats: int, unit: int) -> list[tuple[float, float, float]]:
    """Levels of a metre from the weakest to the strongest.

    Each is the distance of its points in quarters, the place of the first one in the bar, and how weak they are (0..2).
    """
    if _compound(beats, unit):  # long and short tell them from quarters, and the network is not sure of them
        levels = [(0.25, 0.0, 1.9), (0.5, 0.0, 1.6), (1.5, 1.0, 1.0), (1.5, 0.0, 0.0)]
    elif beats % 3 == 0 and beats:  # beats in threes: the first one must stand out
        levels = [(1 / 6, 0.0, 1.4), (0.25, 0.0, 1.2), (0.5, 0.0, 1.0), (4 / unit, 0.0, 0.8)]
    else:  # triplets of sixteenths, sixteenths, eighths, quarters, halves
        levels = [(1 / 6, 0.0, 0.9), (0.25, 0.0, 0.7), (0.5, 0.0, 0.45), (1.0, 0.0, 0.25), (2.0, 0.0, 0.1)]
    return [*levels, (beats * 4 / unit, 0.0, 0.0)] if beats else levels


class Clock:
    """Follows the ids of one take; all times are in steps of the vocabulary."""

    def __init__(self, steering: Steering) -> None:
        attributes, self._form = steering.attributes, steering.form
        self._budget = len(steering.given) // 3 + steering.notes
        self._quarter_ms = 60_000 / attributes.tempo_bpm if attributes.tempo_bpm else None
        beats, unit = map(int, attributes.metre.split("/")) if attributes.metre else (0, 1)
        self._bar_ticks = beats * 4 * TICK_BINS // unit
        self.bar_steps = round(beats * 4 / unit * self._quarter_ms / TIME_STEP_MS) if self._quarter_ms else 0
        self.beat_steps = self.bar_steps * (3 if _compound(beats, unit) else 1) / max(beats, 1)
        distances, firsts, weaknesses = np.array(_levels(beats, unit)).T[..., None]
        self._weaknesses = weaknesses  # (levels, 1), as the other two, which are in steps of time
        self._between = max(1.0, float(weaknesses.max()) + 0.1)  # of times on no level
        self.chord_loss = 0.5 if beats % 3 == 0 and beats else 0.0  # of T 0, of how much weaker than half this place is
        self._steps, self._starts = (
            lengths * (self._quarter_ms or 0.0) / TIME_STEP_MS for lengths in (distances, firsts))
        self._weakness: dict[int, np.ndarray] = {}  # of the times from a place of the bar
        self._beats: dict[int, np.ndarray] = {}  # grid features of a place of the bar
        self._movers: dict[tuple[int, tuple[tuple[str, str], ...]], Callable[[int], int] | None] = {}
        self.time = self.note = self._read = 0
        self._given = len(steering.given)
        self.first_bar = self._first_bar(steering.given)  # of the plan
        self.begun = bool(steering.given)
        self.memory = BarMemory(self._bar_ticks, self.tick_steps, self._source) if self.bar_steps else None
        self.features = self._features()
        seen = [self._hear(steering.given[place], place) for place in range(len(steering.given))]
        self.before = tuple(np.array(part) for part in zip(*seen, strict=True)) if seen else ()

    @property
    def tick_steps(self) -> float:
        """Steps of time in a 24th of a quarter."""
        return (self._quarter_ms or 500.0) / TICK_BINS / TIME_STEP_MS

    def _first_bar(self, given: Listed[int]) -> int:
        """The bar in which the plan begins: the first one after what is carried on."""
        if not given or not self.bar_steps:
            return 0
        onset = sum(given[0::3])
        return onset // self.bar_steps + 1

    @property
    def bar(self) -> int:
        """Bar of the plan in which the last note stands; below 0 before it begins."""
        return self.time // self.bar_steps - self.first_bar if self.bar_steps else 0

    @property
    def in_bar(self) -> int:
        """Steps from the bar line."""
        return self.time % self.bar_steps if self.bar_steps else 0

    def follow(self, ids: Listed[int]) -> None:
        """Hear the ids made so far; ids are T, D, P in turn."""
        for place in range(self._read, len(ids)):
            self._hear(ids[place], self._given + place)
            self.begun = True
        self._read = len(ids)

    def _hear(self, id_: int, place: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Grid features, bar memory and its marks after an id, `place` ids from the beginning of the piece."""
        kind = place % 3
        if kind == 0:
            self.note = place // 3
            if id_ != TIME:
                self.time += id_ - TIME
                self.features = self._features()
            else:  # a chord goes on
                self.features = self.features.copy()
                self.features[LEFT] = self._left()
        if self.memory is not None:
            self.memory.hear(id_, kind, self._ticks())
        return self.features, *self.remembered

    @property
    def remembered(self) -> tuple[np.ndarray, np.ndarray]:
        """Bar memory and its marks for the next id."""
        return self.memory.next if self.memory is not None else BarMemory.NOTHING

    def weakness(self) -> np.ndarray | None:
        """How weak in the bar the onset after each time is, (128,): 0 on the bar line, 1 to 2 between the divisions.

        None without a tempo.
        """
        if self._quarter_ms is None:
            return None
        place = self.time % self.bar_steps if self.bar_steps else self.time
        if place not in self._weakness:
            # Onsets are rounded down, so a time is on a level if one of its points falls into its ten milliseconds.
            time = place + _TIMES
            on_level = (
                np.ceil((time - self._starts) / self._steps - 1e-9) * self._steps + self._starts < time + 1 - 1e-9)
            self._weakness[place] = np.where(on_level, self._weaknesses, self._between).min(axis=0)
        return self._weakness[place]

    def _ticks(self) -> int:
        """The place of the last note in 24ths of a quarter."""
        return int((self.time + 0.5) / self.tick_steps + 0.5)

    def _features(self) -> np.ndarray:
        place = self.time % self.bar_steps if self.bar_steps else self.time
        if place not in self._beats:
            self._beats[place] = self._beat(place)
        features = np.empty(GRID_COLUMNS, dtype=np.int64)
        features[:LEFT] = self._beats[place]
        features[LEFT:] = self._left(), *self._outline()
        return features

    def _beat(self, place: int) -> np.ndarray:
        if self._quarter_ms is None:
            return np.array(GRID_UNKNOWN[:LEFT])
        ticks = int((place + 0.5) / self.tick_steps + 0.5)
        known = grid(np.array(self._quarter_ms), np.array(ticks % self._bar_ticks if self._bar_ticks else ticks), np.array(0))
        if not self._bar_ticks:
            known[1:3] = GRID_UNKNOWN[1:3]
        return known[:LEFT]

    def _outline(self) -> tuple[int, int, int, int]:
        """Grid features of the plan: bar of the phrase, bars left, chords here and next."""
        form, bar = self._form, self.bar
        if form is None or not self.bar_steps or not 0 <= bar < len(form.bars):
            return GRID_UNKNOWN[LEFT + 1], GRID_UNKNOWN[LEFT + 2], GRID_UNKNOWN[LEFT + 3], GRID_UNKNOWN[LEFT + 4]
        unit = self.unit
        here = form.bars[bar]
        after = here.chords[unit + 1] if unit + 1 < len(here.chords) else (
            form.bars[bar + 1].chords[0] if bar + 1 < len(form.bars) else NO_CHORD)
        return (
            PHRASE_AT + here.phrase_bar % PHRASE_BARS, BARS_LEFT_AT + min(len(form.bars) - 1 - bar, BARS_LEFT - 1),
            CHORD_AT + here.chords[unit], NEXT_CHORD_AT + after)

    @property
    def unit(self) -> int:
        """Harmonic unit of the bar in which the last note stands."""
        units = self._form.units if self._form else 1
        return min(self.in_bar * units // self.bar_steps, units - 1) if self.bar_steps else 0

    def _source(self) -> Source | None:
        """The bar that the one of the last note brings back."""
        form, bar = self._form, self.bar
        if form is None or not 0 <= bar < len(form.bars) or (returns := form.bars[bar].returns) is None:
            return None
        key = returns.degrees, returns.voices
        if key not in self._movers:
            self._movers[key] = _mover(form, *key)
        return Source((bar - returns.bar) * self._bar_ticks, returns.level, self._movers[key])

    def notes_left(self) -> int:
        """Notes after the last one, by the plan or, without one, by what was asked for."""
        form = self._form
        if form is None or not self.bar_steps:
            return self._budget - 1 - self.note
        bars = len(form.bars) - 1 + self.first_bar - self.time / self.bar_steps
        return max(round(bars * form.notes_in_bar), 0) + form.last_notes

    def _left(self) -> int:
        """Place of how many notes are left, in the table of grid features."""
        return LEFT_AT + bisect_right(LEFT_EDGES, self.notes_left())


def _mover(form: FormPlan, degrees: int, voices: tuple[tuple[str, str], ...]) -> Callable[[int], int] | None:
    """What becomes of the P ids of a bar that is brought back; None where they stay."""
    if not degrees and not voices:
        return None
    heirs = {CHANNELS.index(one): CHANNELS.index(other) for one, other in voices}
    ranges = {CHANNELS.index(player.instrument): (player.low, player.high) for player in form.players}

    def moved_id(id_: int) -> int:
        channel, pitch = divmod(id_ - PITCH, 128)
        if channel == DRUMS:
            return id_
        channel = heirs.get(channel, -1) if heirs else channel
        if channel not in ranges:
            return NOTHING
        low, high = ranges[channel]
        pitch = moved(pitch, degrees, form.tonic, form.mode)
        while pitch < low:
            pitch += 12
        while pitch > high:
            pitch -= 12
        return PITCH + 128 * channel + pitch if pitch >= low else NOTHING

    return moved_id
