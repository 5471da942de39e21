"""The list of engines. It names their modules; one is imported when it is asked for, so no engine knows of the list."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path

from models.engines.audiocraft import published as audiocraft
from models.engines.musicgen.published import PUBLISHED, is_here
from models.errors import InputError
from models.interface.engine import Engine, Host, Kind

AUDIOCRAFT = "audiocraft"  # the process with an environment of its own
COMPOSED = "composed"  # what stands in for MusicGen where an operator allows it


@dataclass(frozen=True)
class Listed:
    """An engine that may be asked for by its name."""

    kind: Kind
    process: str  # engines of one process share a worker
    module: str  # its `load(name, model, host)` makes the engine; `model` is a folder, None: the engine's own
    follows: bool = False  # a melody
    installed: Callable[[Path], bool] = lambda data: True  # whether there is a model to load, as far as a look tells
    composer: str | None = None  # another engine that it has its notes from; `load` gets it as the fourth


ENGINES: dict[str, Listed] = {
    "pocket": Listed("midi", "compose", "models.engines.pocket.engine"),
    "la-composer": Listed("midi", "compose", "models.engines.la_composer.engine"),
    **{name: Listed("audio", "musicgen", "models.engines.musicgen.engine", about.melody, partial(is_here, name))
       for name, about in PUBLISHED.items()},
    COMPOSED: Listed("audio", "compose", "models.engines.composed.engine", composer="pocket"),
    **{name: Listed("audio", AUDIOCRAFT, "models.engines.audiocraft.engine", audiocraft.follows(name))
       for name in audiocraft.ENGINES},
}


def load_engine(name: str, model: Path | None, host: Host) -> Engine:
    """Load an engine by its name. Raises InputError for an unknown name, CheckpointError for a bad model."""
    if name not in ENGINES:
        raise InputError(f"there is no engine {name!r}; there are {', '.join(ENGINES)}")
    listed = ENGINES[name]
    composer = () if listed.composer is None else (load_engine(listed.composer, model, host),)
    engine: Engine = import_module(listed.module).load(name, model, host, *composer)
    return engine
