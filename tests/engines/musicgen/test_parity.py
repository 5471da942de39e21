"""What `transformers` makes of the same weights is the reference: equal codes, and logits within 1e-4."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from models.decoding import sampling
from models.decoding.sequence import Sequence
from models.engines.musicgen import decoder as decoding
from models.engines.musicgen.decoder import Condition, frames_of
from models.engines.musicgen.engine import MusicgenEngine
from models.interface.audio import AudioRequest
from tests.engines.musicgen.building import KINDS, MELODY, WORDS, Tiny

Made = Callable[[str], Tiny]
PROMPTS = (WORDS[0], "piano", WORDS[2], "heavy rock guitars")
CLOSE = 1e-4


@pytest.fixture(scope="module")
def engine(tiny: Made) -> Callable[[str], MusicgenEngine]:
    return cache(lambda kind: MusicgenEngine(tiny(kind).open(), rows=8))


def request(prompt: str, **changes: Any) -> AudioRequest:
    return AudioRequest(prompt, **{"seconds": 1.0, "temperature": 0.0} | changes)


def run(engine: MusicgenEngine, sequences: list[Sequence], monkeypatch: pytest.MonkeyPatch) -> Tensor:
    """Runs them in one batch; returns all logits that codes were drawn from, (steps, sequences, codebooks, vocabulary)."""
    seen: list[Tensor] = []

    def recorded(logits: Tensor, *more: Any) -> Tensor:
        seen.append(logits.view(len(sequences), -1, logits.shape[-1]))
        return sampled(logits, *more)

    sampled = sampling.sample
    monkeypatch.setattr(decoding, "sample", recorded)
    for sequence in sequences:
        engine.batcher.add(sequence)
    while engine.batcher.busy:
        engine.batcher.step()
    return torch.stack(seen)


def sequences(engine: MusicgenEngine, prompts: tuple[str, ...], **changes: Any) -> list[Sequence]:
    return [sequence for prompt in prompts for sequence in engine.sequences(engine.plan(request(prompt, **changes)))]


def agree(logits: Tensor, expected: Tensor, codes: Tensor, made: list[Sequence]) -> None:
    assert (logits - expected).abs().max() < CLOSE
    assert logits.argmax(-1).equal(codes)
    assert len(set(codes.flatten().tolist())) > 20  # a network that always says the same would agree too
    for number, sequence in enumerate(made):  # where nothing was known, it was the likeliest code
        steps = np.array(sequence.ids)
        drawn = steps < logits.shape[-1]
        assert (steps[drawn] == codes[:, number].numpy()[drawn]).all()


@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("prompts", [PROMPTS[:1], PROMPTS], ids=["one", "four"])
@pytest.mark.parametrize("kind", ["mono", "stereo"])
def test_text(
    kind: str, prompts: tuple[str, ...], guidance: float, tiny: Made, engine: Callable[[str], MusicgenEngine],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = sequences(engine(kind), prompts, guidance=guidance)
    logits = run(engine(kind), made, monkeypatch)
    expected, codes, samples = tiny(kind).generate(prompts, made[0].length, guidance)
    agree(logits, expected, codes, made)
    plan = engine(kind).plan(request(prompts[0]))
    for sequence, theirs in zip(made, samples, strict=True):
        sound = engine(kind).sound(plan, engine(kind).take(plan, sequence))
        assert np.abs(sound.T - theirs.numpy()).max() < 1e-5


@pytest.mark.parametrize("guidance", [1.0, 3.0])
@pytest.mark.parametrize("kind", ["melody", "stereo-melody"])
def test_text_in_front(
    kind: str, guidance: float, tiny: Made, engine: Callable[[str], MusicgenEngine], monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One after the other there: in a batch, shorter prompts would see the padding. Here all four together."""
    made = sequences(engine(kind), PROMPTS, guidance=guidance)
    logits = run(engine(kind), made, monkeypatch)
    expected, codes, _ = zip(*(tiny(kind).generate([prompt], made[0].length, guidance) for prompt in PROMPTS), strict=True)
    agree(logits, torch.cat(expected, dim=1), torch.cat(codes, dim=1), made)


