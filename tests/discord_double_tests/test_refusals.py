"""What the double refuses, as Discord does."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import aiohttp
import discord
import pytest

from tests.discord_double import DiscordDouble
from tests.discord_double_tests.small_bot import BUTTON, Bot, raw


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


async def test_a_nonce_counts_for_its_author_in_every_channel(double: DiscordDouble) -> None:
    other = double.add_channel("chor")
    sent = {"content": "take", "nonce": "k1t1", "enforce_nonce": True}
    _, first = await raw(double, "POST", f"/channels/{double.channel.id}/messages", json=sent)
    status, again = await raw(double, "POST", f"/channels/{other.id}/messages", json=sent)
    assert (status, again["id"], again["channel_id"]) == (200, first["id"], str(double.channel.id))
    assert double.messages(other.id) == []
    _, unforced = await raw(double, "POST", f"/channels/{other.id}/messages", json={**sent, "enforce_nonce": False})
    assert unforced["id"] != first["id"]
    assert double.violations == []


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


async def test_commands_emptied_from_outside_are_gone(bot: Bot, double: DiscordDouble) -> None:
    guild = discord.Object(double.guild.id)
    described = {command.name: command for command in await bot.tree.fetch_commands(guild=guild)}
    assert {"midi", "card", "kapelle"} <= set(described)
    double.empty_commands()
    assert await bot.tree.fetch_commands(guild=guild) == []
    assert await bot.tree.fetch_commands() == []
    with pytest.raises(LookupError, match="there are none"):
        await double.member("Anna").command("midi", {"title": "x"})
    await bot.tree.sync(guild=guild)
    await double.commands_synced()
    assert len(await bot.tree.fetch_commands(guild=guild)) == len(described)
    assert double.violations == []


async def test_translations_of_commands_are_listed_only_for_who_asks(double: DiscordDouble) -> None:
    path = f"/applications/{double.application_id}/commands"
    option = {"type": 3, "name": "title", "description": "t", "name_localizations": {"de": "titel"}}
    command = {"name": "midi", "description": "d", "description_localizations": {"de": "s"}, "options": [option]}
    await raw(double, "PUT", path, json=[command])
    [plain] = (await raw(double, "GET", path))[1]
    assert plain["description_localizations"] is None
    assert plain["options"][0]["name_localizations"] is None
    [full] = (await raw(double, "GET", f"{path}?with_localizations=true"))[1]
    assert full["description_localizations"] == {"de": "s"}
    assert full["options"][0]["name_localizations"] == {"de": "titel"}
    assert double.violations == []


async def test_names_with_filtered_words_are_refused(
    bot: Bot, double: DiscordDouble, channel: discord.TextChannel
) -> None:
    double.filter_words("Debussy", "1488")
    thread = await channel.create_thread(name="clean", type=discord.ChannelType.public_thread)
    for name in ("Clair de lune - debussy", "piece 1488"):
        with pytest.raises(discord.HTTPException) as refused:
            await channel.create_thread(name=name, type=discord.ChannelType.public_thread)
        assert (refused.value.status, refused.value.code) == (400, 50035)
        assert "Contains words not allowed" in refused.value.text
        with pytest.raises(discord.HTTPException):
            await thread.edit(name=name)
    await thread.send("Debussy, 1488 bars")
    assert [item.name for item in double.threads()] == ["clean"]
    double.filter_words("Satie", messages=True)
    with pytest.raises(discord.HTTPException) as refused:
        await thread.send("by Satie")
    assert refused.value.code == 200000
    assert double.violations == []
