"""Ids to scores."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import InputError
from models.music.score import read_midi, write_midi
from models.music.score.programs import DRUMS, PATCHES
from models.music.vocabulary.los_angeles import (
    DURATION,
    HEADER_LENGTH,
    HEADER_PITCH,
    NO_DRUMS,
    PITCH,
    SIZE,
    START,
    decode,
    decode_events,
    encode,
    prime_seconds,
)

HEADER = [2816, 2817, 2819, 14, 195, 2751]
A, B = [0, 285, 1212], [5, 293, 1214]  # C and D on the piano


def events(ids: list[int], *, compat: bool = False) -> list[tuple[int, ...]]:
    return [tuple(event) for event in decode_events(ids, compat=compat).tolist()]


@st.composite
def pieces(draw: st.DrawFn) -> list[int]:
    """Triplets as an encoder makes them: chords from the top down, no pitch twice in a chord."""
    ids: list[int] = []
    melodic = draw(st.integers(0, 10).map(lambda channel: channel + (channel >= DRUMS)))
    for number in range(draw(st.integers(1, 12))):
        pitches = sorted(draw(st.sets(st.integers(1, 127), min_size=1, max_size=4)), reverse=True)
        step = draw(st.integers(1, 127)) if number else 0
        for place, pitch in enumerate(pitches):
            channel = draw(st.integers(0, 11)) if number else melodic
            ids += [0 if place else step, DURATION + draw(st.integers(8, 1023)), PITCH + 128 * channel + pitch]
    return ids


@given(pieces())
def test_encoding_what_was_decoded_gives_the_same_ids(ids: list[int]) -> None:
    encoded = encode(decode(ids))
    assert encoded.ids[HEADER_LENGTH:] == ids
    assert encode(decode(encoded.ids)).ids == encoded.ids
    assert encoded.dropped_notes == 0


@given(pieces())
def test_the_way_through_a_file_keeps_time_and_pitch(ids: list[int]) -> None:
    stream = io.BytesIO()
    write_midi(decode(ids), stream)
    again = np.array(encode(read_midi(stream)).ids[HEADER_LENGTH:]).reshape(-1, 3)
    assert again[:, ::2].tolist() == np.array(ids).reshape(-1, 3)[:, ::2].tolist()


@given(st.lists(st.one_of(
    st.integers(0, SIZE - 1), st.sampled_from((0, 127, 128, 1151, 1152, 2687, 2688, 2816, 2830)))))
def test_any_ids_decode_to_notes_that_a_file_can_hold(ids: list[int]) -> None:
    score = decode(ids)
    write_midi(score, io.BytesIO())
    assert score.notes["duration_ms"].min(initial=20) >= 20
    assert set(score.notes["program"].tolist()) <= set(PATCHES)
    assert prime_seconds(ids) == score.notes["onset_ms"].max(initial=0) / 1000
    assert len(decode_events(ids, compat=True)) <= len(ids) // 3


@given(st.lists(st.integers(0, SIZE - 1), max_size=30), pieces())
def test_noise_before_a_header_costs_no_note_after_it(noise: list[int], ids: list[int]) -> None:
    assert events([*noise, *HEADER, *ids])[-len(ids) // 3:] == [
        (onset + int(1000 * prime_seconds([*noise, START])), *rest) for onset, *rest in events(ids)]


@pytest.mark.parametrize("ids", [
    [-1], [SIZE], [10**30], [1.5], ["a"], [[1, 2], [3]], [[1, 2]], [None], [2**63, -1], [True]])
def test_what_is_no_id_is_a_clear_error(ids: Any) -> None:
    with pytest.raises(InputError, match=r"ids must be a list of integers 0\.\.2830"):
        decode(ids)


def test_values_of_a_note() -> None:
    drum = [7, DURATION + 8 * 3 + 7, PITCH + 128 * 9 + 36]
    flute = [3, DURATION + 8 * 127, PITCH + 128 * 8 + 80]
    score = decode([*drum, *flute], name="x")
    assert score.name == "x"
    assert score.notes.tolist() == [(70.0, 60.0, 70, 36, 120, 0, True), (100.0, 2540.0, 100, 80, 15, 73, False)]
    assert (score.ticks_per_quarter, score.tempos) == (1000, ((0, 1_000_000),))


def test_a_header_is_skipped_wherever_it_stands_and_takes_no_time() -> None:
    assert events([*HEADER, *A, *HEADER, *B]) == events([*A, *B])
    assert events([*HEADER[:3], *A, *B]) == events([*A, *B])


@pytest.mark.parametrize("junk", [
    B[1:], B[2:], [9], [9, 285], [9, 1212], [9, 285, 285, 1212], [9, 9, 285], [9, 285, 1212, 1214],
    [9, 1212, 285], [9, 285, 285], [9, 1212, 1212], [NO_DRUMS, 285, 1212], [HEADER_PITCH, 285, 1212],
    [START, 285, 1212],
])
def test_what_is_not_a_note_is_dropped_and_takes_no_time(junk: list[int]) -> None:
    assert events([*junk, *A, *B]) == events([*A, *B])


def test_a_duration_of_zero_is_one_step() -> None:
    assert events([0, DURATION, 1212]) == [(0, 20, 0, 60, 15)]
    assert decode([0, DURATION, 1212]).notes["duration_ms"].tolist() == [20]


class TestCompat:
    def test_the_last_note_is_lost(self) -> None:
        assert events([*A, *B], compat=True) == events(A)
        assert events([*A, *B, 0], compat=True) == events([*A, *B])

    def test_groups_of_three_wrong_kinds_are_notes(self) -> None:
        assert events([1, 1212, 285, 0], compat=True) == [(10, 2700, -7, 29, 75)]

    def test_header_ids_move_the_clock_by_half_a_minute(self) -> None:
        assert events([NO_DRUMS, 285, 1212, 0], compat=True) == [(28_170, 380, 0, 60, 90)]

    def test_a_duration_of_zero_stays_zero(self) -> None:
        assert events([0, DURATION, 1212, 0], compat=True) == [(0, 0, 0, 60, 15)]

    def test_headers_and_partial_triplets_are_dropped_alike(self) -> None:
        ids = [1212, *HEADER, *A, 9, 9, *B, 285, 0]
        assert events(ids, compat=True) == events(ids) == events(A)


def test_the_prime_ends_with_the_start_of_its_last_note_without_the_header() -> None:
    assert prime_seconds([]) == prime_seconds(HEADER) == 0
    assert prime_seconds([*HEADER, *A, *B]) == 0.05
    assert prime_seconds([*HEADER, *A, *B, *B, 100]) == 0.1
