"""What is told of a take's plan: right, and short however long the piece is."""

from __future__ import annotations

import json
import random

import pytest

from bot.takes.forms import LONGEST_LINE, LONGEST_PHRASES, form_of, in_a_line, in_short, phrases
from models.interface.audio import AudioPlan, AudioRequest
from models.interface.midi import ComposeRequest, Plan
from models.music.attributes import Attributes
from models.music.form.grammar import make_plan
from models.music.form.plan import Bar, FormPlan, Section

C, F, G, AM = 0, 5, 7, 21


def form(*sections: tuple[str, tuple[tuple[int, ...], ...]]) -> FormPlan:
    """A plan of sections, each a letter and the chords of its bars; phrases are of two bars."""
    bars: list[Bar] = []
    laid: list[Section] = []
    for letter, chords in sections:
        laid.append(Section(letter, "theme", len(bars), len(chords)))
        bars += [Bar(one, place % 2) for place, one in enumerate(chords)]
    return FormPlan("song", 0, "major", (4, 4), 120.0, tuple(laid), tuple(bars), (), 4.0)


def test_phrases_of_one_letter_are_told_apart_by_their_harmony() -> None:
    away, home, other = ((C,), (G,)), ((C,), (C,)), ((F,), (G,))
    assert phrases(form(("A", away + home), ("B", other), ("A", home), ("A", away), ("coda", ((C,),)))) == "A A' B A' A coda"
    assert phrases(form(("A", away), ("B", away))) == "A B", "letters are told apart without it"


def test_a_line_names_form_length_and_chords() -> None:
    assert in_a_line(form(("A", ((C,), (F, G), (AM,), (C,))))) == "song, 4 bars, A A'; C | F G | Am | C"
    assert in_a_line(form(("A", ((C,),)))) == "song, 1 bar, A; C"


@pytest.mark.parametrize("bars", [1, 3, 64, 512])
@pytest.mark.parametrize("name", ["song", "march", "fugue", "variations", "blues", "rock", "hymn", "rondo", "minuet"])
def test_what_is_told_is_short_however_long_the_piece_is(name: str, bars: int) -> None:
    made = make_plan(
        forms=(name,), genre=None, tonic=3, mode="minor", metre=(4, 4), tempo_bpm=100.0, bars=bars, notes_in_bar=4.0,
        players=(), chance=random.Random(bars))
    short, line = in_short(made), in_a_line(made)
    assert short["bars"] == bars
    assert 0 < len(short["phrases"]) <= LONGEST_PHRASES
    assert len(json.dumps([short] * 16)) < 3000, "the ledger keeps it with each job"
    assert len(line) <= LONGEST_LINE
    assert f", {bars} bar" in line
    assert ("…" in line) == (bars >= 64)
    assert line.removesuffix(" | …").split("; ")[1].split(" | ") == made.as_json()["chords"][:line.count(" | ") + (bars < 64)]


def test_each_take_has_its_own_plan_where_there_are_any() -> None:
    one, other = form(("A", ((C,),))), form(("B", ((C,),)))
    request = ComposeRequest("x", takes=2)
    plan = Plan(request, "pocket", None, None, Attributes(), forms=(one, other))
    assert (form_of(plan, 1), form_of(plan, 2)) == (one, other)
    assert form_of(Plan(request, "la-composer", None, None, Attributes()), 1) is None
    assert form_of(AudioPlan(AudioRequest("x"), "composed"), 1) is None
