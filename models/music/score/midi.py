"""Reading and writing MIDI files.

The order of events and the pairing of note-ons with note-offs follow the loader of the seed
notebooks, so that encoded ids agree with the ones its model was trained on.
"""

from __future__ import annotations

import io
import os
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

import mido
import numpy as np

from models.errors import RenderingError, ScoreError
from models.music.score.clock import ExactClock, SeedClock
from models.music.score.notes import NOTE, Metre, Score, Tempo
from models.music.score.programs import PATCHES
from models.music.score.tracks import MAX_NOTES, Tracks, read_tracks
from models.whole_file import whole_file

__all__ = ["MAX_BYTES", "MAX_NOTES", "MAX_SECONDS", "read_midi", "write_midi"]

MAX_BYTES = 8_000_000
MAX_SECONDS = 4 * 3600
DRUM_CHANNEL = 9
STANDARD_TEMPO_US = 500_000
SEED_TEMPO_US = 400_000  # what the seed system assumes before the first tempo event
_MELODIC_CHANNELS = tuple(channel for channel in range(16) if channel != DRUM_CHANNEL)
_HOME = {PATCHES[channel]: channel for channel in reversed(range(12)) if channel != DRUM_CHANNEL}
_LONGEST_DELTA = 0x0FFFFFFF
_NOTES_TRACK = "Kapelle"


def read_midi(source: str | Path | BinaryIO, *, compat: bool = False) -> Score:
    """Read a MIDI file of any type from a path or a binary file (from its beginning, if it can be rewound).

    `compat` keeps two habits of the seed system for bit-exact comparison: 150 bpm before the
    first tempo event, and a millisecond clock that adds up rounded steps.

    Raises ScoreError, one line for the one who chose the file, when it cannot be read, is not a
    MIDI file, is broken, larger than MAX_BYTES, MAX_NOTES or MAX_SECONDS, or holds no notes. What is lost of a file that is
    cut short is in the score's `faults`.
    """
    return score_of(tracks_of(source), compat=compat)


def tracks_of(source: str | Path | BinaryIO) -> Tracks:
    """The tracks of a MIDI file. Raises ScoreError as `read_midi` does."""
    return read_tracks(_bytes_of(source))


def _bytes_of(source: str | Path | BinaryIO) -> bytes:
    try:
        if isinstance(source, (str, Path)):
            with open(source, "rb", opener=_open_regular) as stream:
                data = stream.read(MAX_BYTES + 1)
        else:
            if source.seekable():
                source.seek(0)
            data = source.read(MAX_BYTES + 1)
    except OSError as error:
        raise ScoreError(f"the MIDI file {_named(source)}cannot be read: {error.strerror or error}") from error
    except (AttributeError, TypeError, ValueError) as error:
        raise ScoreError(f"the MIDI file {_named(source)}cannot be read: {error}") from error
    if not isinstance(data, bytes):
        raise ScoreError("the MIDI file was opened as text; a binary file was expected")
    if len(data) > MAX_BYTES:
        raise ScoreError(f"the MIDI file is larger than the {MAX_BYTES:,} bytes that are read")
    return data


def _open_regular(path: str, flags: int) -> int:
    """Open without waiting for whoever may write to a pipe; refuse what is not a file."""
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    if not Path(path).is_file():
        os.close(descriptor)
        raise OSError(f"{'it is a folder' if Path(path).is_dir() else 'it is not a regular file'}")
    return descriptor


def _named(source: object) -> str:
    return f"{str(source)!r} " if isinstance(source, (str, Path)) else ""


