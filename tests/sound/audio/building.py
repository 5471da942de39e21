"""Sound files of every kind, made in memory."""

from __future__ import annotations

import io
from pathlib import Path
from typing import cast

import av
import numpy as np
import soundfile
from av.audio.stream import AudioStream
from av.video.stream import VideoStream

from models.sound.audio.writing import BLOCK

RATE_HZ = 44_100


def tone(
    seconds: float = 2.0, *, hz: float = 440.0, rate_hz: int = RATE_HZ, peak: float = 0.5, channels: int = 2,
) -> np.ndarray:
    """A sine: float32 (frames, channels)."""
    wave = peak * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate_hz)) / rate_hz)
    return np.repeat(wave.astype(np.float32)[:, None], channels, axis=1)


def pitch(samples: np.ndarray, rate_hz: int) -> float:
    """The strongest frequency of the first channel, in Hz."""
    wave = samples[:, 0] * np.hanning(len(samples))
    return float(np.abs(np.fft.rfft(wave)).argmax() * rate_hz / len(wave))


def by_libsndfile(samples: np.ndarray, format: str, subtype: str | None = None, rate_hz: int = RATE_HZ) -> bytes:
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", rate_hz, samples.shape[1], format=format, subtype=subtype) as target:
        for start in range(0, len(samples), BLOCK):
            target.write(samples[start:start + BLOCK])
    return file.getvalue()


def by_ffmpeg(
    samples: np.ndarray, container: str, codec: str, *, rate_hz: int = RATE_HZ, video: str = "",
    options: dict[str, str] | None = None,
) -> bytes:
    """A container of FFmpeg's, with noise as pictures where `video` names a codec for them."""
    file = io.BytesIO()
    with av.open(file, "w", format=container, options=options or {}) as target:
        stream = cast(AudioStream, target.add_stream(codec, rate=rate_hz))
        stream.layout = "mono" if samples.shape[1] == 1 else "stereo"
        if video:
            pictures = cast(VideoStream, target.add_stream(video, rate=25))
            pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
            noise = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
            for _ in range(round(25 * len(samples) / RATE_HZ)):
                target.mux(pictures.encode(av.VideoFrame.from_ndarray(noise, format="rgb24")))
            target.mux(pictures.encode(None))
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples.T), format="fltp", layout=stream.layout.name)
        frame.sample_rate = RATE_HZ
        target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    return file.getvalue()


def every_kind() -> dict[str, bytes]:
    """Two seconds of 440 Hz as every kind of file that is read."""
    wave = tone()
    return {
        "wav": by_libsndfile(wave, "WAV", "PCM_16"),
        "wav of floats": by_libsndfile(wave, "WAV", "FLOAT"),
        "wav of bytes": by_libsndfile(wave, "WAV", "PCM_U8"),
        "flac": by_libsndfile(wave, "FLAC", "PCM_24"),
        "ogg": by_libsndfile(wave, "OGG", "VORBIS"),
        "mp3": by_libsndfile(wave, "MP3"),
        "opus": by_ffmpeg(wave, "ogg", "libopus", rate_hz=48_000),
        "aac": by_ffmpeg(wave, "adts", "aac"),
        "m4a": by_ffmpeg(wave, "ipod", "aac"),
        "m4a, lossless": by_ffmpeg(wave, "ipod", "alac"),
        "mp4": by_ffmpeg(wave, "mp4", "aac", video="libx264"),
        "mp4 in fragments": by_ffmpeg(wave, "mp4", "aac", options={"movflags": "frag_keyframe+empty_moov"}),
        "mov": by_ffmpeg(wave, "mov", "pcm_s16le", video="mpeg4"),
        "webm": by_ffmpeg(wave, "webm", "libopus", rate_hz=48_000, video="libvpx"),
        "mkv": by_ffmpeg(wave, "matroska", "pcm_s32le"),
        "3gp": by_ffmpeg(wave[:, :1], "3gp", "libopencore_amrnb", rate_hz=8000),
    }


def put(folder: Path, content: bytes, name: str = "sound.bin") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path
