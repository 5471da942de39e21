"""A real discord.py client against the double: what works, what is refused, and what goes wrong on request."""

from __future__ import annotations

import asyncio
import contextlib
import io
import re
import socket
import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import discord
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from discord import app_commands

from tests.discord_double import DiscordDouble, Message, description_path

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


@pytest.fixture
async def double(tmp_path: Path) -> AsyncIterator[DiscordDouble]:
    async with DiscordDouble(tmp_path) as made:
        made.world.edits_apart_s = 0.0
        yield made


@pytest.fixture
async def bot(double: DiscordDouble) -> AsyncIterator[Bot]:
    client = Bot(double)
    running = asyncio.create_task(client.start(double.token))
    try:
        await double.connected()
        await double.commands_synced()
        await asyncio.wait_for(client.wait_until_ready(), 60)
        yield client
    finally:
        await client.close()
        with contextlib.suppress(asyncio.CancelledError):
            await running


@pytest.fixture
async def channel(bot: Bot, double: DiscordDouble) -> discord.TextChannel:
    found = bot.get_channel(double.channel.id)
    assert isinstance(found, discord.TextChannel)
    return found


async def raw(double: DiscordDouble, method: str, path: str, **sent: Any) -> tuple[int, Any]:
    """A request past discord.py."""
    headers = {"Authorization": f"Bot {double.token}", **sent.pop("headers", {})}
    async with (
        aiohttp.ClientSession(connector=connector_to(double)) as session,
        session.request(method, f"https://discord.com/api/v10{path}", headers=headers, **sent) as answer,
    ):
        return answer.status, await answer.json() if answer.content_type == "application/json" else await answer.text()


# what works


async def test_a_bot_connects_and_knows_its_guild(bot: Bot, double: DiscordDouble) -> None:
    guild = bot.get_guild(double.guild.id)
    assert guild is not None
    assert guild.name == double.guild.name
    assert [channel.name for channel in guild.text_channels] == ["musik"]
    assert guild.me.guild_permissions.create_public_threads
    assert not guild.me.guild_permissions.manage_messages
    assert double.gateway.live[0].intents == discord.Intents(guilds=True).value
    assert double.gateway.heartbeats == 1
    assert double.violations == []


async def test_a_wrong_token_is_refused(double: DiscordDouble) -> None:
    client = Bot(double)
    with pytest.raises(discord.LoginFailure):
        await client.start("not.the.token")
    await client.close()


async def test_a_deferred_command_is_answered_by_its_first_follow_up(bot: Bot, double: DiscordDouble) -> None:
    anna = double.member("Anna", locale="de")
    use = await anna.command("midi", {"title": "Clair de lune", "takes": 2})
    assert use.kind == 5
    assert use.acknowledged_after_s is not None
    assert use.ephemeral
    message = await use.answer()
    assert message.content == "Clair de lune x 2 de"
    assert message.ephemeral
    assert not message.thinking
    await double.wait_for(lambda: len(use.followups) == 2)
    assert [item.content for item in use.followups] == ["Clair de lune x 2 de", "second"]
    # A private answer stands in no channel; a follow-up is as public as its own flags say.
    assert [item.content for item in double.messages()] == ["second"]
    assert double.violations == []


async def test_choices_come_while_typing(bot: Bot, double: DiscordDouble) -> None:
    anna = double.member("Anna")
    assert await anna.autocomplete("midi", {"title": "Cla"}, focused="title") == [("Clair de lune", "clair")]
    assert double.violations == []


async def test_a_sub_command_with_a_role_for_moderators_only(bot: Bot, double: DiscordDouble) -> None:
    role = double.add_role("Chor")
    options = {"role": role, "takes": 3}
    with pytest.raises(LookupError, match="not offered"):
        await double.member("Anna").command("kapelle limits set", options)
    forced = await double.member("Anna").command("kapelle limits set", options, raw=True)
    assert (await forced.answer()).content == "Chor 3 False"
    use = await double.member("Frau Krause", moderator=True).command("kapelle limits set", options)
    assert (await use.answer()).content == "Chor 3 True"
    assert double.violations == []


