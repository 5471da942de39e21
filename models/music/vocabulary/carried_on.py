"""A MIDI file that a model carries on, as ids."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from models.errors import ScoreError
from models.music.score.midi import read_midi
from models.music.score.notes import Metre, Score, Tempo
from models.music.vocabulary.los_angeles import DURATION, TIME, TIME_STEP_MS, header, quantise, triplets

MOST_NOTES = 4096


RECENT_NOTES = 96  # from these the key is heard in which it goes on


@dataclass(frozen=True)
class CarriedOn:
    """What is carried on; instruments without a channel are with the nearest one."""

    score: Score
    header: tuple[int, ...]  # the six ids of upstream
    triplets: tuple[int, ...]
    tempo: Tempo  # where it goes on: at its last note
    meter: Metre
    quarters: float = 0.0  # from the beginning of a bar of that metre to the last note

    @property
    def bpm(self) -> float:
        """Quarters a minute where the piece goes on."""
        return 60e6 / self.tempo.us_per_quarter

    @property
    def metre(self) -> str:
        return f"{self.meter.beats}/{self.meter.unit}"

    def in_time(self, bpm: float) -> tuple[int, ...]:
        """The triplets, so that the last one stands where it should in its bar for whoever counts bars of this tempo."""
        notes = np.array(self.triplets).reshape(-1, 3)
        notes[0, 0] = TIME + _upbeat(notes, self.quarters, Tempo(self.tempo.tick, round(60e6 / bpm)), self.meter)
        return tuple(notes.ravel().tolist())

    @property
    def recent(self) -> Score:
        """The last notes."""
        return replace(self.score, notes=self.score.notes[-RECENT_NOTES:])


def read_carried_on(path: Path) -> CarriedOn:
    """Read a MIDI file. What it holds before its first bar with a note is left out.

    Raises ScoreError where it cannot be read, has more than 4,096 notes, or none of its instruments can be played.
    """
    score = read_midi(path)
    if len(score) > MOST_NOTES:
        raise ScoreError(f"the piece has {len(score):,} notes; at most {MOST_NOTES:,} can be carried on")
    rows, order = quantise(score, nearest=True)
    if not len(rows):
        raise ScoreError("none of the piece's instruments can be played here, so it cannot be carried on")
    notes = triplets(rows)
    last = int(score.notes["onset_tick"][order[-1]])
    tempo = [tempo for tempo in score.tempos if tempo.tick <= last][-1]
    metre = [metre for metre in score.metres if metre.tick <= last][-1]
    quarters = (last - metre.tick) / score.ticks_per_quarter
    notes[0, 0] = TIME + _upbeat(notes, quarters, tempo, metre)
    return CarriedOn(
        score, tuple(header(notes, drums_alone=True)), tuple(notes.ravel().tolist()), tempo, metre, quarters)


def _upbeat(notes: np.ndarray, quarters: float, tempo: Tempo, metre: Metre) -> int:
    """What time to put before the first note, in steps, so that the last one stands where it should in its bar.

    The clock of whoever carries on counts bars of one tempo from the beginning; only where it goes on has it to be right.
    `quarters`: from the beginning of a bar of that metre to the last note.
    """
    quarter = tempo.us_per_quarter / 1000 / TIME_STEP_MS
    beat = 4 / metre.unit * quarter
    elapsed = int((notes[1:, 0] - TIME).sum())
    upbeat = int(np.rint((quarters * quarter - elapsed) % (metre.beats * beat)))
    most = DURATION - TIME - 1
    while upbeat > most:  # more than an id holds: right within the beat, at least
        upbeat -= max(round(beat), 1)
    return max(upbeat, 0)
