"""How numbers, times, people and lists are written, and what fits into one message.

A message fits into one of Discord's (2,000 characters) whatever fills it, and members' words in it do nothing
(bot.messages.escaping). Mentions name people, roles and channels and notify nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

from bot.messages.escaping import CUT
from bot.messages.languages import N_, text

LONGEST_MESSAGE = 2000
LIMITS = {
    "takes": N_("takes in one piece"), "tokens": N_("tokens (length)"), "seconds": N_("seconds of sound"),
    "jobs_at_once": N_("pieces at a time"),
    "jobs_a_day": N_("pieces a day"), "takes_a_day": N_("takes a day"), "channels": N_("channels"),
}


def rule_in_words(rule: str, language: str) -> str:
    """Where a limit comes from, as the service names it ("guild", "role:<id>")."""
    kind, _, number = rule.partition(":")
    if kind == "role":
        return text(language, "for {role}", role=role_mention(int(number)))
    if kind == "channel":
        return text(language, "in {channel}", channel=channel_mention(int(number)))
    return text(language, "on this machine") if kind == "machine" else text(language, "on this server")


def channel_mentions(ids: Iterable[int], language: str) -> str:
    mentions = [channel_mention(one) for one in ids]
    return listed(mentions) if mentions else text(language, "none")


def number(value: float, language: str, digits: int = 2) -> str:
    """A number as it is written in a language, without zeros at its end."""
    written = f"{value:.{digits}f}"
    written = written.rstrip("0").rstrip(".") if "." in written else written
    return written.replace(".", ",") if language == "de" else written


def quoted(said: str, language: str) -> str:
    """In the quotation marks of a language."""
    return f"„{said}“" if language == "de" else f"“{said}”"


def clock(seconds: float) -> str:
    return f"{round(seconds) // 60}:{round(seconds) % 60:02}"


def moment(moment: datetime, style: str) -> str:
    """A time everyone sees in their own time zone."""
    return f"<t:{int(moment.timestamp())}:{style}>"


def midnight() -> str:
    """The end of the day that quota is counted by (UTC)."""
    tomorrow = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    return moment(tomorrow, "R")


def mention(user_id: int) -> str:
    return f"<@{int(user_id)}>"


def role_mention(role_id: int) -> str:
    return f"<@&{int(role_id)}>"


def channel_mention(channel_id: int) -> str:
    return f"<#{int(channel_id)}>"


def listed(parts: Sequence[str]) -> str:
    """Parts with commas; those beyond a bound are left out."""
    kept: list[str] = []
    room = 1200
    for part in parts:
        room -= len(part) + 2
        if room < 0:
            return ", ".join([*kept, CUT])
        kept.append(part)
    return ", ".join(kept)


def shortened(said: str, longest: int) -> str:
    return said if len(said) <= longest else said[:longest - len(CUT)] + CUT


def message(lines: Sequence[str]) -> str:
    """Lines as one message; whole lines are left out where they would be too many."""
    kept: list[str] = []
    room = LONGEST_MESSAGE - len(CUT) - 1
    for line in lines:
        room -= len(line) + 1
        if room < 0:
            kept.append(CUT)
            break
        kept.append(line)
    return "\n".join(kept)
