"""`kapelle compose`: a title goes in, takes come out."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Annotated, Literal

import typer

from bot.cli.making import make
from models.errors import InputError

SoundFormatOption = Annotated[Literal["ogg", "mp3", "wav"], typer.Option("--format", help="Of the sound files.")]


def compose(
    title: Annotated[str, typer.Argument(help="What the piece is called; may be empty when there is an artist.")] = "",
    artist: Annotated[str, typer.Option(help="Who wrote or plays it.")] = "",
    tokens: Annotated[int, typer.Option(help="Length of a take at most, three to a note: 32 to 2048.")] = 512,
    bars: Annotated[int | None, typer.Option(
        help="How many bars a take has, 1 to 512: --bars 16 is a short song. Tokens stay the limit. Engine pocket only.",
        show_default="as many as suit the tokens")] = None,
    takes: Annotated[int, typer.Option(help="How many pieces to make: 1 to 16.")] = 4,
    temperature: Annotated[float, typer.Option(help="From careful to bold: 0.1 to 1.5.")] = 0.9,
    seed: Annotated[int | None, typer.Option(
        help="The same seed gives the same takes.", show_default="by chance")] = None,
    engine: Annotated[str, typer.Option(help="pocket or la-composer.")] = "pocket",
    model: Annotated[Path | None, typer.Option(help="Folder of another model for the engine.")] = None,
    stop_at_end: Annotated[bool, typer.Option(
        "--stop-at-end", help="Let la-composer end a piece before its tokens are used up; pocket always ends by itself, "
        "with a whole bar.")] = False,
    continuation: Annotated[Path | None, typer.Option(
        "--continue", help="A MIDI file to carry on; tokens are those that come to it.")] = None,
    sound_format: SoundFormatOption = "ogg",
    out: Annotated[Path | None, typer.Option(help="Where the folder of takes is made.", show_default="takes")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a summary.")] = False,
) -> None:
    """Compose takes from a title and an artist: each a MIDI file, a sound and a picture."""
    from bot.settings import read_settings
    settings = read_settings()
    settings.limit_threads()
    from bot.cli.summary import document, print_summary
    from bot.takes.render import Desk
    from models.interface.midi import ComposeRequest

    for name, text in (("title", title), ("artist", artist)):
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise InputError(f"the {name} is not valid UTF-8 text")
    request = ComposeRequest(
        title=title, artist=artist, tokens=tokens, takes=takes, temperature=temperature,
        seed=secrets.randbelow(2**32) if seed is None else seed, stop_at_end=stop_at_end,
        continuation=continuation, bars=bars)
    desk = Desk(out or settings.out, sound_format, settings.soundfont)
    desk.check(request)

    composition = make(engine, model, request, desk, settings)
    if as_json:
        typer.echo(document(composition, model, sound_format))
    else:
        print_summary(composition)
