"""Notes are given to players: lines hold together, nobody plays more than they can."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.music.score.parts import OTHERS, SHORTEST_MS, Desk, assign_parts
from tests.music.score.building import score_of

VIOLIN, CELLO, PIANO = 40, 42, 0
TWO, THREE = Desk("violin", VIOLIN, 2), Desk("violin", VIOLIN, 3)

notes_of_violins = st.lists(st.tuples(
    st.integers(0, 200).map(lambda step: 10 * step), st.integers(1, 40).map(lambda step: 20 * step), st.integers(50, 90)),
    max_size=60, unique_by=lambda note: (note[0], note[2]))


def rows(*notes: Sequence[int], program: int = VIOLIN) -> np.ndarray:
    """Onset ms, duration ms and pitch of notes that come by onset."""
    return score_of([(*note, 64, program, False) for note in notes]).notes


def lines(notes: np.ndarray, *players: Desk) -> list[list[int]]:
    """Pitches of each part."""
    names, part, _ = assign_parts(notes, players)
    return [notes["pitch"][part == number].tolist() for number in range(len(names))]


def most_at_once(notes: np.ndarray, duration_ms: np.ndarray) -> int:
    ends = notes["onset_ms"] + duration_ms
    return max((int(((notes["onset_ms"] <= now) & (ends > now)).sum()) for now in notes["onset_ms"]), default=0)


def test_parts_are_named_after_their_players() -> None:
    names, part, duration_ms = assign_parts(rows(), [
        Desk("violin", VIOLIN, 2), Desk("double bass", 43), Desk("choir", 53, 3, 4), Desk("drums", None, 1, 4)])
    assert names == ("Violin 1", "Violin 2", "Double bass", "Choir", "Drums")
    assert len(part) == len(duration_ms) == 0


@pytest.mark.parametrize(("players", "voices"), [(0, 1), (1, 0)])
def test_nobody_cannot_play(players: int, voices: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Desk("violin", VIOLIN, players, voices)


def test_every_note_goes_to_its_instrument() -> None:
    notes = score_of([(0, 100, 60, 64, VIOLIN, False), (0, 100, 40, 64, PIANO, True), (10, 100, 50, 64, CELLO, False),
                      (20, 100, 60, 64, PIANO, False), (30, 100, 60, 64, 71, False)]).notes
    players = [Desk("piano", PIANO, 1, 10), Desk("drums", None, 1, 4), TWO, Desk("cello", CELLO)]
    names, part, _ = assign_parts(notes, players)
    assert names == ("Piano", "Drums", "Violin 1", "Violin 2", "Cello", OTHERS)
    assert part.tolist() == [2, 1, 4, 0, 5]


def test_lines_that_would_cross_change_hands() -> None:
    """One goes down, one up, whichever of them comes first in the score: the first player has what is on top."""
    notes = rows(*(note for i in range(7) for note in ((100 * i, 100, 72 - 2 * i), (100 * i, 100, 60 + 2 * i))))
    assert lines(notes, TWO) == [[72, 70, 68, 66, 68, 70, 72], [60, 62, 64, 66, 64, 62, 60]]


def test_a_single_line_stays_with_one_player() -> None:
    pitches = [67, 69, 71, 72, 79, 60, 62]
    assert lines(rows(*((100 * i, 100, pitch) for i, pitch in enumerate(pitches))), TWO) == [pitches, []]


def test_a_second_player_begins_below_the_first_one_only() -> None:
    assert lines(rows((0, 100, 60), (100, 100, 86)), TWO) == [[60, 86], []]
    assert lines(rows((0, 100, 86), (100, 100, 60)), TWO) == [[86], [60]]


def test_of_two_desks_of_a_program_the_first_plays() -> None:
    assert lines(rows((0, 100, 60)), TWO, Desk("fiddle", VIOLIN)) == [[60], [], []]


def test_a_note_goes_to_the_nearest_player_who_is_free() -> None:
    assert lines(rows((0, 100, 76), (0, 100, 60), (100, 100, 62), (200, 100, 74)), TWO) == [[76, 74], [60, 62]]
    assert lines(rows((0, 500, 76), (0, 100, 60), (100, 100, 72)), TWO) == [[76], [60, 72]]


def test_of_two_as_near_the_first_plays() -> None:
    assert lines(rows((0, 100, 70), (0, 100, 60), (100, 100, 65)), TWO) == [[70, 65], [60]]


def test_a_chord_goes_to_those_who_are_free_from_the_top_down() -> None:
    assert lines(rows((0, 900, 80), (100, 100, 60), (100, 100, 70)), THREE) == [[80], [70], [60]]
    held_below = rows((0, 900, 80), (0, 100, 70), (0, 900, 50), (100, 100, 66))
    assert lines(held_below, THREE) == [[80], [70, 66], [50]]
    assert lines(rows((0, 100, 80), (0, 900, 65), (0, 100, 50), (100, 100, 55), (100, 100, 75)), THREE) == [
        [80, 75], [65], [50, 55]]


def test_no_part_crosses_a_sounding_one_without_need() -> None:
    """The third player is nearer to the note, but it lies above what the second holds."""
    notes = rows((0, 100, 84), (0, 900, 65), (0, 100, 60), (100, 100, 70))
    assert lines(notes, THREE) == [[84, 70], [65], [60]]
    notes = rows((0, 100, 70), (0, 900, 65), (0, 100, 46), (100, 100, 60))
    assert lines(notes, THREE) == [[70], [65], [46, 60]]


def test_of_players_who_are_all_busy_the_nearest_goes_on_early() -> None:
    notes = rows((0, 1000, 76), (0, 1000, 60), (400, 100, 62), (410, 100, 75))
    _, part, duration_ms = assign_parts(notes, [TWO])
    assert part.tolist() == [0, 1, 1, 0]
    assert duration_ms.tolist() == [410, 400, 100, 100]


def test_players_may_play_in_unison() -> None:
    _, part, duration_ms = assign_parts(rows((0, 300, 60), (0, 500, 60), (100, 100, 64)), [TWO])
    assert sorted(part[:2].tolist()) == [0, 1]
    assert sorted(duration_ms.tolist()) in ([100, 100, 500], [100, 100, 300])


def test_a_line_that_is_slurred_by_a_little_stays_with_its_player() -> None:
    _, part, duration_ms = assign_parts(rows((0, 120, 72), (100, 120, 74), (200, 120, 76)), [TWO])
    assert part.tolist() == [0, 0, 0]
    assert duration_ms.tolist() == [100, 100, 120]


def test_a_note_that_is_cut_at_once_is_still_heard() -> None:
    _, _, duration_ms = assign_parts(rows((0, 500, 72), (5, 500, 74), (10, 8, 76), (12, 500, 77)), [Desk("flute", VIOLIN)])
    assert duration_ms.tolist() == [SHORTEST_MS, SHORTEST_MS, 8, 500]


def test_more_notes_than_players_go_to_the_last_one() -> None:
    notes = rows((0, 500, 72), (0, 500, 60), (0, 500, 64), (0, 400, 67), (300, 100, 70))
    _, part, duration_ms = assign_parts(notes, [TWO])
    assert part.tolist() == [0, 1, 1, 1, 0]
    assert duration_ms.tolist() == [300, 500, 500, 400, 100]


def test_an_instrument_of_many_voices_ends_what_would_end_first() -> None:
    notes = rows((0, 1000, 48), (0, 600, 60), (100, 800, 64), (200, 100, 67), (250, 100, 70), (600, 100, 72), program=PIANO)
    names, part, duration_ms = assign_parts(notes, [Desk("guitar", PIANO, 1, 3)])
    assert names == ("Guitar",)
    assert not part.any()
    assert duration_ms.tolist() == [1000, 200, 800, 50, 100, 100]
    assert assign_parts(notes, [Desk("guitar", PIANO, 2, 3)])[2].tolist() == notes["duration_ms"].tolist()


@given(notes_of_violins, st.integers(1, 4), st.integers(1, 3))
def test_nobody_plays_more_than_they_can(given_notes: list[tuple[int, int, int]], players: int, voices: int) -> None:
    seen: dict[int, int] = {}
    kept = []
    for note in sorted(given_notes):  # no more at once than there are voices
        seen[note[0]] = seen.get(note[0], 0) + 1
        if seen[note[0]] <= players * voices:
            kept.append(note)
    notes = rows(*kept)
    before = notes.copy()
    names, part, duration_ms = assign_parts(notes, [Desk("violin", VIOLIN, players, voices)])
    assert (notes == before).all()
    assert len(names) == (players if voices == 1 else 1)
    assert ((0 <= part) & (part < len(names))).all()
    assert (duration_ms <= notes["duration_ms"]).all()
    assert (duration_ms >= np.minimum(notes["duration_ms"], SHORTEST_MS)).all()
    left = np.where(duration_ms <= SHORTEST_MS, 0, duration_ms)  # what is left of notes cut at once may overlap
    assert most_at_once(notes, left) <= players * voices
    if voices == 1:
        for number in range(players):
            assert most_at_once(notes[part == number], left[part == number]) <= 1
        for i, j in zip(range(len(notes)), range(1, len(notes)), strict=False):
            if notes["onset_ms"][i] == notes["onset_ms"][j]:
                assert (part[i] < part[j]) == (notes["pitch"][i] > notes["pitch"][j])


@given(notes_of_violins.filter(lambda notes: len(notes) > 1), st.integers(1, 4))
def test_nothing_is_cut_where_there_are_players_enough(given_notes: list[tuple[int, int, int]], players: int) -> None:
    notes = rows(*sorted(given_notes))
    if most_at_once(notes, notes["duration_ms"]) <= players:
        _, _, duration_ms = assign_parts(notes, [Desk("violin", VIOLIN, players)])
        assert (notes["duration_ms"] - duration_ms <= 30).all()  # of slurs


def test_a_long_piece_takes_no_time() -> None:
    rng = np.random.default_rng(0)
    notes = rows(*sorted((int(onset) * 50, int(length), int(pitch)) for onset, length, pitch in zip(
        rng.integers(0, 400, 700), rng.integers(20, 600, 700), rng.integers(50, 90, 700), strict=True)))
    seconds = []
    for _ in range(10):
        begun = time.process_time()
        assign_parts(notes, [Desk("violin", VIOLIN, 4)])
        seconds.append(time.process_time() - begun)
    assert min(seconds) < 0.05
