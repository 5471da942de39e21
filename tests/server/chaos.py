"""A class at work while everything around it fails: kills and faults at random, and nothing may be lost or come twice.

`python -m tests.server.chaos --jobs 60 --seed 1` runs it by hand; the test runs a few seeds, `make bench` a long one.
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
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests.discord_double import DiscordDouble, Message
from tests.discord_double.members import Member
from tests.rehearsal.bot_process import BotProcess

POSTING = ("rate_limited", "rate_limited_without_via", "bad_gateway", "unavailable", "reset_before", "reset_after", "slow")
GATEWAY = ("drop", "reconnect", "invalidate")
KILLS = ("kill worker", "kill bot")
STUDENTS = 12
TAKES = (1, 1, 2)


@dataclass
class Outcome:
    """What happened, and what is wrong with it; nothing may be in `wrong`."""

    asked: int = 0
    unanswered: int = 0  # interactions that a dead or cut off bot could not see; their students ask again
    posted: int = 0
    disturbances: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)


class Chaos:
    """One run. All that is drawn at random comes from `seed`; what meets what also depends on the clock."""

    def __init__(self, folder: Path, seed: int, jobs: int) -> None:
        self._folder, self._jobs = folder, jobs
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
                await double.connected(60)
                await double.commands_synced(60)
                quiet = asyncio.Event()
                disturbing = asyncio.create_task(self._disturb(double, bot, quiet))
                await self._ask(double)
                quiet.set()
                await disturbing  # raises what went wrong in it
                double.faults.clear()
                await self._settle(double, bot)
                self._judge(double, bot)
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
            while True:
                self.outcome.asked += 1
                try:
                    use = await student.command("midi", options)
                    await use.answer(timeout_s=10)
                    break
                except TimeoutError:
                    self.outcome.unanswered += 1
                    await asyncio.sleep(5)  # a job that was taken although its answer was lost gets its thread meanwhile
                    if self._known(double, seed):
                        break
            self._expected[seed] = takes
            await asyncio.sleep(self._random.uniform(0, 8))

    def _known(self, double: DiscordDouble, seed: int) -> bool:
        return any(f"Piece {seed}" in thread.name for thread in double.threads())

    async def _disturb(self, double: DiscordDouble, bot: BotProcess, quiet: asyncio.Event) -> None:
        while not quiet.is_set():
            await asyncio.sleep(self._random.uniform(0.5, 2.5))
            if not bot.alive:
                raise RuntimeError(f"the bot ended by itself: {bot.log.read_text(errors='replace')[-2000:]}")
            what = self._random.choice((*POSTING, *GATEWAY, *2 * KILLS))
            self.outcome.disturbances[what] += 1
            match what:
                case "kill worker":
                    for pid in children(bot.pid):
                        os.kill(pid, signal.SIGKILL)
                case "kill bot":
                    bot.kill()
                    if (code := await bot.wait()) != -signal.SIGKILL:
                        raise RuntimeError(f"the bot ended by itself, with exit code {code}")
                    await double.disconnected(10)
                    await bot.start()
                    await double.connected(60)
                case "drop":
                    double.faults.drop()
                case "reconnect":
                    double.faults.reconnect()
                case "invalidate":
                    double.faults.invalidate(resumable=self._random.random() < 0.5)
                case name:
                    double.faults.next(name, "*", "/channels/*", times=self._random.randint(1, 3), retry_after_s=0.3)

    async def _settle(self, double: DiscordDouble, bot: BotProcess) -> None:
        """Wait until every take of every accepted job is posted, or for ten quiet minutes."""
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline and not all(
                double.messages(thread.id) and double.messages(thread.id)[0].components for thread in double.threads()):
            await asyncio.sleep(0.5)  # cards get their buttons when all takes are posted
            if not bot.alive:
                self.outcome.wrong.append(f"the bot ended by itself: {bot.log.read_text(errors='replace')[-500:]}")
                return
        await asyncio.sleep(4)  # whatever would come twice

    def _judge(self, double: DiscordDouble, bot: BotProcess) -> None:
        wrong, posted = self.outcome.wrong, takes_posted(double)
        self.outcome.posted = sum(posted.values())
        wrong += [f"{name} was posted {count} times" for name, count in posted.items() if count > 1]
        # Who got no answer asked again, so a seed may have two jobs; each has all of its takes.
        by_job = Counter((seed, name.rpartition("-take-")[0]) for seed, name in posted)
        wrong += [f"{name}: {count} of {self._expected[seed]} takes" for (seed, name), count in by_job.items()
                  if count != self._expected[seed]]
        wrong += [f"no take of seed {seed}" for seed in self._expected if seed not in {one for one, _ in by_job}]
        cards = Counter(thread.name for thread in double.threads())
        wrong += [f"{count} threads named {name}" for name, count in cards.items() if count > 1]
        wrong += [f"against the rules of Discord: {violation}" for violation in double.violations]
        if double.token in bot.log.read_text(errors="replace"):
            wrong.append("the token is in the log")


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
    parser.add_argument("--jobs", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="kapelle-chaos-") as folder:
        outcome = asyncio.run(Chaos(Path(folder), options.seed, options.jobs).run())
        if outcome.wrong:
            report(Path(folder, "data", "bot.log").read_text(errors="replace")[-5000:])
    report(json.dumps({"seed": options.seed, "jobs": options.jobs, "asked": outcome.asked, "unanswered": outcome.unanswered,
                       "posted": outcome.posted, "seconds": round(outcome.seconds, 1),
                       "disturbances": dict(outcome.disturbances), "wrong": outcome.wrong}, indent=2))
    return 1 if outcome.wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
