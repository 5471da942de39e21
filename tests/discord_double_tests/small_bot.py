"""A small discord.py client with one of everything, and requests past it."""

from __future__ import annotations

import re
import socket
import ssl
from typing import Any

import aiohttp
import discord
from aiohttp.abc import AbstractResolver, ResolveResult
from discord import app_commands

from tests.discord_double import DiscordDouble

BUTTON = {"type": 2, "style": 1, "label": "a", "custom_id": "i"}
SILENCE = b"RIFF\x24\x00\x00\x00WAVE" + bytes(400)


class Loopback(AbstractResolver):
    """Every name is the double."""

    def __init__(self, double: DiscordDouble) -> None:
        self._double = double

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[ResolveResult]:
        found = ResolveResult(
            hostname=host, host=self._double.host, port=self._double.port, family=socket.AF_INET, proto=0, flags=0
        )
        return [found]

    async def close(self) -> None:
        return None


def connector_to(double: DiscordDouble) -> aiohttp.TCPConnector:
    trust = ssl.create_default_context(cafile=str(double.ca_file))
    return aiohttp.TCPConnector(resolver=Loopback(double), ssl=trust)


class Tempo(discord.ui.Modal, title="Variation"):
    tempo: discord.ui.TextInput[Tempo] = discord.ui.TextInput(label="Tempo", custom_id="tempo", default="120", max_length=3)
    mood: discord.ui.Label[Tempo] = discord.ui.Label(
        text="Stimmung", component=discord.ui.TextInput(custom_id="mood", required=False)
    )

    async def on_submit(self, interaction: discord.Interaction) -> None:
        mood = self.mood.component
        assert isinstance(mood, discord.ui.TextInput)
        await interaction.response.edit_message(content=f"tempo {self.tempo.value} mood {mood.value}")


class Again(discord.ui.DynamicItem[discord.ui.Button[Any]], template=r"again:(?P<job>\d+)"):
    def __init__(self, job: int) -> None:
        super().__init__(discord.ui.Button(label="Nochmal", custom_id=f"again:{job}"))
        self.job = job

    @classmethod
    async def from_custom_id(cls, interaction: discord.Interaction, item: discord.ui.Item[Any], match: re.Match[str]) -> Again:
        return cls(int(match["job"]))

    async def callback(self, interaction: discord.Interaction) -> None:
        await interaction.response.send_message(f"again {self.job}", ephemeral=True)


class Vary(discord.ui.View):
    def __init__(self) -> None:
        super().__init__(timeout=None)

    @discord.ui.button(label="Variieren", custom_id="vary")
    async def vary(self, interaction: discord.Interaction, button: discord.ui.Button[Vary]) -> None:
        await interaction.response.send_modal(Tempo())

    @discord.ui.select(custom_id="take", options=[discord.SelectOption(label="1"), discord.SelectOption(label="2")])
    async def take(self, interaction: discord.Interaction, select: discord.ui.Select[Vary]) -> None:
        await interaction.response.defer()
        await interaction.edit_original_response(content=f"take {select.values[0]}")


class Bot(discord.Client):
    """A small bot with one of everything."""

    def __init__(self, double: DiscordDouble, intents: discord.Intents | None = None) -> None:
        super().__init__(
            intents=intents or discord.Intents(guilds=True),
            allowed_mentions=discord.AllowedMentions.none(),
            connector=connector_to(double),
            guild_ready_timeout=0.05,
        )
        self.double = double
        self.tree = app_commands.CommandTree(self)
        self.resumed = 0
        self.seen_messages: list[discord.Message] = []
        self.interactions: list[discord.Interaction] = []
        self.joined: list[int] = []
        self._commands()

    async def setup_hook(self) -> None:
        self.add_dynamic_items(Again)
        self.add_view(Vary())
        guild = discord.Object(self.double.guild.id)
        self.tree.copy_global_to(guild=guild)
        await self.tree.sync(guild=guild)

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        return None  # one bot alone need not wait five seconds for its turn

    async def on_resumed(self) -> None:
        self.resumed += 1

    async def on_guild_join(self, guild: discord.Guild) -> None:
        self.joined.append(guild.id)

    async def on_interaction(self, interaction: discord.Interaction) -> None:
        self.interactions.append(interaction)

    async def on_message(self, message: discord.Message) -> None:
        self.seen_messages.append(message)

    def _commands(self) -> None:
        @self.tree.command(description="Make a piece")
        @app_commands.describe(title="The title", takes="How many")
        async def midi(
            interaction: discord.Interaction, title: app_commands.Range[str, 1, 80], takes: app_commands.Range[int, 1, 16] = 1
        ) -> None:
            await interaction.response.defer(ephemeral=True, thinking=True)
            await interaction.followup.send(f"{title} x {takes} {interaction.locale}")
            await interaction.followup.send("second")

        @midi.autocomplete("title")
        async def titles(interaction: discord.Interaction, current: str) -> list[app_commands.Choice[str]]:
            return [app_commands.Choice(name=f"{current}ir de lune", value="clair")]

        @self.tree.command(description="Say something with buttons")
        async def card(interaction: discord.Interaction) -> None:
            view = Vary()
            view.add_item(Again(42))
            await interaction.response.send_message("card", view=view)

        @self.tree.command(description="Never answers")
        async def silent(interaction: discord.Interaction) -> None:
            return None

        limits = app_commands.Group(name="limits", description="Limits", guild_only=True)
        kapelle = app_commands.Group(
            name="kapelle", description="For moderators", default_permissions=discord.Permissions(manage_guild=True)
        )
        kapelle.add_command(limits)

        @limits.command(name="set", description="Set a limit")
        async def limits_set(interaction: discord.Interaction, role: discord.Role, takes: int) -> None:
            allowed = interaction.permissions.manage_guild
            await interaction.response.send_message(f"{role.name} {takes} {allowed}", ephemeral=True)

        self.tree.add_command(kapelle)

        @self.tree.context_menu(name="Use as template")
        async def template(interaction: discord.Interaction, message: discord.Message) -> None:
            await interaction.response.send_message(f"template {message.content}", ephemeral=True)


async def raw(double: DiscordDouble, method: str, path: str, **sent: Any) -> tuple[int, Any]:
    """A request past discord.py."""
    headers = {"Authorization": f"Bot {double.token}", **sent.pop("headers", {})}
    async with (
        aiohttp.ClientSession(connector=connector_to(double)) as session,
        session.request(method, f"https://discord.com/api/v10{path}", headers=headers, **sent) as answer,
    ):
        return answer.status, await answer.json() if answer.content_type == "application/json" else await answer.text()
