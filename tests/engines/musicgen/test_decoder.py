from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from models.decoding.batcher import Batcher
from models.decoding.sampling import noise, sample
from models.decoding.sequence import Sequence
from models.engines.musicgen.conditions import TextEncoder, chroma_states
from models.engines.musicgen.decoder import CapturedStep, Condition, MusicgenDecoder, frames_of, windows
from tests.engines.musicgen.building import MELODY, VOCABULARY, WORDS, Tiny

Made = Callable[[str], Tiny]
DELAY = 3  # the longest one


class Model:
    """A tiny model, and sequences for it."""

    def __init__(self, tiny: Tiny) -> None:
        self.tiny = tiny
        checkpoint = tiny.open()
        self.network, self._text = checkpoint.load_network(), TextEncoder(checkpoint)
        self._chroma = chroma_states(checkpoint)

    @cache  # noqa: B019 - lives as long as the tests
    def text(self, prompt: str) -> Tensor:
        return self._text(prompt, 64)[0]

    def decoder(self, rows: int = 8, **changes: Any) -> MusicgenDecoder:
        melody = {"chroma": self._chroma, "melody_slots": MELODY} if self.tiny.melody else {}
        return MusicgenDecoder(self.network, rows, **{"window": 60, "text_slots": 64} | melody | changes)

    def sequence(self, prompt: str = WORDS[0], frames: int = 20, take: int = 1, **changes: Any) -> Sequence:
        values: dict[str, Any] = {"prime": (), "seed": 7, "guidance": 3.0, "top_k": 250, "condition": None} | changes
        values["condition"] = values["condition"] or Condition(self.text(prompt), stride=30)
        return Sequence(length=frames - len(values["prime"]) + DELAY, take=take, **values)


@pytest.fixture(scope="module")
def model(tiny: Made) -> Callable[[str], Model]:
    return cache(lambda kind: Model(tiny(kind)))


def run(decoder: MusicgenDecoder, *sequences: Sequence) -> list[list[tuple[int, ...]]]:
    batcher = Batcher(decoder)
    for one in sequences:
        batcher.add(one)
    while batcher.busy:
        batcher.step()
    return [one.ids for one in sequences]


def specimens(model: Model) -> list[Sequence]:
    """Of different lengths, prompts and settings; one of them is longer than the window."""
    prime = tuple(tuple((7 * frame + codebook) % VOCABULARY for codebook in range(model.network.config.codebooks))
                  for frame in range(9))
    return [
        model.sequence(), model.sequence("piano", 33, 2, guidance=1.0, temperature=0.7),
        model.sequence(WORDS[2], 75, 1, top_p=0.8, guidance=0.5), model.sequence(WORDS[1], 12, 4, temperature=0.0),
        model.sequence("drums", 25, 3, prime=prime, top_k=5, guidance=0.0), model.sequence("a sad song", 31, 2, prime=prime),
    ]


@pytest.mark.parametrize("kind", ["mono", "stereo", "melody"])
def test_codes_are_the_same_alone_and_among_others(kind: str, model: Callable[[str], Model]) -> None:
    made = model(kind)
    alone = [run(made.decoder(), one)[0] for one in specimens(made)]
    for rows in (2, 5, 12):
        assert run(made.decoder(rows), *specimens(made)) == alone
    assert len({tuple(ids) for ids in alone}) == len(alone)


@pytest.mark.parametrize("kind", ["mono", "melody"])
def test_joining_and_leaving_between_steps_changes_nothing(kind: str, model: Callable[[str], Model]) -> None:
    made = model(kind)
    alone = [run(made.decoder(), one)[0] for one in specimens(made)]
    batcher, those = Batcher(made.decoder(9)), specimens(made)
    gone = those[1]
    for number, one in enumerate(those):
        batcher.add(one)
        for _ in range(3):
            batcher.step()
        if number == 3:
            batcher.cancel(gone)
    while batcher.busy:
        batcher.step()
    assert [one.ids for one in those if one is not gone] == [ids for number, ids in enumerate(alone) if number != 1]
    assert gone.ids == alone[1][:len(gone.ids)]
    assert 0 < len(gone.ids) < len(alone[1])


def test_cancelling_frees_rows_and_the_last_one_out_frees_the_memory(model: Callable[[str], Model]) -> None:
    decoder = model("mono").decoder(4)
    batcher, first, second, third = Batcher(decoder), *(model("mono").sequence(take=take) for take in (1, 2, 3))
    for one in (first, second, third):
        batcher.add(one)
    batcher.step()
    assert batcher.running == (first, second)
    batcher.cancel(first)
    assert decoder.fits(third)
    batcher.step()
    assert batcher.running == (second, third)
    assert decoder._cache.layers
    batcher.cancel(second)
    batcher.cancel(third)
    assert not decoder._cache.layers
    assert not batcher.busy


def test_each_draw_depends_on_seed_take_and_place_alone(model: Callable[[str], Model]) -> None:
    """Every code is drawn anew from logits of all that is in front of it, read at once by the library."""
    made = model("mono")
    one = made.sequence(frames=18, temperature=1.2, top_k=20, guidance=2.0, seed=99, take=3)
    [ids] = run(made.decoder(), one)
    frames = frames_of(one, made.network.config.delays)
    padded = np.full((len(frames) + DELAY, 4), VOCABULARY)
    padded[:len(frames)] = frames
    for step in range(len(ids)):
        logits = made.tiny.logits(WORDS[0], padded[:step], one.guidance)
        uniform = [noise(99, 3, 4 * step + codebook) for codebook in range(4)]
        expected = sample(logits, torch.full((4,), 1.2), torch.full((4,), 20), torch.tensor(uniform, dtype=torch.float64))
        for codebook in range(4):
            there = 0 <= step - codebook < 18
            assert ids[step][codebook] == (int(expected[codebook]) if there else VOCABULARY)


