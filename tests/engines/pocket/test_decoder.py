from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.decoding.batcher import Batcher
from models.decoding.sampling import noise, sample
from models.decoding.sequence import Sequence
from models.engines.pocket.clock import Clock
from models.engines.pocket.decoder import PocketDecoder, accent, keep_to_beat
from models.engines.pocket.features import GRID_UNKNOWN, LEFT, PHRASE_AT
from models.engines.pocket.memory import NOTHING, nothing
from models.engines.pocket.network import PocketNetwork
from models.engines.pocket.steering import Steering, Strengths
from models.engines.pocket.weights import SHIPPED, load_pocket
from models.music.score.programs import CHANNELS
from models.music.vocabulary.los_angeles import DURATION, HEADER_PITCH, PITCH, SIZE, TIME
from tests.engines.pocket.building import planned, run, sequence, small_network, steering

needs_model = pytest.mark.skipif(
    not (SHIPPED / "model.safetensors").is_file(), reason="models/engines/pocket/model is not there; it ships with the project")

GIVEN = tuple(token for step in range(30) for token in (TIME + 25 * (step % 3 > 0), DURATION + 83, PITCH + 60 + step % 7))
SPECIMENS: list[tuple[Steering, dict[str, Any]]] = [
    (steering(), {}),
    (planned(37, metre="6/8"), {"guidance": 1.0}),
    (steering(9), {"guidance": 4.0}),
    (steering(30, tempo_bpm=None, mode="major"), {"temperature": 1.4}),
    (planned(25, ("organ", "drums")), {"temperature": 0.2}),
    (planned(60, bars=9), {"guidance": 2.0}),
    (planned(40, ("flute", "violin", "cello"), forms=("fugue",), bars=9, metre="4/4"), {}),
    (planned(20, given=GIVEN), {"guidance": 2.0}),
]


def specimen(number: int, seed: int = 5) -> Sequence:
    asked, values = SPECIMENS[number]
    return sequence(asked, seed, 1 + number, **values)


@cache
def alone(number: int) -> tuple[int, ...]:
    return tuple(run(small_network(), specimen(number))[0])


def without_a_cache(network: PocketNetwork, one: Sequence) -> list[int]:
    """What the sequence should come to, by whole rows through the network again and again."""
    asked: Steering = one.condition.steering
    decoder, clock, ids = PocketDecoder(network, 1), Clock(asked), one.ids
    first = clock.before[0][0] if asked.given else clock.features
    seen = [(first, *(part[place] for part in nothing(3))) for place in range(3)]
    seen += list(zip(*clock.before, strict=True)) if asked.given else []
    groups = frozenset(network.features.groups)
    while len(ids) < one.length:
        logits = []
        kind = torch.tensor([(place + 1) % 3 for place in range(len(seen))])
        for dropped in (frozenset[str](), groups):
            vector = torch.from_numpy(network.features.vector(asked.attributes, dropped))
            grid, memory, marks = (np.stack(part) for part in zip(*seen, strict=True))
            if dropped:
                left = grid[:, LEFT]
                grid = np.tile(GRID_UNKNOWN, (len(seen), 1))
                grid[:, LEFT] = left
                memory[:, -1] = NOTHING
            condition = network.attributes(vector) + network.grid(torch.from_numpy(grid)).sum(1) + network.remembered(
                torch.from_numpy(memory), torch.from_numpy(marks), kind)
            logits.append(network.body(torch.tensor([[*one.prime, *ids]]), condition[None])[0, -1])
        guided = logits[1] + one.guidance * (logits[0] - logits[1])
        ids.append(int(sample(
            decoder.steer([one], guided[None], 0), torch.tensor([one.temperature]), torch.tensor([one.top_k]),
            torch.tensor([noise(one.seed, one.take, len(ids))], dtype=torch.float64))))
        clock.follow(ids)
        seen.append((clock.features, *clock.remembered))
    return ids


@pytest.mark.parametrize("number", range(len(SPECIMENS)))
def test_ids_are_those_of_a_loop_without_a_cache(number: int) -> None:
    """With keys and values in full; rounded ones come to others sooner or later."""
    (ids,) = run(small_network(), specimen(number), cache_dtype=torch.float32)
    assert ids == without_a_cache(small_network(), specimen(number))


def test_ids_are_the_same_alone_and_among_others() -> None:
    numbers = range(len(SPECIMENS))
    for rows in (2, 7, 16):
        assert run(small_network(), *map(specimen, numbers), rows=rows) == [list(alone(number)) for number in numbers]


def test_ids_are_the_same_for_a_late_comer_and_when_others_are_cancelled() -> None:
    batcher = Batcher(PocketDecoder(small_network(), 7))
    gone, first, late = specimen(1), specimen(0), specimen(3)
    for one in (gone, first):
        batcher.add(one)
    for _ in range(8):
        batcher.step()
    batcher.add(late)
    for _ in range(5):
        batcher.step()
    batcher.cancel(gone)
    while batcher.busy:
        batcher.step()
    assert first.ids == list(alone(0))
    assert late.ids == list(alone(3))
    assert gone.ids == list(alone(1))[:13]


def test_seeds_and_takes_differ() -> None:
    takes = run(small_network(), *(sequence(steering(), seed, take) for seed in (1, 2) for take in (1, 2)))
    assert len({tuple(ids) for ids in takes}) == 4


def test_attributes_and_guidance_matter() -> None:
    plain, waltz, strong = run(
        small_network(), sequence(steering(), guidance=1.0), sequence(steering(forms=("march",)), guidance=1.0),
        sequence(steering(), guidance=3.0))
    assert plain != waltz
    assert plain != strong


