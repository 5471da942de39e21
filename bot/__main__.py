"""`kapelle` and `python -m bot`."""

from __future__ import annotations

import sys

from bot.cli.app import run


def main() -> int:
    """Run the command line with the arguments of the process; returns its exit code."""
    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
