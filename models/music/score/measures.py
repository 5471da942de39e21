"""What can be heard in a score, measured from its notes alone: no tempo map, no metre, no title.

The measures are for takes of a hundred notes and more; how well they do on 170 notes of real
pieces is in docs/measures.md. Where a measure needs a beat, it takes the asked tempo in quarters
a minute and looks at the intervals between onsets, not at their places from the start, so that a
slow drift or a single long gap does not spoil it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from models.music.score.notes import Score
from models.music.score.programs import CHANNELS, DROPPED, channels_of

MODES = ("major", "minor")
METRE_CLASSES = ("duple", "triple", "compound")
CLASS_OF_METRE = {
    "4/4": "duple", "2/4": "duple", "2/2": "duple", "4/2": "duple", "4/8": "duple",
    "3/4": "triple", "6/4": "triple",
    "6/8": "compound", "12/8": "compound", "9/8": "compound", "3/8": "compound",
}
"""Quarters in twos, quarters in threes, eighths in threes: what can be told apart once the quarter is known."""

# How often each degree of the scale sounds (Albrecht and Shanahan 2013, Music Perception 31).
_PROFILES = np.array([
    [0.238, 0.006, 0.111, 0.006, 0.137, 0.094, 0.016, 0.214, 0.009, 0.080, 0.008, 0.081],
    [0.220, 0.006, 0.104, 0.123, 0.019, 0.103, 0.012, 0.214, 0.062, 0.022, 0.061, 0.052],
])
SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10, 11)}

_STRENGTH_SPAN = 8  # quarters: only onsets closer than this are compared
_METRE_SPAN = 12
_TEMPO_SPAN_MS = 6000.0
_LONGEST_ACCENT_MS = 1000.0
_SUBDIVISIONS = (2, 3, 4)

_SLOWEST_BPM, _FASTEST_BPM, _TEMPO_STEPS = 40.0, 240.0, 180
_USUAL_BPM, _USUAL_OCTAVES = 100.0, 0.5  # centre and width of the preference among tempos
_TEMPO_HARMONICS = ((1, 1.0), (2, 1.0), (4, 0.5))  # onsets on quarters, eighths, sixteenths, and their weights
TEMPO_FACTORS = (1 / 2, 2 / 3, 1, 3 / 2, 2)

# Logits of the metre classes: weights of the pulses at these periods, and a constant. Fitted by
# logistic regression on the first 170 notes of 1,100 pieces of the training split, then rounded.
_METRE_PERIODS = (1, 1.5, 2, 3, 4)  # quarters
_METRE_WEIGHTS = np.array([
    [3.5, -10.8, 10.8, -8.3, 4.0, 0.6],
    [4.6, -1.2, -7.6, 8.4, -3.2, -0.5],
    [-8.2, 12.1, -3.2, 0.0, -0.7, -0.1],
])


class Key(NamedTuple):
    tonic: int  # 0 is C, 11 is B
    mode: str  # of MODES


@dataclass(frozen=True)
class Repetition:
    """How much of a score has been heard before in it; all but the entropy are shares, 0..1."""

    repeated: float  # runs of four notes with the same channels and pitches as an earlier run
    distinct: float  # notes that differ from all others in time since the last one, duration, velocity, channel, pitch
    pitch_bits: float  # entropy of the notes' channel and pitch, in bits


def channels(score: Score) -> frozenset[str]:
    """Names of the channels that are heard, of CHANNELS; instruments without one count as the nearest."""
    numbers = np.unique(channels_of(score.notes, nearest=True))
    return frozenset(CHANNELS[number] for number in numbers if number != DROPPED)


def density(score: Score) -> float:
    """Notes a second from the first onset to the last; spans under half a second count as half a second."""
    onset_ms = score.notes["onset_ms"]
    if not len(onset_ms):
        return 0.0
    return len(onset_ms) / max(float(np.ptp(onset_ms)) / 1000, 0.5)


def polyphony(score: Score) -> float:
    """Mean number of notes that sound together while any does, drums left out; 0 where nothing sounds."""
    notes = score.notes[~score.notes["drum"]]
    start = notes["onset_ms"]
    end = start + notes["duration_ms"]
    order = np.argsort(start, kind="stable")
    start, end = start[order], end[order]
    if not len(start) or (sounding := float((end - start).sum())) <= 0:
        return 0.0
    reached = np.concatenate((start[:1], np.maximum.accumulate(end)[:-1]))
    heard = float(np.maximum(end - np.maximum(start, reached), 0).sum())
    return sounding / heard


def pitch_classes(score: Score) -> np.ndarray:
    """Weight of each pitch class, C first, shape (12,), without drums.

    A note weighs the square root of its duration: long notes tell more of the key than short
    ones, but not in proportion.
    """
    notes = score.notes[~score.notes["drum"]]
    return np.bincount(notes["pitch"] % 12, np.sqrt(np.maximum(notes["duration_ms"], 1.0)), minlength=12)


def _key_fits(score: Score) -> np.ndarray:
    """Correlation with the profile of each key, shape (2 modes, 12 tonics); 0 without pitched notes."""
    heard = pitch_classes(score)
    heard = heard - heard.mean()
    length = float(np.linalg.norm(heard))
    fits = np.zeros((len(MODES), 12))
    if length == 0:
        return fits
    for mode, profile in enumerate(_PROFILES):
        centred = (profile - profile.mean()) / np.linalg.norm(profile - profile.mean())
        fits[mode] = [np.roll(centred, tonic) @ heard / length for tonic in range(12)]
    return fits


def key_fit(score: Score, tonic: int, mode: str) -> float:
    """Correlation of the pitch classes heard with those usual in a key, -1..1."""
    return float(_key_fits(score)[MODES.index(mode), tonic % 12])


def estimate_key(score: Score) -> Key | None:
    """The key that fits best; None where all fit the same, as without pitched notes."""
    fits = _key_fits(score)
    if not np.ptp(fits):
        return None
    mode, tonic = divmod(int(fits.argmax()), 12)
    return Key(tonic, MODES[mode])


def key_distance(one: Key, other: Key) -> int:
    """Steps between two keys on the circle of fifths, 0..6, a minor key standing with its relative major.

    0 is the same or the relative key, 1 is a fifth apart (or the relative of one that is).
    """
    fifths = [(key.tonic + (3 if key.mode == "minor" else 0)) * 7 % 12 for key in (one, other)]
    apart = abs(fifths[0] - fifths[1])
    return min(apart, 12 - apart)


def scale_share(score: Score, tonic: int, mode: str) -> float:
    """Share of the notes, drums left out, that are in a key's scale; 0 without any.

    Minor is the natural scale and the leading note, eight pitch classes to the seven of major:
    by chance 0.58 of notes lie in a major scale and 0.67 in a minor one.
    """
    notes = score.notes[~score.notes["drum"]]
    if not len(notes):
        return 0.0
    return float(np.isin((notes["pitch"].astype(np.int64) - tonic) % 12, SCALES[mode]).mean())


@dataclass(frozen=True)
class _Onsets:
    """Moments at which notes begin, and how much each stands out."""

    ms: np.ndarray
    longest_ms: np.ndarray  # of the pitched notes that begin there, capped
    accent: np.ndarray  # that, times the sum of all velocities


def _onsets(score: Score) -> _Onsets:
    notes = score.notes
    ms, place = np.unique(notes["onset_ms"], return_inverse=True)
    longest = np.zeros(len(ms))
    duration = np.where(notes["drum"], 0.0, np.clip(notes["duration_ms"], 1.0, _LONGEST_ACCENT_MS))
    np.maximum.at(longest, place, duration)
    if not longest.any():
        longest[:] = 1.0  # only drums: every stroke counts the same
    loudness = np.bincount(place, notes["velocity"], minlength=len(ms))
    return _Onsets(ms, longest, longest * loudness)


def _pulses(ms: np.ndarray, weight: np.ndarray, periods_ms: Sequence[float] | np.ndarray, span_ms: float) -> np.ndarray:
    """How strongly onsets recur at each period, shape (periods,).

    The weighted mean of cos(2 pi interval / period) over all pairs of onsets at most `span_ms`
    apart: 1 if all intervals are multiples of the period, about 0 for onsets at random. Leaving
    out each onset's pair with itself is what keeps chance at 0 for few onsets, too.
    """
    interval = ms[None] - ms[:, None]
    near = (interval > 0) & (interval <= span_ms)
    # Intervals to a whole millisecond: many are equal, and each needs its cosines only once.
    shares = np.bincount(np.rint(interval[near]).astype(np.int64), (weight[None] * weight[:, None])[near])
    total = float(shares.sum())
    if total <= 0:
        return np.zeros(len(periods_ms))
    lengths = np.flatnonzero(shares)
    turns = 2 * np.pi * lengths / np.asarray(periods_ms, dtype=np.float64)[:, None]
    return np.cos(turns) @ shares[lengths] / total


def tempo_strength(score: Score, quarter_bpm: float) -> float:
    """How well onsets lie on the grid of a tempo in quarters a minute.

    The best of halves, thirds and fourths of a quarter: 1 is exactly on the grid, about 0 is chance.
    Tempos that share a grid (twice, half) are equally strong.
    """
    quarter_ms = 60_000 / quarter_bpm
    onsets = _onsets(score)
    periods = [quarter_ms / parts for parts in _SUBDIVISIONS]
    return float(_pulses(onsets.ms, onsets.longest_ms, periods, _STRENGTH_SPAN * quarter_ms).max())


def estimate_tempo(score: Score) -> float | None:
    """Tempo in quarters a minute, 40..240; None where there are fewer than two onsets within six seconds.

    The tempo whose quarters, eighths and sixteenths recur most strongly, with a preference for
    those near 100. Notes alone seldom tell a tempo from its half or double.
    """
    onsets = _onsets(score)
    bpm = np.geomspace(_SLOWEST_BPM, _FASTEST_BPM, _TEMPO_STEPS)
    strength = np.zeros(len(bpm))
    for parts, weight in _TEMPO_HARMONICS:
        strength += weight * _pulses(onsets.ms, onsets.accent, 60_000 / (bpm * parts), _TEMPO_SPAN_MS)
    if not strength.any():
        return None
    return float(bpm[(strength - 0.5 * (np.log2(bpm / _USUAL_BPM) / _USUAL_OCTAVES) ** 2).argmax()])


def tempo_error(score: Score, quarter_bpm: float, factors: Sequence[float] = TEMPO_FACTORS) -> float:
    """Octaves between the estimated tempo and the asked one or the nearest of its multiples.

    `factors` are the multiples that count as right; (1,) asks for the tempo itself. 0.06 is 4 %.
    Infinite where no tempo can be estimated.
    """
    estimate = estimate_tempo(score)
    if estimate is None:
        return math.inf
    return min(abs(math.log2(estimate / (quarter_bpm * factor))) for factor in factors)


def metre_scores(score: Score, quarter_bpm: float) -> dict[str, float]:
    """How likely each of METRE_CLASSES is, given the tempo in quarters a minute; they sum to 1."""
    quarter_ms = 60_000 / quarter_bpm
    onsets = _onsets(score)
    periods = [period * quarter_ms for period in _METRE_PERIODS]
    pulses = _pulses(onsets.ms, onsets.accent, periods, _METRE_SPAN * quarter_ms)
    logits = _METRE_WEIGHTS @ np.append(pulses, 1.0)
    shares = np.exp(logits - logits.max())
    return dict(zip(METRE_CLASSES, (shares / shares.sum()).tolist(), strict=True))


def estimate_metre(score: Score, quarter_bpm: float) -> str:
    """The likeliest of METRE_CLASSES, given the tempo in quarters a minute."""
    scores = metre_scores(score, quarter_bpm)
    return max(METRE_CLASSES, key=scores.__getitem__)


def repetition(score: Score, run: int = 4) -> Repetition:
    """How repetitive a score is; `run` is the number of notes in a run. Nothing repeats in a score of fewer notes.

    Times are told apart in steps of 10 ms, as in the vocabulary. Compare scores of the same number of notes:
    longer ones repeat more.
    """
    notes = score.notes
    if not len(notes):
        return Repetition(0.0, 0.0, 0.0)
    sound = channels_of(notes, nearest=True).astype(np.int64) * 128 + notes["pitch"]
    since = np.diff(notes["onset_ms"], prepend=notes["onset_ms"][:1])
    steps = np.rint(np.stack((since, notes["duration_ms"]), axis=1) / 10).astype(np.int64)
    whole = np.column_stack((steps, notes["velocity"], sound))
    runs = np.lib.stride_tricks.sliding_window_view(sound, run) if len(notes) >= run else np.empty((0, run))
    _, counts = np.unique(sound, return_counts=True)
    shares = counts / counts.sum()
    return Repetition(
        repeated=1 - len(np.unique(runs, axis=0)) / len(runs) if len(runs) else 0.0,
        distinct=len(np.unique(whole, axis=0)) / len(whole),
        pitch_bits=float(np.abs((shares * np.log2(shares)).sum())),
    )
