"""What an operator may allow where there is no MusicGen: the pocket model composes to the description instead.

It is called `composed`, and everything it makes says that it is not MusicGen.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from models.decoding.sequence import Sequence
from models.errors import InputError
from models.interface.audio import AudioPlan, AudioRequest, AudioTake
from models.interface.engine import Batches, Engine, Host
from models.interface.midi import LONGEST_TITLE, ComposeRequest
from models.interface.midi import Take as Notes
from models.music.score.midi import write_midi
from models.scratch import Scratch
from models.sound.rendering.sound import render_sound

NOTICE = "this is not MusicGen: the pocket model composed it, and a SoundFont plays it"
_NOTES_A_SECOND = 8.0  # of most takes; what is too long is cut, what is too short stays so


class ComposedEngine:
    """Takes requests for sound and answers them with notes."""

    name = "composed"
    rate_hz = 44_100

    def __init__(self, composer: Engine, soundfont: Path | None = None) -> None:
        self._composer = composer
        self._soundfont = soundfont

    @property
    def batcher(self) -> Batches:
        return self._composer.batcher

    def plan(self, request: AudioRequest) -> AudioPlan:
        """Raises InputError where MusicGen itself is needed."""
        if request.melody is not None or request.continuation is not None:
            raise InputError("following a melody and carrying on a sound need MusicGen, which is not installed here")
        tokens = min(max(round(3 * _NOTES_A_SECOND * request.seconds), 32), 2048)
        temperature = min(max(request.temperature * 0.9, 0.1), 1.5)  # the usual ones of both are 1 and 0.9
        composed = self._composer.plan(ComposeRequest(
            request.prompt.strip()[:LONGEST_TITLE], tokens=tokens, takes=request.takes, temperature=temperature,
            seed=request.seed))
        return AudioPlan(request, self.name, notices=(NOTICE,), condition=composed)

    def sequences(self, plan: AudioPlan) -> list[Sequence]:
        return self._composer.sequences(plan.condition)

    def take(self, plan: AudioPlan, sequence: Sequence) -> AudioTake:
        return AudioTake(sequence.take, self._composer.take(plan.condition, sequence))

    def sound(self, plan: AudioPlan, take: AudioTake) -> np.ndarray:
        """Samples, (frames, 2). Raises RenderingError."""
        notes: Notes = take.content
        with Scratch.make("composed-") as folder:
            midi, sound = folder / "piece.mid", folder / "piece.wav"
            write_midi(notes.score, midi)
            render_sound(midi, sound, soundfont=self._soundfont)
            return read_wav(sound, plan.request.seconds)


def read_wav(path: Path, seconds: float) -> np.ndarray:
    """The beginning of a WAV file, which fades out where it is cut."""
    import soundfile
    samples, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    length = round(seconds * rate_hz)
    if len(samples) > length:
        samples = samples[:length]
        fade = min(rate_hz // 2, length)
        samples[-fade:] *= np.linspace(1, 0, fade, dtype=np.float32)[:, None]
    return np.asarray(samples)


def load(name: str, model: Path | None, host: Host, composer: Engine) -> ComposedEngine:
    """The engine for the registry."""
    return ComposedEngine(composer, host.soundfont)
