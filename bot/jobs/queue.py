"""Whose turn it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import groupby

from bot.jobs.records import Job


def order(waiting: Sequence[Job], begun: Mapping[int, datetime]) -> list[Job]:
    """The waiting jobs in the order in which they are begun.

    A higher priority goes first; within one, members take turns: next is whoever's last job was begun longest ago.
    So while a job waits as the next one of its member, nobody else has two begun. `begun` says when the last one of a
    member was; those who are not in it go first, in the order in which they asked.
    """
    latest_last = sorted(begun, key=lambda owner: (begun[owner], owner))
    served = {owner: place for place, owner in enumerate(latest_last, 1)}  # 0: not lately
    ordered: list[Job] = []
    by_priority = sorted(waiting, key=lambda job: (-job.priority, job.id))
    for _, alike in groupby(by_priority, key=lambda job: job.priority):
        rounds: Counter[int] = Counter()
        first: dict[int, int] = {}  # the first job of each member, which places those not served lately
        turns: list[tuple[int, int, int, Job]] = []
        for job in alike:
            rounds[job.owner_id] += 1
            first.setdefault(job.owner_id, job.id)
            turns.append((rounds[job.owner_id], served.get(job.owner_id, 0), first[job.owner_id], job))
        ordered += [job for *_, job in sorted(turns, key=lambda turn: turn[:3])]
        served |= {job.owner_id: len(begun) + place for place, job in enumerate(ordered, 1)}
    return ordered
