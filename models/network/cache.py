"""Keys and values of the positions that a query may still see.

A row is a ring of window + 1 slots a layer; position p lies in slot p mod (window + 1). Rows in
use are always the first ones, so that a step reads one contiguous view and gathers nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy

import torch
from torch import Tensor

from models.network.phantom import PADDING, phantom_logits


class KeyValueCache:
    """Room for `rows` rows; one tensor a layer, (rows, 2, heads, slots, head_width).

    `phantom` keeps one more slot for the padding that the first window saw in training. `dtype` may be narrower than
    the network's: half the memory to read a step, for keys and values of three digits.
    """

    def __init__(
        self, rows: int, depth: int, heads: int, head_width: int, window: int, *, phantom: bool = False,
        dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu",
    ) -> None:
        self.window, self.slots, self.phantom = window, window + 1, phantom
        shape = (rows, 2, heads, self.slots + phantom, head_width)
        self.layers = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(depth)]
        if phantom:
            for layer in self.layers:
                layer[:, :, :, self.slots] = PADDING
        self.lengths = torch.zeros(rows, dtype=torch.long)  # positions so far, on the CPU
        self.dtype = dtype
        self._device = device
        self._rows = 0
        self._visible = 0
        self._slot: int | tuple[Tensor, Tensor] = 0
        self.native: Callable[[Tensor, Tensor], Tensor] | None = None  # see models.network.native

    @property
    def rows(self) -> int:
        return len(self.lengths)

    def fill(self, layer: int, rows: Tensor, keys: Tensor, values: Tensor) -> None:
        """Store the last positions of whole rows (their numbers); keys and values (rows, heads, time, head_width)."""
        time = keys.shape[2]
        first = max(0, time - self.slots)
        slots = torch.arange(first, time, device=keys.device) % self.slots
        for part, states in enumerate((keys, values)):
            stored = states[:, :, first:].transpose(1, 2)  # (rows, slots, heads, head_width)
            self.layers[layer][rows[:, None], part, :, slots] = stored.to(self.layers[layer].dtype)

    def begin(self, rows: int) -> Tensor:
        """Start a step of the first `rows` rows; returns their positions, (rows,)."""
        lengths = self.lengths[:rows]
        self._rows = rows
        shortest, longest = int(lengths.min()), int(lengths.max())
        self._visible = min(longest + 1, self.slots)
        self._even = shortest == longest or shortest >= self.window
        if shortest == longest:
            self._slot = longest % self.slots
        else:
            self._slot = torch.arange(rows, device=self._device), (lengths % self.slots).to(self._device)
        return lengths.to(self._device)

    def append(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Write one position of each row, (rows, heads, head_width); returns all keys and values to look at."""
        stored = self.layers[layer][:self._rows]
        if isinstance(self._slot, int):
            stored[:, 0, :, self._slot] = key
            stored[:, 1, :, self._slot] = value
        else:
            row, slot = self._slot
            stored[row, 0, :, slot] = key.to(self.dtype)
            stored[row, 1, :, slot] = value.to(self.dtype)
        if not self.phantom:
            stored = stored[:, :, :, :self._visible]
        return stored[:, 0].to(key.dtype), stored[:, 1].to(key.dtype)

    def mask(self) -> Tensor | None:
        """What to add to the logits of the keys, (rows, 1, 1, keys); None when every row sees them all."""
        if self._even and not self.phantom:
            return None
        positions = self.lengths[:self._rows]
        slots = torch.arange(self.slots if self.phantom else self._visible)
        mask = torch.where(slots <= positions[:, None], 0.0, -torch.inf)
        if self.phantom:
            mask = torch.cat((mask, phantom_logits(positions, self.window)[:, None]), dim=1)
        return mask[:, None, None].to(self._device)

    def end(self) -> None:
        self.lengths[:self._rows] += 1

    def alone(self, row: int) -> KeyValueCache:
        """One row as a cache of its own, in the same memory."""
        one = copy(self)
        one.layers = [layer[row:row + 1] for layer in self.layers]
        one.lengths = self.lengths[row:row + 1]
        one.native = None
        return one

    def move(self, source: int, target: int) -> None:
        """Copy a row over another."""
        for layer in self.layers:
            layer[target] = layer[source]
        self.lengths[target] = self.lengths[source]
