"""Bar memory: what stood at the same place of earlier bars, as the pocket network is told it.

Each id is predicted with a view of the ids that stood in its stead one, two, four and eight bars ago, and in the bar
that this one brings back, where a plan names one. Places are told apart in 24ths of a quarter. Notes that
begin together are matched in the order they are written in, the highest first.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from models.engines.pocket.features import TICK_BINS
from models.music.vocabulary.los_angeles import DURATION, SIZE, TIME

LAGS = (1, 2, 4, 8)  # bars
SOURCES = len(LAGS) + 1  # the last is the bar that is brought back
LIKENESS_LEVELS = (0.3, 0.5, 0.75)  # least share of notes that a bar has in common with the one it brings back
NO_RETURN = -1
SLOTS = len(LAGS) + len(LIKENESS_LEVELS)  # kinds of sources: each lag, and each level of a return
NOTHING = SIZE  # stands for an id where there was none

MATCH_SPAN = 12  # notes over which it is counted how well a lag has matched
_FEWEST_MATCHED = 4
MATCH_EDGES = (0.1, 0.35, 0.65, 0.9)
MATCH_BINS = len(MATCH_EDGES) + 2  # the last: not known yet
MARKS = len(LAGS) + 1  # how well each lag has matched, and the slot of the return
_HAIR = 1e-3  # steps; half a step is rounded up, whatever its last digits are


def ticks(quarters: np.ndarray) -> np.ndarray:
    """Places in whole 24ths of a quarter."""
    return np.floor(np.asarray(quarters, dtype=np.float64) * TICK_BINS + 0.5).astype(np.int64)


def nothing(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Memory and marks of positions that have none."""
    marks = np.full((count, MARKS), MATCH_BINS - 1)
    marks[:, -1] = len(LAGS)
    return np.full((count, SOURCES), NOTHING), marks


