"""How a job ended, told to its owner where its card cannot show it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import discord

from bot.discord.posts import nameless, note_nonce
from bot.discord.retry import reason
from bot.discord.threads import failure_of
from bot.jobs.records import Job
from bot.messages import pieces

_log = logging.getLogger("kapelle.discord")


async def tell_owner(
        bot: discord.Client, job: Job, patiently: Callable[[Callable[[], Awaitable[None]]], Awaitable[None]]) -> None:
    """In a direct message, or in the channel where it was asked for if the owner takes none; there without its name, too."""
    content = pieces.card(job, None, (), job.language)
    channel = bot.get_partial_messageable(job.channel_id)

    async def directly() -> None:
        conversation = await bot.create_dm(discord.Object(job.owner_id))
        await conversation.send(content, nonce=note_nonce(job))

    async def in_channel() -> None:
        await channel.send(content, nonce=note_nonce(job))

    async def namelessly() -> None:
        await channel.send(pieces.card(nameless(job), None, (), job.language), nonce=note_nonce(job))

    for way in (directly, in_channel, namelessly):
        try:
            return await patiently(way)
        except discord.HTTPException as error:
            if failure_of(error) is None:
                raise
            _log.info("the owner of job %d takes no note that way (%s)", job.id, reason(error))
    _log.warning("the owner of job %d could not be told how it ended", job.id)
    return None
