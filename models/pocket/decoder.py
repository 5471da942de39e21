"""Decoding with the pocket network: conditions, guidance and masks on top of the local decoder."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence as Listed
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from models.decoding.local_decoder import LocalDecoder
from models.decoding.sequence import Sequence
from models.pocket.conditioning import AllowedIds, Clock, Steering, accent, keep_to_beat
from models.pocket.features import GRID_UNKNOWN
from models.pocket.network import PocketNetwork


@dataclass
class Condition:
    """A sequence's condition; `described` holds the attributes' vector with and without them."""

    steering: Steering
    clock: Clock = field(init=False)
    allowed: AllowedIds = field(init=False)
    described: tuple[Tensor, Tensor] | None = None  # each (width,)

    def __post_init__(self) -> None:
        self.clock = Clock(self.steering)
        self.allowed = AllowedIds(self.steering)


class PocketDecoder(LocalDecoder):
    """A guided sequence takes two rows: one sees its attributes and the beat, the other neither."""

    def __init__(self, network: PocketNetwork, rows: int) -> None:
        super().__init__(network.body, rows)
        self._pocket = network

    def streams(self, sequence: Sequence) -> int:
        return 1 if sequence.guidance == 1 else 2

    def join(self, sequence: Sequence) -> None:
        condition: Condition = sequence.condition
        features = self._pocket.features
        known = features.vector(condition.steering.attributes)
        unknown = features.vector(condition.steering.attributes, frozenset(features.groups))
        with torch.inference_mode():
            both = self._pocket.attributes(torch.from_numpy(np.stack((known, unknown))).to(self._device))
        condition.described = both[0], both[1]
        super().join(sequence)

    def prime_condition(self, sequence: Sequence, stream: int, ids: Listed[int]) -> Tensor:
        condition: Condition = sequence.condition
        assert condition.described is not None
        places = torch.from_numpy(_seen(condition.clock.features, stream)).to(self._device)
        grid: Tensor = self._pocket.grid(places).sum(0)
        return (condition.described[stream] + grid).expand(len(ids), -1)

    def step_condition(self, rows: Listed[tuple[Sequence, int]]) -> Tensor:
        places = torch.from_numpy(np.stack([
            _seen(sequence.condition.clock.follow(sequence.ids), stream) for sequence, stream in rows])).to(self._device)
        described = torch.stack([sequence.condition.described[stream] for sequence, stream in rows])
        grid: Tensor = self._pocket.grid(places).sum(1)
        return described + grid

    def steer(self, sequences: Listed[Sequence], logits: Tensor) -> Tensor:
        logits = logits + torch.stack([
            sequence.condition.allowed.after(sequence.ids) for sequence in sequences]).to(self._device)
        for kind, bend in ((0, keep_to_beat), (1, accent)):
            # Rows of one strength at a time: it is a setting of the engine, so usually all of them.
            rows: dict[float, list[tuple[int, np.ndarray]]] = defaultdict(list)
            for row, sequence in enumerate(sequences):
                condition: Condition = sequence.condition
                strength = condition.steering.beat_strength
                if strength and sequence.ids and len(sequence.ids) % 3 == kind:
                    condition.clock.follow(sequence.ids)
                    if (weakness := condition.clock.weakness()) is not None:
                        rows[strength].append((row, weakness if kind == 0 else weakness[0]))
            for strength, found in rows.items():
                numbers = [row for row, _ in found]
                chosen = logits[numbers]
                bend(chosen, np.stack([weakness for _, weakness in found]), strength)
                logits[numbers] = chosen
        return logits


def _seen(features: np.ndarray, stream: int) -> np.ndarray:
    """Grid features as a stream sees them: the one without attributes knows no beat either, only how much is left."""
    return features if stream == 0 else np.concatenate((GRID_UNKNOWN[:-1], features[-1:]))
