"""`/midi`: a piece from a title and an artist."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from discord import Interaction, app_commands
from discord.app_commands import Choice, Range
from discord.app_commands import locale_str as _
from discord.ext import commands

from bot.discord.asking import acknowledge, ask
from bot.jobs.requests import OFFERED_BARS
from bot.messages.escaping import copyable
from models.interface.midi import LONGEST_TITLE, SEEDS, TAKES, TEMPERATURES, TOKENS

if TYPE_CHECKING:
    from bot.discord.client import KapelleBot

SUGGESTING_S = 1.5  # Discord waits for three seconds
MOST_CHOICES = 25
LONGEST_CHOICE = 100


class Midi(commands.Cog):
    """Slash commands that make MIDI."""

    def __init__(self, bot: KapelleBot) -> None:
        self._titles = bot.application.titles
        engines = bot.application.settings.offered("midi")
        app_commands.choices(engine=[Choice(name=name, value=name) for name in engines])(self.midi)

    @app_commands.command(name="midi", description=_("Make a piece of music from a title and an artist"))
    @app_commands.describe(
        title=_("What the piece is called: a song you know, or anything you can think of"),
        artist=_("Who it is by, or sounds like"),
        tokens=_("How long it is: about three tokens for each note"),
        bars=_("How many bars it has: 16 are a short song. Its tokens stay the limit"),
        takes=_("How many different takes you get"),
        temperature=_("How daring it is: 0.5 is tame, 1.2 is wild"),
        engine=_("Which model composes"),
        seed=_("A number: the same one gives the same piece again"),
        stop_at_end=_("With la-composer: a take may end before its tokens are used up. pocket ends by itself"))
    @app_commands.rename(stop_at_end="stop-at-end")
    @app_commands.guild_only
    @app_commands.guild_install
    async def midi(
            self, interaction: Interaction[KapelleBot],
            title: Range[str, 1, LONGEST_TITLE],
            artist: Range[str, 0, LONGEST_TITLE] = "",
            tokens: Range[int, TOKENS.start, TOKENS.stop - 1] | None = None,
            bars: Range[int, OFFERED_BARS.start, OFFERED_BARS.stop - 1] | None = None,
            takes: Range[int, TAKES.start, TAKES.stop - 1] | None = None,
            temperature: Range[float, TEMPERATURES[0], TEMPERATURES[1]] | None = None,
            engine: str | None = None,
            seed: Range[int, SEEDS.start, SEEDS.stop - 1] | None = None,
            stop_at_end: bool = False) -> None:
        await acknowledge(interaction)
        given = {"tokens": tokens, "bars": bars, "takes": takes, "temperature": temperature, "seed": seed}
        await ask(interaction, {
            "title": title, "artist": artist, "stop_at_end": stop_at_end,
            **{name: value for name, value in given.items() if value is not None},  # what is not said, the service chooses
        }, engine=engine)

    @midi.autocomplete("title")
    async def _suggest_title(self, interaction: Interaction[KapelleBot], typed: str) -> list[Choice[str]]:
        songs = await self._suggested(typed)
        return [Choice(name=copyable(f"{title} - {artist}" if artist else title, LONGEST_CHOICE), value=title[:LONGEST_TITLE])
                for title, artist in songs]

    @midi.autocomplete("artist")
    async def _suggest_artist(self, interaction: Interaction[KapelleBot], typed: str) -> list[Choice[str]]:
        title = str(getattr(interaction.namespace, "title", None) or "")
        artists = dict.fromkeys(artist[:LONGEST_TITLE] for _, artist in await self._suggested(f"{title} {typed}") if artist)
        return [Choice(name=copyable(artist, LONGEST_CHOICE), value=artist) for artist in artists]

    async def _suggested(self, typed: str) -> list[tuple[str, str]]:
        """Songs that resemble what was typed so far; none when that takes too long."""
        try:
            async with asyncio.timeout(SUGGESTING_S):
                return await asyncio.to_thread(self._titles.suggest, typed, MOST_CHOICES)
        except TimeoutError:
            return []


async def setup(bot: KapelleBot) -> None:
    await bot.add_cog(Midi(bot))
