from __future__ import annotations

import io
import json
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import mido
import numpy as np
import pytest

from models.engines.pocket.engine import PocketEngine, complete, fitting, on_grid, steady
from models.engines.pocket.steering import Strengths
from models.engines.pocket.titles import load_titles
from models.engines.pocket.weights import SHIPPED, save_pocket
from models.errors import CheckpointError, InputError
from models.interface.midi import ComposeRequest, Plan, Take
from models.music.attributes import Attributes
from models.music.score.measures import channels
from models.music.score.midi import read_midi, write_midi
from models.music.score.parts import SHORTEST_MS
from models.music.vocabulary.los_angeles import (
    CHANNEL_COUNT,
    DURATION,
    NO_DRUMS,
    PITCH,
    START,
    WITH_DRUMS,
    decode,
    decode_events,
    encode,
)
from tests.engines.pocket.building import small_network


@cache
def engine() -> PocketEngine:
    return PocketEngine(small_network(), load_titles())


def composed(request: ComposeRequest) -> tuple[Plan, list[Take]]:
    plan = engine().plan(request)
    sequences = engine().sequences(plan)
    for sequence in sequences:
        engine().batcher.add(sequence)
    takes = []
    while engine().batcher.busy:
        takes += [engine().take(plan, sequence) for sequence in engine().batcher.step()]
    return plan, sorted(takes, key=lambda take: take.number)


def request(title: str = "Waltz for flute and piano in D minor, 100 bpm", artist: str = "", **changes: Any) -> ComposeRequest:
    return ComposeRequest(title, artist, **{"tokens": 96, "takes": 2, "seed": 4, **changes})


def test_a_plan_says_what_was_matched_and_where_attributes_are_from() -> None:
    plan = engine().plan(request("Nocturne, Op. 72", "Frédéric Chopin"))
    assert plan.engine == "pocket"
    assert plan.matched_title is not None
    assert "hopin" in plan.matched_title
    assert plan.matched_score is not None
    assert 86 <= plan.matched_score <= 100
    assert plan.attributes.composer == "chopin"
    assert "nocturne" in plan.attributes.forms
    assert plan.notices == ()


def test_what_a_request_states_is_what_is_asked_of_the_network() -> None:
    plan = engine().plan(request())
    attributes = plan.attributes
    assert (attributes.tonic, attributes.mode, attributes.metre, attributes.tempo_bpm) == (2, "minor", "3/4", 100.0)
    for steering, form in zip(plan.steering, plan.forms, strict=True):
        assert steering.form is form
        assert {player.instrument for player in form.players} == set(steering.attributes.instruments) == {"piano", "flute"}
        assert steering.notes == 32
        assert (form.tonic, form.mode, form.metre, form.tempo_bpm) == (2, "minor", (3, 4), 100.0)
        assert replace(steering.attributes, density=None, forms=()) == replace(attributes, density=None, forms=())
    assert plan.sources["instruments"] == plan.sources["tempo_bpm"] == plan.sources["key"] == "stated"


def test_a_title_that_nobody_knows_is_said_to_be_unknown() -> None:
    plan = engine().plan(request("xqzjv kwpfy"))
    [notice] = plan.notices
    assert "no " in notice


def test_a_known_song_by_its_composers_surname_lends_what_is_known_of_it() -> None:
    plan = engine().plan(request("Stille Nacht", "Gruber"))
    assert plan.matched_title == "Stille Nacht --- Franz Xavier Gruber"
    assert plan.sources["metre"] == plan.sources["key"] == "title"
    assert plan.notices == ()


@pytest.mark.parametrize(("title", "artist"), [
    ("Nocturne", "Chopin"), ("Nocturne", ""), ("a sad song for flute", ""), ("Jazz in D minor", ""), ("", "Chopin")])
def test_what_describes_music_is_not_looked_for_among_titles(title: str, artist: str) -> None:
    plan = engine().plan(request(title, artist))
    assert "title" not in plan.sources.values()
    assert (plan.matched_title, plan.notices) == (None, ())


