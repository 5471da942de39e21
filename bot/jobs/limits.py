"""What may be asked for: limits of machine, guild, roles and channels, and which of them applies."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from models.interface.audio import SECONDS
from models.interface.midi import TAKES, TOKENS

MACHINE = "machine"
GUILD = "guild"


@dataclass(frozen=True)
class Limits:
    """None: not limited here. Jobs at once are those waiting and at work; days are UTC."""

    takes: int | None = None
    tokens: int | None = None
    seconds: int | None = None  # of sound that is not composed
    jobs_at_once: int | None = None
    jobs_a_day: int | None = None
    takes_a_day: int | None = None
    channels: tuple[int, ...] | None = None  # where jobs may be asked for


@dataclass(frozen=True)
class Quota:
    """What applies to a member now, and what of it is used."""

    limits: Limits
    rules: Mapping[str, str]  # name of a limit -> the scope it is from; names that are not limited are left out
    jobs_today: int
    takes_today: int
    jobs_now: int


NAMES = tuple(field.name for field in fields(Limits))
NUMBERS = tuple(name for name in NAMES if name != "channels")
# What each number can be set to. Of a piece: what may be asked for at all; a day may be closed by 0.
RANGES: Mapping[str, range] = {
    "takes": TAKES, "tokens": TOKENS, "seconds": range(math.ceil(SECONDS[0]), math.floor(SECONDS[1]) + 1),
    "jobs_at_once": range(1, 100 + 1), "jobs_a_day": range(10_000 + 1), "takes_a_day": range(100_000 + 1),
}


def role_scope(role_id: int) -> str:
    return f"role:{role_id}"


def channel_scope(channel_id: int) -> str:
    return f"channel:{channel_id}"


def effective(
    machine: Limits, scoped: Mapping[str, Limits], role_ids: Iterable[int], channel_id: int,
) -> tuple[Limits, dict[str, str]]:
    """What applies to a member with these roles in a channel, and by which scope each limit does.

    The most generous of the roles that set a limit counts as theirs; the smallest of theirs, the channel's,
    the guild's and the machine's applies. Of equal ones the first in that order is named. For allowed channels
    the most generous is the union of the roles', the smallest what all scopes have in common.
    """
    roles = [role_scope(role_id) for role_id in role_ids]
    ranked = [(scope, scoped.get(scope, Limits())) for scope in (channel_scope(channel_id), GUILD)] + [(MACHINE, machine)]
    values: dict[str, Any] = {}
    rules: dict[str, str] = {}
    for name in NUMBERS:
        theirs = _set_by(roles, scoped, name)
        candidates = [max(theirs, key=lambda pair: pair[1])] if theirs else []
        candidates += [(scope, value) for scope, limits in ranked if (value := getattr(limits, name)) is not None]
        if candidates:
            rules[name], values[name] = min(candidates, key=lambda pair: pair[1])
    sets = [(scope, set(limits.channels)) for scope, limits in ranked if limits.channels is not None]
    given = [(role, set(limits.channels)) for role in roles if (limits := scoped.get(role)) and limits.channels is not None]
    if given:
        most_generous = max(given, key=lambda pair: len(pair[1]))[0]
        sets.insert(0, (most_generous, set().union(*(channels for _, channels in given))))
    if not sets:
        return Limits(**values), rules
    rules["channels"] = min(sets, key=lambda pair: len(pair[1]))[0]
    return Limits(**values, channels=tuple(sorted(set.intersection(*(channels for _, channels in sets))))), rules


def _set_by(roles: Iterable[str], scoped: Mapping[str, Limits], name: str) -> list[tuple[str, int]]:
    return [(role, value) for role in roles if role in scoped and (value := getattr(scoped[role], name)) is not None]
