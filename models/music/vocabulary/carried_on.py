"""A MIDI file that a model carries on, as ids."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.errors import ScoreError
from models.music.score.midi import read_midi
from models.music.score.notes import Score
from models.music.vocabulary.los_angeles import DURATION, TIME, TIME_STEP_MS, header, quantise, triplets

MOST_NOTES = 4096


@dataclass(frozen=True)
class CarriedOn:
    """What is carried on; instruments without a channel are with the nearest one."""

    score: Score
    header: tuple[int, ...]  # the six ids of upstream
    triplets: tuple[int, ...]

    @property
    def bpm(self) -> float:
        """Quarters a minute where the piece begins."""
        return 60e6 / self.score.tempos[0].us_per_quarter

    @property
    def metre(self) -> str:
        return f"{self.score.metres[0].beats}/{self.score.metres[0].unit}"


def read_carried_on(path: Path) -> CarriedOn:
    """Read a MIDI file. What it holds before its first bar with a note is left out.

    Raises ScoreError where it cannot be read, has more than 4,096 notes, or nothing but drums.
    """
    score = read_midi(path)
    if len(score) > MOST_NOTES:
        raise ScoreError(f"the piece has {len(score):,} notes; at most {MOST_NOTES:,} can be carried on")
    rows, _ = quantise(score, nearest=True)
    if not len(rows):
        raise ScoreError("none of the piece's instruments can be played here, so it cannot be carried on")
    notes = triplets(rows)
    quarter_ms = score.tempos[0].us_per_quarter / 1000
    bar = score.metres[0].beats * 4 / score.metres[0].unit * quarter_ms / TIME_STEP_MS  # in steps of time
    upbeat = int(np.rint(rows[0, 0] % bar))
    notes[0, 0] = TIME + (upbeat if upbeat < DURATION - TIME else 0)
    return CarriedOn(score, tuple(header(notes)), tuple(notes.ravel().tolist()))
