"""What the doctor finds: one thing that was looked at, and what to do about it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass

from models.errors import KapelleError


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    found: str
    missing: bool = False
    remedy: str = ""  # what to type or do when it is missing
    needed: bool = True  # to do what the machine is set up for: compose, and serve members where a token is set
    seen: bool = True  # False: nobody looked, so it is not called well


def found_or_told(what: str, look: Callable[[], str], remedy: str, *, needed: bool = True) -> Finding:
    """What `look` returns, or what it complains of."""
    try:
        return Finding(what, look())
    except (KapelleError, OSError, ImportError) as error:
        return Finding(what, str(error), True, remedy, needed)


def how_to_install(package: str) -> str:
    """The command for the first package manager that is there."""
    administrator = "" if not hasattr(os, "geteuid") or os.geteuid() == 0 else "sudo "
    commands = {
        "apt-get": f"{administrator}apt-get update && {administrator}apt-get install -y {package}",
        "dnf": f"{administrator}dnf install -y {package}",
        "pacman": f"{administrator}pacman -S {package}",
        "zypper": f"{administrator}zypper install -y {package}",
        "brew": f"brew install {package}",
    }
    return next((command for manager, command in commands.items() if shutil.which(manager)), f"install {package}")
