"""`/kapelle`: what moderators may do. Discord hides it from others; the service refuses them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import discord
from discord import Interaction, app_commands
from discord.app_commands import Choice, Range
from discord.app_commands import locale_str as _
from discord.ext import commands

from bot.discord import reading
from bot.discord.asking import acknowledge, answer
from bot.discord.people import member_of
from bot.messages import moderators

if TYPE_CHECKING:
    from bot.discord.client import KapelleBot
    from bot.jobs.records import Member

LONGEST_REASON = 200
LONGEST_WORD = 40
LONGEST_TRIED = 200
MOST_PAGES = 100_000


@app_commands.default_permissions(manage_guild=True)
@app_commands.guild_only
@app_commands.guild_install
class Moderation(commands.GroupCog, group_name="kapelle", group_description=_("For moderators")):
    """Slash commands that change what members may do."""

    limits = app_commands.Group(name="limits", description=_("What members may ask for"))
    words = app_commands.Group(name="words", description=_("Words that are refused in titles and artists"))

    def __init__(self, bot: KapelleBot) -> None:
        self._moderation = bot.application.moderation

    @limits.command(name="show", description=_("See the limits of this server"))
    async def limits_show(self, interaction: Interaction[KapelleBot]) -> None:
        member = await self._begin(interaction)
        await answer(interaction, moderators.limits(await self._moderation.limits(member), member.language))

    @limits.command(name="set", description=_("Set or lift a limit of the server, a role or a channel"))
    @app_commands.describe(
        limit=_("What is limited"),
        value=_("A number, channels such as #music, or - for no limit"),
        role=_("Only for those with this role"),
        channel=_("Only in this channel"))
    @app_commands.choices(limit=[
        Choice(name=_("takes in one piece"), value="takes"),
        Choice(name=_("tokens (length)"), value="tokens"),
        Choice(name=_("seconds of sound"), value="seconds"),
        Choice(name=_("pieces at a time"), value="jobs_at_once"),
        Choice(name=_("pieces a day"), value="jobs_a_day"),
        Choice(name=_("takes a day"), value="takes_a_day"),
        Choice(name=_("channels"), value="channels")])
    async def limits_set(
            self, interaction: Interaction[KapelleBot], limit: str, value: Range[str, 1, 1000],
            role: discord.Role | None = None, channel: discord.TextChannel | None = None) -> None:
        member = await self._begin(interaction)
        scope = reading.scope(role.id if role else None, channel.id if channel else None)
        wanted = reading.limit(limit, value)
        await self._moderation.set_limit(member, scope, limit, wanted)
        await answer(interaction, moderators.limit_set(scope, limit, wanted, member.language))

    @app_commands.command(name="pause", description=_("Accept nothing new and begin nothing"))
    async def pause(self, interaction: Interaction[KapelleBot]) -> None:
        member = await self._begin(interaction)
        await self._moderation.pause(member)
        await self._show_state(interaction, member)

    @app_commands.command(name="resume", description=_("Accept and make pieces again"))
    async def resume(self, interaction: Interaction[KapelleBot]) -> None:
        member = await self._begin(interaction)
        await self._moderation.resume(member)
        await self._show_state(interaction, member)

    @app_commands.command(name="drain", description=_("Accept nothing new and finish what waits"))
    async def drain(self, interaction: Interaction[KapelleBot]) -> None:
        member = await self._begin(interaction)
        await self._moderation.drain(member)
        await self._show_state(interaction, member)

    @app_commands.command(name="cancel", description=_("Cancel a piece, or all that wait"))
    @app_commands.describe(job=_("Which piece; left out, all that wait"))
    async def cancel(self, interaction: Interaction[KapelleBot], job: Range[int, 1] | None = None) -> None:
        member = await self._begin(interaction)
        await answer(interaction, moderators.many_cancelled(await self._moderation.cancel(member, job), member.language))

    @app_commands.command(name="block", description=_("Let a member ask for nothing any more"))
    @app_commands.describe(member=_("Who"), reason=_("Why; moderators see it in the audit log"))
    async def block(self, interaction: Interaction[KapelleBot], member: discord.User,
                    reason: Range[str, 0, LONGEST_REASON] = "") -> None:
        moderator = await self._begin(interaction)
        await self._moderation.block(moderator, member.id, reason)
        await answer(interaction, moderators.blocked(member.id, moderator.language))

    @app_commands.command(name="unblock", description=_("Let a member ask for pieces again"))
    @app_commands.describe(member=_("Who"))
    async def unblock(self, interaction: Interaction[KapelleBot], member: discord.User) -> None:
        moderator = await self._begin(interaction)
        await self._moderation.unblock(moderator, member.id)
        await answer(interaction, moderators.unblocked(member.id, moderator.language))

    @words.command(name="add", description=_("Refuse titles and artists with a word"))
    @app_commands.describe(word=_("The word; with * at its end, all that begin with it"))
    async def words_add(self, interaction: Interaction[KapelleBot], word: Range[str, 1, LONGEST_WORD]) -> None:
        member = await self._begin(interaction)
        await self._moderation.add_word(member, word)
        await answer(interaction, moderators.word_added(word, member.language))

    @words.command(name="remove", description=_("Allow a word again"))
    @app_commands.describe(word=_("The word, as it is in the list"))
    async def words_remove(self, interaction: Interaction[KapelleBot], word: Range[str, 1, LONGEST_WORD]) -> None:
        member = await self._begin(interaction)
        await self._moderation.remove_word(member, word)
        await answer(interaction, moderators.word_removed(word, member.language))

    @words.command(name="test", description=_("See whether a text would be refused"))
    @app_commands.describe(text=_("A title or an artist"))
    async def words_test(self, interaction: Interaction[KapelleBot], text: Range[str, 1, LONGEST_TRIED]) -> None:
        member = await self._begin(interaction)
        await answer(interaction, moderators.words_found(await self._moderation.test_word(member, text), member.language))

    @words.command(name="list", description=_("See the words that are refused"))
    async def words_list(self, interaction: Interaction[KapelleBot]) -> None:
        member = await self._begin(interaction)
        await answer(interaction, moderators.words(await self._moderation.words(member), member.language))

    @app_commands.command(name="audit", description=_("See what moderators changed"))
    @app_commands.describe(page=_("Which page; the first one is the newest"))
    async def audit(self, interaction: Interaction[KapelleBot], page: Range[int, 1, MOST_PAGES] = 1) -> None:
        member = await self._begin(interaction)
        entries, pages = await self._moderation.audit(member, page)
        await answer(interaction, moderators.audit(entries, min(page, pages), pages, member.language))

    @app_commands.command(name="status", description=_("See how it goes on this server"))
    async def status(self, interaction: Interaction[KapelleBot]) -> None:
        member = await self._begin(interaction)
        await answer(interaction, moderators.status(await self._moderation.status(member), member.language))

    @app_commands.command(name="role", description=_("Make those with a role moderators too"))
    @app_commands.describe(role=_("Which role; left out, none"))
    async def role(self, interaction: Interaction[KapelleBot], role: discord.Role | None = None) -> None:
        member = await self._begin(interaction)
        await self._moderation.set_moderator_role(member, role.id if role else None)
        await answer(interaction, moderators.moderator_role_set(role.id if role else None, member.language))

    async def _begin(self, interaction: Interaction[KapelleBot]) -> Member:
        """Acknowledge, and who asks; whether they may is the service's to say."""
        await acknowledge(interaction)
        return await member_of(interaction, self._moderation)

    async def _show_state(self, interaction: Interaction[KapelleBot], member: Member) -> None:
        await answer(interaction, moderators.guild_state(await self._moderation.state(member.guild_id), member.language))


async def setup(bot: KapelleBot) -> None:
    await bot.add_cog(Moderation(bot))
