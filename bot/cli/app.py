"""All commands in one, and what becomes of their errors: one line on stderr and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from bot.cli import audio, compose, doctor, install, midi, models, serve, train
from bot.cli.terminal import StoppedError, complain, hang_up, mend_streams
from models.errors import InputError, KapelleError

DONE, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130
DEBUG_VARIABLE = "KAPELLE_DEBUG"


@dataclass
class Options:
    """What stands before the command."""

    debug: bool = False


app = typer.Typer(
    name="kapelle", add_completion=False, rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
app.command("run")(serve.run)
app.command("compose")(compose.compose)
app.command("audio")(audio.audio)
app.command("encode")(midi.encode)
app.command("render")(midi.render)
app.add_typer(models.app, name="models")
app.add_typer(install.app, name="install")
app.command("train")(train.train)
app.command("doctor")(doctor.doctor)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version
        try:
            typer.echo(f"kapelle {version('kapelle')}")
        except PackageNotFoundError:
            typer.echo("kapelle (not installed, run from its folder)")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def kapelle(
    context: typer.Context,
    debug: Annotated[bool, typer.Option(
        "--debug", help=f"Show where an error arose (also: {DEBUG_VARIABLE}=1).")] = False,
    version: Annotated[bool, typer.Option(
        "--version", callback=_version, is_eager=True, help="Show the version.")] = False,
) -> None:
    """Kapelle makes music: a title goes in, pieces come out as MIDI, sound and picture."""
    options = context.ensure_object(Options)
    options.debug = options.debug or debug
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns its exit code: 0, 1 for a failure, 2 for bad input, 130 after Ctrl-C."""
    mend_streams()
    options = Options(debug=os.environ.get(DEBUG_VARIABLE, "") not in ("", "0"))
    try:
        return _run(arguments, options)
    except KeyboardInterrupt:
        complain("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        hang_up()  # the reader has left, as `head` does; there is nobody to tell
        return FAILED
    except Exception as error:
        if options.debug:
            traceback.print_exc()
        message, code = _told(error)
        complain(message)
        if isinstance(error, OSError):
            hang_up()  # it may be stdout itself that cannot be written to
        return code


def _run(arguments: Sequence[str], options: Options) -> int:
    command = typer.main.get_command(app)
    try:
        result = command.main(list(arguments), prog_name="kapelle", standalone_mode=False, obj=options)
        sys.stdout.flush()
    except SystemExit as ended:  # how typer answers a closed pipe
        raise BrokenPipeError from ended
    if result == INTERRUPTED:  # how typer answers Ctrl-C
        raise KeyboardInterrupt
    return result if isinstance(result, int) else DONE


def _told(error: Exception) -> tuple[str, int]:
    """One line about an error, and its exit code."""
    if isinstance(error, StoppedError):
        return str(error), INTERRUPTED
    if isinstance(error, InputError):
        return str(error), BAD_INPUT
    if isinstance(error, KapelleError):
        return str(error), FAILED
    if isinstance(error, typer.TyperException):  # options and arguments that cannot be parsed
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "kapelle"
        return f"{error.format_message()} (see {command} --help)", error.exit_code
    if isinstance(error, OSError):
        about = f"{error.filename}: " if error.filename is not None else ""
        return f"{about}{error.strerror or error}", FAILED
    first = (str(error).strip().splitlines() or [""])[0]
    return f"unexpected {type(error).__name__}: {first} (kapelle --debug ... shows where)", FAILED
