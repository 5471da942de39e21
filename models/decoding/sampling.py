"""Drawing ids: top-k, then temperature, then softmax, as in the seed system, with noise of our own."""

from __future__ import annotations

import torch
from torch import Tensor

_MASK = 2**64 - 1


def noise(seed: int, take: int, place: int) -> float:
    """A number in [0, 1) that depends on its three arguments alone (splitmix64, mixed in turn)."""
    state = 0
    for value in (seed, take, place):
        state = (state ^ value) + 0x9E3779B97F4A7C15 & _MASK
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & _MASK
        state = (state ^ state >> 27) * 0x94D049BB133111EB & _MASK
        state ^= state >> 31
    return (state >> 11) / 2**53


def sample(logits: Tensor, temperature: Tensor, top_k: Tensor, uniform: Tensor) -> Tensor:
    """Draw one id a row.

    logits (rows, vocabulary), -inf where an id is not allowed; temperature (rows,) above 0; top_k
    (rows,) at least 1, logits equal to the last of the k count too; uniform (rows,) in [0, 1) -> ids (rows,).
    """
    if int(top_k.min()) < logits.shape[-1]:
        best = logits.topk(min(int(top_k.max()), logits.shape[-1]), dim=-1).values
        least = best.gather(-1, top_k.clamp(max=best.shape[-1])[:, None] - 1)
        logits = logits.masked_fill(logits < least, -torch.inf)
    # The shares lie in the order of the ids, not of their size: where two logits are as good as equal, rounding
    # would exchange them. Doubles, and a first sum above the draw: an id without a share is never drawn.
    shares = (logits / temperature[:, None]).double().softmax(dim=-1)
    mass = shares.cumsum(dim=-1)
    return (mass <= uniform[:, None] * mass[:, -1:]).sum(dim=-1)
