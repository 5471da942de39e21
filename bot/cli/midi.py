"""`kapelle encode` and `kapelle render`: what can be done with a MIDI file one already has."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path
from typing import Annotated

import typer

from bot.cli.compose import SoundFormatOption
from bot.cli.terminal import say, shown


def encode(
    file: Annotated[Path, typer.Argument(help="A MIDI file.")],
    compat: Annotated[bool, typer.Option("--compat", help="Read it bit for bit as the seed system does.")] = False,
    nearest: Annotated[bool, typer.Option(
        "--nearest", help="Instruments without a channel go to the nearest one.")] = False,
) -> None:
    """Print a MIDI file as ids, a JSON list.

    The vocabulary is that of Los Angeles Music Composer; notes it has no instrument for are counted on stderr.
    """
    from models.music.score.midi import read_midi
    from models.music.vocabulary.los_angeles import encode as to_ids

    score = read_midi(file, compat=compat)
    for fault in score.faults:
        say(f"note: {fault}")
    encoded = to_ids(score, nearest=nearest)
    typer.echo(json.dumps(encoded.ids))
    if encoded.dropped_notes:
        programs = ", ".join(str(program) for program in encoded.dropped_programs)
        notes = "1 note" if encoded.dropped_notes == 1 else f"{encoded.dropped_notes:,} notes"
        advice = "" if nearest else "; --nearest keeps most of them"
        say(f"dropped {notes} of instruments without a channel: General MIDI program {programs} (from 0){advice}")


def render(
    file: Annotated[Path, typer.Argument(help="A MIDI file.")],
    sound_format: SoundFormatOption = "ogg",
    out: Annotated[Path | None, typer.Option(
        help="Folder for the files.", show_default="that of the MIDI file")] = None,
    title: Annotated[str, typer.Option(help="Above the picture.", show_default="the file's name")] = "",
) -> None:
    """Make a sound and a picture from a MIDI file."""
    from bot.settings import read_settings
    settings = read_settings()
    from bot.takes.shelf import opened, together
    from models.music.score.midi import read_midi
    from models.sound.rendering.roll import draw_roll
    from models.sound.rendering.sound import render_sound

    score = read_midi(file)
    for fault in score.faults:
        say(f"note: {fault}")
    with opened(out or file.parent) as folder:
        names = _free_names(folder, file.stem, sound_format)
        with together(names, folder) as drafts:
            sound = render_sound(file, drafts["sound"], format=sound_format, soundfont=settings.soundfont)
            draw_roll(score, drafts["roll"], title=shown(title or score.name or file.stem))
    typer.echo(f"{len(score)} note{'' if len(score) == 1 else 's'}, {sound.seconds:.1f} s of sound")
    for name in names.values():
        typer.echo(shown(str(folder / name)))


def _free_names(folder: Path, stem: str, sound_format: str) -> dict[str, str]:
    """Names for the files that no other file in the folder has."""
    from bot.takes.shelf import numbered
    taken = {path.name for path in folder.iterdir()}
    for number in count(1):
        free = numbered(stem, number)
        names = {"sound": f"{free}.{sound_format}", "roll": f"{free}.png"}
        if taken.isdisjoint(names.values()):
            break
    return names
