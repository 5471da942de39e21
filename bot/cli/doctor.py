"""`kapelle doctor`: what is installed, what is missing, and what to type to get it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import typer

from models.errors import KapelleError

_OLDEST_PYTHON = (3, 11)
_SPACE_MB = 200  # for a few takes and their temporary files
_PACKAGES = ("numpy", "mido", "pretty_midi", "midi2audio", "soundfile", "pillow", "rapidfuzz", "safetensors",
             "huggingface_hub", "typer", "rich", "pydantic-settings")
_IMPORTED_AS = {"pillow": "PIL", "pydantic-settings": "pydantic_settings"}
# In a process of its own: a broken installation of torch may take the process with it.
_ASK_TORCH = """
import torch
print(torch.__version__, torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU", sep="|")
"""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    found: str
    missing: bool = False
    remedy: str = ""  # what to type or do when it is missing
    needed: bool = True  # to compose with the pocket engine


def doctor() -> None:
    """Say what is installed and what is missing.

    The exit code is 1 when something that composing needs is missing.
    """
    from bot.settings import read_settings
    settings = read_settings()
    lacking = []
    for finding in examine(settings.soundfont, settings.out, settings.data):
        mark = "ok" if not finding.missing else "MISSING" if finding.needed else "not there"
        typer.echo(f"{mark:10}{finding.what:19}{finding.found}")
        if finding.missing:
            typer.echo(f"{'':10}{'':19}to get it: {finding.remedy}")
            if finding.needed:
                lacking.append(finding.what)
    if lacking:
        raise KapelleError(f"missing: {', '.join(lacking)}")
    typer.echo("everything that composing needs is there")


def examine(soundfont: Path | None, out: Path, data: Path) -> Iterator[Finding]:
    """Look at one thing after the other."""
    yield _python()
    yield from _torch()
    yield _packages()
    yield _compiler()
    yield _fluidsynth()
    yield _soundfont(soundfont)
    yield _space(out)
    yield from _models(data)


def _python() -> Finding:
    found = ".".join(str(part) for part in sys.version_info[:3])
    oldest = ".".join(str(part) for part in _OLDEST_PYTHON)
    remedy = f"install Python {oldest} or newer"
    return Finding("Python", f"{found}, {sys.executable}", sys.version_info < _OLDEST_PYTHON, remedy)


def _torch() -> Iterator[Finding]:
    asked = subprocess.run([sys.executable, "-c", _ASK_TORCH], capture_output=True, text=True, check=False)
    if asked.returncode or "|" not in asked.stdout:
        reason = (asked.stderr.strip().splitlines() or [f"exit code {asked.returncode}"])[-1]
        yield Finding("torch", f"cannot be imported ({reason})", True, "make setup")
        return
    installed, device = asked.stdout.strip().splitlines()[-1].split("|")
    yield Finding("torch", f"{installed}, {os.cpu_count()} CPU cores")
    yield Finding("GPU", "none that torch can use; composing runs on the CPU" if device == "no GPU" else device)


def _packages() -> Finding:
    missing = [name for name in _PACKAGES if importlib.util.find_spec(_IMPORTED_AS.get(name, name)) is None]
    if missing:
        remedy = f"{sys.executable} -m pip install {' '.join(missing)}"
        return Finding("packages", f"without {', '.join(missing)}", True, remedy)
    return Finding("packages", ", ".join(f"{name} {_version(name)}" for name in _PACKAGES))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(version unknown)"


def _compiler() -> Finding:
    """The decoding step is compiled where it can be; it works without, at a fraction of the speed."""
    from models.network.native import library
    if library() is not None:
        return Finding("decoding step", "compiled for this CPU")
    return Finding("decoding step", "not compiled: composing on the CPU is slower", True, _how_to_install("gcc"), False)


def _fluidsynth() -> Finding:
    program = shutil.which("fluidsynth")
    if program is None:
        return Finding("fluidsynth", "not on the PATH", True, _how_to_install("fluidsynth"))
    asked = subprocess.run(
        [program, "--version"], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    lines = [line for line in asked.stdout.splitlines() if "version" in line.lower()]
    if asked.returncode or not lines:
        found = f"{program} does not run (exit code {asked.returncode})"
        return Finding("fluidsynth", found, True, _how_to_install("fluidsynth"))
    return Finding("fluidsynth", f"{lines[0].strip()}, {program}")


def _how_to_install(package: str) -> str:
    """The command for the first package manager that is there."""
    administrator = "" if not hasattr(os, "geteuid") or os.geteuid() == 0 else "sudo "
    commands = {
        "apt-get": f"{administrator}apt-get update && {administrator}apt-get install -y {package}",
        "dnf": f"{administrator}dnf install -y {package}",
        "pacman": f"{administrator}pacman -S {package}",
        "brew": f"brew install {package}",
    }
    return next((command for manager, command in commands.items() if shutil.which(manager)), f"install {package}")


def _soundfont(configured: Path | None) -> Finding:
    remedy = "let KAPELLE_SOUNDFONT name an .sf2 or .sf3 file, or unset it to use the one of pretty_midi"
    if configured is None:
        remedy = f"{sys.executable} -m pip install --force-reinstall --no-deps pretty_midi"

    def look() -> str:
        from models.rendering.sound import check_soundfont, default_soundfont
        path = default_soundfont() if configured is None else check_soundfont(configured)
        return f"{path} ({path.stat().st_size / 1e6:.0f} MB)"

    return _found_or_told("SoundFont", look, remedy)


def _space(out: Path) -> Finding:
    def look() -> str:
        from bot.takes import Shelf
        free = Shelf(out).free_bytes() / 1e6
        if free < _SPACE_MB:
            raise KapelleError(f"{free:.0f} MB left in {out.absolute()}, {_SPACE_MB} MB are wanted")
        return f"{free / 1000:.1f} GB left for takes in {out.absolute()}"

    return _found_or_told("disk", look, "free some space, or let KAPELLE_OUT name another folder")


def _models(data: Path) -> Iterator[Finding]:
    from bot.cli.models import installed
    for one in installed(data):
        yield Finding(one.name, one.state, one.missing, one.remedy, needed=one.name == "pocket")


def _found_or_told(what: str, look: Callable[[], str], remedy: str) -> Finding:
    try:
        return Finding(what, look())
    except (KapelleError, OSError, ImportError) as error:
        return Finding(what, str(error), True, remedy)
