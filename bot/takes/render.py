"""A finished take becomes files: notes as MIDI, sound and piano roll, or sound with a picture of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from bot.takes.shelf import Shelf, together
from models.engines.registry import COMPOSED
from models.errors import RenderingError, ScoreError
from models.interface.audio import AudioEngine, AudioPlan, AudioRequest, AudioTake
from models.interface.engine import Engine
from models.interface.midi import ComposeRequest, Plan, Take
from models.sound.rendering.sound import SoundFormat, fluidsynth_program
from models.sound.rendering.soundfont import check_soundfont, default_soundfont

AnyPlan = Plan | AudioPlan
AnyTake = Take | AudioTake
AnyRequest = ComposeRequest | AudioRequest


TakeT = TypeVar("TakeT", Take, AudioTake)


@dataclass(frozen=True)
class Rendered(Generic[TakeT]):
    """A take with its files; there are none when it holds no notes."""

    take: TakeT
    files: Mapping[str, Path]  # midi, sound, roll; of sound that was not composed: sound, wave, video
    seconds: float  # of sound
    notes: int = 0


@dataclass(frozen=True)
class Desk:
    """Where takes go and how they are to sound."""

    out: Path
    sound_format: SoundFormat = "ogg"
    soundfont: Path | None = None  # None: the default one

    def check(self, request: AnyRequest) -> None:
        """Find out what would keep the takes from being written, before anyone waits for them.

        Raises RenderingError, OutputError or InputError.
        """
        if isinstance(request, ComposeRequest):
            fluidsynth_program()
            if self.soundfont is None:
                default_soundfont()
            else:
                check_soundfont(self.soundfont)
        Shelf(self.out).check(request.takes, request.most_seconds, self.sound_format)


def render_take(engine: Engine, plan: AnyPlan, take: AnyTake, folder: Path, desk: Desk) -> Rendered[Any]:
    """Write a take's files to a folder that exists: all of them or none.

    Raises RenderingError; OSError where the folder is gone or its disk is full.
    """
    if isinstance(take, Take):
        assert isinstance(plan, Plan)
        return _notes(plan, take, folder, desk)
    assert isinstance(plan, AudioPlan)
    return _sound(cast(AudioEngine, engine), plan, take, folder, desk)


def _notes(plan: Plan, take: Take, folder: Path, desk: Desk) -> Rendered[Take]:
    from models.music.score.midi import write_midi
    from models.sound.rendering.roll import draw_roll
    from models.sound.rendering.sound import render_sound

    if not len(take.score):
        return Rendered(take, {}, 0.0)
    request = plan.request
    parameters = (f"take {take.number} of {request.takes}, {plan.engine}, {request.tokens} tokens, "
                  f"temperature {request.temperature:g}, seed {request.seed}")
    stem = f"take-{take.number}"
    names = {"midi": f"{stem}.mid", "sound": f"{stem}.{desk.sound_format}", "roll": f"{stem}.png"}
    try:
        with together(names, folder) as drafts:
            write_midi(take.score, drafts["midi"])
            sound = render_sound(drafts["midi"], drafts["sound"], format=desk.sound_format, soundfont=desk.soundfont)
            draw_roll(take.score, drafts["roll"], title=request.name, parameters=parameters, prime_seconds=take.prime_seconds)
    except ScoreError as error:  # of our own making, so not the input's fault
        raise RenderingError(f"take {take.number} could not be rendered: {error}") from error
    return Rendered(take, _placed(names, folder), sound.seconds, len(take.score))


def _sound(engine: AudioEngine, plan: AudioPlan, take: AudioTake, folder: Path, desk: Desk) -> Rendered[AudioTake]:
    from models.sound.audio.loudness import normalised
    from models.sound.audio.writing import write_audio
    from models.sound.rendering.film import write_film
    from models.sound.rendering.waveform import draw_waveform

    request = plan.request
    rate_hz = engine.rate_hz
    samples = normalised(engine.sound(plan, take), rate_hz).samples
    maker = "composed, NOT MusicGen" if plan.engine == COMPOSED else plan.engine
    parameters = (f"take {take.number} of {request.takes}, {maker}, {request.seconds:g} s, "
                  f"temperature {request.temperature:g}, guidance {request.guidance:g}, seed {request.seed}")
    stem = f"take-{take.number}{'-not-musicgen' if plan.engine == COMPOSED else ''}"
    names = {"sound": f"{stem}.{desk.sound_format}", "wave": f"{stem}.png"}
    if request.video:
        names["video"] = f"{stem}.mp4"
    with together(names, folder) as drafts:
        sound = write_audio(samples, rate_hz, drafts["sound"], format=desk.sound_format)
        draw_waveform(samples, rate_hz, drafts["wave"], title=request.name, parameters=parameters,
                      prime_seconds=take.given_seconds or None)
        if request.video:
            write_film(samples, rate_hz, drafts["video"], title=request.name, parameters=parameters)
    return Rendered(take, _placed(names, folder), sound.seconds)


def _placed(names: Mapping[str, str], folder: Path) -> dict[str, Path]:
    return {what: folder / name for what, name in names.items()}
