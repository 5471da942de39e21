"""The double, and a small bot that is connected to it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import discord
import pytest

from tests.discord_double import DiscordDouble
from tests.discord_double_tests.small_bot import Bot


@pytest.fixture
async def double(tmp_path: Path) -> AsyncIterator[DiscordDouble]:
    async with DiscordDouble(tmp_path) as made:
        made.world.edits_apart_s = 0.0
        yield made


@pytest.fixture
async def bot(double: DiscordDouble) -> AsyncIterator[Bot]:
    client = Bot(double)
    running = asyncio.create_task(client.start(double.token))
    try:
        await double.connected()
        await double.commands_synced()
        await asyncio.wait_for(client.wait_until_ready(), 60)
        yield client
    finally:
        await client.close()
        with contextlib.suppress(asyncio.CancelledError):
            await running


@pytest.fixture
async def channel(bot: Bot, double: DiscordDouble) -> discord.TextChannel:
    found = bot.get_channel(double.channel.id)
    assert isinstance(found, discord.TextChannel)
    return found
