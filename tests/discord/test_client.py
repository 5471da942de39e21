from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest

from bot.discord import client, delivery
from bot.discord.client import AdmissionError, KapelleBot
from bot.discord.registration import FILE
from bot.jobs.ledger import LedgerError
from models.errors import KapelleError
from tests.discord.conftest import Class
from tests.discord_double import DiscordDouble


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "FIRST_WAIT_S", 0.1)


@asynccontextmanager
async def serving(kapelle: Class) -> AsyncIterator[KapelleBot]:
    """The whole bot, but for its worker."""
    bot = KapelleBot(kapelle.parts)
    task = asyncio.create_task(bot.serve(kapelle.double.token))
    try:
        await kapelle.double.connected()
        await kapelle.double.commands_synced()
        yield bot
    finally:
        task.cancel()
        await asyncio.wait([task])


def registrations(double: DiscordDouble) -> list[str]:
    return [request.path for request in double.requests if request.method == "PUT" and request.path.endswith("/commands")]


# Connecting

async def test_commands_are_registered_and_answered(kapelle: Class) -> None:
    async with serving(kapelle):
        use = await kapelle.anna.command("queue")
        assert use.ephemeral
        assert "/midi" in (await use.answer()).content
        assert kapelle.double.gateway.live


async def test_a_job_goes_all_the_way_from_the_command(kapelle: Class) -> None:
    async with serving(kapelle):
        use = await kapelle.anna.command("midi", {"title": "Clair de lune", "takes": 2})
        assert "Clair de lune" in (await use.answer()).content
        job, = await kapelle.ledger.jobs()
        await kapelle.make(job)
        job = await kapelle.until_over(job)
        assert len(await kapelle.posts(job)) == 2


