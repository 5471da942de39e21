"""The measures on scores whose answers can be worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.music.score.listening import (
    KRUMHANSL_KESSLER,
    TEMPERLEY,
    autocorrelation,
    bars,
    best_likeness,
    codes_of,
    crowded,
    ending,
    jaccard,
    key_by_profiles,
    least_share,
    likeness,
    metre_by_autocorrelation,
    note_shares,
    out_of_range,
    run_hashes,
    tempo_within,
    top_voice,
)
from models.music.score.measures import Key
from models.music.score.notes import NOTE, Metre, Score, Tempo
from models.music.score.programs import CHANNELS, PATCHES

Note = tuple[float, float, int] | tuple[float, float, int, str]
EMPTY = Score(np.zeros(0, dtype=NOTE))


def score_of(notes: list[Note], *, bpm: float = 120, metre: tuple[int, int] = (4, 4), velocity: int = 80) -> Score:
    """From (onset, duration, pitch, channel), times in quarters; the channel is the piano where none is given."""
    result = np.zeros(len(notes), dtype=NOTE)
    quarter_ms = 60_000 / bpm
    for into, (onset, duration, pitch, *rest) in zip(result, sorted(notes, key=lambda note: note[0]), strict=True):
        channel = rest[0] if rest else "piano"
        into["onset_ms"], into["duration_ms"] = onset * quarter_ms, duration * quarter_ms
        into["onset_tick"] = round(480 * onset)
        into["pitch"], into["velocity"] = pitch, velocity
        into["program"], into["drum"] = PATCHES[CHANNELS.index(channel)], channel == "drums"
    return Score(result, 480, (Tempo(0, round(1000 * quarter_ms)),), (Metre(0, *metre),))


def scale(tonic: int, steps: tuple[int, ...]) -> Score:
    """Up and down a scale, the notes of the tonic's triad longer than the others."""
    line = (*steps, 12, *reversed(steps))
    return score_of([(i, 2 if step % 12 in (0, steps[2], 7) else 0.5, 60 + tonic + step) for i, step in enumerate(line)])


@pytest.mark.parametrize("profiles", [KRUMHANSL_KESSLER, TEMPERLEY])
@pytest.mark.parametrize("tonic", range(12))
def test_scales_are_in_their_keys(profiles: np.ndarray, tonic: int) -> None:
    assert key_by_profiles(scale(tonic, (0, 2, 4, 5, 7, 9, 11)), profiles) == Key(tonic, "major")
    assert key_by_profiles(scale(tonic, (0, 2, 3, 5, 7, 8, 11)), profiles) == Key(tonic, "minor")


def test_a_key_is_heard_in_how_long_notes_sound_not_in_how_many_they_are() -> None:
    long_c = [(4.0 * i, 4.0, pitch) for i, pitch in enumerate((60, 64, 67))]
    short_fis = [(12 + i / 8, 0.01, pitch) for i, pitch in enumerate((66, 70, 73) * 4)]
    assert key_by_profiles(score_of([*long_c, *short_fis]), KRUMHANSL_KESSLER) == Key(0, "major")


def test_without_pitches_there_is_no_key() -> None:
    assert key_by_profiles(EMPTY, TEMPERLEY) is None
    assert key_by_profiles(score_of([(0, 1, 36, "drums"), (1, 1, 40, "drums")]), TEMPERLEY) is None


def beaten(period: float, beat: float, upbeats: int, bpm: float = 120) -> Score:
    """Bars with a long low chord and short higher notes after it."""
    notes: list[Note] = []
    for bar in range(24):
        notes += [(bar * period, beat * 0.9, pitch) for pitch in (36, 48, 55)]
        notes += [(bar * period + (i + 1) * beat, beat * 0.4, 67) for i in range(upbeats)]
    return score_of(notes, bpm=bpm)


@pytest.mark.parametrize("bpm", [72, 120, 150])
def test_metres_are_told_by_what_recurs(bpm: float) -> None:
    assert metre_by_autocorrelation(beaten(2, 1, 1, bpm), bpm) == "duple"
    assert metre_by_autocorrelation(beaten(4, 1, 3, bpm), bpm) == "duple"
    assert metre_by_autocorrelation(beaten(3, 1, 2, bpm), bpm) == "triple"
    assert metre_by_autocorrelation(beaten(1.5, 0.5, 2, bpm), bpm) == "compound"


