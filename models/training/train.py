"""Training of the pocket model on a folder of MIDI files, on a CPU or a GPU.

Muon for the matrices of the layers, AdamW for embeddings and norms; the learning rate warms up,
stays, and falls to zero over the last part of the planned ids. A run resumes from its last
checkpoint; a plan that is shortened or lengthened in between is followed from then on.
"""

from __future__ import annotations

import json
import shutil
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.checkpoints.store import load_model
from models.engines.pocket.features import GlobalFeatures
from models.engines.pocket.network import KINDS, PocketNetwork
from models.engines.pocket.weights import FAMILY, save_pocket
from models.errors import CheckpointError, InputError
from models.music.attributes import composer_key
from models.network.local_transformer import LocalTransformerConfig
from models.training.corpus import Corpus, read_corpus
from models.training.evaluate import evaluate
from models.training.rows import Batch, RowSampler

CHECKPOINT, LOG, MODEL = "checkpoint.pt", "log.jsonl", "model"
COMMON_COMPOSER = 6  # pieces in the training split that make a composer an attribute
REPORT_SECONDS = 30
Losses = dict[str, tuple[Tensor, Tensor]]  # kind of id -> sum in nats, number of ids


@dataclass(frozen=True)
class TrainingPlan:
    """What to train and for how long; the defaults are those of the shipped model."""

    width: int = 256
    depth: int = 6
    heads: int = 4
    window: int = 512
    row_ids: int = 768  # a multiple of three, longer than the window
    rows: int = 8  # in a batch
    augmented: float = 0.3  # share of crops transposed, and of crops stretched in time
    planned_ids: int = 34_000_000
    matrix_rate: float = 4e-3  # Muon, scaled to the step size of AdamW
    vector_rate: float = 2e-3  # AdamW
    rate: float = 1.0  # share of both
    warm_up_ids: int = 400_000
    cool_down: float = 0.5  # last share of the plan
    seed: int = 1
    without: tuple[str, ...] = ()  # of rows.PLANNED: what the network is not told, to see what it is worth
    checkpoint_minutes: float = 5
    evaluate_minutes: float = 12
    compiled: bool = True  # by torch, where it can; a run of a few steps is faster without


def rate_at(plan: TrainingPlan, ids_seen: int) -> float:
    """Share of the full learning rate after so many ids, 0..1."""
    left = (plan.planned_ids - ids_seen) / (plan.cool_down * plan.planned_ids)
    return max(min(1.0, (ids_seen + 1) / plan.warm_up_ids, left), 0.0)


def initialise(network: PocketNetwork) -> None:
    """Small normal weights; what adds to the residual stream starts smaller the deeper the network is."""
    depth = network.config.depth
    for name, parameter in network.named_parameters():
        if parameter.dim() == 2:
            adds = name.endswith(("out.weight", "down.weight"))
            nn.init.normal_(parameter, std=0.02 / (2 * depth) ** 0.5 if adds else 0.02)
    for added in (network.memory, network.matched):
        nn.init.zeros_(added.weight)


def start_from(network: PocketNetwork, folder: Path) -> None:
    """Take over the weights of a trained model of the same sizes; what it does not know yet counts nothing at first.

    Raises CheckpointError.
    """
    config, tensors = load_model(folder)
    if config["family"] != FAMILY or config.get("composers") != list(network.features.composers):
        raise CheckpointError(f"{folder} is not a pocket model with the composers of this corpus")
    if config.get("sizes") != asdict(network.config):
        raise CheckpointError(f"{folder} is a model of other sizes than this plan has")
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            known = tensors.get(name)
            if name in ("grid.weight", "memory.weight", "matched.weight"):
                parameter.zero_()
                if known is not None:
                    parameter[:len(known)] = known[:len(parameter)]  # later features stand behind earlier ones
            elif known is None or known.shape != parameter.shape:
                raise CheckpointError(f"{folder} has no {name} of the shape {tuple(parameter.shape)}")
            else:
                parameter.copy_(known)


def common_composers(corpus: Corpus, pieces: list[int]) -> tuple[str, ...]:
    """Composers with enough pieces to be an attribute, sorted."""
    counts = Counter(composer_key(corpus.entries[i].get("artist") or "") for i in pieces)
    return tuple(sorted(name for name, count in counts.items() if name and count >= COMMON_COMPOSER))


