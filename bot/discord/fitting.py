"""Sound that fits under an upload limit: encoded again, plainer each time."""

from __future__ import annotations

import asyncio
import io
import logging
from dataclasses import dataclass

import numpy as np
import soundfile

_BLOCK = 65_536  # frames; libsndfile 1.2.2 crashes when much more Vorbis is written in one call

_log = logging.getLogger("kapelle.discord")


@dataclass(frozen=True)
class _Encoding:
    compression: float  # of Vorbis, 0 (best) to 1 (smallest)
    channels: int
    thinning: int  # frames that are averaged to one: 2 halves the sample rate


_ENCODINGS = (_Encoding(0.9, 2, 1), _Encoding(1.0, 1, 1), _Encoding(1.0, 1, 2))  # the best one first


async def fitted(sound: bytes, limit: int) -> bytes | None:
    """The sound in at most `limit` bytes: as it is, or as OGG Vorbis of lower quality. None where that is not possible."""
    if len(sound) <= limit:
        return sound
    for encoding in _ENCODINGS:
        try:
            smaller = await asyncio.to_thread(_encoded, sound, encoding)
        except soundfile.SoundFileError as error:
            _log.error("a sound could not be encoded again: %s", error)
            return None
        if len(smaller) <= limit:
            return smaller
    return None


def _encoded(sound: bytes, encoding: _Encoding) -> bytes:
    target = io.BytesIO()
    with soundfile.SoundFile(io.BytesIO(sound)) as source:
        channels = min(encoding.channels, source.channels)
        with soundfile.SoundFile(
            target, "w", samplerate=source.samplerate // encoding.thinning, channels=channels, format="OGG",
            subtype="VORBIS", compression_level=encoding.compression,
        ) as encoded:
            for block in source.blocks(_BLOCK, dtype="float32", always_2d=True):  # (frames, channels)
                mixed = block if channels == source.channels else block.mean(axis=1, keepdims=True)
                whole = len(mixed) - len(mixed) % encoding.thinning
                encoded.write(mixed[:whole].reshape(-1, encoding.thinning, channels).mean(axis=1, dtype=np.float32))
    return target.getvalue()
