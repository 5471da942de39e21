"""Whose turn it is, as laws."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from bot.jobs.queue import order
from bot.jobs.records import Job, JobState
from tests.jobs.building import job

JOBS = st.lists(st.tuples(st.integers(1, 4), st.integers(0, 1)), max_size=25).flatmap(
    lambda asked: st.permutations([job(number, owner, priority=priority) for number, (owner, priority) in enumerate(asked, 1)]))
AT_WORK = st.lists(st.integers(1, 4), max_size=4).map(
    lambda owners: [job(100 + number, owner, state=JobState.RUNNING) for number, owner in enumerate(owners)])


def rounds(ordered: list[Job], at_work: list[Job]) -> list[int]:
    """Which job of its member each is, those at work and those before it counted."""
    taken = Counter(one.owner_id for one in at_work)
    numbers = []
    for one in ordered:
        taken[one.owner_id] += 1
        numbers.append(taken[one.owner_id])
    return numbers


@given(JOBS, AT_WORK)
def test_nobodys_second_job_goes_before_anothers_first(waiting: list[Job], at_work: list[Job]) -> None:
    ordered = order(waiting, at_work)
    assert sorted(one.id for one in ordered) == sorted(one.id for one in waiting)
    keys = [(-one.priority, number, one.id) for one, number in zip(ordered, rounds(ordered, at_work), strict=True)]
    assert keys == sorted(keys)


@given(JOBS, AT_WORK)
def test_the_order_does_not_depend_on_how_jobs_are_listed(waiting: list[Job], at_work: list[Job]) -> None:
    assert order(waiting, at_work) == order(sorted(waiting, key=lambda one: one.id), at_work)


def test_one_who_asks_ten_times_does_not_hold_up_the_others() -> None:
    waiting = [job(number, 1) for number in range(1, 11)] + [job(11, 2), job(12, 3)]
    assert [one.id for one in order(waiting, [])][:4] == [1, 11, 12, 2]
    assert [one.id for one in order(waiting, [job(99, 1, state=JobState.RUNNING)])][:3] == [11, 12, 1]


def test_a_higher_priority_goes_first() -> None:
    assert [one.id for one in order([job(1, 1), job(2, 2, priority=1), job(3, 2, priority=1)], [])] == [2, 3, 1]
