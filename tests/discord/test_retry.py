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

from bot.discord.retry import passing, patiently, told_to_wait_s

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


async def test_waits_double_up_to_a_bound_with_jitter() -> None:
    call = Counter(*(TimeoutError() for _ in range(5)))
    await patiently(call, what="post take", first_wait_s=0.02, longest_wait_s=0.08)
    waits = [later - earlier for earlier, later in zip(call.calls, call.calls[1:], strict=False)]
    for wait, longest in zip(waits, (0.02, 0.04, 0.08, 0.08, 0.08), strict=True):
        assert longest / 2 <= wait < longest + 0.05


async def test_no_try_begins_after_the_time_to_give_up() -> None:
    call = Counter(*(TimeoutError(str(number)) for number in range(1000)))
    before = asyncio.get_running_loop().time()
    with pytest.raises(TimeoutError):
        await patiently(call, what="post take", give_up_s=0.2, first_wait_s=0.02, longest_wait_s=0.05)
    assert len(call.calls) > 3
    assert call.calls[-1] - before <= 0.2


async def test_retry_after_is_obeyed() -> None:
    call = Counter(await http_error(429, {"Retry-After": "0.3"}))
    await patiently(call, what="post take", first_wait_s=0.001, longest_wait_s=0.002)
    assert call.calls[1] - call.calls[0] >= 0.3


async def test_a_retry_after_that_cannot_be_read_is_none() -> None:
    assert told_to_wait_s(await http_error(429, {"Retry-After": "Sun, 22 Nov 2026 21:00:00 GMT"})) == 0
    assert told_to_wait_s(discord.RateLimited(7.5)) == 7.5


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
