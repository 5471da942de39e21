"""Members' words made harmless: what they wrote can be read, and does nothing."""

from __future__ import annotations

import re

from bot.jobs.texts import visible

_SPECIAL = frozenset("\\`*_~|>#[](){}<:/-+.!=")  # begins or ends Markdown, a link, a mention, an emoji or a timestamp
_LOOK_LIKE = {"@": "\N{FULLWIDTH COMMERCIAL AT}"}  # @everyone is read by servers, which know no backslash
_OPTION = re.compile(r"([^\W\d_]):(?=\S)")
CUT = "…"


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
