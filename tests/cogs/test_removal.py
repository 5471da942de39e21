"""What is left of a deleted piece at Discord: nothing that tells its title, as far as permissions go."""

from __future__ import annotations

import io
import json
import zipfile

import pytest

from bot.discord.bundle import with_attached
from bot.jobs.records import Member, Place
from tests.cogs.conftest import Server
from tests.cogs.test_buttons import Piece, forged, posted, said
from tests.discord_double.things import THREAD_CREATED
from tests.discord_double.things import Message as Posted

pytestmark = pytest.mark.asyncio(loop_scope="module")


def notices(server: Server, piece: Piece) -> list[Posted]:
    """Of the piece's thread, in its channel."""
    return [message for message in server.double.messages(piece.thread.parent_id, system=True)
            if message.type == THREAD_CREATED and (message.reference or {}).get("channel_id") == str(piece.thread.id)
            and not message.deleted]


async def erased(server: Server, piece: Piece) -> str:
    with forged(piece.card, f"k:erase:{piece.job.id}"):
        return await said(await piece.owner.press(piece.card, f"k:erase:{piece.job.id}"))


async def test_a_deleted_piece_leaves_no_title(server: Server) -> None:
    piece = await posted(server, server.double.member("Rema", locale="en"), "Never heard of")
    server.double.permissions.allow(piece.thread.parent_id, "manage_messages")
    assert notices(server, piece)
    assert await erased(server, piece) == f"#{piece.job.id} is deleted."
    assert piece.thread.name == f"Kapelle · #{piece.job.id}"
    await server.double.wait_for(lambda: piece.thread.archived)
    assert not notices(server, piece)


async def test_what_may_not_be_removed_is_said(server: Server) -> None:
    piece = await posted(server, server.double.member("Remo", locale="en"), "Never heard of either")
    server.double.permissions.deny(piece.thread.parent_id, "manage_messages")
    told = await erased(server, piece)
    assert "notice in the channel" in told
    assert "moderator can delete it" in told
    assert piece.thread.name == f"Kapelle · #{piece.job.id}"


async def test_a_thread_with_other_pieces_stays_open(server: Server) -> None:
    piece = await posted(server, server.double.member("Remi", locale="en"), "First of two")
    await server.application.jobs.submit(
        "midi", "pocket", {"title": "Second of two", "takes": 1}, Member(server.double.guild.id, piece.owner.id),
        Place(piece.thread.parent_id, piece.thread.id))
    await erased(server, piece)
    assert piece.thread.name == f"Kapelle · #{piece.job.id}"
    assert not piece.thread.archived


@pytest.mark.parametrize("state", ["while it waits", "while it is being made", "when it is done"])
async def test_forgetting_takes_cards_takes_and_names_down(server: Server, state: str) -> None:
    """Also the card of a piece that is being made, which would say so for ever."""
    vera = server.double.member(f"Vera {len(state)}", locale="en")
    title = f"Forgotten {state}"
    if state == "when it is done":
        await posted(server, vera, title)
    else:
        await said(await vera.command("midi", {"title": title}))
        await server.double.wait_for(lambda: [
            thread for thread in server.double.threads() if title in thread.name and any(
                "Waiting" in message.content or "Place" in message.content for message in server.double.messages(thread.id))])
    if state == "while it is being made":
        job, = await server.jobs_of(vera.id)
        await server.application.ledger.mark_running(job.id)
        await server.double.wait_for(lambda: any(
            "Composing" in message.content for thread in server.double.threads() if title in thread.name
            for message in server.double.messages(thread.id)))
    thread = next(thread for thread in server.double.threads() if title in thread.name)
    answer = await (await vera.command("privacy")).answer()
    asked = await (await vera.press(answer, "k:privacy:forget")).answer()
    assert "taken down now" in await said(await vera.press(asked, "k:privacy:erase"))
    await server.double.wait_for(lambda: thread.archived)
    assert title not in thread.name
    assert not [message for message in server.double.messages(thread.id) if not message.deleted and title in message.content]


async def test_the_export_holds_attached_files_as_far_as_they_fit(server: Server) -> None:
    spool, ledger = server.application.spool, server.application.ledger
    member = Member(server.double.guild.id, server.double.member("Expo").id)
    queued = await server.application.jobs.submit(
        "midi", "pocket", {"title": "x", "takes": 1}, member, Place(server.double.channel.id),
        inputs={"continuation": b"MThd" * 100})
    jobs = await ledger.jobs(owner_id=member.user_id)
    packed = await with_attached("kapelle.json", b"{}", jobs, spool, 100_000)
    assert (packed.name, packed.left_out) == ("kapelle.zip", 0)
    with zipfile.ZipFile(io.BytesIO(packed.contents)) as archive:
        assert json.loads(archive.read("kapelle.json")) == {}
        assert archive.read(f"{queued.job.id}-continuation") == b"MThd" * 100
    small = await with_attached("kapelle.json", b"{}", jobs, spool, 5000)
    assert (small.name, small.contents, small.left_out) == ("kapelle.json", b"{}", 1)
