"""What goes wrong with requests, on demand."""

from __future__ import annotations

import asyncio
import time

import aiohttp
import discord
import pytest
from discord import app_commands

from tests.discord_double import DiscordDouble
from tests.discord_double_tests.small_bot import Bot, raw


async def test_rate_limits_with_via_are_waited_for(bot: Bot, double: DiscordDouble, channel: discord.TextChannel) -> None:
    double.faults.next("rate_limited", "POST", "/channels/*/messages", retry_after_s=0.2)
    double.faults.next("rate_limited_globally", "POST", "/channels/*/messages", retry_after_s=0.2)
    began = time.monotonic()
    await channel.send("patience")
    assert time.monotonic() - began >= 0.4
    assert [item.status for item in double.requests[-3:]] == [429, 429, 200]
    assert len(double.messages()) == 1
    assert double.violations == []


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


async def test_an_acknowledgement_is_taken_and_its_answer_lost(bot: Bot, double: DiscordDouble) -> None:
    failed: list[app_commands.AppCommandError] = []

    async def note(interaction: discord.Interaction, error: app_commands.AppCommandError) -> None:
        failed.append(error)
        with pytest.raises(discord.HTTPException) as refused:
            await interaction.response.defer(ephemeral=True)
        assert (refused.value.status, refused.value.code) == (400, 40060)
        await interaction.followup.send("all the same")

    bot.tree.error(note)
    double.faults.next("reset_after", "POST", "/interactions/*/callback")
    use = await double.member("Anna").command("midi", {"title": "x"})
    assert (use.kind, use.ephemeral) == (5, True)
    assert (await use.answer()).content == "all the same"
    assert isinstance(failed[0].__cause__, ConnectionResetError | aiohttp.ClientConnectionError)
    unknown = use.token[:-4] + "AAAA"
    path = f"/interactions/{use.id}/{unknown}/callback"
    assert (await raw(double, "POST", path, json={"type": 5}))[1]["code"] == 10062


@pytest.mark.parametrize("ban", ["banned", "banned_in_json"])
async def test_a_banned_address_cannot_even_log_in(double: DiscordDouble, ban: str) -> None:
    double.faults.ban(ban)
    client = Bot(double)
    with pytest.raises(discord.HTTPException) as refused:
        await client.login(double.token)
    assert (refused.value.status, refused.value.code) == (429, 0)
    assert refused.value.response.headers["Retry-After"] == "3600"
    assert "Via" not in refused.value.response.headers
    status, said = await raw(double, "GET", "/users/@me")
    assert status == 429
    assert isinstance(said, str) or "code" not in said
    double.faults.clear()
    await client.login(double.token)
    await client.close()
    assert double.violations == []


async def test_unknown_faults_are_named(double: DiscordDouble) -> None:
    with pytest.raises(ValueError, match="no fault is named 'nonsense'"):
        double.faults.next("nonsense")
