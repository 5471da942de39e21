"""The n-gram baseline against probabilities worked out by hand, and against the law that they sum to 1."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from models.errors import InputError
from models.music.vocabulary.los_angeles import CHANNEL_COUNT, DURATION, HEADER_PITCH, NO_DRUMS, PITCH, START
from models.training.corpus import PIECE_NOTE, Corpus
from models.training.ngram import NGram, baseline, training_ids

HEADER = [START, NO_DRUMS, CHANNEL_COUNT + 1]


def piece(*notes: tuple[int, int, int]) -> np.ndarray:
    return np.array(HEADER + [id_ for t, d, p in notes for id_ in (t, DURATION + d, PITCH + p)])


def random_piece(seed: int, notes: int = 60) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return piece(*zip(*(rng.integers(8, 8 + size, notes).tolist() for size in (3, 4, 5)), strict=True))


def test_a_bigram_is_as_worked_out_by_hand() -> None:
    """P 1, P 1, P 2, all after D 8: three P ids, two different; the shorter history leans on a uniform P (1536)."""
    ngram = NGram(piece((5, 8, 1), (5, 8, 1), (6, 8, 2)), order=2)
    nats = ngram.nats(piece((5, 8, 1), (6, 9, 2)))
    unigram_1 = (2 + 2 * Fraction(1, 1536)) / 5
    unigram_2 = (1 + 2 * Fraction(1, 1536)) / 5
    assert math.exp(-nats[5]) == pytest.approx(float((2 + 2 * unigram_1) / 5))  # after D 8, thrice followed, two kinds
    assert math.exp(-nats[8]) == pytest.approx(float(unigram_2))  # after D 9, never heard: the shorter history
    unigram_d9 = Fraction(1, 1024) / 4  # three D ids of one kind, and 9 is not among them
    assert math.exp(-nats[7]) == pytest.approx(float(unigram_d9 / 2))  # after T 6, once followed, by one kind
    unigram_t6 = (1 + 3 * Fraction(1, 129)) / 7  # T is 128 times and the start of a piece: here 5, 5, 6, start
    assert math.exp(-nats[6]) == pytest.approx(float((1 + 2 * unigram_t6) / 4))  # after P 1, followed by 5 and by 6


@pytest.mark.parametrize("kind", ["T", "D", "P"])
def test_probabilities_of_a_kind_sum_to_one(kind: str) -> None:
    ngram = NGram(np.concatenate([random_piece(seed) for seed in range(3)]))
    place = 60 + "TDP".index(kind)
    choices = {"T": range(DURATION), "D": range(DURATION, PITCH), "P": range(PITCH, HEADER_PITCH)}[kind]
    pieces = np.tile(random_piece(0)[:63], (len(choices), 1))  # the same history again and again
    pieces[:, place] = choices
    total = np.exp(-ngram.nats(pieces.ravel()).reshape(pieces.shape)[:, place]).sum()
    if kind == "T":  # another piece may start instead
        total += math.exp(-ngram.nats(np.append(pieces[0, :60], START))[-1])
    assert total == pytest.approx(1, abs=1e-9)


def test_probabilities_do_not_depend_on_what_follows() -> None:
    ngram = NGram(random_piece(1))
    ids = random_piece(2)
    whole = ngram.nats(ids)
    for length in (1, 4, 7, 50):
        assert ngram.nats(ids[:length]) == pytest.approx(whole[:length])


def test_longer_histories_help_where_they_tell_what_follows() -> None:
    cycle = piece(*[(n % 3 + 1, 8 + n % 4, n % 6 + 1) for n in range(200)])
    shuffled = random_piece(5, 200)
    long, short = NGram(cycle, 6), NGram(cycle, 1)
    assert long.nats(cycle[:90])[6:].mean() < 0.1 < 1 < short.nats(cycle[:90])[6:].mean()
    assert long.nats(shuffled).mean() > 3


def test_headers_and_the_first_id_are_not_counted() -> None:
    losses = NGram(random_piece(1)).losses(np.concatenate((random_piece(2, 10), random_piece(3, 20))))
    assert {kind: count for kind, (_, count) in losses.items()} == {"T": 31, "D": 30, "P": 30}  # one start among T


@pytest.mark.parametrize("ids", [[], [HEADER_PITCH], [0, PITCH], [START, 0], [0, DURATION, PITCH, DURATION]])
def test_ids_outside_the_grammar_are_refused(ids: list[int]) -> None:
    with pytest.raises(InputError):
        NGram(np.array(ids, dtype=np.int64))


def corpus() -> Corpus:
    rng = np.random.default_rng(7)
    pieces = []
    for length in (40, 400, 90, 60):
        notes = np.zeros(length, dtype=PIECE_NOTE)
        notes["onset_ms"] = np.arange(length) * 125.0
        notes["duration_ms"], notes["quarter_ms"], notes["velocity"] = 120, 500, 90
        notes["pitch"] = 60 + rng.integers(0, 5, length)
        pieces.append(notes)
    entries = [{"file": f"{i}.mid", "split": "val" if i == 1 else "train"} for i in range(4)]
    return Corpus(entries, np.concatenate(pieces), np.concatenate(([0], np.cumsum([len(p) for p in pieces]))), {})


def test_training_ids_are_whole_train_pieces_up_to_the_limit() -> None:
    everything = training_ids(corpus(), 10_000)
    assert len(everything) == 3 * 3 + 3 * (40 + 90 + 60)
    assert (everything == START).sum() == 3
    assert (training_ids(corpus(), 1) == START).sum() == 1


def test_the_baseline_knows_what_val_has_in_common_with_train() -> None:
    result = baseline(corpus(), 10_000)
    assert max(result["T"], result["D"]) < 0.1  # always the same
    assert math.log(5) - 0.1 < result["P"] < math.log(5) + 0.6  # one of five, at random
    assert result["all"] == pytest.approx((result["T"] + result["D"] + result["P"]) / 3)
