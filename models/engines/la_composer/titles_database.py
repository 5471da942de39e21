"""Titles of songs and how they begin: upstream's database, read without unpickling it.

Upstream publishes a pickle, a list of `[title, ids]`. Unpickling runs what a file says, so the few
instructions that build lists of text and numbers are carried out here, one by one; any other one
is refused. The songs are then kept as four arrays in a safetensors file, which is mapped, not read.
"""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from models.errors import CheckpointError
from models.music.vocabulary.los_angeles import SIZE

_LONGEST_TITLE = 4096  # bytes
_LONGEST_SONG = 1 << 20  # ids
_LARGEST_GROWTH = 4  # songs may take so many times the room they have in a pickle, where things can be repeated
_ARRAYS = {"ids": torch.int16, "id_ends": torch.int64, "titles": torch.uint8, "title_ends": torch.int64}


class TitleDatabase:
    """Songs by number: a title ("Song --- Artist") and the ids it begins with."""

    def __init__(self, ids: np.ndarray, id_ends: np.ndarray, titles: np.ndarray, title_ends: np.ndarray) -> None:
        """Arrays of all ids and all UTF-8 bytes, and where each song's end in them."""
        self._ids, self._id_ends = ids, id_ends
        text = titles.tobytes()
        starts = [0, *title_ends.tolist()]
        self.titles = [text[start:end].decode() for start, end in pairwise(starts)]

    def __len__(self) -> int:
        return len(self.titles)

    def ids(self, number: int) -> tuple[int, ...]:
        """What a song begins with. Raises CheckpointError where the file holds ids that are none."""
        start = int(self._id_ends[number - 1]) if number else 0
        ids = self._ids[start:int(self._id_ends[number])]
        if len(ids) and (int(ids.min()) < 0 or int(ids.max()) >= SIZE):
            raise CheckpointError("the title database is damaged; run `kapelle models fetch la-composer` again")
        return tuple(ids.tolist())

    @classmethod
    def load(cls, path: Path) -> TitleDatabase:
        """Map a database that `convert_titles` wrote. Raises CheckpointError."""
        try:
            with safe_open(path, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            if {name: tensor.dtype for name, tensor in tensors.items()} != _ARRAYS:
                raise ValueError("its arrays are other ones")
            ids, id_ends, titles, title_ends = (tensors[name].numpy() for name in _ARRAYS)
            for ends, whole in ((id_ends, ids), (title_ends, titles)):
                if ends.ndim != 1 or len(ends) != len(id_ends) or not len(ends) or whole.ndim != 1:
                    raise ValueError("its arrays do not fit together")
                if np.any(np.diff(ends, prepend=0) < 0) or ends[-1] != len(whole):
                    raise ValueError("its songs do not add up")
            return cls(ids, id_ends, titles, title_ends)
        except (SafetensorError, OSError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"{path} is no title database ({str(error)[:120]}); "
                                  "run `kapelle models fetch la-composer` again") from error


def convert_titles(source: Path, target: Path) -> int:
    """Convert upstream's pickle; songs without ids are left out. Returns how many there are.

    Nothing in the pickle is executed. Raises CheckpointError.
    """
    titles, songs = [], []
    for title, ids in read_pickle(source):
        if len(ids):
            titles.append(np.frombuffer(title.encode(), dtype=np.uint8))
            songs.append(ids)
    if not songs:
        raise CheckpointError(f"{source} holds no songs")
    arrays = {
        "ids": np.concatenate(songs), "id_ends": np.cumsum([len(ids) for ids in songs], dtype=np.int64),
        "titles": np.concatenate(titles), "title_ends": np.cumsum([len(title) for title in titles], dtype=np.int64),
    }
    draft = target.with_name(f".{target.name}.part")
    try:
        save_file({name: torch.from_numpy(array) for name, array in arrays.items()}, draft)
        os.replace(draft, target)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"the titles cannot be written to {target}: {error}") from error
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
    return len(songs)


