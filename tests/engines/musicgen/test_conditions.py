from __future__ import annotations

import importlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from models.engines.musicgen.conditions import HOP, TRANSFORM, TextEncoder, chroma_filters, melody_windows, strongest_chroma
from tests.engines.musicgen.building import WORDS, Tiny

Made = Callable[[str], Tiny]
RATE_HZ = 32_000


def tones(pitches: list[int], seconds: float = 1.0) -> np.ndarray:
    """MIDI pitches one after the other."""
    time = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    each = [0.3 * np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * time) for pitch in pitches]
    return np.concatenate(each).astype(np.float32)


@pytest.fixture(scope="module")
def extractor() -> Any:
    """The library's own, with spectra by numpy in place of torchaudio's."""
    library: Any = importlib.import_module("transformers.models.musicgen_melody.feature_extraction_musicgen_melody")

    class Spectrogram:
        def __init__(self, n_fft: int, hop_length: int, **more: Any) -> None:
            assert more == {"win_length": n_fft, "power": 2, "center": True, "pad": 0, "normalized": True}
            self.size, self.hop = n_fft, hop_length

        def __call__(self, waveform: torch.Tensor) -> torch.Tensor:
            window = np.sin(np.pi * np.arange(self.size) / self.size) ** 2
            padded = np.pad(waveform.numpy().astype(np.float64), ((0, 0), (self.size // 2, self.size // 2)), mode="reflect")
            frames = np.lib.stride_tricks.sliding_window_view(padded, self.size, axis=1)[:, ::self.hop]
            power = np.abs(np.fft.rfft(frames * window)) ** 2 / (window ** 2).sum()
            return torch.from_numpy(power.transpose(0, 2, 1).astype(np.float32))

    library.torchaudio = SimpleNamespace(transforms=SimpleNamespace(Spectrogram=Spectrogram))
    return library.MusicgenMelodyFeatureExtractor()


def test_filters_are_the_librarys() -> None:
    from transformers.audio_utils import chroma_filter_bank
    expected = chroma_filter_bank(sampling_rate=RATE_HZ, num_frequency_bins=TRANSFORM, tuning=0, num_chroma=12)
    assert np.abs(chroma_filters().numpy() - expected).max() < 1e-6


@pytest.mark.parametrize("samples", [
    tones([60, 64, 67, 71, 50, 81]), tones([62], 0.2), np.zeros(70_000, dtype=np.float32),
    np.random.default_rng(1).normal(0, 0.1, 500_001).astype(np.float32),
], ids=["tones", "shorter than a spectrum", "silence", "noise"])
def test_chroma_are_those_of_the_librarys_extractor(samples: np.ndarray, extractor: Any) -> None:
    features = extractor(samples, sampling_rate=RATE_HZ, return_tensors="pt")["input_features"][0]
    assert strongest_chroma(samples).tolist() == features.argmax(-1).tolist()
    assert features.sum(-1).eq(1).all()


def test_chroma_name_the_pitch() -> None:
    heard = strongest_chroma(tones([60, 62, 69, 71], seconds=2.0))
    each = 2 * RATE_HZ / HOP
    assert [int(heard[round((number + 0.5) * each)]) for number in range(4)] == [0, 2, 9, 11]


def test_thirty_seconds_fill_the_published_melody() -> None:
    [(start, heard)] = melody_windows(tones([60, 67], 20.0), [0], 235).items()
    assert start == 0
    assert len(heard) == 235
    assert len(strongest_chroma(tones([60], 30.0))) == 235


def test_a_short_melody_is_repeated() -> None:
    samples = tones([60, 64, 67])
    once = strongest_chroma(samples)
    heard = melody_windows(samples, [0], 100)[0]
    assert heard[:len(once)].tolist() == heard[len(once):2 * len(once)].tolist() == once.tolist()


def test_in_several_windows_a_melody_goes_round() -> None:
    """60 s that change every 10 s: what sounds at 18 s and at 36 s comes first in the second window and the third."""
    heard = melody_windows(tones([60, 61, 62, 63, 64, 65], 10.0), [0, 900, 1800, 2700], 235)
    assert [int(heard[start][3]) for start in (0, 900, 1800, 2700)] == [0, 1, 3, 5]
    assert int(heard[2700][-3]) == 2  # 54 + 30 s: 24 s from the beginning


@pytest.mark.parametrize("kind", ["mono", "melody"])
def test_text_is_encoded_as_in_a_padded_batch_of_the_library(kind: str, tiny: Made) -> None:
    made = tiny(kind)
    encode = TextEncoder(made.open())
    inputs = made.tokenizer(list(WORDS), return_tensors="pt", padding=True)
    with torch.inference_mode():
        expected = made.model.enc_to_dec_proj(made.model.text_encoder(**inputs).last_hidden_state)
    for row, prompt in enumerate(WORDS):
        states, whole = encode(prompt, 256)
        length = int(inputs.attention_mask[row].sum())
        assert whole
        assert states.shape == (length, 32)
        assert (states - expected[row, :length]).abs().max() < 1e-5


def test_a_long_prompt_is_cut_and_keeps_its_end_mark(tiny: Made) -> None:
    encode = TextEncoder(tiny("mono").open())
    states, whole = encode(" ".join(WORDS * 5), 24)
    assert not whole
    assert states.shape == (24, 32)
    assert encode(WORDS[0], 256)[1]
