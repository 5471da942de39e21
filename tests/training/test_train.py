"""Real runs of the trainer on a few small MIDI files."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import models.training.train as module
from models.engines.pocket.weights import load_pocket
from models.errors import CheckpointError, InputError
from models.training.corpus import read_corpus
from models.training.evaluate import evaluate
from models.training.train import CHECKPOINT, LOG, MODEL, Trainer, TrainingPlan, common_composers, rate_at, train
from tests.training.building import PLAN, corpus_of, tune, write_corpus

IDS_A_STEP = PLAN.rows * PLAN.row_ids


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pieces = [(tune(number), {"artist": "J. S. Bach", "genre": "folk", "split": "train"}) for number in range(7)]
    return write_corpus(tmp_path_factory.mktemp("data"), [*pieces, (tune(9), {"split": "val", "artist": "N. N."})])


def run(data: Path, folder: Path, plan: TrainingPlan = PLAN) -> tuple[Trainer, list[dict[str, Any]]]:
    records: list[dict[str, Any]] = []
    return train(data, folder, plan, records.append), records


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in trainer.network.state_dict().items()}


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_the_loss_falls_and_a_model_is_left(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REPORT_SECONDS", -1)
    trainer, records = run(data, tmp_path, replace(PLAN, planned_ids=40 * IDS_A_STEP))
    losses = [record for record in records if record["what"] == "train"]
    assert [record["step"] for record in losses] == list(range(1, 41))
    assert [record["ids"] for record in losses] == list(range(IDS_A_STEP, 41 * IDS_A_STEP, IDS_A_STEP))
    for kind, bound in (("T", 4.9), ("D", 7.0), ("P", 7.4)):
        assert losses[0][kind] == pytest.approx(bound, abs=0.2), "at first all ids of a kind are as likely"
        assert losses[-1][kind] < 0.7 * losses[0][kind]
    assert [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()] == records
    assert records[-1]["what"] == "val"
    assert records[-1]["all"] < 0.8 * losses[0]["D"]

    model = load_pocket(tmp_path / MODEL)
    assert model.features.composers == ("bach",)
    trained = json.loads((tmp_path / MODEL / "config.json").read_text())["trained"]
    assert (trained["ids"], trained["steps"]) == (40 * IDS_A_STEP, 40)
    again = evaluate(model, trainer.corpus, trainer.corpus.split("val"))
    assert again["all"] == pytest.approx(records[-1]["all"], abs=0.02)
    assert trained["val"]["all"] == pytest.approx(records[-1]["all"], abs=1e-3)


def test_a_run_in_two_parts_is_the_run_in_one(data: Path, tmp_path: Path) -> None:
    whole, _ = run(data, tmp_path / "one")

    def stopped_in_between(trainer: Trainer) -> None:
        if trainer.step == 8:
            os.kill(os.getpid(), signal.SIGTERM)

    first = stopping(data, tmp_path / "two", stopped_in_between)
    assert first.step == 8
    second, _ = run(data, tmp_path / "two")
    assert (second.step, second.ids_seen) == (whole.step, whole.ids_seen) == (20, 20 * IDS_A_STEP)
    assert equal(weights(second), weights(whole))


def stopping(data: Path, folder: Path, after_a_step: Callable[[Trainer], None]) -> Trainer:
    """A run in which something happens after each step."""
    class Watched(Trainer):
        def _learn(self, losses_of: Any) -> Any:
            losses = super()._learn(losses_of)
            after_a_step(self)
            return losses

    folder.mkdir(exist_ok=True)
    trainer = Watched(read_corpus(data, folder), PLAN, folder, lambda _: None)
    trainer.run()
    return trainer


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_run_after_the_step_and_leaves_checkpoint_and_model(
    data: Path, tmp_path: Path, number: signal.Signals,
) -> None:
    before = signal.getsignal(number)

    def after_a_step(trainer: Trainer) -> None:
        if trainer.step == 3:
            threading.Timer(0, os.kill, (os.getpid(), number)).run()

    trainer = stopping(data, tmp_path, after_a_step)
    assert trainer.step == 3
    assert signal.getsignal(number) is before
    assert torch.load(tmp_path / CHECKPOINT, weights_only=True)["ids"] == 3 * IDS_A_STEP
    half = {name: tensor.half().float() for name, tensor in weights(trainer).items()}
    assert equal(load_pocket(tmp_path / MODEL).state_dict(), half)
    assert not list(tmp_path.glob("*.part"))


def test_a_plan_that_is_done_trains_no_further(data: Path, tmp_path: Path) -> None:
    first, _ = run(data, tmp_path)
    second, records = run(data, tmp_path)
    assert equal(weights(first), weights(second))
    assert second.step == 20
    assert [record["what"] for record in records] == ["val"]


def test_a_longer_plan_is_followed_from_the_checkpoint_on(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path)
    plan = replace(PLAN, planned_ids=25 * IDS_A_STEP, rows=2)
    trainer, _ = run(data, tmp_path, plan)
    assert (trainer.step, trainer.ids_seen) == (30, 25 * IDS_A_STEP)


def test_pieces_of_val_are_never_trained_on(data: Path, tmp_path: Path) -> None:
    """Whatever they hold, and even without any, the network comes out the same."""
    expected = weights(run(data, tmp_path / "run")[0])
    train_pieces = [(tune(number), {"artist": "J. S. Bach", "genre": "folk", "split": "train"}) for number in range(7)]
    for name, val in (("others", [(tune(40, 90, program=73), {"split": "val"}) for _ in range(9)]), ("none", [])):
        folder = write_corpus(tmp_path / name, [*train_pieces[:3], *val, *train_pieces[3:]])
        trainer, records = run(folder, tmp_path / f"{name} run")
        assert equal(weights(trainer), expected)
        assert bool(records) is bool(val)
    folder = write_corpus(tmp_path / "more", [*train_pieces, (tune(40, 90, program=73), {"split": "train"})])
    assert not equal(weights(run(folder, tmp_path / "more run")[0]), expected)


def test_seeds_give_other_networks_and_the_same_seed_the_same(data: Path, tmp_path: Path) -> None:
    one, same, other = (weights(run(data, tmp_path / str(number), replace(PLAN, seed=seed, planned_ids=IDS_A_STEP))[0])
                        for number, seed in enumerate((5, 5, 6)))
    assert equal(one, same)
    assert not equal(one, other)


@pytest.mark.parametrize("damage", ["empty", "cut", "text", "pickle", "keys"])
def test_a_damaged_checkpoint_is_refused_and_left_alone(data: Path, tmp_path: Path, damage: str) -> None:
    run(data, tmp_path, replace(PLAN, planned_ids=IDS_A_STEP))
    path = tmp_path / CHECKPOINT
    if damage == "pickle":
        torch.save({"network": TrainingPlan()}, path)  # a class: nothing that may be unpickled
    elif damage == "keys":
        torch.save({"composers": ["bach"]}, path)
    else:
        path.write_bytes({"empty": b"", "cut": path.read_bytes()[:-500], "text": b"no checkpoint"}[damage])
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match=r"checkpoint\.pt cannot be resumed"):
        run(data, tmp_path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("plan", [replace(PLAN, width=64), replace(PLAN, depth=2), replace(PLAN, heads=2)])
def test_a_checkpoint_of_other_sizes_is_refused(data: Path, tmp_path: Path, plan: TrainingPlan) -> None:
    run(data, tmp_path, replace(PLAN, planned_ids=IDS_A_STEP))
    with pytest.raises(CheckpointError, match="move it away"):
        run(data, tmp_path, plan)


def test_a_checkpoint_of_another_corpus_is_refused(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path, replace(PLAN, planned_ids=IDS_A_STEP))
    other = write_corpus(tmp_path / "data", [(tune(number), {"artist": "Chopin"}) for number in range(7)])
    with pytest.raises(CheckpointError, match="another corpus"):
        run(other, tmp_path)


def test_without_pieces_to_train_on_there_is_no_run(tmp_path: Path) -> None:
    folder = write_corpus(tmp_path / "data", [(tune(), {"split": "val"})])
    with pytest.raises(InputError, match="'train'"):
        run(folder, tmp_path / "run")


def test_checkpoints_and_evaluations_come_in_their_time(data: Path, tmp_path: Path) -> None:
    plan = replace(PLAN, planned_ids=4 * IDS_A_STEP, checkpoint_minutes=-1, evaluate_minutes=-1)
    seen = []

    def after_a_step(trainer: Trainer) -> None:
        path = tmp_path / CHECKPOINT
        seen.append(torch.load(path, weights_only=True)["step"] if path.is_file() else 0)

    class Watched(Trainer):
        def _learn(self, losses_of: Any) -> Any:
            losses = super()._learn(losses_of)
            after_a_step(self)
            return losses

    records: list[dict[str, Any]] = []
    Watched(read_corpus(data, tmp_path), plan, tmp_path, records.append).run()
    assert seen == [0, 1, 2, 3]
    assert [record["what"] for record in records] == ["val"] * 5


def test_composers_with_enough_training_pieces_are_attributes() -> None:
    corpus = corpus_of(
        *((tune(n, 16), {"artist": "Johann Sebastian Bach"}) for n in range(6)),
        *((tune(n, 16), {"artist": "Chopin"}) for n in range(5)), (tune(0, 16), {"artist": "Chopin", "split": "val"}),
        *((tune(n, 16), {"artist": None}) for n in range(6)))
    assert common_composers(corpus, corpus.split("train")) == ("bach",)


def test_the_rate_warms_up_stays_and_falls_to_nought() -> None:
    plan = TrainingPlan(planned_ids=1000, warm_up_ids=100, cool_down=0.25)
    rates = [rate_at(plan, ids) for ids in (0, 49, 99, 500, 750, 875, 999, 1000, 2000)]
    assert rates == pytest.approx([0.01, 0.5, 1, 1, 1, 0.5, 0.004, 0, 0])


def test_the_shipped_plan_is_one_that_can_be_trained() -> None:
    plan = TrainingPlan()
    assert plan.row_ids % 3 == 0
    assert plan.row_ids > plan.window
    assert plan.compiled
