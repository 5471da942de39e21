"""MIDI for a synthesizer: what was read of a file, and nothing else, with everything in it that is heard.

Synthesizers stumble over what files bring along (chunks before the tracks, hundreds of tracks, tempos of 0) or play on for as
long as one of their tracks is silent. So they are given a file of our own: the tempos and all channel messages as they were
read, pedals, bends, volumes, programs and banks included, in one track that ends when the music does.
"""

from __future__ import annotations

import io
import math

import mido
import numpy as np

from models.music.score.midi import track_of
from models.music.score.notes import Score
from models.music.score.seats import REVERB, seats
from models.music.score.tracks import Tracks

PAN, REVERB_SEND, ALL_SOUND_OFF = 10, 91, 120  # controllers
_CONTROL, _PROGRAM, _PRESSURE = 0xB0, 0xC0, 0xD0
_ONE_BYTE = (_PROGRAM, _PRESSURE)  # of data


def playable(tracks: Tracks, score: Score, *, tail_seconds: float) -> bytes:
    """A MIDI file of type 0 that ends `tail_seconds` after the last note of `score`, which `tracks` were read as.

    A channel that the file gives no place in the room gets that of its instrument, and some reverb. Every voice is silenced
    at the end: one that no note-off ends would sound for ever.
    """
    last = _tick_at(score, (score.seconds + tail_seconds) * 1000)
    controlled = {(status & 0x0F, value) for _, status, value, _ in tracks.played if status & 0xF0 == _CONTROL}
    events: list[tuple[int, mido.Message | mido.MetaMessage]] = [
        (tempo.tick, mido.MetaMessage("set_tempo", tempo=tempo.us_per_quarter)) for tempo in score.tempos if tempo.tick <= last]
    for tick, channel, place in seats(tracks):
        if (channel, PAN) not in controlled and tick <= last:
            events.append((tick, mido.Message("control_change", channel=channel, control=PAN, value=place)))
    for channel in sorted({channel for _, _, channel, _, _ in tracks.notes}):
        if (channel, REVERB_SEND) not in controlled:
            events.append((0, mido.Message("control_change", channel=channel, control=REVERB_SEND, value=REVERB)))
    # Stable: at a tick what is set stands before what is played with it, and the order within a track is kept.
    events += [(tick, _message(status, first, second)) for tick, status, first, second in tracks.played if tick <= last]
    events += [(last, mido.Message("control_change", channel=channel, control=ALL_SOUND_OFF)) for channel in range(16)]
    events.sort(key=lambda event: event[0])
    midi = mido.MidiFile(type=0, ticks_per_beat=score.ticks_per_quarter)
    midi.tracks = [track_of(events)]
    stream = io.BytesIO()
    midi.save(file=stream)
    return stream.getvalue()


def _message(status: int, first: int, second: int) -> mido.Message:
    return mido.Message.from_bytes((status, first) if status & 0xF0 in _ONE_BYTE else (status, first, second))


def _tick_at(score: Score, ms: float) -> int:
    """The first tick that is not before `ms`."""
    ticks = np.array([tempo.tick for tempo in score.tempos])
    ms_per_tick = np.array([tempo.us_per_quarter for tempo in score.tempos]) / (1000 * score.ticks_per_quarter)
    starts_ms = np.concatenate(([0.0], np.cumsum(np.diff(ticks) * ms_per_tick[:-1])))
    segment = int(np.searchsorted(starts_ms, ms, side="right")) - 1
    return int(ticks[segment]) + math.ceil(float((ms - starts_ms[segment]) / ms_per_tick[segment]))