def test_the_autocorrelation_is_one_at_the_period_and_small_away_from_it() -> None:
    found = autocorrelation(beaten(3, 1, 2), 120, (3, 3.5, 6))
    assert found[0] == pytest.approx(1, abs=0.02)
    assert found[2] == pytest.approx(1, abs=0.05)
    assert found[1] < 0  # nothing against something; 0 would be chance
    assert autocorrelation(score_of([(0, 1, 60), (0.5, 1, 60)]), 120, (4,)).tolist() == [0]
    assert autocorrelation(EMPTY, 120).tolist() == [0] * 4


def test_a_tempo_may_be_heard_as_its_double_where_octaves_are_allowed() -> None:
    score = score_of([(i, 0.9, 60 + i % 3) for i in range(64)], bpm=100)
    assert tempo_within(score, 100, 100)
    assert tempo_within(score, 50, 50)
    assert tempo_within(score, 90, 98, (1,))
    assert not tempo_within(score, 50, 50, (1,))
    assert not tempo_within(score, 75, 75)
    assert not tempo_within(score, 106, 106)
    assert not tempo_within(EMPTY, 40, 240)


def test_players_have_their_shares_and_who_is_silent_has_none() -> None:
    score = score_of([(i, 1, 60, name) for i, name in enumerate(["flute"] * 3 + ["harp"] * 6 + ["drums"])])
    assert note_shares(score) == pytest.approx({"flute": 0.3, "harp": 0.6, "drums": 0.1})
    assert least_share(score, ("flute", "harp")) == pytest.approx(0.3)
    assert least_share(score, ("flute", "cello")) == 0
    assert least_share(score, ("flute",)) is None
    assert note_shares(EMPTY) == {}


CADENCE: list[Note] = [(i, 1, 62 + i) for i in range(8)]


def test_an_ending_on_the_tonic() -> None:
    end = ending(score_of([*CADENCE, (8, 4, 48), (8, 4, 64), (8, 4, 67), (8, 4, 72)]), Key(0, "major"))
    assert end is not None
    assert (end.on_tonic, end.triad, end.length) == (True, 1, 4)


def test_an_ending_in_another_key_on_another_chord_or_on_a_short_note() -> None:
    score = score_of([*CADENCE, (8, 1, 43), (8, 1, 65), (8, 1, 71), (8, 1, 74), (8.5, 1, 36, "drums")])
    end = ending(score, Key(0, "major"))
    assert end is not None
    assert (end.on_tonic, end.triad, end.length) == (False, 0.25, 1)
    assert ending(score, Key(7, "major")) is not None
    third = ending(score_of([*CADENCE, (8, 1, 64)]), Key(0, "minor"))
    assert third is not None
    assert third.triad == 0
    assert ending(score_of([(0, 1, 36, "drums")]), Key(0, "major")) is None


def test_a_bass_that_still_sounds_is_the_lowest_note_of_the_end_and_one_that_has_ended_is_not() -> None:
    held, ended = (ending(score_of([*CADENCE, (8, length, 48), (9, 1, 64)]), Key(0, "major")) for length in (2, 1))
    assert held is not None
    assert ended is not None
    assert (held.on_tonic, ended.on_tonic) == (True, False)
    assert held.triad == 1


def test_bars_hold_places_pitches_and_channels() -> None:
    one, other = bars(score_of([(0, 1, 60), (1.5, 1, 62), (3, 1, 60, "flute"), (4.5, 1, 62)], metre=(3, 4)))
    assert one == {(0, 60), (36, 62)}
    assert other == {(0, 128 * CHANNELS.index("flute") + 60), (36, 62)}
    assert jaccard(one, other) == pytest.approx(1 / 3)
    assert bars(EMPTY) == []


def test_bars_follow_changes_of_the_metre() -> None:
    score = replace(score_of([(0, 1, 60), (1, 1, 60), (3, 1, 60), (4, 1, 60), (7.5, 1, 60)]),
                    metres=(Metre(0, 1, 4), Metre(480, 3, 4)))  # an upbeat
    assert bars(score) == [{(0, 60)}, {(0, 60), (48, 60)}, {(0, 60)}, {(12, 60)}]


