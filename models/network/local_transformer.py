"""The network of the Los Angeles Music Composer family: a decoder with local attention.

Pre-LayerNorm blocks, rotary positions on queries and keys, a GEGLU feed-forward, and a window of
earlier keys that a query may see. The published checkpoint and the pocket model are both of this
family; they differ in sizes, in learned positions, and in that the pocket model ties its head to
its embedding and adds a condition at every position.

Sizes and behaviour follow `asigalov61/Los-Angeles-Music-Composer` and the local attention it was
trained with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.network.cache import KeyValueCache
from models.network.phantom import phantom_keys, phantom_logits

ROTARY_BASE = 10000.0


@dataclass(frozen=True)
class LocalTransformerConfig:
    """Sizes of a network (defaults: the published Los Angeles Music Composer checkpoint)."""

    vocabulary: int = 2831
    width: int = 1024
    depth: int = 36
    heads: int = 8
    head_width: int = 64
    window: int = 512  # a query sees itself and this many earlier keys
    positions: int = 4096  # rows of the learned position table; 0: rotary positions only
    tied: bool = False  # the head shares the embedding's matrix

    @property
    def inner(self) -> int:
        """Width of the feed-forward layer after gating."""
        return int(self.width * 8 / 3)


class Block(nn.Module):
    """One layer: local attention, then a gated feed-forward, each behind a LayerNorm."""

    def __init__(self, config: LocalTransformerConfig) -> None:
        super().__init__()
        attended = config.heads * config.head_width
        self.heads, self.head_width = config.heads, config.head_width
        self.attention_norm = nn.LayerNorm(config.width)
        self.qkv = nn.Linear(config.width, 3 * attended, bias=False)
        self.out = nn.Linear(attended, config.width, bias=False)
        self.feed_forward_norm = nn.LayerNorm(config.width)
        self.up = nn.Linear(config.width, 2 * config.inner, bias=False)
        self.down = nn.Linear(config.inner, config.width, bias=False)

    def project(self, x: Tensor, rotation: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """(batch, time, width) -> q, k, v, each (batch, heads, time, head_width); q and k rotated."""
        batch, time, _ = x.shape
        qkv = self.qkv(self.attention_norm(x)).view(batch, time, 3, self.heads, self.head_width)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        return rotate(q, *rotation), rotate(k, *rotation), v

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """Add what attention found, (batch, heads, time, head_width), and the feed-forward."""
        batch, _, time, _ = attended.shape
        return self.feed_forward(x + self.out(attended.transpose(1, 2).reshape(batch, time, -1)))

    def feed_forward(self, x: Tensor) -> Tensor:
        value, gate = self.up(self.feed_forward_norm(x)).chunk(2, dim=-1)
        return cast(Tensor, x + self.down(value * F.gelu(gate)))

    def step(
        self, x: Tensor, rotation: tuple[Tensor, Tensor], cache: KeyValueCache, layer: int, mask: Tensor | None,
    ) -> Tensor:
        """One position of each row, (rows, width), its keys and values written to the cache."""
        rows = x.shape[0]
        qkv = self.qkv(self.attention_norm(x)).view(rows, 3, self.heads, self.head_width)
        qk = rotate(qkv[:, :2], *rotation)
        keys, values = cache.append(layer, qk[:, 1], qkv[:, 2])
        attended = F.scaled_dot_product_attention(qk[:, 0, :, None], keys, values, attn_mask=mask)
        return self.feed_forward(x + self.out(attended.reshape(rows, -1)))


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions, half-split; cos and sin, broadcast over x (..., head_width), are those of `rotation`."""
    low, high = x.chunk(2, dim=-1)
    return x * cos.to(x.dtype) + torch.cat((high, low), dim=-1) * sin.to(x.dtype)


def rotary_speeds(head_width: int) -> Tensor:
    """Radians a position, (head_width / 2,)."""
    half = head_width // 2
    return ROTARY_BASE ** (-torch.arange(half, dtype=torch.float32) / half)


