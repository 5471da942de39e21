"""The server under load: how soon members are answered, how free the event loop stays, how soon a worker is back.

`python -m benchmarks.server` runs the real bot against a Discord on loopback on this machine and writes
benchmarks/RESULTS-server.md. `--chaos JOBS` adds a long run of kills and faults.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import re
import signal
import socket
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from benchmarks.machine import described
from bot.application import opened
from bot.jobs.records import JobState, Member, Place
from bot.settings import Settings
from tests.discord_double import DiscordDouble
from tests.engines.musicgen.building import write
from tests.rehearsal.bot_process import running_bot
from tests.server.chaos import Chaos

RESULTS = Path(__file__).parent / "RESULTS-server.md"
QUEUED, ASKED, MEMBERS = 200, 100, 20
ACKNOWLEDGED_S, LAG_S, BACK_S = 0.3, 0.05, 1.0  # what must be reached
PATIENCE_S = 300.0
Asked = tuple[str, Mapping[str, object]]  # a command and its options


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def lag(port: int) -> tuple[float, float]:
    """Of the last minute: what the lag was not above for 99 % of the time, and the longest; seconds."""
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as answer:
        text = await answer.text()
    p99, worst = (re.search(rf"^kapelle_event_loop_lag_{name}_seconds (\S+)$", text, re.MULTILINE) for name in ("p99", "worst"))
    assert p99
    assert worst
    return float(p99[1]), float(worst[1])


NOTES: Asked = ("midi", {"title": "Long", "tokens": 2048, "takes": 16})
SOUND: Asked = ("audio", {"prompt": "a long piece", "seconds": 120.0, "takes": 4, "video": True})


async def answers(folder: Path, jobs: Sequence[Asked]) -> tuple[list[float], tuple[float, float]]:
    """Seconds until 100 commands are acknowledged, with 200 jobs queued and the workers at full load; and the loop's lag.

    Sound is made by a tiny MusicGen with random weights.
    """
    port = free_port()
    write(folder / "data" / "musicgen-small")
    async with DiscordDouble(folder) as double, running_bot(
            double, folder / "data", max_jobs_at_once="50", max_jobs_a_day="1000", max_takes_a_day="20000",
            max_seconds="120", engines="pocket,musicgen-small", health_port=str(port)):
        members = [double.member(f"Member {number}") for number in range(MEMBERS)]
        for number in range(QUEUED):
            use = await members[number % MEMBERS].command(*jobs[number % len(jobs)])
            await use.answer(timeout_s=60)
        seconds = []
        for number in range(ASKED):
            use = await members[number % MEMBERS].command(
                *(("queue", {}) if number % 2 else jobs[number // 2 % len(jobs)]))
            seconds.append(use.acknowledged_after_s or 99.0)
            await asyncio.sleep(0.05)
        return seconds, await lag(port)


@dataclass(frozen=True)
class Back:
    """Seconds from `kill -9` of a worker until there is another and until it decodes; and how long that loaded its model."""

    ready_s: float
    decoding_s: float
    loading_s: float


async def back_again(folder: Path) -> Back:
    """The bot without Discord: ledger, dispatcher and worker. The job that was cut off is finished then."""
    loaded: list[float] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if found := re.fullmatch(r"loaded the engine \w+ in ([\d.]+) s", record.getMessage()):
                loaded.append(float(found[1]))

    log = logging.getLogger("kapelle.worker")
    log.setLevel(logging.INFO)
    log.addHandler(listener := Listener())
    settings = Settings(_env_file=None, data=folder, engines=("pocket",))  # type: ignore[call-arg]
    async with asyncio.timeout(PATIENCE_S), opened(settings) as application:
        (worker,), (dispatcher,) = application.workers, application.dispatchers
        asked = {"title": "Long", "tokens": 2048, "takes": 4}
        job_id = (await application.jobs.submit("midi", "pocket", asked, Member(1, 1), Place(1))).job.id

        def decoding(attempt: int) -> bool:
            progress = dispatcher.progress.get(job_id)
            return progress is not None and progress.attempt == attempt and progress.ids > 0

        while not decoding(1):
            await asyncio.sleep(0.001)
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)
        killed = time.monotonic()
        while dispatcher.worker_ready:
            await asyncio.sleep(0.001)
        while not dispatcher.worker_ready:
            await asyncio.sleep(0.001)
        ready_s = time.monotonic() - killed
        while not decoding(2):
            await asyncio.sleep(0.001)
        decoding_s = time.monotonic() - killed
        while (job := await application.ledger.job(job_id)) is None or job.state is not JobState.DELIVERING:
            await asyncio.sleep(0.1)
    log.removeHandler(listener)
    return Back(ready_s, decoding_s, loaded[-1])


def verdict(seconds: float, allowed_s: float) -> str:
    return f"{1000 * seconds:.0f} ms ({'reached' if seconds < allowed_s else 'NOT reached'}: under {1000 * allowed_s:.0f} ms)"


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the server under load.")
    parser.add_argument("--chaos", type=int, default=0, help="jobs of a long run of kills and faults")
    options = parser.parse_args()
    lines = [f"# The server under load\n\nMeasured on: {described()}; bot, worker and the Discord on loopback share it.\n"]
    for what, jobs in (("notes", (NOTES,)), ("notes and sound, each in a process of its own,", (NOTES, SOUND))):
        with tempfile.TemporaryDirectory() as folder:
            seconds, (lag_p99_s, lag_worst_s) = asyncio.run(answers(Path(folder), jobs))
        ordered = sorted(seconds)
        lines.append(
            f"While {what} are made at full load, with {QUEUED} jobs queued: acknowledgement of {ASKED} commands p99 "
            f"{verdict(ordered[int(0.99 * len(ordered)) - 1], ACKNOWLEDGED_S)}, median "
            f"{1000 * statistics.median(seconds):.0f} ms, longest {1000 * ordered[-1]:.0f} ms; event-loop lag in the last "
            f"minute of that, which some of the submitting falls into, p99 of the time {verdict(lag_p99_s, LAG_S)}, longest "
            f"{1000 * lag_worst_s:.0f} ms.\n")
    with tempfile.TemporaryDirectory() as folder:
        back = asyncio.run(back_again(Path(folder)))
    lines.append(
        f"After `kill -9` of the worker another one listens {1000 * back.ready_s:.0f} ms later, and decodes the same job "
        f"{1000 * back.decoding_s:.0f} ms after the kill, of which loading the model took {1000 * back.loading_s:.0f} ms. "
        f"Without that: {verdict(back.decoding_s - back.loading_s, BACK_S)}. (It is heard of with the first word about "
        "progress, up to a quarter of a second after decoding began.)\n")
    if options.chaos:
        with tempfile.TemporaryDirectory() as folder:
            outcome = asyncio.run(Chaos(Path(folder), seed=11, jobs=options.chaos).run())
        lines.append(
            f"Chaos: {options.chaos} jobs, {outcome.posted} takes posted once each, {outcome.seconds:.0f} s, "
            f"{sum(outcome.disturbances.values())} disturbances ({dict(outcome.disturbances)}); "
            f"wrong: {outcome.wrong or 'nothing'}.\n")
    text = "\n".join(lines)
    print(text)
    RESULTS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
