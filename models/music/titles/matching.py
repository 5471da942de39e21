"""The best matches of a title and an artist in a list of known songs, as the seed system finds them.

The score is WRatio of `rapidfuzz` over texts in lower case whose other characters than letters and
digits became spaces, of the query `title --- artist` against entries written the same way. It is
generous: an entry several times as long as the query, or shorter, gets 85.5 for one shared word. So does one that has
the title and the composer's surname, and more; title and composer are looked at one by one to tell them apart.
"""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from rapidfuzz import fuzz, process, utils

from models.errors import InputError
from models.music.attributes import composer_key

SEPARATOR = " --- "
LONGEST_TEXT = 100  # characters of a title or an artist that are looked at
# WRatio's prices: 100 for one shared word * 0.95 for sorting words * 0.9 for taking a part is 85.5.
# Below this, a match may rest on nothing but that word.
LOW_SCORE = 86.0
_TELLING = 4  # letters that a title needs, to be found inside another one
_NEAREST_FIRST = 256  # entries scored before the others, to learn what the others must reach
_ROUNDING = 1e-6


@dataclass(frozen=True)
class TitleMatch:
    """An entry of the list: its number there, its text, and how well it fits (0 to 100)."""

    number: int
    title: str
    score: float
    named: bool = False  # its composer is the one that was asked for, and its title is, or holds, the one

    @property
    def low(self) -> bool:
        """Whether the match may be a chance one."""
        return self.score < LOW_SCORE and not self.named


def query_of(title: str, artist: str) -> str:
    """What is looked for: `title --- artist`, or the one that is given.

    Raises InputError when both are empty.
    """
    given = [text for text in (title[:LONGEST_TEXT].strip(), artist[:LONGEST_TEXT].strip()) if text]
    if not given:
        raise InputError("title and artist are both empty; give a title, an artist or any text")
    return SEPARATOR.join(given)


def in_words(match: TitleMatch) -> str:
    """A sentence about a low match: it is probably not the song that was meant."""
    if match.score <= 0:
        return "no known title resembles the request"
    return (f"no close match: the nearest title is “{' - '.join(match.title.split(SEPARATOR))}” with {match.score:.0f} of 100, "
            "probably not the song that was meant")


class TitleIndex:
    """A list of `Song --- Artist` texts that can be searched. Keeps the list's numbering."""

    def __init__(self, titles: Sequence[str]) -> None:
        self._titles = tuple(titles)
        self._texts = [utils.default_process(title) for title in self._titles]

    def __len__(self) -> int:
        return len(self._titles)

    def match(self, title: str, artist: str = "", limit: int = 5, seed: int | None = None) -> list[TitleMatch]:
        """The `limit` best entries, best first; fewer where the list is shorter.

        Equal scores are ordered by the plain similarity of the whole texts, then by number, or
        with a `seed` in an order drawn by it: among namesakes every seed has its own first one.
        Raises InputError when title and artist are empty or `limit` is below 1.
        """
        if limit < 1:
            raise InputError(f"limit must be at least 1, not {limit}")
        query = utils.default_process(query_of(title, artist))
        if not self._texts:
            return []
        if not query:  # nothing but punctuation and pictures: nothing resembles it
            return [TitleMatch(number, text, 0.0) for number, text in enumerate(self._titles[:limit])]
        similarity = _scores(query, self._texts, fuzz.ratio)
        scores = self._weighted(query, similarity, limit)
        last = np.partition(scores, -limit)[-limit] if limit < len(scores) else scores.min()
        candidates = np.flatnonzero(scores >= last)
        draw = random.Random(seed)
        tie = {int(number): draw.random() if seed is not None else 0.0 for number in candidates}
        ranked = sorted(tie, key=lambda number: (-scores[number], -similarity[number], tie[number], number))
        return [TitleMatch(number, text, float(scores[number]), _names(title, artist, text))
                for number in ranked[:limit] for text in [self._titles[number]]]

    def _weighted(self, query: str, similarity: np.ndarray, limit: int) -> np.ndarray:
        """WRatio of every entry that can be among the best; 0 for those that cannot.

        What the nearest texts reach is a floor for the best of all, and with a floor WRatio gives
        most of the others up early.
        """
        first = max(limit, _NEAREST_FIRST)
        if len(self._texts) <= first:
            return _scores(query, self._texts, fuzz.WRatio)
        near = np.argpartition(-similarity, first)[:first]
        reached = _scores(query, [self._texts[number] for number in near], fuzz.WRatio)
        floor = float(np.partition(reached, -limit)[-limit])
        return _scores(query, self._texts, fuzz.WRatio, max(floor - _ROUNDING, 0.0))


def _names(title: str, artist: str, entry: str) -> bool:
    """Whether an entry is by the composer that is asked for, and its title is, or holds, the one that is."""
    known, _, composer = entry.rpartition(SEPARATOR)
    if (wanted := composer_key(artist[:LONGEST_TEXT])) is None or wanted != composer_key(composer):
        return False
    asked, known = _without_accents(title[:LONGEST_TEXT]), _without_accents(known)
    held = set(asked.split()) <= set(known.split()) and sum(map(len, asked.split())) >= _TELLING
    return held or fuzz.ratio(asked, known) >= LOW_SCORE


def _without_accents(text: str) -> str:
    apart = unicodedata.normalize("NFKD", text)
    return utils.default_process("".join(sign for sign in apart if not unicodedata.combining(sign)))


def _scores(query: str, texts: list[str], scorer: Callable[..., float], floor: float | None = None) -> np.ndarray:
    table: np.ndarray = process.cdist(
        [query], texts, scorer=scorer, processor=None, score_cutoff=floor, dtype=np.float64)  # (1, texts)
    return np.ravel(table)
