from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models.engines.pocket.conditioning import AllowedIds, Clock, keep_to_beat
from models.engines.pocket.features import (
    BAR_AT,
    BAR_BINS,
    GRID_UNKNOWN,
    LEFT_AT,
    LEFT_BINS,
    TEMPO_AT,
    TICK_AT,
)
from models.music.attributes import Attributes
from models.music.score.notes import NOTE, Metre, Score, Tempo
from models.music.score.programs import CHANNELS, DRUMS
from models.music.vocabulary.los_angeles import (
    CHANNEL_COUNT,
    DURATION,
    HEADER_PITCH,
    NO_DRUMS,
    PITCH,
    SIZE,
    START,
    TIME,
    WITH_DRUMS,
)
from models.training.corpus import piece_notes
from models.training.rows import segment_of
from tests.engines.pocket.building import steering

SIXTEENTH = 120  # ticks


def score_on_grid(sixteenths: list[int], us_per_quarter: int, metre: tuple[int, int]) -> Score:
    """Notes at sixteenths from the start."""
    notes = np.zeros(len(sixteenths), dtype=NOTE)
    notes["onset_tick"] = np.array(sixteenths) * SIXTEENTH
    notes["onset_ms"] = notes["onset_tick"] * us_per_quarter / 480 / 1000
    notes["duration_ms"] = 200
    notes["pitch"] = 60 + np.arange(len(notes)) % 12
    notes["velocity"] = 80
    return Score(notes, 480, (Tempo(0, us_per_quarter),), (Metre(0, *metre),))


# No gap is longer than a quarter: longer ones may not fit into a T, and a clock that follows the ids cannot know.
TUNE = [0, 0, 2, 3, 4, 6, 6, 8, 11, 12, 13, 14, 15, 16, 20, 24, 24, 25, 28, 32, 36, 37, 40, 44, 48, 51, 54, 56, 60, 64,
        68, 72, 75]


@pytest.mark.parametrize("metre", [(4, 4), (3, 4), (2, 4), (6, 8), (2, 2), (3, 8), (12, 8), (9, 8), (6, 4), (3, 2), (5, 4)])
@pytest.mark.parametrize("bpm", [50.0, 60.0, 90.0, 120.0, 133.0, 176.0, 297.0])
def test_the_clock_agrees_with_what_training_sees(bpm: float, metre: tuple[int, int]) -> None:
    us = round(60_000_000 / bpm)
    piece = piece_notes(score_on_grid(TUNE, us, metre))
    segment = segment_of(piece, Attributes(), 0, len(piece))
    clock = Clock(steering(len(TUNE), tempo_bpm=60_000_000 / us, metre=f"{metre[0]}/{metre[1]}"))
    assert clock.features.tolist() == segment.grid[0].tolist()
    ids = segment.ids[3:].tolist()
    for place in range(len(ids)):
        assert clock.follow(ids[:place + 1]).tolist() == segment.grid[3 + place].tolist(), f"id {place}"


def test_ids_may_be_followed_one_by_one_or_many_at_once() -> None:
    ids = [TIME, 200, 1200, TIME + 50, 200, 1200, TIME + 50, 200, 1200, TIME + 7]
    slow, fast = Clock(steering()), Clock(steering())
    for place in range(len(ids)):
        slow.follow(ids[:place + 1])
    assert fast.follow(ids).tolist() == slow.features.tolist()


def place_of(ids: list[int], **changes: object) -> tuple[int, int, int, int]:
    tempo, bar, tick, left = Clock(steering(**changes)).follow(ids).tolist()  # type: ignore[arg-type]
    return tempo - TEMPO_AT, bar - BAR_AT, tick - TICK_AT, left - LEFT_AT


