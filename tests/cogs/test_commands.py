"""Commands end to end: the real bot, ledger and spool, on the Discord double."""

from __future__ import annotations

import io
import json
import sqlite3
import sys
import time
import zipfile
from typing import Any

import pytest

from bot.jobs.records import Job, JobState
from bot.jobs.titles import Titles
from tests.cogs.conftest import FILES, Server
from tests.discord_double import Message, Use
from tests.discord_double.things import walk

pytestmark = pytest.mark.asyncio(loop_scope="module")
ALL_COMMANDS: dict[str, dict[str, Any]] = {
    "midi": {"title": "Clair de lune"}, "queue": {}, "cancel": {"job": 1}, "quota": {}, "history": {"whose": "class"},
    "take": {"number": "1"}, "help": {}, "privacy": {}}
MODERATORS_COMMANDS: dict[str, dict[str, Any]] = {
    "kapelle limits show": {}, "kapelle limits set": {"limit": "takes", "value": "3"}, "kapelle pause": {},
    "kapelle resume": {}, "kapelle drain": {}, "kapelle cancel": {}, "kapelle words add": {"word": "x"},
    "kapelle words remove": {"word": "x"}, "kapelle words test": {"text": "x"}, "kapelle words list": {},
    "kapelle audit": {}, "kapelle status": {}, "kapelle role": {}}


async def said(use: Use) -> str:
    answer = await use.answer()
    assert use.ephemeral
    return str(answer.content)


def custom_ids(message: Message) -> list[str]:
    return [item["custom_id"] for item in walk(message.components) if "custom_id" in item]


async def test_midi_is_accepted_in_the_members_language(server: Server) -> None:
    anna, ben = server.double.member("Anna", locale="de"), server.double.member("Ben", locale="en-US")
    asked = {"title": "Für **Elise** @everyone", "artist": "Beethoven", "tokens": 64, "bars": 8, "takes": 2, "temperature": 1.1,
             "engine": "pocket", "seed": 5, "stop-at-end": True}
    german = await said(await anna.command("midi", asked))
    assert r"**Für \*\*Elise\*\* ＠everyone \- Beethoven** ist notiert, als Stück #" in german  # noqa: RUF001
    assert "Platz " in german
    (job,) = await server.jobs_of(anna.id)
    assert job.parameters == {"title": asked["title"], "artist": "Beethoven", "tokens": 64, "bars": 8, "takes": 2,
                              "temperature": 1.1, "seed": 5, "stop_at_end": True}
    assert "it is piece #" in await said(await ben.command("midi", {"title": "Waltz"}))
    (job,) = await server.jobs_of(ben.id)
    assert job.parameters["takes"] == 4
    assert "bars" not in job.parameters
    assert job.language == "en"


async def test_what_is_out_of_range_is_refused_in_words(server: Server) -> None:
    anna = server.double.member("Raw", locale="de")
    refused = await said(await anna.command("midi", {"title": "x", "tokens": 9000}, raw=True))
    assert refused == (
        "tokens muss zwischen 32 und 2048 liegen, nicht bei 9000.\nEs wird nicht auf dein Kontingent angerechnet.")
    assert (await said(await anna.command("midi", {"title": "x", "bars": 600}, raw=True))).startswith(
        "takte muss zwischen 1 und 512 liegen, nicht bei 600.")
    assert "title" not in await said(await anna.command("midi", {"title": "T" * 4000}, raw=True))
    assert "4.000 Zeichen" in await said(await anna.command("midi", {"title": "x", "artist": "A" * 4000}, raw=True))
    assert await server.jobs_of(anna.id) == []


async def test_words_of_which_nothing_can_be_seen_are_none(server: Server) -> None:
    anna = server.double.member("Zero", locale="en-US")
    assert "Give a title, an artist, or both" in await said(
        await anna.command("midi", {"title": "\u200b\u2060", "artist": "\u202e\ufeff\u2800"}))
    assert await server.jobs_of(anna.id) == []
    assert "**Bach**" in await said(await anna.command("midi", {"title": "\u200b", "artist": "Bach"}))


async def test_an_answer_that_is_lost_is_no_reason_to_ask_again(server: Server) -> None:
    anna = server.double.member("Lost", locale="en-US")
    server.double.faults.next("expired_token", "PATCH", "/webhooks/*")
    use = await anna.command("midi", {"title": "Lost answer"})
    await server.double.wait_for(lambda: any("Lost answer" in thread.name for thread in server.double.threads()))
    assert len(await server.jobs_of(anna.id)) == 1
    assert use.followups == []


