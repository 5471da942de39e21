"""Sound as a picture: its waveform, and below it what frequencies it is made of, over the same seconds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from models.errors import RenderingError
from models.sound.rendering.picture import (
    AXIS,
    COLOURS,
    GAP,
    HEIGHT,
    LANE,
    MARGIN,
    PALE_INK,
    PAPER,
    PRIMED,
    SMALL_PX,
    STRONG_GRID,
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

BLUE, SKY = COLOURS[0], COLOURS[5]
HEAT = (LANE, (214, 233, 247), SKY, BLUE, (11, 36, 77))  # from what is not there to what is loudest

_LABELS = 84  # px to the left of the lanes
_WAVE_SHARE = 0.42  # of the height that is left below the heading
_LEAST_HZ = 30.0
_FREQUENCIES_HZ = (100, 200, 500, 1000, 2000, 5000, 10_000, 20_000)
_LABEL_PX = 28  # least distance of two labels
_BANDS = 160
_WINDOW_SECONDS = 0.064
_RANGE_DB = 75.0  # below the loudest: where nothing is drawn any more
_BLOCK = 256  # columns whose spectra are computed at once


class Columns(NamedTuple):
    """What a waveform does in every column of pixels; each (columns,), between -1 and 1."""

    lowest: np.ndarray
    highest: np.ndarray
    rms: np.ndarray


def draw_waveform(
    samples: np.ndarray, rate_hz: int, target: Path, *, title: str, parameters: str = "", prime_seconds: float | None = None
) -> Path:
    """Draw sound as a PNG of 1600 x 900 pixels: a lane for every channel, and a mel spectrogram of their mean.

    `samples` are float32 (frames, channels), full scale is 1. Pale is how far a wave goes, strong is its RMS.
    Texts may hold anything: characters that the font lacks are left out, what is too wide ends in an ellipsis.
    A dashed line marks `prime_seconds`. Returns `target`; an existing file is replaced, and only by a finished one.

    Raises RenderingError for no samples or ones that are not finite, and when the file cannot be written.
    """
    check_drawable(samples)
    seconds = len(samples) / rate_hz
    left, right, top, bottom = MARGIN + _LABELS, WIDTH - MARGIN, heading_height(parameters), HEIGHT - AXIS
    split = top + round(_WAVE_SHARE * (bottom - top))
    waves = wave_lanes(Lane(left, top, right, split, seconds), samples.shape[1])
    spectrum = Lane(left, split + GAP, right, bottom, seconds)
    lanes = [*waves, spectrum]
    prime = min(prime_seconds, seconds) if prime_seconds is not None and prime_seconds > 0 else None

    canvas = np.empty((HEIGHT, WIDTH, 3), dtype=np.float32)
    canvas[:] = PAPER
    for lane in waves:
        canvas[lane.top:lane.bottom, left:right] = LANE
        if prime is not None:
            canvas[lane.top:lane.bottom, left:lane.x(prime)] = PRIMED
    draw_time_grid(canvas, waves)
    for lane, channel in zip(waves, samples.T, strict=True):
        draw_wave(canvas, lane, columns_of(channel, right - left))
    highest_hz = rate_hz / 2
    canvas[spectrum.top:spectrum.bottom, left:right] = _heat(
        mel_spectrogram(samples.mean(axis=1), rate_hz, right - left), spectrum.bottom - spectrum.top)

    image = Image.fromarray(np.rint(canvas).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    small = font("Regular", SMALL_PX)
    write_heading(pen, title, parameters, WIDTH)
    write_channels(pen, waves, small)
    _write_frequencies(pen, spectrum, highest_hz, small)
    write_seconds(pen, spectrum, small)
    if prime is not None:
        mark_prime(pen, lanes, prime, small)
    with whole_file(target) as draft:
        image.save(draft, format="PNG")
    return target


def check_drawable(samples: np.ndarray) -> None:
    """Raises RenderingError for what has no picture."""
    if not samples.size:
        raise RenderingError("there is no sound to draw")
    if not np.isfinite(samples).all():
        raise RenderingError("the sound holds values that are not numbers; make it again")


def wave_lanes(box: Lane, channels: int) -> list[Lane]:
    """A lane for every channel, one below the other."""
    height = (box.bottom - box.top - GAP * (channels - 1)) / channels
    tops = [round(box.top + number * (height + GAP)) for number in range(channels)]
    return [box._replace(top=top, bottom=round(top + height)) for top in tops]


def columns_of(wave: np.ndarray, columns: int) -> Columns:
    """A wave (frames,) in so many columns; every frame counts in at least one, and every column has one."""
    starts = np.arange(columns) * len(wave) // columns
    ends = np.maximum((np.arange(columns) + 1) * len(wave) // columns, starts + 1)
    power = np.concatenate(([0.0], np.cumsum(np.square(wave, dtype=np.float64))))
    return Columns(
        np.clip(np.minimum.reduceat(wave, starts), -1, 1),
        np.clip(np.maximum.reduceat(wave, starts), -1, 1),
        np.clip(np.sqrt((power[ends] - power[starts]) / (ends - starts)), 0, 1),
    )


def draw_wave(
    canvas: np.ndarray, lane: Lane, columns: Columns, pale: tuple[int, int, int] = SKY, strong: tuple[int, int, int] = BLUE
) -> None:
    """Draw a wave to a lane of the canvas (rows, columns, 3)."""
    middle = (lane.top + lane.bottom) / 2
    reach = (lane.bottom - lane.top) / 2 - 3
    rows = np.arange(lane.top, lane.bottom)[:, None] + 0.5
    area = canvas[lane.top:lane.bottom, lane.left:lane.right]
    area[round(middle) - lane.top - 1:round(middle) - lane.top + 1] = STRONG_GRID
    for low, high, colour in (
        (columns.lowest, columns.highest, pale),
        (np.maximum(-columns.rms, columns.lowest), np.minimum(columns.rms, columns.highest), strong),
    ):
        # At least a pixel high, and with soft edges: a share of the pixel that the wave ends in.
        above, below = middle - reach * high - 0.5, middle - reach * low + 0.5
        share = np.clip(rows - above + 0.5, 0, 1) * np.clip(below - rows + 0.5, 0, 1)
        area += share[:, :, None] * (np.array(colour, dtype=np.float32) - area)


def mel_spectrogram(wave: np.ndarray, rate_hz: int, columns: int) -> np.ndarray:
    """Levels (bands, columns) between 0 (at least 75 dB below the loudest) and 1; the lowest band is the first."""
    window = max(round(_WINDOW_SECONDS * rate_hz), 16)
    hop = len(wave) / columns
    looks = max(round(hop / (window / 2)), 1)  # windows a column, so that nothing falls between two
    centres = (np.arange(columns * looks) + 0.5) * hop / looks
    padded = np.pad(wave, (window // 2, window), mode="reflect")  # a cut would look like a click
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)  # a view, so nothing is copied yet
    shape, filters = np.hanning(window).astype(np.float32), _mel_filters(window, rate_hz)
    levels = np.empty((_BANDS, columns), dtype=np.float32)
    for start in range(0, columns, _BLOCK):
        at = centres[start * looks:(start + _BLOCK) * looks].astype(int)
        power = np.square(np.abs(np.fft.rfft(frames[at] * shape, axis=1)))  # (columns * looks, frequencies)
        mean = (power @ filters.T).reshape(-1, looks, _BANDS).mean(axis=1)
        levels[:, start:start + _BLOCK] = mean.T
    loudest = levels.max()
    if loudest <= 0:
        return np.zeros_like(levels)
    decibels = 10 * np.log10(np.maximum(levels / loudest, 1e-12))
    return np.asarray(np.clip(1 + decibels / _RANGE_DB, 0, 1))


def _mel(hz: np.ndarray | float) -> np.ndarray:
    """Mels by O'Shaughnessy's formula."""
    return np.asarray(2595 * np.log10(1 + np.asarray(hz) / 700))


def _mel_filters(window: int, rate_hz: int) -> np.ndarray:
    """Triangles over the frequencies of a window, evenly spaced in mels: (bands, frequencies), each adding up to 1."""
    edges = 700 * (10 ** (np.linspace(_mel(_LEAST_HZ), _mel(rate_hz / 2), _BANDS + 2) / 2595) - 1)
    frequencies, resolution = np.fft.rfftfreq(window, 1 / rate_hz), rate_hz / window
    centre = edges[1:-1, None]
    # No narrower than what the window can tell apart, or low bands would be empty.
    rise = np.maximum(centre - edges[:-2, None], resolution)
    fall = np.maximum(edges[2:, None] - centre, resolution)
    weights = np.clip(np.minimum((frequencies - centre) / rise + 1, (centre - frequencies) / fall + 1), 0, None)
    return np.asarray(weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-9), dtype=np.float32)


def _heat(levels: np.ndarray, height: int) -> np.ndarray:
    """Levels (bands, columns) as colours (height, columns, 3), the lowest band at the bottom."""
    rows = np.linspace(_BANDS - 1, 0, height)
    below = np.floor(rows).astype(int)
    above = np.minimum(below + 1, _BANDS - 1)
    part = (rows - below)[:, None]
    smooth = levels[below] * (1 - part) + levels[above] * part
    stops = np.linspace(0, 1, len(HEAT))
    return np.stack([np.interp(smooth, stops, [colour[which] for colour in HEAT]) for which in range(3)], axis=2)


def write_channels(pen: ImageDraw.ImageDraw, lanes: list[Lane], face: ImageFont.FreeTypeFont) -> None:
    """Say which lane is left and which is right."""
    for lane, name in zip(lanes, "LR", strict=False) if len(lanes) == 2 else ():
        pen.text((lane.left - 12, (lane.top + lane.bottom) / 2), name, PALE_INK, face, anchor="rm")


def _write_frequencies(pen: ImageDraw.ImageDraw, lane: Lane, highest_hz: float, face: ImageFont.FreeTypeFont) -> None:
    for hz, y in _frequency_rows(lane, highest_hz):
        pen.rectangle((lane.left - 8, y - 1, lane.left - 1, y), fill=PALE_INK)
        label = f"{hz // 1000} kHz" if hz >= 1000 else f"{hz} Hz"
        pen.text((lane.left - 12, y), label, PALE_INK, face, anchor="rm")


def _frequency_rows(lane: Lane, highest_hz: float) -> Iterator[tuple[int, int]]:
    """Frequencies to name, from below, and where they are."""
    lowest, highest = float(_mel(_LEAST_HZ)), float(_mel(highest_hz))
    before = lane.bottom + _LABEL_PX // 2
    for hz in _FREQUENCIES_HZ:
        y = round(lane.bottom - (float(_mel(hz)) - lowest) / (highest - lowest) * (lane.bottom - lane.top))
        if y >= lane.top and before - y >= _LABEL_PX:
            yield hz, y
            before = y
