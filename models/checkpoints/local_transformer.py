"""Models of the Los Angeles Music Composer family: converted from upstream's format, and loaded from either."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor

from models.checkpoints.store import CONFIG, assign, load_model, save_model, without_weights
from models.checkpoints.upstream import read_upstream, sha256_of
from models.errors import CheckpointError
from models.network.local_transformer import LocalTransformer, LocalTransformerConfig

FAMILY = "local-transformer"
FirstWindow = Literal["native", "trained"]  # see models.network.phantom; native is without it
_SIZES = {"vocabulary": 1 << 17, "width": 1 << 14, "depth": 1 << 10, "heads": 1 << 8, "head_width": 1 << 10,
          "window": 1 << 16, "positions": 1 << 20}  # the largest ones accepted
_KEYS = {"format", "family", "sizes", "first_window", "source"}


@dataclass(frozen=True)
class LoadedModel:
    """A network that is ready for use, and how it is to be used."""

    network: LocalTransformer
    first_window: FirstWindow
    source_sha256: str  # of the file that upstream published


def convert(source: Path, folder: Path, *, origin: str | None = None, first_window: FirstWindow = "native") -> None:
    """Convert an upstream `.pth` into a model folder; a model that is there is replaced when all went well.

    `origin` says where the file came from (default: its name). Raises CheckpointError.
    """
    checkpoint = read_upstream(source)
    save_model(folder, checkpoint.tensors, {
        "family": FAMILY,
        "sizes": asdict(checkpoint.config),
        "first_window": first_window,
        "source": {"sha256": sha256_of(source), "origin": origin or source.name},
    })


def load(path: Path) -> LoadedModel:
    """Load a model folder, or convert an upstream `.pth` in memory. Raises CheckpointError."""
    if not path.is_dir():
        checkpoint = read_upstream(path)
        tensors = {name: tensor.float() for name, tensor in checkpoint.tensors.items()}
        return LoadedModel(_network(checkpoint.config, tensors, path), "native", sha256_of(path))
    config, tensors = load_model(path)
    sizes, first_window, sha256 = _validated(config, path / CONFIG)
    return LoadedModel(_network(sizes, tensors, path), first_window, sha256)


def load_local_transformer(folder: Path) -> LocalTransformer:
    """The network of a model folder, its weights mapped from the file. Raises CheckpointError."""
    return load(folder).network


def _network(config: LocalTransformerConfig, tensors: Mapping[str, Tensor], origin: Path) -> LocalTransformer:
    if stray := [name for name, tensor in tensors.items() if tensor.dtype != torch.float32]:
        raise CheckpointError(f"{origin}: {stray[0]} is of type {tensors[stray[0]].dtype}; expected was a float")
    with without_weights():
        network = LocalTransformer(config)
    assign(network, tensors, origin)
    return network.eval().requires_grad_(False)


def _validated(config: Mapping[str, Any], path: Path) -> tuple[LocalTransformerConfig, FirstWindow, str]:
    if config["family"] != FAMILY:
        raise CheckpointError(f"{path} is of the family {config['family']!r}; expected was {FAMILY!r}")
    if odd := sorted(set(config) ^ _KEYS):
        raise CheckpointError(f"{path}: {', '.join(odd)} missing or unknown")
    first_window, source = config["first_window"], config["source"]
    if first_window not in get_args(FirstWindow):
        raise CheckpointError(f"{path}: first_window must be native or trained, not {first_window!r}")
    if not isinstance(source, dict) or not all(isinstance(source.get(key), str) for key in ("sha256", "origin")):
        raise CheckpointError(f"{path}: source must state sha256 and origin")
    return _sizes(config["sizes"], path), cast(FirstWindow, first_window), source["sha256"]


def _sizes(sizes: Any, path: Path) -> LocalTransformerConfig:
    names = [field.name for field in fields(LocalTransformerConfig)]
    if not isinstance(sizes, dict) or set(sizes) != set(names):
        raise CheckpointError(f"{path}: sizes must be {', '.join(names)}")
    for name, largest in _SIZES.items():
        value = sizes[name]
        if type(value) is not int or not 1 <= value <= largest:
            raise CheckpointError(f"{path}: {name} must be between 1 and {largest}, not {value!r}")
    if sizes["head_width"] % 2 or sizes["tied"] is not False:
        raise CheckpointError(f"{path}: head_width must be even and tied false for this family")
    return LocalTransformerConfig(**sizes)
