from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import discord
import pytest

from bot.discord.card import CardPace, interval_s, too_old
from bot.jobs.records import JobState


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


pytestmark = pytest.mark.usefixtures("real_pace")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pace(clock: Clock) -> CardPace:
    return CardPace(clock)


def test_the_first_card_comes_at_once(pace: CardPace) -> None:
    assert pace.due_in_s("place 1", JobState.QUEUED, live=200) == 0


def test_a_card_that_says_it_already_is_left_alone(pace: CardPace) -> None:
    pace.shown("place 1", JobState.QUEUED)
    assert math.isinf(pace.due_in_s("place 1", JobState.QUEUED, live=1))
    assert math.isinf(pace.due_in_s("place 1", JobState.RUNNING, live=1))


@pytest.mark.parametrize(("live", "seconds"), [(1, 3), (5, 3), (6, 6), (30, 18), (200, 120)])
def test_progress_is_shown_every_three_seconds_and_slower_when_many_are_live(
        pace: CardPace, clock: Clock, live: int, seconds: int) -> None:
    assert interval_s(live) == seconds
    pace.shown("10 %", JobState.RUNNING)
    assert pace.due_in_s("20 %", JobState.RUNNING, live) == seconds
    clock.now += seconds - 1
    assert pace.due_in_s("20 %", JobState.RUNNING, live) == 1
    clock.now += 1
    assert pace.due_in_s("20 %", JobState.RUNNING, live) == 0


def test_turns_of_a_job_do_not_wait_for_the_others(pace: CardPace) -> None:
    pace.shown("place 1", JobState.QUEUED)
    assert pace.due_in_s("0 %", JobState.RUNNING, live=200) == 3


def test_the_end_is_shown_soon_but_never_within_two_seconds(pace: CardPace, clock: Clock) -> None:
    pace.shown("being posted", JobState.DELIVERING)
    assert pace.due_in_s("done", JobState.DONE, live=200) == 2
    clock.now += 2
    assert pace.due_in_s("done", JobState.DONE, live=200) == 0


def test_buttons_come_with_the_end_even_where_the_words_stay(pace: CardPace) -> None:
    pace.shown("the same", JobState.DELIVERING)
    assert pace.due_in_s("the same", JobState.DONE, live=1) == 2
    pace.shown("the same", JobState.DONE)
    assert math.isinf(pace.due_in_s("the same", JobState.DONE, live=1))


def test_a_card_from_before_a_restart_is_edited_only_after_a_pause(pace: CardPace, clock: Clock) -> None:
    pace.found()
    assert pace.due_in_s("20 %", JobState.RUNNING, live=1) == 3
    clock.now += 1
    pace.found()  # again, in the next round
    assert pace.due_in_s("done", JobState.DONE, live=1) == 1


def test_messages_are_old_after_55_minutes() -> None:
    written = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
    message_id = discord.utils.time_snowflake(written)
    assert not too_old(message_id, written + timedelta(minutes=54))
    assert too_old(message_id, written + timedelta(minutes=56))
