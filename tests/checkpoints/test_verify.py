"""Verification: a model that computes something else than what was recorded does not pass."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from models.checkpoints.local_transformer import convert, load
from models.checkpoints.verify import META, RECORDED, TOLERANCES, Comparison, verify
from models.errors import CheckpointError
from tests.checkpoints.building import DEPTH, POSITIONS, VOCABULARY, WIDTH, upstream_tensors, write_checkpoint

REFERENCE = Path(__file__).resolve().parents[2] / "../shared/reference/la_composer"
STEPS = 3
PRIME = 9


def record(folder: Path) -> None:
    """A reference of one case, laid out like those that are recorded with upstream's code."""
    network = load(folder / "checkpoint.pth").network
    ids = torch.randint(VOCABULARY, (PRIME,), generator=torch.Generator().manual_seed(2))
    recorded: dict[str, Tensor] = {"L9/input": ids}
    recorded["L9/native_last"] = network(ids[None])[0, -1]
    recorded["L9/trained_mode_last"] = network(ids[None], phantom=True)[0, -1]
    greedy: list[int] = []
    best = []
    for _ in range(STEPS):
        logits = network(torch.cat((ids, torch.tensor(greedy, dtype=torch.long)))[None])[0, -1]
        best.append(logits.topk(8))
        greedy.append(int(logits.argmax()))
    recorded["L9/greedy"] = torch.tensor(greedy)
    recorded["L9/forced_top_ids"] = torch.stack([found.indices for found in best])
    recorded["L9/forced_top_vals"] = torch.stack([found.values for found in best])
    recorded["L9/forced_trained_last"] = network(torch.cat((ids, torch.tensor(greedy)))[None], phantom=True)[0, -1]
    meta = {"num_tokens": VOCABULARY, "dim": WIDTH, "depth": DEPTH, "heads": 8, "dim_head": 64, "window": 512,
            "max_seq_len": POSITIONS, "cases": {"L9": {"length": PRIME, "flagged_input": False, "flagged_steps": []}}}
    torch.save(recorded, folder / RECORDED)
    (folder / META).write_text(json.dumps(meta))


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    folder = tmp_path / "reference"
    folder.mkdir()
    write_checkpoint(folder / "checkpoint.pth")
    record(folder)
    return folder


def test_the_model_itself_passes_as_a_file_and_as_a_folder(reference: Path, tmp_path: Path) -> None:
    convert(reference / "checkpoint.pth", tmp_path / "model")
    reported: list[Comparison] = []
    results = verify(tmp_path / "model", reference, reported.append)
    assert [(one.case, one.mode) for one in results] == [("L9", "native"), ("L9", "trained")]
    assert all(one.passed for one in results)
    assert [one.tolerance for one in results] == [2.5e-5, 8e-5]
    assert reported == results
    assert all(one.passed for one in verify(reference / "checkpoint.pth", reference))


@pytest.mark.parametrize("key", [
    "module.token_emb.weight", "module.pos_emb.weight", "module.layers.1.0.to_qkv.weight", "module.layers.0.1.1.weight",
    "module.layers.1.0.norm.bias", "module.to_logits.0.weight", "module.to_logits.1.weight",
])
def test_a_model_with_other_weights_does_not_pass(reference: Path, tmp_path: Path, key: str) -> None:
    tensors = upstream_tensors()
    tensors[key] *= 1.2
    results = verify(write_checkpoint(tmp_path / "other.pth", tensors), reference)
    assert not any(one.passed for one in results)


@pytest.mark.parametrize(("key", "mode"), [
    ("native_last", "native"), ("forced_top_vals", "native"), ("trained_mode_last", "trained"),
    ("forced_trained_last", "trained"),
])
def test_one_logit_that_is_off_is_enough(reference: Path, key: str, mode: str) -> None:
    recorded = torch.load(reference / RECORDED, weights_only=True)
    recorded[f"L9/{key}"].view(-1)[5] += 2e-4
    torch.save(recorded, reference / RECORDED)
    for one in verify(reference / "checkpoint.pth", reference):
        assert one.passed is (one.mode != mode)
        assert one.mode != mode or one.difference == pytest.approx(2e-4, rel=0.3)


def test_another_id_above_the_recorded_best_one_is_seen(reference: Path) -> None:
    recorded = torch.load(reference / RECORDED, weights_only=True)
    # As if upstream's best eight had been the eight after the best one.
    recorded["L9/forced_top_ids"][1, 0] = recorded["L9/forced_top_ids"][1, 1]
    recorded["L9/forced_top_vals"][1, 0] = recorded["L9/forced_top_vals"][1, 1]
    torch.save(recorded, reference / RECORDED)
    native, _ = verify(reference / "checkpoint.pth", reference)
    assert not native.passed


def test_what_is_not_a_number_does_not_pass() -> None:
    assert not Comparison("L9", "native", float("nan"), 1).passed


def refused(model: Path, reference: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        verify(model, reference)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_model_of_other_sizes_is_named(reference: Path, tmp_path: Path) -> None:
    other = write_checkpoint(tmp_path / "other.pth", upstream_tensors(positions=41))
    assert "positions 41" in refused(other, reference)


@pytest.mark.parametrize("damage", [
    lambda folder: (folder / META).unlink(), lambda folder: (folder / RECORDED).unlink(),
    lambda folder: (folder / META).write_text("{"), lambda folder: (folder / META).write_text("[]"),
    lambda folder: (folder / RECORDED).write_bytes(b"hello"), lambda folder: torch.save([1], folder / RECORDED),
    lambda folder: torch.save({}, folder / RECORDED),
])
def test_a_folder_that_is_no_reference_is_refused(reference: Path, damage: Any) -> None:
    damage(reference)
    refused(reference / "checkpoint.pth", reference)


def test_a_reference_without_cases_does_not_pass_as_one(reference: Path) -> None:
    meta = json.loads((reference / META).read_text())
    (reference / META).write_text(json.dumps({**meta, "cases": {}}))
    assert "no cases" in refused(reference / "checkpoint.pth", reference)


@pytest.mark.skipif(not REFERENCE.is_dir(), reason="the recorded logits of the reference checkpoint are not here")
def test_a_tiny_change_of_the_weights_is_seen_in_the_recorded_reference(tmp_path: Path) -> None:
    tensors = torch.load(REFERENCE / "checkpoint.pth", weights_only=True)
    tensors["module.layers.0.0.norm.weight"] *= 1 + 1e-4
    results = verify(write_checkpoint(tmp_path / "other.pth", dict(tensors)), REFERENCE)
    assert not any(one.passed for one in results if one.mode == "native")
    assert TOLERANCES["native"] < max(one.difference for one in results) < 1
