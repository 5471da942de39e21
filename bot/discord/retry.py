"""Patience with Discord: what fails for a moment is tried again, within bounds, on top of what the library does itself.

The library tries 500, 502 and 504 again, and a 429 with a `Via` header. 503, a reset connection and any other 429 come through.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import random
import socket
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TypeVar

import aiohttp
import discord

T = TypeVar("T")

PATIENCE_S = 120.0
FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 15.0
LONGEST_TOLD_S = 60.0  # Retry-After is obeyed up to here; beyond it, giving up is for the caller to decide

EDITED_TOO_OFTEN = 30046  # a message older than an hour; nobody waits until it may be edited again
_TOO_MANY_REQUESTS = 429
_OF_THE_NETWORK = frozenset({
    errno.EPIPE, errno.ENETDOWN, errno.ENETUNREACH, errno.ENETRESET, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ETIMEDOUT,
    errno.ENOBUFS,
})

_log = logging.getLogger("kapelle.discord")


@dataclass
class _Limit:
    """Until when, in the loop's time, requests may go out that went out before."""

    latest: float
    sent: set[tuple[str, str]] = field(default_factory=set)  # method and address


_limit: ContextVar[_Limit | None] = ContextVar("limit", default=None)


def punctual() -> aiohttp.TraceConfig:
    """For a client's `http_trace`: no request goes out again after the time for which `patiently` lets it be tried.

    The library sleeps within a call for as long as Discord asks, ten minutes if need be, and then sends again.
    """
    async def check(_: object, __: object, request: aiohttp.TraceRequestStartParams) -> None:
        if (limit := _limit.get()) is not None:
            what = (request.method, str(request.url))
            if what in limit.sent and asyncio.get_running_loop().time() > limit.latest:
                raise TimeoutError("the time for this request is over")
            limit.sent.add(what)

    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(check)
    return trace


async def patiently(
    call: Callable[[], Awaitable[T]], *, what: str, give_up_s: float = PATIENCE_S,
    on_retry: Callable[[str], None] | None = None,
    first_wait_s: float = FIRST_WAIT_S, longest_wait_s: float = LONGEST_WAIT_S,
) -> T:
    """What `call` returns, called again while it fails for reasons that pass.

    Waits double from `first_wait_s` to `longest_wait_s`, with jitter; a Retry-After is obeyed up to a minute. No try begins
    more than `give_up_s` after the first one, and where the client is `punctual` no request goes out again: then the last
    error is raised. All other errors are raised at once. `on_retry` is told `what` before every further try.
    """
    clock = asyncio.get_running_loop().time
    deadline = clock() + give_up_s
    wait_s = first_wait_s
    limit = _Limit(deadline)
    while True:
        before = _limit.set(limit)
        try:
            return await call()
        except Exception as error:
            pause_s = max(random.uniform(wait_s / 2, wait_s), min(told_to_wait_s(error), LONGEST_TOLD_S))
            if not passing(error) or clock() + pause_s > deadline:
                raise
            _log.warning("%s: %s, again in %.1f s", what, reason(error), pause_s)
        finally:
            _limit.reset(before)
        if on_retry is not None:
            on_retry(what)
        await asyncio.sleep(pause_s)
        wait_s = min(wait_s * 2, longest_wait_s)


def passing(error: BaseException) -> bool:
    """Whether trying again may help: Discord or the network is at fault, not the request."""
    if isinstance(error, discord.HTTPException):
        return error.status >= 500 or (error.status == _TOO_MANY_REQUESTS and error.code != EDITED_TOO_OFTEN)
    if isinstance(error, discord.RateLimited | aiohttp.ClientError | TimeoutError | ConnectionError | socket.gaierror):
        return True
    return isinstance(error, OSError) and error.errno in _OF_THE_NETWORK


def told_to_wait_s(error: BaseException) -> float:
    """Seconds Discord asks to wait; 0 where it does not say."""
    if isinstance(error, discord.RateLimited):
        return error.retry_after
    if isinstance(error, discord.HTTPException):
        try:
            return max(0.0, float(error.response.headers.get("Retry-After", 0)))
        except ValueError:  # a date
            return 0.0
    return 0.0


def reason(error: BaseException) -> str:
    """The error without what was sent or received: a message may quote a prompt."""
    if isinstance(error, discord.HTTPException):
        return f"{type(error).__name__} {error.status} (code {error.code})"
    return type(error).__name__
