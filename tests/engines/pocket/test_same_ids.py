"""The shipped model gives the same ids alone and in a crowd, on any number of threads, compiled or not.

Logits are compared to the last bit: one that is off in the seventh digit changes an id in some hundred.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from models.decoding.sequence import Sequence as Take
from models.engines.pocket import engine as pocket
from models.engines.pocket.decoder import PocketDecoder
from models.engines.pocket.engine import PocketEngine
from models.engines.pocket.steering import KIND_RANGES
from models.interface.midi import ComposeRequest
from models.music.score.midi import write_midi
from models.music.vocabulary.los_angeles import DURATION, PITCH, decode
from models.network import native

Course = list[tuple[int, Tensor]]  # of a take: each id, and the logits it was drawn from


class Recording(PocketDecoder):
    """Keeps the logits of each sequence's ids, as far as they may come."""

    courses: ClassVar[defaultdict[Take, list[Tensor]]] = defaultdict(list)

    def steer(self, sequences: Sequence[Take], logits: Tensor, first: int) -> Tensor:
        for sequence, row in zip(sequences, logits, strict=True):
            start, end = KIND_RANGES[len(sequence.ids) % 3]
            self.courses[sequence].append(row[start - first:end - first].clone())
        return super().steer(sequences, logits, first)


@pytest.fixture(params=["compiled", "PyTorch"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[PocketEngine]:
    monkeypatch.setenv("KAPELLE_NATIVE", str(int(request.param == "compiled")))
    monkeypatch.setattr(pocket, "PocketDecoder", Recording)
    native.library.cache_clear()
    if request.param == "compiled" and native.library() is None:
        pytest.skip("there is no C compiler on this machine")
    yield PocketEngine.load()
    native.library.cache_clear()
    Recording.courses.clear()


def courses(engine: PocketEngine, *requests: ComposeRequest) -> list[list[Course]]:
    """The takes of each request; each one's join a step after those of the one before."""
    joined = [engine.sequences(engine.plan(request)) for request in requests]
    for takes in joined:
        for take in takes:
            engine.batcher.add(take)
        engine.batcher.step()
    while engine.batcher.busy:
        engine.batcher.step()
    return [[list(zip(take.ids, Recording.courses[take], strict=True)) for take in takes] for takes in joined]


def same(one: Course, other: Course) -> bool:
    return len(one) == len(other) and all(
        id_ == id2 and torch.equal(logits, logits2) for (id_, logits), (id2, logits2) in zip(one, other, strict=True))


def test_a_take_is_the_same_alone_and_among_those_of_others_that_join_later(engine: PocketEngine) -> None:
    asked = [("Waltz", 6), ("A jig", 4), ("String quartet in D minor", 4)]
    together = courses(engine, *(ComposeRequest(title, tokens=33, takes=takes, seed=7) for title, takes in asked))
    for (title, _), takes in zip(asked, together, strict=True):
        [alone] = courses(engine, ComposeRequest(title, tokens=33, takes=2, seed=7))
        assert 12 < len(alone[0]) <= 33
        assert all(map(same, alone, takes[:2])), title


@pytest.mark.parametrize("threads", [2, 3])
def test_a_take_is_the_same_on_any_number_of_threads(engine: PocketEngine, threads: int, tmp_path: Path) -> None:
    ids = [id_ for note in range(240) for id_ in (13 * note % 40, DURATION + 80, PITCH + 40 + 7 * note % 50)]
    write_midi(decode(ids), tmp_path / "long.mid")
    requests = [ComposeRequest("Waltz", tokens=33, takes=1, seed=1),
                ComposeRequest("Waltz", tokens=33, takes=1, seed=1, continuation=tmp_path / "long.mid")]
    before, found = torch.get_num_threads(), []
    try:
        for count in (1, threads):
            torch.set_num_threads(count)
            found.append([take for takes in courses(engine, *requests) for take in takes])
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(before)
    assert all(map(same, *found))
