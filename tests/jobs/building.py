"""Members, jobs and a clock for the tests of the ledger and what stands on it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from bot.jobs.changes import Listener
from bot.jobs.ledger import Ledger
from bot.jobs.limits import Limits
from bot.jobs.records import Job, JobState, Member, Place, Queued
from bot.jobs.refusals import Refusal
from bot.jobs.service import JobService

GUILD = 1_100_000_000_000_000_001  # as large as Discord's ids are
CHANNEL = 1_100_000_000_000_000_002
ANNA = Member(GUILD, 1_100_000_000_000_000_010, language="de")
BEN = Member(GUILD, 1_100_000_000_000_000_011)
TEACHER = Member(GUILD, 1_100_000_000_000_000_012, moderator=True)
STRANGER = Member(GUILD + 77, 1_100_000_000_000_000_013, moderator=True)  # of another guild


class Clock:
    """Stands still until it is moved."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def __call__(self) -> datetime:
        return self.at

    def move(self, **time: float) -> None:
        self.at += timedelta(**time)


async def no_files(job_id: int) -> None: ...


async def kept_nowhere(job_id: int, name: str, contents: bytes) -> None: ...


def service_of(ledger: Ledger, **changed: Any) -> JobService:
    return JobService(ledger, changed.pop("machine", Limits()), changed.pop("engines", ("pocket",)),
                      remove_files=changed.pop("remove_files", no_files),
                      keep_file=changed.pop("keep_file", kept_nowhere),
                      free_bytes=changed.pop("free_bytes", lambda: 10**12), **changed)


async def ask(service: JobService, member: Member = ANNA, *, channel_id: int = CHANNEL, **parameters: Any) -> Queued:
    wanted = {"title": "Clair de lune", "takes": 2, **parameters}
    return await service.submit("midi", "pocket", wanted, member, Place(channel_id))


async def refused(awaitable: Any) -> Refusal:
    """The refusal it ends in."""
    try:
        answer = await awaitable
    except Refusal as refusal:
        return refusal
    raise AssertionError(f"was not refused: {answer!r}")


def heard(listener: Listener) -> set[int]:
    """The numbers of jobs that changed since it was asked last."""
    numbers = set(listener._heard)
    listener._heard.clear()
    listener._news.clear()
    return numbers


def job(number: int, owner_id: int = 1, **changed: Any) -> Job:
    """A job that was never in a ledger."""
    parameters = {"title": "x", "takes": 2, "tokens": 512, "seed": 0, "stop_at_end": False} | changed.pop("parameters", {})
    fields: dict[str, Any] = {
        "guild_id": GUILD, "channel_id": CHANNEL, "thread_id": None, "language": "en", "kind": "midi", "engine": "pocket",
        "priority": 0, "parent_id": None, "state": JobState.QUEUED, "attempt": 0, "strikes": 0.0, "alone": False,
        "failure": None, "outcome": {}, "card_id": None, "created_at": datetime(2026, 1, 1, tzinfo=UTC),
        "started_at": None, "ended_at": None, "inputs": {}}
    return Job(id=number, owner_id=owner_id, parameters=parameters, **(fields | changed))
