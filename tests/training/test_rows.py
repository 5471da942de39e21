from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from models.engines.pocket.features import (
    BARS_LEFT_AT,
    CHORD_AT,
    GRID_COLUMNS,
    GRID_UNKNOWN,
    LEFT_AT,
    NEXT_CHORD_AT,
    PHRASE_AT,
    GlobalFeatures,
    density_bin,
)
from models.engines.pocket.memory import LAGS, MARKS, NOTHING, SOURCES, nothing
from models.music.attributes import Attributes, attributes_of
from models.music.form.chords import NO_CHORD
from models.music.score.notes import Score
from models.music.score.programs import CHANNELS, DRUMS
from models.music.vocabulary.los_angeles import (
    CHANNEL_COUNT,
    DURATION,
    HEADER_PITCH,
    NO_DRUMS,
    PITCH,
    START,
    WITH_DRUMS,
    decode_events,
    encode,
)
from models.training.corpus import piece_notes
from models.training.form import form_of
from models.training.rows import PLANNED, RowSampler, Segment, forget, segment_of
from tests.training.building import corpus_of, later, tune

FEATURES = GlobalFeatures(("bach",))
LENGTH = 96


def segment(score: Score, first: int = 0, count: int = 1000, **changes: Any) -> Segment:
    return segment_of(piece_notes(score), Attributes(tonic=2, mode="minor"), first, count, **changes)


def test_a_whole_piece_is_what_the_vocabulary_makes_of_it() -> None:
    for score in (tune(1), tune(2, bpm=133.0, program=40), later(tune(3, bpm=97.0), 3.3)):
        assert segment(score).ids[3:].tolist() == encode(score, nearest=True).ids[6:]


def test_the_header_says_whether_there_are_drums_and_how_many_play() -> None:
    assert segment(tune()).ids[:3].tolist() == [START, WITH_DRUMS, CHANNEL_COUNT + 2]
    assert segment(tune(drums=False)).ids[:3].tolist() == [START, NO_DRUMS, CHANNEL_COUNT + 1]
    assert segment(tune(), count=3).ids[:3].tolist() == [START, NO_DRUMS, CHANNEL_COUNT + 1]


@pytest.mark.parametrize("first", [1, 2, 17])
@pytest.mark.parametrize("stretch", [0.8, 1.0, 1.24])
def test_a_crop_goes_on_where_the_piece_was(first: int, stretch: float) -> None:
    """The first T of a crop is the time since the note before it, as in the whole piece."""
    score = tune(4, bpm=133.0)
    whole, crop = (segment(score, place, stretch=stretch) for place in (0, first))
    assert crop.ids.tolist() == whole.ids[3 + 3 * first:].tolist()
    for name in ("grid", "memory", "marks"):
        assert getattr(crop, name).tolist() == getattr(whole, name)[3 + 3 * first:].tolist(), name
    assert (crop.memory != NOTHING).any(), "the bars before the crop are remembered"


def test_transposition_moves_notes_and_tonic_but_no_drums() -> None:
    plain, moved = segment(tune(5)), segment(tune(5), semitones=5)
    one, other = (decode_events(part.ids) for part in (plain, moved))
    drums = one["channel"] == DRUMS
    assert drums.any()
    assert (other["pitch"] - one["pitch"] == np.where(drums, 0, 5)).all()
    assert (plain.attributes.tonic, moved.attributes.tonic) == (2, 7)
    assert segment(tune(), semitones=-5).attributes.tonic == 9
    unknown = segment_of(piece_notes(tune()), Attributes(), 0, 20, semitones=3)
    assert unknown.attributes.tonic is None


def test_transposition_stays_within_the_pitches_there_are() -> None:
    score = tune(drums=False)
    score.notes["pitch"][:] = 125
    assert set(decode_events(segment(score, semitones=6).ids)["pitch"]) == {127}