def read_pickle(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Titles and ids, int16, of a pickled list of `[title, ids]`. Raises CheckpointError for anything else."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            entries = _built(data)
    except (OSError, ValueError) as error:  # ValueError: an empty file, or what `_built` objects to
        raise CheckpointError(f"{path} is no title database: {error}") from error
    if not isinstance(entries, list):
        raise CheckpointError(f"{path} is no title database: expected was a list of [title, ids]")
    room = _LARGEST_GROWTH * path.stat().st_size
    for place, entry in enumerate(entries):
        match entry:
            case [str() as title, list() as rows] if all(isinstance(row, np.ndarray) for row in rows):
                count = sum(len(row) for row in rows)
            case _:
                raise CheckpointError(f"{path}: song {place} is no [title, ids]")
        room -= len(title) + count
        if count > _LONGEST_SONG or room < 0:
            raise CheckpointError(f"{path}: song {place} is longer than the file can tell; it is damaged or forged")
        yield title, np.concatenate(rows) if rows else np.empty(0, dtype=np.int16)


class _Mark:
    """Where the items of a list begin on the stack."""


# Numbers come in long rows; each row is taken in one go and kept as an array. The bound keeps a
# forged file from making the matcher remember millions of steps.
_NUMBERS = re.compile(rb"(?:K.|M..|J....){1,4096}+", re.DOTALL)
_ONE_NUMBER = re.compile(rb"K(.)|M(..)|J(....)", re.DOTALL)
_MARK = _Mark()
# Instruction -> bytes of the count or number behind it.
_TEXT = {0x8C: 1, ord("X"): 4, 0x8D: 8}
_REMEMBER = {ord("q"): 1, ord("r"): 4}
_RECALL = {ord("h"): 1, ord("j"): 4}
_TUPLES = {0x85: 1, 0x86: 2, 0x87: 3}
_IGNORED = {0x80: 1, 0x95: 8}  # protocol, frame


def _built(data: mmap.mmap) -> Any:
    """Carry out the instructions of a pickle that only lists, tuples, text and whole numbers need.

    Tuples become lists, rows of numbers become arrays. Raises ValueError that says what is wrong.
    """
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    at, size = 0, len(data)

    def number(width: int) -> int:
        nonlocal at
        if at + width > size:
            raise ValueError("it ends too early")
        at += width
        return int.from_bytes(data[at - width:at], "little")

    def above_mark() -> list[Any]:
        for place in range(len(stack) - 1, -1, -1):
            if stack[place] is _MARK:
                items = stack[place + 1:]
                del stack[place:]
                return items
        raise ValueError("its instructions do not add up")

    def extend(items: Sequence[Any]) -> None:
        if not stack or not isinstance(stack[-1], list):
            raise ValueError("its instructions do not add up")
        stack[-1].extend(items)

    while at < size:
        if row := _NUMBERS.match(data, at):
            values = [int.from_bytes(k or m, "little") if k or m else int.from_bytes(j, "little", signed=True)
                      for k, m, j in _ONE_NUMBER.findall(row[0])]
            if min(values) < 0 or max(values) >= SIZE:
                raise ValueError(f"it holds numbers that are no ids; ids are 0 to {SIZE - 1}")
            stack.append(np.array(values, dtype=np.int16))
            at = row.end()
            continue
        code = data[at]
        at += 1
        if code in _IGNORED:
            number(_IGNORED[code])
        elif code == ord("."):
            if len(stack) != 1 or at != size:
                raise ValueError("its instructions do not add up")
            return stack[0]
        elif code in b"])":
            stack.append([])
        elif code == ord("("):
            stack.append(_MARK)
        elif code == ord("e"):
            items = above_mark()
            extend(items)
        elif code == ord("t"):
            stack.append(above_mark())
        elif code == ord("a"):
            extend([stack.pop()] if len(stack) > 1 else [_MARK])
        elif code in _TUPLES:
            count = _TUPLES[code]
            if len(stack) < count:
                raise ValueError("its instructions do not add up")
            stack[-count:] = [stack[-count:]]
        elif code in _TEXT:
            length = number(_TEXT[code])
            if length > _LONGEST_TITLE:
                raise ValueError(f"a title is longer than {_LONGEST_TITLE} bytes")
            if at + length > size:
                raise ValueError("it ends too early")
            stack.append(data[at:at + length].decode("utf-8"))
            at += length
        elif code == 0x94:
            memo[len(memo)] = stack[-1] if stack else None
        elif code in _REMEMBER:
            memo[number(_REMEMBER[code])] = stack[-1] if stack else None
        elif code in _RECALL:
            place = number(_RECALL[code])
            if place not in memo:
                raise ValueError("its instructions do not add up")
            stack.append(memo[place])
        else:
            raise ValueError(f"it holds an instruction (0x{code:02x}) that text and numbers do not need")
    raise ValueError("it ends too early")
