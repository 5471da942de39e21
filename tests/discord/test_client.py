from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

import pytest

from bot.discord import client, delivery, people, retry
from bot.discord.admission import AdmissionError
from bot.discord.client import KapelleBot
from bot.discord.registration import FILE
from bot.jobs.ledger import LedgerError
from bot.jobs.refusals import Reason, Refusal
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
            await _registered(kapelle)
    assert registrations(kapelle.double) == [everywhere]
    (kapelle.settings.data / FILE).write_text(json.dumps({f"{kapelle.double.application_id}/everywhere": "old"}))
    async with serving(kapelle):
        await kapelle.double.wait_for(lambda: len(registrations(kapelle.double)) == 2)


async def _registered(kapelle: Class) -> None:
    """Once it is noted that the commands are registered."""
    path = kapelle.settings.data / FILE
    async with asyncio.timeout(60):
        while not (path.exists() and all(one["found"] for one in json.loads(path.read_text()).values())):
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("in_guild", [False, True])
@pytest.mark.parametrize("left", [0, 5])
async def test_commands_that_vanished_come_back_at_the_next_start(
        kapelle: Class, caplog: pytest.LogCaptureFixture, in_guild: bool, left: int) -> None:
    """Another program with the same token has overwritten them, or Discord has lost them."""
    scope = kapelle.double.guild.id if in_guild else None
    kapelle.parts.settings = kapelle.settings.model_copy(update={"guilds": (scope,) if in_guild else ()})
    commands = kapelle.double.rest.commands
    async with serving(kapelle):
        await _registered(kapelle)
    all_of_them = {command["name"] for command in commands.all(scope)}
    commands.replace(scope, commands.all(scope)[:left])
    assert "are not those" not in caplog.text
    async with serving(kapelle):
        await kapelle.double.wait_for(lambda: {command["name"] for command in commands.all(scope)} == all_of_them)
        await _registered(kapelle)
    assert f"{left} instead of {len(all_of_them)}" in caplog.text
    assert len(registrations(kapelle.double)) == 2


async def test_a_command_that_was_changed_from_outside_comes_back(kapelle: Class) -> None:
    commands = kapelle.double.rest.commands
    async with serving(kapelle):
        await _registered(kapelle)
    before = commands.all(None)
    commands.put(None, before[0] | {"description": "Buy now", "version": "1"})
    async with serving(kapelle):
        await kapelle.double.wait_for(lambda: commands.all(None)[0]["description"] == before[0]["description"])


async def test_commands_are_looked_at_when_a_server_is_joined(kapelle: Class) -> None:
    """The bot was told of the server before it was in it."""
    guild, double = kapelle.double.guild, kapelle.double
    commands = double.rest.commands
    kapelle.parts.settings = kapelle.settings.model_copy(update={"guilds": (guild.id,)})
    async with serving(kapelle) as bot:
        await _registered(kapelle)
        await bot.wait_until_ready()
        commands.replace(guild.id, [])
        double.gateway.dispatch("GUILD_DELETE", {"id": str(guild.id)})
        await _until(lambda: bot.get_guild(guild.id) is None)
        joined = {name: value for name, value in double.world.guild_create_payload(1).items() if name != "unavailable"}
        double.gateway.dispatch("GUILD_CREATE", joined)
        await double.wait_for(lambda: commands.all(guild.id))


async def _until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.02)


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
    assert list(json.loads((kapelle.settings.data / FILE).read_text())) == [f"{kapelle.double.application_id}/everywhere"]


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


FATAL = {
    4004: "the token does not hold any more.*Reset Token.*DISCORD_TOKEN", 4010: "shard.*update Kapelle",
    4011: "more servers than one connection", 4012: "version of its protocol.*update Kapelle",
    4013: "intents.*do not exist; update Kapelle", 4014: "not switched on.*needs none"}


@pytest.mark.parametrize("code", FATAL)
@pytest.mark.parametrize("running", [False, True])
async def test_a_gateway_that_turns_the_bot_out_says_why(
        kapelle: Class, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, code: int, running: bool) -> None:
    gateway = kapelle.double.gateway
    if not running:
        monkeypatch.setattr(gateway, "_identify", lambda connection, *_: connection.frames.put_nowait(code))
    serving = asyncio.create_task(KapelleBot(kapelle.parts).serve(kapelle.double.token))
    if running:
        await kapelle.double.connected()
        for session in gateway.live:
            assert session.connection is not None
            session.connection.frames.put_nowait(code)
    with pytest.raises(AdmissionError, match=rf"close code {code}.*{FATAL[code]}"):
        async with asyncio.timeout(60):
            await serving
    assert not [record for record in caplog.records if record.exc_info]


async def test_a_ban_at_log_in_is_waited_for_and_named(kapelle: Class, caplog: pytest.LogCaptureFixture) -> None:
    """Cloudflare's 429, for an hour, which every further request would prolong."""
    kapelle.double.faults.next("rate_limited_without_via", "GET", "/users/@me", times=100, retry_after_s=3600)
    serving = asyncio.create_task(KapelleBot(kapelle.parts).serve(kapelle.double.token))
    await _until(lambda: "again in" in caplog.text)
    serving.cancel()
    await asyncio.wait((serving,))
    assert "could not log in (Cloudflare turns this machine's address away, for 60 min), again in 3600 s" in caplog.text
    assert "code 0" not in caplog.text
    assert [request.path for request in kapelle.double.requests] == ["/users/@me"]


