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
from scipy.signal import sosfilt

TARGET_LUFS = -14.0
PEAK_DBFS = -1.0
CEILING = 10 ** (PEAK_DBFS / 20)
SILENT_PEAK = 1e-4  # -80 dBFS
MOST_GAIN_DB = 40.0  # more would be hiss
MOST_LIMITED_DB = 6.0  # what the limiter may take from a peak; what stands out further keeps the whole softer
LIMITER_SECONDS = 0.02  # in which the gain goes down before a peak, and up again behind it

_GATE_SECONDS = 0.4  # a block of BS.1770; shorter pieces have no loudness by it
_GATE_LUFS = -70.0
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
    meter = Meter(rate_hz, samples.shape[1])
    meter.add(samples)
    return meter.lufs


class Meter:
    """Integrated loudness of sound that comes in blocks, so that an hour of it needs no more memory than a second.

    BS.1770-4: K-weighted mean squares of 0.4 s, one every 0.1 s, without those below -70 LUFS and those 10 LU below the
    mean of the rest. What is shorter, or nowhere above the gate, is measured by its mean square alone.
    """

    def __init__(self, rate_hz: int, channels: int) -> None:
        shelf = pyloudnorm.IIRfilter(4.0, 1 / math.sqrt(2), 1500.0, rate_hz, "high_shelf")
        low_cut = pyloudnorm.IIRfilter(0.0, 0.5, 38.0, rate_hz, "high_pass")
        self._weighting = np.array([[*one.b, *one.a] for one in (shelf, low_cut)])
        self._state = np.zeros((2, 2, channels))
        self._step = round(_GATE_SECONDS / 4 * rate_hz)
        self._left = np.zeros(0)  # of power, less than a step
        self._steps: list[np.ndarray] = []  # mean power of each
        self._power, self._frames = 0.0, 0

    def add(self, block: np.ndarray) -> None:
        """The next samples, (frames, channels)."""
        if not len(block):
            return
        weighted, self._state = sosfilt(self._weighting, block, axis=0, zi=self._state)
        self._power += float(np.square(block, dtype=np.float64).sum())
        self._frames += len(block)
        power = np.concatenate((self._left, np.square(weighted).sum(axis=1)))
        whole = len(power) // self._step * self._step
        self._steps.append(power[:whole].reshape(-1, self._step).mean(axis=1))
        self._left = power[whole:]

    @property
    def lufs(self) -> float:
        """Of all that was added; -inf for silence."""
        steps = np.concatenate([np.zeros(0), *self._steps])
        if len(steps) >= 4:
            blocks = np.convolve(steps, np.full(4, 0.25), "valid")
            heard = blocks[blocks > 10 ** ((_GATE_LUFS - _MEAN_SQUARE_LUFS) / 10)]
            if len(heard):
                return _lufs(float(heard[heard > heard.mean() / 10].mean()))
        return _lufs(self._power / self._frames) if self._power else -math.inf


def _lufs(power: float) -> float:
    return _MEAN_SQUARE_LUFS + 10 * math.log10(power)


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
    leveled = turned_down(samples, envelope, gain, rate_hz)
    # The gain changes between samples too, so that a hair above the ceiling is possible.
    excess = float(true_peaks(leveled).max()) / CEILING
    return np.asarray(leveled / max(excess, 1.0), dtype=np.float32)


def turned_down(samples: np.ndarray, envelope: np.ndarray, gain: float, rate_hz: int) -> np.ndarray:
    """Amplified, with the gain lowered smoothly around what of the envelope, (frames,), would be above -1 dBFS.

    What stands within `limiter_reach` of either end depends on what is beyond it.
    """
    if gain * float(envelope.max(initial=0.0)) > CEILING:
        window = limiter_reach(rate_hz) + 1
        allowed = np.minimum(CEILING / np.maximum(gain * envelope, CEILING), 1.0)
        # The mean over a window of minima over the same window is nowhere above what is allowed, and smooth.
        curve = uniform_filter1d(minimum_filter1d(allowed, window, mode="nearest"), window, mode="nearest")
        return np.asarray(samples * (gain * curve)[:, None], dtype=np.float32)
    return samples * np.float32(gain)


def limiter_reach(rate_hz: int) -> int:
    """Frames, an even number: how far the limiter looks to both sides."""
    return 2 * max(round(LIMITER_SECONDS * rate_hz), 1)


def _db(amplitude: float) -> float:
    return 20 * math.log10(amplitude) if amplitude > 0 else -math.inf
