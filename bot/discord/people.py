"""Who asks and where, from what Discord says with a request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord

from bot.jobs.records import Job, Member, Place, Sight
from bot.jobs.refusals import Reason, Refusal
from bot.messages.languages import language_of

if TYPE_CHECKING:
    from bot.discord.bot import ApplicationBot
    from bot.jobs.moderation import Moderation


async def member_of(interaction: discord.Interaction, moderation: Moderation) -> Member:
    """The member who asks; a moderator by Manage Server or by the guild's role for it. Raises Refusal(GUILD_ONLY)."""
    user = interaction.user
    if interaction.guild_id is None or not isinstance(user, discord.Member):
        raise Refusal(Reason.GUILD_ONLY)
    role_ids = tuple(role.id for role in user.roles if not role.is_default())
    moderator = interaction.permissions.manage_guild or interaction.permissions.administrator
    if not moderator:
        state = await moderation.state(interaction.guild_id)
        moderator = state.moderator_role_id in role_ids
    return Member(interaction.guild_id, user.id, role_ids, moderator, language_of(str(interaction.locale)))


async def job_for(interaction: discord.Interaction[ApplicationBot], job_id: int, member: Member) -> Job:
    """A job that the member may see; any other is refused as if it were not there. Raises Refusal(NO_JOB)."""
    job = await interaction.client.application.jobs.job(job_id, member)
    if not sight_of(interaction, member).sees(job):
        raise Refusal(Reason.NO_JOB, number=job_id)
    return job


async def pressed(interaction: discord.Interaction[ApplicationBot], job_id: int) -> tuple[Member, Job]:
    """Who pressed a button or sent a window, and the job that it is about. Raises Refusal, GONE where the job was deleted."""
    member = await member_of(interaction, interaction.client.application.moderation)
    try:
        return member, await job_for(interaction, job_id, member)
    except Refusal as refusal:
        if refusal.reason is Reason.NO_JOB:
            raise Refusal(Reason.GONE) from refusal
        raise


def sight_of(interaction: discord.Interaction, member: Member) -> Sight:
    """What a member may see, by the channels that they may. The library forgets threads that are archived, and never hears of
    private ones that the bot is not in; so only those that it knows count as public."""
    guild, user = interaction.guild, interaction.user
    if guild is None or not isinstance(user, discord.Member):
        return Sight(member, interaction.channel_id, frozenset(), frozenset())
    return Sight(
        member, interaction.channel_id,
        frozenset(channel.id for channel in guild.channels if channel.permissions_for(user).view_channel),
        frozenset(thread.id for thread in guild.threads if not thread.is_private()))


def place_of(interaction: discord.Interaction) -> Place:
    """Where the results go: into the thread that was asked in, or one to be opened. Raises Refusal(GUILD_ONLY)."""
    if interaction.guild_id is None or interaction.channel_id is None:
        raise Refusal(Reason.GUILD_ONLY)
    channel = interaction.channel  # as the request itself says it: the library need not know it
    if isinstance(channel, discord.Thread):
        return Place(channel.parent_id, channel.id, channel.is_private())
    return Place(interaction.channel_id, private=False if channel is not None else None)
