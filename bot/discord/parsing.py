"""Events of the gateway that the library cannot make sense of: they are left out, or they would end the bot."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import discord

_log = logging.getLogger("kapelle.discord")


def skip_what_cannot_be_parsed(client: discord.Client) -> None:
    """Wrap each of the client's parsers, so that what one raises is logged with the event's name. May be called again."""
    parsers = client._connection.parsers
    for event, parse in parsers.items():
        parsers[event] = parse if isinstance(parse, _Lenient) else _Lenient(event, parse)


class _Lenient:
    def __init__(self, event: str, parse: Callable[[Any], None]) -> None:
        self._event, self._parse = event, parse
        self._shown = False

    def __call__(self, data: Any) -> None:
        try:
            self._parse(data)
        except Exception as error:  # whatever a payload that nobody foresaw leads to
            # Where it arose once; an event may come many times a second.
            _log.error("the gateway's event %s could not be understood (%s) and is left out", self._event,
                       type(error).__name__, exc_info=None if self._shown else error)
            self._shown = True
