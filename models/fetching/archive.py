"""Zip archives that lie in parts: read as if they were joined, and one member taken out."""

from __future__ import annotations

import io
import zipfile
import zlib
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from models.errors import DownloadError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_BLOCK = 1 << 20


def joined(paths: Sequence[Path]) -> io.BufferedReader:
    """Files one behind the other, as one file to read."""
    return io.BufferedReader(_Joined(paths), _BLOCK)


class _Joined(io.RawIOBase):
    def __init__(self, paths: Sequence[Path]) -> None:
        super().__init__()
        self._files = [path.open("rb") for path in paths]
        self._starts = [0, *accumulate(path.stat().st_size for path in paths)]
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        place = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._starts[-1]}[whence] + offset
        if place < 0:
            raise ValueError(f"there is nothing before the beginning: {place}")
        self._at = place
        return place

    def readinto(self, target: WriteableBuffer) -> int:
        if self._at >= self._starts[-1]:
            return 0
        part = bisect_right(self._starts, self._at) - 1
        file = self._files[part]
        file.seek(self._at - self._starts[part])
        count = file.readinto(target)
        self._at += count
        return count

    def close(self) -> None:
        for file in self._files:
            file.close()
        super().close()


def extract(parts: Sequence[Path], member: str | None, target: Path, largest: int) -> None:
    """Write one member of a zip archive to `target`; its name in the archive decides nothing but which one it is.

    `member` is its name without folders; None stands for the only one there is. Raises DownloadError
    when it is missing, damaged or has more than `largest` bytes.
    """
    try:
        with joined(parts) as whole, zipfile.ZipFile(whole) as archive:
            chosen = _member(archive, member)
            if chosen.file_size > largest:
                raise DownloadError(f"{chosen.filename[:80]!r} has {chosen.file_size:,} bytes unpacked; "
                                    f"at most {largest:,} are taken")
            with archive.open(chosen) as source, target.open("wb") as file:
                left = chosen.file_size
                while block := source.read(min(_BLOCK, left + 1)):
                    left -= len(block)
                    if left < 0:
                        raise zipfile.BadZipFile("it is longer than it says")
                    file.write(block)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise DownloadError(f"the archive {parts[0].name} cannot be unpacked: {error}") from error
    except OSError as error:
        raise DownloadError(f"{target} cannot be written: {error.strerror or error}") from error


def _member(archive: zipfile.ZipFile, name: str | None) -> zipfile.ZipInfo:
    files = [entry for entry in archive.infolist() if not entry.is_dir()]
    chosen = [entry for entry in files if name is None or entry.filename.rsplit("/", 1)[-1] == name]
    if len(chosen) != 1:
        found = ", ".join(entry.filename[:80] for entry in files[:4]) or "nothing"
        raise DownloadError(f"the archive should hold {name or 'one file'}; it holds {found}. "
                            "If it was renamed, say so in models/fetching/sources.py")
    return chosen[0]
