"""Patience with Discord: what fails for a moment is tried again, within bounds, on top of what the library does itself.

The library tries 500, 502 and 504 again, and a 429 with a `Via` header. 503, a reset connection and any other 429 come through.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import random
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TypeVar

import aiohttp
import discord

T = TypeVar("T")

PATIENCE_S = 120.0
FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 15.0
BAN_S = 60.0  # whoever asks without a Via header to be left alone for longer is Cloudflare, and means the whole machine

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


class TurnedAwayError(ConnectionError):
    """Cloudflare, in front of Discord, lets nothing of this machine through. `left_s`: for how long still."""

    def __init__(self, left_s: float) -> None:
        super().__init__(f"Cloudflare turns this machine's address away, for another {_minutes(left_s)}")
        self.left_s = left_s


def banned_for_s(status: int, headers: Mapping[str, str]) -> float:
    """Seconds for which an answer says that Cloudflare turns this machine's address away; 0 where it does not say so.

    Discord's own 429 carries a `Via` header. Cloudflare's does not: it follows too many requests that failed, of this
    machine or of another one at its address, lasts for up to an hour, and every further request prolongs it.
    """
    if status != _TOO_MANY_REQUESTS or headers.get("Via"):
        return 0.0
    told_s = _seconds(headers)
    return told_s if told_s > BAN_S else 0.0


def punctual() -> aiohttp.TraceConfig:
    """For a client's `http_trace`: no request goes out again after the time for which `patiently` lets it be tried.

    The library sleeps within a call for as long as Discord asks, ten minutes if need be, and then sends again.
    And none goes to a host while Cloudflare turns this machine away from it: it ends with TurnedAwayError at once.
    """
    banned_until: dict[str | None, float] = {}  # by host, in the loop's time

    async def check(_: object, __: object, request: aiohttp.TraceRequestStartParams) -> None:
        left_s = banned_until.get(request.url.host, 0.0) - asyncio.get_running_loop().time()
        if left_s > 0:
            raise TurnedAwayError(left_s)
        if (limit := _limit.get()) is not None:
            what = (request.method, str(request.url))
            if what in limit.sent and asyncio.get_running_loop().time() > limit.latest:
                raise TimeoutError("the time for this request is over")
            limit.sent.add(what)

    async def note(_: object, __: object, request: aiohttp.TraceRequestEndParams) -> None:
        if not (ban_s := banned_for_s(request.response.status, request.response.headers)):
            return
        banned_until[request.url.host] = asyncio.get_running_loop().time() + ban_s
        _log.error("Cloudflare turns this machine's address away from %s for %s: too many requests from it failed; nothing is "
                   "sent there before (a restart does not help; docs/hosting.md)", request.url.host, _minutes(ban_s))

    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(check)
    trace.on_request_end.append(note)
    return trace


async def patiently(
    call: Callable[[], Awaitable[T]], *, what: str, give_up_s: float = PATIENCE_S,
    on_retry: Callable[[str], None] | None = None,
    first_wait_s: float = FIRST_WAIT_S, longest_wait_s: float = LONGEST_WAIT_S,
) -> T:
    """What `call` returns, called again while it fails for reasons that pass.

    Waits double from `first_wait_s` to `longest_wait_s`, with jitter; a Retry-After is obeyed. No try begins
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
            pause_s = max(random.uniform(wait_s / 2, wait_s), told_to_wait_s(error))
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
    """Seconds Discord, or Cloudflare in front of it, asks to wait; 0 where neither says."""
    if isinstance(error, TurnedAwayError):
        return error.left_s
    if isinstance(error, discord.RateLimited):
        return error.retry_after
    return _seconds(error.response.headers) if isinstance(error, discord.HTTPException) else 0.0


def reason(error: BaseException) -> str:
    """The error without what was sent or received: a message may quote a prompt."""
    if isinstance(error, TurnedAwayError):
        return str(error)
    if not isinstance(error, discord.HTTPException):
        return type(error).__name__
    if ban_s := banned_for_s(error.status, error.response.headers):
        return f"Cloudflare turns this machine's address away, for {_minutes(ban_s)}"
    name = f"{type(error).__name__} {error.status}"
    return f"{name} (code {error.code})" if error.code else name  # without one it is not Discord that answers


def _seconds(headers: Mapping[str, str]) -> float:
    """Of Retry-After."""
    try:
        return max(0.0, float(headers.get("Retry-After", 0)))
    except ValueError:  # a date
        return 0.0


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 60 else f"{seconds:.0f} s"
