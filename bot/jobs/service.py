"""What members may do with jobs."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from bot.jobs import audit, export, quota, requests
from bot.jobs.guilds import is_blocked, limits_of, state_of, words_of
from bot.jobs.ledger import Ledger, LedgerError, Line
from bot.jobs.limits import Limits, Quota, effective
from bot.jobs.queue import order
from bot.jobs.records import Estimate, Job, JobState, Member, Place, Queued, Removed, Sight, TakeState
from bot.jobs.refusals import Reason, Refusal
from bot.jobs.tables import FavouriteRow, JobRow, QuotaRow, ReportRow, TakeRow
from bot.jobs.texts import storable
from bot.jobs.transaction import Transaction
from bot.jobs.waiting import estimate
from bot.jobs.words import Words
from bot.takes.shelf import space_needed
from bot.takes.spool import INPUT
from models.engines.registry import COMPOSED, ENGINES
from models.interface.midi import ComposeRequest

LONGEST_REPORT = 1000  # characters
_TAPPED_TWICE = timedelta(seconds=5)  # a second tap within it means the same
_ACTIVE = (JobState.QUEUED, JobState.RUNNING, JobState.RENDERING)  # "at once"
_NOT_OVER = (*_ACTIVE, JobState.DELIVERING)


class JobService:
    """Accepts jobs and lets members see and change theirs. Raises Refusal, and LedgerError as the ledger does.

    `jobs_at_once` are those a worker has at a time; `remove_files` removes what is in the spool of a job, `keep_file`
    writes to it, `free_bytes` is the space left there. `installed` says whether an engine's model is on this machine.
    """

    def __init__(
        self, ledger: Ledger, machine: Limits, engines: Sequence[str], *, remove_files: Callable[[int], Awaitable[None]],
        keep_file: Callable[[int, str, bytes], Awaitable[None]], free_bytes: Callable[[], int],
        installed: Callable[[str], bool] = lambda engine: True, moderators_first: bool = True, longest_queue: int = 500,
        jobs_at_once: int = 8,
    ) -> None:
        self._ledger = ledger
        self._machine = machine
        self._engines = tuple(engines)
        self._remove_files = remove_files
        self._keep_file = keep_file
        self._free_bytes = free_bytes
        self._installed = installed
        self._moderators_first = moderators_first
        self._longest_queue = longest_queue
        self._jobs_at_once = jobs_at_once
        self._ordered: tuple[Line, list[Job]] | None = None

    async def submit(
        self, kind: str, engine: str | None, parameters: Mapping[str, Any], member: Member, place: Place, *,
        parent_id: int | None = None, inputs: Mapping[str, bytes] | None = None, once: bool = False,
    ) -> Queued:
        """Accept a job, or raise Refusal. All checks, the quota and the job itself are one transaction.

        `once`: where the member asked for the same within the last seconds, but for the seed, it is that job: a second tap.

        Takes, tokens and seconds that are not asked for are the usual ones, or as many as the limits allow where that is
        less, and so is the engine. `inputs` are the contents of files that the job works on, by their names in the request.
        """
        free_bytes = await asyncio.to_thread(self._free_bytes)
        async with self._ledger.write() as transaction:
            await self._check_guild(transaction.session, parameters, member)
            limits, rules = await self._limits(transaction.session, member, place.channel_id)
            request = requests.read(kind, parameters, limits)
            if once and (tapped := await _tapped_before(transaction, kind, requests.parameters_of(request), member, parent_id)):
                return Queued(tapped, 0, None)
            engine = self._engine(kind, engine, follows="melody" in (inputs or {}))
            if engine == COMPOSED and inputs:
                raise Refusal(Reason.NO_MELODY, engine=engine, there_are=False)
            if free_bytes < space_needed(request.takes, request.most_seconds) + sum(map(len, (inputs or {}).values())):
                raise Refusal(Reason.FULL_DISK)
            await self._check_limits(transaction, request, member, place, limits, rules)
            if parent_id is not None:
                parent = await transaction.job(parent_id)
                if parent is None or parent.guild_id != member.guild_id:
                    raise Refusal(Reason.NO_JOB, number=parent_id)
            row = JobRow(
                guild_id=member.guild_id, channel_id=place.channel_id, thread_id=place.thread_id, private=place.private,
                owner_id=member.user_id, language=member.language, kind=kind, engine=engine,
                parameters=requests.parameters_of(request), inputs={name: f"{INPUT}{name}" for name in inputs or {}},
                priority=int(member.moderator and self._moderators_first), parent_id=parent_id, created_at=transaction.now,
                state=JobState.QUEUED.value, takes=[
                    TakeRow(number=number, state=TakeState.PENDING.value) for number in range(1, request.takes + 1)])
            transaction.session.add(row)
            await transaction.session.flush()  # it gets its number
            transaction.enter(row, JobState.QUEUED)
            await quota.charge(transaction.session, row, transaction.now.date())
            await self._keep(row, inputs or {})
            job = transaction.record(await transaction.job(row.id) or row)  # read back with all that belongs to it
        try:  # from here on it is accepted, whatever cannot be looked up
            return await self.place(job.id) or Queued(job, 0, None)
        except LedgerError:
            return Queued(job, 0, None)

    async def check(self, member: Member, parameters: Mapping[str, Any]) -> None:
        """Whether the member may ask here at all, as `submit` finds out too. Raises Refusal."""
        async with self._ledger.read() as session:
            await self._check_guild(session, parameters, member)

    def _engine(self, kind: str, asked: str | None, *, follows: bool) -> str:
        """The engine for a job: the one asked for, or the first that can do it; `follows`: a melody."""
        offered = tuple(name for name in self._engines if ENGINES[name].kind == kind)
        if not offered:
            raise Refusal(Reason.NO_AUDIO)
        if asked is not None and asked not in offered:
            raise Refusal(Reason.NO_ENGINE, engine=asked, engines=offered)
        able = [name for name in offered if ENGINES[name].follows or not follows]
        if not able or (asked is not None and asked not in able):
            raise Refusal(Reason.NO_MELODY, engine=asked or offered[0], there_are=bool(able))
        here = [name for name in able if self._installed(name)]
        if asked is None:
            asked = (here or able)[0]
        if asked not in here:
            raise Refusal(Reason.NO_WEIGHTS, engine=asked)
        return asked

    async def _keep(self, job: JobRow, inputs: Mapping[str, bytes]) -> None:
        """Files are there before the job is. Those of one that does not come to be are removed when the bot starts."""
        try:
            for name, contents in inputs.items():
                await self._keep_file(job.id, job.inputs[name], contents)
        except OSError as error:
            await self._remove_files(job.id)
            raise Refusal(Reason.FULL_DISK) from error

    async def cancel(self, job_id: int, member: Member) -> Job:
        """Cancel an own job; moderators any of their guild."""
        async with self._ledger.write() as transaction:
            row = await _own(transaction, job_id, member)
            if not await transaction.cancel(row):
                raise Refusal(Reason.OVER)
            if row.owner_id != member.user_id:
                audit.note(transaction.session, transaction.now, member.guild_id, member.user_id, "cancel",
                           {"jobs": [job_id]}, subject_id=row.owner_id)
            return transaction.record(row)

    async def mine(self, member: Member) -> list[Queued]:
        """The member's jobs in the guild that are not over, the oldest first; place 0: at work or being posted."""
        jobs = await self._ledger.jobs(*_NOT_OVER, guild_id=member.guild_id, owner_id=member.user_id, with_takes=False)
        return [await self._queued(job) for job in jobs]

    async def place(self, job_id: int) -> Queued | None:
        """Where a job stands; place 0: at work or being posted. None where it is over or was deleted."""
        job = await self._ledger.job(job_id)
        return None if job is None or job.state.over else await self._queued(job)

    async def quota(self, member: Member, channel_id: int) -> Quota:
        async with self._ledger.read() as session:
            limits, rules = await self._limits(session, member, channel_id)
            jobs, takes = await quota.used(session, member.guild_id, member.user_id, self._ledger.now().date())
            return Quota(limits, rules, jobs, takes, await _active(session, member))

    async def history(
        self, sight: Sight, *, whole_class: bool, page: int, per_page: int = 8,
    ) -> tuple[list[Job], int]:
        """A page, from 1, of the newest jobs that are seen, and how many pages there are. Beyond them: the nearest one."""
        member = sight.member
        owner_id = None if whole_class else member.user_id
        count = await self._ledger.count(guild_id=member.guild_id, owner_id=owner_id, sight=sight)
        pages = max(1, math.ceil(count / per_page))
        offset = (min(max(page, 1), pages) - 1) * per_page
        jobs = await self._ledger.jobs(
            guild_id=member.guild_id, owner_id=owner_id, newest_first=True, limit=per_page, offset=offset, sight=sight)
        return jobs, pages

    async def job(self, job_id: int, member: Member) -> Job:
        """A job of the member's guild; any other is refused as if it were not there."""
        job = await self._ledger.job(job_id)
        if job is None or job.guild_id != member.guild_id:
            raise Refusal(Reason.NO_JOB, number=job_id)
        return job

    async def favourite(self, job_id: int, number: int, member: Member) -> bool:
        """Mark a take, or take the mark away; whether it is marked now."""
        await self._check_take(job_id, number, member)
        return await self._ledger.toggle_favourite(job_id, number, member.user_id)

    async def report(self, job_id: int, number: int | None, member: Member, text: str) -> None:
        """Tell the moderators, by the audit log, about a job or one of its takes. Text: at most 1,000 characters."""
        if len(text) > LONGEST_REPORT:
            raise Refusal(Reason.INVALID, text=f"a report may have at most {LONGEST_REPORT:,} characters, not {len(text):,}")
        job = await self._check_take(job_id, number, member)
        async with self._ledger.write() as transaction:
            report = ReportRow(guild_id=job.guild_id, job_id=job.id, take=number, user_id=member.user_id,
                               text=storable(text), at=transaction.now)
            transaction.session.add(report)
            await transaction.session.flush()
            audit.note(transaction.session, transaction.now, job.guild_id, member.user_id, "report",
                       {"job": job.id, "take": number}, subject_id=job.owner_id, report_id=report.id)

    async def delete(self, job_id: int, member: Member) -> Job:
        """Cancel a job if need be, and forget it with prompt, takes and files; of its owner or by a moderator.

        Gives it as it last was. Quota is given back only where it waited.
        """
        async with self._ledger.write() as transaction:
            row = await _own(transaction, job_id, member)
            await transaction.cancel(row)
            job = transaction.record(await transaction.job(row.id) or row)  # read back with all that belongs to it
        await self._remove_files(job_id)
        async with self._ledger.write() as transaction:
            if last := await transaction.job(job_id):  # with what was posted meanwhile
                job = transaction.record(last)
            await _erase(transaction, [job_id])
            if job.owner_id != member.user_id:
                audit.note(transaction.session, transaction.now, member.guild_id, member.user_id, "delete",
                           {"job": job_id, "member": job.owner_id}, subject_id=job.owner_id)
        return job

    async def export(self, member: Member) -> dict[str, Any]:
        """Everything that is kept about a member, in all guilds; JSON."""
        return await export.of(self._ledger, member.user_id)

    async def forget(self, member: Member) -> list[Removed]:
        """Delete what is kept about a member, in all guilds; their jobs as they last were, with copies of their takes.

        What stays: that they are blocked, ids in the audit log, and the counts of today's quota, or forgetting
        would be a way round it (they go within days).
        """
        user_id = member.user_id
        async with self._ledger.write() as transaction:
            theirs = select(JobRow.id).where(JobRow.owner_id == user_id).order_by(JobRow.id)
            job_ids = list(await transaction.session.scalars(theirs))
            for job_id in job_ids:
                if row := await transaction.job(job_id):
                    await transaction.cancel(row)
        for job_id in job_ids:
            await self._remove_files(job_id)
        removed = []
        for job_id in job_ids:
            if job := await self._ledger.job(job_id):
                shared = await self._ledger.shares_thread(job)
                removed.append(Removed(job, tuple(await self._ledger.copies(job_id)), shared))
        async with self._ledger.write() as transaction:
            await _erase(transaction, job_ids)
            session = transaction.session
            marked = select(TakeRow.job_id).join(FavouriteRow, FavouriteRow.take_id == TakeRow.id)
            for job_id in await session.scalars(marked.where(FavouriteRow.user_id == user_id)):
                transaction.changed(job_id)
            await session.execute(delete(FavouriteRow).where(FavouriteRow.user_id == user_id))
            await session.execute(delete(QuotaRow).where(QuotaRow.user_id == user_id, QuotaRow.day < transaction.now.date()))
            await audit.forget(session, user_id)
            await session.flush()
            await session.execute(delete(ReportRow).where(ReportRow.user_id == user_id))
        return removed

    async def _check_guild(self, session: AsyncSession, parameters: Mapping[str, Any], member: Member) -> None:
        if await is_blocked(session, member.guild_id, member.user_id):
            raise Refusal(Reason.BLOCKED)
        state = await state_of(session, member.guild_id)
        if state.paused:
            raise Refusal(Reason.PAUSED)
        if state.draining:
            raise Refusal(Reason.DRAINING)
        words = Words(await words_of(session, member.guild_id))
        if any(words.found_in(text) for name in requests.WORDS if isinstance(text := parameters.get(name), str)):
            raise Refusal(Reason.WORD)

    async def _check_limits(
        self, transaction: Transaction, request: requests.Request, member: Member, place: Place, limits: Limits,
        rules: Mapping[str, str],
    ) -> None:
        session = transaction.session
        if limits.channels is not None and place.channel_id not in limits.channels:
            raise Refusal(Reason.CHANNEL, channels=limits.channels)
        if limits.takes is not None and request.takes > limits.takes:
            raise Refusal(Reason.TOO_MANY_TAKES, asked=request.takes, limit=limits.takes, rule=rules["takes"])
        if isinstance(request, ComposeRequest):
            if limits.tokens is not None and request.tokens > limits.tokens:
                raise Refusal(Reason.TOO_MANY_TOKENS, asked=request.tokens, limit=limits.tokens, rule=rules["tokens"])
        elif limits.seconds is not None and request.seconds > limits.seconds:
            raise Refusal(Reason.TOO_MANY_SECONDS, asked=request.seconds, limit=limits.seconds, rule=rules["seconds"])
        if limits.jobs_at_once is not None and await _active(session, member) >= limits.jobs_at_once:
            raise Refusal(Reason.TOO_MANY_AT_ONCE, limit=limits.jobs_at_once, rule=rules["jobs_at_once"])
        jobs, takes = await quota.used(session, member.guild_id, member.user_id, transaction.now.date())
        if limits.jobs_a_day is not None and jobs >= limits.jobs_a_day:
            raise Refusal(Reason.JOBS_A_DAY, limit=limits.jobs_a_day, rule=rules["jobs_a_day"])
        if limits.takes_a_day is not None and takes + request.takes > limits.takes_a_day:
            raise Refusal(Reason.TAKES_A_DAY, asked=request.takes, left=max(0, limits.takes_a_day - takes),
                          limit=limits.takes_a_day, rule=rules["takes_a_day"])
        waiting = await session.scalar(select(func.count(JobRow.id)).where(JobRow.state == JobState.QUEUED.value)) or 0
        if waiting >= self._longest_queue:
            raise Refusal(Reason.QUEUE_FULL, limit=self._longest_queue)

    async def _limits(self, session: AsyncSession, member: Member, channel_id: int) -> tuple[Limits, dict[str, str]]:
        roles = (*member.role_ids, member.guild_id)  # everyone has the role with the guild's own number
        return effective(self._machine, await limits_of(session, member.guild_id), roles, channel_id)

    async def _check_take(self, job_id: int, number: int | None, member: Member) -> Job:
        job = await self.job(job_id, member)
        if number is not None and not any(take.number == number for take in job.takes):
            raise Refusal(Reason.NO_TAKE, number=number)
        return job

    async def _queued(self, job: Job) -> Queued:
        line = await self._ledger.line()
        if self._ordered is None or self._ordered[0] is not line:
            self._ordered = line, order(line.waiting, line.begun)
        paused = job.guild_id in line.paused
        ahead: list[Job] = []
        for one in self._ordered[1]:
            if one.id == job.id:
                at_work = [other for other in line.at_work if _same_worker(other, job)]
                wait = None if paused else await self._wait([*at_work, *ahead], job)
                return Queued(job, len(ahead) + 1, wait, paused)
            if _same_worker(one, job) and (paused or one.guild_id not in line.paused):  # a paused guild holds up nobody else
                ahead.append(one)
        return Queued(job, 0, None)

    async def _wait(self, ahead: Sequence[Job], job: Job) -> Estimate | None:
        speeds = {engine: await self._ledger.speeds(engine) for engine in sorted({one.engine for one in (*ahead, job)})}
        return estimate(ahead, job, speeds, self._jobs_at_once)


