from __future__ import annotations

import gc
import os
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from models.engines.musicgen.network import Int8Linear, KeyValueCache, MusicgenConfig, MusicgenNetwork, quantised
from tests.engines.musicgen.building import WORDS, Tiny

Made = Callable[[str], Tiny]


def steps(network: MusicgenNetwork, cache: KeyValueCache, count: int = 6, rows: int = 3) -> Tensor:
    """Logits of a few steps with the same codes in every row, (steps, rows, codebooks, vocabulary)."""
    codes = torch.arange(count)[:, None, None].expand(-1, rows, network.config.codebooks)
    with torch.inference_mode():
        return torch.stack([network.step(one, cache) for one in codes])


def test_delays_of_stereo_are_the_same_left_and_right() -> None:
    assert MusicgenConfig().delays == (0, 1, 2, 3)
    assert MusicgenConfig(codebooks=8, channels=2).delays == (0, 0, 1, 1, 2, 2, 3, 3)


def test_a_row_without_text_is_one_whose_text_attention_is_left_out(tiny: Made) -> None:
    """As the library's null prompt: its states are zeros behind the projection, whatever that one's bias is."""
    network = tiny("mono").open().load_network()
    with_attention, without = (KeyValueCache(network.config, 3, 20, 8) for _ in range(2))
    for cache in (with_attention, without):
        cache.allocate()
        with torch.inference_mode():
            for row in range(3):
                network.read_text(None, cache, row)
    without.texts = []
    assert steps(network, with_attention).equal(steps(network, without))


def test_rows_with_and_without_text_and_at_different_places_share_a_step(tiny: Made) -> None:
    network = tiny("mono").open().load_network()
    text = torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(1))
    texts = (None, text[0], text[1, :3])

    def made(rows: tuple[int, ...]) -> KeyValueCache:
        cache = KeyValueCache(network.config, len(rows), 20, 8)
        cache.allocate()
        with torch.inference_mode():
            for place, row in enumerate(rows):
                network.read_text(texts[row], cache, place)
                network.read(torch.full((2 * row, 4), 7), cache, place)
        return cache

    together = steps(network, made((0, 1, 2)))
    for row in range(3):
        assert (steps(network, made((row,)), rows=1)[:, 0] - together[:, row]).abs().max() < 1e-4
    assert (together[:, 0] - together[:, 1]).abs().max() > 0.1


def test_a_copied_row_goes_on_as_the_one_it_was_copied_from(tiny: Made) -> None:
    network = tiny("mono").open().load_network()
    cache = KeyValueCache(network.config, 3, 30, 8)
    cache.allocate()
    with torch.inference_mode():
        for row in range(3):
            network.read_text(torch.full((4, 32), float(row)), cache, row)
            network.read(torch.full((row + 1, 4), 5 + row), cache, row)
        cache.copy(2, 0)
        logits = steps(network, cache)
    assert (logits[:, 0] - logits[:, 2]).abs().max() < 1e-5
    assert (logits[:, 0] - logits[:, 1]).abs().max() > 0.1


def test_bytes_of_a_row_are_what_its_tensors_have() -> None:
    for crosses in (True, False):
        config = MusicgenConfig(width=64, depth=3, heads=4, crosses=crosses)
        cache = KeyValueCache(config, 5, 40, 16, dtype=torch.bfloat16)
        cache.allocate()
        taken = sum(tensor.nbytes for tensor in (*cache.layers, *cache.texts))
        assert taken == 5 * KeyValueCache.row_bytes(config, 40, 16, torch.bfloat16)


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="asks Linux for the memory in use")
def test_memory_comes_with_use_and_goes_with_release() -> None:
    def resident() -> int:
        gc.collect()
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    config = MusicgenConfig(width=512, depth=4)
    cache = KeyValueCache(config, 16, 1500, 64)
    size = 16 * KeyValueCache.row_bytes(config, 1500, 64, torch.float32)
    before = resident()
    cache.allocate()
    assert resident() - before < size // 10
    for layer in cache.layers:
        layer[:8] = 1
    del layer
    assert resident() - before > size // 3
    cache.release()
    assert resident() - before < size // 10


def test_bytes_with_scales_are_near_the_weights() -> None:
    weight = torch.randn(50, 30, generator=torch.Generator().manual_seed(1)) * torch.logspace(-3, 1, 50)[:, None]
    weight[7] = 0
    rounded, scale = quantised(weight)
    assert rounded.dtype == torch.int8
    assert (rounded * scale[:, None] - weight).abs().le(scale[:, None] * 0.5001).all()
    assert rounded.abs().amax(dim=1)[torch.arange(50) != 7].eq(127).all()
    layer = Int8Linear(30, 50)
    layer.load_state_dict({"weight": rounded, "scale": scale})
    x = torch.randn(4, 30, generator=torch.Generator().manual_seed(2))
    assert torch.allclose(layer(x), x @ (rounded * scale[:, None]).T, atol=1e-4)


@pytest.mark.parametrize("kind", ["mono", "melody"])
def test_a_network_of_bytes_says_nearly_the_same(kind: str, tiny: Made) -> None:
    checkpoint = tiny(kind).open()
    full, small = checkpoint.load_network(), checkpoint.load_network("int8")
    logits = []
    for network in (full, small):
        cache = KeyValueCache(network.config, 3, 20, 8)
        cache.allocate()
        with torch.inference_mode():
            if network.config.crosses:
                for row, prompt in enumerate(WORDS[:3]):
                    network.read_text(torch.full((len(prompt) % 8 + 1, 32), 0.3), cache, row)
        logits.append(steps(network, cache))
    off = (logits[0] - logits[1]).square().mean().sqrt() / logits[0].std()
    assert 0 < off < 0.1
    assert sum(tensor.nbytes for tensor in small.blocks.state_dict().values()) < 0.4 * sum(
        tensor.nbytes for tensor in full.blocks.state_dict().values())


def test_bfloat16_goes_all_the_way(tiny: Made) -> None:
    network = tiny("mono").open().load_network("bfloat16")
    assert {parameter.dtype for parameter in network.parameters()} == {torch.bfloat16}
    cache = KeyValueCache(network.config, 3, 20, 8, dtype=network.dtype)
    cache.allocate()
    with torch.inference_mode():
        for row in range(3):
            network.read_text(torch.ones(row + 1, 32), cache, row)
            network.read(torch.ones(row, 4, dtype=torch.long), cache, row)
    assert steps(network, cache).isfinite().all()
