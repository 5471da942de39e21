"""What MusicGen can be asked for."""

from __future__ import annotations

import math
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from models.errors import InputError

FRAMES_PER_SECOND = 50
WINDOW_SECONDS = 30.0  # what the published networks were trained on
SECONDS = (1.0, 120.0)
TAKES = range(1, 4 + 1)
SEEDS = range(2**32)
TEMPERATURES = (0.0, 2.0)
TOP_K = range(2048 + 1)
GUIDANCES = (0.0, 100.0)
STRIDES = (1.0, 29.0)
LEAST_NEW_SECONDS = 0.5  # behind what is carried on
LONGEST_PROMPT = 500  # characters; the text encoder reads a few hundred pieces of words


@dataclass(frozen=True)
class AudioRequest:
    """A description, optionally a melody to follow or a sound to carry on, and how to make takes of them.

    Raises InputError when something is out of range; the message names the range.
    """

    prompt: str  # 1..500 characters
    seconds: float = 10.0  # of each take, what it carries on included; 1..120
    takes: int = 1  # 1..4
    temperature: float = 1.0  # 0..2; 0: always the likeliest
    top_k: int = 250  # 0: off
    top_p: float = 0.0  # 0..1; 0: off, above 0 it replaces top-k
    guidance: float = 3.0  # 0..100; 1: none
    seed: int = 0  # 0..2**32 - 1
    stride: float = 18.0  # seconds by which the window of 30 s moves on in longer takes
    video: bool = False  # also an MP4 with the waveform
    melody: Path | None = None  # a sound file whose melody is followed
    continuation: Path | None = None  # a sound file that is carried on

    def __post_init__(self) -> None:
        if not self.prompt.strip():
            raise InputError("describe the music in a few words")
        if len(self.prompt) > LONGEST_PROMPT:
            raise InputError(f"the prompt may have at most {LONGEST_PROMPT} characters, not {len(self.prompt):,}")
        if any(unicodedata.category(character) == "Cc" for character in self.prompt):
            raise InputError("the prompt may not contain control characters")
        for name, value, allowed in (("takes", self.takes, TAKES), ("top-k", self.top_k, TOP_K), ("seed", self.seed, SEEDS)):
            if value not in allowed:
                raise InputError(f"{name} must be between {allowed.start} and {allowed.stop - 1}, not {value}")
        for name, number, (low, high) in (
                ("seconds", self.seconds, SECONDS), ("temperature", self.temperature, TEMPERATURES),
                ("top-p", self.top_p, (0.0, 1.0)), ("guidance", self.guidance, GUIDANCES), ("stride", self.stride, STRIDES)):
            if not (math.isfinite(number) and low <= number <= high):
                raise InputError(f"{name} must be between {low:g} and {high:g}, not {number:g}")

    @property
    def frames(self) -> int:
        return round(self.seconds * FRAMES_PER_SECOND)

    @property
    def name(self) -> str:
        """What the piece is called: what was asked for."""
        return self.prompt.strip()

    @property
    def length(self) -> int:
        """Steps of decoding that a take needs, but for the few that the delay of its codebooks adds."""
        return self.frames

    @property
    def size(self) -> str:
        """How long a take is to be, in words."""
        return f"{self.seconds:g} s"

    @property
    def most_seconds(self) -> float:
        return self.seconds


def carried_on_seconds(there: float, asked: float) -> float:
    """How much of the end of a sound of `there` seconds a take of `asked` seconds carries on.

    All of it where something new comes behind it, and else half of what was asked for.
    """
    return there if there <= asked - LEAST_NEW_SECONDS else asked / 2


@dataclass(frozen=True)
class AudioPlan:
    """A request as an engine understood it."""

    request: AudioRequest
    engine: str
    licence: str = ""  # of the weights, such as CC-BY-NC-4.0
    notices: tuple[str, ...] = ()  # what the user should know, one line each
    condition: Any = None  # the engine's own


@dataclass(frozen=True)
class AudioTake:
    """One take that is decoded and no sound yet."""

    number: int  # from 1
    content: Any  # what the engine makes the sound of
    given_seconds: float = 0.0  # at its beginning, of what was carried on


class AudioEngine(Protocol):
    """What an engine of the kind `audio` has beside those of `models.interface.engine.Engine`."""

    rate_hz: int

    def sound(self, plan: AudioPlan, take: AudioTake) -> np.ndarray:
        """Samples of a take, float32 (frames, channels). Called beside the decoding, on another thread."""
        ...
