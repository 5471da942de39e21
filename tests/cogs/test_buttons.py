"""Buttons and menus end to end, pressed by owners, others, moderators and forgers."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import pytest_asyncio

from bot.discord import buttons
from bot.discord.buttons import ForgedButton, JobButton, buttons_of
from bot.jobs.records import Job, JobState, TakeState
from bot.jobs.records import Member as Asking
from bot.messages.languages import LANGUAGES
from tests.cogs.conftest import FILES, Server
from tests.discord_double import Member, Message, Thread, Use
from tests.discord_double.things import walk
from tests.messages.test_messages import job as some_job

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def said(use: Use) -> str:
    answer = await use.answer()
    assert use.ephemeral
    return str(answer.content)


def custom_ids(message: Message) -> list[str]:
    return [item["custom_id"] for item in walk(message.components) if "custom_id" in item]


@contextmanager
def forged(message: Message, custom_id: str) -> Iterator[None]:
    """A button with this custom_id in the place of the message's first one."""
    row = message.components[0]["components"]
    first, row[0] = row[0], {**row[0], "custom_id": custom_id}
    try:
        yield
    finally:
        row[0] = first


@dataclass(frozen=True)
class Piece:
    """A job of two takes that is delivered: with its thread, its card and its second take."""

    owner: Member
    job: Job
    thread: Thread
    card: Message
    take: Message


async def posted(server: Server, owner: Member, title: str) -> Piece:
    made = await server.made(title, owner_id=owner.id)

    def found() -> tuple[Thread, Message, Message] | None:
        thread = next((one for one in server.double.threads() if title in one.name), None)
        if thread is None:
            return None
        there = server.double.messages(thread.id)
        cards = [message for message in there if f"k:delete:{made.id}" in custom_ids(message)]
        takes = [message for message in there if any("take-2." in file.filename for file in message.attachments)]
        return (thread, cards[0], takes[0]) if cards and takes else None

    await server.double.wait_for(found)
    there = found()
    job = await server.application.ledger.job(made.id)
    assert there is not None
    assert job is not None
    return Piece(owner, job, *there)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def piece(server: Server) -> Piece:
    """One for all tests that leave it as it is: it takes some seconds until its card is the last one."""
    return await posted(server, server.double.member("Anna", locale="de"), "A piece & more")


async def test_custom_ids_are_ours_or_forged_and_never_both() -> None:
    ours = [buttons.OF_A_JOB, buttons.OF_A_PROMPT, buttons.OF_A_PAGE, buttons.OF_PRIVACY]
    forged = ForgedButton.__discord_ui_compiled_template__
    for custom_id in ("k:again:12", "k:fav:12:3", "k:report:999999999999999999:16", "k:try:3", "k:page:mine:2",
                      "k:privacy:erase"):
        assert sum(bool(re.fullmatch(one, custom_id)) for one in ours) == 1
        assert not forged.fullmatch(custom_id), custom_id
    for custom_id in ("k:", "k:again:0", "k:again:-1", "k:again:12:", "k:again:12\n", "k:explode:1", "k:try:4", "k:again:1:100",
                      "k:page:all:1", "k:again:1;drop", "k:again:" + "9" * 40, "k:again:\N{ARABIC-INDIC DIGIT ONE}"):
        assert not any(re.fullmatch(one, custom_id) for one in ours), custom_id
        assert forged.fullmatch(custom_id), custom_id
    assert not forged.fullmatch("other:1")


@pytest.mark.parametrize("language", LANGUAGES)
async def test_buttons_keep_discords_limits(language: str) -> None:
    for take in (None, 16):
        view = buttons_of(some_job(id=10**18 - 1), language, take)
        items = [item for item in view.walk_children() if isinstance(item, JobButton)]
        assert len({item.custom_id for item in items}) == len(items) == (6 if take is None else 5)
        assert all(len(item.custom_id) <= 100 and 0 < len(item.item.label or "") <= 80 for item in items)
        assert view.timeout is None
    assert {item.item.label for item in buttons_of(some_job(), "de").walk_children() if isinstance(item, JobButton)} == {
        "Noch einmal", "Abwandeln", "Favorit", "Alle Dateien", "Löschen", "Melden"}


async def test_again_starts_a_job_of_whoever_presses_with_another_seed(server: Server, piece: Piece) -> None:
    ben, job, thread, card = server.double.member("Ben", locale="en-US"), piece.job, piece.thread, piece.card
    assert "it is piece #" in await said(await ben.press(card, f"k:again:{job.id}"))
    (mine,) = await server.jobs_of(ben.id)
    assert (mine.parent_id, mine.owner_id, mine.thread_id, mine.language) == (job.id, ben.id, thread.id, "en")
    assert mine.seed != job.seed
    assert {**mine.parameters, "seed": job.seed} == dict(job.parameters)


