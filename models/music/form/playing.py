"""What players can play next and how a piece ends, as masks over the P ids of the vocabulary.

A mask is (1536,) of bool and begins with the id `PITCH`: 128 pitches for each of the twelve channels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

import numpy as np

from models.music.form.chords import CHORD_TONES, chord
from models.music.form.plan import Player
from models.music.score.measures import MODES, Key, estimate_tempo, tempo_strength
from models.music.score.notes import Score
from models.music.score.parts import Desk, assign_parts
from models.music.score.programs import CHANNELS, DRUMS, PATCHES
from models.music.vocabulary.los_angeles import PITCH

LEAST_LAST_MS = 1200  # of the notes of a last chord
_ROOTS = 24  # semitones over the lowest note of an instrument in which the last root lies,
_OVER_ROOT = 12  # and how many it has above it, at least
_BEAT_STRENGTH = 0.3  # of a tempo that can be heard; onsets at random reach 0.19 in one of a hundred cases
_PHASE_QUARTERS = 4  # so much of the end tells where beats are: an estimate is 1 % off, and drifts
_LEAST_WAIT = 0.25  # quarters before the last chord
_LONGEST_ACCENT_MS = 1000.0


def by_channel(players: Iterable[Player]) -> dict[int, Player]:
    return {CHANNELS.index(player.instrument): player for player in players}


def within_reach(players: Mapping[int, Player]) -> np.ndarray:
    """The pitches in the players' ranges, none in other channels."""
    mask = np.zeros((len(CHANNELS), 128), dtype=bool)
    for channel, player in players.items():
        mask[channel, player.low:player.high + 1] = True
    return mask.ravel()


def full(players: Mapping[int, Player], struck: Iterable[int]) -> set[int]:
    """Channels whose players have no voice left when the P ids `struck` begin together."""
    counts = Counter((id_ - PITCH) // 128 for id_ in struck)
    return {channel for channel, count in counts.items()
            if channel in players and count >= players[channel].players * players[channel].voices}


def free(mask: np.ndarray, players: Mapping[int, Player], struck: Collection[int]) -> np.ndarray:
    """What is left of a mask where `struck` began already: nothing of full channels, and no note twice."""
    left = mask.copy()
    left[[id_ - PITCH for id_ in struck]] = False
    left.reshape(len(CHANNELS), 128)[list(full(players, struck))] = False
    return left


def lowest(players: Mapping[int, Player]) -> int | None:
    """The channel that has the bass; None where nobody but drums plays."""
    melodic = [channel for channel in players if channel != DRUMS]
    return min(melodic, key=lambda channel: (players[channel].role != "bass", players[channel].low), default=None)


def last_chord(players: Mapping[int, Player], key: Key, struck: Collection[int], left: int) -> np.ndarray:
    """What the next note of the last chord may be, when it has `struck` already and `left` notes are to come.

    The root in the bass begins; what follows is above it. Everybody has a note before anybody has a second one, and
    the last ones are for what the triad lacks. Nothing is left where the players have no more of the triad, or
    as many as `Player.last_notes`.
    """
    pitch = np.arange(128)
    tones = CHORD_TONES[chord(key.tonic, MODES.index(key.mode))]
    bass = lowest(players)
    mask = np.zeros((len(CHANNELS), 128), dtype=bool)
    if bass is None:
        return mask.ravel()
    melodic = [(id_ - PITCH) % 128 for id_ in struck if (id_ - PITCH) // 128 != DRUMS]
    if not melodic:
        low = players[bass].low
        high = min(player.high for channel, player in players.items() if channel != DRUMS)  # everybody has room above it
        mask[bass, low:max(min(low + _ROOTS, high - _OVER_ROOT), low + 11) + 1] = True
        mask[bass] &= pitch % 12 == key.tonic
        return mask.ravel()
    counts = Counter((id_ - PITCH) // 128 for id_ in struck)
    for channel, player in players.items():
        if channel != DRUMS and counts[channel] < player.last_notes:
            mask[channel] = tones[pitch % 12] & (player.low <= pitch) & (pitch <= player.high) & (pitch > min(melodic))
    flat = free(mask.ravel(), players, struck)
    lacking = tones.copy()
    lacking[[note % 12 for note in melodic]] = False
    wishes = [np.repeat([counts[channel] == 0 for channel in range(len(CHANNELS))], 128)]
    if left <= lacking.sum():
        wishes.append(np.tile(lacking[pitch % 12], len(CHANNELS)))
    for wish in wishes:
        if (flat & wish).any():
            flat &= wish
    return flat


def wait_for_last_chord(score: Score, longest_ms: float) -> float:
    """How long after the last onset the last chord comes, in ms: on the next beat if one is heard, else after twice the
    median time between onsets.

    It is at least a quarter of a beat; where it is longer than `longest_ms`, half beats come off. The score may be a
    few bars from the end, with one note or more.
    """
    notes = score.notes
    onset_ms = notes["onset_ms"]
    bpm = estimate_tempo(score)
    if bpm is None or tempo_strength(score, bpm) < _BEAT_STRENGTH:
        between = np.diff(np.unique(onset_ms))
        return min(2 * float(np.median(between)) if len(between) else LEAST_LAST_MS / 2, longest_ms)
    quarter_ms = 60_000 / bpm
    late = onset_ms >= onset_ms[-1] - _PHASE_QUARTERS * quarter_ms
    turns = 2 * np.pi * onset_ms[late] / quarter_ms
    accents = notes["velocity"][late] * np.minimum(notes["duration_ms"][late], _LONGEST_ACCENT_MS)
    middle = np.angle((accents * np.exp(1j * turns)).sum())
    beat_ms = onset_ms[late][np.cos(turns - middle).argmax()]  # an onset rather than the mean of many
    wait_ms = quarter_ms - float((onset_ms[-1] - beat_ms) % quarter_ms)
    if wait_ms < _LEAST_WAIT * quarter_ms:
        wait_ms += quarter_ms
    while wait_ms > longest_ms:
        wait_ms -= quarter_ms / 2
    return wait_ms


def played(score: Score, players: Iterable[Player]) -> Score:
    """The same notes, each with the player who has it; one who begins a note ends the one before."""
    desks = [Desk(player.instrument, None if player.instrument == "drums" else PATCHES[CHANNELS.index(player.instrument)],
                  player.players, player.voices) for player in players]
    parts, part, duration_ms = assign_parts(score.notes, desks)
    notes = score.notes.copy()
    notes["duration_ms"] = duration_ms
    return replace(score, notes=notes, parts=parts, part=part)
