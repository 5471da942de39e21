"""What can go wrong at Discord's end, by name."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

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
# The connection itself: the request is not handled; it is handled and the answer lost; it is handled and the answer late.
CONNECTION = frozenset({"reset_before", "reset_after", "slow"})
NAMES = frozenset(REFUSALS) | frozenset(GATEWAY_ERRORS) | frozenset(RATE_LIMITS) | CONNECTION


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
        retry_after_s: float = 0.05,
        delay_s: float = 0.5,
        files: bool = False,
    ) -> Fault:
        """Let the next `times` requests that match meet the fault `name` (one of NAMES).

        `path` is a pattern without `/api/v10`; its stars match slashes too: `/channels/*/messages` is creating and
        listing messages, `/channels/*/messages/*` is reading, editing and deleting one. `retry_after_s` is what a 429
        asks for, `delay_s` how late a slow answer comes where nobody calls `release` before; with `files` only requests
        that bring files are meant. Returns the fault; its `times` counts down.
        """
        if name not in NAMES:
            raise ValueError(f"no fault is named {name!r}; there are {', '.join(sorted(NAMES))}")
        fault = Fault(name, method.upper(), path, times, retry_after_s, delay_s, files)
        self._waiting.append(fault)
        return fault

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

    def refuse_connections(self, for_s: float) -> None:
        """Reset every new gateway connection for `for_s` seconds."""
        self._gateway.refused_until = time.monotonic() + for_s
