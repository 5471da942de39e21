"""What commands that make takes have in common: an engine, progress, and what Ctrl-C leaves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot.cli.named import named_by_the_user
from bot.cli.terminal import StoppedError

if TYPE_CHECKING:
    from bot.settings import Settings
    from bot.takes.compose import Composition, Event
    from bot.takes.render import AnyRequest, Desk


def make(engine: str, model: Path | None, request: AnyRequest, desk: Desk, settings: Settings) -> Composition[Any, Any]:
    """Load an engine (`model`: a folder that the user named) and make the takes of a request, with progress on stderr.

    Raises KapelleError, and StoppedError after Ctrl-C, which says what is complete.
    """
    from bot.cli.progress import progress
    from bot.takes.compose import Finished, Planned, compose
    from models.engines.registry import load_engine

    ready: list[int] = []
    folder: Path | None = None

    def note(event: Event) -> None:
        nonlocal folder
        if isinstance(event, Planned):
            folder = event.folder
        elif isinstance(event, Finished) and event.rendered.files:
            ready.append(event.rendered.take.number)
        report(event)

    try:
        with progress() as report:
            with named_by_the_user(model):
                loaded = load_engine(engine, model, settings.host)
            return compose(loaded, request, desk, note)
    except KeyboardInterrupt as interrupt:
        if not ready:
            raise StoppedError("interrupted; nothing was written") from interrupt
        names = ", ".join(str(number) for number in sorted(ready))
        raise StoppedError(f"interrupted; complete in {folder}: take {names}") from interrupt
