"""Who plays: how low and high, how many notes at once, in which role, and how much of a piece.

Ranges are sounding ones that advanced students reach (orchestration handbooks agree on them within a tone or two); what
stands for many instruments, such as the trumpet for all brass, has the range of the one that sounds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from models.music.form.plan import Player
from models.music.score.programs import CHANNELS

RANGES: Mapping[str, tuple[int, int]] = {
    "piano": (24, 100), "guitar": (40, 83), "bass": (28, 55), "violin": (55, 93), "cello": (36, 74), "harp": (31, 96),
    "trumpet": (55, 81), "clarinet": (50, 86), "flute": (60, 93), "drums": (27, 87), "choir": (43, 79), "organ": (36, 91),
}
VOICES: Mapping[str, int] = {
    "piano": 6, "guitar": 5, "bass": 1, "violin": 1, "cello": 1, "harp": 4, "trumpet": 1, "clarinet": 1, "flute": 1,
    "drums": 4, "choir": 4, "organ": 5,
}
"""Notes that one player has at once."""
_DESKS: Mapping[str, int] = {"violin": 2, "trumpet": 2, "clarinet": 2}
"""How many play an instrument of a band or an orchestra where nobody says."""

_MELODY_FIRST = ("flute", "violin", "trumpet", "clarinet", "choir", "guitar", "piano", "organ", "harp", "cello", "bass")
_BASS_FIRST = ("bass", "cello", "organ", "piano", "guitar", "harp", "choir")
_LEAST_SHARE = 0.07


def players_of(
    instruments: Iterable[str], shares: Mapping[str, float], named: Mapping[str, int] | None = None,
) -> tuple[Player, ...]:
    """Players of a line-up, in the order of CHANNELS.

    `shares` are log shares of the notes against an even share, `named` says how many players of an instrument were
    asked for.
    """
    line_up = [name for name in CHANNELS if name in set(instruments)]
    melodic = [name for name in line_up if name != "drums"]
    lead = min(melodic, key=_MELODY_FIRST.index, default="")
    bass = next((name for name in _BASS_FIRST if name in melodic and (name != lead or len(melodic) == 1)), "")
    people = {name: _people(name, melodic, named or {}) for name in line_up}
    # An instrument on which chords are played has more notes of its own than a line has.
    weight = {name: math.exp(shares.get(name, 0.0)) * people[name] ** 0.5 for name in line_up}
    total = sum(weight.values()) or 1.0
    least = _LEAST_SHARE if len(line_up) <= 6 else 0.5 / len(line_up)
    share = {name: max(weight[name] / total, least) for name in line_up}
    scale = sum(share.values()) or 1.0
    return tuple(
        Player(name, _role(name, lead, bass), *RANGES[name], people[name], VOICES[name], share[name] / scale)
        for name in line_up)


def _people(name: str, melodic: list[str], named: Mapping[str, int]) -> int:
    if name in named:
        return named[name]
    if set(melodic) == {"violin", "cello"}:
        return 3 if name == "violin" else 1  # the viola counts as a violin
    return _DESKS.get(name, 1) if len(melodic) >= 5 else 1


def _role(name: str, lead: str, bass: str) -> str:
    if name == "drums":
        return "rhythm"
    return "melody" if name == lead else "bass" if name == bass else "inner"
