"""Everything that is said to members, in their language.

A message fits into one of Discord's (2,000 characters) whatever fills it, and members' words in it do nothing
(bot.escaping). Numbers come from the ledger; mentions name people, roles and channels and notify nobody.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from bot.escaping import CUT, copyable, plain
from bot.jobs.records import Estimate, Job, JobState, Queued, TakeRecord, TakeState
from bot.jobs.refusals import Failure, Reason, Refusal
from bot.languages import C_, N_, plural, text, word
from bot.sentences import LONGEST_DETAIL, said_by_us
from models.engines import AUDIOCRAFT, COMPOSED, ENGINES
from models.musicgen.request import LONGEST_PROMPT

if TYPE_CHECKING:
    from bot.jobs.audit import AuditEntry
    from bot.jobs.guilds import GuildState
    from bot.jobs.limits import Limits, Quota
    from bot.jobs.moderation import Status

LONGEST_MESSAGE = 2000
_LONGEST_NAME = 120

_BAR = 16

_STATES = {
    JobState.QUEUED: C_("state", "waiting"), JobState.RUNNING: C_("state", "being composed"),
    JobState.RENDERING: C_("state", "being played"), JobState.DELIVERING: C_("state", "being posted"),
    JobState.DONE: C_("state", "done"), JobState.FAILED: C_("state", "failed"), JobState.CANCELLED: C_("state", "cancelled"),
}
_LIMITS = {
    "takes": N_("takes in one piece"), "tokens": N_("tokens (length)"), "seconds": N_("seconds of sound"),
    "jobs_at_once": N_("pieces at a time"),
    "jobs_a_day": N_("pieces a day"), "takes_a_day": N_("takes a day"), "channels": N_("channels"),
}
_ACTIONS = {
    "limit": C_("audit", "limit"), "pause": C_("audit", "pause"), "resume": C_("audit", "resume"),
    "drain": C_("audit", "drain"), "moderator_role": C_("audit", "role of moderators"), "cancel": C_("audit", "cancelled"),
    "block": C_("audit", "blocked"), "unblock": C_("audit", "unblocked"), "add_word": C_("audit", "refused word"),
    "remove_word": C_("audit", "word allowed again"), "report": C_("audit", "report"), "delete": C_("audit", "deleted"),
}
_PERMISSIONS = frozenset({  # as Discord shows them
    N_("View Channel"), N_("Send Messages"), N_("Send Messages in Threads"), N_("Create Public Threads"),
    N_("Attach Files"), N_("Read Message History"),
})


# What members ask for

def accepted(queued: Queued, language: str) -> str:
    job = queued.job
    lines = [text(language, "I have got **{name}**: it is piece #{number}.", name=name(job), number=job.id)]
    if queued.place > 0:
        lines.append(_waiting(queued.place, queued.wait, language))
    if job.thread_id is None:
        lines.append(text(language, "I open a thread for it and post it there."))
    else:
        lines.append(text(language, "I post it in {thread}.", thread=_channel(job.thread_id)))
    lines.append(text(language, "`/queue` shows how far it is, `/cancel` takes it back."))
    return _message(lines)


def card(job: Job, place: int | None, wait: Estimate | None, shares: Sequence[float], language: str) -> str:
    """The status of a job, from the queue to its end. `shares`: how much of each take is made, 0..1."""
    lines = [f"**{name(job)}** · #{job.id} · {_member(job.owner_id)}", _asked(job, language)]
    if job.parent_id is not None:
        lines.append(text(language, "Made after #{number}.", number=job.parent_id))
    match job.state:
        case JobState.QUEUED:
            lines.append(_waiting(place, wait, language) if place else text(language, "Waiting in the queue."))
        case JobState.RUNNING:
            lines.append(text(language, "Composing: {bar}", bar=_bar(shares)) if job.kind == "midi"
                         else text(language, "In the making: {bar}", bar=_bar(shares)))
        case JobState.RENDERING:
            lines.append(text(language, "The notes are there. Sound and pictures are being made.") if job.kind == "midi"
                         else text(language, "It is decoded. Sound and pictures are being made."))
        case JobState.DELIVERING:
            lines.append(text(language, "Everything is made and is being posted."))
        case JobState.DONE:
            posted = sum(take.state is TakeState.POSTED for take in job.takes)
            lines.append(plural(language, "Done: {n} take.", "Done: {n} takes.", posted))
        case JobState.FAILED:
            lines.append(failure(job, language))
        case JobState.CANCELLED:
            lines.append(text(language, "Cancelled."))
    if job.state.over:
        lines += _left_out(job, language)
    return _message(lines + _notices(job, language))


def take_caption(job: Job, take: TakeRecord, language: str) -> str:
    """What a take is; leaves room for `parameters` in the same message."""
    said = [text(language, "**Take {number} of {takes}** · {name} · {time}",
                 number=take.number, takes=_takes(job), name=name(job), time=_clock(take.seconds))]
    if job.kind == "midi":
        said.append(plural(language, "{n} note", "{n} notes", take.notes))
    lines = [" · ".join(said), *_matched(job, language), *_notices(job, language), _licence(job, language)]
    return _message(lines)


def parameters(job: Job, language: str | None = None) -> str:
    """A code block with the command that makes the job again: one tap copies it. At most 800 characters.

    Options are named as those see them who speak the language, the job's where none is given.
    """
    asked = job.parameters
    options: list[tuple[str, object]] = []
    if job.kind == "audio":
        options.append(("prompt", copyable(str(asked.get("prompt", "")), LONGEST_PROMPT)))
    else:
        options.append(("title", copyable(str(asked.get("title", "")), 80)))
        if artist := copyable(str(asked.get("artist", "")), 80):
            options.append(("artist", artist))
    options += [(option, asked[option]) for option in ("tokens", "takes") if option in asked]
    options += [(option.replace("_", "-"), f"{float(asked[option]):g}")
                for option in ("seconds", "temperature", "guidance", "top_k", "top_p", "stride") if option in asked]
    options.append(("engine", copyable(job.engine, 48)))
    options += [("seed", asked["seed"])] if "seed" in asked else []
    options += [(option, True) for option in ("stop-at-end", "video") if asked.get(option.replace("-", "_"))]
    named = " ".join(f"{word(language or job.language, 'option', option)}:{value}" for option, value in options)
    return f"```\n/{job.kind} {named}\n```"


def sound_left_out(job: Job, language: str) -> str:
    if job.kind == "audio":
        return text(language, "The sound is too large to be uploaded here, so it is missing. Ask for a shorter piece.")
    return text(language, "The sound is too large to be uploaded here, so it is missing. The MIDI file plays the same notes.")


def failure(job: Job, language: str) -> str:
    """Why a job failed, whether it counts, and what to do."""
    detail = str(job.outcome.get("failure", ""))
    match job.failure:
        case Failure.CRASHED:
            why = text(language, "This piece crashed the music machine several times, so I stopped trying. "
                                 "A shorter piece or another seed may help.")
        case Failure.REFUSED:
            why = text(language, "The engine could not do this: {why} Change it and try again.",
                       why=said_by_us(detail, language))
        case Failure.RENDERING:
            why = text(language, "It was decoded, but its files could not be made. "
                                 "Please tell a moderator; whoever runs me finds the reason with `kapelle doctor`.")
        case Failure.EMPTY:
            why = text(language, "Not a single note came out. Try again, with more tokens or another seed.")
        case Failure.NO_MODEL:
            why = text(language, "The engine {engine} could not be loaded. Choose another one, or tell a moderator.",
                       engine=plain(job.engine))
        case Failure.THREAD_GONE:
            why = text(language, "The thread was deleted. What was made is kept: `/take {number}` shows it.", number=job.id)
        case Failure.FORBIDDEN:
            why = text(language, "I may not post there any more. What was made is kept: `/take {number}` shows it. "
                                 "A moderator can give me my permissions back.", number=job.id)
        case Failure.TOO_MANY_THREADS:
            why = text(language, "There are as many open threads on this server as Discord allows, so I could open none. "
                                 "A moderator can close some; then try again.")
        case Failure.TURNED_DOWN:
            why = text(language, "Discord does not let me post it. What was made is kept: `/take {number}` shows it.",
                       number=job.id)
        case Failure.LOST:
            why = text(language, "Nothing of it could be posted.")
        case _:
            why = text(language, "Something went wrong on my side. Please try again.")
    return f"{why} {_counted(job.failure == Failure.REFUSED, language)}"


def queue(waiting: Sequence[Queued], language: str) -> str:
    if not waiting:
        return text(language, "You have nothing in the queue. `/midi` asks for a piece.")
    lines = [text(language, "**Your pieces**")]
    for queued in waiting:
        state = (_waiting(queued.place, queued.wait, language) if queued.place > 0
                 else word(language, "state", _STATES[queued.job.state]))
        lines.append(f"#{queued.job.id} {name(queued.job)}: {state}")
    return _message(lines)


def cancelled(job: Job, language: str) -> str:
    return text(language, "#{number} is cancelled. {counted}", number=job.id,
                counted=_counted(job.started_at is not None, language))


def posted_again(job_id: int, takes: int, language: str) -> str:
    return plural(language, "Posted again: {n} take of #{number}.", "Posted again: {n} takes of #{number}.", takes,
                  number=job_id)


def quota(quota: Quota, language: str) -> str:
    """What a member may still ask for here, and which rule says so."""
    limits, rules = quota.limits, quota.rules

    def line(limit: str, used: int | None, allowed: int | None) -> str:
        what = text(language, _LIMITS[limit])
        if allowed is None:
            amount = text(language, "no limit") if used is None else text(language, "{used}, no limit", used=used)
        else:
            amount = (text(language, "up to {limit}", limit=allowed) if used is None
                      else text(language, "{used} of {limit}", used=used, limit=allowed))
        rule = "" if allowed is None or limit not in rules else f" ({_rule(rules[limit], language)})"
        return f"- {what}: {amount}{rule}"

    lines = [
        text(language, "**What you may ask for here**"),
        line("takes", None, limits.takes), line("tokens", None, limits.tokens),
        line("seconds", None, limits.seconds),
        line("jobs_at_once", quota.jobs_now, limits.jobs_at_once),
        line("jobs_a_day", quota.jobs_today, limits.jobs_a_day),
        line("takes_a_day", quota.takes_today, limits.takes_a_day),
    ]
    if limits.channels is not None:
        lines.append(f"- {text(language, _LIMITS['channels'])}: {_channels(limits.channels, language)}")
    lines.append(text(language, "The day ends {when}.", when=_midnight()))
    return _message(lines)


def history(jobs: Sequence[Job], page: int, pages: int, language: str) -> str:
    if not jobs and pages == 1:
        return text(language, "Nothing has been made yet. `/midi` asks for the first piece.")
    lines = [text(language, "**Pieces**, page {page} of {pages}", page=page, pages=pages)]
    for job in jobs:
        thread = "" if job.thread_id is None else f" · {_channel(job.thread_id)}"
        lines.append(f"#{job.id} {name(job)} · {word(language, 'state', _STATES[job.state])}"
                     f" · {_member(job.owner_id)} · {_when(job.created_at, 'R')}{thread}")
    return _message(lines)


def help(language: str) -> str:
    return _message([
        text(language, "**Music from words**"),
        text(language, "Type `/midi` with a title, and an artist if you like. I compose several takes and post them in a "
                       "thread, each as sound, as a MIDI file and as a picture of its notes."),
        text(language, "- **tokens** is the length: about three for each note\n"
                       "- **takes** is how many pieces you get\n"
                       "- **temperature** is how daring they are: 0.5 is tame, 1.2 is wild\n"
                       "- the same **seed** gives the same piece again"),
        text(language, "Type `/audio` with a description, and I make sound of it where whoever runs me has the model for it. "
                       "It can follow a melody that you attach, or carry on a sound."),
        text(language, "`/queue` shows how far your pieces are, `/history` what was made, `/take 12.1` posts a take again, "
                       "`/quota` what you may still ask for, `/privacy` what I know about you."),
        text(language, "Try one of these:"),
    ])


def privacy(language: str) -> str:
    return _message([
        text(language, "**What I keep about you**"),
        text(language, "- your Discord number, and the language your app is set to\n"
                       "- what you asked me for, when, and what came of it\n"
                       "- files that you attached, as long as the piece that was made of them\n"
                       "- which takes you marked, and how much you used each day\n"
                       "- what moderators decided about you"),
        text(language, "It stays on the machine of whoever runs me. I do not read your messages, "
                       "only what you send with my commands and buttons."),
    ])


def exported(language: str) -> str:
    return text(language, "This is everything I keep about you. The file opens in any text editor.")


def confirm_forgetting(language: str) -> str:
    return text(language, "Shall I really delete everything I keep about you? Pieces that are being made are cancelled. "
                          "What is posted in threads stays until somebody deletes it; today's quota stays used, and so "
                          "does a block. This cannot be undone.")


def forgotten(jobs: int, language: str) -> str:
    return plural(language, "Deleted: you, and {n} piece.", "Deleted: you, and {n} pieces.", jobs)


# Buttons and menus

def confirm_deleting(job: Job, language: str) -> str:
    return _message([text(language, "Shall I really delete #{number} **{name}**, with its takes and its messages? "
                                    "This cannot be undone.", number=job.id, name=name(job))])


def deleted(job_id: int, language: str) -> str:
    return text(language, "#{number} is deleted.", number=job_id)


def favourite(number: int | None, marked: bool, language: str) -> str:
    """`number`: the take, None for all of a job."""
    if number is None:
        return (text(language, "All takes are favourites now.") if marked
                else text(language, "No take is a favourite any more."))
    return (text(language, "Take {number} is a favourite now.", number=number) if marked
            else text(language, "Take {number} is not a favourite any more.", number=number))


def reported(language: str) -> str:
    return text(language, "Thank you. The moderators can read your report.")


def all_files(job: Job, left_out: int, language: str) -> str:
    lines = [text(language, "All files of #{number} **{name}**.", number=job.id, name=name(job))]
    if left_out:
        lines.append(plural(language, "{n} file did not fit; `/take` shows it.",
                            "{n} files did not fit; `/take` shows them.", left_out))
    return _message(lines)


def choice_of_job(job: Job, language: str) -> str:
    """A job in a list to choose from: at most 100 characters, shown as they are."""
    return copyable(f"#{job.id} {job.name} · {word(language, 'state', _STATES[job.state])}", 100)


# Moderators

def limits(scopes: Mapping[str, Limits], language: str) -> str:
    lines = [text(language, "**Limits**")]
    for scope, set_here in scopes.items():
        values = [f"{text(language, said)}: {_limit_or_none(getattr(set_here, limit), language)}"
                  for limit, said in _LIMITS.items() if getattr(set_here, limit) is not None]
        if values:
            lines.append(f"- {_rule(scope, language)}: " + ", ".join(values))
    if len(lines) == 1:
        lines.append(text(language, "None are set here; those of this machine hold."))
    return _message(lines)


def limit_set(scope: str, limit: str, value: int | tuple[int, ...] | None, language: str) -> str:
    said = {"what": text(language, _LIMITS[limit]), "rule": _rule(scope, language)}
    if value is None:
        return _message([text(language, "{what}, {rule}: not limited any more.", **said)])
    return _message([text(language, "{what}, {rule}: {value} from now on.", value=_limit_or_none(value, language), **said)])


def guild_state(state: GuildState, language: str) -> str:
    if state.paused:
        return text(language, "Paused: nothing new is accepted or begun until `/kapelle resume`.")
    if state.draining:
        return text(language, "Draining: nothing new is accepted, what waits is still made. `/kapelle resume` ends it.")
    return text(language, "Open: pieces are accepted and made.")


def moderator_role(role_id: int | None, language: str) -> str:
    if role_id is None:
        return text(language, "Moderators are those with Manage Server.")
    return text(language, "Moderators are those with Manage Server and those with {role}.", role=_role(role_id))


def moderator_role_set(role_id: int | None, language: str) -> str:
    return _message([
        moderator_role(role_id, language),
        text(language, "Discord shows `/kapelle` to those with Manage Server only; to show it to others, go to "
                       "Server Settings, Integrations.")])


def many_cancelled(jobs: Sequence[Job], language: str) -> str:
    if not jobs:
        return text(language, "Nothing was waiting.")
    numbers = ", ".join(f"#{job.id}" for job in jobs)
    return _message([plural(language, "{n} piece is cancelled: {numbers}", "{n} pieces are cancelled: {numbers}",
                            len(jobs), numbers=_cut(numbers, 1500))])


def blocked(user_id: int, language: str) -> str:
    return text(language, "{member} is blocked and can ask for nothing here. `/kapelle unblock` undoes it.",
                member=_member(user_id))


def unblocked(user_id: int, language: str) -> str:
    return text(language, "{member} can ask for pieces again.", member=_member(user_id))


def word_added(blocked_word: str, language: str) -> str:
    return text(language, "Titles, artists and descriptions with “{word}” are refused from now on.", word=plain(blocked_word))


def word_removed(blocked_word: str, language: str) -> str:
    return text(language, "“{word}” is not refused any more.", word=plain(blocked_word))


def words(listed: Sequence[str], language: str) -> str:
    if not listed:
        return text(language, "No word is refused.")
    return _message([text(language, "**Refused words**"), *(f"- {plain(one)}" for one in listed)])


def words_found(found: Sequence[str], language: str) -> str:
    if not found:
        return text(language, "That would be accepted.")
    return _message([text(language, "That would be refused, because of: {words}",
                          words=_listed([f"“{plain(one)}”" for one in found]))])


def audit(entries: Sequence[AuditEntry], page: int, pages: int, language: str) -> str:
    if not entries:
        return text(language, "Nothing has been changed yet.")
    lines = [text(language, "**What moderators changed**, page {page} of {pages}", page=page, pages=pages)]
    for entry in entries:
        action = word(language, "audit", _ACTIONS[entry.action]) if entry.action in _ACTIONS else plain(entry.action)
        lines.append(f"{_when(entry.at, 'f')} {_member(entry.user_id)} **{action}** {_details(entry, language)}".rstrip())
    return _message(lines)


def status(status: Status, language: str) -> str:
    counted = [f"{word(language, 'state', _STATES[state])}: {count}" for state, count in status.jobs.items() if count]
    return _message([
        guild_state(status.guild, language), moderator_role(status.guild.moderator_role_id, language),
        text(language, "Pieces: {counts}", counts=", ".join(counted) or "0"),
        plural(language, "{n} member is blocked.", "{n} members are blocked.", status.blocked),
    ])


# What went wrong

def refusal(refusal: Refusal, language: str) -> str:
    """Why not, whether it counts against the quota, and what to do."""
    return _message([_why(refusal, language), _counted(refusal.charged, language)])


def unforeseen(number: str, language: str) -> str:
    """Of what nobody foresaw, and the log has under that number. What was accepted before it says so by itself."""
    return _message([
        text(language, "Something went wrong, and it was not your fault. Try again in a moment. If it happens again, tell a "
                       "moderator this number: {number}", number=number),
        _counted(False, language)])


def name(job: Job) -> str:
    """The piece's name, harmless; its number where nothing of it can be seen."""
    return plain(job.name, _LONGEST_NAME) or f"#{job.id}"


