from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bot.jobs.ledger import Ledger, LedgerError
from bot.jobs.limits import Limits
from bot.jobs.records import Job, JobState, Place, TakeState
from bot.jobs.refusals import Failure
from bot.takes.spool import Made, Spool
from bot.worker import dispatcher as dispatching
from bot.worker.dispatcher import Dispatcher
from bot.worker.protocol import (
    Cancel,
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
from bot.worker.transport import WorkerGone
from tests.jobs.building import ANNA, BEN, Clock, ask, service_of

PATIENCE_S = 60.0  # a busy machine is not a bug
FILES = {"midi": "take-1.mid"}
ENGINES = ("pocket",)


class Nobody:
    """A worker that does as it is told by the test: the other end of the pipe."""

    def __init__(self) -> None:
        self.sent: list[Start | Cancel] = []
        self.gone = False
        self._said: asyncio.Queue[Event | None] = asyncio.Queue()

    async def send(self, order: Start | Cancel) -> None:
        await asyncio.sleep(0)
        if self.gone:
            raise WorkerGone("gone")
        self.sent.append(order)

    async def events(self) -> AsyncIterator[Event]:
        while (event := await self._said.get()) is not None:
            yield event

    def say(self, *events: Event) -> None:
        for event in events:
            self._said.put_nowait(event)

    def starts(self) -> list[Start]:
        return [order for order in self.sent if isinstance(order, Start)]


class Counts:
    def __init__(self) -> None:
        self.seen: list[object] = []
        self.waits: list[tuple[str, float]] = []

    def waited(self, engine: str, seconds: float) -> None:
        self.waits.append((engine, seconds))

    def decoded(self, engine: str, ids: int, seconds: float) -> None:
        self.seen.append((engine, ids, seconds))

    def event(self, kind: str) -> None:
        self.seen.append(kind)


@asynccontextmanager
async def at_work(
    ledger: Ledger, folder: Path, *, jobs_at_once: int = 2, engines: tuple[str, ...] = ENGINES,
) -> AsyncIterator[tuple[Nobody, Counts]]:
    worker, counts = Nobody(), Counts()
    spool = Spool(folder)
    await dispatching.tidy(ledger, spool, engines)
    running = asyncio.create_task(Dispatcher(
        ledger, worker, spool, counts, engines=engines, jobs_at_once=jobs_at_once).run())  # type: ignore[arg-type]
    await asyncio.sleep(0)
    worker.say(Ready(1, ()))
    try:
        yield worker, counts
        assert not running.done(), running.exception()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def until(true: Any) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not (await true() if asyncio.iscoroutinefunction(true) else true()):
            await asyncio.sleep(0.01)


async def in_state(ledger: Ledger, job_id: int, state: JobState) -> Job:
    async def there() -> bool:
        job = await ledger.job(job_id)
        return job is not None and job.state is state

    await until(there)
    job = await ledger.job(job_id)
    assert job is not None
    return job


async def test_a_job_goes_to_the_worker_and_comes_back(ledger: Ledger, tmp_path: Path) -> None:
    async with at_work(ledger, tmp_path) as (worker, counts):
        job = (await ask(service_of(ledger), takes=1)).job
        await until(worker.starts)
        (start,) = worker.starts()
        assert (start.job, start.attempt, start.made) == (job.id, 1, ())
        worker.say(
            Planned(job.id, 1, {"matched_title": "x"}), Progress(job.id, 1, (1.0,), 512), Rendering(job.id, 1, 2.0),
            Made(job.id, 1, 1, FILES, 10.0, 170, 512), Finished(job.id, 1))
        done = await in_state(ledger, job.id, JobState.DELIVERING)
        assert done.takes[0].state is TakeState.MADE
        assert counts.seen == [("pocket", 512, 2.0)]


async def test_no_more_jobs_than_allowed_are_with_the_worker(ledger: Ledger, tmp_path: Path) -> None:
    service = service_of(ledger, machine=Limits())
    async with at_work(ledger, tmp_path) as (worker, _):
        await asyncio.gather(*(ask(service) for _ in range(6)))
        for _ in range(20):
            worker.say(Ready(1, ()))  # events and news both lead to starting
            await asyncio.sleep(0.01)
        assert len(worker.starts()) == 2
        first = worker.starts()[0]
        for number in (1, 2):
            worker.say(Made(first.job, 1, number, FILES, 1.0, 9, 9))
        worker.say(Finished(first.job, 1))
        await until(lambda: len(worker.starts()) == 3)


def finish(worker: Nobody, start: Start, takes: int = 1) -> None:
    worker.say(*(Made(start.job, start.attempt, number, FILES, 1.0, 9, 9) for number in range(1, takes + 1)),
               Finished(start.job, start.attempt))


async def test_who_asks_ten_times_does_not_hold_up_who_asks_once(ledger: Ledger, tmp_path: Path, clock: Clock) -> None:
    """One place, and each job is over when the next is begun."""
    service = service_of(ledger, machine=Limits())
    async with at_work(ledger, tmp_path, jobs_at_once=1) as (worker, _):
        annas = [(await ask(service, takes=1)).job.id for _ in range(4)]
        begun: list[int] = []
        bens = None
        for _ in range(5):
            await until(lambda: len(worker.starts()) > len(begun))
            start = worker.starts()[-1]
            begun.append(start.job)
            clock.move(seconds=1)
            bens = bens or (await ask(service, BEN, takes=1)).job.id
            finish(worker, start)
        assert begun == [annas[0], bens, *annas[1:]]


async def test_who_asks_while_another_is_started_comes_before_a_second_job(
        ledger: Ledger, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two places are free, Anna has two jobs, and Ben asks just when her first one is begun."""
    service = service_of(ledger, machine=Limits())
    annas = [(await ask(service, takes=1)).job.id for _ in range(2)]
    mark_running, bens = ledger.mark_running, 0

    async def and_ben_asks(job_id: int) -> Job | None:
        nonlocal bens
        clock.move(seconds=1)
        started = await mark_running(job_id)
        bens = bens or (await ask(service, BEN, takes=1)).job.id
        return started

    monkeypatch.setattr(ledger, "mark_running", and_ben_asks)
    async with at_work(ledger, tmp_path, jobs_at_once=2) as (worker, _):
        await until(lambda: len(worker.starts()) == 2)
        assert [start.job for start in worker.starts()] == [annas[0], bens]


async def test_how_long_a_job_waited_is_counted_once(ledger: Ledger, tmp_path: Path, clock: Clock) -> None:
    job = (await ask(service_of(ledger))).job
    clock.move(seconds=90)
    async with at_work(ledger, tmp_path) as (worker, counts):
        await until(worker.starts)
        clock.move(seconds=90)
        worker.say(Died(70, (job.id,), (job.id,)), Ready(1, ()))
        await until(lambda: len(worker.starts()) == 2)
        assert counts.waits == [("pocket", 90.0)]


@pytest.mark.parametrize("step", ["mark_running", "take_made", "delivering", "line", "fail"])
async def test_a_ledger_that_is_locked_is_waited_for(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str,
) -> None:
    monkeypatch.setattr(dispatching, "FIRST_WAIT_S", 0.01)
    right, left = getattr(ledger, step), 3

    async def locked(*given: Any, **named: Any) -> Any:
        nonlocal left
        left -= 1
        if left >= 0:
            raise LedgerError("the database is locked")
        return await right(*given, **named)

    async with at_work(ledger, tmp_path) as (worker, _):
        monkeypatch.setattr(ledger, step, locked)
        job = (await ask(service_of(ledger), takes=1)).job
        await until(worker.starts)
        if step == "fail":
            worker.say(Failed(job.id, 1, Failure.RENDERING.value, "no sound"))
            await in_state(ledger, job.id, JobState.FAILED)
        else:
            worker.say(Made(job.id, 1, 1, FILES, 1.0, 9, 9), Finished(job.id, 1))
            await in_state(ledger, job.id, JobState.DELIVERING)


async def test_who_crashes_alone_three_times_fails(ledger: Ledger, tmp_path: Path) -> None:
    async with at_work(ledger, tmp_path) as (worker, counts):
        job = (await ask(service_of(ledger))).job
        for attempt in (1, 2, 3):
            await until(lambda attempt=attempt: len(worker.starts()) == attempt)
            worker.say(Died(70, (job.id,), (job.id,)), Ready(1, ()))
        failed = await in_state(ledger, job.id, JobState.FAILED)
        assert failed.failure == Failure.CRASHED
        assert counts.seen == ["worker died"] * 3


async def test_after_a_crash_of_several_each_is_tried_alone(ledger: Ledger, tmp_path: Path) -> None:
    service = service_of(ledger)
    async with at_work(ledger, tmp_path) as (worker, _):
        jobs = [(await ask(service)).job.id for _ in range(2)]
        await until(lambda: len(worker.starts()) == 2)
        worker.say(Died(70, tuple(jobs), tuple(jobs)), Ready(1, ()))
        await until(lambda: len(worker.starts()) == 3)
        await asyncio.sleep(0.1)
        assert len(worker.starts()) == 3
        for number in (1, 2):
            worker.say(Made(jobs[0], 2, number, FILES, 1.0, 9, 9))
        worker.say(Finished(jobs[0], 2))
        await until(lambda: len(worker.starts()) == 4)
        assert [start.job for start in worker.starts()[2:]] == jobs


async def test_a_cancelled_job_is_taken_from_the_worker(ledger: Ledger, tmp_path: Path) -> None:
    service = service_of(ledger)
    async with at_work(ledger, tmp_path) as (worker, _):
        job = (await ask(service)).job
        await until(worker.starts)
        await service.cancel(job.id, ANNA)
        await until(lambda: Cancel(job.id) in worker.sent)


async def test_what_a_dead_bot_left_is_taken_up(ledger: Ledger, tmp_path: Path) -> None:
    service = service_of(ledger)
    half, whole = [(await ask(service, takes=1 + number)).job.id for number in (1, 0)]
    for job_id in (half, whole):
        await ledger.mark_running(job_id)
        folder = Spool(tmp_path).open(str(job_id))
        (folder / "take-1.mid").write_bytes(b"MThd")
        Spool(tmp_path).keep(folder, Made(job_id, 1, 1, FILES, 5.0, 60, 180))
    async with at_work(ledger, tmp_path) as (worker, _):
        await in_state(ledger, whole, JobState.DELIVERING)
        await until(worker.starts)
        (start,) = worker.starts()
        assert (start.job, start.attempt, start.made) == (half, 2, (1,))


async def test_takes_of_another_ledger_are_kept(ledger: Ledger, tmp_path: Path) -> None:
    folder = Spool(tmp_path).open("7")
    (folder / "take-1.mid").write_bytes(b"MThd")
    job = (await ask(service_of(ledger))).job
    assert job.id < 7
    async with at_work(ledger, tmp_path) as (worker, _):
        await until(worker.starts)
    (kept,) = tmp_path.glob("kept-7-*")
    assert (kept / "take-1.mid").read_bytes() == b"MThd"
    assert not folder.exists()


async def test_files_of_a_job_that_did_not_come_to_be_are_removed(ledger: Ledger, tmp_path: Path) -> None:
    await Spool(tmp_path).keep_file(9, "input-melody", b"RIFF")
    async with at_work(ledger, tmp_path):
        pass
    assert not Spool(tmp_path).folder(9).exists()
    assert not list(tmp_path.glob("kept-*"))


@pytest.mark.parametrize("step", ["take_made", "requeue"])
async def test_a_ledger_that_is_locked_while_a_job_is_started_loses_no_job(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str,
) -> None:
    """A take that a worker left in the spool is entered; or the worker goes just when the order comes."""
    monkeypatch.setattr(dispatching, "FIRST_WAIT_S", 0.01)
    job_id = (await ask(service_of(ledger))).job.id
    folder = Spool(tmp_path).open(str(job_id))
    (folder / "take-1.mid").write_bytes(b"MThd")
    Spool(tmp_path).keep(folder, Made(job_id, 1, 1, FILES, 5.0, 60, 180))
    right, left = getattr(ledger, step), 3

    async def locked(*given: Any, **named: Any) -> Any:
        nonlocal left
        left -= 1
        if left >= 0:
            raise LedgerError("the database is locked")
        return await right(*given, **named)

    monkeypatch.setattr(ledger, step, locked)
    async with at_work(ledger, tmp_path) as (worker, _):
        worker.gone = step == "requeue"
        if worker.gone:
            await until(lambda: left < 0)
            worker.gone = False
        await until(worker.starts)
        assert worker.starts()[0].made == (1,)
        assert (await in_state(ledger, job_id, JobState.RUNNING)).takes[0].state is TakeState.MADE


async def test_every_state_is_counted(ledger: Ledger, tmp_path: Path) -> None:
    entered: list[JobState] = []
    ledger.entered = entered.append
    async with at_work(ledger, tmp_path) as (worker, _):
        job = (await ask(service_of(ledger), takes=1)).job
        await until(worker.starts)
        worker.say(Made(job.id, 1, 1, FILES, 1.0, 9, 9), Finished(job.id, 1))
        await in_state(ledger, job.id, JobState.DELIVERING)
    assert entered == [JobState.QUEUED, JobState.RUNNING, JobState.DELIVERING]


async def test_an_engine_that_cannot_be_loaded_does_not_stop_the_queue(ledger: Ledger, tmp_path: Path) -> None:
    service = service_of(ledger, engines=("pocket", "la-composer"))
    doomed = (await service.submit("midi", "la-composer", {"title": "x", "takes": 1}, ANNA, Place(1))).job
    innocent = (await ask(service)).job
    async with at_work(ledger, tmp_path, jobs_at_once=2, engines=("pocket", "la-composer")) as (worker, _):
        for crash in range(1, dispatching.MOST_STRIKES + 1):
            await until(lambda crash=crash: len(worker.starts()) == 2 * crash)
            worker.say(Progress(innocent.id, crash, (0.1, 0.1), 9), Loading("la-composer"),
                       Died(-9, (doomed.id, innocent.id), (innocent.id,), "la-composer"), Ready(2, ()))
        failed = await in_state(ledger, doomed.id, JobState.FAILED)
        assert failed.failure == Failure.NO_MODEL
        assert (await service.quota(ANNA, 1)).jobs_today == 1  # given back
        kept = await in_state(ledger, innocent.id, JobState.RUNNING)
        assert (kept.strikes, kept.alone) == (0.0, False)
        again = (await service.submit("midi", "la-composer", {"title": "y", "takes": 1}, ANNA, Place(1))).job
        await in_state(ledger, again.id, JobState.FAILED)
