from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from models.checkpoints.store import load_model, save_model
from models.engines.pocket.weights import SHIPPED, load_pocket, save_pocket
from models.errors import CheckpointError
from tests.engines.pocket.building import COMPOSERS, small_network


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_pocket(tmp_path / "model", small_network(), {"ids": 7})
    return tmp_path / "model"


def change(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_model_comes_back_as_it_was_but_for_half_precision(folder: Path) -> None:
    before, after = small_network(), load_pocket(folder)
    assert after.config == before.config
    assert after.features.composers == COMPOSERS
    assert not after.training
    for name, old in before.named_parameters():
        new = after.get_parameter(name)
        assert new.dtype == torch.float32, name
        assert not new.requires_grad
        assert torch.equal(new, old.half().float()), name
    assert after.body.head.weight.data_ptr() == after.body.embedding.weight.data_ptr()


def test_the_file_is_half_precision_and_says_what_it_was_trained_on(folder: Path) -> None:
    numbers = sum(parameter.numel() for parameter in small_network().parameters())
    assert (folder / "model.safetensors").stat().st_size < 2.1 * numbers
    config = json.loads((folder / "config.json").read_text())
    assert config["family"] == "pocket"
    assert config["trained"] == {"ids": 7}


@pytest.mark.parametrize("values", [
    {"family": "local-transformer"}, {"sizes": None}, {"sizes": {"width": 32}}, {"composers": "bach"},
    {"composers": [1, 2]}, {"composers": ["bach"]}, {"features": 3},
])
def test_another_configuration_is_refused(folder: Path, values: dict[str, Any]) -> None:
    change(folder, **values)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        load_pocket(folder)


@pytest.mark.parametrize(("name", "value"), [
    ("width", "32"), ("width", -1), ("width", 33), ("depth", 3), ("depth", 10**9), ("heads", 1.5), ("head_width", 8),
    ("vocabulary", 2000), ("positions", 64), ("window", 0), ("heads", 0),
])
def test_other_sizes_than_those_of_the_weights_are_refused(folder: Path, name: str, value: object) -> None:
    sizes = json.loads((folder / "config.json").read_text())["sizes"]
    change(folder, sizes=sizes | {name: value})
    with pytest.raises(CheckpointError):
        load_pocket(folder)


def test_another_vocabulary_is_refused_even_if_the_weights_agree(folder: Path) -> None:
    config, tensors = load_model(folder)
    tensors["body.embedding.weight"] = tensors["body.embedding.weight"][:2000].clone()
    config["sizes"]["vocabulary"] = 2000
    save_model(folder, tensors, config)
    with pytest.raises(CheckpointError, match="2000"):
        load_pocket(folder)


@pytest.mark.parametrize("damage", ["cut", "random", "missing", "nan", "lacking"])
def test_damaged_weights_are_refused(folder: Path, damage: str) -> None:
    path = folder / "model.safetensors"
    config, tensors = load_model(folder)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif damage == "random":
        path.write_bytes(b"\x00\xff" * 500)
    elif damage == "missing":
        path.unlink()
    elif damage == "nan":
        tensors["grid.weight"] = tensors["grid.weight"] * torch.nan
        save_model(folder, tensors, config)
    else:
        del tensors["grid.weight"]
        save_model(folder, tensors, config)
    with pytest.raises(CheckpointError):
        load_pocket(folder)


@pytest.mark.skipif(not (SHIPPED / "model.safetensors").is_file(),
                    reason="models/engines/pocket/model is not there; it ships with the project")
def test_the_shipped_model_loads_and_is_small_enough() -> None:
    assert load_pocket().config.vocabulary == 2831
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) <= 40_000_000
