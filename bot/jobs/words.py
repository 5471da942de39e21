"""Blocked words: found whole and however they are dressed up, in time that grows with the text only.

Texts and words are folded alike: case, accents, width and look-alike digits do not count, and characters
that cannot be seen are not there. No word is ever a regular expression.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from models.errors import InputError

LONGEST_WORD = 50  # characters
MOST_PARTS = 5  # words of one entry that is a phrase
_LEAST_PREFIX = 2  # characters before a *, or it would match nearly everything
_LETTERS = {"ø": "o", "ł": "l", "đ": "d", "ħ": "h", "\u0131": "i", "æ": "ae", "œ": "oe", "þ": "th", "ð": "d"}
_UNSEEN = frozenset({"Mn", "Mc", "Me", "Cf"})  # accents and other marks; joiners, directions, soft hyphens
_UNSEEN_LETTERS = "\u115f\u1160\u3164\uffa0"  # Hangul fillers: letters by category, and blank
_DIGITS = ("01345789", ("oieastbg", "oleastbg"))  # 1 stands for i as well as for l


class _Folded(dict[int, str]):
    """A table for `str.translate` that works out each character when it first comes up.

    One by one: putting a long run of combining marks in order would take time with its square.
    """

    def __missing__(self, code: int) -> str:
        once = unicodedata.normalize("NFKD", chr(code)).casefold()
        seen = [character for character in unicodedata.normalize("NFKD", once)
                if not (character in _UNSEEN_LETTERS or unicodedata.category(character) in _UNSEEN)]
        self[code] = "".join(_LETTERS.get(character, character) if character.isalnum() else " " for character in seen)
        return self[code]


_FOLDED = _Folded()
_LOOK_ALIKES = tuple(str.maketrans(_DIGITS[0], letters) for letters in _DIGITS[1])


def _parts(text: str, look_alikes: dict[int, int]) -> list[str]:
    """The folded words of a text. Numbers stay numbers: only a word with a letter in it can be misspelt by digits."""
    return [part if part.isdecimal() else part.translate(look_alikes) for part in text.translate(_FOLDED).split()]


@dataclass(frozen=True)
class _Entry:
    """A blocked word or phrase, folded; `begins` if it may go on."""

    folded: str
    parts: int
    begins: bool


def _entry(word: str, look_alikes: dict[int, int]) -> _Entry:
    begins = word.rstrip().endswith("*")
    parts = _parts(word.rstrip().removesuffix("*"), look_alikes)
    return _Entry(" ".join(parts), len(parts), begins)


def check_word(word: str) -> str:
    """The word as it can be blocked, without spaces around it. Raises InputError saying what is wrong with it."""
    word = " ".join(word.split())
    if len(word) > LONGEST_WORD:
        raise InputError(f"a blocked word may have at most {LONGEST_WORD} characters, not {len(word):,}")
    if not word.isprintable():
        raise InputError("a blocked word may hold only characters that can be seen")
    if "*" in word[:-1]:
        raise InputError("a * may stand only at the end of a blocked word")
    entry = _entry(word, _LOOK_ALIKES[0])
    if not 1 <= entry.parts <= MOST_PARTS:
        raise InputError(f"a blocked word needs letters or digits, and a phrase may have at most {MOST_PARTS} words")
    if entry.begins and len(entry.folded) < _LEAST_PREFIX:
        raise InputError(f"at least {_LEAST_PREFIX} letters must stand before the *")
    return word


class Words:
    """A list of blocked words. Whole words match; with `*` at its end a word matches whatever begins so.

    Raises InputError for a word that cannot be blocked.
    """

    def __init__(self, words: Iterable[str]) -> None:
        self._words = tuple(dict.fromkeys(check_word(word) for word in words))
        self._lists = [_List(self._words, look_alikes) for look_alikes in _LOOK_ALIKES]

    def found_in(self, text: str) -> list[str]:
        """Those that are in the text, as they are written in the list and in its order."""
        found = set().union(*(one.found_in(text) for one in self._lists))
        return [word for word in self._words if word in found]


class _List:
    """The words folded by one reading of the digits, and looked up by length."""

    def __init__(self, words: Iterable[str], look_alikes: dict[int, int]) -> None:
        self._look_alikes = look_alikes
        self._whole: dict[int, dict[str, list[str]]] = {}  # words in a phrase -> phrase -> as written
        self._begun: dict[int, dict[int, dict[str, list[str]]]] = {}  # the same, by number of characters
        self._longest = 0
        for word in words:
            entry = _entry(word, look_alikes)
            self._longest = max(self._longest, len(entry.folded))
            phrases = self._whole.setdefault(entry.parts, {})
            if entry.begins:
                phrases = self._begun.setdefault(entry.parts, {}).setdefault(len(entry.folded), {})
            phrases.setdefault(entry.folded, []).append(word)

    def found_in(self, text: str) -> Iterator[str]:
        # One character more than the longest entry tells a word that goes on from one that ends.
        parts = [part[:self._longest + 1] for part in _parts(text, self._look_alikes)]
        for count, phrases in self._whole.items():
            begun = self._begun.get(count, {})
            for start in range(len(parts) - count + 1):
                phrase = " ".join(parts[start:start + count])
                yield from phrases.get(phrase, ())
                for length, beginnings in begun.items():
                    yield from beginnings.get(phrase[:length], ())