@pytest.mark.parametrize(("title", "artist", "said"), [
    ("Clair de lune", "Debussy", "new, in the style of Debussy"),
    ("Clair de lune", "Claude Debussy", "style of Claude Debussy"),
    ("Bohemian Rhapsody", "Queen", "all new")])
def test_a_title_that_is_not_known_is_said_once_and_kindly(title: str, artist: str, said: str) -> None:
    plan = engine().plan(request(title, artist))
    notice, = plan.notices
    assert said in notice
    assert "nearest" not in notice
    assert plan.matched_title is None


@pytest.mark.parametrize(("tokens", "notes"), [(32, 10), (33, 11), (96, 32), (200, 66)])
def test_takes_are_no_longer_than_was_asked_for_and_end_with_their_plan(tokens: int, notes: int) -> None:
    plan, takes = composed(request(tokens=tokens, takes=3))
    assert [take.number for take in takes] == [1, 2, 3]
    for take, steering, form in zip(takes, plan.steering, plan.forms, strict=True):
        assert take.ids[:take.prime_length] == steering.prime == (START, NO_DRUMS, CHANNEL_COUNT + 2)
        assert (len(take.ids) - take.prime_length) / 3 == len(take.score)
        assert 0 < len(take.score) <= notes
        last = take.score.notes["onset_ms"].max()
        assert last == pytest.approx(1000 * (len(form.bars) - 1) * form.bar_seconds, abs=1)
        assert take.prime_seconds is None
    assert len({take.ids for take in takes}) == 3


@pytest.mark.parametrize("title", [
    "Waltz for flute and piano", "Song for guitar, bass and drums", "Flute solo", "String quartet"])
def test_the_shortest_take_is_more_than_a_last_chord(title: str) -> None:
    plan, takes = composed(request(title, tokens=32, takes=3))
    for take, form in zip(takes, plan.forms, strict=True):
        assert len(form.bars) > 1
        assert take.score.notes["onset_ms"].max() > 0


def test_each_take_has_a_plan_of_its_own_and_the_seed_decides_on_it() -> None:
    plan, same, other = (engine().plan(request(tokens=600, takes=4, seed=seed)) for seed in (4, 4, 5))
    assert plan.forms == same.forms
    assert len({form.bars for form in plan.forms}) > 1
    assert plan.forms != other.forms
    assert engine().plan(request(tokens=600, takes=2)).forms == plan.forms[:2]


def test_bars_may_be_asked_for() -> None:
    plan, [take] = composed(request(tokens=300, takes=1, bars=7))
    [form] = plan.forms
    assert len(form.bars) == 7
    assert take.score.notes["onset_ms"].max() == pytest.approx(1000 * 6 * form.bar_seconds, abs=1)
    crowded, usual, more = (engine().plan(request(tokens=tokens, takes=1, bars=7)).forms[0] for tokens in (120, 900, 1800))
    assert crowded.notes_in_bar < usual.notes_in_bar == more.notes_in_bar, "more notes than bars hold are left over"


def test_bars_that_the_notes_cannot_reach_the_end_of_are_refused() -> None:
    with pytest.raises(InputError, match=r"200 bars at 100 bpm need at least \d+ tokens, not 96"):
        engine().plan(request(bars=200))
    with pytest.raises(InputError) as refused:
        engine().plan(request(bars=40, takes=1))
    tokens = int(str(refused.value).split("at least ")[1].split(" tokens")[0])
    plan, [take] = composed(request(bars=40, takes=1, tokens=tokens))
    assert take.score.notes["onset_ms"].max() == pytest.approx(1000 * 39 * plan.forms[0].bar_seconds, abs=1)


@pytest.mark.parametrize(("title", "family"), [
    ("Waltz for piano", "strains"), ("Blues for piano", "blues"), ("Fugue for organ", "fugue"), ("Rondo", "rondo")])
