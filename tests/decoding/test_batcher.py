from __future__ import annotations

from collections.abc import Sequence as Listed
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.decoding.batcher import Batcher
from models.decoding.sequence import Sequence, State

STOP = 99


class TinyDecoder:
    """Room for a few sequences; the next id follows from the last one and the seed. Minds the protocol."""

    def __init__(self, room: int = 3) -> None:
        self.room = room
        self.inside: dict[Sequence, int] = {}  # sequence -> what its next id follows from
        self.joined: list[Sequence] = []

    def fits(self, sequence: Sequence) -> bool:
        return len(self.inside) < self.room

    def join(self, sequence: Sequence) -> None:
        assert sequence not in self.inside
        assert len(self.inside) < self.room
        self.inside[sequence] = sequence.prime[-1]
        self.joined.append(sequence)

    def draw(self, sequences: Listed[Sequence]) -> list[int]:
        assert list(sequences) == list(self.inside)
        return [(7 * self.inside[sequence] + sequence.seed) % 101 for sequence in sequences]

    def leave(self, sequence: Sequence) -> None:
        del self.inside[sequence]

    def advance(self, sequences: Listed[Sequence]) -> None:
        assert list(sequences) == list(self.inside)
        for sequence in sequences:
            self.inside[sequence] = sequence.ids[-1]


def sequence(length: int = 5, seed: int = 1, stop_id: int | None = None) -> Sequence:
    return Sequence(prime=(3, 4), length=length, seed=seed, take=1, stop_id=stop_id)


def expected(seed: int, length: int, stop_id: int | None = None) -> list[int]:
    ids: list[int] = []
    last = 4
    while len(ids) < length:
        last = (7 * last + seed) % 101
        if last == stop_id:
            break
        ids.append(last)
    return ids


def finish(batcher: Batcher) -> list[Sequence]:
    ended = []
    while batcher.busy:
        ended += batcher.step()
    return ended


def test_a_sequence_gets_as_many_ids_as_it_asked_for() -> None:
    batcher, one = Batcher(TinyDecoder()), sequence(length=6)
    batcher.add(one)
    assert finish(batcher) == [one]
    assert one.ids == expected(1, 6)
    assert one.state is State.FINISHED


def test_a_stop_id_ends_a_sequence_and_is_not_part_of_it() -> None:
    stop = expected(5, 4)[3]
    batcher, one = Batcher(TinyDecoder()), sequence(length=50, seed=5, stop_id=stop)
    batcher.add(one)
    finish(batcher)
    assert one.ids == expected(5, 4)[:3]
    assert one.state is State.FINISHED
    assert one.progress == 1.0


def test_a_stop_id_may_come_first() -> None:
    batcher, one = Batcher(TinyDecoder()), sequence(seed=5, stop_id=expected(5, 1)[0])
    batcher.add(one)
    assert batcher.step() == [one]
    assert one.ids == []


def test_no_more_run_than_there_is_room_for_and_the_first_come_first() -> None:
    decoder = TinyDecoder(room=2)
    batcher = Batcher(decoder)
    many = [sequence(length=2 + number % 3, seed=number) for number in range(7)]
    for one in many:
        batcher.add(one)
    most = 0
    while batcher.busy:
        batcher.step()
        most = max(most, len(batcher.running))
    assert most == 2
    assert decoder.joined == many
    assert [one.ids for one in many] == [expected(n, 2 + n % 3) for n in range(7)]


def test_a_sequence_joins_while_others_run_and_takes_a_place_that_got_free() -> None:
    batcher = Batcher(TinyDecoder(room=2))
    long, short, late = sequence(length=9), sequence(length=2, seed=2), sequence(length=3, seed=3)
    batcher.add(long)
    batcher.add(short)
    batcher.step()
    batcher.add(late)
    assert batcher.step() == [short]
    assert late.state is State.WAITING
    batcher.step()
    assert batcher.running == (long, late)
    assert len(late.ids) == 1
    assert finish(batcher) == [late, long]


def test_only_so_many_primes_are_read_between_two_steps() -> None:
    batcher = Batcher(TinyDecoder(room=9), joins_per_step=2)
    for number in range(5):
        batcher.add(sequence(seed=number))
    running = []
    for _ in range(3):
        batcher.step()
        running.append(len(batcher.running))
    assert running == [2, 4, 5]