async def test_members_clients_check_options_unless_told_otherwise(bot: Bot, double: DiscordDouble) -> None:
    anna = double.member("Anna")
    with pytest.raises(ValueError, match="takes: 99 is out of range"):
        await anna.command("midi", {"title": "x", "takes": 99})
    with pytest.raises(ValueError, match="title: required"):
        await anna.command("midi", {})
    use = await anna.command("midi", {"title": "x", "takes": 99}, raw=True)
    assert use.data["options"][1]["value"] == 99


async def test_buttons_selects_and_modals(bot: Bot, double: DiscordDouble) -> None:
    anna = double.member("Anna")
    card = await (await anna.command("card")).answer()
    assert [message.id for message in double.messages()] == [card.id]
    again = await anna.press(card, "again:42")
    assert (await again.answer()).content == "again 42"
    asked = await anna.press(card, "vary")
    assert asked.kind == 9
    assert asked.modal is not None
    assert asked.modal["title"] == "Variation"
    with pytest.raises(ValueError, match="4 characters"):
        await anna.submit(asked, {"tempo": "1200"})
    done = await anna.submit(asked, {"mood": "hell"})
    assert done.kind == 7
    assert (await done.answer()).content == "tempo 120 mood hell"
    chosen = await anna.select(card, "take", ["2"])
    assert chosen.kind == 6
    assert (await chosen.answer()).content == "take 2"
    assert card.content == "take 2"
    assert len(card.edits) == 2
    with pytest.raises(LookupError, match="no 'again:43'"):
        await anna.press(card, "again:43")
    with pytest.raises(LookupError, match="cannot see"):
        await double.member("Ben").press(await again.answer(), "again:42")
    forged = await anna.press(card, "again:43", raw=True)
    assert (await forged.answer()).content == "again 43"
    assert double.violations == []


async def test_a_context_menu_reads_its_message(bot: Bot, double: DiscordDouble) -> None:
    said = double.member("Ben").say("la la la")
    use = await double.member("Anna").menu("Use as template", said)
    assert (await use.answer()).content == "template la la la"
    assert double.violations == []


async def test_a_command_that_is_never_acknowledged(bot: Bot, double: DiscordDouble) -> None:
    double.patience_s = 0.2
    use = await double.member("Anna").command("silent")
    assert use.kind is None
    assert use.acknowledged_after_s is None
    with pytest.raises(TimeoutError):
        await use.answer(0.1)


async def test_threads_with_files_that_can_be_fetched_again(
    bot: Bot, double: DiscordDouble, channel: discord.TextChannel
) -> None:
    thread = await channel.create_thread(name="Clair de lune", type=discord.ChannelType.public_thread)
    files = [
        discord.File(io.BytesIO(SILENCE), "take 1.wav", description="the sound"),
        discord.File(io.BytesIO(b"MThd"), "take.mid"),
    ]
    sent = await thread.send("take 1", files=files, nonce="take-1")
    await thread.send(embed=discord.Embed(title="picture"), view=discord.ui.View())
    await sent.edit(content="take 1, edited", attachments=[sent.attachments[0]])
    [known] = double.threads()
    assert (known.name, known.parent_id, known.archived) == ("Clair de lune", double.channel.id, False)
    first, second = double.messages(known.id)
    assert first.content == "take 1, edited"
    assert [(item.filename, item.description, item.content) for item in first.attachments] == [
        ("take_1.wav", "the sound", SILENCE)
    ]
    assert first.nonce == "take-1"
    assert len(first.edits) == 1
    assert second.embeds[0]["title"] == "picture"
    assert await sent.attachments[0].read() == SILENCE
    history = [message.content async for message in thread.history(limit=10, oldest_first=True)]
    assert history == ["take 1, edited", ""]
    found = bot.get_channel(known.id)
    assert isinstance(found, discord.Thread)
    assert [item.type for item in double.messages(system=True)] == [18]
    assert double.violations == []