async def test_a_take_is_not_posted_again_after_the_nonce_was_forgotten(
        kapelle: Class, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first post arrived, its answer did not; then Discord asks to wait for longer than it remembers nonces."""
    monkeypatch.setattr(delivery, "NONCE_TRUST_S", 2.0)
    async with serving(kapelle):
        job = await kapelle.until(await kapelle.ask(), lambda job: job.card_id)
        kapelle.double.faults.next("reset_after", "POST", "/channels/*/messages")
        kapelle.double.faults.next("rate_limited", "POST", "/channels/*/messages", retry_after_s=4)
        await kapelle.make(job)
        await kapelle.double.wait_for(lambda: any(request.status == 0 for request in kapelle.double.requests))
        kapelle.double.clock.advance(3600)
        await kapelle.until_over(job)
        assert len(await kapelle.posts(job)) == 1


async def test_commands_are_registered_again_only_where_they_changed(kapelle: Class) -> None:
    everywhere = f"/applications/{kapelle.double.application_id}/commands"
    for _ in range(2):
        async with serving(kapelle):
            await kapelle.double.wait_for(lambda: any(json.loads((kapelle.settings.data / FILE).read_text()).values()))
    assert registrations(kapelle.double) == [everywhere]
    (kapelle.settings.data / FILE).write_text(json.dumps({f"{kapelle.double.application_id}/everywhere": "old"}))
    async with serving(kapelle):
        await kapelle.double.wait_for(lambda: len(registrations(kapelle.double)) == 2)


async def test_commands_are_registered_in_the_guilds_of_the_settings(kapelle: Class) -> None:
    guild = kapelle.double.guild.id
    kapelle.parts.settings = kapelle.settings.model_copy(update={"guilds": (guild,)})
    async with serving(kapelle):
        assert registrations(kapelle.double) == [f"/applications/{kapelle.double.application_id}/guilds/{guild}/commands"]
        assert "/midi" in (await (await kapelle.anna.command("queue")).answer()).content


async def test_commands_are_withdrawn_where_they_were_before(kapelle: Class) -> None:
    guild, commands = kapelle.double.guild.id, kapelle.double.rest.commands

    def moved(here: int | None, there: int | None) -> bool:
        return bool(commands.all(here)) and not commands.all(there)

    for guilds in ((), (guild,), ()):
        kapelle.parts.settings = kapelle.settings.model_copy(update={"guilds": guilds})
        here, there = (guild, None) if guilds else (None, guild)
        async with serving(kapelle):
            await kapelle.double.wait_for(partial(moved, here, there))


async def test_a_place_is_noted_before_discord_hears_of_it(kapelle: Class) -> None:
    """A bot that is killed while it registers can still withdraw its commands later."""
    kapelle.double.faults.next("slow", "PUT", "/applications/*/commands", delay_s=5)
    async with serving(kapelle):
        pass
    assert json.loads((kapelle.settings.data / FILE).read_text()) == {f"{kapelle.double.application_id}/everywhere": ""}


async def test_a_discord_that_is_away_is_waited_for(kapelle: Class, caplog: pytest.LogCaptureFixture) -> None:
    kapelle.double.faults.next("unavailable", "GET", "/users/@me")
    kapelle.double.faults.next("reset_before", "GET", "/oauth2/applications/@me")
    kapelle.double.faults.next("unavailable", "PUT", "/applications/*/commands")
    kapelle.double.faults.refuse_connections(3600)
    task = asyncio.create_task(_gateway_comes_back(kapelle.double, caplog))
    async with serving(kapelle):
        await task
        assert "/midi" in (await (await kapelle.anna.command("queue")).answer()).content


async def _gateway_comes_back(double: DiscordDouble, log: pytest.LogCaptureFixture) -> None:
    """Once a first connection has failed."""
    await double.wait_for(lambda: "could not connect" in log.text)
    double.faults.refuse_connections(0)


async def test_a_wrong_token_is_said_and_not_logged(kapelle: Class, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "kapelle")
    wrong = "MTIzNDU2Nzg5MDEyMzQ1Njc4.wrong.token"
    with pytest.raises(AdmissionError, match="DISCORD_TOKEN"):
        await KapelleBot(kapelle.parts).serve(wrong)
    assert "wrong.token" not in caplog.text


async def test_closing_leaves_no_tasks(kapelle: Class) -> None:
    before = asyncio.all_tasks()
    async with serving(kapelle):
        await kapelle.until(await kapelle.ask(), lambda job: job.card_id)
    async with asyncio.timeout(60):
        while left := {task for task in asyncio.all_tasks() - before if not _of_the_double(task)}:
            await asyncio.sleep(0.05)
    assert not left


def _of_the_double(task: asyncio.Task[object]) -> bool:
    """Connections of the server end in their own time."""
    return "web_protocol" in repr(task)


# What goes wrong

async def test_missing_permissions_are_named_in_the_members_language(kapelle: Class) -> None:
    kapelle.double.permissions.deny(kapelle.double.channel.id, "attach_files", "create_public_threads")
    ben = kapelle.double.member("Ben", locale="de")
    async with serving(kapelle):
        use = await ben.command("midi", {"title": "Clair de lune"})
        content = (await use.answer()).content
        assert use.ephemeral
        assert "Dateien anhängen" in content
        assert "Nachrichten senden" not in content
        assert await kapelle.ledger.jobs() == []


async def test_in_a_thread_only_what_threads_need_is_asked_for(kapelle: Class) -> None:
    async with serving(kapelle):
        job = await kapelle.until(await kapelle.ask(), lambda job: job.card_id)
        kapelle.double.permissions.deny(kapelle.double.channel.id, "send_messages", "create_public_threads")
        await (await kapelle.anna.command("midi", {"title": "Gymnopedie"}, channel_id=job.thread_id)).answer()
        _, second = await kapelle.ledger.jobs()
        assert (second.thread_id, second.channel_id) == (job.thread_id, kapelle.double.channel.id)
        kapelle.double.permissions.deny(kapelle.double.channel.id, "send_messages_in_threads")
        use = await kapelle.anna.command("midi", {"title": "Gymnopedie"}, channel_id=job.thread_id)
        content = (await use.answer()).content
        assert "Send Messages in Threads" in content
        assert "Create Public Threads" not in content


async def test_there_is_nothing_in_direct_messages(kapelle: Class) -> None:
    async with serving(kapelle):
        use = await kapelle.anna.command("midi", {"title": "Gymnopedie"}, channel_id=kapelle.anna.dm.id, raw=True)
        assert "on a server only" in (await use.answer()).content


async def test_moderators_are_known_by_permission_or_by_role(kapelle: Class) -> None:
    role = kapelle.double.add_role("Musik-AG")
    teacher = kapelle.double.member("Frau Weber", locale="en", moderator=True)
    helper = kapelle.double.member("Ben", locale="en", roles=[role])
    async with serving(kapelle):
        for who, words in ((helper, "for moderators"), (teacher, "Open"), (kapelle.anna, "for moderators")):
            use = await who.command("kapelle status", raw=True)
            assert words in (await use.answer()).content
        await (await teacher.command("kapelle role", {"role": role})).answer()
        use = await helper.command("kapelle status", raw=True)
        assert "Open" in (await use.answer()).content


@pytest.mark.parametrize("kind", [RuntimeError, KapelleError])
async def test_what_nobody_foresaw_is_one_sentence_with_a_number(
        kapelle: Class, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, kind: type[Exception]) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise kind("the inner workings")

    monkeypatch.setattr(kapelle.jobs, "mine", broken)
    ben = kapelle.double.member("Ben", locale="de")
    async with serving(kapelle):
        use = await ben.command("queue")
        content = (await use.answer()).content
        assert use.ephemeral
    said, counted = content.splitlines()
    assert "schiefgegangen" in said
    assert counted == "Es wird nicht auf dein Kontingent angerechnet."
    number = said.rpartition(" ")[2]
    assert f"error {number}" in caplog.text
    assert "the inner workings" in caplog.text
    assert "the inner workings" not in content


async def test_a_ledger_that_cannot_be_used_is_a_refusal(kapelle: Class, monkeypatch: pytest.MonkeyPatch) -> None:
    async def locked(*_: object, **__: object) -> None:
        raise LedgerError("database is locked: /srv/secret/ledger.sqlite")

    monkeypatch.setattr(kapelle.jobs, "mine", locked)
    async with serving(kapelle):
        content = (await (await kapelle.anna.command("queue")).answer()).content
        assert "cannot write down your request" in content
        assert "secret" not in content


async def test_an_interaction_that_is_gone_is_let_go(kapelle: Class, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(kapelle):
        kapelle.double.faults.next("unknown_interaction", "POST", "/interactions/*", times=2)
        kapelle.double.patience_s = 1.0
        await kapelle.anna.command("queue")
        assert "an answer could not be given" in caplog.text
        assert "/midi" in (await (await kapelle.anna.command("queue")).answer()).content
