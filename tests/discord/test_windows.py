"""Windows outlive a restart, as buttons do."""

from __future__ import annotations

import pytest

from bot.jobs.records import Job, Member
from tests.discord.conftest import Class
from tests.discord.test_client import serving
from tests.discord_double import Message, Use


async def _opened(kapelle: Class, name: str) -> tuple[Job, Use, Message]:
    """A window over the card of a piece, opened by a bot that is not running any more."""
    async with serving(kapelle):
        job = await kapelle.ask(takes=2)
        await kapelle.make(job)
        await kapelle.until_over(job)
        card = await kapelle.until_card_says(job, "Clair")
        await kapelle.double.wait_for(lambda: card.components)
        anna = kapelle.anna
        opened = await (anna.menu(name, card) if " " in name else anna.press(card, f"k:{name}:{job.id}"))
        await kapelle.double.wait_for(lambda: opened.modal)
    return job, opened, card


@pytest.mark.parametrize(("name", "typed"), [
    ("vary", {"temperature": "0.8", "tokens": "96"}),
    ("Use as template", {"title": "Another", "takes": "1"}),
])
async def test_a_window_that_asks_for_a_piece_outlives_a_restart(kapelle: Class, name: str, typed: dict[str, str]) -> None:
    job, opened, _ = await _opened(kapelle, name)
    async with serving(kapelle):
        sent = await kapelle.anna.submit(opened, typed)
        assert f"#{job.id + 1}" in (await sent.answer()).content
    _, asked = sorted(await kapelle.ledger.jobs(), key=lambda one: one.id)
    assert asked.parent_id == job.id
    for field, value in typed.items():
        assert str(asked.parameters[field]) == value


async def test_a_report_outlives_a_restart(kapelle: Class) -> None:
    _, opened, _ = await _opened(kapelle, "report")
    async with serving(kapelle):
        assert "Thank you" in (await (await kapelle.anna.submit(opened, {"reason": "loud"})).answer()).content


async def test_a_window_of_a_piece_that_is_gone_says_so(kapelle: Class) -> None:
    job, opened, _ = await _opened(kapelle, "vary")
    await kapelle.jobs.delete(job.id, Member(kapelle.double.guild.id, kapelle.anna.id))
    async with serving(kapelle):
        assert "deleted" in (await (await kapelle.anna.submit(opened, {"temperature": "0.8"})).answer()).content


@pytest.mark.parametrize(
    "custom_id", ["k:vary:0", "k:erase:1", "k:vary:1:1:1", "0123456789abcdef", "k:follow:99999999999999999999"])
async def test_a_window_that_is_not_ours_is_refused(kapelle: Class, custom_id: str) -> None:
    _, opened, _ = await _opened(kapelle, "vary")
    assert opened.modal is not None
    opened.modal["custom_id"] = custom_id
    async with serving(kapelle):
        assert "not a button of mine" in (await (await kapelle.anna.submit(opened, {})).answer()).content
