"""What a batcher is where a library makes a whole take in one call: calls of it, one after the other, on a thread.

Sequences of one plan share a call; others wait until it has ended. A step never takes longer than `LONGEST_STEP_S`,
whatever the call is at, so that whoever drives this one stays responsive.
"""

from __future__ import annotations

import signal
import threading
from collections import deque
from collections.abc import Callable
from collections.abc import Sequence as Listed
from dataclasses import dataclass
from typing import Any

from models.decoding.sequence import Sequence, State

LONGEST_STEP_S = 0.05


@dataclass(eq=False)
class CalledSequence(Sequence):
    """A sequence whose ids are there all at once, at its end."""

    share: float = 0.0  # of the call that is done, 0..1
    content: Any = None  # what the call returned for it

    @property
    def progress(self) -> float:
        return 1.0 if self.state is State.FINISHED else self.share


class StoppedError(Exception):
    """Nobody waits for what is being made any more. Raised within a call, to end it."""


Tell = Callable[[float], None]
Make = Callable[[Any, Listed[int], Tell], Listed[Any]]


class Calls:
    """Runs sequences in the order they were added: those that share a `condition` together, one call at a time.

    `make` is called on another thread with the condition, the numbers of the takes and a function to tell which
    share of the work is done; it returns one content a take. That function raises StoppedError once all takes of
    the call are cancelled, so a call ends when it next tells.
    """

    def __init__(self, make: Make) -> None:
        self._make = make
        self._waiting: deque[CalledSequence] = deque()
        self._call: _Call | None = None
        self._dying: threading.Thread | None = None  # of a call whose takes are all cancelled

    @property
    def busy(self) -> bool:
        return bool(self._waiting or self._call)

    @property
    def running(self) -> Listed[Sequence]:
        return tuple(self._call.live) if self._call else ()

    def add(self, sequence: Sequence) -> None:
        assert isinstance(sequence, CalledSequence)
        self._waiting.append(sequence)

    def cancel(self, sequence: Sequence) -> None:
        """Stop a sequence. Nothing happens to one that has ended."""
        if sequence.state is State.WAITING and sequence in self._waiting:
            self._waiting.remove(sequence)  # type: ignore[arg-type]  # it is one of them
        elif sequence.state is not State.RUNNING:
            return
        sequence.state = State.CANCELLED
        if self._call and not self._call.live:
            self._dying, self._call = self._call.thread, None

    def step(self) -> list[Sequence]:
        """Wait a moment for what runs, or start the next call; returns the sequences that have ended.

        Raises what a call has raised; its sequences are cancelled then.
        """
        if self._dying:
            self._dying.join(LONGEST_STEP_S)
            if self._dying.is_alive():
                return []
            self._dying = None
        if self._call is None:
            if not self._waiting:
                return []
            self._call = _Call(self._make, self._together())
        call = self._call
        call.thread.join(LONGEST_STEP_S)
        if call.thread.is_alive():
            return []
        self._call = None
        ended: list[Sequence] = []
        for sequence, content in zip(call.sequences, call.contents or [None] * len(call.sequences), strict=True):
            if sequence.state is State.RUNNING:
                sequence.content = content
                sequence.state = State.CANCELLED if call.error else State.FINISHED
                ended.append(sequence)
        if call.error:
            raise call.error
        return ended

    def _together(self) -> list[CalledSequence]:
        """The first one that waits, and those that share its call."""
        first = self._waiting[0]
        found = [one for one in self._waiting if one.condition is first.condition]
        self._waiting = deque(one for one in self._waiting if one.condition is not first.condition)
        return found


class _Call:
    def __init__(self, make: Make, sequences: list[CalledSequence]) -> None:
        self.sequences = sequences
        self.contents: Listed[Any] | None = None
        self.error: BaseException | None = None
        for sequence in sequences:
            sequence.state = State.RUNNING
        self.thread = threading.Thread(target=self._run, args=(make,), name="audiocraft", daemon=True)
        self.thread.start()

    @property
    def live(self) -> list[CalledSequence]:
        return [one for one in self.sequences if one.state is State.RUNNING]

    def _run(self, make: Make) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})  # they are to wake the main thread
        try:
            self.contents = make(self.sequences[0].condition, [one.take for one in self.sequences], self._tell)
        except StoppedError:
            pass
        except BaseException as error:  # raised again by `step`, on the thread that asked
            self.error = error

    def _tell(self, share: float) -> None:
        live = self.live
        if not live:
            raise StoppedError
        for sequence in live:
            sequence.share = min(max(share, sequence.share), 1.0)
