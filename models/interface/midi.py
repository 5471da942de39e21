"""Music of notes: what may be asked for, how an engine understood it, and what came of it."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from models.errors import InputError
from models.music.attributes import Attributes
from models.music.form.plan import FormPlan
from models.music.score.notes import Score

TOKENS = range(32, 2048 + 1)
TAKES = range(1, 16 + 1)
TEMPERATURES = (0.1, 1.5)
SEEDS = range(2**32)
BARS = range(1, 512 + 1)
LONGEST_TITLE = 80


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
    stop_at_end: bool = False  # a piece may end before its tokens are used up; where an engine plans pieces it always may
    continuation: Path | None = None  # a MIDI file that is carried on; tokens are those that come to it
    bars: int | None = None  # 1..512, of what is made; None: as many as the tokens fill

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
        if self.bars is not None and self.bars not in BARS:
            raise InputError(f"bars must be between {BARS.start} and {BARS.stop - 1}, not {self.bars}")
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
    """A request as an engine understood it. Raises InputError where bars are asked of an engine that plans none."""

    request: ComposeRequest
    engine: str
    matched_title: str | None  # as in the title list, "Song --- Artist"
    matched_score: float | None  # 0..100
    attributes: Attributes
    sources: Mapping[str, str] = field(default_factory=dict)  # attribute -> where it is from
    forms: tuple[FormPlan, ...] = ()  # of each take, where the engine plans them
    prime: tuple[int, ...] = ()
    steering: Any = None  # the engine's own
    notices: tuple[str, ...] = ()  # what the user should know, one line each

    def __post_init__(self) -> None:
        if self.request.bars is not None and not self.forms:
            raise InputError(f"{self.engine} plans no bars; leave out how many, or choose an engine that does")


@dataclass(frozen=True)
class Take:
    """One piece: its ids with the prime in front, and what they sound like."""

    number: int  # from 1
    ids: tuple[int, ...]
    prime_length: int  # ids
    score: Score
    prime_seconds: float | None  # where the prime ends; None when it holds no notes
