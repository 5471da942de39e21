"""The vocabulary of Los Angeles Music Composer: 2831 ids, three to a note.

A note is a triplet T, D, P: time since the previous note, duration with velocity, channel with
pitch. A header of six ids stands in front of a composition; there is no end id, a piece ends
where the next `START` begins. Which id may follow which is in `models.music.vocabulary.grammar`.
Facts from `asigalov61/Los-Angeles-Music-Composer`.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.errors import InputError, ScoreError
from models.music.score.notes import NOTE, Score
from models.music.score.programs import DROPPED, DRUMS, PATCHES, channels_of

SIZE = 2831
TIME = 0  # 128 ids: 10 ms steps since the previous onset
DURATION = 128  # 1024 ids: 8 * (20 ms steps) + velocity code
PITCH = 1152  # 1536 ids: 128 * channel + pitch
HEADER_PITCH = 2688  # 128 ids: the most frequent pitch, only in the header
START = 2816
NO_DRUMS = 2817
WITH_DRUMS = 2818
CHANNEL_COUNT = 2818  # + number of channels, 1..12
LONGEST_TIME = DURATION - TIME - 2  # steps that a T says exactly: the last one stands for any longer time
TIME_STEP_MS = 10
DURATION_STEP_MS = 20
HEADER_LENGTH = 6
EVENT = np.dtype([(name, "i8") for name in ("onset_ms", "duration_ms", "channel", "pitch", "velocity")])
# Far above the rounding error of times within hours, far below what a MIDI file can tell apart.
_STEP_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Encoded:
    """A score as ids, and how many of its notes have no channel in this vocabulary."""

    ids: list[int]  # header and triplets
    dropped_notes: int
    dropped_programs: tuple[int, ...]  # General MIDI programs, sorted

    @property
    def notes(self) -> int:
        return (len(self.ids) - HEADER_LENGTH) // 3


def quantise(score: Score, *, nearest: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Notes as rows (start in 10 ms, duration in 20 ms, channel, pitch, velocity), chords from the top down.

    Also returns, for each row, the index of its note in the score. Notes without a channel are left out.
    Steps are rounded down, but a time on the border of a step that came out a hair early (16249.999999999998 ms
    for 65 eighths at 120 bpm and 96 ticks) belongs to the step it begins: notes on a grid stay on it.
    """
    notes = score.notes
    channels = channels_of(notes, nearest=nearest)
    start = np.floor(notes["onset_ms"] / TIME_STEP_MS + _STEP_TOLERANCE).astype(np.int64)
    duration = np.floor(notes["duration_ms"] / DURATION_STEP_MS + _STEP_TOLERANCE).astype(np.int64)
    pitch = notes["pitch"].astype(np.int64)
    end_ms = notes["onset_ms"] + notes["duration_ms"]
    order = np.lexsort((end_ms, notes["onset_ms"], -pitch, start))
    order = order[channels[order] != DROPPED]
    columns = (start, duration, channels.astype(np.int64), pitch, notes["velocity"].astype(np.int64))
    return np.stack([column[order] for column in columns], axis=1), order


def triplets(rows: np.ndarray) -> np.ndarray:
    """Rows of `quantise` as ids, shape (notes, 3)."""
    start, duration, channel, pitch, velocity = rows.T
    time = np.clip(np.diff(start, prepend=start[:1]), 0, 127)
    velocity_code = np.rint(np.clip(velocity, 8, 127) / 15).astype(np.int64) - 1
    return np.stack((
        TIME + time,
        DURATION + 8 * np.clip(duration, 1, 127) + velocity_code,
        PITCH + 128 * channel + np.clip(pitch, 1, 127),
    ), axis=1)


def header(notes: np.ndarray, *, drums_alone: bool = False) -> list[int]:
    """The six header ids of triplets, shape (notes, 3). Raises ScoreError for drums alone, unless they may be."""
    channel, pitch = np.divmod(notes[:, 2] - PITCH, 128)
    melodic = channel != DRUMS
    with_drums = not melodic.all()
    if not melodic.any():
        if not drums_alone:
            raise ScoreError("the score has no notes besides drums; at least one is needed")
        melodic[:] = True  # times, lengths and loudness are theirs
    times = notes[melodic, 0] - TIME
    durations, velocities = np.divmod(notes[melodic, 1] - DURATION, 8)
    common_time = statistics.mode([0, *times[times != 0].tolist()])
    return [
        START,
        WITH_DRUMS if with_drums else NO_DRUMS,
        CHANNEL_COUNT + len(np.unique(channel)),
        TIME + common_time,
        DURATION + 8 * statistics.mode(durations.tolist()) + statistics.mode(velocities.tolist()),
        HEADER_PITCH + statistics.mode(pitch[melodic].tolist()),
    ]


