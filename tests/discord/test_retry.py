from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable

import aiohttp
import discord
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from bot.discord import retry
from bot.discord.retry import EDITED_TOO_OFTEN, passing, patiently, punctual, told_to_wait_s

Answer = tuple[int, dict[str, str]]


class Counter:
    """Fails with each of the errors in turn, then returns."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls: list[float] = []

    async def __call__(self) -> str:
        self.calls.append(asyncio.get_running_loop().time())
        if self.errors:
            raise self.errors.pop(0)
        return "posted"


async def http_error(status: int, headers: dict[str, str] | None = None, code: int = 0) -> discord.HTTPException:
    """The library's error for an answer that a real server gave."""
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=status, headers=headers)

    application = web.Application()
    application.router.add_get("/", answer)
    async with TestServer(application) as server, aiohttp.ClientSession() as session, session.get(server.make_url("/")) as got:
        kinds = {403: discord.Forbidden, 404: discord.NotFound}
        kind = kinds.get(status, discord.DiscordServerError if status >= 500 else discord.HTTPException)
        return kind(got, {"code": code, "message": "the words of a member"})


async def test_what_passes_is_tried_again_until_it_works() -> None:
    call = Counter(await http_error(503), ConnectionResetError(), aiohttp.ServerDisconnectedError(), TimeoutError(),
                   OSError(errno.EHOSTUNREACH, "no route"), socket.gaierror(), await http_error(429))
    retries: list[str] = []
    result = await patiently(call, what="post take", on_retry=retries.append, first_wait_s=0.001, longest_wait_s=0.002)
    assert result == "posted"
    assert len(call.calls) == 8
    assert retries == ["post take"] * 7


@pytest.mark.parametrize("status", [400, 401, 403, 404])
async def test_what_the_request_is_at_fault_for_is_raised_at_once(status: int) -> None:
    call = Counter(await http_error(status))
    with pytest.raises(discord.HTTPException):
        await patiently(call, what="post take", first_wait_s=0.001)
    assert len(call.calls) == 1


async def test_other_errors_are_raised_at_once() -> None:
    for error in (FileNotFoundError(errno.ENOENT, "no such file"), ValueError(), KeyError()):
        call = Counter(error)
        with pytest.raises(type(error)):
            await patiently(call, what="post take", first_wait_s=0.001)
        assert len(call.calls) == 1


class OwnTime:
    """Time that passes by being slept away."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def get_running_loop(self) -> OwnTime:
        return self

    def time(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> OwnTime:
    own = OwnTime()
    monkeypatch.setattr(retry, "asyncio", own)
    return own


async def test_waits_double_up_to_a_bound_with_jitter(time: OwnTime) -> None:
    await patiently(Counter(*(TimeoutError() for _ in range(5))), what="post take", first_wait_s=2, longest_wait_s=8)
    for wait, longest in zip(time.slept, (2, 4, 8, 8, 8), strict=True):
        assert longest / 2 <= wait <= longest


async def test_no_try_begins_after_the_time_to_give_up(time: OwnTime) -> None:
    call = Counter(*(TimeoutError(str(number)) for number in range(1000)))
    with pytest.raises(TimeoutError):
        await patiently(call, what="post take", give_up_s=20, first_wait_s=2, longest_wait_s=5)
    assert 20 - 5 <= time.now <= 20
    assert len(call.calls) == len(time.slept) + 1


async def test_no_request_goes_out_again_after_the_time_to_give_up(time: OwnTime) -> None:
    """The library sleeps within a call for as long as it is told to, and then sends again."""
    requests = 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal requests
        requests += 1
        return web.Response()

    application = web.Application()
    application.router.add_post("/{path}", answer)
    async with TestServer(application) as server, aiohttp.ClientSession(trace_configs=[punctual()]) as session:
        async def call(seconds: float) -> None:
            for path in ("/posts", "/others", "/posts"):
                async with session.post(server.make_url(path)):
                    await time.sleep(seconds)

        await patiently(lambda: call(50), what="post take", give_up_s=110)
        assert requests == 3
        with pytest.raises(TimeoutError):
            await patiently(lambda: call(60), what="post take", give_up_s=110)
        assert requests == 5
        await call(600)  # without patience there is no bound
        assert requests == 8


async def test_retry_after_is_obeyed() -> None:
    call = Counter(await http_error(429, {"Retry-After": "0.3"}))
    await patiently(call, what="post take", first_wait_s=0.001, longest_wait_s=0.002)
    assert call.calls[1] - call.calls[0] >= 0.3


async def test_a_retry_after_that_cannot_be_read_is_none() -> None:
    assert told_to_wait_s(await http_error(429, {"Retry-After": "Sun, 22 Nov 2026 21:00:00 GMT"})) == 0
    assert told_to_wait_s(discord.RateLimited(7.5)) == 7.5


async def test_a_message_that_was_edited_too_often_is_not_waited_for() -> None:
    call = Counter(await http_error(429, code=EDITED_TOO_OFTEN))
    with pytest.raises(discord.HTTPException):
        await patiently(call, what="edit card", first_wait_s=0.001)


async def test_cancelling_is_not_a_failure_to_try_again() -> None:
    call = Counter(*(TimeoutError() for _ in range(1000)))
    task = asyncio.create_task(_patient(call))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def _patient(call: Callable[[], Awaitable[str]]) -> str:
    return await patiently(call, what="post take", first_wait_s=0.01)


async def test_the_log_holds_no_words_of_members(caplog: pytest.LogCaptureFixture) -> None:
    await patiently(Counter(await http_error(503, code=7)), what="post take", first_wait_s=0.001)
    assert "DiscordServerError 503 (code 7)" in caplog.text
    assert "words of a member" not in caplog.text


def test_files_that_cannot_be_read_are_not_the_network() -> None:
    assert not passing(PermissionError(errno.EACCES, "denied"))
    assert passing(BrokenPipeError(errno.EPIPE, "broken"))
