"""Why something was refused or failed, as codes with details: what a member reads is made of them in bot.messages."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from models.errors import KapelleError


class Reason(StrEnum):
    """Each has one text in bot.messages; the details it takes are named behind it."""

    INVALID = "invalid"  # text: what was asked for cannot be done as asked; of_a_piece: it was a piece
    TOO_MANY_TAKES = "too_many_takes"  # asked, limit, rule
    TOO_MANY_TOKENS = "too_many_tokens"  # asked, limit, rule
    TOO_MANY_SECONDS = "too_many_seconds"  # asked, limit, rule
    TOO_MANY_AT_ONCE = "too_many_at_once"  # limit, rule
    JOBS_A_DAY = "jobs_a_day"  # limit, rule
    TAKES_A_DAY = "takes_a_day"  # asked, left, limit, rule
    CHANNEL = "channel"  # channels: ids where it is allowed
    WORD = "word"
    BLOCKED = "blocked"
    PAUSED = "paused"
    DRAINING = "draining"
    QUEUE_FULL = "queue_full"  # limit
    NO_ENGINE = "no_engine"  # engine, engines
    NO_AUDIO = "no_audio"  # there is no engine that makes sound
    NOT_YOURS = "not_yours"
    NO_JOB = "no_job"  # number
    NO_TAKE = "no_take"  # number
    OVER = "over"  # the job has ended already
    MODERATORS_ONLY = "moderators_only"
    PERMISSIONS = "permissions"  # missing: names as Discord shows them
    GUILD_ONLY = "guild_only"
    NO_MELODY = "no_melody"  # engine: cannot follow one
    NO_WEIGHTS = "no_weights"  # engine: its model is not on this machine
    TOO_LARGE = "too_large"  # limit: MB that an attached file may have
    UNREADABLE = "unreadable"  # an attached file could not be fetched
    FULL_DISK = "full_disk"
    LEDGER = "ledger"  # the database is locked or cannot be written
    GONE = "gone"  # a button of something that was deleted
    FORGED = "forged"  # a custom_id that is none of ours


class Failure(StrEnum):
    """Why an accepted job failed. Kept in the ledger; each has one text in bot.messages."""

    CRASHED = "crashed"  # it crashed the worker again and again
    REFUSED = "refused"  # the engine refused it: text
    RENDERING = "rendering"  # sound or picture could not be made: text
    EMPTY = "empty"  # no take holds a note
    NO_MODEL = "no_model"  # the worker could not load the engine: text
    THREAD_GONE = "thread_gone"
    FORBIDDEN = "forbidden"  # permissions were taken away
    TOO_MANY_THREADS = "too_many_threads"  # the guild has as many open ones as Discord allows
    TURNED_DOWN = "turned_down"  # Discord does not take what is to be posted
    LOST = "lost"  # no take could be posted


class Refusal(KapelleError):  # noqa: N818 - it is the word for it
    """A request that was turned down; nothing was changed."""

    def __init__(self, reason: Reason, *, charged: bool = False, **details: Any) -> None:
        super().__init__(reason.value)
        self.reason = reason
        self.charged = charged  # whether quota was taken for it
        self.details = details
