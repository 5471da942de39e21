"""What a listener would ask of a take, measured from its notes: key, metre, tempo, players, endings, form, copying.

These measures judge what the engine makes, so they are kept apart from those in `models.music.score.measures`, which
chose how it is steered: a key is estimated from other profiles here, a metre from an autocorrelation. Notes of drums have no
pitch and are left out wherever pitch counts. Where a measure has nothing to say, it is None and not 0.
`benchmarks.music` has the measures of real pieces beside those of takes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from collections.abc import Sequence as Listed
from dataclasses import dataclass

import numpy as np

from models.music.score.measures import METRE_CLASSES, MODES, Key, estimate_tempo
from models.music.score.notes import Score
from models.music.score.programs import CHANNELS, DROPPED, channels_of

# Probe tone ratings (Krumhansl and Kessler 1982, Psychological Review 89), major and minor.
KRUMHANSL_KESSLER = np.array([
    [6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88],
    [6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17],
])
# Temperley's revision of them (The Cognition of Basic Musical Structures, 2001, chapter 7).
TEMPERLEY = np.array([
    [5.0, 2.0, 3.5, 2.0, 4.5, 4.0, 2.0, 4.5, 2.0, 3.5, 1.5, 4.0],
    [5.0, 2.0, 3.5, 4.5, 2.0, 4.0, 2.0, 4.5, 3.5, 2.0, 1.5, 4.0],
])
TRIADS: Mapping[str, tuple[int, ...]] = {"major": (0, 4, 7), "minor": (0, 3, 7)}

# What players reach, sounding; the clarinet's channel is also the oboe's, the bassoon's and the saxophones'.
RANGES: Mapping[str, tuple[int, int]] = {
    "piano": (21, 108), "guitar": (40, 88), "bass": (23, 67), "violin": (55, 103), "cello": (36, 79), "harp": (23, 103),
    "trumpet": (52, 84), "clarinet": (34, 91), "flute": (60, 96), "choir": (36, 84), "organ": (24, 108),
}

OCTAVES = (0.5, 1.0, 2.0)
TOLERANCE_OCTAVES = 0.06  # 4 %
BAR_STEPS = 24  # places to a quarter, for the likeness of bars
_TIME_STEP_MS = 10.0  # the vocabulary's
_GROUP_MS = 30.0  # notes this close begin together, or have ended before the next one
_STEP, _LEAP = (1, 2), 9  # semitones
_FEWEST_STEPS = 8  # of a top voice
_POINTS = 12  # to a quarter, for the metre
_STROKE_SECONDS = 0.1  # what a drum's stroke counts as
METRE_LAGS = (1.5, 2.0, 3.0, 4.0)  # quarters
# Logits of METRE_CLASSES from the autocorrelations at METRE_LAGS, and a constant: logistic regression on the first 170
# notes of 1,475 pieces of split `train`, classes weighted by one over the root of their size. 85 % of those are right.
_METRE_WEIGHTS = np.array([
    [-1.6, 2.1, -4.1, 3.3, 0.6],
    [-2.4, 0.2, 2.8, -1.0, -0.2],
    [4.0, -2.3, 1.3, -2.3, -0.3],
])
_RATIO_CLASSES = 8  # of a time step to the one before, up and down, in half octaves
_HASH_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd, so no note of a run is lost


def pitched(score: Score) -> np.ndarray:
    """The notes that have a pitch, of NOTE."""
    notes: np.ndarray = score.notes[~score.notes["drum"]]
    return notes


def key_by_profiles(score: Score, profiles: np.ndarray) -> Key | None:
    """The key whose profile (2 modes, 12 degrees) correlates best with how long each pitch class sounds.

    None where nothing has a pitch, or every pitch class sounds equally long.
    """
    notes = pitched(score)
    heard = np.bincount(notes["pitch"] % 12, notes["duration_ms"], minlength=12)
    if not np.ptp(heard):
        return None
    fits = np.array([[_correlation(np.roll(profile, tonic), heard) for tonic in range(12)] for profile in profiles])
    mode, tonic = divmod(int(fits.argmax()), 12)
    return Key(tonic, MODES[mode])


def autocorrelation(score: Score, quarter_bpm: float, lags: Listed[float] = METRE_LAGS) -> np.ndarray:
    """How much the onsets resemble themselves so many quarters later, shape (lags,), about 0..1.

    Onsets stand out by velocity * sqrt(duration in seconds) on a grid of 12 points to a quarter; points next to a
    note count half, for times are coarse. The mean is taken off, and each lag's overlap is normalised by its own energy.
    """
    notes = score.notes
    result = np.zeros(len(lags))
    if len(notes) < 2:
        return result
    quarters = (notes["onset_ms"] - notes["onset_ms"].min()) * quarter_bpm / 60_000
    place = np.rint(quarters * _POINTS).astype(np.int64) + 1
    seconds = np.where(notes["drum"], _STROKE_SECONDS, notes["duration_ms"] / 1000)
    salience = np.bincount(place, notes["velocity"] * np.sqrt(seconds), minlength=int(place.max()) + 2)
    signal = np.convolve(salience, (0.5, 1.0, 0.5), mode="same")
    signal -= signal.mean()
    for number, lag in enumerate(lags):
        shift = round(lag * _POINTS)
        if shift < len(signal):
            early, late = signal[:-shift], signal[shift:]
            result[number] = early @ late / max(math.sqrt(float(early @ early) * float(late @ late)), 1e-9)
    return result


def metre_by_autocorrelation(score: Score, quarter_bpm: float) -> str:
    """The likeliest of METRE_CLASSES, given the tempo in quarters a minute: what recurs after 2, 3, 4 or 1.5 quarters."""
    return METRE_CLASSES[int((_METRE_WEIGHTS @ np.append(autocorrelation(score, quarter_bpm), 1.0)).argmax())]


def tempo_within(score: Score, low: float, high: float, factors: Listed[float] = OCTAVES) -> bool:
    """Whether the estimated tempo, or one of its multiples `factors`, is within a range, give or take 4 %.

    The range is in quarters a minute. Notes alone seldom tell a tempo from its half or double; (1,) asks for the tempo itself.
    """
    estimate = estimate_tempo(score)
    margin = 2.0**TOLERANCE_OCTAVES
    return estimate is not None and any(low / margin <= estimate * factor <= high * margin for factor in factors)


def fleeting_share(score: Score, shortest_ms: float = 60.0) -> float | None:
    """Share of the notes, drums left out, that are shorter than that, 0..1; None without notes."""
    notes = pitched(score)
    return float((notes["duration_ms"] < shortest_ms).mean()) if len(notes) else None


def note_shares(score: Score) -> dict[str, float]:
    """Share of the notes that each channel has, of those that are heard; names are of CHANNELS, shares sum to 1."""
    channels = channels_of(score.notes, nearest=True)
    counts = np.bincount(channels[channels != DROPPED], minlength=len(CHANNELS))
    shares = (counts / max(int(counts.sum()), 1)).tolist()
    return {name: share for name, share in zip(CHANNELS, shares, strict=True) if share}


def least_share(score: Score, players: Iterable[str]) -> float | None:
    """Share of the notes of the player who has the fewest, 0..0.5; None for fewer than two players."""
    shares = note_shares(score)
    wanted = set(players)
    return min(shares.get(name, 0.0) for name in wanted) if len(wanted) > 1 else None


@dataclass(frozen=True)
class Ending:
    """How a score ends, without its drums."""

    on_tonic: bool  # the lowest note that sounds at the last onset is the tonic
    triad: float  # share of the notes that begin there whose pitch is of the tonic's triad, 0..1
    length: float  # their mean duration over the median one of all notes


def ending(score: Score, key: Key) -> Ending | None:
    """The last onset with a pitch and what sounds there; None without one.

    Notes that begin within 30 ms of each other begin together. A bass that was struck before and still sounds
    carries the last chord, so it counts as its lowest note.
    """
    notes = pitched(score)
    if not len(notes):
        return None
    last_ms = float(notes["onset_ms"].max())
    final = notes[notes["onset_ms"] >= last_ms - _GROUP_MS]
    sounding = notes[notes["onset_ms"] + notes["duration_ms"] > last_ms + _GROUP_MS]
    lowest = min(int(final["pitch"].min()), *sounding["pitch"].tolist())
    steps = (final["pitch"].astype(np.int64) - key.tonic) % 12
    return Ending(
        on_tonic=lowest % 12 == key.tonic, triad=float(np.isin(steps, TRIADS[key.mode]).mean()),
        length=float(final["duration_ms"].mean() / max(float(np.median(notes["duration_ms"])), 1.0)))


Bar = frozenset[tuple[int, int]]


def bars(score: Score) -> list[Bar]:
    """What each bar of the score's own grid holds, from the first with notes to the last one.

    A note is its place in the bar in 24ths of a quarter, and its channel and pitch in one number.
    """
    notes = score.notes
    channels = channels_of(notes, nearest=True).astype(np.int64)
    heard = channels != DROPPED
    if not heard.any():
        return []

    def steps(ticks: np.ndarray) -> np.ndarray:
        return np.rint(ticks * BAR_STEPS / score.ticks_per_quarter).astype(np.int64)

    place = steps(notes["onset_tick"][heard])
    sound = (128 * channels + notes["pitch"])[heard]
    starts = steps(np.array([metre.tick for metre in score.metres]))
    lengths = np.array([BAR_STEPS * 4 * metre.beats // metre.unit for metre in score.metres])
    before = np.concatenate(([0], np.cumsum(-(-np.diff(starts) // lengths[:-1]))))
    at = np.maximum(np.searchsorted(starts, place, side="right") - 1, 0)
    bar, place = np.divmod(place - starts[at], lengths[at])
    bar += before[at]
    bar -= bar.min()
    found: list[set[tuple[int, int]]] = [set() for _ in range(int(bar.max()) + 1)]
    for number, *note in zip(bar.tolist(), place.tolist(), sound.tolist(), strict=True):
        found[number].add((note[0], note[1]))
    return [frozenset(one) for one in found]


def empty_share(of: Listed[Bar]) -> float | None:
    """Share of the bars, but the first and the last, in which nothing begins, 0..1; None where there are none between."""
    return float(np.mean([not bar for bar in of[1:-1]])) if len(of) > 2 else None


def jaccard(one: Bar, other: Bar) -> float:
    """Notes that two bars share, of all that they have, 0..1."""
    return len(one & other) / len(one | other) if one or other else 1.0


def likeness(of: Listed[Bar], apart: int) -> float | None:
    """Mean Jaccard of the bars with notes and those `apart` bars before them, 0..1; None where there is no such pair."""
    pairs = [jaccard(of[i], of[i - apart]) for i in range(apart, len(of)) if of[i]]
    return float(np.mean(pairs)) if pairs else None


def best_likeness(of: Listed[Bar]) -> tuple[float, float] | None:
    """Mean over the bars with notes of their likeness to the likest earlier one, and the share that are exact copies.

    The first bar has nothing to copy and does not count; None where it is the only one.
    """
    best = [max(jaccard(of[i], earlier) for earlier in of[:i]) for i in range(1, len(of)) if of[i]]
    return (float(np.mean(best)), float(np.mean(np.array(best) == 1))) if best else None


def out_of_range(score: Score) -> dict[str, float]:
    """Share of each channel's notes that its instrument cannot play, by RANGES, for the channels that sound; no drums."""
    channels = channels_of(score.notes, nearest=True)
    result = {}
    for name, (low, high) in RANGES.items():
        pitch = score.notes["pitch"][channels == CHANNELS.index(name)]
        if len(pitch):
            result[name] = float(((pitch < low) | (pitch > high)).mean())
    return result


