"""Whether a model computes what upstream's own code computes, by logits that were recorded with it.

A reference is a folder with `meta.json` (sizes, and for each case its length and which steps to
leave out) and `reference.pt` (ids and logits). A prompt whose length is a multiple of the window
was computed by upstream with the phantom window; those steps say nothing about `native`.

Upstream slides past its last position by one id a step and computes everything anew. This
decoder reads anew once in a thousand ids instead, from a note's border (`LocalDecoder`), so what
is compared there is one such reading: the last 4096 ids from position 0.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from models.checkpoints.local_transformer import load
from models.errors import CheckpointError
from models.network import native
from models.network.cache import KeyValueCache
from models.network.local_transformer import LocalTransformer

META, RECORDED = "meta.json", "reference.pt"
Mode = Literal["native", "trained"]
TOLERANCES: dict[Mode, float] = {"native": 2.5e-5, "trained": 8e-5}  # largest difference of a logit, float32
_SIZES = {"num_tokens": "vocabulary", "dim": "width", "depth": "depth", "heads": "heads", "dim_head": "head_width",
          "window": "window", "max_seq_len": "positions"}


@dataclass(frozen=True)
class Comparison:
    """How far a model is from upstream in one case."""

    case: str
    mode: Mode
    difference: float  # the largest of any logit
    logits: int  # compared

    @property
    def tolerance(self) -> float:
        return TOLERANCES[self.mode]

    @property
    def passed(self) -> bool:
        return self.difference <= self.tolerance  # NaN is not


def verify(
    model: Path, reference: Path, report: Callable[[Comparison], None] = lambda _: None,
) -> list[Comparison]:
    """Compare a model folder or upstream `.pth` with a reference folder; `report` gets each result as it is known.

    Raises CheckpointError when either cannot be read or they are of different sizes.
    """
    meta, recorded = _read_reference(reference)
    network = load(model).network
    for theirs, ours in _SIZES.items():
        if meta.get(theirs) != (size := getattr(network.config, ours)):
            raise CheckpointError(f"{model} has {ours} {size}, {reference} was recorded with {meta.get(theirs)}; "
                                  "give the reference of this very model")
    results: list[Comparison] = []
    comparisons = _comparisons(network, meta, recorded)
    while True:
        try:
            with torch.inference_mode():
                result = next(comparisons, None)
        except (KeyError, TypeError, IndexError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"{reference / RECORDED} does not hold what {META} promises "
                                  f"({type(error).__name__}: {str(error)[:120]})") from error
        if result is None:
            break
        results.append(result)
        report(result)
    if not results:
        raise CheckpointError(f"{reference / META} names no cases to compare")
    return results


def _comparisons(network: LocalTransformer, meta: dict[str, Any], recorded: dict[str, Tensor]) -> Iterator[Comparison]:
    for case, facts in meta["cases"].items():
        yield from _forced(network, case, facts, recorded)
    if "batch3/input" in recorded:
        logits = network.head(network.hidden(recorded["batch3/input"].long())[:, -1])
        yield _compare("batch3", "native", (logits, recorded["batch3/native_last"]))
    if "prefill/input" in recorded:
        ids, places = recorded["prefill/input"].long()[None], recorded["prefill/positions"].long()
        for mode in TOLERANCES:
            hidden = network.hidden(ids, phantom=mode == "trained")[0, places]
            key = "prefill/trained_mode" if mode == "trained" else "prefill/native"
            yield _compare("prefill", mode, (network.head(hidden), recorded[key]))
    if "slide/input" in recorded:
        ids = recorded["slide/input"].long()[None, -network.config.positions:]
        # As many ids as there are positions are a multiple of the window: the phantom was there.
        yield _compare("slide", "trained", (network.head(network.hidden(ids, phantom=True)[0, -1]),
                                            recorded["slide/native_last"]))


def _forced(
    network: LocalTransformer, case: str, facts: dict[str, Any], recorded: dict[str, Tensor],
) -> Iterator[Comparison]:
    """Read a prompt, then feed upstream's own next ids through the cache and compare at each step."""
    config = network.config
    ids, forced = recorded[f"{case}/input"].long(), recorded[f"{case}/greedy"].long()
    top_ids, top_logits = recorded[f"{case}/forced_top_ids"].long(), recorded[f"{case}/forced_top_vals"]
    last = recorded[f"{case}/native_last"]
    skipped = {*facts["flagged_steps"], *([0] if facts["flagged_input"] else [])}
    for mode in TOLERANCES:
        phantom = mode == "trained"
        cache = KeyValueCache(1, config.depth, config.heads, config.head_width, config.window, phantom=phantom)
        native.attach(network, cache)  # as decoding does
        logits = network.head(network.hidden(ids[None], phantom=phantom, cache=cache)[0, -1])
        pairs: list[tuple[Tensor, Tensor]] = []
        if phantom:
            pairs.append((logits, last if facts["flagged_input"] else recorded[f"{case}/trained_mode_last"]))
        elif not facts["flagged_input"]:
            pairs.append((logits, last))
        for step in range(len(forced)):
            if (step in skipped) == phantom:
                # The best logit by itself, too: no other id may have come out above upstream's choice.
                pairs.append((logits[top_ids[step]], top_logits[step]))
                pairs.append((logits.max()[None], top_logits[step].max()[None]))
            logits = network.step(forced[step:step + 1], cache)[0]
        if phantom and f"{case}/forced_trained_last" in recorded:  # a flagged prompt has none
            pairs.append((logits, recorded[f"{case}/forced_trained_last"]))
        yield _compare(case, mode, *pairs)


def _compare(case: str, mode: Mode, *pairs: tuple[Tensor, Tensor]) -> Comparison:
    for ours, theirs in pairs:
        if ours.shape != theirs.shape:
            raise ValueError(f"{case} has logits of the shape {tuple(theirs.shape)}, not {tuple(ours.shape)}")
    # A NaN anywhere makes the maximum NaN, and that is above every tolerance.
    difference = torch.cat([(ours - theirs).abs().flatten() for ours, theirs in pairs]).max()
    return Comparison(case, mode, float(difference), sum(ours.numel() for ours, _ in pairs))


def _read_reference(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    for name in (META, RECORDED):
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder} is no reference: it has no {name}")
    try:
        meta = json.loads((folder / META).read_text(encoding="utf-8"))
        recorded = torch.load(folder / RECORDED, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or forged file may raise anything at all
        raise CheckpointError(f"the reference in {folder} cannot be read ({type(error).__name__})") from error
    if not isinstance(meta, dict) or not isinstance(meta.get("cases"), dict):
        raise CheckpointError(f"{folder / META} names no cases")
    if not isinstance(recorded, dict) or not all(isinstance(value, Tensor) for value in recorded.values()):
        raise CheckpointError(f"{folder / RECORDED} is no mapping of names to tensors")
    return meta, recorded
