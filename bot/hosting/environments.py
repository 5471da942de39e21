"""Virtual environments: Kapelle's own, which `bootstrap.py` makes, and the one that audiocraft needs for itself.

Torch goes first, so that no other package chooses a build of it: what pip offers where that is a CPU build or a local
file, a CPU build on machines without an NVIDIA driver, pip's default (CUDA) elsewhere. A stamp says what was installed.

This imports the standard library only: `bootstrap.py` needs it before anything else is there.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
ENVIRONMENT = {"LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}  # error texts in English, and no questions
# Settings that would make pip look at, or write to, another place than the environment it belongs to
MISLEADING = ("PYTHONPATH", "PYTHONHOME", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER", "VIRTUAL_ENV")

NETWORK_SIGNS = (
    "connection",
    "timed out",
    "name resolution",
    "dns error",
    "network is unreachable",
    "error sending request",
    "temporary failure",
    "failed to fetch",
)


class SetupError(Exception):
    """Why the set-up cannot go on, and what to do about it."""


class CommandError(SetupError):
    """A program that the set-up called has failed."""

    def __init__(self, reason: str, output: tuple[str, ...] = ()) -> None:
        super().__init__("".join(f"  | {line}\n" for line in output) + reason)
        self.reason = reason  # one line
        self.output = output  # its last lines


class DiskFullError(CommandError):
    """A program that the set-up called found no space left."""


class State(Enum):
    """What an environment is, by its stamp."""

    READY = "installed from the files that are here"
    OUTDATED = "complete, but installed from other files"
    UNFINISHED = "missing, half made, broken, or moved here from elsewhere"


class TorchBuild(Enum):
    """Where torch comes from."""

    OFFERED = "the build that pip offers here"
    CPU = "the build without CUDA"
    CUDA = "pip's default build"


def say(line: str) -> None:
    print(line, flush=True)


def digest(*contents: bytes) -> str:
    """A recipe of a stamp: a number for the contents of the files that decide what is installed."""
    whole = hashlib.sha256()
    for content in contents:
        whole.update(hashlib.sha256(content).digest())
    return whole.hexdigest()


# ---- calling programs


def without_hosts(text: str) -> str:
    """Blank out addresses and host names, which are the machine's business and not the reader's."""
    text = re.sub(r"\b[a-z+]+://[^\s'\")`>,]+", "<address>", text)
    text = re.sub(r"host='[^']*'", "host=<host>", text)
    return re.sub(r"\b(?:[a-z0-9-]+\.)+(?:com|dev|io|net|org)\b(?![/\\.\w-])", "<host>", text)


def progress_in(line: str) -> str:
    """Return what a newcomer wants to know of a line that pip or uv printed; empty for most lines."""
    download = re.match(r"\s*Downloading (?:\S*/)?([^\s/-]+)(?:-(\d[^\s-]*))?\S* \(([\d.]+ ?[MG]i?B)\)", line)
    if download:
        return f"downloading {' '.join(filter(None, download.groups()[:2]))} ({download[3]})"
    return "unpacking" if line.startswith("Installing collected packages") else ""


def failure(purpose: str, lines: list[str], again: str = "run make again") -> CommandError:
    """Make the error for a program whose output ended in `lines`; `again` is how to try once more."""
    last = [line for line in lines if line.strip()][-15:]
    text, end = "\n".join(last).lower(), tuple(without_hosts(line) for line in last)
    if "no space left on device" in text:
        return DiskFullError(f"{purpose} failed: the disk is full. Make room (3 GB, or 8 GB with CUDA) and {again}.", end)
    if any(sign in text for sign in NETWORK_SIGNS):
        return CommandError(f"{purpose} failed: the network did not answer. Check the connection and {again}.", end)
    return CommandError(f"{purpose} failed; the lines above say why.", end)


def run(
    purpose: str, *command: str | Path, again: str = "run make again", tell: Callable[[str], None] = say,
) -> list[str]:
    """Run a program and return what it printed; show how downloads go meanwhile.

    Raises CommandError, with the end of its output, where it fails.
    """
    try:
        process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={name: value for name, value in os.environ.items() if name not in MISLEADING} | ENVIRONMENT,
        )
    except OSError as error:
        raise CommandError(f"{purpose} failed: {command[0]} could not be started ({error.strerror})") from error
    lines: list[str] = []
    assert process.stdout is not None
    try:
        for line in process.stdout:
            lines.append(line.rstrip())
            progress = progress_in(line)
            if progress:
                tell(f"  {progress}")
    except BaseException:
        process.terminate()
        raise
    finally:
        code = process.wait()
    if code:
        raise failure(purpose, lines, again)
    return lines


# ---- environments


@dataclass(frozen=True)
class Environment:
    """A virtual environment and the versions that go into it."""

    folder: Path
    constraints: Path  # a line `name==version` for each package
    recipe: str  # what decides about its content, as `digest` makes it
    place: str  # where it was made; scripts in it hold absolute paths
    again: str = "run make again"
    tell: Callable[[str], None] = say

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    @property
    def stamp(self) -> Path:
        return self.folder / "kapelle-setup.json"

    @property
    def state(self) -> State:
        """Whether it can be used, brought up to date, or neither."""
        try:
            stamp = json.loads(self.stamp.read_text())
            place, installed = stamp["place"], stamp["recipe"]
        except (OSError, ValueError, KeyError, TypeError):
            return State.UNFINISHED
        # The python of an environment is a link to one that may have gone.
        if place != self.place or not os.access(self.python, os.X_OK):
            return State.UNFINISHED
        return State.READY if installed == self.recipe else State.OUTDATED

    def write_stamp(self) -> None:
        """Record that it is complete; the record appears whole or not at all."""
        unfinished = self.stamp.with_suffix(".part")
        unfinished.write_text(json.dumps({"place": self.place, "recipe": self.recipe}))
        unfinished.replace(self.stamp)

    def pinned(self, package: str) -> str:
        """Return the line of the constraints for `package`, such as `torch==2.13.0`."""
        for line in self.constraints.read_text().splitlines():
            if line.startswith(f"{package}=="):
                return line.strip()
        raise SetupError(f"{self.constraints.name} has no line {package}==...; restore the file from the repository")

    def run(self, purpose: str, *command: str | Path) -> list[str]:
        return run(purpose, *command, again=self.again, tell=self.tell)

    def install(self, purpose: str, *words: str | Path) -> None:
        """`pip install` with the versions of the constraints."""
        pip = (self.python, "-m", "pip", "--require-virtualenv", "--disable-pip-version-check", "--no-input")
        self.run(purpose, *pip, "install", "--constraint", self.constraints, *words)

    def make(self) -> None:
        """Make it anew, with pip and nothing else; whatever was there is gone."""
        if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
            package = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
            raise SetupError(f"this Python cannot make virtual environments; type: sudo apt-get install {package}")
        self.tell(f"Making a virtual environment in {self.folder.name} ...")
        self.run(f"Making {self.folder.name}", sys.executable, "-m", "venv", "--clear", self.folder)

    # ---- torch

    def install_torch(self) -> str:
        """Install the build of torch that suits this machine; returns its exact version."""
        torch = self.pinned("torch")
        build = choose_torch(self._offered_torch(torch), nvidia_driver_present(), self.again)
        self.tell(f"Installing {torch}, {build.value} ...")
        if build is TorchBuild.CPU:
            try:
                self.install("Installing uv", "uv")
                uv = (self.python, "-m", "uv", "pip", "install", "--python", self.python)
                self.run("Installing torch", *uv, "--torch-backend=cpu", "--constraint", self.constraints, torch)
                return self.installed_torch()
            except DiskFullError:
                raise
            except CommandError as error:
                self.tell(f"{error}\nGoing on with {TorchBuild.CUDA.value}: several GB, and it runs on the CPU as well.")
        self.install("Installing torch", torch)
        return self.installed_torch()

    def installed_torch(self) -> str:
        """Return the exact version of the torch in it, local label included, after importing it."""
        code = "import importlib.metadata, torch; print(importlib.metadata.version('torch'))"
        return self.run("Importing torch", self.python, "-c", code)[-1]

    def _offered_torch(self, torch: str) -> dict[str, Any]:
        """Return pip's report on the torch it would install on this machine."""
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder) / "report.json"
            look = ("--dry-run", "--no-deps", "--ignore-installed", "--report", report)
            self.install("Looking for torch", *look, torch)
            answer: dict[str, Any] = json.loads(report.read_text())
            return answer


def choose_torch(report: dict[str, Any], nvidia_driver: bool, again: str = "run make again") -> TorchBuild:
    """Decide which torch to install.

    `report` is what pip would install for torch, in the format of `pip install --report`.
    """
    try:
        (torch,) = report["install"]
        version, address = str(torch["metadata"]["version"]), str(torch["download_info"]["url"])
    except (KeyError, TypeError, ValueError) as error:
        raise SetupError(f"pip did not say which torch it would install; {again}, or update Python") from error
    if version.endswith("+cpu") or address.startswith("file:"):
        return TorchBuild.OFFERED
    return TorchBuild.CUDA if nvidia_driver else TorchBuild.CPU


def nvidia_driver_present() -> bool:
    return NVIDIA_DRIVER.exists() or shutil.which("nvidia-smi") is not None
