"""How long a job waits, from the speeds of jobs before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import quantiles

from bot.jobs.records import Estimate, Job, JobState, TakeState

LEAST_DATA = 3  # jobs of an engine, before anything is said


def estimate(ahead: Sequence[Job], job: Job, speeds: Mapping[str, Sequence[float]], jobs_at_once: int) -> Estimate | None:
    """When `job` is begun, counted from now, if those `ahead` (at work, then waiting, in their order) go first.

    `speeds` are ids a second by engine, of whole jobs. None where an engine concerned has fewer than three of them.

    It assumes that `jobs_at_once` jobs go beside each other, each as fast as jobs have gone so far, the fastest and
    slowest tenth left out, and that nobody with a higher priority comes, nobody cancels and nothing crashes.
    The least also assumes that jobs at work are about to end, and that pieces which may end early do.
    """
    if any(len(speeds.get(one.engine, ())) < LEAST_DATA for one in (*ahead, job)):
        return None
    fast, slow = {}, {}
    for engine in {one.engine for one in ahead}:
        tenths = quantiles(speeds[engine], n=10, method="inclusive")
        fast[engine], slow[engine] = tenths[-1], tenths[0]
    least = _begun_after(job, jobs_at_once, [
        (one, 0.0 if one.state.at_work or one.parameters.get("stop_at_end") else _ids(one) / fast[one.engine])
        for one in ahead])
    most = _begun_after(job, jobs_at_once, [
        (one, 0.0 if one.state is JobState.RENDERING else _ids(one) / slow[one.engine]) for one in ahead])
    return Estimate(least, most)


def _ids(job: Job) -> int:
    """At most so many are still to be made."""
    takes = sum(take.state is TakeState.PENDING for take in job.takes) if job.takes else int(job.parameters["takes"])
    return takes * job.length


def _begun_after(job: Job, jobs_at_once: int, ahead: Sequence[tuple[Job, float]]) -> float:
    """Seconds until there is a place for `job`. One that is tried alone needs all places."""
    free_at = [0.0] * jobs_at_once
    for one, seconds in ahead:
        if one.alone:
            free_at = [max(free_at) + seconds] * jobs_at_once
        else:
            free_at[free_at.index(min(free_at))] += seconds
    return max(free_at) if job.alone else min(free_at)
