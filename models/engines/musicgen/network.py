"""The decoder network of MusicGen: codes of sound in, logits of the next codes out.

A sound has 50 frames a second, each of 4 codes (stereo: 8) of one codebook each. The network sees
frames as one position each: the embeddings of its codes are added up, and as many heads say what
comes next. Pre-LayerNorm blocks without biases in the linear layers, sinusoidal positions.

There are two kinds. In the plain one every block also attends to the encoded text; the unconditioned
row of guidance attends to zeros there, through layers without biases, which adds exactly nothing.
In the melody one text and melody are positions in front of the codes instead.

Sizes and behaviour follow the `transformers` classes MusicgenForCausalLM and MusicgenMelodyForCausalLM.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from mmap import ACCESS_COPY, mmap
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class MusicgenConfig:
    """Sizes of a decoder (defaults: musicgen-small)."""

    vocabulary: int = 2048  # codes of a codebook; the id behind the last stands for no code
    codebooks: int = 4
    channels: int = 1  # of sound; with 2, codebooks of left and right take turns
    width: int = 1024
    depth: int = 24
    heads: int = 16
    inner: int = 4096  # of the feed-forward layer
    crosses: bool = True  # attends to the text; else text and melody are positions in front of the codes

    @property
    def head_width(self) -> int:
        return self.width // self.heads

    @property
    def delays(self) -> tuple[int, ...]:
        """Steps by which each codebook lags behind the first."""
        return tuple(codebook // self.channels for codebook in range(self.codebooks))


class KeyValueCache:
    """Keys and values of the running rows; those in use are always the first ones, so that a step gathers nothing.

    One tensor a layer, (rows, 2, heads, slots, head_width), position p in slot p, and one more of the same form
    for the text where the network attends to it. A row without text sees one text position of zeros.

    Memory is taken by `allocate` and given back by `release`. On a CPU a slot takes some when it is first written.
    """

    def __init__(
        self, config: MusicgenConfig, rows: int, slots: int, text_slots: int, *,
        dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu",
    ) -> None:
        self.config, self.rows, self.slots = config, rows, slots
        self.text_slots = text_slots if config.crosses else 0
        self.dtype, self.device = dtype, torch.device(device)
        self.layers: list[Tensor] = []
        self.texts: list[Tensor] = []
        self.lengths = torch.zeros(rows, dtype=torch.long)  # positions so far, on the CPU
        self.text_lengths = torch.zeros(rows, dtype=torch.long)  # likewise; 0 for a row without text
        self.native: Callable[[Tensor], Tensor] | None = None  # a compiled step: codes -> logits, as `MusicgenNetwork.step`

    @staticmethod
    def row_bytes(config: MusicgenConfig, slots: int, text_slots: int, dtype: torch.dtype) -> int:
        """Memory of one row when all of its slots are in use."""
        seen = slots + (text_slots if config.crosses else 0)
        return config.depth * 2 * config.width * seen * dtype.itemsize

    @property
    def full_bytes(self) -> int:
        """Memory of all rows when all of their slots are in use."""
        return self.rows * self.row_bytes(self.config, self.slots, self.text_slots, self.dtype)

    def allocate(self) -> None:
        if self.layers:
            return
        config = self.config

        def room(slots: int) -> list[Tensor]:
            shape = (self.rows, 2, config.heads, slots, config.head_width)
            return [_zeros(shape, self.dtype, self.device) for _ in range(config.depth)]

        self.layers = room(self.slots)
        self.texts = room(self.text_slots) if config.crosses else []

    def release(self) -> None:
        """Give the memory back; what the rows held is gone."""
        self.layers, self.texts, self.native = [], [], None
        self.lengths.zero_()
        self.text_lengths.zero_()

    def fill(self, layer: int, rows: slice, keys: Tensor, values: Tensor) -> None:
        """Store the first positions of rows; keys and values (rows, heads, time, head_width)."""
        stored = self.layers[layer][rows, :, :, :keys.shape[2]]
        stored[:, 0], stored[:, 1] = keys, values

    def fill_text(self, layer: int, row: int, keys: Tensor, values: Tensor) -> None:
        """Store the text of a row; keys and values (heads, time, head_width)."""
        stored = self.texts[layer][row, :, :, :keys.shape[1]]
        stored[0], stored[1] = keys, values

    def copy(self, source: int, target: int, length: int | None = None) -> None:
        """Copy the first positions (all if not said how many) and the text of a row over another."""
        length = int(self.lengths[source]) if length is None else length
        text = max(int(self.text_lengths[source]), 1)
        for tensors, seen in ((self.layers, length), (self.texts, text)):
            for tensor in tensors:
                tensor[target, :, :, :seen] = tensor[source, :, :, :seen]
        self.lengths[target] = length
        self.text_lengths[target] = self.text_lengths[source]


def _zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Zeros; on a CPU pages that are not there before they are written."""
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    return torch.frombuffer(mmap(-1, math.prod(shape) * dtype.itemsize, access=ACCESS_COPY), dtype=dtype).view(shape)


