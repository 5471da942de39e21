"""A class at work while everything around it fails: kills and faults at random, and nothing may be lost or come twice.

`python -m tests.server.chaos --jobs 200 --seed 5` runs it by hand, `--times 10` so often in a row; `make bench` has a long one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.discord_double import DiscordDouble, Message
from tests.discord_double.members import Member
from tests.rehearsal.bot_process import BotProcess
from tests.server.judging import Records, settled, wrong

REQUESTS = ("rate_limited", "rate_limited_without_via", "bad_gateway", "unavailable", "reset_before", "reset_after", "slow")
PATHS = ("/channels/*", "/channels/*", "/webhooks/*", "/interactions/*")  # what is posted, answers, acknowledgements
GATEWAY = ("drop", "reconnect", "invalidate", "refuse")
KILLS = ("kill worker", "kill bot")
STUDENTS = 12
TAKES = (1, 1, 2)
SEED, JOBS = 3, 60  # of the test
PATIENCE_S = 120.0  # with a bot that starts on a busy machine
ANSWER_S = 20.0  # a student asks again then
QUIET_S = 600.0  # without any change, and it has come to a stop


@dataclass
class Outcome:
    """What happened, and what is wrong with it; nothing may be in `wrong`."""

    asked: int = 0
    unanswered: int = 0  # uses that a dead or cut off bot could not see, or refused for it; their students ask again
    posted: int = 0
    disturbances: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)


class Chaos:
    """One run. All that is drawn at random comes from `seed`; what meets what also depends on the clock."""

    def __init__(self, folder: Path, seed: int, jobs: int) -> None:
        self._folder, self._jobs = folder, jobs
        self._records = Records(folder / "data")
        self._random = random.Random(seed)
        self._seed = seed
        self.outcome = Outcome()
        self._expected: dict[int, int] = {}  # seed of a job that was accepted -> takes

    async def run(self) -> Outcome:
        started = time.monotonic()
        async with DiscordDouble(self._folder) as double:
            bot = BotProcess(
                double, self._folder / "data", max_jobs_at_once="20", max_jobs_a_day="1000", max_takes_a_day="4000",
                threads="1")
            await bot.start()
            try:
                await double.connected(PATIENCE_S)
                await double.commands_synced(PATIENCE_S)
                quiet = asyncio.Event()
                disturbing = asyncio.create_task(self._disturb(double, bot, quiet))
                await self._ask(double)
                quiet.set()
                await disturbing  # raises what went wrong in it
                double.faults.clear()
                await self._settle(double, bot)
                self._judge(double, bot)
                self.outcome.posted = sum(takes_posted(double).values())
            finally:
                if bot.alive:
                    await bot.stop()
        self.outcome.seconds = time.monotonic() - started
        return self.outcome

    async def _ask(self, double: DiscordDouble) -> None:
        """All students at once, each one piece after the other; who gets no answer asks again."""
        shares = [range(first, self._jobs, STUDENTS) for first in range(STUDENTS)]
        await asyncio.gather(*(
            self._student(double, double.member(f"Student {number}"), numbers) for number, numbers in enumerate(shares)))

    async def _student(self, double: DiscordDouble, student: Member, numbers: Iterable[int]) -> None:
        for number in numbers:
            takes, seed = self._random.choice(TAKES), 1000 * self._seed + number
            options = {"title": f"Piece {seed}", "tokens": 33, "takes": takes, "seed": seed}
            while not await self._accepted(student, seed, options):
                self.outcome.unanswered += 1
            self._expected[seed] = takes
            await asyncio.sleep(self._random.uniform(0, 8))

    async def _accepted(self, student: Member, seed: int, options: Mapping[str, Any]) -> bool:
        """Whether the student knows that the job is accepted: it was said, or it is seen without that."""
        self.outcome.asked += 1
        use = await student.command("midi", options)
        try:
            if options["title"] in (await use.answer(timeout_s=ANSWER_S)).content:
                return True
        except TimeoutError:
            pass
        return bool(self._records.rows("SELECT 1 FROM jobs WHERE json_extract(parameters, '$.seed') = ?", seed))

    async def _disturb(self, double: DiscordDouble, bot: BotProcess, quiet: asyncio.Event) -> None:
        while not quiet.is_set():
            await asyncio.sleep(self._random.uniform(0.5, 2.5))
            if not bot.alive:
                raise RuntimeError(f"the bot ended by itself: {bot.log.read_text(errors='replace')[-2000:]}")
            what = self._random.choice((*REQUESTS, *GATEWAY, *2 * KILLS))
            if what == "kill worker" and self._struck():
                continue  # another one, and the bot would rightly take the job for what kills the worker
            self.outcome.disturbances[what] += 1
            match what:
                case "kill worker":
                    for pid in children(bot.pid):
                        os.kill(pid, signal.SIGKILL)
                case "kill bot":
                    bot.kill()
                    if (code := await bot.wait()) != -signal.SIGKILL:
                        raise RuntimeError(f"the bot ended by itself, with exit code {code}")
                    await double.disconnected(PATIENCE_S)
                    await bot.start()
                    await double.connected(PATIENCE_S)
                case "drop":
                    double.faults.drop()
                case "reconnect":
                    double.faults.reconnect()
                case "invalidate":
                    double.faults.invalidate(resumable=self._random.random() < 0.5)
                case "refuse":
                    double.faults.refuse_connections(self._random.uniform(1, 4))
                    double.faults.drop()
                case name:
                    path = self._random.choice(PATHS)
                    double.faults.next(name, "*", path, times=self._random.randint(1, 3), retry_after_s=0.3)

    def _struck(self) -> bool:
        """Whether a job has crashed alone twice."""
        return bool(self._records.rows("SELECT 1 FROM jobs WHERE strikes >= 2 AND state IN ('queued', 'running', 'rendering')"))

    async def _settle(self, double: DiscordDouble, bot: BotProcess) -> None:
        """Wait until all jobs are over and their cards say so; not while nothing at all changes for ten minutes."""
        seen, since = -1, time.monotonic()
        while not settled(double, self._records):
            await asyncio.sleep(0.5)
            if not bot.alive:
                self.outcome.wrong.append(f"the bot ended by itself: {bot.log.read_text(errors='replace')[-500:]}")
                return
            if (now := len(double.requests)) != seen:
                seen, since = now, time.monotonic()
            elif time.monotonic() - since > QUIET_S:
                self.outcome.wrong.append(f"nothing has happened for {QUIET_S:.0f} s")
                return
        await asyncio.sleep(4)  # whatever would come twice

    def _judge(self, double: DiscordDouble, bot: BotProcess) -> None:
        found = self.outcome.wrong
        found += wrong(double, self._records)
        # Who got no answer asked again, so a seed may have two jobs.
        asked = {job.seed: len(job.takes) for job in self._records.jobs()}
        found += [f"seed {seed} has {asked.get(seed)} of {takes} takes"
                  for seed, takes in self._expected.items() if asked.get(seed) != takes]
        found += [f"nobody asked for seed {seed}" for seed in asked.keys() - self._expected.keys()]
        if double.token in bot.log.read_text(errors="replace"):
            found.append("the token is in the log")


def takes_posted(double: DiscordDouble) -> Counter[tuple[int, str]]:
    """How often each take is in a thread, by the seed of its job and the name of its MIDI file."""
    found: Counter[tuple[int, str]] = Counter()
    for thread in double.threads():
        for message in double.messages(thread.id):
            for file in message.attachments:
                if file.filename.endswith(".mid"):
                    found[seed_of(message), file.filename] += 1
    return found


def seed_of(message: Message) -> int:
    """The seed in the block of parameters of a take's message."""
    _, _, behind = message.content.partition("seed:")
    return int("".join(character for character in behind.split()[0] if character.isdigit()))


def children(pid: int) -> list[int]:
    """Processes that a process has started and that still run."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]


def main(arguments: list[str], report: Callable[[str], None] = print) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=JOBS)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--times", type=int, default=1, help="runs in a row, up to the first in which something is wrong")
    options = parser.parse_args(arguments)
    for _ in range(options.times):
        with tempfile.TemporaryDirectory(prefix="kapelle-chaos-") as folder:
            outcome = asyncio.run(Chaos(Path(folder), options.seed, options.jobs).run())
            if outcome.wrong:
                report(Path(folder, "data", "bot.log").read_text(errors="replace")[-5000:])
        report(json.dumps({"seed": options.seed, "jobs": options.jobs, "asked": outcome.asked,
                           "unanswered": outcome.unanswered, "posted": outcome.posted, "seconds": round(outcome.seconds, 1),
                           "disturbances": dict(outcome.disturbances), "wrong": outcome.wrong}, indent=2))
        if outcome.wrong:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
