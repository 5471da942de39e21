"""Sound as a picture, looked at pixel by pixel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.errors import RenderingError
from models.sound.rendering.picture import HEIGHT, LANE, MARGIN, WIDTH
from models.sound.rendering.waveform import BLUE, HEAT, SKY, columns_of, draw_waveform, mel_spectrogram

RATE_HZ = 32_000
PLOT = 135  # px; what is above is text


def sine(hz: float, seconds: float = 4.0, peak: float = 0.5) -> np.ndarray:
    return (peak * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE_HZ)) / RATE_HZ)).astype(np.float32)


def picture(samples: np.ndarray, folder: Path, *, title: str = "Title", **more: object) -> np.ndarray:
    path = draw_waveform(samples, RATE_HZ, folder / "wave.png", title=title, parameters="p", **more)  # type: ignore[arg-type]
    assert list(folder.iterdir()) == [path]
    with Image.open(path) as image:
        assert (image.format, image.size) == ("PNG", (WIDTH, HEIGHT))
        return np.asarray(image.convert("RGB")).astype(int)


def where(pixels: np.ndarray, colour: tuple[int, int, int], tolerance: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the pixels of a colour below the heading."""
    rows, columns = np.nonzero(np.abs(pixels - colour).max(axis=2) <= tolerance)
    return rows[rows >= PLOT], columns[rows >= PLOT]


def wave_part(pixels: np.ndarray) -> np.ndarray:
    """The picture with its spectrogram wiped out."""
    wiped = pixels.copy()
    wiped[460:] = 255
    return wiped


def test_a_wave_is_as_high_as_it_is_loud_and_its_rms_is_stronger(tmp_path: Path) -> None:
    heights = {}
    for peak in (0.25, 0.5, 1.0):
        pixels = wave_part(picture(sine(3000, peak=peak)[:, None], tmp_path))
        pale, strong = where(pixels, SKY)[0], where(pixels, BLUE)[0]
        heights[peak] = np.ptp(pale)
        assert np.ptp(strong) == pytest.approx(np.ptp(pale) / np.sqrt(2), rel=0.06)
    assert heights[0.5] == pytest.approx(2 * heights[0.25], rel=0.05)
    assert heights[1.0] == pytest.approx(2 * heights[0.5], rel=0.05)


def test_sound_is_where_it_is_heard(tmp_path: Path) -> None:
    samples = np.zeros((4 * RATE_HZ, 1), np.float32)
    samples[RATE_HZ:2 * RATE_HZ, 0] = sine(300, 1.0)
    columns = where(wave_part(picture(samples, tmp_path)), SKY)[1]
    left, right = 124, WIDTH - MARGIN  # of the lane
    assert columns.min() == pytest.approx(left + (right - left) / 4, abs=2)
    assert columns.max() == pytest.approx(left + (right - left) / 2, abs=2)


def test_every_channel_has_a_lane(tmp_path: Path) -> None:
    mono = where(wave_part(picture(sine(300)[:, None], tmp_path)), SKY)[0]
    loud_right = np.stack([sine(300, peak=0.1), sine(300, peak=0.9)], axis=1)
    rows = where(wave_part(picture(loud_right, tmp_path)), SKY)[0]
    middle = (PLOT + 460) / 2
    assert np.ptp(rows[rows < middle]) < np.ptp(rows[rows > middle]) / 4
    assert mono.min() < middle < mono.max()


@pytest.mark.parametrize("hz", [100, 440, 1000, 5000, 12_000])
def test_a_tone_is_a_line_at_its_frequency(hz: int) -> None:
    levels = mel_spectrogram(sine(hz), RATE_HZ, 300)
    loudest = levels[:, 50:250].argmax(axis=0)
    assert np.ptp(loudest) == 0
    mel = 2595 * np.log10(1 + np.array([30, hz, RATE_HZ / 2]) / 700)
    assert (loudest[0] + 1) / (len(levels) + 1) == pytest.approx((mel[1] - mel[0]) / (mel[2] - mel[0]), abs=0.012)
    assert (levels[:, 150] > 0.5).mean() < 0.15  # and nothing elsewhere


