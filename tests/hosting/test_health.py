"""Health over HTTP as a watcher sees it, and what is counted."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from bot.hosting.health import HealthError, HealthServer, LoopLag, Metrics
from bot.jobs.records import Job, JobState
from bot.settings import Settings

Get = Callable[[str], Awaitable[tuple[int, str]]]
PATIENCE_S = 60.0  # a busy machine is not a bug


@dataclass
class Socket:
    open: bool = True


@dataclass
class Gateway:
    """Says of itself what discord.py's client says."""

    ws: Socket | None = field(default_factory=Socket)
    ready: bool = True

    def is_ready(self) -> bool:
        return self.ready


@dataclass
class Dispatcher:
    worker_ready: bool = True


@dataclass
class Ledger:
    """Answers as the ledger does, and counts how often it is asked."""

    queued: int = 0
    oldest_s: float = 0.0
    error: Exception | None = None
    wait_s: float = 0.0
    asked: int = 0

    async def count(self, *states: JobState) -> int:
        self.asked += 1
        await asyncio.sleep(self.wait_s)
        if self.error:
            raise self.error
        return self.queued if JobState.QUEUED in states else len(states)

    async def jobs(self, *states: JobState, limit: int | None = None) -> list[Job]:
        assert (states, limit) == ((JobState.QUEUED,), 1)
        return [Job(
            id=1, guild_id=1, channel_id=1, thread_id=None, owner_id=1, language="en", kind="midi", engine="pocket",
            parameters={}, priority=0, parent_id=None, state=JobState.QUEUED, attempt=0, strikes=0.0, alone=False,
            failure=None, outcome={}, card_id=None, created_at=datetime.now(UTC) - timedelta(seconds=self.oldest_s),
            started_at=None, ended_at=None)]


@dataclass
class Bot:
    gateway: Gateway = field(default_factory=Gateway)
    dispatchers: list[Dispatcher] = field(default_factory=lambda: [Dispatcher(), Dispatcher()])
    ledger: Ledger = field(default_factory=Ledger)
    metrics: Metrics = field(default_factory=Metrics)


@pytest.fixture
def bot() -> Bot:
    return Bot()


@pytest.fixture
def port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        return int(free.getsockname()[1])


def settings(port: int, host: str = "127.0.0.1") -> Settings:
    return Settings(_env_file=None, health_port=port, health_host=host)  # type: ignore[call-arg]


@pytest.fixture
async def get(bot: Bot, port: int) -> AsyncIterator[Get]:
    server = HealthServer(settings(port), bot, bot.gateway)
    await server.start()
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:

        async def ask(path: str) -> tuple[int, str]:
            async with session.get(path) as response:
                return response.status, await response.text()

        yield ask
    await server.stop()


def sample(text: str, name: str, **labels: str) -> float:
    """The value of one sample. KeyError where it is not among them."""
    for family in text_string_to_metric_families(text):
        for one in family.samples:
            if one.name == name and one.labels == labels:
                return float(one.value)
    raise KeyError(f"{name} {labels} is not in:\n{text}")


async def test_a_fit_bot_says_so(get: Get) -> None:
    status, text = await get("/healthz")
    assert (status, text) == (200, '{"fit": true, "gateway": "ready", "worker": "ready", "ledger": "ready"}')


@pytest.mark.parametrize(("part", "change"), [
    ("gateway", lambda bot: setattr(bot.gateway, "ready", False)),
    ("gateway", lambda bot: setattr(bot.gateway, "ws", None)),
    ("gateway", lambda bot: setattr(bot.gateway, "ws", Socket(open=False))),  # where the library still says it is ready
    ("worker", lambda bot: setattr(bot.dispatchers[1], "worker_ready", False)),
    ("ledger", lambda bot: setattr(bot.ledger, "error", RuntimeError("locked"))),
])
async def test_a_part_that_is_gone_makes_it_unfit(bot: Bot, get: Get, part: str, change: Callable[[Bot], None]) -> None:
    change(bot)
    status, text = await get("/healthz")
    assert status == 503
    assert '"fit": false' in text
    assert text.count('"gone"') == 1
    assert f'"{part}": "gone"' in text
    metrics = (await get("/metrics"))[1]
    assert sample(metrics, f"kapelle_{part}", **{f"kapelle_{part}": "gone"}) == 1
    assert sample(metrics, f"kapelle_{part}", **{f"kapelle_{part}": "ready"}) == 0


