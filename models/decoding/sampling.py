"""Drawing ids: top-k or top-p, temperature, softmax, as in the systems the models are from, with noise of our own."""

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


def sample(logits: Tensor, temperature: Tensor, top_k: Tensor, uniform: Tensor, top_p: Tensor | None = None) -> Tensor:
    """Draw one id a row.

    logits (rows, vocabulary), -inf where an id is not allowed; temperature (rows,), 0: the likeliest id; top_k
    (rows,) at least 1, logits equal to the last of the k count too; uniform (rows,) in [0, 1) -> ids (rows,).
    top_p (rows,): above 0 it replaces top_k by as few of the likeliest ids as have that share between them.
    """
    greedy = temperature == 0
    temperature = torch.where(greedy, 1.0, temperature)[:, None]
    top_k = torch.where(greedy, 1, top_k.clamp(max=logits.shape[-1]))
    uniform = torch.where(greedy, 0.0, uniform)  # of several that are the likeliest, the first
    if top_p is not None:
        best = logits.sort(dim=-1, descending=True).values
        shares = (best / temperature).double().softmax(dim=-1)
        needed = (shares.cumsum(dim=-1) - shares < top_p[:, None]).sum(dim=-1)
        top_k = torch.where(greedy | (top_p <= 0), top_k, needed)
        logits = logits.masked_fill(logits < best.gather(-1, top_k[:, None] - 1), -torch.inf)
    elif int(top_k.min()) < logits.shape[-1]:
        best = logits.topk(int(top_k.max()), dim=-1).values
        logits = logits.masked_fill(logits < best.gather(-1, top_k[:, None] - 1), -torch.inf)
    # The shares lie in the order of the ids, not of their size: where two logits are as good as equal, rounding
    # would exchange them. Doubles, and a first sum above the draw: an id without a share is never drawn.
    shares = (logits / temperature).double().softmax(dim=-1)
    mass = shares.cumsum(dim=-1)
    return (mass <= uniform[:, None] * mass[:, -1:]).sum(dim=-1)
