from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Sequence as Listed
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from models.decoding.batcher import Batcher
from models.decoding.local_decoder import LocalDecoder
from models.decoding.sampling import noise, sample
from models.decoding.sequence import Sequence, State
from models.network.local_transformer import LocalTransformer, LocalTransformerConfig

VOCABULARY, WIDTH = 61, 24


@cache
def network(positions: int = 0) -> LocalTransformer:
    """Small, and decided enough about its next id that a wrong key or position shows in the ids."""
    torch.manual_seed(4)
    config = LocalTransformerConfig(
        vocabulary=VOCABULARY, width=WIDTH, depth=2, heads=2, head_width=8, window=16, positions=positions)
    result = LocalTransformer(config).eval().requires_grad_(False)
    for parameter in result.parameters():
        if parameter.dim() == 2:
            parameter.normal_(std=0.4)
    return result


class GuidedDecoder(LocalDecoder):
    """Two rows for a guided sequence; its condition holds a vector for each, and the last id bends both."""

    def streams(self, sequence: Sequence) -> int:
        return 1 if sequence.guidance == 1 else 2

    def prime_condition(self, sequence: Sequence, stream: int, ids: Listed[int]) -> Tensor:
        return torch.stack([self._condition(sequence, stream, token) for token in ids])

    def step_condition(self, rows: Listed[tuple[Sequence, int]]) -> Tensor:
        return torch.stack([self._condition(sequence, stream, sequence.ids[-1]) for sequence, stream in rows])

    def steer(self, sequences: Listed[Sequence], logits: Tensor, first: int) -> Tensor:
        logits = logits.clone()
        for row, sequence in enumerate(sequences):
            logits[row, sequence.seed % VOCABULARY] = -torch.inf
        return logits

    @staticmethod
    def _condition(sequence: Sequence, stream: int, token: int) -> Tensor:
        chosen: Tensor = sequence.condition[stream]
        return chosen + 0.01 * token


def sequence(
    number: int, *, prime: int = 5, length: int = 30, guidance: float = 1.0, temperature: float = 0.9, top_k: int = 40,
) -> Sequence:
    """A sequence that no other one is like."""
    generator = torch.Generator().manual_seed(number)
    ids: list[int] = torch.randint(0, VOCABULARY, (prime,), generator=generator).tolist()
    return Sequence(
        prime=tuple(ids), length=length, seed=100 + number, take=1 + number % 3, temperature=temperature, top_k=top_k,
        guidance=guidance, condition=torch.randn(2, WIDTH, generator=generator))


def run(decoder: LocalDecoder, *sequences: Sequence) -> list[list[int]]:
    batcher = Batcher(decoder)
    for one in sequences:
        batcher.add(one)
    while batcher.busy:
        batcher.step()
    return [one.ids for one in sequences]


def without_a_cache(one: Sequence) -> list[int]:
    """What the sequence should come to, by whole rows through the network again and again."""
    ids: list[int] = []
    while len(ids) < one.length:
        everything = [*one.prime, *ids]
        logits = [
            network()(torch.tensor([everything]), (chosen + 0.01 * torch.tensor(everything)[:, None])[None])[0, -1]
            for chosen in one.condition]
        guided = logits[1] + one.guidance * (logits[0] - logits[1])
        guided[one.seed % VOCABULARY] = -torch.inf
        ids.append(int(sample(
            guided[None], torch.tensor([one.temperature]), torch.tensor([one.top_k]),
            torch.tensor([noise(one.seed, one.take, len(ids))], dtype=torch.float64))))
    return ids


SPECIMENS = [
    {"prime": 1, "length": 40}, {"prime": 3, "length": 17, "guidance": 2.0}, {"prime": 29, "length": 25, "guidance": 0.5},
    {"prime": 16, "length": 9, "temperature": 0.3}, {"prime": 17, "length": 21, "guidance": 1.5, "top_k": 3},
    {"prime": 18, "length": 1}, {"prime": 6, "length": 33, "guidance": 3.0, "temperature": 1.5, "top_k": 61},
]


def specimen(number: int) -> Sequence:
    return sequence(number, **SPECIMENS[number])  # type: ignore[arg-type]


@cache
def alone(number: int) -> tuple[int, ...]:
    return tuple(run(GuidedDecoder(network(), rows=2), specimen(number))[0])


@pytest.mark.parametrize("number", range(len(SPECIMENS)))
def test_ids_are_those_of_a_loop_without_a_cache(number: int) -> None:
    assert list(alone(number)) == without_a_cache(specimen(number))


def test_ids_are_the_same_alone_and_among_others() -> None:
    together = run(GuidedDecoder(network(), rows=12), *map(specimen, range(len(SPECIMENS))))
    assert together == [list(alone(number)) for number in range(len(SPECIMENS))]


def test_ids_are_the_same_for_a_late_comer_and_when_others_are_cancelled() -> None:
    batcher = Batcher(GuidedDecoder(network(), rows=6))
    first, gone, late = specimen(0), specimen(2), specimen(6)
    batcher.add(gone)
    batcher.add(first)
    for _ in range(7):
        batcher.step()
    batcher.add(late)
    for _ in range(4):
        batcher.step()
    batcher.cancel(gone)
    while batcher.busy:
        batcher.step()
    assert first.ids == list(alone(0))
    assert late.ids == list(alone(6))
    assert gone.ids == list(alone(2))[:11]


