"""Triads, and which of them a piece sounds in each half of its bars.

A chord is a number: 12 * quality + pitch class of the root, qualities being major, minor and diminished; sevenths and
other additions belong to their triad. `NO_CHORD` stands where none is known.
"""

from __future__ import annotations

import numpy as np

QUALITIES = ("major", "minor", "diminished")
TRIADS = ((0, 4, 7), (0, 3, 7), (0, 3, 6))  # semitones over the root, by quality
CHORDS = 12 * len(QUALITIES)
NO_CHORD = CHORDS

_ROOT_BONUS, _BASS_BONUS, _DIMINISHED_MALUS, _CHANGE_MALUS = 0.1, 0.18, 0.05, 0.08
_LONGEST_WEIGHT = 2.0  # quarters of a note that count in a harmonic unit
_QUIET = 0.25  # quarters of sound in a unit; with less the chord before is held

CHORD_TONES = np.zeros((CHORDS, 12), dtype=bool)
"""Pitch classes of each chord."""
for _quality, _steps in enumerate(TRIADS):
    for _root in range(12):
        CHORD_TONES[12 * _quality + _root, [(_root + step) % 12 for step in _steps]] = True


def chord(root: int, quality: int) -> int:
    return 12 * quality + root % 12


def transposed(chords: np.ndarray, semitones: int) -> np.ndarray:
    """The same chords so many semitones higher; no chord stays none."""
    return np.where(chords == NO_CHORD, NO_CHORD, 12 * (chords // 12) + (chords + semitones) % 12)


def units_in_bar(beats: int, unit: int) -> int:
    """Harmonic units of a bar: halves where it has two, else the whole bar."""
    quarters = beats * 4 / unit
    return 2 if beats % 2 == 0 and quarters >= 3 else 1


def label(
    unit: np.ndarray, units: int, pitch: np.ndarray, start: np.ndarray, end: np.ndarray, bounds: np.ndarray,
) -> np.ndarray:
    """The chord of each harmonic unit, (units,).

    `unit` (notes,) is the unit in which each pitched note begins, `start` and `end` are in quarters, `bounds`
    (units + 1,) are where the units begin and the last one ends. Templates are weighed against the time that pitch
    classes sound; the lowest note speaks for a root, and a chord stays until another one is clearly better.
    """
    shares = np.zeros((units, 12))
    lowest = np.full(units, 128)
    for later in range(4):  # a held note sounds in the units after its own
        here = unit + later
        inside = here < units
        here, low, high = here[inside], start[inside], end[inside]
        overlap = np.minimum(high, bounds[here + 1]) - np.maximum(low, bounds[here])
        sounding = overlap > 0
        here, overlap, pitches = here[sounding], overlap[sounding], pitch[inside][sounding]
        np.add.at(shares, (here, pitches % 12), np.minimum(overlap, _LONGEST_WEIGHT))
        np.minimum.at(lowest, here, pitches)
    total = shares.sum(axis=1)
    weights = shares / np.maximum(total, 1e-9)[:, None]
    fits = weights @ CHORD_TONES.T.astype(float)
    roots = np.arange(CHORDS) % 12
    fits += _ROOT_BONUS * weights[:, roots]
    fits[:, 24:] -= _DIMINISHED_MALUS
    fits += _BASS_BONUS * ((lowest % 12)[:, None] == roots) * (lowest < 128)[:, None]
    result = np.full(units, NO_CHORD)
    best, before = fits.argmax(axis=1).tolist(), NO_CHORD
    for number in range(units):
        if total[number] >= _QUIET:
            found = best[number]
            if before == NO_CHORD or fits[number, found] - fits[number, before] > _CHANGE_MALUS:
                before = found
        result[number] = before
    return result


_STEPS = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}


def moved(pitch: int, degrees: int, tonic: int, mode: str) -> int:
    """A pitch so many steps of the scale higher; what stands between two steps stays as far above the lower one."""
    steps = _STEPS[mode]
    octave, over = divmod(pitch - tonic, 12)
    degree = max(number for number, step in enumerate(steps) if step <= over)
    more, place = divmod(degree + degrees, len(steps))
    return tonic + 12 * (octave + more) + steps[place] + over - steps[degree]


def degrees_between(one: int, other: int, tonic: int, mode: str) -> int | None:
    """Steps of the scale, -3..3, from the root of one chord to that of another; None where one is outside the scale."""
    steps = _STEPS[mode]
    over = [(chord % 12 - tonic) % 12 for chord in (one, other)]
    if not all(root in steps for root in over):
        return None
    return (steps.index(over[1]) - steps.index(over[0]) + 3) % len(steps) - 3
