"""A score as a picture: time to the right, pitch upwards, a colour for every instrument."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from models.errors import ScoreError
from models.music.score.notes import Score
from models.sound.rendering.picture import (
    AXIS,
    COLOURS,
    GAP,
    HEIGHT,
    INK,
    LANE,
    MARGIN,
    PALE_INK,
    PAPER,
    PRIMED,
    SMALL_PX,
    STRONG_GRID,
    TEXT_PX,
    WIDTH,
    Lane,
    draw_time_grid,
    font,
    heading_height,
    mark_prime,
    write_heading,
    write_seconds,
)
from models.whole_file import whole_file

DRUM_COLOUR = (51, 51, 51)
_BLUE, _VERMILION, _GREEN, _PINK, _ORANGE, _SKY, _BROWN = range(7)
_SOLID, _HOLLOW, _STRIPED = range(3)  # looks, for pieces with more instruments than colours

# First and last General MIDI program, name, and the colour it has when nothing before it took that one.
_INSTRUMENTS = (
    (0, 7, "Piano", _BLUE), (8, 15, "Bells", _SKY), (16, 20, "Organ", _GREEN), (21, 23, "Accordion", _VERMILION),
    (24, 31, "Guitar", _ORANGE), (32, 39, "Bass", _BROWN), (40, 40, "Violin", _VERMILION), (41, 41, "Viola", _PINK),
    (42, 42, "Cello", _BLUE), (43, 43, "Double bass", _BROWN), (44, 45, "Strings", _VERMILION), (46, 46, "Harp", _SKY),
    (47, 47, "Timpani", _BROWN), (48, 51, "Strings", _VERMILION), (52, 54, "Choir", _PINK), (55, 55, "Hit", _ORANGE),
    (56, 56, "Trumpet", _ORANGE), (57, 57, "Trombone", _BROWN), (58, 58, "Tuba", _BROWN), (59, 59, "Trumpet", _ORANGE),
    (60, 60, "Horn", _ORANGE), (61, 63, "Brass", _ORANGE), (64, 67, "Saxophone", _GREEN), (68, 69, "Oboe", _PINK),
    (70, 70, "Bassoon", _BROWN), (71, 71, "Clarinet", _GREEN), (72, 79, "Flute", _SKY), (80, 87, "Synth lead", _GREEN),
    (88, 95, "Synth pad", _PINK), (96, 103, "Effects", _PINK), (104, 108, "Plucked", _ORANGE),
    (109, 109, "Bagpipe", _GREEN), (110, 110, "Fiddle", _VERMILION), (111, 111, "Shawm", _GREEN),
    (112, 119, "Percussion", _BROWN), (120, 127, "Effects", _PINK),
)  # fmt: skip
_NAMES = tuple(dict.fromkeys(name for _, _, name, _ in _INSTRUMENTS))
_NAME_OF = np.zeros(128, dtype=np.int64)  # program -> index of its name
_FAVOURITE: dict[int, int] = {}  # index of the name -> index of its colour
for _first, _last, _name, _colour in _INSTRUMENTS:
    _NAME_OF[_first:_last + 1] = _NAMES.index(_name)
    _FAVOURITE.setdefault(_NAMES.index(_name), _colour)

# Rows of the drum lane, from the top; General MIDI percussion keys.
_DRUM_ROWS = {
    "Cymbals": {49, 51, 52, 53, 55, 57, 59}, "Hi-hat": {42, 44, 46}, "Toms": {41, 43, 45, 47, 48, 50},
    "Snare": {37, 38, 39, 40}, "Kick": {35, 36}, "Others": set[int](),
}  # fmt: skip

_BLACK_KEY = (240, 242, 245)
_LEGEND_ROW, _DRUM_ROW = 40, 32  # px
_LEAST_PITCHES = 24


class _Instrument(NamedTuple):
    name: str
    colour: tuple[int, int, int]
    look: int
    notes: np.ndarray  # of NOTE


def draw_roll(
    score: Score, target: Path, *, title: str, parameters: str = "", prime_seconds: float | None = None
) -> Path:
    """Draw a score as a PNG of 1600 x 900 pixels; the louder a note, the stronger its colour.

    Instruments are named in a legend, drums have a lane below; those that play the same share its row. Texts may hold
    anything: characters that the font lacks are left out, what is too wide ends in an ellipsis. A dashed line marks
    `prime_seconds`. Returns `target`; an existing file is replaced, and only by a finished one.

    Raises ScoreError for a score without notes, RenderingError when the file cannot be written.
    """
    if not len(score):
        raise ScoreError("the score holds no notes; there is nothing to draw")
    end_s = max(score.seconds, 0.5)
    drums = score.notes[score.notes["drum"]]
    instruments = _instruments(score.notes[~score.notes["drum"]])
    rows = _drum_rows(drums)
    left = MARGIN + (100 if rows else 36)
    legend = _legend(instruments, with_drums=bool(rows))
    top = heading_height(parameters) + _LEGEND_ROW * len(legend) + 12
    bottom = HEIGHT - AXIS
    drum_top = bottom - (_DRUM_ROW * len(rows) + 10) if instruments else top
    drum_lane = Lane(left, drum_top, WIDTH - MARGIN, bottom, end_s)
    lane = Lane(left, top, WIDTH - MARGIN, drum_top - GAP if rows else bottom, end_s)
    lanes = [lane] * bool(instruments) + [drum_lane] * bool(rows)
    prime = min(prime_seconds, end_s) if prime_seconds is not None and prime_seconds > 0 else None

    canvas = np.empty((HEIGHT, WIDTH, 3), dtype=np.float32)
    canvas[:] = PAPER
    for box in lanes:
        canvas[box.top:box.bottom, box.left:box.right] = LANE
        if prime is not None:
            canvas[box.top:box.bottom, box.left:box.x(prime)] = PRIMED
    if instruments:
        pitches = _pitches(instruments)
        _draw_keyboard(canvas, lane, pitches, prime)
    draw_time_grid(canvas, lanes)
    if instruments:
        _draw_notes(canvas, lane, pitches, instruments)
    _draw_drums(canvas, drum_lane, rows)

    image = Image.fromarray(np.rint(canvas).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    small = font("Regular", SMALL_PX)
    write_heading(pen, title, parameters, WIDTH)
    _write_legend(pen, legend, top - 12 - _LEGEND_ROW * len(legend))
    if instruments:
        _write_octaves(pen, lane, pitches, small)
    for number, name in enumerate(rows):
        middle = drum_lane.top + (number + 0.5) * (drum_lane.bottom - drum_lane.top) / len(rows)
        pen.text((left - 12, middle), name, PALE_INK, small, anchor="rm")
    write_seconds(pen, lanes[-1], small)
    if prime is not None:
        mark_prime(pen, lanes, prime, small)
    with whole_file(target) as draft:
        image.save(draft, format="PNG")
    return target


def _instruments(notes: np.ndarray) -> list[_Instrument]:
    """Who plays, each with a colour and look of its own. The favourites go first, so that a piano stays blue."""
    names = _NAME_OF[notes["program"]]
    present = [int(name) for name in np.unique(names)]
    taken: dict[int, tuple[int, int]] = {}
    everything = [(look, colour) for look in (_SOLID, _HOLLOW, _STRIPED) for colour in range(len(COLOURS))]
    for name in present:
        if (_SOLID, _FAVOURITE[name]) not in taken.values():
            taken[name] = (_SOLID, _FAVOURITE[name])
    for name in present:
        if name not in taken:
            free = [choice for choice in everything if choice not in taken.values()]
            taken[name] = free[0] if free else everything[-1]
    return [
        _Instrument(_NAMES[name], COLOURS[colour], look, notes[names == name])
        for name, (look, colour) in sorted(taken.items())
    ]


def _drum_rows(drums: np.ndarray) -> dict[str, np.ndarray]:
    """The kinds of drums that play, in the order of their rows, with their notes."""
    kind_of = {pitch: kind for kind, pitches in _DRUM_ROWS.items() for pitch in pitches}
    kinds = np.array([kind_of.get(int(pitch), "Others") for pitch in drums["pitch"]])
    return {kind: drums[kinds == kind] for kind in _DRUM_ROWS if (kinds == kind).any()}


def _pitches(instruments: Iterable[_Instrument]) -> tuple[int, int]:
    """The lowest and the highest row: a little more than what is played, at least two octaves."""
    played = np.concatenate([instrument.notes["pitch"] for instrument in instruments]).astype(int)
    lowest, highest = max(int(played.min()) - 2, 0), min(int(played.max()) + 2, 127)
    missing = max(_LEAST_PITCHES - (highest - lowest + 1), 0)
    lowest = min(max(lowest - missing // 2, 0), 128 - _LEAST_PITCHES)
    return lowest, max(highest, min(lowest + _LEAST_PITCHES - 1, 127))


def _row(lane: Lane, pitches: tuple[int, int], pitch: int) -> tuple[int, int]:
    """Top and bottom of the row of a pitch."""
    height = (lane.bottom - lane.top) / (pitches[1] - pitches[0] + 1)
    above = pitches[1] - pitch
    return lane.top + round(above * height), lane.top + round((above + 1) * height)


def _draw_keyboard(canvas: np.ndarray, lane: Lane, pitches: tuple[int, int], prime: float | None) -> None:
    """Rows of black keys a shade darker, a line below every C."""
    split = lane.x(prime) if prime is not None else lane.left
    for pitch in range(pitches[0], pitches[1] + 1):
        top, bottom = _row(lane, pitches, pitch)
        if pitch % 12 in (1, 3, 6, 8, 10):
            canvas[top:bottom, split:lane.right] = _BLACK_KEY
        if pitch % 12 == 0:
            canvas[bottom - 1:bottom + 1, lane.left:lane.right] = STRONG_GRID


def _opacities(notes: np.ndarray) -> np.ndarray:
    return 0.3 + 0.7 * notes["velocity"].astype(np.float64) / 127  # even the softest note can be seen


def _tint(canvas: np.ndarray, box: tuple[int, int, int, int], colour: np.ndarray, opacity: float) -> None:
    left, top, right, bottom = box
    area = canvas[top:bottom, left:right]
    area += opacity * (colour - area)


def _draw_notes(canvas: np.ndarray, lane: Lane, pitches: tuple[int, int], instruments: list[_Instrument]) -> None:
    scale = (lane.right - lane.left) / lane.seconds / 1000
    sounding = np.zeros((128, len(instruments), WIDTH), dtype=bool)
    boxes = []
    for number, (*_, notes) in enumerate(instruments):
        lefts = np.rint(lane.left + notes["onset_ms"] * scale).astype(int)
        ends = np.rint(lane.left + (notes["onset_ms"] + notes["duration_ms"]) * scale).astype(int)
        lefts = np.minimum(lefts, lane.right - 3)
        rights = np.clip(ends - 1, lefts + 3, lane.right)  # a pixel between repeated notes
        boxes.append(list(zip(lefts.tolist(), rights.tolist(), notes["pitch"].tolist(), strict=True)))
        for left, right, pitch in boxes[-1]:
            sounding[pitch, number, left:right] = True
    rows = {pitch: _row(lane, pitches, pitch) for pitch in range(pitches[0], pitches[1] + 1)}
    for number, instrument in enumerate(instruments):
        for (left, right, pitch), opacity in zip(boxes[number], _opacities(instrument.notes).tolist(), strict=True):
            top, bottom = rows[pitch]
            if bottom - top >= 6:
                bottom -= 1
            for start, end, place, of in _shares(sounding[pitch], number, left, right):
                height = (bottom - top) / of
                high, low = top + round(place * height), top + round((place + 1) * height)
                _draw_note(canvas, (start, high, end, max(low, high + 1)), instrument, opacity, begins=start == left)


def _shares(sounding: np.ndarray, number: int, left: int, right: int) -> Iterator[tuple[int, int, int, int]]:
    """Parts of a note from left to right, each with its place among those who play the same, and how many they are.

    Drawn over each other, they would come to a colour that the legend does not have.
    """
    together = sounding[:, left:right]
    count, place = together.sum(axis=0), together[:number].sum(axis=0)
    cuts = np.flatnonzero(np.diff(count) | np.diff(place)) + 1
    for start, end in pairwise([0, *cuts.tolist(), right - left]):
        yield left + start, left + end, int(place[start]), int(count[start])


def _draw_note(
    canvas: np.ndarray, box: tuple[int, int, int, int], instrument: _Instrument, opacity: float, *, begins: bool,
) -> None:
    left, top, right, bottom = box
    colour = np.array(instrument.colour, dtype=np.float32)
    edge = 2
    if instrument.look != _SOLID and right - left <= 2 * edge:
        # too short for a hole or stripes: half as tall, so that it does not pass for a solid one
        _tint(canvas, (left, top, right, (top + bottom + 1) // 2), colour, opacity)
    elif instrument.look == _SOLID:
        _tint(canvas, box, colour, opacity)
        if begins:  # a stronger edge tells repeated notes apart
            _tint(canvas, (left, top, min(left + edge, right), bottom), colour, 0.6)
    elif instrument.look == _HOLLOW:
        before = canvas[top + edge:bottom - edge, left + edge:right - edge].copy()
        _tint(canvas, box, colour, opacity)
        canvas[top + edge:bottom - edge, left + edge:right - edge] = before + 0.7 * (255 - before)
    else:
        for stripe in range(left, right, 6):
            _tint(canvas, (stripe, top, min(stripe + 3, right), bottom), colour, opacity)


def _draw_drums(canvas: np.ndarray, lane: Lane, rows: dict[str, np.ndarray]) -> None:
    colour = np.array(DRUM_COLOUR, dtype=np.float32)
    width = min(max(round((lane.right - lane.left) / lane.seconds * 0.07), 3), 9)
    height = (lane.bottom - lane.top) / max(len(rows), 1)
    tall = min(height - 8, 40)
    for number, notes in enumerate(rows.values()):
        top = round(lane.top + (number + 0.5) * height - tall / 2)
        for onset_ms, opacity in zip(notes["onset_ms"].tolist(), _opacities(notes).tolist(), strict=True):
            left = min(lane.x(onset_ms / 1000), lane.right - width)
            _tint(canvas, (left, top, left + width, top + round(tall)), colour, opacity)


def _legend(instruments: list[_Instrument], *, with_drums: bool) -> list[list[tuple[str, tuple[int, int, int], int]]]:
    """Entries (name, colour, look) in as many rows as they need."""
    entries = [(instrument.name, instrument.colour, instrument.look) for instrument in instruments]
    if with_drums:
        entries.append(("Drums", DRUM_COLOUR, _SOLID))
    rows: list[list[tuple[str, tuple[int, int, int], int]]] = [[]]
    used = 0.0
    for entry in entries:
        width = _entry_width(entry[0])
        if rows[-1] and used + width > WIDTH - 2 * MARGIN:
            rows.append([])
            used = 0.0
        rows[-1].append(entry)
        used += width
    return rows


def _entry_width(name: str) -> float:
    return 34 + 12 + font("Regular", TEXT_PX).getlength(name) + 34


def _write_legend(
    pen: ImageDraw.ImageDraw, rows: list[list[tuple[str, tuple[int, int, int], int]]], top: int
) -> None:
    for number, row in enumerate(rows):
        left, middle = float(MARGIN), top + number * _LEGEND_ROW + _LEGEND_ROW // 2
        for name, colour, look in row:
            box = (left, middle - 11, left + 33, middle + 10)
            if look == _STRIPED:
                for stripe in range(0, 34, 6):
                    pen.rectangle((left + stripe, middle - 11, left + stripe + 2, middle + 10), fill=colour)
            else:
                pen.rectangle(box, fill=colour if look == _SOLID else PAPER, outline=colour, width=4)
            pen.text((left + 46, middle), name, INK, font("Regular", TEXT_PX), anchor="lm")
            left += _entry_width(name)


def _write_octaves(
    pen: ImageDraw.ImageDraw, lane: Lane, pitches: tuple[int, int], face: ImageFont.FreeTypeFont
) -> None:
    for pitch in range(pitches[0], pitches[1] + 1):
        if pitch % 12 == 0:
            top, bottom = _row(lane, pitches, pitch)
            middle = min((top + bottom) / 2, lane.bottom - SMALL_PX / 2)
            pen.text((lane.left - 12, middle), f"C{pitch // 12 - 1}", PALE_INK, face, anchor="rm")
