"""The worker: decodes the takes of all jobs it was given, step by step, and renders them beside that.

One thread decodes and says what happens. Others read orders, plan and render; what they have reaches the first one
through its inbox, which it looks into between steps.
"""

from __future__ import annotations

import logging
import os
import queue
import signal
import threading
import time
import traceback
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bot.jobs.refusals import Failure
from bot.jobs.requests import rebuilt
from bot.settings import Settings
from bot.takes.forms import form_of, in_short
from bot.takes.render import AnyPlan, AnyTake, Desk, render_take
from bot.takes.spool import Made, Spool
from bot.worker.protocol import (
    Cancel,
    Cancelled,
    Event,
    Failed,
    Finished,
    Loading,
    Order,
    Planned,
    Progress,
    Ready,
    Rendering,
    Start,
    Stop,
    from_line,
    to_line,
)
from models.decoding.sequence import Sequence
from models.engines.registry import load_engine
from models.errors import InputError, KapelleError, RenderingError
from models.interface.engine import Engine
from models.interface.midi import Plan

CRASHED = 70  # EX_SOFTWARE of sysexits.h
PROGRESS_S = 0.25  # least time between two words about the progress of a job
RENDERERS = 2  # takes rendered at once; FluidSynth is a process of its own
_LONGEST_TEXT = 300  # characters of a failure
_CHUNK = 65_536  # bytes of orders read at once
_LOG = logging.getLogger(__name__)


class _DeafError(Exception):
    """Nobody listens to the events any more."""


class _UnloadableError(KapelleError):
    """An engine cannot be loaded."""


@dataclass(eq=False)
class _Job:
    """A job that is planned and not over."""

    order: Start
    engine: Engine
    plan: AnyPlan
    folder: Path
    sequences: Mapping[int, Sequence]  # by take, of those that were not made before
    began: float  # monotonic, s
    told: float  # when its progress was last said
    decoding: set[int] = field(default_factory=set)  # takes whose ids are not all made
    unmade: set[int] = field(default_factory=set)  # takes whose files are not all in the spool
    renderings: list[Future[Made]] = field(default_factory=list)

    @property
    def progress(self) -> Progress:
        shares = tuple(self.sequences[number].progress if number in self.sequences else 1.0
                       for number in range(1, self.plan.request.takes + 1))
        ids = sum(len(sequence.ids) for sequence in self.sequences.values())
        return Progress(self.order.job, self.order.attempt, shares, ids)


@dataclass(frozen=True)
class _Understood:
    """A job was planned, or could not be."""

    order: Start
    engine: Engine
    planning: Future[AnyPlan]


@dataclass(frozen=True)
class _Rendered:
    """A rendering has ended, well or not."""

    job: _Job
    rendering: Future[Made]


