"""The models that Meta published for MusicGen, and where they lie on this machine. Imports no torch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

LICENCE = "CC-BY-NC-4.0"  # of the weights
PUBLISHER = "facebook"  # on the Hugging Face hub


@dataclass(frozen=True)
class Published:
    """What tells the models apart."""

    parameters: str  # of the decoder
    melody: bool = False  # can follow one
    stereo: bool = False


PUBLISHED: Mapping[str, Published] = {
    "musicgen-small": Published("300 M"),
    "musicgen-medium": Published("1.5 B"),
    "musicgen-large": Published("3.3 B"),
    "musicgen-melody": Published("1.5 B", melody=True),
    "musicgen-melody-large": Published("3.3 B", melody=True),
    "musicgen-stereo-small": Published("300 M", stereo=True),
    "musicgen-stereo-medium": Published("1.5 B", stereo=True),
    "musicgen-stereo-large": Published("3.3 B", stereo=True),
    "musicgen-stereo-melody": Published("1.5 B", melody=True, stereo=True),
    "musicgen-stereo-melody-large": Published("3.3 B", melody=True, stereo=True),
}


def is_here(name: str, data: Path) -> bool:
    """Whether a model was fetched to the data folder, or is in the cache of the Hugging Face hub."""
    if (data / name / "config.json").is_file():
        return True
    home = Path(os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "huggingface")
    cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub")
    return any((cache / f"models--{PUBLISHER}--{name}" / "snapshots").glob("*/config.json"))
