"""The pocket model on disk: half-precision weights, sizes and composers, as `models.checkpoints.store` keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import torch

from models.checkpoints.store import CONFIG, assign, load_model, save_model, without_weights
from models.engines.pocket.features import GlobalFeatures
from models.engines.pocket.network import PocketNetwork
from models.errors import CheckpointError
from models.music.vocabulary.los_angeles import SIZE
from models.network.local_transformer import LocalTransformerConfig

FAMILY = "pocket"
SHIPPED = Path(__file__).with_name("model")
_EMBEDDING, _HEAD = "body.embedding.weight", "body.head.weight"  # one matrix
_LARGEST = 1 << 14  # of any size
_MAY_BE_NONE = ("positions", "tied")


def save_pocket(folder: Path, network: PocketNetwork, trained: Mapping[str, Any]) -> None:
    """Write the network to a folder; `trained` says on what and for how long. Raises CheckpointError."""
    tensors = {name: tensor.to(torch.float16) for name, tensor in network.state_dict().items() if name != _HEAD}
    save_model(folder, tensors, {
        "family": FAMILY, "sizes": asdict(network.config), "composers": list(network.features.composers),
        "features": network.features.size, "trained": dict(trained),
    })


def load_pocket(folder: Path = SHIPPED) -> PocketNetwork:
    """The network of a folder, in float32. Raises CheckpointError."""
    config, tensors = load_model(folder)
    path = folder / CONFIG
    if config["family"] != FAMILY:
        raise CheckpointError(f"{path} is of the family {config['family']!r}; expected was {FAMILY!r}")
    sizes, composers = config.get("sizes"), config.get("composers")
    names = {field.name for field in fields(LocalTransformerConfig)}
    if not isinstance(sizes, dict) or set(sizes) != names or not all(
            type(value) in (int, bool) and (name in _MAY_BE_NONE or value >= 1) and 0 <= value <= _LARGEST
            for name, value in sizes.items()):
        raise CheckpointError(f"{path}: sizes must be whole numbers for {', '.join(sorted(names))}, "
                              f"at least 1 but for {' and '.join(_MAY_BE_NONE)}")
    if sizes["vocabulary"] != SIZE:
        raise CheckpointError(f"{path}: the vocabulary has {SIZE} ids, not {sizes['vocabulary']}")
    if not isinstance(composers, list) or not all(isinstance(name, str) for name in composers):
        raise CheckpointError(f"{path}: composers must be a list of names")
    features = GlobalFeatures(tuple(composers))
    if config.get("features") != features.size:
        raise CheckpointError(
            f"{path} was trained with {config.get('features')} attributes; this version has {features.size}")
    with without_weights():
        network = PocketNetwork(LocalTransformerConfig(**sizes), features)
    if _EMBEDDING in tensors:
        tensors[_HEAD] = tensors[_EMBEDDING]
    assign(network, tensors, folder)
    return network.eval().requires_grad_(False)
