"""The bot's side of the worker: a process of its own on this machine, spoken to over pipes, replaced when it dies."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

from bot.hosting import audiocraft
from bot.settings import PREFIX, Settings
from bot.worker.protocol import (
    Cancel,
    Cancelled,
    Died,
    Event,
    Failed,
    Finished,
    Loading,
    Planned,
    Progress,
    Rendering,
    Start,
    from_line,
    to_line,
)
from models.engines.registry import AUDIOCRAFT
from models.errors import InputError, KapelleError
from models.scratch import Scratch

LONGEST_LINE = 2**20  # bytes
PATIENCE_S = 10.0  # for a running step and the takes that are being rendered, when stopped
FIRST_DELAY_S, LONGEST_DELAY_S = 0.5, 30.0  # between death and birth; none after the first death
HEALTHY_S = 60.0  # who lived that long did not die of being started
LONGEST_STEP_S = 600.0  # a worker that decodes and says nothing for so long hangs, and is replaced
LOOK_S = 5.0  # how often that is looked at
_SECRETS = ("DISCORD_TOKEN", f"{PREFIX}DISCORD_TOKEN", f"{PREFIX}DATABASE")
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_HOME = Path(__file__).resolve().parents[2]  # where the packages are
_LOG = logging.getLogger("kapelle.worker")


class WorkerGone(KapelleError):  # noqa: N818 - it says what is the case
    """There is no worker process at the moment; another one is being started."""


class LocalWorker:
    """Starts a worker, passes orders and events, and starts another one when it dies. Belongs to one event loop.

    `process` says which engines it is for, as `models.engines.Listed` names it.
    """

    def __init__(self, settings: Settings, process: str = "compose") -> None:
        self._settings = settings
        self.process = process
        self._process: Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._heard: asyncio.Queue[Event | None] = asyncio.Queue()
        self._jobs: dict[int, bool] = {}  # sent and not over -> whether it was begun
        self._loading: str | None = None  # the engine that is being loaded
        self._moved: dict[int, tuple[int, tuple[float, ...]]] = {}  # how far jobs were when they last said so
        self._decoding: set[int] = set()  # jobs whose progress is to be heard of
        self._spoke = 0.0  # when it last said something, monotonic

    @property
    def pid(self) -> int | None:
        """Of the process there is now."""
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        """Start the process; it is there when this returns, and says Ready when it listens. Raises OSError."""
        scratch = await self._spawn()
        self._keeper = asyncio.create_task(self._keep(scratch), name="worker")

    async def send(self, order: Start | Cancel) -> None:
        """Give an order. When the worker dies before it is carried out, Died names its job.

        Raises WorkerGone when there is no process now.
        """
        process = self._process
        if process is None or process.stdin is None or self._stopping.is_set():
            raise WorkerGone("the worker is being started")
        if isinstance(order, Start):
            self._jobs[order.job] = False
        with suppress(ConnectionError):  # it is dying, and Died will tell
            process.stdin.write(to_line(order))
            await process.stdin.drain()

    async def events(self) -> AsyncIterator[Event]:
        """What the workers say, and that they died. Ends when stopped."""
        while (event := await self._heard.get()) is not None:
            yield event
        self._heard.put_nowait(None)

    async def stop(self) -> None:
        """Let the running step end and takes that are being rendered be written, but wait no longer than 10 s."""
        self._stopping.set()
        if self._keeper is None:
            return
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.terminate()
        finished, _ = await asyncio.wait({self._keeper}, timeout=PATIENCE_S)
        if not finished and self._process is not None:
            _LOG.warning("the worker did not end within %.0f s and is killed", PATIENCE_S)
            _end_group(self._process)
        await self._keeper

    async def _keep(self, scratch: Scratch | None) -> None:
        """Listen to one process after the other."""
        delay = 0.0
        try:
            while True:
                born = time.monotonic()
                if scratch is not None:
                    await self._live(scratch)
                if self._stopping.is_set():
                    return
                if time.monotonic() - born >= HEALTHY_S:
                    delay = 0.0
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), delay)
                    return
                delay = min(max(FIRST_DELAY_S, 2 * delay), LONGEST_DELAY_S)
                try:
                    scratch = await self._spawn()
                except (OSError, InputError) as error:  # InputError: its environment is gone
                    _LOG.error("the worker cannot be started: %s", error)
                    scratch = None
        finally:
            self._heard.put_nowait(None)

    async def _spawn(self) -> Scratch:
        """Start a process; returns the folder for its temporary files, which stays in use as long as it lives."""
        scratch = await asyncio.to_thread(Scratch.make, "worker-")
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command(), stdin=PIPE, stdout=PIPE, stderr=PIPE, limit=LONGEST_LINE,
                cwd=_HOME, env=_environment(self._settings, scratch.path), start_new_session=True, pass_fds=(scratch.lock,))
        except (OSError, InputError):
            await asyncio.to_thread(scratch.remove)
            raise
        return scratch

    def _command(self) -> list[str]:
        if self.process == AUDIOCRAFT:
            return audiocraft.command(self._settings)
        return [sys.executable, "-m", "bot.worker"]

    async def _live(self, scratch: Scratch) -> None:
        """The life of one process: until it has ended, and what it left behind is gone."""
        process = self._process
        assert process is not None
        if self._stopping.is_set():  # while it was being started
            _end_group(process)
        log = asyncio.create_task(_pass_on_log(process))
        try:
            await self._listen(process)
        finally:
            # The end of its events, which it shares with no program that it starts, is its own end; or it is to be
            # replaced. What it started may have outlived it, and wait() waits for all that holds the log's pipe.
            _end_group(process)
            code = await process.wait()
            self._process = None
            lost, self._jobs = self._jobs, {}
            loading, self._loading = self._loading, None
            self._decoding.clear()
            self._moved.clear()
            if not self._stopping.is_set():
                _LOG.warning("the worker ended with exit code %d; jobs with it: %d", code, len(lost))
                self._heard.put_nowait(Died(code, tuple(lost), tuple(job for job, begun in lost.items() if begun), loading))
            await log
            await asyncio.to_thread(scratch.remove)

    async def _listen(self, process: Process) -> None:
        """Pass on events until there will be no more, one cannot be read, or the process hangs."""
        assert process.stdout is not None
        while True:
            try:
                async with asyncio.timeout(LOOK_S):
                    line = await process.stdout.readline()
                if not line.endswith(b"\n"):
                    return
                event = from_line(line)
                if not isinstance(event, Event):
                    raise ValueError("not an event")
            except TimeoutError:
                if self._hangs():
                    return
                continue
            except ValueError:  # also for a line that is too long
                _LOG.error("the worker said something that cannot be read; it is replaced")
                return
            moved = not isinstance(event, Progress) or self._moved.get(event.job) != (event.ids, event.shares)
            if moved:
                self._spoke = time.monotonic()
            self._note(event)
            self._heard.put_nowait(event)
            if not moved and self._hangs():
                return

    def _hangs(self) -> bool:
        """Whether it decodes and gets nowhere, though it may go on saying so."""
        if not self._decoding or self._loading is not None or time.monotonic() - self._spoke <= LONGEST_STEP_S:
            return False
        _LOG.error("the worker has been at one step for %.0f s; it is replaced", LONGEST_STEP_S)
        return True

    def _note(self, event: Event) -> None:
        match event:
            case Loading():
                self._loading = None if event.over else event.engine
            case Planned() | Progress():
                if event.job in self._jobs:
                    self._jobs[event.job] = True
                    self._decoding.add(event.job)
                if isinstance(event, Progress):
                    self._moved[event.job] = event.ids, event.shares
            case Rendering():
                self._decoding.discard(event.job)
            case Finished() | Failed() | Cancelled():
                self._jobs.pop(event.job, None)
                self._decoding.discard(event.job)
                self._moved.pop(event.job, None)


def _environment(settings: Settings, scratch: Path) -> dict[str, str]:
    """The bot's environment without its secrets; settings as they are now, paths from the root."""
    kept = {name: value for name, value in os.environ.items() if name.upper() not in _SECRETS}
    given = {
        "DATA": settings.data.absolute(),
        "SOUNDFONT": "" if settings.soundfont is None else settings.soundfont.absolute(),
        "THREADS": settings.threads,
        "LOG_LEVEL": settings.log_level,
        "DEVICE": settings.device,
        "PRECISION": settings.precision,
        **{name.upper(): getattr(settings, name) for name in Settings.model_fields if name.startswith("pocket_")},
        "LA_COMPOSER_PLAYING": ",".join(settings.la_composer_playing),
    }
    names = {f"{PREFIX}{name}" for name in given}
    return {name: value for name, value in kept.items() if name.upper() not in names} | {
        f"{PREFIX}{name}": str(value) for name, value in given.items()} | {"TMPDIR": str(scratch)}


def _end_group(process: Process) -> None:
    """End a process and those that it started; it leads a group of its own."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


async def _pass_on_log(process: Process) -> None:
    """Log what the worker writes to stderr, at the level that a line begins with."""
    assert process.stderr is not None
    while True:
        try:
            line = await process.stderr.readline()
        except ValueError:
            _LOG.warning("a line of more than %d bytes is left out", LONGEST_LINE)
            continue
        if not line:
            return
        text = line.decode(errors="backslashreplace").rstrip()
        level, _, rest = text.partition(" ")
        if level in _LEVELS:
            _LOG.log(logging.getLevelNamesMapping()[level], "%s", rest)
        elif text:
            _LOG.warning("%s", text)
