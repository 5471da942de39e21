"""News of jobs: that something changed, not what; the truth is in the ledger."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator


class Changes:
    """Passes on the numbers of jobs that changed to everyone who listens. Belongs to one event loop."""

    def __init__(self) -> None:
        self._listeners: set[Listener] = set()

    def publish(self, job_id: int) -> None:
        for listener in self._listeners:
            listener.hear(job_id)

    def listen(self) -> Listener:
        """Hears from now on, until it is closed."""
        listener = Listener(self._listeners)
        self._listeners.add(listener)
        return listener


class Listener:
    """An iterator over jobs that changed; a job that changed twice before anyone asked comes once."""

    def __init__(self, listeners: set[Listener]) -> None:
        self._listeners = listeners
        self._heard: dict[int, None] = {}  # in the order of their news
        self._news = asyncio.Event()

    def hear(self, job_id: int) -> None:
        self._heard[job_id] = None
        self._news.set()

    async def __aiter__(self) -> AsyncIterator[int]:
        while True:
            await self._news.wait()
            job_id = next(iter(self._heard))
            del self._heard[job_id]
            if not self._heard:
                self._news.clear()
            yield job_id

    def close(self) -> None:
        self._listeners.discard(self)
