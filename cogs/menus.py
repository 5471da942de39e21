"""What a message of ours offers in its menu: its parameters as a template or to copy, and reporting it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from discord import AppCommandType, Interaction, Message, app_commands
from discord.app_commands import AppCommandContext, AppInstallationType
from discord.app_commands import locale_str as _
from discord.ext import commands

from bot.discord import modals
from bot.discord.asking import acknowledge, answer
from bot.discord.people import job_for, member_of
from bot.jobs.records import Job, Member
from bot.jobs.refusals import Reason, Refusal
from bot.messages import pieces

if TYPE_CHECKING:
    from bot.discord.client import KapelleBot


class Menus(commands.Cog):
    """Context menus of messages."""

    def __init__(self, bot: KapelleBot) -> None:
        self._application = bot.application
        self._tree = bot.tree
        self._menus = tuple(
            app_commands.ContextMenu(
                name=name, callback=callback, type=AppCommandType.message,
                allowed_contexts=AppCommandContext(guild=True), allowed_installs=AppInstallationType(guild=True))
            for name, callback in (
                (_("Use as template"), self.use_as_template), (_("Copy parameters"), self.copy_parameters),
                (_("Report"), self.report)))

    async def cog_load(self) -> None:
        for menu in self._menus:
            self._tree.add_command(menu)

    async def cog_unload(self) -> None:
        for menu in self._menus:
            self._tree.remove_command(menu.name, type=menu.type)

    async def use_as_template(self, interaction: Interaction[KapelleBot], message: Message) -> None:
        member, job, _take = await self._shown_in(message, interaction)
        await interaction.response.send_modal(modals.template(job, member.language))

    async def copy_parameters(self, interaction: Interaction[KapelleBot], message: Message) -> None:
        await acknowledge(interaction)
        member, job, _take = await self._shown_in(message, interaction)
        await answer(interaction, pieces.parameters(job, member.language))

    async def report(self, interaction: Interaction[KapelleBot], message: Message) -> None:
        member, job, number = await self._shown_in(message, interaction)
        await interaction.response.send_modal(modals.report(job, number, member.language))

    async def _shown_in(self, message: Message, interaction: Interaction[KapelleBot]) -> tuple[Member, Job, int | None]:
        """Who asks, and the job and take of a message. Raises Refusal(INVALID) where it shows none."""
        member = await member_of(interaction, self._application.moderation)
        found = await self._application.ledger.job_of_message(message.id)
        if found is None:
            raise Refusal(Reason.INVALID, text="no piece is shown in this message")
        job, number = found
        return member, await job_for(interaction, job.id, member), number


async def setup(bot: KapelleBot) -> None:
    await bot.add_cog(Menus(bot))
