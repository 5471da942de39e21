"""Sound as a video: its waveform with a cursor that moves along. Plays inline where sound files do not.

The waveform is drawn twice, played and not yet played; a frame is the left part of one and the right part of
the other, put together in the encoder's own colours. So a frame costs little more than its encoding.
"""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
import soxr
from av.container import OutputContainer
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream
from PIL import Image, ImageDraw

from models.errors import RenderingError
from models.sound.rendering.picture import (
    AXIS,
    LANE,
    MARGIN,
    PAPER,
    PRIMED,
    SMALL_PX,
    Lane,
    draw_time_grid,
    font,
    heading_height,
    write_heading,
    write_seconds,
)
from models.sound.rendering.waveform import BLUE, SKY, check_drawable, columns_of, draw_wave, wave_lanes, write_channels
from models.whole_file import whole_file

WIDTH, HEIGHT = 1280, 720
FRAMES_PER_SECOND = 20
AUDIO_BITS_PER_SECOND = 96_000  # a channel

_TO_COME = ((205, 210, 217), (150, 158, 168))  # pale and strong, of what has not been played yet
_CURSOR_PX = 4
_LABELS = 24  # px to the left of two lanes
_ENCODER = "libx264"
_AAC_RATES_HZ = (8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
_BT709 = 1  # what players take pictures of this size for; H.273, tables 2 to 4


def write_film(samples: np.ndarray, rate_hz: int, target: Path, *, title: str, parameters: str = "") -> Path:
    """Write sound as an MP4 (H.264 and AAC) of 1280 x 720 pixels, 20 frames a second, ready to be streamed.

    `samples` are float32 (frames, 1 or 2 channels), full scale is 1. Time and memory are proportional to the
    length. Returns `target`; an existing file is replaced, and only by a finished one.

    Raises RenderingError for no samples or ones that are not finite, where PyAV came without an encoder for
    H.264, and when the file cannot be written.
    """
    check_drawable(samples)
    if _ENCODER not in av.codecs_available:
        raise RenderingError("this PyAV cannot encode H.264; install the one from PyPI: pip install av")
    lanes = _lanes(len(samples) / rate_hz, samples.shape[1], parameters)
    pictures = [_yuv(_drawn(samples, lanes, title, parameters, *colours)) for colours in (
        (PRIMED, SKY, BLUE), (LANE, *_TO_COME))]
    if rate_hz not in _AAC_RATES_HZ:
        rate_hz, samples = 48_000, soxr.resample(samples, rate_hz, 48_000)
    with whole_file(target) as draft:
        try:
            with av.open(str(draft), "w", format="mp4", options={"movflags": "+faststart"}) as container:
                _encode(container, samples, rate_hz, lanes, *pictures)
        except av.FFmpegError as error:
            raise RenderingError(f"the video could not be encoded ({error.strerror}); is the disk full?") from error
    return target


def _lanes(seconds: float, channels: int, parameters: str) -> list[Lane]:
    left = MARGIN + (_LABELS if channels > 1 else 0)
    return wave_lanes(Lane(left, heading_height(parameters), WIDTH - MARGIN, HEIGHT - AXIS, seconds), channels)


def _drawn(
    samples: np.ndarray, lanes: list[Lane], title: str, parameters: str,
    ground: tuple[int, int, int], pale: tuple[int, int, int], strong: tuple[int, int, int],
) -> np.ndarray:
    """The waveform in some colours: (rows, columns, 3)."""
    canvas = np.empty((HEIGHT, WIDTH, 3), dtype=np.float32)
    canvas[:] = PAPER
    for lane in lanes:
        canvas[lane.top:lane.bottom, lane.left:lane.right] = ground
    draw_time_grid(canvas, lanes)
    for lane, channel in zip(lanes, samples.T, strict=True):
        draw_wave(canvas, lane, columns_of(channel, lane.right - lane.left), pale, strong)
    image = Image.fromarray(np.rint(canvas).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    small = font("Regular", SMALL_PX)
    write_heading(pen, title, parameters, WIDTH)
    write_channels(pen, lanes, small)
    write_seconds(pen, lanes[-1], small)
    return np.asarray(image)


def _yuv(picture: np.ndarray) -> np.ndarray:
    """Red, green and blue (rows, columns, 3) as planes Y, U and V, one below the other: (1.5 rows, columns)."""
    frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
    return frame.reformat(
        format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG).to_ndarray()


def _encode(
    container: OutputContainer, samples: np.ndarray, rate_hz: int, lanes: list[Lane], played: np.ndarray, to_come: np.ndarray
) -> None:
    seconds = len(samples) / rate_hz
    pictures = cast(VideoStream, container.add_stream(
        _ENCODER, rate=FRAMES_PER_SECOND, options={"preset": "veryfast", "crf": "25"}))
    pictures.width, pictures.height, pictures.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    context = pictures.codec_context
    context.gop_size = 5 * FRAMES_PER_SECOND  # seconds to the next frame that one can jump to
    context.thread_count = 1  # the other cores are making the next piece
    context.color_primaries = context.color_trc = context.colorspace = _BT709
    context.color_range = ColorRange.MPEG
    sound = container.add_stream("aac", rate=rate_hz)
    sound.layout = "mono" if samples.shape[1] == 1 else "stereo"
    sound.bit_rate = AUDIO_BITS_PER_SECOND * samples.shape[1]

    frames = math.ceil(seconds * FRAMES_PER_SECOND)
    for start in range(0, frames, FRAMES_PER_SECOND):  # a second of each in turn, as they are to lie in the file
        first = start * rate_hz // FRAMES_PER_SECOND
        chunk = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples[first:first + rate_hz].T, dtype=np.float32), format="fltp", layout=sound.layout.name)
        chunk.sample_rate, chunk.pts, chunk.time_base = rate_hz, first, Fraction(1, rate_hz)
        container.mux(sound.encode(chunk))
        for number in range(start, min(start + FRAMES_PER_SECOND, frames)):
            frame = av.VideoFrame.from_ndarray(
                _at(number / FRAMES_PER_SECOND, lanes, played, to_come), format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, FRAMES_PER_SECOND)
            frame.colorspace, frame.color_range = Colorspace.ITU709, ColorRange.MPEG
            container.mux(pictures.encode(frame))
    container.mux(sound.encode(None))
    container.mux(pictures.encode(None))


def _at(second: float, lanes: list[Lane], played: np.ndarray, to_come: np.ndarray) -> np.ndarray:
    """The frame at a second, as planes."""
    x = lanes[0].x(second)
    planes = to_come.copy()
    planes[:HEIGHT, :x] = played[:HEIGHT, :x]
    colours, before = planes[HEIGHT:].reshape(-1, WIDTH // 2), played[HEIGHT:].reshape(-1, WIDTH // 2)
    colours[:, :x // 2] = before[:, :x // 2]  # U and V have half the rows and columns
    cursor = slice(max(x - _CURSOR_PX // 2, 0), x + _CURSOR_PX // 2)
    planes[lanes[0].top:lanes[-1].bottom, cursor] = 30  # as dark as ink
    return planes
