"""How long a job waits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.jobs.records import JobState, TakeRecord, TakeState
from bot.jobs.waiting import estimate
from tests.jobs.building import job

STEADY = {"pocket": [100.0] * 3}  # ids a second; a job of 2 takes with 512 ids takes 10.24 s


def test_nothing_is_said_before_there_is_data() -> None:
    assert estimate([], job(1), {}, 1) is None
    assert estimate([], job(1), {"pocket": [100.0, 90.0]}, 1) is None
    assert estimate([job(1, engine="other")], job(2), STEADY, 1) is None
    assert estimate([job(1)], job(2), STEADY, 1) is not None


def test_jobs_share_the_places_there_are() -> None:
    ahead = [job(number) for number in range(4)]
    for places, seconds in ((1, 40.96), (2, 20.48), (3, 10.24), (4, 10.24), (5, 0.0)):
        wait = estimate(ahead, job(9), STEADY, places)
        assert wait
        assert (wait.least_s, wait.most_s) == pytest.approx((seconds, seconds))


def test_the_range_comes_from_the_speeds_that_were_measured() -> None:
    wait = estimate([job(1)], job(2), {"pocket": [float(speed) for speed in range(50, 151, 10)]}, 1)
    assert wait
    assert (wait.least_s, wait.most_s) == pytest.approx((1024 / 140, 1024 / 60))


def test_it_does_not_know_how_far_jobs_at_work_are() -> None:
    wait = estimate([job(1, state=JobState.RUNNING)], job(2), STEADY, 1)
    assert wait
    assert (wait.least_s, wait.most_s) == pytest.approx((0.0, 10.24))
    rendering = estimate([job(1, state=JobState.RENDERING)], job(2), STEADY, 1)
    assert rendering
    assert rendering.most_s == 0.0


def test_pieces_that_may_end_early_count_for_the_most_only() -> None:
    wait = estimate([job(1, parameters={"stop_at_end": True})], job(2), STEADY, 1)
    assert wait
    assert (wait.least_s, wait.most_s) == pytest.approx((0.0, 10.24))


def test_takes_that_are_made_are_not_waited_for() -> None:
    half = job(1, takes=(TakeRecord(1, 1, TakeState.POSTED), TakeRecord(1, 2, TakeState.PENDING)))
    wait = estimate([half], job(2), STEADY, 1)
    assert wait
    assert wait.least_s == pytest.approx(5.12)


def test_a_job_tried_alone_needs_all_places() -> None:
    ahead = [job(1), job(2, alone=True)]
    wait = estimate(ahead, job(3), STEADY, 8)
    assert wait
    assert wait.least_s == pytest.approx(20.48)
    alone = estimate([job(1)], job(2, alone=True), STEADY, 8)
    assert alone
    assert alone.least_s == pytest.approx(10.24)


@given(st.lists(st.tuples(st.integers(1, 16), st.booleans(), st.booleans(), st.sampled_from(list(JobState)[:3])), max_size=12),
       st.lists(st.floats(0.1, 1e4), min_size=3, max_size=20), st.integers(1, 8))
def test_the_least_is_never_more_than_the_most_and_nobody_overtakes(
        asked: list[tuple[int, bool, bool, JobState]], speeds: list[float], places: int) -> None:
    ahead = [job(number, alone=alone, state=state, parameters={"takes": takes, "stop_at_end": may_end})
             for number, (takes, alone, may_end, state) in enumerate(asked)]
    wait = estimate(ahead, job(99), {"pocket": speeds}, places)
    fewer = estimate(ahead[:-1], job(99), {"pocket": speeds}, places)
    assert wait
    assert fewer
    assert 0 <= wait.least_s <= wait.most_s
    assert fewer.most_s <= wait.most_s
