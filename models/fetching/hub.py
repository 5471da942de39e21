"""What belongs to a model in a repository of the Hugging Face hub, and what of it lies in a folder. Imports no torch."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from models.errors import DownloadError

CONFIG, WEIGHTS, PARTS = "config.json", "model.safetensors", "model.safetensors.index.json"
_TOKENIZERS = ("tokenizer.json", "spiece.model")  # either is enough
_SMALL = (  # what else `transformers` reads of a model that hears and reads
    "generation_config.json", "preprocessor_config.json", *_TOKENIZERS, "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json",
)  # fmt: skip
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\.safetensors")
_LONGEST_INDEX = 16 << 20  # bytes


def wanted(published: Collection[str], repository: str) -> list[str]:
    """Of the files in a repository those to fetch, but for the parts that an index names. `config.json` is the last.

    Raises DownloadError where something is missing without which there is no model.
    """
    if CONFIG not in published:
        raise DownloadError(f"hub:{repository} has no {CONFIG}; if the model has moved, say where it is now "
                            "in models/fetching/sources.py")
    if not any(name in published for name in _TOKENIZERS):
        raise DownloadError(f"hub:{repository} has no tokenizer ({' or '.join(_TOKENIZERS)})")
    weights = next((name for name in (WEIGHTS, PARTS) if name in published), None)
    if weights is None:
        raise DownloadError(f"hub:{repository} has no {WEIGHTS} and no {PARTS}; weights in pickles are not fetched")
    return [weights, *(name for name in _SMALL if name in published), CONFIG]


def parts(index: Any, origin: str) -> list[str]:
    """The files that an index of weights names. Raises DownloadError for what is none, or names files elsewhere."""
    listed = index.get("weight_map") if isinstance(index, dict) else None
    names = sorted(set(listed.values())) if isinstance(listed, dict) and _are_texts(listed.values()) else []
    if not names or not all(_NAME.fullmatch(name) for name in names):
        raise DownloadError(f"{origin} is no index of weights")
    return names


def weights_in(folder: Path) -> list[Path]:
    """The files that hold a model's weights; empty where there is no complete model in the folder."""
    if not (folder / CONFIG).is_file():
        return []
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    index = folder / PARTS
    try:
        if not index.is_file() or index.stat().st_size > _LONGEST_INDEX:
            return []
        paths = [folder / name for name in parts(json.loads(index.read_text(encoding="utf-8")), str(index))]
    except (OSError, ValueError, RecursionError, DownloadError):
        return []
    return paths if all(path.is_file() for path in paths) else []


def _are_texts(values: Iterable[Any]) -> bool:
    return all(isinstance(value, str) for value in values)
