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
from models.checkpoints.store import load_model, save_model
from models.engines.pocket.features import BEAT_COLUMNS, PHRASE_AT
from models.engines.pocket.memory import nothing
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


# Starting from a model


@pytest.fixture(scope="module")
def earlier(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model of a short run; the memory of bars has been trained, too."""
    folder = tmp_path_factory.mktemp("earlier")
    trainer, _ = run(data, folder, replace(PLAN, planned_ids=2 * IDS_A_STEP))
    assert trainer.network.memory.weight.abs().max() > 0
    return folder / MODEL


def starting(data: Path, folder: Path, start: Path, plan: TrainingPlan = PLAN) -> Trainer:
    folder.mkdir(exist_ok=True)
    return Trainer(read_corpus(data, folder), plan, folder, lambda _: None, start)


def copy_of(model: Path, target: Path, change: Callable[[dict[str, Any], dict[str, torch.Tensor]], None]) -> Path:
    """The model with other contents."""
    config, tensors = load_model(model)
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    change(config, tensors)
    save_model(target, tensors, config)
    return target


def test_a_run_may_start_from_the_weights_of_a_model(data: Path, tmp_path: Path, earlier: Path) -> None:
    trainer = starting(data, tmp_path, earlier)
    assert equal(weights(trainer), load_pocket(earlier).state_dict())
    assert trainer.step == trainer.ids_seen == 0
    done = train(data, tmp_path, replace(PLAN, planned_ids=IDS_A_STEP), lambda _: None, earlier)
    assert not equal(weights(done), weights(trainer))
    plain, _ = run(data, tmp_path / "plain", replace(PLAN, planned_ids=IDS_A_STEP))
    assert not equal(weights(done), weights(plain))


def test_a_checkpoint_goes_before_the_model_to_start_from(data: Path, tmp_path: Path, earlier: Path) -> None:
    first, _ = run(data, tmp_path, replace(PLAN, planned_ids=IDS_A_STEP))
    assert equal(weights(starting(data, tmp_path, earlier)), weights(first))
    assert equal(weights(starting(data, tmp_path, tmp_path / "missing")), weights(first)), "nor is it asked for"


def test_a_model_from_before_plans_starts_with_the_losses_it_had(data: Path, tmp_path: Path, earlier: Path) -> None:
    """It knows only the beat, and no bars before; what was added to the network counts nothing at first."""
    def before_plans(_: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        tensors["grid.weight"] = tensors["grid.weight"][:PHRASE_AT].clone()
        del tensors["memory.weight"], tensors["matched.weight"]

    trainer = starting(data, tmp_path, copy_of(earlier, tmp_path / "old", before_plans))
    now = trainer.network
    before = load_pocket(earlier)
    before.grid = torch.nn.Embedding(PHRASE_AT, PLAN.width, _weight=before.grid.weight[:PHRASE_AT])
    for part in (before.memory, before.matched):
        part.weight.zero_()
    ids, grid, segment, attributes, memory, marks = trainer._tensors(trainer._rows.batch(0, PLAN.rows))
    assert int(grid[..., BEAT_COLUMNS:].min()) >= PHRASE_AT
    none = [torch.from_numpy(part).expand(*ids[:, 1:].shape, -1) for part in nothing(1)]
    with torch.no_grad():
        found = now.losses(ids, grid, segment, attributes, memory, marks)
        expected = before.losses(ids, grid[..., :BEAT_COLUMNS], segment, attributes, *none)
    assert {kind: loss.item() for kind, (loss, _) in found.items()} == {
        kind: loss.item() for kind, (loss, _) in expected.items()}
    trainer.run()
    assert trainer.network.memory.weight.abs().max() > 0
    assert trainer.network.grid.weight[PHRASE_AT:].abs().max() > 0


@pytest.mark.parametrize("plan", [
    replace(PLAN, width=64), replace(PLAN, depth=2), replace(PLAN, heads=2), replace(PLAN, window=12)])
def test_a_model_of_other_sizes_is_no_start(data: Path, tmp_path: Path, earlier: Path, plan: TrainingPlan) -> None:
    with pytest.raises(CheckpointError, match="other sizes"):
        starting(data, tmp_path, earlier, plan)


def test_a_deeper_model_is_no_start(data: Path, tmp_path: Path) -> None:
    run(data, tmp_path / "deep", replace(PLAN, depth=2, planned_ids=IDS_A_STEP))
    with pytest.raises(CheckpointError, match="other sizes"):
        starting(data, tmp_path / "run", tmp_path / "deep" / MODEL)


@pytest.mark.parametrize("values", [{"composers": ["chopin"]}, {"composers": None}, {"family": "local-transformer"}])
def test_a_model_of_another_corpus_or_family_is_no_start(
    data: Path, tmp_path: Path, earlier: Path, values: dict[str, Any],
) -> None:
    other = copy_of(earlier, tmp_path / "other", lambda config, _: config.update(values))
    with pytest.raises(CheckpointError, match="not a pocket model with the composers"):
        starting(data, tmp_path / "run", other)
    with pytest.raises(CheckpointError):
        starting(data, tmp_path / "run", tmp_path / "missing")


def test_a_start_without_all_weights_is_refused(data: Path, tmp_path: Path, earlier: Path) -> None:
    def lacking_one(_: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        del tensors["attributes.weight"]

    lacking = copy_of(earlier, tmp_path / "other", lacking_one)
    with pytest.raises(CheckpointError, match=r"no attributes\.weight of the shape"):
        starting(data, tmp_path / "run", lacking)


def test_the_rate_is_a_share_of_both_rates(data: Path, tmp_path: Path) -> None:
    def rates(folder: Path, rate: float) -> list[float]:
        plan = replace(PLAN, planned_ids=4 * IDS_A_STEP, warm_up_ids=1, cool_down=0.01, rate=rate)
        trainer, _ = run(data, folder, plan)
        return [optimizer.param_groups[0]["lr"] for optimizer in (trainer._muon, trainer._adamw)]

    assert rates(tmp_path / "whole", 1.0) == pytest.approx([PLAN.matrix_rate, PLAN.vector_rate])
    assert rates(tmp_path / "part", 0.25) == pytest.approx([PLAN.matrix_rate / 4, PLAN.vector_rate / 4])


def test_a_run_may_be_without_what_is_planned(data: Path, tmp_path: Path) -> None:
    """It is neither trained with it nor judged by it; the plan that is kept says so."""
    plan = replace(PLAN, planned_ids=2 * IDS_A_STEP, without=("memory", "returns"))
    trainer, records = run(data, tmp_path, plan)
    assert not trainer.network.memory.weight.any()
    assert trainer.network.matched.weight.any()
    val = trainer.corpus.split("val")
    assert records[-1]["all"] == round(evaluate(trainer.network, trainer.corpus, val, without=plan.without)["all"], 4)
    assert list(torch.load(tmp_path / CHECKPOINT, weights_only=True)["plan"]["without"]) == ["memory", "returns"]


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
