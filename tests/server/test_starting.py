"""What keeps the bot from starting is one line on stderr and an exit code, and nothing is changed by it."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.discord_double import DiscordDouble
from tests.rehearsal.bot_process import BotProcess, running_bot

pytestmark = pytest.mark.slow


@pytest.fixture
async def double(tmp_path: Path) -> AsyncIterator[DiscordDouble]:
    async with DiscordDouble(tmp_path) as discord:
        yield discord


async def refused(bot: BotProcess) -> tuple[int, str]:
    """Exit code and last line."""
    await bot.start()
    code = await bot.wait()
    log = bot.log.read_text(encoding="utf-8")
    assert "Traceback" not in log
    assert "ExceptionGroup" not in log
    return code, log.splitlines()[-1]


async def test_a_wrong_token(double: DiscordDouble, tmp_path: Path) -> None:
    wrong = double.token[:-4] + "XXXX"
    bot = BotProcess(double, tmp_path / "data", discord_token=wrong)
    code, said = await refused(bot)
    assert code == 1
    assert "does not accept the token" in said
    assert wrong not in bot.log.read_text(encoding="utf-8")


async def test_a_port_that_is_taken(double: DiscordDouble, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, said = await refused(BotProcess(double, tmp_path / "data", health_port=str(port)))
    assert code == 1
    assert str(port) in said


async def test_a_second_bot_on_one_ledger(double: DiscordDouble, tmp_path: Path) -> None:
    async with running_bot(double, tmp_path / "data"):
        other = BotProcess(double, tmp_path / "data")
        other.log = tmp_path / "other.log"
        code, said = await refused(other)
    assert code == 1
    assert "another bot" in said


async def test_a_ledger_that_is_damaged_is_kept(double: DiscordDouble, tmp_path: Path) -> None:
    bot = BotProcess(double, tmp_path / "data")
    bot.data.mkdir()
    (bot.data / "ledger.sqlite").write_bytes(b"no database" * 1000)
    code, said = await refused(bot)
    assert code == 1
    assert "damaged" in said
    assert (bot.data / "ledger.sqlite").read_bytes() == b"no database" * 1000


@pytest.mark.parametrize(("name", "value"), [("engines", "hurdy-gurdy"), ("language", "xx"), ("health_port", "99999")])
async def test_a_setting_that_does_not_hold(double: DiscordDouble, tmp_path: Path, name: str, value: str) -> None:
    code, said = await refused(BotProcess(double, tmp_path / "data", **{name: value}))
    assert code == 2
    assert f"KAPELLE_{name.upper()}" in said
