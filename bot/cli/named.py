"""Model files that a user names: when they are not what was expected, asking differently helps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from models.errors import CheckpointError, InputError


@contextmanager
def named_by_the_user(path: Path | None) -> Iterator[None]:
    """Turn a CheckpointError into an InputError where the user named the model; without a name it stays a failure."""
    try:
        yield
    except CheckpointError as error:
        if path is None:
            raise
        raise InputError(str(error)) from error
