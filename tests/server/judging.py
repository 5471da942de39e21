"""The ledger of a bot that runs, read beside it, and held against what its class got to see."""

from __future__ import annotations

import json
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from tests.discord_double import DiscordDouble, Message

_CARD = re.compile(r" · #(?P<job>\d+) · ")
_TAKE = re.compile(r"-(?P<job>\d+)-take-(?P<take>\d+)\.\w+")


@dataclass(frozen=True)
class Written:
    """A job as it is in the ledger."""

    id: int
    owner_id: int
    name: str
    seed: int
    state: str
    thread_id: int | None
    card_id: int | None
    charged: bool
    takes: dict[int, tuple[str, int | None]]  # number -> state and message


class Records:
    """Reads a SQLite ledger without ever writing to it, also while no bot has it open."""

    def __init__(self, data: Path) -> None:
        self._path = data / "ledger.sqlite"

    def rows(self, query: str, *values: object) -> list[Any]:
        with closing(sqlite3.connect(f"file:{self._path}?mode=ro", uri=True, timeout=30)) as connection:
            return connection.execute(query, values).fetchall()

    def state(self, name: str) -> str | None:
        """Of the newest job of a title."""
        found = self.rows("SELECT state FROM jobs WHERE json_extract(parameters, '$.title') = ? ORDER BY id DESC", name)
        return found[0][0] if found else None

    def jobs(self) -> list[Written]:
        takes: dict[int, dict[int, tuple[str, int | None]]] = {}
        for job_id, number, state, message_id in self.rows("SELECT job_id, number, state, message_id FROM takes"):
            takes.setdefault(job_id, {})[number] = (state, message_id)
        return [
            Written(job_id, owner_id, (asked := json.loads(parameters))["title"], asked["seed"], state, thread_id, card_id,
                    charged_on is not None, takes.get(job_id, {}))
            for job_id, owner_id, parameters, state, thread_id, card_id, charged_on in self.rows(
                "SELECT id, owner_id, parameters, state, thread_id, card_id, charged_on FROM jobs ORDER BY id")]

    def all_over(self) -> bool:
        return not self.rows("SELECT 1 FROM jobs WHERE state NOT IN ('done', 'failed', 'cancelled') LIMIT 1")


def wrong(double: DiscordDouble, records: Records) -> list[str]:
    """What is not as it should be once all jobs are done: each take posted once, one card, one thread, quota as it was used."""
    jobs = records.jobs()
    return [*_states(jobs), *_posts(double, jobs), *_cards(double, jobs), *_threads(double), *_quota(records, jobs),
            *(f"against the rules of Discord: {violation}" for violation in double.violations)]


def settled(double: DiscordDouble, records: Records) -> bool:
    """Whether all jobs are over, and those that are done have a card that says so."""
    if not records.all_over():
        return False
    saying = {message.id for message in _everything(double) if message.components}
    return all(job.card_id in saying for job in records.jobs() if job.state == "done")


def _states(jobs: list[Written]) -> Iterator[str]:
    for job in jobs:
        if job.state != "done":
            yield f"job {job.id} is {job.state}"
        for number, (state, message_id) in job.takes.items():
            if state != "posted" or message_id is None:
                yield f"take {number} of job {job.id} is {state}"


def _posts(double: DiscordDouble, jobs: list[Written]) -> Iterator[str]:
    where: dict[tuple[int, int], list[Message]] = {}
    for message in _everything(double):
        for key in {(int(found["job"]), int(found["take"])) for file in message.attachments
                    if (found := _TAKE.search(PurePath(file.filename).name))}:
            where.setdefault(key, []).append(message)
    expected = {(job.id, number): (job.thread_id, message_id)
                for job in jobs for number, (_, message_id) in job.takes.items()}
    for key in where.keys() | expected.keys():
        job_id, number = key
        posted = where.get(key, [])
        if len(posted) != 1:
            yield f"take {number} of job {job_id} was posted {len(posted)} times"
        elif expected.get(key) != (posted[0].channel_id, posted[0].id):
            yield f"take {number} of job {job_id} is not where the ledger has it"


def _cards(double: DiscordDouble, jobs: list[Written]) -> Iterator[str]:
    where: dict[int, list[Message]] = {}
    for message in _everything(double):
        if not message.attachments and (found := _CARD.search(message.content.partition("\n")[0])):
            where.setdefault(int(found["job"]), []).append(message)
    for job in jobs:
        cards = where.get(job.id, [])
        if [card.id for card in cards] != [job.card_id]:
            yield f"job {job.id} has {len(cards)} cards"
        elif job.state == "done" and not cards[0].components:
            yield f"the card of job {job.id} does not say that it is done: {cards[0].content}"


def _threads(double: DiscordDouble) -> Iterator[str]:
    for name, count in Counter(thread.name for thread in double.threads()).items():
        if count > 1:
            yield f"{count} threads are named {name}"


def _quota(records: Records, jobs: list[Written]) -> Iterator[str]:
    used = {user: (count, takes) for user, count, takes in records.rows(
        "SELECT user_id, sum(jobs), sum(takes) FROM quota_use GROUP BY user_id")}
    for owner_id in {job.owner_id for job in jobs} | used.keys():
        charged = [job for job in jobs if job.owner_id == owner_id and job.charged]
        expected = len(charged), sum(len(job.takes) for job in charged)
        if used.get(owner_id, (0, 0)) != expected:
            yield f"member {owner_id} used {expected} of their quota, but the ledger has {used.get(owner_id)}"
    for job in jobs:
        if job.state == "done" and not job.charged:
            yield f"job {job.id} is done and was not charged"


def _everything(double: DiscordDouble) -> Iterator[Message]:
    for thread in double.threads():
        yield from double.messages(thread.id)
