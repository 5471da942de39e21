"""Which id may follow which."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import InputError
from models.music.vocabulary.grammar import ALLOWED, NEXT, Place, allowed_after, kind_of, place_after
from models.music.vocabulary.los_angeles import SIZE, decode, encode
from tests.music.score.building import score_of

T, D, P = set(range(128)), set(range(128, 1152)), set(range(1152, 2688))
CONTROL, START, DRUMS, COUNTS = set(range(2688, 2816)), {2816}, {2817, 2818}, set(range(2819, 2831))
ids_lists = st.lists(st.one_of(
    st.sampled_from((0, 127, 128, 1151, 1152, 2687, 2688, 2815, 2816, 2817, 2818, 2819, 2830)),
    st.integers(0, SIZE - 1)))


def after(*ids: int, end: bool = True) -> set[int]:
    return set(np.flatnonzero(allowed_after(ids, end=end)).tolist())


def test_every_id_has_one_kind() -> None:
    assert {kind: {i for i in range(SIZE) if kind_of(i) == kind} for kind in ("T", "D", "P", "header")} == {
        "T": T, "D": D, "P": P, "header": CONTROL | START | DRUMS | COUNTS}
    for outside in (-1, SIZE):
        with pytest.raises(InputError, match=r"0\.\.2830"):
            kind_of(outside)


def test_a_full_header_leads_to_notes() -> None:
    header = (2816, 2818, 2821, 14, 195, 2751)
    assert [after(*header[:n]) for n in range(7)] == [START, DRUMS, COUNTS, T, D, CONTROL | P, T]
    assert after(*header, 3) == D
    assert after(*header, 3, 200) == P


def test_a_short_header_leads_to_a_note_at_once() -> None:
    assert after(2816, 2817, 2819, 0, 215, 1224) == T | START
    assert after(2816, 2817, 2819, 0, 215, 1224, 5, 215) == P


def test_after_a_note_comes_a_note_or_the_next_piece() -> None:
    assert after(5, 200, 1212) == T | START
    assert after(5, 200, 1212, end=False) == T
    assert after(2816, 2817, 2819, 5, 200, 2700, end=False) == T
    assert after(end=False) == START


def test_a_context_may_begin_in_the_middle() -> None:
    assert [after(200), after(1212), after(7), after(2700), after(2818), after(2825)] == [P, T | START, D, T, COUNTS, T]
    assert after(2825, 7, 200) == P | CONTROL


def test_2818_says_drums_and_never_a_number_of_channels() -> None:
    assert after(2816, 2818) == COUNTS
    assert 2818 not in after(2816, 2817)


@given(ids_lists)
def test_the_last_ids_decide(ids: list[int]) -> None:
    place = Place.NOTHING
    for token in ids:
        place = Place(NEXT[place, token])
    assert place_after(ids) is place
    assert (allowed_after(ids) == ALLOWED[place]).all()


@given(st.integers(0, 2**32), st.integers(1, 40))
def test_ids_drawn_by_the_grammar_all_become_notes(seed: int, notes: int) -> None:
    rng = np.random.default_rng(seed)
    ids = [2816, 2818, 2822, 5, 200, 2750]
    for _ in range(3 * notes):
        ids.append(int(rng.choice(np.flatnonzero(allowed_after(ids, end=False)))))
    assert len(decode(ids)) == notes


def test_what_is_encoded_is_grammatical() -> None:
    score = score_of([(i * 100, 150, 40 + i, 64, 0, i % 3 == 0) for i in range(30)])
    ids = encode(score).ids
    assert all(allowed_after(ids[:n])[ids[n]] for n in range(len(ids)))


def test_the_tables_cannot_be_changed_by_accident() -> None:
    for table in (ALLOWED, NEXT):
        with pytest.raises(ValueError, match="read-only"):
            table[0, 0] = 1
    allowed_after([5, 200, 1212])[:] = False
    assert after(5, 200, 1212) == T | START
