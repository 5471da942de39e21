"""Set-up behind the Makefile: makes `.venv`, installs torch and the rest, sees to fluidsynth.

Runs on any Python from 3.11 on and needs its standard library only. Torch goes first, so that no
other package chooses a build of it: what pip offers where that is a CPU build or a local file, a CPU
build on machines without an NVIDIA driver, pip's default (CUDA) elsewhere. A stamp in `.venv` says
what was installed; while it holds there is nothing to do, and without it `.venv` is made anew.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent
OLDEST_PYTHON = (3, 11)
RECIPE = ("pyproject.toml", "constraints.txt", "bootstrap.py")
NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
ENVIRONMENT = {"LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}  # error texts in English, and no questions

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
    """A program that the set-up called has failed; its last lines are in the message."""


class DiskFullError(CommandError):
    """A program that the set-up called found no space left."""


class State(Enum):
    """What `.venv` is, by its stamp."""

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


# ---- what is there already


def recipe(root: Path) -> str:
    """Return a digest of the files that decide what belongs into `.venv`."""
    digest = hashlib.sha256()
    for name in RECIPE:
        digest.update(hashlib.sha256((root / name).read_bytes()).digest())
    return digest.hexdigest()


def stamp_file(root: Path) -> Path:
    return root / ".venv" / "kapelle-setup.json"


def state_of(root: Path) -> State:
    """Say whether the `.venv` of the project in `root` can be used, brought up to date, or neither."""
    try:
        stamp = json.loads(stamp_file(root).read_text())
        place, installed = stamp["place"], stamp["recipe"]
    except (OSError, ValueError, KeyError, TypeError):
        return State.UNFINISHED
    # Scripts in a venv hold absolute paths, and its python is a link to one that may have gone.
    if place != str(root) or not os.access(venv_python(root), os.X_OK):
        return State.UNFINISHED
    return State.READY if installed == recipe(root) else State.OUTDATED


def write_stamp(root: Path) -> None:
    """Record that `.venv` is complete; the record appears whole or not at all."""
    unfinished = stamp_file(root).with_suffix(".part")
    unfinished.write_text(json.dumps({"place": str(root), "recipe": recipe(root)}))
    unfinished.replace(stamp_file(root))


def venv_python(root: Path) -> Path:
    return root / ".venv" / "bin" / "python"


def pinned(root: Path, package: str) -> str:
    """Return the line of constraints.txt for `package`, such as `torch==2.13.0`."""
    for line in (root / "constraints.txt").read_text().splitlines():
        if line.startswith(f"{package}=="):
            return line.strip()
    raise SetupError(f"constraints.txt has no line {package}==...; restore the file from the repository")


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


def failure(purpose: str, lines: list[str]) -> CommandError:
    """Make the error for a program whose output ended in `lines`."""
    end = [line for line in lines if line.strip()][-15:]
    text = "\n".join(end).lower()
    told = without_hosts("".join(f"  | {line}\n" for line in end)) + f"{purpose} failed"
    if "no space left on device" in text:
        return DiskFullError(f"{told}: the disk is full. Make room (3 GB, or 8 GB with CUDA) and run make again.")
    if any(sign in text for sign in NETWORK_SIGNS):
        return CommandError(f"{told}: the network did not answer. Check the connection and run make again.")
    return CommandError(f"{told}; the lines above say why.")


def run(purpose: str, *command: str | Path) -> list[str]:
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
            env={**os.environ, **ENVIRONMENT},
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
                say(f"  {progress}")
    except BaseException:
        process.terminate()
        raise
    finally:
        code = process.wait()
    if code:
        raise failure(purpose, lines)
    return lines


def pip_install(root: Path, purpose: str, *words: str | Path) -> None:
    pip = (venv_python(root), "-m", "pip", "--disable-pip-version-check", "--no-input")
    run(purpose, *pip, "install", "--constraint", root / "constraints.txt", *words)


# ---- torch


def choose_torch(report: dict[str, Any], nvidia_driver: bool) -> TorchBuild:
    """Decide which torch to install.

    `report` is what pip would install for torch, in the format of `pip install --report`.
    """
    try:
        (torch,) = report["install"]
        version, address = str(torch["metadata"]["version"]), str(torch["download_info"]["url"])
    except (KeyError, TypeError, ValueError) as error:
        raise SetupError("pip did not say which torch it would install; run make again, or update Python") from error
    if version.endswith("+cpu") or address.startswith("file:"):
        return TorchBuild.OFFERED
    return TorchBuild.CUDA if nvidia_driver else TorchBuild.CPU


def nvidia_driver_present() -> bool:
    return NVIDIA_DRIVER.exists() or shutil.which("nvidia-smi") is not None


def offered_torch(root: Path) -> dict[str, Any]:
    """Return pip's report on the torch it would install on this machine."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        look = ("--dry-run", "--no-deps", "--ignore-installed", "--report", report)
        pip_install(root, "Looking for torch", *look, pinned(root, "torch"))
        answer: dict[str, Any] = json.loads(report.read_text())
        return answer


