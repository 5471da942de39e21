"""The bytes of a MIDI file as notes in ticks, tempos, metres and programs.

Files come from strangers: nothing is allocated by a length that a file only claims, and notes
and events are counted while they are read. Where the standard lets readers skip something
(unknown chunks, system messages, meta events) it is skipped.
"""

from __future__ import annotations

import struct
from collections import deque
from dataclasses import dataclass, field

from models.errors import ScoreError

MAX_NOTES = 200_000
MAX_EVENTS = 1_000_000
MAX_NAME = 200  # characters
_LONGEST_METRE_UNIT = 7  # as a power of two: 128ths
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
    events: int = 0
    note_ons: int = 0


def read_tracks(data: bytes) -> Tracks:
    """Read a whole MIDI file of type 0 or 1. Raises ScoreError for anything else."""
    if not data:
        raise ScoreError("the MIDI file is empty")
    if data[:4] != b"MThd":
        raise ScoreError("this is not a MIDI file: it does not begin with MThd")
    if len(data) < 14:
        raise ScoreError("the MIDI file is cut short inside its header")
    length, kind, count, division = struct.unpack(">LHHH", data[4:14])
    if length < 6:
        raise ScoreError(f"the MIDI file's header has {length} bytes; at least 6 were expected")
    if kind == 2:
        raise ScoreError("MIDI files of type 2 (independent patterns) are not supported; save it as type 0 or 1")
    if kind > 2:
        raise ScoreError(f"the MIDI file says it is of type {kind}; 0 or 1 was expected")
    if division >= 0x8000:
        raise ScoreError("the MIDI file counts time in SMPTE frames; beats were expected")
    if not division:
        raise ScoreError("the MIDI file divides a quarter into 0 ticks; at least 1 was expected")
    tracks = Tracks(division)
    position, found = 8 + length, 0
    while found < count:
        if position + 8 > len(data):
            raise ScoreError(f"the MIDI file is cut short: {found} of its {count} tracks are there")
        name, length = struct.unpack(">4sL", data[position:position + 8])
        position += 8
        if name == b"MTrk":
            found += 1
            if position + length > len(data):
                raise ScoreError(f"the MIDI file is cut short inside track {found} of {count}")
            try:
                _read_track(data[position:position + length], tracks, first=found == 1)
            except IndexError:
                raise ScoreError(f"track {found} of the MIDI file ends in the middle of an event") from None
        position += length
    return tracks


def _read_track(data: bytes, tracks: Tracks, *, first: bool) -> None:
    """Add one track. An IndexError means that it ends too early."""
    # One loop over local names, not a function for each event: a corpus has tens of millions of them.
    position = tick = status = 0
    notes, programs, event_ticks = tracks.notes, tracks.programs, tracks.event_ticks
    events, note_ons = tracks.events, tracks.note_ons
    pending: dict[tuple[int, int], deque[tuple[int, int]]] = {}
    while position < len(data):
        delta = data[position]
        position += 1
        if delta > 127:
            delta, position = _long_number(data, position - 1)
        tick += delta
        events += 1
        if events > MAX_EVENTS:
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
                    break
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
        if command == 0xC0:
            programs[channel].append((tick, value))
        elif command != 0xD0:
            second = data[position]
            position += 1
            if command == 0x90 and second:
                note_ons += 1
                if note_ons > MAX_NOTES:
                    raise ScoreError(f"the MIDI file has more than {MAX_NOTES:,} notes")
                on = (tick, second if second < 128 else 127)
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
    for (channel, pitch), waiting in pending.items():
        if waiting:
            event_ticks.add(tick)
        notes.extend((start, tick, channel, pitch, velocity) for start, velocity in waiting)
    tracks.events, tracks.note_ons = events, note_ons


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
    try:
        decoded = text.decode("utf-8")
    except UnicodeDecodeError:
        decoded = text.decode("latin-1")
    return "".join(character for character in decoded[:MAX_NAME] if character.isprintable()).strip()
