"""When a job's status card is edited: seldom enough for Discord, often enough for whoever waits."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import discord

from bot.jobs.records import JobState

EDIT_EVERY_S = 3.0
LIVE_A_STEP = 5  # so many live jobs may be edited every EDIT_EVERY_S; twice as many half as often
LEAST_S = 2.0  # between any two edits of one message
OLDEST = timedelta(minutes=55)  # Discord limits edits of messages older than an hour


def interval_s(live: int) -> float:
    """Seconds between edits of a card while `live` jobs have one that changes."""
    return EDIT_EVERY_S * max(1, math.ceil(live / LIVE_A_STEP))


def too_old(message_id: int, now: datetime | None = None) -> bool:
    """Whether a message is not to be edited any more."""
    return (now or datetime.now(UTC)) - discord.utils.snowflake_time(message_id) > OLDEST


class CardPace:
    """What one card shows, and when it may be changed. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._content: str | None = None
        self._state: JobState | None = None
        self._touched: float | None = None

    def shown(self, content: str, state: JobState) -> None:
        """The card was just posted or edited, and says this."""
        self._content, self._state, self._touched = content, state, self._clock()

    def touched(self) -> None:
        """The card may just have been changed, whatever became of the answer."""
        self._touched = self._clock()

    def found(self) -> None:
        """There is a card from before, of which nobody knows what it says or when it was edited."""
        if self._touched is None:
            self._touched = self._clock()

    def due_in_s(self, content: str, state: JobState, live: int) -> float:
        """Seconds until the card may say this: 0 for now, infinity where it says so already.

        Turns of the job (from waiting to work, its end) are shown sooner than progress.
        """
        if content == self._content and (state is self._state or not state.over):  # its end brings the buttons
            return math.inf
        if self._touched is None:
            return 0.0
        if state.over:
            pause_s = LEAST_S
        elif state is not self._state:
            pause_s = EDIT_EVERY_S
        else:
            pause_s = interval_s(live)
        return max(0.0, self._touched + pause_s - self._clock())
