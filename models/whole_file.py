"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from models.errors import RenderingError


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """A path beside `target` to write to; it takes the target's place when the block ends well.

    The bytes are on the disk before the name is. When the block raises, nothing is left and
    what `target` held before stays. OSErrors become a RenderingError that names the folder.
    """
    draft = target.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with open(draft, "xb"):
            pass  # fails here, before any work, where the folder is missing or may not be written
        yield draft
        with open(draft, "rb+") as finished:
            os.fsync(finished.fileno())
        os.replace(draft, target)
    except OSError as error:
        reason = error.strerror or str(error)
        raise RenderingError(
            f"{target} cannot be written ({reason}); choose a folder that exists, may be written to and has space"
        ) from error
    finally:
        with suppress(OSError):  # gone already when all went well
            draft.unlink()