async def test_a_thread_from_a_message_has_its_id(bot: Bot, double: DiscordDouble, channel: discord.TextChannel) -> None:
    message = await channel.send("start")
    thread = await message.create_thread(name="from here")
    assert thread.id == message.id
    with pytest.raises(discord.HTTPException) as refused:
        await message.create_thread(name="again")
    assert refused.value.code == 160004
    assert double.violations == []


async def test_layouts_of_components_v2(bot: Bot, double: DiscordDouble, channel: discord.TextChannel) -> None:
    layout = discord.ui.LayoutView()
    gallery: discord.ui.MediaGallery[Any] = discord.ui.MediaGallery(discord.MediaGalleryItem("attachment://roll.png"))
    layout.add_item(discord.ui.Container(discord.ui.TextDisplay("# Take"), gallery, discord.ui.File("attachment://a.mid")))
    files = [discord.File(io.BytesIO(b"png"), "roll.png"), discord.File(io.BytesIO(b"MThd"), "a.mid")]
    sent = await channel.send(view=layout, files=files)
    assert sent.flags.components_v2
    with pytest.raises(discord.HTTPException) as refused:
        await sent.edit(content="plain")
    assert refused.value.code == 50035
    missing = discord.ui.LayoutView()
    missing.add_item(discord.ui.File("attachment://b.mid"))
    with pytest.raises(discord.HTTPException) as refused:
        await channel.send(view=missing)
    assert refused.value.code == 50035
    status, body = await raw(
        double,
        "POST",
        f"/channels/{channel.id}/messages",
        json={"flags": 1 << 15, "content": "no", "components": [{"type": 10, "content": "text"}]},
    )
    assert status == 400
    assert body["errors"]["content"]["_errors"][0]["code"].startswith("MESSAGE_CANNOT_USE_LEGACY_FIELDS")
    assert double.violations == []


async def test_direct_messages(bot: Bot, double: DiscordDouble) -> None:
    anna = double.member("Anna")
    user = await bot.fetch_user(anna.id)
    await user.send("psst")
    assert [message.content for message in double.messages(anna.dm.id)] == ["psst"]
    assert double.violations == []


async def test_messages_are_told_only_to_who_asks(bot: Bot, double: DiscordDouble, channel: discord.TextChannel) -> None:
    await channel.send("own")
    double.member("Anna").say("hello")
    thread = await channel.create_thread(name="later", type=discord.ChannelType.public_thread)
    await double.wait_for(lambda: bot.get_channel(thread.id))
    assert bot.seen_messages == []


async def test_deletions_and_roles_reach_the_bot(bot: Bot, double: DiscordDouble) -> None:
    other = double.add_channel("chor")
    role = double.add_role("Chor")
    await double.wait_for(lambda: bot.get_channel(other.id))
    double.delete_channel(other.id)
    await double.wait_for(lambda: bot.get_channel(other.id) is None)
    guild = bot.get_guild(double.guild.id)
    assert guild is not None
    assert guild.get_role(role.id) is not None


# what is refused


async def test_a_nonce_is_posted_once(bot: Bot, double: DiscordDouble, channel: discord.TextChannel) -> None:
    first = await channel.send("take", nonce="job-7-take-1")
    again = await channel.send("take", nonce="job-7-take-1")
    assert again.id == first.id
    double.clock.advance(301)
    later = await channel.send("take", nonce="job-7-take-1")
    assert later.id != first.id
    assert len(double.messages()) == 2
    with pytest.raises(discord.HTTPException) as refused:
        await channel.send("take", nonce="n" * 26)
    assert refused.value.code == 50035


