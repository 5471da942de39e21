"""A continuous batcher: sequences join and leave between steps and share one network.

It knows no music and no network; a decoder does the work for whatever ids an engine has.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence as Listed
from typing import Any, Protocol

from models.decoding.sequence import Sequence, State


class Decoder(Protocol):
    """Makes the next id of each running sequence."""

    def fits(self, sequence: Sequence) -> bool:
        """Whether there is room for one more."""
        ...

    def join(self, sequence: Sequence) -> None:
        """Read the prime; from the next draw on the sequence is among the running ones.

        Where this raises, nothing is left of the sequence.
        """
        ...

    def draw(self, sequences: Listed[Sequence]) -> Listed[Any]:
        """The next id of each running sequence, in the order given."""
        ...

    def leave(self, sequence: Sequence) -> None:
        """Forget a sequence and make its room free."""
        ...

    def advance(self, sequences: Listed[Sequence]) -> None:
        """Feed the last id of each running sequence to the network."""
        ...


class Batcher:
    """Runs sequences in the order they were added, as many at once as the decoder has room for.

    `joins_per_step` bounds how many primes are read between two steps, so that those who are
    running are not held up by a crowd at the door.
    """

    def __init__(self, decoder: Decoder, joins_per_step: int = 4) -> None:
        self._decoder = decoder
        self._joins_per_step = joins_per_step
        self._waiting: deque[Sequence] = deque()
        self._running: list[Sequence] = []

    @property
    def busy(self) -> bool:
        return bool(self._waiting or self._running)

    @property
    def running(self) -> Listed[Sequence]:
        return tuple(self._running)

    def add(self, sequence: Sequence) -> None:
        self._waiting.append(sequence)

    def cancel(self, sequence: Sequence) -> None:
        """Stop a sequence; its room is free from the next step on. Nothing happens to one that has ended."""
        if sequence.state is State.WAITING:
            self._waiting.remove(sequence)
        elif sequence.state is State.RUNNING:
            self._leave(sequence)
        else:
            return
        sequence.state = State.CANCELLED

    def step(self) -> list[Sequence]:
        """Let sequences join, make one id for each that is running; returns those that have ended.

        Raises ValueError when the next one does not fit even though nothing runs: it never will; and what the
        decoder raises. One that could not join still waits, until it is cancelled.
        """
        for _ in range(self._joins_per_step):
            if not self._waiting or not self._decoder.fits(self._waiting[0]):
                break
            sequence = self._waiting[0]
            self._decoder.join(sequence)
            self._waiting.popleft()
            sequence.state = State.RUNNING
            self._running.append(sequence)
        if self._waiting and not self._running:
            raise ValueError("a sequence needs more room than the decoder has")
        ended = []
        for sequence, drawn in zip(self._running, self._decoder.draw(self._running), strict=True):
            if drawn != sequence.stop_id:
                sequence.ids.append(drawn)
            if drawn == sequence.stop_id or len(sequence.ids) >= sequence.length:
                ended.append(sequence)
        for sequence in ended:
            self._leave(sequence)
            sequence.state = State.FINISHED
        if self._running:
            self._decoder.advance(self._running)
        return ended

    def _leave(self, sequence: Sequence) -> None:
        self._running.remove(sequence)
        self._decoder.leave(sequence)
