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

pytestmark = pytest.mark.slow
STUDENTS = 30


@pytest.fixture
async def double(tmp_path: Path) -> AsyncIterator[DiscordDouble]:
    async with DiscordDouble(tmp_path) as discord, running_bot(discord, tmp_path / "data", jobs_at_once="2"):
        yield discord
    assert discord.violations == []


async def test_everyone_is_answered_and_first_pieces_come_before_second_ones(double: DiscordDouble) -> None:
    async def asks(student: Member, number: int) -> None:
        await asyncio.sleep(number / STUDENTS * 5)
        for piece in ("first", "second") if number % 5 == 0 else ("first",):
            use = await student.command("midi", {"title": f"{student.name} {piece}", "tokens": 33, "takes": 1})
            assert use.acknowledged_after_s is not None
            await use.answer(timeout_s=30)

    students = [double.member(f"S{number}x") for number in range(STUDENTS)]
    await asyncio.gather(*(asks(student, number) for number, student in enumerate(students)))
    posted: dict[str, int] = {}
    for number, student in enumerate(students):
        for piece in ("first", "second") if number % 5 == 0 else ("first",):
            threaded = await takes_of(double, f"{student.name} {piece}", 1, timeout_s=120)
            posted[f"{student.name} {piece}"] = threaded.takes[0].id
    waiting_first = [f"S{number}x first" for number in range(STUDENTS)]
    # Two jobs are with the worker at a time, so an early second piece may pass those who asked after it had begun.
    for number in range(0, STUDENTS, 5):
        earlier = [posted[name] for name in waiting_first[:number + 1]]
        assert posted[f"S{number}x second"] > max(earlier)
