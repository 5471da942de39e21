"""The files of takes on their way from the worker to Discord: a folder for each job, kept until the job is deleted.

A take is in the spool once its manifest, `take-<number>.json`, is there. The manifest is written last, so a
take whose making was cut short at any moment counts as not made.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import secrets
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import aiofiles

from models.errors import InputError
from models.whole_file import whole_file

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9]+)?", re.ASCII)
_LONGEST_NAME = 64
_MANIFEST = re.compile(r"take-([1-9][0-9]?)\.json", re.ASCII)
INPUT = "input-"  # in front of the names of files that a job works on
_REMOVED, _KEPT = ".removed-", "kept-"
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Made:
    """A take's files are in the spool, whole and on the disk; an empty take has none."""

    job: int
    attempt: int
    number: int
    files: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    notes: int = 0
    ids: int = 0


class Spool:
    """The folders of jobs below one folder. What is async is for the bot, what is not for the worker."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def folder(self, job_id: int) -> Path:
        """Where the files of a job are, or will be."""
        return self._folder / f"{job_id:d}"

    async def made(self, job_id: int) -> list[Made]:
        """The takes that are whole, in the order of their numbers; their attempt is 0."""
        return await asyncio.to_thread(self._made, job_id)

    async def read(self, job_id: int, name: str) -> bytes:
        """What a file of a job holds. Raises InputError for a name that is none of ours, OSError where it is not there."""
        async with aiofiles.open(self.folder(job_id) / checked(name), "rb") as file:
            return await file.read()

    async def keep_file(self, job_id: int, name: str, contents: bytes) -> None:
        """Write a file that a job works on; it is there whole or not at all. Raises OSError."""
        folder = self.folder(job_id)
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        draft = folder / f".{checked(name)}.part"
        async with aiofiles.open(draft, "wb") as file:
            await file.write(contents)
            await file.flush()
            await asyncio.to_thread(os.fsync, file.fileno())
        await asyncio.to_thread(os.replace, draft, folder / name)
        await asyncio.to_thread(_settle, folder)

    async def waits_for_a_job(self, job_id: int) -> bool:
        """Whether a folder holds nothing but files that a job was to work on."""
        names = await asyncio.to_thread(os.listdir, self.folder(job_id))
        return all(name.lstrip(".").startswith(INPUT) for name in names)

    async def jobs(self) -> list[int]:
        """Jobs that have a folder."""
        names = await asyncio.to_thread(lambda: os.listdir(self._folder) if self._folder.exists() else [])
        return sorted(int(name) for name in names if name.isascii() and name.isdigit())

    async def remove(self, job_id: int) -> None:
        """Delete all files of a job, also while a worker writes to them. Raises OSError."""
        await asyncio.to_thread(self._remove, job_id)

    async def set_aside(self, job_id: int) -> None:
        """Keep the files of a job under another name, where no job of that number finds them. Raises OSError."""
        kept = f"{_KEPT}{job_id:d}-{secrets.token_hex(4)}"
        await asyncio.to_thread(os.replace, self.folder(job_id), self._folder / kept)
        _LOG.warning("the takes of job %d belong to another ledger; they are kept in %s", job_id, kept)

    def free_bytes(self) -> int:
        """Free disk space where the spool is, or will be. Raises OSError."""
        existing = self._folder.absolute()
        while not existing.exists():
            existing = existing.parent
        return shutil.disk_usage(existing).free

    def open(self, name: str) -> Path:
        """The folder of that name, made where it is missing, without what a killed worker left half written.

        Raises InputError for a name that is none of ours, OSError.
        """
        folder = self._folder / checked(name)
        folder.mkdir(parents=True, exist_ok=True)
        for draft in folder.glob(".*.part"):  # of one file, or a folder of several
            with suppress(OSError):
                draft.unlink() if draft.is_file() else shutil.rmtree(draft)
        _settle(self._folder)
        return folder

    def inputs(self, name: str, files: Mapping[str, str]) -> dict[str, Path]:
        """Where the files are that a job works on. Raises InputError for a name that is none of ours."""
        return {what: self._folder / checked(name) / checked(file) for what, file in files.items()}

    def keep(self, folder: Path, made: Made, plan: Mapping[str, Any] | None = None) -> None:
        """Write the manifest of a take whose files are in the folder; from then on it is made, even if power fails.

        `plan`: of its form, JSON, for whoever reads it there. Raises RenderingError, OSError.
        """
        _settle(folder)  # the files' names, before anything says that they are there
        with whole_file(folder / f"take-{made.number}.json") as draft:
            draft.write_text(json.dumps(asdict(made) | ({"plan": plan} if plan else {})), encoding="utf-8")
        _settle(folder)

    def _made(self, job_id: int) -> list[Made]:
        folder = self.folder(job_id)
        try:
            names = sorted(os.listdir(folder))
        except FileNotFoundError:
            return []
        found = []
        for match in filter(None, map(_MANIFEST.fullmatch, names)):
            try:
                found.append(_read_manifest(folder, match[0], job_id, int(match[1])))
            except (ValueError, KeyError, TypeError, AttributeError, OSError, InputError):
                _LOG.warning("take %s of job %d is not whole in the spool and will be made again", match[1], job_id)
        return sorted(found, key=lambda made: made.number)

    def _remove(self, job_id: int) -> None:
        with suppress(FileNotFoundError):  # whoever writes to it at the moment does not find it any more
            self.folder(job_id).rename(self._folder / f"{_REMOVED}{job_id:d}-{secrets.token_hex(4)}")
        for removed in self._folder.glob(f"{_REMOVED}*"):  # and those that a killed bot had begun with
            with suppress(FileNotFoundError):
                shutil.rmtree(removed)


def checked(name: str) -> str:
    """A name of a file or folder that leads nowhere else. Raises InputError for any other."""
    if len(name) > _LONGEST_NAME or not _NAME.fullmatch(name):
        raise InputError("there is no file of that name in the spool")
    return name


def _read_manifest(folder: Path, manifest: str, job_id: int, number: int) -> Made:
    fields = json.loads((folder / manifest).read_text(encoding="utf-8"))
    files = {str(what): checked(name) for what, name in fields["files"].items()}
    if (fields["job"], fields["number"]) != (job_id, number):
        raise ValueError("the manifest of another take")
    for name in files.values():
        if not (folder / name).stat().st_size:
            raise ValueError(f"{name} is empty")
    return Made(job_id, 0, number, files, float(fields["seconds"]), int(fields["notes"]), int(fields["ids"]))


def _settle(folder: Path) -> None:
    """Have the disk hold the names in a folder, too, not only what the files contain."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
