"""What can go wrong at Discord's end, by name."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.discord_double.gateway import Gateway

# Answers with an error of Discord's own: name -> code
REFUSALS: Mapping[str, int] = {
    "unknown_interaction": 10062,
    "expired_token": 50027,
    "missing_permissions": 50013,
    "too_large": 40005,
    "unknown_channel": 10003,
    "unknown_message": 10008,
    "archived_thread": 50083,
    "old_message": 30046,
    "closed_messages": 50007,
    "too_many_threads": 160006,
}
# Answers from in front of Discord: name -> HTTP status
GATEWAY_ERRORS: Mapping[str, int] = {
    "server_error": 500, "bad_gateway": 502, "unavailable": 503, "timeout": 504, "forbidden_on_the_way": 403,
}  # fmt: skip
# 429: name -> (global, carries Via)
RATE_LIMITS: Mapping[str, tuple[bool, bool]] = {
    "rate_limited": (False, True),
    "rate_limited_globally": (True, True),
    "rate_limited_without_via": (False, False),
}
# 429 from Cloudflare, which has banned the address: without Via, without Discord's `code`. name -> what it says
BANS: Mapping[str, str | Mapping[str, Any]] = {
    "banned": "<!DOCTYPE html><title>Access denied | discord.com used Cloudflare to restrict access</title>error code: 1015",
    "banned_in_json": {"message": "You are being rate limited.", "retry_after": 3600.0, "global": True},
}
BANNED_FOR_S = 3600.0
# The connection itself: the request is not handled; it is handled and the answer lost; it is handled and the answer late.
CONNECTION = frozenset({"reset_before", "reset_after", "slow"})
NAMES = frozenset(REFUSALS) | frozenset(GATEWAY_ERRORS) | frozenset(RATE_LIMITS) | frozenset(BANS) | CONNECTION
# With these the gateway says that there is no use in coming again.
FATAL_CLOSE_CODES = frozenset({4004, 4010, 4011, 4012, 4013, 4014})


@dataclass
class Fault:
    """A fault that waits for its requests."""

    name: str
    method: str
    path: str
    times: int
    retry_after_s: float
    delay_s: float
    files: bool
    released: asyncio.Event = field(default_factory=asyncio.Event)

    def release(self) -> None:
        """Give the slow answers that are held back."""
        self.released.set()


class Faults:
    """Switches faults on. Requests meet at most one fault each, the one switched on first."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._waiting: list[Fault] = []

    def next(
        self,
        name: str,
        method: str = "*",
        path: str = "*",
        *,
        times: int = 1,
        retry_after_s: float | None = None,
        delay_s: float = 0.5,
        files: bool = False,
    ) -> Fault:
        """Let the next `times` requests that match meet the fault `name` (one of NAMES).

        `path` is a pattern without `/api/v10`; its stars match slashes too: `/channels/*/messages` is creating and
        listing messages, `/channels/*/messages/*` is reading, editing and deleting one. `retry_after_s` is what a 429
        asks for (0.05 where it is not given, a ban's hour), `delay_s` how late a slow answer comes where nobody calls
        `release` before; with `files` only requests that bring files are meant. Returns the fault; its `times` counts
        down.
        """
        if name not in NAMES:
            raise ValueError(f"no fault is named {name!r}; there are {', '.join(sorted(NAMES))}")
        if retry_after_s is None:
            retry_after_s = BANNED_FOR_S if name in BANS else 0.05
        fault = Fault(name, method.upper(), path, times, retry_after_s, delay_s, files)
        self._waiting.append(fault)
        return fault

    def ban(self, name: str = "banned", retry_after_s: float = BANNED_FOR_S) -> Fault:
        """Ban the bot's address: every request, the login's too, is refused until `clear`."""
        return self.next(name, times=sys.maxsize, retry_after_s=retry_after_s)

    def clear(self) -> None:
        """Switch off every fault that still waits."""
        self._waiting.clear()

    def __iter__(self) -> Iterator[Fault]:
        return iter(self._waiting)

    def take(self, method: str, path: str, *, files: bool = False) -> Fault | None:
        """The fault that this request meets; whether it brings `files`."""
        for fault in self._waiting:
            if (files or not fault.files) and fnmatchcase(method, fault.method) and fnmatchcase(path, fault.path):
                fault.times -= 1
                if fault.times <= 0:
                    self._waiting.remove(fault)
                return fault
        return None

    def drop(self) -> None:
        """Cut every gateway connection without a word; sessions can be resumed."""
        self._gateway.drop()

    def reconnect(self) -> None:
        """Ask every connection to reconnect (op 7)."""
        self._gateway.reconnect()

    def invalidate(self, *, resumable: bool) -> None:
        """Tell every connection that its session is invalid (op 9); one that is not resumable is forgotten."""
        self._gateway.invalidate(resumable=resumable)

    def close(self, code: int) -> None:
        """Close every connection with a code of the gateway; after a fatal one no session can be resumed."""
        self._gateway.close_with(code, forget=code in FATAL_CLOSE_CODES)

    def close_at_identify(self, code: int, times: int = 1) -> None:
        """Answer the next `times` bots that identify themselves, or resume, with a close code."""
        self._gateway.closes_at_identify += [code] * times

    def malformed_event(self, event: str = "GUILD_ROLE_CREATE", data: Mapping[str, Any] | None = None) -> None:
        """Send an event just as given; without `data` one that lacks what the library looks for (a role without role)."""
        lacking = {"guild_id": str(self._gateway.world.guild.id)}
        self._gateway.dispatch(event, dict(lacking if data is None else data))

    def refuse_connections(self, for_s: float) -> None:
        """Reset every new gateway connection for `for_s` seconds."""
        self._gateway.refused_until = time.monotonic() + for_s
