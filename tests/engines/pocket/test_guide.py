"""What may come next, what the plan asks for, and how takes end."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.engines.pocket.decoder import Condition
from models.engines.pocket.steering import KIND_RANGES, Steering, Strengths
from models.music.attributes import TONICS
from models.music.form.chords import CHORD_TONES, chord
from models.music.form.drums import Groove, Hit
from models.music.form.plan import Bar, FormPlan, Player, Return
from models.music.score.programs import CHANNELS, DRUMS
from models.music.vocabulary.los_angeles import (
    CHANNEL_COUNT,
    DURATION,
    DURATION_STEP_MS,
    NO_DRUMS,
    PITCH,
    START,
    TIME,
    TIME_STEP_MS,
    WITH_DRUMS,
)
from tests.engines.pocket.building import planned, run, sequence, small_network, steering

PIANO, BASS, FLUTE = (CHANNELS.index(name) for name in ("piano", "bass", "flute"))
BAND = (Player("piano", "inner", 36, 96, 1, 6, 0.5), Player("bass", "bass", 28, 55, 1, 1, 0.2),
        Player("flute", "melody", 60, 93, 1, 1, 0.3))
DRUMMER = Player("drums", "rhythm", 27, 87, 1, 4, 0.2)
BAR = 200  # steps of a bar of 4/4 at 120 quarters a minute


def in_c(*bars: Bar, players: tuple[Player, ...] = BAND, groove: Groove | None = None, **changes: Any) -> Steering:
    """Steering for a plan in C major, 4/4; bars of C where none are given."""
    form = FormPlan("song", 0, "major", (4, 4), 120.0, (), bars or (Bar((0, 0)),) * 4, players, 8.0, groove)
    values: dict[str, Any] = {"tonic": 0, "mode": "major", "metre": "4/4", "instruments": tuple(
        player.instrument for player in players)}
    return steering(changes.pop("notes", 60), form=form, **(values | changes))


def note(time: int, channel: int, pitch: int, duration: int = DURATION + 83) -> list[int]:
    return [TIME + time, duration, PITCH + 128 * channel + pitch]


def after(asked: Steering, ids: list[int]) -> np.ndarray:
    """What is added to the logits of the kind that comes next, (of the kind,)."""
    condition = Condition(asked)
    condition.clock.follow(ids)
    added = condition.guide.after(ids)
    first, end = KIND_RANGES[len(ids) % 3]
    assert added.shape == (end - first,)
    return added


def may(asked: Steering, ids: list[int]) -> np.ndarray:
    return after(asked, ids) > -np.inf


def pitches(asked: Steering, ids: list[int], time: int = TIME) -> np.ndarray:
    """What is added to the pitches after a time, (channels, 128)."""
    return after(asked, [*ids, time, DURATION + 83]).reshape(len(CHANNELS), 128)


def gained(asked: Steering, ids: list[int], **strengths: float) -> np.ndarray:
    """What strengths add to what none would; -inf where nothing may come."""
    none = Strengths(**dict.fromkeys(("key", "beat", "chords", "returns", "line", "balance"), 0.0))
    one, other = (after(replace(asked, strengths=which), ids) for which in (none, replace(none, **strengths)))
    assert ((one > -np.inf) == (other > -np.inf)).all(), "strengths lean, they do not forbid"
    with np.errstate(invalid="ignore"):
        return np.where(one > -np.inf, other - one, -np.inf)


# Without a plan


def test_no_duration_and_no_pitch_of_nought() -> None:
    assert np.flatnonzero(may(steering(), [1])).tolist() == list(range(8, 1024))
    free = may(steering(), [1, 200]).reshape(12, 128)
    assert not free[:, 0].any()
    assert free[:, 1:].all()


def test_the_longest_time_stops_the_clock() -> None:
    """It stands for any longer one; where there is no beat to keep, it may come."""
    assert np.flatnonzero(~may(steering(), [])).tolist() == [127]
    assert may(steering(metre=None), []).all()


@pytest.mark.parametrize(("tonic", "mode", "inside"), [
    (0, "major", "C D E F G A B"), (9, "minor", "A B C D E F G Ab"), (3, "major", "Eb F G Ab Bb C D"),
])
def test_pitches_outside_the_key_lose_and_drums_do_not(tonic: int, mode: str, inside: str) -> None:
    loss = -gained(steering(tonic=tonic, mode=mode), [1, 200], key=1.5).reshape(12, 128)[:, 1:]
    classes = {TONICS[pitch % 12] for pitch in range(1, 128) if loss[0, pitch - 1] == 0}
    assert classes == set(inside.split())
    for channel in range(12):
        assert loss[channel].tolist() == (np.zeros(127) if channel == DRUMS else loss[0]).tolist()
    assert set(loss[0].tolist()) == {0.0, 1.5}


def test_without_a_mode_there_is_no_key() -> None:
    assert (after(steering(mode=None, strengths=Strengths(key=0.0)), [1, 200])
            == after(steering(mode=None, strengths=Strengths(key=2.0)), [1, 200])).all()


def test_nobody_strikes_a_note_twice_at_once() -> None:
    ids = [*note(5, PIANO, 60), *note(0, PIANO, 64)]
    for asked in (steering(), in_c()):
        ids[0] = TIME
        for time, free in ((TIME, False), (TIME + 10, True)):
            found = pitches(asked, ids, time) > -np.inf
            assert bool(found[PIANO, 60]) is bool(found[PIANO, 64]) is free
            assert found[PIANO, 67]


@pytest.mark.parametrize(("changes", "prime"), [
    ({}, (START, NO_DRUMS, CHANNEL_COUNT + 2)),
    ({"instruments": ("piano", "drums")}, (START, WITH_DRUMS, CHANNEL_COUNT + 2)),
    ({"instruments": tuple(CHANNELS)}, (START, WITH_DRUMS, CHANNEL_COUNT + 12)),
    ({"instruments": ()}, (START, NO_DRUMS, CHANNEL_COUNT + 1)),
    ({"given": (1, 200, 1200)}, (START, NO_DRUMS, CHANNEL_COUNT + 2, 1, 200, 1200)),
])
def test_the_prime_says_whether_there_are_drums_and_how_many_play(changes: dict[str, Any], prime: tuple[int, ...]) -> None:
    assert steering(**changes).prime == prime


def test_the_players_of_a_plan_are_those_of_the_prime() -> None:
    asked = in_c(players=(*BAND, DRUMMER), instruments=("piano",))
    assert asked.prime == (START, WITH_DRUMS, CHANNEL_COUNT + 4)


def test_the_prime_holds_as_much_as_the_network_can_look_back_to() -> None:
    given = tuple(note(1, PIANO, 60)) * 1000
    assert len(steering(given=given).prime) == 3 + 3 * 512


# Who may play


def test_players_keep_to_their_ranges_and_nobody_else_plays() -> None:
    free = pitches(in_c(), []) > -np.inf
    for channel in range(len(CHANNELS)):
        player = next((one for one in BAND if one.instrument == CHANNELS[channel]), None)
        wanted = list(range(player.low, player.high + 1)) if player else []
        assert np.flatnonzero(free[channel]).tolist() == wanted


def test_whoever_has_a_single_voice_plays_one_note_at_once() -> None:
    started = note(0, FLUTE, 72)
    assert not (pitches(in_c(), started) > -np.inf)[FLUTE].any()
    assert (pitches(in_c(), started, TIME + 50) > -np.inf)[FLUTE].any()
    two = (*BAND[:2], replace(BAND[2], players=2))
    assert (pitches(in_c(players=two), started) > -np.inf)[FLUTE].any()
    assert not (pitches(in_c(players=two), [*started, *note(0, FLUTE, 69)]) > -np.inf)[FLUTE].any()


def test_a_chord_comes_to_an_end_when_everybody_plays() -> None:
    duo = in_c(players=BAND[1:])
    ids = note(0, BASS, 36)
    assert may(duo, ids)[TIME]
    ids += note(0, FLUTE, 72)
    assert not may(duo, ids)[TIME]
    assert may(duo, ids)[TIME + 1:TIME + 120].all()
    assert may(duo, [*ids, *note(50, FLUTE, 71)])[TIME]


def test_whoever_has_not_come_in_yet_is_silent() -> None:
    asked = in_c(Bar((0, 0), silent=("flute", "piano")), Bar((0, 0), silent=("piano",)), Bar((0, 0)), Bar((0, 0)))
    heard = [set(np.flatnonzero((pitches(asked, ids) > -np.inf).any(1))) for ids in (
        [], [*note(0, BASS, 36), *note(120, BASS, 38), *note(100, BASS, 36)],
        [*note(0, BASS, 36), *note(120, BASS, 38), *note(100, BASS, 36), *note(120, BASS, 36), *note(80, BASS, 38)])]
    assert heard == [{BASS}, {FLUTE}, {PIANO, FLUTE}], "the bass has its note already"
    assert not may(asked, note(0, BASS, 36))[TIME], "nobody is there to join in"


def test_a_bar_may_hold_fewer_notes_at_once_than_there_are_voices() -> None:
    asked = in_c(Bar((0, 0), most_at_once=1), Bar((0, 0), most_at_once=2), Bar((0, 0)), Bar((0, 0)))
    assert not may(asked, note(0, PIANO, 60))[TIME]
    later = [*note(0, PIANO, 60), *note(120, PIANO, 60), *note(80, PIANO, 60)]
    assert may(asked, later)[TIME]
    assert not may(asked, [*later, *note(0, PIANO, 64)])[TIME]


# What is leant on


def test_notes_of_the_chord_are_likelier_most_of_all_where_it_begins() -> None:
    asked = in_c(Bar((chord(5, 0), chord(7, 1))), Bar((0, 0)), Bar((0, 0)))
    losses = []
    for time, tones in ((0, {5, 9, 0}), (50, {5, 9, 0}), (66, {5, 9, 0}), (100, {7, 10, 2})):
        ids = [*note(0, PIANO, 60), TIME + time, DURATION + 83] if time else [TIME, DURATION + 83]
        loss = -gained(asked, ids, chords=1.0).reshape(12, 128)[FLUTE]
        outside = {pitch % 12 for pitch in range(60, 94) if loss[pitch] > 0}
        assert outside == set(range(12)) - tones, time
        losses.append(loss[60:94].max())
    assert losses[0] > losses[1] > losses[2] > 0
    assert losses[3] == losses[0]


def test_the_bass_has_the_root_where_the_harmony_changes() -> None:
    asked = in_c(Bar((chord(5, 0), chord(5, 0))), Bar((0, 0)))
    bass, piano = (gained(asked, [TIME, DURATION + 83], chords=1.0).reshape(12, 128)[channel] for channel in (BASS, PIANO))
    assert bass[29] == bass[41] > bass[33] == 0
    assert piano[41] == piano[45] == 0
    between = gained(asked, [*note(0, FLUTE, 72), TIME + 66, DURATION + 83], chords=1.0).reshape(12, 128)[BASS]
    assert between[41] == between[45]


def test_drums_have_no_harmony_and_no_way_to_go() -> None:
    asked = in_c(players=(*BAND, DRUMMER))
    drums = gained(asked, [*note(0, DRUMS, 36), TIME, DURATION + 83], key=2.0, chords=2.0, line=2.0).reshape(12, 128)[DRUMS]
    assert set(drums[27:88].tolist()) == {0.0, -np.inf}


def test_a_single_voice_goes_by_steps_rather_than_leaps() -> None:
    ids = [*note(0, FLUTE, 72), TIME + 50, DURATION + 83]
    way = gained(in_c(), ids, line=1.0).reshape(12, 128)[FLUTE]
    assert way[74] == way[70]
    assert way[74] > way[76] > way[79] > way[81] > way[84] > way[91]
    assert way[74] > way[72], "and does not stand still"


def test_whoever_had_too_little_is_likelier() -> None:
    few = [*note(0, PIANO, 60), *note(50, PIANO, 62)]
    many = [*few, *(token for step in range(8) for token in note(10, PIANO, 60 + step))]
    flute, piano = ([float(gained(in_c(), [*ids, TIME + 10, DURATION + 83], balance=1.0).reshape(12, 128)[channel, 72])
                     for ids in (few, many)] for channel in (FLUTE, PIANO))
    assert flute[1] > flute[0]
    assert piano[1] < piano[0]
    assert flute[1] > 0 > piano[1]


def test_a_bar_that_comes_back_leans_on_what_stood_there() -> None:
    """In time, duration and pitch: bar 2 brings back bar 0, and only that."""
    tune = [*note(0, FLUTE, 72), *note(25, PIANO, 64, DURATION + 91), *note(75, BASS, 31)]
    between = [*tune, *note(100, FLUTE, 71), *note(100, FLUTE, 71)]
    ids = [*between, *note(100, FLUTE, 72)]
    for more, wanted in (([], TIME + 25), ([TIME + 25], DURATION + 91), ([TIME + 25, DURATION + 99], PITCH + 64)):
        first, _ = KIND_RANGES[len(more) % 3]
        gain, weak = (gained(bringing_back(level), [*ids, *more], returns=1.0) for level in (2, 0))
        assert np.flatnonzero(gain > 0).tolist() == [wanted - first]
        assert 0 < weak[wanted - first] < gain[wanted - first], "a bar that is to be less alike is brought back less"
    assert not (gained(bringing_back(2), between, returns=1.0) > 0).any()


def test_a_chord_that_comes_back_is_waited_for() -> None:
    ids = [*note(0, FLUTE, 72), *note(0, BASS, 36), *note(50, PIANO, 64), *note(120, PIANO, 62), *note(120, PIANO, 62),
           *note(110, PIANO, 60)]
    assert np.flatnonzero(gained(bringing_back(2), ids, returns=1.0) > 0).tolist() == [TIME]
    assert set(np.flatnonzero(gained(bringing_back(2), [*ids, TIME, DURATION + 83], returns=1.0) > 0)) == {
        128 * FLUTE + 72, 128 * BASS + 36}, "in whatever order"
    both = [*ids, *note(0, BASS, 36), *note(0, FLUTE, 72)]
    assert np.flatnonzero(gained(bringing_back(2), both, returns=1.0) > 0).tolist() == [TIME + 50]


def bringing_back(level: int) -> Steering:
    """Four bars, of which the third brings back the first."""
    return in_c(Bar((0, 0)), Bar((0, 0)), Bar((0, 0), returns=Return(0, level)), Bar((0, 0)))


# Drums

GROOVE = Groove("rock", "4/4", (Hit(0, 36, 6), Hit(0, 42, 4), Hit(24, 38, 6), Hit(48, 36, 6), Hit(72, 38, 6)),
                (Hit(0, 49, 6), Hit(12, 45, 6), Hit(24, 43, 6)), False)


def with_drums(*bars: Bar) -> tuple[Steering, Steering]:
    """With the pattern, and without."""
    one, other = (in_c(*bars, players=(*BAND, DRUMMER), groove=groove) for groove in (GROOVE, None))
    return one, other


def struck(asked: Steering, ids: list[int], time: int = TIME) -> set[int]:
    """Drums that may come, or that are likelier than others that may."""
    drums = pitches(asked, ids, time)[DRUMS]
    return {int(pitch) for pitch in np.flatnonzero(drums > -np.inf) if drums[pitch] == drums.max()}


def test_drums_have_their_pattern() -> None:
    asked, plain = with_drums()
    start = note(0, PIANO, 60)
    assert len(struck(plain, start)) > 40
    assert struck(asked, []) == {36, 42}
    assert struck(asked, start) == {36, 42}
    assert struck(asked, [*start, *note(0, DRUMS, 36)]) == {42}
    assert struck(asked, start, TIME + 50) == {38}
    assert struck(asked, [*start, *note(100, PIANO, 62)], TIME + 100) == {36, 42}, "the next bar"
    assert pitches(asked, start, TIME + 40)[DRUMS].max() < pitches(asked, start, TIME + 50)[DRUMS].max()


def test_no_time_passes_over_a_stroke() -> None:
    asked, plain = with_drums()
    all_struck = [*note(0, PIANO, 60), *note(0, DRUMS, 42), *note(0, DRUMS, 36)]
    gain = after(asked, all_struck)[:120] - after(plain, all_struck)[:120]
    assert not gain[:50].any()
    assert gain[50] > 0 > gain[51]
    assert np.ptp(gain[51:]) < 1e-4
    waiting = all_struck[:6]
    gain = after(asked, waiting)[:120] - after(plain, waiting)[:120]
    assert gain[0] == 0 > gain[1] == pytest.approx(gain[50]) == pytest.approx(gain[119]), "a stroke is still to come here"
    late = [*all_struck, *note(100, PIANO, 60), *note(60, DRUMS, 38)]  # after the last stroke of the bar
    gain = after(asked, late)[:120] - after(plain, late)[:120]
    assert np.flatnonzero(gain > 0).tolist() == [40]


def test_a_fill_leads_over_and_the_last_bar_has_no_pattern() -> None:
    asked, plain = with_drums(Bar((0, 0), fill=True), Bar((0, 0)), Bar((0, 0)))
    start = note(0, PIANO, 60)
    assert struck(asked, start) == {49}
    assert struck(asked, start, TIME + 25) == {45}
    near = [*start, *note(120, PIANO, 60), *note(120, PIANO, 60), *note(120, PIANO, 62)]
    with np.errstate(invalid="ignore"):
        gain = after(asked, near) - after(plain, near)
    assert not gain[np.isfinite(gain)].any(), "nothing is waited for behind the last stroke"


# How it ends

END = [*note(0, PIANO, 60), *note(120, PIANO, 60), *note(120, PIANO, 60)]  # step 240 of a plan of three bars: 160 to go


def three_bars(**changes: Any) -> Steering:
    return in_c(*[Bar((0, 0))] * 3, **changes)


def test_nothing_passes_over_the_last_bar_line_and_nothing_begins_just_before_it() -> None:
    assert may(three_bars(), END)[1:127].all()
    ids = [*END, *note(100, PIANO, 62)]
    made = len(ids) // 3
    for notes in range(made + 3, 200):
        free = may(replace(three_bars(), notes=notes), ids)
        assert not free[61:].any()
        assert not free[58:60].any()
        if notes > 2 * made + 10:  # most are unused, and there is room for them
            assert not free[60]
    assert free[1:50].all()
    assert any(may(replace(three_bars(), notes=notes), ids)[60] for notes in range(made + 1, made + 8))


def test_nothing_sounds_on_into_the_last_chord() -> None:
    for time, steps in ((0, 160), (100, 60), (120, 40)):
        durations = np.flatnonzero(may(three_bars(), [*END, TIME + time])) // 8
        assert 1 <= durations.min() <= 5
        assert durations.max() * DURATION_STEP_MS <= max(steps * TIME_STEP_MS, DURATION_STEP_MS)
        assert durations.max() * DURATION_STEP_MS > steps * TIME_STEP_MS - DURATION_STEP_MS


def test_the_last_chord_is_long_and_has_its_root_lowest_and_everybody() -> None:
    asked = three_bars()
    condition = Condition(asked)
    ids = [*END, *note(100, FLUTE, 74), TIME + 60]
    for pitch in (24 + 12, 60, 72, 64, 67):
        condition.clock.follow(ids)
        added = condition.guide.after(ids)
        durations = np.flatnonzero(added > -np.inf) // 8 * DURATION_STEP_MS
        assert durations.min() >= max(BAR * TIME_STEP_MS, 1200)
        ids.append(DURATION + 8 * 101)
        added = condition.guide.after(ids).reshape(12, 128)
        heard = {(int(channel), int(place)) for channel, place in np.argwhere(added > -np.inf)}
        if pitch == 36:
            assert {channel for channel, _ in heard} == {BASS}
            assert {place % 12 for _, place in heard} == {0}
        else:
            assert {place % 12 for _, place in heard} <= {0, 4, 7}
            assert min(place for _, place in heard) > 36
        channel = BASS if pitch == 36 else FLUTE if pitch == 72 else PIANO
        assert (channel, pitch) in heard
        if pitch == 72:  # nobody has a second note before everybody has one
            assert {one for one, _ in heard} == {FLUTE}
        ids.append(PITCH + 128 * channel + pitch)
        if pitch != 67:
            condition.clock.follow(ids)
            assert np.flatnonzero(condition.guide.after(ids) > -np.inf).tolist() == [TIME]
            ids.append(TIME)
    assert condition.guide.ends_after == len(ids) // 3 == 4 + 5


def test_a_short_take_has_a_short_last_chord() -> None:
    """A quarter of its notes at most; and what is left is never more than what was asked for."""
    for notes, last in ((8, 2), (12, 3), (40, 5)):
        condition = Condition(three_bars(notes=notes))
        ids = [*END, *note(100, FLUTE, 74), TIME + 60]
        condition.clock.follow(ids)
        condition.guide.follow(ids)
        assert condition.guide.ends_after == 4 + last


def test_with_few_notes_left_time_leads_to_the_end() -> None:
    """Two bars to go in two notes, and one for the end: no other time but a long one."""
    free = np.flatnonzero(may(three_bars(notes=4), note(0, PIANO, 60)))
    assert free.min() > 100


def test_whoever_is_ahead_slows_down_and_whoever_is_behind_hurries() -> None:
    """The same place with notes for few and for many more."""
    slow, fast = (after(three_bars(notes=notes), END) for notes in (20, 60))
    difference = fast[:120] - slow[:120]
    assert (np.diff(difference[1:]) < 0).all(), "the longer a time, the more it loses where many notes are left"
    assert difference[0] > 0


# Takes

LINE_UPS: tuple[tuple[str, ...], ...] = (
    ("piano",), ("flute",), ("drums",), ("piano", "flute"), ("violin", "cello"), ("guitar", "bass", "drums"),
    ("organ", "clarinet", "trumpet"), ("choir",), CHANNELS)
BUDGETS = (10, 32, 100, 682)


def heard_in(asked: Steering, ids: list[int]) -> dict[int, list[tuple[int, int]]]:
    """Channel and pitch of the notes at each onset, in steps from the first one after what was given."""
    onsets: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for time, id_ in zip(np.cumsum(ids[::3]).tolist(), ids[2::3], strict=True):
        onsets[time].append(divmod(id_ - PITCH, 128))
    return dict(onsets)


def check(asked: Steering, ids: list[int]) -> None:
    """What holds of every take with a plan, whatever the network would like."""
    form, condition = asked.form, Condition(asked)
    assert form is not None
    players = {CHANNELS.index(player.instrument): player for player in form.players}
    assert len(ids) % 3 == 0
    assert len(ids) <= 3 * asked.notes
    onsets = heard_in(asked, ids)
    for chord_ in onsets.values():
        assert len(set(chord_)) == len(chord_)
        for channel, count in Counter(channel for channel, _ in chord_).items():
            assert count <= players[channel].players * players[channel].voices
        for channel, pitch in chord_:
            assert players[channel].low <= pitch <= players[channel].high
    end = (condition.clock.first_bar + len(form.bars) - 1) * condition.clock.bar_steps - condition.clock.time
    assert max(onsets) == end
    last = onsets[end]
    melodic = [pitch for channel, pitch in last if channel != DRUMS]
    if melodic:
        assert min(melodic) % 12 == form.tonic
        assert all(CHORD_TONES[form.tonic + 12 * (form.mode == "minor")][pitch % 12] for pitch in melodic)
    assert len(last) == max(min(form.last_notes, asked.notes // 4), 1)
    if len(form.bars) > 1 and not asked.given:
        assert min(onsets) == 0
    if asked.notes >= 10 * len(players):
        assert {channel for chord_ in onsets.values() for channel, _ in chord_} == set(players), "nobody is silent"


@pytest.mark.parametrize("line_up", LINE_UPS, ids="-".join)
def test_takes_of_any_length_end_with_the_tonic_on_the_last_bar_line(line_up: tuple[str, ...]) -> None:
    asked = [planned(notes, line_up, chance=notes, tonic=tonic, mode=mode, metre=metre)
             for notes, tonic, mode, metre in zip(BUDGETS[:3], (2, 6, 11), ("minor", "major", "minor"),
                                                  ("3/4", "4/4", "6/8"), strict=True)]
    takes = run(small_network(), *(sequence(one, 7, take) for take, one in enumerate(asked, 1)))
    for one, ids in zip(asked, takes, strict=True):
        check(one, ids)


def test_a_long_take_ends_like_a_short_one() -> None:
    asked = [planned(682, line_up, metre="4/4") for line_up in (("piano", "flute"), ("guitar", "bass", "drums"))]
    for one, ids in zip(asked, run(small_network(), *(sequence(one, 3, guidance=1.0) for one in asked)), strict=True):
        check(one, ids)
        assert len(ids) > 3 * 682 * 0.6, "most of what was asked for is used"


def walked(asked: Steering, chance: random.Random, habit: str) -> list[int]:
    """A take of any ids that may come: the shortest times, the longest, or whichever."""
    condition, ids, length = Condition(asked), list[int](), 3 * asked.notes
    while len(ids) < length:
        condition.clock.follow(ids)
        free = np.flatnonzero(condition.guide.after(ids) > -np.inf).tolist()
        assert free, f"nothing may come after {len(ids)} ids"
        if (notes := condition.guide.ends_after) is not None:
            length = 3 * notes
        likes = habit if len(ids) % 3 == 0 else "any"
        chosen = free[0] if likes == "shortest" else free[-1] if likes == "longest" else chance.choice(free)
        ids.append(KIND_RANGES[len(ids) % 3][0] + int(chosen))
    return ids


HABITS = ("shortest", "longest", "any")


@pytest.mark.parametrize("habit", HABITS)
@pytest.mark.parametrize("notes", BUDGETS)
@pytest.mark.parametrize("line_up", LINE_UPS, ids="-".join)
def test_whatever_may_come_leads_to_the_end(line_up: tuple[str, ...], notes: int, habit: str) -> None:
    chance = random.Random(f"{line_up} {notes} {habit}")
    check_any(planned(notes, line_up, chance=notes, metre=chance.choice(("4/4", "6/8", "5/4"))), chance, habit)


@settings(max_examples=60)
@given(st.data())
def test_whatever_may_come_leads_to_the_end_of_any_plan(data: st.DataObject) -> None:
    draw = data.draw
    line_up = tuple(draw(st.sets(st.sampled_from(CHANNELS), min_size=1, max_size=6)))
    asked = planned(
        draw(st.sampled_from((10, 20, 32, 60))), line_up, chance=draw(st.integers(0, 99)), tonic=draw(st.integers(0, 11)),
        mode=draw(st.sampled_from(("major", "minor"))), metre=draw(st.sampled_from(("4/4", "3/4", "2/4", "6/8", "5/4"))),
        tempo_bpm=60_000 / draw(st.sampled_from((300, 460, 500, 640, 1000))),
        forms=draw(st.sampled_from(((), ("blues",), ("fugue",), ("canon",), ("march",)))))
    check_any(asked, random.Random(draw(st.integers(0, 99))), draw(st.sampled_from(HABITS)))


def check_any(asked: Steering, chance: random.Random, habit: str) -> None:
    """As `check`, but nobody leans on those who have not played."""
    ids = walked(asked, chance, habit)
    heard = {(id_ - PITCH) // 128 for id_ in ids[2::3]}
    assert asked.form is not None
    silent = tuple(player for player in asked.form.players if CHANNELS.index(player.instrument) not in heard)
    short = asked.notes // 4 < asked.form.last_notes
    assert not silent or short, "all have a note of the last chord"
    check(replace(asked, notes=min(asked.notes, 10 * len(asked.form.players) - 1)) if silent else asked, ids)


def test_a_time_that_would_lead_just_before_the_end_is_a_shorter_one() -> None:
    """One note is left, and the last chord; it is 130 steps away, and 127 is no time."""
    asked = three_bars(notes=6)
    for step in range(110, 160):
        ids = [*note(0, FLUTE, 72), *note(100, FLUTE, 74), *note(100, FLUTE, 72), *note(400 - step - 200, FLUTE, 71)]
        free = np.flatnonzero(may(asked, ids))
        assert len(free), step
        if step > 126:
            assert (step - free <= 126).all(), "one more time is enough"


@pytest.mark.parametrize("line_up", [("choir",), ("choir", "trumpet"), ("choir", "organ"), ("violin", "trumpet")],
                         ids="-".join)
def test_the_last_chord_has_room_over_its_root(line_up: tuple[str, ...]) -> None:
    for tonic in range(12):
        for seed in range(8):
            asked = planned(32, line_up, chance=seed, tonic=tonic, mode="major", metre="4/4")
            check_any(asked, random.Random(seed), "any")


def test_a_fugue_is_heard_by_one_after_the_other() -> None:
    asked = planned(100, ("flute", "violin", "clarinet", "cello"), forms=("fugue",), metre="4/4", bars=12)
    [ids] = run(small_network(), sequence(asked))
    check(asked, ids)
    assert asked.form is not None
    for onset, chord_ in heard_in(asked, ids).items():
        bar = onset // Condition(asked).clock.bar_steps
        assert not {CHANNELS[channel] for channel, _ in chord_} & set(asked.form.bars[bar].silent)


# What is carried on


def test_a_take_goes_on_from_what_is_given_and_ends_as_any() -> None:
    given_ = (*note(10, PIANO, 60), *note(65, FLUTE, 74), *note(0, PIANO, 50), *note(75, PIANO, 57), *note(40, FLUTE, 72))
    asked = [planned(notes, line_up, given=given_, metre="3/4")
             for notes, line_up in ((32, ("piano", "flute")), (60, ("guitar", "bass", "drums")))]
    for one, ids in zip(asked, run(small_network(), *(sequence(one, 5) for one in asked)), strict=True):
        check(one, ids)


def test_what_is_given_sounds_when_a_take_begins() -> None:
    given_ = tuple(note(0, FLUTE, 72))
    asked = in_c(given=given_)
    assert may(asked, []).any()
    assert may(asked, [])[1:127].all(), "it goes on wherever it likes"
    assert not (pitches(asked, [], TIME) > -np.inf)[FLUTE].any()
    assert (pitches(asked, [], TIME + 25) > -np.inf)[FLUTE].any()
    way = gained(asked, [TIME + 25, DURATION + 83], line=1.0).reshape(12, 128)[FLUTE]
    assert way[74] > way[84]


def test_what_is_given_counts_towards_nobodys_share() -> None:
    given_ = tuple(token for step in range(30) for token in note(20, PIANO, 60 + step % 5))
    asked = in_c(given=given_)
    alone, fresh = (gained(one, [*note(1, BASS, 40), TIME + 25, DURATION + 83], balance=1.0) for one in (
        asked, replace(asked, given=())))
    both = (alone > -np.inf) & (fresh > -np.inf)
    assert (alone[both] == fresh[both]).all()
