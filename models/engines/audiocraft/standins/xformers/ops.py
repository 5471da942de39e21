"""Attention, answered by torch's own kernels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

unbind = torch.unbind


class LowerTriangularMask:
    """Says that a position sees itself and earlier ones."""


def memory_efficient_attention(
    query: Tensor, key: Tensor, value: Tensor, attn_bias: Tensor | LowerTriangularMask | None = None, p: float = 0.0,
) -> Tensor:
    """Attention over (batch, time, heads, width), in xformers' order of dimensions; `attn_bias` is added to the scores."""
    query, key, value = (one.transpose(1, 2) for one in (query, key, value))
    causal = isinstance(attn_bias, LowerTriangularMask)
    bias = attn_bias if isinstance(attn_bias, Tensor) else None
    return F.scaled_dot_product_attention(query, key, value, bias, p, is_causal=causal).transpose(1, 2)
