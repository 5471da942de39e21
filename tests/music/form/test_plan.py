"""What a plan says of itself."""

from __future__ import annotations

import json

import pytest

from models.music.form.chords import NO_CHORD, chord
from models.music.form.drums import Groove, Hit
from models.music.form.plan import Bar, FormPlan, Player, Return, Section, chord_name

PIANO = Player("piano", "melody", 24, 100, 1, 6, 2 / 3)
FLUTES = Player("flute", "inner", 60, 93, 2, 1, 1 / 3)
PLAN = FormPlan(
    "song", 2, "minor", (4, 4), 120.0, (Section("A", "theme", 0, 2), Section("B", "bridge", 2, 1)),
    (Bar((14, 14)), Bar((9, 7), 1, Return(0, 1)), Bar((14, 14), 0, Return(1, 2), cadence=True)), (PIANO, FLUTES), 6.0)


@pytest.mark.parametrize(("root", "quality", "name"), [
    (0, 0, "C"), (6, 1, "F#m"), (11, 2, "Bdim"), (10, 0, "Bb"), (3, 1, "Ebm"), (1, 2, "Dbdim")])
def test_chords_are_named_as_on_lead_sheets(root: int, quality: int, name: str) -> None:
    assert chord_name(chord(root, quality)) == name


def test_no_chord_is_a_line() -> None:
    assert chord_name(NO_CHORD) == "-"
    assert len({chord_name(number) for number in range(NO_CHORD + 1)}) == 37


@pytest.mark.parametrize(("metre", "bpm", "seconds", "units"), [
    ((4, 4), 120.0, 2.0, 2), ((3, 4), 90.0, 2.0, 1), ((6, 8), 60.0, 3.0, 2), ((5, 4), 150.0, 2.0, 1)])
def test_a_bar_has_a_length_and_harmonic_units(metre: tuple[int, int], bpm: float, seconds: float, units: int) -> None:
    plan = FormPlan("song", 0, "major", metre, bpm, (), (), (), 4.0)
    assert plan.bar_seconds == pytest.approx(seconds)
    assert plan.units == units


def test_the_last_chord_is_everybodys() -> None:
    assert PLAN.last_notes == 3 + 2


def test_a_plan_can_be_read() -> None:
    assert json.loads(json.dumps(PLAN.as_json())) == {
        "form": "song",
        "sections": [{"letter": "A", "function": "theme", "first_bar": 1, "bars": 2},
                     {"letter": "B", "function": "bridge", "first_bar": 3, "bars": 1}],
        "chords": ["Dm", "A G", "Dm"],
        "returns": {"2": 1, "3": 2},
        "cadences": [3],
        "players": [{"instrument": "piano", "role": "melody", "lowest": 24, "highest": 100, "players": 1, "voices": 6,
                     "share": 0.667},
                    {"instrument": "flute", "role": "inner", "lowest": 60, "highest": 93, "players": 2, "voices": 1,
                     "share": 0.333}],
        "drums": None,
    }


def test_drums_are_named_by_their_style() -> None:
    groove = Groove("bossa", "4/4", (Hit(0, 36, 5),), (Hit(0, 38, 5),), False)
    assert FormPlan("song", 0, "major", (4, 4), 90.0, (), (), (), 4.0, groove).as_json()["drums"] == "bossa"