def test_the_place_in_a_bar_by_hand() -> None:
    """At 120 quarters a minute a quarter is 50 steps of 10 ms; six ticks are a sixteenth."""
    def notes(*times: int) -> list[int]:
        return [token for time in times for token in (TIME + time, 200, 1200)]

    assert place_of(notes(0))[1:3] == (0, 0)
    assert place_of(notes(0, 50))[1:3] == (4, 0)
    assert place_of(notes(0, 50, 25))[1:3] == (6, 12)
    assert place_of(notes(0, 75, 75))[1:3] == (0, 0)  # the next bar of a waltz
    assert place_of(notes(0, 100, 50), metre="4/4")[1:3] == (12, 0)
    assert place_of(notes(0, 100, 50), metre="6/8")[1:3] == (0, 0)
    assert place_of(notes(0, 75), metre="6/8")[1:3] == (6, 12)
    tempos = [place_of([0], tempo_bpm=bpm)[0] for bpm in (40.0, 80.0, 160.0, 300.0)]
    assert tempos == [0, 12, 24, 35]


@pytest.mark.parametrize(("notes", "left"), [(1, 0), (2, 1), (3, 1), (4, 2), (6, 2), (7, 3), (12, 4), (41, 5), (42, 6),
                                             (81, 6), (82, 7), (500, 7)])
def test_how_much_is_left_is_known_from_the_length_asked_for(notes: int, left: int) -> None:
    assert place_of([], notes=notes)[3] == left
    assert LEFT_BINS == 8


def test_what_is_left_shrinks_and_stays_nought() -> None:
    ids = [0, 200, 1200] * 30
    clock = Clock(steering(25))
    seen = [int(clock.follow(ids[:3 * note + 1])[3]) - LEFT_AT for note in range(30)]
    assert seen == sorted(seen, reverse=True)
    assert seen[0] == 5
    assert seen[24:] == [0] * 6


def test_what_is_not_known_is_said_to_be_unknown() -> None:
    ids = [0, 200, 1200, 50]
    assert Clock(steering(tempo_bpm=None)).follow(ids).tolist()[:3] == list(GRID_UNKNOWN[:3])
    bar_unknown = Clock(steering(metre=None)).follow(ids).tolist()
    assert bar_unknown[1:3] == list(GRID_UNKNOWN[1:3])
    assert bar_unknown[0] == TEMPO_AT + 19
    assert Clock(steering(may_end=True)).follow(ids).tolist()[3] == GRID_UNKNOWN[3]


@given(st.lists(st.integers(0, 127), max_size=200), st.floats(40, 300), st.sampled_from(["4/4", "6/8", "12/8", "3/2"]))
def test_features_are_places_in_their_part_of_the_table(times: list[int], bpm: float, metre: str) -> None:
    tempo, bar, tick, left = place_of([x for time in times for x in (time, 200, 1200)], tempo_bpm=bpm, metre=metre)
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
    return np.flatnonzero(found < 1).tolist()


def test_sixteenths_and_triplets_are_divisions_of_the_beat() -> None:
    """At 120 quarters a minute a quarter is 500 ms: 125, 250, 375 and 83, 166, 333, 416 of them, rounded down."""
    divisions = [0, 8, 12, 16, 25, 33, 37, 41, 50, 58, 62, 66, 75, 83, 87, 91, 100, 108, 112, 116, 125]
    assert on_divisions(weakness([0])) == divisions
    assert on_divisions(weakness([37, 200, 1200, 13])) == divisions
    assert on_divisions(weakness([12, 200, 1200])) == [
        0, 4, 13, 21, 25, 29, 38, 46, 50, 54, 63, 71, 75, 79, 88, 96, 100, 104, 113, 121, 125]
    assert Clock(steering(tempo_bpm=None)).weakness() is None


@pytest.mark.parametrize(("metre", "times"), [
    ("2/4", [100, 50, 25, 12, 8, 7]), ("6/8", [0, 75, 25, 12, 8]), ("9/8", [0, 75, 25, 12, 8]),
])
def test_the_larger_the_division_the_stronger_the_place(metre: str, times: list[int]) -> None:
    """Bar, quarter (or dotted one), eighth, sixteenth, and what lies between."""
    found = weakness([0], metre=metre)[times]
    assert found[0] == 0
    assert (np.diff(found) >= 0).all()
    assert found[1] < found[-2] < found[-1] == weakness([0], metre=metre).max()


