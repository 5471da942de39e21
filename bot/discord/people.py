"""Who asks and where, from what Discord says with a request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord

from bot.jobs.records import Job, Member, Place
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
    if not may_see(interaction, job, member):
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


def may_see(interaction: discord.Interaction, job: Job, member: Member) -> bool:
    """Whether a job is the member's, or in a channel that they see. Moderators see all."""
    if member.moderator or member.user_id == job.owner_id or interaction.channel_id == job.thread_id:
        return True
    guild, user = interaction.guild, interaction.user
    channel = guild.get_channel(job.channel_id) if guild is not None else None
    if guild is None or channel is None or not isinstance(user, discord.Member):
        return False
    thread = guild.get_thread(job.thread_id) if job.thread_id is not None else None
    return channel.permissions_for(user).view_channel and not (thread is not None and thread.is_private())


def place_of(interaction: discord.Interaction) -> Place:
    """Where the results go: into the thread that was asked in, or one to be opened. Raises Refusal(GUILD_ONLY)."""
    if interaction.guild_id is None or interaction.channel_id is None:
        raise Refusal(Reason.GUILD_ONLY)
    if isinstance(interaction.channel, discord.Thread):
        return Place(interaction.channel.parent_id, interaction.channel.id)
    return Place(interaction.channel_id)
