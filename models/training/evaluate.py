"""Loss on held-out pieces, by kind of id."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch

from models.engines.pocket.features import GRID_UNKNOWN
from models.engines.pocket.memory import nothing
from models.engines.pocket.network import KINDS, PocketNetwork
from models.music.attributes import attributes_of
from models.training.corpus import Corpus
from models.training.rows import forget, segment_of

EVALUATED_IDS = 512


@torch.inference_mode()
def evaluate(
    network: PocketNetwork, corpus: Corpus, pieces: list[int], *, conditioned: bool = True,
    without: Collection[str] = (),
) -> dict[str, float]:
    """Nats per id over the first 512 ids of each piece, for T, D, P and all of them.

    With conditions the network is told chords and returning bars, too. Without, every attribute and every grid
    feature is unknown, and there is no memory of bars. `without` names what else is not told, of `rows.PLANNED`.
    """
    nats, counts = dict.fromkeys(KINDS, 0.0), dict.fromkeys(KINDS, 0)
    device = next(network.parameters()).device
    unknown = frozenset(network.features.groups)
    for number in pieces:
        segment = segment_of(corpus.piece(number), attributes_of(corpus.entries[number]), 0, EVALUATED_IDS // 3)
        ids = torch.from_numpy(segment.ids[:EVALUATED_IDS + 1]).to(device)[None]
        length = ids.shape[1] - 1
        grid = segment.grid[:length] if conditioned else np.tile(GRID_UNKNOWN, (length, 1))
        attributes = network.features.vector(segment.attributes, frozenset() if conditioned else unknown)
        memory, marks = (segment.memory[:length], segment.marks[:length]) if conditioned else nothing(length)
        forget(grid, memory, without)
        losses = network.losses(
            ids, *(torch.from_numpy(array).to(device)[None] for array in (
                grid, np.zeros(length, dtype=np.int64), attributes[None], memory, marks)))
        for kind, (total, count) in losses.items():
            nats[kind] += float(total)
            counts[kind] += int(count)
    result = {kind: nats[kind] / max(counts[kind], 1) for kind in KINDS}
    result["all"] = sum(nats.values()) / max(sum(counts.values()), 1)
    return result
