"""What moderators may do. Everything they change is written to the audit log."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, select

from bot.jobs import audit
from bot.jobs.audit import AuditEntry
from bot.jobs.guilds import GuildState, limits_of, state_of, words_of
from bot.jobs.ledger import Ledger
from bot.jobs.limits import NAMES, RANGES, Limits
from bot.jobs.records import Job, JobState, Member
from bot.jobs.refusals import Reason, Refusal
from bot.jobs.tables import BlockedRow, GuildRow, JobRow, LimitRow, WordRow
from bot.jobs.texts import storable
from bot.jobs.transaction import Transaction
from bot.jobs.words import Words, check_word
from models.errors import InputError

__all__ = ["AuditEntry", "GuildState", "Moderation", "Status"]

MOST_WORDS = 500  # blocked in a guild
LONGEST_REASON = 500  # characters
PER_PAGE = 10  # audit entries
_SCOPE = re.compile(r"guild|(?:role|channel):[1-9][0-9]{0,18}")
_LARGEST_ID = 2**63 - 1


@dataclass(frozen=True)
class Status:
    jobs: Mapping[JobState, int]  # of the guild; all states are there
    guild: GuildState
    blocked: int  # members


class Moderation:
    """Raises Refusal (MODERATORS_ONLY before anything else), and LedgerError as the ledger does."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def limits(self, member: Member) -> dict[str, Limits]:
        """By scope: "guild", "role:<id>", "channel:<id>"."""
        _check(member)
        async with self._ledger.read() as session:
            return await limits_of(session, member.guild_id)

    async def set_limit(self, member: Member, scope: str, name: str, value: int | tuple[int, ...] | None) -> None:
        """Set a limit of a scope, or with None take it away. Holds from the next request on."""
        _check(member)
        _check_limit(scope, name, value)
        async with self._ledger.write() as transaction:
            session, key = transaction.session, (member.guild_id, scope, name)
            row = await session.get(LimitRow, key)
            before = row.value if row else None
            after = sorted(set(value)) if isinstance(value, tuple) else value
            if before == after:
                return
            if row is not None and after is None:
                await session.delete(row)
            elif row is not None:
                row.value = after
            else:
                session.add(LimitRow(guild_id=member.guild_id, scope=scope, name=name, value=after))
            _note(transaction, member, "limit", {"scope": scope, "name": name, "before": before, "after": after})

    async def pause(self, member: Member) -> None:
        """The guild's new jobs are refused, and none of those that wait is begun."""
        await self._set_mode(member, "pause", paused=True, draining=False)

    async def resume(self, member: Member) -> None:
        await self._set_mode(member, "resume", paused=False, draining=False)

    async def drain(self, member: Member) -> None:
        """The guild's new jobs are refused; those that wait are worked off."""
        await self._set_mode(member, "drain", paused=False, draining=True)

    async def state(self, guild_id: int) -> GuildState:
        async with self._ledger.read() as session:
            return await state_of(session, guild_id)

    async def set_moderator_role(self, member: Member, role_id: int | None) -> None:
        _check(member)
        if role_id is not None:
            _check_id(role_id)
        async with self._ledger.write() as transaction:
            row = await _guild(transaction, member.guild_id)
            before = row.moderator_role_id
            if before != role_id:
                row.moderator_role_id = role_id
                _note(transaction, member, "moderator_role", {"before": before, "after": role_id})

    async def cancel(self, member: Member, job_id: int | None) -> list[Job]:
        """Cancel a job of the guild, or with None all of its jobs that wait."""
        _check(member)
        async with self._ledger.write() as transaction:
            waiting = select(JobRow.id).where(JobRow.guild_id == member.guild_id, JobRow.state == JobState.QUEUED.value)
            wanted = [job_id] if job_id is not None else (
                await transaction.session.scalars(waiting.order_by(JobRow.id))).all()
            cancelled = []
            for one in wanted:
                row = await transaction.job(one)
                if row is None or row.guild_id != member.guild_id:
                    raise Refusal(Reason.NO_JOB, number=one)
                if not await transaction.cancel(row):
                    raise Refusal(Reason.OVER)
                cancelled.append(transaction.record(row))
            if cancelled:
                _note(transaction, member, "cancel", {"jobs": [job.id for job in cancelled]},
                      subject_id=cancelled[0].owner_id if job_id is not None else None)
            return cancelled

    async def block(self, member: Member, user_id: int, reason: str) -> None:
        """Refuse a member's jobs from now on; a second time the reason is replaced. At most 500 characters."""
        _check(member)
        _check_id(user_id)
        if len(reason) > LONGEST_REASON:
            raise Refusal(Reason.INVALID, text=f"a reason may have at most {LONGEST_REASON} characters, not {len(reason):,}")
        reason = storable(reason)
        async with self._ledger.write() as transaction:
            row = await transaction.session.get(BlockedRow, (member.guild_id, user_id))
            before = row.reason if row else None
            if before == reason:
                return
            if row is None:
                transaction.session.add(
                    BlockedRow(guild_id=member.guild_id, user_id=user_id, reason=reason, at=transaction.now))
            else:
                row.reason = reason
            _note(transaction, member, "block", {"member": user_id, "before": before, "after": reason}, subject_id=user_id)

    async def unblock(self, member: Member, user_id: int) -> None:
        _check(member)
        _check_id(user_id)
        async with self._ledger.write() as transaction:
            row = await transaction.session.get(BlockedRow, (member.guild_id, user_id))
            if row is not None:
                await transaction.session.delete(row)
                _note(transaction, member, "unblock", {"member": user_id, "before": row.reason}, subject_id=user_id)

    async def add_word(self, member: Member, word: str) -> None:
        """Refuse titles and artists with this word in them. One that is there already changes nothing."""
        _check(member)
        word = _checked(word)
        async with self._ledger.write() as transaction:
            words = await words_of(transaction.session, member.guild_id)
            if word.casefold() in (one.casefold() for one in words):
                return
            if len(words) >= MOST_WORDS:
                raise Refusal(Reason.INVALID, text=f"at most {MOST_WORDS} words can be blocked; remove one first")
            transaction.session.add(WordRow(guild_id=member.guild_id, word=word, at=transaction.now))
            _note(transaction, member, "add_word", {"word": word})

    async def remove_word(self, member: Member, word: str) -> None:
        """Allow a word again. One that is not in the list is refused as invalid."""
        _check(member)
        word = _checked(word)
        async with self._ledger.write() as transaction:
            words = await words_of(transaction.session, member.guild_id)
            found = [one for one in words if one.casefold() == word.casefold()]
            if not found:
                raise Refusal(Reason.INVALID, text="this word is not in the list")
            await transaction.session.execute(
                delete(WordRow).where(WordRow.guild_id == member.guild_id, WordRow.word.in_(found)))
            _note(transaction, member, "remove_word", {"word": found[0]})

    async def words(self, member: Member) -> list[str]:
        """The oldest first."""
        _check(member)
        async with self._ledger.read() as session:
            return await words_of(session, member.guild_id)

    async def test_word(self, member: Member, text: str) -> list[str]:
        """The blocked words for which a title or an artist would be refused."""
        return Words(await self.words(member)).found_in(text)

    async def audit(self, member: Member, page: int) -> tuple[list[AuditEntry], int]:
        """A page, from 1, of ten entries, the newest first, and how many pages there are. Beyond them: the last one."""
        _check(member)
        async with self._ledger.read() as session:
            _, total = await audit.entries(session, member.guild_id, offset=0, limit=1)
            pages = max(1, math.ceil(total / PER_PAGE))
            offset = (min(max(page, 1), pages) - 1) * PER_PAGE
            found, _ = await audit.entries(session, member.guild_id, offset=offset, limit=PER_PAGE)
            return found, pages

    async def status(self, member: Member) -> Status:
        _check(member)
        async with self._ledger.read() as session:
            counted = await session.execute(select(JobRow.state, func.count(JobRow.id)).where(
                JobRow.guild_id == member.guild_id).group_by(JobRow.state))
            jobs = dict.fromkeys(JobState, 0) | {JobState(state): number for state, number in counted.tuples()}
            blocked = await session.scalar(
                select(func.count()).select_from(BlockedRow).where(BlockedRow.guild_id == member.guild_id))
            return Status(jobs, await state_of(session, member.guild_id), blocked or 0)

    async def _set_mode(self, member: Member, action: str, *, paused: bool, draining: bool) -> None:
        _check(member)
        async with self._ledger.write() as transaction:
            row = await _guild(transaction, member.guild_id)
            before, after = (row.paused, row.draining), (paused, draining)
            if before == after:
                return
            row.paused, row.draining = paused, draining
            _note(transaction, member, action, {"before": _mode(*before), "after": _mode(*after)})
            # Their places and waits are others now, and whoever begins jobs has to look again.
            for job_id in await transaction.session.scalars(select(JobRow.id).where(
                    JobRow.guild_id == member.guild_id, JobRow.state == JobState.QUEUED.value)):
                transaction.changed(job_id)


