"""`kapelle train`: train the pocket model on a folder of MIDI files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from models.errors import InputError


def train(
    data: Annotated[Path, typer.Option(help="Folder of MIDI files (or a midi.zip) with an index.jsonl.")],
    out: Annotated[Path, typer.Option(
        help="Folder for checkpoint and log; a run that is there goes on.")] = Path("training"),
    ids: Annotated[int | None, typer.Option(help="How many ids to see in all.")] = None,
    width: Annotated[int | None, typer.Option(help="Of the network.")] = None,
    depth: Annotated[int | None, typer.Option(help="Layers of the network.")] = None,
    heads: Annotated[int | None, typer.Option(help="Attention heads of a layer, 64 wide each.")] = None,
    rows: Annotated[int | None, typer.Option(help="Rows in a batch.")] = None,
    row_ids: Annotated[int | None, typer.Option(help="Ids in a row; a multiple of three.")] = None,
    start: Annotated[Path | None, typer.Option(help="Folder of a trained model of the same sizes to set out from.")] = None,
    rate: Annotated[float, typer.Option(help="Share of the usual learning rate.", min=0.001, max=4)] = 1.0,
    without: Annotated[list[str] | None, typer.Option(
        help="What the network is not told, to see what it is worth: chords, phrases, 'bars left', memory, returns. "
             "May be given several times.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the weights and of the order of rows.")] = None,
    threads: Annotated[int | None, typer.Option(help="Of torch.", show_default="setting KAPELLE_THREADS")] = None,
    compiled: Annotated[bool, typer.Option(
        "--compile/--no-compile", help="Compile the network first; short runs are faster without.")] = True,
) -> None:
    """Train the pocket model.

    On a CPU or a GPU. Ctrl-C leaves a checkpoint; the same command goes on from there.

    Options left out are those of the shipped model.
    """
    given = {"planned_ids": ids, "width": width, "depth": depth, "heads": heads, "rows": rows, "row_ids": row_ids,
             "seed": seed}
    changes = {name: value for name, value in given.items() if value is not None}
    for name, value in changes.items():
        if value < (0 if name == "seed" else 1):
            raise InputError(f"{name.replace('planned_', '').replace('_', '-')} must be above 0, not {value}")
    if changes.get("row_ids", 3) % 3:
        raise InputError(f"row-ids must be a multiple of three, not {row_ids}")
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; training needs a folder (--out)")
    if not (data / "index.jsonl").is_file():
        raise InputError(f"{data} holds no index.jsonl; training takes a folder of MIDI files with one")
    from bot.settings import read_settings
    settings = read_settings()
    if threads is not None:
        settings = settings.model_copy(update={"threads": threads})
    settings.limit_threads()
    from models.training.rows import PLANNED
    from models.training.train import CHECKPOINT, TrainingPlan
    from models.training.train import train as run

    if unknown := set(without or ()) - set(PLANNED):
        raise InputError(f"--without takes {', '.join(PLANNED)}, not {', '.join(sorted(unknown))}")
    plan = replace(TrainingPlan(compiled=compiled, rate=rate, without=tuple(without or ())), **changes)  # type: ignore[arg-type]
    typer.echo(f"training on {data}, {plan.planned_ids:,} ids; checkpoint and log in {out}")
    trainer = run(data, out, plan, _tell, start)
    done = "done" if trainer.ids_seen >= plan.planned_ids else "stopped; the same command goes on"
    typer.echo(f"{done} after {trainer.ids_seen:,} of {plan.planned_ids:,} ids; checkpoint: {out / CHECKPOINT}")


def _tell(record: dict[str, Any]) -> None:
    """One line of the training log: losses in nats by kind of id."""
    known = {"what", "step", "ids", "minutes"}
    losses = "  ".join(f"{kind} {value:.3f}" for kind, value in record.items() if kind not in known)
    typer.echo(f"{record['what']:5} {record['minutes']:8.1f} min {record['ids']:>12,} ids  {losses}")
