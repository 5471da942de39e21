"""How pieces are built, and what harmony they are built from."""

from __future__ import annotations

import gzip
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import CheckpointError
from models.music.attributes import FORMS, GENRES, METRES, MODES
from models.music.form.chords import NO_CHORD, degrees_between, transposed, units_in_bar
from models.music.form.grammar import PHRASE, family_of, harmony, make_plan
from models.music.form.plan import FormPlan, Section
from models.music.form.players import players_of
from models.music.score.programs import CHANNELS

FAMILIES: dict[str, tuple[str, ...]] = {
    "song": (), "verses": ("rock",), "strains": ("march",), "minuet": ("minuet",), "hymn": ("hymn",), "rondo": ("rondo",),
    "variations": ("variations",), "fugue": ("fugue",), "round": ("canon",), "blues": ("blues",)}
ENTRIES = ("fugue", "round")  # built of entries, not of phrases
SOME_METRES = [(4, 4), (3, 4), (6, 8), (2, 4), (5, 4)]
D = 2


def planned(
    family: str = "song", bars: int = 16, *, line_up: tuple[str, ...] = ("piano", "flute"), seed: int = 1, **changes: Any,
) -> FormPlan:
    """A plan in D, in 4/4 major unless it says otherwise."""
    asked: dict[str, Any] = {
        "forms": FAMILIES[family], "genre": None, "tonic": D, "mode": "major", "metre": (4, 4), "tempo_bpm": 120.0,
        "notes_in_bar": 8.0}
    return make_plan(**(asked | changes), bars=bars, players=players_of(line_up, {}), chance=random.Random(f"{family} {seed}"))


def home(mode: str) -> int:
    return D + 12 * (mode == "minor")


@pytest.mark.parametrize("metre", SOME_METRES)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_form_has_plans_of_every_length(family: str, metre: tuple[int, int]) -> None:
    for bars in range(1, 61):
        for mode in MODES:
            plan = planned(family, bars, metre=metre, mode=mode, seed=bars)
            assert (plan.name, plan.tonic, plan.mode, plan.metre) == (family, D, mode, metre)
            assert len(plan.bars) == bars
            for number, bar in enumerate(plan.bars):
                assert len(bar.chords) == units_in_bar(*metre)
                assert all(0 <= chord < NO_CHORD for chord in bar.chords)
                assert set(bar.silent) < {"piano", "flute"}
                if bar.returns:
                    assert 0 <= bar.returns.bar < number
                    assert 0 <= bar.returns.level <= 2
            last = plan.bars[-1]
            assert set(last.chords) == {home(mode)}
            assert (last.cadence, last.returns, last.silent) == (True, None, ())
            if bars > 1:
                assert plan.bars[-2].chords[-1] == D + 7, "the dominant"
            begins = [section.first for section in plan.sections]
            ends = [section.first + section.bars for section in plan.sections]
            assert [*begins, bars] == [0, *ends]
            assert min(section.bars for section in plan.sections) > 0
            assert all(section.letter and section.function for section in plan.sections)


