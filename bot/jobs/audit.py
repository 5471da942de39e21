"""The audit log: who changed what, from what to what. What members asked for is never in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from bot.jobs.tables import AuditRow, ReportRow

_IDS = ("job", "jobs", "take", "member", "role")  # details that name something and say nothing about it


@dataclass(frozen=True)
class AuditEntry:
    """One line of the log.

    Actions and their details: limit (scope, name, before, after); pause, resume, drain (before, after);
    moderator_role (before, after); cancel (jobs); block (member, before, after: reasons); unblock (member, before);
    add_word, remove_word (word); report (job, take, text); delete (job, member).
    """

    at: datetime
    user_id: int  # who did it
    action: str
    details: Mapping[str, Any]


def note(
    session: AsyncSession, at: datetime, guild_id: int, user_id: int, action: str, details: Mapping[str, Any], *,
    subject_id: int | None = None, report_id: int | None = None,
) -> None:
    """Write an entry; `subject_id` is the member it concerns, `report_id` where its text is kept."""
    session.add(AuditRow(at=at, guild_id=guild_id, user_id=user_id, subject_id=subject_id, action=action,
                         details=dict(details), report_id=report_id))


async def entries(session: AsyncSession, guild_id: int, *, offset: int, limit: int) -> tuple[list[AuditEntry], int]:
    """The newest first, and how many there are."""
    total = await session.scalar(select(func.count()).select_from(AuditRow).where(AuditRow.guild_id == guild_id))
    found = await session.execute(
        select(AuditRow, ReportRow.text).outerjoin(ReportRow, AuditRow.report_id == ReportRow.id)
        .where(AuditRow.guild_id == guild_id).order_by(AuditRow.id.desc()).offset(offset).limit(limit))
    return [_entry(row, text) for row, text in found.tuples()], total or 0


async def about(session: AsyncSession, user_id: int) -> list[AuditEntry]:
    """All by or about a member, the oldest first."""
    found = await session.execute(
        select(AuditRow, ReportRow.text).outerjoin(ReportRow, AuditRow.report_id == ReportRow.id)
        .where(_concerns(user_id)).order_by(AuditRow.id))
    return [_entry(row, text) for row, text in found.tuples()]


async def forget(session: AsyncSession, user_id: int) -> None:
    """Leave only ids in the entries about a member, and in reports by them."""
    for row in await session.scalars(select(AuditRow).where(
            or_(AuditRow.subject_id == user_id, (AuditRow.user_id == user_id) & AuditRow.report_id.is_not(None)))):
        row.details = {name: value for name, value in row.details.items() if name in _IDS}
        row.report_id = None


def _concerns(user_id: int) -> Any:
    return or_(AuditRow.user_id == user_id, AuditRow.subject_id == user_id)


def _entry(row: AuditRow, text: str | None) -> AuditEntry:
    return AuditEntry(row.at, row.user_id, row.action, row.details if text is None else {**row.details, "text": text})
