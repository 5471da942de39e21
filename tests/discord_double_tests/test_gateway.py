"""The gateway: sessions lost, resumed, refused."""

from __future__ import annotations

import aiohttp
import discord
import pytest

from tests.discord_double import DiscordDouble
from tests.discord_double_tests.small_bot import Bot


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
