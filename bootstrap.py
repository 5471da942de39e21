"""Set-up behind the Makefile: makes `.venv`, installs torch and the rest, sees to fluidsynth.

Runs on any Python from 3.11 on and needs its standard library only. How environments are made is in
`bot/hosting/environments.py`. A stamp in `.venv` says what was installed; while it holds there is nothing to do, and
without it `.venv` is made anew.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from bot.hosting.environments import Environment, SetupError, State, digest, run, say

ROOT = Path(__file__).resolve().parent
OLDEST_PYTHON = (3, 11)
RECIPE = ("pyproject.toml", "constraints.txt", "bootstrap.py", "bot/hosting/environments.py")

UPDATE, INSTALL = ("apt-get", "update"), ("apt-get", "install", "--no-install-recommends", "-y")


def environment(root: Path) -> Environment:
    """The `.venv` of the project in `root`."""
    return Environment(
        root / ".venv", root / "constraints.txt", digest(*((root / name).read_bytes() for name in RECIPE)), str(root))


def install_packages(environment: Environment) -> None:
    """Bring `.venv` to what the recipe says, from nothing unless it is only outdated."""
    if environment.state is State.OUTDATED:
        say("Bringing .venv up to date ...")
        environment.stamp.unlink()
    else:
        say("Setting Kapelle up. This happens once and takes some minutes.")
        environment.make()
    environment.install("Updating pip", "pip", "setuptools")
    # Asking for the very torch that is there keeps pip from putting another one in its place.
    kept = f"torch=={environment.install_torch()}"
    say("Installing the other packages ...")
    project = f"{environment.folder.parent}[dev]"
    environment.install("Installing packages", kept, "--no-build-isolation", "--editable", project)
    if not list(environment.folder.glob("lib/python*/site-packages/pretty_midi/*.sf2")):
        raise SetupError("pretty_midi came without its SoundFont; type: make clean, then run make again")
    environment.write_stamp()


def ensure_fluidsynth() -> None:
    """See to the program that turns MIDI into sound; install it where that needs no password."""
    if shutil.which("fluidsynth"):
        return
    missing = "the program fluidsynth is missing"
    if shutil.which("apt-get") is None:
        from bot.cli.finding import how_to_install  # the way the doctor tells it
        raise SetupError(f"{missing}; get it like this, then run make again:\n{how_to_install('fluidsynth')}")
    if os.geteuid() != 0:
        from models.sound.rendering.soundfont import FONT_PACKAGE
        typed = f"sudo {shlex.join(UPDATE)} && sudo {shlex.join((*INSTALL, 'fluidsynth', FONT_PACKAGE))}"
        raise SetupError(f"{missing}; type this, then run make again:\n{typed}")
    say("Installing the program fluidsynth ...")
    run("Updating the list of system packages", *UPDATE)
    run("Installing fluidsynth", *INSTALL, "fluidsynth")


def offer_soundfont() -> None:
    """See to instruments that sound well; where they cannot be had, say so and how: the small ones of pretty_midi play then."""
    from bot.cli.finding import how_to_install
    from models.sound.rendering.soundfont import FONT_PACKAGE, has_good_soundfont
    if has_good_soundfont():
        return
    if shutil.which("apt-get") and os.geteuid() == 0:
        say(f"Installing instruments that sound well ({FONT_PACKAGE}, 148 MB) ...")
        try:
            run("Updating the list of system packages", *UPDATE)
            run("Installing them", *INSTALL, FONT_PACKAGE)
        except SetupError as error:
            say(f"That failed, so small ones are used, which sound thin: {error}")
    else:
        say(f"Small instruments are used, which sound thin. Better ones: {how_to_install(FONT_PACKAGE)}")


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
    new = environment(root).state is not State.READY
    if new:
        with only_one(root):
            if environment(root).state is not State.READY:
                install_packages(environment(root))
                say("Kapelle is set up.")
    ensure_fluidsynth()
    if new:  # said once, not at every start
        offer_soundfont()


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