class Counted(GuidedDecoder):
    """Checks after each change that rows and sequences belong together."""

    def join(self, sequence: Sequence) -> None:
        super().join(sequence)
        self._check()

    def leave(self, sequence: Sequence) -> None:
        super().leave(sequence)
        self._check()

    def _check(self) -> None:
        rows = sorted(row for rows in self._rows.values() for row in rows)
        assert rows == list(range(len(self._owners))), "rows in use are the first ones, each with one owner"
        for sequence, mine in self._rows.items():
            assert [self._owners[row] for row in mine] == [sequence] * self.streams(sequence)

    @property
    def used(self) -> int:
        return len(self._owners)


@settings(max_examples=12)
@given(st.data())
def test_rows_are_freed_and_never_mixed_up(data: st.DataObject) -> None:
    decoder = Counted(network(), rows=data.draw(st.integers(2, 7)))
    batcher = Batcher(decoder, joins_per_step=data.draw(st.integers(1, 3)))
    added = {}
    for number in data.draw(st.permutations(range(len(SPECIMENS)))):
        added[number] = specimen(number)
        batcher.add(added[number])
        for _ in range(data.draw(st.integers(0, 6))):
            batcher.step()
        if data.draw(st.booleans()):
            batcher.cancel(data.draw(st.sampled_from(list(added.values()))))
    while batcher.busy:
        batcher.step()
    assert decoder.used == 0
    for number, one in added.items():
        assert one.ids == list(alone(number))[:len(one.ids)]
        assert len(one.ids) == one.length or one.state is State.CANCELLED


def test_a_guidance_of_one_is_no_guidance() -> None:
    class AlwaysTwo(GuidedDecoder):
        def streams(self, sequence: Sequence) -> int:
            return 2

    assert run(AlwaysTwo(network(), rows=2), specimen(0)) == [list(alone(0))]


def test_guidance_of_nought_listens_to_the_free_row_alone() -> None:
    one, free = sequence(3, guidance=0.0), sequence(3)
    free.condition = free.condition[[1, 1]]
    assert run(GuidedDecoder(network(), rows=2), one) == run(GuidedDecoder(network(), rows=2), free)


def test_there_is_room_for_as_many_sequences_as_there_are_rows() -> None:
    decoder = GuidedDecoder(network(), rows=3)
    guided, plain = sequence(1, guidance=2.0), sequence(2)
    assert decoder.fits(guided)
    decoder.join(guided)
    assert not decoder.fits(sequence(3, guidance=2.0))
    assert decoder.fits(plain)
    decoder.join(plain)
    assert not decoder.fits(sequence(4))
    decoder.leave(guided)
    assert decoder.fits(sequence(3, guidance=2.0))


def test_rows_of_one_that_could_not_join_are_free_again() -> None:
    class Unreadable(Counted):
        def prime_condition(self, sequence: Sequence, stream: int, ids: Listed[int]) -> Tensor:
            if stream:
                raise RuntimeError("no memory")
            return super().prime_condition(sequence, stream, ids)

    decoder = Unreadable(network(), rows=3)
    batcher = Batcher(decoder)
    plain, guided = specimen(0), sequence(2, guidance=2.0)
    batcher.add(plain)
    batcher.add(guided)
    with pytest.raises(RuntimeError, match="no memory"):
        batcher.step()
    assert decoder.used == 1
    batcher.cancel(guided)
    while batcher.busy:
        batcher.step()
    assert plain.ids == list(alone(0))


# Learned positions end: 64 of them here, so what is read anew are the last 48 ids.

POSITIONS, KEPT = 64, 48


def greedy(prime: Iterable[int], length: int) -> Sequence:
    return Sequence(prime=tuple(prime), length=length, seed=1, take=1, top_k=1)


def decoded(*sequences: Sequence) -> list[list[int]]:
    return run(LocalDecoder(network(POSITIONS), rows=len(sequences)), *sequences)


@pytest.mark.parametrize("prime", [1, 5, 62, 63, 64, 65, 200])
def test_a_sequence_goes_on_past_the_last_position_as_if_it_began_with_the_tail(prime: int) -> None:
    one = greedy([7 * i % VOCABULARY for i in range(prime)], 150)
    [ids] = decoded(one)
    assert len(ids) == 150
    everything = [*one.prime, *ids]
    # The id behind position 63 is the first that needs a position there is none for; if the prime is too long, the next.
    read_anew = max(prime, POSITIONS + 1) if prime < POSITIONS else prime
    tail = everything[read_anew - KEPT:read_anew]
    rest = everything[read_anew:]
    assert rest
    assert decoded(greedy(tail, len(rest))) == [rest]


def test_others_are_not_disturbed_by_one_that_is_read_anew() -> None:
    primes = [5, 40, 61, 63]
    sequences = [sequence(number, prime=prime, length=110) for number, prime in enumerate(primes)]
    together = decoded(*sequences)
    assert together == [decoded(sequence(number, prime=prime, length=110))[0] for number, prime in enumerate(primes)]


def test_reading_starts_anew_at_a_border() -> None:
    places = []

    class AtThrees(LocalDecoder):
        def restart_place(self, ids: Listed[int], earliest: int) -> int:
            places.append((len(ids), earliest, earliest + -earliest % 3))
            return places[-1][-1]

    one = greedy([1, 2, 3], 70)
    [ids] = run(AtThrees(network(POSITIONS), rows=1), one)
    assert places == [(65, 17, 18)]
    everything = [1, 2, 3, *ids]
    assert decoded(greedy(everything[18:65], 8)) == [everything[65:]]


def test_logits_stay_finite_past_the_last_position() -> None:
    decoder = LocalDecoder(network(POSITIONS), rows=2)
    run(decoder, sequence(1, length=200), sequence(2, length=200, prime=11))
    assert torch.isfinite(decoder._logits).all()
