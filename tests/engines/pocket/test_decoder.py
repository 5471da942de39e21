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
from models.engines.pocket.conditioning import Clock, Steering
from models.engines.pocket.decoder import Condition, PocketDecoder
from models.engines.pocket.features import GRID_UNKNOWN
from models.engines.pocket.network import PocketNetwork
from models.engines.pocket.weights import SHIPPED, load_pocket
from models.music.score.programs import CHANNELS
from models.music.vocabulary.los_angeles import DURATION, HEADER_PITCH, PITCH, SIZE, START, TIME
from tests.engines.pocket.building import small_network, steering

needs_model = pytest.mark.skipif(
    not (SHIPPED / "model.safetensors").is_file(), reason="models/engines/pocket/model is not there; it ships with the project")


def sequence(asked: Steering, seed: int = 1, take: int = 1, **changes: Any) -> Sequence:
    values: dict[str, Any] = {"temperature": 0.9, "top_k": 283, "guidance": 1.5} | changes
    return Sequence(
        prime=asked.prime, length=3 * asked.notes, seed=seed, take=take, stop_id=START if asked.may_end else None,
        condition=Condition(asked), **values)


def run(
    network: PocketNetwork, *sequences: Sequence, rows: int = 16, cache_dtype: torch.dtype = torch.bfloat16,
) -> list[list[int]]:
    batcher = Batcher(PocketDecoder(network, rows, cache_dtype=cache_dtype))
    for one in sequences:
        batcher.add(one)
    while batcher.busy:
        batcher.step()
    return [one.ids for one in sequences]


SPECIMENS: list[dict[str, Any]] = [
    {"steering": {}}, {"steering": {"notes": 37, "metre": "6/8"}, "guidance": 1.0}, {"steering": {"notes": 9}, "guidance": 4.0},
    {"steering": {"notes": 30, "tempo_bpm": None, "mode": "major"}, "temperature": 1.4},
    {"steering": {"notes": 25, "allowed": frozenset(), "required": frozenset(("organ",))}, "temperature": 0.2},
    {"steering": {"notes": 60, "may_end": True}, "guidance": 2.0},
]


def specimen(number: int, seed: int = 5) -> Sequence:
    values = dict(SPECIMENS[number])
    return sequence(steering(**values.pop("steering")), seed, 1 + number, **values)


@cache
def alone(number: int) -> tuple[int, ...]:
    return tuple(run(small_network(), specimen(number))[0])


def without_a_cache(network: PocketNetwork, one: Sequence) -> list[int]:
    """What the sequence should come to, by whole rows through the network again and again."""
    asked: Steering = one.condition.steering
    decoder, clock, ids = PocketDecoder(network, 1), Clock(asked), one.ids
    places = [clock.features.copy()] * 3
    groups = frozenset(network.features.groups)
    while len(ids) < one.length:
        logits = []
        for dropped in (frozenset[str](), groups):
            vector = torch.from_numpy(network.features.vector(asked.attributes, dropped))
            grid = np.stack(places)
            if dropped:
                grid[:, :3] = GRID_UNKNOWN[:3]
            condition = network.attributes(vector) + network.grid(torch.from_numpy(grid)).sum(1)
            logits.append(network.body(torch.tensor([[*one.prime, *ids]]), condition[None])[0, -1])
        guided = logits[1] + one.guidance * (logits[0] - logits[1])
        drawn = int(sample(
            decoder.steer([one], guided[None], 0), torch.tensor([one.temperature]), torch.tensor([one.top_k]),
            torch.tensor([noise(one.seed, one.take, len(ids))], dtype=torch.float64)))
        if drawn == one.stop_id:
            break
        ids.append(drawn)
        places.append(clock.follow(ids).copy())
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


instruments = st.frozensets(st.sampled_from(CHANNELS), min_size=1)


@settings(max_examples=20)
@given(st.data(), instruments, st.integers(0, 2**32 - 1), st.sampled_from([1.0, 2.0]), st.booleans())
def test_all_who_must_sound_do_and_nobody_else(
    data: st.DataObject, allowed: frozenset[str], seed: int, guidance: float, may_end: bool,
) -> None:
    required = data.draw(st.frozensets(st.sampled_from(sorted(allowed))))
    notes = data.draw(st.integers(max(len(required), 10), 24))
    asked = steering(notes, allowed=allowed, required=required, may_end=may_end, instruments=tuple(sorted(allowed)))
    [ids] = run(small_network(), sequence(asked, seed, guidance=guidance, temperature=1.5))
    assert len(ids) == 3 * notes or (may_end and 0 < len(ids) < 3 * notes and len(ids) % 3 == 0)
    for time, duration, pitch in zip(ids[::3], ids[1::3], ids[2::3], strict=True):
        assert 0 <= time < DURATION
        assert DURATION + 8 <= duration < PITCH
        assert PITCH <= pitch < HEADER_PITCH
        assert (pitch - PITCH) % 128
    heard = {CHANNELS[(pitch - PITCH) // 128] for pitch in ids[2::3]}
    assert required <= heard <= allowed


@needs_model
def test_the_shipped_model_gives_the_same_ids_alone_and_among_others() -> None:
    network = load_pocket()

    def request(take: int) -> Sequence:
        return sequence(steering(7 * take + 5, required=frozenset()), 3, take, temperature=0.7 + 0.2 * take)

    together = run(network, *map(request, (1, 2, 3, 4)), rows=8)
    assert together == [run(network, request(take), rows=2)[0] for take in (1, 2, 3, 4)]


@pytest.mark.parametrize(("metre", "ids", "gain"), [
    ("6/8", [TIME], 1.0), ("6/8", [TIME + 25], -2.2), ("4/4", [TIME], 0.0), ("4/4", [TIME + 25], 0.0),
])
def test_chords_are_likelier_on_the_beats_of_compound_metres_only(metre: str, ids: list[int], gain: float) -> None:
    """At 120 quarters a minute 250 ms are an eighth; four nats are the strength, half of a weakness is even."""
    asked = steering(metre=metre, beat_strength=4.0)
    one = Sequence(asked.prime, 60, 1, 1, condition=Condition(asked), ids=[*ids, DURATION + 80, PITCH + 60])
    steered = PocketDecoder(small_network(), 1).steer([one], torch.zeros(1, SIZE), 0)
    assert steered[0, TIME].item() == pytest.approx(gain, abs=1e-5)
