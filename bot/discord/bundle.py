"""Files as one ZIP archive, no larger than a guild takes: those of a job, and those that a member attached."""

from __future__ import annotations

import asyncio
import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bot.discord.posts import file_stem

if TYPE_CHECKING:
    from bot.jobs.records import Job
    from bot.takes.spool import Spool

_SMALLEST_FIRST = ("midi", "roll", "wave", "sound", "video")
_OVERHEAD = 4096  # bytes of the request beside the archive
_OVERHEAD_EACH = 512  # bytes of the archive for one file, generously


@dataclass(frozen=True)
class Bundle:
    name: str
    contents: bytes
    left_out: int  # files that did not fit


async def bundle(job: Job, spool: Spool, limit: int) -> Bundle | None:
    """The files of all takes that are still there, MIDI first, in at most `limit` bytes; None when there are none."""
    stem = f"{file_stem(job)}-{job.id}"
    wanted = [(job.id, name, f"{stem}-take-{take.number}.{name.rpartition('.')[2]}")
              for kind in _SMALLEST_FIRST for take in job.takes if (name := take.files.get(kind))]
    chosen, left_out = await _chosen(wanted, spool, limit - _OVERHEAD)
    return Bundle(f"{stem}.zip", await asyncio.to_thread(_archive, chosen), left_out) if chosen else None


async def with_attached(name: str, said: bytes, jobs: Sequence[Job], spool: Spool, limit: int) -> Bundle:
    """A file with what is kept about a member; where they attached files, an archive of it and those, the newest first."""
    wanted = [(job.id, file, f"{job.id}-{what}") for job in reversed(jobs) for what, file in sorted(job.inputs.items())]
    chosen, left_out = await _chosen(wanted, spool, limit - _OVERHEAD - len(said) - _OVERHEAD_EACH)
    if not chosen:
        return Bundle(name, said, left_out)
    return Bundle(f"{name.partition('.')[0]}.zip", await asyncio.to_thread(_archive, {name: said, **chosen}), left_out)


async def _chosen(wanted: Sequence[tuple[int, str, str]], spool: Spool, room: int) -> tuple[dict[str, bytes], int]:
    """As many files as there is room for, by their names in the archive, and how many there is none for.

    `wanted`: job, name in the spool, name in the archive. Those that are gone are left out.
    """
    chosen: dict[str, bytes] = {}
    left_out = 0
    for job_id, name, shown in wanted:
        try:
            contents = await spool.read(job_id, name)
        except FileNotFoundError:
            continue
        size = len(contents) + _OVERHEAD_EACH
        if size > room:
            left_out += 1
            continue
        room -= size
        chosen[shown] = contents
    return chosen, left_out


def _archive(files: dict[str, bytes]) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as opened:  # sound and pictures are compressed already
        for name, contents in files.items():
            opened.writestr(name, contents)
    return archive.getvalue()
