"""How the bot is: /healthz for whoever watches over it, /metrics for Prometheus, and how late its event loop runs."""

from __future__ import annotations

import asyncio
import errno
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Protocol

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Enum, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from bot.jobs.records import Job, JobState
from bot.settings import Settings
from models.errors import KapelleError

_LOG = logging.getLogger(__name__)
_LEDGER_PATIENCE_S = 2.0  # a ledger that has not answered by then does not count as fit
_KEPT_S = 1.0  # how long an answer of the ledger serves everyone who asks
_TICK_S = 0.05
_REMEMBERED_S = 60.0
_ACKNOWLEDGED_S = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 3.0)  # an interaction is lost after 3 s
_LATE_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_WAITED_S = (0.1, 1, 5, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200)
_IDS_PER_S = (5, 10, 25, 50, 100, 200, 400, 800, 1600, 3200, 6400)


class HealthError(KapelleError):
    """Health cannot be offered where the settings want it."""


class Condition(StrEnum):
    """Of the gateway, the worker and the ledger."""

    READY = "ready"
    GONE = "gone"  # not there yet, or lost and being got back


class Gateway(Protocol):
    """What is asked of the connection to Discord; the library's client has it."""

    ws: Any  # the connection of the moment, or None

    def is_ready(self) -> bool: ...


class Dispatcher(Protocol):
    worker_ready: bool  # not while its worker is being started, for the first time or after it died


class Ledger(Protocol):
    async def count(self, *states: JobState) -> int: ...

    async def jobs(self, *states: JobState, limit: int | None = None) -> list[Job]: ...


class Parts(Protocol):
    """What health is about; the application has it."""

    @property
    def ledger(self) -> Ledger: ...

    @property
    def dispatchers(self) -> Sequence[Dispatcher]: ...

    @property
    def metrics(self) -> Metrics: ...


@dataclass(frozen=True)
class Backlog:
    """What the ledger says about jobs that are not over."""

    jobs: Mapping[JobState, int] = field(default_factory=dict)  # how many are in each state
    oldest_s: float = 0.0  # how long ago the oldest queued one was asked for


@dataclass(frozen=True)
class Vitals:
    """How the parts are now."""

    gateway: Condition
    worker: Condition
    backlog: Backlog | None  # None: the ledger does not answer

    @property
    def ledger(self) -> Condition:
        return Condition.GONE if self.backlog is None else Condition.READY

    @property
    def fit(self) -> bool:
        """Whether members can be served now."""
        return {self.gateway, self.worker, self.ledger} == {Condition.READY}


class LoopLag:
    """Sleeps for 50 ms again and again, and notes how much later than that it woke, in seconds."""

    def __init__(self, seen: Callable[[float], object]) -> None:
        self._seen = seen
        self._latest: deque[tuple[float, float]] = deque()  # when, how late

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            due = time.monotonic() + _TICK_S
            await asyncio.sleep(_TICK_S)
            now = time.monotonic()
            late = max(0.0, now - due)
            self._seen(late)
            self._latest.append((now, late))
            while self._latest[0][0] < now - _REMEMBERED_S:
                self._latest.popleft()

    def worst_s(self) -> float:
        """The longest of the last minute."""
        return max(self._remembered(), default=0.0)

    def p99_s(self) -> float:
        """What 99 % of the last minute was not later than. A sample counts for as long as it took: long ones are few."""
        lags = sorted(self._remembered())
        left = 0.99 * sum(_TICK_S + late for late in lags)
        for late in lags:
            left -= _TICK_S + late
            if left <= 0:
                return late
        return 0.0

    def _remembered(self) -> list[float]:
        since = time.monotonic() - _REMEMBERED_S
        return [late for at, late in self._latest if at >= since]


