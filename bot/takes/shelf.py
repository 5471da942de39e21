"""Where takes are written: a folder of its own for every composition, each take whole or not at all."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from models.errors import InputError, KapelleError

LONGEST_SLUG = 60
NAMELESS = "piece"
_PLAIN_LETTERS = str.maketrans({"ł": "l", "ø": "o", "đ": "d", "æ": "ae", "œ": "oe", "ß": "ss", "þ": "th", "ð": "d"})
_BYTES_PER_SECOND = {"ogg": 20_000, "mp3": 24_000, "wav": 180_000}
_BYTES_PER_TAKE = 1_000_000  # picture and MIDI file


class OutputError(KapelleError):
    """Takes cannot be written: the folder, its permissions or its disk space are at fault."""


def slug(*texts: str) -> str:
    """A folder name made of the words of the texts: a-z, 0-9 and hyphens, 1 to 60 characters.

    Nothing else of what a user wrote gets into a path; texts without any such letter give `piece`.
    """
    words = unicodedata.normalize("NFKD", " ".join(texts).lower().translate(_PLAIN_LETTERS))
    plain = "".join(character for character in words if not unicodedata.combining(character))
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:LONGEST_SLUG].strip("-") or NAMELESS


def space_needed(takes: int, seconds: float, sound_format: str = "ogg") -> int:
    """Bytes that the files of so many takes of so many seconds may need; a generous guess."""
    return takes * (_BYTES_PER_TAKE + int(seconds * _BYTES_PER_SECOND[sound_format]))


@dataclass(frozen=True)
class Shelf:
    """The folder under which compositions get folders of their own."""

    out: Path

    def free_bytes(self) -> int:
        """Free disk space of the folder, or of the first one above it that exists.

        Raises InputError where the path is no folder, OutputError without permission to write.
        """
        existing = self.out.absolute()
        try:
            while not existing.exists():
                existing = existing.parent
            if not existing.is_dir():
                raise InputError(f"{existing} is a file; a folder is needed (--out)")
            free = shutil.disk_usage(existing).free
        except (OSError, ValueError) as error:  # ValueError: a null character
            raise _unusable(self.out, error) from error
        if not os.access(existing, os.W_OK | os.X_OK):
            raise OutputError(f"there is no permission to write to {existing}; choose another folder with --out")
        return free

    def check(self, takes: int, seconds: float, sound_format: str) -> None:
        """Whether so many takes, each of so many seconds, could be written; writes nothing.

        Raises as `free_bytes` does, and OutputError when there is too little space.
        """
        free = self.free_bytes()
        needed = space_needed(takes, seconds, sound_format)
        if free < needed:
            raise OutputError(
                f"the disk of {self.out} has {free / 1e6:.0f} MB left, {takes} takes may need {needed / 1e6:.0f} MB; "
                "free some space or choose another folder with --out")

    @contextmanager
    def new_folder(self, name: str) -> Iterator[Path]:
        """A folder that was not there before: `name`, or `name-2`, `name-3` and so on.

        When the block leaves nothing in it, it is removed again, with the parents that were made for it.
        Raises InputError or OutputError when it cannot be made.
        """
        with opened(self.out):
            try:
                folder = self._make(name)
            except OSError as error:
                raise _unusable(self.out, error) from error
            try:
                yield folder
            finally:
                with suppress(OSError):  # not empty: there are takes in it
                    folder.rmdir()

    def _make(self, name: str) -> Path:
        for number in count(1):
            folder = self.out / numbered(name, number)
            with suppress(FileExistsError):
                folder.mkdir()
                break
        return folder


def numbered(name: str, number: int) -> str:
    """The name of the first, second, ... thing of one name."""
    return name if number == 1 else f"{name}-{number}"


@contextmanager
def opened(folder: Path) -> Iterator[Path]:
    """A folder, made with its parents where it was missing; what was made and stays empty is removed again.

    Raises InputError where the path is no folder, OutputError when it cannot be made.
    """
    try:
        made = [parent for parent in (folder, *folder.parents) if not parent.exists()]
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise InputError(f"{folder} is a file; a folder is needed (--out)") from error
    except (OSError, ValueError) as error:
        raise _unusable(folder, error) from error
    try:
        yield folder
    finally:
        with suppress(OSError):
            for empty in made:
                empty.rmdir()


@contextmanager
def together(names: Mapping[str, str], folder: Path) -> Iterator[dict[str, Path]]:
    """Paths to write files to, which appear in `folder` under their names when the block ends well.

    When it raises, none of them is left. `names` maps what a file is to its name.
    """
    with tempfile.TemporaryDirectory(prefix=".", suffix=".part", dir=folder) as staging:
        drafts = {what: Path(staging, name) for what, name in names.items()}
        yield drafts
        for what, name in names.items():
            os.replace(drafts[what], folder / name)


def _unusable(folder: Path, error: OSError | ValueError) -> OutputError:
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return OutputError(f"the folder {folder} cannot be used ({reason}); choose another with --out")
