"""Attached sound files are looked at in a process of their own before a job is accepted."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import numpy as np
import pytest

from bot.jobs.refusals import Reason, Refusal
from bot.messages.refusals import refusal
from bot.worker import inspection
from bot.worker.inspection import Inspection
from tests.sound.audio.building import RATE_HZ, by_ffmpeg, by_libsndfile, tone

WAV = by_libsndfile(tone(), "WAV", "PCM_16")
NOT_A_NUMBER = tone()
NOT_A_NUMBER[900] = np.nan
SILENCE = np.zeros((61 * RATE_HZ, 1), np.float32)
LATE, EARLY = (by_libsndfile(np.concatenate(parts), "FLAC", "PCM_16")
               for parts in ([SILENCE, tone(channels=1)], [tone(channels=1), SILENCE]))
FAULTS = {  # what is wrong -> what is attached, what is said of it
    "words": (b"words\n" * 900, "no sound that I can read", "kein Ton, den ich lesen"),
    "empty": (b"", "is empty", "leer"),
    "silent": (by_libsndfile(tone(peak=0.0), "WAV", "PCM_16"), "is silent", "still"),
    "no sound in it": (by_libsndfile(tone(0.0), "WAV", "PCM_16"), "no sound in the file", "kein Ton"),
    "short": (by_libsndfile(tone(0.2), "WAV", "PCM_16"), "too short", "zu kurz"),
    "cut": (WAV[:100_000], "cut short", "abgeschnitten"),
    "no numbers": (by_libsndfile(NOT_A_NUMBER, "WAV", "FLOAT"), "not numbers", "keine Zahlen"),
    "200 channels": (by_libsndfile(tone(1.0, channels=200, rate_hz=8000), "WAV", rate_hz=8000), "200 channels", "200 Kan"),
    "2,000 Hz": (by_libsndfile(tone(1.0, rate_hz=2000), "WAV", rate_hz=2000), "2,000 Hz", "2.000 Hz"),
    "music after a minute": (LATE, "silent in its first 60 s", "ersten 60 s"),
    "encoding": (by_ffmpeg(tone(), "matroska", "tta"), "encoded in a way", "kodiert"),
}


@pytest.mark.parametrize("kind", FAULTS)
async def test_what_is_wrong_with_a_file_is_said_of_it_in_both_languages(kind: str) -> None:
    content, english, german = FAULTS[kind]
    with pytest.raises(Refusal) as caught:
        await Inspection().look("melody", content)
    assert caught.value.reason is Reason.INVALID
    assert english in refusal(caught.value, "en")
    assert german in refusal(caught.value, "de")


async def test_files_that_can_be_used_pass_and_a_continuation_is_judged_by_its_end() -> None:
    looking = Inspection()
    await asyncio.gather(*(looking.look("melody", WAV) for _ in range(3)), looking.look("continuation", LATE))
    with pytest.raises(Refusal, match="invalid") as caught:
        await looking.look("continuation", EARLY)
    assert "silent in its last 60 s" in refusal(caught.value, "en")


async def test_a_file_that_ends_its_reader_or_holds_it_up_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    reader = tmp_path / "reader"
    reader.write_text("#!/bin/sh\nkill -SEGV $$\n")
    reader.chmod(0o755)
    monkeypatch.setattr("bot.worker.inspection.sys.executable", str(reader))
    with pytest.raises(Refusal) as caught:
        await Inspection().look("melody", WAV)
    assert "damaged or cut short" in refusal(caught.value, "en")
    reader.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec cat /dev/zero > /dev/null\n")
    monkeypatch.setattr(inspection, "PATIENCE_S", 1.0)
    with pytest.raises(Refusal) as caught:
        await Inspection().look("melody", WAV)
    assert "takes too long" in refusal(caught.value, "en")
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


async def test_the_reader_knows_no_secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    reader = tmp_path / "reader"
    reader.write_text(f"#!/bin/sh\nenv > {tmp_path}/env\ncat > /dev/null\necho '{{\"fault\": \"\"}}'\n")
    reader.chmod(0o755)
    monkeypatch.setenv("KAPELLE_DISCORD_TOKEN", "secret")
    monkeypatch.setattr("bot.worker.inspection.sys.executable", str(reader))
    await Inspection().look("melody", WAV)
    assert "secret" not in (tmp_path / "env").read_text()
