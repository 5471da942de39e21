from __future__ import annotations

import io
import threading
from typing import Any

import numpy as np
import pytest
import soundfile

from bot.discord import fitting
from bot.discord.fitting import fitted
from tests.discord.building import sound

SECONDS = 4.0


@pytest.fixture(scope="module")
def original() -> bytes:
    return sound(SECONDS)


async def test_sound_that_fits_is_left_as_it_is(original: bytes) -> None:
    assert await fitted(original, len(original)) is original


@pytest.mark.parametrize(("share", "channels", "rate"), [(0.8, 2, 44_100), (0.5, 1, 44_100), (0.3, 1, 22_050)])
async def test_sound_is_made_as_plain_as_it_has_to_be(original: bytes, share: float, channels: int, rate: int) -> None:
    limit = int(len(original) * share)
    smaller = await fitted(original, limit)
    assert smaller is not None
    assert len(smaller) <= limit
    samples, sample_rate = soundfile.read(io.BytesIO(smaller), always_2d=True)
    assert samples.shape[1] == channels
    assert sample_rate == rate
    assert len(samples) / sample_rate == pytest.approx(SECONDS, abs=0.01)
    spectrum = np.abs(np.fft.rfft(samples[:, 0]))
    assert np.argmax(spectrum) / SECONDS == pytest.approx(440, abs=2)


async def test_sound_that_cannot_be_made_small_enough_is_given_up(original: bytes) -> None:
    assert await fitted(original, 2000) is None


async def test_what_is_no_sound_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    assert await fitted(b"no sound at all" * 100, 1000) is None
    assert "could not be encoded again" in caplog.text


async def test_encoding_leaves_the_event_loop_free(original: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded, threads = fitting._encoded, []

    def noted(*arguments: Any) -> bytes:
        threads.append(threading.get_ident())
        return encoded(*arguments)

    monkeypatch.setattr(fitting, "_encoded", noted)
    assert await fitted(original, len(original) // 3) is not None
    assert threads
    assert threading.get_ident() not in threads
