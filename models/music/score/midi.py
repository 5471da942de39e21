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

    A score that knows its parts has a track of each, in their order and with their names, and what
    starts at one tick is read back in that order. The first part of a program has its channel, further
    ones take what is free (above it where they can: players sit by their channels), and share the first
    one's when nothing is. Where parts share a channel and a later track's note would end at the tick at
    which an earlier one's starts with the same pitch, it ends a tick before: players read track by track.

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
    names = (_NOTES_TRACK,) if score.part is None else score.parts
    part = np.zeros(len(notes), dtype=np.int64) if score.part is None else score.part.astype(np.int64)
    channel, programs, changes = _channels(notes, end, part)
    end = _without_overlaps(128 * channel + notes["pitch"], start, end, part)

    conductor: list[tuple[int, int, mido.MetaMessage]] = []
    conductor += [(tick, 0, mido.MetaMessage("set_tempo", tempo=us)) for tick, us in score.tempos]
    conductor += [(tick, 1, mido.MetaMessage("time_signature", numerator=beats, denominator=unit))
                  for tick, beats, unit in score.metres]
    if score.name:
        conductor.append((0, 2, _track_name(score.name)))
    conductor.sort(key=lambda event: event[:2])

    # At one tick: ends, then changes of program, then notes without length, then starts.
    events: list[list[tuple[tuple[int, ...], mido.Message]]] = [[] for _ in names]
    for tick, number, program in changes:  # in the first of the tracks that may play it at that tick
        first = int(part[~notes["drum"] & (notes["program"] == program)].min())
        events[first].append(((tick, 1), mido.Message("program_change", channel=number, program=program)))
    columns = (part, start, end, channel, notes["pitch"], np.clip(notes["velocity"], 1, 127))
    for i, (mine, on, off, number, pitch, velocity) in enumerate(zip(*(c.tolist() for c in columns), strict=True)):
        rank = 3 if off > on else 2
        events[mine] += [
            ((on, rank, i, 0), mido.Message("note_on", channel=number, note=pitch, velocity=velocity)),
            ((off, 0, i, 1) if off > on else (off, 2, i, 1),
             mido.Message("note_off", channel=number, note=pitch, velocity=0))]

    midi = mido.MidiFile(type=1, ticks_per_beat=score.ticks_per_quarter, charset="utf-8")
    midi.tracks = [track_of([(tick, message) for tick, _, message in conductor])]
    for mine, name in enumerate(names):
        own = range(16) if score.part is None else _first_channels(notes[part == mine], channel[part == mine], programs)
        played = [(0, mido.Message("program_change", channel=number, program=programs[number])) for number in own]
        played += [(0, _track_name(name))]
        played += [(place[0], message) for place, message in sorted(events[mine], key=lambda event: event[0])]
        midi.tracks.append(track_of(played))
    stream = io.BytesIO()
    midi.save(file=stream)
    return stream.getvalue()


def _without_overlaps(key: np.ndarray, start: np.ndarray, end: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Ends of notes, cut where the next one of their key (channel and pitch) starts. All in ticks.

    Of those that start together, the last of the last part sounds, as long as the longest of them would. Within a channel
    of its own that is the longest itself.
    """
    order = np.lexsort((end, part, start, key))
    key, start, part, ends = key[order], start[order], part[order], end[order]
    same = key[1:] == key[:-1]
    together = same & (start[1:] == start[:-1])
    for i in np.flatnonzero(together).tolist():
        ends[i + 1] = max(ends[i], ends[i + 1])
    latest = np.maximum(start[1:] - (part[1:] < part[:-1]), start[:-1])
    ends[:-1] = np.where(same, np.minimum(ends[:-1], latest), ends[:-1])
    result = np.empty_like(end)
    result[order] = ends
    return result


def _track_name(name: str) -> mido.MetaMessage:
    return mido.MetaMessage("track_name", name=name.encode("utf-8", "replace").decode("utf-8"))


def _first_channels(notes: np.ndarray, channel: np.ndarray, programs: list[int]) -> list[int]:
    """The channels of a part that have its program from the start."""
    pairs = set(zip(channel.tolist(), notes["program"].tolist(), strict=True))
    return sorted(number for number, program in pairs if programs[number] == program)


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


def _channels(
    notes: np.ndarray, end: np.ndarray, part: np.ndarray
) -> tuple[np.ndarray, list[int], list[tuple[int, int, int]]]:
    """Channel of each note, the 16 programs at the start, and later changes: tick, channel, program.

    Parts of one program are told apart where no more than 15 programs are wanted.
    """
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
        channel_of = np.where(drums, DRUM_CHANNEL, table[notes["program"]])
        _tell_apart(notes, part, channel_of, programs)
        return channel_of, programs, []

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


def _tell_apart(notes: np.ndarray, part: np.ndarray, channel: np.ndarray, programs: list[int]) -> None:
    """Give the further parts of each program channels of their own, in place, as far as there are any."""
    melodic = ~notes["drum"]
    free = [number for number in _MELODIC_CHANNELS if number not in channel]
    before: dict[int, int] = {}  # program -> channel of its last part
    for mine, program in sorted(set(zip(part[melodic].tolist(), notes["program"][melodic].tolist(), strict=True))):
        own = melodic & (part == mine) & (notes["program"] == program)
        if program not in before:
            before[program] = int(channel[own][0])
        elif free:
            last = before[program]
            before[program] = number = min(free, key=lambda number: (number < last, number))
            free.remove(number)
            channel[own], programs[number] = number, program


def _check(score: Score) -> None:
    notes, part = score.notes, score.part
    times = np.concatenate((notes["onset_ms"], notes["duration_ms"], notes["onset_tick"]))
    for fault, wrong in (
        ("times must be finite and not before the start", not (np.isfinite(times) & (times >= 0)).all()),
        ("pitches must be 0..127", (notes["pitch"] > 127).any()),
        ("programs must be 0..127", (notes["program"] > 127).any()),
        ("parts must be one whole number for each note, of a part that has a name",
         part is not None and (part.shape != notes.shape or part.dtype.kind not in "iu"
                               or ((part < 0) | (part >= len(score.parts))).any())),
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