@pytest.mark.parametrize(
    ("body", "path", "code"),
    [
        ({"content": "x" * 2001}, "content", "BASE_TYPE_MAX_LENGTH"),
        ({"embeds": [{"title": "x" * 257}]}, "embeds.0.title", "BASE_TYPE_MAX_LENGTH"),
        ({"embeds": [{"description": "x" * 4000}] * 2}, "embeds", "MAX_EMBED_SIZE_EXCEEDED"),
        (
            {"content": "x", "components": [{"type": 1, "components": [{**BUTTON, "custom_id": "i" * 101}]}]},
            "components.0.components.0.custom_id",
            "BASE_TYPE_MAX_LENGTH",
        ),
        (
            {"content": "x", "components": [{"type": 1, "components": [BUTTON] * 2}]},
            "components.0.components.1.custom_id",
            "COMPONENT_CUSTOM_ID_DUPLICATED",
        ),
        ({"content": "x", "components": [{"type": 10, "content": "text"}]}, "components.0", "UNION_TYPE_CHOICES"),
        ({"content": "x", "attachments": [{"id": "5"}]}, "attachments.0.id", "ATTACHMENT_NOT_FOUND"),
    ],
)
async def test_forms_are_refused_where_discord_refuses_them(
    double: DiscordDouble, body: dict[str, Any], path: str, code: str
) -> None:
    status, answer = await raw(double, "POST", f"/channels/{double.channel.id}/messages", json=body)
    assert (status, answer["code"]) == (400, 50035)
    node = answer["errors"]
    for part in path.split("."):
        node = node[part]
    assert node["_errors"][0]["code"] == code
    assert double.messages() == []


async def test_the_bots_own_limits(tmp_path: Path) -> None:
    async with DiscordDouble(tmp_path, filesize_limit=1000) as double:
        path = f"/channels/{double.channel.id}/messages"
        assert await raw(double, "POST", path, json={"content": " "}) == (
            400,
            {"message": "Cannot send an empty message", "code": 50006},
        )
        form = aiohttp.FormData(quote_fields=False)
        form.add_field("files[0]", b"x" * 1001, filename="big.wav")
        status, body = await raw(double, "POST", path, data=form)
        assert (status, body["code"]) == (413, 40005)
        form = aiohttp.FormData(quote_fields=False)
        for index in range(11):
            form.add_field(f"files[{index}]", b"x", filename="small.wav")
        status, body = await raw(double, "POST", path, data=form)
        assert (status, body["code"]) == (400, 30015)
        assert (await raw(double, "GET", "/users/@me", headers={"Authorization": "Bot x"}))[0] == 401
        assert (await raw(double, "GET", "/channels/1"))[1]["code"] == 10003
        assert (await raw(double, "GET", f"{path}/1"))[1]["code"] == 10008
        assert (await raw(double, "GET", "/nowhere")) == (404, {"message": "404: Not Found", "code": 0})
        assert double.violations == ["GET /nowhere: the double knows no such route"]


async def test_permissions_of_a_channel_hold_in_its_threads(
    bot: Bot, double: DiscordDouble, channel: discord.TextChannel
) -> None:
    thread = await channel.create_thread(name="t", type=discord.ChannelType.public_thread)
    double.permissions.deny(channel.id, "attach_files", "create_public_threads")
    await double.wait_for(lambda: not channel.permissions_for(channel.guild.me).attach_files)
    with pytest.raises(discord.Forbidden) as refused:
        await thread.send(file=discord.File(io.BytesIO(b"x"), "x.mid"))
    assert refused.value.code == 50013
    with pytest.raises(discord.Forbidden):
        await channel.create_thread(name="t", type=discord.ChannelType.public_thread)
    await thread.send("text is fine")
    double.permissions.deny(channel.id, "view_channel")
    with pytest.raises(discord.Forbidden) as refused:
        await thread.send("out of sight")
    assert refused.value.code == 50001
    double.permissions.reset(channel.id)
    await thread.send(file=discord.File(io.BytesIO(b"x"), "x.mid"))


async def test_archived_threads_open_by_sending_unless_locked(
    bot: Bot, double: DiscordDouble, channel: discord.TextChannel
) -> None:
    thread = await channel.create_thread(name="t", type=discord.ChannelType.public_thread)
    message = await thread.send("card")
    double.archive(thread.id)
    with pytest.raises(discord.HTTPException) as refused:
        await message.edit(content="changed")
    assert refused.value.code == 50083
    await thread.send("more")
    assert not double.threads()[0].archived
    await message.edit(content="changed")
    double.archive(thread.id, locked=True)
    with pytest.raises(discord.Forbidden) as refused:
        await thread.send("more")
    assert refused.value.code == 50083
    archived = [item.id async for item in channel.archived_threads()]
    assert archived == [thread.id]
    double.permissions.allow(channel.id, "manage_threads")
    edited = await thread.edit(archived=False, locked=False, name="new name")
    assert (edited.name, edited.archived) == ("new name", False)
    assert double.violations == []