def test_a_plan_of_no_bars_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one bar, not 0"):
        planned(bars=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_chance_gives_the_same_plan_and_another_one_others(family: str) -> None:
    line_up = ("piano", "guitar", "bass", "drums")
    assert planned(family, 20, line_up=line_up) == planned(family, 20, line_up=line_up)
    others = {planned(family, 20, line_up=line_up, seed=seed).bars for seed in range(12)}
    assert len(others) >= (4 if family not in (*ENTRIES, "blues") else 1)


@pytest.mark.parametrize("genre", GENRES)
@pytest.mark.parametrize("mode", MODES)
def test_every_genre_and_form_has_harmony(genre: str, mode: str) -> None:
    plans = [planned("song", 24, genre=genre, mode=mode, seed=seed) for seed in range(6)]
    assert len({tuple(bar.chords for bar in plan.bars) for plan in plans}) >= 3
    for form in FORMS:
        assert len(planned(bars=24, forms=(form,), genre=genre, mode=mode).bars) == 24


@pytest.mark.parametrize("family", FAMILIES)
def test_another_key_is_the_same_plan_elsewhere(family: str) -> None:
    for mode in MODES:
        one, other = (planned(family, 24, mode=mode, tonic=tonic) for tonic in (0, 5))
        for bar, moved in zip(one.bars, other.bars, strict=True):
            assert moved == replace(bar, chords=tuple(transposed(np.array(bar.chords), 5).tolist()))


@pytest.mark.parametrize("family", [name for name in FAMILIES if name not in ENTRIES])
def test_a_bar_that_is_to_be_much_alike_has_the_chords_of_the_one_it_brings_back(family: str) -> None:
    """But for the end of a phrase, which may be another one, and the last two bars; a sequence is as many steps away as its
    chords are."""
    alike = sequences = 0
    for bars in range(1, 61):
        for mode in MODES:
            plan = planned(family, bars, mode=mode, seed=bars)
            for number, bar in enumerate(plan.bars[:-2]):
                if bar.returns is None or not bar.returns.level:
                    continue
                before = plan.bars[bar.returns.bar]
                if bar.returns.degrees:
                    sequences += 1
                    assert bar.returns.degrees == degrees_between(before.chords[0], bar.chords[0], D, mode)
                elif family == "blues" or bar.phrase_bar < PHRASE - 2:
                    alike += 1
                    assert bar.chords == before.chords, (bars, mode, number)
                    assert bar.phrase_bar == before.phrase_bar
    assert alike > 100
    assert bool(sequences) == (family in ("song", "verses", "strains", "minuet", "hymn", "rondo"))


@pytest.mark.parametrize("family", [name for name in FAMILIES if name not in ENTRIES])
def test_a_section_comes_back_bar_by_bar(family: str) -> None:
    """Sections of one letter are the same music: every bar of the second brings back one of the first, but for endings.

    The last chorus of a blues may be a shorter one.
    """
    found = 0
    for bars in range(8, 61):
        plan = planned(family, bars, seed=bars)
        first: dict[str, Section] = {}
        for section in plan.sections:
            original = first.setdefault(section.letter, section)
            if original is section or (family == "blues" and section.bars != original.bars):
                continue
            for bar in plan.bars[section.first:section.first + section.bars]:
                if bar.phrase_bar < (section.bars - 2 if family == "blues" else PHRASE - 1):
                    assert bar.returns is not None
                    assert original.first <= bar.returns.bar < section.first
                    found += 1
    assert found > 100


def test_a_return_of_another_letter_is_something_else() -> None:
    for seed in range(20):
        plan = planned("song", 16, seed=seed)
        sections = {section.letter: [bar.chords for bar in plan.bars[section.first:section.first + PHRASE]]
                    for section in plan.sections}
        assert set(sections) == {"A", "B"}
        assert sections["A"] != sections["B"]


@pytest.mark.parametrize(("family", "bars", "letters"), [
    ("song", 32, "AABA"), ("rondo", 20, "ABACA"), ("strains", 28, "ABTA"), ("minuet", 24, "ATA"), ("hymn", 8, "AB")])
def test_forms_have_the_sections_they_are_known_for(family: str, bars: int, letters: str) -> None:
    """Strains and the parts of a song are eight bars; here repeats count as one section."""
    found = "".join(section.letter for section in planned(family, bars).sections)
    assert found.replace("AA", "A" if letters[:2] != "AA" else "AA") == letters


def test_what_is_left_over_is_a_coda() -> None:
    plan = planned("song", 19)
    assert [(section.letter, section.bars) for section in plan.sections][-1] == ("coda", 3)
    assert len(planned("song", 3).sections) == 1
    assert planned("song", 3).sections[0].letter == "A"


def test_phrases_come_to_rest_and_are_led_over_from() -> None:
    plan = planned("song", 16)
    ends = [number for number, bar in enumerate(plan.bars) if bar.fill]
    assert ends == [3, 7, 11, 15]
    assert {number for number, bar in enumerate(plan.bars) if bar.cadence} <= set(ends)
    assert plan.bars[7].cadence
    assert plan.bars[7].chords == (D, D)
    assert plan.bars[6].chords[-1] == D + 7
    assert plan.bars[3].chords[-1] != D, "the first phrase is left open"


@pytest.mark.parametrize("mode", MODES)
def test_a_trio_stands_a_fourth_higher(mode: str) -> None:
    for family in ("strains", "minuet"):
        for genre in (None, *GENRES):
            plan = planned(family, 28, mode=mode, genre=genre)
            trio = [section for section in plan.sections if section.function == "trio"]
            assert trio
            first, last = plan.bars[trio[0].first], plan.bars[trio[-1].first + trio[-1].bars - 1]
            assert first.chords[0] == home(mode) + 5
            assert set(last.chords) == {home(mode) + 5}


@pytest.mark.parametrize(("bars", "choruses"), [(12, [12]), (24, [12, 12]), (20, [12, 8]), (9, [9]), (5, [5])])
@pytest.mark.parametrize("mode", MODES)
def test_blues_has_its_roots(bars: int, choruses: list[int], mode: str) -> None:
    plan = planned("blues", bars, mode=mode)
    assert [section.bars for section in plan.sections] == choruses
    roots = [(bar.chords[0] - D) % 12 for bar in plan.bars]
    whole = [0, 0, 0, 0, 5, 5, 0, 0, 7, 5, 0, 7]
    wanted = [root for count in choruses for root in (whole[-count:] if count < 8 else whole[:count])]
    assert roots[:-2] == wanted[:-2]
    assert all((chord >= 12) == (mode == "minor" and (chord - D) % 12 != 7) for bar in plan.bars for chord in bar.chords)
    if bars == 24:
        assert [bar.returns.bar for bar in plan.bars[12:22] if bar.returns] == list(range(10))


@pytest.mark.parametrize(("forms", "genre", "family"), [
    ((), None, "song"), ((), "pop", "verses"), ((), "sacred", "hymn"), (("waltz",), "pop", "strains"),
    (("nocturne", "blues"), "pop", "blues"), (("nocturne",), None, "song"), (("canon", "fugue"), None, "round"),
    (("scherzo",), None, "minuet")])
def test_a_form_goes_before_a_genre(forms: tuple[str, ...], genre: str | None, family: str) -> None:
    assert family_of(forms, genre) == family


def test_drums_have_a_pattern_where_there_are_drums() -> None:
    band = ("guitar", "bass", "drums")
    for beats, unit in (map(int, metre.split("/")) for metre in METRES):
        plan = planned("verses", 8, line_up=band, metre=(beats, unit))
        assert plan.groove is not None
        assert plan.groove.metre == f"{beats}/{unit}"
    assert planned("verses", 8).groove is None
    few, many = (planned("verses", 8, line_up=band, notes_in_bar=notes).groove for notes in (4.0, 60.0))
    assert few is not None
    assert many is not None
    assert len(few.beats) <= 4 < len(many.beats)


# Entries, one after the other

QUARTET = ("violin", "cello", "flute", "clarinet")  # from the highest to the lowest: flute, violin, clarinet, cello


def playing(plan: FormPlan) -> list[set[str]]:
    return [set(QUARTET) - set(bar.silent) for bar in plan.bars]


@pytest.mark.parametrize("family", ENTRIES)
def test_voices_come_in_one_by_one_and_take_up_what_the_first_had(family: str) -> None:
    plan = planned(family, 16, line_up=QUARTET)
    assert [len(names) for names in playing(plan)] == [1, 1, 2, 2, 3, 3, *[4] * 10]
    assert all(earlier <= later for earlier, later in zip(playing(plan), playing(plan)[1:], strict=False))
    heard = playing(plan)[0]
    for bar in range(2, 8):
        returns = plan.bars[bar].returns
        assert returns is not None
        heirs = {heir for _, heir in returns.voices}
        new = playing(plan)[bar] - playing(plan)[bar - 2]
        assert new <= heirs
        assert returns.bar == (bar % 2 if family == "fugue" else bar - 2)
        assert {one for one, _ in returns.voices} & playing(plan)[returns.bar], "somebody played what is taken over"
        heard |= heirs
    assert heard == set(QUARTET)


def test_a_fugue_answers_a_fifth_higher_and_a_round_as_it_is() -> None:
    fugue, round_ = (planned(family, 16, line_up=QUARTET) for family in ENTRIES)
    assert [bar.returns and bar.returns.degrees for bar in fugue.bars[:8]] == [None, None, 4, 4, 0, 0, 4, 4]
    assert {bar.returns.degrees for bar in round_.bars if bar.returns} == {0}
    assert fugue.bars[2].chords[0] == D + 7


def test_a_single_player_takes_up_the_subject_in_other_octaves() -> None:
    plan = planned("fugue", 12, line_up=("piano",))
    assert not any(bar.silent for bar in plan.bars)
    assert [bar.most_at_once for bar in plan.bars[:6]] == [1, 1, 2, 2, 3, 3]
    assert plan.bars[-1].most_at_once == 0
    assert len({bar.returns.degrees for bar in plan.bars[:6] if bar.returns}) == 2


@pytest.mark.parametrize("family", ENTRIES)
@pytest.mark.parametrize("line_up", [("piano",), ("violin", "cello"), QUARTET, CHANNELS, ("drums",), ("flute", "drums")])
def test_entries_suit_every_line_up(family: str, line_up: tuple[str, ...]) -> None:
    melodic = set(line_up) - {"drums"}
    for bars in (1, 3, 4, 5, 8, 9, 30):
        plan = planned(family, bars, line_up=line_up)
        for bar in plan.bars:
            assert not bar.silent or set(bar.silent) < melodic
            assert {name for pair in (bar.returns.voices if bar.returns else ()) for name in pair} <= melodic


@pytest.mark.parametrize("family", ENTRIES)
@pytest.mark.parametrize("line_up", [("violin", "cello"), QUARTET, CHANNELS])
def test_everybody_has_come_in_before_the_end(family: str, line_up: tuple[str, ...]) -> None:
    assert planned(family, 30, line_up=line_up).bars[-2].silent == ()


@pytest.mark.parametrize("family", ENTRIES)
@pytest.mark.parametrize("bars", [4, 6, 16])
def test_whoever_takes_over_has_come_in(family: str, bars: int) -> None:
    plan = planned(family, bars, line_up=QUARTET)
    for bar in plan.bars:
        for one, other in bar.returns.voices if bar.returns else ():
            assert bar.returns
            assert one in plan.bars[bar.returns.bar].silent or other not in bar.silent


# The file


def test_the_shipped_harmony_is_complete() -> None:
    counted = harmony()
    assert set(counted.phrases) == set(MODES)
    for mode in MODES:
        assert {"classical", "song book"} <= set(counted.phrases[mode])
        for phrases in counted.phrases[mode].values():
            for phrase, pieces in phrases:
                assert len(phrase) == 2 * PHRASE
                assert all(0 <= chord < NO_CHORD for chord in phrase)
                assert pieces >= 1
    assert set(counted.shares) == set(CHANNELS)
    assert set(GENRES) | {"all"} == set(counted.notes)


def test_how_many_notes_are_usual_is_known_of_every_genre_and_number_of_players() -> None:
    counted = harmony()
    for genre in (*GENRES, None, "polka"):
        rates = [counted.notes_in_quarter(genre, count) for count in range(13)]
        assert min(rates) > 0.5
        assert rates[0] == rates[1]
        assert len(set(rates[5:])) == 1
    assert counted.notes_in_quarter("classical", 2) != counted.notes_in_quarter("folk", 2) == counted.notes_in_quarter(None, 2)


def document(**changes: Any) -> dict[str, Any]:
    return {"version": 1, "phrases": {mode: {"classical": [[0, 0, 5, 5, 7, 7, 0, 0, 4]]} for mode in MODES},
            "shares": {"piano": 0.5}, "notes": {"all": [1, 2, 3, 4, 5]}} | changes


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "harmony.json.gz"
    path.write_bytes(gzip.compress(json.dumps(document()).encode()))
    counted = harmony(path)
    assert counted.phrases["minor"]["classical"] == (((0, 0, 5, 5, 7, 7, 0, 0), 4),)
    assert counted.shares == {"piano": 0.5}
    assert counted.notes_in_quarter("jazz", 3) == 3


@pytest.mark.parametrize("data", [
    b"", b"{}", gzip.compress(b"{"), gzip.compress(json.dumps(document()).encode())[:-9], gzip.compress(b"\xff\xfe"),
    gzip.compress(b" " * (5 << 20) + json.dumps(document()).encode()),
    gzip.compress(b"[]"),
    *(gzip.compress(json.dumps(one).encode()) for one in (
        {}, document(version=2), document(phrases=[]), document(phrases={"major": 7}), document(shares=["piano"]),
        document(phrases={"major": {"classical": [[0, "C"]]}}), document(shares={"piano": "much"}), document(notes=None),
        document(notes={"all": 3}))),
], ids=lambda data: str(len(data)))
def test_a_damaged_file_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "harmony.json.gz"
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"harmony\.json\.gz is damaged"):
        harmony(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="missing"):
        harmony(tmp_path / "missing")
