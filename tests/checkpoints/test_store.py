"""Model folders: what is saved is loaded, and what is damaged is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from models.checkpoints.local_transformer import convert, load, load_local_transformer
from models.checkpoints.store import CONFIG, WEIGHTS, load_model, save_model
from models.checkpoints.upstream import sha256_of
from models.errors import CheckpointError
from tests.checkpoints.building import DEPTH, POSITIONS, WIDTH, write_checkpoint

TENSORS = {
    "a": torch.arange(6.0).reshape(2, 3),
    "b": torch.tensor([1.5, -2.0]).half(),
    "c": torch.tensor([0.25]).bfloat16(),
}


@pytest.fixture
def converted(tmp_path: Path) -> Path:
    convert(write_checkpoint(tmp_path / "upstream.pth"), tmp_path / "model", origin="hub:somebody/something")
    return tmp_path / "model"


def refused(folder: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def edit(folder: Path, **changes: Any) -> None:
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps({**config, **changes}))


def test_a_saved_model_is_loaded_with_half_precision_widened(tmp_path: Path) -> None:
    save_model(tmp_path / "m", TENSORS, {"family": "test", "answer": 42})
    config, tensors = load_model(tmp_path / "m")
    assert config["answer"] == 42
    assert config["family"] == "test"
    assert set(tensors) == set(TENSORS)
    for name, tensor in tensors.items():
        assert tensor.dtype == torch.float32
        assert torch.equal(tensor, TENSORS[name].float())
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == [CONFIG, WEIGHTS]


def test_saving_replaces_a_model_and_leaves_other_files(tmp_path: Path) -> None:
    save_model(tmp_path, TENSORS, {"family": "old"})
    (tmp_path / "README.md").write_text("a model card")
    save_model(tmp_path, {"z": torch.ones(1)}, {"family": "new"})
    config, tensors = load_model(tmp_path)
    assert (config["family"], list(tensors)) == ("new", ["z"])
    assert (tmp_path / "README.md").read_text() == "a model card"


def test_a_save_that_fails_leaves_the_model_that_was_there(tmp_path: Path) -> None:
    save_model(tmp_path, TENSORS, {"family": "old"})
    with pytest.raises(TypeError):
        save_model(tmp_path, {"z": torch.zeros(4)}, {"family": "new", "not JSON": object()})
    config, tensors = load_model(tmp_path)
    assert config["family"] == "old"
    assert set(tensors) == set(TENSORS)
    assert not list(tmp_path.glob(".*"))


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot be written"):
        save_model(tmp_path / "file" / "m", TENSORS, {"family": "test"})


def test_a_converted_model_computes_what_the_upstream_file_does(converted: Path, tmp_path: Path) -> None:
    ids = torch.arange(20)[None] * 100
    folder, file = load(converted), load(tmp_path / "upstream.pth")
    assert torch.equal(folder.network(ids), file.network(ids))
    assert folder.first_window == file.first_window == "native"
    assert folder.source_sha256 == file.source_sha256 == sha256_of(tmp_path / "upstream.pth")


def test_a_configuration_says_sizes_mode_and_source(converted: Path, tmp_path: Path) -> None:
    config = json.loads((converted / CONFIG).read_text())
    assert config["family"] == "local-transformer"
    assert config["sizes"]["width"] == WIDTH
    assert config["sizes"]["depth"] == DEPTH
    assert config["sizes"]["positions"] == POSITIONS
    assert config["first_window"] == "native"
    assert config["source"] == {"sha256": sha256_of(tmp_path / "upstream.pth"), "origin": "hub:somebody/something"}


def test_weights_are_mapped_and_ready(converted: Path) -> None:
    network = load_local_transformer(converted)
    assert not network.training
    assert not any(parameter.requires_grad or parameter.is_meta for parameter in network.parameters())
    mapped = Path("/proc/self/maps")
    if mapped.exists():
        assert str(converted / WEIGHTS) in mapped.read_text()


def test_the_trained_first_window_is_kept(tmp_path: Path) -> None:
    convert(write_checkpoint(tmp_path / "upstream.pth"), tmp_path / "m", first_window="trained")
    assert load(tmp_path / "m").first_window == "trained"


@pytest.mark.parametrize(("changes", "said"), [
    ({"format": 2}, "format 2"), ({"format": None}, "format"), ({"family": "pocket"}, "family 'pocket'"),
    ({"family": 3}, "no family"), ({"first_window": "other"}, "native or trained"), ({"first_window": []}, "native or"),
    ({"surprise": 1}, "surprise"), ({"source": {}}, "source"), ({"sizes": {}}, "sizes"), ({"sizes": 3}, "sizes"),
])
def test_a_wrong_configuration_is_refused(converted: Path, changes: dict[str, Any], said: str) -> None:
    edit(converted, **changes)
    assert said in refused(converted)


@pytest.mark.parametrize(("size", "value"), [
    ("width", 0), ("width", -3), ("width", 1.5), ("width", True), ("width", "12"), ("width", 13), ("width", 10**12),
    ("depth", 10**9), ("depth", 1), ("depth", 3), ("heads", 4), ("head_width", 63), ("positions", 0), ("positions", 41),
    ("vocabulary", 10**9), ("tied", True), ("window", 0),
])
def test_sizes_that_are_absurd_or_do_not_fit_the_weights_are_refused(converted: Path, size: str, value: Any) -> None:
    sizes = json.loads((converted / CONFIG).read_text())["sizes"]
    edit(converted, sizes={**sizes, size: value})
    refused(converted)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b" " * (2 << 20)])
def test_a_configuration_that_is_none_is_refused(converted: Path, content: bytes) -> None:
    (converted / CONFIG).write_bytes(content)
    refused(converted)


@pytest.mark.parametrize("content", [b"", b"hello", b"\xff" * 64, (10**15).to_bytes(8, "little") + b"{}"])
def test_weights_that_are_none_are_refused(converted: Path, content: bytes) -> None:
    (converted / WEIGHTS).write_bytes(content)
    refused(converted)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.999])
def test_truncated_weights_are_refused(converted: Path, share: float) -> None:
    whole = (converted / WEIGHTS).read_bytes()
    (converted / WEIGHTS).write_bytes(whole[:int(len(whole) * share)])
    refused(converted)


def test_weights_that_are_not_numbers_are_refused(converted: Path) -> None:
    config, tensors = load_model(converted)
    broken = {**tensors, "norm.weight": tensors["norm.weight"] * float("nan")}
    save_model(converted, broken, config)
    assert "norm.weight" in refused(converted)


def test_missing_and_unknown_weights_are_named(converted: Path) -> None:
    config, tensors = load_model(converted)
    kept = {name: tensor.clone() for name, tensor in tensors.items()}
    save_model(converted, {**kept, "surprise": torch.ones(1)}, config)
    assert "surprise" in refused(converted)
    save_model(converted, {name: tensor for name, tensor in kept.items() if name != "blocks.1.up.weight"}, config)
    assert "blocks.1.up.weight" in refused(converted)


def test_weights_or_configuration_alone_are_no_model(converted: Path) -> None:
    (converted / WEIGHTS).rename(converted / "elsewhere")
    assert WEIGHTS in refused(converted)
    (converted / CONFIG).unlink()
    assert CONFIG in refused(converted)