def attend(q: Tensor, k: Tensor, v: Tensor, window: int, phantom: bool = False) -> Tensor:
    """Causal attention over the last `window` keys and the query's own; all (batch, heads, time, head_width).

    `phantom` adds the padding keys that the first window saw in training (see `models.network.phantom`).
    """
    time = q.shape[2]
    if time <= window + 1 and not phantom:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    parts = []
    for start in range(0, time, window):
        end, first = min(start + window, time), max(0, start - window)
        queries, keys, values = q[:, :, start:end], k[:, :, first:end], v[:, :, first:end]
        if start == 0 and not phantom:
            parts.append(F.scaled_dot_product_attention(queries, keys, values, is_causal=True))
            continue
        positions = torch.arange(start, end, device=q.device)
        distance = positions[:, None] - torch.arange(first, end, device=q.device)
        mask = torch.where((distance >= 0) & (distance <= window), 0.0, -torch.inf)
        if phantom and start < window:
            extra = phantom_keys(keys)
            keys, values = torch.cat((keys, extra), dim=2), torch.cat((values, extra), dim=2)
            mask = torch.cat((mask, phantom_logits(positions, window)[:, None]), dim=1)
        parts.append(F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask.to(q.dtype)))
    return torch.cat(parts, dim=2)


class LocalTransformer(nn.Module):
    """Ids in, hidden states or logits out; whole rows at once, or step by step with a cache."""

    def __init__(self, config: LocalTransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocabulary, config.width)
        self.positions = nn.Embedding(config.positions, config.width) if config.positions else None
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, config.vocabulary, bias=False)
        if config.tied:
            self.head.weight = self.embedding.weight

    def hidden(
        self, ids: Tensor, condition: Tensor | None = None, *, phantom: bool = False,
        cache: KeyValueCache | None = None, rows: Sequence[int] | None = None,
    ) -> Tensor:
        """Whole rows from their first position on: ids (batch, time) -> (batch, time, width), normalised.

        `condition`, (batch, time or 1, width), is added to the embedding. With a cache, keys and values
        of the last positions are stored in its `rows` (the first ones if not given), which then stand at position
        `time`.
        """
        positions = torch.arange(ids.shape[1], device=ids.device)
        x = self.embedding(ids)
        if self.positions is not None:
            x = x + self.positions(positions)
        if condition is not None:
            x = x + condition
        rotation = self.rotation(positions)
        stored = torch.tensor(list(range(ids.shape[0]) if rows is None else rows), device=ids.device)
        for layer, module in enumerate(self.blocks):
            block = cast(Block, module)
            q, k, v = block.project(x, rotation)
            if cache is not None:
                cache.fill(layer, stored, k, v)
            x = block.finish(x, attend(q, k, v, self.config.window, phantom))
        if cache is not None:
            cache.lengths[stored.cpu()] = ids.shape[1]
        return cast(Tensor, self.norm(x))

    def forward(self, ids: Tensor, condition: Tensor | None = None, *, phantom: bool = False) -> Tensor:
        """Logits of every position: ids (batch, time) -> (batch, time, vocabulary)."""
        return cast(Tensor, self.head(self.hidden(ids, condition, phantom=phantom)))

    def step(self, ids: Tensor, cache: KeyValueCache, condition: Tensor | None = None) -> Tensor:
        """The next position of the cache's first rows: ids (rows,) -> logits (rows, vocabulary).

        Rows may stand at different positions. `condition` is (rows, width).
        """
        positions = cache.begin(ids.shape[0])
        x = self.embedding(ids)
        if self.positions is not None:
            x = x + self.positions(positions)
        if condition is not None:
            x = x + condition
        if cache.native is not None:
            logits = cache.native(x, positions)
        else:
            cos, sin = self.rotation(positions)
            rotation = cos[:, None, None], sin[:, None, None]  # over (q and k, heads)
            mask = cache.mask()
            mask = mask if mask is None else mask.to(x.dtype)
            for layer, block in enumerate(self.blocks):
                x = cast(Block, block).step(x, rotation, cache, layer, mask)
            logits = self.head(self.norm(x))
        cache.end()
        return logits

    def rotation(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines at positions (...), each (..., head_width); the first half of the sines is negated."""
        angle = positions[..., None] * rotary_speeds(self.config.head_width).to(positions.device)
        sin = angle.sin()
        cos = angle.cos()
        return torch.cat((cos, cos), dim=-1), torch.cat((-sin, sin), dim=-1)
