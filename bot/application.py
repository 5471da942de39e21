"""The parts of the server, put together and run until they are told to stop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from bot.hosting import audiocraft
from bot.hosting.health import Metrics
from bot.jobs.changes import Changes
from bot.jobs.ledger import Ledger
from bot.jobs.limits import Limits
from bot.jobs.moderation import Moderation
from bot.jobs.service import JobService
from bot.jobs.titles import Titles
from bot.settings import Settings
from bot.takes.spool import Spool
from bot.worker.dispatcher import Dispatcher, tidy
from bot.worker.inspection import Inspection
from bot.worker.protocol import Progress
from bot.worker.transport import LocalWorker
from models.engines.registry import AUDIOCRAFT, ENGINES
from models.errors import InputError

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Application:
    """Everything a command may need."""

    settings: Settings
    changes: Changes
    ledger: Ledger
    spool: Spool
    moderation: Moderation
    jobs: JobService
    workers: tuple[LocalWorker, ...]  # one for each process that the engines need
    dispatchers: tuple[Dispatcher, ...]
    metrics: Metrics
    titles: Titles
    inspection: Inspection = field(default_factory=Inspection)  # of what members attach
    dispatching: asyncio.Task[None] | None = None  # ends by an error only

    def progress(self, job_id: int) -> Progress | None:
        """Of a job that is being decoded."""
        return next((found for one in self.dispatchers if (found := one.progress.get(job_id)) is not None), None)


def machine_limits(settings: Settings) -> Limits:
    return Limits(
        takes=settings.max_takes, tokens=settings.max_tokens, seconds=settings.max_seconds,
        jobs_at_once=settings.max_jobs_at_once, jobs_a_day=settings.max_jobs_a_day, takes_a_day=settings.max_takes_a_day)


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Application]:
    """Open the ledger, start the workers and their dispatchers; all of them end with the block.

    The running steps of the workers are let finish; jobs stay in the ledger. Raises LedgerError.
    """
    changes, metrics = Changes(), Metrics()
    titles = await asyncio.to_thread(Titles)
    ledger = await Ledger.open(settings.database_url, changes)
    try:
        spool = Spool(settings.spool)
        ledger.entered = metrics.job
        together: dict[str, list[str]] = {}  # engines, by the process that they share
        workable = frozenset(filter(partial(_workable, settings), settings.served))  # when the bot starts
        for name in sorted(workable, key=settings.served.index):
            together.setdefault(ENGINES[name].process, []).append(name)
        workers = tuple(LocalWorker(settings, process) for process in together)
        dispatchers = tuple(
            Dispatcher(ledger, worker, spool, metrics, engines=engines, jobs_at_once=settings.jobs_at_once)
            for worker, engines in zip(workers, together.values(), strict=True))
        jobs = JobService(
            ledger, machine_limits(settings), settings.served, moderators_first=settings.moderators_first,
            jobs_at_once=settings.jobs_at_once, remove_files=spool.remove, keep_file=spool.keep_file,
            free_bytes=spool.free_bytes,
            installed=lambda name: name in workable and ENGINES[name].installed(settings.data))
        async with AsyncExitStack() as stack:
            for worker in workers:
                await worker.start()
                stack.push_async_callback(worker.stop)
            dispatching = asyncio.create_task(_dispatch(ledger, spool, workable, dispatchers), name="dispatchers")
            try:
                yield Application(
                    settings, changes, ledger, spool, Moderation(ledger), jobs, workers, dispatchers, metrics, titles,
                    dispatching=dispatching)
            finally:
                dispatching.cancel()
                await asyncio.wait((dispatching,))
    finally:
        await ledger.close()


def _workable(settings: Settings, engine: str) -> bool:
    """Whether there is an environment for an engine to run in."""
    if ENGINES[engine].process != AUDIOCRAFT:
        return True
    try:
        audiocraft.interpreter(settings)
    except InputError as error:
        _LOG.warning("%s cannot be offered: %s", engine, error)
        return False
    return True


async def _dispatch(ledger: Ledger, spool: Spool, engines: Collection[str], dispatchers: Collection[Dispatcher]) -> None:
    await tidy(ledger, spool, engines)
    async with asyncio.TaskGroup() as group:
        for dispatcher in dispatchers:
            group.create_task(dispatcher.run())