async def test_nothing_is_sent_during_a_ban_and_all_goes_on_after_it(
        kapelle: Class, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(retry, "BAN_S", 2.0)
    async with serving(kapelle) as bot:
        await _registered(kapelle)
        kapelle.double.faults.next("rate_limited_without_via", "POST", "/channels/*/threads", retry_after_s=3)
        job = await kapelle.ask()
        await _until(lambda: "turns this machine's address away from discord.com for 3 s" in caplog.text)
        before = len(kapelle.double.requests)
        with pytest.raises(retry.TurnedAwayError):
            await bot.fetch_channel(kapelle.double.channel.id)
        assert len(kapelle.double.requests) == before
        await kapelle.make(job)
        await kapelle.until_over(job)
    assert len(await kapelle.posts(job)) == 1
    assert "code 0" not in caplog.text


@pytest.mark.parametrize("event", ["GUILD_ROLE_CREATE", "CHANNEL_CREATE", "INTERACTION_CREATE", "THREAD_UPDATE"])
async def test_an_event_that_the_library_trips_over_is_named_and_left_out(
        kapelle: Class, caplog: pytest.LogCaptureFixture, event: str) -> None:
    async with serving(kapelle):
        for _ in range(2):
            kapelle.double.gateway.dispatch(event, {"guild_id": str(kapelle.double.guild.id)})
        assert "/midi" in (await (await kapelle.anna.command("queue")).answer()).content
        assert kapelle.double.gateway.identifies == 1
    told = [record for record in caplog.records if f"event {event} could not be understood (KeyError)" in record.getMessage()]
    assert [bool(record.exc_info) for record in told] == [True, False]


async def test_a_frame_that_the_library_trips_over_begins_a_new_connection(
        kapelle: Class, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(kapelle):
        session, = kapelle.double.gateway.live
        assert session.connection is not None
        session.connection.frames.put_nowait('{"op": 10, "d": {}}')
        await kapelle.double.wait_for(lambda: kapelle.double.gateway.identifies == 2)
        await kapelle.double.connected()
        assert "/midi" in (await (await kapelle.anna.command("queue")).answer()).content
    assert "begun anew" in caplog.text


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
    assert "schiefgegangen" in content
    number = content.rpartition(" ")[2]
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


async def test_an_interaction_that_is_gone_is_one_line_in_the_log(kapelle: Class, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(kapelle):
        kapelle.double.faults.next("unknown_interaction", "POST", "/interactions/*")
        kapelle.double.patience_s = 1.0
        await kapelle.anna.command("queue")
        assert "an answer could not be given (NotFound 404 (code 10062))" in caplog.text
        assert not [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR]
        assert "/midi" in (await (await kapelle.anna.command("queue")).answer()).content


@pytest.mark.parametrize("fault", ["reset_after", "reset_before", "unavailable"])
async def test_an_acknowledgement_whose_answer_is_lost_counts(
        kapelle: Class, caplog: pytest.LogCaptureFixture, fault: str) -> None:
    async with serving(kapelle):
        kapelle.double.faults.next(fault, "POST", "/interactions/*")
        use = await kapelle.anna.command("midi", {"title": "Clair de lune"})
        assert "Clair de lune" in (await use.answer()).content
        assert len(await kapelle.ledger.jobs()) == 1
    assert not [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR]


async def test_a_page_whose_deferral_is_lost_is_shown(kapelle: Class, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(9):
        await kapelle.ask(title=f"Piece {number}")
    async with serving(kapelle):
        shown = await (await kapelle.anna.command("history")).answer()
        assert "Piece 8" in shown.content
        kapelle.double.faults.next("reset_after", "POST", "/interactions/*")
        await kapelle.anna.press(shown, "k:page:mine:2")
        await kapelle.double.wait_for(lambda: "Piece 0" in shown.content)
    assert not [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR]


async def test_a_window_and_a_first_message_whose_answers_are_lost_count(
        kapelle: Class, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(kapelle):
        job = await kapelle.until(await kapelle.ask(), lambda job: job.card_id)
        await kapelle.make(job)
        await kapelle.until_over(job)
        card = await kapelle.until_card_says(job, "Clair")
        await kapelle.double.wait_for(lambda: card.components)
        kapelle.double.faults.next("reset_after", "POST", "/interactions/*")
        use = await kapelle.anna.press(card, f"k:vary:{job.id}")
        assert use.modal is not None
        sent = await kapelle.anna.submit(use, {"temperature": "0.8", "tokens": "64"})
        assert "#2" in (await sent.answer()).content

        async def broken(*_: object) -> None:
            raise Refusal(Reason.LEDGER)

        monkeypatch.setattr(people, "member_of", broken)
        kapelle.double.faults.next("reset_after", "POST", "/interactions/*")
        use = await kapelle.anna.press(card, f"k:vary:{job.id}")
        assert "cannot write down" in (await use.answer()).content
    assert not [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR]


@pytest.mark.parametrize("fault", ["unknown_interaction", "reset_after", "reset_before"])
async def test_suggestions_that_are_lost_are_no_errors(
        kapelle: Class, caplog: pytest.LogCaptureFixture, fault: str) -> None:
    caplog.set_level(logging.INFO, "kapelle")
    async with serving(kapelle):
        kapelle.double.faults.next(fault, "POST", "/interactions/*")
        kapelle.double.patience_s = 1.0
        with suppress(TimeoutError):
            await kapelle.anna.autocomplete("midi", {"title": "Cla"}, "title")
        assert "/midi" in (await (await kapelle.anna.command("queue")).answer()).content
    assert not [record for record in caplog.records if record.exc_info or record.levelno >= logging.ERROR]