async def test_old_messages_take_few_edits(bot: Bot, double: DiscordDouble, channel: discord.TextChannel) -> None:
    message = await channel.send("card")
    await message.edit(content="young")
    double.clock.advance(3601)
    await message.edit(content="1")
    await message.edit(content="2")
    with pytest.raises(discord.HTTPException) as refused:
        await message.edit(content="3")
    assert refused.value.code == 30046


async def test_edits_that_follow_each_other_too_soon_are_noted(
    bot: Bot, double: DiscordDouble, channel: discord.TextChannel
) -> None:
    double.world.edits_apart_s = 2.0
    message = await channel.send("card")
    await message.edit(content="1")
    double.clock.advance(2)
    await message.edit(content="2")
    assert double.violations == []
    await message.edit(content="3")
    [violation] = double.violations
    assert f"message {message.id} was edited after" in violation


async def test_interactions_run_out(bot: Bot, double: DiscordDouble) -> None:
    anna = double.member("Anna")
    use = await anna.command("midi", {"title": "x"})
    await double.wait_for(lambda: len(use.followups) == 2)
    callback = f"/interactions/{use.id}/{use.token}/callback"
    assert (await raw(double, "POST", callback, json={"type": 5}))[1]["code"] == 40060
    double.patience_s = 0.05
    late = await anna.command("silent")
    double.clock.advance(3.1)
    callback = f"/interactions/{late.id}/{late.token}/callback"
    assert (await raw(double, "POST", callback, json={"type": 5}))[1]["code"] == 10062
    hook = f"/webhooks/{double.application_id}/{use.token}"
    assert (await raw(double, "POST", hook, json={"content": "in time"}))[0] == 204
    double.clock.advance(15 * 60)
    status, body = await raw(double, "PATCH", f"{hook}/messages/@original", json={"content": "late"})
    assert (status, body["code"]) == (401, 50027)


@pytest.mark.parametrize(
    ("command", "path"),
    [
        ({"name": "Midi", "description": "d"}, "0.name"),
        ({"name": "midi", "description": ""}, "0.description"),
        ({"name": "midi", "description": "d", "description_localizations": {"xx": "d"}}, "0.description_localizations.xx"),
        (
            {
                "name": "midi",
                "description": "d",
                "options": [
                    {"type": 3, "name": "a", "description": "d"},
                    {"type": 3, "name": "b", "description": "d", "required": True},
                ],
            },
            "0.options.1",
        ),
    ],
)
async def test_commands_are_refused_where_discord_refuses_them(
    double: DiscordDouble, command: dict[str, Any], path: str
) -> None:
    status, body = await raw(double, "PUT", f"/applications/{double.application_id}/commands", json=[command])
    assert (status, body["code"]) == (400, 50035)
    node = body["errors"]
    for part in path.split("."):
        node = node[part]
    assert node["_errors"]


async def test_commands_can_be_changed_one_by_one(double: DiscordDouble) -> None:
    path = f"/applications/{double.application_id}/commands"
    status, made = await raw(double, "POST", path, json={"name": "midi", "description": "d"})
    assert status == 201
    status, changed = await raw(double, "PATCH", f"{path}/{made['id']}", json={"description": "e"})
    assert (status, changed["description"], changed["id"]) == (200, "e", made["id"])
    assert await raw(double, "GET", path) == (200, [changed])
    assert (await raw(double, "DELETE", f"{path}/{made['id']}"))[0] == 204
    assert (await raw(double, "GET", f"{path}/{made['id']}"))[1]["code"] == 10063
    assert double.violations == []


# what goes wrong


async def test_rate_limits_with_via_are_waited_for(bot: Bot, double: DiscordDouble, channel: discord.TextChannel) -> None:
    double.faults.next("rate_limited", "POST", "/channels/*/messages", retry_after_s=0.2)
    double.faults.next("rate_limited_globally", "POST", "/channels/*/messages", retry_after_s=0.2)
    began = time.monotonic()
    await channel.send("patience")
    assert time.monotonic() - began >= 0.4
    assert [item.status for item in double.requests[-3:]] == [429, 429, 200]
    assert len(double.messages()) == 1
    assert double.violations == []


