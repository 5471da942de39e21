"""What form is found in pieces: chords by halves of bars, and bars that come back."""

from __future__ import annotations

import numpy as np
import pytest

from models.engines.pocket.features import CHORD_AT, NEXT_CHORD_AT
from models.engines.pocket.memory import LIKENESS_LEVELS, NO_RETURN, NOTHING, SOURCES
from models.music.attributes import Attributes
from models.music.form.chords import NO_CHORD
from models.music.score.notes import NOTE, Metre, Score, Tempo
from models.music.vocabulary.los_angeles import DURATION, PITCH
from models.training.corpus import piece_notes
from models.training.form import form_of
from models.training.rows import segment_of

C, D, E, F, G, A = 0, 2, 4, 5, 7, 9
MINOR, DIMINISHED = 12, 24
TRIADS = {C: (60, 64, 67), F: (60, 65, 69), G: (59, 62, 67), MINOR + A: (60, 64, 69), MINOR + D: (57, 62, 65),
          MINOR + C: (60, 63, 67), DIMINISHED + 11: (59, 62, 65)}


def piece(*notes: tuple[float, float, int], metre: tuple[int, int] = (4, 4), drums: bool = False) -> np.ndarray:
    """Notes (quarter, length in quarters, pitch) at 120 quarters a minute; the lowest stand last at their place."""
    rows = np.zeros(len(notes), dtype=NOTE)
    for row, (start, length, pitch) in zip(rows, sorted(notes, key=lambda note: (note[0], -note[2])), strict=True):
        row["onset_tick"], row["onset_ms"], row["duration_ms"] = 480 * start, 500 * start, 500 * length
        row["pitch"], row["velocity"], row["drum"] = pitch, 80, drums
    return piece_notes(Score(rows, 480, (Tempo(0, 500_000),), (Metre(0, *metre),)))


def harmony(*chords: int, length: float = 2) -> list[tuple[float, float, int]]:
    """Chords of so many quarters, each over its root."""
    return [(length * place, length, pitch) for place, chord in enumerate(chords)
            for pitch in (36 + chord % 12, *TRIADS[chord])]


