"""The delivery of a real client to the Discord double, from a real ledger and a real spool; nothing is composed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import discord
import pytest

from bot.discord import card, delivery
from bot.discord.connection import connector
from bot.discord.delivery import Delivery
from bot.discord.retry import punctual
from bot.hosting.health import Metrics
from bot.jobs.changes import Changes
from bot.jobs.ledger import Ledger
from bot.jobs.limits import Limits
from bot.jobs.moderation import Moderation
from bot.jobs.records import Job, JobState, Member, Place, TakeState
from bot.jobs.service import JobService
from bot.settings import Settings
from bot.takes.spool import Spool
from tests.discord.building import sound
from tests.discord_double import DiscordDouble, Message

PATIENCE_S = 60.0


class Class:
    """A class server and the parts of a bot; `start` runs one that only delivers, `make` stands for the worker."""

    def __init__(self, double: DiscordDouble, ledger: Ledger, spool: Spool, settings: Settings) -> None:
        self.double, self.ledger, self.spool, self.settings = double, ledger, spool, settings
        self.jobs = JobService(ledger, Limits(), ["pocket"], remove_files=spool.remove, keep_file=spool.keep_file,
                               free_bytes=spool.free_bytes)
        self.progress: dict[int, Any] = {}
        self.metrics = Metrics()
        self.parts: Any = SimpleNamespace(  # what of an application is needed here
            settings=settings, ledger=ledger, changes=ledger.changes, spool=spool, jobs=self.jobs, metrics=self.metrics,
            moderation=Moderation(ledger), progress=self.progress.get,
            titles=SimpleNamespace(suggest=lambda text, limit=25: []))
        self.anna = double.member("Anna", locale="en")
        self._running: list[asyncio.Task[None]] = []
        self._client: discord.Client | None = None
        self._sound = sound(1)

    async def start(self) -> None:
        """Start the bot, also again after `stop`."""
        intents, nobody = discord.Intents(guilds=True), discord.AllowedMentions.none()
        self._client = discord.Client(
            intents=intents, allowed_mentions=nobody, connector=connector(self.settings), max_messages=None,
            http_trace=punctual())
        await self._client.login(self.double.token)
        self._running = [
            asyncio.create_task(self._client.connect()), asyncio.create_task(Delivery(self._client, self.parts).run())]

    async def stop(self) -> None:
        for task in reversed(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        self._running = []
        if self._client is not None:
            await self._client.close()

    async def ask(self, takes: int = 1, thread_id: int | None = None, language: str = "en", title: str = "Clair") -> Job:
        member = Member(self.double.guild.id, self.anna.id, language=language)
        queued = await self.jobs.submit(
            "midi", "pocket", {"title": title, "artist": "Debussy", "tokens": 64, "takes": takes, "temperature": 0.9},
            member, Place(self.double.channel.id, thread_id))
        return queued.job

    async def make(self, job: Job, numbers: Iterable[int] | None = None, empty: Iterable[int] = ()) -> None:
        """Make takes (all of them: and say so), as the worker does."""
        running = await self.ledger.mark_running(job.id) or await self.job(job)
        for number in numbers or range(1, len(job.takes) + 1):
            files = {} if number in empty else self._write(job, number)
            await self.ledger.take_made(job.id, running.attempt, number, files, 12.0, 20)
        if numbers is None:
            await self.ledger.rendering(job.id, running.attempt)
            await self.ledger.delivering(job.id, running.attempt)

    def _write(self, job: Job, number: int) -> dict[str, str]:
        folder = self.spool.folder(job.id)
        folder.mkdir(parents=True, exist_ok=True)
        files = {"midi": f"take-{number}.mid", "sound": f"take-{number}.ogg", "roll": f"take-{number}.png"}
        for kind, data in (("midi", b"MThd"), ("sound", self._sound), ("roll", b"\x89PNG" * 50)):
            (folder / files[kind]).write_bytes(data)
        return files

    async def job(self, job: Job) -> Job:
        now = await self.ledger.job(job.id)
        assert now is not None
        return now

    async def until(self, job: Job, holds: Callable[[Job], object], timeout_s: float = PATIENCE_S) -> Job:
        """The job, once this holds of it."""
        async with asyncio.timeout(timeout_s):
            while not holds(now := await self.job(job)):
                await asyncio.sleep(0.02)
        return now

    async def until_over(self, job: Job) -> Job:
        return await self.until(job, lambda job: job.state.over)

    async def until_card_says(self, job: Job, words: str) -> Message:
        """The card, once it says this."""
        async with asyncio.timeout(PATIENCE_S):
            while not any(words in card.content for card in await self.cards(job)):
                await asyncio.sleep(0.02)
        return next(card for card in await self.cards(job) if words in card.content)

    async def posts(self, job: Job) -> list[Message]:
        """Messages of the job's takes in its thread."""
        return [message for message in await self._messages(job) if message.attachments]

    async def cards(self, job: Job) -> list[Message]:
        return [message for message in await self._messages(job) if not message.attachments]

    async def _messages(self, job: Job) -> list[Message]:
        thread_id = (await self.job(job)).thread_id
        bot_id = self.double.world.bot.id
        return [] if thread_id is None else [
            message for message in self.double.messages(thread_id) if message.author_id == bot_id]

    async def forget_that_it_was_posted(self, job: Job) -> None:
        """Bring the ledger back to before the takes and the end were written down."""
        async with self.ledger.write() as transaction:
            row = await transaction.job(job.id)
            assert row is not None
            row.state, row.card_id, row.ended_at, row.told = JobState.DELIVERING.value, None, None, False
            for take in row.takes:
                take.state, take.message_id = TakeState.MADE.value, None


@pytest.fixture
def real_pace() -> None:
    """For tests of how seldom things happen."""


@pytest.fixture(autouse=True)
def quick(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything happens ten times as often as it should."""
    if "real_pace" not in request.fixturenames:
        monkeypatch.setattr(card, "EDIT_EVERY_S", card.EDIT_EVERY_S / 10)
        monkeypatch.setattr(card, "LEAST_S", card.LEAST_S / 10)
        monkeypatch.setattr(delivery, "SETTLE_S", delivery.SETTLE_S / 10)


@pytest.fixture
async def double(tmp_path: Path) -> AsyncIterator[DiscordDouble]:
    async with DiscordDouble(tmp_path) as double:
        double.world.edits_apart_s = card.LEAST_S  # at the pace of the test
        yield double


@pytest.fixture
async def kapelle(double: DiscordDouble, tmp_path: Path) -> AsyncIterator[Class]:
    settings = Settings(
        _env_file=None, discord_address=f"{double.host}:{double.port}", discord_ca=double.ca_file,  # type: ignore[call-arg]
        data=tmp_path)
    ledger = await Ledger.open(settings.database_url, Changes())
    kapelle = Class(double, ledger, Spool(settings.spool), settings)
    try:
        yield kapelle
    finally:
        await kapelle.stop()
        await ledger.close()


@pytest.fixture
async def running(kapelle: Class) -> Class:
    await kapelle.start()
    return kapelle
