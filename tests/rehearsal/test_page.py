"""The rehearsal's page shows what a student sees."""

from __future__ import annotations

from pathlib import Path

from tests.discord_double import DiscordDouble
from tests.rehearsal.__main__ import shown_of
from tests.rehearsal.page import Scene, write_page


async def test_the_page_shows_who_was_added_to_the_thread(tmp_path: Path) -> None:
    double = DiscordDouble(tmp_path)
    anna, kapelle = double.member("Anna <3"), double.member("Kapelle")
    thread = kapelle.open_thread("Clair & Co")
    kapelle.let_in(thread, anna)
    kapelle.say("take 1", thread.id)
    names = {anna.id: anna.name, kapelle.id: kapelle.name}
    scene = Scene("Anna", "/midi", thread.name, shown_of(double, thread))
    page = write_page(tmp_path / "page", "Rehearsal", "", [scene], names).read_text(encoding="utf-8")
    opened = page.index('<span class="name">Kapelle</span> started a thread: Clair &amp; Co')
    added = page.index('<span class="name">Kapelle</span> added Anna &lt;3 to the thread.')
    assert opened < added < page.index("take 1")
