"""Triads as numbers, and which of them harmonic units sound."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.music.attributes import METRES
from models.music.form.chords import (
    CHORD_TONES,
    CHORDS,
    NO_CHORD,
    TRIADS,
    chord,
    degrees_between,
    label,
    moved,
    transposed,
    units_in_bar,
)

C, F, G, E_MINOR, A_MINOR, B_DIMINISHED = 0, 5, 7, 16, 21, 35
Note = tuple[float, float, int]  # from, to (quarters), pitch


def labels(*notes: Note, units: int = 2, length: float = 2.0) -> list[int]:
    start, end = (np.array([note[place] for note in notes], dtype=float) for place in (0, 1))
    pitch = np.array([note[2] for note in notes], dtype=int)
    found = label((start // length).astype(int), units, pitch, start, end, length * np.arange(units + 1))
    return [int(one) for one in found]


def test_a_chord_is_its_root_and_quality() -> None:
    assert [chord(root, quality) for root, quality in ((0, 0), (9, 1), (11, 2), (14, 1))] == [0, 21, 35, 14]
    assert max(chord(root, quality) for root in range(12) for quality in range(3)) == CHORDS - 1 < NO_CHORD


@pytest.mark.parametrize(("number", "tones"), [
    (C, {0, 4, 7}), (A_MINOR, {9, 0, 4}), (B_DIMINISHED, {11, 2, 5}), (G, {7, 11, 2})])
def test_tones_of_a_chord(number: int, tones: set[int]) -> None:
    assert set(np.flatnonzero(CHORD_TONES[number])) == tones


@given(st.integers(0, CHORDS - 1), st.integers(-24, 24))
def test_transposition_moves_the_tones(number: int, semitones: int) -> None:
    moved = transposed(np.array([number, NO_CHORD]), semitones)
    assert (np.roll(CHORD_TONES[number], semitones) == CHORD_TONES[moved[0]]).all()
    assert moved[0] // 12 == number // 12
    assert moved[1] == NO_CHORD


@pytest.mark.parametrize(("metre", "units"), [
    ("4/4", 2), ("3/4", 1), ("2/4", 1), ("6/8", 2), ("2/2", 2), ("3/8", 1), ("12/8", 2), ("9/8", 1), ("6/4", 2), ("3/2", 1),
    ("5/4", 1)])
def test_a_bar_has_two_harmonic_units_where_it_has_halves(metre: str, units: int) -> None:
    beats, unit = map(int, metre.split("/"))
    assert units_in_bar(beats, unit) == units


def test_every_metre_is_divided_into_whole_beats() -> None:
    for beats, unit in (map(int, metre.split("/")) for metre in METRES):
        assert beats % units_in_bar(beats, unit) == 0


@pytest.mark.parametrize("number", range(CHORDS))
def test_every_triad_is_heard_as_itself(number: int) -> None:
    root = 48 + number % 12
    assert labels(*((0, 2, root + step) for step in TRIADS[number // 12]), units=1) == [number]


def test_the_lowest_note_speaks_for_a_root() -> None:
    assert labels(*((0, 2, pitch) for pitch in (60, 64, 67, 69)), units=1) == [C]
    assert labels(*((0, 2, pitch) for pitch in (57, 60, 64, 67)), units=1) == [A_MINOR]


def test_sevenths_belong_to_their_triad() -> None:
    assert labels(*((0, 2, pitch) for pitch in (43, 59, 62, 65)), units=1) == [G]


def test_what_sounds_longer_weighs_more_but_no_drone_counts_for_ever() -> None:
    assert labels((0, 2, 60), (0, 2, 64), (0, 2, 67), (1.75, 2, 65), (1.75, 2, 62), units=1) == [C]
    drone = [(0.0, 8.0, 60), *((start, start + 8.0, pitch) for start in (0.0,) for pitch in (53, 57))]
    assert labels(*drone, units=1, length=8) == [F]


def test_a_chord_stays_until_another_one_is_clearly_better() -> None:
    held = [(0.0, 2.0, pitch) for pitch in (48, 60, 64, 67)]
    assert labels((2, 4, 67), (2, 4, 76)) == [NO_CHORD, E_MINOR], "by a hair, as it has the root"
    assert labels(*held, (2, 4, 67), (2, 4, 76)) == [C, C]
    assert labels(*held, (2, 4, 53), (2, 4, 69), (2, 4, 72)) == [C, F]


def test_a_note_sounds_in_the_units_after_its_own() -> None:
    """But for four of them at most; then the chord before is kept anyway."""
    assert labels(*((0, 8, pitch) for pitch in (48, 64, 67)), (6, 8, 65), units=4) == [C] * 4


def test_silence_has_no_chord_at_first_and_the_last_one_later() -> None:
    triad = [(2.0, 4.0, pitch) for pitch in (60, 64, 67)]
    assert labels(*triad, units=4) == [NO_CHORD, C, C, C]
    assert labels((0, 0.1, 60), units=2) == [NO_CHORD, NO_CHORD], "a tap is no harmony"
    assert labels(units=3) == [NO_CHORD] * 3


# Steps of the scale


@pytest.mark.parametrize(("tonic", "mode", "degrees", "tune", "other"), [
    (0, "major", 1, [60, 62, 64, 65, 67, 69, 71], [62, 64, 65, 67, 69, 71, 72]),
    (0, "major", -2, [60, 71, 72], [57, 67, 69]),
    (2, "major", 4, [62, 66, 73], [69, 73, 80 - 1]),
    (9, "minor", 1, [57, 59, 60, 64], [59, 60, 62, 65]),
    (0, "major", 1, [61, 66], [63, 68]),
    (7, "minor", 0, [61, 66, 70], [61, 66, 70]),
])
def test_a_tune_is_moved_along_its_scale(tonic: int, mode: str, degrees: int, tune: list[int], other: list[int]) -> None:
    assert [moved(pitch, degrees, tonic, mode) for pitch in tune] == other


@given(st.integers(0, 127), st.integers(-14, 14), st.integers(0, 11), st.sampled_from(["major", "minor"]))
def test_seven_steps_are_an_octave_and_no_step_changes_the_order(pitch: int, degrees: int, tonic: int, mode: str) -> None:
    assert moved(pitch, 7, tonic, mode) == pitch + 12
    there = moved(pitch, degrees, tonic, mode)
    assert moved(pitch, degrees + 7, tonic, mode) == there + 12
    scale = {(tonic + step) % 12 for step in ((0, 2, 4, 5, 7, 9, 11) if mode == "major" else (0, 2, 3, 5, 7, 8, 10))}
    if pitch % 12 in scale:
        assert there % 12 in scale
        assert moved(there, -degrees, tonic, mode) == pitch


@pytest.mark.parametrize(("one", "other", "tonic", "mode", "degrees"), [
    (C, F, 0, "major", 3), (C, G, 0, "major", -3), (F, G, 0, "major", 1), (A_MINOR, G, 0, "major", -1), (G, G, 7, "major", 0),
    (A_MINOR, F, 9, "minor", -2), (C, chord(1, 0), 0, "major", None), (chord(6, 0), C, 0, "major", None)])
def test_steps_from_one_root_to_another(one: int, other: int, tonic: int, mode: str, degrees: int | None) -> None:
    assert degrees_between(one, other, tonic, mode) == degrees
