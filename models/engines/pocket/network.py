"""The pocket network: a LocalTransformer with conditions, and a head for each kind of id.

At every position the sum of learned vectors for the piece's attributes, for the note's place in
the bar and in the form, and for what stood there in earlier bars is added to the embedding. Because
a note is always T, D, P, only ids of the kind that can come next compete: `T` with the start of
another piece, `D`, or `P`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.engines.pocket.features import GRID_SIZE, GlobalFeatures
from models.engines.pocket.memory import LAGS, MATCH_BINS, NOTHING, SLOTS
from models.music.vocabulary.los_angeles import DURATION, HEADER_PITCH, PITCH, START, TIME
from models.network.local_transformer import LocalTransformer, LocalTransformerConfig

KINDS = ("T", "D", "P")


class PocketNetwork(nn.Module):
    def __init__(self, config: LocalTransformerConfig, features: GlobalFeatures) -> None:
        super().__init__()
        self.config = config
        self.features = features
        self.body = LocalTransformer(config)
        self.attributes = nn.Linear(features.size, config.width, bias=False)
        self.grid = nn.Embedding(GRID_SIZE, config.width)
        self.memory = nn.Embedding(len(KINDS) * SLOTS, config.width)  # what an id from there counts, times its embedding
        self.matched = nn.Embedding(len(KINDS) * len(LAGS) * MATCH_BINS, config.width)
        nn.init.zeros_(self.memory.weight)
        nn.init.zeros_(self.matched.weight)

    def remembered(self, memory: Tensor, marks: Tensor, kind: Tensor) -> Tensor:
        """What bar memory adds, (..., width).

        memory (..., sources) are ids or NOTHING; marks (..., MARKS) as `models.engines.pocket.memory` has them; kind
        (...) is the place of what comes next in KINDS.
        """
        lags = torch.arange(len(LAGS), device=kind.device)
        slots = torch.cat((lags.expand(*kind.shape, -1), marks[..., -1:]), dim=-1) + SLOTS * kind[..., None]
        known = (memory != NOTHING)[..., None]
        ids = self.body.embedding(memory.clamp(max=NOTHING - 1))
        matched = self.matched((kind[..., None] * len(LAGS) + lags) * MATCH_BINS + marks[..., :-1]).sum(dim=-2)
        found: Tensor = (ids * known * self.memory(slots)).sum(dim=-2) + matched
        return found

    def kind_weights(self) -> tuple[Tensor, Tensor, Tensor]:
        """Rows of the head for T (the last one is START), D and P."""
        weight = self.body.head.weight
        return (
            torch.cat((weight[TIME:DURATION], weight[START:START + 1])),
            weight[DURATION:PITCH],
            weight[PITCH:HEADER_PITCH],
        )

    def losses(
        self, ids: Tensor, grid: Tensor, segment: Tensor, attributes: Tensor, memory: Tensor, marks: Tensor,
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Cross-entropy of each kind of id: the sum in nats and how many ids it is over.

        ids (rows, length + 1); grid (rows, length, GRID_COLUMNS); segment (rows, length) numbers into
        attributes (rows, segments, features); memory and marks (rows, length, ...). Length is a multiple
        of three; rows start at a note's border. Header ids are given, not predicted.
        """
        rows, length = segment.shape
        described = self.attributes(attributes)  # (rows, segments, width)
        index = segment[..., None].expand(rows, length, described.shape[-1])
        following = (torch.arange(length, device=ids.device) + 1) % 3
        condition = described.gather(1, index) + self.grid(grid).sum(dim=-2) + self.remembered(
            memory, marks, following.expand(rows, -1))
        hidden = self.body.hidden(ids[:, :-1], condition)
        target = ids[:, 1:]
        weights = self.kind_weights()
        starts = (DURATION, PITCH)
        result = {}
        for place, kind in ((0, "D"), (1, "P"), (2, "T")):
            weight = weights[KINDS.index(kind)]
            logits = F.linear(hidden[:, place::3], weight).float()
            wanted = target[:, place::3]
            if kind == "T":
                wanted = wanted.clamp(max=DURATION)  # START, the one id behind the times
            else:
                first = starts[place]
                inside = (wanted >= first) & (wanted < first + weight.shape[0])
                wanted = torch.where(inside, wanted - first, -100)
            nats = F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=-100, reduction="sum")
            result[kind] = nats, (wanted != -100).sum()
        return result
