"""What is posted: the message of a take with its files, and the marks by which it is known again."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import TYPE_CHECKING

import discord

from bot.discord.fitting import fitted
from bot.jobs.texts import visible
from bot.messages import pieces
from bot.messages.languages import plural, text
from bot.messages.wording import clock
from bot.takes.shelf import slug
from models.engines.registry import COMPOSED

if TYPE_CHECKING:
    from bot.jobs.records import Job, TakeRecord
    from bot.takes.spool import Spool

LONGEST_CONTENT = 2000
LONGEST_ALT_TEXT = 1024
LONGEST_THREAD_NAME = 100
NAMELESS = "Kapelle"
_PICTURES = frozenset({"roll", "wave"})
_MARK_DIGITS = 5  # of a moment, in base 36; a nonce may have 25 characters
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_NO_MARKUP = str.maketrans(dict.fromkeys("*`~|<>\\@", " "))  # of Markdown and mentions


@dataclass(frozen=True)
class Attachment:
    name: str
    data: bytes
    alt_text: str | None = None


@dataclass(frozen=True)
class Post:
    """What a take's message holds; its files can be sent as often as need be."""

    content: str
    attachments: tuple[Attachment, ...]

    def files(self) -> list[discord.File]:
        return [
            discord.File(io.BytesIO(attachment.data), attachment.name, description=attachment.alt_text)
            for attachment in self.attachments]

    @property
    def largest(self) -> Attachment | None:
        return max(self.attachments, key=lambda attachment: len(attachment.data), default=None)


async def take_post(
        job: Job, take: TakeRecord, spool: Spool, limit: int, language: str | None = None, *, sound_limit: int | None = None,
) -> Post:
    """A take's message with no file over `limit` bytes: sound (made smaller if need be), MIDI, picture, video.

    The sound has at most `sound_limit` bytes, where that is given. What does not fit is left out, and the message says so; a
    MIDI file always comes along. `language` is the job's where it is not given. Raises OSError or KapelleError where the
    files are not in the spool any more.
    """
    language = language or job.language
    names = file_names(job, take)
    attachments: list[Attachment] = []
    notes: list[str] = []
    if "sound" in names:
        sound = await fitted(await spool.read(job.id, take.files["sound"]), min(limit, sound_limit or limit))
        if sound is None:
            notes.append(pieces.sound_left_out(job, language))
        else:
            attachments.append(Attachment(names["sound"], sound))
    if "midi" in names:
        attachments.append(Attachment(names["midi"], await spool.read(job.id, take.files["midi"])))
    for kind in _PICTURES & names.keys():
        picture = await spool.read(job.id, take.files[kind])
        if len(picture) > limit:
            notes.append(text(language, "The picture is too large to be uploaded here, so it is missing."))
        else:
            attachments.append(Attachment(names[kind], picture, _alt_text(job, take, language)))
    if "video" in names:
        video = await spool.read(job.id, take.files["video"])
        if len(video) > limit:
            notes.append(text(language, "The video is too large to be uploaded here, so it is missing."))
        else:
            attachments.append(Attachment(names["video"], video))
    content = _joined([pieces.take_caption(job, take, language), pieces.parameters(job, language), *notes])
    return Post(content, tuple(attachments))


def file_stem(job: Job) -> str:
    """How the names of a job's files begin."""
    return slug(job.name) + ("-not-musicgen" if job.engine == COMPOSED else "")


def file_names(job: Job, take: TakeRecord) -> Mapping[str, str]:
    """What a take's files are called where members see them: kind -> `<piece>-<job>-take-<number>.<suffix>`."""
    return {kind: f"{file_stem(job)}{_tail(job.id, take.number)}{PurePath(name).suffix}" for kind, name in take.files.items()}


def thread_name(job: Job) -> str:
    """The piece's name and the job's number, in at most 100 plain characters."""
    tail = thread_tail(job.id)
    piece = " ".join(visible(job.name).translate(_NO_MARKUP).split()) or NAMELESS
    return piece[:LONGEST_THREAD_NAME - len(tail)].rstrip() + tail


def nameless(job: Job) -> Job:
    """The job without what its owner wrote, for servers that block a word of it: it is called by its number."""
    written = {name: "" for name in ("title", "artist", "prompt") if name in job.parameters}
    return replace(job, parameters={**job.parameters, **written}, outcome={**job.outcome, "matched_title": None, "notices": ()})


def thread_names(job: Job) -> tuple[str, ...]:
    """What its thread may be called, the best first: a server's word filter may dislike the title, or even the number."""
    return thread_name(job), f"{NAMELESS}{thread_tail(job.id)}", NAMELESS


def thread_tail(job_id: int) -> str:
    """How the name of a job's thread ends."""
    return f" · #{job_id}"


def take_nonce(job: Job, number: int) -> str:
    return f"{_mark(job)}t{_base36(number)}"


def card_nonce(job: Job, earlier_card_id: int | None) -> str:
    """Of the card that takes the place of an earlier one, if there was one."""
    return f"{_mark(job)}c{_base36(earlier_card_id or 0)}"


def note_nonce(job: Job) -> str:
    """Of what its owner is told where the job has no card."""
    return f"{_mark(job)}n"


def _mark(job: Job) -> str:
    """The job's number, and the moment it was asked for as a mark.

    Discord compares nonces with all that their author posted lately, and numbers begin anew in each ledger: without the
    moment, the first takes of a new one would be taken for those of the old one, and swallowed.
    """
    moment = int(job.created_at.timestamp() * 1_000_000) % 36**_MARK_DIGITS
    return f"k{_base36(moment):0>{_MARK_DIGITS}}{_base36(job.id)}"


def copy_nonce(interaction_id: int, number: int) -> str:
    """Of a take that is posted again."""
    return f"k{_base36(interaction_id)}r{_base36(number)}"


def is_card(message: discord.Message, job_id: int) -> bool:
    """Whether a message of ours is the job's card; members cannot write a `#` that is not escaped into one."""
    first_line = message.content.partition("\n")[0]
    return not message.attachments and f" · #{job_id} · " in first_line


def holds_take(message: discord.Message, job: Job, number: int) -> bool:
    """Whether a message of ours is that of this take; its nonce is not always told, its files are."""
    tail = _tail(job.id, number)
    return message.nonce == take_nonce(job, number) or any(
        PurePath(attachment.filename).stem.endswith(tail) for attachment in message.attachments)


def _tail(job_id: int, number: int) -> str:
    return f"-{job_id}-take-{number}"


def _alt_text(job: Job, take: TakeRecord, language: str) -> str:
    said = {"piece": visible(job.name), "number": take.number, "length": clock(take.seconds)}
    if job.kind == "audio":
        return text(language, "The waveform of {piece}, take {number}, {length} long, and below it how high it sounds",
                    **said)[:LONGEST_ALT_TEXT]
    return plural(language, "The notes of {piece}, take {number}: {n} note in {length}, one line for each instrument",
                  "The notes of {piece}, take {number}: {n} notes in {length}, one line for each instrument", take.notes,
                  **said)[:LONGEST_ALT_TEXT]


def _joined(parts: list[str]) -> str:
    """One message; parts that would make it too long are left out."""
    content = ""
    for part in filter(None, parts):
        longer = f"{content}\n{part}" if content else part
        if len(longer) <= LONGEST_CONTENT:
            content = longer
    return content


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits or "0"
