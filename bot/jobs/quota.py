"""Quota: jobs and takes of a member in a guild and a day (UTC), taken and given back inside a transaction."""

from __future__ import annotations

from datetime import date, timedelta

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

from bot.jobs.records import TakeState
from bot.jobs.tables import JobRow, QuotaRow

_KEPT = timedelta(days=7)  # nobody waits longer for something to be given back


async def used(session: AsyncSession, guild_id: int, user_id: int, day: date) -> tuple[int, int]:
    """Jobs and takes."""
    row = await session.get(QuotaRow, (guild_id, user_id, day))
    return (row.jobs, row.takes) if row else (0, 0)


async def charge(session: AsyncSession, job: JobRow, day: date) -> None:
    """Take a job and its takes from its owner's quota; once a job."""
    await session.execute(delete(QuotaRow).where(QuotaRow.day < day - _KEPT))
    row = await session.get(QuotaRow, (job.guild_id, job.owner_id, day))
    if row is None:
        row = QuotaRow(guild_id=job.guild_id, user_id=job.owner_id, day=day, jobs=0, takes=0)
        session.add(row)
    row.jobs += 1
    row.takes += int(job.parameters["takes"])
    job.charged_on = day


async def give_back(session: AsyncSession, job: JobRow) -> None:
    """Undo `charge`, on the day it was for, but for takes that were posted. A second time does nothing."""
    if job.charged_on is None:
        return
    row = await session.get(QuotaRow, (job.guild_id, job.owner_id, job.charged_on))
    if row is not None:
        posted = sum(take.state == TakeState.POSTED for take in job.takes)
        row.jobs -= 0 if posted else 1
        row.takes -= int(job.parameters["takes"]) - posted
    job.charged_on = None


async def keep_turn(session: AsyncSession, job: JobRow) -> None:
    """Before a job is deleted: that its owner had a turn still counts in the queue's order."""
    if job.started_at is None:
        return
    row = await session.get(QuotaRow, (job.guild_id, job.owner_id, job.created_at.date()))
    if row is not None and (row.begun_at is None or row.begun_at < job.started_at):
        row.begun_at = job.started_at
