from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rapidfuzz import fuzz, utils

from models.errors import InputError
from models.music.titles import matching
from models.music.titles.matching import LONGEST_TEXT, LOW_SCORE, SEPARATOR, TitleIndex, TitleMatch, in_words

SONGS = [
    "Clair de lune --- Claude Debussy", "Nocturne No. 2, Op. 9 --- Frédéric Chopin", "Stille Nacht --- Franz Gruber",
    "Silent Night --- Franz Gruber", "Careless Love --- Traditional", "Careless Love --- Traditional",
    "Careless Love --- Traditional", "Toccata and Fugue --- J. S. Bach", "The Blue Danube --- Johann Strauss",
]
WORDS = ["love", "night", "moon", "river", "dance", "blue", "golden", "heart", "the", "of", "my", "lonely", "summer",
         "train", "city", "rain", "fire", "dream", "sweet", "road", "home", "angel", "shadow", "wild", "silver"]


def _made_up(count: int) -> list[str]:
    return [" ".join(WORDS[(i * k + k * k) % len(WORDS)] for k in range(1, 3 + i % 4)) + f" {i} --- Band {i % 977}"
            for i in range(count)]


def test_the_song_that_is_named_comes_first() -> None:
    best = TitleIndex(SONGS).match("clair de LUNE!", "Debussy")[0]
    assert (best.number, best.title) == (0, SONGS[0])
    assert not best.low


def test_scores_are_wratio_of_the_whole_query() -> None:
    for match in TitleIndex(SONGS).match("Stille Nacht", "Gruber"):
        expected = fuzz.WRatio("Stille Nacht --- Gruber", match.title, processor=utils.default_process)
        assert match.score == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("title", "artist"), [
    ("lonely river", "Band 7"), ("silver", ""), ("zzz qqq", ""), ("", "Band 9"), ("Ì", ""),
])
def test_a_large_list_gives_the_same_scores_as_scoring_every_entry(title: str, artist: str) -> None:
    songs = _made_up(3000)
    query = " --- ".join(text for text in (title, artist) if text)
    every = sorted((fuzz.WRatio(query, song, processor=utils.default_process) for song in songs), reverse=True)
    assert [match.score for match in TitleIndex(songs).match(title, artist)] == pytest.approx(every[:5], abs=1e-9)


def test_ties_go_to_the_lowest_number_and_with_seeds_to_each_namesake() -> None:
    index = TitleIndex(SONGS)
    assert [match.number for match in index.match("Careless Love", limit=3)] == [4, 5, 6]
    assert index.match("Careless Love", seed=5) == index.match("Careless Love", seed=5)
    assert {index.match("Careless Love", seed=seed)[0].number for seed in range(20)} == {4, 5, 6}


def test_a_shared_word_alone_is_a_low_score_and_said_so() -> None:
    best = TitleIndex(SONGS).match("Night of the living dead soldiers", "")[0]
    assert best.score < LOW_SCORE
    assert "no close match" in in_words(best)
    assert "“Stille Nacht - Franz Gruber” with 86 of 100" in in_words(TitleMatch(0, "Stille Nacht --- Franz Gruber", 85.5))
    assert "no known title" in in_words(TitleMatch(0, "x", 0.0))


@pytest.mark.parametrize(("title", "artist", "entry"), [
    ("Nocturne", "Chopin", "Nocturne, Op. 72 --- Frédéric Chopin"),
    ("Stille Nacht", "Gruber", "Stille Nacht --- Franz Xavier Gruber"),
    ("etude", "F. Chopin", "2me ÉTUDE, Op. 25 --- Frédéric Chopin"),
    ("An die Musik", "Schubert", "An die Musik, D.547 --- Franz Schubert"),
])
def test_a_title_with_its_composers_surname_is_no_chance_match(title: str, artist: str, entry: str) -> None:
    [match] = TitleIndex([entry]).match(title, artist)
    assert match.score < LOW_SCORE
    assert not match.low


@pytest.mark.parametrize(("title", "artist", "entry"), [
    ("Nocturne", "Field", "Nocturne, Op. 72 --- Frédéric Chopin"),
    ("Dream of the river", "Schubert", "Das Rosenband, D.280 --- Franz Schubert"),
    ("Das Lied der Sterne", "Schubert", "Lied --- Franz Schubert"),
    ("die", "Schubert", "An die Musik, D.547 --- Franz Schubert"),
    ("Careless", "Traditional", "Careless Love --- Traditional"),
    ("Gruber", "Stille Nacht", "Stille Nacht --- Franz Xavier Gruber"),
])
def test_a_title_or_a_composer_alone_stays_a_chance_match(title: str, artist: str, entry: str) -> None:
    [match] = TitleIndex([entry]).match(title, artist)
    assert match.low is (match.score < LOW_SCORE)
    assert not match.named


@pytest.mark.parametrize(("title", "artist"), [("", ""), ("  ", "\t\n")])
def test_nothing_to_look_for_is_an_input_error(title: str, artist: str) -> None:
    with pytest.raises(InputError, match="both empty"):
        TitleIndex(SONGS).match(title, artist)


def test_a_limit_of_none_is_an_input_error() -> None:
    with pytest.raises(InputError, match="limit"):
        TitleIndex(SONGS).match("x", limit=0)


def test_an_empty_list_matches_nothing() -> None:
    assert TitleIndex([]).match("x") == []


@pytest.mark.parametrize("text", ["😀😀", "\ud800", "\u202eabc", "../../etc", "\x00\x07", "İ" * 50, "???"])
def test_hostile_text_is_only_a_bad_match(text: str) -> None:
    assert len(TitleIndex(SONGS).match(text, text)) == 5


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=300), st.text(max_size=300))
def test_any_text_gives_ordered_scores_between_0_and_100(title: str, artist: str) -> None:
    try:
        matches = TitleIndex(SONGS).match(title, artist)
    except InputError:
        assert title[:100].strip() == artist[:100].strip() == ""
        return
    scores = [match.score for match in matches]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 100 for score in scores)


def test_ten_thousand_characters_cost_no_more_than_a_title(monkeypatch: pytest.MonkeyPatch) -> None:
    index, looked_for = TitleIndex(_made_up(4000)), []
    score = matching._scores

    def counted(query: str, *more: Any) -> np.ndarray:
        looked_for.append(query)
        return score(query, *more)

    monkeypatch.setattr(matching, "_scores", counted)
    assert index.match("dream " * 10_000, "x" * 10_000) == index.match("dream " * 30, "x" * 200)
    assert max(map(len, looked_for)) <= 2 * LONGEST_TEXT + len(SEPARATOR)
