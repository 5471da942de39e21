"""Members' words as they are kept."""

from __future__ import annotations

import unicodedata

# Letters and marks by name that are drawn as nothing.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | {chr(code) for code in range(0xFE00, 0xFE10)}
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})  # controls, joiners and direction marks, halves, unassigned
_MARKS_EACH = 2  # accents on one letter; more are drawn over the lines above


def visible(words: str) -> str:
    """One line of what can be seen: no control, zero-width, direction or blank characters, no towers of accents."""
    shown: list[str] = []
    marks = 0
    for character in words:
        kind = unicodedata.category(character)
        if character.isspace():
            shown.append(" ")
        elif kind in _INVISIBLE or character in _BLANK:
            continue
        marks = marks + 1 if kind.startswith("M") else 0
        if marks <= _MARKS_EACH and not character.isspace():
            shown.append(character)
    return " ".join("".join(shown).split())


def storable(text: str) -> str:
    """A text as every database takes it: without null characters and halves of surrogate pairs."""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
