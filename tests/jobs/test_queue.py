"""Whose turn it is, as laws."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.jobs.ledger import Ledger
from bot.jobs.queue import order
from bot.jobs.records import Job, Member
from tests.jobs.building import ANNA, BEN, GUILD, STRANGER, TEACHER, Clock, ask, job, service_of

START = datetime(2026, 1, 1, tzinfo=UTC)
JOBS = st.lists(st.tuples(st.integers(1, 4), st.integers(0, 1)), max_size=25).flatmap(
    lambda asked: st.permutations([job(number, owner, priority=priority) for number, (owner, priority) in enumerate(asked, 1)]))
BEGUN = st.permutations(range(1, 5)).flatmap(
    lambda owners: st.integers(0, 4).map(lambda known: {owner: at(place) for place, owner in enumerate(owners[:known])}))


def at(seconds: int) -> datetime:
    return START + timedelta(seconds=seconds)


@given(JOBS, BEGUN)
def test_all_are_in_it_and_a_higher_priority_goes_first(waiting: list[Job], begun: Mapping[int, datetime]) -> None:
    ordered = order(waiting, begun)
    assert sorted(one.id for one in ordered) == sorted(one.id for one in waiting)
    assert [-one.priority for one in ordered] == sorted(-one.priority for one in waiting)
    for owner in {(one.owner_id, one.priority) for one in waiting}:
        own = [one.id for one in ordered if (one.owner_id, one.priority) == owner]
        assert own == sorted(own)


@given(JOBS, BEGUN)
def test_the_order_does_not_depend_on_how_jobs_are_listed(waiting: list[Job], begun: Mapping[int, datetime]) -> None:
    assert order(waiting, begun) == order(sorted(waiting, key=lambda one: one.id), begun)


@given(JOBS, BEGUN)
def test_the_places_that_are_told_hold_when_one_after_the_other_is_begun(
        waiting: list[Job], begun: Mapping[int, datetime]) -> None:
    told = order(waiting, begun)
    left, now = list(waiting), dict(begun)
    for place, one in enumerate(told):
        assert order(left, now)[0] == one
        left.remove(one)
        now[one.owner_id] = at(100 + place)


@given(st.lists(st.one_of(st.integers(1, 4), st.none()), max_size=60), st.lists(st.integers(1, 4), min_size=1, max_size=20))
def test_while_a_job_waits_nobody_else_has_two_begun(happens: list[int | None], crowd: list[int]) -> None:
    """A whole run: whoever is named asks for a job, None begins the next one; of those begun only the time is known."""
    waiting: list[Job] = []
    begun: dict[int, datetime] = {}
    overtaken: dict[int, set[int]] = {}  # member -> who had a job begun since the member's next one waits
    for number, owner in enumerate([*crowd, *happens, *[None] * (len(crowd) + len(happens))]):
        if owner is not None:
            waiting.append(job(number, owner))
            overtaken.setdefault(owner, set())
        elif waiting:
            (one, *_) = order(waiting, begun)
            waiting.remove(one)
            begun[one.owner_id] = at(number)
            del overtaken[one.owner_id]
            for member, others in overtaken.items():
                assert one.owner_id not in others, f"{one.owner_id} had two begun while {member} waited"
                others.add(one.owner_id)
            if any(other.owner_id == one.owner_id for other in waiting):
                overtaken[one.owner_id] = set()
    assert not waiting


def test_one_who_asks_ten_times_does_not_hold_up_the_others() -> None:
    waiting = [job(number, 1) for number in range(1, 11)] + [job(11, 2), job(12, 3)]
    assert [one.id for one in order(waiting, {})][:4] == [1, 11, 12, 2]
    assert [one.id for one in order(waiting, {1: at(1)})][:4] == [11, 12, 1, 2]
    assert [one.id for one in order(waiting, {1: at(1), 2: at(2)})][:4] == [12, 1, 11, 2]


def test_a_higher_priority_goes_first() -> None:
    assert [one.id for one in order([job(1, 1), job(2, 2, priority=1), job(3, 2, priority=1)], {})] == [2, 3, 1]


# With the ledger: what was begun is known from it alone


async def begin_next(ledger: Ledger, clock: Clock, *, finished: bool = True) -> int:
    """Begin the job whose turn it is; its number."""
    clock.move(seconds=1)
    line = await ledger.line()
    turn = order(line.waiting, line.begun)[0]
    begun = await ledger.mark_running(turn.id)
    assert begun
    if finished:
        for take in begun.takes:
            await ledger.take_made(begun.id, begun.attempt, take.number, {"midi": "x.mid"}, 1.0, 1)
        await ledger.delivering(begun.id, begun.attempt)
    return turn.id


async def test_who_asks_later_is_not_behind_all_that_was_asked_before(ledger: Ledger, clock: Clock) -> None:
    """One place, and jobs that are over when the next is begun: nobody's tenth goes before another's first."""
    service = service_of(ledger)
    annas = [(await ask(service)).job.id for _ in range(10)]
    first = await begin_next(ledger, clock)
    bens = [(await ask(service, BEN)).job.id for _ in range(2)]
    assert (await service.mine(BEN))[0].place == 1
    rest = [await begin_next(ledger, clock) for _ in range(11)]
    assert [first, *rest] == [annas[0], bens[0], annas[1], bens[1], *annas[2:]]


async def test_a_job_at_work_for_long_counts(ledger: Ledger, clock: Clock) -> None:
    service = service_of(ledger)
    await ask(service)
    await begin_next(ledger, clock, finished=False)
    clock.move(hours=3)
    annas = (await ask(service)).job.id
    bens = (await ask(service, BEN)).job.id
    assert [await begin_next(ledger, clock) for _ in range(2)] == [bens, annas]


async def test_what_was_begun_yesterday_is_forgotten(ledger: Ledger, clock: Clock) -> None:
    service = service_of(ledger)
    await ask(service)
    await begin_next(ledger, clock)
    clock.move(days=1)
    annas = (await ask(service)).job.id
    bens = (await ask(service, BEN)).job.id
    assert [await begin_next(ledger, clock) for _ in range(2)] == [annas, bens]


async def test_a_job_that_a_crash_sends_back_keeps_its_turn(ledger: Ledger, clock: Clock) -> None:
    service = service_of(ledger)
    annas = (await ask(service)).job.id
    assert await begin_next(ledger, clock, finished=False) == annas
    await ask(service, BEN)
    await ledger.requeue(annas)
    assert await begin_next(ledger, clock) == annas


async def test_a_restart_forgets_no_turn(sqlite_url: str, clock: Clock) -> None:
    from bot.jobs.changes import Changes
    ledger = await Ledger.open(sqlite_url, Changes(), now=clock)
    service = service_of(ledger)
    annas = [(await ask(service)).job.id for _ in range(3)]
    assert await begin_next(ledger, clock) == annas[0]
    bens = (await ask(service, BEN)).job.id
    await ledger.close()
    ledger = await Ledger.open(sqlite_url, Changes(), now=clock)
    assert await begin_next(ledger, clock) == bens
    await ledger.close()


@pytest.mark.parametrize("seed", range(3))
async def test_a_line_that_is_kept_up_to_date_is_the_one_that_is_read_anew(ledger: Ledger, clock: Clock, seed: int) -> None:
    """Whatever is written: only what changed is read again."""
    import random
    chance = random.Random(seed)
    service = service_of(ledger)
    members = [ANNA, BEN, TEACHER, STRANGER, Member(GUILD, 99)]
    for _ in range(40):
        jobs = await ledger.jobs()
        one = chance.choice(jobs) if jobs else None
        match chance.randrange(6):
            case 0 | 1:
                await ask(service, chance.choice(members), takes=1)
            case 2 if (await ledger.line()).waiting:
                await begin_next(ledger, clock, finished=chance.random() < 0.5)
            case 3 if one:
                await ledger.requeue(one.id, alone=chance.random() < 0.5)
            case 4 if one:
                await ledger.cancel(one.id)
            case 5 if one:
                await service.delete(one.id, next(member for member in members if member.user_id == one.owner_id))
        kept = await ledger.line()
        ledger._line, ledger._changed = None, None
        assert await ledger.line() == kept