def _why(refusal: Refusal, language: str) -> str:
    details = refusal.details
    rule = _rule(str(details.get("rule", "guild")), language)
    match refusal.reason:
        case Reason.INVALID:
            return said_by_us(str(details.get("text", "")), language)
        case Reason.TOO_MANY_TAKES:
            return plural(language, "{asked} takes are too many: {n} is allowed ({rule}). Ask for fewer.",
                          "{asked} takes are too many: {n} are allowed ({rule}). Ask for fewer.",
                          int(details["limit"]), asked=details["asked"], rule=rule)
        case Reason.TOO_MANY_TOKENS:
            return text(language, "{asked} tokens are too many: {limit} are allowed ({rule}). Ask for a shorter piece.",
                        asked=details["asked"], limit=details["limit"], rule=rule)
        case Reason.TOO_MANY_SECONDS:
            return text(language, "{asked} seconds are too many: {limit} are allowed ({rule}). Ask for a shorter piece.",
                        asked=number(float(details["asked"]), language), limit=details["limit"], rule=rule)
        case Reason.NO_AUDIO:
            return text(language, "There is no model here that makes sound from a description, so I cannot do this. Whoever "
                                  "runs me can change that: `kapelle models fetch musicgen-small`, then KAPELLE_ENGINES.")
        case Reason.TOO_MANY_AT_ONCE:
            return plural(language, "You may have {n} piece at a time ({rule}). Wait until one is done, or `/cancel` one.",
                          "You may have {n} pieces at a time ({rule}). Wait until one is done, or `/cancel` one.",
                          int(details["limit"]), rule=rule)
        case Reason.JOBS_A_DAY:
            return plural(language, "You may ask for {n} piece a day ({rule}). The next day begins {when}.",
                          "You may ask for {n} pieces a day ({rule}). The next day begins {when}.",
                          int(details["limit"]), rule=rule, when=_midnight())
        case Reason.TAKES_A_DAY:
            return plural(language,
                          "You may ask for {limit} takes a day ({rule}), and {n} is left. Ask for no more than that, "
                          "or wait for the next day, which begins {when}.",
                          "You may ask for {limit} takes a day ({rule}), and {n} are left. Ask for no more than that, "
                          "or wait for the next day, which begins {when}.",
                          int(details["left"]), limit=details["limit"], rule=rule, when=_midnight())
        case Reason.CHANNEL:
            if not details["channels"]:
                return text(language, "Pieces cannot be posted in a channel like this one. Use a text channel.")
            return text(language, "Not in this channel. Use: {channels}", channels=_channels(details["channels"], language))
        case Reason.WORD:
            return text(language, "There is a word in it that is not wanted on this server. Choose other words.")
        case Reason.BLOCKED:
            return text(language, "You cannot ask for pieces on this server. Speak to a moderator.")
        case Reason.PAUSED:
            return text(language, "There is a pause: a moderator has stopped the queue. Try again later.")
        case Reason.DRAINING:
            return text(language, "Nothing new is accepted just now; what waits is still made. Try again later.")
        case Reason.QUEUE_FULL:
            return plural(language, "The queue is full: {n} piece is waiting. Try again in a few minutes.",
                          "The queue is full: {n} pieces are waiting. Try again in a few minutes.", int(details["limit"]))
        case Reason.NO_ENGINE:
            return text(language, "There is no engine {engine} here. Choose one of these: {engines}",
                        engine=plain(str(details["engine"])), engines=_listed([plain(one) for one in details["engines"]]))
        case Reason.NO_WEIGHTS:
            return text(language, "The model {engine} is not on this machine, so I cannot do this. Whoever runs me can change "
                                  "that: `{command}`; `kapelle doctor` says what else is missing.",
                        engine=plain(str(details["engine"])), command=_how_to_get(str(details["engine"])))
        case Reason.NO_MELODY:
            if not details.get("there_are", True):
                return text(language, "No model here can do this with a file. Whoever runs me can change that: "
                                      "`kapelle models fetch musicgen-melody`, then KAPELLE_ENGINES.")
            return text(language, "The engine {engine} cannot follow a melody. Choose one that is called melody, or leave the "
                                  "melody out.", engine=plain(str(details["engine"])))
        case Reason.TOO_LARGE:
            return text(language, "The file is too large: {limit} MB are possible.", limit=details["limit"])
        case Reason.UNREADABLE:
            return text(language, "I could not fetch the file. Attach it again.")
        case Reason.NOT_YOURS:
            return text(language, "That belongs to somebody else. Only they and moderators can do this.")
        case Reason.NO_JOB:
            return text(language, "There is no piece #{number} here. `/history` shows those there are.",
                        number=plain(str(details["number"])))
        case Reason.NO_TAKE:
            return text(language, "There is no take {number} to show: it was not made, holds no notes, or its files are "
                                  "gone. `/history` shows the pieces.", number=plain(str(details["number"])))
        case Reason.OVER:
            return text(language, "It is over already, so there is nothing to cancel. `/queue` shows what is not.")
        case Reason.MODERATORS_ONLY:
            return text(language, "That is for moderators: those with Manage Server, or the role that was named for it.")
        case Reason.PERMISSIONS:
            return text(language, "I am missing permissions in this channel: {permissions}. Ask a moderator to give them "
                                  "to me, or use another channel.",
                        permissions=_listed([_permission(str(one), language) for one in details["missing"]]))
        case Reason.GUILD_ONLY:
            return text(language, "That works on a server only. Go to a channel and type it there.")
        case Reason.FULL_DISK:
            return text(language, "My disk is full, so I can make nothing. Please tell a moderator.")
        case Reason.LEDGER:
            return text(language, "I cannot write down your request just now. Try again in a minute; if that does not help, "
                                  "tell a moderator.")
        case Reason.GONE:
            return text(language, "That piece does not exist any more: somebody deleted it. `/midi` makes a new one.")
        case Reason.FORGED:
            return text(language, "That is not a button of mine. Use those below my own messages, or `/midi`.")


