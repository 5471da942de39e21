"""Takes of the pocket engine for measurements, many seeds at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from models.engines.pocket.decoder import Condition
from models.engines.pocket.engine import PocketEngine
from models.engines.pocket.steering import Steering, Strengths
from models.interface.midi import ComposeRequest
from models.music.attributes import Attributes
from models.music.score.notes import Score


def takes_of(
    engine: PocketEngine, prompt: str, seeds: Iterable[int], *, conditioned: bool = True, temperature: float = 0.9,
) -> list[tuple[Score, Attributes]]:
    """One take of 512 ids a seed, and what was asked for.

    Without conditioning the network knows nothing: no attributes, no beat, no mask, no guidance.
    """
    pairs = []
    for seed in seeds:
        plan = engine.plan(ComposeRequest(prompt, takes=1, seed=seed, temperature=temperature))
        (sequence,) = engine.sequences(plan)
        if not conditioned:
            free = Steering(plan.steering[0].notes, Attributes(), None, Strengths(0, 0, 0, 0, 0, 0))
            sequence = replace(sequence, prime=free.prime, guidance=1.0, condition=Condition(free))
        engine.batcher.add(sequence)
        pairs.append((plan, sequence))
    while engine.batcher.busy:
        engine.batcher.step()
    return [(engine.take(plan, sequence).score, plan.attributes) for plan, sequence in pairs]

