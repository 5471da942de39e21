from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from models.engines.pocket.features import GRID_UNKNOWN, GlobalFeatures
from models.engines.pocket.memory import LAGS, MATCH_BINS, NOTHING, SLOTS, SOURCES, nothing
from models.engines.pocket.network import KINDS, PocketNetwork
from models.music.attributes import attributes_of
from models.music.vocabulary.los_angeles import DURATION, HEADER_PITCH, PITCH, START
from models.network.local_transformer import LocalTransformerConfig
from models.training.corpus import Corpus
from models.training.evaluate import EVALUATED_IDS, evaluate
from models.training.rows import PLANNED, segment_of
from tests.training.building import corpus_of, tune


@cache
def network() -> PocketNetwork:
    torch.manual_seed(3)
    config = LocalTransformerConfig(width=24, depth=1, heads=2, head_width=8, window=30, positions=0, tied=True)
    result = PocketNetwork(config, GlobalFeatures(("bach",))).eval()
    for parameter in result.parameters():
        if parameter.dim() == 2:
            torch.nn.init.normal_(parameter, std=0.3)
    return result


@cache
def corpus() -> Corpus:
    return corpus_of(
        (tune(1, 20), {"artist": "Bach", "genre": "classical"}), (tune(2, 300, bpm=90.0), {"genre": "folk"}),
        (tune(3, 170, drums=False), {}))


def remembered(memory: np.ndarray, marks: np.ndarray, place: int) -> torch.Tensor:
    """What bar memory adds at one place of a row, source by source."""
    kind = (place + 1) % 3
    result = torch.zeros(network().config.width)
    for source in range(SOURCES):
        slot = source if source < SOURCES - 1 else int(marks[-1])
        if memory[source] != NOTHING:
            result += network().body.embedding.weight[memory[source]] * network().memory.weight[SLOTS * kind + slot]
        if source < len(LAGS):
            result += network().matched.weight[(len(LAGS) * kind + source) * MATCH_BINS + marks[source]]
    return result


@torch.inference_mode()
def by_hand(number: int, conditioned: bool) -> dict[str, list[float]]:
    """Negative log-probability of each T, D, P among the ids of its kind, the first ids of the piece."""
    piece = segment_of(corpus().piece(number), attributes_of(corpus().entries[number]), 0, 1000)
    ids = piece.ids[:EVALUATED_IDS + 1]
    groups = network().features.groups
    vector = network().features.vector(piece.attributes, frozenset() if conditioned else frozenset(groups))
    length = len(ids) - 1
    grid = piece.grid[:length] if conditioned else np.tile(GRID_UNKNOWN, (length, 1))
    memory, marks = (piece.memory[:length], piece.marks[:length]) if conditioned else nothing(length)
    condition = (network().attributes(torch.from_numpy(vector)) + network().grid(torch.from_numpy(grid)).sum(1)
                 + torch.stack([remembered(*parts, place) for place, parts in enumerate(zip(memory, marks, strict=True))]))
    logits = network().body(torch.from_numpy(ids[None, :-1]), condition[None])[0]
    among = {"T": [*range(DURATION), START], "D": [*range(DURATION, PITCH)], "P": [*range(PITCH, HEADER_PITCH)]}
    result: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for place in range(3, len(ids)):
        kind = KINDS[place % 3]
        scores = F.log_softmax(logits[place - 1][among[kind]], dim=0)
        result[kind].append(-float(scores[among[kind].index(int(ids[place]))]))
    return result


@pytest.mark.parametrize("conditioned", [True, False])
def test_losses_are_the_mean_over_ids_of_a_kind_without_the_header(conditioned: bool) -> None:
    losses = evaluate(network(), corpus(), [0, 1, 2], conditioned=conditioned)
    parts = [by_hand(number, conditioned) for number in (0, 1, 2)]
    nats = {kind: [value for part in parts for value in part[kind]] for kind in KINDS}
    assert [len(nats[kind]) for kind in KINDS] == [20 + 170 + 170] * 3
    for kind in KINDS:
        assert losses[kind] == pytest.approx(np.mean(nats[kind]), abs=1e-4)
    assert losses["all"] == pytest.approx(np.mean([*nats["T"], *nats["D"], *nats["P"]]), abs=1e-4)


def test_conditions_make_a_difference() -> None:
    assert evaluate(network(), corpus(), [1]) != evaluate(network(), corpus(), [1], conditioned=False)


def test_with_conditions_the_network_is_told_chords_and_what_stood_in_earlier_bars() -> None:
    without = evaluate(network(), corpus(), [1])
    for name in ("memory", "matched"):
        part = getattr(network(), name)
        before = part.weight.detach().clone()
        with torch.no_grad():
            part.weight.zero_()
        assert evaluate(network(), corpus(), [1]) != without, name
        with torch.no_grad():
            part.weight.copy_(before)
    assert evaluate(network(), corpus(), [1]) == without


def test_what_is_not_told_counts_nothing() -> None:
    """Without what stood in earlier bars the network is one that makes nothing of it; a piece stays as it is."""
    whole = evaluate(network(), corpus(), [1])
    without = evaluate(network(), corpus(), [1], without=("memory", "returns"))
    before = network().memory.weight.detach().clone()
    with torch.no_grad():
        network().memory.weight.zero_()
    assert evaluate(network(), corpus(), [1]) == without
    with torch.no_grad():
        network().memory.weight.copy_(before)
    assert evaluate(network(), corpus(), [1]) == whole
    each = [evaluate(network(), corpus(), [1], without=[name])["all"] for name in PLANNED]
    assert len({whole["all"], *each}) == 6


def test_no_pieces_are_no_loss() -> None:
    assert evaluate(network(), corpus(), []) == {"T": 0.0, "D": 0.0, "P": 0.0, "all": 0.0}


def test_what_is_evaluated_leaves_no_gradient() -> None:
    evaluate(network(), corpus(), [0])
    assert all(parameter.grad is None for parameter in network().parameters())
