from __future__ import annotations

import io
import json
from functools import cache
from pathlib import Path
from typing import Any

import mido
import numpy as np
import pytest

from models.engines.pocket.engine import PocketEngine, complete, on_grid, steady
from models.engines.pocket.titles import load_titles
from models.engines.pocket.weights import SHIPPED, save_pocket
from models.errors import CheckpointError, InputError
from models.interface.midi import ComposeRequest, Plan, Take
from models.music.attributes import Attributes
from models.music.score.measures import channels
from models.music.score.midi import read_midi, write_midi
from models.music.score.programs import CHANNELS
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
    assert plan.steering.allowed == plan.steering.required == {"piano", "flute"}
    assert plan.steering.notes == 32
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
def test_takes_have_the_length_that_was_asked_for(tokens: int, notes: int) -> None:
    plan, takes = composed(request(tokens=tokens, takes=3))
    assert [take.number for take in takes] == [1, 2, 3]
    for take in takes:
        assert len(take.ids) == take.prime_length + 3 * notes
        assert take.ids[:take.prime_length] == plan.steering.prime == (START, NO_DRUMS, CHANNEL_COUNT + 2)
        assert len(take.score) == notes
        assert take.prime_seconds is None
    assert len({take.ids for take in takes}) == 3


def test_the_score_is_what_the_ids_say() -> None:
    for take in composed(request())[1]:
        plain = decode(take.ids).notes
        for name in ("onset_ms", "duration_ms", "pitch", "velocity", "program", "drum"):
            assert np.array_equal(take.score.notes[name], plain[name])


@pytest.mark.parametrize(("title", "wanted"), [
    ("String quartet", {"violin", "cello"}), ("Piano solo", {"piano"}), ("Song for choir and organ", {"choir", "organ"}),
    ("Rock band without drums", {"guitar", "bass"}), ("Only drums and bass", {"drums", "bass"}),
])
def test_instruments_are_those_that_were_asked_for(title: str, wanted: set[str]) -> None:
    plan, takes = composed(request(title))
    for take in takes:
        assert wanted <= channels(take.score) <= (plan.steering.allowed or set(CHANNELS))
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
def test_a_file_gives_its_ids_back(bpm: int) -> None:
    """But for the order in a chord, and a note that is struck again: it ends there."""
    _, takes = composed(request(f"Waltz for flute and piano, {bpm} bpm", tokens=600, takes=2))
    for take in takes:
        stream = io.BytesIO()
        write_midi(take.score, stream)
        made, read = decode_events(take.ids[take.prime_length:]), decode_events(encode(read_midi(stream)).ids)
        for events in (made, read):
            events.sort(order=("onset_ms", "channel", "pitch", "duration_ms"))
            events["onset_ms"] -= events["onset_ms"][0]
        again = {key: np.unique(made["onset_ms"][(made["channel"] == key[0]) & (made["pitch"] == key[1])])
                 for key in zip(made["channel"].tolist(), made["pitch"].tolist(), strict=True)}
        for note in made:
            later = again[int(note["channel"]), int(note["pitch"])]
            gaps = later[later > note["onset_ms"]] - note["onset_ms"]
            note["duration_ms"] = min(note["duration_ms"], max(gaps.min() // 20 * 20, 20)) if len(gaps) else note["duration_ms"]
        assert made.tolist() == read.tolist()


@pytest.mark.parametrize("strength", [{"guidance": -1.0}, {"key_strength": float("nan")}, {"beat_strength": 21.0}])
def test_strengths_that_sound_like_nothing_are_refused(strength: dict[str, float]) -> None:
    with pytest.raises(InputError, match="must be between 0 and 20"):
        PocketEngine(small_network(), load_titles(), **strength)


def test_strengths_of_a_loaded_model_reach_its_takes(tmp_path: Path) -> None:
    save_pocket(tmp_path, small_network(), {})
    loaded = PocketEngine.load(tmp_path, guidance=3.0, key_strength=0.5, beat_strength=1.5)
    plan = loaded.plan(request())
    assert (plan.steering.key_strength, plan.steering.beat_strength) == (0.5, 1.5)
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


def test_a_piece_may_end_before_its_tokens_are_used_up() -> None:
    _, takes = composed(request(tokens=600, takes=4, temperature=1.5, stop_at_end=True))
    lengths = [len(take.ids) - take.prime_length for take in takes]
    assert all(length % 3 == 0 for length in lengths)
    assert min(lengths) >= 3 * 2, "two instruments were asked for"
    assert min(lengths) < 600
    assert all(START not in take.ids[1:] for take in takes)
    for take in takes:
        assert {"piano", "flute"} == channels(take.score)


def test_what_is_not_known_is_drawn_by_the_seed_and_said_to_be() -> None:
    unknown, drawn = complete(Attributes(), 7)
    assert set(drawn) == {"key", "metre", "tempo_bpm"}
    assert complete(Attributes(), 7) == (unknown, drawn)
    assert None not in (unknown.tonic, unknown.mode, unknown.metre, unknown.tempo_bpm)
    assert len({complete(Attributes(), seed)[0] for seed in range(20)}) > 10
    known = Attributes(tonic=1, mode="minor", metre="6/8", tempo_bpm=75.0)
    assert complete(known, 7) == (known, ())
    assert complete(Attributes(mode="minor"), 7)[0].mode == "minor"
    assert complete(Attributes(mode="minor"), 7)[1] == ("key", "metre", "tempo_bpm")


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
    assert [len(take.score) for take in takes] == [20, 20]
    assert channels(takes[0].score) <= plan.steering.allowed
