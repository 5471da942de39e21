"""What is kept about a member, as a file that they can read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import select

from bot.jobs import audit
from bot.jobs.ledger import Ledger
from bot.jobs.tables import BlockedRow, FavouriteRow, QuotaRow, ReportRow, TakeRow


async def of(ledger: Ledger, user_id: int) -> dict[str, Any]:
    """All of a member, in all guilds; JSON."""
    jobs = await ledger.jobs(owner_id=user_id)
    async with ledger.read() as session:
        favourites = (await session.execute(
            select(TakeRow.job_id, TakeRow.number, FavouriteRow.at).join(FavouriteRow, FavouriteRow.take_id == TakeRow.id)
            .where(FavouriteRow.user_id == user_id).order_by(TakeRow.job_id, TakeRow.number))).all()
        days = (await session.scalars(select(QuotaRow).where(QuotaRow.user_id == user_id).order_by(QuotaRow.day))).all()
        reports = (await session.scalars(
            select(ReportRow).where(ReportRow.user_id == user_id).order_by(ReportRow.id))).all()
        blocks = (await session.scalars(select(BlockedRow).where(BlockedRow.user_id == user_id))).all()
        entries = await audit.about(session, user_id)
    return {
        "user": str(user_id),
        "jobs": [_exported(asdict(job)) for job in jobs],
        "favourites": [{"job": job, "take": number, "at": at.isoformat()} for job, number, at in favourites],
        "quota": [{"guild": str(day.guild_id), "day": day.day.isoformat(), "jobs": day.jobs, "takes": day.takes,
                   "last_deleted_begun": day.begun_at.isoformat() if day.begun_at else None} for day in days],
        "reports": [{"job": report.job_id, "take": report.take, "text": report.text, "at": report.at.isoformat()}
                    for report in reports],
        "blocked": [{"guild": str(block.guild_id), "reason": block.reason, "at": block.at.isoformat()} for block in blocks],
        "audit": [_exported(asdict(entry)) for entry in entries],
    }


def _exported(fields: Mapping[str, Any]) -> dict[str, Any]:
    """JSON that browsers read exactly: ids of Discord as text, moments in ISO 8601."""
    return {name: _plain(name, value) for name, value in fields.items()}


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        return _exported(value)
    if isinstance(value, (list, tuple)):
        return [_plain(name, one) for one in value]
    if hasattr(value, "isoformat"):
        return value.isoformat()
    discord_id = name in ("guild_id", "channel_id", "thread_id", "owner_id", "user_id", "card_id", "message_id", "member")
    return str(value) if discord_id and value is not None else value