def units(found: np.ndarray, notes: np.ndarray, length: float = 2) -> list[int]:
    """The chord of each harmonic unit in which a note begins."""
    place = (notes["quarters"] // length).astype(int)
    assert all(len(set(found[place == unit])) == 1 for unit in place)
    return [int(found[place == unit][0]) for unit in sorted(set(place.tolist()))]


def test_chords_are_found_by_halves_of_bars() -> None:
    notes = piece(*harmony(C, F, G, C, MINOR + A, MINOR + D, DIMINISHED + 11, C))
    form = form_of(notes)
    assert units(form.chord, notes) == [C, F, G, C, MINOR + A, MINOR + D, DIMINISHED + 11, C]
    assert units(form.next_chord, notes) == [F, G, C, MINOR + A, MINOR + D, DIMINISHED + 11, C, NO_CHORD]


@pytest.mark.parametrize(("metre", "length"), [((3, 4), 3.0), ((6, 8), 1.5), ((2, 4), 2.0), ((12, 8), 3.0), ((5, 4), 5.0)])
def test_chords_are_found_in_every_metre(metre: tuple[int, int], length: float) -> None:
    notes = piece(*harmony(C, G, F, MINOR + D, C, length=length), metre=metre)
    assert units(form_of(notes).chord, notes, length) == [C, G, F, MINOR + D, C]


def test_a_broken_chord_is_one_chord() -> None:
    notes = piece(*((2 * place + step / 2, 0.5, TRIADS[chord][step % 3]) for place, chord in enumerate((C, F, G))
                    for step in range(4)))
    assert units(form_of(notes).chord, notes) == [C, F, G]


def test_a_passing_note_changes_nothing_and_what_is_clearly_another_chord_does() -> None:
    notes = piece(*harmony(C, C), (2.5, 0.5, 69), (3, 0.5, 65))
    assert units(form_of(notes).chord, notes) == [C, C]


def test_a_chord_that_is_held_sounds_on() -> None:
    """It is struck in the first half and held through the bar; then one note of the melody is heard over it."""
    notes = piece(*((0, 8, pitch) for pitch in (36, *TRIADS[C])), (2, 2, 67), (4, 2, 72), (6, 2, 64))
    assert units(form_of(notes).chord, notes) == [C] * 4


def test_a_short_note_after_a_rest_keeps_the_chord_before() -> None:
    notes = piece(*harmony(C), (2.5, 0.125, 66), *((start + 4, length, pitch) for start, length, pitch in harmony(G)))
    assert units(form_of(notes).chord, notes) == [C, C, G]


def test_rests_do_not_count_as_units() -> None:
    """What comes next is the next chord there is, not the silence before it."""
    notes = piece(*harmony(C), *((start + 40, length, pitch) for start, length, pitch in harmony(F)))
    assert units(form_of(notes).chord, notes) == [C, F]
    assert units(form_of(notes).next_chord, notes) == [F, NO_CHORD]


def test_drums_have_no_chords_and_come_back_in_no_bar() -> None:
    notes = piece(*((quarter, 0.5, 36 + quarter % 2 * 2) for quarter in range(32)), drums=True)
    form = form_of(notes)
    assert set(form.chord) == set(form.next_chord) == {NO_CHORD}
    assert set(form.returns) == {-1}
    assert set(form.level) == {NO_RETURN}
    assert len(form.returns) == 8


def test_drums_have_the_chord_that_sounds_with_them() -> None:
    pitched, drums = piece(*harmony(C, F)), piece((0, 0.5, 36), (3.5, 0.5, 37), drums=True)
    both = np.concatenate((pitched, drums))
    both = both[np.argsort(both["onset_ms"], kind="stable")]
    assert units(form_of(both).chord, both) == [C, F]


# Bars that come back

MELODY = [60, 64, 67, 72, 71, 67, 65, 62]
OTHER = [48, 50, 51, 53, 55, 56, 58, 49]


def bars(*pitches: list[int]) -> np.ndarray:
    """Bars of eighths."""
    return piece(*((4 * bar + step / 2, 0.5, pitch) for bar, row in enumerate(pitches) for step, pitch in enumerate(row)))


def test_a_bar_comes_back_to_the_last_one_that_is_the_same() -> None:
    third = [pitch + 20 for pitch in OTHER]
    form = form_of(bars(MELODY, OTHER, MELODY, third, MELODY, OTHER))
    assert form.returns.tolist() == [-1, -1, 0, -1, 2, 1]
    assert form.level.tolist() == [NO_RETURN, NO_RETURN, 2, NO_RETURN, 2, 2]


@pytest.mark.parametrize(("same", "level"), [(8, 2), (7, 2), (6, 1), (5, 0), (4, 0), (3, NO_RETURN), (0, NO_RETURN)])
def test_the_level_says_how_much_is_the_same(same: int, level: int) -> None:
    """Of eight notes; likeness is what both have over what either has: 7 of 9, 6 of 10, 5 of 11, 4 of 12, 3 of 13."""
    assert LIKENESS_LEVELS == (0.3, 0.5, 0.75)
    form = form_of(bars(MELODY, MELODY[:same] + [pitch + 25 for pitch in MELODY[same:]]))
    assert form.level[1] == level
    assert form.returns[1] == (-1 if level == NO_RETURN else 0)


def test_the_likest_bar_comes_back_not_the_nearest() -> None:
    form = form_of(bars(MELODY, MELODY[:5] + OTHER[5:], [*MELODY[:7], 30]))
    assert (form.returns[2], form.level[2]) == (0, 2)


def test_the_same_pitches_elsewhere_in_the_bar_or_an_octave_higher_are_no_return() -> None:
    assert form_of(bars(MELODY, MELODY[1:] + MELODY[:1])).returns.tolist() == [-1, -1]
    assert form_of(bars(MELODY, [pitch + 12 for pitch in MELODY])).returns.tolist() == [-1, -1]


def test_a_bar_of_a_note_or_two_does_not_come_back() -> None:
    assert form_of(bars(MELODY[:2], MELODY[:2])).returns.tolist() == [-1, -1]
    assert form_of(bars(MELODY[:3], MELODY[:3])).returns.tolist() == [-1, 0]


def test_a_bar_does_not_come_back_after_a_hundred() -> None:
    far = [(4 * 97 + step / 2, 0.5, pitch) for step, pitch in enumerate(MELODY)]
    near = [(4 * 96 + step / 2, 0.5, pitch) for step, pitch in enumerate(MELODY)]
    first = [(step / 2, 0.5, pitch) for step, pitch in enumerate(MELODY)]
    assert form_of(piece(*first, *near)).returns[96] == 0
    assert form_of(piece(*first, *far)).returns[97] == -1


def test_a_bar_that_is_empty_is_counted() -> None:
    form = form_of(bars(MELODY, [], MELODY))
    assert form.returns.tolist() == [-1, -1, 0]


# In a segment


def test_transposition_moves_chords_and_what_is_remembered() -> None:
    notes = piece(*harmony(C, F, MINOR + D, G, C, F, MINOR + D, G))
    plain, moved = (segment_of(notes, Attributes(), 0, len(notes), semitones=by) for by in (0, 3))
    chords = plain.grid[:, 6] - CHORD_AT
    assert set(chords) == {C, F, MINOR + D, G}
    assert (moved.grid[:, 6] - CHORD_AT).tolist() == [12 * (chord // 12) + (chord + 3) % 12 for chord in chords.tolist()]
    last = plain.grid[:, 7] == NEXT_CHORD_AT + NO_CHORD
    assert last.any()
    assert (moved.grid[last, 7] == NEXT_CHORD_AT + NO_CHORD).all()
    assert ((moved.grid[~last, 7] - plain.grid[~last, 7]) % 12 == 3).all()
    assert moved.grid[:, :6].tolist() == plain.grid[:, :6].tolist()

    pitches = (plain.memory >= PITCH) & (plain.memory != NOTHING)
    assert pitches[:, -1].any(), "two bars come back"
    assert pitches[:, :SOURCES - 1].any()
    assert (moved.memory[pitches] - plain.memory[pitches] == 3).all()
    assert (moved.memory[~pitches] == plain.memory[~pitches]).all()
    assert (moved.marks == plain.marks).all()


def test_a_segment_remembers_the_bar_that_its_own_brings_back() -> None:
    """Bars 0 and 2 are the same: in the third, every id of the first is remembered, at the highest level."""
    notes = bars(MELODY, OTHER, MELODY)
    whole = segment_of(notes, Attributes(), 0, len(notes))
    remembered = whole.memory[3:].reshape(-1, 3, SOURCES)[:, :, -1]
    assert (remembered[:16] == NOTHING).all()
    assert remembered[16:, 1].tolist() == [PITCH + pitch for pitch in MELODY]
    assert ((remembered[16:, 0] >= DURATION) & (remembered[16:, 0] < PITCH)).all()
    assert set(remembered[16:, 2]) == {25}
    assert len(set(whole.marks[3 + 48:, -1])) == 1
    assert whole.marks[-1, -1] == whole.marks[3, -1] + 2