def test_higher_tones_are_drawn_higher(tmp_path: Path) -> None:
    samples = np.concatenate([sine(hz, 1.0) for hz in (200, 800, 3000, 10_000)])[:, None]
    pixels = picture(samples, tmp_path)[470:HEIGHT - 55]
    left, right = 124, WIDTH - MARGIN
    darkest = [pixels[:, left + round((second + 0.5) * (right - left) / 4)].sum(axis=1).argmin() for second in range(4)]
    assert darkest == sorted(darkest, reverse=True)
    assert darkest[0] - darkest[3] > 200


def test_a_short_click_in_a_long_piece_is_seen(tmp_path: Path) -> None:
    samples = np.zeros((120 * RATE_HZ, 1), np.float32)
    samples[70 * RATE_HZ + 5] = 1.0
    wave = picture(samples, tmp_path)
    left, right = 124, WIDTH - MARGIN
    x = left + (right - left) * 70 / 120
    sky = where(wave_part(wave), SKY)[1]
    assert len(sky) > 50
    assert sky.mean() == pytest.approx(x, abs=2)
    assert mel_spectrogram(samples[:, 0], RATE_HZ, 1000)[:, 583].max() > 0.5


def test_silence_is_drawn_as_silence(tmp_path: Path) -> None:
    pixels = picture(np.zeros((RATE_HZ, 2), np.float32), tmp_path)
    assert (np.abs(pixels[480:HEIGHT - 55, 130:WIDTH - MARGIN - 2] - LANE).max(axis=2) == 0).all()
    assert len(where(pixels, HEAT[-1])[0]) == 0


@pytest.mark.parametrize("frames", [1, 2, 7, 500, 2047, 40_000])
def test_any_length_can_be_drawn(tmp_path: Path, frames: int) -> None:
    picture(np.resize(sine(700), (frames, 1)), tmp_path)


@pytest.mark.parametrize(("frames", "columns"), [(10, 100), (100, 100), (101, 100), (1000, 7)])
def test_no_frame_is_left_out_of_the_columns(frames: int, columns: int) -> None:
    for at in {0, frames // 3, frames - 1}:
        wave = np.zeros(frames, np.float32)
        wave[at] = 0.75
        found = columns_of(wave, columns)
        assert found.highest.max() == np.float32(0.75)
        assert len(found.rms) == columns
        assert (found.rms <= found.highest + 1e-6).all()


def test_the_end_of_the_prime_is_marked(tmp_path: Path) -> None:
    plain, marked = (picture(sine(300)[:, None], tmp_path, prime_seconds=seconds) for seconds in (None, 2.0))
    columns = np.nonzero((plain != marked).any(axis=2))[1]
    assert columns.min() >= 124
    dashed = np.nonzero((marked[500:800] == (27, 31, 36)).all(axis=2).any(axis=0))[0]
    assert dashed.mean() == pytest.approx((124 + WIDTH - MARGIN) / 2, abs=2)


def test_titles_may_hold_anything(tmp_path: Path) -> None:
    for title in ("", "\n\t\0", "x" * 3000, "🎹 größer ♯ Łódź", "\u202eevil"):
        picture(sine(300)[:, None], tmp_path, title=title)


@pytest.mark.parametrize(("samples", "said"), [
    (np.zeros((0, 1), np.float32), "no sound"), (np.full((10, 1), np.inf, np.float32), "not numbers")])
def test_what_has_no_picture_is_refused(tmp_path: Path, samples: np.ndarray, said: str) -> None:
    with pytest.raises(RenderingError, match=said):
        draw_waveform(samples, RATE_HZ, tmp_path / "wave.png", title="Title")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RenderingError, match="choose a folder"):
        draw_waveform(sine(300)[:, None], RATE_HZ, tmp_path / "missing" / "wave.png", title="Title")
