"""Why Discord does not let the bot in, or turns it out: a sentence for each reason that waiting does not mend."""

from __future__ import annotations

from collections.abc import Mapping

import discord

from models.errors import KapelleError

_COPY = "copy it again from the developer portal (Bot, Reset Token) into DISCORD_TOKEN"
_UPDATE = "update Kapelle"
_DISALLOWED_INTENTS = 4014
# What the gateway closes a connection with and does not want to hear again
_CLOSED: Mapping[int, tuple[str, str]] = {
    4004: ("the token does not hold any more, it was probably reset", _COPY),
    4010: ("it does not know the shard that was named", f"{_UPDATE}: this one names none"),
    4011: ("the bot is in more servers than one connection may serve", "take it out of some: Kapelle has one only"),
    4012: ("it does not speak this version of its protocol any more", _UPDATE),
    4013: ("the intents that were asked for do not exist", _UPDATE),
    _DISALLOWED_INTENTS: (
        "an intent was asked for that is not switched on",
        f"Kapelle itself needs none of the privileged ones, so undo what was changed in it, or {_UPDATE}"),
}


class AdmissionError(KapelleError):
    """Discord does not let the bot in, and waiting does not help."""


def not_let_in(
        error: discord.LoginFailure | discord.ConnectionClosed | discord.PrivilegedIntentsRequired) -> AdmissionError:
    """What is the matter and what to do, for whoever runs the bot."""
    if isinstance(error, discord.LoginFailure):
        return AdmissionError(f"Discord does not accept the token: {_COPY}")
    code = error.code if isinstance(error, discord.ConnectionClosed) else _DISALLOWED_INTENTS
    cause, remedy = _CLOSED.get(code, (
        "it gives no reason that is known", "check the token and the application's settings in the developer portal"))
    return AdmissionError(f"Discord's gateway turned the bot away for good (close code {code}): {cause}; {remedy}")
