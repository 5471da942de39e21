"""A worker process in audiocraft's environment, spoken to as the bot does. Needs that environment."""

from __future__ import annotations

import os
import queue
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bot.hosting.audiocraft import VARIABLE, command
from bot.settings import read_settings
from bot.takes.spool import Made
from bot.worker.protocol import Cancel, Cancelled, Failed, Finished, Order, Progress, Ready, Start, from_line, to_line
from models.errors import InputError

PATIENCE_S = 120.0

pytestmark = pytest.mark.slow


class Conversation:
    def __init__(self, data: Path, words: list[str]) -> None:
        self.spool = data / "spool"
        self.log: list[bytes] = []
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._process = subprocess.Popen(
            words, cwd=data, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=os.environ | {"KAPELLE_DATA": str(data), "KAPELLE_THREADS": "1", "PYTHONPATH": "/nowhere"})
        assert self._process.stdin
        assert self._process.stdout
        assert self._process.stderr
        self._orders = self._process.stdin
        for pipe, take in ((self._process.stdout, self._lines.put), (self._process.stderr, self.log.append)):
            threading.Thread(target=self._read, args=(pipe, take), daemon=True).start()

    @staticmethod
    def _read(pipe: Any, take: Callable[[bytes], None]) -> None:
        for line in pipe:
            take(line)
        take(b"")

    def send(self, order: Order) -> None:
        self._orders.write(to_line(order))
        self._orders.flush()

    def heard(self, kind: type[Any]) -> list[Any]:
        """All events up to the first one of a kind."""
        events: list[Any] = []
        while not events or not isinstance(events[-1], kind):
            line = self._lines.get(timeout=PATIENCE_S)
            assert line, b"".join(self.log).decode()
            events.append(from_line(line))
            assert kind is Failed or not isinstance(events[-1], Failed), events[-1]
        return events

    def end(self) -> int:
        self._orders.close()
        return self._process.wait(PATIENCE_S)


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Conversation]:
    try:
        words = command(read_settings())
    except InputError as error:
        pytest.skip(f"{error} (or name its Python in {VARIABLE})")
    conversation = Conversation(tmp_path_factory.mktemp("data"), words)
    conversation.heard(Ready)
    yield conversation
    assert conversation.end() == 0


def start(job: int, engine: str = "audiocraft-debug", **parameters: Any) -> Start:
    wanted = {"prompt": "rain on a tin roof", "seconds": 2.0, "takes": 2, "seed": 7, **parameters}
    return Start(job, 1, "audio", engine, wanted, str(job))


def test_a_job_becomes_files(worker: Conversation) -> None:
    worker.send(start(1))
    events = worker.heard(Finished)
    made = [event for event in events if isinstance(event, Made)]
    assert sorted(event.number for event in made) == [1, 2]
    for event in made:
        assert event.seconds == pytest.approx(2.0, abs=0.05)
        assert set(event.files) == {"sound", "wave"}
        for name in event.files.values():
            assert (worker.spool / "1" / name).stat().st_size > 1000


def test_a_cancelled_job_makes_room_for_the_next_one(worker: Conversation) -> None:
    worker.send(start(2, seconds=120.0, takes=4))
    while not any(0 < share < 1 for event in worker.heard(Progress) for share in getattr(event, "shares", ())):
        pass
    worker.send(Cancel(2))
    worker.heard(Cancelled)
    worker.send(start(3, takes=1))
    assert not any(getattr(event, "job", 3) == 2 for event in worker.heard(Finished))


def test_a_model_that_is_not_there_fails_the_job_with_a_line_that_says_what_to_type(worker: Conversation) -> None:
    worker.send(start(4, engine="audiocraft-musicgen-small"))
    failed = worker.heard(Failed)[-1]
    assert failed.job == 4
    assert "state_dict.bin of facebook/musicgen-small is not on this machine; type: hf download" in failed.text
