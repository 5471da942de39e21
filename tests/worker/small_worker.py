"""The real worker process with small engines: batcher, ids and rendering are real, a network they have none.

The first word of a title says what happens: `slow`, `noisy`, `planned` (takes have forms), `unlucky` (planning fails),
`doomed` (decoding fails).
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Sequence as Listed
from pathlib import Path

from bot.worker.__main__ import main
from models.decoding.batcher import Batcher
from models.decoding.sequence import Sequence
from models.engines import registry
from models.errors import CheckpointError, InputError
from models.interface.engine import Engine, Host
from models.interface.midi import ComposeRequest, Plan, Take
from models.music.attributes import Attributes
from models.music.form.plan import Bar, FormPlan, Section
from models.music.vocabulary.los_angeles import DURATION, NO_DRUMS, PITCH, START, decode

HEADER = (START, NO_DRUMS, START + 3)
SLOW_STEP_S = 0.02


class ScaleDecoder:
    """Walks over a scale: T, D, P in turn, drawn from seed, take and place."""

    def fits(self, sequence: Sequence) -> bool:
        return True

    def join(self, sequence: Sequence) -> None: ...

    def leave(self, sequence: Sequence) -> None: ...

    def advance(self, sequences: Listed[Sequence]) -> None: ...

    def draw(self, sequences: Listed[Sequence]) -> list[int]:
        titles = {str(sequence.condition).split()[0] for sequence in sequences}
        if "slow" in titles:
            time.sleep(SLOW_STEP_S)
        if "noisy" in titles:
            print("a library that prints", flush=True)
            os.write(1, b"and one that writes\n")
        if "doomed" in titles and any(len(sequence.ids) > 10 for sequence in sequences):
            raise RuntimeError(f"the network fell over {sequences[0].condition}")
        return [self._next(sequence) for sequence in sequences]

    def _next(self, sequence: Sequence) -> int:
        place = len(sequence.ids)
        chance = random.Random(f"{sequence.seed} {sequence.take} {place}")
        if sequence.stop_id is not None and place >= 12 * sequence.take - 12:
            return sequence.stop_id
        return (chance.randrange(5, 20), DURATION + 8 * 10 + 5, PITCH + 60 + chance.choice((0, 2, 4, 5, 7)))[place % 3]


class SmallEngine:
    """An engine that matches everything with one title."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.batcher = Batcher(ScaleDecoder())

    def plan(self, request: ComposeRequest) -> Plan:
        if request.title.startswith("unlucky"):
            raise KeyError(request.title)
        if request.title.startswith("refused"):
            raise InputError("nothing can be made\n of this")
        return Plan(
            request=request, engine=self.name, matched_title="Nocturne in C --- Nobody", matched_score=41.0,
            attributes=Attributes(genre="classical", forms=("nocturne",), tonic=0, mode="major"), prime=HEADER,
            forms=forms_of(request) if request.title.startswith("planned") else (), notices=("nothing like it was found",))

    def sequences(self, plan: Plan) -> list[Sequence]:
        request = plan.request
        return [Sequence(plan.prime, request.tokens, request.seed, take, stop_id=START if request.stop_at_end else None,
                         condition=request.title)
                for take in range(1, request.takes + 1)]

    def take(self, plan: Plan, sequence: Sequence) -> Take:
        ids = (*sequence.prime, *sequence.ids)
        return Take(sequence.take, ids, len(sequence.prime), decode(ids), None)


def forms_of(request: ComposeRequest) -> tuple[FormPlan, ...]:
    """As many bars as are asked for, each take's with a letter of its own."""
    bars = request.bars or 4
    return tuple(
        FormPlan("song", 0, "major", (4, 4), 120.0, (Section("ABCD"[number], "theme", 0, bars),),
                 tuple(Bar((0,), place) for place in range(bars)), (), 4.0)
        for number in range(request.takes))


def load(name: str, model: Path | None, host: Host) -> Engine:
    if name == "broken":
        raise CheckpointError("the model is damaged;\nfetch it again")
    if name == "exploding":
        raise MemoryError
    return SmallEngine(name)


if __name__ == "__main__":
    registry.ENGINES = {
        name: registry.Listed("midi", "compose", "__main__") for name in ("pocket", "other", "broken", "exploding")}
    sys.exit(main())