async def test_vary_asks_and_keeps_the_seed(server: Server, piece: Piece) -> None:
    anna, job, card, take = piece.owner, piece.job, piece.card, piece.take
    opened = await anna.press(take, f"k:vary:{job.id}")
    assert opened.modal is not None
    fields = {item["custom_id"]: item.get("value") for item in walk(opened.modal["components"]) if "custom_id" in item}
    assert fields == {"temperature": "0,9", "tokens": "512"}
    assert "ist notiert" in await said(await anna.submit(opened, {"temperature": "1,25", "tokens": "96"}))
    varied = (await server.jobs_of(anna.id))[-1]
    assert (varied.parameters["temperature"], varied.parameters["tokens"], varied.seed) == (1.25, 96, job.seed)
    assert varied.parent_id == job.id
    for wrong, sentence in (({"tokens": "viele"}, "muss eine Zahl sein, nicht „viele“"),
                            ({"tokens": "9000"}, "zwischen 32 und 2048"),
                            ({"temperature": "9,5"}, "zwischen 0,1 und 1,5")):
        opened = await anna.press(card, f"k:vary:{job.id}")
        assert sentence in await said(await anna.submit(opened, wrong))


async def test_bars_are_carried_along_and_can_be_varied(server: Server, piece: Piece) -> None:
    anna, card = server.double.member("Barbara", locale="de"), piece.card
    await said(await anna.command("midi", {"title": "Sixteen bars", "bars": 16}))
    (job,) = await server.jobs_of(anna.id)
    await said(await anna.press(card, f"k:again:{job.id}", raw=True))
    opened = await anna.press(card, f"k:vary:{job.id}", raw=True)
    assert opened.modal is not None
    fields = {item["custom_id"]: item.get("value") for item in walk(opened.modal["components"]) if "custom_id" in item}
    assert fields == {"temperature": "0,9", "tokens": "512", "bars": "16"}
    await said(await anna.submit(opened, {"bars": "24"}))
    assert sorted(one.parameters["bars"] for one in await server.jobs_of(anna.id)) == [16, 16, 24]
    assert "muss eine Zahl sein, nicht „viele“" in await said(await anna.submit(
        await anna.press(card, f"k:vary:{job.id}", raw=True), {"bars": "viele"}))


async def test_favourites_are_of_one_take_or_of_all(server: Server, piece: Piece) -> None:
    anna, job, card, take = piece.owner, piece.job, piece.card, piece.take

    async def favourites() -> list[int]:
        now = await server.application.ledger.job(job.id)
        assert now is not None
        return [one.favourites for one in now.takes]

    assert await said(await anna.press(take, f"k:fav:{job.id}:2")) == "Take 2 ist jetzt ein Favorit."
    assert await favourites() == [0, 1]
    assert await said(await anna.press(card, f"k:fav:{job.id}")) == "Alle Takes sind jetzt Favoriten."
    assert await favourites() == [1, 1]
    assert await said(await anna.press(card, f"k:fav:{job.id}")) == "Kein Take ist mehr ein Favorit."
    assert await favourites() == [0, 0]


async def test_all_files_come_as_one_archive(piece: Piece) -> None:
    job = piece.job
    answer = await (await piece.owner.press(piece.card, f"k:zip:{job.id}")).answer()
    (file,) = answer.attachments
    assert file.filename == f"a-piece-more-{job.id}.zip"
    with zipfile.ZipFile(io.BytesIO(file.content)) as archive:
        assert len(archive.namelist()) == 6
        assert archive.read(f"a-piece-more-{job.id}-take-2.mid") == FILES["midi"]


async def test_an_archive_leaves_out_what_does_not_fit(server: Server) -> None:
    from bot.discord.bundle import bundle
    job = await server.made("Large", owner_id=5, takes=2)
    made = await server.application.ledger.job(job.id)
    assert made is not None
    spool = server.application.spool
    (spool.folder(job.id) / "take-1.ogg").write_bytes(b"x" * 20_000)
    packed = await bundle(made, spool, 20_000)
    assert packed is not None
    assert len(packed.contents) <= 20_000
    assert packed.left_out == 1
    with zipfile.ZipFile(io.BytesIO(packed.contents)) as archive:
        assert len(archive.namelist()) == 5
    assert await bundle(made, spool, 4000) is None


async def test_deleting_asks_first_and_is_for_owners_and_moderators(server: Server) -> None:
    anna, ben = server.double.member("Della", locale="de"), server.double.member("Other", locale="de")
    mo = server.double.member("Mo5", moderator=True, locale="en-US")
    deleted = await posted(server, anna, "Deleted piece")
    job, card, take = deleted.job, deleted.card, deleted.take
    assert "gehört jemand anderem" in await said(await ben.press(card, f"k:delete:{job.id}"))
    asked = await (await anna.press(card, f"k:delete:{job.id}")).answer()
    assert custom_ids(asked) == [f"k:erase:{job.id}"]
    assert await server.application.ledger.job(job.id) is not None
    assert "gehört jemand anderem" in await said(await ben.press(asked, f"k:erase:{job.id}", raw=True))
    assert "really" in await said(await mo.press(card, f"k:delete:{job.id}"))
    await said(await ben.command("take", {"number": f"{job.id}.2"}))
    copy = next(message for message in server.double.messages() if f"k:fav:{job.id}:2" in custom_ids(message))
    assert (await said(await anna.press(asked, f"k:erase:{job.id}"))).startswith(f"#{job.id} ist gelöscht.")
    assert await server.application.ledger.job(job.id) is None
    assert not server.application.spool.folder(job.id).exists()
    assert card.deleted
    assert take.deleted
    assert copy.deleted
    for custom_id in (f"k:again:{job.id}", f"k:vary:{job.id}", f"k:fav:{job.id}", f"k:zip:{job.id}", f"k:report:{job.id}"):
        assert "gibt es nicht mehr" in await said(await ben.press(card, custom_id, raw=True))


