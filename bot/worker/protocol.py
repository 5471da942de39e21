"""What bot and worker say to each other: one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from bot.takes.spool import Made


@dataclass(frozen=True)
class Start:
    """Make the takes of a job, but for those named in `made`, which are in its folder already."""

    job: int
    attempt: int
    kind: str  # "midi", "audio"
    engine: str
    parameters: Mapping[str, Any]
    folder: str  # name of the job's folder in the spool
    made: tuple[int, ...] = ()
    inputs: Mapping[str, str] = field(default_factory=dict)  # field of the request -> name in the folder


@dataclass(frozen=True)
class Cancel:
    job: int


@dataclass(frozen=True)
class Stop:
    """End the running step, then the process; jobs are left as they are."""


Order = Start | Cancel | Stop


@dataclass(frozen=True)
class Ready:
    """A worker process has begun to listen."""

    pid: int
    engines: tuple[str, ...]  # that are loaded


@dataclass(frozen=True)
class Loading:
    """An engine is being loaded, or has been, well or not."""

    engine: str
    over: bool = False


@dataclass(frozen=True)
class Planned:
    job: int
    attempt: int
    outcome: Mapping[str, Any]  # matched_title, matched_score, attributes, notices, forms in short


@dataclass(frozen=True)
class Progress:
    job: int
    attempt: int
    shares: tuple[float, ...]  # of each take, 0..1
    ids: int  # made so far, all takes together


@dataclass(frozen=True)
class Rendering:
    """All ids of the job are made."""

    job: int
    attempt: int
    seconds: float  # of decoding


@dataclass(frozen=True)
class Finished:
    """All takes of the job are made."""

    job: int
    attempt: int


@dataclass(frozen=True)
class Failed:
    job: int
    attempt: int
    failure: str  # of bot.jobs.refusals.Failure
    text: str  # one line


@dataclass(frozen=True)
class Cancelled:
    job: int


@dataclass(frozen=True)
class Died:
    """The worker process has ended without being told to; said by the transport, not by the worker."""

    exit_code: int | None
    jobs: tuple[int, ...]  # that were sent to it and not finished
    decoding: tuple[int, ...]  # those of them that it had begun
    loading: str | None = None  # the engine that was being loaded


Event = Ready | Loading | Planned | Progress | Made | Rendering | Finished | Failed | Cancelled | Died
_KINDS: dict[str, type[Any]] = {
    kind.__name__: kind for kind in (
        Start, Cancel, Stop, Ready, Loading, Planned, Progress, Made, Rendering, Finished, Failed, Cancelled, Died)}


def to_line(message: Order | Event) -> bytes:
    return json.dumps({"is": type(message).__name__, **asdict(message)}, ensure_ascii=True).encode() + b"\n"


def from_line(line: bytes) -> Any:
    """The message of a line. Raises ValueError for anything else."""
    try:
        fields = json.loads(line)
        kind = _KINDS[fields.pop("is")]
        return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a message: {line[:80]!r}") from error
