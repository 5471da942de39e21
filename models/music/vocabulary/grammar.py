"""Which id may follow which: a header, then notes of T, D, P, until the next piece begins.

    START, drums or not, number of channels, [T, D, control pitch,] T, D, P, T, D, P, ... START ...

A `Place` is what stands before the next id. `ALLOWED[place]` are the ids that may come,
`NEXT[place, id]` is the place after one of them; after an id that may not, it is the place
that id by itself leads to. Both are arrays, so rows of a batch can be looked up together.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Literal

import numpy as np

from models.errors import InputError
from models.music.vocabulary.los_angeles import (
    CHANNEL_COUNT,
    DURATION,
    HEADER_PITCH,
    NO_DRUMS,
    PITCH,
    SIZE,
    START,
    TIME,
    WITH_DRUMS,
)

Kind = Literal["T", "D", "P", "header"]


class Place(IntEnum):
    """What the ids so far end with."""

    NOTHING = 0
    START = 1
    DRUMS = 2
    COUNT = 3
    FIRST_TIME = 4  # the T after the number of channels: of the header or of the first note
    FIRST_DURATION = 5  # the D after it
    CONTROL_PITCH = 6
    TIME = 7
    DURATION = 8
    NOTE = 9


_TIMES = range(TIME, DURATION)
_DURATIONS = range(DURATION, PITCH)
_PITCHES = range(PITCH, HEADER_PITCH)
_CONTROL_PITCHES = range(HEADER_PITCH, START)
_STARTS = range(START, START + 1)
_DRUMS = range(NO_DRUMS, WITH_DRUMS + 1)
_COUNTS = range(CHANNEL_COUNT + 1, SIZE)

# For each place: ids that may come, and where they lead.
_RULES: dict[Place, tuple[tuple[range, Place], ...]] = {
    Place.NOTHING: ((_STARTS, Place.START),),
    Place.START: ((_DRUMS, Place.DRUMS),),
    Place.DRUMS: ((_COUNTS, Place.COUNT),),
    Place.COUNT: ((_TIMES, Place.FIRST_TIME),),
    Place.FIRST_TIME: ((_DURATIONS, Place.FIRST_DURATION),),
    Place.FIRST_DURATION: ((_CONTROL_PITCHES, Place.CONTROL_PITCH), (_PITCHES, Place.NOTE)),
    Place.CONTROL_PITCH: ((_TIMES, Place.TIME),),
    Place.TIME: ((_DURATIONS, Place.DURATION),),
    Place.DURATION: ((_PITCHES, Place.NOTE),),
    Place.NOTE: ((_TIMES, Place.TIME), (_STARTS, Place.START)),
}
_BY_ITSELF = (
    (_STARTS, Place.START), (_DRUMS, Place.DRUMS), (_COUNTS, Place.COUNT), (_CONTROL_PITCHES, Place.CONTROL_PITCH),
    (_TIMES, Place.TIME), (_DURATIONS, Place.DURATION), (_PITCHES, Place.NOTE),
)


def _tables() -> tuple[np.ndarray, np.ndarray]:
    allowed = np.zeros((len(Place), SIZE), dtype=bool)
    after = np.zeros((len(Place), SIZE), dtype=np.uint8)
    for place in Place:
        for ids, to in _BY_ITSELF:
            after[place, ids] = to
        for ids, to in _RULES[place]:
            allowed[place, ids] = True
            after[place, ids] = to
    allowed.flags.writeable = after.flags.writeable = False
    return allowed, after


ALLOWED, NEXT = _tables()  # (places, 2831) of bool; (places, 2831) of Place
_DISTINCTIVE = 3  # ids: number of channels, T, D; no place depends on more


def kind_of(token: int) -> Kind:
    """The kind of an id. Raises InputError outside 0..2830."""
    if not 0 <= token < SIZE:
        raise InputError(f"ids must be 0..{SIZE - 1}, not {token}")
    if token < DURATION:
        return "T"
    if token < PITCH:
        return "D"
    return "P" if token < HEADER_PITCH else "header"


def place_after(ids: Sequence[int]) -> Place:
    """The place after ids, which may begin and break off anywhere. Raises InputError outside 0..2830."""
    place = Place.NOTHING
    for token in ids[-_DISTINCTIVE:]:
        kind_of(token)
        place = Place(NEXT[place, token])
    return place


def allowed_after(ids: Sequence[int], *, end: bool = True) -> np.ndarray:
    """Which ids may follow, shape (2831,) of bool. Without `end` a piece goes on: START may not follow a note.

    Raises InputError outside 0..2830.
    """
    place = place_after(ids)
    allowed: np.ndarray = ALLOWED[place].copy()
    if not end and place is Place.NOTE:
        allowed[START] = False
    return allowed
