"""`kapelle doctor`: what is installed, what is missing, and what to type to get it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bot.cli.finding import Finding, found_or_told, how_to_install
from bot.cli.terminal import shown
from models.errors import KapelleError

if TYPE_CHECKING:
    from bot.settings import Settings

_OLDEST_PYTHON = (3, 11)
_SPACE_MB = 200  # for a few takes and their temporary files
_PACKAGES = ("numpy", "mido", "pretty_midi", "midi2audio", "soundfile", "pillow", "rapidfuzz", "safetensors",
             "huggingface_hub", "typer", "rich", "pydantic-settings", "discord.py", "aiohttp", "aiofiles", "sqlalchemy",
             "aiosqlite", "alembic", "prometheus-client", "babel", "transformers", "av", "soxr", "pyloudnorm", "scipy")
_IMPORTED_AS = {"pillow": "PIL", "pydantic-settings": "pydantic_settings", "discord.py": "discord",
                "prometheus-client": "prometheus_client"}
# In a process of its own: a broken installation of torch may take the process with it.
_ASK_TORCH = """
import torch
print(torch.__version__, torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU", sep="|")
"""


def doctor(
    online: Annotated[bool, typer.Option("--online", help="Also ask Discord about the token.")] = False,
) -> None:
    """Say what is installed and what is missing.

    The exit code is 1 when something is missing that composing needs or, where a token is set, the server.
    """
    from bot.settings import read_settings
    settings = read_settings()
    lacking = []
    for finding in examine(settings, online=online):
        mark = "MISSING" if finding.missing and finding.needed else "not there" if finding.missing else _well(finding)
        typer.echo(f"{mark:10}{finding.what:18} {shown(finding.found)}")
        if finding.missing:
            typer.echo(f"{'':10}{'':19}to get it: {finding.remedy}")
            if finding.needed:
                lacking.append(finding.what)
    if lacking:
        raise KapelleError(f"missing: {', '.join(lacking)}")
    server = "" if settings.discord_token is None else " and the server"
    typer.echo(f"everything that composing{server} needs is there")


def _well(finding: Finding) -> str:
    return "ok" if finding.seen else "not seen"


def examine(settings: Settings, *, online: bool = False) -> Iterator[Finding]:
    """Look at one thing after the other; `online` asks Discord, too."""
    yield _python()
    yield from _torch()
    yield _packages()
    yield _compiler()
    yield _fluidsynth()
    yield _soundfont(settings.soundfont)
    yield _space(settings.out)
    yield from _models(settings)
    from bot.cli.doctor_server import examine_server
    yield from examine_server(settings, online=online)


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
    return Finding("decoding step", "not compiled: composing on the CPU is slower", True, how_to_install("gcc"), False)


def _fluidsynth() -> Finding:
    program = shutil.which("fluidsynth")
    if program is None:
        return Finding("fluidsynth", "not on the PATH", True, how_to_install("fluidsynth"))
    asked = subprocess.run(
        [program, "--version"], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    lines = [line for line in asked.stdout.splitlines() if "version" in line.lower()]
    if asked.returncode or not lines:
        found = f"{program} does not run (exit code {asked.returncode})"
        return Finding("fluidsynth", found, True, how_to_install("fluidsynth"))
    return Finding("fluidsynth", f"{lines[0].strip()}, {program}")


def _soundfont(configured: Path | None) -> Finding:
    remedy = "let KAPELLE_SOUNDFONT name an .sf2 or .sf3 file, or unset it to use the one of the machine"
    if configured is None:
        remedy = f"{sys.executable} -m pip install --force-reinstall --no-deps pretty_midi"
    try:
        from models.sound.rendering.soundfont import FONT_PACKAGE, check_soundfont, default_soundfont, has_good_soundfont
        path = default_soundfont() if configured is None else check_soundfont(configured)
    except (KapelleError, OSError, ImportError) as error:
        return Finding("SoundFont", str(error), True, remedy)
    found = f"{path} ({path.stat().st_size / 1e6:.0f} MB)"
    if configured is None and not has_good_soundfont():
        return Finding("SoundFont", f"only the small one, takes sound thin: {found}", True, how_to_install(FONT_PACKAGE), False)
    return Finding("SoundFont", found)


def _space(out: Path) -> Finding:
    def look() -> str:
        from bot.takes.shelf import Shelf
        free = Shelf(out).free_bytes() / 1e6
        if free < _SPACE_MB:
            raise KapelleError(f"{free:.0f} MB left in {out.absolute()}, {_SPACE_MB} MB are wanted")
        return f"{free / 1000:.1f} GB left for takes in {out.absolute()}"

    return found_or_told("disk", look, "free some space, or let KAPELLE_OUT name another folder")


def _models(settings: Settings) -> Iterator[Finding]:
    """The pocket model is needed to compose, those that are offered to members where a token is set.

    Of MusicGen those are told of that are there or named in the settings.
    """
    from bot.cli.models import installed
    from models.engines.musicgen.published import PUBLISHED
    from models.engines.registry import AUDIOCRAFT, ENGINES
    offered = set(settings.engines) if settings.discord_token else set()
    found = [one for one in installed(settings.data)
             if one.name not in PUBLISHED or not one.missing or one.name in settings.engines]
    for one in found:
        yield Finding(one.name, one.state, one.missing, one.remedy, needed=one.name in {"pocket", *offered})
    if not any(one.name in PUBLISHED for one in found):
        yield Finding("MusicGen", f"none of its {len(PUBLISHED)} models is here (`kapelle models list` names them)", True,
                      "kapelle models fetch musicgen-small", needed=False)
    yield found_or_told(
        "audiocraft", lambda: _audiocraft(settings), "kapelle install audiocraft",
        needed=any(ENGINES[name].process == AUDIOCRAFT for name in offered))


def _audiocraft(settings: Settings) -> str:
    from bot.hosting.audiocraft import interpreter
    return str(interpreter(settings))
