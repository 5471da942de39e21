"""Discord's REST API, version 10: each route as one function of a call."""

from __future__ import annotations

from tests.discord_double.rest import application, channels, interactions, messages, threads
from tests.discord_double.rest.routing import Call, Rest, Route, find

ROUTED = (application, channels, interactions, messages, threads)  # by being imported

__all__ = ["ROUTED", "Call", "Rest", "Route", "find"]
