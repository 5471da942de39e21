"""Stands in for spaCy: see `models/engines/audiocraft/standins/__init__.py`."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Token:
    """A word or a mark, as it stands; spaCy would know its lemma and whether it matters."""

    text: str
    is_stop: bool = False

    @property
    def lemma_(self) -> str:
        return self.text


def load(name: str) -> Callable[[str], list[Token]]:
    """What splits a text into words and marks, whatever the language model is called."""
    return lambda text: [Token(word) for word in re.findall(r"\w+|[^\w\s]", text)]
