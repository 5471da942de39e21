"""The score: one compact structure for what a MIDI file says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

NOTE = np.dtype([
    ("onset_ms", "f8"),  # from the start of the piece
    ("duration_ms", "f8"),
    ("onset_tick", "i8"),
    ("pitch", "u1"),  # 0..127, 60 is middle C
    ("velocity", "u1"),  # 1..127
    ("program", "u1"),  # General MIDI program, 0-based; without meaning for drums
    ("drum", "?"),
])


class Tempo(NamedTuple):
    tick: int
    us_per_quarter: int


class Metre(NamedTuple):
    tick: int
    beats: int  # numerator
    unit: int  # denominator, a power of two


@dataclass(frozen=True, eq=False)
class Score:
    """Notes in the order of their onsets, with the beat grid they were written on.

    `tempos` and `metres` are sorted by tick and start at tick 0. A score that knows who plays what names its parts
    ("Violin 1", "Violin 2", "Drums") and has the index into them of each note. Scores are equal
    where all they hold is.
    """

    notes: np.ndarray  # of NOTE
    ticks_per_quarter: int = 1000
    tempos: tuple[Tempo, ...] = (Tempo(0, 1_000_000),)
    metres: tuple[Metre, ...] = (Metre(0, 4, 4),)
    name: str = field(default="")
    faults: tuple[str, ...] = ()  # what of the file it was read from is lost, one line each
    parts: tuple[str, ...] = ()
    part: np.ndarray | None = None  # (notes,) of integers: index into `parts`; None: not known

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Score):
            return NotImplemented
        mine, theirs = self.part, other.part
        same_part = mine is theirs if mine is None or theirs is None else np.array_equal(mine, theirs)
        return same_part and self._values == other._values and np.array_equal(self.notes, other.notes)

    @property
    def _values(self) -> tuple[object, ...]:
        return self.ticks_per_quarter, self.tempos, self.metres, self.name, self.faults, self.parts

    def __len__(self) -> int:
        return len(self.notes)

    @property
    def seconds(self) -> float:
        """Time from the start to the end of the last note."""
        if not len(self.notes):
            return 0.0
        return float((self.notes["onset_ms"] + self.notes["duration_ms"]).max()) / 1000
