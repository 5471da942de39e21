"""The tables from programs to channels."""

from __future__ import annotations

import numpy as np
import pytest

from models.music.score.programs import CHANNELS, DROPPED, DRUMS, NEAREST_CHANNEL, PATCHES, SEED_CHANNEL, channels_of
from tests.music.score.building import score_of

UNPITCHED = {115, *range(119, 128)}  # wood block, and the effects
SEED = {  # channel: programs that the seed system accepts
    0: range(8), 1: range(24, 31), 2: range(32, 40), 3: (40, 41), 4: (42, 43), 5: (46,), 6: range(56, 61),
    7: range(64, 72), 8: range(72, 79), 10: (52, 53), 11: range(16, 21),
}


def channel(program: int, *, pitch: int = 60, drum: bool = False, nearest: bool = False) -> int:
    return int(channels_of(score_of([(0, 1, pitch, 64, program, drum)]).notes, nearest=nearest)[0])


def test_the_seed_system_accepts_its_programs_and_no_others() -> None:
    expected = {program: number for number, programs in SEED.items() for program in programs}
    assert [channel(program) for program in range(128)] == [expected.get(program, DROPPED) for program in range(128)]


def test_what_the_seed_system_accepts_keeps_its_channel_among_the_nearest() -> None:
    accepted = SEED_CHANNEL != DROPPED
    assert (NEAREST_CHANNEL[accepted] == SEED_CHANNEL[accepted]).all()
    for pitch in (0, 54, 127):
        assert all(channel(int(p), pitch=pitch, nearest=True) == SEED_CHANNEL[p] for p in np.flatnonzero(accepted))


def test_every_pitched_program_has_a_nearest_channel_that_is_not_drums() -> None:
    assert set(np.flatnonzero(NEAREST_CHANNEL == DROPPED).tolist()) == UNPITCHED
    assert set(NEAREST_CHANNEL.tolist()) == {*range(len(CHANNELS)), DROPPED} - {DRUMS}


@pytest.mark.parametrize("nearest", [False, True])
def test_the_program_written_for_a_channel_is_read_as_that_channel(nearest: bool) -> None:
    for number in range(len(CHANNELS)):
        assert channel(PATCHES[number], drum=number == DRUMS, nearest=nearest) == number


@pytest.mark.parametrize("nearest", [False, True])
def test_drums_are_drums_whatever_the_program(nearest: bool) -> None:
    assert {channel(program, drum=True, nearest=nearest) for program in range(128)} == {DRUMS}


def test_low_string_ensembles_go_to_the_cello() -> None:
    strings = 48
    assert [CHANNELS[channel(strings, pitch=pitch, nearest=True)] for pitch in (54, 55)] == ["cello", "violin"]
    assert channel(strings) == DROPPED
