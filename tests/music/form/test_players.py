"""Who plays what of a line-up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.music.form.grammar import harmony
from models.music.form.plan import Player
from models.music.form.players import RANGES, VOICES, players_of
from models.music.score.programs import CHANNELS

line_ups = st.sets(st.sampled_from(CHANNELS), min_size=1)


def players(*names: str, shares: dict[str, float] | None = None, **named: int) -> dict[str, Player]:
    return {player.instrument: player for player in players_of(names, shares or {}, named)}


@given(line_ups, st.dictionaries(st.sampled_from(CHANNELS), st.floats(-3, 3)))
def test_a_line_up_shares_all_notes_and_everybody_has_some(line_up: set[str], shares: dict[str, float]) -> None:
    found = players_of(line_up, shares)
    assert [player.instrument for player in found] == [name for name in CHANNELS if name in line_up]
    assert sum(player.share for player in found) == pytest.approx(1)
    assert min(player.share for player in found) > 0.25 / len(found) / 2
    roles = [player.role for player in found]
    assert roles.count("melody") == (line_up != {"drums"})
    assert roles.count("bass") <= 1
    assert all((player.role == "rhythm") == (player.instrument == "drums") for player in found)


@pytest.mark.parametrize("name", CHANNELS)
def test_everybody_reaches_more_than_an_octave_and_has_a_voice(name: str) -> None:
    """From any pitch class to any other: a last chord has its root and third somewhere."""
    low, high = RANGES[name]
    assert 0 < low < low + 24 <= high < 128
    assert VOICES[name] >= 1
    [player] = players_of([name], harmony().shares)
    assert (player.low, player.high, player.voices, player.share) == (low, high, VOICES[name], pytest.approx(1))


def test_larger_shares_are_more_notes() -> None:
    found = players("piano", "violin", "flute", shares={"piano": 0.7, "flute": -0.7})
    assert found["piano"].share > found["violin"].share > found["flute"].share
    assert found["piano"].share / found["violin"].share == pytest.approx(2.01, abs=0.02)


def test_somebody_has_the_melody_and_somebody_the_bass() -> None:
    roles = {name: player.role for name, player in players("piano", "violin", "cello", "drums").items()}
    assert roles == {"piano": "inner", "violin": "melody", "cello": "bass", "drums": "rhythm"}
    assert [player.role for player in players("piano").values()] == ["melody"]
    assert {player.role for player in players("flute", "violin").values()} == {"melody", "inner"}
    assert players("guitar", "bass", "drums")["bass"].role == "bass"


def test_a_string_quartet_is_three_upper_strings_and_a_cello() -> None:
    found = players("violin", "cello")
    assert (found["violin"].players, found["cello"].players) == (3, 1)
    assert found["violin"].share > 2 * found["cello"].share * 0.8


def test_in_a_band_some_sit_in_twos_and_whoever_counts_them_is_right() -> None:
    small, large = players("violin", "piano"), players("violin", "piano", "cello", "trumpet", "flute")
    assert (small["violin"].players, large["violin"].players, large["trumpet"].players, large["flute"].players) == (1, 2, 2, 1)
    assert players("violin", "cello", violin=2)["violin"].players == 2
    assert players("trumpet", trumpet=4)["trumpet"].players == 4


def test_many_play_more_in_all_and_less_each() -> None:
    one, four = (players("trumpet", "piano", trumpet=count)["trumpet"] for count in (1, 4))
    assert one.share < four.share < 4 * one.share
    assert four.most_in_quarter == 4 * one.most_in_quarter


@pytest.mark.parametrize(("name", "count", "notes"), [
    ("piano", 1, 3), ("flute", 1, 1), ("trumpet", 4, 4), ("choir", 1, 3), ("drums", 1, 1), ("violin", 3, 3)])
def test_everybody_has_some_of_the_last_chord(name: str, count: int, notes: int) -> None:
    [player] = (one for one in players_of(("bass", name), {}, {name: count}) if one.instrument == name)
    assert player.last_notes == notes
