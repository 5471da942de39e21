"""A piece that is carried on: what was there stays, and what comes follows its beat."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from models.decoding.sequence import Sequence
from models.engines.pocket.engine import PocketEngine
from models.engines.pocket.titles import load_titles
from models.errors import ScoreError
from models.interface.midi import ComposeRequest, Plan, Take
from models.music.score.midi import read_midi, write_midi
from models.music.score.notes import Score
from models.music.vocabulary.carried_on import MOST_NOTES, read_carried_on
from models.music.vocabulary.los_angeles import DURATION, PITCH, TIME, decode
from tests.engines.pocket.building import small_network
from tests.music.score.building import meta, midi_file, off, on, program


@pytest.fixture(scope="module")
def engine() -> PocketEngine:
    return PocketEngine(small_network(), load_titles())


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
        assert len(before.score) < len(take.score) <= len(before.score) + 30
        kept, now = (in_order(notes) for notes in (read_midi(earlier).notes, take.score.notes[:len(before.score)]))
        for column in ("onset_ms", "pitch", "program"):
            assert np.allclose(now[column], kept[column], atol=11), column
        over = kept["onset_ms"] + kept["duration_ms"] <= take.score.notes["onset_ms"][len(kept)]
        assert np.allclose(now["duration_ms"][over], kept["duration_ms"][over], atol=21)
        assert over.sum() > len(kept) / 2
        assert take.prime_seconds == pytest.approx(kept["onset_ms"].max() / 1000, abs=0.02)


def in_order(notes: np.ndarray) -> np.ndarray:
    return notes[np.lexsort((notes["pitch"], notes["program"], np.rint(notes["onset_ms"] / 10)))]


def test_beat_and_instruments_of_the_piece_go_on(engine: PocketEngine, earlier: Path) -> None:
    plan = engine.plan(ComposeRequest("Anything", tokens=120, takes=1, seed=8, continuation=earlier))
    assert plan.attributes.metre == "3/4"
    assert plan.attributes.tempo_bpm == pytest.approx(120, rel=0.02)
    assert set(plan.attributes.instruments) == {"piano", "violin"}
    assert plan.sources["tempo_bpm"] == plan.sources["metre"] == "carried on"
    take, = made(engine, plan)
    assert take.score.tempos[0].us_per_quarter == read_midi(earlier).tempos[0].us_per_quarter
    assert set(take.score.notes["program"]) <= {0, 40}


def test_what_comes_ends_on_a_bar_line_of_the_piece_with_its_tonic(engine: PocketEngine, earlier: Path) -> None:
    """The plan's first bar is the one after the piece; at 120 quarters a minute a bar of three is 1500 ms."""
    plan = engine.plan(ComposeRequest("Waltz", tokens=120, takes=2, seed=8, continuation=earlier))
    last = read_midi(earlier).notes["onset_ms"].max()
    for take, form in zip(made(engine, plan), plan.forms, strict=True):
        onsets = take.score.notes["onset_ms"]
        assert onsets.max() == pytest.approx(1500 * (last // 1500 + len(form.bars)), abs=1)
        assert take.score.notes["pitch"][onsets == onsets.max()].min() % 12 == form.tonic == plan.attributes.tonic


@pytest.mark.parametrize("bpm", [100, 120, 133])
def test_bars_go_on_where_they_were(engine: PocketEngine, tmp_path: Path, bpm: int) -> None:
    """Quarters of four, to the third beat of the thirtieth bar, at tempi that the network keeps and at one it does not."""
    quarters = [event for number in range(29 * 4 + 3) for event in (
        on(480 * number, 60 + number % 5), off(480 * number + 400, 60 + number % 5))]
    tempo = [meta(0, "set_tempo", tempo=round(60e6 / bpm)), meta(0, "time_signature", numerator=4, denominator=4)]
    piece = _file(tmp_path, midi_file(tempo, quarters, ticks_per_quarter=480).getvalue())
    plan = engine.plan(ComposeRequest("Song", tokens=120, takes=1, seed=8, continuation=piece))
    clock = engine.sequences(plan)[0].condition.clock
    assert clock.in_bar / clock.bar_steps == pytest.approx(2 / 4, abs=0.02)


def test_what_was_there_is_not_cut_where_its_players_could_not_play_it(engine: PocketEngine, tmp_path: Path) -> None:
    """Two notes of one violin that sound together."""
    violin = [event for number in range(8) for event in (
        on(480 * number, 60 + number % 5), off(480 * number + 900, 60 + number % 5))]
    violin = [program(0, 40), *sorted(violin, key=lambda event: event[0])]
    piece = _file(tmp_path, midi_file(violin, ticks_per_quarter=480).getvalue())
    plan = engine.plan(ComposeRequest("Waltz for violin", tokens=60, takes=1, seed=8, continuation=piece))
    [take] = made(engine, plan)
    kept = read_midi(piece).notes
    assert np.allclose(take.score.notes["duration_ms"][:7], kept["duration_ms"][:7], atol=21)


def test_an_upbeat_keeps_its_place_in_the_bar(tmp_path: Path) -> None:
    score = decode([TIME + 50, DURATION + 83, PITCH + 60, TIME + 50, DURATION + 83, PITCH + 62])
    write_midi(score, tmp_path / "upbeat.mid")
    assert read_carried_on(tmp_path / "upbeat.mid").triplets[0] == TIME + 50


def test_a_piece_may_be_carried_on_again_and_again(engine: PocketEngine, earlier: Path, tmp_path: Path) -> None:
    path, lengths = earlier, [len(read_midi(earlier))]
    for number in range(1, 4):
        plan = engine.plan(ComposeRequest("Waltz", tokens=60, takes=1, seed=number, continuation=path))
        path = tmp_path / f"{number}.mid"
        write_midi(made(engine, plan)[0].score, path)
        lengths.append(len(read_midi(path)))
    assert all(1 <= later - before <= 20 for before, later in pairwise(lengths))


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
    assert 16 < len(take.score) <= 16 + 30
    assert take.score.notes["drum"][:16].all()


def test_what_is_lost_of_a_file_is_told(engine: PocketEngine, tmp_path: Path, earlier: Path) -> None:
    piece = _file(tmp_path, earlier.read_bytes()[:-40])
    plan = engine.plan(ComposeRequest("Waltz", tokens=60, takes=1, seed=8, continuation=piece))
    assert "cut short" in plan.notices[0]
