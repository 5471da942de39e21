"""The phantom window of the published Los Angeles Music Composer weights.

They were trained on rows whose length is a multiple of the window; there the padding in front of
the first window was not masked. Each query of the first window saw 512 more keys, all components
of keys and values -1 and not rotated. As they are all alike, they count as one key whose logit is
raised by ln 512. Networks trained by us never saw it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

PADDING = -1.0


def phantom_keys(like: Tensor) -> Tensor:
    """The one key (or value) that stands for the padding: (batch, heads, 1, head_width)."""
    return torch.full_like(like[:, :, :1], PADDING)


def phantom_logits(positions: Tensor, window: int) -> Tensor:
    """What to add to the phantom key's logit at each query position: ln(window), or -inf behind the first window."""
    return torch.where(positions < window, math.log(window), -torch.inf)
