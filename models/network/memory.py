"""How much memory there is for a network."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import torch


def available_bytes(device: torch.device | str, *, root: Path = Path("/")) -> int:
    """Memory that can be taken on a device now: of the machine's, and of what a container or a service is allowed.

    `root` is where the system describes itself.
    """
    if torch.device(device).type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    found = [1 << 62]  # where nothing is known, let the system say
    with suppress(OSError, ValueError, KeyError):
        found.append(1024 * _counts(root / "proc/meminfo")["MemAvailable:"])
    top = root / "sys/fs/cgroup"
    for group in _groups(root / "proc/self/cgroup", top):
        with suppress(OSError, ValueError, KeyError):  # ValueError: there is no limit ("max")
            limit = int((group / "memory.max").read_text(encoding="ascii"))
            used = int((group / "memory.current").read_text(encoding="ascii"))
            found.append(max(limit - used + _counts(group / "memory.stat")["inactive_file"], 0))  # files make room
    return min(found)


def _groups(path: Path, top: Path) -> Iterator[Path]:
    """Folders of this process's cgroup (version 2) and of those around it; `path` names it as the kernel does."""
    with suppress(OSError, ValueError):
        for line in path.read_text(encoding="utf-8").splitlines():
            name = line.removeprefix("0::/")
            if name != line and ".." not in name.split("/"):  # what is outside of the container is not seen
                yield from (top / name, *(parent for parent in (top / name).parents if parent.is_relative_to(top)))


def _counts(path: Path) -> dict[str, int]:
    """Numbers by the words in front of them."""
    lines = (line.split() for line in path.read_text(encoding="ascii").splitlines())
    return {words[0]: int(words[1]) for words in lines if len(words) > 1}