class Worker:
    """Reads orders from one descriptor and writes events to another, until told to stop or left alone."""

    def __init__(self, settings: Settings, orders: int, events: int) -> None:
        self._settings = settings
        self._orders = orders
        self._events = os.fdopen(events, "wb")
        self._spool = Spool(settings.spool)
        self._desk = Desk(settings.spool, soundfont=settings.soundfont)
        self._engines: dict[str, Engine] = {}  # that are loaded
        self._planning: dict[int, Start] = {}  # jobs that are being planned
        self._jobs: dict[int, _Job] = {}
        self._owners: dict[Sequence, _Job] = {}  # of sequences that are in a batcher
        self._inbox: queue.SimpleQueue[Order | _Understood | _Rendered] = queue.SimpleQueue()
        # FluidSynth inherits the mask: a SIGTERM to all processes of a service must not spoil the last takes.
        self._planner, self._renderers = (
            ThreadPoolExecutor(
                threads, name, initializer=signal.pthread_sigmask, initargs=(signal.SIG_BLOCK, {signal.SIGTERM}))
            for threads, name in ((1, "planning"), (RENDERERS, "rendering")))

    def run(self) -> int:
        """Work until the orders end, one of them is Stop, or SIGTERM comes; returns the exit code."""
        signal.signal(signal.SIGTERM, lambda *_: self._inbox.put(Stop()))
        threading.Thread(target=self._read, name="orders", daemon=True).start()
        try:
            self._say(Ready(os.getpid(), tuple(self._engines)))
            while self._look():
                self._step()
            self._finish()
        except _DeafError:
            _LOG.info("the bot has gone")
        except Exception as error:
            _log_error("the worker ends", error)
            return CRASHED
        return 0

    # Orders and events

    def _read(self) -> None:
        """Runs on another thread."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # the main thread is the one to be woken by it
        rest = b""
        while chunk := os.read(self._orders, _CHUNK):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                try:
                    order = from_line(line)
                    if not isinstance(order, Start | Cancel | Stop):
                        raise ValueError("not an order")
                except ValueError:  # which quotes the line, and with it a prompt
                    _LOG.error("an order of %d bytes cannot be read and is left out", len(line))
                else:
                    self._inbox.put(order)
        self._inbox.put(Stop())  # the bot has closed the pipe, or died

    def _say(self, event: Event) -> None:
        try:
            self._events.write(to_line(event))
            self._events.flush()
        except OSError as error:
            raise _DeafError from error

    # What the main thread does

    def _look(self) -> bool:
        """Handle what is in the inbox, and wait for something if there is nothing to decode; False: stop."""
        wait = not self._owners
        while True:
            try:
                arrived = self._inbox.get(block=wait)
            except queue.Empty:
                return True
            wait = False
            match arrived:
                case Start():
                    self._start(arrived)
                case Cancel():
                    if self._drop(arrived.job):
                        self._say(Cancelled(arrived.job))
                case _Understood():
                    self._understood(arrived)
                case _Rendered():
                    self._rendered(arrived)
                case Stop():
                    return False

    def _start(self, order: Start) -> None:
        self._drop(order.job)  # an earlier attempt that nobody waits for any more
        try:
            request = rebuilt(order.kind, order.parameters, self._spool.inputs(order.folder, order.inputs))
            engine = self._engine(order.engine)
            # From here on this job is to blame if the process does not survive it; for a model it was not.
            self._say(Progress(order.job, order.attempt, (0.0,) * request.takes, 0))
        except _UnloadableError as error:
            self._fail(order, Failure.NO_MODEL, error)
            return
        except InputError as error:
            self._fail(order, Failure.REFUSED, error)
            return
        # Reading a melody or a long sound takes seconds, in which others are decoded.
        self._planning[order.job] = order
        planning = self._planner.submit(engine.plan, request)
        planning.add_done_callback(lambda done: self._inbox.put(_Understood(order, engine, done)))

    def _understood(self, arrived: _Understood) -> None:
        order, engine = arrived.order, arrived.engine
        if self._planning.get(order.job) is not order:
            return  # cancelled meanwhile
        del self._planning[order.job]
        try:
            plan = arrived.planning.result()
            folder = self._spool.open(order.folder)
        except InputError as error:
            self._fail(order, Failure.REFUSED, error)
            return
        except KapelleError as error:  # a title database that is damaged
            self._fail(order, Failure.NO_MODEL, error)
            return
        except OSError as error:
            self._fail(order, Failure.RENDERING, _unwritable(error))
            return
        now = time.monotonic()
        sequences = {one.take: one for one in engine.sequences(plan) if one.take not in order.made}
        job = _Job(order, engine, plan, folder, sequences, now, now, set(sequences), set(sequences))
        self._jobs[order.job] = job
        self._say(Planned(order.job, order.attempt, _outcome(plan)))
        for sequence in sequences.values():
            engine.batcher.add(sequence)
            self._owners[sequence] = job
        if not sequences:
            self._all_decoded(job)
            self._all_made(job)

    def _engine(self, name: str) -> Engine:
        if name not in self._engines:
            began = time.monotonic()
            self._say(Loading(name))
            try:
                self._engines[name] = load_engine(name, None, self._settings.host)
            except KapelleError as error:  # which tells of files and memory, not of members
                _LOG.error("the engine %s cannot be loaded: %s", name, error)
                raise _UnloadableError(str(error)) from error
            except Exception as error:  # a library that is missing, memory that is not enough
                _log_error("an engine cannot be loaded", error)
                raise _UnloadableError(f"the engine {name} cannot be loaded ({type(error).__name__})") from error
            finally:
                self._say(Loading(name, over=True))
            _LOG.info("loaded the engine %s in %.2f s", name, time.monotonic() - began)
        return self._engines[name]

    def _step(self) -> None:
        """One id for every take that is being decoded."""
        for engine in self._engines.values():
            if engine.batcher.busy:
                for sequence in engine.batcher.step():
                    self._decoded(self._owners.pop(sequence), sequence)
        now = time.monotonic()
        for job in self._jobs.values():
            if job.decoding and now - job.told >= PROGRESS_S:
                job.told = now
                self._say(job.progress)

    def _decoded(self, job: _Job, sequence: Sequence) -> None:
        take = job.engine.take(job.plan, sequence)
        rendering = self._renderers.submit(self._render, job, take, len(sequence.ids))
        job.renderings.append(rendering)
        rendering.add_done_callback(lambda done: self._inbox.put(_Rendered(job, done)))
        job.decoding.discard(take.number)
        if not job.decoding:
            self._all_decoded(job)

    def _all_decoded(self, job: _Job) -> None:
        self._say(job.progress)
        self._say(Rendering(job.order.job, job.order.attempt, time.monotonic() - job.began))

    def _all_made(self, job: _Job) -> None:
        self._say(Finished(job.order.job, job.order.attempt))
        del self._jobs[job.order.job]

    def _render(self, job: _Job, take: AnyTake, ids: int) -> Made:
        """Runs on another thread."""
        try:
            rendered = render_take(job.engine, job.plan, take, job.folder, self._desk)
            made = Made(
                job.order.job, job.order.attempt, take.number, {what: path.name for what, path in rendered.files.items()},
                rendered.seconds, rendered.notes, ids)
            form = form_of(job.plan, take.number)
            self._spool.keep(job.folder, made, form.as_json() if form else None)
        except OSError as error:
            raise _unwritable(error) from error
        return made

    def _rendered(self, arrived: _Rendered) -> None:
        job = arrived.job
        if self._jobs.get(job.order.job) is not job:
            return  # cancelled or failed meanwhile
        try:
            made = arrived.rendering.result()
        except KapelleError as error:
            self._drop(job.order.job)
            self._fail(job.order, Failure.RENDERING, error)
            return
        self._say(made)
        job.unmade.discard(made.number)
        if not job.unmade:
            self._all_made(job)

    def _drop(self, job_id: int) -> bool:
        """Forget a job; whether there was one."""
        planned = self._planning.pop(job_id, None) is not None
        job = self._jobs.pop(job_id, None)
        if job is None:
            return planned
        for sequence in job.sequences.values():
            job.engine.batcher.cancel(sequence)
            self._owners.pop(sequence, None)
        for rendering in job.renderings:
            rendering.cancel()
        return True

    def _fail(self, order: Start, failure: Failure, error: KapelleError) -> None:
        _LOG.info("job %d failed: %s", order.job, failure.value)
        text = " ".join(str(error).split())[:_LONGEST_TEXT]
        self._say(Failed(order.job, order.attempt, failure.value, text))

    def _finish(self) -> None:
        """Let takes that are being rendered become whole, and leave the rest."""
        self._planner.shutdown(wait=False, cancel_futures=True)
        self._renderers.shutdown(wait=True, cancel_futures=True)
        while True:
            try:
                arrived = self._inbox.get(block=False)
            except queue.Empty:
                return
            # One that failed may have failed because everything is being ended, so nothing is said of it.
            if isinstance(arrived, _Rendered) and not arrived.rendering.cancelled() and not arrived.rendering.exception():
                self._rendered(arrived)


def _outcome(plan: AnyPlan) -> dict[str, Any]:
    """What members are told about a plan, in JSON's terms."""
    if not isinstance(plan, Plan):
        return {"licence": plan.licence, "notices": list(plan.notices)}
    return {
        "matched_title": plan.matched_title,
        "matched_score": plan.matched_score,
        "attributes": asdict(plan.attributes),
        "notices": list(plan.notices),
        "forms": [in_short(form) for form in plan.forms],
    }


def _unwritable(error: OSError) -> RenderingError:
    return RenderingError(f"the files of the job cannot be written ({error.strerror or type(error).__name__})")


def _log_error(what: str, error: BaseException) -> None:
    """Where an error arose and of which kind it is; its message may quote a prompt, so it is for debugging only."""
    seen: BaseException | None = error
    while seen is not None:
        _LOG.error("%s: %s at", what, type(seen).__qualname__)
        for frame in traceback.format_tb(seen.__traceback__):
            for line in frame.rstrip().splitlines():
                _LOG.error("%s", line)
        _LOG.debug("it said: %s", seen)
        seen = seen.__cause__ or seen.__context__
