"""The server under load: how soon members are answered, how free the event loop stays, how soon a worker is back.

`python -m benchmarks.server` runs the real bot against a Discord on loopback on this machine and writes
benchmarks/RESULTS-server.md. `--chaos JOBS` adds a long run of kills and faults.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import signal
import socket
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import aiohttp

from benchmarks.machine import described
from tests.discord_double import DiscordDouble
from tests.rehearsal.bot_process import running_bot
from tests.server.asking import takes_of
from tests.server.chaos import Chaos, children

RESULTS = Path(__file__).parent / "RESULTS-server.md"
QUEUED, ASKED, MEMBERS = 200, 100, 20


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def quantile(buckets: Sequence[tuple[float, float]], share: float) -> float:
    """The upper bound of the bucket that a share of the counts lies in; buckets are (bound, count so far)."""
    total = buckets[-1][1]
    return next(bound for bound, count in buckets if count >= share * total)


async def lag_p99(port: int) -> float:
    """Seconds; the bound of the histogram's bucket, so the true value is at most this."""
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/metrics") as answer:
        text = await answer.text()
    found = re.findall(r'event_loop_lag_seconds_bucket\{le="([^"]+)"\} (\S+)', text)
    return quantile([(float(bound), float(count)) for bound, count in found], 0.99)


async def answers(folder: Path) -> tuple[list[float], float]:
    """Seconds until 100 commands are acknowledged, with 200 jobs queued and the worker at full load; and the loop's lag."""
    port = free_port()
    async with DiscordDouble(folder) as double, running_bot(
            double, folder / "data", max_jobs_at_once="50", max_jobs_a_day="1000", max_takes_a_day="20000",
            health_port=str(port)):
        members = [double.member(f"Member {number}") for number in range(MEMBERS)]
        for number in range(QUEUED):
            use = await members[number % MEMBERS].command(
                "midi", {"title": f"Long {number}", "tokens": 2048, "takes": 16})
            await use.answer(timeout_s=60)
        seconds = []
        for number in range(ASKED):
            use = await members[number % MEMBERS].command(
                *(("queue", {}) if number % 2 else ("midi", {"title": f"More {number}", "tokens": 2048, "takes": 16})))
            seconds.append(use.acknowledged_after_s or 99.0)
            await asyncio.sleep(0.05)
        return seconds, await lag_p99(port)


async def back_again(folder: Path) -> float:
    """Seconds from `kill -9` of a worker to the birth of another, which has its model to load; the job is then finished."""
    async with DiscordDouble(folder) as double, running_bot(double, folder / "data") as bot:
        anna = double.member("Anna")
        await (await anna.command("midi", {"title": "Warm", "tokens": 33, "takes": 1})).answer()
        await takes_of(double, "Warm", 1)
        await (await anna.command("midi", {"title": "Long", "tokens": 2048, "takes": 4})).answer()
        await asyncio.sleep(3)
        (worker,) = children(bot.pid)
        killed = time.monotonic()
        os.kill(worker, signal.SIGKILL)
        while children(bot.pid) in ([], [worker]):
            await asyncio.sleep(0.005)
        born = time.monotonic() - killed
        await takes_of(double, "Long", 4, timeout_s=300)
        return born


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the server under load.")
    parser.add_argument("--chaos", type=int, default=0, help="jobs of a long run of kills and faults")
    options = parser.parse_args()
    lines = [f"# The server under load\n\nMeasured on: {described()}; bot, worker and the Discord on loopback share it.\n"]
    with tempfile.TemporaryDirectory() as folder:
        seconds, lag_s = asyncio.run(answers(Path(folder)))
    ordered = sorted(seconds)
    lines.append(
        f"Acknowledgement with {QUEUED} jobs queued and the worker at full load, {ASKED} commands: median "
        f"{1000 * statistics.median(seconds):.0f} ms, p99 {1000 * ordered[int(0.99 * len(ordered)) - 1]:.0f} ms, "
        f"longest {1000 * ordered[-1]:.0f} ms. Event-loop lag, submitting all of them included: p99 at most "
        f"{1000 * lag_s:.0f} ms.\n")
    with tempfile.TemporaryDirectory() as folder:
        born = asyncio.run(back_again(Path(folder)))
    lines.append(f"After `kill -9` of the worker another one runs {1000 * born:.0f} ms later, and loads its model then.\n")
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