def test_stretching_scales_time_and_duration_and_tempo() -> None:
    plain, slow = segment(tune()), segment(tune(), stretch=1.2)
    assert set(plain.ids[6::3]) == {25}
    assert set(slow.ids[6::3]) == {30}
    one, other = (decode_events(part.ids)["duration_ms"][0] for part in (plain, slow))
    assert (one, other) == (220, 260)
    assert plain.grid[0, 0] - slow.grid[0, 0] == 3
    assert (plain.grid[:, 1:3] == slow.grid[:, 1:3]).all()
    assert slow.attributes.density == pytest.approx((plain.attributes.density or 0) / 1.2)


def test_each_id_of_a_note_has_the_same_place_in_the_bar() -> None:
    grid = segment(tune(metre=(3, 4))).grid
    assert (grid[:3] == grid[3]).all(), "the header has that of the first note"
    assert (grid[3::3] == grid[4::3]).all()
    assert (grid[3::3] == grid[5::3]).all()
    assert len(np.unique(grid[3::3, 1])) == 6  # eighths in a bar of 3/4


def test_form_is_told_by_bar_and_chord() -> None:
    """Eleven bars of 4/4, a chord for each half of them; the last bar has no later one."""
    piece = piece_notes(tune(notes=88, drums=False))
    form = form_of(piece)
    grid = segment_of(piece, Attributes(), 0, 88).grid[3::3]
    bar = np.arange(88) // 8
    assert (grid[:, 4] - PHRASE_AT).tolist() == (bar % 8).tolist()
    assert (grid[:, 5] - BARS_LEFT_AT).tolist() == (10 - bar).tolist()
    assert (grid[:, 6] - CHORD_AT).tolist() == form.chord.tolist()
    assert (grid[:, 7] - NEXT_CHORD_AT).tolist() == form.next_chord.tolist()
    assert form.next_chord[:-4].tolist() == form.chord[4:].tolist()
    assert set(form.next_chord[-4:]) == {NO_CHORD}
    late = segment_of(piece, Attributes(), 40, 8).grid[::3]
    assert (late == grid[40:48]).all(), "counted in the whole piece"
    assert segment_of(piece_notes(tune(notes=400)), Attributes(), 0, 1).grid[3, 5] - BARS_LEFT_AT == 15


def test_the_bar_before_is_remembered_and_the_header_has_no_memory() -> None:
    """Eighths of a scale over 14 of them, in bars of 4/4: what stood eight, sixteen, ... notes ago."""
    whole = segment(tune(notes=88, drums=False))
    none = nothing(3)
    assert whole.memory[:3].tolist() == none[0].tolist()
    assert whole.marks[:3].tolist() == none[1].tolist()
    notes = whole.ids[3:].reshape(-1, 3)
    for source, lag in enumerate(LAGS):
        seen = whole.memory[3:].reshape(-1, 3, SOURCES)[:, :, source]
        wanted = np.full_like(seen, NOTHING)
        wanted[8 * lag:, :2] = notes[:-8 * lag, 1:]
        wanted[8 * lag:, 2] = notes[1:89 - 8 * lag, 0]
        assert seen.tolist() == wanted.tolist(), lag


def test_memory_is_stretched_and_transposed_with_the_piece() -> None:
    plain, other = segment(tune(drums=False)), segment(tune(drums=False), stretch=1.2, semitones=3)
    known = plain.memory != NOTHING
    assert (known == (other.memory != NOTHING)).all()
    kinds = np.broadcast_to((np.arange(len(known)) % 3)[:, None], known.shape)
    assert set(other.memory[known & (kinds == 2)]) == {30}
    pitches = known & (kinds == 1)
    assert (other.memory[pitches] == plain.memory[pitches] + 3).all()
    assert (other.marks == plain.marks).all()


def test_what_is_left_counts_to_the_end_of_the_piece() -> None:
    left = segment(tune(notes=60), first=50).grid[::3, 3] - LEFT_AT
    assert left.tolist() == [3, 3, 3, 3, 2, 2, 2, 1, 1, 0]
    assert segment(tune(notes=60), count=5).grid[-1, 3] - LEFT_AT == 6


def test_density_and_instruments_are_those_of_the_crop() -> None:
    crop = segment(tune(), first=4, count=3).attributes
    assert crop.instruments == ("piano",)
    assert crop.density == pytest.approx(3 / 0.5)
    assert segment(tune()).attributes.instruments == ("piano", "drums")
    assert density_bin(crop.density or 0) == 6