def test_guidance_of_0_and_1_are_the_limits_of_what_two_rows_come_to(model: Callable[[str], Model]) -> None:
    for kind in ("mono", "melody"):
        made = model(kind)
        for exact in (0.0, 1.0):
            near = run(made.decoder(), made.sequence(guidance=exact + 1e-7))
            assert run(made.decoder(1), made.sequence(guidance=exact)) == near
    free, other = (run(model("mono").decoder(), model("mono").sequence(prompt, guidance=0.0)) for prompt in WORDS[:2])
    assert free == other  # nothing of the prompt is known
    assert free != run(model("mono").decoder(), model("mono").sequence(guidance=1.0))


def test_temperature_0_is_the_likeliest_whatever_the_seed(model: Callable[[str], Model]) -> None:
    made = model("stereo")
    one, other = (run(made.decoder(), made.sequence(temperature=0.0, seed=seed, top_p=0.9)) for seed in (1, 2))
    assert one == other
    assert one == run(made.decoder(), made.sequence(temperature=1.0, seed=3, top_k=1))


def test_top_k_0_is_off(model: Callable[[str], Model]) -> None:
    made = model("mono")
    free, few = (run(made.decoder(), made.sequence(temperature=2.0, top_k=top_k)) for top_k in (0, 5))
    assert free == run(made.decoder(), made.sequence(temperature=2.0, top_k=VOCABULARY)) != few


def test_a_take_cut_short_and_carried_on_comes_out_as_the_whole_one(model: Callable[[str], Model]) -> None:
    for kind in ("mono", "stereo", "melody"):
        made = model(kind)
        whole = made.sequence(frames=40)
        run(made.decoder(), whole)
        frames = frames_of(whole, made.network.config.delays)
        rest = made.sequence(frames=40, prime=tuple(map(tuple, frames[:23].tolist())))
        run(made.decoder(), rest)
        assert (frames_of(rest, made.network.config.delays) == frames).all()
        assert len(rest.ids) == 17 + DELAY


def test_a_prime_may_be_longer_than_the_window(model: Callable[[str], Model]) -> None:
    made = model("mono")
    prime = tuple((frame % 60, frame % 61, frame % 62, frame % 63) for frame in range(100))
    one = made.sequence(frames=110, prime=prime, temperature=0.0)
    run(made.decoder(), one)
    frames = frames_of(one, made.network.config.delays)
    assert frames.shape == (110, 4)
    assert (frames[:100] == prime).all()
    assert (frames < VOCABULARY).all()
    expected = made.tiny.logits(WORDS[0], frames[70:100], 3.0)[0]  # the window has 60, it moves by 30
    assert frames[100, 0] == int(expected.argmax())


@pytest.mark.parametrize(("frames", "primed", "starts"), [
    (1500, 0, [0]), (1501, 0, [0, 900]), (2400, 0, [0, 900]), (2401, 0, [0, 900, 1800]), (1600, 1499, [0, 900]),
    (1600, 1500, [900]), (6000, 0, [0, 900, 1800, 2700, 3600, 4500]), (2900, 2000, [1400]),
])
def test_windows_move_on_when_they_are_full(frames: int, primed: int, starts: list[int]) -> None:
    assert windows(frames, primed, 900) == starts


def test_takes_of_one_plan_read_what_is_in_front_of_them_once(
    model: Callable[[str], Model], monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, reads = model("melody"), []
    read = made.network.read

    def counted(*given: Any) -> None:
        reads.append(given[2])
        read(*given)

    monkeypatch.setattr(made.network, "read", counted)
    shared = Condition(made.text("piano"))
    together = run(made.decoder(), *(made.sequence(take=take, condition=shared) for take in (1, 2, 3)))
    assert len(reads) == 2
    apart = [run(made.decoder(), made.sequence("piano", take=take))[0] for take in (1, 2, 3)]
    assert together == apart
    assert len(reads) == 8


def test_melodies_differ_by_their_chroma_and_none_is_another_thing(model: Callable[[str], Model]) -> None:
    made = model("melody")
    text = made.text("piano")
    results = [run(made.decoder(), made.sequence(condition=Condition(text, melody=melody)))[0] for melody in (
        None, {0: np.full(MELODY, 3)}, {0: np.full(MELODY, 4)})]
    assert len({tuple(ids) for ids in results}) == 3


@pytest.mark.parametrize("kind", ["mono", "melody"])
def test_what_a_captured_step_holds_comes_to_the_same(kind: str, model: Callable[[str], Model]) -> None:
    """All but the capturing: rows and slots in coarse steps, masks, inputs that stay where they are."""
    made = model(kind)
    expected = run(made.decoder(7), *specimens(made))
    decoder = made.decoder(7)
    captured = decoder._captured = CapturedStep(made.network, decoder._cache)
    captured.COARSE = 16
    captured._capture = lambda *key: partial(captured._run, *key)  # type: ignore[method-assign]
    assert run(decoder, *specimens(made)) == expected
    assert decoder._cache.layers  # stays: a graph has its addresses
    assert {rows for rows, _, _ in captured._graphs} <= {1, 2, 4, 7}
    assert len({visible for _, visible, _ in captured._graphs}) > 2