# Pieces of sentences

def _how_to_get(engine: str) -> str:
    listed = ENGINES.get(engine)
    if listed is not None and listed.process == AUDIOCRAFT:
        return "kapelle install audiocraft"
    return f"kapelle models fetch {copyable(engine, 48)}"


def _permission(shown: str, language: str) -> str:
    return text(language, shown) if shown in _PERMISSIONS else plain(shown)


def _waiting(place: int, wait: Estimate | None, language: str) -> str:
    said = text(language, "Place {place} in the queue.", place=place)
    return said if wait is None else f"{said} {_duration(wait, language)}"


def _duration(wait: Estimate, language: str) -> str:
    least, most = math.floor(wait.least_s / 60), math.ceil(wait.most_s / 60)
    if most <= 1:
        return text(language, "It begins within a minute.")
    if least < 1:
        return text(language, "It begins within {most} minutes.", most=most)
    if least == most:
        return text(language, "It begins in about {most} minutes.", most=most)
    return text(language, "It begins in {least} to {most} minutes.", least=least, most=most)


def _asked(job: Job, language: str) -> str:
    asked = job.parameters
    said = [plural(language, "{n} take", "{n} takes", _takes(job))]
    if "tokens" in asked:
        said.append(text(language, "{tokens} tokens", tokens=asked["tokens"]))
    if "seconds" in asked:
        said.append(text(language, "{seconds} seconds", seconds=number(float(asked["seconds"]), language)))
    if "temperature" in asked:
        said.append(text(language, "temperature {value}", value=number(float(asked["temperature"]), language)))
    return " · ".join([*said, plain(job.engine, 40)])


