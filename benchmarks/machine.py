"""What a measurement ran on, and how fast this machine reads its memory."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from pathlib import Path

import torch


def described() -> str:
    """Processor, cores and versions in one line."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        processor = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        processor = platform.processor() or platform.machine()
    return (f"{processor}, {torch.get_num_threads()} threads, Python {platform.python_version()}, "
            f"torch {torch.__version__}, float32")


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


class ReadBandwidth:
    """Bytes a second that a sum over memory larger than the caches reads, with the threads torch has."""

    def __init__(self, megabytes: int = 1024) -> None:
        self._block = torch.ones(megabytes * 262_144)
        self._block.sum()

    def __call__(self) -> float:
        return self._block.numel() * 4 / seconds(self._block.sum)
