"""`/privacy`: what is kept about a member, as a file or not at all."""

from __future__ import annotations

import io
import json
import re
from typing import TYPE_CHECKING, Any, Self

import discord
from discord import Interaction, app_commands, ui
from discord.app_commands import locale_str as _
from discord.ext import commands

from bot.discord.asking import acknowledge, answer
from bot.discord.bundle import with_attached
from bot.discord.buttons import OF_PRIVACY
from bot.discord.errors import AnsweringView, answering
from bot.discord.people import member_of
from bot.messages import answers
from bot.messages.languages import N_, language_of, text

if TYPE_CHECKING:
    from bot.discord.client import KapelleBot

EXPORT = "kapelle.json"
_LABELS = {"export": N_("Get it as a file"), "forget": N_("Delete it"), "erase": N_("Yes, delete everything")}


class Privacy(commands.Cog):
    """Slash command about what is known of a member."""

    @app_commands.command(name="privacy", description=_("See, get or delete what I keep about you"))
    @app_commands.guild_only
    @app_commands.guild_install
    async def privacy(self, interaction: Interaction[KapelleBot]) -> None:
        await acknowledge(interaction)
        member = await member_of(interaction, interaction.client.application.moderation)
        await answer(interaction, answers.privacy(member.language), _buttons(member.language, "export", "forget"))


class PrivacyButton(ui.DynamicItem[ui.Button[Any]], template=OF_PRIVACY):
    """Exports what is kept, asks whether to delete it, or deletes it."""

    def __init__(self, action: str, language: str = "en") -> None:
        style = discord.ButtonStyle.danger if action == "erase" else discord.ButtonStyle.secondary
        super().__init__(ui.Button(label=text(language, _LABELS[action]), style=style, custom_id=f"k:privacy:{action}"))
        self._action = action

    @classmethod
    async def from_custom_id(cls, interaction: Interaction[Any], item: ui.Item[Any], match: re.Match[str]) -> Self:
        return cls(match["action"])

    async def callback(self, interaction: Interaction[Any]) -> None:
        async with answering(interaction):
            await acknowledge(interaction)
            await getattr(self, f"_{self._action}")(interaction)

    async def _export(self, interaction: Interaction[KapelleBot]) -> None:
        application = interaction.client.application
        member = await member_of(interaction, application.moderation)
        kept = json.dumps(await application.jobs.export(member), ensure_ascii=False, indent=1)
        jobs = [job for job in await application.ledger.jobs(owner_id=member.user_id, with_takes=False) if job.inputs]
        packed = await with_attached(EXPORT, kept.encode(), jobs, application.spool, interaction.filesize_limit)
        await interaction.edit_original_response(
            content=answers.exported(packed.left_out, member.language),
            attachments=[discord.File(io.BytesIO(packed.contents), packed.name)])

    async def _forget(self, interaction: Interaction[KapelleBot]) -> None:
        language = language_of(interaction.locale)
        await answer(interaction, answers.confirm_forgetting(language), _buttons(language, "erase"))

    async def _erase(self, interaction: Interaction[KapelleBot]) -> None:
        application = interaction.client.application
        member = await member_of(interaction, application.moderation)
        removed = await application.jobs.forget(member)
        await answer(interaction, answers.forgotten(len(removed), member.language))
        interaction.client.take_down(removed)


def _buttons(language: str, *actions: str) -> ui.View:
    view = AnsweringView(timeout=None)
    for action in actions:
        view.add_item(PrivacyButton(action, language))
    return view


async def setup(bot: KapelleBot) -> None:
    bot.add_dynamic_items(PrivacyButton)
    await bot.add_cog(Privacy())