class Trainer:
    """One run: network, optimizers and what they have seen. Resumes from the folder's checkpoint if there is one."""

    def __init__(
        self, corpus: Corpus, plan: TrainingPlan, folder: Path, report: Callable[[dict[str, Any]], None],
        start: Path | None = None,
    ) -> None:
        self.corpus, self.plan, self.folder, self._report = corpus, plan, folder, report
        pieces = corpus.split("train")
        if not pieces:
            raise InputError("the corpus has no pieces to train on: none in its index are of the split 'train'")
        self._val_pieces = corpus.split("val")
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(plan.seed)
        features = GlobalFeatures(common_composers(corpus, pieces))
        config = LocalTransformerConfig(
            width=plan.width, depth=plan.depth, heads=plan.heads, window=plan.window, positions=0, tied=True)
        self.network = PocketNetwork(config, features).to(self._device)
        initialise(self.network)
        if start is not None and not (folder / CHECKPOINT).is_file():
            start_from(self.network, start)
        matrices = [p for name, p in self.network.named_parameters() if ".blocks." in name and p.dim() == 2]
        chosen = {id(p) for p in matrices}
        vectors = [p for p in self.network.parameters() if id(p) not in chosen]
        self._muon = torch.optim.Muon(
            matrices, lr=plan.matrix_rate, weight_decay=0.02, momentum=0.95, adjust_lr_fn="match_rms_adamw")
        self._adamw = torch.optim.AdamW(vectors, lr=plan.vector_rate, betas=(0.9, 0.97), weight_decay=0.0)
        self._rows = RowSampler(corpus, pieces, features, plan.row_ids, plan.seed, plan.augmented,
                                frozenset(plan.without))
        self.step = self.ids_seen = 0
        self._seconds_before = 0.0
        self._started = time.monotonic()
        if (folder / CHECKPOINT).is_file():
            self._resume()

    def run(self) -> None:
        """Train until the plan is done, or until SIGTERM or SIGINT; either way a checkpoint and a model are left."""
        can_compile = torch.cuda.is_available() or any(shutil.which(name) for name in ("g++", "clang++"))
        compiled = self.plan.compiled and can_compile
        losses_of: Callable[..., Losses] = torch.compile(self._losses) if compiled else self._losses
        self._started = last_save = last_evaluation = last_report = time.monotonic()
        sums: dict[str, float] = defaultdict(float)
        with _stop_signals() as stopped:
            while not stopped and self.ids_seen < self.plan.planned_ids:
                for kind, (nats, count) in self._learn(losses_of).items():
                    sums[kind] += nats.item()
                    sums[f"{kind} ids"] += int(count)
                now = time.monotonic()
                if now - last_report > REPORT_SECONDS:
                    self._log("train", {kind: sums[kind] / max(sums[f"{kind} ids"], 1) for kind in KINDS})
                    sums.clear()
                    last_report = now
                if now - last_save > 60 * self.plan.checkpoint_minutes:
                    self._save()
                    last_save = time.monotonic()
                if now - last_evaluation > 60 * self.plan.evaluate_minutes:
                    self._evaluate()
                    last_evaluation = time.monotonic()
        self._save()
        result = self._evaluate()
        save_pocket(self.folder / MODEL, self.network, {
            "ids": self.ids_seen, "steps": self.step, "minutes": round(self._minutes, 1), "val": result})

    def _learn(self, losses_of: Callable[..., Losses]) -> Losses:
        share = self.plan.rate * rate_at(self.plan, self.ids_seen)
        self._muon.param_groups[0]["lr"] = self.plan.matrix_rate * share
        self._adamw.param_groups[0]["lr"] = self.plan.vector_rate * share
        losses = losses_of(*self._tensors(self._rows.batch(self.step, self.plan.rows)))
        total = torch.stack([nats for nats, _ in losses.values()]).sum()
        (total / sum(int(count) for _, count in losses.values())).backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        for optimizer in (self._muon, self._adamw):
            optimizer.step()  # type: ignore[no-untyped-call]
            optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.ids_seen += self.plan.rows * self.plan.row_ids
        return losses

    def _losses(self, *batch: Tensor) -> Losses:
        with torch.autocast(self._device.type, torch.bfloat16):
            return self.network.losses(*batch)

    def _tensors(self, batch: Batch) -> list[Tensor]:
        arrays = (batch.ids, batch.grid, batch.segment, batch.attributes, batch.memory, batch.marks)
        return [torch.from_numpy(array).to(self._device) for array in arrays]

    @property
    def _minutes(self) -> float:
        return (self._seconds_before + time.monotonic() - self._started) / 60

    def _evaluate(self) -> dict[str, float]:
        if not self._val_pieces:
            return {}
        losses = evaluate(self.network, self.corpus, self._val_pieces, without=self.plan.without)
        self._log("val", losses)
        return losses

    def _log(self, what: str, losses: dict[str, float]) -> None:
        record = {"what": what, "step": self.step, "ids": self.ids_seen, "minutes": round(self._minutes, 2),
                  **{kind: round(value, 4) for kind, value in losses.items()}}
        with (self.folder / LOG).open("a", encoding="utf-8") as log:
            log.write(json.dumps(record) + "\n")
        self._report(record)

    def _save(self) -> None:
        state = {
            "plan": asdict(self.plan), "composers": list(self.network.features.composers), "step": self.step,
            "ids": self.ids_seen, "seconds": 60 * self._minutes, "network": self.network.state_dict(),
            "muon": self._muon.state_dict(), "adamw": self._adamw.state_dict(),
        }
        draft = self.folder / (CHECKPOINT + ".part")
        torch.save(state, draft)
        draft.replace(self.folder / CHECKPOINT)

    def _resume(self) -> None:
        path = self.folder / CHECKPOINT
        try:
            state = torch.load(path, map_location=self._device, weights_only=True)
            if state["composers"] != list(self.network.features.composers):
                raise ValueError("it was trained on another corpus")
            self.network.load_state_dict(state["network"])
            self._muon.load_state_dict(state["muon"])
            self._adamw.load_state_dict(state["adamw"])
            self.step, self.ids_seen, self._seconds_before = state["step"], state["ids"], state["seconds"]
        except Exception as error:  # whatever torch raises for a damaged file or other sizes
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise CheckpointError(f"{path} cannot be resumed ({reason}); move it away to start anew") from error


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """A list that is empty until SIGTERM or SIGINT arrives."""
    received: list[int] = []
    before = {number: signal.signal(number, lambda arrived, _: received.append(arrived))
              for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def train(
    data: Path, folder: Path, plan: TrainingPlan, report: Callable[[dict[str, Any]], None], start: Path | None = None,
) -> Trainer:
    """Train on the folder `data`; checkpoint, log, the corpus as arrays and the model go to `folder`.

    `start` is a model whose weights are taken over where there is no checkpoint yet. `report` gets each line of the
    log. Raises InputError for a folder without usable pieces, CheckpointError for a checkpoint that cannot be resumed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    trainer = Trainer(read_corpus(data, folder), plan, folder, report, start)
    trainer.run()
    return trainer
