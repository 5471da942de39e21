"""What is asked for in a private thread stays there, also once Discord has archived it and the library has forgotten it."""

from __future__ import annotations

import pytest

from bot.jobs.records import Job
from tests.discord.conftest import Class
from tests.discord.test_client import serving
from tests.discord_double import Thread


async def _asked_in(kapelle: Class, thread: Thread) -> Job:
    use = await kapelle.anna.command("midi", {"title": "Between us", "takes": 1}, thread.id)
    assert "Between us" in (await use.answer()).content
    job, = await kapelle.ledger.jobs()
    await kapelle.make(job)
    return await kapelle.until_over(job)


@pytest.mark.parametrize("let_in", [True, False])
@pytest.mark.parametrize("archived", [True, False])
async def test_a_private_thread_stays_private(kapelle: Class, let_in: bool, archived: bool) -> None:
    ben, mo = kapelle.double.member("Ben", locale="en"), kapelle.double.member("Mo", moderator=True, locale="en")
    thread = kapelle.anna.open_thread("between us", private=True)
    if let_in:
        kapelle.anna.let_in(thread)
    async with serving(kapelle):
        job = await _asked_in(kapelle, thread)
        assert job.private is True
    if archived:
        kapelle.double.archive(thread.id)
    async with serving(kapelle):
        told = (await (await ben.command("history", {"whose": "class"})).answer()).content
        assert "Between us" not in told
        told = (await (await ben.command("take", {"number": str(job.id)})).answer()).content
        assert f"no piece #{job.id}" in told.lower() or "no piece" in told.lower()
        assert not [message for message in kapelle.double.messages(kapelle.double.channel.id) if message.attachments]
        for member in (kapelle.anna, mo):
            assert "Between us" in (await (await member.command("history", {"whose": "class"})).answer()).content


async def test_a_public_thread_that_is_archived_stays_public(kapelle: Class) -> None:
    ben = kapelle.double.member("Ben", locale="en")
    thread = kapelle.anna.open_thread("for all")
    async with serving(kapelle):
        job = await _asked_in(kapelle, thread)
        assert job.private is False
    kapelle.double.archive(thread.id)
    async with serving(kapelle):
        assert "Between us" in (await (await ben.command("history", {"whose": "class"})).answer()).content


async def test_the_bot_has_to_be_added_to_a_private_thread(kapelle: Class) -> None:
    """It may answer there, but not post; no moderator can change that with permissions."""
    thread = kapelle.anna.open_thread("between us", private=True)
    async with serving(kapelle):
        await _asked_in(kapelle, thread)
        note, = await kapelle.double.wait_for(lambda: kapelle.double.messages(kapelle.anna.dm.id))
        assert "add me to the thread" in note.content
        assert "permissions" not in note.content
