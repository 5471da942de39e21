"""The real bot in the test's own process, on the Discord double, with a ledger and a spool; there is no worker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from bot.application import Application, machine_limits
from bot.discord.client import KapelleBot
from bot.hosting.health import Metrics
from bot.jobs.changes import Changes
from bot.jobs.ledger import Ledger
from bot.jobs.moderation import Moderation
from bot.jobs.records import Job, Member, Place
from bot.jobs.service import JobService
from bot.jobs.titles import Titles
from bot.settings import Settings
from bot.takes.spool import Made, Spool
from tests.discord_double import DiscordDouble

FILES = {"midi": b"MThd", "sound": b"OggS", "roll": b"\x89PNG"}
SUFFIXES = {"midi": "mid", "sound": "ogg", "roll": "png"}


@dataclass(frozen=True)
class Server:
    """Discord, and what the bot on it is made of."""

    double: DiscordDouble
    application: Application

    async def made(
            self, title: str, *, owner_id: int, takes: int = 2, channel_id: int | None = None,
            thread_id: int | None = None) -> Job:
        """A job whose takes are in the spool, as if a worker had made them."""
        ledger, spool = self.application.ledger, self.application.spool
        member = Member(self.double.guild.id, owner_id)
        queued = await self.application.jobs.submit(
            "midi", "pocket", {"title": title, "takes": takes}, member,
            Place(channel_id or self.double.channel.id, thread_id))
        job = await ledger.mark_running(queued.job.id)
        assert job is not None
        folder = spool.open(str(job.id))
        for number in range(1, takes + 1):
            names = {kind: f"take-{number}.{suffix}" for kind, suffix in SUFFIXES.items()}
            for kind, name in names.items():
                (folder / name).write_bytes(FILES[kind])
            spool.keep(folder, Made(job.id, job.attempt, number, names, 9.0, 30))
            assert await ledger.take_made(job.id, job.attempt, number, names, 9.0, 30)
        assert await ledger.rendering(job.id, job.attempt)
        assert await ledger.delivering(job.id, job.attempt)
        return job

    async def jobs_of(self, owner_id: int) -> Sequence[Job]:
        return await self.application.ledger.jobs(guild_id=self.double.guild.id, owner_id=owner_id)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    folder: Path = tmp_path_factory.mktemp("server")
    async with DiscordDouble(folder) as double:
        settings = Settings(
            _env_file=None, data=folder / "data", discord_address=f"{double.host}:{double.port}",  # type: ignore[call-arg]
            discord_ca=double.ca_file, max_jobs_at_once=200, max_jobs_a_day=500)
        settings.data.mkdir()
        changes = Changes()
        ledger = await Ledger.open(settings.database_url, changes)
        try:
            spool = Spool(settings.spool)
            jobs = JobService(
                ledger, machine_limits(settings), settings.engines, remove_files=spool.remove, keep_file=spool.keep_file,
                free_bytes=spool.free_bytes)
            application = Application(
                settings, changes, ledger, spool, Moderation(ledger), jobs, (), (), Metrics(), Titles())  # decodes nothing
            bot = KapelleBot(application)
            serving = asyncio.create_task(bot.serve(double.token))
            try:
                await double.connected(60)
                await double.commands_synced(60)
                yield Server(double, application)
            finally:
                serving.cancel()
                with suppress(asyncio.CancelledError):
                    await serving
        finally:
            await ledger.close()
    assert double.violations == []
