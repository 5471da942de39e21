"""What cards and posts of takes say about a piece."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bot.jobs.records import Estimate, Job, JobState, Queued, TakeRecord, TakeState
from bot.jobs.refusals import Failure
from bot.messages.escaping import copyable, plain
from bot.messages.languages import C_, plural, text, word
from bot.messages.sentences import said_by_us
from bot.messages.wording import clock, mention, message, number
from models.engines.registry import COMPOSED
from models.interface.audio import LONGEST_PROMPT

_LONGEST_NAME = 120
_LONGEST_FORM = 80
_BAR = 16
_NOT_SHOWN = frozenset({Failure.THREAD_GONE, Failure.FORBIDDEN, Failure.TURNED_DOWN, Failure.TOO_MANY_THREADS, Failure.LOST})
STATES = {
    JobState.QUEUED: C_("state", "waiting"), JobState.RUNNING: C_("state", "being composed"),
    JobState.RENDERING: C_("state", "being played"), JobState.DELIVERING: C_("state", "being posted"),
    JobState.DONE: C_("state", "done"), JobState.FAILED: C_("state", "failed"), JobState.CANCELLED: C_("state", "cancelled"),
}


def card(job: Job, queued: Queued | None, shares: Sequence[float], language: str) -> str:
    """The status of a job, from the queue to its end. `queued`: its place; `shares`: how much of each take is made, 0..1."""
    lines = [f"**{name(job)}** · #{job.id} · {mention(job.owner_id)}", _asked(job, language)]
    if job.parent_id is not None:
        lines.append(text(language, "Made after #{number}.", number=job.parent_id))
    match job.state:
        case JobState.QUEUED:
            lines.append(waiting(queued, language) if queued and queued.place else text(language, "Waiting in the queue."))
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
    forms = _forms(job, language)
    return message(lines + forms[:len(set(forms)) == 1] + _matched(job, language) + _notices(job, language))


def take_caption(job: Job, take: TakeRecord, language: str) -> str:
    """What a take is; leaves room for `parameters` in the same message."""
    said = [text(language, "**Take {number} of {takes}** · {name} · {time}",
                 number=take.number, takes=_takes(job), name=name(job), time=clock(take.seconds))]
    if job.kind == "midi":
        said += [plural(language, "{n} note", "{n} notes", take.notes), *_forms(job, language)[take.number - 1:take.number]]
    lines = [" · ".join(said), _licence(job, language)]
    return message(lines)


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
    options += [(option, asked[option]) for option in ("tokens", "bars", "takes") if option in asked]
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
        case Failure.THREAD_GONE if job.thread_id is None:
            why = text(language, "The channel is gone, or cannot hold threads any more.")
        case Failure.THREAD_GONE:
            why = text(language, "The thread was deleted.")
        case Failure.FORBIDDEN if job.private:
            why = text(language, "I am not in that private thread, so I cannot post there. "
                                 "Mention me there to add me to the thread.")
        case Failure.FORBIDDEN:
            why = text(language, "I may not post there. A moderator can give me my permissions back.")
        case Failure.TOO_MANY_THREADS:
            why = text(language, "There are as many open threads on this server as Discord allows, so I could open none. "
                                 "A moderator can close some; then try again.")
        case Failure.TURNED_DOWN:
            why = text(language, "Discord does not let me post it.")
        case Failure.LOST:
            why = text(language, "Nothing of it could be posted.")
        case _:
            why = text(language, "Something went wrong on my side. Please try again.")
    if job.failure in _NOT_SHOWN:
        why = f"{why} {_kept(job, language)}"
    return f"{why} {counted(job.failure == Failure.REFUSED, language)}"


def _kept(job: Job, language: str) -> str:
    """How much of a piece that could not be posted can be had all the same."""
    kept = sum(bool(take.files) for take in job.takes)
    if not kept:
        return text(language, "Nothing was made of it.")
    return plural(language, "{n} take is kept: `/take {number}` shows it.", "{n} takes are kept: `/take {number}` shows them.",
                  kept, number=job.id)


def name(job: Job) -> str:
    """The piece's name, harmless; its number where nothing of it can be seen."""
    return plain(job.name, _LONGEST_NAME) or f"#{job.id}"


def waiting(queued: Queued, language: str) -> str:
    said = text(language, "Place {place} in the queue.", place=queued.place)
    if queued.paused:
        return f"{said} {text(language, 'A moderator has paused it: nothing is begun until it goes on.')}"
    return said if queued.wait is None else f"{said} {_duration(queued.wait, language)}"


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
    if "bars" in asked:
        said.append(plural(language, "{n} bar", "{n} bars", int(asked["bars"])))
    if "seconds" in asked:
        said.append(text(language, "{seconds} s", seconds=number(float(asked["seconds"]), language)))
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


def _forms(job: Job, language: str) -> list[str]:
    """How long each take is planned to be, and which of its phrases come back; nothing where an engine makes no plans."""
    return [plural(language, "{n} bar, form {form}", "{n} bars, form {form}", int(form["bars"]),
                   form=plain(str(form["phrases"]), _LONGEST_FORM))
            for form in job.outcome.get("forms") or ()]


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


def counted(charged: bool, language: str) -> str:
    return (text(language, "It counts against your quota.") if charged
            else text(language, "It does not count against your quota."))
