"""Who plays what: the notes of every instrument, given to its players."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import groupby
from math import inf

import numpy as np

SHORTEST_MS = 20.0  # what is left of a note that is cut, at least
OTHERS = "Others"  # the part of notes that no desk plays
_SLURRED_MS = 30.0  # a player whose note ends this soon is free
# What it costs to give somebody a note, in semitones; the way from the player's last pitch is added.
_TAKEN_AWAY = 10_000.0  # the player's note is cut, though another one may be free
_CROSSED = 24.0  # for each player whose note, sounding now, is on the wrong side of the new one
_CROSSED_LATELY = 6.0  # the same for one that has ended
_FIRST_NOTE = 24.0  # in place of the way: a line goes on where it is, with leaps of two octaves, before another begins


@dataclass(frozen=True)
class Desk:
    """The players of one instrument."""

    name: str  # such as "violin"
    program: int | None  # of General MIDI, 0..127; None: drums
    players: int = 1
    voices: int = 1  # how many notes each of them can play at once

    def __post_init__(self) -> None:
        if min(self.players, self.voices) < 1:
            raise ValueError(f"{self.name}: there must be at least 1 player of 1 voice, not {self.players} of {self.voices}")

    @property
    def parts(self) -> tuple[str, ...]:
        """Their names: one for each player, but a single one for instruments of several voices."""
        name = self.name[:1].upper() + self.name[1:]
        if self.players == 1 or self.voices > 1:
            return (name,)
        return tuple(f"{name} {number}" for number in range(1, self.players + 1))


def assign_parts(notes: np.ndarray, players: Sequence[Desk]) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """Give notes (of NOTE, sorted by onset) to players: names of the parts, part of each note, its new duration in ms.

    Players of one voice are led as voices are. What begins together goes to them from the top down; where they are more
    than the notes, it goes to those who are free, from whose last pitches it is near, and so that no part crosses another
    without need. Who begins a note ends the one before. Instruments of several voices have one part, and when more would
    sound than their players have voices, what would end first ends early. So durations are cut, to no less than 20 ms, never
    lengthened. More notes at one onset than there are voices go to the last player and are left as they are.

    All parts of `players` are named, in order, those without notes too. Notes go to the first desk of their program; where
    there is none, to a part "Others", which exists only then.
    """
    names: list[str] = []
    part = np.full(len(notes), -1, dtype=np.int16)
    duration_ms = notes["duration_ms"].astype(np.float64)
    onset_ms = notes["onset_ms"].tolist()
    for desk in players:
        plays = notes["drum"] if desk.program is None else ~notes["drum"] & (notes["program"] == desk.program)
        mine = np.flatnonzero(plays & (part < 0))
        chords = [list(chord) for _, chord in groupby(mine.tolist(), key=onset_ms.__getitem__)]
        if desk.voices > 1:
            part[mine] = len(names)
            _hold(notes, chords, duration_ms, desk.players * desk.voices)
        else:
            for player, own in enumerate(_lines(notes, chords, desk.players)):
                part[own] = len(names) + player
                _end_at_the_next(notes, own, duration_ms)
        names += desk.parts
    if (part < 0).any():
        part[part < 0] = len(names)
        names.append(OTHERS)
    return tuple(names), part, duration_ms


def _lines(notes: np.ndarray, chords: list[list[int]], players: int) -> list[list[int]]:
    """Indices of the notes of each player. `chords`: indices of notes that begin together, in the order of time."""
    lines: list[list[int]] = [[] for _ in range(players)]
    pitches: list[int | None] = [None] * players
    free_ms = [-inf] * players
    onset_ms, pitch = notes["onset_ms"].tolist(), notes["pitch"].tolist()
    end_ms = (notes["onset_ms"] + notes["duration_ms"]).tolist()
    for chord in chords:
        chord.sort(key=lambda i: -pitch[i])
        if len(chord) >= players:
            who = [min(place, players - 1) for place in range(len(chord))]
        else:
            taken = [end - onset_ms[chord[0]] > _SLURRED_MS for end in free_ms]
            who = _downwards([_costs(pitch[i], pitches, taken) for i in chord])
        for i, player in zip(chord, who, strict=True):
            lines[player].append(i)
            pitches[player], free_ms[player] = pitch[i], end_ms[i]
    return lines


def _costs(pitch: int, last: Sequence[int | None], taken: Sequence[bool]) -> list[float]:
    """What it costs to give a note to each player, by the last pitches of all (None: none yet) and who plays still."""
    weight = [_CROSSED if plays else _CROSSED_LATELY for plays in taken]
    lower = 0.0  # so far, those before who are on the wrong side
    higher = sum(w for other, w in zip(last, weight, strict=True) if other is not None and other > pitch)
    costs = []
    for other, plays, w in zip(last, taken, weight, strict=True):
        if other is not None and other > pitch:
            higher -= w
        way = _FIRST_NOTE if other is None else abs(pitch - other)
        costs.append(way + lower + higher + _TAKEN_AWAY * plays)
        if other is not None and other < pitch:
            lower += w
    return costs


def _downwards(costs: list[list[float]]) -> list[int]:
    """A player for each of fewer notes, from the top down, each after the one before; the cheapest, the first of equals.

    `costs`: of each note, for each player.
    """
    players = len(costs[0])
    rest = [[inf] * (players + 1) for _ in costs] + [[0.0] * (players + 1)]  # of notes from one on, by players from one on
    for note in reversed(range(len(costs))):
        for player in reversed(range(players)):
            rest[note][player] = min(costs[note][player] + rest[note + 1][player + 1], rest[note][player + 1])
    who: list[int] = []
    for note, cost in enumerate(costs):
        player = who[-1] + 1 if who else 0
        while rest[note][player + 1] < cost[player] + rest[note + 1][player + 1]:
            player += 1
        who.append(player)
    return who


def _end_at_the_next(notes: np.ndarray, own: list[int], duration_ms: np.ndarray) -> None:
    """Cut the durations of a player's notes where the next one begins, in place."""
    onset_ms = notes["onset_ms"][own]
    ends = np.append(onset_ms, inf)[np.searchsorted(onset_ms, onset_ms, side="right")]
    duration_ms[own] = np.minimum(duration_ms[own], np.maximum(ends - onset_ms, SHORTEST_MS))


def _hold(notes: np.ndarray, chords: list[list[int]], duration_ms: np.ndarray, most: int) -> None:
    """Cut durations, in place, so that at most so many notes sound at once."""
    onset_ms, end_ms = notes["onset_ms"].tolist(), (notes["onset_ms"] + notes["duration_ms"]).tolist()
    sounding: list[tuple[float, int]] = []  # a heap of ends and notes
    for chord in chords:
        now = onset_ms[chord[0]]
        while sounding and sounding[0][0] <= now:
            heappop(sounding)
        while sounding and len(sounding) + len(chord) > most:
            _, i = heappop(sounding)
            duration_ms[i] = min(duration_ms[i], max(now - onset_ms[i], SHORTEST_MS))
        for i in chord:
            heappush(sounding, (end_ms[i], i))
