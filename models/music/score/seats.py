"""Where players sit, as the audience hears them: the places of an orchestra and of a band, and how much hall there is."""

from __future__ import annotations

from collections.abc import Iterator

from models.music.score.tracks import Tracks

CENTRE = 64
REVERB = 56  # of 127; what a synthesizer sends to its reverberation
DRUM_CHANNEL = 9
_SPREAD = 14  # between players of one instrument

# General MIDI programs, first and last, and the place: 0 left, 64 middle, 127 right. Violins left, cellos and basses right,
# woodwinds about the middle, horns left of the trumpets, harp far left, as most orchestras sit; what leads or carries a band
# (bass, singers, solo leads) is in the middle.
_PLACES = (
    (0, 7, 56), (8, 15, 40), (16, 20, 72), (21, 23, 78), (24, 27, 44), (28, 31, 84), (32, 39, 64),
    (40, 40, 32), (41, 41, 78), (42, 42, 94), (43, 43, 98), (44, 45, 44), (46, 46, 24), (47, 47, 80),
    (48, 51, 54), (52, 54, 64), (55, 55, 64), (56, 56, 80), (57, 57, 88), (58, 58, 92), (59, 59, 80),
    (60, 60, 46), (61, 63, 80), (64, 67, 74), (68, 69, 68), (70, 70, 74), (71, 71, 54), (72, 79, 60),
    (80, 87, 64), (88, 95, 56), (96, 103, 72), (104, 108, 46), (109, 109, 64), (110, 110, 34), (111, 111, 68),
    (112, 119, 84), (120, 127, 64),
)  # fmt: skip
PLACES = tuple(place for first, last, place in _PLACES for _ in range(first, last + 1))


def seats(tracks: Tracks) -> Iterator[tuple[int, int, int]]:
    """Tick, channel and place (0 to 127) of each player who plays, again where a channel changes its instrument.

    Several channels with the same instrument sit beside each other about its place. Alone in the room, a player is in the
    middle.
    """
    playing = sorted({channel for _, _, channel, _, _ in tracks.notes})
    if len(playing) == 1:
        yield 0, playing[0], CENTRE
        return
    together: dict[int, list[int]] = {}  # program at the beginning -> channels
    for channel in playing:
        if channel != DRUM_CHANNEL:
            together.setdefault(_changes(tracks, channel)[0][1], []).append(channel)
    for channel in playing:
        if channel == DRUM_CHANNEL:  # the kit has places of its own
            yield 0, channel, CENTRE
            continue
        changes = _changes(tracks, channel)
        section = together[changes[0][1]]
        aside = round((section.index(channel) - (len(section) - 1) / 2) * _SPREAD)
        for tick, program in changes:
            yield tick, channel, min(max(PLACES[program] + aside, 0), 127)


def _changes(tracks: Tracks, channel: int) -> list[tuple[int, int]]:
    """Tick and program, from the beginning; of a channel that names its program before its first note, that one."""
    changes = sorted(tracks.programs[channel], key=lambda change: change[0])
    first_note = min(start for start, _, mine, _, _ in tracks.notes if mine == channel)
    early = [program for tick, program in changes if tick <= first_note]
    return [(0, early[-1] if early else 0), *((tick, program) for tick, program in changes if tick > first_note)]