class Metrics:
    """What is counted, in a registry of its own. Labels are names from the code, never what members wrote."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._parts = {
            part: Enum(f"kapelle_{part}", f"State of the {part}", states=list(Condition), registry=self.registry)
            for part in ("gateway", "worker", "ledger")}
        self._queued = Gauge("kapelle_queue_length", "Jobs that wait for the worker", registry=self.registry)
        self._oldest = Gauge(
            "kapelle_queue_oldest_seconds", "How long ago the oldest queued job was asked for", registry=self.registry)
        self._waited = Histogram(
            "kapelle_queue_wait_seconds", "From a job's acceptance to its beginning", ["engine"], buckets=_WAITED_S,
            registry=self.registry)
        self._jobs = Gauge("kapelle_jobs", "Jobs that are in a state now", ["state"], registry=self.registry)
        self._entered = Counter("kapelle_jobs_entered", "Jobs that came into a state", ["state"], registry=self.registry)
        self._acknowledged = Histogram(
            "kapelle_acknowledgement_seconds", "From an interaction's arrival to its acknowledgement",
            buckets=_ACKNOWLEDGED_S, registry=self.registry)
        self._retried = Counter("kapelle_delivery_retries", "Requests that were tried again", ["what"], registry=self.registry)
        self._events = Counter("kapelle_events", "What happened, by kind", ["kind"], registry=self.registry)
        self._speed = Histogram(
            "kapelle_decode_speed_ids_per_second", "Speed at which a job's ids were made", ["engine"],
            buckets=_IDS_PER_S, registry=self.registry)
        self._ids = Counter("kapelle_decoded_ids", "Ids made", ["engine"], registry=self.registry)
        late = Histogram(
            "kapelle_event_loop_lag_seconds", "How late the event loop woke a sleeper", buckets=_LATE_S,
            registry=self.registry)
        self.lag = LoopLag(late.observe)
        Gauge("kapelle_event_loop_lag_worst_seconds", "The longest lag of the last minute",
              registry=self.registry).set_function(self.lag.worst_s)
        Gauge("kapelle_event_loop_lag_p99_seconds", "What the lag was not above for 99 % of the last minute",
              registry=self.registry).set_function(self.lag.p99_s)

    def acknowledged(self, seconds: float) -> None:
        """An interaction was acknowledged so long after it had arrived."""
        self._acknowledged.observe(seconds)

    def retried(self, what: str) -> None:
        """A request to Discord is tried again; `what` kind of request it is."""
        self._retried.labels(what).inc()

    def waited(self, engine: str, seconds: float) -> None:
        """A job was begun for the first time, so long after it had been accepted."""
        self._waited.labels(engine).observe(max(0.0, seconds))

    def decoded(self, engine: str, ids: int, seconds: float) -> None:
        """An engine has made all ids of a job."""
        self._ids.labels(engine).inc(ids)
        if seconds > 0:
            self._speed.labels(engine).observe(ids / seconds)

    def job(self, state: str) -> None:
        """A job has come into a state."""
        self._entered.labels(state).inc()

    def event(self, kind: str) -> None:
        """Something worth counting has happened: the gateway was lost, the worker died."""
        self._events.labels(kind).inc()

    def exposition(self, vitals: Vitals) -> bytes:
        """Everything in the text format of Prometheus. What the ledger does not say is NaN, or left out."""
        for part, state in self._parts.items():
            state.state(getattr(vitals, part))
        backlog = vitals.backlog
        self._queued.set(math.nan if backlog is None else backlog.jobs.get(JobState.QUEUED, 0))
        self._oldest.set(math.nan if backlog is None else backlog.oldest_s)
        self._jobs.clear()
        for name, number in ({} if backlog is None else backlog.jobs).items():
            self._jobs.labels(name).set(number)
        return generate_latest(self.registry)


async def read_backlog(ledger: Ledger) -> Backlog:
    jobs = {state: await ledger.count(state) for state in JobState if not state.over}
    oldest_s = 0.0
    if jobs[JobState.QUEUED] and (oldest := await ledger.jobs(JobState.QUEUED, limit=1)):
        oldest_s = max(0.0, (datetime.now(UTC) - oldest[0].created_at).total_seconds())
    return Backlog(jobs, oldest_s)


class _KeptBacklog:
    """One reading of the ledger at a time, kept for a moment; None where it failed or took too long."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._reading = asyncio.Lock()
        self._kept: Backlog | None = None
        self._until = -math.inf

    async def get(self) -> Backlog | None:
        async with self._reading:
            if time.monotonic() >= self._until:
                self._kept = await self._fresh()
                self._until = time.monotonic() + _KEPT_S
            return self._kept

    async def _fresh(self) -> Backlog | None:
        try:
            async with asyncio.timeout(_LEDGER_PATIENCE_S):
                return await read_backlog(self._ledger)
        except Exception as error:  # whatever is wrong with it, the answer is that it is not fit
            _LOG.warning("the ledger does not say how many jobs wait (%s)", type(error).__name__)
            return None


class HealthServer:
    """Answers GET /healthz (JSON; 200 when fit, 503 when not) and GET /metrics. Says nothing about members."""

    def __init__(self, settings: Settings, parts: Parts, gateway: Gateway) -> None:
        """Port 0: no server; the lag of the event loop is measured all the same."""
        self._host, self._port = settings.health_host, settings.health_port
        self._parts, self._gateway = parts, gateway
        self._backlog = _KeptBacklog(parts.ledger)
        self._runner: web.AppRunner | None = None
        self._lag: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Raises HealthError when the address cannot be listened at."""
        if self._port:
            application = web.Application()
            application.add_routes([web.get("/healthz", self._healthz), web.get("/metrics", self._exposed)])
            runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
            await runner.setup()
            try:
                await web.TCPSite(runner, self._host, self._port).start()
            except OSError as error:
                await runner.cleanup()
                raise self._explained(error) from error
            self._runner = runner
            _LOG.info("health is at http://%s:%d/healthz", self._host, self._port)
        self._lag = asyncio.create_task(self._parts.metrics.lag.run(), name="event loop lag")

    async def stop(self) -> None:
        if self._lag is not None:
            self._lag.cancel()
            with suppress(asyncio.CancelledError):
                await self._lag
            self._lag = None
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def vitals(self) -> Vitals:
        """How the parts are. Asks the ledger at most once a second, however many ask, and for 2 s at most."""
        return Vitals(
            gateway=_condition(self._gateway.is_ready() and self._gateway.ws is not None and self._gateway.ws.open),
            worker=_condition(all(dispatcher.worker_ready for dispatcher in self._parts.dispatchers)),
            backlog=await self._backlog.get())

    async def _healthz(self, request: web.Request) -> web.Response:
        now = await self.vitals()
        return web.json_response(
            {"fit": now.fit, "gateway": now.gateway, "worker": now.worker, "ledger": now.ledger},
            status=200 if now.fit else 503)

    async def _exposed(self, request: web.Request) -> web.Response:
        text = self._parts.metrics.exposition(await self.vitals())
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})

    def _explained(self, error: OSError) -> HealthError:
        if error.errno == errno.EADDRINUSE:
            reason = "another program listens there"
        elif error.errno == errno.EACCES:
            reason = "only an administrator may use that port"
        else:
            reason = error.strerror or str(error)
        return HealthError(
            f"health cannot be offered at {self._host}, port {self._port}: {reason}; "
            "let KAPELLE_HEALTH_PORT name another port (0: none), or correct KAPELLE_HEALTH_HOST")


def _condition(ready: bool) -> Condition:
    return Condition.READY if ready else Condition.GONE
