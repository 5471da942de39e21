"""All files of a job as one ZIP archive, no larger than a guild takes."""

from __future__ import annotations

import asyncio
import io
import zipfile
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
    files = [(take.number, take.files[kind])
             for kind in _SMALLEST_FIRST for take in job.takes if kind in take.files]
    chosen: dict[str, bytes] = {}
    room = limit - _OVERHEAD
    left_out = 0
    for number, name in files:
        try:
            contents = await spool.read(job.id, name)
        except FileNotFoundError:
            continue
        size = len(contents) + _OVERHEAD_EACH
        if size > room:
            left_out += 1
            continue
        room -= size
        chosen[f"{stem}-take-{number}.{name.rpartition('.')[2]}"] = contents
    if not chosen:
        return None
    return Bundle(f"{stem}.zip", await asyncio.to_thread(_archive, chosen), left_out)


def _archive(files: dict[str, bytes]) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as opened:  # sound and pictures are compressed already
        for name, contents in files.items():
            opened.writestr(name, contents)
    return archive.getvalue()
