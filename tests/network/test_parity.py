"""The network against a plain one written from the formulas alone, and against recorded logits."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from models.checkpoints.store import without_weights
from models.checkpoints.verify import TOLERANCES, Comparison, Mode, verify
from models.network import native
from models.network.cache import KeyValueCache
from models.network.local_transformer import Block, LocalTransformer, LocalTransformerConfig

CacheMaker = Callable[..., KeyValueCache]

REFERENCE = Path(__file__).resolve().parents[2] / "../shared/reference/la_composer"
CLOSE = 2e-4  # of logits up to 10, two orders of adding up
SMALL = LocalTransformerConfig(vocabulary=61, width=24, depth=2, heads=2, head_width=8, window=16, positions=96)
PUBLISHED_WINDOW = LocalTransformerConfig(vocabulary=61, width=24, depth=2, heads=2, head_width=8, positions=1100)


def network_of(config: LocalTransformerConfig, seed: int = 5) -> LocalTransformer:
    """Random weights that are large enough for every key of the window to matter."""
    torch.manual_seed(seed)
    network = LocalTransformer(config).eval().requires_grad_(False)
    for parameter in network.parameters():
        parameter.normal_(std=0.5 if parameter.dim() == 1 else 1.6 / math.sqrt(parameter.shape[-1]))
    return network


def ids_of(rows: int, time: int, config: LocalTransformerConfig, seed: int = 1) -> Tensor:
    return torch.randint(config.vocabulary, (rows, time), generator=torch.Generator().manual_seed(seed))


def plain_logits(network: LocalTransformer, ids: Tensor, phantom: bool) -> Tensor:
    """One row, (time,) -> (time, vocabulary): query by query, every phantom key written out, in doubles."""
    config = network.config
    weights = {name: value.double() for name, value in network.state_dict().items()}

    def norm(x: Tensor, name: str) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        spread = centred.pow(2).mean(-1, keepdim=True)
        scaled: Tensor = centred / (spread + 1e-5).sqrt() * weights[f"{name}.weight"] + weights[f"{name}.bias"]
        return scaled

    half = config.head_width // 2
    angles = [[place / 10000 ** (pair / half) for pair in range(half)] for place in range(len(ids))]

    def rotated(vectors: Tensor) -> Tensor:
        # Component i and i + half are one complex number each, turned by its angle.
        turned = torch.complex(vectors[:, :half], vectors[:, half:]) * torch.exp(1j * torch.tensor(angles).double())
        return torch.cat((turned.real, turned.imag), dim=-1)

    x = weights["embedding.weight"][ids] + weights["positions.weight"][:len(ids)]
    padding = torch.full((config.window, config.head_width), -1.0, dtype=torch.float64)
    for layer in range(config.depth):
        at = f"blocks.{layer}."
        q, k, v = (norm(x, at + "attention_norm") @ weights[at + "qkv.weight"].T).chunk(3, dim=-1)
        heads = []
        for head in range(config.heads):
            columns = slice(head * config.head_width, (head + 1) * config.head_width)
            keys = rotated(k[:, columns])
            found = []
            for place, query in enumerate(rotated(q[:, columns])):
                first = max(0, place - config.window)
                seen, values = keys[first:place + 1], v[first:place + 1, columns]
                if phantom and place < config.window:
                    seen, values = torch.cat((padding, seen)), torch.cat((padding, values))
                share = (seen @ query / math.sqrt(config.head_width)).softmax(0)
                found.append(share @ values)
            heads.append(torch.stack(found))
        x = x + torch.cat(heads, dim=-1) @ weights[at + "out.weight"].T
        value, gate = (norm(x, at + "feed_forward_norm") @ weights[at + "up.weight"].T).chunk(2, dim=-1)
        gelu = gate * 0.5 * (1 + torch.erf(gate / math.sqrt(2)))
        x = x + (value * gelu) @ weights[at + "down.weight"].T
    logits: Tensor = norm(x, "norm") @ weights["head.weight"].T
    return logits


@pytest.fixture(params=["PyTorch", "compiled"])
def cache_of(request: pytest.FixtureRequest) -> CacheMaker:
    """Makes caches for the one and the other way of taking a step."""
    if request.param == "compiled" and native.library() is None:
        pytest.skip("there is no C compiler")

    def make(network: LocalTransformer, rows: int, phantom: bool = False) -> KeyValueCache:
        config = network.config
        cache = KeyValueCache(rows, config.depth, config.heads, config.head_width, config.window, phantom=phantom)
        if request.param == "compiled":
            assert native.attach(network, cache)
        return cache

    return make


def apart(ours: Tensor, theirs: Tensor) -> float:
    return float((ours.double() - theirs.double()).abs().max())


@pytest.mark.parametrize("phantom", [False, True])
@pytest.mark.parametrize("length", [1, 15, 16, 17, 18, 33, 50])
def test_whole_rows_are_as_the_formulas_say_at_every_position(length: int, phantom: bool) -> None:
    network = network_of(SMALL)
    ids = ids_of(1, length, SMALL)
    assert apart(network(ids, phantom=phantom)[0], plain_logits(network, ids[0], phantom)) < CLOSE


@pytest.mark.parametrize("phantom", [False, True])
def test_the_published_window_is_as_the_formulas_say(phantom: bool) -> None:
    config = LocalTransformerConfig(vocabulary=61, width=12, depth=1, heads=1, head_width=8, positions=640)
    network = network_of(config)
    ids = ids_of(1, 530, config)
    assert apart(network(ids, phantom=phantom)[0], plain_logits(network, ids[0], phantom)) < CLOSE


def test_the_phantom_window_changes_what_the_first_window_sees() -> None:
    network = network_of(SMALL)
    ids = ids_of(1, 12, SMALL)
    assert apart(network(ids)[0], network(ids, phantom=True)[0]) > 0.1


@pytest.mark.parametrize("phantom", [False, True])
@pytest.mark.parametrize("prime", [1, 14, 16, 17, 40])
def test_cached_steps_equal_whole_rows(prime: int, phantom: bool, cache_of: CacheMaker) -> None:
    network = network_of(SMALL)
    ids = ids_of(3, prime + 40, SMALL)
    whole = network(ids, phantom=phantom)
    cache = cache_of(network, 3, phantom)
    network.hidden(ids[:, :prime], phantom=phantom, cache=cache)
    for place in range(prime, prime + 40):
        assert apart(network.step(ids[:, place], cache), whole[:, place]) < CLOSE


def test_cached_steps_go_on_beyond_the_published_window(cache_of: CacheMaker) -> None:
    network = network_of(PUBLISHED_WINDOW)
    ids = ids_of(1, 1040, PUBLISHED_WINDOW)
    whole = network(ids)
    cache = cache_of(network, 1)
    network.hidden(ids[:, :500], cache=cache)
    for place in range(500, 1040):
        assert apart(network.step(ids[:, place], cache), whole[:, place]) < CLOSE


@pytest.mark.parametrize("phantom", [False, True])
def test_rows_at_different_positions_equal_rows_alone(phantom: bool, cache_of: CacheMaker) -> None:
    network = network_of(SMALL)
    ids = ids_of(4, 60, SMALL)
    primes = (1, 9, 17, 33)  # before, in and behind the first window
    cache = cache_of(network, 4, phantom)
    for row, prime in enumerate(primes):
        network.hidden(ids[row:row + 1, :prime], phantom=phantom, cache=cache, rows=[row])
    whole = network(ids, phantom=phantom)
    for step in range(25):
        places = torch.tensor(primes) + step
        logits = network.step(ids[torch.arange(4), places], cache)
        for row in range(4):
            assert apart(logits[row], whole[row, places[row]]) < CLOSE


def test_a_row_that_leaves_and_one_that_joins_do_not_disturb_the_others(cache_of: CacheMaker) -> None:
    network = network_of(SMALL)
    ids = ids_of(3, 60, SMALL)
    whole = network(ids)
    cache = cache_of(network, 2)
    network.hidden(ids[:1, :20], cache=cache, rows=[0])
    network.hidden(ids[1:2, :11], cache=cache, rows=[1])
    for step in range(5):
        network.step(torch.stack((ids[0, 20 + step], ids[1, 11 + step])), cache)
    cache.move(1, 0)  # the first one leaves, the last one takes its row
    network.hidden(ids[2:, :4], cache=cache, rows=[1])  # a third one joins
    for step in range(30):
        logits = network.step(torch.stack((ids[1, 16 + step], ids[2, 4 + step])), cache)
        assert apart(logits[0], whole[1, 16 + step]) < CLOSE
        assert apart(logits[1], whole[2, 4 + step]) < CLOSE


def test_a_step_of_the_first_rows_leaves_the_last_row_as_it_was(cache_of: CacheMaker) -> None:
    network = network_of(SMALL)
    ids = ids_of(2, 30, SMALL)
    cache = cache_of(network, 2)
    network.hidden(ids[:, :10], cache=cache)
    for place in range(10, 15):
        network.step(ids[:1, place], cache)
    assert cache.lengths.tolist() == [15, 10]
    logits = network.step(torch.stack((ids[0, 15], ids[1, 10])), cache)
    assert apart(logits[1], network(ids)[1, 10]) < CLOSE


def test_a_query_sees_the_window_and_itself_and_nothing_else() -> None:
    config = LocalTransformerConfig(vocabulary=61, width=24, depth=1, heads=2, head_width=8, window=16, positions=96)
    network = network_of(config)
    ids = ids_of(1, 40, config)
    before = network(ids)[0, -1]
    for place, matters in ((39 - 16, True), (39 - 17, False)):
        other = ids.clone()
        other[0, place] = (other[0, place] + 1) % config.vocabulary
        assert (apart(network(other)[0, -1], before) > 1e-6) is matters


def test_no_query_sees_what_comes_after_it() -> None:
    network = network_of(SMALL)
    ids = ids_of(1, 50, SMALL)
    other = torch.cat((ids[:, :30], ids_of(1, 20, SMALL, seed=9)), dim=1)
    assert apart(network(ids)[0, :30], network(other)[0, :30]) < CLOSE


def test_sizes_of_the_published_checkpoint() -> None:
    with without_weights():
        network = LocalTransformer(LocalTransformerConfig())
    assert sum(parameter.numel() for parameter in network.parameters()) == pytest.approx(387.6e6, rel=1e-3)
    assert network.config.inner == 2730
    assert len(network.blocks) == 36
    assert isinstance(network.blocks[0], Block)


@pytest.fixture(scope="module")
def comparisons() -> dict[tuple[str, Mode], Comparison]:
    if not REFERENCE.is_dir():
        pytest.skip("the recorded logits of the reference checkpoint are not beside the project")
    return {(one.case, one.mode): one for one in verify(REFERENCE / "checkpoint.pth", REFERENCE)}


@pytest.mark.parametrize("mode", ["native", "trained"])
@pytest.mark.parametrize("case", ["L7", "L300", "L511", "L512", "L513", "L600", "L1000", "L1024", "L1500", "prefill"])
def test_recorded_logits_are_met(comparisons: dict[tuple[str, Mode], Comparison], case: str, mode: Mode) -> None:
    assert comparisons[case, mode].difference <= TOLERANCES[mode]


def test_a_recorded_batch_of_three_is_met(comparisons: dict[tuple[str, Mode], Comparison]) -> None:
    assert comparisons["batch3", "native"].difference <= TOLERANCES["native"]


def test_the_last_4096_of_more_ids_are_read_as_upstream_reads_them(
    comparisons: dict[tuple[str, Mode], Comparison],
) -> None:
    assert comparisons["slide", "trained"].difference <= TOLERANCES["trained"]
