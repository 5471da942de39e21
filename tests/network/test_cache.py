from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models.network.cache import KeyValueCache
from models.network.local_transformer import LocalTransformer, LocalTransformerConfig

CONFIG = LocalTransformerConfig(vocabulary=50, width=24, depth=2, heads=3, head_width=8, window=12, positions=100)
phantoms = pytest.mark.parametrize("phantom", [False, True])


@pytest.fixture(scope="module")
def network() -> LocalTransformer:
    torch.manual_seed(2)
    result = LocalTransformer(CONFIG).eval().requires_grad_(False)
    for parameter in result.parameters():
        if parameter.dim() == 2:
            parameter.normal_(std=0.3)
    return result


def room(rows: int, *, phantom: bool = False) -> KeyValueCache:
    return KeyValueCache(rows, CONFIG.depth, CONFIG.heads, CONFIG.head_width, CONFIG.window, phantom=phantom)


def ids(number: int, time: int = 60) -> Tensor:
    return torch.randint(0, CONFIG.vocabulary, (time,), generator=torch.Generator().manual_seed(number))


def read(network: LocalTransformer, cache: KeyValueCache, row: int, tokens: Tensor) -> None:
    network.hidden(tokens[None], phantom=cache.phantom, cache=cache, rows=[row])


@phantoms
@pytest.mark.parametrize("primed", [1, 11, 12, 13, 14, 26, 40])
def test_a_step_sees_what_a_whole_row_sees(network: LocalTransformer, primed: int, phantom: bool) -> None:
    cache, tokens = room(1, phantom=phantom), ids(1)
    whole = network(tokens[None], phantom=phantom)[0]
    read(network, cache, 0, tokens[:primed])
    for place in range(primed, len(tokens)):
        torch.testing.assert_close(network.step(tokens[place:place + 1], cache)[0], whole[place], rtol=0, atol=2e-5)
    assert cache.lengths.tolist() == [60]


@phantoms
@pytest.mark.parametrize("primed", [(1, 5, 11), (3, 12, 30), (12, 13, 14), (20, 33, 45), (7, 7, 7)])
def test_rows_stand_at_positions_of_their_own(
    network: LocalTransformer, primed: tuple[int, ...], phantom: bool,
) -> None:
    cache, tokens = room(4, phantom=phantom), [ids(number) for number in range(3)]
    whole = [network(row[None], phantom=phantom)[0] for row in tokens]
    for row, time in enumerate(primed):
        read(network, cache, row, tokens[row][:time])
    for step in range(15):
        at = [time + step for time in primed]
        logits = network.step(torch.stack([row[place] for row, place in zip(tokens, at, strict=True)]), cache)
        for row, place in enumerate(at):
            torch.testing.assert_close(logits[row], whole[row][place], rtol=0, atol=2e-5)
    assert cache.lengths.tolist() == [time + 15 for time in primed] + [0]


def test_a_position_that_the_window_has_left_is_not_seen(network: LocalTransformer) -> None:
    """Behind depth * window positions nothing of a different beginning is left."""
    one, other = ids(1, 40), ids(1, 40)
    other[:5] = (other[:5] + 1) % CONFIG.vocabulary
    cache = room(2)
    read(network, cache, 0, one)
    read(network, cache, 1, other)
    logits = network.step(torch.tensor([7, 7]), cache)
    torch.testing.assert_close(logits[0], logits[1], rtol=0, atol=1e-6)


@phantoms
def test_a_moved_row_goes_on_where_it_was(network: LocalTransformer, phantom: bool) -> None:
    cache, tokens = room(3, phantom=phantom), ids(3)
    whole = network(tokens[None], phantom=phantom)[0]
    read(network, cache, 0, ids(4)[:33])
    read(network, cache, 2, tokens[:9])
    cache.move(2, 0)
    for place in range(9, 30):
        torch.testing.assert_close(network.step(tokens[place:place + 1], cache)[0], whole[place], rtol=0, atol=2e-5)


@phantoms
def test_a_row_that_is_read_anew_forgets_what_it_held(network: LocalTransformer, phantom: bool) -> None:
    cache, tokens = room(2, phantom=phantom), ids(5)
    read(network, cache, 0, ids(6))
    read(network, cache, 1, ids(7)[:20])
    read(network, cache, 0, tokens[:4])
    logits = network.step(torch.stack((tokens[4], ids(7)[20])), cache)
    for row, expected in enumerate((tokens[:5], ids(7)[:21])):
        torch.testing.assert_close(
            logits[row], network(expected[None], phantom=phantom)[0, -1], rtol=0, atol=2e-5)


def test_rows_are_as_large_as_they_say(network: LocalTransformer) -> None:
    assert room(5).rows == 5
    assert [layer[0].numel() for layer in room(5).layers] == [2 * 3 * 13 * 8] * 2  # keys and values, heads, slots, width
    assert [layer[0].numel() for layer in room(5, phantom=True).layers] == [2 * 3 * 14 * 8] * 2
