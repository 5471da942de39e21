"""Talking to a terminal, a pipe or nobody: what may be shown, errors as one line, and when to stop talking."""

from __future__ import annotations

import os
import sys
import unicodedata
from contextlib import suppress

from models.errors import KapelleError

_UNSHOWN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}  # controls, direction marks, lone surrogates, line separators


class StoppedError(KapelleError):
    """Whoever sits at the terminal pressed Ctrl-C; the message says what is left of the work."""


def shown(text: str) -> str:
    """A text on one line, without anything that could move the cursor or turn the direction of writing."""
    return " ".join("".join(" " if unicodedata.category(one) in _UNSHOWN else one for one in text).split())


def complain(message: str) -> None:
    """Say on stderr, in one line, what went wrong."""
    say(f"kapelle: {message}")


def say(message: str) -> None:
    """One line on stderr; nothing happens where nobody listens any more."""
    with suppress(OSError, ValueError):
        print(shown(message), file=sys.stderr, flush=True)


def mend_streams() -> None:
    """Make stdout and stderr usable where they are closed, or where they cannot encode what a title holds."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - for the life of the process
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def hang_up() -> None:
    """Send what is left in the buffer of stdout nowhere, so that its failure is not told again at exit."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