def test_chords_run_from_the_top_down() -> None:
    score = tune(drums=False)
    score.notes["onset_ms"][:4] = 0
    pitches = segment(score).ids[5::3][:4]
    assert pitches.tolist() == sorted(pitches, reverse=True)


def test_a_crop_from_within_a_chord_has_the_rest_of_it() -> None:
    score = tune(drums=False)
    score.notes["onset_ms"][:4] = 0
    pitches = segment(score, first=2).ids[2::3] - PITCH
    assert pitches[:2].tolist() == sorted(score.notes["pitch"][2:4], reverse=True)
    assert pitches[2:].tolist() == score.notes["pitch"][4:].tolist()


# Rows


def entries(**entry: Any) -> dict[str, Any]:
    known = {"genre": "folk", "title": "Walzer", "artist": "J. S. Bach", "key": "D", "mode": "minor", "metre": "3/4"}
    return known | entry


def sampler(
    *scores: Score, length: int = LENGTH, seed: int = 1, augmented: float = 0.5, without: frozenset[str] = frozenset(),
) -> RowSampler:
    corpus = corpus_of(*((score, entries()) for score in scores))
    return RowSampler(corpus, list(range(len(scores))), FEATURES, length, seed, augmented, without)


MIXED = [tune(number, notes) for number, notes in enumerate((16, 20, 33, 60, 200))]


def test_the_kind_of_an_id_follows_from_its_place() -> None:
    batch = sampler(*MIXED).batch(0, 60)
    assert batch.ids.shape == (60, LENGTH + 1)
    assert batch.grid.shape == (60, LENGTH, GRID_COLUMNS)
    assert batch.memory.shape == (60, LENGTH, SOURCES)
    assert batch.marks.shape == (60, LENGTH, MARKS)
    for row in batch.ids:
        begins = row[::3] == START
        assert ((row[::3] < DURATION) | begins).all()
        seconds, thirds = row[1::3], row[2::3]
        header = begins[:len(seconds)]
        assert np.isin(seconds[header], (NO_DRUMS, WITH_DRUMS)).all()
        assert (thirds[header] > CHANNEL_COUNT).all()
        assert ((seconds[~header] >= DURATION) & (seconds[~header] < PITCH)).all()
        assert ((thirds[~header] >= PITCH) & (thirds[~header] < HEADER_PITCH)).all()


def test_a_piece_ends_where_the_next_begins_and_conditions_change_there() -> None:
    batch = sampler(*MIXED[:3], augmented=0.0).batch(1, 80)
    several = 0
    for ids, segments, grid in zip(batch.ids, batch.segment, batch.grid, strict=True):
        starts = np.flatnonzero(ids[:LENGTH] == START)
        changes = np.flatnonzero(np.diff(segments)) + 1
        assert changes.tolist() == [place for place in starts.tolist() if place]
        assert segments[0] == 0
        assert (np.diff(segments) <= 1).all()
        for place in changes:
            several += 1
            assert grid[place - 1, 3] in (LEFT_AT, GRID_UNKNOWN[3]), "the note before is the last one of its piece"
    assert several > 20


def test_no_piece_of_a_row_remembers_another() -> None:
    batch = sampler(*MIXED[:3], augmented=0.0).batch(1, 80)
    remembered = 0
    for ids, segments, memory in zip(batch.ids, batch.segment, batch.memory, strict=True):
        for number in range(1, int(segments.max()) + 1):
            mine = np.flatnonzero(segments == number)
            heard = set(ids[mine].tolist()) | set(range(DURATION))  # times may be parts of those in the piece
            assert (memory[mine[:3]] == NOTHING).all()
            assert set(memory[mine].ravel().tolist()) <= {*heard, NOTHING}
            remembered += int((memory[mine] != NOTHING).sum())
    assert remembered > 100