async def test_what_is_posted_while_a_piece_is_deleted_goes_with_it(
        server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    anna, world = server.double.member("Della", locale="de"), server.double.world
    piece = await posted(server, anna, "Deleted late")
    ledger, delete = server.application.ledger, server.application.jobs.delete
    late = world.post(Message(world.snowflakes.next(), piece.thread.id, world.bot.id, world, "take 1"))

    async def slowly(job_id: int, member: Asking) -> Job:
        await ledger.take_posted(job_id, 1, late.id)
        return await delete(job_id, member)

    monkeypatch.setattr(server.application.jobs, "delete", slowly)
    with forged(piece.card, f"k:erase:{piece.job.id}"):
        await said(await anna.press(piece.card, f"k:erase:{piece.job.id}"))
    assert late.deleted


async def test_a_report_reaches_the_moderators(server: Server, piece: Piece) -> None:
    mo, anna, job, take = server.double.member("Mo6", moderator=True, locale="en-US"), piece.owner, piece.job, piece.take
    opened = await anna.press(take, f"k:report:{job.id}:2")
    assert "Danke" in await said(await anna.submit(opened, {"reason": "klingt *schief*"}))
    assert rf"<@{anna.id}> **report** #{job.id}.2 · “klingt \*schief\*”" in await said(await mo.command("kapelle audit"))


async def test_menus_of_a_message(server: Server, piece: Piece) -> None:
    ben, anna, job = server.double.member("Menu", locale="en-GB"), piece.owner, piece.job
    card, take = piece.card, piece.take
    assert f"/midi title:A piece & more tokens:512 takes:2 temperature:0.9 engine:pocket seed:{job.seed}" in await said(
        await ben.menu("Copy parameters", card))
    assert "/midi titel:A piece & more" in await said(await anna.menu("Copy parameters", take))
    opened = await ben.menu("Use as template", take)
    assert "it is piece #" in await said(await ben.submit(opened, {"title": "Another", "takes": "1", "temperature": "1.2"}))
    (mine,) = await server.jobs_of(ben.id)
    assert (mine.parameters["title"], mine.parameters["takes"], mine.parameters["temperature"]) == ("Another", 1, 1.2)
    assert mine.parent_id == job.id
    reported = await ben.menu("Report", take)
    assert "Thank you" in await said(await ben.submit(reported, {"reason": "x"}))
    other = ben.say("nothing of ours")
    for name in ("Use as template", "Copy parameters", "Report"):
        assert "Dort ist kein Stück zu sehen" in await said(await anna.menu(name, other))


async def test_forged_buttons_are_refused(piece: Piece) -> None:
    anna, job, card = piece.owner, piece.job, piece.card
    with forged(card, f"k:explode:{job.id}"):
        assert "keiner meiner Knöpfe" in await said(await anna.press(card, f"k:explode:{job.id}"))
    with forged(card, f"k:fav:{job.id}:16"):
        assert "Take 16 lässt sich nicht zeigen" in await said(await anna.press(card, f"k:fav:{job.id}:16"))


async def test_deleting_a_waiting_piece_cancels_it(server: Server, piece: Piece) -> None:
    anna, card = piece.owner, piece.card
    await said(await anna.command("midi", {"title": "Waits"}))
    waiting = (await server.jobs_of(anna.id))[-1]
    assert waiting.state is JobState.QUEUED
    assert all(take.state is TakeState.PENDING for take in waiting.takes)
    with forged(card, f"k:erase:{waiting.id}"):
        assert "ist gelöscht" in await said(await anna.press(card, f"k:erase:{waiting.id}"))
    assert await server.application.ledger.job(waiting.id) is None


async def test_a_piece_in_an_archived_thread_is_deleted_with_its_messages(server: Server) -> None:
    anna = server.double.member("Odette", locale="en-US")
    piece = await posted(server, anna, "Old piece")
    server.double.archive(piece.thread.id)
    with forged(piece.card, f"k:erase:{piece.job.id}"):
        use = await anna.press(piece.card, f"k:erase:{piece.job.id}")
        assert "is deleted" in await said(use)
    assert await server.application.ledger.job(piece.job.id) is None
    assert piece.card.deleted
    assert piece.take.deleted
