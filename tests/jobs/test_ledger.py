"""The life of a job in the ledger, on SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, timedelta
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from bot.jobs import ledger as ledger_module
from bot.jobs import transaction
from bot.jobs.changes import Changes
from bot.jobs.ledger import Ledger
from bot.jobs.quota import give_back
from bot.jobs.records import Job, JobState, TakeState
from bot.jobs.refusals import Failure
from tests.jobs.building import ANNA, BEN, CHANNEL, GUILD, Clock, ask, heard, service_of

FILES = {"midi": "take-1.mid", "sound": "take-1.ogg", "roll": "take-1.png"}


async def begun(ledger: Ledger, takes: int = 2) -> int:
    """The number of a job at its first attempt."""
    number = (await ask(service_of(ledger), takes=takes)).job.id
    assert await ledger.mark_running(number)
    return number


async def state(ledger: Ledger, number: int) -> JobState:
    found = await ledger.job(number)
    assert found
    return found.state


async def test_a_job_lives_from_queued_to_done(ledger: Ledger, clock: Clock) -> None:
    number = (await ask(service_of(ledger))).job.id
    clock.move(seconds=5)
    running = await ledger.mark_running(number)
    assert running
    assert (running.state, running.attempt) == (JobState.RUNNING, 1)
    assert running.started_at == running.created_at + timedelta(seconds=5)
    assert await ledger.planned(number, 1, {"matched_title": "Clair de lune --- Debussy", "notices": []})
    assert await ledger.take_made(number, 1, 1, FILES, 12.5, 99)
    assert await ledger.rendering(number, 1)
    assert not await ledger.delivering(number, 1)  # the second take is not made
    assert await ledger.take_made(number, 1, 2, FILES, 11.5, 98)
    assert await ledger.delivering(number, 1)
    await ledger.set_thread(number, 2**62)
    await ledger.set_card(number, 2**62 + 1)
    assert await ledger.finish(number) is None  # nothing is posted
    await ledger.take_posted(number, 1, 2**62 + 2)
    assert await ledger.finish(number) is None
    await ledger.take_posted(number, 2, 2**62 + 3)
    done = await ledger.finish(number)
    assert done
    assert (done.state, done.thread_id, done.card_id) == (JobState.DONE, 2**62, 2**62 + 1)
    assert done.ended_at == clock()
    assert done.ended_at.tzinfo is UTC
    assert done.outcome["matched_title"] == "Clair de lune --- Debussy"
    assert [(take.state, take.files, take.seconds, take.notes, take.message_id) for take in done.takes] == [
        (TakeState.POSTED, FILES, 12.5, 99, 2**62 + 2), (TakeState.POSTED, FILES, 11.5, 98, 2**62 + 3)]
    assert done == await ledger.job(number)
    assert await ledger.finish(number) is None


async def test_only_a_waiting_job_is_begun_and_by_one(ledger: Ledger) -> None:
    number = (await ask(service_of(ledger))).job.id
    begun = await asyncio.gather(*(ledger.mark_running(number) for _ in range(5)))
    assert sum(job is not None for job in begun) == 1
    assert await ledger.mark_running(number + 1) is None


async def test_events_of_an_earlier_attempt_change_nothing(ledger: Ledger) -> None:
    number = await begun(ledger)
    await ledger.requeue(number)
    again = await ledger.mark_running(number)
    assert again
    assert again.attempt == 2
    listener = ledger.changes.listen()
    assert not await ledger.planned(number, 1, {"matched_title": "late"})
    assert not await ledger.rendering(number, 1)
    assert not await ledger.take_made(number, 1, 1, FILES, 1.0, 1)
    assert not await ledger.delivering(number, 1)
    assert not heard(listener)
    assert await ledger.job(number) == again


async def test_a_requeued_job_keeps_the_takes_that_were_made(ledger: Ledger) -> None:
    number = await begun(ledger)
    assert await ledger.take_made(number, 1, 1, FILES, 1.0, 1)
    await ledger.requeue(number)
    assert await ledger.take_made(number, 1, 2, FILES, 1.0, 1)  # its worker had finished it before it died
    waiting = await ledger.job(number)
    assert waiting
    assert waiting.state is JobState.QUEUED
    assert waiting.started_at is None
    assert [take.state for take in waiting.takes] == [TakeState.MADE, TakeState.MADE]
    await ledger.mark_running(number)
    assert await ledger.delivering(number, 2)  # nothing is left to do


async def test_a_take_that_was_posted_is_not_made_or_lost_again(ledger: Ledger) -> None:
    number = await begun(ledger)
    assert await ledger.take_made(number, 1, 1, FILES, 1.0, 1)
    await ledger.take_posted(number, 1, 77)
    assert await ledger.take_made(number, 1, 1, {}, 0.0, 0)
    await ledger.take_lost(number, 1)
    found = await ledger.job(number)
    assert found
    assert (found.takes[0].state, found.takes[0].message_id, found.takes[0].files) == (TakeState.POSTED, 77, FILES)
    assert not await ledger.take_made(number, 1, 3, FILES, 1.0, 1)  # there is no third one


async def test_lost_and_empty_takes_do_not_keep_a_job_from_its_end(ledger: Ledger) -> None:
    number = await begun(ledger, takes=3)
    for take, files in enumerate(({}, FILES, FILES), 1):
        assert await ledger.take_made(number, 1, take, files, 1.0, len(files))
    assert await ledger.delivering(number, 1)
    await ledger.take_posted(number, 2, 5)
    await ledger.take_lost(number, 3)
    done = await ledger.finish(number)
    assert done
    assert [take.state for take in done.takes] == [TakeState.EMPTY, TakeState.POSTED, TakeState.LOST]


async def test_a_job_of_which_no_take_was_posted_fails_and_is_not_charged(ledger: Ledger) -> None:
    number = await begun(ledger)
    for take in (1, 2):
        assert await ledger.take_made(number, 1, take, FILES, 1.0, 1)
    assert await ledger.delivering(number, 1)
    for take in (1, 2):
        await ledger.take_lost(number, take)
    failed = await ledger.finish(number)
    assert failed
    assert (failed.state, failed.failure) == (JobState.FAILED, Failure.LOST)
    assert (await service_of(ledger).quota(ANNA, CHANNEL)).takes_today == 0


async def test_what_is_posted_of_a_cancelled_or_deleted_job_is_not_wanted(ledger: Ledger) -> None:
    number = await begun(ledger)
    assert await ledger.take_made(number, 1, 1, FILES, 1.0, 1)
    await ledger.cancel(number)
    assert not await ledger.take_posted(number, 1, 5)
    assert await ledger.set_card(number, 6)  # it says so
    await service_of(ledger).delete(number, ANNA)
    assert not await ledger.take_posted(number, 1, 5)
    assert not await ledger.set_card(number, 6)
    assert not await ledger.take_copied(number, 1, CHANNEL, 7)


async def test_ends_that_were_not_told_are_known(ledger: Ledger) -> None:
    first, second = await begun(ledger), await begun(ledger)
    await ledger.tell(first)  # it is not over
    assert await ledger.untold() == [first, second]
    await ledger.cancel(first)
    assert await ledger.untold() == [first, second]
    await ledger.tell(first)
    assert await ledger.untold() == [second]
    told = await ledger.job(first)
    assert told
    assert told.told


async def test_a_job_of_empty_takes_only_fails_and_is_not_charged(ledger: Ledger) -> None:
    number = await begun(ledger)
    for take in (1, 2):
        assert await ledger.take_made(number, 1, take, {}, 0.0, 0)
    assert await ledger.delivering(number, 1)
    failed = await ledger.job(number)
    assert failed
    assert (failed.state, failed.failure) == (JobState.FAILED, Failure.EMPTY)
    assert (await service_of(ledger).quota(ANNA, CHANNEL)).takes_today == 0


async def test_a_failure_gives_quota_back_unless_the_engine_refused(ledger: Ledger) -> None:
    service = service_of(ledger)
    for failure in Failure:
        before = await service.quota(ANNA, CHANNEL)
        number = await begun(ledger)
        await ledger.planned(number, 1, {"notices": ["a"]})
        failed = await ledger.fail(number, failure, "one line")
        assert failed
        assert (failed.state, failed.failure) == (JobState.FAILED, failure)
        assert failed.outcome == {"notices": ["a"], "failure": "one line"}
        after = await service.quota(ANNA, CHANNEL)
        charged = (after.jobs_today - before.jobs_today, after.takes_today - before.takes_today)
        assert charged == ((1, 2) if failure is Failure.REFUSED else (0, 0)), failure


async def test_quota_is_given_back_once_and_on_its_day(ledger: Ledger, clock: Clock) -> None:
    service = service_of(ledger)
    first = (await ask(service)).job.id
    await ask(service, takes=3)
    clock.move(days=1)
    await ask(service, takes=5)
    assert await ledger.cancel(first)
    assert await ledger.cancel(first) is None
    assert await ledger.fail(first, Failure.CRASHED) is None
    assert (await service.quota(ANNA, CHANNEL)).takes_today == 5
    clock.move(days=-1)
    quota = await service.quota(ANNA, CHANNEL)
    assert (quota.jobs_today, quota.takes_today) == (1, 3)


async def test_quota_given_back_twice_is_given_back_once(ledger: Ledger) -> None:
    service = service_of(ledger)
    number = (await ask(service)).job.id
    await ask(service)
    for _ in range(2):
        async with ledger.write() as transaction:
            row = await transaction.job(number)
            assert row
            await give_back(transaction.session, row)
    quota = await service.quota(ANNA, CHANNEL)
    assert (quota.jobs_today, quota.takes_today) == (1, 2)


async def test_a_job_cancelled_at_work_stays_charged(ledger: Ledger) -> None:
    number = await begun(ledger)
    assert await ledger.cancel(number)
    assert (await service_of(ledger).quota(ANNA, CHANNEL)).takes_today == 2
    assert not await ledger.take_made(number, 1, 1, FILES, 1.0, 1)
    await ledger.requeue(number)
    assert await state(ledger, number) is JobState.CANCELLED


async def test_strikes_add_up_and_halve_with_every_hour(ledger: Ledger, clock: Clock) -> None:
    number = await begun(ledger)
    await ledger.requeue(number, strike=1.0, alone=True)
    await ledger.mark_running(number)
    clock.move(minutes=59)
    await ledger.requeue(number, strike=1.0)
    struck = await ledger.job(number)
    assert struck
    assert (struck.strikes, struck.alone) == (2.0, True)
    clock.move(hours=2)
    assert (await ledger.jobs(JobState.QUEUED))[0].strikes == 0.5
    await ledger.mark_running(number)
    await ledger.requeue(number, strike=1.0)
    assert (await ledger.jobs(JobState.QUEUED))[0].strikes == 1.5


async def test_every_change_is_published_and_a_refused_one_is_not(ledger: Ledger) -> None:
    listener = ledger.changes.listen()
    number = (await ask(service_of(ledger))).job.id
    assert heard(listener) == {number}
    for change in (
            ledger.mark_running(number), ledger.planned(number, 1, {}), ledger.take_made(number, 1, 1, FILES, 1, 1),
            ledger.take_made(number, 1, 2, FILES, 1, 1), ledger.rendering(number, 1), ledger.requeue(number),
            ledger.mark_running(number), ledger.delivering(number, 2), ledger.set_thread(number, 5), ledger.set_card(number, 6),
            ledger.take_posted(number, 1, 7), ledger.take_lost(number, 2), ledger.toggle_favourite(number, 1, 8),
            ledger.finish(number)):
        await change
        assert heard(listener) == {number}, change
    for change in (ledger.cancel(number), ledger.fail(number, Failure.CRASHED), ledger.requeue(number), ledger.set_card(99, 1)):
        await change
        assert not heard(listener), change


async def test_jobs_are_found_by_state_guild_owner_and_page(ledger: Ledger) -> None:
    service = service_of(ledger)
    mine = [(await ask(service)).job.id for _ in range(3)]
    bens = (await ask(service, BEN)).job.id
    await ledger.cancel(mine[1])
    assert [job.id for job in await ledger.jobs()] == [*mine, bens]
    assert [job.id for job in await ledger.jobs(JobState.QUEUED, owner_id=ANNA.user_id)] == [mine[0], mine[2]]
    assert [job.id for job in await ledger.jobs(newest_first=True, limit=2, offset=1)] == [mine[2], mine[1]]
    assert await ledger.jobs(guild_id=GUILD + 1) == []
    assert await ledger.count(JobState.QUEUED, JobState.CANCELLED, guild_id=GUILD) == 4
    assert await ledger.count(JobState.CANCELLED, owner_id=BEN.user_id) == 0


async def test_messages_lead_to_their_job(ledger: Ledger) -> None:
    number = await begun(ledger)
    await ledger.take_made(number, 1, 2, FILES, 1.0, 1)
    await ledger.take_posted(number, 2, 2**62)
    await ledger.set_card(number, 2**62 + 1)
    found = await ledger.job(number)
    assert await ledger.job_of_message(2**62) == (found, 2)
    assert await ledger.job_of_message(2**62 + 1) == (found, None)
    assert await ledger.job_of_message(5) is None
    assert await ledger.take_copied(number, 2, CHANNEL, 2**62 + 2)
    assert await ledger.job_of_message(2**62 + 2) == (found, 2)
    assert await ledger.copies(number) == [(CHANNEL, 2**62 + 2)]
    await service_of(ledger).delete(number, ANNA)
    assert await ledger.copies(number) == []
    assert await ledger.job_of_message(2**62 + 2) is None


@pytest.mark.parametrize("number", [-1, 0, 2**31, 2**63, 10**30])
async def test_a_number_no_job_can_have_is_just_not_there(ledger: Ledger, number: int) -> None:
    assert await ledger.job(number) is None
    assert await ledger.cancel(number) is None
    assert await ledger.job_of_message(number) is None
    assert not await ledger.toggle_favourite(number, 1, 1)


async def test_favourites_are_counted_by_member(ledger: Ledger) -> None:
    number = await begun(ledger)
    assert await ledger.toggle_favourite(number, 2, ANNA.user_id)
    assert await ledger.toggle_favourite(number, 2, BEN.user_id)
    found = await ledger.job(number)
    assert found
    assert [take.favourites for take in found.takes] == [0, 2]
    assert not await ledger.toggle_favourite(number, 2, ANNA.user_id)
    assert [take.favourites for take in (await ledger.jobs())[0].takes] == [0, 1]


async def test_speeds_of_the_last_twenty_jobs_are_kept(ledger: Ledger) -> None:
    for seconds in range(1, 25):
        await ledger.record_speed("pocket", 1200, seconds)
    await ledger.record_speed("la-composer", 100, 50)
    await ledger.record_speed("pocket", 0, 1)
    await ledger.record_speed("pocket", 1, 0)
    assert await ledger.speeds("pocket") == pytest.approx([1200 / seconds for seconds in range(5, 25)])
    assert await ledger.speeds("la-composer") == [2.0]
    assert await ledger.speeds("musicgen") == []


async def test_the_line_is_read_again_once_something_changed(ledger: Ledger) -> None:
    number = (await ask(service_of(ledger))).job.id
    line = await ledger.line()
    assert ([job.id for job in line.waiting], line.at_work) == ([number], ())
    assert await ledger.line() is line
    await ledger.mark_running(number)
    line = await ledger.line()
    assert (line.waiting, [job.id for job in line.at_work]) == ((), [number])


async def test_what_did_not_change_is_not_read_again(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """With hundreds of jobs in the line, reading them all after each write would hold up the event loop."""
    service = service_of(ledger)
    numbers = [(await ask(service)).job.id for _ in range(20)]
    await ledger.line()
    read: list[int] = []
    record = transaction.record_of

    def noted(row: Any, *given: Any) -> Job:
        read.append(row.id)
        return record(row, *given)

    await ledger.mark_running(numbers[3])
    monkeypatch.setattr(ledger_module, "record_of", noted)
    line = await ledger.line()
    assert read == [numbers[3]]
    assert [job.id for job in line.waiting] == [*numbers[:3], *numbers[4:]]
    assert [job.id for job in line.at_work] == [numbers[3]]


async def test_a_write_of_which_nobody_knows_whether_it_was_done_is_looked_up(
        ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever wrote was cancelled just when it came to the disk."""
    number = (await ask(service_of(ledger))).job.id
    await ledger.line()
    write = ledger._database.write

    @asynccontextmanager
    async def cut_off() -> AsyncIterator[AsyncSession]:
        async with write() as session:
            yield session
        raise asyncio.CancelledError

    monkeypatch.setattr(ledger._database, "write", cut_off)
    with pytest.raises(asyncio.CancelledError):
        await ledger.mark_running(number)
    assert [job.id for job in (await ledger.line()).at_work] == [number]


