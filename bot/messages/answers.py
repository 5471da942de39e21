"""What members are answered."""

from __future__ import annotations

from collections.abc import Sequence

from bot.jobs.limits import Quota
from bot.jobs.records import Job, Queued
from bot.messages.escaping import copyable
from bot.messages.languages import plural, text, word
from bot.messages.pieces import STATES, counted, name, waiting
from bot.messages.wording import LIMITS, channel_mention, channel_mentions, mention, message, midnight, moment, rule_in_words


def accepted(queued: Queued, language: str) -> str:
    job = queued.job
    lines = [text(language, "I have got **{name}**: it is piece #{number}.", name=name(job), number=job.id)]
    if queued.place > 0:
        lines.append(waiting(queued, language))
    if job.thread_id is None:
        lines.append(text(language, "I open a thread for it and post it there."))
    else:
        lines.append(text(language, "I post it in {thread}.", thread=channel_mention(job.thread_id)))
    lines.append(text(language, "`/queue` shows how far it is, `/cancel` takes it back."))
    return message(lines)


def queue(pieces: Sequence[Queued], language: str) -> str:
    if not pieces:
        return text(language, "You have nothing in the queue. `/midi` asks for a piece.")
    lines = [text(language, "**Your pieces**")]
    for queued in pieces:
        state = (waiting(queued, language) if queued.place > 0
                 else word(language, "state", STATES[queued.job.state]))
        lines.append(f"#{queued.job.id} {name(queued.job)}: {state}")
    return message(lines)


def cancelled(job: Job, language: str) -> str:
    return text(language, "#{number} is cancelled. {counted}", number=job.id,
                counted=counted(job.started_at is not None, language))


def posted_again(job_id: int, takes: int, language: str) -> str:
    return plural(language, "Posted again: {n} take of #{number}.", "Posted again: {n} takes of #{number}.", takes,
                  number=job_id)


def quota(quota: Quota, language: str) -> str:
    """What a member may still ask for here, and which rule says so."""
    limits, rules = quota.limits, quota.rules

    def line(limit: str, used: int | None, allowed: int | None) -> str:
        what = text(language, LIMITS[limit])
        if allowed is None:
            amount = text(language, "no limit") if used is None else text(language, "{used}, no limit", used=used)
        else:
            amount = (text(language, "up to {limit}", limit=allowed) if used is None
                      else text(language, "{used} of {limit}", used=used, limit=allowed))
        rule = "" if allowed is None or limit not in rules else f" ({rule_in_words(rules[limit], language)})"
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
        lines.append(f"- {text(language, LIMITS['channels'])}: {channel_mentions(limits.channels, language)}")
    lines.append(text(language, "The day ends {when}.", when=midnight()))
    return message(lines)


def history(jobs: Sequence[Job], page: int, pages: int, language: str) -> str:
    if not jobs and pages == 1:
        return text(language, "Nothing has been made yet. `/midi` asks for the first piece.")
    lines = [text(language, "**Pieces**, page {page} of {pages}", page=page, pages=pages)]
    for job in jobs:
        thread = "" if job.thread_id is None else f" · {channel_mention(job.thread_id)}"
        lines.append(f"#{job.id} {name(job)} · {word(language, 'state', STATES[job.state])}"
                     f" · {mention(job.owner_id)} · {moment(job.created_at, 'R')}{thread}")
    return message(lines)


def help(language: str) -> str:
    return message([
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
    return message([
        text(language, "**What I keep about you**"),
        text(language, "- your Discord number, and the language your app is set to\n"
                       "- what you asked me for, when, and what came of it\n"
                       "- files that you attached, as long as the piece that was made of them\n"
                       "- which takes you marked, and how much you used each day\n"
                       "- what moderators decided about you"),
        text(language, "It stays on the machine of whoever runs me. I do not read your messages, "
                       "only what you send with my commands and buttons."),
    ])


def exported(left_out: int, language: str) -> str:
    """`left_out`: files that they attached and that did not fit."""
    lines = [text(language, "This is everything I keep about you. The file `kapelle.json` opens in any text editor.")]
    if left_out:
        lines.append(plural(language, "{n} file that you attached did not fit; whoever runs me can give it to you.",
                            "{n} files that you attached did not fit; whoever runs me can give them to you.", left_out))
    return message(lines)


def confirm_forgetting(language: str) -> str:
    return text(language, "Shall I really delete everything I keep about you? Pieces that are being made are cancelled. "
                          "What I posted of yours is taken down, as far as I may; today's quota stays used, and so "
                          "does a block. This cannot be undone.")


def forgotten(jobs: int, language: str) -> str:
    said = plural(language, "Deleted: you, and {n} piece.", "Deleted: you, and {n} pieces.", jobs)
    if not jobs:
        return said
    return f"{said} {text(language, 'What I posted of them is taken down now, one after the other, as far as I may.')}"


def confirm_deleting(job: Job, language: str) -> str:
    return message([text(language, "Shall I really delete #{number} **{name}**, with its takes and its messages? "
                                    "This cannot be undone.", number=job.id, name=name(job))])


def deleted(job_id: int, messages: int, named: bool, notice: bool, language: str) -> str:
    """`messages` that could not be deleted; whether the thread's name and the notice in the channel still tell the title."""
    lines = [text(language, "#{number} is deleted.", number=job_id)]
    if messages:
        lines.append(plural(language, "{n} message of it could not be deleted; a moderator can.",
                            "{n} messages of it could not be deleted; a moderator can.", messages))
    if named:
        lines.append(text(language, "Its thread keeps its name, since I may not change it; a moderator can."))
    if notice:
        lines.append(text(language, "The notice in the channel that I opened a thread keeps the title; a moderator can "
                                    "delete it."))
    return message(lines)


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
    return message(lines)


def choice_of_job(job: Job, language: str) -> str:
    """A job in a list to choose from: at most 100 characters, shown as they are."""
    return copyable(f"#{job.id} {job.name} · {word(language, 'state', STATES[job.state])}", 100)
