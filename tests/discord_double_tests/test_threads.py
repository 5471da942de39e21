"""Threads that the bot is not in, and those that have left its picture."""

from __future__ import annotations

import asyncio
import contextlib
import io

import discord
import pytest

from tests.discord_double import DiscordDouble
from tests.discord_double_tests.small_bot import Bot, raw


async def heard(bot: Bot, double: DiscordDouble) -> None:
    """Wait until the bot has read everything that it was sent so far."""
    marker = double.add_role("marker")
    guild = bot.get_guild(double.guild.id)
    assert guild is not None
    await double.wait_for(lambda: guild.get_role(marker.id))


async def test_a_bot_hears_nothing_of_a_private_thread_until_it_is_let_in(bot: Bot, double: DiscordDouble) -> None:
    anna, ben = double.member("Anna"), double.member("Ben")
    thread = anna.open_thread("between us", private=True)
    anna.let_in(thread, ben)
    anna.say("psst", thread.id)
    await heard(bot, double)
    assert bot.get_channel(thread.id) is None
    for method, path in (("GET", f"/channels/{thread.id}"), ("GET", f"/channels/{thread.id}/messages"),
                         ("PATCH", f"/channels/{thread.id}"), ("PUT", f"/channels/{thread.id}/thread-members/@me")):
        body = {"name": "ours"} if method == "PATCH" else None
        assert (await raw(double, method, path, **({"json": body} if body else {})))[1]["code"] == 50001
    status, answer = await raw(double, "POST", f"/channels/{thread.id}/messages", json={"content": "me, too"})
    assert (status, answer["code"]) == (403, 50001)
    assert (await raw(double, "GET", f"/guilds/{double.guild.id}/threads/active"))[1]["threads"] == []
    anna.let_in(thread)
    found = await double.wait_for(lambda: bot.get_channel(thread.id))
    assert isinstance(found, discord.Thread)
    assert found.is_private()
    await double.wait_for(lambda: found.me)
    await found.send("here I am")
    assert [message.type for message in double.messages(thread.id, system=True)] == [1, 0, 1, 0]
    assert double.violations == []


async def test_a_bot_that_was_put_out_of_a_private_thread_is_refused(bot: Bot, double: DiscordDouble) -> None:
    anna = double.member("Anna")
    thread = anna.open_thread("between us", private=True)
    anna.let_in(thread)
    found = await double.wait_for(lambda: bot.get_channel(thread.id))
    assert isinstance(found, discord.Thread)
    anna.put_out(thread)
    with pytest.raises(discord.Forbidden) as refused:
        await found.send("still here?")
    assert refused.value.code == 50001


async def test_who_manages_threads_sees_private_ones(bot: Bot, double: DiscordDouble, channel: discord.TextChannel) -> None:
    thread = double.member("Anna").open_thread("between us", private=True)
    double.permissions.allow(channel.id, "manage_threads")
    found = await double.wait_for(lambda: bot.get_channel(thread.id))  # by THREAD_LIST_SYNC
    assert isinstance(found, discord.Thread)
    await found.send("the teacher's bot")
    later = double.member("Anna").open_thread("another", private=True)
    await double.wait_for(lambda: bot.get_channel(later.id))
    double.permissions.reset(channel.id)
    hidden = double.member("Anna").open_thread("a third", private=True)
    await heard(bot, double)
    assert bot.get_channel(hidden.id) is None
    assert double.violations == []


async def test_an_interaction_brings_the_kind_of_its_thread_and_is_answered_without_joining(
    bot: Bot, double: DiscordDouble
) -> None:
    anna = double.member("Anna")
    thread = anna.open_thread("between us", private=True)
    use = await anna.command("midi", {"title": "x"}, thread.id)
    await use.answer()
    await double.wait_for(lambda: len(use.followups) == 2)
    assert [message.content for message in double.messages(thread.id)] == ["second"]
    seen = bot.interactions[-1].channel
    assert isinstance(seen, discord.Thread)
    assert seen.type is discord.ChannelType.private_thread
    assert bot.get_channel(thread.id) is None
    assert double.world.bot.id not in thread.members
    with pytest.raises(LookupError, match="cannot see"):
        await double.member("Ben").command("midi", {"title": "x"}, thread.id)
    with pytest.raises(LookupError, match="cannot see"):
        double.member("Ben").say("let me in", thread.id)
    assert double.violations == []