async def test_real_limits_of_a_route(bot: Bot, double: DiscordDouble, channel: discord.TextChannel) -> None:
    double.rate_limits.set("POST", "/channels/{channel_id}/messages", 2, 0.3)
    began = time.monotonic()
    for _ in range(3):
        await channel.send("one of many")
    assert time.monotonic() - began >= 0.25
    double.rate_limits.set("POST", "/channels/{channel_id}/messages", 2, 3600)
    path = f"/channels/{double.add_channel('chor').id}/messages"
    assert [(await raw(double, "POST", path, json={"content": "x"}))[0] for _ in range(3)] == [200, 200, 429]


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("rate_limited_without_via", 429, 0),
        ("unavailable", 503, 0),
        ("missing_permissions", 403, 50013),
        ("too_large", 413, 40005),
        ("unknown_channel", 404, 10003),
        ("archived_thread", 400, 50083),
        ("expired_token", 401, 50027),
        ("old_message", 429, 30046),
    ],
)
async def test_faults_that_the_library_raises_at_once(
    bot: Bot, double: DiscordDouble, channel: discord.TextChannel, fault: str, status: int, code: int
) -> None:
    double.faults.next(fault, "POST", "/channels/*/messages")
    with pytest.raises(discord.HTTPException) as raised:
        await channel.send("lost")
    assert (raised.value.status, raised.value.code) == (status, code)
    assert double.messages() == []
    await channel.send("the fault is over")
    assert len(double.messages()) == 1
    assert double.violations == []


async def test_a_bad_gateway_is_tried_again_by_the_library(
    bot: Bot, double: DiscordDouble, channel: discord.TextChannel
) -> None:
    double.faults.next("bad_gateway", "POST", "/channels/*/messages")
    await channel.send("second try")
    assert [item.status for item in double.requests[-2:]] == [502, 200]


@pytest.mark.parametrize(("fault", "stored"), [("reset_before", 0), ("reset_after", 1)])
async def test_connections_are_reset_before_and_after_the_message_is_stored(
    bot: Bot, double: DiscordDouble, channel: discord.TextChannel, fault: str, stored: int
) -> None:
    double.faults.next(fault, "POST", "/channels/*/messages")
    with pytest.raises((ConnectionResetError, aiohttp.ClientConnectionError)):
        await channel.send("take", nonce="n")
    assert len(double.messages()) == stored
    await channel.send("take", nonce="n")
    assert len(double.messages()) == 1
    assert 0 in [item.status for item in double.requests]


async def test_slow_answers_come_late(bot: Bot, double: DiscordDouble, channel: discord.TextChannel) -> None:
    slow = double.faults.next("slow", "POST", "/channels/*/messages", delay_s=60)
    sending = asyncio.create_task(channel.send("late"))
    await double.wait_for(lambda: double.messages())
    assert not sending.done()
    slow.release()
    await sending
    double.faults.next("slow", "POST", "/channels/*/messages", delay_s=0.3)
    began = time.monotonic()
    await channel.send("late by itself")
    assert time.monotonic() - began >= 0.3


async def test_an_expired_interaction(bot: Bot, double: DiscordDouble) -> None:
    double.patience_s = 0.3
    failed: list[app_commands.AppCommandError] = []

    async def note(interaction: discord.Interaction, error: app_commands.AppCommandError) -> None:
        failed.append(error)

    bot.tree.error(note)
    double.faults.next("unknown_interaction", "POST", "/interactions/*")
    use = await double.member("Anna").command("midi", {"title": "x"})
    assert use.kind is None
    cause = failed[0].__cause__
    assert isinstance(cause, discord.NotFound)
    assert cause.code == 10062


async def test_unknown_faults_are_named(double: DiscordDouble) -> None:
    with pytest.raises(ValueError, match="no fault is named 'nonsense'"):
        double.faults.next("nonsense")


