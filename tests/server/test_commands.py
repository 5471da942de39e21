"""Every command and button, end to end: the real bot process, a Discord on loopback, real takes."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator

import pytest

from tests.discord_double import DiscordDouble, Use
from tests.discord_double.commands import MESSAGE_MENU
from tests.discord_double.members import Member
from tests.rehearsal.bot_process import BotProcess
from tests.server.asking import (
    Threaded,
    buttons,
    check_take,
    files_of,
    finished_card,
    takes_in,
    takes_of,
    thread_named,
)
from tests.server.chaos import seed_of

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("bot"), pytest.mark.slow]
SMALL = {"tokens": 96, "takes": 1}


@pytest.fixture(scope="module")
def names() -> Iterator[str]:
    """Titles that are in no other test."""
    return (f"Study {number}" for number in range(100, 1000))


async def said(use: Use) -> str:
    return (await use.answer()).content


async def made(double: DiscordDouble, member: Member, title: str, **options: object) -> Threaded:
    """A job of the member, posted."""
    use = await member.command("midi", {"title": title, **SMALL, **options})
    assert title in await said(use)
    return await takes_of(double, title, int(str(options.get("takes", 1))))


async def test_takes_are_real_and_come_in_both_languages(double: DiscordDouble) -> None:
    anna, ben = double.member("Anna", locale="de"), double.member("Ben", locale="en-GB")
    options = {"title": "Clair de lune", "artist": "Claude Debussy", "takes": 2, "tokens": 192, "seed": 7}
    use = await anna.command("midi", options)
    assert use.ephemeral
    assert "Ich habe" in await said(use) or "Stück" in await said(use)
    german = await takes_of(double, "Clair de lune", 2)
    for message in german.takes:
        check_take(message)
        assert "seed:7" in message.content
        assert "Noten" in message.content
    assert await said(await ben.command("midi", {**options, "title": "Moonlight", "artist": ""}))
    english = await takes_of(double, "Moonlight", 2)
    assert all("notes" in message.content for message in english.takes)
    card = await finished_card(double, english)
    assert "Done: 2 takes" in card.content  # how often it was edited, the double notes by itself


async def test_a_command_in_a_thread_posts_there(double: DiscordDouble, names: Iterator[str]) -> None:
    anna = double.member("Anna")
    first = await made(double, anna, next(names))
    threads = len(double.threads())
    double.archive(first.thread.id)
    title = next(names)
    await anna.command("midi", {"title": title, **SMALL}, channel_id=first.thread.id)
    await double.wait_for(lambda: [message for message in double.messages(first.thread.id)
                                   if title in message.content and message.attachments], 60)
    assert len(double.threads()) == threads
    assert not first.thread.archived


async def test_a_member_looks_after_their_jobs(double: DiscordDouble, names: Iterator[str]) -> None:
    cleo = double.member("Cleo", locale="en-US")
    title = next(names)
    assert "#" not in await said(await cleo.command("queue"))
    done = await made(double, cleo, title)
    number = int((await finished_card(double, done)).content.split("#")[1].split(" ")[0])
    assert title in await said(await cleo.command("history", {}))
    assert title not in await said(await double.member("Dora").command("history", {}))
    assert title in await said(await double.member("Dora").command("history", {"whose": "class"}))
    assert "Posted again" in await said(await cleo.command("take", {"number": f"{number}.1"}))
    (copy,) = (message for message in double.messages() if title in message.content and message.attachments)
    check_take(copy)
    quota = await said(await cleo.command("quota"))
    assert "1" in quota
    assert "/midi" in await said(await cleo.command("help"))
    over = await said(await cleo.command("cancel", {"job": number}))
    assert "over" in over or "done" in over


async def test_titles_and_artists_are_suggested(double: DiscordDouble) -> None:
    anna = double.member("Anna")
    found = await anna.autocomplete("midi", {"title": "noct"}, focused="title")
    assert any("Nocturne" in value for _, value in found)
    artists = await anna.autocomplete("midi", {"title": "Nocturne", "artist": "Chop"}, focused="artist")
    assert any("Chopin" in value for _, value in artists)
    assert await anna.autocomplete("midi", {"title": "(*["}, focused="title") == []


async def test_buttons_begin_the_pressers_own_job(double: DiscordDouble, names: Iterator[str]) -> None:
    anna, ben = double.member("Anna"), double.member("Ben", locale="en-GB")
    title = next(names)
    first = await made(double, anna, title)
    card = await finished_card(double, first)
    again = await ben.press(card, buttons(card)["again"]["custom_id"])
    assert title in await said(again)
    await double.wait_for(lambda: len(takes_in(double, first.thread)) == 2, 60)  # a press in a thread posts there
    vary = await ben.press(card, buttons(card)["vary"]["custom_id"])
    assert vary.modal
    await said(await ben.submit(vary, {"temperature": "0,5", "tokens": "64"}))
    await double.wait_for(lambda: len(takes_in(double, first.thread)) == 3, 60)
    original, repeated, varied = takes_in(double, first.thread)
    assert seed_of(repeated) != seed_of(original) == seed_of(varied)
    assert "temperature:0.5" in varied.content
    assert "tokens:64" in varied.content
    assert title in await said(await ben.command("history", {}))
    refused = await ben.press(card, buttons(card)["delete"]["custom_id"])
    assert "own" in await said(refused) or "moderator" in await said(refused)


async def test_files_favourites_reports_and_deleting(double: DiscordDouble, names: Iterator[str]) -> None:
    anna, teacher = double.member("Lena", locale="en-GB"), double.member("Ms Miller", locale="en-GB", moderator=True)
    done = await made(double, anna, next(names), takes=2)
    card = await finished_card(double, done)
    actions = buttons(card)
    bundle = await (await anna.press(card, actions["zip"]["custom_id"])).answer()
    with zipfile.ZipFile(io.BytesIO(bundle.attachments[0].content)) as archive:
        assert sum(name.endswith(".mid") for name in archive.namelist()) == 2
        assert archive.testzip() is None
    assert await said(await anna.press(done.takes[0], buttons(done.takes[0])["fav"]["custom_id"]))
    report = await anna.press(done.takes[1], buttons(done.takes[1])["report"]["custom_id"])
    fields = [part["component"]["custom_id"] for part in (report.modal or {})["components"]]
    assert await said(await anna.submit(report, {fields[0]: "too loud"}))
    assert "report" in (await said(await teacher.command("kapelle audit"))).lower()
    asked = await anna.press(card, actions["delete"]["custom_id"])
    confirm = await asked.answer()
    await said(await anna.press(confirm, buttons(confirm)["erase"]["custom_id"]))
    gone = await anna.press(card, actions["again"]["custom_id"], raw=True)
    assert "deleted" in await said(gone)


async def test_menus_on_a_message(double: DiscordDouble, names: Iterator[str]) -> None:
    anna = double.member("Anna", locale="en-GB")
    title = next(names)
    done = await made(double, anna, title)
    await finished_card(double, done)  # then the ledger knows the message
    menus = [command["name"] for command in double.rest.commands.all(None) if command["type"] == MESSAGE_MENU]
    assert len(menus) == 3
    uses = [await anna.menu(name, done.takes[0]) for name in sorted(menus)]
    assert sum(use.modal is not None for use in uses) == 2  # template and report
    copied = next(use for use in uses if use.modal is None)
    assert f":{title} " in await said(copied)
    other = anna.say("good evening")
    assert "/midi" not in await said(await anna.menu(sorted(menus)[0], other))


async def test_privacy(double: DiscordDouble, names: Iterator[str]) -> None:
    eve = double.member("Eve", locale="en-GB")
    title = next(names)
    await finished_card(double, await made(double, eve, title))
    first = await (await eve.command("privacy")).answer()
    choices = [part["custom_id"] for row in first.components for part in row["components"]]
    exported = await (await eve.press(first, choices[0])).answer()
    kept = json.loads(exported.attachments[0].content)
    assert title in json.dumps(kept)
    asked = await (await eve.press(first, choices[1])).answer()
    erase = asked.components[0]["components"][0]["custom_id"]
    await said(await eve.press(asked, erase))
    assert title not in await said(await eve.command("history", {}))


async def test_moderators_set_limits_that_hold_at_once(double: DiscordDouble, names: Iterator[str]) -> None:
    teacher, finn = double.member("Herr Weber", moderator=True), double.member("Finn", locale="en-GB")
    await said(await teacher.command("kapelle limits set", {"limit": "takes", "value": "2"}))
    refused = await said(await finn.command("midi", {"title": next(names), "takes": 3}))
    assert "2" in refused
    assert "3" in refused
    await made(double, finn, next(names), takes=2)
    assert "2" in await said(await teacher.command("kapelle limits show"))
    audit = await said(await teacher.command("kapelle audit"))
    assert "2" in audit
    await said(await teacher.command("kapelle limits set", {"limit": "takes", "value": "-"}))
    student = await said(await finn.command("kapelle limits set", {"limit": "takes", "value": "16"}, raw=True))
    assert "moderator" in student.lower()


async def test_pause_words_and_blocking(double: DiscordDouble, names: Iterator[str]) -> None:
    teacher, gina = double.member("Herr Weber", moderator=True), double.member("Gina", locale="en-GB")
    await said(await teacher.command("kapelle pause"))
    assert "pause" in (await said(await gina.command("midi", {"title": next(names)}))).lower()
    await said(await teacher.command("kapelle resume"))
    await said(await teacher.command("kapelle words add", {"word": "kazoo*"}))
    refused = await said(await gina.command("midi", {"title": "K\u200ba\u0301zoos for two"}))
    assert thread_named(double, "for two") is None
    assert refused
    await said(await teacher.command("kapelle words remove", {"word": "kazoo*"}))
    await said(await teacher.command("kapelle block", {"member": gina.id, "reason": "spam"}))
    assert "cannot ask" in await said(await gina.command("midi", {"title": next(names)}))
    await said(await teacher.command("kapelle unblock", {"member": gina.id}))
    await made(double, gina, next(names))
    assert await said(await teacher.command("kapelle status"))


HOSTILE = (
    "@everyone", "<@1> <@&2> <#3>", "```/kapelle pause```", "**__~~||`x`||~~__**", "https://example.org [x](https://e.org)",
    "\u202eevil\u202c", "a\u200b\u200c\u200d\ufeffb", "日本語の歌", "🎵" * 20, "../../etc/passwd", "'; drop table jobs; --",
)
WORDS = ([{"title": words} for words in HOSTILE] + [{"title": "Study", "artist": words} for words in HOSTILE]
         + [{"title": "```\u200b`", "artist": "`@everyone``` /kapelle pause ```"}])


@pytest.mark.parametrize("words", WORDS)
async def test_hostile_words_do_nothing_but_music(double: DiscordDouble, words: dict[str, str]) -> None:
    hugo = double.member("Hugo", locale="en-GB")
    before = {thread.id for thread in double.threads()}
    use = await hugo.command("midi", {**words, "tokens": 48, "takes": 1}, raw=True)
    assert (await use.answer()).mentions == []
    (thread,) = await double.wait_for(lambda: [t for t in double.threads() if t.id not in before])
    await double.wait_for(lambda: [m for m in double.messages(thread.id) if m.attachments])
    for message in double.messages(thread.id):
        assert not message.mentions
        assert "@everyone" not in message.content
        assert message.content.count("```") in (0, 2)  # of the block with the parameters


@pytest.mark.parametrize("options", [
    {"title": "x" * 4000}, {"title": "x", "tokens": 9000}, {"title": "x", "tokens": 31}, {"title": "x", "takes": 0},
    {"title": "x\ny"}, {"title": "x", "temperature": 0.0}, {"title": "x", "temperature": 99.0}, {"title": "x", "seed": -1},
    {"title": " "}, {"title": "x", "engine": "none"}, {"title": "x", "artist": "y" * 4000}, {"title": "\u200b\u2060"},
])
async def test_options_out_of_range_are_refused(double: DiscordDouble, options: dict[str, object]) -> None:
    threads = len(double.threads())
    use = await double.member("Ina", locale="en-GB").command("midi", options, raw=True)
    answer = await use.answer()
    assert answer.content
    assert answer.ephemeral
    assert len(double.threads()) == threads


async def test_presses_that_nobody_offered(double: DiscordDouble, names: Iterator[str]) -> None:
    anna = double.member("Anna", locale="en-GB")
    done = await made(double, anna, next(names))
    for custom_id in ("k:again:999999", "k:again:0", "k:sudo:1", "k:again:1;drop", "k:take:1:99", "k:" + "x" * 90):
        use = await anna.press(done.takes[0], custom_id, raw=True)
        answer = await use.answer()
        assert answer.ephemeral, custom_id
        assert answer.content, custom_id


async def test_missing_permissions_are_named_before_anything_is_taken(double: DiscordDouble, names: Iterator[str]) -> None:
    ben = double.member("Ben", locale="en-GB")
    channel = double.add_channel("quiet")
    double.permissions.deny(channel.id, "attach_files")
    answer = await (await ben.command("midi", {"title": next(names)}, channel_id=channel.id)).answer()
    assert "Attach Files" in answer.content


async def test_every_take_has_its_files(double: DiscordDouble) -> None:
    """Over all that the tests above have posted."""
    posted = [message for thread in double.threads() for message in double.messages(thread.id)
              if any(file.filename.endswith(".mid") for file in message.attachments)]
    assert len(posted) > 10
    assert all({"mid", "ogg", "png"} <= set(files_of(message)) for message in posted)


async def test_the_bot_is_still_alive(bot: BotProcess) -> None:
    assert bot.alive
