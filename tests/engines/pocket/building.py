"""A small pocket network with random weights, and steering, plans and takes for it."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import torch

from models.decoding.batcher import Batcher
from models.decoding.sequence import Sequence
from models.engines.pocket.decoder import Condition, PocketDecoder
from models.engines.pocket.engine import outline
from models.engines.pocket.features import GlobalFeatures
from models.engines.pocket.instruments import ordered
from models.engines.pocket.network import PocketNetwork
from models.engines.pocket.steering import Steering, Strengths
from models.music.attributes import Attributes
from models.music.vocabulary.los_angeles import SIZE
from models.network.local_transformer import LocalTransformerConfig

COMPOSERS = ("bach", "chopin")
STRENGTHS = Strengths(key=1.0, beat=2.0)


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
    """Steering of a waltz in D minor for piano and flute without a plan, but for the changes; attributes may be changed by
    name."""
    attributes: dict[str, Any] = {
        "genre": "classical", "forms": ("waltz",), "composer": "chopin", "tonic": 2, "mode": "minor", "metre": "3/4",
        "tempo_bpm": 120.0, "instruments": ("piano", "flute")}
    attributes |= {name: changes.pop(name) for name in list(changes) if name in attributes}
    return Steering(notes=notes, attributes=Attributes(**attributes), **({"strengths": STRENGTHS} | changes))


def planned(
    notes: int = 60, line_up: tuple[str, ...] = ("piano", "flute"), *, bars: int | None = None, chance: int = 1,
    named: Mapping[str, int] | None = None, **changes: Any,
) -> Steering:
    """The same with a plan, as the engine makes it for the line-up; `named` says how many play an instrument."""
    asked = steering(notes, instruments=ordered(line_up), **changes)
    attributes = asked.attributes
    form = outline(attributes, attributes.instruments, named or {}, notes, bars, random.Random(chance))
    return replace(asked, form=form)


def sequence(asked: Steering, seed: int = 1, take: int = 1, **changes: Any) -> Sequence:
    values: dict[str, Any] = {"temperature": 0.9, "top_k": 283, "guidance": 1.5} | changes
    return Sequence(prime=asked.prime, length=3 * asked.notes, seed=seed, take=take, condition=Condition(asked), **values)


def run(
    network: PocketNetwork, *sequences: Sequence, rows: int = 16, cache_dtype: torch.dtype = torch.bfloat16,
) -> list[list[int]]:
    """The ids of all, made together."""
    batcher = Batcher(PocketDecoder(network, rows, cache_dtype=cache_dtype))
    for one in sequences:
        batcher.add(one)
    while batcher.busy:
        batcher.step()
    return [one.ids for one in sequences]
