"""Measures against music whose key, tempo, metre and repetition are known because the test wrote it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from models.music.score.measures import (
    METRE_CLASSES,
    Key,
    channels,
    density,
    estimate_key,
    estimate_metre,
    estimate_tempo,
    key_distance,
    key_fit,
    metre_scores,
    polyphony,
    repetition,
    scale_share,
    tempo_error,
    tempo_strength,
)
from models.music.score.notes import NOTE, Score

# Strokes of a bar: place in quarters, semitones above the bass, how long (quarters), velocity.
Bar = list[tuple[float, int, float, int]]
WALTZ: Bar = [(0, 0, 1, 105), (1, 16, 0.5, 60), (1, 19, 0.5, 60), (2, 16, 0.5, 60), (2, 19, 0.5, 60), (0, 24, 2, 90),
              (2, 26, 1, 75)]
MARCH: Bar = [(0, 0, 1, 105), (1, 16, 0.5, 60), (1, 19, 0.5, 60), (2, 7, 1, 95), (3, 16, 0.5, 60), (3, 19, 0.5, 60),
         (0, 24, 1.5, 90), (1.5, 26, 0.5, 60), (2, 28, 2, 90)]
JIG: Bar = [(0, 0, 1.5, 105), (1.5, 7, 1.5, 100), (0, 24, 0.5, 90), (0.5, 26, 0.5, 60), (1, 28, 0.5, 60),
            (1.5, 29, 0.5, 90), (2, 28, 0.5, 60), (2.5, 26, 0.5, 60)]
PROGRESSION = (0, 5, 7, 0, 9, 2, 7, 0)


def played(bar: Bar, bar_quarters: int, bpm: float, *, bars: int = 16, program: int = 0) -> Score:
    rows = []
    for number in range(bars):
        for place, above, quarters, velocity in bar:
            pitch = 36 + PROGRESSION[number % len(PROGRESSION)] + above
            rows.append(((number * bar_quarters + place) * 60_000 / bpm, quarters * 60_000 / bpm, pitch, velocity))
    return score_of(rows, program)


def score_of(rows: list[tuple[float, float, int, int]], program: int = 0, drum: bool = False) -> Score:
    notes = np.zeros(len(rows), dtype=NOTE)
    columns = zip(*sorted(rows), strict=True)
    for name, column in zip(("onset_ms", "duration_ms", "pitch", "velocity"), columns, strict=True):
        notes[name] = column
    notes["onset_ms"] = np.floor(notes["onset_ms"] / 10) * 10  # the clock of takes
    notes["program"], notes["drum"] = program, drum
    return Score(notes)


def scale(tonic: int, steps: tuple[int, ...]) -> Score:
    melody = [*steps, 12, *reversed(steps), 7, 4 if 4 in steps else 3, 0] * 2
    lengths = [840.0 if step % 12 in (0, 7) else 280.0 for step in melody]
    return score_of([(300.0 * i, lengths[i], 60 + tonic + step, 90) for i, step in enumerate(melody)])


def at_random(notes: int, seed: int) -> Score:
    rng = np.random.default_rng(seed)
    onset_ms, pitch = np.cumsum(rng.exponential(150, notes)), rng.integers(40, 80, notes)
    return score_of([(float(onset_ms[i]), 200.0, int(pitch[i]), 90) for i in range(notes)])


@pytest.mark.parametrize("minor", [False, True])
@pytest.mark.parametrize("tonic", range(12))
def test_the_key_of_a_scale_is_its_own_in_every_transposition(tonic: int, minor: bool) -> None:
    mode, steps = ("minor", (0, 2, 3, 5, 7, 8, 11)) if minor else ("major", (0, 2, 4, 5, 7, 9, 11))
    score = scale(tonic, steps)
    assert estimate_key(score) == Key(tonic, mode)
    assert scale_share(score, tonic, mode) == 1
    assert key_fit(score, tonic, mode) > 0.7 > 0 > key_fit(score, tonic + 6, mode)


def test_notes_outside_the_scale_are_counted_and_drums_are_not() -> None:
    notes = score_of([(0, 100, 60, 90), (100, 100, 61, 90), (200, 100, 62, 90), (300, 100, 64, 90)]).notes
    drums = score_of([(0, 100, 42, 90)] * 3, drum=True).notes
    assert scale_share(Score(np.concatenate((notes, drums))), 0, "major") == 0.75


def test_keys_are_far_apart_as_on_the_circle_of_fifths() -> None:
    assert key_distance(Key(0, "major"), Key(9, "minor")) == 0
    assert key_distance(Key(0, "major"), Key(7, "major")) == key_distance(Key(7, "major"), Key(0, "major")) == 1
    assert key_distance(Key(0, "major"), Key(6, "major")) == 6
    assert key_distance(Key(0, "major"), Key(0, "minor")) == 3


@pytest.mark.parametrize("bpm", [66, 84, 100, 118, 132])
@pytest.mark.parametrize(("bar", "quarters"), [(WALTZ, 3), (MARCH, 4)])
def test_the_tempo_is_found_and_others_are_weak(bar: Bar, quarters: int, bpm: float) -> None:
    score = played(bar, quarters, bpm)
    assert tempo_error(score, bpm) < 0.02
    assert tempo_strength(score, bpm) > 0.9
    for wrong in (0.9, 1.1, 1.2):
        assert tempo_strength(score, bpm * wrong) < 0.2


def test_the_tempo_itself_is_told_from_its_double_where_it_is_usual() -> None:
    assert tempo_error(played(MARCH, 4, 100), 100, factors=(1,)) < 0.02
    assert tempo_error(played(MARCH, 4, 100), 200, factors=(1,)) == pytest.approx(1, abs=0.02)


def test_onsets_at_random_have_no_tempo() -> None:
    assert max(abs(tempo_strength(at_random(170, seed), 100)) for seed in range(5)) < 0.25


def test_one_long_gap_does_not_hide_the_tempo() -> None:
    notes = played(MARCH, 4, 100).notes.copy()
    notes["onset_ms"][len(notes) // 2:] += 430
    assert tempo_strength(Score(notes), 100) > 0.75


@pytest.mark.parametrize("bpm", [72, 100, 140, 168])
@pytest.mark.parametrize(
    ("bar", "quarters", "metre"), [(MARCH, 4, "duple"), (WALTZ, 3, "triple"), (JIG, 3, "compound")])
def test_march_waltz_and_jig_are_told_apart(bar: Bar, quarters: int, metre: str, bpm: float) -> None:
    score = played(bar, quarters, bpm)
    assert estimate_metre(score, bpm) == metre
    assert sum(metre_scores(score, bpm).values()) == pytest.approx(1)
    assert tuple(metre_scores(score, bpm)) == METRE_CLASSES


def test_the_metre_follows_the_accents_and_nothing_else() -> None:
    triple = {}
    for every in (1, 2, 3):
        beats = score_of([(600.0 * i, 500.0, 60, 120 if i % every == 0 else 45) for i in range(60)])
        triple[every] = metre_scores(beats, 100)["triple"]
    assert triple[3] > triple[1] + 0.03
    assert triple[1] > triple[2] + 0.3


def test_channels_are_those_heard() -> None:
    both = np.concatenate((played(WALTZ, 3, 100, program=40).notes, score_of([(0, 50, 38, 90)], drum=True).notes))
    assert channels(Score(both)) == {"violin", "drums"}
    assert channels(score_of([(0, 50, 60, 90)], program=21)) == {"organ"}  # an accordion


def test_density_counts_notes_a_second_and_polyphony_notes_at_once() -> None:
    chords = score_of([(500.0 * i, 500.0, pitch, 90) for i in range(11) for pitch in (60, 64, 67)])
    assert density(chords) == pytest.approx(33 / 5)
    assert polyphony(chords) == pytest.approx(3)
    apart = score_of([(1000.0 * i, 100.0, 60, 90) for i in range(5)])
    assert polyphony(apart) == pytest.approx(1)


def test_colder_sampling_is_more_repetitive() -> None:
    """Melodies from one random chain of intervals, as a model would be sampled at two temperatures."""
    logits = np.random.default_rng(3).normal(0, 2, (24, 24))

    def take(temperature: float, seed: int) -> Score:
        rng = np.random.default_rng(seed)
        weights = np.exp(logits / temperature)
        pitch, rows = 0, []
        for i in range(170):
            pitch = int(rng.choice(24, p=weights[pitch] / weights[pitch].sum()))
            rows.append((125.0 * i, 120.0, 60 + pitch, 90))
        return score_of(rows)

    for seed in range(5):
        cold, hot = repetition(take(0.3, seed)), repetition(take(1.2, seed))
        assert cold.repeated > hot.repeated + 0.3
        assert cold.distinct < hot.distinct
        assert cold.pitch_bits < hot.pitch_bits


def test_repetition_of_known_runs() -> None:
    score = score_of([(100.0 * i, 90.0, 60 + i % 4, 90) for i in range(12)])
    measured = repetition(score)
    assert measured.repeated == pytest.approx(5 / 9)  # nine runs of four, four of them different
    assert measured.distinct == pytest.approx(5 / 12)  # the first note has no time before it
    assert measured.pitch_bits == pytest.approx(2)


@pytest.mark.parametrize("score", [Score(np.zeros(0, dtype=NOTE)), score_of([(0, 100, 60, 90)], drum=True)])
def test_scores_without_pitched_notes_have_no_key_and_no_tempo(score: Score) -> None:
    assert estimate_key(score) is None
    assert estimate_tempo(score) is None
    assert tempo_error(score, 100) == math.inf
    assert tempo_strength(score, 100) == polyphony(score) == 0
    assert scale_share(score, 0, "major") == key_fit(score, 0, "major") == 0
    assert repetition(score).repeated == 0
