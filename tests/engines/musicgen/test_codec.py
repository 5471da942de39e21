from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from models.engines.musicgen import codec as codecs
from models.engines.musicgen.codec import Codec
from models.errors import CheckpointError
from tests.engines.musicgen.building import VOCABULARY, Tiny

Made = Callable[[str], Tiny]


def codes_of(frames: int, channels: int = 1, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, VOCABULARY, (frames, 4 * channels))


def decoded(tiny: Tiny, codes: np.ndarray, channels: int) -> np.ndarray:
    """By the library, at once: (samples, channels)."""
    model = tiny.model.audio_encoder
    with torch.inference_mode():
        sides = [model.decode(torch.from_numpy(codes[:, side::channels].T.copy())[None, None], [None]).audio_values[0, 0]
                 for side in range(channels)]
    return torch.stack(sides, dim=1).numpy()


@pytest.mark.parametrize("frames", [1, 4, 49, 50, 51, 66, 240])
@pytest.mark.parametrize("kind", ["mono", "stereo"])
def test_sound_in_pieces_is_the_librarys_in_one(kind: str, frames: int, tiny: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecs, "PIECE", 50)
    channels = 2 if kind == "stereo" else 1
    codes = codes_of(frames, channels)
    sound = Codec(tiny(kind).open()).decode(codes)
    assert sound.shape == (640 * frames, channels)
    assert sound.dtype == np.float32
    assert np.abs(sound).max() > 0.01
    assert np.abs(sound - decoded(tiny(kind), codes, channels)).max() < 1e-6


@pytest.mark.parametrize("samples", [16_000, 32_000, 48_001, 100_003])
@pytest.mark.parametrize("kind", ["mono", "stereo"])
def test_codes_in_pieces_are_the_librarys_in_one(kind: str, samples: int, tiny: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecs, "PIECE", 50)
    channels = 2 if kind == "stereo" else 1
    sound = np.random.default_rng(2).normal(0, 0.3, (samples, channels)).astype(np.float32)
    codes = Codec(tiny(kind).open()).encode(sound)
    assert codes.shape == (-(-samples // 640), 4 * channels)
    model = tiny(kind).model.audio_encoder
    with torch.inference_mode():
        for side in range(channels):
            expected = model.encode(torch.from_numpy(sound[:, side].copy())[None, None]).audio_codes[0, 0]
            assert codes[:, side::channels].T.tolist() == expected.tolist()


def test_threads_may_share_a_codec(tiny: Made) -> None:
    codec = Codec(tiny("mono").open())
    given = [codes_of(30 + 7 * number, seed=number) for number in range(6)]
    one_by_one = [codec.decode(codes) for codes in given]
    with ThreadPoolExecutor(4) as threads:
        for alone, together in zip(one_by_one, threads.map(codec.decode, given), strict=True):
            assert (alone == together).all()


def test_a_codec_that_does_not_go_with_the_decoder_is_refused(tiny: Made) -> None:
    checkpoint = tiny("mono").open()
    checkpoint.sound["upsampling_ratios"] = [8, 5, 4, 2]  # type: ignore[index]
    with pytest.raises(CheckpointError, match=r"kapelle models fetch musicgen-mono"):
        Codec(checkpoint)
