"""Reading what people send: real files of every kind, and what is none."""

from __future__ import annotations

import os
import random
import time
import tracemalloc
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from models.sound.audio.containers import announces_too_much
from models.sound.audio.limits import LARGEST_BYTES
from models.sound.audio.reading import AudioError, read_audio
from tests.sound.audio.building import RATE_HZ, by_ffmpeg, by_libsndfile, every_kind, pitch, put, tone

KINDS = every_kind()


def read(path: Path, channels: int = 1, most_seconds: float = 60.0) -> np.ndarray:
    return read_audio(path, rate_hz=32_000, channels=channels, most_seconds=most_seconds)


def fault(path: Path) -> str:
    with pytest.raises(AudioError) as caught:
        read(path)
    message = str(caught.value)
    assert message.splitlines() == [message]
    return message


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("channels", [1, 2])
def test_every_kind_is_read_whatever_its_name(tmp_path: Path, kind: str, channels: int) -> None:
    samples = read(put(tmp_path, KINDS[kind], "notes.txt"), channels)
    assert samples.dtype == np.float32
    assert samples.shape[1] == channels
    assert 63_990 <= len(samples) <= 66_500  # codecs add some, at both ends
    assert pitch(samples, 32_000) == pytest.approx(440, abs=2)
    middle = samples[16_000:48_000]
    assert np.sqrt(np.mean(np.square(middle))) == pytest.approx(0.5 / np.sqrt(2), rel=0.2)


def test_nothing_is_changed_where_nothing_has_to_be(tmp_path: Path) -> None:
    wave = np.random.default_rng(1).uniform(-0.9, 0.9, (RATE_HZ, 2)).astype(np.float32)
    path = put(tmp_path, by_libsndfile(wave, "WAV", "FLOAT"))
    assert np.array_equal(read_audio(path, rate_hz=RATE_HZ, channels=2), wave)


def test_channels_are_mixed_down_or_doubled(tmp_path: Path) -> None:
    left, right = tone(1.0, hz=300, channels=1), tone(1.0, hz=500, channels=1)
    stereo = put(tmp_path, by_libsndfile(np.hstack([left, right]), "WAV", "FLOAT"))
    mixed = read_audio(stereo, rate_hz=RATE_HZ, channels=1)
    assert np.allclose(mixed, (left + right) / 2, atol=1e-6)
    mono = put(tmp_path, by_libsndfile(left, "WAV", "FLOAT"))
    assert np.array_equal(read_audio(mono, rate_hz=RATE_HZ, channels=2), np.hstack([left, left]))


def test_surround_sound_keeps_left_and_right_and_loses_no_channel(tmp_path: Path) -> None:
    wave = np.zeros((RATE_HZ, 6), dtype=np.float32)
    wave[:, :1], wave[:, 1:2], wave[:, 2:3] = tone(1.0, hz=300, channels=1), tone(1.0, hz=500, channels=1), tone(
        1.0, hz=700, channels=1)
    samples = read(put(tmp_path, by_libsndfile(wave, "WAV", "PCM_16")), 2)
    spectra = np.abs(np.fft.rfft(samples, axis=0))  # a second: one line a Hz
    assert spectra[300, 0] > 100 * spectra[300, 1]
    assert spectra[500, 1] > 100 * spectra[500, 0]
    assert spectra[700, 0] == pytest.approx(spectra[700, 1], rel=0.01)
    assert spectra[700, 0] > 0.4 * spectra[300, 0]
    assert np.abs(samples).max() <= 1


@pytest.mark.parametrize("rate_hz", [8000, 22_050, 32_000, 48_000, 96_000])
def test_lengths_are_right_at_every_rate(tmp_path: Path, rate_hz: int) -> None:
    samples = read(put(tmp_path, by_libsndfile(tone(1.7, rate_hz=rate_hz), "FLAC", rate_hz=rate_hz)))
    assert len(samples) == round(1.7 * 32_000)
    assert pitch(samples, 32_000) == pytest.approx(440, abs=1)


