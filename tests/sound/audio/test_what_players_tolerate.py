"""Files that play everywhere although their containers are not as they should be, made here and read whole."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import numpy as np
import pytest

from models.sound.audio.reading import AudioError, read_audio, read_end
from tests.sound.audio.building import RATE_HZ, by_ffmpeg, by_libsndfile, pitch, put, tone

WAVE = tone()
SPEECH = tone(channels=1, rate_hz=8000)
WAV, AIFF, CAF, AU = (by_libsndfile(WAVE, format, "PCM_16") for format in ("WAV", "AIFF", "CAF", "AU"))
FLAC, MP3 = by_libsndfile(WAVE, "FLAC", "PCM_16"), by_libsndfile(WAVE, "MP3")
OGG, OPUS = by_libsndfile(WAVE, "OGG", "VORBIS"), by_ffmpeg(WAVE, "ogg", "libopus", rate_hz=48_000)
XING = by_ffmpeg(WAVE, "mp3", "libmp3lame")
SLOW = tone(rate_hz=22_050)
SLOW_MP3 = by_libsndfile(SLOW, "MP3", rate_hz=22_050)
SLOW_OGG = by_libsndfile(SLOW, "OGG", "VORBIS", rate_hz=22_050)
ID3 = b"ID3\4\0\0" + bytes([0, 0, 16, 0]) + bytes(2048)
ID3V1 = b"TAG" + bytes(125)
APE = b"APETAGEX" + struct.pack("<IIII", 2000, 64, 1, 0xA0000000) + bytes(8 + 64)
_SIZE, _ODD = len(WAV) - 44, b"LIST" + struct.pack("<I", 5) + b"INFOx"


def changed(content: bytes, at: int, new: bytes) -> bytes:
    return content[:at] + new + content[at + len(new):]


def wav_of(size: int) -> bytes:
    return changed(WAV, 40, size.to_bytes(4, "little"))


def with_chunks(*chunks: bytes) -> bytes:
    return WAV[:36] + b"".join(chunks) + WAV[36:]


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def without_length_of_flac() -> bytes:
    return changed(changed(FLAC, 21, bytes([FLAC[21] & 0xF0])), 22, bytes(4))


CAF_DATA, SSND = CAF.index(b"data", 40) + 4, AIFF.index(b"SSND") + 4
TOLERATED = {
    "wav of no length": wav_of(0),
    "wav of no length, twice": changed(wav_of(0), 4, bytes(4)),
    "wav of all ones": changed(wav_of(2**32 - 1), 4, b"\xff" * 4),
    "wav of the largest signed length": wav_of(2**31 - 1),
    "wav that is longer in its header": wav_of(_SIZE + 10),
    "wav that is shorter in its header": wav_of(_SIZE - 10),
    "wav that lacks its last byte": WAV[:-1],
    "wav with a chunk that is not padded": with_chunks(_ODD),
    "wav with a chunk that is longer than the file": with_chunks(b"LIST" + struct.pack("<I", 10**6) + b"INFO"),
    "wav with chunks in front": with_chunks(chunk(b"JUNK", bytes(28)), chunk(b"bext", bytes(603)), chunk(b"id3 ", ID3)),
    "wav with chunks behind": WAV + chunk(b"LIST", b"INFO") + chunk(b"id3 ", ID3) + ID3V1,
    "wav behind ID3": ID3 + WAV,
    "wav behind zeros": bytes(100) + WAV,
    "wav of the extensible format": by_libsndfile(WAVE, "WAVEX", "PCM_24"),
    "wav of doubles": by_libsndfile(WAVE, "WAV", "DOUBLE"),
    "wav of 24 bits": by_libsndfile(WAVE, "WAV", "PCM_24"),
    "wav, mu-law": by_libsndfile(WAVE, "WAV", "ULAW"),
    "wav, A-law": by_libsndfile(WAVE, "WAV", "ALAW"),
    "wav, ADPCM of IMA": by_libsndfile(WAVE, "WAV", "IMA_ADPCM"),
    "wav, ADPCM of Microsoft": by_libsndfile(WAVE, "WAV", "MS_ADPCM"),
    "wav, GSM": by_libsndfile(SPEECH, "WAV", "GSM610", 8000),
    "wav with MP3 inside": by_ffmpeg(WAVE, "wav", "libmp3lame"),
    "rf64": by_libsndfile(WAVE, "RF64", "PCM_16"),
    "bw64": b"BW64" + by_libsndfile(WAVE, "RF64", "PCM_16")[4:],
    "w64": by_libsndfile(WAVE, "W64", "PCM_16"),
    "aiff": AIFF,
    "aiff of no length": changed(AIFF, SSND, bytes(4)),
    "aiff of all ones": changed(AIFF, SSND, b"\xff" * 4),
    "aiff of no frames": changed(AIFF, AIFF.index(b"COMM") + 10, bytes(4)),
    "aifc of floats": by_libsndfile(WAVE, "AIFF", "FLOAT"),
    "aiff behind zeros": bytes(100) + AIFF,
    "caf": CAF,
    "caf of no length": changed(CAF, CAF_DATA, b"\xff" * 8),
    "caf, lossless": by_ffmpeg(WAVE, "caf", "alac"),
    "au": AU,
    "au of no length": changed(AU, 8, b"\xff" * 4),
    "au of length 0": changed(AU, 8, bytes(4)),
    "amr": by_ffmpeg(tone(channels=1), "amr", "libopencore_amrnb", rate_hz=8000),
    "flac behind ID3": ID3 + FLAC,
    "flac of no length": without_length_of_flac(),
    "flac behind rubbish": b"rubbish" * 9 + FLAC,
    "flac with a tag behind": FLAC + ID3V1,
    "mp3 with much ID3": b"ID3\4\0\0" + bytes([0, 32, 0, 0]) + bytes(32 << 14) + MP3,
    "mp3 behind two ID3": ID3 + ID3 + MP3,
    "mp3 behind zeros": bytes(5000) + MP3,
    "mp3 behind rubbish": b"hello" * 300 + MP3,
    "mp3 behind APE": APE + MP3,
    "mp3 with tags behind": MP3 + APE + ID3V1,
    "mp3 from the middle of a frame": MP3[100:],
    "mp3 with a hole": MP3[:len(MP3) // 2] + b"\x55" * 3000 + MP3[len(MP3) // 2:],
    "mp3 that says it is shorter": changed(XING, XING.index(b"Info") + 8, (10).to_bytes(4, "big")),
    "mp3 that says it is longer": changed(XING, XING.index(b"Info") + 8, (9000).to_bytes(4, "big")),
    "mp2": by_ffmpeg(WAVE, "mp2", "mp2"),
    "ogg behind rubbish": b"rubbish" * 9 + OGG,
    "ogg behind ID3": ID3 + OGG,
    "ogg with a tag behind": OGG + ID3V1,
    "opus": OPUS,
    "voice message of a browser": by_ffmpeg(WAVE, "webm", "libopus", rate_hz=48_000, options={"live": "1"}),
}
ONE_BEHIND_THE_OTHER = {
    "ogg": OGG + OGG, "ogg of two rates": OGG + SLOW_OGG, "opus": OPUS + OPUS, "opus and ogg": OPUS + OGG,
    "mp3": MP3 + MP3, "mp3 of two rates": MP3 + SLOW_MP3, "mp3 of two rates, slow first": SLOW_MP3 + MP3,
    "mp3 with headers and tags": XING + XING,
}


def read(path: Path, seconds: float = 60.0, *, end: bool = False, channels: int = 1) -> np.ndarray:
    return read_audio(path, rate_hz=32_000, channels=channels, most_seconds=seconds, end=end)


@pytest.mark.parametrize("kind", TOLERATED)
def test_what_plays_everywhere_is_read(tmp_path: Path, kind: str) -> None:
    samples = read(put(tmp_path, TOLERATED[kind]))
    assert 60_000 <= len(samples) <= 67_000
    assert pitch(samples, 32_000) == pytest.approx(440, abs=2)


@pytest.mark.parametrize("kind", ONE_BEHIND_THE_OTHER)
def test_files_one_behind_the_other_are_read_to_the_end(tmp_path: Path, kind: str) -> None:
    samples = read(put(tmp_path, ONE_BEHIND_THE_OTHER[kind]))
    assert 4 * 31_000 <= len(samples) <= 4 * 33_500
    for half in (samples[:60_000], samples[-60_000:]):
        assert pitch(half, 32_000) == pytest.approx(440, abs=2)


def test_the_end_of_a_file_is_read_where_it_is_wanted(tmp_path: Path) -> None:
    wave = np.concatenate([tone(4.0), tone(3.0, hz=660.0)])
    for kind in (("WAV", "PCM_16"), ("OGG", "VORBIS")):
        path = put(tmp_path, by_libsndfile(wave, *kind))
        assert len(read(path, 2.0, end=True)) == 64_000
        assert pitch(read(path, 2.0, end=True), 32_000) == pytest.approx(660, abs=1)
        assert pitch(read(path, 2.0), 32_000) == pytest.approx(440, abs=1)
        assert np.allclose(read(path, 60.0, end=True), read(path), atol=1e-6)


def test_what_is_carried_on_ends_where_the_sound_does(tmp_path: Path) -> None:
    quiet = np.zeros((9 * RATE_HZ, 1), np.float32)
    for before, more in ((10.0, False), (70.0, True)):
        wave = np.concatenate([tone(before, channels=1), quiet])
        samples, there_is_more = read_end(put(tmp_path, by_libsndfile(wave, "FLAC", "PCM_16")), 32_000, 1)
        assert len(samples) == pytest.approx(32_000 * (10.0 if not more else 51.0), abs=2000)
        assert np.abs(samples[-6000:]).max() > 0.1
        assert there_is_more is more


@pytest.mark.parametrize("kind", TOLERATED)
def test_damage_gives_sound_or_one_line(tmp_path: Path, kind: str) -> None:
    chance = random.Random(kind)
    for _ in range(12):
        content = bytearray(TOLERATED[kind])
        within = min(chance.choice((100, 600, len(content))), len(content))
        for _ in range(chance.choice((1, 5, 30))):
            content[chance.randrange(within)] = chance.choice((0, 127, 255, chance.randrange(256)))
        del content[chance.randrange(2 * len(content)):]
        try:
            samples = read(put(tmp_path, bytes(content)), end=chance.random() < 0.5)
        except AudioError as error:
            told = str(error)
        else:
            told = f"{len(samples)} frames" if np.isfinite(samples).all() else "\n"
        assert len(told.splitlines()) == 1


@pytest.mark.parametrize("length", range(0, 60, 3))
def test_a_header_that_is_cut_anywhere_gives_one_line(tmp_path: Path, length: int) -> None:
    for content in (WAV, TOLERATED["wav with a chunk that is not padded"], AIFF, FLAC, OGG, MP3, CAF, AU):
        with pytest.raises(AudioError):
            read(put(tmp_path, content[:length]))


def test_a_file_is_silent_only_if_each_of_its_channels_is(tmp_path: Path) -> None:
    left = tone(channels=1)
    for wave in (np.hstack([left, -left]), np.hstack([np.zeros((len(left), 47), np.float32), left])):
        path = put(tmp_path, by_libsndfile(wave, "WAV", "PCM_16"))
        for channels in (1, 2):
            assert np.abs(read(path, channels=channels)).max() == pytest.approx(0.5, abs=0.01)


def test_a_beginning_that_is_silent_is_said_to_be_all_that_was_heard(tmp_path: Path) -> None:
    quiet = np.zeros((4 * RATE_HZ, 1), np.float32)
    path = put(tmp_path, by_libsndfile(np.concatenate([quiet, tone(2.0, channels=1)]), "FLAC", "PCM_16"), "a.flac")
    with pytest.raises(AudioError, match=r"a\.flac is silent in its first 3 s, and only those are heard"):
        read(path, 3.0)
    path = put(tmp_path, by_libsndfile(np.concatenate([tone(2.0, channels=1), quiet]), "FLAC", "PCM_16"), "b.flac")
    with pytest.raises(AudioError, match=r"b\.flac is silent in its last 3 s, and only those are heard"):
        read(path, 3.0, end=True)


@pytest.mark.parametrize("value", [1e30, -3e38, 1e5])
def test_one_absurd_sample_does_not_silence_the_others(tmp_path: Path, value: float) -> None:
    wave = tone()
    wave[20_000] = value
    samples = read(put(tmp_path, by_libsndfile(wave, "WAV", "FLOAT")))
    assert np.abs(samples[40_000:]).max() == pytest.approx(0.5, abs=0.01)
    assert pitch(samples, 32_000) == pytest.approx(440, abs=1)


def test_a_text_with_the_bytes_of_a_frame_is_no_sound(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="is no sound file"):
        read(put(tmp_path, b"words \xff\xfb\x90\x64 " * 5000))
