"""Samples as files, by the real libsndfile."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from models.errors import InputError, RenderingError
from models.sound.audio.reading import read_audio
from models.sound.audio.writing import BLOCK, FAINTEST_DBFS, write_audio
from tests.sound.audio.building import pitch, tone

RATE_HZ = 32_000


@pytest.mark.parametrize("format", ["ogg", "mp3", "wav"])
@pytest.mark.parametrize("channels", [1, 2])
def test_what_is_written_is_what_was_given(tmp_path: Path, format: str, channels: int) -> None:
    samples = tone(3.0, rate_hz=RATE_HZ, channels=channels)
    sound = write_audio(samples, RATE_HZ, tmp_path / f"take.{format}")
    assert list(tmp_path.iterdir()) == [sound.path]
    written, rate_hz = soundfile.read(sound.path, always_2d=True)
    assert rate_hz == sound.sample_rate_hz == RATE_HZ
    assert written.shape == samples.shape
    assert sound.seconds == 3.0
    assert pitch(written, rate_hz) == pytest.approx(440, abs=1)
    assert 20 * np.log10(np.abs(written).max()) == pytest.approx(sound.peak_dbfs, abs=0.5)
    assert sound.peak_dbfs == pytest.approx(20 * np.log10(0.5), abs=0.01)
    assert sound.rms_dbfs == pytest.approx(sound.peak_dbfs - 3.01, abs=0.01)


def test_the_format_is_what_is_asked_for_whatever_the_name(tmp_path: Path) -> None:
    write_audio(tone(), RATE_HZ, tmp_path / "take.part", "mp3")
    assert soundfile.info(tmp_path / "take.part").format == "MP3"


@pytest.mark.parametrize("format", ["ogg", "mp3"])
def test_long_sound_is_written_in_blocks(tmp_path: Path, format: str) -> None:
    samples = tone(120, rate_hz=RATE_HZ)
    assert len(samples) > 50 * BLOCK
    sound = write_audio(samples, RATE_HZ, tmp_path / f"take.{format}")
    assert soundfile.info(sound.path).frames == len(samples)
    assert sound.path.stat().st_size < 8_000_000


def test_what_is_written_can_be_read_back(tmp_path: Path) -> None:
    sound = write_audio(tone(rate_hz=RATE_HZ), RATE_HZ, tmp_path / "take.ogg")
    assert pitch(read_audio(sound.path, rate_hz=RATE_HZ, channels=1), RATE_HZ) == pytest.approx(440, abs=1)


@pytest.mark.parametrize("format", ["ogg", "mp3", "wav"])
def test_silence_can_be_written(tmp_path: Path, format: str) -> None:
    sound = write_audio(np.zeros((RATE_HZ, 2), np.float32), RATE_HZ, tmp_path / f"take.{format}")
    assert sound.peak_dbfs == sound.rms_dbfs == FAINTEST_DBFS
    assert soundfile.info(sound.path).frames == RATE_HZ


def test_what_is_beyond_full_scale_is_clipped_and_does_not_wrap(tmp_path: Path) -> None:
    sound = write_audio(tone(peak=3.0, rate_hz=RATE_HZ), RATE_HZ, tmp_path / "take.wav")
    written, _ = soundfile.read(sound.path)
    assert sound.peak_dbfs == 0
    assert np.abs(np.diff(written[:, 0])).max() < 0.5


@pytest.mark.parametrize(("samples", "said"), [
    (np.zeros((0, 2), np.float32), "no sound"), (np.full((900, 1), np.nan, np.float32), "not numbers")])
def test_what_is_no_sound_is_refused(tmp_path: Path, samples: np.ndarray, said: str) -> None:
    (tmp_path / "take.ogg").write_bytes(b"before")
    with pytest.raises(RenderingError, match=said):
        write_audio(samples, RATE_HZ, tmp_path / "take.ogg")
    assert (tmp_path / "take.ogg").read_bytes() == b"before"


def test_unknown_formats_are_refused(tmp_path: Path) -> None:
    for target, format in ((tmp_path / "take.flac", None), (tmp_path / "take.ogg", "opus")):
        with pytest.raises(InputError, match="ogg, mp3 or wav"):
            write_audio(tone(), RATE_HZ, target, format)


def test_a_rate_that_a_format_does_not_know_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RenderingError, match="could not be encoded"):
        write_audio(tone(), 31_999, tmp_path / "take.mp3")
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    if not os.access("/dev/full", os.W_OK):
        pytest.skip("this system has no full disk to try")
    from models.sound.audio.writing import encode
    with pytest.raises(RenderingError):
        encode([tone(60)], Path("/dev/full"), tmp_path / "take.wav", format="wav", rate_hz=44_100, channels=2)
    with pytest.raises(RenderingError, match="choose a folder"):
        write_audio(tone(), RATE_HZ, tmp_path / "missing" / "take.ogg")
