"""Temporary folders that nobody has to clear away by hand, even after a power cut or `kill -9`.

Each holds a file that is locked as long as its process lives, and the programs that it started with the lock. Whoever makes
the next folder removes those whose lock is free.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

PREFIX = "kapelle-"
LOCK = ".in-use"


@dataclass(frozen=True)
class Scratch:
    """A folder of this process; `lock` is the descriptor that holds it, which a child may inherit."""

    path: Path
    lock: int

    @classmethod
    def make(cls, name: str = "") -> Scratch:
        """A new, empty one in the folder for temporary files, once what others left there is gone. Raises OSError."""
        _sweep(Path(tempfile.gettempdir()))
        path = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{name}"))
        try:
            lock = os.open(path / f"{LOCK}-soon", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
            os.rename(path / f"{LOCK}-soon", path / LOCK)  # under this name it is never seen unlocked while we live
        except OSError:
            shutil.rmtree(path, ignore_errors=True)
            raise
        return cls(path, lock)

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        with suppress(OSError):
            os.close(self.lock)

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.remove()


def _sweep(folder: Path) -> None:
    """Remove what processes of this user left in a folder that others may write to as well."""
    for path in folder.glob(f"{PREFIX}*"):
        with suppress(OSError):  # it is gone already, or somebody else's
            status = path.lstat()
            if stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and _left(path):
                shutil.rmtree(path, ignore_errors=True)


def _left(path: Path) -> bool:
    """Whether the process of a folder is gone. Raises FileNotFoundError where it is no folder of this kind, or not yet."""
    lock = os.open(path / LOCK, os.O_RDWR | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True
