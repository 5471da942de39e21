"""What a guild's moderators have set, read inside a transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from bot.jobs.limits import RANGES, Limits
from bot.jobs.tables import BlockedRow, GuildRow, LimitRow, WordRow


@dataclass(frozen=True)
class GuildState:
    paused: bool = False  # refuses new jobs and begins none
    draining: bool = False  # refuses new jobs and works off the rest
    moderator_role_id: int | None = None


async def state_of(session: AsyncSession, guild_id: int) -> GuildState:
    row = await session.get(GuildRow, guild_id)
    return GuildState(row.paused, row.draining, row.moderator_role_id) if row else GuildState()


async def limits_of(session: AsyncSession, guild_id: int) -> dict[str, Limits]:
    """By scope; scopes without a limit are left out."""
    values: dict[str, dict[str, Any]] = {}
    for row in await session.scalars(select(LimitRow).where(LimitRow.guild_id == guild_id).order_by(LimitRow.scope)):
        values.setdefault(row.scope, {})[row.name] = tuple(row.value) if isinstance(row.value, list) else _within(row)
    return {scope: Limits(**named) for scope, named in values.items()}


def _within(row: LimitRow) -> int:
    """The number of a limit; one that was set before there were ranges counts as the nearest that is possible."""
    allowed = RANGES[row.name]
    return min(max(int(row.value), allowed.start), allowed.stop - 1)


async def words_of(session: AsyncSession, guild_id: int) -> list[str]:
    """Blocked words, the oldest first."""
    return list(await session.scalars(
        select(WordRow.word).where(WordRow.guild_id == guild_id).order_by(WordRow.at, WordRow.word)))


async def is_blocked(session: AsyncSession, guild_id: int, user_id: int) -> bool:
    return await session.get(BlockedRow, (guild_id, user_id)) is not None
