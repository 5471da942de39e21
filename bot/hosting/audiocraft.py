"""The environment of audiocraft: where it is, how it is made, and how a worker process runs in it.

audiocraft 1.3.0 asks for torch 2.1 and companions of that age. It runs with what is current when it is installed
without its dependencies beside a hand-picked set, which pip cannot express, so it gets an environment of its own in
the data folder; Kapelle's is never touched. What its imports need beyond that set is in `models/engines/audiocraft/standins`.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bot.hosting.environments import CommandError, Environment, SetupError, State, digest, run
from bot.settings import PREFIX, Settings
from models.errors import InputError, KapelleError

FOLDER = "audiocraft"  # in the data folder
COMMAND = "kapelle install audiocraft"
VARIABLE = f"{PREFIX}AUDIOCRAFT_PYTHON"
NOT_INSTALLED = f"audiocraft is not installed; type: {COMMAND}"
_HOME = Path(__file__).resolve().parents[2]
_CONSTRAINTS = _HOME / "constraints-audiocraft.txt"
_WORKER = Path(__file__).with_name("audiocraft_worker.py")
_LEAST_FREE_BYTES = 4 * 10**9  # with CUDA it is about 10 GB; pip will say so

# What audiocraft's models import when they make sound; and what the worker and `kapelle audio` import when they run them
LIBRARIES = ("av", "demucs", "einops", "flashy", "julius", "librosa", "num2words", "omegaconf", "pyloudnorm",
             "sentencepiece", "torchmetrics", "transformers")
COMPANIONS = ("aiofiles", "huggingface_hub", "midi2audio", "mido", "numpy", "pillow", "pretty_midi", "pydantic-settings",
              "rapidfuzz", "rich", "safetensors", "soundfile", "soxr", "typer")


def interpreter(settings: Settings) -> Path:
    """The Python that audiocraft runs in. Raises InputError where there is none."""
    named = settings.audiocraft_python
    if named is None:
        made = environment(settings)
        if made.state is State.UNFINISHED:
            raise InputError(NOT_INSTALLED)
        return made.python
    python = Path(shutil.which(named) or named).absolute()
    if not python.is_file() or not os.access(python, os.X_OK):
        raise InputError(f"{VARIABLE} is {named}, which is no program; name a Python, or leave it out and type: {COMMAND}")
    return python


def command(settings: Settings, module: str = "bot.worker") -> list[str]:
    """Command line of a worker process for the engines of audiocraft, or of another module: `bot` is `kapelle` itself.

    The process finds Kapelle's packages by itself, in any working folder, and listens to no PYTHONPATH.
    Raises InputError where audiocraft is not installed.
    """
    return _command(interpreter(settings), module)


def environment(settings: Settings, tell: Callable[[str], None] = print) -> Environment:
    """The environment in the data folder, whether it is there or not. Raises InputError without the constraints."""
    folder = settings.data.absolute() / FOLDER
    try:
        recipe = digest(_CONSTRAINTS.read_bytes(), " ".join((*LIBRARIES, *COMPANIONS)).encode())
    except FileNotFoundError as error:
        raise InputError(
            f"{_CONSTRAINTS.name} is missing; {COMMAND} works in a checkout of Kapelle's repository only") from error
    return Environment(folder, _CONSTRAINTS, recipe, str(folder), again=f"type {COMMAND} again", tell=tell)


def install(settings: Settings, tell: Callable[[str], None]) -> str:
    """Make the environment, unless it is there and of these versions; returns what is installed and where, in one line.

    One that is half made or of other versions is made anew. Where a setting names an interpreter, that one is tried
    and nothing is installed. Raises InputError or KapelleError of one line, after `tell` was given the output of a
    program that failed.
    """
    if settings.audiocraft_python is not None:
        return f"{VARIABLE} names an interpreter with {check(interpreter(settings))}; there is nothing to install"
    made = environment(settings, tell)
    try:
        if not _ready(made):
            settings.data.mkdir(parents=True, exist_ok=True)
            with _only_one(settings.data, tell):
                if not _ready(made):  # by the one that was waited for
                    _make(made)
        return f"{made.pinned('audiocraft')} with {made.pinned('torch')} is in {made.folder}"
    except CommandError as error:
        for line in error.output:
            tell(f"  | {line}")
        raise KapelleError(error.reason) from error
    except SetupError as error:
        raise KapelleError(str(error)) from error


def check(python: Path) -> str:
    """Import all that a worker imports in an environment of audiocraft; returns versions. Raises KapelleError."""
    try:
        return run("Importing audiocraft", *_command(python, "bot.worker.audiocraft_check"))[-1]
    except CommandError as error:
        reason = error.output[-1] if error.output else error.reason
        raise KapelleError(f"audiocraft does not work in {python}: {reason}") from error


def _command(python: Path, module: str) -> list[str]:
    return [str(python), "-E", "-P", str(_WORKER), module]


def _ready(made: Environment) -> bool:
    return made.state is State.READY


def _make(made: Environment) -> None:
    shutil.rmtree(made.folder, ignore_errors=True)
    free = shutil.disk_usage(made.folder.parent).free
    if free < _LEAST_FREE_BYTES:
        raise SetupError(f"{made.folder.parent} has {free / 1e9:.1f} GB left, audiocraft needs at least "
                         f"{_LEAST_FREE_BYTES / 1e9:.0f} GB; make room, or choose another folder with {PREFIX}DATA")
    made.tell("Installing audiocraft. This happens once and takes some minutes.")
    made.make()
    made.install("Updating pip", "pip", "setuptools")
    kept = f"torch=={made.install_torch()}"
    made.tell("Installing what audiocraft needs ...")
    # Asking for the very torch that is there keeps pip from putting another one in its place.
    made.install("Installing packages", kept, "--no-build-isolation", *LIBRARIES, *COMPANIONS)
    audiocraft = made.pinned("audiocraft")
    made.tell(f"Installing {audiocraft} ...")
    made.install("Installing audiocraft", "--no-deps", "--no-build-isolation", audiocraft)
    made.tell("Trying whether it can be imported ...")
    check(made.python)
    made.write_stamp()


@contextmanager
def _only_one(folder: Path, tell: Callable[[str], None]) -> Iterator[None]:
    """Wait until no other installation works in the folder, and keep others waiting meanwhile."""
    held = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell("Another installation is at work here; waiting for it ...")
            fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)
