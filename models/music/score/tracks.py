"""The bytes of a MIDI file as notes in ticks, tempos, metres and programs.

Files come from strangers and from every program there was: nothing is allocated by a length that a file only claims, and notes
and events are counted while they are read. Where the standard lets readers skip something
(unknown chunks, system messages, meta events) it is skipped.
"""

from __future__ import annotations

import re
import struct
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field

from models.errors import ScoreError

MAX_NOTES = 200_000
MAX_EVENTS = 1_000_000
MAX_NAME = 200  # characters
_LONGEST_METRE_UNIT = 7  # as a power of two: 128ths
_JAPANESE = re.compile(r"[\u3041-\u30ff\u4e00-\u9fff\uff01-\uff5e]{2}")  # kana, kanji and wide letters, two together
_SYSTEM_DATA_BYTES = {0xF1: 1, 0xF2: 2, 0xF3: 1}


@dataclass
class Tracks:
    """What the tracks of a file say, in the order of tracks and, within one, of endings."""

    ticks_per_quarter: int
    name: str = ""  # of the first track
    notes: list[tuple[int, int, int, int, int]] = field(default_factory=list)  # start, end, channel, pitch, velocity
    tempos: dict[int, int] = field(default_factory=dict)  # microseconds to a quarter by tick, above 0
    metres: dict[int, tuple[int, int]] = field(default_factory=dict)  # beats and unit by tick
    programs: list[list[tuple[int, int]]] = field(default_factory=lambda: [[] for _ in range(16)])  # tick, program
    event_ticks: set[int] = field(default_factory=set)  # where anything but a tempo change happens
    played: list[tuple[int, int, int, int]] = field(default_factory=list)  # tick, status and data of channel messages
    faults: list[str] = field(default_factory=list)  # what is lost, for whoever chose the file
    end: int = 0  # the last tick of the longest track
    events: int = 0
    note_ons: int = 0


def read_tracks(data: bytes) -> Tracks:
    """Read a whole MIDI file, in whatever it is wrapped. Raises ScoreError for what is none.

    As players do, it passes over bytes before the header (RIFF, MacBinary), unknown chunks, wrong lengths of tracks and
    whatever stands behind the last one. Of a file that is cut short, what is whole is read, and `faults` says so. SMPTE
    frames become ticks of as long a time, under a constant tempo; patterns of type 2 follow one another.
    """
    if not data:
        raise ScoreError("the MIDI file is empty")
    begin = data.find(b"MThd")
    if begin < 0:
        raise ScoreError("this is not a MIDI file: there is no MThd in it")
    if len(data) < begin + 14:
        raise ScoreError("the MIDI file is cut short inside its header")
    length, kind, count, division = struct.unpack(">LHHH", data[begin + 4:begin + 14])
    if length < 6:
        raise ScoreError(f"the MIDI file's header has {length} bytes; at least 6 were expected")
    if kind > 2:
        raise ScoreError(f"the MIDI file says it is of type {kind}; 0, 1 or 2 was expected")
    if not division:
        raise ScoreError("the MIDI file divides a quarter into 0 ticks; at least 1 was expected")
    frames_tempo_us = 0
    if division >= 0x8000:
        division, frames_tempo_us = _frames(0x100 - (division >> 8), division & 0xFF)
    tracks = Tracks(division)
    position, found = begin + 8 + length, 0
    while found < count and (position := _chunk_from(data, position)) < len(data):
        name, length = struct.unpack(">4sL", data[position:position + 8])
        position += 8
        if name != b"MTrk":
            position += length
            continue
        found += 1
        end = _end_of_track(data, position, length)
        whole = _read_track(data[position:end], tracks, first=found == 1, begin=tracks.end if kind == 2 else 0,
                            as_long_as_told=end == position + length)
        if not whole and not tracks.faults:
            tracks.faults.append(f"track {found} of the MIDI file is cut short; what is whole of it was read")
        position = end
    if found < count and not tracks.faults:
        tracks.faults.append(f"the MIDI file is cut short: {found} of its {count} tracks are there, and were read")
    if frames_tempo_us:
        tracks.tempos = {0: frames_tempo_us}
    return tracks


