"""Channels of every kind, and how much may be posted in one."""

from __future__ import annotations

import io
import time
from functools import partial

import discord
import pytest

from tests.discord_double import DiscordDouble
from tests.discord_double_tests.small_bot import Bot, raw


async def test_every_kind_of_channel_is_known_to_the_bot(bot: Bot, double: DiscordDouble) -> None:
    kinds = {
        "text": discord.TextChannel, "voice": discord.VoiceChannel, "stage": discord.StageChannel,
        "forum": discord.ForumChannel, "announcement": discord.TextChannel, "category": discord.CategoryChannel,
    }  # fmt: skip
    made = {kind: double.add_channel(f"a {kind}", kind) for kind in kinds}
    for kind, channel in made.items():
        await double.wait_for(partial(bot.get_channel, channel.id))
        assert isinstance(bot.get_channel(channel.id), kinds[kind])
        assert isinstance(await bot.fetch_channel(channel.id), kinds[kind])
    news = bot.get_channel(made["announcement"].id)
    assert isinstance(news, discord.TextChannel)
    assert news.is_news()
    guild = bot.get_guild(double.guild.id)
    assert guild is not None
    assert len(await guild.fetch_channels()) == 1 + len(kinds)
    with pytest.raises(ValueError, match="no kind of channel is named 'radio'"):
        double.add_channel("x", "radio")
    assert double.violations == []


@pytest.mark.parametrize("kind", ["voice", "stage"])
async def test_text_beside_a_voice_channel_takes_the_right_to_connect(bot: Bot, double: DiscordDouble, kind: str) -> None:
    made = double.add_channel("aula", kind)
    found = await double.wait_for(lambda: bot.get_channel(made.id))
    assert isinstance(found, discord.VoiceChannel | discord.StageChannel)
    await found.send("beside", file=discord.File(io.BytesIO(b"x"), "x.mid"))
    status, refused = await raw(double, "POST", f"/channels/{made.id}/threads", json={"name": "t", "type": 11})
    assert (status, refused["code"]) == (400, 50024)
    use = await double.member("Anna").command("midi", {"title": "x"}, made.id)
    assert (await use.answer()).content == "x x 1 de"
    seen = bot.interactions[-1].channel
    assert isinstance(seen, discord.VoiceChannel | discord.StageChannel)
    double.permissions.deny(made.id, "connect")
    with pytest.raises(discord.Forbidden) as forbidden:
        await found.send("from outside")
    assert forbidden.value.code == 50001
    assert double.violations == []


async def test_a_forum_takes_posts_only(bot: Bot, double: DiscordDouble) -> None:
    made = double.add_channel("fragen", "forum")
    forum = await double.wait_for(lambda: bot.get_channel(made.id))
    assert isinstance(forum, discord.ForumChannel)
    post = await forum.create_thread(name="How?", content="like this", file=discord.File(io.BytesIO(b"x"), "x.mid"))
    assert post.message.id == post.thread.id
    assert [message.content for message in double.messages(post.thread.id, system=True)] == ["like this"]
    await post.thread.send("and so on")
    assert double.messages(made.id, system=True) == []
    for body, code in (({"content": "x"}, 50008), ({"name": "t", "type": 11}, 50035)):
        path = f"/channels/{made.id}/{'messages' if code == 50008 else 'threads'}"
        assert (await raw(double, "POST", path, json=body))[1]["code"] == code
    with pytest.raises(ValueError, match="nothing can be written in fragen"):
        await double.member("Anna").command("midi", {"title": "x"}, made.id)
    asked = double.member("Anna").open_thread("Why?", made.id)
    use = await double.member("Anna").command("midi", {"title": "x"}, asked.id)
    assert (await use.answer()).content == "x x 1 de"
    double.permissions.deny(made.id, "send_messages")
    with pytest.raises(discord.Forbidden):
        await forum.create_thread(name="Again?", content="no")
    await post.thread.send("threads have a right of their own")
    assert double.violations == []


async def test_threads_of_an_announcement_channel_are_of_its_kind(bot: Bot, double: DiscordDouble) -> None:
    made = double.add_channel("neues", "announcement")
    news = await double.wait_for(lambda: bot.get_channel(made.id))
    assert isinstance(news, discord.TextChannel)
    for kind in (discord.ChannelType.public_thread, discord.ChannelType.private_thread):
        with pytest.raises(discord.HTTPException) as refused:
            await news.create_thread(name="t", type=kind)
        assert refused.value.code == 50024
    thread = await news.create_thread(name="t", type=discord.ChannelType.news_thread)
    said = await news.send("news")
    from_message = await said.create_thread(name="about it")
    assert thread.type is from_message.type is discord.ChannelType.news_thread
    await thread.send("more")
    double.archive(thread.id)
    assert [item.id async for item in news.archived_threads()] == [thread.id]
    with pytest.raises(ValueError, match="takes no private threads"):
        double.member("Anna").open_thread("psst", made.id, private=True)
    assert double.violations == []


async def test_five_posts_and_five_edits_in_five_seconds_in_each_channel(double: DiscordDouble) -> None:
    path = f"/channels/{double.channel.id}/messages"
    posted = [await raw(double, "POST", path, json={"content": "x"}) for _ in range(6)]
    assert [status for status, _ in posted] == [200] * 5 + [429]
    assert 0 < posted[-1][1]["retry_after"] <= 5
    other = f"/channels/{double.add_channel('chor').id}/messages"
    assert (await raw(double, "POST", other, json={"content": "x"}))[0] == 200
    message = f"{path}/{posted[0][1]['id']}"
    edited = [await raw(double, "PATCH", message, json={"content": "y"}) for _ in range(6)]
    assert [status for status, _ in edited] == [200] * 5 + [429]
    double.clock.advance(5)
    assert (await raw(double, "POST", path, json={"content": "x"}))[0] == 200
    double.rate_limits.lift()
    assert {(await raw(double, "POST", path, json={"content": "x"}))[0] for _ in range(6)} == {200}


async def test_a_client_reads_the_limits_and_keeps_them(
    bot: Bot, double: DiscordDouble, channel: discord.TextChannel
) -> None:
    double.rate_limits.set("POST", "/channels/{channel_id}/messages", 5, 0.5)
    began = time.monotonic()
    for _ in range(6):
        await channel.send("one of many")
    assert time.monotonic() - began >= 0.4
    assert 429 not in [request.status for request in double.requests]
