"""Threads for results: opened once a job, found again, taken out of the archive."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import TYPE_CHECKING

import discord

from bot.discord.posts import NAMELESS, thread_names, thread_tail
from bot.discord.retry import passing, reason
from bot.jobs.refusals import Failure
from models.errors import KapelleError

if TYPE_CHECKING:
    from bot.jobs.records import Job

SEARCHED = 500  # messages of ours and others, the newest ones
_CLOCKS_DIFFER = timedelta(minutes=15)  # ours and Discord's, at most
_UNKNOWN_GUILD, _UNKNOWN_CHANNEL, UNKNOWN_MESSAGE = 10004, 10003, 10008
ARCHIVED = 50083
BLOCKED_WORD = 200000  # by the server's automatic moderation
_TOO_MANY_THREADS = 160006
_INVALID = 50035  # something in the body; of a name: too long, or a word that the server filters
_FORBIDDEN = 403

_log = logging.getLogger("kapelle.discord")


class NoThreadsError(KapelleError):
    """The channel cannot hold threads; it was another kind of channel when the job was asked for."""


def failure_of(error: Exception) -> Failure | None:
    """What an answer of Discord means for the job, if it means its end; None for what passes, and for our own mistakes.

    Without a code it is not Discord that answers but something in front of it, which is waited for.
    """
    if isinstance(error, NoThreadsError):
        return Failure.THREAD_GONE
    if not isinstance(error, discord.HTTPException):
        return None
    if error.code in (_UNKNOWN_CHANNEL, _UNKNOWN_GUILD):
        return Failure.THREAD_GONE
    if error.code == _TOO_MANY_THREADS:
        return Failure.TOO_MANY_THREADS
    if (error.status == _FORBIDDEN and error.code) or error.code == ARCHIVED:  # still, after it was to be opened: locked
        return Failure.FORBIDDEN
    return Failure.TURNED_DOWN if error.code and not passing(error) else None


async def open_thread(bot: discord.Client, job: Job, *, maybe_open: bool) -> int:
    """The id of a thread of the job, in the channel where it was asked for; the owner is added to it.

    With `maybe_open` one that an earlier try opened without hearing of it is looked for. Raises discord.HTTPException,
    NoThreadsError.
    """
    channel = bot.get_channel(job.channel_id) or await bot.fetch_channel(job.channel_id)
    if not isinstance(channel, discord.TextChannel):
        raise NoThreadsError(f"channel {job.channel_id} has no threads")
    thread = await _opened_before(bot, channel, job) if maybe_open else None
    if thread is None:
        thread = await _opened(channel, job)
    try:
        await thread.add_user(discord.Object(job.owner_id))  # so that it is in their list of threads
    except discord.HTTPException as error:
        _log.info("the owner of job %d could not be added to its thread (%s)", job.id, reason(error))
    return thread.id


async def _opened(channel: discord.TextChannel, job: Job) -> discord.Thread:
    """A new thread, under the first name that Discord accepts."""
    kind = discord.ChannelType.news_thread if channel.is_news() else discord.ChannelType.public_thread
    *better, last = thread_names(job)
    for name in better:
        try:
            return await channel.create_thread(name=name, type=kind)
        except discord.HTTPException as error:
            if error.code != _INVALID:
                raise
            _log.info("the thread of job %d may not be called what it should be (%s); it gets a plainer name", job.id,
                      reason(error))
    return await channel.create_thread(name=last, type=kind)


async def take_from_archive(bot: discord.Client, thread_id: int) -> None:
    """Raises discord.HTTPException where it is locked or gone."""
    thread = await bot.fetch_channel(thread_id)
    if isinstance(thread, discord.Thread):
        await thread.edit(archived=False)


async def our_messages(bot: discord.Client, job: Job) -> AsyncIterator[discord.Message]:
    """What the bot has posted in the job's thread since it was asked for, the newest first."""
    if job.thread_id is None:
        return
    thread = bot.get_partial_messageable(job.thread_id, guild_id=job.guild_id)
    async for message in thread.history(limit=SEARCHED):
        if message.created_at < job.created_at - _CLOCKS_DIFFER:
            return
        if bot.user is not None and message.author.id == bot.user.id:
            yield message


async def _opened_before(bot: discord.Client, channel: discord.TextChannel, job: Job) -> discord.Thread | None:
    for thread in await channel.guild.active_threads():
        ours = bot.user is not None and thread.owner_id == bot.user.id and thread.parent_id == channel.id
        opened = discord.utils.snowflake_time(thread.id)  # a thread of another ledger's job of that number is older
        named = thread.name.endswith(thread_tail(job.id)) or (thread.name == NAMELESS and thread.message_count == 0)
        if ours and named and opened >= job.created_at - _CLOCKS_DIFFER:
            return thread
    return None
