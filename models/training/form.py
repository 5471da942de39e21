"""What form a piece of the corpus has: its chords, and which of its bars come back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.engines.pocket.memory import LIKENESS_LEVELS, NO_RETURN, ticks
from models.music.form.chords import NO_CHORD, label
from models.music.score.programs import DRUMS

_BUCKETS = 2048  # that places and pitches of a bar are hashed to
_FARTHEST = 96  # bars between a bar and what it comes back to
_FEWEST = 3  # pitched notes of a bar that can come back


@dataclass(frozen=True)
class Form:
    """Labels of a piece's notes, (notes,), and of its bars, (bars,)."""

    chord: np.ndarray
    next_chord: np.ndarray  # of the harmonic unit after the note's own
    returns: np.ndarray  # of a bar: the earlier bar that it is most like, or -1
    level: np.ndarray  # of a bar: how much, in LIKENESS_LEVELS, or NO_RETURN


def form_of(piece: np.ndarray) -> Form:
    """Labels of a whole piece; one of drums alone has no chords."""
    return Form(*_chords(piece), *_returns(piece))


def _chords(piece: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    length = piece["bar_quarters"] / piece["units"]
    half = np.minimum((piece["quarters_in_bar"] + 1e-4) // length, piece["units"] - 1).astype(np.int64)
    number, first, unit = np.unique(2 * piece["bar"].astype(np.int64) + half, return_index=True, return_inverse=True)
    starts = (piece["quarters"] - piece["quarters_in_bar"] + half * length)[first].astype(np.float64)
    bounds = np.maximum.accumulate(np.append(starts, starts[-1] + length[-1]))
    pitched = piece["channel"] != DRUMS
    if not pitched.any():
        return np.full(len(piece), NO_CHORD), np.full(len(piece), NO_CHORD)
    notes = piece[pitched]
    start = notes["quarters"].astype(np.float64)
    end = start + notes["duration_ms"] / np.maximum(notes["quarter_ms"], 1.0)
    chords = label(unit[pitched], len(number), notes["pitch"].astype(np.int64), start, end, bounds)
    return chords[unit], np.append(chords[1:], NO_CHORD)[unit]


def _returns(piece: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    bars = int(piece["bar"].max()) + 1
    returns, level = np.full(bars, -1), np.full(bars, NO_RETURN)
    notes = piece[piece["channel"] != DRUMS]
    place = ticks(notes["quarters_in_bar"])
    sound = notes["channel"].astype(np.int64) * 128 + notes["pitch"]
    bucket = (place * 40503 + sound * 2654435) % _BUCKETS
    used, row = np.unique(notes["bar"], return_inverse=True)
    if len(used) < 2:
        return returns, level
    here = np.zeros((len(used), _BUCKETS), dtype=np.float32)
    here[row, bucket] = 1.0
    common = here @ here.T
    counts = here.sum(axis=1)
    likeness = common / np.maximum(counts[:, None] + counts[None] - common, 1.0)
    apart = used[:, None].astype(np.int64) - used[None]
    usable = (apart > 0) & (apart <= _FARTHEST) & (counts >= _FEWEST)[:, None] & (counts >= _FEWEST)[None]
    likeness = np.where(usable, likeness - 1e-4 * apart, 0.0)  # of several, the last one
    best = likeness.argmax(axis=1)
    reached = np.searchsorted(LIKENESS_LEVELS, likeness.max(axis=1), side="right") - 1
    found = reached >= 0
    returns[used[found]] = used[best[found]]
    level[used[found]] = reached[found]
    return returns, level
