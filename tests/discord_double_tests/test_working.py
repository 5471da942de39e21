"""What works between the double and a real discord.py client."""

from __future__ import annotations

import io
from typing import Any

import discord
import pytest

from tests.discord_double import DiscordDouble
from tests.discord_double_tests.small_bot import SILENCE, Bot, raw


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
