"""What instruments can play and how a take ends: rules on what upstream's network draws, off unless they are asked for."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from collections.abc import Sequence as Listed
from dataclasses import dataclass, fields, replace

import numpy as np

from models.decoding.sequence import Sequence
from models.errors import InputError
from models.music.form.plan import Player
from models.music.form.players import VOICES, players_of
from models.music.form.playing import LEAST_LAST_MS, by_channel, free, full, last_chord, wait_for_last_chord, within_reach
from models.music.score.measures import Key, estimate_key
from models.music.score.programs import CHANNELS, DRUMS
from models.music.vocabulary.grammar import Place
from models.music.vocabulary.los_angeles import (
    CHANNEL_COUNT,
    DURATION,
    DURATION_STEP_MS,
    HEADER_PITCH,
    LONGEST_TIME,
    PITCH,
    START,
    TIME,
    TIME_STEP_MS,
    decode,
    decode_events,
)

_LATELY = 64  # notes: who plays in them has a part in the last chord
_HEARD = 96  # notes in which a beat is heard
_FEWEST_LAST, _MOST_LAST = 3, 6  # notes of the last chord
_SECTION = 2  # notes at once of an instrument of one voice, where the prime does not show it alone


@dataclass(frozen=True)
class Playing:
    """What a take is held to, besides being well formed. The network knows nothing of it."""

    ranges: bool = False  # no pitch is outside its instrument's range
    players: bool = False  # no instrument has more notes at once than its players; each note has its player
    ending: bool = False  # the last notes are a long chord of the tonic

    @classmethod
    def of(cls, names: Iterable[str]) -> Playing:
        """Those that are named. Raises InputError for others."""
        names = set(names)
        known = [field.name for field in fields(cls)]
        if unknown := names - set(known):
            raise InputError(f"la-composer's playing is one or more of {', '.join(known)}, not {', '.join(sorted(unknown))}")
        return cls(**dict.fromkeys(names, True))


UPSTREAM = Playing()  # whatever the network draws


def people(prime: Listed[int]) -> dict[str, int]:
    """How many play each instrument: a section of two where one has a single voice, unless the prime shows it alone."""
    most = most_at_once(decode_events(prime))
    return {name: _SECTION if VOICES[name] == 1 and name != "bass" and most[channel] != 1 else 1
            for channel, name in enumerate(CHANNELS)}


def players_heard(prime: Listed[int], ids: Listed[int]) -> tuple[Player, ...]:
    """Who plays a take of that prime: of a section as many as ever begin together."""
    most, able = most_at_once(decode_events(ids)), people(prime)
    heard = {name: min(able[name], int(count)) for name, count in zip(CHANNELS, most, strict=True) if count}
    return players_of(heard, {}, heard)


def most_at_once(events: np.ndarray) -> np.ndarray:
    """The most notes that begin together in each channel, (12,)."""
    begun, counts = np.unique(events["onset_ms"] * len(CHANNELS) + events["channel"], return_counts=True)
    most = np.zeros(len(CHANNELS), dtype=np.int64)
    np.maximum.at(most, begun % len(CHANNELS), counts)
    return most


@dataclass(frozen=True)
class _Ending:
    """The last chord, once it has begun."""

    players: dict[int, Player]
    key: Key
    time: int  # the id that leads to it
    first: int  # place of that id in the take
    notes: int


class Guide:
    """Follows one take and takes ids away from those that the grammar lets come next."""

    def __init__(self, playing: Playing, sequence: Sequence) -> None:
        self._playing, self._sequence = playing, sequence
        prime, events = sequence.prime, decode_events(sequence.prime)
        self._people = people(prime)
        self._players = by_channel(players_of(CHANNELS, {}, self._people))
        self._reach = within_reach(self._players) if playing.ranges else np.ones(HEADER_PITCH - PITCH, dtype=bool)
        self._promised = prime[2] - CHANNEL_COUNT if len(prime) > 2 and prime[0] == START else 0  # channels of the piece
        self._heard = set(events["channel"].tolist())
        self._lately = deque([channel for channel in events["channel"].tolist() if channel != DRUMS], _LATELY)
        together = events[events["onset_ms"] == events["onset_ms"].max(initial=0)]
        self._chord = (PITCH + 128 * together["channel"] + together["pitch"]).tolist()  # P ids with the last onset
        self._group: list[int] = []  # the last T or id of a header, and what follows it
        for id_ in prime[-3:]:
            self._gather(id_)
        self._read = 0
        self._ending: _Ending | None = None

    # Hearing

    def _gather(self, id_: int) -> None:
        if id_ < DURATION or id_ >= HEADER_PITCH:
            self._group = []
        self._group.append(id_)

    def _follow(self) -> None:
        ids = self._sequence.ids
        for id_ in ids[self._read:]:
            self._gather(id_)
            if len(self._group) == 3 and PITCH <= id_ < HEADER_PITCH and self._group[0] < DURATION:
                channel = (id_ - PITCH) // 128
                if self._group[0] != TIME:
                    self._chord.clear()
                self._chord.append(id_)
                self._heard.add(channel)
                if channel != DRUMS:
                    self._lately.append(channel)
        self._read = len(ids)

    # What comes next

    def restrict(self, allowed: np.ndarray, place: Place) -> None:
        """Take away from `allowed`, (2831,) of bool, what may not follow; some id is always left."""
        self._follow()
        if self._playing.ending and self._ending is None and place is Place.NOTE:
            self._ending = self._begin_ending()
        if self._ending is not None:
            self._end(self._ending, allowed, place)
        elif allowed[PITCH]:
            pitches = self._reach
            if self._playing.players and self._group[:1] == [TIME]:
                pitches = free(pitches, self._players, self._chord)
            # Nobody is left only where the prime strikes all that there is and breaks off within one more note.
            allowed[PITCH:HEADER_PITCH] &= pitches if pitches.any() else self._reach
        elif allowed[TIME] and self._playing.players and self._crowded():
            allowed[TIME] = False

    def _crowded(self) -> bool:
        """Whether all who have been heard are taken, and nobody else is to be expected."""
        taken = full(self._players, self._chord)
        more = self._promised > len(self._heard)
        return bool(taken) and taken >= (set(self._players) if more else self._heard)

    def _begin_ending(self) -> _Ending | None:
        """The last chord, once no more notes are left than it has; None before, and where no key is heard."""
        sequence = self._sequence
        left = (sequence.length - len(sequence.ids)) // 3
        if not 0 < left <= _MOST_LAST or not self._lately:
            return None
        heard = {CHANNELS[channel] for channel, _ in Counter(self._lately).most_common(_MOST_LAST)}
        players = players_of(heard, {}, self._people)
        if left > min(max(len(players), _FEWEST_LAST), sum(player.last_notes for player in players)):
            return None
        score = decode((*sequence.prime, *sequence.ids))
        key = estimate_key(score)
        if key is None:
            return None
        wait_ms = wait_for_last_chord(replace(score, notes=score.notes[-_HEARD:]), LONGEST_TIME * TIME_STEP_MS)
        time = TIME + max(round(wait_ms / TIME_STEP_MS), 1)
        sequence.length = len(sequence.ids) + 3 * left
        return _Ending(by_channel(players), key, time, len(sequence.ids), left)

    def _end(self, ending: _Ending, allowed: np.ndarray, place: Place) -> None:
        """The last chord: its time is given, its notes are of the triad and all as long as the first of them."""
        ids = self._sequence.ids
        made = (len(ids) - ending.first) // 3
        if place is Place.NOTE:
            allowed[:] = False
            allowed[TIME if made else ending.time] = True
        elif allowed[PITCH]:
            struck = self._chord if made else []
            allowed[PITCH:HEADER_PITCH] &= last_chord(ending.players, ending.key, struck, ending.notes - made)
        else:
            least, end = LEAST_LAST_MS // DURATION_STEP_MS, (PITCH - DURATION) // 8
            if made:
                least = (ids[ending.first + 1] - DURATION) // 8
                end = least + 1
            allowed[DURATION:DURATION + 8 * least] = False
            allowed[DURATION + 8 * end:PITCH] = False
