"""The ledger of jobs: the one place where their truth lives.

States: queued -> running -> rendering -> delivering -> done; failed and cancelled from any that is not over;
running and rendering -> queued when the worker dies. Every change is one transaction, and is published once
it is on the disk.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Row, Select, delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from bot.jobs.changes import Changes
from bot.jobs.database import Database, LedgerError
from bot.jobs.records import Job, JobState, Sight, TakeState
from bot.jobs.refusals import Failure
from bot.jobs.tables import CopyRow, FavouriteRow, GuildRow, JobRow, QuotaRow, SpeedRow, TakeRow
from bot.jobs.transaction import Transaction, at_work, record_of, row_of, strikes_of, take_of

__all__ = ["Ledger", "LedgerError", "Line"]

SPEEDS_KEPT = 20  # jobs of an engine
_LATELY = timedelta(hours=1)
_MOST_CHANGED = 500  # jobs read one by one; databases bound the length of a list
_LARGEST_ID = 2**63 - 1  # Discord's fit in
# Where many are read: objects that SQLAlchemy watches over take three times as long, and the event loop stands still for it.
_COLUMNS = tuple(JobRow.__table__.columns)
_TAKE_COLUMNS = (*TakeRow.__table__.columns, TakeRow.favourites)


@dataclass(frozen=True)
class Line:
    """The jobs that wait and those at work, the oldest first, without their takes; and guilds whose jobs are not begun."""

    waiting: tuple[Job, ...]
    at_work: tuple[Job, ...]
    paused: frozenset[int]
    begun: Mapping[int, datetime]  # when the last job of those who wait was begun, if that was lately


class Ledger:
    """Jobs in a database. One process at a time has it open; all methods raise LedgerError when it cannot be used.

    A job or take that does not exist changes nothing: methods then return None or False.
    """

    def __init__(self, database: Database, changes: Changes, now: Callable[[], datetime]) -> None:
        self.changes = changes
        self.now = now  # UTC
        self.entered: Callable[[JobState], None] = lambda state: None  # told of every state that a job came into
        self._database = database
        self._line: Line | None = None
        self._version = 0  # of the line
        self._in_line: Mapping[int, Job] = {}  # those in the last line
        self._changed: set[int] | None = None  # jobs that may differ from it; None: all

    @classmethod
    async def open(cls, url: str, changes: Changes, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Ledger:
        """Open the database of a URL and bring it to the newest schema; a SQLite file is made where there is none.

        Raises LedgerError: another bot has it open; it is damaged, locked, not writable, or of a newer Kapelle.
        """
        return cls(await Database.open(url), changes, now)

    async def close(self) -> None:
        await self._database.close()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        async with self._database.read() as session:
            yield session

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Transaction]:
        whole = False
        try:
            async with self._database.write() as session:
                transaction = Transaction(session, self.now())
                yield transaction
                whole = True
        finally:
            if whole:  # it may be on the disk even where an error or a cancellation came in between
                self._line, self._version = None, self._version + 1
                self._changed = None if self._changed is None else self._changed | set(transaction.touched)
        for job_id in transaction.touched:
            self.changes.publish(job_id)
        for state in transaction.entered:
            self.entered(state)

    # Reading

    async def job(self, job_id: int) -> Job | None:
        async with self.read() as session:
            row = await row_of(session, job_id)
            return record_of(row, self.now(), row.takes) if row else None

    async def jobs(
        self, *states: JobState, guild_id: int | None = None, owner_id: int | None = None,
        newest_first: bool = False, limit: int | None = None, offset: int = 0, with_takes: bool = True,
        sight: Sight | None = None,
    ) -> list[Job]:
        """Those in one of the states (none named: in any), the oldest first; of what `sight` sees, where it is given."""
        order = JobRow.id.desc() if newest_first else JobRow.id
        wanted = _chosen(select(*_COLUMNS), states, guild_id, owner_id, sight).order_by(order).limit(limit).offset(offset)
        takes: dict[int, list[Row[Any]]] = {}
        async with self.read() as session:
            rows = (await session.execute(wanted)).all()
            if with_takes and rows:
                theirs = select(*_TAKE_COLUMNS).where(TakeRow.job_id.in_(select(wanted.subquery().c.id)))
                for take in await session.execute(theirs.order_by(TakeRow.number)):
                    takes.setdefault(take.job_id, []).append(take)
        return [record_of(row, self.now(), takes.get(row.id, ())) for row in rows]

    async def count(self, *states: JobState, guild_id: int | None = None, owner_id: int | None = None,
                    sight: Sight | None = None) -> int:
        async with self.read() as session:
            return await session.scalar(_chosen(select(func.count(JobRow.id)), states, guild_id, owner_id, sight)) or 0

    async def untold(self) -> list[int]:
        """Numbers of the jobs that are not over, or whose end was not said yet; the oldest first."""
        async with self.read() as session:
            return list(await session.scalars(select(JobRow.id).where(~JobRow.told).order_by(JobRow.id)))

    async def line(self) -> Line:
        """Who waits and who is at work. Kept until something is written, so that asking again costs nothing."""
        if self._line is not None:
            return self._line
        version, before, changed = self._version, self._in_line, self._changed
        wanted = _chosen(select(*_COLUMNS), (JobState.QUEUED, JobState.RUNNING, JobState.RENDERING), None, None)
        if changed is not None and len(changed) <= _MOST_CHANGED:  # the others are known
            wanted = wanted.where(JobRow.id.in_(changed))
        else:
            before = {}
        async with self.read() as session:
            found = {row.id: record_of(row, self.now(), ()) for row in await session.execute(wanted)}
            known = {job_id: job for job_id, job in before.items() if changed is None or job_id not in changed} | found
            jobs = [known[job_id] for job_id in sorted(known)]
            paused = frozenset(await session.scalars(select(GuildRow.guild_id).where(GuildRow.paused)))
            begun = await self._begun(session, jobs)
        line = Line(tuple(job for job in jobs if job.state is JobState.QUEUED),
                    tuple(job for job in jobs if job.state.at_work), paused, begun)
        if version == self._version:  # nothing changed while it was read
            self._line, self._in_line, self._changed = line, known, set()
        return line

    async def _begun(self, session: AsyncSession, line: Sequence[Job]) -> dict[int, datetime]:
        """When the last job of each member who waits was begun: within an hour, or while somebody waited."""
        since = min([self.now() - _LATELY, *(job.created_at for job in line)])
        wait = select(JobRow.owner_id).where(JobRow.state == JobState.QUEUED.value)
        last = select(JobRow.owner_id, func.max(JobRow.started_at)).where(
            JobRow.owner_id.in_(wait), JobRow.started_at >= since).group_by(JobRow.owner_id)
        deleted = select(QuotaRow.user_id, func.max(QuotaRow.begun_at)).where(
            QuotaRow.user_id.in_(wait), QuotaRow.begun_at >= since).group_by(QuotaRow.user_id)
        found: dict[int, datetime] = {}
        for owner_id, begun in (*await session.execute(last), *await session.execute(deleted)):
            found[owner_id] = max(begun, found.get(owner_id, begun))
        return found

    async def job_of_message(self, message_id: int) -> tuple[Job, int | None] | None:
        """The job whose take or card a message shows, and the number of the take; also of one that was posted again."""
        if not 0 < message_id <= _LARGEST_ID:
            return None
        async with self.read() as session:
            copied = select(CopyRow.take_id).where(CopyRow.message_id == message_id)
            take = (await session.execute(select(TakeRow.job_id, TakeRow.number).where(
                (TakeRow.message_id == message_id) | TakeRow.id.in_(copied)))).first()
            card = await session.scalar(select(JobRow.id).where(JobRow.card_id == message_id)) if take is None else None
        job = await self.job(take.job_id if take else card or 0)
        return (job, take.number if take else None) if job else None

    # With the worker

    async def mark_running(self, job_id: int) -> Job | None:
        """Give a queued job to the worker, as another attempt. None if it does not wait any more."""
        async with self.write() as transaction:
            row = await transaction.job(job_id)
            if row is None or JobState(row.state) is not JobState.QUEUED:
                transaction.changed(job_id)  # so that whoever thought it waits, looks again
                return None
            row.attempt += 1
            transaction.enter(row, JobState.RUNNING)
            return transaction.record(row)

    async def requeue(self, job_id: int, *, strike: float = 0.0, alone: bool = False) -> None:
        """Take a job back from a worker that died. Takes that are made stay made; `alone` holds until it is over."""
        async with self.write() as transaction:
            row = await transaction.job(job_id)
            if row is None or not JobState(row.state).at_work:
                return
            if strike:
                row.strikes = strikes_of(row, transaction.now) + strike
                row.struck_at = transaction.now
            row.alone = row.alone or alone
            transaction.enter(row, JobState.QUEUED)

    async def planned(self, job_id: int, attempt: int, outcome: Mapping[str, Any]) -> bool:
        async with self.write() as transaction:
            row = await at_work(transaction, job_id, attempt, JobState.RUNNING)
            if row is None:
                return False
            row.outcome = dict(outcome)
            transaction.changed(job_id)
            return True

    async def rendering(self, job_id: int, attempt: int) -> bool:
        async with self.write() as transaction:
            row = await at_work(transaction, job_id, attempt, JobState.RUNNING)
            if row is None:
                return False
            transaction.enter(row, JobState.RENDERING)
            return True

    async def take_made(
        self, job_id: int, attempt: int, number: int, files: Mapping[str, str], seconds: float, notes: int,
    ) -> bool:
        """A take's files are in the spool; without files it holds no notes.

        A job that waits again takes it, too: what the worker finished before it died. A take that was made stays as it is.
        """
        async with self.write() as transaction:
            row = await at_work(transaction, job_id, attempt, JobState.QUEUED, JobState.RUNNING, JobState.RENDERING)
            take = take_of(row, number)
            if take is None:
                return False
            if take.state == TakeState.PENDING:
                take.state = (TakeState.MADE if files else TakeState.EMPTY).value
                take.files, take.seconds, take.notes = dict(files), seconds, notes
                transaction.changed(job_id)
            return True

    async def delivering(self, job_id: int, attempt: int) -> bool:
        """All takes are made; a job whose takes are all empty fails. False, too, while one of them is not made."""
        async with self.write() as transaction:
            row = await at_work(transaction, job_id, attempt, JobState.RUNNING, JobState.RENDERING)
            if row is None or any(take.state == TakeState.PENDING for take in row.takes):
                return False
            if all(take.state == TakeState.EMPTY for take in row.takes):
                await transaction.fail(row, Failure.EMPTY)
            else:
                transaction.enter(row, JobState.DELIVERING)
            return True

    # Ends

    async def fail(self, job_id: int, failure: Failure, text: str = "") -> Job | None:
        """None if it was over. Quota is given back unless the engine refused it; `text` is outcome["failure"]."""
        async with self.write() as transaction:
            row = await transaction.job(job_id)
            if row is None or JobState(row.state).over:
                return None
            await transaction.fail(row, failure, text)
            return transaction.record(row)

    async def cancel(self, job_id: int) -> Job | None:
        """None if it was over. Quota is given back where it waited."""
        async with self.write() as transaction:
            row = await transaction.job(job_id)
            return transaction.record(row) if row and await transaction.cancel(row) else None

    async def finish(self, job_id: int) -> Job | None:
        """Delivered; failed where no take is posted. None while one is to be posted, or if it is not being delivered."""
        async with self.write() as transaction:
            row = await transaction.job(job_id)
            open_takes = (TakeState.PENDING, TakeState.MADE)
            if row is None or row.state != JobState.DELIVERING or any(take.state in open_takes for take in row.takes):
                return None
            if any(take.state == TakeState.POSTED for take in row.takes):
                transaction.enter(row, JobState.DONE)
            else:
                await transaction.fail(row, Failure.LOST)
            return transaction.record(row)

    # Delivery

    async def set_thread(self, job_id: int, thread_id: int) -> None:
        async with self.write() as transaction:
            if row := await transaction.job(job_id):
                row.thread_id = thread_id
                transaction.changed(job_id)

    async def set_card(self, job_id: int, message_id: int | None) -> bool:
        """Whether there is such a job; if not, the card is to be taken away."""
        async with self.write() as transaction:
            row = await transaction.job(job_id)
            if row is None:
                return False
            row.card_id = message_id
            transaction.changed(job_id)
            return True

    async def take_posted(self, job_id: int, number: int, message_id: int) -> bool:
        """Whether it is wanted; if the job was cancelled or deleted meanwhile, the message is to be taken away."""
        async with self.write() as transaction:
            row = await transaction.job(job_id)
            take = take_of(row, number)
            if row is None or take is None or row.state == JobState.CANCELLED:
                return False
            take.state, take.message_id = TakeState.POSTED.value, message_id
            transaction.changed(job_id)
            return True

    async def take_lost(self, job_id: int, number: int) -> None:
        """It could not be posted. One that was posted stays so."""
        async with self.write() as transaction:
            take = take_of(await transaction.job(job_id), number)
            if take and take.state == TakeState.MADE:
                take.state = TakeState.LOST.value
                transaction.changed(job_id)

    async def take_copied(self, job_id: int, number: int, channel_id: int, message_id: int) -> bool:
        """A take was posted again. Whether there is one; if not, the message is to be taken away."""
        async with self.write() as transaction:
            take = take_of(await transaction.job(job_id), number)
            if take is None:
                return False
            transaction.session.add(CopyRow(message_id=message_id, channel_id=channel_id, take_id=take.id))
            return True

    async def copies(self, job_id: int) -> list[tuple[int, int]]:
        """Channel and number of the messages in which takes of a job were posted again."""
        async with self.read() as session:
            found = await session.execute(
                select(CopyRow.channel_id, CopyRow.message_id).join(TakeRow, TakeRow.id == CopyRow.take_id)
                .where(TakeRow.job_id == job_id).order_by(CopyRow.message_id))
            return [(channel_id, message_id) for channel_id, message_id in found]

    async def shares_thread(self, job: Job) -> bool:
        """Whether other jobs are in a job's thread."""
        if job.thread_id is None:
            return False
        async with self.read() as session:
            others = select(func.count(JobRow.id)).where(JobRow.thread_id == job.thread_id, JobRow.id != job.id)
            return bool(await session.scalar(others))

    async def tell(self, job_id: int) -> None:
        """The end of a job was said where its owner sees it."""
        async with self.write() as transaction:
            row = await transaction.job(job_id)
            if row is not None and JobState(row.state).over and not row.told:
                row.told = True
                transaction.changed(job_id)

    async def toggle_favourite(self, job_id: int, number: int, user_id: int) -> bool:
        """Whether it is one now."""
        async with self.write() as transaction:
            take = take_of(await transaction.job(job_id), number)
            if take is None:
                return False
            mark = await transaction.session.get(FavouriteRow, (take.id, user_id))
            if mark is None:
                transaction.session.add(FavouriteRow(take_id=take.id, user_id=user_id, at=transaction.now))
            else:
                await transaction.session.delete(mark)
            transaction.changed(job_id)
            return mark is None

    # Speeds

    async def record_speed(self, engine: str, ids: int, seconds: float) -> None:
        """How fast a job was decoded. One that had nothing to decode has no speed: nothing is kept."""
        if ids <= 0 or seconds <= 0:
            return
        async with self.write() as transaction:
            transaction.session.add(SpeedRow(engine=engine, ids_per_second=ids / seconds, at=transaction.now))
            await transaction.session.flush()
            newest = select(SpeedRow.id).where(SpeedRow.engine == engine).order_by(SpeedRow.id.desc()).limit(SPEEDS_KEPT)
            await transaction.session.execute(
                delete(SpeedRow).where(SpeedRow.engine == engine, SpeedRow.id.not_in(newest)))

    async def speeds(self, engine: str) -> list[float]:
        """Ids a second of the last 20 jobs, the oldest first."""
        async with self.read() as session:
            return list(await session.scalars(
                select(SpeedRow.ids_per_second).where(SpeedRow.engine == engine).order_by(SpeedRow.id)))


def _chosen(query: Select[Any], states: tuple[JobState, ...], guild_id: int | None, owner_id: int | None,
            sight: Sight | None = None) -> Select[Any]:
    if states:
        query = query.where(JobRow.state.in_([state.value for state in states]))
    if guild_id is not None:
        query = query.where(JobRow.guild_id == guild_id)
    if owner_id is not None:
        query = query.where(JobRow.owner_id == owner_id)
    if sight is not None and not sight.member.moderator:  # as `Sight.sees` says of one job
        unknown = JobRow.private.is_(None) & (JobRow.thread_id.is_(None) | JobRow.thread_id.in_(sight.threads))
        query = query.where(
            (JobRow.owner_id == sight.member.user_id) | (JobRow.thread_id == (sight.here or 0))
            | (JobRow.channel_id.in_(sight.channels) & (JobRow.private.is_(False) | unknown)))
    return query
