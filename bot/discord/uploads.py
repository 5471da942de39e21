"""Files that a job works on: those that members attach, and those of takes that are there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import aiohttp
import discord

from bot.jobs.refusals import Reason, Refusal
from models.errors import KapelleError
from models.sound.audio.limits import LARGEST_BYTES

if TYPE_CHECKING:
    from bot.jobs.records import Job
    from bot.takes.spool import Spool
    from bot.worker.inspection import Inspection

MOST_NOTES = 4096  # of a piece that is carried on


async def uploaded(attachments: Mapping[str, discord.Attachment | None], inspection: Inspection) -> dict[str, bytes]:
    """The contents of the sound files that were attached. What is too large is not fetched.

    Raises Refusal, for one that cannot be used too, before anybody hears of a job.
    """
    contents = {}
    for name, attachment in attachments.items():
        if attachment is None:
            continue
        if attachment.size > LARGEST_BYTES:
            raise Refusal(Reason.TOO_LARGE, limit=LARGEST_BYTES // 2**20)
        try:
            contents[name] = await attachment.read()
        except (discord.HTTPException, aiohttp.ClientError, TimeoutError) as error:
            raise Refusal(Reason.UNREADABLE) from error
        await inspection.look(name, contents[name])
    return contents


async def inputs_of(job: Job, spool: Spool) -> dict[str, bytes]:
    """The files that a job was given, for another one. Raises Refusal where they are gone."""
    return {name: await _read(job, spool, file) for name, file in job.inputs.items()}


async def file_of(job: Job, number: int, kind: str, spool: Spool) -> bytes:
    """A file of a take (midi, sound). Raises Refusal where it is gone, or was never there."""
    take = next((take for take in job.takes if take.number == number), None)
    if take is None or kind not in take.files:
        raise Refusal(Reason.NO_TAKE, number=f"{job.id}.{number}")
    return await _read(job, spool, take.files[kind])


async def carried_on(job: Job, number: int, spool: Spool) -> dict[str, bytes]:
    """A take as what another job carries on. Raises Refusal."""
    if job.kind == "midi":
        if any(take.number == number and take.notes > MOST_NOTES for take in job.takes):
            raise Refusal(Reason.INVALID, text=f"a piece of more than {MOST_NOTES} notes cannot be carried on")
        return {"continuation": await file_of(job, number, "midi", spool)}
    return {"continuation": await file_of(job, number, "sound", spool)}


async def _read(job: Job, spool: Spool, name: str) -> bytes:
    try:
        return await spool.read(job.id, name)
    except (OSError, KapelleError) as error:
        raise Refusal(Reason.NO_TAKE, number=job.id) from error
