"""What an engine is.

An engine is a plain synchronous object. It plans a request (what was matched, what will be asked
of the network, what the user should know), hands out sequences for its batcher, and turns
finished sequences into takes:

    plan = engine.plan(request)
    for sequence in engine.sequences(plan):
        engine.batcher.add(sequence)
    while engine.batcher.busy:
        for sequence in engine.batcher.step():
            take = engine.take(plan, sequence)

Sequences of several plans may share the batcher; they join and leave between steps.

Engines are of two kinds: those of the kind `midi` compose notes from a title (`models.interface.midi`), those of the
kind `audio` make sound from a description (`models.interface.audio`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from models.decoding.sequence import Sequence

Kind = Literal["midi", "audio"]


class Batches(Protocol):
    """What runs sequences; `models.decoding.batcher.Batcher` does it one id a step."""

    @property
    def busy(self) -> bool: ...

    def add(self, sequence: Sequence) -> None: ...

    def cancel(self, sequence: Sequence) -> None: ...

    def step(self) -> list[Sequence]: ...


class Engine(Protocol):
    """A loaded model that makes takes. Plans and takes are those of its kind (`Plan`, `AudioPlan`)."""

    name: str

    @property
    def batcher(self) -> Batches: ...

    def plan(self, request: Any) -> Any: ...

    def sequences(self, plan: Any) -> list[Sequence]: ...

    def take(self, plan: Any, sequence: Sequence) -> Any: ...


@dataclass(frozen=True)
class Host:
    """The machine that a model is loaded on."""

    data: Path  # folder of fetched models
    soundfont: Path | None = None
    device: str = "auto"  # cpu, cuda, or whichever there is
    precision: str = "auto"  # float32, bfloat16, int8, or what suits the device
    pocket_guidance: float = 2.0  # what the pocket model is held to; docs/decisions.md has what they do
    pocket_key_strength: float | None = None  # None, as below: what the engine has
    pocket_beat_strength: float | None = None
    pocket_chords: float | None = None
    pocket_returns: float | None = None
    pocket_line: float | None = None
    pocket_balance: float | None = None
    la_composer_playing: tuple[str, ...] = ()  # ranges, players, ending: what its takes are held to; none: as upstream
