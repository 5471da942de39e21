"""The gateway: sessions lost, resumed, refused."""

from __future__ import annotations

import asyncio

import aiohttp
import discord
import pytest

from tests.discord_double import DiscordDouble
from tests.discord_double_tests.small_bot import Bot, raw


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


FATAL = {4004: "token", 4010: "shard", 4011: "sharding", 4012: "version", 4013: "intents", 4014: "intents not switched on"}


@pytest.mark.parametrize("code", FATAL)
async def test_fatal_close_codes_while_running(double: DiscordDouble, code: int) -> None:
    client = Bot(double)
    running = asyncio.create_task(client.start(double.token))
    await double.connected()
    double.faults.close(code)
    with pytest.raises(discord.ClientException) as closed:
        await asyncio.wait_for(running, 60)
    if code != 4014:
        assert isinstance(closed.value, discord.ConnectionClosed)
        assert closed.value.code == code
    assert double.gateway.sessions == {}
    assert double.gateway.identifies == 1


@pytest.mark.parametrize("code", FATAL)
async def test_fatal_close_codes_at_connecting(double: DiscordDouble, code: int) -> None:
    double.faults.close_at_identify(code)
    client = Bot(double)
    with pytest.raises((discord.ConnectionClosed, discord.PrivilegedIntentsRequired)):
        await asyncio.wait_for(client.start(double.token), 60)
    assert double.gateway.identifies == 0


async def test_other_close_codes_are_come_back_from(bot: Bot, double: DiscordDouble) -> None:
    double.faults.close(4000)
    await double.wait_for(lambda: bot.resumed == 1)


async def test_a_token_that_was_reset_is_worth_nothing(double: DiscordDouble) -> None:
    client, old = Bot(double), double.token
    running = asyncio.create_task(client.start(old))
    await double.connected()
    double.reset_token()
    with pytest.raises(discord.ConnectionClosed) as closed:
        await asyncio.wait_for(running, 60)
    assert closed.value.code == 4004
    assert (await raw(double, "GET", "/users/@me", headers={"Authorization": f"Bot {old}"}))[0] == 401
    assert (await raw(double, "GET", "/users/@me"))[0] == 200


async def test_an_event_that_the_library_trips_over(double: DiscordDouble) -> None:
    client = Bot(double)
    running = asyncio.create_task(client.start(double.token))
    await double.connected()
    await double.commands_synced()
    await asyncio.wait_for(client.wait_until_ready(), 60)
    double.faults.malformed_event()
    with pytest.raises(KeyError, match="role"):
        await asyncio.wait_for(running, 60)
    await client.close()


async def test_a_bot_that_is_put_out_of_the_server_and_let_in_again(bot: Bot, double: DiscordDouble) -> None:
    double.remove_bot()
    await double.wait_for(lambda: bot.get_guild(double.guild.id) is None)
    path = f"/applications/{double.application_id}/guilds/{double.guild.id}/commands"
    assert (await raw(double, "GET", path))[1]["code"] == 50001
    assert (await raw(double, "GET", f"/channels/{double.channel.id}"))[1]["code"] == 50001
    double.invite_bot()
    await double.wait_for(lambda: bot.get_guild(double.guild.id))
    assert await raw(double, "GET", path) == (200, [])
    assert bot.joined == [double.guild.id]
    assert double.violations == []
