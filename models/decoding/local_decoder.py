"""Decoding with a LocalTransformer: one cache row a sequence, two where it is guided."""

from __future__ import annotations

from collections.abc import Sequence as Listed

import torch
from torch import Tensor

from models.decoding.sampling import noise, sample
from models.decoding.sequence import Sequence
from models.decoding.threads import threads
from models.network import native
from models.network.cache import KeyValueCache
from models.network.local_transformer import LocalTransformer


class LocalDecoder:
    """A `Decoder` for ids of one vocabulary.

    A network with learned positions ends at the last of them. A sequence that gets there is read
    anew from a border that `restart_place` names, with three quarters of the positions behind it; what
    lies further back is forgotten then.

    What a row comes to does not depend on the others. PyTorch adds up otherwise for each number of rows, so without
    the compiled step rows are stepped one after the other.

    `summing_threads` (None: as many as PyTorch has) is on how many threads PyTorch reads primes, and steps where
    nothing is compiled. With a number, ids do not depend on how many threads there are.

    Subclasses say what conditions a sequence, and which ids may come next.
    """

    def __init__(
        self, network: LocalTransformer, rows: int, *, phantom: bool = False, cache_dtype: torch.dtype | None = None,
        summing_threads: int | None = None,
    ) -> None:
        config = network.config
        self.network = network
        self._phantom = phantom
        self._device = network.embedding.weight.device
        self._cache = KeyValueCache(
            rows, config.depth, config.heads, config.head_width, config.window, phantom=phantom,
            dtype=cache_dtype or network.embedding.weight.dtype, device=self._device)
        compiled = native.attach(network, self._cache)
        one_by_one = self._device.type == "cpu" and not compiled
        self._alone = [self._cache.alone(row) for row in range(rows)] if one_by_one else []
        self._summing_threads = summing_threads
        self._owners: list[Sequence] = []  # of the cache rows in use
        self._rows: dict[Sequence, list[int]] = {}  # first the conditioned one
        self._logits = torch.empty(rows, config.vocabulary, device=self._device)

    # What a subclass adds

    def streams(self, sequence: Sequence) -> int:
        """Cache rows that a sequence takes."""
        return 1

    def prime_condition(self, sequence: Sequence, stream: int, ids: Listed[int]) -> Tensor | None:
        """Condition of the ids of a prime, (time, width)."""
        return None

    def step_condition(self, rows: Listed[tuple[Sequence, int]]) -> Tensor | None:
        """Condition of the last id of each row's sequence and stream, (rows, width)."""
        return None

    def span(self, sequences: Listed[Sequence]) -> tuple[int, int]:
        """The first id that may come next, and the one behind the last: no others need be looked at."""
        return 0, self.network.config.vocabulary

    def steer(self, sequences: Listed[Sequence], logits: Tensor, first: int) -> Tensor:
        """Logits of the next ids from id `first` on, (sequences, ids), with what may not come at -inf."""
        return logits

    def restart_place(self, ids: Listed[int], earliest: int) -> int:
        """The first place from `earliest` on where reading may start anew."""
        return earliest

    # The decoder protocol

    def fits(self, sequence: Sequence) -> bool:
        return len(self._owners) + self.streams(sequence) <= self._cache.rows

    @torch.inference_mode()
    def join(self, sequence: Sequence) -> None:
        first = len(self._owners)
        streams = self.streams(sequence)
        self._rows[sequence] = list(range(first, first + streams))
        self._owners.extend([sequence] * streams)
        try:
            self._read(sequence, sequence.prime)
        except BaseException:
            self.leave(sequence)
            raise

    def _read(self, sequence: Sequence, ids: Listed[int]) -> None:
        """Read ids from position 0 on into the sequence's rows."""
        limit = self.network.config.positions
        if limit and len(ids) > limit - 1:
            ids = ids[self.restart_place(ids, len(ids) - 3 * limit // 4):]
        rows = self._rows[sequence]
        conditions = [self.prime_condition(sequence, stream, ids) for stream in range(len(rows))]
        described = [condition for condition in conditions if condition is not None]
        with threads(self._summing_threads):
            hidden = self.network.hidden(
                torch.tensor([list(ids)] * len(rows), device=self._device),
                torch.stack(described) if described else None,
                phantom=self._phantom, cache=self._cache, rows=rows)
            self._logits[rows] = self.network.head(hidden[:, -1]).to(self._logits.dtype)

    @torch.inference_mode()
    def draw(self, sequences: Listed[Sequence]) -> list[int]:
        if not sequences:
            return []
        first, end = self.span(sequences)
        seen = self._logits[:, first:end]
        logits = seen[[self._rows[sequence][0] for sequence in sequences]]
        guided = [place for place, sequence in enumerate(sequences) if len(self._rows[sequence]) > 1]
        if guided:
            free = seen[[self._rows[sequences[place]][1] for place in guided]]
            strength = self._column([sequences[place].guidance for place in guided])
            logits[guided] = free + strength[:, None] * (logits[guided] - free)
        logits = self.steer(sequences, logits, first)
        uniform = [noise(sequence.seed, sequence.take, len(sequence.ids)) for sequence in sequences]
        drawn: list[int] = sample(
            logits, self._column([sequence.temperature for sequence in sequences]),
            torch.tensor([sequence.top_k for sequence in sequences], device=self._device),
            torch.tensor(uniform, dtype=torch.float64, device=self._device)).add(first).tolist()
        return drawn

    def _column(self, values: Listed[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float32, device=self._device)

    @torch.inference_mode()
    def advance(self, sequences: Listed[Sequence]) -> None:
        limit = self.network.config.positions
        full = [sequence for sequence in sequences
                if limit and int(self._cache.lengths[self._rows[sequence][0]]) >= limit]
        used = len(self._owners)
        streams = [(owner, self._rows[owner].index(row)) for row, owner in enumerate(self._owners)]
        if len(full) < len(sequences):
            # Rows that are full are stepped along at a position that exists, and read anew below.
            if full:
                self._cache.lengths[:used].clamp_(max=limit - 1)
            ids = torch.tensor([owner.ids[-1] for owner, _ in streams], device=self._device)
            self._logits[:used] = self._step(ids, self.step_condition(streams)).to(self._logits.dtype)
        for sequence in full:
            self._read(sequence, [*sequence.prime, *sequence.ids])

    def _step(self, ids: Tensor, condition: Tensor | None) -> Tensor:
        if not self._alone:
            return self.network.step(ids, self._cache, condition)
        with threads(self._summing_threads):
            return torch.cat([
                self.network.step(ids[row:row + 1], self._alone[row], None if condition is None else condition[row:row + 1])
                for row in range(len(ids))])

    def leave(self, sequence: Sequence) -> None:
        for row in sorted(self._rows.pop(sequence), reverse=True):
            last = len(self._owners) - 1
            if row != last:
                self._cache.move(last, row)
                self._logits[row] = self._logits[last]
                owner = self._owners[row] = self._owners[last]
                rows = self._rows[owner]
                rows[rows.index(last)] = row
            self._owners.pop()