def test_likeness_is_that_of_bars_so_far_apart() -> None:
    a, b = [(0.0, 60), (1.0, 64)], [(0.0, 62), (1.0, 65)]
    found = bars(score_of([(4 * i + at, 1, pitch) for i, bar in enumerate((a, b, a, b)) for at, pitch in bar]))
    assert likeness(found, 1) == 0
    assert likeness(found, 2) == 1
    assert likeness(found, 4) is None
    assert best_likeness(found) == pytest.approx((2 / 3, 2 / 3))
    assert best_likeness(found[:1]) is None
    half = bars(score_of([(0, 1, 60), (1, 1, 64), (4, 1, 60), (6, 1, 64), (12, 1, 60), (13, 1, 64)]))
    assert likeness(half, 1) == pytest.approx((1 / 3 + 0) / 2)  # the silent bar is nobody's, but it is before one
    assert best_likeness(half) == pytest.approx(((1 / 3 + 1) / 2, 1 / 2))


def test_notes_out_of_range_count_for_their_own_instrument() -> None:
    score = score_of([(0, 1, 59, "flute"), (1, 1, 60, "flute"), (2, 1, 96, "flute"), (3, 1, 97, "flute"), (4, 1, 55, "violin"),
                      (5, 1, 36, "drums")])
    assert out_of_range(score) == {"flute": 0.5, "violin": 0}


def test_the_top_voice_is_the_highest_note_at_each_onset() -> None:
    line = (60, 62, 63, 67, 77, 77, 67, 66, 64)  # intervals 2 1 4 10 0 10 1 2
    notes: list[Note] = [(i, 1, pitch) for i, pitch in enumerate(line)]
    notes += [(i, 1, 40, "cello") for i in range(len(line))]
    notes += [(i, 1, 90, "drums") for i in range(len(line))]
    found = top_voice(score_of(notes))
    assert found is not None
    assert (found.steps, found.leaps) == (4 / 8, 2 / 8)
    assert top_voice(score_of(notes[:8])) is None


def test_a_player_with_two_notes_is_crowded_and_a_slur_is_not() -> None:
    slurred = score_of([(i, 1.04, 60 + i, "flute") for i in range(4)])  # 20 ms into the next
    assert crowded(slurred, "flute") == 0
    held = score_of([(i, 1.5, 60 + i, "flute") for i in range(4)])
    assert crowded(held, "flute") == 3 / 4
    assert crowded(held, "flute", 2) == 0
    chords = score_of([(0, 1, 60, "flute"), (0, 0.02, 64, "flute"), (1, 1, 60, "flute"), (1, 1, 64, "violin")])
    assert crowded(chords, "flute") == 1 / 2
    assert crowded(chords, "harp") is None


MELODY: list[Note] = [(i * 0.5 + (i % 2) * 0.25, 0.5, 60 + i * 7 % 12) for i in range(20)]


def changed(notes: list[Note], number: int, pitch: int) -> list[Note]:
    return [(note[0], note[1], pitch) if i == number else note for i, note in enumerate(notes)]


def test_runs_are_the_same_in_another_key_and_at_another_tempo() -> None:
    ours = codes_of(score_of(MELODY))
    assert len(ours) == 19
    higher = score_of([(note[0] + 3, note[1], note[2] + 5) for note in MELODY], bpm=90)
    assert np.array_equal(run_hashes(ours, 8), run_hashes(codes_of(higher), 8))


def test_runs_differ_by_a_note_a_rhythm_an_instrument_or_their_order() -> None:
    ours = run_hashes(codes_of(score_of(MELODY)), 8)
    assert len(np.unique(ours)) == len(ours) == 12
    other = run_hashes(codes_of(score_of(changed(MELODY, 10, 80))), 8)
    assert np.flatnonzero(ours == other).tolist() == [0, 1, 11]  # two steps are others, and all runs they are in
    even = codes_of(score_of([(float(i), 0.5, note[2]) for i, note in enumerate(MELODY)]))
    assert not np.isin(ours, run_hashes(even, 8)).any()
    flute = codes_of(score_of([(note[0], note[1], note[2], "flute") for note in MELODY]))
    assert not np.isin(ours, run_hashes(flute, 8)).any()
    codes = codes_of(score_of(MELODY))[:8]
    assert run_hashes(codes, 8) != run_hashes(codes[::-1], 8)
    assert len(run_hashes(codes, 9)) == 0
    assert len(codes_of(EMPTY)) == 0


def test_chords_are_read_from_the_top_down_in_whatever_order_they_stand() -> None:
    chord: list[Note] = [(0, 1, 60), (0, 1, 64), (0, 1, 67), (1, 1, 60), (1, 1, 69)]
    assert np.array_equal(codes_of(score_of(chord)), codes_of(score_of([chord[2], chord[0], chord[1], chord[4], chord[3]])))
