"""Members' words made harmless: what they wrote can be read, and does nothing."""

from __future__ import annotations

import re
import unicodedata

_SPECIAL = frozenset("\\`*_~|>#[](){}<:/-+.!=")  # begins or ends Markdown, a link, a mention, an emoji or a timestamp
_LOOK_LIKE = {"@": "\N{FULLWIDTH COMMERCIAL AT}"}  # @everyone is read by servers, which know no backslash
# Letters and marks by name that are drawn as nothing.
_BLANK = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0") | {chr(code) for code in range(0xFE00, 0xFE10)}
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})  # controls, joiners and direction marks, halves, unassigned
_MARKS_EACH = 2  # accents on one letter; more are drawn over the lines above
_OPTION = re.compile(r"([^\W\d_]):(?=\S)")
CUT = "…"


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


def plain(words: str, longest: int = 100) -> str:
    """Members' words for the middle of a sentence: no Markdown, mention, link or emoji of them works.

    At most `longest` characters, backslashes included; what is cut off leaves `…`.
    """
    escaped = [_escaped(character) for character in visible(words)]
    if sum(map(len, escaped)) <= longest:
        return "".join(escaped)
    room = longest - len(CUT)
    kept: list[str] = []
    for piece in escaped:
        room -= len(piece)
        if room < 0:
            break
        kept.append(piece)
    return "".join(kept) + CUT


def copyable(words: str, longest: int = 100) -> str:
    """Members' words inside a code block, or where Discord shows text as it is: no backslashes, no way out of the block.

    At most `longest` characters. A name of an option in them does not begin an option when the command is pasted.
    """
    shown = _OPTION.sub(r"\1 :", visible(words).replace("`", "'").replace("@", _LOOK_LIKE["@"]))
    return shown if len(shown) <= longest else shown[:longest - len(CUT)].rstrip() + CUT


def _escaped(character: str) -> str:
    return "\\" + character if character in _SPECIAL else _LOOK_LIKE.get(character, character)


def storable(text: str) -> str:
    """A text as every database takes it: without null characters and halves of surrogate pairs."""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