def encode(score: Score, *, nearest: bool = False) -> Encoded:
    """Encode a score with its header.

    `nearest` moves instruments without a channel to the nearest one instead of dropping them.
    Raises ScoreError when nothing but drums, or nothing at all, is left.
    """
    rows, order = quantise(score, nearest=nearest)
    kept = np.zeros(len(score.notes), dtype=bool)
    kept[order] = True
    dropped = tuple(int(program) for program in np.unique(score.notes["program"][~kept]))
    if not len(rows):
        raise ScoreError("none of the score's instruments has a channel in this vocabulary")
    notes = triplets(rows)
    return Encoded(header(notes) + notes.ravel().tolist(), int((~kept).sum()), dropped)


def decode(ids: Sequence[int] | np.ndarray, *, name: str = "") -> Score:
    """Decode ids, wherever they begin and whatever they hold, to a score called `name`.

    What is not a whole note (headers, parts of triplets, ids in a wrong place) is skipped and takes
    no time. 1000 ticks are a quarter and a second, so a tick is a millisecond. The score may be empty.
    Raises InputError for anything but integers 0..2830.
    """
    events = decode_events(ids)
    notes = np.zeros(len(events), dtype=NOTE)
    for column in ("onset_ms", "duration_ms", "pitch", "velocity"):
        notes[column] = events[column]
    notes["onset_tick"] = events["onset_ms"]
    notes["program"] = np.array(PATCHES)[events["channel"]]
    notes["drum"] = events["channel"] == DRUMS
    return Score(notes, name=name)


def decode_events(ids: Sequence[int] | np.ndarray, *, compat: bool = False) -> np.ndarray:
    """The notes that ids stand for, of EVENT, in milliseconds.

    Ids form groups: a D or P joins the group before it, anything else begins one. A note is a group
    T, D, P; a duration of 0 counts as one step.

    `compat` keeps what the seed notebooks make of the same ids, for comparison: any group of three is
    a note (so channels may be negative and times absurd, and a `Score` could not hold them), the
    last group never is, and a duration of 0 stays 0.

    Raises InputError for anything but integers 0..2830.
    """
    values = _checked(ids)
    begins = (values < DURATION) | (values >= HEADER_PITCH)
    begins[:1] = True
    first = np.flatnonzero(begins)
    whole = np.diff(first, append=len(values)) == 3
    if compat:
        whole[-1:] = False
    time, duration, pitch = (values[first[whole] + place] for place in range(3))
    if not compat:
        note = (time < DURATION) & (duration < PITCH) & (pitch >= PITCH)
        time, duration, pitch = time[note], duration[note], pitch[note]
    steps, velocity_code = np.divmod(duration - DURATION, 8)
    events = np.zeros(len(time), dtype=EVENT)
    events["onset_ms"] = np.cumsum((time - TIME) * TIME_STEP_MS)
    events["duration_ms"] = DURATION_STEP_MS * (steps if compat else np.maximum(steps, 1))
    events["channel"], events["pitch"] = np.divmod(pitch - PITCH, 128)
    events["velocity"] = 15 * (velocity_code + 1)
    return events


def prime_seconds(ids: Sequence[int] | np.ndarray) -> float:
    """Where the last note of a prime begins, in seconds: the sum of its notes' T, without the header's.

    Raises InputError for anything but integers 0..2830.
    """
    onsets = decode_events(ids)["onset_ms"]
    return float(onsets[-1]) / 1000 if len(onsets) else 0.0


def _checked(ids: Sequence[int] | np.ndarray) -> np.ndarray:
    wanted = f"ids must be a list of integers 0..{SIZE - 1}"
    try:
        values = np.asarray(ids)
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(wanted) from error
    if values.ndim != 1 or (len(values) and values.dtype.kind not in "iu"):
        raise InputError(wanted)
    outside = values[(values < 0) | (values >= SIZE)] if len(values) else values
    if len(outside):
        raise InputError(f"{wanted}, not {outside[0]}")
    return values.astype(np.int64)