@dataclass(frozen=True)
class TopVoice:
    """How the highest notes follow each other: shares of all their intervals, 0..1."""

    steps: float  # of one or two semitones
    leaps: float  # of more than nine


def top_voice(score: Score) -> TopVoice | None:
    """The line of the highest pitch at each onset; None for fewer than eight intervals, which say little."""
    notes = pitched(score)
    at, place = np.unique(notes["onset_ms"], return_inverse=True)
    if len(at) <= _FEWEST_STEPS:
        return None
    line = np.zeros(len(at), dtype=np.int64)
    np.maximum.at(line, place, notes["pitch"])
    intervals = np.abs(np.diff(line))
    return TopVoice(float(np.isin(intervals, _STEP).mean()), float((intervals > _LEAP).mean()))


def crowded(score: Score, channel: str, players: int = 1) -> float | None:
    """Share of a channel's onsets at which more of its notes sound than there are players; None where it is silent.

    A note that ends less than 30 ms later is slurred into the next one and no second voice.
    """
    notes = score.notes[channels_of(score.notes, nearest=True) == CHANNELS.index(channel)]
    if not len(notes):
        return None
    start = notes["onset_ms"]
    end = start + notes["duration_ms"]
    at = np.unique(start)
    # A note that begins here sounds, however short it is.
    sounding = (start <= at[:, None]) & ((end > at[:, None] + _GROUP_MS) | (start == at[:, None]))
    return float((sounding.sum(axis=1) > players).mean())


