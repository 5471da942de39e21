"""What an engine is, what it is asked for and what it makes; and the list of engines there are.

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

Engines are of two kinds: those of the kind `midi` compose notes from a title, those of the kind `audio` make
sound from a description.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from models.decoding.sequence import Sequence
from models.errors import InputError
from models.musicgen import audiocraft_models
from models.musicgen.published import PUBLISHED, is_here
from models.pocket.attributes import Attributes
from models.score.notes import Score

if TYPE_CHECKING:
    from models.pocket.engine import PocketEngine

TOKENS = range(32, 2048 + 1)
TAKES = range(1, 16 + 1)
TEMPERATURES = (0.1, 1.5)
SEEDS = range(2**32)
LONGEST_TITLE = 80
AUDIOCRAFT = "audiocraft"  # the process with an environment of its own
COMPOSED = "composed"  # what stands in for MusicGen where an operator allows it


@dataclass(frozen=True)
class ComposeRequest:
    """A title and an artist (either may be empty, not both), and how to make takes of them.

    Raises InputError when something is out of range; the message names the range.
    """

    title: str
    artist: str = ""
    tokens: int = 512  # three to a note, 32..2048
    takes: int = 4  # 1..16
    temperature: float = 0.9  # 0.1..1.5
    seed: int = 0  # 0..2**32 - 1
    stop_at_end: bool = False  # a piece may end before its tokens are used up
    continuation: Path | None = None  # a MIDI file that is carried on; tokens are those that come to it

    def __post_init__(self) -> None:
        if not self.title.strip() and not self.artist.strip():
            raise InputError("give a title, an artist, or both")
        for name, text in (("title", self.title), ("artist", self.artist)):
            if len(text) > LONGEST_TITLE:
                raise InputError(f"the {name} may have at most {LONGEST_TITLE} characters, not {len(text):,}")
            if any(unicodedata.category(character) == "Cc" for character in text):
                raise InputError(f"the {name} may not contain control characters")
        for name, value, allowed in (("tokens", self.tokens, TOKENS), ("takes", self.takes, TAKES),
                                     ("seed", self.seed, SEEDS)):
            if value not in allowed:
                raise InputError(f"{name} must be between {allowed.start} and {allowed.stop - 1}, not {value}")
        low, high = TEMPERATURES
        if not (math.isfinite(self.temperature) and low <= self.temperature <= high):
            raise InputError(f"temperature must be between {low} and {high}, not {self.temperature}")

    @property
    def name(self) -> str:
        """What the piece is called: title and artist."""
        return " - ".join(text.strip() for text in (self.title, self.artist) if text.strip())

    @property
    def length(self) -> int:
        """Steps of decoding that a take needs at most."""
        return self.tokens

    @property
    def size(self) -> str:
        """How long a take is to be, in words."""
        return f"{self.tokens} tokens"

    @property
    def most_seconds(self) -> float:
        """A generous guess of how long a take plays: three ids a note, and most music has more than two notes a second."""
        return self.tokens * 0.25


@dataclass(frozen=True)
class Plan:
    """A request as an engine understood it."""

    request: ComposeRequest
    engine: str
    matched_title: str | None  # as in the title list, "Song --- Artist"
    matched_score: float | None  # 0..100
    attributes: Attributes
    sources: Mapping[str, str] = field(default_factory=dict)  # attribute -> where it is from
    prime: tuple[int, ...] = ()
    steering: Any = None  # the engine's own
    notices: tuple[str, ...] = ()  # what the user should know, one line each


@dataclass(frozen=True)
class Take:
    """One piece: its ids with the prime in front, and what they sound like."""

    number: int  # from 1
    ids: tuple[int, ...]
    prime_length: int  # ids
    score: Score
    prime_seconds: float | None  # where the prime ends; None when it holds no notes


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
    pocket_key_strength: float = 1.0
    pocket_beat_strength: float = 4.0


Kind = Literal["midi", "audio"]


@dataclass(frozen=True)
class Listed:
    """An engine that may be asked for by its name."""

    kind: Kind
    process: str  # engines of one process share a worker
    load: Callable[[Path | None, Host], Engine]  # a model folder; None: the engine's own
    follows: bool = False  # a melody
    installed: Callable[[Path], bool] = lambda data: True  # whether there is a model to load, as far as a look tells


def _pocket(model: Path | None, host: Host) -> PocketEngine:
    from models.pocket.engine import PocketEngine
    return PocketEngine.load(
        model, guidance=host.pocket_guidance, key_strength=host.pocket_key_strength,
        beat_strength=host.pocket_beat_strength)


def _la_composer(model: Path | None, host: Host) -> Engine:
    from models.la_composer.engine import LaComposerEngine
    return LaComposerEngine.load(model or host.data / "la-composer")


def _musicgen(name: str) -> Callable[[Path | None, Host], Engine]:
    def load(model: Path | None, host: Host) -> Engine:
        import torch

        from models.musicgen.engine import MusicgenEngine
        device = ("cuda" if torch.cuda.is_available() else "cpu") if host.device == "auto" else host.device
        precision = ("bfloat16" if device == "cuda" else "float32") if host.precision == "auto" else host.precision
        return MusicgenEngine.load(model or host.data / name, name=name, device=device, dtype=precision)

    return load


def _audiocraft(name: str) -> Callable[[Path | None, Host], Engine]:
    def load(model: Path | None, host: Host) -> Engine:
        from models.musicgen.audiocraft_runtime import AudiocraftEngine
        return AudiocraftEngine.load(name, model, data=host.data, device=host.device)

    return load


def _composed(model: Path | None, host: Host) -> Engine:
    from models.musicgen.composed import ComposedEngine
    return ComposedEngine(_pocket(model, host), host.soundfont)


ENGINES: dict[str, Listed] = {
    "pocket": Listed("midi", "compose", _pocket),
    "la-composer": Listed("midi", "compose", _la_composer),
    **{name: Listed("audio", "musicgen", _musicgen(name), about.melody, partial(is_here, name))
       for name, about in PUBLISHED.items()},
    COMPOSED: Listed("audio", "compose", _composed),
    **{name: Listed("audio", AUDIOCRAFT, _audiocraft(name), audiocraft_models.follows(name))
       for name in audiocraft_models.ENGINES},
}


def load_engine(name: str, model: Path | None, host: Host) -> Engine:
    """Load an engine by its name. Raises InputError for an unknown name, CheckpointError for a bad model."""
    if name not in ENGINES:
        raise InputError(f"there is no engine {name!r}; there are {', '.join(ENGINES)}")
    return ENGINES[name].load(model, host)
