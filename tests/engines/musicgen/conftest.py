from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import torch

from tests.engines.musicgen.building import KINDS, Tiny, write


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Tiny networks gain nothing from more, and where other processes are busy, threads wait for each other."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Tiny]:
    """Tiny models by their kind, one of `KINDS`; each is made once."""
    @cache
    def made(kind: str) -> Tiny:
        from transformers import AutoTokenizer, MusicgenForConditionalGeneration, MusicgenMelodyForConditionalGeneration
        folder = write(tmp_path_factory.mktemp("musicgen") / kind, **KINDS[kind])
        kind_of: Any = MusicgenMelodyForConditionalGeneration if "melody" in kind else MusicgenForConditionalGeneration
        return Tiny(kind, folder, kind_of.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder))

    return made
