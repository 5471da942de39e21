"""Loudness as two other ways of measuring see it: pyloudnorm on what came out, and eightfold oversampling."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pyloudnorm
import pytest
import soxr

from models.sound.audio.loudness import MOST_GAIN_DB, PEAK_DBFS, TARGET_LUFS, normalised, true_peaks
from tests.sound.audio.building import tone

RATE_HZ = 32_000


def piece(seconds: float = 6.0, level: float = 0.1) -> np.ndarray:
    """A pulsing chord with noise, in two channels of different loudness."""
    time = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    wave = np.sin(2 * np.pi * 110 * time) + 0.5 * np.sin(2 * np.pi * 440 * time)
    wave += 0.3 * np.random.default_rng(0).standard_normal(len(time))
    wave *= level * (1 + np.sin(4 * np.pi * time)) / 2
    return np.stack([wave, 0.8 * wave], axis=1).astype(np.float32)


def hits(seconds: float = 6.0) -> np.ndarray:
    """A soft tone, and every half second a hit at full scale."""
    samples = 0.05 * tone(seconds, rate_hz=RATE_HZ, channels=1)
    samples[::RATE_HZ // 2] = 1
    return samples


def peak_dbfs(samples: np.ndarray) -> float:
    between = soxr.resample(samples, RATE_HZ, 8 * RATE_HZ, quality="VHQ")
    return float(20 * np.log10(max(np.abs(between).max(), np.abs(samples).max())))


@pytest.mark.parametrize("level", [0.01, 0.1, 0.3, 2.0])
@pytest.mark.parametrize("channels", [1, 2])
def test_music_gets_its_loudness_whatever_it_had(level: float, channels: int) -> None:
    samples = piece(level=level)[:, :channels]
    before = samples.copy()
    leveled = normalised(samples, RATE_HZ)
    assert np.array_equal(samples, before)
    assert leveled.samples.dtype == np.float32
    assert leveled.samples.shape == samples.shape
    measured = pyloudnorm.Meter(RATE_HZ).integrated_loudness(leveled.samples)
    assert measured == pytest.approx(TARGET_LUFS, abs=0.3)
    assert leveled.after_lufs == pytest.approx(measured, abs=0.01)
    assert leveled.before_lufs == pytest.approx(pyloudnorm.Meter(RATE_HZ).integrated_loudness(samples), abs=0.01)
    assert not leveled.silent


def test_sound_that_needs_no_limiting_keeps_its_shape() -> None:
    samples = piece(level=0.05)
    leveled = normalised(samples, RATE_HZ).samples
    gains = leveled[np.abs(samples) > 0.01] / samples[np.abs(samples) > 0.01]
    assert gains.max() == pytest.approx(gains.min(), rel=1e-4)


@pytest.mark.parametrize("target", [-14.0, -6.0])
def test_peaks_stay_below_the_ceiling_between_the_samples_too(target: float) -> None:
    for samples in (hits(), piece(), np.clip(piece(level=3.0), -1, 1), tone(1.0, hz=8000.3, rate_hz=RATE_HZ)):
        leveled = normalised(samples, RATE_HZ, target_lufs=target)
        assert leveled.peak_dbfs <= PEAK_DBFS + 1e-3
        assert peak_dbfs(leveled.samples) <= PEAK_DBFS + 0.5  # the finer one looks, the more there is
        assert leveled.peak_dbfs == pytest.approx(peak_dbfs(leveled.samples), abs=0.5)


def test_a_limiter_works_on_peaks_and_leaves_the_rest_alone() -> None:
    leveled = normalised(hits(), RATE_HZ).samples
    hit = 2 * RATE_HZ
    between = slice(hit + RATE_HZ // 8, hit + 3 * RATE_HZ // 8)
    gain = np.abs(leveled[between]).max() / np.abs(hits()[between]).max()
    assert gain > 1.5 * leveled[hit, 0] / hits()[hit, 0]


@pytest.mark.parametrize("peak", [0.0, 9e-5])
def test_silence_stays_silence_and_is_told(peak: float) -> None:
    samples = tone(peak=peak, rate_hz=RATE_HZ)
    leveled = normalised(samples, RATE_HZ)
    assert leveled.silent
    assert leveled.before_lufs == leveled.after_lufs == -math.inf
    assert np.array_equal(leveled.samples, samples)
    assert normalised(np.zeros((0, 2), np.float32), RATE_HZ).silent


def test_hiss_is_not_made_into_thunder() -> None:
    faint = tone(peak=2e-4, rate_hz=RATE_HZ)
    gain = np.abs(normalised(faint, RATE_HZ).samples).max() / 2e-4
    assert 20 * math.log10(gain) == pytest.approx(MOST_GAIN_DB, abs=0.1)


@pytest.mark.parametrize("frames", [1, 2, 100, RATE_HZ * 2 // 5 - 1, RATE_HZ * 2 // 5, RATE_HZ * 2 // 5 + 1])
def test_short_pieces_are_leveled_by_their_power(frames: int) -> None:
    samples = tone(hz=1000, rate_hz=RATE_HZ, peak=0.05)[10:10 + frames]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        leveled = normalised(samples, RATE_HZ)
    power = 10 * np.log10(np.square(leveled.samples).mean(axis=0).sum())
    assert power == pytest.approx(TARGET_LUFS, abs=1.0)


def test_true_peaks_are_found_where_no_sample_is() -> None:
    quarter = np.sin(np.pi / 2 * np.arange(4000) + np.pi / 4).astype(np.float32)[:, None]  # every sample at 0.707
    assert np.abs(quarter).max() == pytest.approx(0.707, abs=1e-3)
    assert true_peaks(quarter)[100:-100].max() == pytest.approx(1.0, abs=0.01)
    click = np.zeros((200, 2), np.float32)
    click[120, 1] = 0.5
    assert true_peaks(click).argmax() == 120
    assert true_peaks(click).max() == pytest.approx(0.5)


def test_samples_that_are_not_numbers_are_an_error() -> None:
    samples = piece()
    samples[5] = np.nan
    with pytest.raises(ValueError, match="not numbers"):
        normalised(samples, RATE_HZ)
