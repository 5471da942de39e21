"""The la-composer engine: from a title to takes, with a small random network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from models.checkpoints.local_transformer import convert, load_local_transformer
from models.decoding.sequence import Sequence
from models.engines.la_composer.engine import IMPROVISED, TITLES, LaComposerDecoder, LaComposerEngine
from models.engines.la_composer.titles_database import convert_titles
from models.engines.registry import load_engine
from models.errors import CheckpointError
from models.interface.engine import Host
from models.interface.midi import ComposeRequest, Plan, Take
from models.music.vocabulary.los_angeles import DURATION, PITCH, START
from tests.checkpoints.building import SONGS, upstream_tensors, write_checkpoint, write_titles

POSITIONS = 700


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("la-composer")
    convert(write_checkpoint(root / "a.pth", upstream_tensors(positions=POSITIONS)), root / "model")
    convert_titles(write_titles(root / "titles.pickle"), root / "model" / TITLES)
    return root / "model"


def run(engine: LaComposerEngine, request: ComposeRequest) -> tuple[Plan, list[Take]]:
    plan = engine.plan(request)
    for sequence in engine.sequences(plan):
        engine.batcher.add(sequence)
    takes = []
    while engine.batcher.busy:
        takes += [engine.take(plan, sequence) for sequence in engine.batcher.step()]
    return plan, sorted(takes, key=lambda take: take.number)


def test_the_song_called_alike_begins_and_the_network_goes_on(folder: Path) -> None:
    plan, takes = run(LaComposerEngine.load(folder), ComposeRequest("Clair de Lune", "Debussy", tokens=33, takes=3))
    title, ids = SONGS[0]
    assert plan.matched_title == title
    assert plan.matched_score is not None
    assert plan.matched_score > 80
    assert plan.prime == tuple(ids)  # with its header
    assert [take.number for take in takes] == [1, 2, 3]
    assert all(take.ids[:take.prime_length] == plan.prime for take in takes)
    assert all(len(take.ids) == take.prime_length + 33 for take in takes)
    assert len({take.ids for take in takes}) == 3
    assert takes[0].prime_seconds == pytest.approx(0.12)


def test_sampling_keeps_as_many_ids_as_upstream(folder: Path) -> None:
    engine = LaComposerEngine.load(folder)
    sequences = engine.sequences(engine.plan(ComposeRequest("Family Guy", takes=2, tokens=99, temperature=0.7)))
    assert [(one.top_k, one.length, one.temperature, one.stop_id) for one in sequences] == [(283, 99, 0.7, None)] * 2


def test_the_first_window_is_as_the_model_says(folder: Path, tmp_path: Path) -> None:
    convert(folder.parent / "a.pth", tmp_path / "trained", first_window="trained")
    request = ComposeRequest("x", tokens=32, takes=1)
    native, trained = (run(LaComposerEngine.load(path), request)[1][0]
                       for path in (folder.parent / "a.pth", tmp_path / "trained"))
    assert native.ids != trained.ids


def test_a_beginning_without_a_header_is_as_good(folder: Path) -> None:
    plan, takes = run(LaComposerEngine.load(folder), ComposeRequest("Family Guy", "TV Themes", tokens=32, takes=1))
    assert plan.prime == tuple(SONGS[1][1])
    assert len(takes[0].score) >= 13  # the last one of the prime may be spoilt by what upstream lets follow
    assert plan.notices == ()


def test_the_same_seed_gives_the_same_ids_whatever_else_is_asked(folder: Path) -> None:
    alone = run(LaComposerEngine.load(folder), ComposeRequest("Family Guy", tokens=40, takes=1, seed=7))[1]
    among = run(LaComposerEngine.load(folder), ComposeRequest("Family Guy", tokens=40, takes=4, seed=7))[1]
    other = run(LaComposerEngine.load(folder), ComposeRequest("Family Guy", tokens=40, takes=1, seed=8))[1]
    assert alone[0].ids == among[0].ids
    assert alone[0].ids != other[0].ids


def test_a_far_fetched_match_is_said_to_be_one(folder: Path) -> None:
    plan = LaComposerEngine.load(folder).plan(ComposeRequest("zzz qqq", "xxx"))
    assert len(plan.notices) == 1
    assert "no " in plan.notices[0]


def test_a_title_of_pictures_is_improvised(folder: Path) -> None:
    plan = LaComposerEngine.load(folder).plan(ComposeRequest("\N{MUSICAL NOTE}\N{MUSICAL NOTE}"))
    assert plan.prime == IMPROVISED
    assert plan.matched_title is None
    assert "improvised" in plan.notices[0]


def test_without_titles_a_piece_is_improvised_and_the_user_told(folder: Path) -> None:
    engine = LaComposerEngine.load(folder.parent / "a.pth")  # an upstream file itself
    plan, takes = run(engine, ComposeRequest("Clair de lune", tokens=32, takes=1))
    assert plan.prime == IMPROVISED == (2816, 2817, 2819, 0, 215, 1224)
    assert plan.matched_title is None
    assert "kapelle models fetch la-composer" in plan.notices[0]
    assert takes[0].prime_seconds == 0.0


def test_upstream_ids_of_any_kind_may_come_and_with_grammar_only_those_that_can(folder: Path) -> None:
    request = ComposeRequest("Family Guy", tokens=60, takes=2, temperature=1.5)
    _, free = run(LaComposerEngine.load(folder), request)
    _, ruled = run(LaComposerEngine.load(folder, grammar=True), request)

    def well_formed(take: Take) -> bool:
        made = take.ids[take.prime_length:]
        return all(low <= token < high for place, (low, high) in enumerate(
            ((0, DURATION), (DURATION, PITCH), (PITCH, 2688))) for token in made[place::3])

    assert not any(well_formed(take) for take in free)
    assert all(well_formed(take) for take in ruled)
    assert all(len(take.score) == 14 + 20 for take in ruled)


def test_a_piece_may_stop_where_another_would_begin(tmp_path: Path) -> None:
    tensors = upstream_tensors(positions=POSITIONS)
    tensors["module.to_logits.0.bias"][:] = 0
    tensors["module.to_logits.0.bias"][0] = 8.0
    tensors["module.to_logits.1.weight"][:, 0] = 0
    tensors["module.to_logits.1.weight"][START, 0] = 1.0
    engine = LaComposerEngine.load(write_checkpoint(tmp_path / "a.pth", tensors))
    going_on = run(engine, ComposeRequest("x", tokens=64, takes=2))[1]
    stopping = run(engine, ComposeRequest("x", tokens=64, takes=2, stop_at_end=True))[1]
    for whole, cut in zip(going_on, stopping, strict=True):
        made = whole.ids[whole.prime_length:]
        assert START in made
        assert cut.ids[cut.prime_length:] == made[:made.index(START)]


def test_past_the_last_position_reading_starts_anew_at_a_note(folder: Path) -> None:
    engine = LaComposerEngine.load(folder, grammar=True)
    _, takes = run(engine, ComposeRequest("Family Guy", tokens=POSITIONS + 30, takes=1))
    assert len(takes[0].ids) == 42 + POSITIONS + 30
    decoder = LaComposerDecoder(load_local_transformer(folder), 1)
    ids = takes[0].ids[:POSITIONS + 1]
    earliest = len(ids) - 3 * POSITIONS // 4
    start = decoder.restart_place(ids, earliest)
    assert earliest <= start < earliest + 3
    assert ids[start] < DURATION
    fresh = Sequence(prime=tuple(ids[start:]), length=1, seed=0, take=1)
    sliding = Sequence(prime=ids, length=1, seed=0, take=1)
    decoder.join(fresh)
    expected = decoder._logits[0].clone()
    decoder.leave(fresh)
    decoder.join(sliding)
    assert torch.equal(decoder._logits[0], expected)


def test_a_missing_model_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"kapelle models fetch la-composer.*--model PATH"):
        load_engine("la-composer", None, Host(tmp_path))


def test_a_network_of_another_vocabulary_is_refused(tmp_path: Path) -> None:
    tensors = upstream_tensors()
    for key in ("module.token_emb.weight", "module.to_logits.1.weight"):
        tensors[key] = tensors[key][:100]
    with pytest.raises(CheckpointError, match="100 ids"):
        LaComposerEngine.load(write_checkpoint(tmp_path / "a.pth", tensors))
