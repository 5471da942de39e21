"""What players can play next, and how a piece ends."""

from __future__ import annotations

import random
from itertools import combinations

import numpy as np
import pytest

from models.music.form.players import RANGES, VOICES, players_of
from models.music.form.playing import by_channel, free, full, last_chord, lowest, played, wait_for_last_chord, within_reach
from models.music.score.measures import MODES, Key
from models.music.score.notes import NOTE, Score
from models.music.score.programs import CHANNELS, DRUMS, PATCHES
from models.music.vocabulary.los_angeles import PITCH

TRIADS = {"major": {0, 4, 7}, "minor": {0, 3, 7}}
MELODIC = [name for name in CHANNELS if name != "drums"]


def id_of(instrument: str, pitch: int) -> int:
    return PITCH + 128 * CHANNELS.index(instrument) + pitch


def score_of(onset_ms: list[float], duration_ms: list[float], velocity: int = 75, program: int = 0) -> Score:
    notes = np.zeros(len(onset_ms), dtype=NOTE)
    notes["onset_ms"], notes["duration_ms"], notes["pitch"] = onset_ms, duration_ms, 60
    notes["velocity"], notes["program"] = velocity, program
    return Score(notes)


def test_within_reach_are_the_ranges_of_those_who_play() -> None:
    mask = within_reach(by_channel(players_of(("flute", "bass"), {})))
    expected = {id_of(name, pitch) - PITCH for name in ("flute", "bass") for pitch in range(128)
                if RANGES[name][0] <= pitch <= RANGES[name][1]}
    assert set(np.flatnonzero(mask).tolist()) == expected


def test_who_has_no_voice_left_is_not_free_and_nobody_strikes_a_note_twice() -> None:
    players = by_channel(players_of(("violin", "piano"), {}, {"violin": 2, "piano": 1}))
    mask = within_reach(players)
    struck = [id_of("violin", 60), id_of("piano", 60)]
    left = free(mask, players, struck)
    assert full(players, struck) == set()
    assert set(np.flatnonzero(mask & ~left) + PITCH) == set(struck)
    struck.append(id_of("violin", 70))
    assert full(players, struck) == {CHANNELS.index("violin")}
    assert set(np.flatnonzero(free(mask, players, struck)) // 128) == {CHANNELS.index("piano")}
    assert mask[id_of("violin", 60) - PITCH]  # the mask itself is as it was


@pytest.mark.parametrize(("line_up", "bass"), [
    (("piano", "violin"), "piano"), (("cello", "piano"), "cello"), (("violin", "clarinet"), "clarinet"), (("flute",), "flute"),
    (("drums", "bass", "guitar"), "bass"), (("drums",), None),
])
def test_the_lowest_has_the_bass(line_up: tuple[str, ...], bass: str | None) -> None:
    assert lowest(by_channel(players_of(line_up, {}))) == (CHANNELS.index(bass) if bass else None)


def test_every_last_chord_can_be_played_to_its_end() -> None:
    chance = random.Random(5)
    for count in range(1, 7):
        for line_up in combinations(MELODIC, count):
            named = {name: chance.choice((1, 2)) if VOICES[name] == 1 else 1 for name in line_up}
            players = by_channel(players_of((*line_up, "drums"), {}, named))
            key = Key(chance.randrange(12), chance.choice(MODES))
            notes = sum(player.last_notes for channel, player in players.items() if channel != DRUMS)
            notes = min(notes, max(count, 3))
            struck: list[int] = []
            for left in range(notes, 0, -1):
                allowed = np.flatnonzero(last_chord(players, key, struck, left))
                assert len(allowed), (line_up, key, struck)
                struck.append(PITCH + int(chance.choice((allowed[0], allowed[-1], chance.choice(allowed.tolist())))))
            channels = [(id_ - PITCH) // 128 for id_ in struck]
            pitches = [(id_ - PITCH) % 128 for id_ in struck]
            assert pitches[0] == min(pitches)
            assert pitches[0] % 12 == key.tonic
            assert channels[0] == lowest(players)
            assert len(set(struck)) == notes
            assert len(set(channels)) == min(count, notes)  # everybody has one before anybody has two
            assert all(RANGES[CHANNELS[c]][0] <= p <= RANGES[CHANNELS[c]][1] for c, p in zip(channels, pitches, strict=True))
            heard = {(pitch - key.tonic) % 12 for pitch in pitches}
            assert heard <= TRIADS[key.mode]
            assert len(heard) == min(notes, 3)


def test_as_many_as_can_play_the_last_chord_strike_no_note_twice() -> None:
    players = by_channel(players_of(("bass", "piano"), {}))
    chance = random.Random(3)
    for _ in range(50):
        struck: list[int] = []
        for left in range(sum(player.last_notes for player in players.values()), 0, -1):
            allowed = np.flatnonzero(last_chord(players, Key(7, "minor"), struck, left)).tolist()
            struck.append(PITCH + chance.choice([id_ for id_ in allowed if id_ + PITCH in struck] or allowed))
        assert len(set(struck)) == 4
        assert not last_chord(players, Key(7, "minor"), struck, 1).any()


def test_drums_alone_have_no_last_chord() -> None:
    assert not last_chord(by_channel(players_of(("drums",), {})), Key(0, "major"), [], 3).any()


@pytest.mark.parametrize("steps", [0, 1])  # the last onset is on a beat, or half a beat behind it
@pytest.mark.parametrize("quarter_ms", [480.0, 600.0, 700.0])
def test_the_last_chord_is_on_the_next_beat(quarter_ms: float, steps: int) -> None:
    count = 40 + 1 + steps  # eighths; those on beats are long
    onsets = [370 + quarter_ms / 2 * number for number in range(count)]
    durations = [0.9 * quarter_ms if number % 2 == 0 else 0.3 * quarter_ms for number in range(count)]
    wait = wait_for_last_chord(score_of(onsets, durations), 1260)
    assert wait == pytest.approx(quarter_ms / 2 if steps else quarter_ms, abs=0.1 * quarter_ms)


def test_without_a_beat_the_last_chord_waits_for_twice_the_usual_time() -> None:
    chance = random.Random(1)
    between = [chance.uniform(20, 600) for _ in range(95)]
    onsets = np.cumsum([0.0, *between]).tolist()
    assert wait_for_last_chord(score_of(onsets, [200.0] * 96), 1260) == pytest.approx(min(2 * float(np.median(between)), 1260))
    assert wait_for_last_chord(score_of([0.0, 5000.0], [200.0] * 2), 1260) == 1260
    assert 0 < wait_for_last_chord(score_of([70.0], [200.0]), 1260) <= 1260


def test_a_beat_that_is_too_far_is_halved() -> None:
    onsets = [600.0 * number for number in range(40)]
    assert wait_for_last_chord(score_of(onsets, [500.0] * 40), 1260) == pytest.approx(600, rel=0.02)
    assert wait_for_last_chord(score_of(onsets, [500.0] * 40), 400) == pytest.approx(300, rel=0.02)


def test_a_player_who_begins_a_note_ends_the_one_before() -> None:
    given = score_of([0.0, 500.0, 1000.0], [900.0] * 3, program=PATCHES[CHANNELS.index("flute")])
    score = played(given, players_of(("flute",), {}))
    assert score.parts == ("Flute",)
    assert score.notes["duration_ms"].tolist() == [500, 500, 900]
    assert given.notes["duration_ms"].tolist() == [900] * 3