@dataclass(frozen=True)
class Step:
    """What one step of the first rows of a cache needs to know beside the codes; tensors on the network's device."""

    positions: Tensor  # of the rows, (rows,), long
    visible: int  # slots that any row may see
    mask: Tensor | None  # added to the logits of keys, (rows, 1, 1, visible); None when every row sees them all
    text_visible: int = 0
    text_mask: Tensor | None = None  # (rows, 1, 1, text_visible)


def mask_of(lengths: Tensor, visible: int, dtype: torch.dtype) -> Tensor:
    """Lets each row see its first slots: lengths (rows,) -> (rows, 1, 1, visible)."""
    hidden = torch.arange(visible, device=lengths.device) >= lengths[:, None]
    return torch.zeros(hidden.shape, dtype=dtype, device=lengths.device).masked_fill_(hidden, -torch.inf)[:, None, None]


class Int8Linear(nn.Module):
    """A linear layer whose weights are bytes, with one scale for each row of them: a quarter of the memory to read."""

    weight: Tensor  # (out, in), int8
    scale: Tensor  # (out,), float32

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.empty(outputs, inputs, dtype=torch.int8))
        self.register_buffer("scale", torch.empty(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.to(x.dtype)) * self.scale


def quantised(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Bytes and scales of a weight (out, in): symmetric, the largest of a row becomes 127."""
    weight = weight.float()
    scale = weight.abs().amax(dim=1).clamp(min=torch.finfo(torch.float32).tiny) / 127
    return (weight / scale[:, None]).round().to(torch.int8), scale


class Block(nn.Module):
    """One layer: attention to earlier positions, to the text, and a feed-forward, each behind a LayerNorm."""

    def __init__(self, config: MusicgenConfig, linear: Callable[[int, int], nn.Module]) -> None:
        super().__init__()
        width = config.width
        self.heads, self.head_width = config.heads, config.head_width
        self.attention_norm = nn.LayerNorm(width)
        self.qkv = linear(width, 3 * width)
        self.out = linear(width, width)
        if config.crosses:
            self.text_norm = nn.LayerNorm(width)
            self.text_q = linear(width, width)
            self.text_kv = linear(width, 2 * width)
            self.text_out = linear(width, width)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.up = linear(width, config.inner)
        self.down = linear(config.inner, width)

    def split(self, x: Tensor, parts: int) -> tuple[Tensor, ...]:
        """(batch, time, parts * width) -> parts of (batch, heads, time, head_width)."""
        batch, time, _ = x.shape
        return x.view(batch, time, parts, self.heads, self.head_width).permute(2, 0, 3, 1, 4).unbind(0)

    def merge(self, attended: Tensor) -> Tensor:
        """(batch, heads, time, head_width) -> (batch, time, width)."""
        return attended.transpose(1, 2).flatten(2)

    def read(self, x: Tensor, cache: KeyValueCache, layer: int, rows: slice, step: Step) -> Tensor:
        """The first positions of rows, (rows, time, width), their keys and values written to the cache."""
        q, k, v = self.split(self.qkv(self.attention_norm(x)), 3)
        cache.fill(layer, rows, k, v)
        x = x + self.out(self.merge(F.scaled_dot_product_attention(q, k, v, is_causal=True)))
        return self.finish(x, cache, layer, rows, step)

    def step(self, x: Tensor, cache: KeyValueCache, layer: int, every: Tensor, step: Step) -> Tensor:
        """One more position of the first rows (their numbers are `every`), (rows, 1, width)."""
        q, k, v = self.split(self.qkv(self.attention_norm(x)), 3)
        stored = cache.layers[layer][:x.shape[0]]
        stored[every, :, :, step.positions] = torch.stack((k, v), dim=1).squeeze(3).to(cache.dtype)
        keys, values = stored[:, :, :, :step.visible].to(x.dtype).unbind(1)
        x = x + self.out(self.merge(F.scaled_dot_product_attention(q, keys, values, attn_mask=step.mask)))
        return self.finish(x, cache, layer, slice(x.shape[0]), step)

    def finish(self, x: Tensor, cache: KeyValueCache, layer: int, rows: slice, step: Step) -> Tensor:
        """Attention to the text, and the feed-forward."""
        if cache.texts:
            q, = self.split(self.text_q(self.text_norm(x)), 1)
            keys, values = cache.texts[layer][rows, :, :, :step.text_visible].to(x.dtype).unbind(1)
            x = x + self.text_out(self.merge(F.scaled_dot_product_attention(q, keys, values, attn_mask=step.text_mask)))
        return cast(Tensor, x + self.down(F.gelu(self.up(self.feed_forward_norm(x)))))


class MusicgenNetwork(nn.Module):
    """Codes in, logits out: the beginning of rows at once, then step by step, with a cache.

    With `int8` its linear layers hold bytes; it computes in float32 all the same.
    """

    def __init__(self, config: MusicgenConfig, *, int8: bool = False) -> None:
        super().__init__()

        def linear(inputs: int, outputs: int) -> nn.Module:
            return Int8Linear(inputs, outputs) if int8 else nn.Linear(inputs, outputs, bias=False)

        self.config = config
        self.embedding = nn.Embedding(config.codebooks * (config.vocabulary + 1), config.width)  # one table behind the other
        self.blocks = nn.ModuleList(Block(config, linear) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.width)
        self.head = linear(config.width, config.codebooks * config.vocabulary)

    @property
    def dtype(self) -> torch.dtype:
        return self.embedding.weight.dtype

    @property
    def device(self) -> torch.device:
        return self.embedding.weight.device

    def embed(self, codes: Tensor) -> Tensor:
        """(..., codebooks) -> (..., width)."""
        tables = torch.arange(self.config.codebooks, device=codes.device) * (self.config.vocabulary + 1)
        return cast(Tensor, self.embedding(codes + tables)).sum(-2)

    def places(self, positions: Tensor) -> Tensor:
        """Sinusoidal positions: (...) -> (..., width), cosines first."""
        half = self.config.width // 2
        speeds = torch.exp(torch.arange(half, device=positions.device).float() * -(math.log(10000) / (half - 1)))
        angle = positions[..., None].float() * speeds
        return torch.cat((angle.cos(), angle.sin()), dim=-1).to(self.dtype)

    def read_text(self, states: Tensor | None, cache: KeyValueCache, row: int) -> None:
        """Keep the keys and values of a row's text, (time, width); None: the row has none."""
        cache.text_lengths[row] = 0 if states is None else states.shape[0]
        for layer, module in enumerate(self.blocks):
            block = cast(Block, module)
            if states is None:
                cache.texts[layer][row, :, :, :1] = 0
            else:
                keys, values = block.split(block.text_kv(states[None].to(self.dtype)), 2)
                cache.fill_text(layer, row, keys[0], values[0])

    def read(self, codes: Tensor, cache: KeyValueCache, row: int, prefix: Tensor | None = None) -> None:
        """Read the beginning of a row, whose text has been read; it then stands behind it.

        codes (time, codebooks); the states of a prefix, (length, width), are positions in front of them.
        """
        x = self.embed(codes)
        if prefix is not None:
            x = torch.cat((prefix.to(x.dtype), x))
        time = x.shape[0]
        if time:
            x = (x + self.places(torch.arange(time, device=x.device)))[None]
            part = slice(row, row + 1)
            step = Step(torch.empty(0), time, None, *self._texts(cache, part))
            for layer, block in enumerate(self.blocks):
                x = cast(Block, block).read(x, cache, layer, part, step)
        cache.lengths[row] = time

    def step(self, codes: Tensor, cache: KeyValueCache) -> Tensor:
        """One more position of the cache's first rows: codes (rows, codebooks) -> logits (rows, codebooks, vocabulary).

        Rows may stand at different positions.
        """
        rows = codes.shape[0]
        if cache.native is not None:
            logits = cache.native(codes)
        else:
            lengths = cache.lengths[:rows]
            visible = int(lengths.max()) + 1
            even = int(lengths.min()) + 1 == visible
            positions = lengths.to(self.device)
            mask = None if even else mask_of(positions + 1, visible, self.dtype)
            logits = self.rows(codes, cache, Step(positions, visible, mask, *self._texts(cache, slice(rows))))
        cache.lengths[:rows] += 1
        return logits

    def rows(self, codes: Tensor, cache: KeyValueCache, step: Step) -> Tensor:
        """The same with all that depends on where the rows stand in tensors; touches the device only."""
        every = torch.arange(codes.shape[0], device=codes.device)
        x = (self.embed(codes) + self.places(step.positions))[:, None]
        for layer, block in enumerate(self.blocks):
            x = cast(Block, block).step(x, cache, layer, every, step)
        return cast(Tensor, self.head(self.norm(x))).view(-1, self.config.codebooks, self.config.vocabulary)

    def _texts(self, cache: KeyValueCache, rows: slice) -> tuple[int, Tensor | None]:
        """How much of the texts of rows there is to see, and the mask for it."""
        lengths = cache.text_lengths[rows].clamp(min=1)  # where there is none, one position of zeros
        visible = int(lengths.max())
        even = not cache.texts or int(lengths.min()) == visible
        return visible, None if even else mask_of(lengths.to(self.device), visible, self.dtype)
