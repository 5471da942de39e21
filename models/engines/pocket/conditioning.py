"""What steers one sequence of the pocket model: its condition, its clock, and which ids may come."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence as Listed
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.engines.pocket.features import GRID_UNKNOWN, LEFT_AT, LEFT_BINS, LEFT_EDGES, TICK_BINS, grid
from models.music.attributes import Attributes
from models.music.score.measures import SCALES
from models.music.score.programs import CHANNELS, DRUMS
from models.music.vocabulary.los_angeles import (
    CHANNEL_COUNT,
    DURATION,
    HEADER_PITCH,
    NO_DRUMS,
    PITCH,
    SIZE,
    START,
    TIME,
    TIME_STEP_MS,
    WITH_DRUMS,
)

_TIMES = np.arange(DURATION - TIME)
KIND_RANGES = ((TIME, DURATION), (DURATION, PITCH), (PITCH, HEADER_PITCH))
_LARGEST_CHORD = 16  # notes at once; a small network may not find its way out of a chord
_LOOKED_BACK = 3 * 512  # ids of a piece that is carried on
_ASKED_AFTER = 0.5  # share of the notes after which an instrument still missing is made to sound


@dataclass(frozen=True)
class Steering:
    """What a request asks of the notes themselves."""

    notes: int
    attributes: Attributes
    allowed: frozenset[str]  # channels that may sound; empty: all
    required: frozenset[str]  # channels that must sound
    key_strength: float  # taken off the logits of pitches outside the key
    beat_strength: float  # at most this is taken off times that lead to weak places of the bar; a sixth of it is
    # what a class of velocity gains on the bar line, and loses between the divisions
    may_end: bool
    given: tuple[int, ...] = ()  # triplets of what is carried on

    @property
    def prime(self) -> tuple[int, ...]:
        """The header, and as much of what is carried on as the network can look back to."""
        channels = self.allowed | self.required or frozenset(self.attributes.instruments)
        drums = "drums" in channels
        header = START, WITH_DRUMS if drums else NO_DRUMS, CHANNEL_COUNT + min(max(len(channels), 1), 12)
        return *header, *self.given[-_LOOKED_BACK:]


def _compound(beats: int, unit: int) -> bool:
    """Whether a beat is three eighths."""
    return unit == 8 and beats % 3 == 0


def _levels(beats: int, unit: int) -> list[tuple[float, float, float]]:
    """Levels of a metre from the weakest to the strongest.

    Each is the distance of its points in quarters, the place of the first one in the bar, and how weak they are (0..2).
    """
    if _compound(beats, unit):  # long and short tell them from quarters, and the network is not sure of them
        levels = [(0.25, 0.0, 1.9), (0.5, 0.0, 1.6), (1.5, 1.0, 1.0), (1.5, 0.0, 0.0)]
    else:  # triplets of sixteenths, sixteenths, eighths, quarters
        levels = [(1 / 6, 0.0, 0.8), (0.25, 0.0, 0.6), (0.5, 0.0, 0.35), (1.0, 0.0, 0.15)]
    return [*levels, (beats * 4 / unit, 0.0, 0.0)] if beats else levels


class Clock:
    """Where in the bar the last note stands, in steps of the vocabulary, followed id by id."""

    def __init__(self, steering: Steering) -> None:
        attributes = steering.attributes
        self._notes = None if steering.may_end else len(steering.given) // 3 + steering.notes
        self._quarter_ms = 60_000 / attributes.tempo_bpm if attributes.tempo_bpm else None
        beats, unit = map(int, attributes.metre.split("/")) if attributes.metre else (0, 1)
        self._bar_ticks = beats * 4 * TICK_BINS // unit
        distances, firsts, weaknesses = np.array(_levels(beats, unit)).T[..., None]
        self._weaknesses = weaknesses  # (levels, 1), as the other two, which are in steps of time
        self._between = max(1.0, float(weaknesses.max()) + 0.1)  # of times on no level
        self.chord_loss = 0.5 if _compound(beats, unit) else 0.0  # of T 0, of how much weaker than half this place is
        self._steps, self._starts = (
            lengths * (self._quarter_ms or 0.0) / TIME_STEP_MS for lengths in (distances, firsts))
        self._time = self._note = self._read = 0
        self._weakness: np.ndarray | None = None  # of the times from here, when asked for
        self.features = self._features()
        self.begun = bool(steering.given)
        self.before = np.array([self._hear(steering.given[place], place) for place in range(len(steering.given))])
        self._given = len(steering.given)

    def follow(self, ids: Listed[int]) -> np.ndarray:
        """Grid features (4,) of the last of the ids made so far; ids are T, D, P in turn."""
        for place in range(self._read, len(ids)):
            self._hear(ids[place], self._given + place)
            self.begun = True
        self._read = len(ids)
        return self.features

    def _hear(self, id_: int, place: int) -> np.ndarray:
        """Grid features of an id, `place` ids from the beginning of the piece."""
        if place % 3 == 0:
            self._note = place // 3
            if id_ != TIME:
                self._time += id_ - TIME
                self._weakness = None
                self.features = self._features()
            else:  # a chord goes on
                self.features = np.append(self.features[:-1], self._left())
        return self.features

    def weakness(self) -> np.ndarray | None:
        """How weak in the bar the onset after each time is, (128,): 0 on the bar line, 1 to 2 between the divisions.

        None without a tempo.
        """
        if self._quarter_ms is None or self._weakness is not None:
            return self._weakness
        # Onsets are rounded down, so a time is on a level if one of its points falls into its ten milliseconds.
        time = self._time + _TIMES
        on_level = np.ceil((time - self._starts) / self._steps - 1e-9) * self._steps + self._starts < time + 1 - 1e-9
        self._weakness = np.where(on_level, self._weaknesses, self._between).min(axis=0)
        return self._weakness

    def _features(self) -> np.ndarray:
        ticks = 0.0
        if self._quarter_ms is not None:
            ticks = np.floor((self._time + 0.5) * TIME_STEP_MS / self._quarter_ms * TICK_BINS + 0.5)
        features = grid(
            np.array(self._quarter_ms or 500.0), np.array(ticks % self._bar_ticks if self._bar_ticks else ticks),
            np.array(0))
        if self._quarter_ms is None:
            features[:3] = GRID_UNKNOWN[:3]
        elif not self._bar_ticks:
            features[1:3] = GRID_UNKNOWN[1:3]
        features[3] = self._left()
        return features

    def _left(self) -> int:
        """Place of how many notes are left, in the table of grid features."""
        if self._notes is None:
            return LEFT_AT + LEFT_BINS
        return LEFT_AT + bisect_right(LEFT_EDGES, self._notes - 1 - self._note)


class AllowedIds:
    """What to add to the logits of the next id: -inf for what may not come, less for pitches out of key."""

    def __init__(self, steering: Steering) -> None:
        self._steering = steering
        self._by_kind = torch.full((3, SIZE), -torch.inf)
        for kind, (first, last) in enumerate(KIND_RANGES):
            self._by_kind[kind, first:last] = 0.0
        self._by_kind[1, DURATION:DURATION + 8] = -torch.inf  # a duration of nothing
        if steering.attributes.tempo_bpm is not None:  # 127 stands for any longer time, and would stop the clock
            self._by_kind[0, DURATION - 1] = -torch.inf
        self._going_on = self._by_kind[0].clone()  # no end before there is a note, and all that was asked for is heard
        if steering.may_end:
            self._by_kind[0, START] = 0.0
        pitches = self._by_kind[2, PITCH:HEADER_PITCH].view(len(CHANNELS), 128)  # a view: written through
        pitches[:, 0] = -torch.inf
        attributes = steering.attributes
        if steering.key_strength and attributes.tonic is not None and attributes.mode is not None:
            scale = [(attributes.tonic + step) % 12 for step in SCALES[attributes.mode]]
            outside = torch.tensor([pitch % 12 not in scale for pitch in range(128)])
            melodic = torch.tensor([channel != DRUMS for channel in range(len(CHANNELS))])
            pitches[melodic[:, None] & outside] -= steering.key_strength
        for channel, name in enumerate(CHANNELS):
            if steering.allowed and name not in steering.allowed:
                pitches[channel] = -torch.inf
        self._missing = {CHANNELS.index(name) for name in steering.required}
        self._largest_chord = min(_LARGEST_CHORD, 6 + 2 * len(steering.allowed or CHANNELS))
        self._chord: list[int] = []  # P ids with the onset of the last note
        for place, id_ in enumerate(steering.given):
            self._hear(id_, place)
        self._read = 0

    def after(self, ids: Listed[int]) -> Tensor:
        """For the id that comes after the ids made so far, (vocabulary,)."""
        for place in range(self._read, len(ids)):
            self._hear(ids[place], place)
        self._read = len(ids)
        kind = len(ids) % 3
        if kind == 0:
            times = self._going_on if self._missing or not ids else self._by_kind[0]
            return _without(times, [TIME]) if len(self._chord) >= self._largest_chord else times
        if kind == 1:
            return self._by_kind[1]
        pitches = self._asking(len(ids) // 3) if self._missing else self._by_kind[2]
        return _without(pitches, self._chord)  # nobody strikes a note twice at once

    def _hear(self, id_: int, place: int) -> None:
        if place % 3 == 0 and id_ != TIME:
            self._chord.clear()
        elif place % 3 == 2:
            self._missing.discard((id_ - PITCH) // 128)
            self._chord.append(id_)

    def _asking(self, note: int) -> Tensor:
        """Pitches, with growing weight on instruments that were asked for and have not sounded yet."""
        bias = self._by_kind[2].clone()
        pitches = bias[PITCH:HEADER_PITCH].view(len(CHANNELS), 128)
        missing = sorted(self._missing)
        if note >= _ASKED_AFTER * self._steering.notes - len(missing):
            others = [channel for channel in range(len(CHANNELS)) if channel not in self._missing]
            pitches[others] = -torch.inf
        else:
            pitches[missing] += 4.0 * note / (_ASKED_AFTER * self._steering.notes)
        return bias


def _without(bias: Tensor, ids: list[int]) -> Tensor:
    if not ids:
        return bias
    bias = bias.clone()
    bias[ids] = -torch.inf
    return bias


def keep_to_beat(times: Tensor, loss: Tensor) -> None:
    """Take `loss` off the logits of T, both (rows, 128): more for times that lead to weaker places of the bar.

    What weak times lose goes to the others: notes with the last one, T 0, become no likelier by it. Their own
    loss is below 0 where chords are wanted.
    """
    later = times[:, 1:]
    before = later.logsumexp(-1, keepdim=True)
    later -= loss[:, 1:]
    later += before - later.logsumexp(-1, keepdim=True)
    times[:, 0] -= loss[:, 0]


def accent(durations: Tensor, gain: Tensor) -> None:
    """Make notes louder the stronger their place in the bar is, in the logits of D, (rows, 1024).

    Each of the eight classes of velocity gets a third of `gain`, (rows, 1), more than the one below.
    """
    durations.view(len(durations), -1, 8).add_(gain[:, None] / 3 * torch.arange(8, device=durations.device))
