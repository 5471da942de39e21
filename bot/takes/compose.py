"""From a request to finished takes on disk: plan, decode, render.

Decoding runs on the caller's thread; a finished take is rendered beside it on another one, since
FluidSynth is a program of its own.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from bot.takes.render import AnyPlan, AnyRequest, AnyTake, Desk, Rendered, TakeT, render_take
from bot.takes.shelf import Shelf, slug
from models.decoding.sequence import Sequence, State
from models.errors import KapelleError
from models.interface.audio import AudioPlan
from models.interface.engine import Engine
from models.interface.midi import Plan

PlanT = TypeVar("PlanT", Plan, AudioPlan)


@dataclass(frozen=True)
class Composition(Generic[PlanT, TakeT]):
    """What came of a request: its takes in the order of their numbers, all in one folder."""

    plan: PlanT
    folder: Path
    takes: tuple[Rendered[TakeT], ...]
    seconds: float  # from plan to last file


@dataclass(frozen=True)
class Planned:
    plan: AnyPlan
    folder: Path


@dataclass(frozen=True)
class Stepped:
    """Every running take has one id more."""

    made: tuple[int, ...]  # ids of each take so far
    shares: tuple[float, ...]  # of the ids of each take that are made, 0..1


@dataclass(frozen=True)
class Decoded:
    take: AnyTake


@dataclass(frozen=True)
class Finished:
    rendered: Rendered[Any]


@dataclass(frozen=True)
class Interrupted:
    """Decoding was stopped; takes that are decoded are still being rendered."""

    rendering: int


Event = Planned | Stepped | Decoded | Finished | Interrupted


def compose(engine: Engine, request: AnyRequest, desk: Desk, report: Callable[[Event], None]) -> Composition[Any, Any]:
    """Make all takes of a request and write them to a new folder; `report` is called on this thread.

    When something fails, or on KeyboardInterrupt, no more ids are made; takes that are decoded are still
    rendered, a second KeyboardInterrupt leaves those out, too. What is in the folder is complete.

    Raises KapelleError (what the engine, the disk or the renderer raise), KeyboardInterrupt.
    """
    started = time.monotonic()
    plan = engine.plan(request)
    with Shelf(desk.out).new_folder(f"{slug(request.name)}-{request.seed}") as folder:
        report(Planned(plan, folder))
        pool = ThreadPoolExecutor(1, "rendering", initializer=_leave_interrupts_to_the_main_thread)
        rendering: list[Future[Rendered[Any]]] = []
        rendered: list[Rendered[Any]] = []

        def collect(*, wait: bool) -> None:
            while rendering and (wait or rendering[0].done()):
                rendered.append(rendering[0].result())
                del rendering[0]
                report(Finished(rendered[-1]))

        try:
            def render(take: AnyTake) -> None:
                rendering.append(pool.submit(render_take, engine, plan, take, folder, desk))

            _decode(engine, plan, report, render, lambda: collect(wait=False))
            collect(wait=True)
        except BaseException as failure:
            if isinstance(failure, KeyboardInterrupt):
                report(Interrupted(len(rendering)))
            while rendering:
                with suppress(Exception, CancelledError):  # the first failure is the one to tell
                    collect(wait=True)
                    break
                del rendering[0]
            raise
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
        if not any(one.files for one in rendered):
            may_end = getattr(request, "stop_at_end", False) and not getattr(plan, "forms", ())
            ending = ", or leave out --stop-at-end" if may_end else ""
            raise KapelleError(f"none of the takes holds a note; ask for more tokens or another seed{ending}")
        rendered.sort(key=lambda one: one.take.number)
        return Composition(plan, folder, tuple(rendered), time.monotonic() - started)


def _decode(
    engine: Engine, plan: AnyPlan, report: Callable[[Event], None],
    render: Callable[[AnyTake], None], between: Callable[[], None],
) -> None:
    sequences = engine.sequences(plan)
    handed: set[int] = set()

    def hand_over(sequence: Sequence) -> None:
        take = engine.take(plan, sequence)
        report(Decoded(take))
        handed.add(sequence.take)
        render(take)

    for sequence in sequences:
        engine.batcher.add(sequence)
    try:
        while any(sequence.state in (State.WAITING, State.RUNNING) for sequence in sequences):
            ended = engine.batcher.step()
            report(Stepped(tuple(len(one.ids) for one in sequences), tuple(one.progress for one in sequences)))
            for sequence in ended:
                hand_over(sequence)
            between()
    except KeyboardInterrupt:
        for sequence in sequences:
            if sequence.state is State.FINISHED and sequence.take not in handed:
                hand_over(sequence)
        raise
    except Exception:
        for sequence in sequences:
            engine.batcher.cancel(sequence)
        raise


def _leave_interrupts_to_the_main_thread() -> None:
    # A terminal sends Ctrl-C to all of its programs, FluidSynth among them. Programs inherit the mask of the
    # thread that starts them, so a take that is being rendered is not lost.
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
