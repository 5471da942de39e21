"""Samples as sound files, encoded by libsndfile."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

import numpy as np
import soundfile

from models.errors import InputError, RenderingError
from models.whole_file import whole_file

SoundFormat = Literal["ogg", "mp3", "wav"]

BLOCK = 65_536  # frames; libsndfile 1.2.2 crashes when much more Vorbis is written in one call
FAINTEST_DBFS = -120.0  # what silence is said to have
_ENCODINGS = {"ogg": ("OGG", "VORBIS"), "mp3": ("MP3", "MPEG_LAYER_III"), "wav": ("WAV", "PCM_16")}


@dataclass(frozen=True)
class Sound:
    """A sound file that was written.

    Peak and RMS are over all channels, of what went into the encoder, relative to full scale.
    """

    path: Path
    seconds: float
    sample_rate_hz: int
    peak_dbfs: float
    rms_dbfs: float


def write_audio(samples: np.ndarray, rate_hz: int, target: Path, format: str | None = None) -> Sound:
    """Write float32 samples (frames, channels) between -1 and 1 as OGG Vorbis, MP3 or WAV of 16 bits.

    `format` is taken from the suffix of `target` where it is not given. What is beyond full scale is
    clipped. MP3 knows the usual rates from 8 to 48 kHz only. An existing target is replaced, and only by a
    finished file.

    Raises InputError for an unknown format, RenderingError for no samples or ones that are not finite, and
    where disk space or the permission to write is missing.
    """
    chosen = sound_format(target, format)
    if not samples.size:
        raise RenderingError(f"there is no sound to write to {target.name}")
    if not np.isfinite(samples).all():
        raise RenderingError(f"the sound for {target.name} holds values that are not numbers; make it again")
    with whole_file(target) as draft:
        return encode([samples], draft, target, format=chosen, rate_hz=rate_hz, channels=samples.shape[1])


def sound_format(target: Path, format: str | None) -> SoundFormat:
    """`format`, or what the suffix of `target` says where it is None. Raises InputError when it is none of them."""
    chosen = format if format is not None else target.suffix.lower().removeprefix(".")
    if chosen not in get_args(SoundFormat):
        raise InputError(f"the sound format must be ogg, mp3 or wav, not {chosen!r}")
    return cast(SoundFormat, chosen)


def encode(
    blocks: Iterable[np.ndarray], draft: Path, target: Path, *, format: SoundFormat, rate_hz: int, channels: int
) -> Sound:
    """Encode blocks of float32 (frames, channels) to `draft`, and tell of it as `target`, which it will become.

    Raises RenderingError when it cannot be written.
    """
    container, subtype = _ENCODINGS[format]
    frames, energy, loudest = 0, 0.0, 0.0
    try:
        with soundfile.SoundFile(
            draft, "w", samplerate=rate_hz, channels=channels, format=container, subtype=subtype
        ) as encoded:
            for whole in blocks:
                for start in range(0, len(whole), BLOCK):
                    block = np.clip(whole[start:start + BLOCK], -1.0, 1.0)
                    encoded.write(block)
                    energy += float(np.square(block, dtype=np.float64).sum())
                    loudest = max(loudest, float(np.abs(block).max()))
                    frames += len(block)
        with soundfile.SoundFile(draft) as written:
            if written.frames < frames:  # not every encoder reports that it could not write
                raise RenderingError(f"{target} could not be written whole; is the disk full?")
    except soundfile.SoundFileError as error:
        raise RenderingError(f"the sound could not be encoded ({error}); is the disk full?") from error
    return Sound(
        path=target,
        seconds=frames / rate_hz,
        sample_rate_hz=rate_hz,
        peak_dbfs=_dbfs(loudest),
        rms_dbfs=_dbfs(math.sqrt(energy / max(frames * channels, 1))),
    )


def _dbfs(amplitude: float) -> float:
    return max(20 * math.log10(amplitude), FAINTEST_DBFS) if amplitude else FAINTEST_DBFS
