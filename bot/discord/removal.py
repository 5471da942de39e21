"""What of a deleted piece is taken down at Discord: its messages, its thread's name, and the notice in the channel."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import aiohttp
import discord

from bot.discord.posts import NAMELESS, thread_tail
from bot.discord.retry import patiently, reason
from bot.discord.threads import ARCHIVED, take_from_archive

if TYPE_CHECKING:
    from bot.jobs.records import Job

PATIENCE_S = 20.0  # with each step: somebody waits for it
_NOTICES_SEARCHED = 20  # messages of the channel from the moment at which the thread was opened
_log = logging.getLogger("kapelle.discord")


@dataclass
class Left:
    """What could not be taken down."""

    messages: int = 0
    name: bool = False  # the thread's still tells the title
    notice: bool = False  # that in the channel does

    def __bool__(self) -> bool:
        return bool(self.messages or self.name or self.notice)


async def take_down(bot: discord.Client, job: Job, copies: Sequence[tuple[int, int]]) -> Left:
    """Remove what is at Discord of a job that was deleted, as far as permissions go; says what is left. Never raises.

    `copies`: channel and message of takes that were posted again. A thread that was opened for the job gets a plain name.
    """
    left = Left()
    posted = (job.card_id, *(take.message_id for take in job.takes))
    for channel_id, message_id in (*((job.thread_id, message_id) for message_id in posted), *copies):
        if channel_id is not None and message_id is not None and not await _deleted(bot, job, channel_id, message_id):
            left.messages += 1
    try:
        thread = None if job.thread_id is None else await bot.fetch_channel(job.thread_id)
    except (discord.DiscordException, aiohttp.ClientError, OSError):  # it is gone, or not to be seen
        thread = None
    if isinstance(thread, discord.Thread) and _is_ours(bot, thread) and thread.name.endswith(thread_tail(job.id)):
        left.notice = not await _notice_deleted(bot, thread)
        left.name = not await _named_plainly(thread, job)
    return left


async def close(bot: discord.Client, job: Job) -> None:
    """Archive the thread that was opened for a job and taken down, if it may be; nothing can be said in it then."""
    if job.thread_id is None:
        return
    with suppress(discord.DiscordException, aiohttp.ClientError, OSError):
        thread = await bot.fetch_channel(job.thread_id)
        if isinstance(thread, discord.Thread) and _is_ours(bot, thread) and thread.name == _plain_name(job):
            await thread.edit(archived=True)


def _is_ours(bot: discord.Client, thread: discord.Thread) -> bool:
    return bot.user is not None and thread.owner_id == bot.user.id


def _plain_name(job: Job) -> str:
    return f"{NAMELESS}{thread_tail(job.id)}"


async def _deleted(bot: discord.Client, job: Job, channel_id: int, message_id: int) -> bool:
    message = bot.get_partial_messageable(channel_id).get_partial_message(message_id)
    try:
        try:
            await patiently(message.delete, what="delete a message", give_up_s=PATIENCE_S)
        except discord.HTTPException as error:
            if error.code != ARCHIVED:
                raise
            await take_from_archive(bot, channel_id)
            await patiently(message.delete, what="delete a message", give_up_s=PATIENCE_S)
    except discord.NotFound:
        return True
    except (discord.DiscordException, aiohttp.ClientError, OSError) as error:  # the others can go all the same
        _log.warning("message %d of job %d could not be deleted (%s)", message_id, job.id, reason(error))
        return False
    return True


async def _notice_deleted(bot: discord.Client, thread: discord.Thread) -> bool:
    """Whether no notice of a thread is in its channel any more. It is Discord's own, and needs Manage Messages."""
    channel = bot.get_partial_messageable(thread.parent_id, guild_id=thread.guild.id)
    before = discord.utils.snowflake_time(thread.id) - timedelta(seconds=1)
    try:
        async for message in channel.history(limit=_NOTICES_SEARCHED, after=before, oldest_first=True):
            if message.type is discord.MessageType.thread_created and (
                    message.reference is not None and message.reference.channel_id == thread.id):
                await patiently(message.delete, what="delete a notice", give_up_s=PATIENCE_S)
    except discord.NotFound:
        return True
    except (discord.DiscordException, aiohttp.ClientError, OSError) as error:
        _log.info("the notice of thread %d stays (%s)", thread.id, reason(error))
        return False
    return True


async def _named_plainly(thread: discord.Thread, job: Job) -> bool:
    try:
        if thread.archived:
            await thread.edit(archived=False)
        await patiently(lambda: thread.edit(name=_plain_name(job)), what="rename a thread", give_up_s=PATIENCE_S)
    except discord.NotFound:
        return True
    except (discord.DiscordException, aiohttp.ClientError, OSError) as error:
        _log.info("thread %d keeps its name (%s)", thread.id, reason(error))
        return False
    return True
