"""Calls of a library as a batcher: who shares one, what is told, how one is ended."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from collections.abc import Sequence as Listed
from typing import Any

import pytest

from models.decoding.sequence import Sequence, State
from models.engines import registry
from models.engines.audiocraft.calls import LONGEST_STEP_S, CalledSequence, Calls, Tell
from models.engines.audiocraft.published import ENGINES, MODELS, model_of, why_not

PATIENCE_S = 30.0


def asked(condition: object, *takes: int) -> list[CalledSequence]:
    return [CalledSequence(prime=(), length=10, seed=1, take=take, condition=condition) for take in takes]


def driven(calls: Calls, until: Callable[[], bool] = lambda: False) -> list[Sequence]:
    """What ends while the calls are driven: until none is left, or a condition holds."""
    ended, deadline = [], time.monotonic() + PATIENCE_S
    while calls.busy and not until():
        ended += calls.step()
        assert time.monotonic() < deadline
    return ended


class Library:
    """Makes a take out of its number; a call goes on one share after the other, when it is let."""

    def __init__(self, shares: int = 4) -> None:
        self.calls: list[tuple[Any, tuple[int, ...]]] = []
        self.go = threading.Semaphore(0)
        self.shares = shares
        self.told = 0  # how often

    def free(self) -> Library:
        for _ in range(1000):
            self.go.release()
        return self

    def __call__(self, condition: Any, takes: Listed[int], tell: Tell) -> list[str]:
        self.calls.append((condition, tuple(takes)))
        shares = self.shares
        for share in range(1, shares + 1):
            assert self.go.acquire(timeout=PATIENCE_S)
            tell(share / shares)
            self.told += 1
        return [f"take {take}" for take in takes]


def test_takes_of_one_plan_share_a_call_and_plans_take_turns() -> None:
    library = Library().free()
    calls = Calls(library)
    one, other = object(), object()
    first, second = asked(one, 1, 2), asked(other, 1)
    for sequence in (first[0], second[0], first[1]):
        calls.add(sequence)
    ended = driven(calls)
    assert library.calls == [(one, (1, 2)), (other, (1,))]
    assert ended == [*first, *second]
    assert [sequence.content for sequence in (*first, *second)] == ["take 1", "take 2", "take 1"]
    assert {sequence.state for sequence in ended} == {State.FINISHED}
    assert not calls.busy
    assert calls.step() == []


def test_a_step_is_short_and_shows_how_far_the_call_is() -> None:
    library = Library()
    calls = Calls(library)
    (sequence,) = asked(object(), 1)
    calls.add(sequence)
    began = time.monotonic()
    assert calls.step() == []
    assert time.monotonic() - began < 20 * LONGEST_STEP_S  # of a call that never goes on
    assert (sequence.state, sequence.progress, list(calls.running)) == (State.RUNNING, 0.0, [sequence])
    library.go.release(2)
    driven(calls, lambda: sequence.progress == 0.5)
    library.free()
    driven(calls)
    assert sequence.progress == 1.0


@pytest.mark.parametrize("told", [[0.5, 0.2, 0.7], [0.5, 3.0, 0.7]])
def test_progress_never_goes_back_or_past_the_end(told: list[float]) -> None:
    seen: list[float] = []
    (sequence,) = asked(object(), 1)

    def make(condition: Any, takes: Listed[int], tell: Tell) -> list[None]:
        for share in told:
            tell(share)
            seen.append(sequence.progress)
        return [None]

    calls = Calls(make)
    calls.add(sequence)
    driven(calls)
    assert seen == sorted(seen)
    assert 0 <= seen[0] <= seen[-1] <= 1


def test_a_call_ends_when_nobody_waits_for_it_any_more() -> None:
    library = Library(shares=1000)
    calls = Calls(library)
    first, second = asked(object(), 1, 2)
    calls.add(first)
    calls.add(second)
    calls.step()
    library.go.release(3)
    driven(calls, lambda: first.progress >= 0.003)
    calls.cancel(first)
    library.go.release(3)
    driven(calls, lambda: second.progress >= 0.006)  # the other one goes on
    assert (first.progress, first.state, list(calls.running)) == (0.003, State.CANCELLED, [second])

    calls.cancel(second)
    assert not calls.busy
    library.shares = 1
    library.free()
    (after,) = asked(object(), 3)
    calls.add(after)
    assert driven(calls) == [after]
    assert library.told == 6 + 1  # nothing more of the call that nobody waited for
    assert (first.content, second.content, second.progress) == (None, None, 0.006)


def test_a_sequence_that_waits_is_cancelled_without_a_call() -> None:
    library = Library().free()
    calls = Calls(library)
    first, second = asked(object(), 1, 2)
    calls.add(first)
    calls.add(second)
    calls.cancel(second)
    assert driven(calls) == [first]
    assert [takes for _, takes in library.calls] == [(1,)]
    assert second.state is State.CANCELLED
    calls.cancel(first)
    assert first.state is State.FINISHED  # it has ended


def test_what_a_call_raises_is_raised_by_a_step_and_the_next_call_is_made() -> None:
    def make(condition: Any, takes: Listed[int], tell: Tell) -> list[str]:
        if condition == "bad":
            raise ValueError("cannot be done")
        return ["done" for _ in takes]

    calls = Calls(make)
    bad, good = asked("bad", 1) + asked("good", 1)
    calls.add(bad)
    calls.add(good)
    with pytest.raises(ValueError, match="cannot be done"):
        driven(calls)
    assert bad.state is State.CANCELLED
    assert driven(calls) == [good]


@pytest.mark.parametrize(
    ("engine", "model"),
    [
        ("audiocraft-musicgen-small", ("musicgen-small", False)),
        ("audiocraft-musicgen-stereo-large-mbd", ("musicgen-stereo-large", True)),
        ("audiocraft-audio-magnet-small", ("audio-magnet-small", False)),
        ("audiocraft-debug", ("debug", False)),
    ],
)
def test_an_engine_is_named_after_its_model(engine: str, model: tuple[str, bool]) -> None:
    assert model_of(engine) == model
    assert engine in ENGINES


def test_engines_that_take_a_sound_file_are_known() -> None:
    able = {model_of(name)[0] for name, listed in registry.ENGINES.items()
            if listed.process == registry.AUDIOCRAFT and listed.follows}
    assert able == {"musicgen-melody", "musicgen-melody-large", "musicgen-stereo-melody", "musicgen-stereo-melody-large",
                    "musicgen-style"}


@pytest.mark.parametrize("prefix", ["", "audiocraft-"])
def test_jasco_is_refused_with_the_reason(prefix: str) -> None:
    assert why_not(f"{prefix}jasco-chords-drums-400M") == (
        "jasco-chords-drums-400M needs an audiocraft newer than 1.3.0, which PyPI does not have, and chords and drums, "
        "which cannot be asked for yet; choose another model")
    assert why_not(f"{prefix}musicgen-style") is None
    assert why_not(f"{prefix}jasco") is None


def test_every_engine_has_a_model_and_every_model_but_those_for_chords_an_engine() -> None:
    names = {model_of(engine)[0] for engine in ENGINES}
    assert names - {"debug"} == {name for name, model in MODELS.items() if model.family != "JASCO"}
    assert len(set(ENGINES)) == len(ENGINES)
