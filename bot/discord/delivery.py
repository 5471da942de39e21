"""Delivery: every job that is not over gets its thread, its status card and its takes, each take once.

One task a job reads the ledger whenever the job changed or its card is due, and does what is missing. What was done is in
the ledger before anything else is; where that is not certain, the thread is searched first.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import discord

from bot.discord import card as pacing
from bot.discord.buttons import buttons_of
from bot.discord.card import CardPace, interval_s, too_old
from bot.discord.noting import tell_owner
from bot.discord.posts import Post, card_nonce, holds_take, is_card, nameless, take_nonce
from bot.discord.retry import EDITED_TOO_OFTEN, FIRST_WAIT_S, passing, patiently, reason, told_to_wait_s
from bot.discord.sending import FilesGoneError, sent
from bot.discord.threads import (
    ARCHIVED,
    BLOCKED_WORD,
    UNKNOWN_MESSAGE,
    failure_of,
    open_thread,
    our_messages,
    take_from_archive,
)
from bot.hosting.logs import job_context
from bot.jobs.ledger import LedgerError
from bot.jobs.records import Job, JobState, TakeState
from bot.jobs.refusals import Failure
from bot.messages import pieces
from models.errors import KapelleError

if TYPE_CHECKING:
    from bot.application import Application

T = TypeVar("T")

NONCE_TRUST_S = 110.0  # tries of one post end before Discord may have forgotten its nonce (two minutes and more)
LONGEST_PAUSE_S = 60.0  # between rounds while Discord is away
MOST_TROUBLES = 8  # in a row that are mistakes of ours
LEDGER_PAUSE_S = 5.0  # before a ledger that cannot be read is tried again
SETTLE_S = 0.5  # news come in flocks, progress four times a second
# Ends of which a card tells too little, if it can be seen at all: the results are not where they should be.
_WITHOUT_RESULTS = frozenset({Failure.THREAD_GONE, Failure.FORBIDDEN, Failure.TOO_MANY_THREADS, Failure.TURNED_DOWN})

_log = logging.getLogger("kapelle.discord")


class Delivery:
    """Follows all jobs of the ledger until it is cancelled."""

    def __init__(self, bot: discord.Client, application: Application) -> None:
        self._bot = bot
        self._parts = application
        self._followed: dict[int, _JobDelivery] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._stumbled: set[int] = set()  # jobs whose delivery ended by an error: nobody knows what was posted

    @property
    def live(self) -> int:
        """Jobs that are delivered now."""
        return len(self._followed)

    async def run(self) -> None:
        """To be called once the bot has logged in. The gateway is not needed for it."""
        news = self._parts.changes.listen()
        try:
            while not await self._take_up():
                await asyncio.sleep(LEDGER_PAUSE_S)
            async for job_id in news:
                await self._hear(job_id)
        finally:
            news.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _take_up(self) -> bool:
        """Go on where an earlier process ended. Whether the ledger could be read."""
        try:
            untold = await self._parts.ledger.untold()
        except LedgerError as error:
            _log.error("the jobs cannot be read: %s", error)
            return False
        for job_id in untold:
            self._follow(job_id, fresh=False)
        return True

    async def _hear(self, job_id: int) -> None:
        if (followed := self._followed.get(job_id)) is not None:
            followed.news.set()
            return
        try:
            job = await self._parts.ledger.job(job_id)
        except LedgerError as error:  # the next news of the job, or the next start, tries again
            _log.error("job %d cannot be read: %s", job_id, error)
            return
        if job is not None and not job.told and job_id not in self._followed:
            self._follow(job_id, fresh=job_id not in self._stumbled)

    def _follow(self, job_id: int, *, fresh: bool) -> None:
        self._followed[job_id] = delivery = _JobDelivery(self._bot, self._parts, job_id, lambda: self.live, fresh=fresh)
        task = asyncio.create_task(delivery.run(), name=f"delivery of job {job_id}")
        self._tasks.add(task)
        task.add_done_callback(lambda task: self._ended(job_id, task))

    def _ended(self, job_id: int, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        followed = self._followed.pop(job_id)
        if task.cancelled():
            return
        if (error := task.exception()) is not None:
            self._stumbled.add(job_id)
            _log.error("the delivery of job %d ended by an error; it goes on at the next start", job_id, exc_info=error)
        elif followed.news.is_set():  # it came while the task was ending
            self._parts.changes.publish(job_id)


class _DeletedError(Exception):
    """The job is not in the ledger any more."""


class _JobDelivery:
    """Brings one job to its thread."""

    def __init__(
        self, bot: discord.Client, parts: Application, job_id: int, live: Callable[[], int], *, fresh: bool
    ) -> None:
        self.news = asyncio.Event()
        self._bot = bot
        self._parts = parts
        self._job_id = job_id
        self._live = live
        self._nameless = False  # the server's automatic moderation minds a word of it
        self._unsure = not fresh  # something may have been posted of which the ledger does not know
        self._pace = CardPace(asyncio.get_running_loop().time)

    async def run(self) -> None:
        """Until the job is over and its owner has been told. What passes is waited for; a bug ends it after several tries."""
        with job_context(self._job_id):
            await self._follow()

    async def _follow(self) -> None:
        troubles = outage_s = 0
        while True:
            self.news.clear()
            try:
                wait_s = await self._advance()
                troubles = outage_s = 0
            except Exception as error:
                self._unsure = True
                if not (passing(error) or isinstance(error, LedgerError | discord.HTTPException)):
                    troubles += 1
                    _log.error("job %d could not be delivered", self._job_id, exc_info=error)
                    if troubles >= MOST_TROUBLES:
                        raise
                outage_s = min(max(1, outage_s * 2), int(LONGEST_PAUSE_S))
                pause_s = max(outage_s, told_to_wait_s(error))
                _log.warning("job %d: %s, again in %d s", self._job_id, reason(error), pause_s)
                await asyncio.sleep(pause_s)
                continue
            if wait_s is None:
                return
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self.news.wait()
            await asyncio.sleep(min(wait_s, SETTLE_S))

    async def _advance(self) -> float | None:
        """Do what is missing now. Seconds until something may be without any news; None when all is done."""
        try:
            job = await self._read_again()
            return None if job.told else await self._bring(job)
        except _DeletedError:
            _log.info("job %d was deleted while it was being delivered", self._job_id)
        return None

    async def _bring(self, job: Job) -> float | None:
        """The job to its thread, and its end to its owner."""
        try:
            if not job.state.over:
                job = await self._in_thread(job)
            if self._unsure and job.thread_id is not None:
                job = await self._found_again(job)
            if not job.state.over:
                if job.card_id is None:
                    await self._show(job)
                job = await self._post_takes()
            if not job.state.over:
                return await self._show(job)
        except (discord.HTTPException, KapelleError) as error:
            if self._may_be_nameless(error):
                return await self._bring(await self._read_again())
            failure = failure_of(error)
            if failure is None:
                raise
            _log.warning("job %d cannot be delivered (%s)", job.id, failure.value)
            job = await self._parts.ledger.fail(job.id, failure) or await self._read_again()
        return await self._end(job)

    async def _end(self, job: Job) -> float | None:
        """Say how a job ended: on its card, and in a note where its owner would not see it there."""
        noted = job.thread_id is None or job.failure in _WITHOUT_RESULTS
        try:
            wait_s = await self._show(job)
        except (discord.HTTPException, KapelleError) as error:
            if failure_of(error) is None:
                raise
            wait_s, noted = None, True
        if wait_s is not None:
            return wait_s
        if noted:
            await tell_owner(self._bot, job, lambda way: self._patiently(way, "post note"))
        await self._parts.ledger.tell(job.id)
        return None

    async def _in_thread(self, job: Job) -> Job:
        """The job with a thread."""
        if job.thread_id is not None:
            return job
        tried = self._unsure

        async def opened() -> int:
            nonlocal tried
            maybe_open, tried = tried, True
            return await open_thread(self._bot, job, maybe_open=maybe_open)

        thread_id = await self._patiently(opened, "open thread")
        await self._parts.ledger.set_thread(job.id, thread_id)
        return replace(job, thread_id=thread_id)

    async def _found_again(self, job: Job) -> Job:
        """The job, after what was posted already has been looked for in the thread and written down."""
        missing = [take.number for take in job.takes if take.state is TakeState.MADE]
        card_known = job.card_id is not None
        if missing or not card_known:
            async for message in our_messages(self._bot, job):
                for number in [number for number in missing if holds_take(message, job, number)]:
                    await self._write_down(job, number, message.id)
                    missing.remove(number)
                if not card_known and is_card(message, job.id):
                    card_known = await self._parts.ledger.set_card(job.id, message.id)
        self._unsure = False
        return await self._read_again()

    async def _post_takes(self) -> Job:
        """The job, after its takes have been posted in the order of their numbers, up to the first that is not made yet."""
        while True:
            job = await self._read_again()  # before each take: it may have been cancelled
            take = next((take for take in job.takes if take.state in (TakeState.PENDING, TakeState.MADE)), None)
            if job.state.over or (take is not None and take.state is TakeState.PENDING):
                return job
            if take is not None:
                await self._post_take(job, take.number)
            elif job.state is JobState.DELIVERING:
                return await self._parts.ledger.finish(job.id) or await self._read_again()
            else:
                return job

    async def _post_take(self, job: Job, number: int) -> None:
        """Post a take and write it down; one that Discord does not want is lost, its files stay."""
        take = next(take for take in job.takes if take.number == number)
        thread = self._thread(job)

        async def send(post: Post) -> int:
            async def posted() -> int:
                message = await thread.send(
                    post.content, files=post.files(), view=buttons_of(job, job.language, number),
                    nonce=take_nonce(job, number))
                return message.id

            return await self._opening(job, posted, "post take")

        try:
            message_id = await sent(job, take, self._parts.spool, self._bot.get_guild(job.guild_id), send)
        except (discord.HTTPException, FilesGoneError) as error:
            if isinstance(error, discord.HTTPException) and (
                    self._blocked(error) or failure_of(error) is not Failure.TURNED_DOWN):
                raise
            _log.error("take %d of job %d is lost (%s)", number, job.id,
                       error if isinstance(error, FilesGoneError) else reason(error))
            await self._parts.ledger.take_lost(job.id, number)
            return
        await self._write_down(job, number, message_id)

    async def _write_down(self, job: Job, number: int, message_id: int) -> None:
        """That a take is posted; if its job was cancelled or deleted while it was on its way, take it away again."""
        if not await self._parts.ledger.take_posted(job.id, number, message_id):
            await self._take_away(job, message_id)

    async def _take_away(self, job: Job, message_id: int) -> None:
        message = self._thread(job).get_partial_message(message_id)
        with suppress(discord.NotFound, discord.Forbidden):
            await self._opening(job, message.delete, "delete message")

    async def _show(self, job: Job) -> float | None:
        """Bring the card up to date where it is due. Seconds until it is to be looked at again, None after the last edit."""
        if job.thread_id is None:  # it ended before there was one
            return None
        if job.card_id is not None:
            self._pace.found()
        content = await self._card(job)
        due_s = self._pace.due_in_s(content, job.state, self._live())
        if due_s <= 0:
            await self._write_card(job, content)
            self._pace.shown(content, job.state)
            due_s = math.inf
        if job.state.over:
            return None if math.isinf(due_s) else due_s
        return min(due_s, interval_s(self._live()))

    async def _card(self, job: Job) -> str:
        queued = await self._parts.jobs.place(job.id) if job.state is JobState.QUEUED else None
        progress = self._parts.progress(job.id)
        return pieces.card(job, queued, progress.shares if progress is not None else (), job.language)

    async def _write_card(self, job: Job, content: str) -> None:
        """Edit the card, or post one where there is none, it was deleted or it is too old to be edited."""
        thread = self._thread(job)
        view = buttons_of(job, job.language) if job.state is JobState.DONE else None
        card_id = job.card_id
        if card_id is not None and not too_old(card_id):
            card = thread.get_partial_message(card_id)

            async def edited() -> None:
                try:
                    await card.edit(content=content, view=view)
                finally:
                    self._pace.touched()  # perhaps: not every answer comes

            try:
                await self._opening(job, edited, "edit card", first_wait_s=2 * pacing.LEAST_S)
                return
            except discord.HTTPException as error:
                if error.code not in (UNKNOWN_MESSAGE, EDITED_TOO_OFTEN):
                    raise
        nonce = card_nonce(job, card_id)

        async def posted() -> int:
            if view is None:
                return (await thread.send(content, nonce=nonce)).id
            return (await thread.send(content, nonce=nonce, view=view)).id

        message_id = await self._opening(job, posted, "post card")
        if not await self._parts.ledger.set_card(job.id, message_id):
            await self._take_away(job, message_id)
            raise _DeletedError
        if card_id is not None:
            with suppress(discord.HTTPException):  # one card a job; it may be gone
                await thread.get_partial_message(card_id).delete()

    async def _opening(
        self, job: Job, call: Callable[[], Awaitable[T]], what: str, *, first_wait_s: float = FIRST_WAIT_S,
    ) -> T:
        """Patiently, in a thread that is taken out of the archive where that is what is in the way."""
        try:
            return await self._patiently(call, what, first_wait_s)
        except discord.HTTPException as error:
            if error.code != ARCHIVED or job.thread_id is None:
                raise
        thread_id = job.thread_id
        await self._patiently(lambda: take_from_archive(self._bot, thread_id), "open archived thread")
        return await self._patiently(call, what, first_wait_s)

    async def _patiently(self, call: Callable[[], Awaitable[T]], what: str, first_wait_s: float = FIRST_WAIT_S) -> T:
        return await patiently(
            call, what=what, give_up_s=NONCE_TRUST_S, on_retry=self._parts.metrics.retried, first_wait_s=first_wait_s)

    async def _read_again(self) -> Job:
        job = await self._parts.ledger.job(self._job_id)
        if job is None:
            raise _DeletedError
        return nameless(job) if self._nameless else job

    def _blocked(self, error: Exception) -> bool:
        """Whether a word in it is what Discord minds, and it was not tried without what the member wrote."""
        return isinstance(error, discord.HTTPException) and error.code == BLOCKED_WORD and not self._nameless

    def _may_be_nameless(self, error: Exception) -> bool:
        """Whether to try again without what the member wrote; from then on it is left out."""
        if not self._blocked(error):
            return False
        _log.info("job %d holds a word that the server blocks; its posts do without its name", self._job_id)
        self._nameless = True
        return True

    def _thread(self, job: Job) -> discord.PartialMessageable:
        if job.thread_id is None:
            raise ValueError(f"job {job.id} has no thread")
        return self._bot.get_partial_messageable(job.thread_id, guild_id=job.guild_id)
