"""Discord's rate limits by route: headers on every answer, and a 429 when a bucket is empty."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from tests.discord_double.clock import Clock

MAJOR = ("channel_id", "guild_id", "webhook_id", "webhook_token", "interaction_id")


# What a bot meets every day: five posts and five edits in five seconds in each channel.
REAL: Mapping[tuple[str, str], tuple[int, float]] = {
    ("POST", "/channels/{channel_id}/messages"): (5, 5.0),
    ("PATCH", "/channels/{channel_id}/messages/{message_id}"): (5, 5.0),
}
GENEROUS = (1000, 1.0)


class RateLimits:
    """Fixed windows, one a route and major parameter, as on Discord; the other routes have more than a test spends."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._limits = dict(REAL)
        self._spent: dict[tuple[str, ...], tuple[float, int]] = {}

    def set(self, method: str, template: str, count: int, per_s: float) -> None:
        """Allow a route `count` requests every `per_s` seconds: `set("POST", "/channels/{channel_id}/messages", 5, 5.0)`."""
        self._limits[method, template] = (count, per_s)

    def lift(self) -> None:
        """Limit nothing, for tests of something else that post much."""
        self._limits.clear()

    def spend(self, method: str, template: str, parameters: Mapping[str, str]) -> tuple[dict[str, str], float | None]:
        """The headers of the answer, and how long to wait if there is nothing left (None: go ahead)."""
        count, per_s = self._limits.get((method, template), GENEROUS)
        key = (method, template, *(parameters.get(name, "") for name in MAJOR))
        now = self._clock.now()
        began, spent = self._spent.get(key, (now, 0))
        if now >= began + per_s:
            began, spent = now, 0
        spent += 1
        self._spent[key] = (began, spent)
        left_s = began + per_s - now
        headers = {
            "X-RateLimit-Limit": str(count),
            "X-RateLimit-Remaining": str(max(0, count - spent)),
            "X-RateLimit-Reset": f"{began + per_s:.3f}",
            "X-RateLimit-Reset-After": f"{left_s:.3f}",
            "X-RateLimit-Bucket": hashlib.md5(f"{method} {template}".encode(), usedforsecurity=False).hexdigest(),
        }
        return headers, (left_s if spent > count else None)
