"""What is written to the ledger together, and rows of it as records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import selectinload

from bot.jobs import quota
from bot.jobs.records import Job, JobState, TakeRecord, TakeState
from bot.jobs.refusals import Failure
from bot.jobs.tables import EventRow, JobRow, TakeRow

_NOT_CHARGED_TO_US = frozenset({Failure.REFUSED})
_LARGEST_JOB_ID = 2**31 - 1


@dataclass
class Transaction:
    """Changes that are written together or not at all. Jobs named as changed are published afterwards."""

    session: AsyncSession
    now: datetime
    touched: dict[int, None] = field(default_factory=dict)
    entered: list[JobState] = field(default_factory=list)

    async def job(self, job_id: int) -> JobRow | None:
        """A job to be changed, with its takes."""
        return await row_of(self.session, job_id)

    def changed(self, job_id: int) -> None:
        self.touched[job_id] = None

    def enter(self, row: JobRow, state: JobState) -> None:
        """Bring a job into a state."""
        row.state = state.value
        row.started_at = self.now if state is JobState.RUNNING else None if state is JobState.QUEUED else row.started_at
        row.ended_at = self.now if state.over else None
        self.session.add(EventRow(job_id=row.id, state=state.value, at=self.now))
        self.entered.append(state)
        self.changed(row.id)

    async def cancel(self, row: JobRow) -> bool:
        """Whether it was not over yet. Quota is given back where it waited."""
        state = JobState(row.state)
        if state.over:
            return False
        if state is JobState.QUEUED:
            await quota.give_back(self.session, row)
        self.enter(row, JobState.CANCELLED)
        return True

    async def fail(self, row: JobRow, failure: Failure, text: str = "") -> None:
        """Quota is given back unless the engine refused it; `text` is outcome["failure"]."""
        row.failure = failure.value
        if text:
            row.outcome = {**row.outcome, "failure": text}
        if failure not in _NOT_CHARGED_TO_US:
            await quota.give_back(self.session, row)
        self.enter(row, JobState.FAILED)

    def record(self, row: JobRow) -> Job:
        return record_of(row, self.now, row.takes)


async def row_of(session: AsyncSession, job_id: int) -> JobRow | None:
    if not 0 < job_id <= _LARGEST_JOB_ID:  # drivers would stumble over it
        return None
    found = await session.scalars(select(JobRow).where(JobRow.id == job_id).options(selectinload(JobRow.takes)))
    return found.first()


async def at_work(transaction: Transaction, job_id: int, attempt: int, *states: JobState) -> JobRow | None:
    """The job, if this attempt is its present one and it is in one of the states."""
    row = await transaction.job(job_id)
    return row if row and row.attempt == attempt and row.state in states else None


def take_of(row: JobRow | None, number: int) -> TakeRow | None:
    return next((take for take in row.takes if take.number == number), None) if row else None


def strikes_of(row: JobRow | Row[Any], now: datetime) -> float:
    """Strikes halve with every whole hour since the last one."""
    if row.struck_at is None:
        return row.strikes
    return float(row.strikes * 0.5 ** max(0, (now - row.struck_at).total_seconds() // 3600))


def record_of(row: JobRow | Row[Any], now: datetime, takes: Sequence[TakeRow | Row[Any]]) -> Job:
    return Job(
        id=row.id, guild_id=row.guild_id, channel_id=row.channel_id, thread_id=row.thread_id, owner_id=row.owner_id,
        language=row.language, kind=row.kind, engine=row.engine, parameters=row.parameters, inputs=row.inputs,
        priority=row.priority, parent_id=row.parent_id, state=JobState(row.state), attempt=row.attempt,
        strikes=strikes_of(row, now), alone=row.alone, failure=row.failure, outcome=row.outcome, card_id=row.card_id,
        private=row.private,
        created_at=row.created_at, started_at=row.started_at, ended_at=row.ended_at, told=row.told,
        takes=tuple(TakeRecord(
            job_id=row.id, number=take.number, state=TakeState(take.state), files=take.files, seconds=take.seconds,
            notes=take.notes, message_id=take.message_id, favourites=take.favourites or 0) for take in takes))