def install_torch(root: Path) -> None:
    torch = pinned(root, "torch")
    build = choose_torch(offered_torch(root), nvidia_driver_present())
    say(f"Installing {torch}, {build.value} ...")
    if build is TorchBuild.CPU:
        try:
            pip_install(root, "Installing uv", "uv")
            uv = (venv_python(root), "-m", "uv", "pip", "install", "--python", venv_python(root))
            run("Installing torch", *uv, "--torch-backend=cpu", "--constraint", root / "constraints.txt", torch)
            return
        except DiskFullError:
            raise
        except CommandError as error:
            say(f"{error}\nGoing on with {TorchBuild.CUDA.value}: several GB, and it runs on the CPU as well.")
    pip_install(root, "Installing torch", torch)


def installed_torch(root: Path) -> str:
    """Return the exact version of the torch in `.venv`, local label included, after importing it."""
    code = "import importlib.metadata, torch; print(importlib.metadata.version('torch'))"
    return run("Importing torch", venv_python(root), "-c", code)[-1]


# ---- the steps


def make_venv(root: Path) -> None:
    if importlib.util.find_spec("venv") is None or importlib.util.find_spec("ensurepip") is None:
        package = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
        raise SetupError(f"this Python cannot make virtual environments; type: sudo apt-get install {package}")
    say("Making a virtual environment in .venv ...")
    run("Making .venv", sys.executable, "-m", "venv", "--clear", root / ".venv")


def install_packages(root: Path, state: State) -> None:
    """Bring `.venv` to what the recipe says, from nothing unless it is only outdated."""
    if state is State.OUTDATED:
        say("Bringing .venv up to date ...")
        stamp_file(root).unlink()
    else:
        say("Setting Kapelle up. This happens once and takes some minutes.")
        make_venv(root)
    pip_install(root, "Updating pip", "pip", "setuptools")
    install_torch(root)
    say("Installing the other packages ...")
    # Asking for the very torch that is there keeps pip from putting another one in its place.
    kept = f"torch=={installed_torch(root)}"
    pip_install(root, "Installing packages", kept, "--no-build-isolation", "--editable", f"{root}[dev]")
    if not list((root / ".venv").glob("lib/python*/site-packages/pretty_midi/*.sf2")):
        raise SetupError("pretty_midi came without its SoundFont; type: make clean, then run make again")
    write_stamp(root)


def ensure_fluidsynth() -> None:
    """See to the program that turns MIDI into sound; install it where that needs no password."""
    if shutil.which("fluidsynth"):
        return
    missing = "the program fluidsynth is missing"
    if shutil.which("apt-get") is None:
        raise SetupError(f"{missing}; install it with this system's package manager, then run make again")
    update, install = ("apt-get", "update"), ("apt-get", "install", "--no-install-recommends", "-y", "fluidsynth")
    if os.geteuid() != 0:
        typed = f"sudo {shlex.join(update)} && sudo {shlex.join(install)}"
        raise SetupError(f"{missing}; type this, then run make again:\n{typed}")
    say("Installing the program fluidsynth ...")
    run("Updating the list of system packages", *update)
    run("Installing fluidsynth", *install)


@contextlib.contextmanager
def only_one(root: Path) -> Iterator[None]:
    """Wait until no other set-up works on the project in `root`, and keep others waiting meanwhile."""
    # Locking a file that is there anyway leaves none behind; opened for writing, as NFS wants it.
    with (root / "bootstrap.py").open("rb+") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another set-up is at work here; waiting for it ...")
            fcntl.flock(held, fcntl.LOCK_EX)
        yield


def set_up(root: Path) -> None:
    """Make the project in `root` ready to run; quick where it is."""
    if state_of(root) is not State.READY:
        with only_one(root):
            state = state_of(root)
            if state is not State.READY:
                install_packages(root, state)
                say("Kapelle is set up.")
    ensure_fluidsynth()


def main() -> int:
    if sys.version_info < OLDEST_PYTHON:
        wanted, here = (".".join(map(str, version)) for version in (OLDEST_PYTHON, sys.version_info[:3]))
        print(f"Kapelle needs Python {wanted} or newer, not {here}; try make PYTHON=python{wanted}", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        set_up(ROOT)
    except SetupError as error:
        print(error, file=sys.stderr)
    except OSError as error:
        print(f"Setting up failed: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("\nInterrupted. The next make starts the set-up over.", file=sys.stderr)
        return 130
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
