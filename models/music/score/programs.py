"""Which of the seed system's twelve channels an instrument goes to, and which program it sounds with."""

from __future__ import annotations

import numpy as np

CHANNELS = (
    "piano", "guitar", "bass", "violin", "cello", "harp",
    "trumpet", "clarinet", "flute", "drums", "choir", "organ",
)
DRUMS = CHANNELS.index("drums")
DROPPED = 255

# Written as program changes at the start of every file, channels 0..15.
PATCHES = (0, 24, 32, 40, 42, 46, 56, 71, 73, 0, 53, 19, 0, 0, 0, 0)

# General MIDI programs, first and last, that the seed system accepts for a channel.
_ACCEPTED = {
    "piano": [(0, 7)], "guitar": [(24, 30)], "bass": [(32, 39)], "violin": [(40, 41)],
    "cello": [(42, 43)], "harp": [(46, 46)], "trumpet": [(56, 60)], "clarinet": [(64, 71)],
    "flute": [(72, 78)], "choir": [(52, 53)], "organ": [(16, 20)],
}

# The nearest channel for programs that the seed system drops. Our own model is trained with
# these, and uploads may be read with them. Effects and unpitched hits (115, 119-127) stay dropped.
_NEAREST = {
    "piano": [(11, 14)],  # vibraphone, marimba, xylophone, tubular bells
    "guitar": [(31, 31), (84, 84), (104, 106)],  # harmonics, charang, sitar, banjo, shamisen
    "bass": [(47, 47), (87, 87), (116, 118)],  # timpani, bass and lead, taiko, toms
    "violin": [(44, 44), (48, 51), (89, 89), (110, 110)],  # tremolo, ensembles, warm pad, fiddle
    "harp": [(8, 10), (15, 15), (45, 45), (107, 108), (112, 114)],  # bells, dulcimer, pizzicato, koto, kalimba
    "trumpet": [(55, 55), (61, 63)],  # orchestra hit, brass sections
    "clarinet": [(80, 81), (86, 86), (109, 109), (111, 111)],  # square and saw leads, bagpipe, shanai
    "flute": [(79, 79), (82, 83)],  # ocarina, calliope, chiff
    "choir": [(54, 54), (85, 85), (91, 91)],  # synth voice, voice lead, choir pad
    "organ": [(21, 23), (88, 88), (90, 90), (92, 103)],  # accordion, harmonica, pads
}
_LOWEST_VIOLIN = 55  # below it, what goes to the nearest channel "violin" goes to "cello"


def _table(*sources: dict[str, list[tuple[int, int]]]) -> np.ndarray:
    table = np.full(128, DROPPED, dtype=np.uint8)
    for source in sources:
        for name, ranges in source.items():
            for first, last in ranges:
                table[first:last + 1] = CHANNELS.index(name)
    return table


SEED_CHANNEL = _table(_ACCEPTED)
NEAREST_CHANNEL = _table(_NEAREST, _ACCEPTED)


def channels_of(notes: np.ndarray, *, nearest: bool = False) -> np.ndarray:
    """Channel 0..11 of each note, or DROPPED.

    `nearest` sends programs that the seed system does not know to the channel they sound most like.
    """
    channels = (NEAREST_CHANNEL if nearest else SEED_CHANNEL)[notes["program"]]
    if nearest:
        violin, cello = CHANNELS.index("violin"), CHANNELS.index("cello")
        moved = (channels == violin) & (SEED_CHANNEL[notes["program"]] == DROPPED)
        channels = np.where(moved & (notes["pitch"] < _LOWEST_VIOLIN), cello, channels)
    return np.where(notes["drum"], DRUMS, channels).astype(np.uint8)
