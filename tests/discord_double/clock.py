"""Discord's time: the double's own clock, and the ids that carry its time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

EPOCH_MS = 1_420_070_400_000  # 2015-01-01, from which snowflakes count
T = TypeVar("T")


class Clock:
    """Seconds since 1970, running with the machine; a test may move it forward."""

    def __init__(self) -> None:
        self._ahead_s = 0.0
        self.advanced: list[Callable[[], None]] = []  # what happens by itself as time goes by

    def now(self) -> float:
        return time.time() + self._ahead_s

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass for Discord alone; the bot's own clock stays."""
        self._ahead_s += seconds
        for happen in self.advanced:
            happen()


class Snowflakes:
    """Ids as Discord makes them: 42 bits of milliseconds, then worker, process and a counter; always growing."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._last = 0

    def next(self, *, age_s: float = 0.0) -> int:
        """A fresh id, or one of something `age_s` seconds old."""
        milliseconds = int((self._clock.now() - age_s) * 1000) - EPOCH_MS
        made = milliseconds << 22 | 1 << 17
        if age_s:
            return made | (self._last & 0xFFF)
        self._last = max(made, self._last + 1)
        return self._last


def made_at(snowflake: int) -> float:
    """The second since 1970 at which an id was made."""
    return ((snowflake >> 22) + EPOCH_MS) / 1000


def iso(seconds: float) -> str:
    """A time as Discord writes it: ISO 8601 with microseconds and offset."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")


class Changes:
    """Wakes whoever waits for a state of the double."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def announce(self) -> None:
        self._event.set()
        self._event = asyncio.Event()

    async def wait_for(self, predicate: Callable[[], T | None], timeout_s: float) -> T:
        """The first true value of `predicate`; TimeoutError after `timeout_s` seconds.

        Asked again at every change, and four times a second for what changes outside the double.
        """
        deadline = time.monotonic() + timeout_s
        while not (value := predicate()):
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise TimeoutError(f"not within {timeout_s} s")
            event = self._event
            try:
                await asyncio.wait_for(event.wait(), min(left_s, 0.25))
            except TimeoutError:
                continue
        return value
