"""Orders, and worker processes to give them to over real pipes."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bot.worker.protocol import Event, Order, Start, from_line, to_line

ROOT = Path(__file__).parents[2]
SMALL_WORKER = Path(__file__).with_name("small_worker.py")
PATIENCE_S = 60.0  # a busy machine is not a bug


def start_of(job: int, title: str = "Nocturne", *, engine: str = "pocket", kind: str = "midi", folder: str | None = None,
             attempt: int = 1, made: tuple[int, ...] = (), **parameters: Any) -> Start:
    """An order for two short takes, if nothing else is said."""
    wanted = {"title": title, "artist": "", "tokens": 36, "takes": 2, "temperature": 0.9, "seed": 7, **parameters}
    return Start(job, attempt, kind, engine, wanted, str(job) if folder is None else folder, made)


class Talk:
    """A worker process, spoken to as the bot does."""

    def __init__(self, data: Path, **environment: str) -> None:
        self.spool = data / "spool"
        self.process = subprocess.Popen(
            [sys.executable, str(SMALL_WORKER)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "KAPELLE_DATA": str(data), **environment})
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._log: list[bytes] = []
        assert self.process.stderr is not None
        self._threads = [threading.Thread(target=self._listen), threading.Thread(target=self._log.extend,
                                                                                  args=(self.process.stderr,))]
        for thread in self._threads:
            thread.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(b"")

    def send(self, *orders: Order | bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"".join(one if isinstance(one, bytes) else to_line(one) for one in orders))
        self.process.stdin.flush()

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    def heard(self, until: Callable[[Any], bool]) -> list[Event]:
        """All that is said, up to an event that is waited for."""
        events: list[Event] = []
        while not events or not until(events[-1]):
            line = self._lines.get(timeout=PATIENCE_S)
            assert line, f"the worker ended after {events}: {self.log()}"
            events.append(from_line(line))
        return events

    def rest(self) -> list[Event]:
        """What is said until the worker ends."""
        events = []
        while line := self._lines.get(timeout=PATIENCE_S):
            events.append(from_line(line))
        return events

    def ended(self) -> int:
        return self.process.wait(PATIENCE_S)

    def log(self) -> str:
        """All of stderr. The worker has to have ended."""
        for thread in self._threads:
            thread.join(PATIENCE_S)
        return b"".join(self._log).decode()

    def end(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.log()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert pipe is not None
            try:
                pipe.close()
            except BrokenPipeError:
                continue