def _takes(job: Job) -> int:
    return int(job.parameters.get("takes", len(job.takes)))


def _bar(shares: Sequence[float]) -> str:
    share = min(max(sum(shares) / len(shares), 0.0), 1.0) if shares else 0.0
    full = int(share * _BAR)
    return "▰" * full + "▱" * (_BAR - full) + f" {int(share * 100)} %"


def _left_out(job: Job, language: str) -> list[str]:
    """Takes that are not in the thread, and why."""
    empty = [str(take.number) for take in job.takes if take.state is TakeState.EMPTY]
    lost = [str(take.number) for take in job.takes if take.state is TakeState.LOST]
    said = []
    if empty and job.failure != Failure.EMPTY:
        said.append(plural(language, "Take {numbers} holds no notes.", "Takes {numbers} hold no notes.",
                           len(empty), numbers=", ".join(empty)))
    if lost:
        said.append(plural(language, "Take {numbers} could not be posted; `/take {job}` shows it.",
                           "Takes {numbers} could not be posted; `/take {job}` shows them.",
                           len(lost), numbers=", ".join(lost), job=job.id))
    return said


def _matched(job: Job, language: str) -> list[str]:
    title, score = job.outcome.get("matched_title"), job.outcome.get("matched_score")
    if not title or score is None or job.outcome.get("notices"):  # a notice says it in more words
        return []
    song = " - ".join(part for part in str(title).split(" --- ") if part)
    return [text(language, "Nearest title I know: {title} ({score} of 100)",
                 title=plain(song, _LONGEST_NAME), score=number(float(score), language, 0))]


