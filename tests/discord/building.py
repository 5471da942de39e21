"""Jobs and files of takes for tests of what is posted."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from typing import Any

import numpy as np
import soundfile

from bot.jobs.records import Job, JobState, TakeRecord, TakeState

ASKED_AT = datetime.now(UTC)
FILES = {"midi": "take-1.mid", "sound": "take-1.ogg", "roll": "take-1.png"}


def job(**changed: Any) -> Job:
    fields: dict[str, Any] = {
        "id": 12, "guild_id": 1, "channel_id": 2, "thread_id": 3, "owner_id": 4, "language": "en", "kind": "midi",
        "engine": "pocket", "priority": 0, "parent_id": None, "state": JobState.DELIVERING, "attempt": 1, "strikes": 0.0,
        "alone": False, "failure": None, "outcome": {}, "card_id": None, "created_at": ASKED_AT,
        "started_at": None, "ended_at": None, "takes": (take(),),
        "parameters": {"title": "Clair de lune", "artist": "Debussy", "tokens": 64, "takes": 1, "temperature": 0.9,
                       "seed": 7, "stop_at_end": False}}
    return Job(**fields | changed)


def take(**changed: Any) -> TakeRecord:
    fields: dict[str, Any] = {
        "job_id": 12, "number": 1, "state": TakeState.MADE, "files": FILES, "seconds": 12.0, "notes": 20}
    return TakeRecord(**fields | changed)


def sound(seconds: float, *, channels: int = 2, rate: int = 44_100) -> bytes:
    """OGG Vorbis of noise and a tone, which does not compress well."""
    random = np.random.default_rng(1)
    frames = int(seconds * rate)
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(frames) / rate)[:, None]
    samples = (tone + random.normal(0, 0.05, (frames, channels))).astype(np.float32)
    target = io.BytesIO()
    with soundfile.SoundFile(target, "w", samplerate=rate, channels=channels, format="OGG", subtype="VORBIS") as file:
        for start in range(0, frames, 65_536):
            file.write(samples[start:start + 65_536])
    return target.getvalue()
