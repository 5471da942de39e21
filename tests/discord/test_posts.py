from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.discord.posts import (
    LONGEST_CONTENT,
    Post,
    card_nonce,
    file_names,
    holds_take,
    is_card,
    note_nonce,
    take_nonce,
    take_post,
    thread_name,
    thread_tail,
)
from bot.takes.spool import Spool
from tests.discord.building import FILES, job, sound, take

MIB = 2**20


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    spool = Spool(tmp_path)
    folder = spool.folder(12)
    folder.mkdir()
    (folder / "take-1.mid").write_bytes(b"MThd")
    (folder / "take-1.ogg").write_bytes(sound(2))
    (folder / "take-1.png").write_bytes(b"\x89PNG" * 100)
    return spool


def message(*files: str, nonce: str | None = None, content: str = "") -> Any:
    return SimpleNamespace(
        nonce=nonce, content=content, attachments=[SimpleNamespace(filename=file) for file in files])


async def test_a_take_is_sound_midi_and_a_described_picture(spool: Spool) -> None:
    post = await take_post(job(), take(), spool, 10 * MIB)
    assert [file.name for file in post.attachments] == [
        "clair-de-lune-debussy-12-take-1.ogg", "clair-de-lune-debussy-12-take-1.mid", "clair-de-lune-debussy-12-take-1.png"]
    assert post.attachments[1].data == b"MThd"
    assert [bool(file.alt_text) for file in post.attachments] == [False, False, True]
    assert "20 notes" in str(post.attachments[2].alt_text)
    assert "```" in post.content
    assert "seed:7" in post.content
    assert post.largest is not None
    assert len(post.largest.data) == _size(post)


async def test_files_can_be_sent_again_after_a_failed_try(spool: Spool) -> None:
    post = await take_post(job(), take(), spool, 10 * MIB)
    for file in post.files():
        file.close()  # as the library does after every try
    assert [file.fp.read() for file in post.files()] == [file.data for file in post.attachments]


def _size(post: Post) -> int:
    return max(len(file.data) for file in post.attachments)


async def test_a_sound_that_has_to_be_smaller_takes_no_picture_away(spool: Spool) -> None:
    """Discord found the sound too large; the picture is smaller than that, and larger than what the sound is to become."""
    picture = b"\x89PNG" * 9000
    (spool.folder(12) / "take-1.png").write_bytes(picture)
    post = await take_post(job(), take(), spool, 10 * MIB, sound_limit=20_000)
    assert picture in [file.data for file in post.attachments]
    assert len(post.attachments[0].data) <= 20_000


async def test_what_does_not_fit_is_made_smaller_or_left_out_and_said(spool: Spool) -> None:
    whole = await take_post(job(), take(), spool, 10 * MIB)
    smaller = await take_post(job(), take(), spool, int(_size(whole) * 0.8))
    assert [file.name for file in smaller.attachments] == [file.name for file in whole.attachments]
    assert _size(smaller) <= _size(whole) * 0.8
    assert smaller.content == whole.content
    least = await take_post(job(), take(), spool, 100)
    assert [Path(file.name).suffix for file in least.attachments] == [".mid"]
    assert len(least.content.splitlines()) == len(whole.content.splitlines()) + 2


async def test_the_message_is_in_the_language_that_is_asked_for(spool: Spool) -> None:
    for post in (await take_post(job(), take(), spool, 10 * MIB, language="de"),
                 await take_post(job(language="de"), take(), spool, 10 * MIB)):
        assert "20 Noten" in post.content
        assert "20 Noten" in str(post.attachments[2].alt_text)


async def test_files_that_are_gone_are_an_error(spool: Spool) -> None:
    with pytest.raises(FileNotFoundError):
        await take_post(job(id=13), take(), spool, 10 * MIB)


@given(title=st.text(max_size=80), artist=st.text(max_size=80))
def test_names_of_threads_and_files_are_harmless(title: str, artist: str) -> None:
    asked = job(parameters={**job().parameters, "title": title, "artist": artist})
    name = thread_name(asked)
    assert 1 <= len(name) <= 100
    assert name.endswith(" · #12")
    assert not set(name) & set("@<>`*~|\\\n\u202e\u200b")
    for kind, file in file_names(asked, take()).items():
        assert file.isascii()
        assert file.endswith(f"-12-take-1{Path(FILES[kind]).suffix}")
        assert not set(file) & set("/\\ \n")


def test_a_piece_without_a_visible_name_gets_one() -> None:
    assert thread_name(job(parameters={"title": "\u200b**", "artist": ""})) == "Kapelle · #12"


def test_a_long_name_keeps_the_number() -> None:
    name = thread_name(job(parameters={"title": "x" * 80, "artist": "y" * 80}))
    assert len(name) == 100
    assert name.endswith(thread_tail(12))


@given(
    st.integers(1, 2**31 - 1), st.integers(1, 16), st.integers(1, 2**31 - 1), st.integers(1, 16),
    st.none() | st.integers(1, 2**63))
def test_nonces_tell_everything_apart(one: int, take_one: int, other: int, take_other: int, card: int | None) -> None:
    first, second = job(id=one), job(id=other)
    assert len(take_nonce(first, take_one)) <= 25
    assert (take_nonce(first, take_one) == take_nonce(second, take_other)) == ((one, take_one) == (other, take_other))
    assert take_nonce(first, take_one) != card_nonce(second, card)


def test_a_nonce_fits_for_ever() -> None:
    """With the largest of Discord's ids, and sixty million jobs."""
    assert len(card_nonce(job(id=60_000_000), 2**63 - 1)) <= 25


@given(st.integers(1, 59_999_999))
def test_the_same_number_in_another_ledger_has_other_nonces(microseconds: int) -> None:
    other = job(created_at=job().created_at + timedelta(microseconds=microseconds))
    assert take_nonce(job(), 1) != take_nonce(other, 1)
    assert card_nonce(job(), None) != card_nonce(other, None)
    assert note_nonce(job()) != note_nonce(other)


def test_a_take_is_known_by_its_nonce_or_its_files() -> None:
    assert holds_take(message(nonce=take_nonce(job(), 1)), job(), 1)
    assert holds_take(message("x.ogg", "clair-de-lune-12-take-1.mid"), job(), 1)
    for file in ("a-12-take-1.mid", "a-12-take-1-3-take-11.mid", "12-take-1.mid.exe"):
        assert not holds_take(message(file), job(id=2), 1)
        assert not holds_take(message(file), job(id=3), 1)
    assert not holds_take(message("a-12-take-1.mid"), job(), 2)
    assert not holds_take(message(nonce=take_nonce(job(), 1)), job(), 2)


def test_a_card_is_known_by_its_first_line() -> None:
    from bot.messages import pieces

    for name in ("Clair de lune", "x · #13 · <@4>"):
        card = pieces.card(job(parameters={**job().parameters, "title": name}), None, (), "de")
        assert is_card(message(content=card), 12)
        assert not is_card(message(content=card), 13)
    assert not is_card(message("a-12-take-1.mid", content="a · #12 · b"), 12)


def test_messages_stay_within_discords_length() -> None:
    from bot.discord.posts import _joined

    assert _joined(["a" * 1999, "too much"]) == "a" * 1999
    assert len(_joined(["a" * 1000, "b" * 999, "c"])) == LONGEST_CONTENT
    assert _joined(["", "a", "", "b"]) == "a\nb"
