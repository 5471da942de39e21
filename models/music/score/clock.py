"""Ticks and milliseconds: two clocks over one tempo map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.music.score.notes import Tempo


class ExactClock:
    """Ticks to milliseconds and back by the tempo map.

    `tempos` are sorted by tick, start at tick 0 and have tempos above 0.
    """

    def __init__(self, tempos: Sequence[Tempo], ticks_per_quarter: int) -> None:
        self._ticks = np.array([tempo.tick for tempo in tempos], dtype=np.int64)
        self._ms_per_tick = np.array([tempo.us_per_quarter for tempo in tempos]) / (1000 * ticks_per_quarter)
        self._ms = np.concatenate(([0.0], np.cumsum(np.diff(self._ticks) * self._ms_per_tick[:-1])))

    def ms(self, ticks: np.ndarray) -> np.ndarray:
        """Milliseconds from the start of ticks, any shape."""
        segment = np.searchsorted(self._ticks, ticks, side="right") - 1
        return np.asarray(self._ms[segment] + (ticks - self._ticks[segment]) * self._ms_per_tick[segment])

    def ticks(self, ms: np.ndarray) -> np.ndarray:
        """The whole ticks nearest to milliseconds, any shape."""
        segment = np.searchsorted(self._ms, ms, side="right") - 1
        return np.rint(self._ticks[segment] + (ms - self._ms[segment]) / self._ms_per_tick[segment]).astype(np.int64)


class SeedClock:
    """The seed system's clock: rounded steps between the ticks that carry events, added up.

    It knows the `event_ticks` it was made for (sorted, each once) and no others. Its elapsed time is
    itself a running sum, and a step of exactly half a millisecond goes up or down with the last bit
    of that sum, so the order of the additions is part of the result.
    """

    def __init__(self, tempos: Sequence[Tempo], ticks_per_quarter: int, event_ticks: np.ndarray) -> None:
        self._event_ticks = event_ticks
        tempo_ticks = np.array([tempo.tick for tempo in tempos], dtype=np.int64)
        ms_per_tick = np.array([tempo.us_per_quarter for tempo in tempos]) / (1000 * ticks_per_quarter)
        stops = np.union1d(tempo_ticks, event_ticks)
        before = np.concatenate(([0], stops[:-1]))
        elapsed = np.cumsum((stops - before) * ms_per_tick[np.searchsorted(tempo_ticks, before, side="right") - 1])
        steps = np.diff(elapsed[np.searchsorted(stops, event_ticks)], prepend=0.0)
        self._event_ms = np.cumsum(np.rint(steps))  # rint: half to even

    def ms(self, ticks: np.ndarray) -> np.ndarray:
        """Whole milliseconds from the start of event ticks."""
        return np.asarray(self._event_ms[np.searchsorted(self._event_ticks, ticks)])
