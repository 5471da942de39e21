"""Decoding with the pocket network: conditions, guidance and the plan of the piece on top of the local decoder."""

from __future__ import annotations

from collections.abc import Sequence as Listed
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from models.decoding.local_decoder import LocalDecoder
from models.decoding.sequence import Sequence
from models.decoding.threads import threads
from models.engines.pocket.clock import Clock
from models.engines.pocket.features import GRID_UNKNOWN, LEFT
from models.engines.pocket.guide import Guide
from models.engines.pocket.memory import LAGS, MATCH_BINS, NOTHING, SLOTS, nothing
from models.engines.pocket.network import PocketNetwork
from models.engines.pocket.steering import KIND_RANGES, Steering

HEADER = 3  # ids in front of a piece
_SUMMING_THREADS = 1  # a header is read in 3 ms, 1,500 ids that are carried on in 0.6 s, twice what two threads need


@dataclass
class Condition:
    """A sequence's condition; `described` holds the attributes' vector with and without them."""

    steering: Steering
    clock: Clock = field(init=False)
    guide: Guide = field(init=False)
    described: np.ndarray | None = None  # (2, width)

    def __post_init__(self) -> None:
        self.clock = Clock(self.steering)
        self.guide = Guide(self.steering, self.clock)


class PocketDecoder(LocalDecoder):
    """A guided sequence takes two rows: one sees its attributes, the beat and the plan, the other none of them.

    Conditions are summed up by numpy: they are a few rows of small tables, and a step has no time for a dozen
    operations of PyTorch.
    """

    def __init__(self, network: PocketNetwork, rows: int, *, cache_dtype: torch.dtype = torch.bfloat16) -> None:
        super().__init__(network.body, rows, cache_dtype=cache_dtype, summing_threads=_SUMMING_THREADS)
        self._pocket = network
        embedding = network.body.embedding.weight
        width = embedding.shape[1]
        self._embedding = torch.cat((embedding, embedding.new_zeros(NOTHING + 1 - len(embedding), width))).cpu().numpy()
        self._embedding[NOTHING] = 0.0
        self._grid = network.grid.weight.cpu().numpy()
        self._memory = network.memory.weight.cpu().numpy().reshape(-1, SLOTS, width)
        self._matched = network.matched.weight.cpu().numpy().reshape(-1, len(LAGS), MATCH_BINS, width)
        self._lags = np.arange(len(LAGS))
        self._grid_unknown = self._grid[[place for column, place in enumerate(GRID_UNKNOWN) if column != LEFT]].sum(0)

    def streams(self, sequence: Sequence) -> int:
        return 1 if sequence.guidance == 1 else 2

    def join(self, sequence: Sequence) -> None:
        condition: Condition = sequence.condition
        features = self._pocket.features
        known = features.vector(condition.steering.attributes)
        unknown = features.vector(condition.steering.attributes, frozenset(features.groups))
        with torch.inference_mode(), threads(_SUMMING_THREADS):
            both = self._pocket.attributes(torch.from_numpy(np.stack((known, unknown))).to(self._device))
        condition.described = both.cpu().numpy()
        super().join(sequence)

    def prime_condition(self, sequence: Sequence, stream: int, ids: Listed[int]) -> Tensor:
        condition: Condition = sequence.condition
        clock, described = condition.clock, condition.described
        assert described is not None
        count = len(ids) - HEADER
        before = [part[len(part) - count:] for part in clock.before] if count else None
        # The header is seen as from where the piece begins, or as far back as it is read.
        first = before[0][0] if before else clock.features
        places = [(first, *(part[place] for part in nothing(HEADER))) for place in range(HEADER)]
        if before:
            places += list(zip(*before, strict=True))
        vectors = [self._seen(features, memory, marks, (place + 1) % 3)[stream]
                   for place, (features, memory, marks) in enumerate(places)]
        return torch.from_numpy(np.stack(vectors) + described[stream]).to(self._device)

    def step_condition(self, rows: Listed[tuple[Sequence, int]]) -> Tensor:
        vectors = np.empty((len(rows), self._embedding.shape[1]), dtype=np.float32)
        seen: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # by sequence: its streams have much in common
        for row, (sequence, stream) in enumerate(rows):
            condition: Condition = sequence.condition
            if id(sequence) not in seen:
                clock = condition.clock
                clock.follow(sequence.ids)
                seen[id(sequence)] = self._seen(clock.features, *clock.remembered, len(sequence.ids) % 3)
            assert condition.described is not None
            np.add(seen[id(sequence)][stream], condition.described[stream], out=vectors[row])
        return torch.from_numpy(vectors).to(self._device)

    def _seen(
        self, features: np.ndarray, memory: np.ndarray, marks: np.ndarray, kind: int,
    ) -> tuple[np.ndarray, np.ndarray]:
        """What both streams see at one position, each (width,).

        The one without attributes knows no beat and no plan either, only how much is left, and what stood in earlier bars.
        """
        recalled, counts = self._embedding[memory], self._memory[kind]
        common = np.einsum("sw,sw->w", recalled[:-1], counts[:len(LAGS)])
        common += self._matched[kind][self._lags, marks[:-1]].sum(0)
        known: np.ndarray = self._grid[features].sum(0)
        known += common
        if memory[-1] != NOTHING:
            known += recalled[-1] * counts[marks[-1]]
        common += self._grid_unknown
        common += self._grid[features[LEFT]]
        return known, common

    def span(self, sequences: Listed[Sequence]) -> tuple[int, int]:
        kinds = {len(sequence.ids) % 3 for sequence in sequences}
        return KIND_RANGES[min(kinds)][0], KIND_RANGES[max(kinds)][1]

    def steer(self, sequences: Listed[Sequence], logits: Tensor, first: int) -> Tensor:
        added = np.full(logits.shape, -np.inf, dtype=np.float32)
        for row, sequence in enumerate(sequences):
            condition: Condition = sequence.condition
            condition.clock.follow(sequence.ids)
            start, end = KIND_RANGES[len(sequence.ids) % 3]
            added[row, start - first:end - first] = condition.guide.after(sequence.ids)
            if (notes := condition.guide.ends_after) is not None:
                sequence.length = 3 * notes
        logits = logits + torch.from_numpy(added).to(logits.device)
        for kind, bend in ((0, keep_to_beat), (1, accent)):
            rows, weak = [], []
            for row, sequence in enumerate(sequences):
                condition = sequence.condition
                if not condition.clock.begun or len(sequence.ids) % 3 != kind:
                    continue
                if (weakness := condition.clock.weakness()) is not None:
                    rows.append(row)
                    here = weakness[:1] - 0.5
                    bent = np.append(condition.clock.chord_loss * here, weakness[1:]) if kind == 0 else -here
                    weak.append(condition.steering.strengths.beat * bent)
            if rows:
                of_kind = logits[:, slice(*(place - first for place in KIND_RANGES[kind]))]
                every = len(rows) == len(sequences)  # then it is bent where it is
                chosen = of_kind if every else of_kind[rows]
                bend(chosen, torch.from_numpy(np.stack(weak)).to(chosen))
                if not every:
                    of_kind[rows] = chosen
        return logits


def keep_to_beat(times: Tensor, loss: Tensor) -> None:
    """Take `loss` off the logits of T, both (rows, 128): more for times that lead to weaker places of the bar.

    What weak times lose goes to the others: notes with the last one, T 0, become no likelier by it. Their own
    loss is below 0 where chords are wanted.
    """
    later = times[:, 1:]
    before = later.logsumexp(-1, keepdim=True)
    later -= loss[:, 1:]
    later += (before - later.logsumexp(-1, keepdim=True)).nan_to_num(0.0)  # none may come: nothing to make up for
    times[:, 0] -= loss[:, 0]


def accent(durations: Tensor, gain: Tensor) -> None:
    """Make notes louder the stronger their place in the bar is, in the logits of D, (rows, 1024).

    Each of the eight classes of velocity gets a third of `gain`, (rows, 1), more than the one below.
    """
    durations.view(len(durations), -1, 8).add_(gain[:, None] / 3 * torch.arange(8, device=durations.device))