async def test_jobs_that_are_only_listed_come_without_their_takes(ledger: Ledger) -> None:
    service = service_of(ledger)
    await ask(service, takes=2)
    assert [len(job.takes) for job in await ledger.jobs()] == [2]
    assert [job.takes for job in await ledger.jobs(with_takes=False)] == [()]
    assert [queued.job.takes for queued in await service.mine(ANNA)] == [()]


async def test_a_line_read_while_something_changed_is_not_kept(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    number = (await ask(service_of(ledger))).job.id
    await ledger.mark_running(number)
    read = ledger.read

    @asynccontextmanager
    async def read_and_then_change() -> AsyncIterator[AsyncSession]:
        async with read() as session:
            yield session
        monkeypatch.undo()
        await ledger.requeue(number)

    monkeypatch.setattr(ledger, "read", read_and_then_change)
    assert [job.id for job in (await ledger.line()).at_work] == [number]  # as it was
    assert [job.id for job in (await ledger.line()).waiting] == [number]


async def test_the_numbers_of_deleted_jobs_are_not_given_again(ledger: Ledger) -> None:
    service = service_of(ledger)
    number = (await ask(service)).job.id
    await service.delete(number, ANNA)
    assert (await ask(service)).job.id > number


async def test_cancelled_tasks_leave_the_ledger_whole_and_no_thread(sqlite_url: str) -> None:
    before = threading.active_count()
    ledger = await Ledger.open(sqlite_url, Changes())
    service = service_of(ledger)
    tasks = [asyncio.create_task(ask(service)) for _ in range(20)]
    for task in tasks:
        await asyncio.sleep(0.002)
        task.cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert any(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
    await ask(service)
    waiting = await ledger.count(JobState.QUEUED)
    quota = await service.quota(ANNA, CHANNEL)
    assert (quota.jobs_today, quota.takes_today) == (waiting, 2 * waiting)
    await ledger.close()
    await asyncio.get_running_loop().shutdown_default_executor()  # threads of the event loop's own
    async with asyncio.timeout(60):
        while threading.active_count() > before:
            await asyncio.sleep(0.01)
