"""A worker process in audiocraft's own environment: run as a file, with `bot/hosting/audiocraft.py`'s command line.

That environment does not hold Kapelle. Its packages are found where they are for this process; nothing else of what
lies there is, so that where Kapelle lies among other packages, theirs do not get in front of audiocraft's.
"""

from __future__ import annotations

import runpy
import sys
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

HOME = Path(__file__).resolve().parents[2]
PACKAGES = ("bot", "models")


class _Finder:
    """Finds Kapelle's packages, and no others."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        return PathFinder.find_spec(name, [str(HOME)]) if name in PACKAGES else None


if __name__ == "__main__":
    sys.meta_path.insert(0, _Finder)
    module = sys.argv.pop(1)
    runpy.run_module(module, run_name="__main__", alter_sys=True)
