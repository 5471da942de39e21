"""What all pictures share: paper, colours, fonts, a heading, and the axis of seconds."""

from __future__ import annotations

import math
import unicodedata
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import ImageDraw, ImageFont

WIDTH, HEIGHT = 1600, 900
# Okabe and Ito's colours for all kinds of colour vision, without yellow, which white swallows, and with a dark brown.
COLOURS = (
    (0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (230, 159, 0), (86, 180, 233), (102, 17, 0),
)  # fmt: skip
PAPER, LANE, PRIMED = (255, 255, 255), (247, 248, 250), (233, 236, 241)
GRID, STRONG_GRID, INK, PALE_INK = (226, 229, 234), (196, 201, 209), (27, 31, 36), (84, 92, 102)
MARGIN, AXIS, GAP = 40, 52, 14  # px
TITLE_PX, TEXT_PX, SMALL_PX = 46, 28, 25
_TICK_SECONDS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
_TICK_PX = 130  # least distance of two labels
_LONGEST_TEXT = 300  # characters that are looked at; no more fit into the width
_SPELLED = str.maketrans({"♯": "#", "♭": "b", "♮": ""})


class Lane(NamedTuple):
    """A box of the picture that notes are drawn in, and how its rows map to pixels."""

    left: int
    top: int
    right: int
    bottom: int
    seconds: float

    def x(self, seconds: float) -> int:
        return self.left + round(seconds / self.seconds * (self.right - self.left))


def heading_height(parameters: str) -> int:
    """Where the text ends that `write_heading` writes, in px from the top."""
    return 34 + TITLE_PX + (16 + TEXT_PX if parameters else 0) + 24


def write_heading(pen: ImageDraw.ImageDraw, title: str, parameters: str, width: int) -> None:
    """A title, and a line of parameters where there are some. Both may hold anything."""
    bold, plain = font("Semibold", TITLE_PX), font("Regular", TEXT_PX)
    pen.text((MARGIN, 26), fitting(title, bold, width - 2 * MARGIN) or "Untitled", INK, bold)
    if parameters:
        pen.text((MARGIN, 34 + TITLE_PX + 6), fitting(parameters, plain, width - 2 * MARGIN), PALE_INK, plain)


def draw_time_grid(canvas: np.ndarray, lanes: list[Lane]) -> None:
    for lane in lanes:
        for tick in _ticks(lane):
            canvas[lane.top:lane.bottom, lane.x(tick):lane.x(tick) + 1] = GRID


def _ticks(lane: Lane) -> list[float]:
    pixels = (lane.right - lane.left) / lane.seconds
    step = next((step for step in _TICK_SECONDS if step * pixels >= _TICK_PX), _TICK_SECONDS[-1])
    return [number * step for number in range(math.floor(lane.seconds / step + 1e-9) + 1)]


def write_seconds(pen: ImageDraw.ImageDraw, lane: Lane, face: ImageFont.FreeTypeFont) -> None:
    ticks = _ticks(lane)
    for tick in ticks:
        if ticks[-1] >= 120:
            label = f"{int(tick) // 60}:{int(tick) % 60:02d}"
        else:
            label = f"{tick:.1f} s" if len(ticks) > 1 and ticks[1] < 1 else f"{tick:.0f} s"
        x = min(lane.x(tick), lane.right + MARGIN - 8 - face.getlength(label) / 2)
        pen.text((x, lane.bottom + 10), label, PALE_INK, face, anchor="ma")


def mark_prime(pen: ImageDraw.ImageDraw, lanes: list[Lane], prime: float, face: ImageFont.FreeTypeFont) -> None:
    x, bottom = lanes[0].x(prime), lanes[-1].bottom
    for top in range(lanes[0].top, bottom, 18):
        pen.rectangle((x - 1, top, x + 1, min(top + 11, bottom)), fill=INK)
    label = "prime ends"
    width = round(face.getlength(label)) + 20
    left = x + 8 if x + 8 + width < lanes[0].right else x - 8 - width
    box = (left, lanes[0].top + 8, left + width, lanes[0].top + 8 + SMALL_PX + 14)
    pen.rounded_rectangle(box, radius=8, fill=PAPER, outline=INK, width=2)
    pen.text((left + width / 2, (box[1] + box[3]) / 2), label, INK, face, anchor="mm")


@cache
def font(weight: str, size: int) -> ImageFont.FreeTypeFont:
    # The basic layout is in every build of Pillow, so pictures do not depend on the machine.
    path = Path(__file__).parent / "fonts" / f"SourceSansPro-{weight}.otf"
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)


def fitting(text: str, face: ImageFont.FreeTypeFont, width: int) -> str:
    """What can be drawn of a text on one line of `width` pixels."""
    composed = unicodedata.normalize("NFC", text[:_LONGEST_TEXT].translate(_SPELLED))
    spaced = "".join(" " if unicodedata.category(sign) in ("Zs", "Zl", "Zp", "Cc") else sign for sign in composed)
    drawable = " ".join("".join(sign for sign in spaced if sign == " " or _has(face, sign)).split())
    if face.getlength(drawable) <= width and len(text) <= _LONGEST_TEXT:
        return drawable
    while drawable and face.getlength(drawable + "…") > width:
        drawable = drawable[:-1]
    return drawable.rstrip() + "…" if drawable else ""


def _has(face: ImageFont.FreeTypeFont, sign: str) -> bool:
    """Whether the font has a picture of a character; combining marks would be drawn beside their letter."""
    return unicodedata.category(sign)[0] not in "CM" and bytes(face.getmask(sign)) != bytes(face.getmask("\uffff"))
