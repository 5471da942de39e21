"""Worker processes for the tests of the worker's side."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.worker.protocol import Ready
from tests.worker.building import Talk


@pytest.fixture
def talk(tmp_path: Path) -> Iterator[Talk]:
    """A worker that has said Ready."""
    worker = Talk(tmp_path)
    try:
        worker.heard(lambda event: isinstance(event, Ready))
        yield worker
    finally:
        worker.end()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Talk]:
    """One that several tests use, each with job numbers of its own; nobody ends it."""
    worker = Talk(tmp_path_factory.mktemp("data"))
    try:
        worker.heard(lambda event: isinstance(event, Ready))
        yield worker
        assert worker.process.poll() is None, worker.log()
    finally:
        worker.end()
