"""Run in audiocraft's environment by `kapelle install audiocraft`: imports what a worker imports, and prints versions."""

from __future__ import annotations

import sys
from importlib.metadata import version

from models.errors import KapelleError


def main() -> None:
    import bot.worker.process  # noqa: F401
    from models.engines.audiocraft.library import library

    try:
        library()
    except KapelleError as error:
        sys.exit(str(error))
    print(", ".join(f"{name} {version(name)}" for name in ("audiocraft", "torch", "transformers")))


if __name__ == "__main__":
    main()