def _notices(job: Job, language: str) -> list[str]:
    return [said_by_us(str(notice), language) for notice in tuple(job.outcome.get("notices") or ())[:3]]


def _licence(job: Job, language: str) -> str:
    engine = job.engine
    if job.kind == "audio" and engine == COMPOSED:
        return text(language, "-# **This is not MusicGen.** The model “pocket” composed it, and a SoundFont plays it.")
    if job.kind == "audio":
        return text(language, "-# Made by the model “{engine}”. Its licence is {licence}: not for commercial use.",
                    engine=plain(engine, 48), licence=plain(str(job.outcome.get("licence") or "CC-BY-NC-4.0")))
    if engine == "pocket":
        return text(language, "-# Composed by the model “pocket”, which has learnt from free music.")
    return text(language, "-# Composed by the model “{engine}”; its terms say what may be done with the music.",
                engine=plain(engine, 40))


def _counted(charged: bool, language: str) -> str:
    return (text(language, "It counts against your quota.") if charged
            else text(language, "It does not count against your quota."))


def _rule(rule: str, language: str) -> str:
    """Where a limit comes from, as the service names it ("guild", "role:<id>")."""
    kind, _, number = rule.partition(":")
    if kind == "role":
        return text(language, "for {role}", role=_role(int(number)))
    if kind == "channel":
        return text(language, "in {channel}", channel=_channel(int(number)))
    return text(language, "on this machine") if kind == "machine" else text(language, "on this server")


