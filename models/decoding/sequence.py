"""One take on its way through a batcher."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class State(Enum):
    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"
    CANCELLED = "cancelled"


@dataclass(eq=False)
class Sequence:
    """What to continue and how, and the ids made so far.

    An id is a number; for MusicGen it is what one step makes, a tuple with one code of each codebook.
    The noise of an id depends on seed, take and its place alone, so a sequence comes out the same
    whatever shares the batch with it.
    """

    prime: tuple[Any, ...]
    length: int  # ids to make
    seed: int
    take: int
    temperature: float = 1.0  # 0: always the likeliest, where the engine takes it
    top_k: int = 283
    top_p: float = 0.0  # above 0 it replaces top_k
    stop_id: int | None = None  # ends the sequence; not part of it
    guidance: float = 1.0  # above 1: follow the condition more than the network would
    condition: Any = None  # the decoder's own
    ids: list[Any] = field(default_factory=list)  # made so far, without the prime
    state: State = State.WAITING

    @property
    def progress(self) -> float:
        """Share of the ids that are made, 0..1; 1 once it has ended."""
        return 1.0 if self.state is State.FINISHED else len(self.ids) / self.length