@pytest.mark.parametrize("kind", ["wav", "mp3", "ogg", "m4a", "webm"])
def test_only_the_beginning_is_used(tmp_path: Path, kind: str) -> None:
    path = put(tmp_path, KINDS[kind])
    beginning = read(path, 2, most_seconds=0.75)
    assert len(beginning) == 24_000
    assert np.allclose(beginning[:20_000], read(path, 2)[:20_000], atol=1e-5)


def test_three_hours_cost_no_more_than_their_first_minute(tmp_path: Path) -> None:
    quiet = np.pad(tone(1, channels=1), ((0, 59 * RATE_HZ), (0, 0)))  # takes few bytes, so that three hours fit in
    minute = by_ffmpeg(quiet, "adts", "aac", rate_hz=8000)
    short, long = put(tmp_path, minute, "short"), put(tmp_path, minute * (LARGEST_BYTES // len(minute)), "long")
    assert long.stat().st_size > 180 * short.stat().st_size
    costs = []
    for path in (short, long):
        started = time.thread_time()
        assert len(read(path)) == 60 * 32_000
        costs.append(time.thread_time() - started)
    assert costs[1] < 5 * costs[0]


def test_many_channels_at_a_high_rate_take_little_memory(tmp_path: Path) -> None:
    path, rate_hz, seconds = tmp_path / "wide.flac", 192_000, 20
    square = np.repeat((0.3 * np.sign(tone(1.0, hz=50, rate_hz=rate_hz, channels=1))), 8, axis=1)
    with soundfile.SoundFile(path, "w", samplerate=rate_hz, channels=8, format="FLAC") as file:
        for _ in range(seconds):
            file.write(square)
    tracemalloc.start()
    samples = read(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(samples) == seconds * 32_000
    decoded = seconds * rate_hz * 8 * 4
    assert most < decoded / 4


def test_floats_beyond_full_scale_are_scaled(tmp_path: Path) -> None:
    samples = read(put(tmp_path, by_libsndfile(tone(peak=20_000), "WAV", "FLOAT")))
    assert np.abs(samples).max() == pytest.approx(1)


# ---- what cannot be used


def test_what_is_no_sound_is_named_as_such(tmp_path: Path) -> None:
    for content in (b"Meine Lieder\n" * 500, "Lieder".encode("utf-16") * 500, b"\x89PNG\r\n\x1a\n" + bytes(5000),
                    b"PK\x03\x04" + bytes(900), b"\xff", b"#EXTM3U\nfile:///etc/passwd\n"):
        assert fault(put(tmp_path, content, "song.mp3")).startswith("song.mp3 is no sound file; wav, aiff, flac, ogg, mp3")


def test_tags_without_music_are_no_music(tmp_path: Path) -> None:
    assert "song.mp3" in fault(put(tmp_path, b"ID3\x04\0\0\0\0\x10\0" + b"words" * 2000, "song.mp3"))


def test_an_empty_file_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    assert fault(put(tmp_path, b"", "a.wav")) == "a.wav is empty"
    assert fault(tmp_path / "b.wav") == "there is no sound file b.wav"
    assert fault(tmp_path) == f"there is no sound file {tmp_path.name}"
    os.mkfifo(tmp_path / "pipe")
    assert "no sound file" in fault(tmp_path / "pipe")


def test_a_file_name_cannot_write_lines_of_its_own(tmp_path: Path) -> None:
    assert fault(tmp_path / "a\nb\x1b[2J.wav") == "there is no sound file a?b?[2J.wav"


def test_a_file_above_the_limit_is_refused(tmp_path: Path) -> None:
    content = by_libsndfile(tone(61), "WAV", "PCM_16")
    assert len(content) > LARGEST_BYTES
    assert "more than 10 MB" in fault(put(tmp_path, content))


@pytest.mark.parametrize("peak", [0.0, 5e-5])
def test_silence_is_refused(tmp_path: Path, peak: float) -> None:
    assert "is silent" in fault(put(tmp_path, by_libsndfile(tone(peak=peak), "FLAC", "PCM_24")))


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.45])
def test_what_is_too_short_is_refused(tmp_path: Path, seconds: float) -> None:
    assert "at least 0.5 s" in fault(put(tmp_path, by_libsndfile(tone(seconds), "WAV", "PCM_16")))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_numbers_are_refused(tmp_path: Path, value: float) -> None:
    wave = tone()
    wave[70_000, 1] = value
    assert "not numbers" in fault(put(tmp_path, by_libsndfile(wave, "WAV", "FLOAT")))


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"aac", "mp3", "mp4 in fragments"}))  # they do not say
@pytest.mark.parametrize("share", [0.3, 0.8])
def test_what_is_cut_short_is_refused(tmp_path: Path, kind: str, share: float) -> None:
    content = KINDS[kind]
    assert "cut short" in fault(put(tmp_path, content[:round(share * len(content))]))


