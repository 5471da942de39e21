"""Sixty jobs while bot and worker are killed and Discord fails: each take is posted exactly once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.server.chaos import JOBS, SEED, Chaos


@pytest.mark.slow
async def test_nothing_is_lost_and_nothing_comes_twice(tmp_path: Path) -> None:
    outcome = await Chaos(tmp_path, SEED, JOBS).run()
    assert outcome.wrong == []
    assert outcome.posted >= JOBS
    assert outcome.disturbances["kill bot"] + outcome.disturbances["kill worker"] > 0
