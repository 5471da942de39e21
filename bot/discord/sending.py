"""A take's message on its way: made smaller until Discord takes it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import PurePath
from typing import TYPE_CHECKING

import discord

from bot.discord.posts import Post, take_post
from models.errors import KapelleError

if TYPE_CHECKING:
    from bot.jobs.records import Job, TakeRecord
    from bot.takes.spool import Spool

_TRIES = 4  # each with smaller files
_TOO_LARGE, _TOO_LARGE_STATUS = 40005, 413


class FilesGoneError(KapelleError):
    """The files of a take are not in the spool any more."""


async def sent(
        job: Job, take: TakeRecord, spool: Spool, guild: discord.Guild | None, send: Callable[[Post], Awaitable[int]],
        language: str | None = None) -> int:
    """The number of the message that `send` made of the take, with files as large as the guild takes them.

    Raises FilesGoneError, and discord.HTTPException where Discord finds even the smallest files too large.
    """
    limit = discord.utils.DEFAULT_FILE_SIZE_LIMIT_BYTES if guild is None else guild.filesize_limit
    sound_limit = limit
    for left in reversed(range(_TRIES)):
        try:
            post = await take_post(job, take, spool, limit, language, sound_limit=sound_limit)
        except (OSError, KapelleError) as error:
            raise FilesGoneError(f"take {take.number} of job {job.id} is not in the spool ({error})") from error
        try:
            return await send(post)
        except discord.HTTPException as error:
            if not left or (error.code != _TOO_LARGE and error.status != _TOO_LARGE_STATUS):
                raise
            # It is the largest that is too large: a sound becomes smaller, anything else is left out.
            if (largest := post.largest) is None:
                raise
            if PurePath(largest.name).suffix == PurePath(take.files.get("sound", "")).suffix:
                sound_limit = len(largest.data) // 2
            else:
                limit = len(largest.data) - 1
    raise AssertionError("it is sent, or raises")
