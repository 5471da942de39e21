"""`kapelle models`: which models there are, and how to get, convert and check them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

import models.engines.pocket
from bot.cli.named import named_by_the_user
from bot.cli.terminal import say
from models.errors import CheckpointError, InputError

app = typer.Typer(help="List, fetch, convert and verify models.")
LA_COMPOSER = "la-composer"


@app.command("fetch")
def fetch(name: Annotated[str, typer.Argument(help="As `kapelle models list` names it.")]) -> None:
    """Fetch a published model and what belongs to it.

    A download that broke off goes on where it stopped when the command is repeated.
    """
    from bot.settings import read_settings
    data = read_settings().data
    from models.fetching.fetch import Ahead
    from models.fetching.fetch import fetch as get

    def tell(ahead: Ahead) -> None:
        if ahead.licence:
            bound = ", not for commercial use" if "-NC" in ahead.licence else ""
            say(f"{name}: the licence of these weights is {ahead.licence}{bound}")
            say(f"{name}: {ahead.bytes / 1e6:,.0f} MB come from {ahead.origin}")

    with _bytes_arriving(name) as progress:
        folder = get(name, data, progress, ahead=tell)
    typer.echo(f"{name} is in {folder}")


@app.command("convert")
def convert(
    source: Annotated[Path, typer.Argument(help="Checkpoint as upstream publishes it, a .pth file.")],
    folder: Annotated[Path | None, typer.Argument(
        help="Where the model goes.", show_default="la-composer in the data folder")] = None,
    first_window: Annotated[Literal["native", "trained"], typer.Option(
        help="Without or with the phantom window that the published weights were trained with.")] = "native",
) -> None:
    """Convert an upstream checkpoint into a model folder.

    The folder holds the weights as safetensors beside a config.json.
    """
    from bot.settings import read_settings
    target = folder or read_settings().data / LA_COMPOSER
    from models.checkpoints.local_transformer import convert as to_folder
    with named_by_the_user(source):
        to_folder(source, target, first_window=first_window)
    typer.echo(f"converted {source} into {target}")


@app.command("verify")
def verify(
    name: Annotated[str, typer.Argument(help=LA_COMPOSER)],
    reference: Annotated[Path, typer.Option(
        help="Folder with meta.json, reference.pt and, without --model, checkpoint.pth.")],
    model: Annotated[Path | None, typer.Option(
        help="Model folder or .pth.", show_default="checkpoint.pth of the reference")] = None,
) -> None:
    """Compare a model with what upstream computes.

    The exit code is 1 when a logit differs by more than the tolerance.
    """
    known(name, LA_COMPOSER)
    from models.checkpoints.verify import Comparison
    from models.checkpoints.verify import verify as compare

    def tell(result: Comparison) -> None:
        verdict = "ok" if result.passed else "ABOVE THE TOLERANCE"
        typer.echo(f"{result.case:10} {result.mode:8} largest difference {result.difference:.2e} "
                   f"(tolerance {result.tolerance:.1e}, {result.logits:,} logits)  {verdict}")

    with named_by_the_user(reference):
        results = compare(model or reference / "checkpoint.pth", reference, tell)
    if failed := sum(not result.passed for result in results):
        raise CheckpointError(f"{failed} of {len(results)} comparisons are above the tolerance")
    typer.echo(f"all {len(results)} comparisons are within the tolerance")


@app.command("list")
def list_models() -> None:
    """List the models, whether they are there, and where."""
    from bot.settings import read_settings
    for one in installed(read_settings().data):
        typer.echo(f"{one.name:30}{one.state}")
        if one.missing:
            typer.echo(f"{'':30}to get it: {one.remedy}")


@dataclass(frozen=True)
class Installed:
    """An engine's default model, as it is on this machine."""

    name: str
    state: str
    missing: bool = False
    remedy: str = ""


def installed(data: Path) -> list[Installed]:
    """The pocket model and every published one. The weights are not read."""
    from models.fetching.sources import SOURCES
    shipped = Path(models.engines.pocket.__file__).with_name("model")  # spelled out: doctor must work where torch does not
    return [
        _installed("pocket", "the model of Kapelle's own", shipped, "git checkout -- models/engines/pocket/model"),
        *(_installed(name, source.about, data / name, f"kapelle models fetch {name}")
          for name, source in SOURCES.items()),
    ]


def _installed(name: str, about: str, folder: Path, remedy: str) -> Installed:
    from models.engines.musicgen.published import PUBLISHED, is_here
    from models.fetching.hub import CONFIG, weights_in
    if weights := weights_in(folder):
        size = sum(path.stat().st_size for path in weights)
        return Installed(name, f"{size / 1e6:,.0f} MB in {folder} ({about})")
    if name in PUBLISHED and not (folder / CONFIG).is_file() and is_here(name, folder.parent):
        return Installed(name, f"in the cache of the Hugging Face hub ({about})")
    return Installed(name, f"not in {folder} ({about})", True, remedy)


@contextmanager
def _bytes_arriving(name: str) -> Iterator[Callable[[int, int], None]]:
    """Something to tell bytes done and bytes in all: a bar on a terminal, a line at every tenth elsewhere."""
    if not sys.stderr.isatty():
        tenth = 0

        def tell(done: int, total: int) -> None:
            nonlocal tenth
            if total and done * 10 // total > tenth:
                tenth = done * 10 // total
                say(f"{name}: {done / 1e6:,.0f} of {total / 1e6:,.0f} MB")

        yield tell
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    with Progress(
        TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
        TimeRemainingColumn(), console=Console(stderr=True)) as bars:
        task = bars.add_task(name, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)


def known(name: str, *names: str) -> None:
    """Raises InputError when `name` is none of `names`."""
    if name not in names:
        raise InputError(f"there is no model {name!r} here; expected was {' or '.join(names)}")
