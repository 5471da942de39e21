"""Takes that are posted again, where somebody asks for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import discord

from bot.discord.buttons import buttons_of
from bot.discord.people import place_of
from bot.discord.permissions import check_posting
from bot.discord.posts import Post, copy_nonce
from bot.discord.retry import patiently
from bot.discord.sending import FilesGoneError, sent
from bot.jobs.guilds import is_blocked
from bot.jobs.refusals import Reason, Refusal

if TYPE_CHECKING:
    from bot.discord.bot import ApplicationBot
    from bot.jobs.records import Job, Member, TakeRecord

PATIENCE_S = 60.0  # with each message


async def post_again(
        interaction: discord.Interaction[ApplicationBot], member: Member, job: Job, takes: Sequence[TakeRecord]) -> int:
    """How many of the takes are posted now where the member asks; those without files are left out.

    Raises Refusal where the bot may not post, or the member may not have it post.
    """
    check_posting(interaction)
    application, channel_id = interaction.client.application, place_of(interaction).channel_id
    async with application.ledger.read() as session:
        if await is_blocked(session, member.guild_id, member.user_id):
            raise Refusal(Reason.BLOCKED)
    allowed = (await application.jobs.quota(member, channel_id)).limits.channels
    if allowed is not None and channel_id not in allowed:
        raise Refusal(Reason.CHANNEL, channels=allowed)
    posted = 0
    for take in takes:
        try:
            await _post(interaction, member, job, take)
        except FilesGoneError:
            continue
        posted += 1
    return posted


async def _post(interaction: discord.Interaction[ApplicationBot], member: Member, job: Job, take: TakeRecord) -> None:
    bot, application = interaction.client, interaction.client.application
    where = bot.get_partial_messageable(interaction.channel_id or 0, guild_id=interaction.guild_id)

    async def send(post: Post) -> int:
        async def posted() -> int:
            message = await where.send(
                post.content, files=post.files(), view=buttons_of(job, member.language, take.number),
                nonce=copy_nonce(interaction.id, take.number))
            return message.id

        return await patiently(
            posted, what="post take again", give_up_s=PATIENCE_S, on_retry=application.metrics.retried)

    message_id = await sent(job, take, application.spool, interaction.guild, send, member.language)
    if not await application.ledger.take_copied(job.id, take.number, where.id, message_id):
        await patiently(where.get_partial_message(message_id).delete, what="delete message", give_up_s=PATIENCE_S)
        raise Refusal(Reason.NO_JOB, number=job.id)