async def test_what_a_new_session_is_told_of(double: DiscordDouble) -> None:
    anna = double.member("Anna")
    opened, private, joined = (
        anna.open_thread("open"), anna.open_thread("private", private=True), anna.open_thread("joined", private=True))
    archived = anna.open_thread("archived")
    anna.let_in(joined)
    double.archive(archived.id)
    client = Bot(double)
    running = asyncio.create_task(client.start(double.token))
    await asyncio.wait_for(_ready(client, double), 60)
    guild = client.get_guild(double.guild.id)
    assert guild is not None
    assert {thread.id for thread in guild.threads} == {opened.id, joined.id}
    assert private.id not in {thread.id for thread in guild.threads}
    await client.close()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def _ready(client: Bot, double: DiscordDouble) -> None:
    await double.connected()
    await client.wait_until_ready()


async def test_threads_archive_themselves_after_their_days_of_silence(
    bot: Bot, double: DiscordDouble, channel: discord.TextChannel
) -> None:
    short = await channel.create_thread(name="hour", type=discord.ChannelType.public_thread, auto_archive_duration=60)
    long = await channel.create_thread(name="days", type=discord.ChannelType.public_thread, auto_archive_duration=4320)
    double.clock.advance(1800)
    await short.send("not silent")
    double.clock.advance(1801)
    assert [thread.archived for thread in double.threads()] == [False, False]
    double.clock.advance(1800)
    assert [thread.archived for thread in double.threads()] == [True, False]
    await double.wait_for(lambda: bot.get_channel(short.id) is None)
    assert bot.get_channel(long.id) is not None
    double.member("Anna").say("again", short.id)
    await double.wait_for(lambda: bot.get_channel(short.id))
    assert double.violations == []


async def test_archived_private_threads_are_listed_for_their_members_and_moderators(
    bot: Bot, double: DiscordDouble, channel: discord.TextChannel
) -> None:
    anna = double.member("Anna")
    joined, other = anna.open_thread("joined", private=True), anna.open_thread("other", private=True)
    anna.let_in(joined)
    for thread in (joined, other):
        double.archive(thread.id)
    assert [item.id async for item in channel.archived_threads(private=True, joined=True)] == [joined.id]
    with pytest.raises(discord.Forbidden):
        [item async for item in channel.archived_threads(private=True)]
    double.permissions.allow(channel.id, "manage_threads")
    assert {item.id async for item in channel.archived_threads(private=True)} == {joined.id, other.id}
    assert double.violations == []


async def test_a_notice_says_who_was_added_and_what_the_thread_is_called_now(
    bot: Bot, double: DiscordDouble, channel: discord.TextChannel
) -> None:
    anna = double.member("Anna")
    thread = await channel.create_thread(name="t", type=discord.ChannelType.public_thread)
    await thread.add_user(discord.Object(anna.id))
    await thread.add_user(discord.Object(anna.id))  # is there already
    await thread.edit(name="u")
    added, renamed = double.messages(thread.id, system=True)
    assert (added.type, added.author_id, added.mentions) == (1, double.world.bot.id, [anna.id])
    assert (renamed.type, renamed.content) == (4, "u")
    assert double.messages(thread.id) == []
    told = [message async for message in thread.history()]
    assert [message.type for message in told] == [
        discord.MessageType.channel_name_change, discord.MessageType.recipient_add]
    assert [user.id for user in told[1].mentions] == [anna.id]
    with pytest.raises(discord.Forbidden) as refused:
        await told[1].delete()
    assert refused.value.code == 50021
    assert double.violations == []


async def test_files_reach_a_private_thread_of_the_bots_own(
    bot: Bot, double: DiscordDouble, channel: discord.TextChannel
) -> None:
    double.permissions.allow(channel.id, "create_private_threads")
    thread = await channel.create_thread(name="own", type=discord.ChannelType.private_thread)
    await thread.send(file=discord.File(io.BytesIO(b"x"), "x.mid"))
    assert len(double.messages(thread.id)) == 1
    assert [message.type for message in double.messages(channel.id, system=True)] == []