def _same_worker(one: Job, other: Job) -> bool:
    """Whether jobs are for the same worker; those of another one do not stand in each other's way."""
    return one.engine == other.engine or ENGINES[one.engine].process == ENGINES[other.engine].process


async def _own(transaction: Transaction, job_id: int, member: Member) -> JobRow:
    row = await transaction.job(job_id)
    if row is None or row.guild_id != member.guild_id:
        raise Refusal(Reason.NO_JOB, number=job_id)
    if row.owner_id != member.user_id and not member.moderator:
        raise Refusal(Reason.NOT_YOURS)
    return row


async def _tapped_before(
    transaction: Transaction, kind: str, parameters: Mapping[str, Any], member: Member, parent_id: int | None,
) -> Job | None:
    """What the member asked for a moment ago, if it is this."""
    lately = select(JobRow.id).where(
        JobRow.owner_id == member.user_id, JobRow.guild_id == member.guild_id, JobRow.kind == kind,
        JobRow.parent_id == parent_id if parent_id is not None else JobRow.parent_id.is_(None),
        JobRow.created_at >= transaction.now - _TAPPED_TWICE).order_by(JobRow.id.desc())
    for job_id in await transaction.session.scalars(lately):
        row = await transaction.job(job_id)
        if row is not None and {**row.parameters, "seed": 0} == {**parameters, "seed": 0}:
            return transaction.record(row)
    return None


async def _active(session: AsyncSession, member: Member) -> int:
    states = [state.value for state in _ACTIVE]
    return await session.scalar(select(func.count(JobRow.id)).where(
        JobRow.guild_id == member.guild_id, JobRow.owner_id == member.user_id, JobRow.state.in_(states))) or 0


async def _erase(transaction: Transaction, job_ids: Sequence[int]) -> None:
    for job_id in job_ids:  # one by one: databases bound the length of a list
        if row := await transaction.job(job_id):
            await quota.keep_turn(transaction.session, row)
        await transaction.session.execute(delete(JobRow).where(JobRow.id == job_id))
        transaction.changed(job_id)
