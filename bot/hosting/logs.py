"""What is logged and how it looks: lines for people or JSON for programs, in UTC, without secrets."""

from __future__ import annotations

import json
import logging
import math
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import quote

MASK = "***"
_NAME = "kapelle"  # of our handler
# At info they tell of every request and every reconnection; at debug, of payloads.
_LIBRARIES = ("PIL", "aiohttp", "aiosqlite", "alembic", "asyncio", "discord", "sqlalchemy")
_SECRET_SHAPES = re.compile(
    r"""(?<![\w-])[\w-]{23,30}\.[\w-]{5,8}\.[\w-]{25,}  # a bot's token: three parts in base64
    | aW50ZXJhY3Rpb246[\w-]+  # an interaction's token begins so
    | (?<=/)(?P<kept>(?:webhooks|interactions)/\d+/)[\w-]{20,}  # the token of either, in an address
    | (?P<key>["']token["']\s*:\s*["'])[^"']+  # in a payload
    """, re.VERBOSE)
_OWN_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_CONTROLS = {number: ascii(chr(number))[1:-1] for number in (*range(32), *range(127, 160), 0x2028, 0x2029)}
_CONTROLS_IN_LINES = {number: shown for number, shown in _CONTROLS.items() if number != 10}
_job: ContextVar[int | None] = ContextVar("job", default=None)


@contextmanager
def job_context(job_id: int) -> Iterator[None]:
    """Whatever this task logs within the block, and tasks that it starts there, carries the number of the job."""
    before = _job.set(job_id)
    try:
        yield
    finally:
        _job.reset(before)


def set_up_logs(
    format: Literal["human", "json"], level: Literal["debug", "info", "warning", "error"], *, secrets: Iterable[str] = (),
) -> None:
    """Log to stderr from `level` on, with every one of `secrets`, and all that looks like a token of Discord, masked.

    Libraries are heard from warnings on, unless the level is debug. May be called again: the last call counts.
    """
    mask = _Mask(secrets)
    handler = _Handler()
    handler.setFormatter(_Json(mask) if format == "json" else _Human(mask))
    root = logging.getLogger()
    for old in [one for one in root.handlers if one.name == _NAME]:
        root.removeHandler(old)
    root.addHandler(handler)
    lowest = logging.getLevelNamesMapping()[level.upper()]
    root.setLevel(lowest)
    for library in _LIBRARIES:
        logging.getLogger(library).setLevel(lowest if level == "debug" else max(lowest, logging.WARNING))
    logging.captureWarnings(True)


class _Mask:
    """Takes secrets out of texts."""

    def __init__(self, secrets: Iterable[str]) -> None:
        # Also as they stand in addresses and in Python's notation; longer ones first, since one may be part of another.
        spelled = {spelling for one in secrets if one for spelling in (one, quote(one, safe=""), repr(one)[1:-1])}
        ordered = sorted(spelled, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def __call__(self, text: str) -> str:
        if self._known is not None:
            text = self._known.sub(MASK, text)
        return _SECRET_SHAPES.sub(lambda found: (found["kept"] or found["key"] or "") + MASK, text)

    def within(self, value: object) -> Any:
        """A value made fit for JSON, masked wherever text is."""
        if value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
            return value
        if isinstance(value, Mapping):
            return {self(str(key)): self.within(one) for key, one in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self.within(one) for one in value]
        return self(str(value))


class _Handler(logging.StreamHandler[Any]):
    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self.name = _NAME

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the name is logging's
        """The inherited one prints the arguments of the record as they are, secrets included."""
        error = type(sys.exc_info()[1]).__name__
        with suppress(OSError, ValueError):  # nobody listens any more
            self.stream.write(f"a line of {record.name} could not be logged ({error}), {record.pathname}:{record.lineno}\n")


class _Formatter(logging.Formatter):
    def __init__(self, mask: _Mask) -> None:
        super().__init__()
        self._mask = mask

    def _fields(self, record: logging.LogRecord) -> dict[str, Any]:
        """What was given as `extra`, with the job's number first."""
        extra = self._mask.within({name: value for name, value in vars(record).items() if name not in _OWN_FIELDS})
        job = extra.pop("job", _job.get())
        return extra if job is None else {"job": job, **extra}

    def _exception(self, record: logging.LogRecord) -> str:
        parts = [self.formatException(record.exc_info)] if record.exc_info else []
        parts += [self.formatStack(record.stack_info)] if record.stack_info else []
        return self._mask("\n".join(parts))


class _Human(_Formatter):
    """`2026-11-22 21:00:00Z INFO    bot.worker.dispatcher: job done [job=7]`, then the lines of an exception, indented."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC)
        fields = " ".join(f"{name}={value}" for name, value in self._fields(record).items())
        line = f"{self._mask(record.getMessage())} [{fields}]" if fields else self._mask(record.getMessage())
        # A line break in somebody's text would otherwise begin a line that looks like ours.
        line = f"{at:%Y-%m-%d %H:%M:%S}Z {record.levelname:7} {record.name}: {line.translate(_CONTROLS)}"
        exception = self._exception(record).translate(_CONTROLS_IN_LINES)
        return "\n    ".join((line, *exception.splitlines()))


class _Json(_Formatter):
    """One object a line: time, level, logger, message, job, what was given as extra, exception."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        entry = {"time": at, "level": record.levelname.lower(), "logger": record.name,
                 "message": self._mask(record.getMessage())}
        if exception := self._exception(record):
            entry["exception"] = exception
        return json.dumps({**self._fields(record), **entry}, ensure_ascii=False)