async def test_a_full_disk_and_a_locked_ledger_are_told_and_charge_nothing(
        server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    anna = server.double.member("Full", locale="de")
    with monkeypatch.context() as full:
        full.setattr(server.application.jobs, "_free_bytes", lambda: 0)
        refused = await said(await anna.command("midi", {"title": "x"}))
    assert "Festplatte ist voll" in refused
    assert "nicht auf dein Kontingent" in refused
    with sqlite3.connect(server.application.settings.data / "ledger.sqlite", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        use = await anna.command("midi", {"title": "x"})
        refused = str((await use.answer()).content)
        other.execute("ROLLBACK")
    assert "nicht aufschreiben" in refused
    assert "nicht auf dein Kontingent" in refused
    assert await server.jobs_of(anna.id) == []


async def test_titles_and_artists_are_suggested(server: Server) -> None:
    anna = server.double.member("Typing", locale="en-US")
    titles = await anna.autocomplete("midi", {"title": "mazurka"}, focused="title")
    assert 0 < len(titles) <= 25
    assert all("mazurka" in name.lower() and len(name) <= 100 and len(value) <= 80 for name, value in titles)
    artists = await anna.autocomplete("midi", {"title": "mazurka", "artist": "cho"}, focused="artist")
    assert artists
    assert all("cho" in value.lower() for _, value in artists)
    assert len({value for _, value in artists}) == len(artists)
    assert await anna.autocomplete("midi", {"title": ""}, focused="title") == []


def suggest_late(titles: Titles, text: str, limit: int) -> list[tuple[str, str]]:
    time.sleep(0.4)
    return [("Late", "")]


async def test_suggestions_that_take_too_long_are_left_out(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["cogs.midi"], "SUGGESTING_S", 0.05)
    monkeypatch.setattr(Titles, "suggest", suggest_late)
    assert await server.double.member("Typing", locale="en-US").autocomplete("midi", {"title": "l"}, focused="title") == []


async def test_queue_cancel_and_quota_follow_a_job(server: Server) -> None:
    cleo = server.double.member("Cleo", locale="de")
    assert "wartet gerade nichts" in await said(await cleo.command("queue"))
    await said(await cleo.command("midi", {"title": "Waltz", "takes": 3}))
    (job,) = await server.jobs_of(cleo.id)
    assert f"#{job.id} Waltz: Platz" in await said(await cleo.command("queue"))
    assert "Takes pro Tag: 3 von 400 (auf diesem Rechner)" in await said(await cleo.command("quota"))
    choices = await cleo.autocomplete("cancel", {"job": str(job.id)[:1]}, focused="job")
    assert choices == [(f"#{job.id} Waltz · wartet", job.id)]
    assert await cleo.autocomplete("cancel", {"job": "999999"}, focused="job") == []
    assert await said(await cleo.command("cancel", {"job": job.id})) == \
        f"#{job.id} ist abgebrochen. Es wird nicht auf dein Kontingent angerechnet."
    (job,) = await server.jobs_of(cleo.id)
    assert job.state is JobState.CANCELLED
    assert "schon vorbei" in await said(await cleo.command("cancel", {"job": job.id}))
    assert "gehört jemand anderem" in await said(
        await cleo.command("cancel", {"job": (await server.made("Hers", owner_id=77)).id}))


async def test_history_is_paged_by_buttons(server: Server) -> None:
    dora = server.double.member("Dora", locale="en-US")
    for number in range(9):
        await said(await dora.command("midi", {"title": f"Piece {number}"}))
    use = await dora.command("history")
    first = await use.answer()
    assert "page 1 of 2" in first.content
    assert "Piece 8" in first.content
    assert "Piece 0" not in first.content
    assert custom_ids(first) == ["k:page:mine:2"]
    turned = await dora.press(first, "k:page:mine:2")
    second = await turned.answer()
    assert second.id == first.id
    assert "Piece 0" in second.content
    assert custom_ids(second) == ["k:page:mine:1"]
    everyone = await said(await dora.command("history", {"whose": "class"}))
    assert "page 1 of" in everyone
    assert len(everyone.splitlines()) == 9


def again(server: Server, job: Job, number: int, channel_id: int | None = None) -> list[Message]:
    """Messages in which the take was posted, in the channel unless another one is named."""
    return [message for message in server.double.messages(channel_id or server.double.channel.id)
            if f"k:fav:{job.id}:{number}" in custom_ids(message)]


async def test_take_posts_takes_again_where_it_is_asked_for(server: Server) -> None:
    emil = server.double.member("Emil", locale="de")
    job = await server.made("Old piece", owner_id=emil.id, takes=2)
    server.double.faults.next("unavailable", "POST", f"/channels/{server.double.channel.id}/messages")
    one = await emil.command("take", {"number": f"{job.id}.2"})
    assert await said(one) == f"Noch einmal gepostet: 1 Take von #{job.id}."
    (copy,) = again(server, job, 2)
    assert not copy.ephemeral
    assert "**Take 2 von 2**" in copy.content
    assert {file.filename.rpartition(".")[2]: file.content for file in copy.attachments}["mid"] == FILES["midi"]
    assert len(copy.attachments) == 3
    assert "/midi titel:Old piece" in await said(await emil.menu("Copy parameters", copy))
    thread = await server.double.wait_for(
        lambda: next((thread for thread in server.double.threads() if f"#{job.id}" in thread.name), None))
    await server.double.wait_for(lambda: len(again(server, job, 2, thread.id)) == 1)
    both = await emil.command("take", {"number": str(job.id)}, channel_id=thread.id)
    assert await said(both) == f"Noch einmal gepostet: 2 Takes von #{job.id}."
    assert len(again(server, job, 2, thread.id)) == 2
    assert len(again(server, job, 2)) == 1
    assert "lässt sich nicht zeigen" in await said(await emil.command("take", {"number": f"{job.id}.9"}))
    assert "keine Nummer eines Stücks" in await said(await emil.command("take", {"number": "../../etc"}))
    assert "#999999" in await said(await emil.command("take", {"number": "999999"}))


async def test_take_leaves_out_what_is_gone(server: Server) -> None:
    emil = server.double.member("Emil", locale="de")
    job = await server.made("Half gone", owner_id=emil.id, takes=2)
    folder = server.application.spool.folder(job.id)
    (folder / "take-1.mid").unlink()
    assert "1 Take von" in await said(await emil.command("take", {"number": str(job.id)}))
    help = await (await emil.command("help")).answer()
    (archive,) = (await (await emil.press(help, f"k:zip:{job.id}", raw=True)).answer()).attachments
    with zipfile.ZipFile(io.BytesIO(archive.content)) as opened:
        assert len(opened.namelist()) == 5
    for file in folder.iterdir():
        file.unlink()
    refused = await said(await emil.command("take", {"number": str(job.id)}))
    assert f"Take {job.id} lässt sich nicht zeigen" in refused
    assert "Dateien sind weg" in refused
    assert "Dateien sind weg" in await said(await emil.press(help, f"k:zip:{job.id}", raw=True))


async def test_take_is_for_those_who_may_have_something_posted_there(server: Server) -> None:
    mo, rita = server.double.member("Mo7", moderator=True, locale="en-US"), server.double.member("Rita", locale="en-US")
    job = await server.made("Wanted", owner_id=rita.id, takes=1)
    quiet = server.double.add_channel("ohne-dateien")
    server.double.permissions.deny(quiet.id, "attach_files")
    assert "Attach Files" in await said(await rita.command("take", {"number": str(job.id)}, channel_id=quiet.id))
    try:
        await said(await mo.command("kapelle limits set", {"limit": "channels", "value": f"<#{server.double.channel.id}>"}))
        other = server.double.add_channel("anderswo")
        assert "Not in this channel" in await said(
            await rita.command("take", {"number": str(job.id)}, channel_id=other.id))
        await said(await mo.command("kapelle block", {"member": rita.id, "reason": "spam"}))
        assert "cannot ask for pieces" in await said(await rita.command("take", {"number": str(job.id)}))
    finally:
        await said(await mo.command("kapelle limits set", {"limit": "channels", "value": "-"}))
        await said(await mo.command("kapelle unblock", {"member": rita.id}))
    assert again(server, job, 1) == again(server, job, 1, quiet.id) == again(server, job, 1, other.id) == []


async def test_pieces_of_channels_that_a_member_cannot_see_are_not_shown(server: Server) -> None:
    owner, kim = server.double.member("Colleague", locale="en-US"), server.double.member("Curious", locale="en-US")
    mo, channel = server.double.member("Mo8", moderator=True, locale="en-US"), server.double.add_channel("lehrerzimmer")
    job = await server.made("Staff song", owner_id=owner.id, takes=1, channel_id=channel.id)
    assert "Staff song" in await said(await kim.command("history", {"whose": "class"}))
    server.double.permissions.hide(channel.id)
    assert f"There is no piece #{job.id} here" in await said(await kim.command("take", {"number": str(job.id)}))
    assert again(server, job, 1) == []
    assert "Staff song" not in await said(await kim.command("history", {"whose": "class"}))
    help = await (await kim.command("help")).answer()
    for action in ("again", "vary", "zip", "report", "fav"):
        assert "does not exist any more" in await said(await kim.press(help, f"k:{action}:{job.id}", raw=True)), action
    thread = await server.double.wait_for(
        lambda: next((thread for thread in server.double.threads() if "Staff song" in thread.name), None))
    for who in (owner, mo):
        assert "Staff song" in await said(await who.command("history", {"whose": "class"}))
        assert "Posted again: 1 take" in await said(
            await who.command("take", {"number": str(job.id)}, channel_id=thread.id, raw=True))  # typed before it was hidden


async def test_help_offers_prompts_that_start_jobs(server: Server) -> None:
    finn = server.double.member("Finn", locale="en-US")
    answer = await (await finn.command("help")).answer()
    assert custom_ids(answer) == ["k:try:1", "k:try:2", "k:try:3"]
    for custom_id in custom_ids(answer):
        assert "it is piece #" in await said(await finn.press(answer, custom_id))
    assert {job.parameters["title"] for job in await server.jobs_of(finn.id)} == {
        "Clair de lune", "Mazurka in A minor", "A slow reggae with flute"}


async def test_privacy_exports_and_deletes_after_asking(server: Server) -> None:
    gina = server.double.member("Gina", locale="de")
    await said(await gina.command("midi", {"title": "Secret song"}))
    answer = await (await gina.command("privacy")).answer()
    exported = await (await gina.press(answer, "k:privacy:export")).answer()
    (file,) = exported.attachments
    assert file.filename == "kapelle.json"
    assert "Secret song" in json.dumps(json.loads(file.content))
    asked = await (await gina.press(answer, "k:privacy:forget")).answer()
    assert len(await server.jobs_of(gina.id)) == 1
    assert "Gelöscht" in await said(await gina.press(asked, "k:privacy:erase"))
    assert await server.jobs_of(gina.id) == []


async def test_moderators_change_limits_state_words_and_role(server: Server) -> None:
    mo, kim = server.double.member("Mo", moderator=True, locale="en-US"), server.double.member("Kim", locale="de")
    try:
        assert "takes in one piece, on this server: 2 from now on" in await said(
            await mo.command("kapelle limits set", {"limit": "takes", "value": "2"}))
        refused = await said(await kim.command("midi", {"title": "x", "takes": 3}))
        assert "3 Takes sind zu viele: 2 sind erlaubt (auf diesem Server)" in refused
        assert "takes in one piece: 2" in await said(await mo.command("kapelle limits show"))
        assert "is no limit" in await said(await mo.command("kapelle limits set", {"limit": "takes", "value": "few"}))
        assert "Paused" in await said(await mo.command("kapelle pause"))
        assert "Gerade ist Pause" in await said(await kim.command("midi", {"title": "x", "takes": 1}))
        assert "Draining" in await said(await mo.command("kapelle drain"))
        assert "Draining" in await said(await mo.command("kapelle status"))
        assert "Open" in await said(await mo.command("kapelle resume"))
        await said(await mo.command("kapelle words add", {"word": "Spinat"}))
        assert "Wort" in await said(await kim.command("midi", {"title": "Spinat im Mai", "takes": 1}))
        assert "Spinat" in await said(await mo.command("kapelle words test", {"text": "viel SPINAT"}))
        assert "Spinat" in await said(await mo.command("kapelle words list"))
        await said(await mo.command("kapelle words remove", {"word": "Spinat"}))
        assert f"<@{kim.id}> is blocked" in await said(
            await mo.command("kapelle block", {"member": kim.id, "reason": "spam"}))
        assert "keine Stücke wünschen" in await said(await kim.command("midi", {"title": "x", "takes": 1}))
        assert "1 member is blocked" in await said(await mo.command("kapelle status"))
        assert "again" in await said(await mo.command("kapelle unblock", {"member": kim.id}))
        log = await said(await mo.command("kapelle audit"))
        assert "**limit** takes in one piece · on this server · no limit → 2" in log
        assert f"**blocked** <@{kim.id}> · “spam”" in log
    finally:
        await said(await mo.command("kapelle resume"))
        await said(await mo.command("kapelle limits set", {"limit": "takes", "value": "-"}))


async def test_limits_hold_for_roles_and_channels(server: Server) -> None:
    mo = server.double.member("Mo2", moderator=True, locale="en-US")
    role, channel = server.double.add_role("Band"), server.double.add_channel("leise")
    lea = server.double.member("Lea", roles=(role,), locale="en-US")
    try:
        await said(await mo.command("kapelle limits set", {"limit": "tokens", "value": "64", "role": role.id}))
        await said(await mo.command("kapelle limits set", {"limit": "takes", "value": "1", "channel": channel.id}))
        assert f"64 are allowed (for <@&{role.id}>)" in await said(await lea.command("midi", {"title": "x", "tokens": 65}))
        assert f"1 is allowed (in <#{channel.id}>)" in await said(
            await lea.command("midi", {"title": "x", "takes": 2, "tokens": 64}, channel_id=channel.id))
        await said(await mo.command("kapelle limits set", {"limit": "channels", "value": f"<#{channel.id}>"}))
        assert f"Use: <#{channel.id}>" in await said(await lea.command("midi", {"title": "x", "takes": 1, "tokens": 64}))
        both = await said(await mo.command(
            "kapelle limits set", {"limit": "takes", "value": "1", "role": role.id, "channel": channel.id}))
        assert "not both" in both
    finally:
        await said(await mo.command("kapelle limits set", {"limit": "channels", "value": "-"}))


async def test_a_role_makes_moderators(server: Server) -> None:
    mo, role = server.double.member("Mo3", moderator=True, locale="en-US"), server.double.add_role("Lehrkraft")
    teacher = server.double.member("Teacher", roles=(role,), locale="en-US")
    assert "for moderators" in await said(await teacher.command("kapelle status", raw=True))
    assert f"<@&{role.id}>" in await said(await mo.command("kapelle role", {"role": role.id}))
    assert "Open" in await said(await teacher.command("kapelle status", raw=True))
    assert "Integrations" in await said(await mo.command("kapelle role"))
    assert "for moderators" in await said(await teacher.command("kapelle status", raw=True))


async def test_a_moderator_cancels_pieces(server: Server) -> None:
    mo, nils = server.double.member("Mo4", moderator=True, locale="en-US"), server.double.member("Nils", locale="en-US")
    for _ in range(2):
        await said(await nils.command("midi", {"title": "x"}))
    first, second = await server.jobs_of(nils.id)
    assert f"1 piece is cancelled: #{first.id}" in await said(await mo.command("kapelle cancel", {"job": first.id}))
    assert f"#{second.id}" in await said(await mo.command("kapelle cancel"))
    assert "Nothing was waiting." in await said(await mo.command("kapelle cancel"))


@pytest.mark.parametrize("name", MODERATORS_COMMANDS)
async def test_members_cannot_do_what_moderators_can(server: Server, name: str) -> None:
    zoe = server.double.member("Zoe", locale="de")
    with pytest.raises(LookupError):
        await zoe.command(name, MODERATORS_COMMANDS[name])
    assert "Moderation vorbehalten" in await said(await zoe.command(name, MODERATORS_COMMANDS[name], raw=True))


@pytest.mark.parametrize("name", ALL_COMMANDS)
async def test_commands_do_not_work_in_direct_messages(server: Server, name: str) -> None:
    zoe = server.double.member("Zoe", locale="de")
    use = await zoe.command(name, ALL_COMMANDS[name], channel_id=zoe.dm.id, raw=True)
    assert "nur auf einem Server" in (await use.answer()).content


async def test_missing_permissions_are_named_before_anything_is_accepted(server: Server) -> None:
    olli, channel = server.double.member("Olli", locale="de"), server.double.add_channel("still")
    server.double.permissions.deny(channel.id, "attach_files")
    refused = await said(await olli.command("midi", {"title": "x"}, channel_id=channel.id))
    assert "Dateien anhängen" in refused
    assert await server.jobs_of(olli.id) == []
