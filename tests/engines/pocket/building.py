"""A small pocket network with random weights, and steering for it."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

from models.engines.pocket.conditioning import Steering
from models.engines.pocket.features import GlobalFeatures
from models.engines.pocket.network import PocketNetwork
from models.music.attributes import Attributes
from models.music.vocabulary.los_angeles import SIZE
from models.network.local_transformer import LocalTransformerConfig

COMPOSERS = ("bach", "chopin")


@cache
def small_network(seed: int = 1) -> PocketNetwork:
    """A window of 48 ids; conditions weigh enough to be seen in the ids."""
    torch.manual_seed(seed)
    config = LocalTransformerConfig(
        vocabulary=SIZE, width=32, depth=2, heads=2, head_width=16, window=48, positions=0, tied=True)
    network = PocketNetwork(config, GlobalFeatures(COMPOSERS)).eval().requires_grad_(False)
    for parameter in network.parameters():
        if parameter.dim() == 2:
            parameter.normal_(std=0.3)
    return network


def steering(notes: int = 20, **changes: Any) -> Steering:
    """Steering of a waltz in D minor for piano and flute, but for the changes; attributes may be changed by name."""
    attributes: dict[str, Any] = {
        "genre": "classical", "forms": ("waltz",), "composer": "chopin", "tonic": 2, "mode": "minor", "metre": "3/4",
        "tempo_bpm": 120.0, "instruments": ("piano", "flute")}
    attributes |= {name: changes.pop(name) for name in list(changes) if name in attributes}
    values: dict[str, Any] = {
        "allowed": frozenset(("piano", "flute")), "required": frozenset(("piano", "flute")), "key_strength": 1.0,
        "beat_strength": 2.0, "may_end": False}
    return Steering(notes=notes, attributes=Attributes(**attributes), **(values | changes))
