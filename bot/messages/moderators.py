"""What moderators are answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bot.jobs.audit import AuditEntry
from bot.jobs.guilds import GuildState
from bot.jobs.limits import Limits
from bot.jobs.moderation import Status
from bot.jobs.records import Job
from bot.messages.escaping import plain
from bot.messages.languages import C_, plural, text, word
from bot.messages.pieces import STATES
from bot.messages.sentences import LONGEST_DETAIL
from bot.messages.wording import (
    LIMITS,
    channel_mentions,
    listed,
    mention,
    message,
    moment,
    quoted,
    role_mention,
    rule_in_words,
    shortened,
)

_ACTIONS = {
    "limit": C_("audit", "limit"), "pause": C_("audit", "pause"), "resume": C_("audit", "resume"),
    "drain": C_("audit", "drain"), "moderator_role": C_("audit", "role of moderators"), "cancel": C_("audit", "cancelled"),
    "block": C_("audit", "blocked"), "unblock": C_("audit", "unblocked"), "add_word": C_("audit", "refused word"),
    "remove_word": C_("audit", "word allowed again"), "report": C_("audit", "report"), "delete": C_("audit", "deleted"),
}


def limits(scopes: Mapping[str, Limits], language: str) -> str:
    lines = [text(language, "**Limits**")]
    for scope, set_here in scopes.items():
        values = [f"{text(language, said)}: {_limit_or_none(getattr(set_here, limit), language)}"
                  for limit, said in LIMITS.items() if getattr(set_here, limit) is not None]
        if values:
            lines.append(f"- {rule_in_words(scope, language)}: " + ", ".join(values))
    if len(lines) == 1:
        lines.append(text(language, "None are set here; those of this machine hold."))
    return message(lines)


def limit_set(scope: str, limit: str, value: int | tuple[int, ...] | None, language: str) -> str:
    said = {"what": text(language, LIMITS[limit]), "rule": rule_in_words(scope, language)}
    if value is None:
        return message([text(language, "{what}, {rule}: not limited any more.", **said)])
    return message([text(language, "{what}, {rule}: {value} from now on.", value=_limit_or_none(value, language), **said)])


def guild_state(state: GuildState, language: str) -> str:
    if state.paused:
        return text(language, "Paused: nothing new is accepted or begun until `/kapelle resume`.")
    if state.draining:
        return text(language, "Draining: nothing new is accepted, what waits is still made. `/kapelle resume` ends it.")
    return text(language, "Open: pieces are accepted and made.")


def moderator_role(role_id: int | None, language: str) -> str:
    if role_id is None:
        return text(language, "Moderators are those with Manage Server.")
    return text(language, "Moderators are those with Manage Server and those with {role}.", role=role_mention(role_id))


def moderator_role_set(role_id: int | None, language: str) -> str:
    return message([
        moderator_role(role_id, language),
        text(language, "Discord shows `/kapelle` to those with Manage Server only; to show it to others, go to "
                       "Server Settings, Integrations.")])


def many_cancelled(jobs: Sequence[Job], language: str) -> str:
    if not jobs:
        return text(language, "Nothing was waiting.")
    numbers = ", ".join(f"#{job.id}" for job in jobs)
    return message([plural(language, "{n} piece is cancelled: {numbers}", "{n} pieces are cancelled: {numbers}",
                            len(jobs), numbers=shortened(numbers, 1500))])


def blocked(user_id: int, language: str) -> str:
    return text(language, "{member} is blocked and can ask for nothing here. `/kapelle unblock` undoes it.",
                member=mention(user_id))


def unblocked(user_id: int, language: str) -> str:
    return text(language, "{member} can ask for pieces again.", member=mention(user_id))


def word_added(blocked_word: str, language: str) -> str:
    return text(language, "Titles, artists and descriptions with “{word}” are refused from now on.", word=plain(blocked_word))


def word_removed(blocked_word: str, language: str) -> str:
    return text(language, "“{word}” is not refused any more.", word=plain(blocked_word))


def words(listed: Sequence[str], language: str) -> str:
    if not listed:
        return text(language, "No word is refused.")
    return message([text(language, "**Refused words**"), *(f"- {plain(one)}" for one in listed)])


def words_found(found: Sequence[str], language: str) -> str:
    if not found:
        return text(language, "That would be accepted.")
    return message([text(language, "That would be refused, because of: {words}",
                          words=listed([quoted(plain(one), language) for one in found]))])


def audit(entries: Sequence[AuditEntry], page: int, pages: int, language: str) -> str:
    if not entries:
        return text(language, "Nothing has been changed yet.")
    lines = [text(language, "**What moderators changed**, page {page} of {pages}", page=page, pages=pages)]
    for entry in entries:
        action = word(language, "audit", _ACTIONS[entry.action]) if entry.action in _ACTIONS else plain(entry.action)
        lines.append(f"{moment(entry.at, 'f')} {mention(entry.user_id)} **{action}** {_details(entry, language)}".rstrip())
    return message(lines)


def status(status: Status, language: str) -> str:
    counted = [f"{word(language, 'state', STATES[state])}: {count}" for state, count in status.jobs.items() if count]
    return message([
        guild_state(status.guild, language), moderator_role(status.guild.moderator_role_id, language),
        text(language, "Pieces: {counts}", counts=", ".join(counted) or "0"),
        plural(language, "{n} member is blocked.", "{n} members are blocked.", status.blocked),
    ])


def _details(entry: AuditEntry, language: str) -> str:
    """What an entry of the audit log tells; of members who had themselves forgotten, ids only."""
    details = entry.details
    said = []
    if "name" in details:
        said.append(text(language, LIMITS.get(details["name"], "{name}"), name=plain(str(details["name"]))))
    if "scope" in details:
        said.append(rule_in_words(str(details["scope"]), language))
    if "job" in details:
        said.append(f"#{int(details['job'])}" + (f".{int(details['take'])}" if details.get("take") else ""))
    if "jobs" in details:
        said.append(listed([f"#{int(number)}" for number in details["jobs"]]))
    if details.get("member"):
        said.append(mention(details["member"]))
    said += [quoted(plain(str(details[key]), LONGEST_DETAIL), language) for key in ("word", "text") if details.get(key)]
    if entry.action in ("limit", "moderator_role"):
        show = _role_or_none if entry.action == "moderator_role" else _limit_or_none
        said.append(f"{show(details.get('before'), language)} → {show(details.get('after'), language)}")
    elif entry.action == "block" and details.get("after"):
        said.append(quoted(plain(str(details["after"]), LONGEST_DETAIL), language))
    return shortened(" · ".join(said), 600)


def _limit_or_none(value: Any, language: str) -> str:
    if value is None:
        return text(language, "no limit")
    return channel_mentions(value, language) if isinstance(value, list | tuple) else str(value)


def _role_or_none(value: Any, language: str) -> str:
    return text(language, "none") if value is None else role_mention(value)
