from __future__ import annotations

import subprocess
import sys

import pytest

from bot.jobs.titles import Titles


@pytest.fixture(scope="module")
def titles() -> Titles:
    return Titles()


def test_beginnings_of_words_are_found_in_title_and_artist(titles: Titles) -> None:
    found = titles.suggest("chopin noct", 10)
    assert len(found) == 10
    assert all("octurne" in title and "Chopin" in artist for title, artist in found)
    assert titles.suggest("clar", 3)[0][0].startswith("Clar")


def test_what_is_misspelt_is_found_by_likeness(titles: Titles) -> None:
    assert titles.suggest("Clarinet concreto, KV 622")[0][0] == "Clarinet concerto, KV 622"


@pytest.mark.parametrize("text", ["", " ", "(*[", "\\", "日本語", "x" * 6000])
def test_what_cannot_be_looked_for_suggests_little_and_raises_nothing(titles: Titles, text: str) -> None:
    assert len(titles.suggest(text, 5)) <= 5


def test_each_pair_comes_once(titles: Titles) -> None:
    found = titles.suggest("prelude")
    assert len(set(found)) == len(found) == 25


def test_the_bot_loads_no_torch_for_it() -> None:
    code = ("import bot.application, bot.discord.client, bot.jobs.titles, sys; bot.jobs.titles.Titles(); "
            "sys.exit('torch' in sys.modules)")
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