def _channels(ids: Iterable[int], language: str) -> str:
    mentions = [_channel(one) for one in ids]
    return _listed(mentions) if mentions else text(language, "none")


def number(value: float, language: str, digits: int = 2) -> str:
    """A number as it is written in a language, without zeros at its end."""
    written = f"{value:.{digits}f}"
    written = written.rstrip("0").rstrip(".") if "." in written else written
    return written.replace(".", ",") if language == "de" else written


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def _when(moment: datetime, style: str) -> str:
    """A time everyone sees in their own time zone."""
    return f"<t:{int(moment.timestamp())}:{style}>"


def _midnight() -> str:
    """The end of the day that quota is counted by (UTC)."""
    tomorrow = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    return _when(tomorrow, "R")


def _member(user_id: int) -> str:
    return f"<@{int(user_id)}>"


def _role(role_id: int) -> str:
    return f"<@&{int(role_id)}>"


def _channel(channel_id: int) -> str:
    return f"<#{int(channel_id)}>"


def _details(entry: AuditEntry, language: str) -> str:
    """What an entry of the audit log tells; of members who had themselves forgotten, ids only."""
    details = entry.details
    said = []
    if "name" in details:
        said.append(text(language, _LIMITS.get(details["name"], "{name}"), name=plain(str(details["name"]))))
    if "scope" in details:
        said.append(_rule(str(details["scope"]), language))
    if "job" in details:
        said.append(f"#{int(details['job'])}" + (f".{int(details['take'])}" if details.get("take") else ""))
    if "jobs" in details:
        said.append(_listed([f"#{int(number)}" for number in details["jobs"]]))
    if details.get("member"):
        said.append(_member(details["member"]))
    said += [f"“{plain(str(details[key]), LONGEST_DETAIL)}”" for key in ("word", "text") if details.get(key)]
    if entry.action in ("limit", "moderator_role"):
        show = _role_or_none if entry.action == "moderator_role" else _limit_or_none
        said.append(f"{show(details.get('before'), language)} → {show(details.get('after'), language)}")
    elif entry.action == "block" and details.get("after"):
        said.append(f"“{plain(str(details['after']), LONGEST_DETAIL)}”")
    return _cut(" · ".join(said), 600)


def _limit_or_none(value: Any, language: str) -> str:
    if value is None:
        return text(language, "no limit")
    return _channels(value, language) if isinstance(value, list | tuple) else str(value)


def _role_or_none(value: Any, language: str) -> str:
    return text(language, "none") if value is None else _role(value)


def _listed(parts: Sequence[str]) -> str:
    """Parts with commas; those beyond a bound are left out."""
    kept: list[str] = []
    room = 1200
    for part in parts:
        room -= len(part) + 2
        if room < 0:
            return ", ".join([*kept, CUT])
        kept.append(part)
    return ", ".join(kept)


def _cut(said: str, longest: int) -> str:
    return said if len(said) <= longest else said[:longest - len(CUT)] + CUT


def _message(lines: Sequence[str]) -> str:
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
