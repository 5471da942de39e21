"""Whose turn it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from bot.jobs.records import Job


def order(waiting: Sequence[Job], at_work: Sequence[Job]) -> list[Job]:
    """The waiting jobs in the order in which they are begun.

    A higher priority goes first; within one, members take turns: everyone's first job comes before anyone's
    second, jobs at work counted, and the oldest first in a round.
    """
    taken = Counter(job.owner_id for job in at_work)
    turns: list[tuple[int, int, int, Job]] = []
    for job in sorted(waiting, key=lambda job: (-job.priority, job.id)):
        taken[job.owner_id] += 1
        turns.append((-job.priority, taken[job.owner_id], job.id, job))
    return [job for *_, job in sorted(turns, key=lambda turn: turn[:3])]
