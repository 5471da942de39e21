"""The compiled step against the one in PyTorch, and where there is nothing to compile with."""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from models.decoding.batcher import Batcher
from models.decoding.local_decoder import LocalDecoder
from models.decoding.sequence import Sequence
from models.network import native
from models.network.cache import KeyValueCache
from models.network.local_transformer import LocalTransformer, LocalTransformerConfig

COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
pytestmark = pytest.mark.skipif(COMPILER is None, reason="there is no C compiler on this machine")

SIZES = {
    "round": LocalTransformerConfig(vocabulary=128, width=48, depth=2, heads=2, head_width=16, window=16, positions=0),
    "odd": LocalTransformerConfig(vocabulary=101, width=56, depth=2, heads=3, head_width=10, window=13, positions=90),
    "published": LocalTransformerConfig(vocabulary=283, width=64, depth=3, heads=2, head_width=64, window=20, positions=90),
}


def network(name: str) -> LocalTransformer:
    torch.manual_seed(8)
    result = LocalTransformer(SIZES[name]).eval().requires_grad_(False)
    for parameter in result.parameters():
        parameter.add_(0.05 * torch.randn_like(parameter))
    return result


def room(
    network: LocalTransformer, rows: int, phantom: bool = False, *, compiled: bool, dtype: torch.dtype = torch.float32,
) -> KeyValueCache:
    config = network.config
    cache = KeyValueCache(rows, config.depth, config.heads, config.head_width, config.window, phantom=phantom, dtype=dtype)
    if compiled:
        assert native.attach(network, cache)
    return cache


@pytest.fixture(scope="module", autouse=True)
def _own_cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Code that the tests compile is not left in the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("CC", raising=False)
        patch.delenv("KAPELLE_NATIVE", raising=False)
        native.library.cache_clear()
        yield
    native.library.cache_clear()


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache folder, and nothing loaded yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    native.library.cache_clear()
    yield tmp_path / "kapelle"
    native.library.cache_clear()


def steps(net: LocalTransformer, cache: KeyValueCache, rows: int, count: int) -> Tensor:
    """Rows primed with lengths of their own, then stepped; logits (steps, rows, vocabulary)."""
    generator = torch.Generator().manual_seed(rows)
    for row in range(rows):
        prime = torch.randint(0, net.config.vocabulary, (1, 1 + 7 * row % 40), generator=generator)
        net.hidden(prime, phantom=cache.phantom, cache=cache, rows=[row])
    stepped = [net.step(torch.randint(0, net.config.vocabulary, (rows,), generator=generator), cache) for _ in range(count)]
    return torch.stack(stepped) if stepped else torch.empty(0, rows, net.config.vocabulary)


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 8, 15, 16, 17, 33, 40])
@pytest.mark.parametrize(("name", "phantom"), [("round", False), ("odd", False), ("odd", True), ("published", True)])
def test_the_compiled_step_equals_the_one_in_pytorch(name: str, phantom: bool, rows: int) -> None:
    net = network(name)
    ours, theirs = room(net, rows, phantom, compiled=True), room(net, rows, phantom, compiled=False)
    torch.testing.assert_close(steps(net, ours, rows, 12), steps(net, theirs, rows, 12), rtol=0, atol=2e-6)
    for layer in range(net.config.depth):
        torch.testing.assert_close(ours.layers[layer], theirs.layers[layer], rtol=0, atol=2e-6)


@pytest.mark.parametrize("rows", [1, 4, 5, 17])
@pytest.mark.parametrize(("name", "phantom"), [("round", False), ("odd", True), ("published", True)])
def test_keys_and_values_in_bfloat16_are_rounded_and_read_as_in_pytorch(name: str, phantom: bool, rows: int) -> None:
    """One step from the same cache: two roundings to three digits would drift apart later."""
    net = network(name)
    ours = room(net, rows, phantom, compiled=True, dtype=torch.bfloat16)
    theirs = room(net, rows, phantom, compiled=False, dtype=torch.bfloat16)
    torch.testing.assert_close(steps(net, ours, rows, 1), steps(net, theirs, rows, 1), rtol=0, atol=2e-3)
    for layer in range(net.config.depth):
        torch.testing.assert_close(ours.layers[layer], theirs.layers[layer], rtol=2**-7, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("name", "phantom"), [("round", False), ("odd", True), ("published", True)])
