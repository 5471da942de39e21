"""Decoding with the pocket network: conditions, guidance and masks on top of the local decoder."""

from __future__ import annotations

from collections.abc import Sequence as Listed
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from models.decoding.local_decoder import LocalDecoder
from models.decoding.sequence import Sequence
from models.decoding.threads import threads
from models.engines.pocket.conditioning import KIND_RANGES, AllowedIds, Clock, Steering, accent, keep_to_beat
from models.engines.pocket.features import GRID_UNKNOWN
from models.engines.pocket.network import PocketNetwork

HEADER = 3  # ids in front of a piece
_SUMMING_THREADS = 1  # a header is read in 3 ms, 1,500 ids that are carried on in 0.6 s, twice what two threads need


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

    def __init__(self, network: PocketNetwork, rows: int, *, cache_dtype: torch.dtype = torch.bfloat16) -> None:
        super().__init__(network.body, rows, cache_dtype=cache_dtype, summing_threads=_SUMMING_THREADS)
        self._pocket = network

    def streams(self, sequence: Sequence) -> int:
        return 1 if sequence.guidance == 1 else 2

    def join(self, sequence: Sequence) -> None:
        condition: Condition = sequence.condition
        features = self._pocket.features
        known = features.vector(condition.steering.attributes)
        unknown = features.vector(condition.steering.attributes, frozenset(features.groups))
        with torch.inference_mode(), threads(_SUMMING_THREADS):
            both = self._pocket.attributes(torch.from_numpy(np.stack((known, unknown))).to(self._device))
        condition.described = both[0], both[1]
        super().join(sequence)

    def prime_condition(self, sequence: Sequence, stream: int, ids: Listed[int]) -> Tensor:
        condition: Condition = sequence.condition
        assert condition.described is not None
        clock = condition.clock
        given = clock.before[len(clock.before) - (len(ids) - HEADER):]
        # The header is seen as from where the piece begins, or as far back as it is read.
        places = [given[0] if len(given) else clock.features] * HEADER + list(given)
        seen = torch.from_numpy(np.stack([_seen(one, stream) for one in places])).to(self._device)
        grid: Tensor = self._pocket.grid(seen).sum(1)
        return condition.described[stream] + grid

    def step_condition(self, rows: Listed[tuple[Sequence, int]]) -> Tensor:
        places = torch.from_numpy(np.stack([
            _seen(sequence.condition.clock.follow(sequence.ids), stream) for sequence, stream in rows])).to(self._device)
        described = torch.stack([sequence.condition.described[stream] for sequence, stream in rows])
        grid: Tensor = self._pocket.grid(places).sum(1)
        return described + grid

    def span(self, sequences: Listed[Sequence]) -> tuple[int, int]:
        kinds = {len(sequence.ids) % 3 for sequence in sequences}
        if 0 in kinds and any(sequence.condition.steering.may_end for sequence in sequences):
            return super().span(sequences)  # the start of another piece is an end, and the last id
        return KIND_RANGES[min(kinds)][0], KIND_RANGES[max(kinds)][1]

    def steer(self, sequences: Listed[Sequence], logits: Tensor, first: int) -> Tensor:
        end = first + logits.shape[1]
        logits = logits + torch.stack([
            sequence.condition.allowed.after(sequence.ids)[first:end] for sequence in sequences]).to(self._device)
        for kind, bend in ((0, keep_to_beat), (1, accent)):
            rows, weak = [], []
            for row, sequence in enumerate(sequences):
                condition: Condition = sequence.condition
                condition.clock.follow(sequence.ids)
                if not condition.clock.begun or len(sequence.ids) % 3 != kind:
                    continue
                if (weakness := condition.clock.weakness()) is not None:
                    rows.append(row)
                    here = weakness[:1] - 0.5
                    bent = np.append(condition.clock.chord_loss * here, weakness[1:]) if kind == 0 else -here
                    weak.append(condition.steering.beat_strength * bent)
            if rows:
                of_kind = logits[:, slice(*(place - first for place in KIND_RANGES[kind]))]
                every = len(rows) == len(sequences)  # then it is bent where it is
                chosen = of_kind if every else of_kind[rows]
                bend(chosen, torch.from_numpy(np.stack(weak)).to(chosen))
                if not every:
                    of_kind[rows] = chosen
        return logits


def _seen(features: np.ndarray, stream: int) -> np.ndarray:
    """Grid features as a stream sees them: the one without attributes knows no beat either, only how much is left."""
    return features if stream == 0 else np.concatenate((GRID_UNKNOWN[:-1], features[-1:]))