async def test_a_dropped_gateway_is_resumed_with_what_was_missed(bot: Bot, double: DiscordDouble) -> None:
    double.faults.drop()
    missed = double.add_channel("missed")
    await double.wait_for(lambda: bot.resumed)
    assert bot.get_channel(missed.id) is not None
    assert (double.gateway.resumes, double.gateway.identifies) == (1, 1)


async def test_op_7_and_op_9(bot: Bot, double: DiscordDouble) -> None:
    double.faults.reconnect()
    await double.wait_for(lambda: bot.resumed == 1)
    double.faults.invalidate(resumable=True)
    await double.wait_for(lambda: bot.resumed == 2)
    double.faults.invalidate(resumable=False)
    await double.wait_for(lambda: double.gateway.identifies == 2 and double.gateway.live)
    assert double.gateway.resumes == 2
    use = await double.member("Anna").command("card")
    assert (await use.answer()).content == "card"


async def test_an_interaction_sent_while_the_bot_is_away_reaches_it_on_resuming(bot: Bot, double: DiscordDouble) -> None:
    double.faults.drop()
    await double.disconnected()
    use = await double.member("Anna").command("card")
    assert (await use.answer()).content == "card"
    assert double.gateway.resumes == 1


async def test_refused_connections(double: DiscordDouble) -> None:
    double.faults.refuse_connections(30)
    client = Bot(double)
    with pytest.raises((OSError, aiohttp.ClientError)):
        await client.start(double.token, reconnect=False)
    await client.close()
    assert double.gateway.identifies == 0


async def test_privileged_intents_must_be_switched_on(double: DiscordDouble) -> None:
    client = Bot(double, discord.Intents.all())
    with pytest.raises(discord.PrivilegedIntentsRequired):
        await client.start(double.token)
    await client.close()


# the official description


@pytest.fixture
def described() -> None:
    if description_path() is None:
        pytest.skip("Discord's OpenAPI description is not beside the project, nor named by KAPELLE_DISCORD_OPENAPI")


@pytest.mark.usefixtures("described")
@pytest.mark.parametrize(
    ("method", "path", "body", "reason"),
    [
        ("POST", "/channels/{channel}/messages", {"content": "x", "colour": 1}, "body.colour: unknown field"),
        ("POST", "/channels/{channel}/messages", {"content": 5}, "body.content: int where string or null is described"),
        ("POST", "/channels/{channel}/messages", {"content": "x", "embeds": [{"titel": "t"}]}, "body.embeds.0.titel: unknown"),
        ("PUT", "/applications/{application}/commands", [{"description": "d"}], "body.0.name: missing"),
        ("GET", "/channels/{channel}/messages?limit=500", None, "query limit: 500 is outside 1 to 100"),
        ("GET", "/channels/{channel}/messages?page=2", None, "query page: unknown"),
    ],
)
async def test_requests_are_held_against_the_description(
    double: DiscordDouble, method: str, path: str, body: Any, reason: str
) -> None:
    assert double.contract_checked
    path = path.format(channel=double.channel.id, application=double.application_id)
    await raw(double, method, path, **({} if body is None else {"json": body}))
    assert any(reason in violation for violation in double.violations), double.violations


@pytest.mark.usefixtures("described")
async def test_the_doubles_own_answers_are_held_against_the_description(double: DiscordDouble) -> None:
    double.guild.name = None  # type: ignore[assignment]
    await raw(double, "GET", f"/guilds/{double.guild.id}")
    assert double.violations == [
        "GET /guilds/{guild_id}: answer 200: body.name: NoneType where string is described",
    ]


async def test_without_the_description_everything_else_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAPELLE_DISCORD_OPENAPI", str(tmp_path / "nowhere.json"))
    async with DiscordDouble(tmp_path) as double:
        assert not double.contract_checked
        status, body = await raw(double, "POST", f"/channels/{double.channel.id}/messages", json={"content": "x", "odd": 1})
        assert status == 200
        [message] = double.messages()
        assert isinstance(message, Message)
        assert body["id"] == str(message.id)
        assert double.violations == []