def _frames(frames: int, ticks: int) -> tuple[int, int]:
    """Ticks to a quarter and microseconds to one, for time in frames a second and ticks a frame."""
    if frames not in (24, 25, 29, 30) or not ticks:
        raise ScoreError(f"the MIDI file counts {frames} frames of {ticks} ticks; 24, 25, 29 or 30 of 1 to 255 were expected")
    second_us = 1_001_000 if frames == 29 else 1_000_000  # 29 stands for 30 in 1.001 s
    a_second = (30 if frames == 29 else frames) * ticks
    return (a_second, second_us) if a_second % 2 else (a_second // 2, second_us // 2)


def _chunk_from(data: bytes, position: int) -> int:
    """Where the next chunk begins: here, or with the next track; the file's length where none does."""
    if position + 8 <= len(data) and _is_name(data[position:position + 4]):
        return position
    begin = data.find(b"MTrk", position)
    return begin if 0 <= begin <= len(data) - 8 else len(data)


def _end_of_track(data: bytes, position: int, length: int) -> int:
    """Where a track's bytes end at the latest, its length being wrong where no chunk and not the file's end follows."""
    end = position + length
    if end == len(data) or _is_name(data[end:end + 4]):
        return end
    following = data.find(b"MTrk", position)
    return following if following >= 0 else len(data)


def _is_name(name: bytes) -> bool:
    return len(name) == 4 and all(0x20 <= byte < 0x7F for byte in name)


def _read_track(data: bytes, tracks: Tracks, *, first: bool, begin: int, as_long_as_told: bool) -> bool:
    """Add one track, which begins at a tick. False where it is cut short: then what is whole of it counts."""
    pending: dict[tuple[int, int], deque[tuple[int, int]]] = {}
    before = len(tracks.played)
    try:
        tick, ended = _read_events(data, tracks, pending, first=first, begin=begin)
        whole = ended or as_long_as_told
    except IndexError:
        tick, whole = (tracks.played[-1][0] if len(tracks.played) > before else begin), False
    for (channel, pitch), waiting in pending.items():
        if waiting:
            tracks.event_ticks.add(tick)
        tracks.notes.extend((start, tick, channel, pitch, velocity) for start, velocity in waiting if whole or start < tick)
        tracks.played.extend((tick, 0x80 | channel, pitch, 0) for _ in waiting)
    tracks.end = max(tracks.end, tick)
    return whole


def _read_events(data: bytes, tracks: Tracks, pending: dict[tuple[int, int], deque[tuple[int, int]]], *, first: bool,
                 begin: int) -> tuple[int, bool]:
    """The last tick of a track, and whether it says that it ends there; `pending` has the notes that it does not end.

    An IndexError means that it stops in the middle of an event.
    """
    # One loop over local names, not a function for each event: a corpus has tens of millions of them.
    position = status = 0
    tick = begin
    notes, programs, event_ticks, played = tracks.notes, tracks.programs, tracks.event_ticks, tracks.played
    while position < len(data):
        delta = data[position]
        position += 1
        if delta > 127:
            delta, position = _long_number(data, position - 1)
        tick += delta
        tracks.events += 1
        if tracks.events > MAX_EVENTS:
            raise ScoreError(f"the MIDI file has more than {MAX_EVENTS:,} events")
        byte = data[position]
        if byte > 127:
            position += 1
            if byte == 0xFF:
                kind = data[position]
                length, position = _long_number(data, position + 1)
                content = data[position:position + length]
                position += length
                if len(content) < length:
                    raise IndexError
                if kind == 0x2F:  # end of track; what follows in the chunk is not music
                    if delta:
                        event_ticks.add(tick)
                    return tick, True
                if kind == 0x51:
                    if len(content) >= 3 and (tempo := int.from_bytes(content[:3], "big")):
                        tracks.tempos[tick] = tempo
                    continue
                if kind == 0x58 and len(content) >= 2 and content[0] and content[1] <= _LONGEST_METRE_UNIT:
                    tracks.metres[tick] = content[0], 2 ** content[1]
                elif kind == 0x03 and first and not tracks.name:
                    tracks.name = _readable(content)
                event_ticks.add(tick)
                continue
            if byte >= 0xF0:
                if byte in (0xF0, 0xF7):
                    length, position = _long_number(data, position)
                    position += length
                    if position > len(data):
                        raise IndexError
                else:
                    position += _SYSTEM_DATA_BYTES.get(byte, 0)
                event_ticks.add(tick)
                continue
            status = byte
        elif not status:
            raise ScoreError("a track of the MIDI file begins with data that belongs to no event")
        value = data[position]
        position += 1
        if value > 127:
            value = 127
        command, channel = status & 0xF0, status & 0x0F
        if command in (0xC0, 0xD0):
            played.append((tick, status, value, 0))
            if command == 0xC0:
                programs[channel].append((tick, value))
        else:
            second = min(data[position], 127)
            position += 1
            played.append((tick, status, value, second))
            if command == 0x90 and second:
                tracks.note_ons += 1
                if tracks.note_ons > MAX_NOTES:
                    raise ScoreError(f"the MIDI file has more than {MAX_NOTES:,} notes")
                on = (tick, second)
                if (channel, value) in pending:
                    pending[channel, value].append(on)
                else:
                    pending[channel, value] = deque((on,))
            elif command in (0x80, 0x90):
                waiting = pending.get((channel, value))
                if not waiting:
                    continue  # ends nothing: not an event
                start, velocity = waiting.popleft()
                notes.append((start, tick, channel, value, velocity))
        event_ticks.add(tick)
    return tick, False


def _long_number(data: bytes, position: int) -> tuple[int, int]:
    """A number of one to four bytes with seven bits each, and the position after it."""
    number = 0
    for place in range(position, position + 4):
        byte = data[place]
        number = number << 7 | byte & 0x7F
        if byte < 0x80:
            return number, place + 1
    raise ScoreError("the MIDI file holds a number longer than the four bytes that are allowed")


def _readable(text: bytes) -> str:
    """Text without control characters, shortened; MIDI files do not say how they encode it."""
    decoded = " ".join(_decoded(text)[:MAX_NAME].split())
    return "".join(character for character in decoded if character.isprintable())


def _decoded(text: bytes) -> str:
    """As UTF-8 where it is that; as Shift-JIS where that makes Japanese; else as Latin-1 with Windows' additions.

    Accents stand alone among plain letters, so that what they give in Shift-JIS is at most single kanji.
    """
    with suppress(UnicodeDecodeError):
        return text.decode("utf-8")
    with suppress(UnicodeDecodeError):
        if _JAPANESE.search(japanese := text.decode("cp932")):
            return japanese
    try:
        return text.decode("cp1252")
    except UnicodeDecodeError:  # it leaves five codes free
        return text.decode("latin-1")
