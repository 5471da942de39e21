"""Small checkpoints in upstream's format, and title databases as upstream pickles them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.network.local_transformer import rotary_speeds

WIDTH, DEPTH, POSITIONS, VOCABULARY = 12, 2, 40, 2831
INNER, ATTENDED = int(WIDTH * 8 / 3), 8 * 64


def upstream_tensors(seed: int = 3, prefix: str = "module.", positions: int = POSITIONS) -> dict[str, Tensor]:
    """Random tensors under the keys of a published checkpoint."""
    torch.manual_seed(seed)
    shapes: dict[str, tuple[int, ...]] = {
        "token_emb.weight": (VOCABULARY, WIDTH), "pos_emb.weight": (positions, WIDTH),
        "to_logits.0.weight": (WIDTH,), "to_logits.0.bias": (WIDTH,), "to_logits.1.weight": (VOCABULARY, WIDTH),
    }
    for layer in range(DEPTH):
        shapes |= {f"layers.{layer}.{key}": shape for key, shape in {
            "0.norm.weight": (WIDTH,), "0.norm.bias": (WIDTH,), "0.to_qkv.weight": (3 * ATTENDED, WIDTH),
            "0.to_out.weight": (WIDTH, ATTENDED), "1.0.weight": (WIDTH,), "1.0.bias": (WIDTH,),
            "1.1.weight": (2 * INNER, WIDTH), "1.4.weight": (WIDTH, INNER),
        }.items()}
    tensors = {prefix + key: torch.randn(shape) * 0.3 for key, shape in shapes.items()}
    for layer in range(DEPTH):
        tensors[f"{prefix}layers.{layer}.0.attn_fn.rel_pos.inv_freq"] = rotary_speeds(64)
    return tensors


def write_checkpoint(path: Path, content: Any = None, **named: Any) -> Path:
    """Save `content`, or random tensors, as PyTorch does."""
    torch.save(upstream_tensors() if content is None else content, path, **named)
    return path


SONGS: list[list[Any]] = [
    ["Clair de lune --- Claude Debussy", [2816, 2817, 2819, 5, 300, 2750, 0, 310, 1220, 12, 311, 1217]],
    ["Family Guy --- TV Themes", [3, 200, 1300, 0, 200, 2400] * 7],
    ["Łódź, wiosną --- Zażółć", [127, 1151, 2687]],
]


def write_titles(path: Path, songs: Any = SONGS, protocol: int = 4) -> Path:
    """Pickle songs as upstream does."""
    path.write_bytes(pickle.dumps(songs, protocol=protocol))
    return path


class Bomb:
    """An object whose pickle creates a file when it is unpickled."""

    def __init__(self, sign: Path) -> None:
        self._sign = sign

    def __reduce__(self) -> tuple[Any, ...]:
        return open, (str(self._sign), "w")
