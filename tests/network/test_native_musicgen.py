"""The compiled step of MusicGen against the one in PyTorch."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from models.decoding.batcher import Batcher
from models.decoding.sequence import Sequence
from models.engines.musicgen.decoder import Condition, MusicgenDecoder
from models.engines.musicgen.native import attach
from models.engines.musicgen.network import Int8Linear, KeyValueCache, MusicgenConfig, MusicgenNetwork, quantised
from models.network import native

COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
pytestmark = pytest.mark.skipif(COMPILER is None, reason="there is no C compiler on this machine")

# Rows that end within the lanes and blocks of the code, heads as wide as the published ones, sums in several parts.
SIZES = {
    "mono": MusicgenConfig(vocabulary=37, width=60, depth=2, heads=3, inner=100),
    "stereo": MusicgenConfig(vocabulary=40, codebooks=8, channels=2, width=128, depth=2, heads=2, inner=144),
    "melody": MusicgenConfig(vocabulary=37, width=128, depth=2, heads=2, inner=100, crosses=False),
    "long": MusicgenConfig(vocabulary=16, width=32, depth=1, heads=2, inner=2101),
}
PRECISIONS = "float32", "bfloat16", "int8"
SLOTS, TEXT_SLOTS = 60, 9


@pytest.fixture(scope="module", autouse=True)
def _own_cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Code that the tests compile is not left in the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("CC", raising=False)
        patch.delenv("KAPELLE_NATIVE", raising=False)
        native.library.cache_clear()
        threads = torch.get_num_threads()
        torch.set_num_threads(1)  # small networks gain nothing from more
        yield
        torch.set_num_threads(threads)
    native.library.cache_clear()


def network(name: str, precision: str = "float32") -> MusicgenNetwork:
    """With bfloat16 its weights are what float32 has rounded, so that only what is computed in differs."""
    torch.manual_seed(8)
    result = MusicgenNetwork(SIZES[name]).eval().requires_grad_(False)
    for parameter in result.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))
    if precision == "bfloat16":
        return result.bfloat16()
    if precision == "int8":
        weights = result.state_dict()
        result = MusicgenNetwork(SIZES[name], int8=True).eval().requires_grad_(False)
        for module, layer in result.named_modules():
            if isinstance(layer, Int8Linear):
                weights[f"{module}.weight"], weights[f"{module}.scale"] = quantised(weights[f"{module}.weight"])
        result.load_state_dict(weights)
    return result


def room(net: MusicgenNetwork, rows: int, dtype: torch.dtype = torch.float32, *, compiled: bool) -> KeyValueCache:
    cache = KeyValueCache(net.config, rows, SLOTS, TEXT_SLOTS, dtype=dtype)
    cache.allocate()
    assert not compiled or attach(net, cache)
    return cache


def steps(net: MusicgenNetwork, cache: KeyValueCache, rows: int, count: int) -> Tensor:
    """Rows with texts and beginnings of their own, some with none, stepped; logits (steps, rows, codebooks, vocabulary)."""
    generator = torch.Generator().manual_seed(rows)
    config = net.config

    def codes(many: int) -> Tensor:
        return torch.randint(0, config.vocabulary + 1, (many, config.codebooks), generator=generator)

    with torch.inference_mode():
        for row in range(rows):
            if config.crosses:
                text = torch.randn(1 + 3 * row % TEXT_SLOTS, config.width, generator=generator)
                net.read_text(None if row % 3 == 1 else text, cache, row)
            net.read(codes(7 * row % 40), cache, row)
        return torch.stack([net.step(codes(rows), cache) for _ in range(count)])


@pytest.mark.parametrize("precision", ["float32", "int8"])
@pytest.mark.parametrize("name", list(SIZES))
def test_the_compiled_step_equals_the_one_in_pytorch(name: str, precision: str) -> None:
    net = network(name, precision)
    for rows in range(1, 21):
        ours, theirs = room(net, rows, compiled=True), room(net, rows, compiled=False)
        made, expected = steps(net, ours, rows, 3), steps(net, theirs, rows, 3)
        assert expected.std() > 0.3
        torch.testing.assert_close(made, expected, rtol=0, atol=1e-5)
        for tensor, other in zip(ours.layers, theirs.layers, strict=True):
            torch.testing.assert_close(tensor, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", list(SIZES))
def test_weights_in_bfloat16_are_computed_with_in_float32(name: str) -> None:
    """Closer to the same weights in float32 than PyTorch comes, which rounds after every layer."""
    net = network(name, "bfloat16")
    exact = network(name, "bfloat16").float()
    for rows in (1, 4, 13):
        made = steps(net, room(net, rows, compiled=True), rows, 1)
        rounded = steps(net, room(net, rows, torch.bfloat16, compiled=False), rows, 1)
        expected = steps(exact, room(exact, rows, compiled=False), rows, 1)
        assert made.dtype == torch.float32
        assert (made - expected).square().mean() < (rounded.float() - expected).square().mean()


@pytest.mark.parametrize("name", list(SIZES))
def test_keys_and_values_in_bfloat16_are_rounded_and_read_as_in_pytorch(name: str) -> None:
    """One step from the same cache: two roundings to three digits would drift apart later."""
    net = network(name)
    for rows in (1, 2, 5, 17):
        ours, theirs = (room(net, rows, torch.bfloat16, compiled=compiled) for compiled in (True, False))
        torch.testing.assert_close(steps(net, ours, rows, 1), steps(net, theirs, rows, 1), rtol=0, atol=0.02)
        for tensor, other in zip(ours.layers, theirs.layers, strict=True):
            torch.testing.assert_close(tensor, other, rtol=2**-7, atol=1e-5)


@pytest.mark.parametrize("states", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", list(SIZES))
def test_a_row_comes_to_the_same_bits_whatever_is_beside_it(name: str, precision: str, states: torch.dtype) -> None:
    net = network(name, precision)
    many = room(net, 20, states, compiled=True)
    steps(net, many, 20, 2)
    codes = torch.randint(0, net.config.vocabulary, (20, net.config.codebooks), generator=torch.Generator().manual_seed(3))
    before = [tensor.clone() for tensor in many.layers]
    lengths = many.lengths.clone()
    together = net.step(codes, many)
    orders = [*([row] for row in range(20)), *(list(range(first, first + rows)) for first, rows in (
        (0, 2), (3, 3), (1, 4), (7, 5), (2, 7), (0, 8), (11, 9), (4, 16), (2, 17))), [5, 0, 19, 12, 1, 7, 3, 3]]
    for order in orders:
        few = room(net, len(order), states, compiled=True)
        for tensors, kept in ((few.layers, before), (few.texts, many.texts)):
            for tensor, other in zip(tensors, kept, strict=True):
                tensor.copy_(other[order])
        few.lengths.copy_(lengths[order])
        few.text_lengths.copy_(many.text_lengths[order])
        assert torch.equal(net.step(codes[order], few), together[order]), order


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_share_the_work_without_a_trace(threads: int) -> None:
    net, before = network("mono"), torch.get_num_threads()
    results = []
    for count in (1, threads):
        cache = room(net, 6, compiled=True)
        torch.set_num_threads(1)
        steps(net, cache, 6, 1)
        torch.set_num_threads(count)
        try:
            results.append([net.step(torch.full((6, 4), step), cache) for step in range(6)])
        finally:
            torch.set_num_threads(before)
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


def test_where_no_row_has_text_there_is_nothing_to_add() -> None:
    net = network("mono")
    cache, other = room(net, 3, compiled=True), room(net, 3, compiled=True)
    codes = torch.zeros(3, 4, dtype=torch.long)
    for block in net.blocks:
        block.text_out.weight.fill_(torch.nan)  # type: ignore[union-attr,operator]
    made = net.step(codes, cache)
    assert made.isfinite().all()
    other.text_lengths[1] = 2
    beside = net.step(codes, other)
    assert torch.equal(beside[[0, 2]], made[[0, 2]])
    assert beside[1].isnan().all()


def test_fewer_rows_than_there_is_room_for_leave_the_others_alone() -> None:
    net = network("mono")
    cache = room(net, 9, compiled=True)
    steps(net, cache, 9, 1)
    before, lengths = [layer[5:].clone() for layer in cache.layers], cache.lengths[5:].clone()
    for _ in range(3):
        net.step(torch.ones(5, 4, dtype=torch.long), cache)
    assert all(torch.equal(layer[5:], kept) for layer, kept in zip(cache.layers, before, strict=True))
    assert torch.equal(cache.lengths[5:], lengths)


def test_what_lies_outside_of_the_memory_is_refused() -> None:
    net = network("mono")
    cache = room(net, 2, compiled=True)
    codes = torch.zeros(2, 4, dtype=torch.long)
    for wrong in (-1, 38):
        with pytest.raises(IndexError, match="between 0 and 37"):
            net.step(codes + wrong, cache)
    with pytest.raises(IndexError, match="room for 2"):
        net.step(codes[[0, 0, 0]], cache)
    cache.lengths[1] = SLOTS
    with pytest.raises(IndexError, match=f"of {SLOTS}"):
        net.step(codes, cache)


def test_what_the_code_is_not_made_for_stays_with_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    net = network("mono")
    assert not attach(net, KeyValueCache(net.config, 2, SLOTS, TEXT_SLOTS))  # no memory yet
    assert not attach(net, room(net, 2, torch.float64, compiled=False))
    assert not attach(network("mono").double(), room(net, 2, compiled=False))
    mixed = network("mono")
    mixed.head.bfloat16()
    assert not attach(mixed, room(net, 2, compiled=False))
    narrow = MusicgenNetwork(MusicgenConfig(vocabulary=16, width=4, depth=1, heads=1, inner=16)).requires_grad_(False)
    assert not attach(narrow, room(narrow, 2, compiled=False))
    monkeypatch.setenv("KAPELLE_NATIVE", "0")
    native.library.cache_clear()
    assert not attach(net, room(net, 2, compiled=False))
    native.library.cache_clear()


@pytest.mark.parametrize("file", ["musicgen.c", "kernels.h"])
def test_another_source_is_compiled_for_anew(file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = native._target("cc", "musicgen")
    shutil.copytree(native._FOLDER, tmp_path / "sources")
    monkeypatch.setattr(native, "_FOLDER", tmp_path / "sources")
    assert native._target("cc", "musicgen") == before
    with (tmp_path / "sources" / file).open("a", encoding="utf-8") as source:
        source.write("\n")
    assert native._target("cc", "musicgen") != before


def decoded(name: str) -> tuple[list[list[tuple[int, ...]]], list[bool]]:
    """Steps of sequences that come and go and outgrow the window; and whether each step was compiled code."""
    net, generator = network(name), torch.Generator().manual_seed(4)
    decoder = MusicgenDecoder(
        net, 5, window=24, text_slots=TEXT_SLOTS, melody_slots=0 if net.config.crosses else 6,
        chroma=None if net.config.crosses else torch.randn(12, net.config.width, generator=generator))
    batcher = Batcher(decoder)
    texts = [torch.randn(length, net.config.width, generator=generator) for length in (3, 8, 5)]
    melody = {start: (np.arange(6) + start) % 12 for start in (0, 14, 28)}
    frame = tuple(range(net.config.codebooks))
    sequences = [
        Sequence(
            prime=(frame,) * primed, length=length, seed=5, take=take, top_k=20, guidance=guidance,
            condition=Condition(text, 14, None if net.config.crosses else melody))
        for take, (text, primed, length, guidance) in enumerate(zip(
            texts, (0, 7, 2), (40, 12, 25), (3.0, 1.0, 0.0), strict=True))]
    batcher.add(sequences[0])
    attached = []
    for number in range(60):
        if number in (3, 6):
            batcher.add(sequences[number // 3])
        if batcher.busy:
            batcher.step()
            if batcher.busy:
                attached.append(decoder._cache.native is not None)
    batcher.add(again := Sequence(
        (), 6, seed=5, take=9, top_k=20, guidance=2.0, condition=sequences[0].condition))  # the memory is taken anew
    while batcher.busy:
        batcher.step()
    return [one.ids for one in (*sequences, again)], attached


@pytest.mark.parametrize("name", ["mono", "melody"])
def test_a_decoder_makes_the_same_codes_with_and_without_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made, attached = decoded(name)
    assert len(attached) > 30
    assert all(attached)
    monkeypatch.setenv("KAPELLE_NATIVE", "0")
    native.library.cache_clear()
    expected, attached = decoded(name)
    assert not any(attached)
    assert made == expected
    native.library.cache_clear()
