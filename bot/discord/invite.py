"""How the bot gets into a server: the address that asks for its permissions."""

from __future__ import annotations

import base64
import binascii

_ADDRESS = "https://discord.com/oauth2/authorize?client_id={}&scope=bot+applications.commands&permissions={}"


def permissions_asked_for() -> int:
    """Discord's integer for what the bot must be allowed to do where it is asked."""
    from bot.discord.permissions import NEEDED
    return NEEDED.value


def invite_url(application_id: int) -> str:
    return _ADDRESS.format(application_id, permissions_asked_for())


def application_of(token: str) -> int | None:
    """The id of the application whose bot a token belongs to; None for what does not look like a bot's token.

    A token is three parts of base64url with points between them, the first of which spells the id in digits.
    """
    parts = token.split(".")
    if len(parts) != 3 or not all(parts) or len(parts[2]) < 20:
        return None
    try:
        spelled = base64.urlsafe_b64decode(parts[0] + "=" * (-len(parts[0]) % 4)).decode("ascii")
    except (binascii.Error, ValueError):
        return None
    return int(spelled) if spelled.isdecimal() and 15 <= len(spelled) <= 20 else None