def test_progress_rises_to_one() -> None:
    batcher, one = Batcher(TinyDecoder()), sequence(length=4)
    batcher.add(one)
    seen = [one.progress]
    while batcher.busy:
        batcher.step()
        seen.append(one.progress)
    assert seen == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_a_cancelled_sequence_leaves_whether_it_waits_or_runs() -> None:
    decoder = TinyDecoder(room=1)
    batcher = Batcher(decoder)
    running, waiting, other = sequence(), sequence(seed=2), sequence(seed=3)
    for one in (running, waiting, other):
        batcher.add(one)
    batcher.step()
    batcher.cancel(waiting)
    batcher.cancel(running)
    assert not decoder.inside
    assert finish(batcher) == [other]
    assert waiting.state is running.state is State.CANCELLED
    assert (waiting.ids, running.ids) == ([], expected(1, 1))
    assert decoder.joined == [running, other]


def test_what_has_ended_cannot_be_cancelled_any_more() -> None:
    batcher, one = Batcher(TinyDecoder()), sequence()
    batcher.add(one)
    finish(batcher)
    batcher.cancel(one)
    assert one.state is State.FINISHED
    gone = sequence()
    batcher.add(gone)
    batcher.cancel(gone)
    batcher.cancel(gone)
    assert gone.state is State.CANCELLED


def test_a_step_with_nothing_to_do_does_nothing() -> None:
    batcher = Batcher(TinyDecoder())
    assert not batcher.busy
    assert batcher.step() == []


def test_a_sequence_that_can_never_fit_is_refused_instead_of_waited_for() -> None:
    batcher = Batcher(TinyDecoder(room=0))
    batcher.add(sequence())
    with pytest.raises(ValueError, match="room"):
        batcher.step()


class FailingDecoder(TinyDecoder):
    """Cannot read the prime of the seed 13."""

    def join(self, sequence: Sequence) -> None:
        if sequence.seed == 13:
            raise RuntimeError("no memory")
        super().join(sequence)


def test_one_that_cannot_join_waits_until_it_is_cancelled_and_the_others_go_on() -> None:
    batcher = Batcher(FailingDecoder())
    first, bad, late = sequence(length=4), sequence(seed=13), sequence(length=2, seed=3)
    for one in (first, bad, late):
        batcher.add(one)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no memory"):
            batcher.step()
        assert bad.state is State.WAITING
    assert batcher.running == (first,)
    batcher.cancel(bad)
    assert bad.state is State.CANCELLED
    assert finish(batcher) == [late, first]
    assert first.ids == expected(1, 4)


actions = st.lists(st.one_of(
    st.tuples(st.just("add"), st.integers(0, 100), st.integers(1, 12)),
    st.tuples(st.just("cancel"), st.integers(0, 30), st.just(0)),
    st.tuples(st.just("step"), st.just(0), st.just(0)),
), max_size=60)


@given(actions, st.integers(1, 4), st.integers(1, 3))
def test_n_sequences_in_n_out_whatever_joins_and_is_cancelled_in_between(
    actions: list[tuple[str, int, int]], room: int, joins: int,
) -> None:
    decoder = TinyDecoder(room)
    batcher = Batcher(decoder, joins)
    added: list[Sequence] = []
    ended: list[Sequence] = []
    cancelled: set[Sequence] = set()
    for action, number, length in actions:
        if action == "add":
            added.append(sequence(length, seed=number, stop_id=STOP))
            batcher.add(added[-1])
        elif action == "cancel" and added:
            one = added[number % len(added)]
            if one.state in (State.WAITING, State.RUNNING):
                cancelled.add(one)
            batcher.cancel(one)
        elif action == "step":
            ended += batcher.step()
    ended += finish(batcher)

    assert not decoder.inside
    assert len(ended) == len(set(ended))
    assert set(ended) | cancelled == set(added)
    assert not set(ended) & cancelled
    places = [added.index(one) for one in decoder.joined]
    assert all(a < b for a, b in pairwise(places))
    for one in added:
        whole = expected(one.seed, one.length, STOP)
        if one in cancelled:
            assert one.state is State.CANCELLED
            assert one.ids == whole[:len(one.ids)]
        else:
            assert one.state is State.FINISHED
            assert one.ids == whole