def test_the_form_is_the_one_that_was_asked_for(title: str, family: str) -> None:
    assert engine().plan(request(title, tokens=600)).forms[0].name == family


def test_longer_takes_have_more_bars_and_about_as_many_notes_in_each() -> None:
    short, long = (engine().plan(request(tokens=tokens)).forms[0] for tokens in (300, 1500))
    assert len(long.bars) > 3 * len(short.bars)
    assert long.notes_in_bar == pytest.approx(short.notes_in_bar, rel=0.4)


def test_the_score_is_what_the_ids_say() -> None:
    """But for notes that end where their player begins another one."""
    for take in composed(request())[1]:
        plain = decode(take.ids).notes
        for name in ("onset_ms", "pitch", "velocity", "program", "drum"):
            assert np.array_equal(take.score.notes[name], plain[name])
        assert (take.score.notes["duration_ms"] <= plain["duration_ms"]).all()


def test_everybody_has_a_part_and_a_flute_plays_one_note_at_once() -> None:
    for take in composed(request(tokens=300))[1]:
        assert take.score.parts == ("Piano", "Flute")
        assert take.score.part is not None
        notes = take.score.notes
        assert set(notes["program"][take.score.part == 0]) == {0}
        assert set(notes["program"][take.score.part == 1]) == {73}
        flute = notes[take.score.part == 1]
        assert (flute["duration_ms"][:-1] <= np.maximum(np.diff(flute["onset_ms"]), SHORTEST_MS)).all()


def test_players_are_named_by_their_number() -> None:
    plan, [take] = composed(request("String quartet", takes=1, tokens=300))
    assert take.score.parts == ("Violin 1", "Violin 2", "Violin 3", "Cello")
    assert [player.players for player in plan.forms[0].players] == [3, 1]


@pytest.mark.parametrize(("title", "wanted"), [
    ("String quartet", {"violin", "cello"}), ("Piano solo", {"piano"}), ("Song for choir and organ", {"choir", "organ"}),
    ("Rock band without drums", {"guitar", "bass"}), ("Only drums and bass", {"drums", "bass"}),
])
def test_instruments_are_those_that_were_asked_for(title: str, wanted: set[str]) -> None:
    plan, takes = composed(request(title))
    for take, steering in zip(takes, plan.steering, strict=True):
        assert wanted <= channels(take.score) == set(steering.attributes.instruments)
        assert take.ids[1] == (WITH_DRUMS if "drums" in wanted else NO_DRUMS)


def test_the_file_has_the_tempo_and_the_metre_of_the_request() -> None:
    _, [take, *_] = composed(request())
    stream = io.BytesIO()
    write_midi(take.score, stream)
    stream.seek(0)
    midi = mido.MidiFile(file=stream)
    events = [message for track in midi.tracks for message in track if message.is_meta]
    [tempo] = [message.tempo for message in events if message.type == "set_tempo"]
    [metre] = [message for message in events if message.type == "time_signature"]
    assert mido.tempo2bpm(tempo) == pytest.approx(100, abs=0.01)
    assert (metre.numerator, metre.denominator) == (3, 4)
    assert midi.length == pytest.approx(take.score.seconds, abs=0.01)
    assert take.score.name == "Waltz for flute and piano in D minor, 100 bpm"


def test_notes_on_the_grid_lie_on_ticks_of_the_grid() -> None:
    ids = [token for time in (0, 50, 25, 75) for token in (time, DURATION + 80, PITCH + 60)]
    score = on_grid(decode(ids), Attributes(tempo_bpm=120.0, metre="6/8"))
    assert score.notes["onset_tick"].tolist() == [0, 500, 750, 1500]
    assert (score.ticks_per_quarter, score.tempos[0].us_per_quarter, score.metres[0][1:]) == (500, 500_000, (6, 8))
    plain = decode(ids)
    assert on_grid(plain, Attributes()) is plain