def test_what_is_missing_behind_the_part_that_is_used_does_not_matter(tmp_path: Path) -> None:
    content = KINDS["wav"]
    assert len(read(put(tmp_path, content[:-100_000]), most_seconds=1.0)) == 32_000


def test_a_recording_whose_length_was_never_written_is_read(tmp_path: Path) -> None:
    content = bytearray(KINDS["wav"])
    content[4:8] = content[40:44] = b"\xff" * 4  # as a program writes that pipes its sound
    assert len(read(put(tmp_path, bytes(content)))) == 64_000
    stream = by_ffmpeg(tone(), "webm", "libopus", rate_hz=48_000, options={"live": "1"})
    assert len(read(put(tmp_path, stream))) == 64_000


def test_a_video_without_sound_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "silent.mp4"
    with av.open(str(path), "w") as target:
        pictures = target.add_stream("libx264", rate=25)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        target.mux(pictures.encode(av.VideoFrame(64, 48, "yuv420p")))
        target.mux(pictures.encode(None))
    assert fault(path) == "silent.mp4 holds no sound"


@pytest.mark.parametrize(("rate_hz", "channels", "said"), [(2000, 1, "2,000 Hz"), (900_000, 1, "900,000 Hz"),
                                                          (8000, 200, "200 channels")])
def test_absurd_rates_and_channels_are_refused(tmp_path: Path, rate_hz: int, channels: int, said: str) -> None:
    content = by_libsndfile(tone(1.0, hz=100, rate_hz=rate_hz, channels=channels), "WAV", rate_hz=rate_hz)
    assert said in fault(put(tmp_path, content))


def test_tables_that_announce_more_packets_than_bytes_are_refused(tmp_path: Path) -> None:
    content = bytearray(KINDS["m4a"])
    assert not announces_too_much(bytes(content))
    at = content.index(b"stsz") + 8
    content[at:at + 8] = (1).to_bytes(4, "big") + (300_000).to_bytes(4, "big")  # of 1 byte each
    at = content.index(b"stsc") + 16
    content[at:at + 4] = (300_000).to_bytes(4, "big")  # in one piece
    assert announces_too_much(bytes(content))
    assert "damaged" in fault(put(tmp_path, bytes(content)))


@pytest.mark.parametrize("kind", ["wav", "m4a", "webm"])
def test_decoding_does_not_go_on_for_ever(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.sound.audio.reading.PATIENCE_S", -1.0)
    assert "too long" in fault(put(tmp_path, KINDS[kind]))


@pytest.mark.parametrize("kind", KINDS)
def test_damage_gives_sound_or_one_line(tmp_path: Path, kind: str) -> None:
    chance = random.Random(kind)
    for _ in range(25):
        content = bytearray(KINDS[kind])
        within = chance.choice((600, len(content)))  # headers matter most
        for _ in range(chance.choice((1, 5, 30))):
            content[chance.randrange(min(within, len(content)))] = chance.randrange(256)
        del content[chance.randrange(2 * len(content)):]
        path = put(tmp_path, bytes(content))
        try:
            samples = read(path)
        except AudioError as error:
            told = str(error)
        else:
            told = f"{len(samples)} frames" if np.isfinite(samples).all() else "\n"
        assert len(told.splitlines()) == 1
