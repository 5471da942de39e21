"""Attributes as numbers the pocket network is conditioned on.

Global features describe a whole piece and are the same at every position. Grid features say
where in the bar a note stands, how fast the beat is and how much of the piece is left; they
change from note to note, and at generation time they come from a clock that follows the ids.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from models.music.attributes import FORMS, GENRES, METRES, MODES, PLANNED_FORMS, Attributes
from models.music.form.chords import CHORDS, NO_CHORD
from models.music.score.programs import CHANNELS

UNKNOWN = "unknown"
DENSITY_BINS = 10
TEMPO_BINS = 36  # a semitone-like step of 2 ** (1 / 12) each, from 40 quarters a minute
BAR_BINS = 48  # sixteenths from the bar line
TICK_BINS = 24  # parts of a quarter
LEFT_EDGES = (1, 3, 6, 11, 21, 41, 81)  # notes still to come: 0, 1-2, 3-5, ..., 81 and more
LEFT_BINS = len(LEFT_EDGES) + 1


def density_bin(notes_per_second: float) -> int:
    """Half-octave bins: below 1 note a second is 0, above 22 is 9."""
    return int(min(max(2 * math.log2(max(notes_per_second, 0.5)) + 1, 0), DENSITY_BINS - 1))


@dataclass(frozen=True)
class GlobalFeatures:
    """Places of the global features in one vector; the composers are the ones the model was trained with."""

    composers: tuple[str, ...]

    @property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """Entries of each attribute, in order; each ends with its own `unknown`."""
        return {
            "genre": (*GENRES, UNKNOWN),
            "forms": (*(form for form in FORMS if form not in PLANNED_FORMS), UNKNOWN),
            "composer": (*self.composers, UNKNOWN),
            "key": (*(f"{tonic} {mode}" for mode in MODES for tonic in range(12)), UNKNOWN),
            "metre": (*METRES, UNKNOWN),
            "density": (*(str(bin_) for bin_ in range(DENSITY_BINS)), UNKNOWN),
            "instruments": (*CHANNELS, UNKNOWN),
        }

    @property
    def size(self) -> int:
        return sum(len(entries) for entries in self.groups.values())

    def vector(self, attributes: Attributes, dropped: frozenset[str] = frozenset()) -> np.ndarray:
        """Ones at the places of what is known, shape (size,); groups named in `dropped` are unknown."""
        key = f"{attributes.tonic} {attributes.mode}" if attributes.tonic is not None and attributes.mode else UNKNOWN
        composer = attributes.composer if attributes.composer in self.composers else UNKNOWN
        values: dict[str, tuple[str, ...]] = {
            "genre": (attributes.genre or UNKNOWN,),
            "forms": tuple(form for form in attributes.forms if form not in PLANNED_FORMS) or (UNKNOWN,),
            "composer": (composer or UNKNOWN,),
            "key": (key,),
            "metre": (attributes.metre or UNKNOWN,),
            "density": (UNKNOWN if attributes.density is None else str(density_bin(attributes.density)),),
            "instruments": attributes.instruments or (UNKNOWN,),
        }
        result = np.zeros(self.size, dtype=np.float32)
        offset = 0
        for group, entries in self.groups.items():
            chosen = (UNKNOWN,) if group in dropped else values[group]
            for value in chosen:
                result[offset + entries.index(value)] = 1.0
            offset += len(entries)
        return result


# Grid features share one table; each has its own stretch of it, the last entry for unknown.
TEMPO_AT = 0
BAR_AT = TEMPO_AT + TEMPO_BINS + 1
TICK_AT = BAR_AT + BAR_BINS + 1
LEFT_AT = TICK_AT + TICK_BINS + 1
# What the plan of a piece adds; these stretches stand behind the others.
PHRASE_BARS = 8  # bars are counted in eights
BARS_LEFT = 16  # 0..14 bars after this one, and more
PHRASE_AT = LEFT_AT + LEFT_BINS + 1
BARS_LEFT_AT = PHRASE_AT + PHRASE_BARS + 1
CHORD_AT = BARS_LEFT_AT + BARS_LEFT + 1
NEXT_CHORD_AT = CHORD_AT + CHORDS + 1
GRID_SIZE = NEXT_CHORD_AT + CHORDS + 1
BEAT_COLUMNS, GRID_COLUMNS = 4, 8
LEFT, PHRASE, LEFT_BARS, CHORD, NEXT_CHORD = range(BEAT_COLUMNS - 1, GRID_COLUMNS)
GRID_UNKNOWN = (
    TEMPO_AT + TEMPO_BINS, BAR_AT + BAR_BINS, TICK_AT + TICK_BINS, LEFT_AT + LEFT_BINS,
    PHRASE_AT + PHRASE_BARS, BARS_LEFT_AT + BARS_LEFT, CHORD_AT + NO_CHORD, NEXT_CHORD_AT + NO_CHORD)


def grid(quarter_ms: np.ndarray, ticks_in_bar: np.ndarray, left: np.ndarray) -> np.ndarray:
    """Grid features of the beat, shape (notes, 4), as places in the shared table.

    `quarter_ms` is the length of a quarter where the note stands, `ticks_in_bar` its distance
    from the bar line in whole 24ths of a quarter, `left` the number of notes after it.
    """
    bpm = 60_000 / np.maximum(quarter_ms, 1.0)
    tempo = np.clip(np.rint(12 * np.log2(np.maximum(bpm, 1.0) / 40)), 0, TEMPO_BINS - 1)
    bar = np.minimum(ticks_in_bar // (TICK_BINS // 4), BAR_BINS - 1)
    return np.stack((
        TEMPO_AT + tempo,
        BAR_AT + bar,
        TICK_AT + ticks_in_bar % TICK_BINS,
        LEFT_AT + np.searchsorted(LEFT_EDGES, left, side="right"),
    ), axis=-1).astype(np.int64)


def outline(bar: np.ndarray, bars_left: np.ndarray, chord: np.ndarray, next_chord: np.ndarray) -> np.ndarray:
    """Grid features of form, shape (notes, 4), as places in the shared table.

    `bar` counts from the beginning of the section, `bars_left` to the last bar; chords are those of
    `models.music.form.chords`, here and in the next harmonic unit.
    """
    return np.stack((
        PHRASE_AT + bar % PHRASE_BARS,
        BARS_LEFT_AT + np.minimum(bars_left, BARS_LEFT - 1),
        CHORD_AT + chord,
        NEXT_CHORD_AT + next_chord,
    ), axis=-1).astype(np.int64)
