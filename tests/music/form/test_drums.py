"""What the drummer is given to play."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest

from models.errors import CheckpointError
from models.music.attributes import FORMS, GENRES, METRES
from models.music.form.drums import Groove, Hit, bar_ticks, choose_groove, read_grooves, shipped_grooves, thinned

ROCK = tuple(sorted([Hit(0, 36, 6), Hit(24, 38, 7), Hit(36, 36, 5), Hit(48, 36, 6), Hit(54, 38, 0), Hit(72, 38, 7),
                     *(Hit(12 * i, 42, 4) for i in range(8))]))


def choose(genre: str | None = None, *forms: str, metre: str = "4/4", bpm: float = 110.0, most: float = 20.0, seed: int = 0,
           swing: bool | None = None) -> Groove:
    groove = choose_groove(genre, forms, metre, bpm, most, random.Random(seed), swing=swing)
    assert groove is not None
    return groove


def several(genre: str | None = None, *forms: str, **asked: Any) -> list[Groove]:
    return [choose(genre, *forms, seed=seed, **asked) for seed in range(12)]


def places(groove: Groove, *pitches: int) -> set[int]:
    return {hit.tick for hit in groove.beats if hit.pitch in pitches}


@pytest.mark.parametrize("metre", METRES)
def test_every_genre_and_form_has_a_groove_within_the_bar_and_the_limit(metre: str) -> None:
    length = bar_ticks(metre)
    for number, name in enumerate((*GENRES, *FORMS, None)):
        for bpm, most in ((40, 1), (60, 3.5), (110, 8), (240, 40)):
            genre, forms = (name, ()) if name in GENRES else (None, (name,) if name else ())
            groove = choose_groove(genre, forms, metre, bpm, most, random.Random(number))
            assert groove is not None
            assert groove.metre == metre
            assert 1 <= len(groove.beats) <= most
            assert 1 <= len(groove.fill) <= 1.5 * most
            for hits in (groove.beats, groove.fill):
                assert all(0 <= hit.tick < length and 35 <= hit.pitch <= 81 and 0 <= hit.velocity <= 7 for hit in hits)
                assert [hit[:2] for hit in hits] == sorted({hit[:2] for hit in hits})


def test_the_same_chance_gives_the_same_groove_and_another_one_others() -> None:
    assert several("rock") == several("rock")
    assert len(set(several("rock"))) > 3


def test_rock_has_its_kick_on_one_and_its_snare_on_two_and_four() -> None:
    grooves = several("rock", bpm=110)
    assert sum(0 in places(groove, 36) for groove in grooves) >= 10
    assert sum({24, 72} <= places(groove, 38) for groove in grooves) >= 8


def test_a_form_overrules_the_genre() -> None:
    assert {groove.style for groove in several("rock", "sonata", "bossa nova")} <= {"bossa", "latin"}
    assert {groove.style for groove in several("classical")} == {"sparse"}


def test_jazz_swings_and_rock_does_not() -> None:
    for groove in several("jazz"):
        assert groove.swing
        assert all(hit.tick % 8 == 0 for hit in groove.beats + groove.fill)
    for groove in several("rock"):
        assert not groove.swing
        assert all(hit.tick % 6 == 0 for hit in groove.beats + groove.fill)
    assert not any(groove.swing for groove in several("jazz", swing=False))


def test_the_tempo_chooses_among_the_bars() -> None:
    slow, fast = several("latin", "latin", bpm=70), several("latin", "latin", bpm=200)
    assert not set(slow) & set(fast)


def test_few_hits_are_asked_for_and_given() -> None:
    for most in (4, 6, 9):
        for groove in several("rock", most=most):
            assert len(groove.beats) <= most
    assert max(len(groove.beats) for groove in several("rock", most=20)) > 9
    bars = {bar.hits for style in ("rock", "punk") for bar in shipped_grooves().beats[style]}
    assert {groove.beats for groove in several("rock", most=10)} <= bars, "a sparse bar is better than a thinned one"


def test_a_waltz_is_low_on_one_and_high_after_it() -> None:
    for groove in several("classical", "waltz", metre="3/4", bpm=170):
        assert places(groove, 36) == {0}
        assert {24, 48} & places(groove, 38, 42, 44, 51)


def test_six_eighths_have_kick_and_snare_on_the_two_pulses() -> None:
    for groove in several("rock", metre="6/8", bpm=120):
        assert 0 in places(groove, 36)
        assert 36 in places(groove, 38)


def test_two_quarters_are_half_of_four() -> None:
    bars = {tuple(hit for hit in bar.hits if hit.tick < 48) for bar in shipped_grooves().beats["rock"]}
    fills = {tuple(hit._replace(tick=hit.tick - 48) for hit in bar.hits if hit.tick >= 48)
             for bar in shipped_grooves().fills["rock"]}
    for groove in several("rock", metre="2/4", most=40):
        assert groove.style != "rock" or groove.beats in bars
        assert groove.style != "rock" or groove.fill in fills
    assert any(groove.style == "rock" for groove in several("rock", metre="2/4", most=40))


def test_twelve_eighths_are_swing_on_eighths() -> None:
    for groove in [*several("jazz", metre="12/8", bpm=180), *several("classical", metre="12/8")]:
        assert all(hit.tick % 6 == 0 for hit in groove.beats)
        assert not groove.swing, "the metre has it already"
    bars = {tuple((hit.tick * 3 // 2, *hit[1:]) for hit in bar.hits)
            for style in ("swing", "jazz") for bar in shipped_grooves().beats[style] if bar.swing}
    assert {groove.beats for groove in several("jazz", metre="12/8", bpm=180)} <= bars


def test_five_quarters_are_three_and_two() -> None:
    for groove in several("rock", metre="5/4", bpm=120):
        assert any(hit.tick < 72 for hit in groove.beats)
        assert any(72 <= hit.tick < 120 for hit in groove.beats)
        assert {hit for hit in groove.fill if hit.tick < 72} == {hit for hit in groove.beats if hit.tick < 72}


@pytest.mark.parametrize("metre", ["7/8", "4/2", "", "four"])
def test_a_metre_that_nothing_fits_has_no_groove(metre: str) -> None:
    assert choose_groove("rock", (), metre, 100, 12, random.Random(0)) is None


def test_thinning_keeps_kick_and_snare_then_hats_as_a_whole() -> None:
    assert thinned(ROCK, 20) == ROCK
    skins = {hit for hit in ROCK if hit.pitch != 42 and hit.velocity}
    assert set(thinned(ROCK, 5)) == skins
    assert set(thinned(ROCK, 8)) == skins | {Hit(54, 38, 0)}, "three of four hats would limp"
    assert set(thinned(ROCK, 9)) == skins | {hit for hit in ROCK if hit.pitch == 42 and hit.tick % 24 == 0}
    assert thinned(ROCK, 1) == (Hit(0, 36, 6),)


def document(**changes: Any) -> dict[str, Any]:
    bars = {"rock": [{"bpm": 100, "swing": False, "hits": [[0, 36, 6], [24, 38, 7], [48, 36, 6], [72, 38, 7]]}]}
    return {"version": 1, "beats": bars, "fills": bars} | changes


def with_bar(**changes: Any) -> dict[str, Any]:
    return document(beats={"rock": [document()["beats"]["rock"][0] | changes]})


def test_a_file_of_grooves_is_read(tmp_path: Path) -> None:
    path = tmp_path / "grooves.json.gz"
    path.write_bytes(gzip.compress(json.dumps(document()).encode()))
    [bar] = read_grooves(path).beats["rock"]
    assert bar.hits == (Hit(0, 36, 6), Hit(24, 38, 7), Hit(48, 36, 6), Hit(72, 38, 7))


@pytest.mark.parametrize("damaged", [
    document(version=2),
    document(beats={}),
    document(fills={"rock": []}),
    document(beats=[1]),
    [],
    with_bar(bpm=0),
    with_bar(bpm="fast"),
    with_bar(swing=1),
    with_bar(hits=[[0, 36, 6], [24, 38, 7]]),
    with_bar(hits=[[0, 36, 6], [24, 38, 7], [24, 38, 5]]),
    with_bar(hits=[[0, 36, 6], [48, 36, 6], [24, 38, 7]]),
    with_bar(hits=[[0, 36, 6], [24, 38, 8], [48, 36, 6]]),
    with_bar(hits=[[0, 36, 6], [25, 38, 7], [48, 36, 6]]),
    with_bar(hits=[[0, 36, 6], [24, 38, 7], [96, 36, 6]]),
    with_bar(hits=[[0, 36, 6], [24, 22, 7], [48, 36, 6]]),
    with_bar(hits=[[0, 36, 6], [24, 38, 7.0], [48, 36, 6]]),
    with_bar(hits=[[0, 36, 6], [24, 38], [48, 36, 6]]),
    with_bar(swing=True, hits=[[0, 36, 6], [12, 38, 7], [48, 36, 6]]),
], ids=str)
def test_a_damaged_file_is_refused(damaged: Any, tmp_path: Path) -> None:
    path = tmp_path / "grooves.json.gz"
    path.write_bytes(gzip.compress(json.dumps(damaged).encode()))
    with pytest.raises(CheckpointError, match="no usable grooves"):
        read_grooves(path)


@pytest.mark.parametrize("data", [b"", b"{}", gzip.compress(b"{"), gzip.compress(json.dumps(document()).encode())[:-9],
                                  gzip.compress(json.dumps(document()).encode() + b" " * (2 << 20))],
                         ids=["empty", "plain", "cut JSON", "cut gzip", "a bomb"])
def test_what_is_no_file_of_grooves_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "grooves.json.gz"
    path.write_bytes(data)
    with pytest.raises(CheckpointError):
        read_grooves(path)
    with pytest.raises(CheckpointError):
        read_grooves(tmp_path / "missing")


def test_the_shipped_file_holds_real_bars_of_every_style_in_use() -> None:
    grooves = shipped_grooves()
    assert {"rock", "pop", "swing", "jazz", "blues", "bossa", "latin", "samba", "reggae", "dance", "hiphop", "country",
            "gospel", "soul", "punk", "neworleans", "march", "afrocuban"} <= set(grooves.beats)
    for style, bars in grooves.beats.items():
        assert 3 <= len(bars) <= 12, style
        assert [len(bar.hits) for bar in bars] == sorted(len(bar.hits) for bar in bars), style
