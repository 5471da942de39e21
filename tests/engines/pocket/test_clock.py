"""Where the last note stands, and what the network is told of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.engines.pocket.clock import Clock
from models.engines.pocket.features import (
    BAR_AT,
    BAR_BINS,
    BARS_LEFT_AT,
    CHORD_AT,
    GRID_UNKNOWN,
    LEFT,
    LEFT_AT,
    LEFT_BINS,
    NEXT_CHORD_AT,
    PHRASE_AT,
    TEMPO_AT,
    TICK_AT,
)
from models.engines.pocket.memory import NO_RETURN, NOTHING
from models.music.attributes import Attributes
from models.music.form.chords import CHORDS, NO_CHORD, units_in_bar
from models.music.form.plan import Bar, FormPlan, Player, Return
from models.music.score.notes import NOTE, Metre, Score, Tempo
from models.music.score.programs import CHANNELS, DRUMS
from models.music.vocabulary.los_angeles import DURATION, PITCH, TIME
from models.training.corpus import piece_notes
from models.training.form import Form
from models.training.rows import segment_of
from tests.engines.pocket.building import planned, steering

SIXTEENTH = 120  # ticks
METRES = [(4, 4), (3, 4), (2, 4), (6, 8), (2, 2), (3, 8), (12, 8), (9, 8), (6, 4), (3, 2), (5, 4)]
STEADY_US = [1_200_000, 1_000_000, 640_000, 500_000, 460_000, 340_000, 200_000]  # a quarter; eighths are whole steps
# No gap is longer than a quarter: longer ones may not fit into a T, and a clock that follows the ids cannot know.
TUNE = [0, 0, 2, 3, 4, 6, 6, 8, 11, 12, 13, 14, 15, 16, 20, 24, 24, 25, 28, 32, 36, 37, 40, 44, 48, 51, 54, 56, 60, 64,
        68, 72, 75]


def score_on_grid(sixteenths: list[int], us_per_quarter: int, metre: tuple[int, int]) -> Score:
    """Notes at sixteenths from the start."""
    notes = np.zeros(len(sixteenths), dtype=NOTE)
    notes["onset_tick"] = np.array(sixteenths) * SIXTEENTH
    notes["onset_ms"] = notes["onset_tick"] * us_per_quarter / 480 / 1000
    notes["duration_ms"] = 200
    notes["pitch"] = 60 + np.arange(len(notes)) % 12
    notes["velocity"] = 80
    return Score(notes, 480, (Tempo(0, us_per_quarter),), (Metre(0, *metre),))


def clock_for(us_per_quarter: int, metre: tuple[int, int], form: FormPlan | None = None) -> Clock:
    return Clock(steering(len(TUNE), tempo_bpm=60_000_000 / us_per_quarter, metre=f"{metre[0]}/{metre[1]}", form=form))


def notes(*times: int) -> list[int]:
    """Ids of notes at these times after one another."""
    return [token for time in times for token in (TIME + time, DURATION + 80, PITCH + 60)]


@pytest.mark.parametrize("metre", METRES)
@pytest.mark.parametrize("us", STEADY_US)
def test_the_clock_agrees_with_what_training_sees(us: int, metre: tuple[int, int]) -> None:
    """Of a piece without a plan: beat, what is left, and bar memory without returns."""
    piece = piece_notes(score_on_grid(TUNE, us, metre))
    bars = int(piece["bar"].max()) + 1
    none = np.full(len(piece), NO_CHORD)
    segment = segment_of(piece, Attributes(), 0, len(piece), form=Form(none, none, np.full(bars, -1), np.full(bars, NO_RETURN)))
    clock = clock_for(us, metre)
    assert clock.features[:PHRASE].tolist() == segment.grid[0, :PHRASE].tolist()
    ids = segment.ids[3:].tolist()
    for place in range(len(ids)):
        clock.follow(ids[:place + 1])
        assert clock.features[:PHRASE].tolist() == segment.grid[3 + place, :PHRASE].tolist(), f"id {place}"
        memory, marks = clock.remembered
        assert memory.tolist() == segment.memory[3 + place].tolist(), f"id {place}"
        assert marks.tolist() == segment.marks[3 + place].tolist(), f"id {place}"


PHRASE = LEFT + 1  # the first column that the plan has


@pytest.mark.parametrize("metre", METRES)
@pytest.mark.parametrize("us", STEADY_US)
def test_the_clock_agrees_with_what_training_sees_of_a_plan(us: int, metre: tuple[int, int]) -> None:
    """All but how many notes are left: that is counted in a piece, and estimated by a plan."""
    piece = piece_notes(score_on_grid(TUNE, us, metre))
    units, bars = units_in_bar(*metre), int(piece["bar"].max()) + 1
    assert set(piece["units"]) == {units}
    chords = [tuple((7 * bar + 5 * unit + 3) % CHORDS for unit in range(units)) for bar in range(bars)]
    flat = [*(chord for bar in chords for chord in bar), NO_CHORD]
    at = units * piece["bar"].astype(int) + (
        (piece["quarters_in_bar"] + 1e-4) * units // piece["bar_quarters"]).astype(int)
    returns = {bar: Return(bar // 2, bar % 3) for bar in range(1, bars) if bar % 4 != 1}
    form = Form(
        np.array(flat)[at], np.array(flat)[at + 1],
        np.array([returns[bar].bar if bar in returns else -1 for bar in range(bars)]),
        np.array([returns[bar].level if bar in returns else NO_RETURN for bar in range(bars)]))
    segment = segment_of(piece, Attributes(), 0, len(piece), form=form)
    clock = clock_for(us, metre, FormPlan(
        "song", 0, "major", metre, 60_000_000 / us, (),
        tuple(Bar(chord, bar, returns.get(bar)) for bar, chord in enumerate(chords)), (), 8.0))
    ids = segment.ids[3:].tolist()
    others = [column for column in range(segment.grid.shape[1]) if column != LEFT]
    for place in range(len(ids)):
        clock.follow(ids[:place + 1])
        assert clock.features[others].tolist() == segment.grid[3 + place, others].tolist(), f"id {place}"
        memory, marks = clock.remembered
        assert memory.tolist() == segment.memory[3 + place].tolist(), f"id {place}"
        assert marks.tolist() == segment.marks[3 + place].tolist(), f"id {place}"


def test_ids_may_be_followed_one_by_one_or_many_at_once() -> None:
    ids = [TIME, 200, 1200, TIME + 50, 200, 1200, TIME + 50, 200, 1200, TIME + 7]
    slow, fast = Clock(planned()), Clock(planned())
    for place in range(len(ids)):
        slow.follow(ids[:place + 1])
    fast.follow(ids)
    assert fast.features.tolist() == slow.features.tolist()
    assert [part.tolist() for part in fast.remembered] == [part.tolist() for part in slow.remembered]


def place_of(ids: list[int], **changes: Any) -> tuple[int, int, int, int]:
    clock = Clock(steering(**changes))
    clock.follow(ids)
    tempo, bar, tick, left = clock.features[:PHRASE].tolist()
    return tempo - TEMPO_AT, bar - BAR_AT, tick - TICK_AT, left - LEFT_AT


def test_the_place_in_a_bar_by_hand() -> None:
    """At 120 quarters a minute a quarter is 50 steps of 10 ms; six ticks are a sixteenth."""
    assert place_of(notes(0))[1:3] == (0, 0)
    assert place_of(notes(0, 50))[1:3] == (4, 0)
    assert place_of(notes(0, 50, 25))[1:3] == (6, 12)
    assert place_of(notes(0, 75, 75))[1:3] == (0, 0)  # the next bar of a waltz
    assert place_of(notes(0, 100, 50), metre="4/4")[1:3] == (12, 0)
    assert place_of(notes(0, 100, 50), metre="6/8")[1:3] == (0, 0)
    assert place_of(notes(0, 75), metre="6/8")[1:3] == (6, 12)
    tempos = [place_of([0], tempo_bpm=bpm)[0] for bpm in (40.0, 80.0, 160.0, 300.0)]
    assert tempos == [0, 12, 24, 35]


def test_bars_and_units_are_counted_from_the_first_note_on() -> None:
    clock = Clock(planned(metre="4/4", bars=4))
    seen = []
    for count, time in enumerate((0, 99, 1, 99, 1, 120, 80)):
        clock.follow(notes(*(0, 99, 1, 99, 1, 120, 80)[:count + 1]))
        seen.append((time, clock.bar, clock.in_bar, clock.unit))
    assert [one[1:] for one in seen] == [
        (0, 0, 0), (0, 99, 0), (0, 100, 1), (0, 199, 1), (1, 0, 0), (1, 120, 1), (2, 0, 0)]
    assert clock.bar_steps == 200


@pytest.mark.parametrize(("count", "left"), [(1, 0), (2, 1), (3, 1), (4, 2), (6, 2), (7, 3), (12, 4), (41, 5), (42, 6),
                                             (81, 6), (82, 7), (500, 7)])
def test_how_much_is_left_is_known_from_the_length_asked_for(count: int, left: int) -> None:
    assert place_of([], notes=count)[3] == left
    assert LEFT_BINS == 8


def test_what_is_left_shrinks_and_stays_nought() -> None:
    clock = Clock(steering(25))
    seen = []
    for note in range(30):
        clock.follow(notes(*[0] * (note + 1)))
        seen.append(int(clock.features[LEFT]) - LEFT_AT)
    assert seen == sorted(seen, reverse=True)
    assert seen[0] == 5
    assert seen[24:] == [0] * 6


def test_by_a_plan_what_is_left_are_the_notes_of_its_bars() -> None:
    """Eight bars of six notes before the last, and the last chord; whoever is behind has no fewer of them left."""
    one = planned(bars=9)
    assert one.form is not None
    form = replace(one.form, notes_in_bar=6.0)
    clock = Clock(replace(one, form=form))
    assert clock.notes_left() == 8 * 6 + form.last_notes
    clock.follow(notes(0, 75, 75, 75))  # one bar and a half, whatever it holds
    assert clock.notes_left() == pytest.approx(6.5 * 6 + form.last_notes, abs=0.5)
    clock.follow(notes(0, *[75] * 16))
    assert clock.notes_left() == form.last_notes
    clock.follow(notes(0, *[75] * 22))
    assert clock.notes_left() == form.last_notes


def test_what_is_not_known_is_said_to_be_unknown() -> None:
    def features(**changes: Any) -> list[int]:
        clock = Clock(steering(**changes))
        clock.follow([0, 200, 1200, 50])
        return [int(place) for place in clock.features]

    assert features(tempo_bpm=None)[:3] == list(GRID_UNKNOWN[:3])
    assert features(metre=None)[1:3] == list(GRID_UNKNOWN[1:3])
    assert features(metre=None)[0] == TEMPO_AT + 19
    assert features()[PHRASE:] == list(GRID_UNKNOWN[PHRASE:])


def test_the_plan_is_told_bar_by_bar() -> None:
    one = planned(bars=20)
    assert one.form is not None
    bars = tuple(Bar((bar,), bar % 4) for bar in range(20))
    clock = Clock(replace(one, form=replace(one.form, bars=bars)))
    seen = []
    for bar in range(22):
        clock.follow(notes(0, *[75] * (2 * bar)))
        seen.append([place - first for place, first in zip(
            clock.features[PHRASE:].tolist(), (PHRASE_AT, BARS_LEFT_AT, CHORD_AT, NEXT_CHORD_AT), strict=True)])
    assert [one[0] for one in seen[:20]] == [bar % 4 for bar in range(20)]
    assert [one[1] for one in seen[:20]] == [15] * 5 + [14 - bar for bar in range(15)]
    assert [one[2] for one in seen[:20]] == list(range(20))
    assert [one[3] for one in seen[:20]] == [*range(1, 20), NO_CHORD]
    after = Clock(steering()).features[PHRASE:].tolist()
    clock.follow(notes(0, *[75] * 44))
    assert clock.features[PHRASE:].tolist() == after, "behind the plan nothing is known"


@given(st.lists(st.integers(0, 127), max_size=200), st.floats(40, 300), st.sampled_from(["4/4", "6/8", "12/8", "3/2"]))
def test_features_are_places_in_their_part_of_the_table(times: list[int], bpm: float, metre: str) -> None:
    tempo, bar, tick, left = place_of(notes(*times), tempo_bpm=bpm, metre=metre)
    beats, unit = map(int, metre.split("/"))
    assert 0 <= tempo < 36
    assert 0 <= bar < min(beats * 16 // unit, BAR_BINS)
    assert 0 <= tick < 24
    assert 0 <= left < 8


# Strong and weak places of the bar


def weakness(ids: list[int], **changes: Any) -> np.ndarray:
    clock = Clock(steering(**changes))
    clock.follow(ids)
    result = clock.weakness()
    assert result is not None
    assert result.shape == (128,)
    return result


def on_divisions(found: np.ndarray) -> list[int]:
    """Times that do not lead between the divisions of the beat."""
    return [int(time) for time in np.flatnonzero(found < found.max())]


def test_sixteenths_and_triplets_are_divisions_of_the_beat() -> None:
    """At 120 quarters a minute a quarter is 500 ms: 125, 250, 375 and 83, 166, 333, 416 of them, rounded down."""
    divisions = [0, 8, 12, 16, 25, 33, 37, 41, 50, 58, 62, 66, 75, 83, 87, 91, 100, 108, 112, 116, 125]
    assert on_divisions(weakness([0])) == divisions
    assert on_divisions(weakness([37, 200, 1200, 13])) == divisions
    assert on_divisions(weakness([12, 200, 1200])) == [
        0, 4, 13, 21, 25, 29, 38, 46, 50, 54, 63, 71, 75, 79, 88, 96, 100, 104, 113, 121, 125]
    assert Clock(steering(tempo_bpm=None)).weakness() is None


@pytest.mark.parametrize(("metre", "times"), [
    ("2/4", [100, 50, 25, 12, 8, 7]), ("3/4", [0, 50, 25, 12, 8, 7]), ("6/8", [0, 75, 25, 12, 8]), ("9/8", [0, 75, 25, 12, 8]),
])
def test_the_larger_the_division_the_stronger_the_place(metre: str, times: list[int]) -> None:
    """Bar, quarter (or dotted one), eighth, sixteenth, and what lies between."""
    found = weakness([0], metre=metre)[times]
    assert found[0] == 0
    assert (np.diff(found) >= 0).all()
    assert found[1] < found[-2] < found[-1] == weakness([0], metre=metre).max()


def test_long_and_short_tell_compound_beats_from_quarters() -> None:
    """The third eighth of three is stronger than the second, at 250 ms each."""
    for metre in ("6/8", "9/8", "12/8"):
        found = weakness([0], metre=metre)
        assert found[75] < found[50] < found[25]
    assert weakness([0], metre="4/4")[50] < weakness([0], metre="4/4")[25] == weakness([0], metre="4/4")[75]


def test_places_are_as_weak_in_every_bar() -> None:
    """What was found for a place once is right for it later."""
    clock = Clock(steering(metre="6/8"))
    seen = []
    for bars in range(3):
        clock.follow(notes(0, 40, *[110, 40] * bars))
        found = clock.weakness()
        assert found is not None
        seen.append(found.tolist())
    assert seen[0] == seen[1] == seen[2] == weakness(notes(40), metre="6/8").tolist()
    assert seen[0] != weakness(notes(0), metre="6/8").tolist()


def test_without_a_metre_no_place_is_a_bar_line() -> None:
    assert weakness([0], metre=None).min() > 0


@pytest.mark.parametrize("us", [*STEADY_US, 451_128])
def test_what_lies_on_the_grid_is_on_it_for_the_clock(us: int) -> None:
    """As long as a bar is a whole number of steps, or nearly: here it is 180.45."""
    tune = TUNE if us in STEADY_US else [place for place in TUNE if place < 16]
    piece = piece_notes(score_on_grid(tune, us, (4, 4)))
    ids = segment_of(piece, Attributes(), 0, len(piece)).ids[3:].tolist()
    for note in range(1, len(tune)):
        found = weakness(ids[:3 * note], tempo_bpm=60_000_000 / us, metre="4/4")
        assert found[ids[3 * note]] < found.max()
        assert (found[ids[3 * note]] == 0) == (tune[note] % 16 == 0)


# What is carried on

GIVEN = (*notes(10), *notes(65, 0, 75, 75, 40))  # to step 265: late in the second bar of a waltz


def test_notes_that_are_given_are_told_as_if_they_had_been_made() -> None:
    asked = steering(20)
    clock = Clock(asked)
    seen = []
    for end in range(1, len(GIVEN) + 1):
        clock.follow(list(GIVEN[:end]))
        seen.append((clock.features, *clock.remembered))
    given = Clock(replace(asked, notes=20 - len(GIVEN) // 3, given=GIVEN))
    for one, other in zip(given.before, zip(*seen, strict=True), strict=True):
        assert one.tolist() == [row.tolist() for row in other]
    given.follow([TIME + 25])
    clock.follow([*GIVEN, TIME + 25])
    assert given.features.tolist() == clock.features.tolist()
    assert given.begun
    assert not Clock(asked).begun
    weak, expected = given.weakness(), clock.weakness()
    assert weak is not None
    assert expected is not None
    assert weak.tolist() == expected.tolist()


def test_the_plan_begins_in_the_first_bar_after_what_is_given() -> None:
    clock = Clock(planned(bars=4, given=GIVEN))
    assert (clock.first_bar, clock.bar, clock.in_bar) == (2, -1, 115)
    assert clock.features[PHRASE:].tolist() == list(GRID_UNKNOWN[PHRASE:])
    clock.follow(notes(34))
    assert clock.bar == -1
    clock.follow(notes(34, 1))
    assert (clock.bar, clock.in_bar) == (0, 0)
    assert clock.features[PHRASE] - PHRASE_AT == 0
    assert clock.features[PHRASE + 1] - BARS_LEFT_AT == 3
    assert Clock(planned(bars=4, given=(*notes(150), *notes(0)))).first_bar == 2, "a bar that has a note is not the plan's"


# What a bar brings back

PIANO, FLUTE = (128 * CHANNELS.index(name) for name in ("piano", "flute"))


def brought_back(returns: Return, *pitches: int, mode: str = "major") -> list[int]:
    """What a second bar of C remembers of the pitches of the first, each with its channel."""
    players = (Player("piano", "inner", 48, 84, 1, 6, 0.5), Player("flute", "melody", 60, 93, 1, 1, 0.4),
               Player("drums", "rhythm", 27, 87, 1, 4, 0.1))
    form = FormPlan("song", 0, mode, (4, 4), 120.0, (), (Bar((0, 0)), Bar((0, 0), 1, returns)), players, 4.0)
    clock = Clock(steering(metre="4/4", form=form))
    ids: list[int] = []
    found = []
    for bar in range(2):
        for number, pitch in enumerate(pitches):
            time = 25 if number else bar * (200 - 25 * (len(pitches) - 1))
            ids += [TIME + time, DURATION + 80]
            clock.follow(ids)
            if bar:
                found.append(int(clock.remembered[0][-1]))
            ids.append(PITCH + pitch)
    return [id_ if id_ == NOTHING else id_ - PITCH for id_ in found]


def test_a_bar_comes_back_as_it_was() -> None:
    assert brought_back(Return(0, 1), PIANO + 61, FLUTE + 72) == [PIANO + 61, FLUTE + 72]


def test_a_bar_comes_back_some_steps_of_the_scale_higher_and_drums_as_they_were() -> None:
    tune = [PIANO + 60, PIANO + 64, FLUTE + 71, 128 * DRUMS + 38]
    assert brought_back(Return(0, 1, 1), *tune) == [PIANO + 62, PIANO + 65, FLUTE + 72, 128 * DRUMS + 38]
    assert brought_back(Return(0, 1, -1), *tune) == [PIANO + 59, PIANO + 62, FLUTE + 69, 128 * DRUMS + 38]
    assert brought_back(Return(0, 1, 2), PIANO + 63, mode="minor") == [PIANO + 67]


def test_what_would_leave_a_players_range_comes_back_in_another_octave() -> None:
    assert brought_back(Return(0, 1, 4), PIANO + 83, FLUTE + 91) == [PIANO + 77, FLUTE + 86]
    assert brought_back(Return(0, 1, -7), PIANO + 50, FLUTE + 67) == [PIANO + 50, FLUTE + 67]


def test_another_player_takes_over_what_comes_back_and_only_that() -> None:
    voices = (("flute", "piano"),)
    assert brought_back(Return(0, 1, 0, voices), FLUTE + 72, PIANO + 60) == [PIANO + 72, NOTHING]
    assert brought_back(Return(0, 1, 4, voices), FLUTE + 89, FLUTE + 60) == [PIANO + 84, PIANO + 67]
