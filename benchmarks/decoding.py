"""Steps of the decoder against a loop without a cache over the same network, and against the memory's speed.

The loop without a cache is the way of the notebook: every id costs a pass over all ids before it.
Both run in turn in one process; a figure is the median over rounds. The share of the bandwidth is
what a step has to read (the layers' and the head's weights once, and each row's keys and values)
by its time, against a plain sum over memory measured beside it.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from functools import partial

import torch

from benchmarks.machine import ReadBandwidth, seconds
from models.decoding.batcher import Batcher
from models.decoding.local_decoder import LocalDecoder
from models.decoding.sequence import Sequence
from models.engines.pocket.decoder import PocketDecoder
from models.engines.pocket.engine import GUIDANCE, PocketEngine
from models.engines.pocket.titles import load_titles
from models.engines.pocket.weights import load_pocket
from models.interface.midi import ComposeRequest
from models.network.cache import KeyValueCache
from models.network.local_transformer import LocalTransformer, LocalTransformerConfig
from models.network.native import attach

POCKET_BATCHES = (1, 4, 16)
POCKET_GUIDANCES = (1.0, GUIDANCE)
POCKET_IDS = 510
FULL_BATCHES = (1, 4)
FULL_PRIME = 600


@dataclass(frozen=True)
class Speed:
    """Of one batch size: seconds a step (one id for each take) and what share of the bandwidth that is."""

    batch: int  # takes
    guidance: float  # above 1, a take has two rows
    step_s: float
    uncached_step_s: float
    bandwidth_share: float

    @property
    def ratio(self) -> float:
        return self.uncached_step_s / self.step_s


def bytes_read(network: LocalTransformer, rows: int, length: float, state_bytes: int = 4) -> float:
    """What a step reads: weights of layers and head once, keys and values of `length` positions of each row.

    `state_bytes` are those of one number of a key or value.
    """
    config = network.config
    weights = sum(parameter.nbytes for parameter in network.blocks.parameters()) + network.head.weight.nbytes
    state = 2 * config.depth * config.heads * config.head_width * state_bytes
    return weights + rows * min(length, config.window + 1) * state


@torch.inference_mode()
def pocket(rounds: int = 5) -> list[Speed]:
    """The shipped model, 510 ids a take without and with guidance, sampling and conditions included."""
    network, titles = load_pocket(), load_titles()
    engines = {guidance: PocketEngine(network, titles, guidance=guidance) for guidance in POCKET_GUIDANCES}
    bandwidth = ReadBandwidth()
    # Batch sizes in turn within a round: the machine is not equally fast at all times.
    found: dict[tuple[int, float], list[tuple[float, float, float]]] = {
        (batch, guidance): [] for guidance in POCKET_GUIDANCES for batch in POCKET_BATCHES}
    for number in range(rounds):
        for batch, guidance in found:
            rows = batch if guidance == 1 else 2 * batch
            plan = engines[guidance].plan(ComposeRequest("Nocturne", "Chopin", takes=batch, seed=number))
            batcher = Batcher(PocketDecoder(network, rows), joins_per_step=batch)
            for sequence in engines[guidance].sequences(plan):
                batcher.add(sequence)
            step_s = seconds(partial(_finish, batcher)) / POCKET_IDS
            share = bytes_read(network.body, rows, POCKET_IDS / 2, torch.bfloat16.itemsize) / step_s / bandwidth()
            # The loop without a cache, at lengths spread over the take; its cost grows with the length.
            lengths = range(POCKET_IDS // 10, POCKET_IDS, POCKET_IDS // 5)
            uncached_s = statistics.mean(
                seconds(partial(network.body, torch.zeros(rows, length, dtype=torch.long))) for length in lengths)
            found[batch, guidance].append((step_s, uncached_s, share))
    return [Speed(batch, guidance, *map(statistics.median, zip(*figures, strict=True)))
            for (batch, guidance), figures in found.items()]


@torch.inference_mode()
def full_size(rounds: int = 3, steps: int = 6) -> list[Speed]:
    """The published size with random weights, behind a prime of 600 ids, sampling included."""
    network = random_network(LocalTransformerConfig())
    bandwidth = ReadBandwidth()
    result = []
    for batch in FULL_BATCHES:
        times, shares, uncached = [], [], []
        for number in range(rounds):
            decoder = LocalDecoder(network, batch)
            prime = tuple(range(FULL_PRIME))
            sequences = [Sequence(prime, steps, number, take) for take in range(batch)]
            for sequence in sequences:
                decoder.join(sequence)
            for _ in range(steps):
                times.append(seconds(partial(_step, decoder, sequences)))
                shares.append(bytes_read(network, batch, FULL_PRIME) / times[-1] / bandwidth())
            uncached.append(seconds(partial(network, torch.zeros(batch, FULL_PRIME, dtype=torch.long))))
        result.append(Speed(batch, 1.0, statistics.median(times), statistics.median(uncached), statistics.median(shares)))
    return result


def _finish(batcher: Batcher) -> None:
    while batcher.busy:
        batcher.step()


def _step(decoder: LocalDecoder, sequences: list[Sequence]) -> None:
    for sequence, drawn in zip(sequences, decoder.draw(sequences), strict=True):
        sequence.ids.append(drawn)
    decoder.advance(sequences)


def random_network(config: LocalTransformerConfig) -> LocalTransformer:
    """A network of any size without reading or initialising more than it must."""
    with torch.device("meta"):
        network = LocalTransformer(config)
    network = network.to_empty(device="cpu")
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    return network.eval().requires_grad_(False)


def native_step(network: LocalTransformer) -> bool:
    """Whether steps of the network run as compiled code on this machine."""
    config = network.config
    return attach(network, KeyValueCache(1, config.depth, config.heads, config.head_width, config.window))