def _check(member: Member) -> None:
    if not member.moderator:
        raise Refusal(Reason.MODERATORS_ONLY)


def _check_limit(scope: str, name: str, value: int | tuple[int, ...] | None) -> None:
    if not _SCOPE.fullmatch(scope):
        raise Refusal(Reason.INVALID, text="a limit is for the guild, a role or a channel")
    if name not in NAMES:
        raise Refusal(Reason.INVALID, text=f"there are limits for {', '.join(NAMES)}")
    if value is None:
        return
    if name == "channels":
        if scope.startswith("channel:"):
            raise Refusal(Reason.INVALID, text="allowed channels are set for the guild or a role")
        if not isinstance(value, tuple):
            raise Refusal(Reason.INVALID, text="channels is a list of channels")
        for channel_id in value:
            _check_id(channel_id)
    elif not isinstance(value, int) or isinstance(value, bool) or value not in RANGES[name]:
        raise Refusal(Reason.INVALID, text=f"{name} must be between {RANGES[name].start} and {RANGES[name].stop - 1}")


def _check_id(discord_id: int) -> None:
    if not 0 < discord_id <= _LARGEST_ID:
        raise Refusal(Reason.INVALID, text="this is not an id of Discord")


def _checked(word: str) -> str:
    try:
        return check_word(word)
    except InputError as error:
        raise Refusal(Reason.INVALID, text=str(error)) from error


async def _guild(transaction: Transaction, guild_id: int) -> GuildRow:
    row = await transaction.session.get(GuildRow, guild_id)
    if row is None:
        row = GuildRow(guild_id=guild_id, paused=False, draining=False)
        transaction.session.add(row)
    return row


def _note(
    transaction: Transaction, member: Member, action: str, details: Mapping[str, Any], *, subject_id: int | None = None,
) -> None:
    audit.note(transaction.session, transaction.now, member.guild_id, member.user_id, action, details, subject_id=subject_id)


def _mode(paused: bool, draining: bool) -> str:
    return "paused" if paused else "draining" if draining else "open"