def test_without_a_metre_no_place_is_a_bar_line() -> None:
    assert weakness([0], metre=None).min() > 0


@pytest.mark.parametrize("bpm", [50.0, 90.0, 133.0, 250.0, 297.0])
def test_what_lies_on_the_grid_is_on_it_for_the_clock(bpm: float) -> None:
    us = round(60_000_000 / bpm)
    piece = piece_notes(score_on_grid(TUNE, us, (4, 4)))
    ids = segment_of(piece, Attributes(), 0, len(piece)).ids[3:].tolist()
    for note in range(1, len(TUNE)):
        found = weakness(ids[:3 * note], tempo_bpm=60_000_000 / us, metre="4/4")[ids[3 * note]]
        assert found < 1
        assert (found == 0) == (TUNE[note] % 16 == 0)


def test_weak_times_lose_to_strong_ones_and_not_to_chords() -> None:
    logits = torch.randn(1, DURATION - TIME, generator=torch.Generator().manual_seed(1))
    before = logits[0].log_softmax(0)
    loss = torch.where(torch.arange(128) % 4 > 0, 3.0, 1.5)
    loss[0] = 0
    keep_to_beat(logits, loss[None])
    gain = logits[0].log_softmax(0) - before
    assert gain[0] == pytest.approx(0, abs=1e-5)
    assert (gain[4] - gain[5]).item() == pytest.approx(1.5, abs=1e-4)
    assert (gain[4] - gain[8]).item() == pytest.approx(0, abs=1e-4)


# Which ids may come

NOTE_IDS = [TIME + 5, DURATION + 80, PITCH + 60]


def allowed_after(ids: list[int], **changes: object) -> torch.Tensor:
    bias = AllowedIds(steering(**changes)).after(ids)  # type: ignore[arg-type]
    assert bias.shape == (SIZE,)
    return bias > -torch.inf


def test_a_note_is_time_duration_pitch() -> None:
    for ids, first, last in (([], TIME, DURATION), ([1], DURATION, PITCH), ([1, 200], PITCH, HEADER_PITCH)):
        allowed = allowed_after(ids)
        assert allowed[first:last].any()
        assert not allowed[:first].any()
        assert not allowed[last:].any()


def test_no_duration_and_no_pitch_of_nought() -> None:
    durations = allowed_after([1])
    assert durations[DURATION:PITCH].nonzero().ravel().tolist() == list(range(8, 1024))
    pitches = allowed_after([1, 200], allowed=frozenset(), required=frozenset())[PITCH:HEADER_PITCH].view(12, 128)
    assert not pitches[:, 0].any()
    assert pitches[:, 1:].all()


def test_only_allowed_instruments_may_sound() -> None:
    pitches = allowed_after([1, 200], required=frozenset())[PITCH:HEADER_PITCH].view(12, 128)
    for channel, name in enumerate(CHANNELS):
        assert pitches[channel].any() == (name in ("piano", "flute"))


def test_an_end_may_come_only_if_it_was_asked_for() -> None:
    enough = [*NOTE_IDS, 1, 200, PITCH + 128 * CHANNELS.index("flute") + 60]
    assert not allowed_after(enough)[START]
    assert allowed_after(enough, may_end=True)[START]
    assert not allowed_after([*enough, 1], may_end=True)[START]


def test_no_end_before_there_is_music_and_all_who_must_sound_have() -> None:
    assert not allowed_after([], may_end=True, required=frozenset())[START]
    assert not allowed_after(NOTE_IDS, may_end=True)[START], "the flute has not been heard"
    assert allowed_after(NOTE_IDS, may_end=True, required=frozenset(("piano",)))[START]


