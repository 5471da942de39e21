"""`/help`: what there is, and three prompts to try with one tap each."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Self

from discord import Interaction, app_commands, ui
from discord.app_commands import locale_str as _
from discord.ext import commands

from bot.discord.asking import acknowledge, answer, ask
from bot.discord.buttons import OF_A_PROMPT
from bot.discord.errors import AnsweringView, answering
from bot.discord.people import member_of
from bot.messages import answers

if TYPE_CHECKING:
    from bot.discord.client import KapelleBot

PROMPTS = (  # a song that is known, a style, and a wish
    ("Clair de lune", "Claude Debussy"),
    ("Mazurka in A minor", "Frédéric Chopin"),
    ("A slow reggae with flute", ""),
)
TAKES = 2  # tried quickly, by many at once


class Help(commands.Cog):
    """Slash command that explains the others."""

    @app_commands.command(name="help", description=_("What I can do, and three pieces to try"))
    @app_commands.guild_only
    @app_commands.guild_install
    async def help(self, interaction: Interaction[KapelleBot]) -> None:
        await acknowledge(interaction)
        member = await member_of(interaction, interaction.client.application.moderation)
        view = AnsweringView(timeout=None)
        for number in range(1, len(PROMPTS) + 1):
            view.add_item(PromptButton(number))
        await answer(interaction, answers.help(member.language), view)


class PromptButton(ui.DynamicItem[ui.Button[Any]], template=OF_A_PROMPT):
    """Asks for one of the prompts."""

    def __init__(self, number: int) -> None:
        title, artist = PROMPTS[number - 1]
        super().__init__(ui.Button(label=f"{title} - {artist}" if artist else title, emoji="🎵", custom_id=f"k:try:{number}"))
        self._prompt = {"title": title, "artist": artist, "takes": TAKES}

    @classmethod
    async def from_custom_id(cls, interaction: Interaction[Any], item: ui.Item[Any], match: re.Match[str]) -> Self:
        return cls(int(match["number"]))

    async def callback(self, interaction: Interaction[Any]) -> None:
        async with answering(interaction):
            await acknowledge(interaction)
            await ask(interaction, self._prompt, once=True)


async def setup(bot: KapelleBot) -> None:
    bot.add_dynamic_items(PromptButton)
    await bot.add_cog(Help())