def test_the_plan_and_what_it_brings_back_matter() -> None:
    """The network is told of them: the same guide, and another take, where it has never learnt what they mean."""
    asked = planned(60, bars=9)
    plain, *others = (run(network, sequence(asked, guidance=1.0))[0] for network in (
        small_network(), deaf_to(PHRASE_AT, None), deaf_to(None, "memory"), deaf_to(None, "matched")))
    assert all(plain != other for other in others)


def deaf_to(grid: int | None, name: str | None) -> PocketNetwork:
    """The small network without what it makes of grid features from a place on, or without a part."""
    network = PocketNetwork(small_network().config, small_network().features).eval().requires_grad_(False)
    network.load_state_dict(small_network().state_dict())
    if grid is not None:
        network.grid.weight[grid:] = 0
    if name is not None:
        network.get_parameter(f"{name}.weight").zero_()
    return network


instruments = st.sets(st.sampled_from(CHANNELS), min_size=1)


@settings(max_examples=20)
@given(instruments, st.integers(0, 2**32 - 1), st.sampled_from([1.0, 2.0]), st.integers(10, 24), st.booleans())
def test_ids_are_notes_of_those_who_play(
    line_up: set[str], seed: int, guidance: float, notes: int, with_plan: bool,
) -> None:
    asked = planned(notes, tuple(line_up)) if with_plan else steering(notes)
    [ids] = run(small_network(), sequence(asked, seed, guidance=guidance, temperature=1.5))
    assert len(ids) % 3 == 0
    assert 0 < len(ids) <= 3 * notes if with_plan else len(ids) == 3 * notes
    for time, duration, pitch in zip(ids[::3], ids[1::3], ids[2::3], strict=True):
        assert 0 <= time < DURATION - 1
        assert DURATION + 8 <= duration < PITCH
        assert PITCH <= pitch < HEADER_PITCH
        assert (pitch - PITCH) % 128
    if with_plan:
        assert {CHANNELS[(pitch - PITCH) // 128] for pitch in ids[2::3]} <= line_up


@needs_model
def test_the_shipped_model_gives_the_same_ids_alone_and_among_others() -> None:
    network = load_pocket()

    def request(take: int) -> Sequence:
        return sequence(planned(7 * take + 5), 3, take, temperature=0.7 + 0.2 * take)

    together = run(network, *map(request, (1, 2, 3, 4)), rows=8)
    assert together == [run(network, request(take), rows=2)[0] for take in (1, 2, 3, 4)]


@pytest.mark.parametrize(("metre", "ids", "sign"), [
    ("6/8", [TIME], 1), ("6/8", [TIME + 25], -1), ("4/4", [TIME], 0), ("4/4", [TIME + 25], 0),
])
def test_chords_are_likelier_on_the_beats_of_compound_metres_only(metre: str, ids: list[int], sign: int) -> None:
    """At 120 quarters a minute 250 ms are an eighth, where they are less likely; and twice as strong is twice as much."""
    gains = []
    for beat in (2.0, 4.0):
        one = sequence(steering(metre=metre, strengths=Strengths(beat=beat)))
        one.ids = [*ids, DURATION + 80, PITCH + 60]
        gains.append(PocketDecoder(small_network(), 1).steer([one], torch.zeros(1, SIZE), 0)[0, TIME].item())
    assert np.sign(gains[0]) == sign
    assert gains[1] == pytest.approx(2 * gains[0], abs=1e-5)


def test_weak_times_lose_to_strong_ones_and_not_to_chords() -> None:
    logits = torch.randn(1, DURATION - TIME, generator=torch.Generator().manual_seed(1))
    before = logits[0].log_softmax(0)
    loss = torch.where(torch.arange(128) % 4 > 0, 3.0, 1.5)
    loss[0] = 0
    keep_to_beat(logits, loss[None])
    gain = logits[0].log_softmax(0) - before
    assert gain[0] == pytest.approx(0, abs=1e-5)
    assert (gain[4] - gain[5]).item() == pytest.approx(1.5, abs=1e-4)
    assert (gain[4] - gain[8]).item() == pytest.approx(0, abs=1e-4)


def test_where_only_a_chord_may_go_on_the_beat_changes_nothing() -> None:
    logits = torch.full((1, 128), -torch.inf)
    logits[0, 0] = 1.0
    keep_to_beat(logits, torch.ones(1, 128).cumsum(1) - 1)
    assert logits[0].tolist() == [1.0, *[-np.inf] * 127]


def test_notes_are_louder_the_stronger_their_place_is() -> None:
    durations = torch.zeros(2, 1024)
    accent(durations, torch.tensor([[1.5], [-1.5]]))
    assert durations[0, 8:16].tolist() == pytest.approx([0.5 * step for step in range(8)])
    assert durations[1].tolist() == pytest.approx((-durations[0]).tolist())
    strong, weak = list[float](), list[float]()
    for ids, found in (([TIME], strong), ([TIME, DURATION + 80, PITCH + 60, TIME + 7], weak)):
        one = sequence(steering(metre="4/4"))
        one.ids = ids
        steered = PocketDecoder(small_network(), 1).steer([one], torch.zeros(1, SIZE), 0)[0]
        found += (steered[DURATION + 8:DURATION + 16]).tolist()
    assert strong == sorted(strong)
    assert weak == sorted(weak, reverse=True)
    assert strong[-1] > strong[0]
    assert weak[-1] < weak[0]