@pytest.mark.parametrize(("tonic", "mode", "inside"), [
    (0, "major", "C D E F G A B"), (9, "minor", "A B C D E F G Ab"), (3, "major", "Eb F G Ab Bb C D"),
])
def test_pitches_outside_the_key_lose_and_drums_do_not(tonic: int, mode: str, inside: str) -> None:
    from models.music.attributes import TONICS
    plain = AllowedIds(steering(allowed=frozenset(), required=frozenset(), key_strength=0.0)).after([1, 200])
    keyed = AllowedIds(steering(
        allowed=frozenset(), required=frozenset(), key_strength=1.5, tonic=tonic, mode=mode)).after([1, 200])
    loss = (plain - keyed)[PITCH:HEADER_PITCH].view(12, 128)[:, 1:]
    classes = {TONICS[pitch % 12] for pitch in range(1, 128) if loss[0, pitch - 1] == 0}
    assert classes == set(inside.split())
    for channel in range(12):
        wanted = torch.zeros(127) if channel == DRUMS else loss[0]
        assert torch.equal(loss[channel], wanted)
    assert set(loss[0].tolist()) == {0.0, 1.5}


def test_without_a_mode_there_is_no_key() -> None:
    one, other = (AllowedIds(steering(mode=None, key_strength=strength)).after([1, 200]) for strength in (0.0, 2.0))
    assert torch.equal(one, other)


def test_an_instrument_that_is_missing_gains_weight_until_it_must_sound() -> None:
    rules = AllowedIds(steering(20))
    flute = slice(PITCH + 128 * 8 + 1, PITCH + 128 * 8 + 60)
    weights = []
    for note in range(9):
        bias = rules.after([*NOTE_IDS * note, 1, 200])
        assert bias[PITCH + 60] > -torch.inf or note == 0
        weights.append(float(bias[flute].max()))
    assert weights == sorted(weights)
    assert weights[-1] > weights[0] + 2
    forced = rules.after([*NOTE_IDS * 9, 1, 200]) > -torch.inf
    assert forced[flute].any()
    assert not forced[PITCH:PITCH + 128].any()
    satisfied = rules.after([*NOTE_IDS * 9, 1, 200, PITCH + 128 * 8 + 50, 1, 200]) > -torch.inf
    assert satisfied[PITCH + 60]


def test_nobody_strikes_a_note_twice_at_once() -> None:
    chord = [5, 200, PITCH + 60, TIME, 200, PITCH + 64]
    for time, free in ((TIME, False), (TIME + 1, True)):
        allowed = allowed_after([*chord, time, 200])
        assert bool(allowed[PITCH + 60]) is bool(allowed[PITCH + 64]) is free
        assert allowed[PITCH + 62]


def test_a_chord_comes_to_an_end() -> None:
    ids: list[int] = []
    for note in range(40):
        if not allowed_after(ids)[TIME]:
            break
        ids += [TIME, 200, PITCH + 128 * 8 * (note % 2) + 40 + note]
    assert len(ids) == 3 * 10
    assert allowed_after(ids)[TIME + 1:DURATION - 1].all()
    assert not allowed_after(ids)[DURATION - 1]  # any longer time: the clock could not follow
    assert allowed_after([*ids, 9, 200, PITCH + 90])[TIME]


@pytest.mark.parametrize(("changes", "prime"), [
    ({}, (START, NO_DRUMS, CHANNEL_COUNT + 2)),
    ({"allowed": frozenset(("piano", "drums")), "required": frozenset(("drums",))}, (START, WITH_DRUMS, CHANNEL_COUNT + 2)),
    ({"allowed": frozenset(CHANNELS), "required": frozenset(CHANNELS)}, (START, WITH_DRUMS, CHANNEL_COUNT + 12)),
    ({"allowed": frozenset(), "required": frozenset(), "instruments": ("piano", "bass", "drums")},
     (START, WITH_DRUMS, CHANNEL_COUNT + 3)),
    ({"allowed": frozenset(), "required": frozenset(), "instruments": ()}, (START, NO_DRUMS, CHANNEL_COUNT + 1)),
])
def test_the_prime_says_whether_there_are_drums_and_how_many_play(
    changes: dict[str, Any], prime: tuple[int, int, int],
) -> None:
    assert steering(**changes).prime == prime