async def test_a_ledger_that_hangs_is_not_waited_for(
    bot: Bot, get: Get, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bot.hosting.health._LEDGER_PATIENCE_S", 0.1)
    monkeypatch.setattr("bot.hosting.health._KEPT_S", PATIENCE_S)
    bot.ledger.wait_s = 10 * PATIENCE_S
    async with asyncio.timeout(PATIENCE_S):
        answers = await asyncio.gather(*(get("/healthz") for _ in range(5)), get("/metrics"))
    assert [status for status, _ in answers] == [503] * 5 + [200]
    assert bot.ledger.asked == 1
    queue = sample(answers[-1][1], "kapelle_queue_length")
    assert queue != queue  # not a number: nobody knows
    with pytest.raises(KeyError):
        sample(answers[-1][1], "kapelle_jobs", state="queued")


async def test_many_who_ask_cost_one_reading_of_the_ledger(
        bot: Bot, get: Get, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.hosting.health._KEPT_S", PATIENCE_S)
    for _ in range(10):
        await asyncio.gather(get("/metrics"), get("/healthz"))
    live = [state for state in JobState if not state.over]
    assert bot.ledger.asked == len(live)


async def test_what_waits_is_told(bot: Bot, get: Get) -> None:
    bot.ledger.queued, bot.ledger.oldest_s = 12, 90.0
    began = time.monotonic()
    text = (await get("/metrics"))[1]
    assert sample(text, "kapelle_queue_length") == 12
    assert 90 <= sample(text, "kapelle_queue_oldest_seconds") <= 90 + time.monotonic() - began
    assert sample(text, "kapelle_jobs", state="queued") == 12
    assert sample(text, "kapelle_jobs", state="rendering") == 1


async def test_an_empty_queue_has_no_oldest_job(bot: Bot, get: Get) -> None:
    bot.ledger.oldest_s = 90.0
    assert sample((await get("/metrics"))[1], "kapelle_queue_oldest_seconds") == 0


async def test_what_is_counted_is_told(bot: Bot, get: Get) -> None:
    for seconds in (0.02, 0.25, 4.0):
        bot.metrics.acknowledged(seconds)
    bot.metrics.decoded("pocket", 300, 2.0)
    bot.metrics.decoded("pocket", 100, 0.0)  # a clock that stood still is no speed
    for seconds in (-0.5, 0.5, 20.0):  # clocks are set back
        bot.metrics.waited("pocket", seconds)
    for what in ("take", "take", "card"):
        bot.metrics.retried(what)
    bot.metrics.job("done")
    bot.metrics.event("worker died")
    text = (await get("/metrics"))[1]
    assert sample(text, "kapelle_acknowledgement_seconds_bucket", le="0.3") == 2
    assert sample(text, "kapelle_acknowledgement_seconds_count") == 3
    assert sample(text, "kapelle_decoded_ids_total", engine="pocket") == 400
    assert sample(text, "kapelle_decode_speed_ids_per_second_sum", engine="pocket") == 150
    assert sample(text, "kapelle_decode_speed_ids_per_second_count", engine="pocket") == 1
    assert sample(text, "kapelle_queue_wait_seconds_bucket", engine="pocket", le="1.0") == 2
    assert sample(text, "kapelle_queue_wait_seconds_sum", engine="pocket") == 20.5
    assert sample(text, "kapelle_delivery_retries_total", what="take") == 2
    assert sample(text, "kapelle_jobs_entered_total", state="done") == 1
    assert sample(text, "kapelle_events_total", kind="worker died") == 1


async def test_two_bots_in_one_process_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.job("done")
    assert one.registry.get_sample_value("kapelle_jobs_entered_total", {"state": "done"}) == 1
    assert other.registry.get_sample_value("kapelle_jobs_entered_total", {"state": "done"}) is None


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():
            await asyncio.sleep(0.01)


async def test_a_held_up_event_loop_shows(bot: Bot, get: Get) -> None:
    def count() -> float:
        return bot.metrics.registry.get_sample_value("kapelle_event_loop_lag_seconds_count") or 0

    await until(count)
    quiet = count()
    time.sleep(0.3)
    await until(lambda: count() > quiet)
    text = (await get("/metrics"))[1]
    assert sample(text, "kapelle_event_loop_lag_worst_seconds") > 0.2
    assert sample(text, "kapelle_event_loop_lag_p99_seconds") > 0.2  # of the few samples there are
    assert sample(text, "kapelle_event_loop_lag_seconds_bucket", le="0.1") \
        < sample(text, "kapelle_event_loop_lag_seconds_count")


class Sleeper:
    """Time that passes only as the lag's sleeps take it: 50 ms, and what they are late."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, late: Sequence[float]) -> None:
        self.now = 1000.0
        self._late = iter(late)
        monkeypatch.setattr("bot.hosting.health.time", SimpleNamespace(monotonic=lambda: self.now))
        monkeypatch.setattr("bot.hosting.health.asyncio", SimpleNamespace(sleep=self._sleep))

    async def _sleep(self, seconds: float) -> None:
        if (late := next(self._late, None)) is None:
            raise asyncio.CancelledError
        self.now += seconds + late


async def lag_after(monkeypatch: pytest.MonkeyPatch, late: Sequence[float]) -> tuple[LoopLag, list[float], Sleeper]:
    seen: list[float] = []
    lag, sleeper = LoopLag(seen.append), Sleeper(monkeypatch, late)
    with pytest.raises(asyncio.CancelledError):
        await lag.run()
    return lag, seen, sleeper


async def test_lag_is_forgotten_after_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    lag, seen, sleeper = await lag_after(monkeypatch, [0.2, 0.0])
    assert seen == pytest.approx([0.2, 0.0], abs=1e-6)
    assert lag.worst_s() == pytest.approx(0.2)
    sleeper.now += 61
    assert lag.worst_s() == lag.p99_s() == 0.0


async def test_the_99th_percentile_is_of_the_time_and_not_of_the_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three of 800 samples, but 1.65 s of 41.5 s."""
    lag, _, _ = await lag_after(monkeypatch, [0.0] * 400 + [0.5] * 3 + [0.0] * 397)
    assert lag.p99_s() == pytest.approx(0.5)
    lag, _, _ = await lag_after(monkeypatch, [0.001] * 400 + [0.3] + [0.0] * 399)  # 0.35 s of 40.7 s
    assert lag.p99_s() == pytest.approx(0.001)


async def test_port_zero_listens_nowhere_and_measures_all_the_same(bot: Bot) -> None:
    server = HealthServer(settings(0), bot, bot.gateway)
    await server.start()
    await until(lambda: bot.metrics.registry.get_sample_value("kapelle_event_loop_lag_seconds_count"))
    await server.stop()


async def test_a_port_in_use_is_explained(bot: Bot, port: int) -> None:
    with closing(socket.create_server(("127.0.0.1", port))), \
            pytest.raises(HealthError, match=rf"port {port}: another program listens there.*KAPELLE_HEALTH_PORT"):
        await HealthServer(settings(port), bot, bot.gateway).start()


async def test_an_address_that_is_not_ours_is_explained(bot: Bot, port: int) -> None:
    with pytest.raises(HealthError, match=r"192\.0\.2\.1.*KAPELLE_HEALTH_HOST"):
        await HealthServer(settings(port, "192.0.2.1"), bot, bot.gateway).start()


async def test_after_a_stop_the_port_is_free_and_nothing_is_left_running(bot: Bot, port: int) -> None:
    server = HealthServer(settings(port), bot, bot.gateway)
    for _ in range(2):
        await server.start()
        await server.stop()
    await server.stop()
    assert [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []
    with closing(socket.create_server(("127.0.0.1", port))):
        pass


async def test_other_addresses_are_not_found_and_nothing_can_be_changed(get: Get, port: int) -> None:
    assert (await get("/"))[0] == 404
    async with aiohttp.ClientSession() as session, session.post(f"http://127.0.0.1:{port}/healthz") as response:
        assert response.status == 405
