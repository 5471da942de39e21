"""A baseline for the pocket model: an n-gram with interpolated Witten-Bell smoothing over ids.

The grams form a trie. Each level is a sorted array of `parent * SIZE + id`, so the children of a
node lie side by side, a lookup is a binary search, and millions of ids are counted by sorting.

A history's estimate leans on the next shorter one as much as new ids have followed it:
p(id | h) = (c(h, id) + n(h) * p(id | h shortened)) / (c(h) + n(h)), where n(h) is the number of
different ids after h. The shortest history is only the kind of the id (T with the start of
another piece, D, or P, known from the place as in the pocket model's loss); it leans on a uniform
distribution over the ids of that kind. (Witten and Bell 1991; Chen and Goodman 1998, section 2.5.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from models.engines.pocket.network import KINDS
from models.errors import InputError
from models.music.attributes import attributes_of
from models.music.vocabulary.los_angeles import CHANNEL_COUNT, DURATION, HEADER_PITCH, NO_DRUMS, PITCH, SIZE, START, TIME
from models.training.corpus import Corpus
from models.training.evaluate import EVALUATED_IDS
from models.training.rows import segment_of

ORDER = 6
_FLAG, _COUNT = len(KINDS), len(KINDS) + 1  # kinds of the header's second and third id
_NEXT_KIND = (1, 2, 0, _COUNT, 0)  # what follows T, D, P, the drums flag and the channel count


def _kind_table() -> np.ndarray:
    table = np.full(SIZE, -1, dtype=np.int64)
    table[TIME:DURATION] = table[START] = KINDS.index("T")
    table[DURATION:PITCH] = KINDS.index("D")
    table[PITCH:HEADER_PITCH] = KINDS.index("P")
    table[NO_DRUMS:CHANNEL_COUNT + 1] = _FLAG
    table[CHANNEL_COUNT + 1:SIZE] = _COUNT
    return table


_KIND = _kind_table()
_KIND_SIZE = np.bincount(_KIND[_KIND >= 0])


@dataclass(frozen=True)
class _Level:
    """Grams of one length, sorted; a node is a place in `keys`."""

    keys: np.ndarray  # parent * SIZE + id
    counts: np.ndarray  # how often each gram occurs
    followed: np.ndarray  # (nodes of the level above,): c(h), how often a node is followed by an id
    followers: np.ndarray  # (nodes of the level above,): n(h), by how many different ones

    def find(self, keys: np.ndarray) -> np.ndarray:
        """Nodes of the keys, -1 where a gram never occurred."""
        place = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[place] == keys, place, -1)


class NGram:
    """An n-gram that has counted some ids."""

    def __init__(self, ids: np.ndarray, order: int = ORDER) -> None:
        """Count one run of pieces, each with its header of three ids, shape (ids,).

        Raises InputError when the ids do not follow the grammar (header, then T, D, P over and over).
        """
        _check(ids)
        self.order = order
        self._levels: list[_Level] = []
        parents, nodes = _KIND[ids], len(_KIND_SIZE)
        for length in range(1, order + 1):
            last = ids[length - 1:]
            if not len(last):
                break
            # A gram's parent is what precedes its last id: a node above, for single ids their kind.
            grams = parents[:len(last)] * SIZE + last
            keys, inverse, counts = np.unique(grams, return_inverse=True, return_counts=True)
            of = keys // SIZE
            followed = np.bincount(of, weights=counts, minlength=nodes)
            self._levels.append(_Level(keys, counts, followed, np.bincount(of, minlength=nodes)))
            parents, nodes = inverse, len(keys)

    def nats(self, ids: np.ndarray) -> np.ndarray:
        """Negative log-probability of each id after the ones before it in the array, shape (ids,).

        Only as many ids count as history as there are. Raises InputError outside the grammar.
        """
        _check(ids)
        probability = 1 / _KIND_SIZE[_KIND[ids]]
        parents = _KIND[ids]  # of the gram that starts at each place
        for length, level in enumerate(self._levels, start=1):
            last = ids[length - 1:]
            if not len(last):
                break
            parents = parents[:len(last)]
            known = parents >= 0
            node = level.find(np.where(known, parents * SIZE + last, -1))
            seen = np.where(node >= 0, level.counts[node], 0)
            new = np.where(known, level.followers[parents], 0)
            total = np.where(known, level.followed[parents], 0) + new
            shorter = probability[length - 1:]
            # A history that was never followed leaves the shorter one's estimate as it is.
            probability[length - 1:] = np.where(total > 0, (seen + new * shorter) / np.maximum(total, 1), shorter)
            parents = node
        nats: np.ndarray = -np.log(probability)
        return nats

    def losses(self, ids: np.ndarray) -> dict[str, tuple[float, int]]:
        """Sum of nats and number of ids of each kind; the first id and headers are given, not predicted."""
        nats, kinds = self.nats(ids)[1:], _KIND[ids[1:]]
        return {kind: (float(nats[kinds == number].sum()), int((kinds == number).sum()))
                for number, kind in enumerate(KINDS)}


def _check(ids: np.ndarray) -> None:
    if not len(ids):
        raise InputError("there are no ids; at least one piece is needed")
    kinds = _KIND[ids]
    if kinds[0] < 0:
        raise InputError(f"id {int(ids[0])} is not one of T, D, P or a header of three ids")
    expected = np.where(ids == START, _FLAG, np.array([*_NEXT_KIND, -1])[kinds])
    wrong = np.flatnonzero(expected[:-1] != kinds[1:])
    if len(wrong):
        place = int(wrong[0]) + 1
        raise InputError(f"id {int(ids[place])} at place {place} cannot follow id {int(ids[place - 1])}; "
                         "pieces are a header of three ids and then T, D, P for each note")


def training_ids(corpus: Corpus, limit: int, seed: int = 1) -> np.ndarray:
    """About `limit` ids of whole `train` pieces as written, not augmented, each with its header.

    Pieces are drawn uniformly without putting any back, which is how `val` was drawn; the shares
    of sources do not apply.
    """
    pieces = np.random.default_rng(seed).permutation(corpus.split("train"))
    parts: list[np.ndarray] = []
    size = 0
    for number in pieces:
        if size >= limit:
            break
        piece = corpus.piece(int(number))
        parts.append(segment_of(piece, attributes_of(corpus.entries[int(number)]), 0, len(piece)).ids)
        size += len(parts[-1])
    return np.concatenate(parts)


def evaluate_ngram(ngram: NGram, corpus: Corpus, pieces: Sequence[int]) -> dict[str, float]:
    """Nats per id over the first 512 ids of each piece, exactly the ids that `evaluate` counts."""
    nats, counts = dict.fromkeys(KINDS, 0.0), dict.fromkeys(KINDS, 0)
    for number in pieces:
        segment = segment_of(corpus.piece(number), attributes_of(corpus.entries[number]), 0, EVALUATED_IDS // 3)
        for kind, (total, count) in ngram.losses(segment.ids[:EVALUATED_IDS + 1]).items():
            nats[kind] += total
            counts[kind] += count
    result = {kind: nats[kind] / max(counts[kind], 1) for kind in KINDS}
    result["all"] = sum(nats.values()) / max(sum(counts.values()), 1)
    return result


def baseline(corpus: Corpus, train_ids_limit: int = 2_500_000, order: int = ORDER) -> dict[str, float]:
    """Nats per id of T, D, P and all of them on `val`, for an n-gram of about that many `train` ids.

    On the shipped model's corpus, order 6: see docs/measures.md.
    """
    return evaluate_ngram(NGram(training_ids(corpus, train_ids_limit), order), corpus, corpus.split("val"))
