"""Blocked words, and how they are dressed up."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.jobs.words import Words, check_word
from models.errors import InputError


@pytest.mark.parametrize("text", [
    "ass", "ASS!", "such an Ass", "á\u0308ss", "\uff41\uff53\uff33", "a\u200bs\u00ads", "\u202eass\u202c", "a55", "4ss",
    "as\u3164s", "\U0001d41a\U0001d42c\U0001d42c", "(ass)", "_ass_", "ass-hat", "ⓐⓢⓢ", "a\ufe0fss", "a\u017fs"])
def test_a_word_is_found_however_it_is_written(text: str) -> None:
    assert Words(["ass"]).found_in(text) == ["ass"]


@pytest.mark.parametrize("text", ["Bass", "assessment", "class", "as s", "K. 455", "", "as", "\u0000"])
def test_words_that_only_hold_it_are_left_alone(text: str) -> None:
    assert Words(["ass"]).found_in(text) == []


def test_a_star_matches_what_begins_so() -> None:
    words = Words(["foo*"])
    assert all(words.found_in(text) for text in ("foo", "Food", "a f00tball", "fóo-bar"))
    assert not any(words.found_in(text) for text in ("fo", "barfoo", "f oo"))


def test_phrases_match_words_in_a_row() -> None:
    words = Words(["bad word", "very bad th*"])
    assert words.found_in("a BAD -- w0rd") == ["bad word"]
    assert words.found_in("very bad things") == ["very bad th*"]
    assert not words.found_in("bad sword, bad very, very bad at things")


def test_a_one_is_an_i_or_an_l() -> None:
    assert Words(["shit", "idiot", "loser"]).found_in("sh1t 1d10t 1oser") == ["shit", "idiot", "loser"]


def test_special_letters_are_folded_on_both_sides() -> None:
    words = Words(["Scheiße", "blöd", "88", "Ægir", "łoś"])
    assert words.found_in("SCHEISSE blod 88 aegir LOS") == ["Scheiße", "blöd", "88", "Ægir", "łoś"]
    assert not words.found_in("BB")


def test_what_looks_like_a_pattern_is_none() -> None:
    words = Words(["(a+)+$", "[b-z]"])
    assert words.found_in("aaaa b") == []
    assert words.found_in("a") == ["(a+)+$"]


@pytest.mark.parametrize("word", ["", " ", "*", "a*", "fo*o", "**", "x" * 51, "!?", "a b c d e f", "a\u200bb", "a\0"])
def test_words_that_cannot_be_blocked_are_named_in_the_error(word: str) -> None:
    with pytest.raises(InputError):
        check_word(word)
    with pytest.raises(InputError):
        Words(["fine", word])


LETTERS = st.text("abcdefghijklmnopqrstuvwxyz", min_size=2, max_size=12)


@given(st.lists(LETTERS, max_size=8), st.lists(LETTERS, max_size=12), st.sampled_from([" ", ", ", "\u200b \u200b", "-"]))
def test_whole_words_are_found_and_nothing_else(blocked: list[str], said: list[str], between: str) -> None:
    dressed = between.join("\u200d".join(word.upper()) for word in said)
    assert Words(blocked).found_in(dressed) == [word for word in dict.fromkeys(blocked) if word in said]


@given(st.lists(LETTERS, max_size=8), st.lists(LETTERS, max_size=12))
def test_beginnings_are_found_and_nothing_else(blocked: list[str], said: list[str]) -> None:
    starred = [f"{word}*" for word in dict.fromkeys(blocked)]
    assert Words(starred).found_in(" ".join(said)) == [
        word for word in starred if any(one.startswith(word[:-1]) for one in said)]


@given(st.text())
def test_any_text_can_be_searched(text: str) -> None:
    assert Words(["word", "wo*"]).found_in(f"{text} word")[0] == "word"


@pytest.mark.parametrize("text", [
    "a" * 100_000, "a " * 50_000, "a\u0327\u0301" * 20_000, "\u0301\u0327" * 50_000, "aaaaaaaaab " * 9_000, "\u200b" * 100_000,
    "\ufdfa" * 5_000])
def test_a_hostile_text_takes_time_by_its_length_only(text: str) -> None:
    """Ten times as long a text takes ten times as long, not a hundred times."""
    words = Words([f"{'a' * (number % 45 + 1)}{number:03}" for number in range(250)]
                  + [f"{'a' * (number % 40 + 2)} {number:03}*" for number in range(250)])

    def seconds(part: str) -> float:
        best = math.inf
        for _ in range(3):
            began = time.process_time()
            words.found_in(part)
            best = min(best, time.process_time() - began)
        return best

    tenth = seconds(text[:len(text) // 10])
    assert seconds(text) < 40 * tenth + 0.02
