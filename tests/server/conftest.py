"""One bot for the tests of a module: starting it means loading a network."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.discord_double import DiscordDouble
from tests.rehearsal.bot_process import BotProcess, running_bot


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def double(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DiscordDouble]:
    async with DiscordDouble(tmp_path_factory.mktemp("discord")) as discord:
        yield discord


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bot(double: DiscordDouble, data: Path) -> AsyncIterator[BotProcess]:
    async with running_bot(double, data, threads="1", max_jobs_at_once="50", max_jobs_a_day="1000") as process:
        yield process
    assert double.violations == []
    assert double.token not in process.log.read_text(errors="replace")
