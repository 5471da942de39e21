"""A piece that is carried on: what was there stays, and what comes follows its beat."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.decoding.sequence import Sequence
from models.engines.pocket.conditioning import Clock
from models.engines.pocket.engine import PocketEngine
from models.errors import ScoreError
from models.interface.midi import ComposeRequest, Plan, Take
from models.music.score.midi import read_midi, write_midi
from models.music.score.notes import Score
from models.music.vocabulary.carried_on import MOST_NOTES, read_carried_on
from models.music.vocabulary.los_angeles import DURATION, PITCH, TIME, decode
from tests.music.score.building import meta, midi_file, off, on


@pytest.fixture(scope="module")
def engine() -> PocketEngine:
    return PocketEngine.load()


def made(engine: PocketEngine, plan: Plan) -> list[Take]:
    sequences: list[Sequence] = engine.sequences(plan)
    for sequence in sequences:
        engine.batcher.add(sequence)
    while engine.batcher.busy:
        engine.batcher.step()
    return [engine.take(plan, sequence) for sequence in sequences]


@pytest.fixture(scope="module")
def earlier(engine: PocketEngine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A waltz for piano and violin."""
    request = ComposeRequest("Waltz in E minor for piano and violin at 120 bpm", tokens=180, takes=1, seed=3)
    path = tmp_path_factory.mktemp("earlier") / "take.mid"
    write_midi(made(engine, engine.plan(request))[0].score, path)
    return path


def test_what_was_there_comes_first_and_is_not_changed(engine: PocketEngine, earlier: Path) -> None:
    plan = engine.plan(ComposeRequest("Waltz", tokens=90, takes=2, seed=8, continuation=earlier))
    before = read_carried_on(earlier)
    for take in made(engine, plan):
        given = take.ids[3:take.prime_length]
        assert given == before.triplets
        assert len(take.score) == len(before.score) + 30
        kept = read_midi(earlier).notes
        for column in ("onset_ms", "duration_ms", "pitch", "program"):
            assert np.allclose(take.score.notes[column][:len(kept)], kept[column], atol=21)
        assert take.prime_seconds == pytest.approx(kept["onset_ms"].max() / 1000, abs=0.02)


def test_beat_and_instruments_of_the_piece_go_on(engine: PocketEngine, earlier: Path) -> None:
    plan = engine.plan(ComposeRequest("Anything", tokens=120, takes=1, seed=8, continuation=earlier))
    assert plan.attributes.metre == "3/4"
    assert plan.attributes.tempo_bpm == pytest.approx(120, rel=0.02)
    assert set(plan.attributes.instruments) == {"piano", "violin"}
    assert plan.sources["tempo_bpm"] == plan.sources["metre"] == "carried on"
    take, = made(engine, plan)
    assert take.score.tempos[0].us_per_quarter == read_midi(earlier).tempos[0].us_per_quarter
    assert set(take.score.notes["program"]) <= {0, 40}


def test_the_network_is_told_the_same_of_notes_that_were_made_and_that_are_given(engine: PocketEngine) -> None:
    ids = [TIME, DURATION + 83, PITCH + 60, TIME + 25, DURATION + 83, PITCH + 62, TIME, DURATION + 83, PITCH + 65]
    steering = engine.plan(ComposeRequest("Waltz", tokens=60, takes=1)).steering
    clock = Clock(replace(steering, notes=20))
    followed = np.stack([clock.follow(ids[:end]) for end in range(1, len(ids) + 1)])
    given = Clock(replace(steering, notes=17, given=tuple(ids)))
    assert np.array_equal(given.before, followed)
    assert np.array_equal(given.follow([TIME + 25]), clock.follow([*ids, TIME + 25]))
    weakness, expected = given.weakness(), clock.weakness()
    assert weakness is not None
    assert expected is not None
    assert np.array_equal(weakness, expected)


def test_an_upbeat_keeps_its_place_in_the_bar(tmp_path: Path) -> None:
    score = decode([TIME + 50, DURATION + 83, PITCH + 60, TIME + 50, DURATION + 83, PITCH + 62])
    write_midi(score, tmp_path / "upbeat.mid")
    assert read_carried_on(tmp_path / "upbeat.mid").triplets[0] == TIME + 50


def test_a_piece_may_be_carried_on_again_and_again(engine: PocketEngine, earlier: Path, tmp_path: Path) -> None:
    path = earlier
    for number in range(1, 4):
        plan = engine.plan(ComposeRequest("Waltz", tokens=60, takes=1, seed=number, continuation=path))
        path = tmp_path / f"{number}.mid"
        write_midi(made(engine, plan)[0].score, path)
    assert len(read_midi(path)) == 60 + 3 * 20


def test_what_cannot_be_carried_on_is_refused(engine: PocketEngine, tmp_path: Path) -> None:
    (tmp_path / "text.mid").write_text("no music")
    with pytest.raises(ScoreError, match="not a MIDI file"):
        engine.plan(ComposeRequest("Waltz", continuation=tmp_path / "text.mid"))
    one = decode([TIME + 1, DURATION + 83, PITCH + 60])
    many = Score(np.repeat(one.notes, MOST_NOTES + 1))
    many.notes["onset_ms"] = many.notes["onset_tick"] = np.arange(len(many)) * 10
    write_midi(many, tmp_path / "long.mid")
    with pytest.raises(ScoreError, match="at most 4,096"):
        engine.plan(ComposeRequest("Waltz", continuation=tmp_path / "long.mid"))


def _file(folder: Path, data: bytes) -> Path:
    (folder / "piece.mid").write_bytes(data)
    return folder / "piece.mid"


def test_a_piece_that_got_faster_is_carried_on_as_fast(engine: PocketEngine, tmp_path: Path) -> None:
    events = [meta(0, "set_tempo", tempo=1_000_000)]
    events += [event for number, tick in enumerate(range(0, 4000, 500)) for event in (
        on(tick, 60 + number % 5), off(tick + 480, 60 + number % 5))]
    events.append(meta(2000, "set_tempo", tempo=500_000))
    piece = _file(tmp_path, midi_file(sorted(events, key=lambda event: event[0])).getvalue())
    plan = engine.plan(ComposeRequest("", "Bach", tokens=60, takes=1, seed=8, continuation=piece))
    assert plan.attributes.tempo_bpm == pytest.approx(120, rel=0.02)


def test_drums_alone_are_carried_on(engine: PocketEngine, tmp_path: Path) -> None:
    beat = [event for tick in range(0, 8000, 500) for event in (
        on(tick, 36 + tick // 500 % 2 * 2, channel=9), off(tick + 200, 36 + tick // 500 % 2 * 2, channel=9))]
    piece = _file(tmp_path, midi_file(beat).getvalue())
    plan = engine.plan(ComposeRequest("", "Bach", tokens=90, takes=1, seed=8, continuation=piece))
    take, = made(engine, plan)
    assert len(take.score) == 16 + 30
    assert take.score.notes["drum"][:16].all()


def test_what_is_lost_of_a_file_is_told(engine: PocketEngine, tmp_path: Path, earlier: Path) -> None:
    piece = _file(tmp_path, earlier.read_bytes()[:-40])
    plan = engine.plan(ComposeRequest("Waltz", tokens=60, takes=1, seed=8, continuation=piece))
    assert "cut short" in plan.notices[0]
