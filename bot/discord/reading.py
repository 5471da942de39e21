"""What members type where Discord does not check it: numbers, pieces and takes, limits.

What cannot be read raises Refusal(INVALID), whose text bot.messages says in the member's language.
"""

from __future__ import annotations

import re

from bot.jobs.limits import GUILD, channel_scope, role_scope
from bot.jobs.refusals import Reason, Refusal

LONGEST_NUMBER = 18  # digits; more are no number of anything
_PIECE = re.compile(r"#?(?P<job>[1-9][0-9]{0,17})(?:[.,](?P<take>[1-9][0-9]?))?")
_CHANNEL = re.compile(rf"<#([0-9]{{1,{LONGEST_NUMBER + 2}}})>")
_WHOLE = re.compile(rf"[0-9]{{1,{LONGEST_NUMBER}}}")
_DECIMAL = re.compile(r"[0-9]{1,9}(?:[.,][0-9]{1,9})?|[.,][0-9]{1,9}")
_NO_LIMIT = frozenset({"-", "\N{EN DASH}", "none", "no limit", "keine", "keins", "ohne"})


def whole(what: str, typed: str) -> int:
    """A whole number, as in 512."""
    if not _WHOLE.fullmatch(typed.strip()):
        raise Refusal(Reason.INVALID, text=f"{what} must be a number, not {typed[:40]}")
    return int(typed)


def decimal(what: str, typed: str) -> float:
    """A number with a decimal point or a decimal comma: 0.9 or 0,9."""
    if not _DECIMAL.fullmatch(typed.strip()):
        raise Refusal(Reason.INVALID, text=f"{what} must be a number, not {typed[:40]}")
    return float(typed.strip().replace(",", "."))


def piece(typed: str) -> tuple[int, int | None]:
    """A job and, where one is meant, its take: 12, #12, 12.3 or 12,3."""
    found = _PIECE.fullmatch(typed.strip())
    if not found:
        raise Refusal(Reason.INVALID, text=f"no piece is called {typed[:40]}")
    return int(found["job"]), int(found["take"]) if found["take"] else None


def limit(name: str, typed: str) -> int | tuple[int, ...] | None:
    """What a limit is set to: a number, for `channels` mentions of them, or a word for no limit."""
    if typed.strip().lower() in _NO_LIMIT:
        return None
    if name == "channels":
        mentions = [int(number) for number in _CHANNEL.findall(typed)]
        if mentions and not _CHANNEL.sub("", typed).strip(" ,;"):
            return tuple(dict.fromkeys(mentions))
    elif _WHOLE.fullmatch(typed.strip()):
        return int(typed)
    raise Refusal(Reason.INVALID, text=f"no limit is called {typed[:40]}")


def scope(role_id: int | None, channel_id: int | None) -> str:
    """Where a limit holds, as the service names it: the guild, one of its roles or one of its channels."""
    if role_id is not None and channel_id is not None:
        raise Refusal(Reason.INVALID, text="a limit is of a role or of a channel")
    if role_id is not None:
        return role_scope(role_id)
    return GUILD if channel_id is None else channel_scope(channel_id)
