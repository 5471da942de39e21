"""Small MIDI files and scores, built by hand."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence

import mido
import numpy as np

from models.music.score import NOTE, Score, read_midi

Event = tuple[int, mido.Message | mido.MetaMessage]


def on(tick: int, pitch: int, velocity: int = 64, channel: int = 0) -> Event:
    return tick, mido.Message("note_on", note=pitch, velocity=velocity, channel=channel)


def off(tick: int, pitch: int, channel: int = 0) -> Event:
    return tick, mido.Message("note_off", note=pitch, channel=channel)


def program(tick: int, number: int, channel: int = 0) -> Event:
    return tick, mido.Message("program_change", program=number, channel=channel)


def meta(tick: int, kind: str, **values: int | str) -> Event:
    return tick, mido.MetaMessage(kind, **values)


def midi_file(*tracks: Sequence[Event], ticks_per_quarter: int = 500) -> io.BytesIO:
    """Tracks of (tick, event) as a file; with the standard tempo a tick is a millisecond."""
    midi = mido.MidiFile(type=1, ticks_per_beat=ticks_per_quarter)
    for events in tracks:
        track, before = mido.MidiTrack(), 0
        for tick, event in events:
            track.append(event.copy(time=tick - before))
            before = tick
        midi.tracks.append(track)
    stream = io.BytesIO()
    midi.save(file=stream)
    return stream


def read(*tracks: Sequence[Event], compat: bool = False, ticks_per_quarter: int = 500) -> Score:
    return read_midi(midi_file(*tracks, ticks_per_quarter=ticks_per_quarter), compat=compat)


def spans(score: Score) -> list[tuple[int, float, float]]:
    """Pitch, onset and end in ms of each note, in the order of the score."""
    notes = score.notes
    return [(int(n["pitch"]), float(n["onset_ms"]), float(n["onset_ms"] + n["duration_ms"])) for n in notes]


def score_of(notes: Iterable[Sequence[int]], name: str = "") -> Score:
    """A score of 1000 ticks a second from onset ms, duration ms, pitch, velocity, program, drum."""
    rows = np.zeros(len(notes := sorted(notes, key=lambda note: note[0])), dtype=NOTE)
    for i, (onset, duration, pitch, velocity, number, drum) in enumerate(notes):
        rows[i] = (onset, duration, onset, pitch, velocity, number, bool(drum))
    return Score(rows, name=name)
