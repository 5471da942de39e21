"""From the ledger to the worker and back: whose turn it is, what came of it, and what a crash means."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from functools import partial
from typing import Protocol

from bot.jobs.ledger import Ledger, LedgerError
from bot.jobs.queue import order
from bot.jobs.records import Job, JobState, TakeState
from bot.jobs.refusals import Failure
from bot.takes.spool import Made, Spool
from bot.worker.protocol import (
    Cancel,
    Cancelled,
    Died,
    Event,
    Failed,
    Finished,
    Loading,
    Planned,
    Progress,
    Ready,
    Rendering,
    Start,
)
from bot.worker.transport import LocalWorker, WorkerGone

MOST_STRIKES = 3
LEFT_ALONE_S = 600.0  # an engine that cannot be loaded
FIRST_WAIT_S, LONGEST_WAIT_S = 0.2, 15.0  # for a ledger that cannot be used
_LOG = logging.getLogger(__name__)


class Counters(Protocol):
    """What is counted for those who watch over the bot."""

    def waited(self, engine: str, seconds: float) -> None: ...

    def decoded(self, engine: str, ids: int, seconds: float) -> None: ...

    def event(self, kind: str) -> None: ...


class Dispatcher:
    """Gives the jobs of some engines to their worker, at most `jobs_at_once`, and writes what it says to the ledger.

    An engine that crashes the worker three times while it is loaded is left alone for a while, and its jobs fail.

    After a crash of several jobs each of them is tried alone; one that crashes alone three times fails.
    """

    def __init__(
        self, ledger: Ledger, worker: LocalWorker, spool: Spool, metrics: Counters, *, engines: Collection[str],
        jobs_at_once: int,
    ) -> None:
        self._ledger, self._worker, self._spool, self._metrics = ledger, worker, spool, metrics
        self._engines = frozenset(engines)
        self._jobs_at_once = jobs_at_once
        self._starting = asyncio.Lock()  # both tasks start jobs
        self._progress: dict[int, Progress] = {}
        self._sent: dict[int, Job] = {}
        self._load_crashes: dict[str, int] = {}
        self._left_alone: dict[str, float] = {}  # engine -> until when, monotonic
        self.worker_ready = False
        self._listener = ledger.changes.listen()

    @property
    def progress(self) -> Mapping[int, Progress]:
        """Of the jobs that are being decoded, by job."""
        return self._progress

    async def run(self) -> None:
        """Work until cancelled; jobs that were at work when the bot ended go back to the queue first.

        A ledger that cannot be used for a while, locked or without space, is waited for.
        """
        try:
            await _patiently(self._recover)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow())
                group.create_task(self._feed())
        finally:
            self._listener.close()

    # Jobs in

    async def _feed(self) -> None:
        await _patiently(self._start_waiting)
        async for job_id in self._listener:
            await _patiently(partial(self._stop_if_over, job_id))
            await _patiently(self._start_waiting)

    async def _stop_if_over(self, job_id: int) -> None:
        if job_id not in self._sent:
            return
        job = await self._ledger.job(job_id)
        if job is None or job.state.over:
            self._forget(job_id)
            with suppress(WorkerGone):  # then there is nothing to cancel
                await self._worker.send(Cancel(job_id))

    async def _start_waiting(self) -> None:
        async with self._starting:
            await self._start_next()

    async def _start_next(self) -> None:
        """Start one after the other; who asked while one was started has a turn before the next."""
        while self.worker_ready and len(self._sent) < self._jobs_at_once:
            line = await self._ledger.line()
            waiting = [job for job in line.waiting if job.guild_id not in line.paused and job.engine in self._engines]
            turns = order(waiting, line.begun)
            if not turns or (self._sent and (turns[0].alone or any(other.alone for other in self._sent.values()))):
                return
            if self._left_alone.get(turns[0].engine, 0.0) > time.monotonic():
                await self._ledger.fail(turns[0].id, Failure.NO_MODEL, "it crashed the worker while it was loaded")
            elif not await self._start(turns[0]):
                return

    async def _start(self, job: Job) -> bool:
        """Whether the worker is there to be given a job."""
        await self._adopt(job)
        started = await self._ledger.mark_running(job.id)
        if started is None:  # cancelled meanwhile
            return True
        if started.attempt == 1 and started.started_at is not None:
            self._metrics.waited(started.engine, (started.started_at - started.created_at).total_seconds())
        # From here to the order nothing is waited for: whoever cancels the job does so before, or is heard after it.
        self._sent[job.id] = started
        made = tuple(take.number for take in started.takes if take.state is not TakeState.PENDING)
        try:
            await self._worker.send(Start(
                job.id, started.attempt, job.kind, job.engine, job.parameters, self._spool.folder(job.id).name, made,
                job.inputs))
        except WorkerGone:
            await _patiently(partial(self._ledger.requeue, job.id))
            self._forget(job.id)
            return False
        return True

    async def _adopt(self, job: Job) -> None:
        """Enter takes that a worker finished without living to say so; those that are known change nothing."""
        for made in await self._spool.made(job.id):
            await self._ledger.take_made(job.id, job.attempt, made.number, made.files, made.seconds, made.notes)

    async def _recover(self) -> None:
        for job in await self._ledger.jobs(JobState.RUNNING, JobState.RENDERING):
            if job.engine not in self._engines:
                continue
            await self._adopt(job)
            if not await self._ledger.delivering(job.id, job.attempt):  # some are missing
                await self._ledger.requeue(job.id)

    def _forget(self, job_id: int) -> None:
        self._sent.pop(job_id, None)
        self._progress.pop(job_id, None)

    # Events back

    async def _follow(self) -> None:
        async for event in self._worker.events():
            await _patiently(partial(self._note, event))
            await _patiently(self._start_waiting)

    async def _note(self, event: Event) -> None:
        match event:
            case Ready():
                self.worker_ready = True
                _LOG.info("the worker is ready (process %d)", event.pid)
            case Died():
                self.worker_ready = False
                await self._after_crash(event)
                self._metrics.event("worker died")
            case Loading():
                if event.over:
                    self._load_crashes.pop(event.engine, None)
            case Planned():
                await self._ledger.planned(event.job, event.attempt, event.outcome)
            case Progress():
                if self._current(event.job, event.attempt):
                    self._progress[event.job] = event
                    self._ledger.changes.publish(event.job)
            case Made():
                await self._ledger.take_made(
                    event.job, event.attempt, event.number, event.files, event.seconds, event.notes)
            case Rendering():
                await self._rendering(event)
            case Finished():
                await self._ledger.delivering(event.job, event.attempt)
                if self._current(event.job, event.attempt):
                    self._forget(event.job)
            case Failed():
                if self._current(event.job, event.attempt):
                    await self._ledger.fail(event.job, Failure(event.failure), event.text)
                    self._forget(event.job)
            case Cancelled():
                self._forget(event.job)

    async def _rendering(self, event: Rendering) -> None:
        progress = self._progress.pop(event.job, None)
        job = self._sent.get(event.job)
        if job is not None and progress is not None and event.seconds > 0:
            await self._ledger.record_speed(job.engine, progress.ids, event.seconds)
            self._metrics.decoded(job.engine, progress.ids, event.seconds)
        await self._ledger.rendering(event.job, event.attempt)

    def _current(self, job_id: int, attempt: int) -> bool:
        """Whether the worker speaks of the attempt that is under way, not of one before it."""
        sent = self._sent.get(job_id)
        return sent is not None and sent.attempt == attempt

    async def _after_crash(self, death: Died) -> None:
        _LOG.warning("the worker died with exit code %s; it had %d jobs, %d of them begun",
                     death.exit_code, len(death.jobs), len(death.decoding))
        if death.loading is not None:
            self._load_crashes[death.loading] = self._load_crashes.get(death.loading, 0) + 1
            if self._load_crashes[death.loading] >= MOST_STRIKES:
                _LOG.error("the engine %s crashed the worker %d times while it was loaded; is there memory enough for it?",
                           death.loading, MOST_STRIKES)
                del self._load_crashes[death.loading]
                self._left_alone[death.loading] = time.monotonic() + LEFT_ALONE_S
        for job_id in death.jobs:
            begun = job_id in death.decoding and death.loading is None  # else it is not known to be to blame
            alone = len(death.decoding) == 1
            job = await self._ledger.job(job_id)
            if job_id not in self._sent or job is None:
                continue
            if begun and alone and job.strikes + 1 >= MOST_STRIKES:
                await self._ledger.fail(job_id, Failure.CRASHED)
            else:
                await self._ledger.requeue(job_id, strike=1.0 if begun and alone else 0.0, alone=begun)
            self._forget(job_id)


async def tidy(ledger: Ledger, spool: Spool, engines: Collection[str]) -> None:
    """Before any dispatcher runs: look after files without a job, and jobs without an engine."""
    await _patiently(partial(_tidy, ledger, spool, engines))


async def _tidy(ledger: Ledger, spool: Spool, engines: Collection[str]) -> None:
    newest = await ledger.jobs(newest_first=True, limit=1)
    highest = newest[0].id if newest else 0
    for job_id in await spool.jobs():
        if job_id > highest:  # of a ledger that was moved away or replaced: not ours to delete, nor to adopt
            await (spool.remove if await spool.waits_for_a_job(job_id) else spool.set_aside)(job_id)
        elif await ledger.job(job_id) is None:  # deleted while a worker still wrote
            await spool.remove(job_id)
    for job in await ledger.jobs(JobState.QUEUED, JobState.RUNNING, JobState.RENDERING):
        if job.engine not in engines:
            await ledger.fail(job.id, Failure.NO_MODEL, f"the engine {job.engine} is not offered any more")


async def _patiently(step: Callable[[], Awaitable[None]]) -> None:
    """Do a step again until the ledger lets it happen. Steps may be done twice."""
    wait_s = FIRST_WAIT_S
    while True:
        try:
            return await step()
        except LedgerError as error:
            _LOG.error("%s; again in %.1f s", error, wait_s)
        await asyncio.sleep(wait_s)
        wait_s = min(2 * wait_s, LONGEST_WAIT_S)