def note_codes(step: np.ndarray, channel: np.ndarray, pitch: np.ndarray) -> np.ndarray:
    """How each note follows the one before, as one number each, shape (notes - 1,), unsigned 64 bits.

    `step` are onsets in steps of 10 ms. A code holds the note's channel, the interval in semitones, and how much
    longer than the last time step this one is, in half octaves; chords' notes have a code of their own. So it is
    the same in another key and at another tempo.
    """
    since = np.diff(step)
    ratio = np.zeros(len(since), dtype=np.int64)  # 0: together with the note before
    moved = np.flatnonzero(since > 0)
    lengths = np.log2(since[moved])
    halves = np.rint(2 * np.diff(lengths, prepend=lengths[:1])).astype(np.int64)
    ratio[moved] = np.clip(halves, -_RATIO_CLASSES, _RATIO_CLASSES) + _RATIO_CLASSES + 1
    interval = np.diff(pitch.astype(np.int64)) + 128
    return ((channel[1:].astype(np.int64) * 256 + interval) * 32 + ratio + 1).astype(np.uint64)


def run_hashes(codes: np.ndarray, length: int) -> np.ndarray:
    """A number for each run of `length` codes, shape (codes - length + 1,): equal for equal runs, and else by chance only."""
    count = len(codes) - length + 1
    result = np.zeros(max(count, 0), dtype=np.uint64)
    mixed = (codes ^ (codes << np.uint64(29))) * _HASH_FACTOR
    mixed ^= mixed >> np.uint64(32)
    for first in range(length if count > 0 else 0):
        result *= _HASH_FACTOR
        result += mixed[first:first + count]
    return result


def codes_of(score: Score) -> np.ndarray:
    """The `note_codes` of a score as it is written in the vocabulary: chords from the top down, steps of 10 ms."""
    channels = channels_of(score.notes, nearest=True)
    notes, channels = score.notes[channels != DROPPED], channels[channels != DROPPED]
    step = np.floor(notes["onset_ms"] / _TIME_STEP_MS + 1e-6).astype(np.int64)
    order = np.lexsort((-notes["pitch"].astype(np.int64), step))
    return note_codes(step[order], channels[order], notes["pitch"][order])


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one, other)[0, 1])