def score_of(tracks: Tracks, *, compat: bool = False) -> Score:
    """The score that tracks hold. Raises ScoreError where it holds no notes or plays for too long."""
    if not tracks.notes:
        raise ScoreError("; ".join(["the MIDI file holds no notes", *tracks.faults]))
    start, end, channel, pitch, velocity = np.array(tracks.notes, dtype=np.int64).T
    # All tracks as one: equal pitches of several tracks on one channel are paired anew, first on with
    # first off. Nothing starts after it ends, so the n-th start belongs to the n-th end.
    by_start, by_end = np.argsort(start, kind="stable"), np.argsort(end, kind="stable")
    key = 128 * channel + pitch
    paired = np.empty_like(end)
    paired[by_start[np.argsort(key[by_start], kind="stable")]] = end[by_end[np.argsort(key[by_end], kind="stable")]]
    start, end, channel, pitch, velocity = (
        column[by_start] for column in (start, paired, channel, pitch, velocity))

    tempos = tuple(Tempo(tick, tracks.tempos[tick]) for tick in sorted(tracks.tempos))
    if 0 not in tracks.tempos:
        tempos = (Tempo(0, SEED_TEMPO_US if compat else STANDARD_TEMPO_US), *tempos)
    metres = tuple(Metre(tick, *tracks.metres[tick]) for tick in sorted(tracks.metres))
    if 0 not in tracks.metres:
        metres = (Metre(0, 4, 4), *metres)
    clock: ExactClock | SeedClock
    if compat:
        clock = SeedClock(tempos, tracks.ticks_per_quarter, np.array(sorted(tracks.event_ticks), dtype=np.int64))
    else:
        clock = ExactClock(tempos, tracks.ticks_per_quarter)
    notes = np.zeros(len(start), dtype=NOTE)
    notes["onset_tick"] = start
    notes["onset_ms"] = clock.ms(start)
    notes["duration_ms"] = clock.ms(end) - notes["onset_ms"]
    notes["pitch"], notes["velocity"], notes["drum"] = pitch, velocity, channel == DRUM_CHANNEL
    for number, changes in enumerate(tracks.programs):
        if changes:
            ticks, programs = np.array(sorted(changes, key=lambda change: change[0])).T
            mine = channel == number
            notes["program"][mine] = np.append(0, programs)[np.searchsorted(ticks, start[mine], side="right")]
    score = Score(notes, tracks.ticks_per_quarter, tempos, metres, tracks.name, tuple(tracks.faults))
    if score.seconds > MAX_SECONDS:
        raise ScoreError(
            f"the MIDI file plays for {score.seconds / 3600:,.1f} hours; at most {MAX_SECONDS // 3600} are read")
    return score


def write_midi(score: Score, target: str | Path | BinaryIO) -> None:
    """Write a score as a MIDI file of type 1: tempos and metres in one track, all notes in a second.

    Programs of the seed system keep its channels, others take free ones, drums channel 9. With more
    than 15 programs, channels change hands where they are silent. Of equal pitches on a channel, the
    earlier note ends where the later begins. Starts are taken from `onset_tick`, ends from the
    milliseconds. The same score gives the same bytes, and reading them gives its notes back.

    A path is replaced in one step, once all is on disk; on failure nothing is left behind.

    Raises ScoreError for a score that MIDI cannot hold (more than 15 programs sounding at once,
    numbers out of range), RenderingError when the target cannot be written.
    """
    data = _file_bytes(score)
    try:
        if isinstance(target, (str, Path)):
            with whole_file(Path(target)) as draft:
                draft.write_bytes(data)
        else:
            target.write(data)
    except (OSError, ValueError) as error:  # ValueError: no name or a NUL in it, a closed file
        raise RenderingError(f"the MIDI file {_named(target)}cannot be written: {error}") from error


def _file_bytes(score: Score) -> bytes:
    _check(score)
    notes = score.notes
    start = notes["onset_tick"]
    clock = ExactClock(score.tempos, score.ticks_per_quarter)
    end = np.maximum(clock.ticks(notes["onset_ms"] + notes["duration_ms"]), start)
    channel, programs, changes = _channels(notes, end)
    key = 128 * channel + notes["pitch"]
    order = np.lexsort((end, start, key))
    same = key[order][1:] == key[order][:-1]
    end[order[:-1]] = np.where(same, np.minimum(end[order[:-1]], start[order[1:]]), end[order[:-1]])

    conductor: list[tuple[int, int, mido.MetaMessage]] = []
    conductor += [(tick, 0, mido.MetaMessage("set_tempo", tempo=us)) for tick, us in score.tempos]
    conductor += [(tick, 1, mido.MetaMessage("time_signature", numerator=beats, denominator=unit))
                  for tick, beats, unit in score.metres]
    name = score.name.encode("utf-8", "replace").decode("utf-8")
    if name:
        conductor.append((0, 2, mido.MetaMessage("track_name", name=name)))
    conductor.sort(key=lambda event: event[:2])

    # At one tick: ends, then changes of program, then notes without length, then starts.
    events: list[tuple[tuple[int, ...], mido.Message]] = []
    for tick, number, program in changes:
        events.append(((tick, 1), mido.Message("program_change", channel=number, program=program)))
    columns = (start, end, channel, notes["pitch"], np.clip(notes["velocity"], 1, 127))
    for i, (on, off, number, pitch, velocity) in enumerate(zip(*(c.tolist() for c in columns), strict=True)):
        rank = 3 if off > on else 2
        events.append(((on, rank, i, 0), mido.Message("note_on", channel=number, note=pitch, velocity=velocity)))
        events.append(((off, 0, i, 1) if off > on else (off, 2, i, 1),
                       mido.Message("note_off", channel=number, note=pitch, velocity=0)))
    events.sort(key=lambda event: event[0])
    played = [(0, mido.Message("program_change", channel=number, program=program))
              for number, program in enumerate(programs)]
    played += [(0, mido.MetaMessage("track_name", name=_NOTES_TRACK))]
    played += [(event[0][0], event[1]) for event in events]

    midi = mido.MidiFile(type=1, ticks_per_beat=score.ticks_per_quarter, charset="utf-8")
    midi.tracks = [track_of([(tick, message) for tick, _, message in conductor]), track_of(played)]
    stream = io.BytesIO()
    midi.save(file=stream)
    return stream.getvalue()