def test_each_piece_of_a_row_has_its_own_attributes() -> None:
    loud, quiet = tune(1, 20, drums=False, program=40), tune(2, 20, drums=False, program=73)
    batch = sampler(loud, quiet).batch(0, 40)
    offset = FEATURES.size - 13
    for ids, segments, attributes in zip(batch.ids, batch.segment, batch.attributes, strict=True):
        for number in np.unique(segments):
            channels = {CHANNELS[(token - PITCH) // 128] for token in ids[:LENGTH][segments == number]
                        if PITCH <= token < HEADER_PITCH}
            said = np.flatnonzero(attributes[number, offset:])
            if channels and said.tolist() != [12]:
                assert [CHANNELS[place] for place in said] == sorted(channels)


def test_the_same_seed_and_number_give_the_same_batch() -> None:
    one, same, other, later_ = (
        sampler(*MIXED, seed=seed).batch(number, 4) for seed, number in ((3, 7), (3, 7), (4, 7), (3, 8)))
    for name in ("ids", "grid", "segment", "attributes", "memory", "marks"):
        assert np.array_equal(getattr(one, name), getattr(same, name))
    assert not np.array_equal(one.ids, other.ids)
    assert not np.array_equal(one.ids, later_.ids)


@pytest.mark.parametrize("notes", [1, 2, 16])
def test_rows_are_filled_however_short_the_pieces_are(notes: int) -> None:
    batch = sampler(tune(0, notes, drums=False), length=768).batch(0, 3)
    assert batch.ids.shape == (3, 769)
    assert int(batch.segment.max()) + 1 <= batch.attributes.shape[1]
    assert (batch.ids[:, ::3] == START).sum() >= 768 // (3 * notes + 3) - 1


def test_shares_of_sources_are_kept_whatever_their_sizes_are() -> None:
    corpus = corpus_of(
        (tune(0, 200, drums=False, program=40), {"source": "large"}),
        *((tune(n, 20, drums=False, program=73), {"source": "small"}) for n in range(2)),
        shares={"large": 0.2, "small": 0.8})
    batch = RowSampler(corpus, [0, 1, 2], FEATURES, 48, 1, 0.0).batch(0, 400)
    first = (batch.ids[:, 5] - PITCH) // 128
    assert np.mean(first == CHANNELS.index("violin")) == pytest.approx(0.2, abs=0.06)


def test_compound_metres_weigh_double() -> None:
    corpus = corpus_of(
        (tune(0, 60, drums=False, program=40), {"metre": "6/8"}), (tune(1, 60, drums=False, program=73), {"metre": "3/4"}))
    batch = RowSampler(corpus, [0, 1], FEATURES, 48, 1, 0.0).batch(0, 600)
    channels = np.where((batch.ids >= PITCH) & (batch.ids < HEADER_PITCH), (batch.ids - PITCH) // 128, -1)
    first = channels[np.arange(600), (channels >= 0).argmax(1)]
    assert np.mean(first == CHANNELS.index("violin")) == pytest.approx(2 / 3, abs=0.06)


def test_only_the_pieces_it_was_given_are_drawn() -> None:
    corpus = corpus_of(*((tune(n, 30, drums=False, program=program), {}) for n, program in enumerate((0, 40, 73))))
    ids = RowSampler(corpus, [0, 2], FEATURES, 48, 1, 0.5).batch(0, 60).ids
    heard = {CHANNELS[(token - PITCH) // 128] for token in ids.ravel() if PITCH <= token < HEADER_PITCH}
    assert heard == {"piano", "flute"}


def test_augmentation_leaves_a_piece_within_its_instrument() -> None:
    score = tune(drums=False)
    score.notes["pitch"][::2] = 106
    pitches = {int(token - PITCH) for token in sampler(score, augmented=1.0).batch(0, 60).ids.ravel()
               if PITCH <= token < HEADER_PITCH}
    assert max(pitches) <= 108
    assert len(pitches & {106, 107, 108}) == 3
    assert min(pitches) >= 20


def test_attributes_are_forgotten_as_often_as_they_should_be() -> None:
    rows = sampler(MIXED[4], length=48).batch(0, 1500)
    known = rows.attributes[:, 0]
    offset = 0
    rates = {}
    for group, names in FEATURES.groups.items():
        rates[group] = known[:, offset + len(names) - 1].mean()
        offset += len(names)
    wanted = {"genre": 0.15, "forms": 0.15, "composer": 0.25, "key": 0.1, "metre": 0.15, "density": 0.3,
              "instruments": 0.1}
    for group, rate in wanted.items():
        assert rates[group] == pytest.approx(0.12 + 0.88 * rate, abs=0.04), group
    left_unknown = (rows.grid[:, 0, 3] == GRID_UNKNOWN[3]).mean()
    assert left_unknown == pytest.approx(0.3, abs=0.05)
    tempo_unknown = (rows.grid[:, 0, 0] == GRID_UNKNOWN[0]).mean()
    assert tempo_unknown == pytest.approx(0.12 * 0.5 + 0.88 * 0.1, abs=0.04)
    bar_unknown = (rows.grid[:, 0, 1] == GRID_UNKNOWN[1]).mean()
    assert bar_unknown == pytest.approx(0.148 + 0.852 * 0.1, abs=0.05)


def test_form_and_memory_are_forgotten_as_often_as_they_should_be() -> None:
    """The plan is unknown in whole rows, and what a bar brings back more often than what stood a few bars ago."""
    rows = sampler(tune(4, 400, drums=False), length=48).batch(0, 1500)
    for column, rate in ((4, 0.25), (5, 0.25)):
        unknown = rows.grid[:, :, column] == GRID_UNKNOWN[column]
        assert (unknown.all(1) == unknown.any(1)).all()
        assert unknown[:, 0].mean() == pytest.approx(0.12 + 0.88 * rate, abs=0.04), column
    chords = rows.grid[:, :, 6:] == GRID_UNKNOWN[6:]
    assert (chords[..., 0].all(1) == chords[..., 0].any(1)).all()
    assert chords[:, 0, 0].mean() == pytest.approx(0.12 + 0.88 * 0.2, abs=0.04)
    assert chords[chords[:, 0, 0]].all()
    known = rows.memory != NOTHING
    far_in = rows.ids[:, 0] != START  # with bars before it
    assert (~known[far_in][:, :, :len(LAGS)].any((1, 2))).mean() == pytest.approx(0.08, abs=0.06)
    returning = known[:, :, -1].any(1)
    assert 0.45 < returning[far_in].mean() < 0.75


@pytest.mark.parametrize(("name", "columns", "sources"), [
    ("chords", {6, 7}, set()), ("phrases", {4}, set()), ("bars left", {5}, set()), ("memory", set(), {0, 1, 2, 3}),
    ("returns", set(), {4})])
def test_what_is_named_is_forgotten(name: str, columns: set[int], sources: set[int]) -> None:
    whole = segment(tune(notes=200, drums=False))
    grid, memory = whole.grid.copy(), whole.memory.copy()
    forget(grid, memory, [name])
    for column in range(GRID_COLUMNS):
        wanted = GRID_UNKNOWN[column] if column in columns else whole.grid[:, column]
        assert (grid[:, column] == wanted).all()
    for source in range(SOURCES):
        assert (whole.memory[:, source] != NOTHING).any()
        assert (memory[:, source] == (NOTHING if source in sources else whole.memory[:, source])).all()


def test_what_rows_are_to_be_without_is_never_told() -> None:
    some, none = (sampler(*MIXED, without=without).batch(0, 40) for without in (frozenset({"chords"}), frozenset(PLANNED)))
    plain = sampler(*MIXED).batch(0, 40)
    assert (some.grid[..., 6:] == GRID_UNKNOWN[6:]).all()
    assert (some.grid[..., :6] == plain.grid[..., :6]).all()
    assert (some.memory == plain.memory).all()
    assert (none.grid[..., 4:] == GRID_UNKNOWN[4:]).all()
    assert (none.memory == NOTHING).all()
    assert (none.ids == plain.ids).all()


def test_attributes_come_from_the_index() -> None:
    known = attributes_of(entries(tempo_bpm=90))
    assert (known.genre, known.forms, known.composer, known.tonic, known.mode, known.metre, known.tempo_bpm) == (
        "folk", ("waltz",), "bach", 2, "minor", "3/4", 90.0)
