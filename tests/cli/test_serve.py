"""`kapelle run` from the inside: what ends it, and in which order its parts end."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.cli.serve import _serve
from bot.discord import client
from bot.discord.client import KapelleBot
from bot.settings import Settings
from tests.discord_double import DiscordDouble

PATIENCE_S = 60.0


@pytest.fixture
async def double(tmp_path: Path) -> AsyncIterator[DiscordDouble]:
    async with DiscordDouble(tmp_path) as double:
        yield double


@pytest.fixture
async def served(double: DiscordDouble, tmp_path: Path) -> AsyncIterator[asyncio.Task[None]]:
    settings = Settings(
        _env_file=None, discord_address=f"{double.host}:{double.port}", discord_ca=double.ca_file,  # type: ignore[call-arg]
        data=tmp_path / "data", health_port=0)
    task = asyncio.create_task(_serve(settings, double.token))
    yield task
    task.cancel()
    await asyncio.wait((task,))
    gc.unfreeze()


async def test_nothing_is_begun_any_more_when_the_bot_closes(
        served: asyncio.Task[None], double: DiscordDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    dispatching: list[bool] = []
    close = KapelleBot.close

    async def closing(bot: KapelleBot) -> None:
        assert bot.application.dispatching is not None
        dispatching.append(not bot.application.dispatching.done())
        await close(bot)

    monkeypatch.setattr(KapelleBot, "close", closing)
    await double.connected(PATIENCE_S)
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(PATIENCE_S):
        await served
    assert dispatching
    assert not any(dispatching)


async def test_a_delivery_that_ends_by_an_error_ends_the_bot(
        served: asyncio.Task[None], monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def __init__(self, *_: object) -> None: ...

        async def run(self) -> None:
            raise RuntimeError("nothing can be posted any more")

    monkeypatch.setattr(client, "Delivery", Broken)
    with pytest.raises(RuntimeError, match="nothing can be posted"):
        async with asyncio.timeout(PATIENCE_S):
            await served


async def test_what_is_there_is_never_searched_for_garbage_again(
        served: asyncio.Task[None], double: DiscordDouble, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it connects, and once more when it has."""
    frozen: list[int] = []
    freeze = gc.freeze

    def noted() -> None:
        freeze()
        frozen.append(gc.get_freeze_count())

    monkeypatch.setattr(gc, "freeze", noted)
    await double.connected(PATIENCE_S)
    async with asyncio.timeout(PATIENCE_S):
        while len(frozen) < 2:
            await asyncio.sleep(0.02)
    assert 10_000 < frozen[0] < frozen[1]
