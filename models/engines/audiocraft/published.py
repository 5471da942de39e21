"""The models that Meta publishes for audiocraft, and the engines made of them. Imports neither torch nor audiocraft."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

PREFIX = "audiocraft-"
DEBUG = "debug"  # untrained, and made on the spot: shows that the runtime works
DIFFUSION = "-mbd"  # behind the name of a MusicGen: decoded by MultiBand Diffusion
PUBLISHER = "facebook"
LICENCE = "CC-BY-NC-4.0"  # of all the weights

NEWEST = "1.3.0"  # on PyPI; without MusicGen-Style and JASCO

Family = Literal["MusicGen", "AudioGen", "MAGNeT", "JASCO"]


@dataclass(frozen=True)
class Published:
    """A model as Meta publishes it: `state_dict.bin` and `compression_state_dict.bin`."""

    family: Family  # class of `audiocraft.models`
    newer: bool = False  # than the audiocraft that PyPI has


MODELS: Mapping[str, Published] = {
    **{f"musicgen-{size}": Published("MusicGen") for size in (
        "small", "medium", "large", "melody", "melody-large",
        "stereo-small", "stereo-medium", "stereo-large", "stereo-melody", "stereo-melody-large")},
    "musicgen-style": Published("MusicGen", newer=True),
    "audiogen-medium": Published("AudioGen"),
    **{name: Published("MAGNeT") for name in (
        "magnet-small-10secs", "magnet-medium-10secs", "magnet-small-30secs", "magnet-medium-30secs",
        "audio-magnet-small", "audio-magnet-medium")},
    **{f"jasco-chords-drums-{size}": Published("JASCO", newer=True) for size in ("400M", "1B", "melody-400M", "melody-1B")},
}

# What may be asked for by name; JASCO is left out, since a request has no chords and no drums
ENGINES = (
    PREFIX + DEBUG,
    *(PREFIX + name + way for name, model in MODELS.items() if model.family == "MusicGen" for way in ("", DIFFUSION)),
    *(PREFIX + name for name, model in MODELS.items() if model.family in ("AudioGen", "MAGNeT")),
)


def follows(engine: str) -> bool:
    """Whether an engine takes a sound file beside the prompt: for its melody, or for its style."""
    return any(word in engine for word in ("melody", "style"))


def why_not(name: str) -> str | None:
    """One line about why a model of Meta's, with or without the prefix, is not to be had; None for any other name."""
    name = name.removeprefix(PREFIX)
    if name not in MODELS or MODELS[name].family != "JASCO":
        return None
    return (f"{name} needs an audiocraft newer than {NEWEST}, which PyPI does not have, and chords and drums, "
            "which cannot be asked for yet; choose another model")


def model_of(engine: str) -> tuple[str, bool]:
    """Name of an engine's model, and whether it is decoded by MultiBand Diffusion."""
    name = engine.removeprefix(PREFIX)
    return name.removesuffix(DIFFUSION), name.endswith(DIFFUSION)
