"""The parts of the server, put together and run until they are told to stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bot.health import Metrics
from bot.jobs.changes import Changes
from bot.jobs.dispatcher import Dispatcher
from bot.jobs.ledger import Ledger
from bot.jobs.limits import Limits
from bot.jobs.moderation import Moderation
from bot.jobs.service import JobService
from bot.settings import Settings
from bot.spool import Spool
from bot.titles import Titles
from bot.worker.transport import LocalWorker


@dataclass(frozen=True)
class Application:
    """Everything a command may need."""

    settings: Settings
    changes: Changes
    ledger: Ledger
    spool: Spool
    moderation: Moderation
    jobs: JobService
    worker: LocalWorker
    dispatcher: Dispatcher
    metrics: Metrics
    titles: Titles
    dispatching: asyncio.Task[None] | None = None  # ends by an error only


def machine_limits(settings: Settings) -> Limits:
    return Limits(
        takes=settings.max_takes, tokens=settings.max_tokens, jobs_at_once=settings.max_jobs_at_once,
        jobs_a_day=settings.max_jobs_a_day, takes_a_day=settings.max_takes_a_day)


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Application]:
    """Open the ledger, start the worker and the dispatcher; all of them end with the block.

    The running step of the worker is let finish; jobs stay in the ledger. Raises LedgerError.
    """
    changes, metrics = Changes(), Metrics()
    titles = await asyncio.to_thread(Titles)
    ledger = await Ledger.open(settings.database_url, changes)
    try:
        spool, worker = Spool(settings.spool), LocalWorker(settings)
        ledger.entered = metrics.job
        dispatcher = Dispatcher(ledger, worker, spool, metrics, jobs_at_once=settings.jobs_at_once)
        jobs = JobService(
            ledger, machine_limits(settings), settings.engines, moderators_first=settings.moderators_first,
            jobs_at_once=settings.jobs_at_once, remove_files=spool.remove, free_bytes=spool.free_bytes)
        await worker.start()
        try:
            dispatching = asyncio.create_task(dispatcher.run(), name="dispatcher")
            try:
                yield Application(
                    settings, changes, ledger, spool, Moderation(ledger), jobs, worker, dispatcher, metrics, titles,
                    dispatching)
            finally:
                dispatching.cancel()
                await asyncio.wait((dispatching,))
        finally:
            await worker.stop()
    finally:
        await ledger.close()
