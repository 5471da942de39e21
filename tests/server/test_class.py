"""A whole class at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.discord_double import DiscordDouble
from tests.discord_double.members import Member
from tests.rehearsal.bot_process import running_bot
from tests.server.asking import takes_of
from tests.server.judging import Records, wrong

pytestmark = pytest.mark.slow
STUDENTS = 30
PATIENCE_S = 300.0


@pytest.fixture
async def double(tmp_path: Path) -> AsyncIterator[DiscordDouble]:
    async with DiscordDouble(tmp_path) as discord, running_bot(discord, tmp_path / "data", jobs_at_once="1", threads="1"):
        yield discord


async def test_everyone_is_answered_and_first_pieces_come_before_second_ones(double: DiscordDouble, tmp_path: Path) -> None:
    """All ask within five seconds, every fifth one for two pieces. Something long is at work, so they have to wait."""
    records = Records(tmp_path / "data")
    teacher = double.member("Ms Miller", moderator=True)
    await (await teacher.command("midi", {"title": "All morning", "tokens": 2048, "takes": 16})).answer(PATIENCE_S)
    async with asyncio.timeout(PATIENCE_S):
        while records.state("All morning") != "running":
            await asyncio.sleep(0.05)

    async def asks(student: Member, number: int) -> None:
        await asyncio.sleep(number / STUDENTS * 5)
        for piece in pieces(number):
            use = await student.command("midi", {"title": f"{student.name} {piece}", "tokens": 33, "takes": 1})
            assert use.acknowledged_after_s is not None
            await use.answer(PATIENCE_S)

    students = [double.member(f"S{number}x") for number in range(STUDENTS)]
    await asyncio.gather(*(asks(student, number) for number, student in enumerate(students)))
    (long,) = [job.id for job in records.jobs() if job.name == "All morning"]
    await (await teacher.command("kapelle cancel", {"job": long})).answer(PATIENCE_S)
    for number, student in enumerate(students):
        for piece in pieces(number):
            await takes_of(double, f"{student.name} {piece}", 1, PATIENCE_S)
    overtaken = begun_too_early(records)
    assert overtaken == []
    async with asyncio.timeout(PATIENCE_S):
        while any("does not say" in one or "delivering" in one for one in wrong(double, records)):
            await asyncio.sleep(0.2)
    assert [one for one in wrong(double, records) if f"job {long} " not in f"{one} "] == []


def pieces(number: int) -> tuple[str, ...]:
    return ("first", "second") if number % 5 == 0 else ("first",)


def begun_too_early(records: Records) -> list[str]:
    """Second pieces that were begun while a first one waited.

    A job's turn is decided on after the one before it was begun, so a first piece counts if it waited by then.
    """
    events = [(name, state) for name, state in records.rows(
        "SELECT json_extract(jobs.parameters, '$.title'), events.state FROM events JOIN jobs ON jobs.id = events.job_id "
        "WHERE events.state IN ('queued', 'running') ORDER BY events.id")]
    wrong: list[str] = []
    waiting: set[str] = set()  # first pieces
    waited: set[str] = set()  # those that waited when a job was begun the last time
    for name, state in events:
        if state == "queued":
            waiting |= {name} if name.endswith("first") else set()
            continue
        waiting.discard(name)
        if name.endswith("second"):
            wrong += [f"{name} was begun before {first}" for first in waited & waiting]
        waited = set(waiting)
    return wrong
