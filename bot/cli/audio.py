"""`kapelle audio`: a description goes in, sound comes out."""

from __future__ import annotations

import json
import os
import secrets
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from bot.cli.compose import SoundFormatOption
from bot.cli.making import make
from bot.cli.terminal import say
from models.errors import InputError

if TYPE_CHECKING:
    from bot.settings import Settings
    from bot.takes.compose import Composition
    from models.interface.audio import AudioPlan, AudioTake

RuntimeOption = Literal["transformers", "audiocraft"]


def audio(
    prompt: Annotated[str, typer.Argument(help="What it sounds like, best in English.")],
    seconds: Annotated[float, typer.Option(help="Length of a take, what it carries on included: 1 to 120.")] = 10.0,
    takes: Annotated[int, typer.Option(help="How many takes to make: 1 to 4.")] = 1,
    melody: Annotated[Path | None, typer.Option(help="A sound file whose melody is followed.")] = None,
    continuation: Annotated[Path | None, typer.Option("--continue", help="A sound file to carry on.")] = None,
    temperature: Annotated[float, typer.Option(help="From careful to bold: 0 (always the likeliest) to 2.")] = 1.0,
    top_k: Annotated[int, typer.Option(help="Draw from so many of the likeliest: 0 (all) to 2048.")] = 250,
    top_p: Annotated[float, typer.Option(help="Instead: from those that make up this share, 0 (off) to 1.")] = 0.0,
    guidance: Annotated[float, typer.Option(help="How closely the prompt is followed: 0 to 100; 1: not pushed.")] = 3.0,
    stride: Annotated[float, typer.Option(help="Beyond 30 s: seconds by which each window moves on, 1 to 29.")] = 18.0,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same takes.", show_default="by chance")] = None,
    model: Annotated[str | None, typer.Option(
        help="Name of a model, such as musicgen-medium, or its folder.", show_default="musicgen-small")] = None,
    stereo: Annotated[bool, typer.Option("--stereo", help="Two channels: the stereo model of that name.")] = False,
    runtime: Annotated[RuntimeOption, typer.Option(help="audiocraft is Meta's own library.")] = "transformers",
    video: Annotated[bool, typer.Option("--video", help="Also an MP4 with the waveform.")] = False,
    sound_format: SoundFormatOption = "ogg",
    out: Annotated[Path | None, typer.Option(help="Where the folder of takes is made.", show_default="takes")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a summary.")] = False,
) -> None:
    """Make sound from a description: each take a sound file and a picture of it."""
    from bot.settings import read_settings
    settings = read_settings()
    settings.limit_threads()
    from models.interface.audio import AudioRequest

    if any("\ud800" <= character <= "\udfff" for character in prompt):
        raise InputError("the prompt is not valid UTF-8 text")
    request = AudioRequest(
        prompt=prompt, seconds=seconds, takes=takes, temperature=temperature, top_k=top_k, top_p=top_p, guidance=guidance,
        seed=secrets.randbelow(2**32) if seed is None else seed, stride=stride, video=video, melody=melody,
        continuation=continuation)
    engine, folder = chosen(model, stereo=stereo, melody=melody is not None, runtime=runtime, settings=settings)
    if runtime == "audiocraft":
        _go_over_to_audiocraft(settings)

    from bot.takes.render import Desk

    desk = Desk(out or settings.out, sound_format, settings.soundfont)
    desk.check(request)
    composition = make(engine, folder, request, desk, settings)
    if as_json:
        typer.echo(document(composition, sound_format))
    else:
        print_summary(composition)


def chosen(
    model: str | None, *, stereo: bool, melody: bool, runtime: RuntimeOption, settings: Settings,
) -> tuple[str, Path | None]:
    """The engine that is meant, and the folder of its model where one was named. Raises InputError."""
    from models.engines.audiocraft.published import why_not
    from models.engines.registry import AUDIOCRAFT, COMPOSED, ENGINES
    folder = Path(model) if model and (os.sep in model or Path(model).is_dir()) else None
    if folder is not None:
        name = folder.resolve().name
        name = name if name in ENGINES else "musicgen-melody" if melody else "musicgen-small"
    else:
        name = model or ("musicgen-melody" if melody else "musicgen-small")
        if stereo and "stereo" not in name:
            name = name.replace("musicgen-", "musicgen-stereo-", 1)
        if runtime == "transformers" and name == "musicgen-stereo-small" and melody:
            name = "musicgen-stereo-melody"
    engine = f"audiocraft-{name}" if runtime == "audiocraft" else name
    if runtime == "audiocraft" and (reason := why_not(name)):
        raise InputError(reason)
    if engine not in ENGINES or ENGINES[engine].kind != "audio":
        process = AUDIOCRAFT if runtime == "audiocraft" else "musicgen"
        known = [one.removeprefix("audiocraft-") for one, listed in ENGINES.items() if listed.process == process]
        raise InputError(f"there is no model {name!r}; there are {', '.join(known)}, or name the folder of one")
    if folder is None and not ENGINES[engine].installed(settings.data) and settings.audio_fallback == "compose":
        say(f"note: {name} is not on this machine. THIS IS NOT MUSICGEN: the pocket model composes, and a SoundFont plays")
        return COMPOSED, None
    return engine, folder


def _go_over_to_audiocraft(settings: Settings) -> None:
    """Go on as the same command in the environment of audiocraft, unless that is where we are."""
    from bot.hosting.audiocraft import command, interpreter
    if Path(sys.executable) != interpreter(settings):
        words = command(settings, "bot")
        os.execv(words[0], [*words, *sys.argv[1:]])


def document(composition: Composition[AudioPlan, AudioTake], sound_format: str) -> str:
    """A composition as one line of JSON."""
    plan = composition.plan
    request = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(plan.request).items()}
    seed = request.pop("seed")
    return json.dumps({
        "engine": plan.engine, "licence": plan.licence, "seed": seed, "parameters": {**request, "format": sound_format},
        "notices": list(plan.notices), "folder": str(composition.folder.absolute()), "seconds": round(composition.seconds, 3),
        "takes": [{
            "number": one.take.number, "files": {what: str(path.absolute()) for what, path in one.files.items()},
            "seconds": round(one.seconds, 3)} for one in composition.takes],
    })


def print_summary(composition: Composition[AudioPlan, AudioTake]) -> None:
    """Print each take with its files, and where they are."""
    from rich.console import Console
    from rich.table import Table

    from bot.cli.terminal import shown
    plan = composition.plan
    console = Console(file=sys.stdout, highlight=False, markup=False)
    for notice in plan.notices:
        console.print(shown(f"note: {notice}"), soft_wrap=True)
    takes = Table(box=None, pad_edge=False)
    for name in ("take", "seconds"):
        takes.add_column(name, justify="right")
    takes.add_column("files")
    for one in composition.takes:
        takes.add_row(str(one.take.number), f"{one.seconds:.1f}", " ".join(path.name for path in one.files.values()))
    console.print(takes)
    licence = f"; the weights of {plan.engine} are {plan.licence}: not for commercial use" if plan.licence else ""
    console.print(shown(f"made in {composition.seconds:.1f} s; seed {plan.request.seed}{licence}"), soft_wrap=True)
    console.print(shown(f"files are in {composition.folder}"), soft_wrap=True)