@pytest.mark.parametrize("count", [1, 4])
@pytest.mark.parametrize("kind", ["melody", "stereo-melody"])
def test_melodies_in_front(
    kind: str, count: int, tiny: Made, engine: Callable[[str], MusicgenEngine], monkeypatch: pytest.MonkeyPatch,
) -> None:
    strongest = torch.randint(0, 12, (count, MELODY - 7), generator=torch.Generator().manual_seed(5))
    made = sequences(engine(kind), PROMPTS[:1] * count)
    for sequence, heard in zip(made, strongest, strict=True):
        text = sequence.condition.text
        sequence.condition = Condition(text, melody={0: np.resize(heard.numpy(), MELODY)})
    logits = run(engine(kind), made, monkeypatch)
    features = torch.nn.functional.one_hot(strongest, 12).float()
    expected, codes, _ = tiny(kind).generate(PROMPTS[:1] * count, made[0].length, input_features=features)
    agree(logits, expected, codes, made)
    if count > 1:
        assert made[0].ids != made[1].ids


@pytest.mark.parametrize("kind", list(KINDS))
def test_continuation_of_a_sound(
    kind: str, tiny: Made, engine: Callable[[str], MusicgenEngine], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    channels = KINDS[kind].get("channels", 1)
    given = np.random.default_rng(3).uniform(-0.5, 0.5, (19_500, channels)).astype(np.float32)
    soundfile.write(tmp_path / "given.wav", given, 32_000, subtype="FLOAT")
    made = sequences(engine(kind), PROMPTS[:1], continuation=tmp_path / "given.wav", seconds=1.6)
    assert len(made[0].prime) == 31  # the last one is not full
    logits = run(engine(kind), made, monkeypatch)
    values = torch.from_numpy(given.T.copy())[None]
    if "melody" in kind:  # whose `generate` takes codes only
        sides = [tiny(kind).model.audio_encoder.encode(side[None]).audio_codes[0, 0] for side in values.transpose(0, 1)]
        start: dict[str, Any] = {"decoder_input_ids": torch.stack(sides, dim=1).flatten(0, 1)}
    else:
        start = {"input_values": values}
    expected, codes, samples = tiny(kind).generate(PROMPTS[:1], made[0].length, **start)
    agree(logits, expected, codes, [])
    plan = engine(kind).plan(request(PROMPTS[0]))
    take = engine(kind).take(plan, made[0])
    assert take.content[:31].tolist() == [list(frame) for frame in made[0].prime]
    assert len(take.content) == 80
    assert np.abs(engine(kind).sound(plan, take).T - samples[0].numpy()).max() < 1e-5


def test_windows_of_which_each_reads_the_end_of_the_last_anew(
    tiny: Made, engine: Callable[[str], MusicgenEngine], monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each code is the likeliest behind all that its window holds, read at once."""
    for kind in KINDS:
        few = MusicgenEngine(tiny(kind).open(), rows=2, window=16)
        one = sequences(few, PROMPTS[:1])[0]
        melody = {start: np.resize(np.arange(start, start + 12) % 12, MELODY) for start in (0, 9, 18, 27, 36)}
        one.condition = Condition(one.condition.text, stride=9, melody=melody if tiny(kind).melody else None)
        logits = run(few, [one], monkeypatch)
        frames = frames_of(one, few._delays)
        full = np.zeros((len(frames) + 8, frames.shape[1]), dtype=np.int64)
        full[:len(frames)] = frames
        for step in range(len(frames)):
            start = 0 if step < 16 else (step - 16) // 9 * 9 + 9
            chroma = torch.from_numpy(melody[start]) if tiny(kind).melody else None
            expected = tiny(kind).logits(PROMPTS[0], full[start:step], one.guidance, chroma)
            assert (logits[step, 0] - expected).abs().max() < CLOSE, step