@pytest.mark.parametrize("bpm", [66, 88, 97, 120, 133, 176, 300])
def test_a_file_gives_its_notes_back(bpm: int) -> None:
    """As ids: but for the order in a chord, and a note that is struck again, which ends there."""
    _, takes = composed(request(f"Waltz for flute and piano, {bpm} bpm", tokens=600, takes=2))
    for take in takes:
        stream = io.BytesIO()
        write_midi(take.score, stream)
        made, read = decode_events(take.ids[take.prime_length:]), decode_events(encode(read_midi(stream)).ids)
        made["duration_ms"] = take.score.notes["duration_ms"]  # whoever begins a note ends the one before
        for events in (made, read):
            events.sort(order=("onset_ms", "channel", "pitch", "duration_ms"))
            events["onset_ms"] -= events["onset_ms"][0]
        again = {key: np.unique(made["onset_ms"][(made["channel"] == key[0]) & (made["pitch"] == key[1])])
                 for key in zip(made["channel"].tolist(), made["pitch"].tolist(), strict=True)}
        for note in made:
            later = again[int(note["channel"]), int(note["pitch"])]
            gaps = later[later > note["onset_ms"]] - note["onset_ms"]
            longest = min([int(note["duration_ms"]), *gaps.tolist()])
            note["duration_ms"] = max(longest // 20 * 20, 20)
        assert made.tolist() == read.tolist()


@pytest.mark.parametrize("name", [field.name for field in fields(Strengths)])
@pytest.mark.parametrize("value", [-1.0, float("nan"), 21.0])
def test_strengths_that_sound_like_nothing_are_refused(name: str, value: float) -> None:
    with pytest.raises(InputError, match=f"{name} strength must be between 0 and 20"):
        PocketEngine(small_network(), load_titles(), strengths=replace(Strengths(), **{name: value}))


@pytest.mark.parametrize("value", [-1.0, float("nan"), 21.0])
def test_guidance_that_sounds_like_nothing_is_refused(value: float) -> None:
    with pytest.raises(InputError, match="guidance must be between 0 and 20"):
        PocketEngine(small_network(), load_titles(), guidance=value)


def test_strengths_of_a_loaded_model_reach_its_takes(tmp_path: Path) -> None:
    save_pocket(tmp_path, small_network(), {})
    strengths = Strengths(key=0.5, beat=1.5, returns=0.0)
    loaded = PocketEngine.load(tmp_path, guidance=3.0, strengths=strengths)
    plan = loaded.plan(request())
    assert {steering.strengths for steering in plan.steering} == {strengths}
    assert {sequence.guidance for sequence in loaded.sequences(plan)} == {3.0}


def test_the_same_seed_gives_the_same_takes_and_another_one_others() -> None:
    one, same, other = (composed(request(seed=seed))[1] for seed in (4, 4, 5))
    assert [take.ids for take in one] == [take.ids for take in same]
    assert not {take.ids for take in one} & {take.ids for take in other}


def test_a_take_does_not_depend_on_how_many_there_are() -> None:
    few, many = (composed(request(takes=takes))[1] for takes in (1, 5))
    assert few[0].ids == many[0].ids


def test_requests_share_the_batcher() -> None:
    requests = [request(), request("March for brass band", tokens=60, takes=1), request("Hymn", tokens=40)]
    alone = [[take.ids for take in composed(one)[1]] for one in requests]
    plans = [engine().plan(one) for one in requests]
    waiting = [engine().sequences(plan) for plan in plans]
    for sequences in waiting:
        for sequence in sequences:
            engine().batcher.add(sequence)
        engine().batcher.step()
    while engine().batcher.busy:
        engine().batcher.step()
    assert [[engine().take(plan, one).ids for one in sequences]
            for plan, sequences in zip(plans, waiting, strict=True)] == alone


@pytest.mark.parametrize("stop_at_end", [False, True])
def test_a_piece_ends_by_its_plan_whether_it_may_stop_or_not(stop_at_end: bool) -> None:
    _, takes = composed(request(tokens=600, takes=2, temperature=1.5, stop_at_end=stop_at_end))
    for take in takes:
        assert START not in take.ids[1:]
        assert (len(take.ids) - take.prime_length) % 3 == 0
        assert channels(take.score) == {"piano", "flute"}
    assert [take.ids for take in takes] == [take.ids for take in composed(request(tokens=600, takes=2, temperature=1.5))[1]]


@pytest.mark.parametrize(("notes", "required", "line_up"), [
    (10, (), ("piano",)), (16, (), ("piano", "violin")), (10, ("flute", "drums"), ("flute", "drums")),
    (24, ("drums",), ("piano", "violin", "drums")), (500, (), ("piano", "violin", "flute", "drums"))])
def test_a_short_take_has_no_more_players_than_notes_for_them(
    notes: int, required: tuple[str, ...], line_up: tuple[str, ...],
) -> None:
    assert fitting(("piano", "violin", "flute", "drums"), frozenset(required), notes) == line_up


def test_what_is_not_known_is_drawn_by_the_seed_and_said_to_be() -> None:
    unknown, drawn = complete(Attributes(), 7)
    assert set(drawn) == {"key", "metre", "tempo_bpm", "instruments"}
    assert complete(Attributes(), 7) == (unknown, drawn)
    assert None not in (unknown.tonic, unknown.mode, unknown.metre, unknown.tempo_bpm)
    assert len({complete(Attributes(), seed)[0] for seed in range(20)}) > 10
    known = Attributes(tonic=1, mode="minor", metre="6/8", tempo_bpm=75.0, instruments=("harp",))
    assert complete(known, 7) == (known, ())
    assert complete(Attributes(mode="minor"), 7)[0].mode == "minor"
    assert complete(Attributes(mode="minor"), 7)[1] == ("key", "metre", "tempo_bpm", "instruments")


def test_a_line_up_is_drawn_among_those_who_may_play_and_has_those_who_must() -> None:
    for seed in range(30):
        free, few, must, odd = (set(complete(Attributes(), seed, frozenset(allowed), frozenset(required))[0].instruments)
                                for allowed, required in (((), ()), (("piano", "flute"), ()), ((), ("harp",)), (("harp",), ())))
        assert free
        assert few <= {"piano", "flute"}
        assert "harp" in must
        assert odd == {"harp"}


def test_a_steady_tempo_has_eighths_of_whole_steps_and_is_near_the_one_asked_for() -> None:
    for bpm in range(40, 301):
        eighths = 30_000 / steady(bpm) / 10
        assert eighths == pytest.approx(round(eighths), abs=1e-9)
        assert steady(bpm) == pytest.approx(bpm, rel=0.026 if bpm <= 150 else 0.06)
        assert steady(steady(bpm)) == steady(bpm)


def test_a_model_is_loaded_from_its_folder(tmp_path: Path) -> None:
    save_pocket(tmp_path, small_network(), {})
    assert PocketEngine.load(tmp_path).name == "pocket"
    (tmp_path / "config.json").write_text(json.dumps({"family": "another", "format": 1}))
    with pytest.raises(CheckpointError):
        PocketEngine.load(tmp_path)


@pytest.mark.skipif(not (SHIPPED / "model.safetensors").is_file(),
                    reason="models/engines/pocket/model is not there; it ships with the project")
def test_the_shipped_model_composes() -> None:
    shipped = PocketEngine.load()
    plan = shipped.plan(request("Menuet", "Bach", tokens=60, takes=2))
    for sequence in shipped.sequences(plan):
        shipped.batcher.add(sequence)
    takes = []
    while shipped.batcher.busy:
        takes += [shipped.take(plan, sequence) for sequence in shipped.batcher.step()]
    assert all(10 < len(take.score) <= 20 for take in takes)
    assert channels(takes[0].score) == set(plan.attributes.instruments)
