"""What stood at the same place of earlier bars, for whole pieces and id by id."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.engines.pocket.clock import Clock
from models.engines.pocket.memory import (
    LAGS,
    LIKENESS_LEVELS,
    MARKS,
    MATCH_BINS,
    MATCH_SPAN,
    NO_RETURN,
    NOTHING,
    SOURCES,
    BarMemory,
    Source,
    nothing,
    remember,
    ticks,
)
from models.music.form.chords import units_in_bar
from models.music.form.plan import Bar, FormPlan, Return
from models.music.vocabulary.los_angeles import DURATION, PITCH, TIME
from tests.engines.pocket.building import steering

BAR, STEPS = 96, 2.0  # ticks in a bar of 4/4, and steps in a tick: 125 quarters a minute
UNKNOWN = MATCH_BINS - 1
Notes = list[tuple[int, int]]  # place in ticks, pitch; the n-th has the duration DURATION + 100 + n


def ids_of(notes: Notes) -> np.ndarray:
    places = [place for place, _ in notes]
    times = [TIME + min(round(STEPS * (place - before)), 127) for before, place in zip([0, *places], places, strict=False)]
    return np.array([(time, DURATION + 100 + n, PITCH + pitch)
                     for n, (time, (_, pitch)) in enumerate(zip(times, notes, strict=True))])


def remembered(notes: Notes, returns: dict[int, tuple[int, int]] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Memory (notes, 3, sources) and marks (notes, 3, MARKS); `returns` of bars: the earlier bar, and the level."""
    bars = [place // BAR for place, _ in notes]
    back = [BAR * (bar - (returns or {}).get(bar, (bar, 0))[0]) for bar in bars]
    level = [(returns or {}).get(bar, (0, NO_RETURN))[1] for bar in bars]
    memory, marks = remember(
        np.array([place for place, _ in notes]), np.full(len(notes), BAR), np.full(len(notes), STEPS), ids_of(notes),
        np.array(back), np.array(level))
    return memory.reshape(-1, 3, SOURCES), marks.reshape(-1, 3, MARKS)


def told(notes: Notes, note: int, lag: int = 1) -> list[int | None]:
    """Number of the note whose duration is remembered, pitch, and time in ticks after a note, of a lag in bars."""
    duration, pitch, time = remembered(notes)[0][note, :, LAGS.index(lag)]
    return [None if duration == NOTHING else duration - DURATION - 100, None if pitch == NOTHING else pitch - PITCH,
            None if time == NOTHING else (time - TIME) / STEPS]


QUARTERS = [(24 * n, 60 + n) for n in range(40)]


@pytest.mark.parametrize("lag", LAGS)
def test_a_note_is_told_what_stood_there_a_number_of_bars_ago(lag: int) -> None:
    for note in (4 * lag, 4 * lag + 3, 39):
        assert told(QUARTERS, note, lag) == [note - 4 * lag, 60 + note - 4 * lag, 24]
    assert told(QUARTERS, 4 * lag - 1, lag) == [None, None, None], "before the piece"


def test_a_chord_is_remembered_from_the_top_down() -> None:
    notes = [(0, 67), (0, 64), (0, 60), (24, 62), (96, 69), (96, 65), (96, 62)]
    assert [told(notes, note) for note in (4, 5, 6)] == [[0, 67, 0], [1, 64, 0], [2, 60, 24]]


def test_a_smaller_chord_is_told_that_the_larger_one_went_on() -> None:
    notes = [(0, 67), (0, 64), (0, 60), (36, 62), (96, 69), (96, 65), (120, 62)]
    assert [told(notes, note) for note in (4, 5)] == [[0, 67, 0], [1, 64, 0]]


def test_a_larger_chord_is_told_when_the_smaller_one_was_over() -> None:
    notes = [(0, 67), (36, 62), (96, 69), (96, 65), (96, 60)]
    assert [told(notes, note) for note in (2, 3, 4)] == [[0, 67, 36], [None, None, 36], [None, None, 36]]


def test_where_nothing_stood_there_is_the_time_to_what_came_then() -> None:
    notes = [(0, 67), (36, 62), (100, 69), (141, 65)]
    assert told(notes, 2) == [None, None, 32]
    assert told(notes, 3) == [None, None, 55], "to the bar's own first note, where nothing came before it"


def test_a_long_time_is_the_longest_there_is() -> None:
    assert told([(0, 67), (90, 62), (96, 69)], 2) == [0, 67, 63.5]


def test_a_piece_begins_with_its_first_note() -> None:
    assert told([(48, 67), (96, 62), (143, 60), (144, 64)], 2) == [None, None, None]
    assert told([(48, 67), (96, 62), (143, 60), (144, 64)], 3) == [0, 67, 48]


def test_a_bar_that_comes_back_is_remembered_with_its_level() -> None:
    memory, marks = remembered(QUARTERS, {3: (0, 1), 7: (2, 2)})
    for note in range(40):
        back = {3: 12, 7: 20}.get(note // 4)
        level = {3: 1, 7: 2}.get(note // 4)
        wanted = [NOTHING] * 3 if back is None else [DURATION + 100 + note - back, PITCH + 60 + note - back, TIME + 48]
        assert memory[note, :, -1].tolist() == wanted
        assert set(marks[note, :, -1]) == {len(LAGS) + (0 if level is None else level)}
    assert len(LIKENESS_LEVELS) > 2


def test_a_bar_that_brings_back_none_has_the_mark_of_none() -> None:
    """It has the slot of the lowest level; nothing is remembered with it."""
    assert set(remembered(QUARTERS)[1][..., -1].ravel()) == {len(LAGS)}
    assert (remembered(QUARTERS)[0][..., -1] == NOTHING).all()


def bins(notes: Notes, lag: int = 1) -> list[int]:
    """Of each note, how well the lag has matched before it and after it; the same before its D and P."""
    marks = remembered(notes)[1][:, :, LAGS.index(lag)]
    assert (marks[:, 0] == marks[:, 1]).all()
    assert marks[1:, 0].tolist() == marks[:-1, 2].tolist()
    return [UNKNOWN if not len(marks) else int(marks[0, 0]), *marks[:, 2].tolist()]


def test_a_lag_matches_once_four_notes_could_have() -> None:
    tune = [60, 62, 64, 65]
    same = [(24 * n, tune[n % 4]) for n in range(12)]
    assert bins(same) == [UNKNOWN] * 8 + [4] * 5
    assert bins(same, 2) == [UNKNOWN] * 12 + [4]
    other = [(24 * n, tune[n % 4] + n // 4) for n in range(12)]
    assert bins(other) == [UNKNOWN] * 8 + [0] * 5


@pytest.mark.parametrize(("right", "bin_"), [(0, 0), (1, 0), (2, 1), (4, 1), (5, 2), (7, 2), (8, 3), (10, 3), (11, 4), (12, 4)])
def test_how_well_a_lag_has_matched_is_counted_over_the_last_notes(right: int, bin_: int) -> None:
    """In whatever order; what is further back does not count."""
    places = [24 * n for n in range(4 + 12 + MATCH_SPAN)]
    notes = [(place, 60) for place in places[:16]]
    notes += [(place, 60 if n < right else 30 + n) for n, place in enumerate(places[16:])]
    # A note that is not the same one bar ago spoils the one a bar later only where that was to match.
    assert all(pitch == 60 or n - 4 < 16 or notes[n - 4][1] != pitch for n, (_, pitch) in enumerate(notes))
    assert bins(notes)[-1] == bin_


def test_a_note_matches_at_its_place_whatever_its_number_in_the_chord() -> None:
    chord = [(24 * n, pitch) for n in range(4) for pitch in (67, 64, 60)]
    moved = [(96 + 24 * n, 60) for n in range(4)]
    assert bins(chord + moved)[-1] == 4
    assert bins(chord + [(place + 1, pitch) for place, pitch in moved])[-1] == 0


def test_marks_of_a_piece_that_never_repeats_are_not_those_of_one_that_has_no_time_to() -> None:
    assert bins(QUARTERS[:7])[-1] == UNKNOWN
    assert bins(QUARTERS)[-1] == 0


# The same id by id


def followed(notes: Notes, returns: dict[int, tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    def source() -> Source | None:
        found = returns.get(bar)
        return found and Source(BAR * (bar - found[0]), found[1])

    bar, seen = 0, []
    memory = BarMemory(BAR, STEPS, source)
    for (place, _), ids in zip(notes, ids_of(notes).tolist(), strict=True):
        bar = place // BAR
        for kind, id_ in enumerate(ids):
            memory.hear(id_, kind, place)
            seen.append(memory.next)
    parts = [np.array(part) for part in zip(*seen, strict=True)]
    return parts[0].reshape(-1, 3, SOURCES), parts[1].reshape(-1, 3, MARKS)


@st.composite
def pieces(draw: st.DrawFn, longest: int = 12) -> tuple[Notes, dict[int, tuple[int, int]]]:
    """Notes on eighths, chords among them, few pitches so that some match; bars that bring back earlier ones."""
    place, notes = 12 * draw(st.integers(0, longest)), []
    for _ in range(draw(st.integers(1, 30))):
        chord = draw(st.lists(st.integers(58, 64), min_size=1, max_size=4, unique=True))
        notes += [(place, pitch) for pitch in sorted(chord, reverse=True)]
        place += 12 * draw(st.integers(1, longest))
    bars = range(1, notes[-1][0] // BAR + 1)
    returns = {bar: (draw(st.integers(0, bar - 1)), draw(st.integers(0, 2))) for bar in bars if draw(st.booleans())}
    return notes, returns


@settings(max_examples=200)
@given(pieces(), st.booleans())
def test_a_piece_is_remembered_id_by_id_as_it_is_as_a_whole(
    piece: tuple[Notes, dict[int, tuple[int, int]]], with_returns: bool,
) -> None:
    notes, returns = piece
    returns = returns if with_returns else {}
    for one, other in zip(followed(notes, returns), remembered(notes, returns), strict=True):
        assert one.tolist() == other.tolist()


@given(pieces(), st.data())
def test_what_is_remembered_does_not_depend_on_what_follows(
    piece: tuple[Notes, dict[int, tuple[int, int]]], data: st.DataObject,
) -> None:
    notes, returns = piece
    count = data.draw(st.integers(1, len(notes)))
    for part, whole in zip(remembered(notes[:count], returns), remembered(notes, returns), strict=True):
        assert part.tolist() == whole[:count].tolist()


METRES = {(4, 4): 96, (3, 4): 72, (6, 8): 72, (2, 4): 48, (5, 4): 120}


@settings(max_examples=60)
@given(pieces(longest=3), st.sampled_from(sorted(METRES)), st.sampled_from([75.0, 120.0, 150.0]))
def test_the_clock_remembers_what_whole_pieces_do(
    piece: tuple[Notes, dict[int, tuple[int, int]]], metre: tuple[int, int], bpm: float,
) -> None:
    notes, _ = piece
    bar_ticks, steps = METRES[metre], 60_000 / bpm / 24 / 10
    places = np.array([place for place, _ in notes])
    bars = places // bar_ticks
    last, chords = int(bars[-1]), (0,) * units_in_bar(*metre)
    back = {bar: (random.Random(bar).randrange(bar), bar % 3) for bar in range(1, last + 1) if bar % 4}
    plan = tuple(Bar(chords, bar, Return(*back[bar]) if bar in back else None) for bar in range(last + 1))
    form = FormPlan("song", 0, "major", metre, bpm, (), plan, (), 8.0)
    onsets = np.floor(places * steps + 1e-6).astype(np.int64)
    ids = ids_of(notes)
    ids[:, 0] = TIME + np.diff(onsets, prepend=0)
    memory, marks = remember(
        places, np.full(len(notes), bar_ticks), np.full(len(notes), steps), ids,
        np.array([bar_ticks * (bar - back.get(bar, (bar,))[0]) for bar in bars.tolist()]),
        np.array([back[bar][1] if bar in back else NO_RETURN for bar in bars.tolist()]))
    clock = Clock(replace(steering(len(notes), metre=f"{metre[0]}/{metre[1]}", tempo_bpm=bpm), form=form))
    for number in range(ids.size):
        clock.follow(ids.ravel()[:number + 1].tolist())
        found = clock.remembered
        assert (found[0].tolist(), found[1].tolist()) == (memory[number].tolist(), marks[number].tolist()), number


@pytest.mark.parametrize("changes", [{"tempo_bpm": None}, {"metre": None}])
def test_without_a_beat_nothing_is_remembered(changes: dict[str, Any]) -> None:
    clock = Clock(steering(**changes))
    clock.follow([TIME, DURATION + 80, PITCH + 60] * 40)
    for one, other in zip(clock.remembered, nothing(1), strict=True):
        assert one.tolist() == other[0].tolist()


# What comes back changed


def test_what_is_brought_back_may_be_changed_and_lags_stay() -> None:
    """Here a note is moved up by five, and the highest one is not to come back at all."""
    source = Source(BAR, 2, lambda id_: NOTHING if id_ > PITCH + 70 else id_ + 5)
    memory = BarMemory(BAR, STEPS, lambda: source if bar else None)
    bar, seen = 0, []
    for bar in (0, 1):
        for number, pitch in enumerate((60, 72)):
            for kind, id_ in enumerate((TIME + 48, DURATION + 80, PITCH + pitch)):
                memory.hear(id_, kind, BAR * bar + 24 * number)
                if bar:
                    seen.append((int(memory.next[0][0]), int(memory.next[0][-1])))
    assert [pair for place, pair in enumerate(seen) if place % 3 == 1] == [(PITCH + 60, PITCH + 65), (PITCH + 72, NOTHING)]
    assert all(one == other < NOTHING for place, (one, other) in enumerate(seen) if place % 3 != 1), "times and durations stay"


def test_places_are_rounded_to_the_nearest_tick() -> None:
    assert ticks(np.array([0, 1 / 3, 0.99999, 1.03, 4])).tolist() == [0, 8, 24, 25, 96]
