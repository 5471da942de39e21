"""`kapelle install`: what Kapelle does without unless it is asked for."""

from __future__ import annotations

import typer

from bot.cli.terminal import say

app = typer.Typer(help="Install what is optional.")


@app.callback()
def install() -> None:
    """Install what is optional."""


@app.command("audiocraft")
def audiocraft() -> None:
    """Install Meta's audiocraft into an environment of its own, in the data folder.

    It runs AudioGen, MAGNeT and MultiBand Diffusion, and MusicGen as its authors published it. Takes some minutes
    and 2 GB, or 10 GB with CUDA; an installation that was interrupted starts over.
    """
    from bot.hosting.audiocraft import install as into_its_own
    from bot.settings import read_settings
    typer.echo(into_its_own(read_settings(), say))