def test_a_row_comes_to_the_same_bits_whatever_is_beside_it(name: str, phantom: bool, dtype: torch.dtype) -> None:
    net, config = network(name), SIZES[name]
    generator = torch.Generator().manual_seed(3)
    many = room(net, 40, phantom, compiled=True, dtype=dtype)
    for layer in many.layers:
        layer.normal_(generator=generator)
    positions = torch.randint(0, 60, (40,), generator=generator)
    x = torch.randn(40, config.width, generator=generator)
    before = [layer.clone() for layer in many.layers]
    assert many.native is not None
    together = many.native(x.clone(), positions)
    for rows in (1, 2, 3, 4, 5, 9, 16, 17, 32):
        few = room(net, rows, phantom, compiled=True, dtype=dtype)
        for layer, kept in zip(few.layers, before, strict=True):
            layer.copy_(kept[:rows])
        assert few.native is not None
        assert torch.equal(few.native(x[:rows].clone(), positions[:rows].clone()), together[:rows]), rows


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_share_the_work_without_a_trace(threads: int) -> None:
    net, before = network("odd"), torch.get_num_threads()
    results = []
    for count in (1, threads):
        cache = room(net, 6, compiled=True)
        torch.set_num_threads(1)
        steps(net, cache, 6, 0)
        torch.set_num_threads(count)
        try:
            results.append([net.step(torch.arange(6) + step, cache) for step in range(6)])
        finally:
            torch.set_num_threads(before)
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))


def test_fewer_rows_than_there_is_room_for_leave_the_others_alone() -> None:
    net = network("odd")
    cache = room(net, 9, compiled=True)
    before = [layer[5:].clone() for layer in cache.layers]
    steps(net, cache, 5, 4)
    assert all(torch.equal(layer[5:], kept) for layer, kept in zip(cache.layers, before, strict=True))


def test_only_float32_on_a_cpu_is_compiled_for() -> None:
    net = network("round").double()
    config = net.config
    cache = KeyValueCache(1, config.depth, config.heads, config.head_width, config.window, dtype=torch.float64)
    assert not native.attach(net, cache)
    assert cache.native is None
    assert torch.isfinite(net.step(torch.tensor([1]), cache)).all()


def decoded() -> list[list[int]]:
    batcher = Batcher(LocalDecoder(network("odd"), rows=3))
    sequences = [Sequence(prime=(5, 6, 7), length=40, seed=9, take=take) for take in (1, 2, 3)]
    for sequence in sequences:
        batcher.add(sequence)
    while batcher.busy:
        batcher.step()
    return [sequence.ids for sequence in sequences]


@pytest.mark.parametrize("without", ["path", "compiler", "setting", "folder", "home"])
def test_without_compiled_code_the_same_ids_come(
    without: str, elsewhere: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:
    compiled = decoded()
    assert native.library() is not None
    shutil.rmtree(elsewhere)
    native.library.cache_clear()
    if without == "path":
        monkeypatch.setenv("PATH", "")
    elif without == "compiler":
        monkeypatch.setenv("CC", "false")
    elif without == "setting":
        monkeypatch.setenv("KAPELLE_NATIVE", "0")
    elif without == "folder":
        elsewhere.write_text("in the way of the folder")
    else:
        monkeypatch.delenv("XDG_CACHE_HOME")
        monkeypatch.setattr(Path, "home", _no_home)
    with caplog.at_level("INFO"):
        assert native.library() is None
    assert decoded() == compiled
    assert bool(caplog.records) is (without != "setting")


def _no_home() -> Path:
    raise RuntimeError("Could not determine home directory.")


def test_code_is_compiled_once(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert native.library() is not None
    [library] = elsewhere.iterdir()
    before = library.stat().st_mtime_ns
    native.library.cache_clear()
    monkeypatch.setattr(native, "_compile", _not_again)
    assert native.library() is not None
    assert [(path, path.stat().st_mtime_ns) for path in elsewhere.iterdir()] == [(library, before)]


def _not_again(compiler: str, target: Path) -> None:
    raise AssertionError("it was compiled before")


def test_another_source_or_cpu_is_compiled_for_anew(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = native._target("cc")
    assert native._target("clang") != here
    monkeypatch.setattr(native, "_cpu", lambda: "another one")
    assert native._target("cc") != here


@pytest.mark.parametrize("content", [b"", b"this is no library", b"\x7fELF and no more"])
def test_a_damaged_library_is_compiled_again(elsewhere: Path, content: bytes) -> None:
    elsewhere.mkdir(mode=0o700)
    target = native._target(str(COMPILER))
    target.write_bytes(content)
    assert native.library() is not None
    assert len(target.read_bytes()) > 1000


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="permissions are others on this system")
@pytest.mark.parametrize("which", ["folder", "library"])
def test_code_that_others_could_have_put_there_is_not_loaded(
    elsewhere: Path, monkeypatch: pytest.MonkeyPatch, which: str, caplog: pytest.LogCaptureFixture,
) -> None:
    assert native.library() is not None
    assert elsewhere.stat().st_mode & 0o777 == 0o700
    [library] = elsewhere.iterdir()
    (elsewhere if which == "folder" else library).chmod(0o777)
    native.library.cache_clear()
    assert native.library() is None
    assert "others may write" in caplog.text


def test_loading_it_leaves_very_small_numbers_alone() -> None:
    assert native.library() is not None
    tiny = torch.tensor([1e-40])
    assert (tiny * 1.0).item() > 0
    assert ctypes.c_float(1e-40).value * 1.0 > 0
    decoded()
    assert (tiny * 1.0).item() > 0