def remember(
    place: np.ndarray, bar_ticks: np.ndarray, tick_steps: np.ndarray, ids: np.ndarray,
    back: np.ndarray, level: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Memory (3 * notes, sources) of what comes after each id of notes, and its marks (3 * notes, MARKS).

    For each note: its place from the beginning in ticks, the length of its bar in ticks, how many steps of time a tick
    has, its three ids (notes, 3), how many ticks ago the bar began that its own brings back, and the level of that
    (`NO_RETURN`: none). Row 3 * i is what is known after the T of note i, which is of its D; and so on.
    """
    count = len(place)
    memory, marks = nothing(3 * count)
    memory, marks = memory.reshape(count, 3, SOURCES), marks.reshape(count, 3, MARKS)
    place = np.maximum.accumulate(place)
    number = np.arange(count)
    in_chord = number - np.searchsorted(place, place, side="left")
    sounds = np.unique(place * SIZE + ids[:, 2])
    for source in range(SOURCES):
        if source < len(LAGS):
            away = LAGS[source] * bar_ticks
            usable = np.ones(count, dtype=bool)
        else:
            away, usable = back, level != NO_RETURN
            marks[:, :, -1] = np.where(usable, len(LAGS) + level, len(LAGS))[:, None]
        then = place - away
        usable = usable & (then >= place[0])
        low, high = np.searchsorted(place, then, side="left"), np.searchsorted(place, then, side="right")
        same = low + in_chord
        there = usable & (same < high)
        same = np.minimum(same, count - 1)
        memory[:, 0, source] = np.where(there, ids[same, 1], NOTHING)
        memory[:, 1, source] = np.where(there, ids[same, 2], NOTHING)
        later = np.minimum(high, count - 1)
        steps = np.rint((place[later] - then) * tick_steps + _HAIR).astype(np.int64)
        time = np.where(low + in_chord + 1 < high, TIME, TIME + np.clip(steps, 0, DURATION - TIME - 1))
        memory[:, 2, source] = np.where(usable & (away > 0), time, NOTHING)
        if source < len(LAGS):
            wanted = then * SIZE + ids[:, 2]
            at = np.minimum(np.searchsorted(sounds, wanted), len(sounds) - 1)
            right = np.concatenate(([0], np.cumsum(usable & (sounds[at] == wanted))))
            asked = np.concatenate(([0], np.cumsum(usable)))
            since = np.maximum(np.arange(count + 1) - MATCH_SPAN, 0)
            of = asked - asked[since]
            share = (right - right[since]) / np.maximum(of, 1)
            bin_ = np.where(of >= _FEWEST_MATCHED, np.searchsorted(MATCH_EDGES, share, side="right"), MATCH_BINS - 1)
            marks[:, :2, source] = bin_[:-1, None]
            marks[:, 2, source] = bin_[1:]
    return memory.reshape(3 * count, SOURCES), marks.reshape(3 * count, MARKS)


class Source(NamedTuple):
    """The bar that is brought back: how many ticks ago it began, how much alike it is to be, and what becomes of its P."""

    away: int
    level: int
    moved: Callable[[int], int] | None = None  # P id -> P id or NOTHING; None: they stay


class BarMemory:
    """The same, id by id, for a piece that is being made. Lags and returns are in bars of one length."""

    NOTHING = tuple(part[0] for part in nothing(1))

    def __init__(self, bar_ticks: int, tick_steps: float, source: Callable[[], Source | None]) -> None:
        """`source` says what the bar of the last note brings back."""
        self._lags = tuple(lag * bar_ticks for lag in LAGS)
        self._tick_steps, self._source = tick_steps, source
        self._places: list[int] = []  # of the notes, in ticks
        self._durations: list[int] = []
        self._pitches: list[int] = []
        self._sounds: set[int] = set()
        self._asked: list[deque[int]] = [deque(maxlen=MATCH_SPAN) for _ in LAGS]
        # Of the last notes: 1 matched, 0 did not, -1 had nothing to match.
        self._found: list[tuple[int, int, int, bool]] = []  # of each source: ticks then, first and last note there, usable
        self._moved: Callable[[int], int] | None = None
        self._memory, self._marks = (part.copy() for part in self.NOTHING)

    @property
    def next(self) -> tuple[np.ndarray, np.ndarray]:
        """Memory (sources,) and marks (MARKS,) for the id that comes next."""
        return self._memory, self._marks

    def returning(self) -> tuple[list[int], int]:
        """What the bar that is brought back has where the last note stands: all its P ids, and the T to what comes after.

        Without such a bar: none, and NOTHING.
        """
        then, low, high, usable = self._found[-1]
        if not usable or then == self._places[-1]:
            return [], NOTHING
        pitches = self._pitches[low:high]
        if self._moved is not None:
            pitches = [moved for id_ in pitches if (moved := self._moved(id_)) != NOTHING]
        return pitches, self._time_after(then, high)

    def _time_after(self, then: int, high: int) -> int:
        steps = round((self._places[min(high, len(self._places) - 1)] - then) * self._tick_steps + _HAIR)
        return TIME + min(max(steps, 0), DURATION - TIME - 1)

    def hear(self, id_: int, kind: int, place: int) -> None:
        """An id, its kind, and the place of its note in ticks from the beginning."""
        if kind == 0:
            self._look(place)
        elif kind == 1:
            self._durations.append(id_)
            self._recall(self._pitches, self._moved)
        else:
            self._judge(id_)
            self._pitches.append(id_)
            self._sounds.add(self._places[-1] * SIZE + id_)
            self._recall_times()

    def _look(self, place: int) -> None:
        places = self._places
        place = max(place, places[-1]) if places else place
        self._in_chord = len(places) - bisect_left(places, place)
        places.append(place)
        source = self._source()
        self._moved = source.moved if source else None
        away = (*self._lags, source.away if source else 0)
        self._found = []
        for number, ticks_ago in enumerate(away):
            then = place - ticks_ago
            usable = then >= places[0] and (number < len(LAGS) or source is not None)
            low = bisect_left(places, then) if usable else 0
            self._found.append((then, low, bisect_right(places, then, low) if usable else 0, usable))
        marks = self._marks.copy()
        marks[-1] = len(LAGS) + source.level if source else len(LAGS)
        self._marks = marks
        self._recall(self._durations, None)

    def _recall(self, heard: list[int], moved: Callable[[int], int] | None) -> None:
        nth = self._in_chord
        self._memory = np.array([
            heard[low + nth] if usable and low + nth < high else NOTHING for _, low, high, usable in self._found])
        if moved is not None and self._memory[-1] != NOTHING:
            self._memory[-1] = moved(int(self._memory[-1]))

    def _recall_times(self) -> None:
        nth, places = self._in_chord, self._places
        memory = []
        for number, (then, low, high, usable) in enumerate(self._found):
            if not usable or (number == len(LAGS) and then == places[-1]):
                memory.append(NOTHING)
            elif low + nth + 1 < high:
                memory.append(TIME)
            else:
                memory.append(self._time_after(then, high))
        self._memory = np.array(memory)

    def _judge(self, pitch: int) -> None:
        """Count whether each lag has matched."""
        marks = self._marks.copy()
        for lag, asked in enumerate(self._asked):
            then, _, _, usable = self._found[lag]
            asked.append((1 if then * SIZE + pitch in self._sounds else 0) if usable else -1)
            of = len(asked) - asked.count(-1)
            marks[lag] = bisect_right(MATCH_EDGES, asked.count(1) / of) if of >= _FEWEST_MATCHED else MATCH_BINS - 1
        self._marks = marks

