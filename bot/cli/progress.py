"""What one sees while takes are made: bars on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from bot.cli.terminal import say, shown
from bot.takes.compose import Decoded, Event, Finished, Interrupted, Planned, Stepped

_MARKS = 4  # lines about the decoding of a composition


@contextmanager
def progress() -> Iterator[Callable[[Event], None]]:
    """Something to report events to. All of it goes to stderr."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    bars = Progress(
        TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(),
        TimeElapsedColumn(), TimeRemainingColumn(),
        console=Console(stderr=True, highlight=False, markup=False), transient=True)
    with bars:
        yield _Bars(bars)


def _introduction(planned: Planned) -> str:
    plan = planned.plan
    takes = "1 take" if plan.request.takes == 1 else f"{plan.request.takes} takes"
    return shown(f"composing {takes} of {plan.request.size} with {plan.engine}, seed {plan.request.seed}")


class _Lines:
    def __init__(self) -> None:
        self._mark = 0
        self._takes = self._finished = 0

    def __call__(self, event: Event) -> None:
        match event:
            case Planned():
                self._takes = event.plan.request.takes
                say(_introduction(event))
            case Stepped():
                share = sum(event.shares) / len(event.shares)
                if int(share * _MARKS) > self._mark:
                    self._mark = int(share * _MARKS)
                    say(f"composed {share:.0%}")
            case Finished():
                self._finished += 1
                say(f"take {event.rendered.take.number} is ready ({self._finished} of {self._takes})")
            case Interrupted(rendering) if rendering:
                say(_farewell(rendering))


class _Bars:
    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._all = bars.add_task("loading", total=1)
        self._takes: list[TaskID] = []
        self._render = self._all

    def __call__(self, event: Event) -> None:
        match event:
            case Planned():
                takes = event.plan.request.takes
                self._bars.console.print(_introduction(event))
                self._bars.update(self._all, description="compose")
                if takes > 1:
                    self._takes = [self._bars.add_task(f"  take {n}", total=1) for n in range(1, takes + 1)]
                self._render = self._bars.add_task("render", total=takes)
            case Stepped():
                self._bars.update(self._all, completed=sum(event.shares) / len(event.shares))
                for task, share in zip(self._takes, event.shares, strict=False):
                    self._bars.update(task, completed=share)
            case Finished():
                self._bars.advance(self._render)
            case Interrupted(rendering) if rendering:
                self._bars.console.print(_farewell(rendering))
            case Decoded():
                pass


def _farewell(rendering: int) -> str:
    takes = "take" if rendering == 1 else "takes"
    return f"stopping; rendering {rendering} composed {takes} first (Ctrl-C again: leave out)"
