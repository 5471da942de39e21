"""A member's pieces: those that wait, those that were made, and what may still be asked for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Self

from discord import Interaction, app_commands, ui
from discord.app_commands import Choice, Range
from discord.app_commands import locale_str as _
from discord.ext import commands

from bot.discord import reading
from bot.discord.asking import acknowledge, answer
from bot.discord.buttons import OF_A_PAGE
from bot.discord.copies import post_again
from bot.discord.errors import AnsweringView, answering
from bot.discord.people import job_for, member_of, place_of, sight_of
from bot.jobs.records import TakeState
from bot.jobs.refusals import Reason, Refusal
from bot.messages import answers
from bot.messages.languages import text

if TYPE_CHECKING:
    from bot.discord.client import KapelleBot

MOST_CHOICES = 25
_WITH_FILES = frozenset({TakeState.MADE, TakeState.POSTED, TakeState.LOST})


class Jobs(commands.Cog):
    """Slash commands about what was asked for."""

    def __init__(self, bot: KapelleBot) -> None:
        self._application = bot.application

    @app_commands.command(name="queue", description=_("See how far your pieces are"))
    @app_commands.guild_only
    @app_commands.guild_install
    async def queue(self, interaction: Interaction[KapelleBot]) -> None:
        await acknowledge(interaction)
        member = await member_of(interaction, self._application.moderation)
        await answer(interaction, answers.queue(await self._application.jobs.mine(member), member.language))

    @app_commands.command(name="cancel", description=_("Take back a piece that is not done yet"))
    @app_commands.describe(job=_("Which piece: its number"))
    @app_commands.guild_only
    @app_commands.guild_install
    async def cancel(self, interaction: Interaction[KapelleBot], job: Range[int, 1]) -> None:
        await acknowledge(interaction)
        member = await member_of(interaction, self._application.moderation)
        await answer(interaction, answers.cancelled(await self._application.jobs.cancel(job, member), member.language))

    @cancel.autocomplete("job")
    async def _suggest_job(self, interaction: Interaction[KapelleBot], typed: str) -> list[Choice[int]]:
        member = await member_of(interaction, self._application.moderation)
        jobs = [queued.job for queued in await self._application.jobs.mine(member)]
        return [Choice(name=answers.choice_of_job(job, member.language), value=job.id)
                for job in jobs if str(job.id).startswith(str(typed))][:MOST_CHOICES]

    @app_commands.command(name="quota", description=_("See what you may still ask for"))
    @app_commands.guild_only
    @app_commands.guild_install
    async def quota(self, interaction: Interaction[KapelleBot]) -> None:
        await acknowledge(interaction)
        member = await member_of(interaction, self._application.moderation)
        quota = await self._application.jobs.quota(member, place_of(interaction).channel_id)
        await answer(interaction, answers.quota(quota, member.language))

    @app_commands.command(name="history", description=_("See what was made before"))
    @app_commands.describe(whose=_("Your pieces, or those of the whole class"))
    @app_commands.choices(whose=[Choice(name=_("mine"), value="mine"), Choice(name=_("the class's"), value="class")])
    @app_commands.guild_only
    @app_commands.guild_install
    async def history(self, interaction: Interaction[KapelleBot], whose: str = "mine") -> None:
        await acknowledge(interaction)
        await show_history(interaction, whose, 1)

    @app_commands.command(name="take", description=_("Post a take again, right here"))
    @app_commands.describe(number=_("12 for all takes of piece 12, 12.3 for its third one"))
    @app_commands.guild_only
    @app_commands.guild_install
    async def take(self, interaction: Interaction[KapelleBot], number: Range[str, 1, 24]) -> None:
        await acknowledge(interaction)
        member = await member_of(interaction, self._application.moderation)
        job_id, wanted = reading.piece(number)
        job = await job_for(interaction, job_id, member)
        takes = [take for take in job.takes if take.state in _WITH_FILES and wanted in (None, take.number)]
        posted = await post_again(interaction, member, job, takes)
        if not posted:
            raise Refusal(Reason.NO_TAKE, number=number)
        await answer(interaction, answers.posted_again(job.id, posted, member.language))


class PageButton(ui.DynamicItem[ui.Button[Any]], template=OF_A_PAGE):
    """Another page of the history."""

    def __init__(self, whose: str, page: int, label: str = "…") -> None:
        super().__init__(ui.Button(label=label, custom_id=f"k:page:{whose}:{page}"))
        self._whose, self._page = whose, page

    @classmethod
    async def from_custom_id(cls, interaction: Interaction[Any], item: ui.Item[Any], match: re.Match[str]) -> Self:
        return cls(match["whose"], int(match["page"]))

    async def callback(self, interaction: Interaction[Any]) -> None:
        async with answering(interaction):
            await interaction.response.defer()  # the page takes the place of the one it was pressed on
            await show_history(interaction, self._whose, self._page)


async def show_history(interaction: Interaction[KapelleBot], whose: str, page: int) -> None:
    """A page of the pieces of a member or of all that they may see, with buttons to those beside it."""
    application = interaction.client.application
    member = await member_of(interaction, application.moderation)
    jobs, pages = await application.jobs.history(sight_of(interaction, member), whole_class=whose == "class", page=page)
    page = min(page, pages)  # some may have been deleted since the button was made
    view = AnsweringView(timeout=None)
    if page > 1:
        view.add_item(PageButton(whose, page - 1, text(member.language, "◀ Newer")))
    if page < pages:
        view.add_item(PageButton(whose, page + 1, text(member.language, "Older ▶")))
    await answer(interaction, answers.history(jobs, page, pages, member.language), view)


async def setup(bot: KapelleBot) -> None:
    bot.add_dynamic_items(PageButton)
    await bot.add_cog(Jobs(bot))