def track_of(events: list[tuple[int, mido.Message | mido.MetaMessage]]) -> mido.MidiTrack:
    """Events at their ticks, which do not fall, as a track. Raises ScoreError for a silence that MIDI cannot hold."""
    track, before = mido.MidiTrack(), 0
    for tick, message in events:
        if tick - before > _LONGEST_DELTA:
            raise ScoreError(f"the score is silent for {tick - before:,} ticks; a MIDI file holds {_LONGEST_DELTA:,}")
        message.time = tick - before
        track.append(message)
        before = tick
    return track


def _channels(notes: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, list[int], list[tuple[int, int, int]]]:
    """Channel of each note, the 16 programs at the start, and later changes: tick, channel, program."""
    programs = list(PATCHES)
    drums = notes["drum"]
    if drums.any():
        programs[DRUM_CHANNEL] = int(notes["program"][drums][0])
    wanted = list(dict.fromkeys(notes["program"][~drums].tolist()))
    where = {program: _HOME[program] for program in wanted if program in _HOME}
    free = [channel for channel in _MELODIC_CHANNELS if channel not in where.values()]
    strangers = [program for program in wanted if program not in where]
    where |= dict(zip(strangers, free, strict=False))  # as far as there are channels
    for program, channel in where.items():
        programs[channel] = program
    if len(wanted) <= len(_MELODIC_CHANNELS):
        table = np.zeros(128, dtype=np.int64)
        table[list(where)] = list(where.values())
        return np.where(drums, DRUM_CHANNEL, table[notes["program"]]), programs, []

    result = np.full(len(notes), DRUM_CHANNEL)
    changes: list[tuple[int, int, int]] = []
    last_start, silent_from = dict.fromkeys(_MELODIC_CHANNELS, -1), dict.fromkeys(_MELODIC_CHANNELS, -1)
    for i in np.flatnonzero(~drums)[np.argsort(notes["onset_tick"][~drums], kind="stable")].tolist():
        program, tick = int(notes["program"][i]), int(notes["onset_tick"][i])
        if program not in where:
            silent = [c for c in _MELODIC_CHANNELS if silent_from[c] <= tick and last_start[c] < tick]
            if not silent:
                raise ScoreError(f"more than {len(_MELODIC_CHANNELS)} instruments play at once; a MIDI file holds "
                                 f"{len(_MELODIC_CHANNELS)} besides drums")
            channel = min(silent, key=lambda c: silent_from[c])
            where = {other: at for other, at in where.items() if at != channel}
            where[program] = channel
            changes.append((tick, channel, program))
        channel = where[program]
        result[i] = channel
        last_start[channel], silent_from[channel] = tick, max(silent_from[channel], int(end[i]))
    return result, programs, changes


def _check(score: Score) -> None:
    notes = score.notes
    times = np.concatenate((notes["onset_ms"], notes["duration_ms"], notes["onset_tick"]))
    for fault, wrong in (
        ("times must be finite and not before the start", not (np.isfinite(times) & (times >= 0)).all()),
        ("pitches must be 0..127", (notes["pitch"] > 127).any()),
        ("programs must be 0..127", (notes["program"] > 127).any()),
        ("a quarter must have 1..32767 ticks", not 1 <= score.ticks_per_quarter < 0x8000),
        ("tempos must start at tick 0, rise in tick and be 1..16777215 us a quarter",
         not _rises(score.tempos) or not all(1 <= tempo.us_per_quarter < 1 << 24 for tempo in score.tempos)),
        ("metres must start at tick 0, rise in tick and have 1..255 beats of a power of two up to 128",
         not _rises(score.metres) or not all(
             1 <= metre.beats <= 255 and metre.unit in (1, 2, 4, 8, 16, 32, 64, 128) for metre in score.metres)),
    ):
        if wrong:
            raise ScoreError(f"the score cannot be written as MIDI: {fault}")


def _rises(entries: tuple[Tempo, ...] | tuple[Metre, ...]) -> bool:
    ticks = [entry.tick for entry in entries]
    return ticks[:1] == [0] and all(a < b for a, b in pairwise(ticks))
