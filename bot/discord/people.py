"""Who asks and where, from what Discord says with a request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord

from bot.jobs.records import Member, Place
from bot.jobs.refusals import Reason, Refusal
from bot.languages import language_of

if TYPE_CHECKING:
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


def place_of(interaction: discord.Interaction) -> Place:
    """Where the results go: into the thread that was asked in, or one to be opened. Raises Refusal(GUILD_ONLY)."""
    if interaction.guild_id is None or interaction.channel_id is None:
        raise Refusal(Reason.GUILD_ONLY)
    if isinstance(interaction.channel, discord.Thread):
        return Place(interaction.channel.parent_id, interaction.channel.id)
    return Place(interaction.channel_id)
