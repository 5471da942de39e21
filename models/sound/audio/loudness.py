"""Loudness: every take as loud as the others, and none clipped.

Loudness is that of ITU-R BS.1770 (gated, in LUFS), peaks are true peaks: of the curve between the samples, which
is what a listener's converter and a lossy codec make of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pyloudnorm
from scipy.ndimage import minimum_filter1d, uniform_filter1d

TARGET_LUFS = -14.0
PEAK_DBFS = -1.0
SILENT_PEAK = 1e-4  # -80 dBFS
MOST_GAIN_DB = 40.0  # more would be hiss
MOST_LIMITED_DB = 6.0  # what the limiter may take from a peak; what stands out further keeps the whole softer
LIMITER_SECONDS = 0.02  # in which the gain goes down before a peak, and up again behind it

_GATE_SECONDS = 0.4  # a block of BS.1770; shorter pieces have no loudness by it
_MEAN_SQUARE_LUFS = -0.691  # BS.1770-4, equation 2: of a mean square of 1, in one channel
_PHASES, _TAPS = 4, 24  # curve points for every sample, and the samples on which each depends
_STEPS = 3  # a limiter takes some loudness away, so the gain is found in steps
_CLOSE_ENOUGH_LU = 0.1


@dataclass(frozen=True)
class Leveled:
    """Sound at its loudness, and what was measured."""

    samples: np.ndarray  # float32 (frames, channels)
    before_lufs: float  # -inf: silence
    after_lufs: float
    peak_dbfs: float  # true peak afterwards; -inf: silence

    @property
    def silent(self) -> bool:
        return math.isinf(self.before_lufs)


def normalised(samples: np.ndarray, rate_hz: int, *, target_lufs: float = TARGET_LUFS) -> Leveled:
    """Sound at `target_lufs`, with a true peak of at most -1 dBFS. `samples`: float32 (frames, 1 or 2), not changed.

    What is too dynamic for that stays softer, as does what would need more than 40 dB. Sound whose peak is below
    -80 dBFS is silence and stays what it is. Pieces below 0.4 s are measured by their mean square alone. Raises
    ValueError for samples that are not finite.
    """
    peak = float(np.abs(samples).max(initial=0.0))
    if not math.isfinite(peak):
        raise ValueError("the samples hold values that are not numbers")
    if peak < SILENT_PEAK:
        return Leveled(samples, -math.inf, -math.inf, _db(peak))
    before = loudness(samples, rate_hz)
    envelope = true_peaks(samples)
    room_db = PEAK_DBFS - _db(float(envelope.max())) + MOST_LIMITED_DB
    gain_db = min(target_lufs - before, MOST_GAIN_DB, room_db)
    for _ in range(_STEPS):
        leveled = _limited(samples, envelope, 10 ** (gain_db / 20), rate_hz)
        after = loudness(leveled, rate_hz)
        better_db = min(gain_db + target_lufs - after, MOST_GAIN_DB, room_db)
        if abs(better_db - gain_db) < _CLOSE_ENOUGH_LU:
            break
        gain_db = better_db
    return Leveled(leveled, before, after, _db(float(true_peaks(leveled).max())))


def loudness(samples: np.ndarray, rate_hz: int) -> float:
    """Integrated loudness in LUFS; -inf for silence. `samples`: (frames, 1 or 2)."""
    if len(samples) > _GATE_SECONDS * rate_hz:
        measured = float(pyloudnorm.Meter(rate_hz).integrated_loudness(samples))
        if math.isfinite(measured):
            return measured
    # Too short to be gated, or below the gate (-70 LUFS) throughout.
    power = float(np.square(samples, dtype=np.float64).mean(axis=0).sum()) if samples.size else 0.0
    return _MEAN_SQUARE_LUFS + 10 * math.log10(power) if power else -math.inf


def true_peaks(samples: np.ndarray) -> np.ndarray:
    """The largest absolute value at and behind every sample, of all channels: (frames,), oversampled four times."""
    peaks: np.ndarray = np.abs(samples).max(axis=1)
    for phase in range(1, _PHASES):
        place = np.arange(_TAPS) - _TAPS // 2 + phase / _PHASES
        kernel = (np.sinc(place) * np.cos(np.pi * place / (_TAPS + 1)) ** 2).astype(np.float32)
        for channel in samples.T:
            between = np.convolve(channel, kernel)[_TAPS // 2 - 1:][:len(channel)]
            np.maximum(peaks, np.abs(between), out=peaks)
    return peaks


def _limited(samples: np.ndarray, envelope: np.ndarray, gain: float, rate_hz: int) -> np.ndarray:
    """Amplified, and turned down around peaks so that none is above -1 dBFS."""
    ceiling = 10 ** (PEAK_DBFS / 20)
    if gain * float(envelope.max()) > ceiling:
        window = 2 * max(round(LIMITER_SECONDS * rate_hz), 1) + 1
        allowed = np.minimum(ceiling / np.maximum(gain * envelope, ceiling), 1.0)
        # The mean over a window of minima over the same window is nowhere above what is allowed, and smooth.
        curve = uniform_filter1d(minimum_filter1d(allowed, window, mode="nearest"), window, mode="nearest")
        leveled = samples * (gain * curve)[:, None]
    else:
        leveled = samples * np.float32(gain)
    # The gain changes between samples too, so that a hair above the ceiling is possible.
    excess = float(true_peaks(leveled).max()) / ceiling
    return np.asarray(leveled / max(excess, 1.0), dtype=np.float32)


def _db(amplitude: float) -> float:
    return 20 * math.log10(amplitude) if amplitude > 0 else -math.inf
