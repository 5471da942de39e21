"""Titles to suggest while a member types."""

from __future__ import annotations

import re
from contextlib import suppress

from models.engines.pocket.titles import PocketTitles, load_titles
from models.errors import InputError


class Titles:
    """The title list of the pocket model, searched by beginnings of words first, then by likeness."""

    def __init__(self, titles: PocketTitles | None = None) -> None:
        self._titles = titles or load_titles()
        self._pairs = list(zip(self._titles.titles, self._titles.artists, strict=True))
        self._folded = [f"{title} {artist}".casefold() for title, artist in self._pairs]

    def suggest(self, text: str, limit: int = 25) -> list[tuple[str, str]]:
        """At most `limit` different pairs of title and artist; takes some milliseconds of CPU."""
        wanted = text.strip().casefold()[:100]
        if not wanted:
            return []
        begins = [re.compile(rf"\b{re.escape(word)}") for word in wanted.split()]
        found = dict.fromkeys(pair for pair, folded in zip(self._pairs, self._folded, strict=True)
                              if all(begin.search(folded) for begin in begins))
        if len(found) < limit:
            with suppress(InputError):  # nothing in it that could be looked for
                near = self._titles.match(wanted, limit=limit)
                found |= dict.fromkeys(self._pairs[match.number] for match in near if not match.low)
        # Titles that begin so before titles that only hold the word, then short ones.
        ordered = sorted(found, key=lambda pair: (not pair[0].casefold().startswith(wanted), len(pair[0])))
        return ordered[:limit]

