"""Sound as a video: decoded again, heard and looked at."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

from models.errors import RenderingError
from models.sound.audio.reading import read_audio
from models.sound.rendering.film import FRAMES_PER_SECOND, HEIGHT, WIDTH, write_film
from models.sound.rendering.picture import MARGIN
from models.sound.rendering.waveform import BLUE

RATE_HZ = 32_000


def sine(seconds: float, channels: int = 1, rate_hz: int = RATE_HZ, hz: float = 440.0) -> np.ndarray:
    wave = 0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)
    return np.repeat(wave.astype(np.float32)[:, None], channels, axis=1)


def pictures(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as film:
        return [frame.to_ndarray(format="rgb24") for frame in film.decode(video=0)]


def played_until(picture: np.ndarray) -> float:
    """How far the blue reaches, as a share of the width of the lane."""
    columns = np.nonzero((np.abs(picture.astype(int) - BLUE).max(axis=2) < 30).any(axis=0))[0]
    return float((columns.max() - MARGIN) / (WIDTH - 2 * MARGIN)) if len(columns) else 0.0


@pytest.mark.parametrize("channels", [1, 2])
def test_a_film_is_what_players_play(tmp_path: Path, channels: int) -> None:
    path = write_film(sine(3.2, channels), RATE_HZ, tmp_path / "take.mp4", title="Title", parameters="seed 1")
    assert list(tmp_path.iterdir()) == [path]
    with av.open(str(path)) as film:
        video, audio = film.streams.video[0], film.streams.audio[0]
        assert (video.codec_context.name, audio.codec_context.name) == ("h264", "aac")
        assert (video.width, video.height, video.pix_fmt) == (WIDTH, HEIGHT, "yuv420p")
        assert video.average_rate == FRAMES_PER_SECOND
        assert audio.codec_context.channels == channels
        for stream in (video, audio):
            assert stream.duration is not None
            assert stream.time_base is not None
            assert float(stream.duration * stream.time_base) == pytest.approx(3.2, abs=0.06)
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")  # starts to play before it is all there


def test_the_sound_is_that_of_the_take_and_in_time(tmp_path: Path) -> None:
    samples = sine(3.0)
    samples[RATE_HZ:2 * RATE_HZ] = 0
    heard = read_audio(write_film(samples, RATE_HZ, tmp_path / "take.mp4", title="Title"), rate_hz=RATE_HZ, channels=1)
    assert np.corrcoef(heard[:len(samples), 0], samples[:len(heard), 0])[0, 1] > 0.99


def test_the_cursor_moves_with_time(tmp_path: Path) -> None:
    frames = pictures(write_film(sine(4.0), RATE_HZ, tmp_path / "take.mp4", title="Title"))
    assert len(frames) == 4 * FRAMES_PER_SECOND
    for number in (20, 40, 79):
        assert played_until(frames[number]) == pytest.approx(number / len(frames), abs=0.01)
    assert played_until(frames[0]) == 0
    ink = np.nonzero((frames[40][200:600] < 60).all(axis=2).all(axis=0))[0]
    assert ink.mean() == pytest.approx(WIDTH / 2, abs=2)


def test_colours_are_those_of_the_pictures(tmp_path: Path) -> None:
    last = pictures(write_film(sine(2.0), RATE_HZ, tmp_path / "take.mp4", title="Title"))[-1]
    middle = last[395:405, 300:900].reshape(-1, 3).astype(int)
    assert np.abs(np.median(middle, axis=0) - BLUE).max() <= 6
    assert np.abs(last[5, 5].astype(int) - 255).max() <= 2


def test_a_title_is_in_every_frame(tmp_path: Path) -> None:
    with_title, without = (
        pictures(write_film(sine(1.0), RATE_HZ, tmp_path / "take.mp4", title=title)) for title in ("W" * 30, "."))
    for number in (0, 10, 19):
        assert (np.abs(with_title[number][:90].astype(int) - without[number][:90]) > 100).any()


@pytest.mark.parametrize(("seconds", "rate_hz"), [
    (0.001, RATE_HZ), (0.04, RATE_HZ), (1.0, 44_100), (1.0, 31_999), (1.0, 96_000)])
def test_short_pieces_and_other_rates_become_films(tmp_path: Path, seconds: float, rate_hz: int) -> None:
    path = write_film(sine(seconds, rate_hz=rate_hz), rate_hz, tmp_path / "take.mp4", title="Title")
    frames = pictures(path)
    assert len(frames) == max(round(seconds * FRAMES_PER_SECOND), 1)
    if seconds >= 1:
        heard = read_audio(path, rate_hz=RATE_HZ, channels=1)[:RATE_HZ, 0]
        assert np.abs(np.fft.rfft(heard)).argmax() == pytest.approx(440, abs=2)


def test_a_film_is_small(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.2, (10 * RATE_HZ, 2)).astype(np.float32)
    path = write_film(noise, RATE_HZ, tmp_path / "take.mp4", title="Title")
    assert path.stat().st_size < 10 * 100_000


@pytest.mark.parametrize(("samples", "said"), [
    (np.zeros((0, 1), np.float32), "no sound"), (np.full((10, 1), np.nan, np.float32), "not numbers")])
def test_what_is_no_sound_is_refused(tmp_path: Path, samples: np.ndarray, said: str) -> None:
    (tmp_path / "take.mp4").write_bytes(b"before")
    with pytest.raises(RenderingError, match=said):
        write_film(samples, RATE_HZ, tmp_path / "take.mp4", title="Title")
    assert (tmp_path / "take.mp4").read_bytes() == b"before"


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RenderingError, match="choose a folder"):
        write_film(sine(1.0), RATE_HZ, tmp_path / "missing" / "take.mp4", title="Title")
    monkeypatch.setattr("models.sound.rendering.film._ENCODER", "libx999")  # as in a PyAV that was built without one
    with pytest.raises(RenderingError, match=r"H\.264.*pip install av"):
        write_film(sine(1.0), RATE_HZ, tmp_path / "take.mp4", title="Title")
    assert list(tmp_path.iterdir()) == []
