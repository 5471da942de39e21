"""The real bot as a process of its own, connected to a Discord double."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from tests.discord_double import DiscordDouble

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 120.0  # a busy machine is not a bug


class BotProcess:
    """`kapelle run` with a data folder of its own. What it logs goes to `log`."""

    def __init__(self, double: DiscordDouble, data: Path, **settings: str) -> None:
        self.data, self.log = data, data / "bot.log"
        self._settings = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("KAPELLE_", "DISCORD_"))},
            "DISCORD_TOKEN": double.token, "KAPELLE_DISCORD_ADDRESS": f"{double.host}:{double.port}",
            "KAPELLE_DISCORD_CA": str(double.ca_file), "KAPELLE_DATA": str(data), "KAPELLE_HEALTH_PORT": "0",
            "PYTHONPATH": str(ROOT), **{f"KAPELLE_{name.upper()}": value for name, value in settings.items()},
        }
        self._process: asyncio.subprocess.Process | None = None

    @property
    def settings(self) -> Mapping[str, str]:
        return self._settings

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        self.data.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:  # run in the data folder: no `.env` of this project gets in
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "bot", "run", env=self._settings, cwd=self.data, stdout=log, stderr=log,
                start_new_session=True)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        if self.alive:
            os.kill(self.pid, number)

    async def wait(self, timeout_s: float = PATIENCE_S) -> int:
        """Its exit code."""
        assert self._process is not None
        async with asyncio.timeout(timeout_s):
            return await self._process.wait()

    async def stop(self) -> int:
        self.kill(signal.SIGTERM)
        return await self.wait()


@asynccontextmanager
async def running_bot(double: DiscordDouble, data: Path, **settings: str) -> AsyncIterator[BotProcess]:
    """A bot that is connected and has its commands registered; it is gone behind the block."""
    bot = BotProcess(double, data, **settings)
    await bot.start()
    try:
        await double.connected(PATIENCE_S)
        await double.commands_synced(PATIENCE_S)
        yield bot
    finally:
        if bot.alive:
            try:
                await bot.stop()
            except TimeoutError:
                bot.kill()
                await bot.wait()
