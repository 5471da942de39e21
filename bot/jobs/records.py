"""What the ledger holds, as plain values: who asks, where, and jobs with their takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from models.interface.audio import FRAMES_PER_SECOND


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"  # a worker decodes it
    RENDERING = "rendering"  # all of its ids are made, sound and pictures are not
    DELIVERING = "delivering"  # all takes are in the spool, not all are posted
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def over(self) -> bool:
        return self in (JobState.DONE, JobState.FAILED, JobState.CANCELLED)

    @property
    def at_work(self) -> bool:
        """With the worker."""
        return self in (JobState.RUNNING, JobState.RENDERING)


class TakeState(StrEnum):
    PENDING = "pending"
    MADE = "made"  # its files are in the spool
    POSTED = "posted"
    EMPTY = "empty"  # holds no notes: nothing to post
    LOST = "lost"  # could not be posted: thread deleted, permission missing; its files stay in the spool


@dataclass(frozen=True)
class Member:
    """Who asks, as Discord said with the request."""

    guild_id: int
    user_id: int
    role_ids: tuple[int, ...] = ()
    moderator: bool = False  # Manage Server, or the guild's role for it
    language: str = "en"  # of LANGUAGES


@dataclass(frozen=True)
class Place:
    """Where a job was asked for and where its results go."""

    channel_id: int  # the channel; of a thread, its parent
    thread_id: int | None = None  # None: a thread is opened for it
    private: bool | None = False  # that thread; None: nobody knows


@dataclass(frozen=True)
class Sight:
    """Which jobs a member may see: their own, those of the place they ask in, and those that are public where they may read.

    Moderators see all of their guild. Where nobody knows whether a thread is private, it counts as one.
    """

    member: Member
    here: int | None  # channel or thread
    channels: frozenset[int]  # that they see
    threads: frozenset[int]  # that are known to be public

    def sees(self, job: Job) -> bool:
        member = self.member
        if member.moderator or member.user_id == job.owner_id or (job.thread_id is not None and job.thread_id == self.here):
            return True
        public = job.private is False or (job.private is None and (job.thread_id is None or job.thread_id in self.threads))
        return public and job.channel_id in self.channels


@dataclass(frozen=True)
class Job:
    id: int  # from 1; members see it as #1
    guild_id: int
    channel_id: int
    thread_id: int | None
    owner_id: int
    language: str
    kind: str  # of REQUESTS in bot.jobs.requests
    engine: str
    parameters: Mapping[str, Any]  # fields of the kind's request, JSON
    priority: int  # higher goes first
    parent_id: int | None  # the job whose button was pressed
    state: JobState
    attempt: int  # how many times a worker has taken it up; fences events of earlier ones
    strikes: float  # crashes while it ran alone
    alone: bool  # it shared a batch with a crash and is tried alone first
    failure: str | None  # code of FAILURES in bot.jobs.refusals
    outcome: Mapping[str, Any]  # what the engine planned: matched title, score, attributes, notices, forms
    card_id: int | None  # message that shows its status
    created_at: datetime  # UTC, as all others
    started_at: datetime | None
    ended_at: datetime | None
    takes: tuple[TakeRecord, ...] = ()
    inputs: Mapping[str, str] = field(default_factory=dict)  # files it works on: field of the request -> name in the spool
    told: bool = False  # its end was said where its owner sees it
    private: bool | None = None  # the thread in which it was asked for; None: nobody knows

    @property
    def seed(self) -> int:
        return int(self.parameters["seed"])

    @property
    def name(self) -> str:
        """The piece's name: title and artist, or the description, as asked for."""
        return " - ".join(str(self.parameters[key]) for key in ("title", "artist", "prompt") if self.parameters.get(key))

    @property
    def length(self) -> int:
        """Steps of decoding that each of its takes needs at most."""
        if "tokens" in self.parameters:
            return int(self.parameters["tokens"])
        return round(float(self.parameters["seconds"]) * FRAMES_PER_SECOND)


@dataclass(frozen=True)
class TakeRecord:
    job_id: int
    number: int  # from 1
    state: TakeState
    files: Mapping[str, str] = field(default_factory=dict)  # midi, sound, roll -> name in the job's spool folder
    seconds: float = 0.0
    notes: int = 0
    message_id: int | None = None
    favourites: int = 0  # members who marked it


@dataclass(frozen=True)
class Estimate:
    """How long a job will still wait, from speeds measured before; a range, since nobody knows."""

    least_s: float
    most_s: float


@dataclass(frozen=True)
class Removed:
    """A job that is not in the ledger any more, as it last was."""

    job: Job
    copies: tuple[tuple[int, int], ...]  # channel and message of takes that were posted again
    shared: bool  # other jobs were in its thread


@dataclass(frozen=True)
class Queued:
    """A job in the queue: its place from 1, and the wait if there is data for one."""

    job: Job
    place: int
    wait: Estimate | None
    paused: bool = False  # nothing is begun in its guild until a moderator says so
