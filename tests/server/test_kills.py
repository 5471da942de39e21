"""Bot and worker are killed at every step of a job, also just before and just after Discord has carried out a request."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import web

from tests.discord_double import DiscordDouble
from tests.discord_double.double import API
from tests.discord_double.gateway import reset
from tests.rehearsal.bot_process import BotProcess, running_bot
from tests.server.chaos import children
from tests.server.judging import Records, wrong

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]
PATIENCE_S = 120.0
TRIES = 10  # to see a state that may last a few milliseconds
TAKES = 2


@dataclass
class Trap:
    """What happens at a request, `before` it is carried out or when nobody has the answer yet: the `nth` that matches."""

    method: str
    path: str
    files: bool
    nth: int
    before: bool
    spring: Callable[[], None]
    holds: Callable[[], bool] = lambda: True  # at the time of the request
    sprung: bool = False

    def meets(self, request: web.Request) -> bool:
        files = request.content_type == "multipart/form-data"
        path = request.path.removeprefix(API)
        if (request.method, files) != (self.method, self.files) or not fnmatchcase(path, self.path) or not self.holds():
            return False
        self.nth -= 1
        return self.nth == 0


class TrappedDouble(DiscordDouble):
    trap: Trap | None = None

    async def _api(self, request: web.Request) -> web.Response:
        trap = self.trap if self.trap and not self.trap.sprung and self.trap.meets(request) else None
        if trap is None:
            return await super()._api(request)
        if not trap.before:
            await super()._api(request)
        trap.spring()
        trap.sprung = True
        self.world.changes.announce()
        reset(request)
        return web.Response(status=500)  # goes nowhere


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def double(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TrappedDouble]:
    async with TrappedDouble(tmp_path_factory.mktemp("discord")) as discord:
        yield discord


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bot(double: TrappedDouble, data: Path) -> AsyncIterator[BotProcess]:
    """One job at a time, so that others wait."""
    async with running_bot(
            double, data, threads="1", jobs_at_once="1", max_jobs_at_once="50", max_jobs_a_day="1000") as process:
        yield process
    assert double.violations == []
    assert double.token not in process.log.read_text(errors="replace")


@pytest.fixture
def records(data: Path) -> Records:
    return Records(data)


@pytest.fixture(scope="module")
def names() -> Iterator[str]:
    return (f"Kill {number}" for number in range(1000, 9999))


async def ask(double: TrappedDouble, title: str) -> None:
    """The job is in the ledger some time later, if nobody is killed before; the answer may be lost."""
    await double.member("Anna", locale="en-GB").command("midi", {"title": title, "tokens": 48, "takes": TAKES})


async def come_back(double: TrappedDouble, bot: BotProcess) -> None:
    assert await bot.wait() == -signal.SIGKILL
    await double.disconnected(PATIENCE_S)
    await bot.start()
    await double.connected(PATIENCE_S)


async def all_is_well(double: TrappedDouble, records: Records) -> None:
    """All jobs are done, and nothing is missing or there twice; also a moment later."""
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_S):
            while not records.all_over() or wrong(double, records):  # the last edit of a card comes after the end
                await asyncio.sleep(0.1)
    await asyncio.sleep(2)
    assert wrong(double, records) == []


async def seen(records: Records, title: str, state: str) -> bool:
    """Whether a job was seen in a state; False when it was over before anybody looked."""
    async with asyncio.timeout(PATIENCE_S):
        while (now := records.state(title)) != state:
            if now in ("done", "failed", "cancelled"):
                return False
            await asyncio.sleep(0.001)
    return True


@pytest.mark.parametrize("state", ["queued", "running", "rendering", "delivering"])
@pytest.mark.parametrize("who", ["bot", "worker"])
async def test_a_kill_in_any_state_loses_nothing_and_posts_nothing_twice(
        double: TrappedDouble, bot: BotProcess, records: Records, names: Iterator[str], who: str, state: str) -> None:
    for _ in range(TRIES):
        await ask(double, next(names))  # one before it
        title = next(names)
        await ask(double, title)
        if await seen(records, title, state):
            break
    else:
        pytest.fail(f"no job was seen {state}")
    if who == "bot":
        bot.kill()
        await come_back(double, bot)
    else:
        for pid in children(bot.pid):
            os.kill(pid, signal.SIGKILL)
    await all_is_well(double, records)


REQUESTS = {  # method, path, whether it brings files, which one, and whether the ledger has the job as done by then
    "opening the thread": ("POST", "/channels/*/threads", False, 1, False),
    "posting the card": ("POST", "/channels/*/messages", False, 1, False),
    "posting the first take": ("POST", "/channels/*/messages", True, 1, False),
    "posting the second take": ("POST", "/channels/*/messages", True, 2, False),
    "the first edit of the card": ("PATCH", "/channels/*/messages/*", False, 1, False),
    "the last edit of the card": ("PATCH", "/channels/*/messages/*", False, 1, True),
}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
async def test_a_bot_killed_at_a_request_does_it_once(
        double: TrappedDouble, bot: BotProcess, records: Records, names: Iterator[str],
        request_: tuple[str, str, bool, int, bool], when: str) -> None:
    method, path, files, nth, done = request_
    title = next(names)
    trap = double.trap = Trap(
        method, path, files, nth, when == "before", bot.kill, lambda: not done or records.state(title) == "done")
    await ask(double, title)
    await double.wait_for(lambda: trap.sprung, PATIENCE_S)
    await come_back(double, bot)
    await all_is_well(double, records)
    assert len(double.messages(next(thread.id for thread in double.threads() if title in thread.name))) == 1 + TAKES


async def test_a_bot_killed_again_and_again_comes_to_an_end(
        double: TrappedDouble, bot: BotProcess, records: Records, names: Iterator[str]) -> None:
    """Before the same take is posted, three times in a row."""
    traps = [Trap("POST", "/channels/*/messages", True, 1, True, bot.kill) for _ in range(3)]
    double.trap = traps[0]
    await ask(double, next(names))
    for trap, following in zip(traps, [*traps[1:], None], strict=True):
        await double.wait_for(partial(getattr, trap, "sprung"), PATIENCE_S)
        double.trap = following  # before the bot is back
        await come_back(double, bot)
    await all_is_well(double, records)
