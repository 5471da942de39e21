"""`python -m benchmarks.musicgen`: our MusicGen against that of `transformers`, as a page in benchmarks/RESULTS-musicgen.md.

Both have the weights of one random checkpoint of musicgen-small's size, written and loaded as a published one would be.
They run in turn in one process, with one thread. Figures are medians over rounds; ratios are of one round's pair.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.machine import ReadBandwidth, described, seconds
from models.decoding import sequence as decoding
from models.decoding.batcher import Batcher
from models.decoding.sampling import sample
from models.engines.musicgen.checkpoint import Checkpoint
from models.engines.musicgen.codec import Codec
from models.engines.musicgen.decoder import WINDOW, Condition, MusicgenDecoder
from models.engines.musicgen.network import KeyValueCache, MusicgenNetwork

RESULTS = Path(__file__).with_name("RESULTS-musicgen.md")
NAME = "musicgen-small"
BATCHES = (1, 4, 8)
PIECES = 12  # of words in a prompt
GUIDANCE, TOP_K = 3.0, 250
STEPS = 12  # timed at once
LENGTHS = (0, 500, 1000, 1480)  # steps behind which time and memory are looked at
QUEUE_S = (0.5, 0.7, 0.9, 1.2, 1.4, 1.8, 2.2, 3.0)  # a tenth of what a class asks for
SOUND_S = 10.0


@dataclass(frozen=True)
class Models:
    """One checkpoint, in `transformers` and in ours."""

    stock: Any
    ours: dict[str, MusicgenNetwork]  # by precision
    codec: Codec

    @property
    def device(self) -> torch.device:
        return next(iter(self.ours.values())).device


def write(folder: Path) -> None:
    """A checkpoint of musicgen-small's size and random weights; its text encoder is a small one."""
    from transformers import EncodecConfig, MusicgenConfig, MusicgenForConditionalGeneration, T5Config
    torch.manual_seed(0)
    text = T5Config(vocab_size=320, d_model=64, d_kv=16, d_ff=128, num_layers=1, num_heads=4, is_encoder_decoder=False,
                    use_cache=False)
    sound = EncodecConfig(
        sampling_rate=32_000, audio_channels=1, target_bandwidths=[2.2], codebook_size=2048, codebook_dim=128, num_filters=64,
        hidden_size=128, upsampling_ratios=[8, 5, 4, 4], num_residual_layers=1, num_lstm_layers=2, use_causal_conv=False,
        norm_type="weight_norm", chunk_length_s=None, normalize=False, overlap=None)
    model: Any = MusicgenForConditionalGeneration(MusicgenConfig(
        text_encoder=text, audio_encoder=sound, decoder={"add_cross_attention": True, "is_decoder": True}))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lm_heads" in name:  # logits that differ about as much as a trained network's
                parameter.mul_(4)
            elif "enc_to_dec_proj" in name:
                parameter.normal_(std=0.2)
    for layer in model.audio_encoder.quantizer.layers:
        layer.codebook.embed.normal_()
    wishes = model.generation_config
    wishes.pad_token_id = wishes.bos_token_id = wishes.decoder_start_token_id = 2048
    model.eval().save_pretrained(folder)


def load(folder: Path, precisions: Sequence[str], device: str) -> Models:
    from transformers import MusicgenForConditionalGeneration
    write(folder)
    checkpoint = Checkpoint.open(folder, NAME)
    kind: Any = MusicgenForConditionalGeneration
    stock = kind.from_pretrained(folder, dtype=torch.bfloat16 if device == "cuda" else torch.float32).to(device).eval()
    # Sound is another table's matter.
    stock.audio_encoder.decode = lambda codes, **_: SimpleNamespace(audio_values=torch.zeros(codes.shape[1], 1, 1))
    return Models(stock, {precision: checkpoint.load_network(precision, device) for precision in precisions},
                  Codec(checkpoint, device))


# One step


class Clock:
    """Asked by `generate` after every step whether to stop."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def __call__(self, ids: Tensor, scores: Tensor, **_: Any) -> Tensor:
        self.times.append(now(ids.device))
        return torch.zeros(len(ids), dtype=torch.bool, device=ids.device)


def now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def stock_steps(model: Any, batch: int, length: int = 0, steps: int = STEPS) -> list[float]:
    """Seconds of steps of `generate`, behind `length` frames of given codes."""
    clock = Clock()
    prompt = torch.randint(1, 320, (batch, PIECES), device=model.device)
    more: dict[str, Any] = {}
    if length:
        more["decoder_input_ids"] = torch.randint(0, 2048, (4 * batch, length), device=model.device)
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.generate(input_ids=prompt, attention_mask=torch.ones_like(prompt), do_sample=True, top_k=TOP_K,
                       guidance_scale=GUIDANCE, max_new_tokens=steps + 2, stopping_criteria=[clock], **more)
    return np.diff(clock.times[-steps - 1:]).tolist()


class Ours:
    """A decoder with a batch of sequences behind `length` steps; the steps before are not made, only their room is filled."""

    def __init__(self, network: MusicgenNetwork, batch: int, length: int = 0, *, rows: int | None = None) -> None:
        self.device = network.device
        text = torch.randn(PIECES, network.config.width, device=self.device)
        decoder = MusicgenDecoder(network, rows or 2 * batch)
        self.batcher = Batcher(decoder, joins_per_step=batch)
        for take in range(batch):
            self.batcher.add(decoding.Sequence(
                (), WINDOW, 1, take, top_k=TOP_K, guidance=GUIDANCE, condition=Condition(text)))
        self.batcher.step()
        if length:
            with torch.inference_mode():
                for layer in decoder._cache.layers:
                    layer[:, :, :, :length].normal_()
            decoder._cache.lengths[:2 * batch] = length
        self.batcher.step()

    def steps(self, steps: int = STEPS) -> list[float]:
        times = [now(self.device)]
        for _ in range(steps):
            self.batcher.step()
            times.append(now(self.device))
        return np.diff(times).tolist()


def bytes_read(network: MusicgenNetwork, rows: int = 0, length: int = 0) -> int:
    """What a step reads: weights of layers and head, but for those that read a text; keys and values of rows."""
    state = network.state_dict()
    weights: int = sum(tensor.nbytes for name, tensor in state.items() if "embedding" not in name and "text_kv" not in name)
    return weights + rows * KeyValueCache.row_bytes(network.config, length, 0, network.dtype)


@dataclass
class Speed:
    """Median seconds a step of each, and the bytes a second that could be read beside."""

    seconds: dict[str, float]
    bandwidth: float

    def ratio(self, one: str, other: str) -> float:
        return self.seconds[one] / self.seconds[other]


def speeds(models: Models, batch: int, length: int, rounds: int, bandwidth: Callable[[], float]) -> Speed:
    """All in turn, round by round."""
    found: dict[str, list[float]] = {name: [] for name in ("stock", *models.ours)}
    read = []
    for _ in range(rounds):
        read += [bandwidth() for _ in range(3)]
        found["stock"].append(statistics.median(stock_steps(models.stock, batch, length)))
        for name, network in models.ours.items():
            found[name].append(statistics.median(Ours(network, batch, length).steps()))
    return Speed({name: statistics.median(times) for name, times in found.items()}, statistics.median(read))


# A queue


def stock_queue(model: Any) -> float:
    """Seconds for all of the queue, one after the other."""
    frames = [round(50 * length) for length in QUEUE_S]
    return sum(seconds(partial(stock_steps, model, 1, 0, steps + 1)) for steps in frames)  # 3 steps of delay each


def our_queue(network: MusicgenNetwork) -> float:
    """Seconds for all of the queue in one batcher with room for it."""
    decoder = MusicgenDecoder(network, 2 * len(QUEUE_S))
    batcher = Batcher(decoder)
    for take, length in enumerate(QUEUE_S):
        text = torch.randn(PIECES, network.config.width, device=network.device)
        batcher.add(decoding.Sequence(
            (), round(50 * length) + 3, 1, take, top_k=TOP_K, guidance=GUIDANCE, condition=Condition(text)))

    def finish() -> None:
        while batcher.busy:
            batcher.step()

    return seconds(finish)


# Sound beside steps


def beside(models: Models, precision: str) -> dict[str, float]:
    """Seconds of sound and of a step, alone and at the same time."""
    codes = np.random.default_rng(1).integers(0, 2048, (round(50 * SOUND_S), 4))
    ours = Ours(models.ours[precision], 1)
    found = {"step": statistics.median(ours.steps()), "sound": seconds(partial(models.codec.decode, codes))}
    times: list[float] = []
    thread = threading.Thread(target=lambda: times.append(seconds(partial(models.codec.decode, codes))))
    thread.start()
    steps = []
    while thread.is_alive():
        steps += ours.steps(1)
    thread.join()
    return found | {"step beside": statistics.median(steps), "sound beside": times[0]}


# Quality


@dataclass(frozen=True)
class Loss:
    """What less precise weights do to what comes next, against float32."""

    logits: float  # root of the mean square of the difference, by that of the logits
    nats: float  # Kullback-Leibler divergence of the guided distribution, mean
    same: float  # share of codes that are the same when drawn with the same noise, top 250


def losses(models: Models, steps: int = 60, batch: int = 4) -> tuple[float, dict[str, Loss]]:
    """Bits of the guided distribution, and the losses; the same random codes go into all networks."""
    generator = torch.Generator().manual_seed(6)
    config = models.ours["float32"].config
    texts = torch.randn(batch, PIECES, config.width, generator=generator)
    codes = torch.randint(0, config.vocabulary, (steps, batch, 1, config.codebooks), generator=generator)
    codes = codes.expand(-1, -1, 2, -1).reshape(steps, 2 * batch, -1)  # a row with text, one without
    uniform = torch.rand(batch * config.codebooks, generator=generator, dtype=torch.float64)
    made = {}
    for name, network in models.ours.items():
        decoder = MusicgenDecoder(network, 2 * batch)
        for take in range(batch):
            decoder.join(decoding.Sequence((), WINDOW, 1, take, guidance=GUIDANCE, condition=Condition(texts[take])))
        with torch.inference_mode():
            logits = torch.stack([network.step(fed, decoder._cache) for fed in codes]).float()
        wanted, held = logits[:, 0::2], logits[:, 1::2]
        made[name] = (held + GUIDANCE * (wanted - held))[steps // 4:]
    expected = made["float32"]
    found = {}
    for name, logits in made.items():
        right, wrong = expected.log_softmax(-1), logits.log_softmax(-1)
        every = torch.ones(batch * config.codebooks)
        drawn = [torch.stack([sample(step.flatten(0, 1), every, (TOP_K * every).long(), uniform) for step in each])
                 for each in (expected, logits)]
        found[name] = Loss(
            float((logits - expected).square().mean().sqrt() / expected.square().mean().sqrt()),
            float((right.exp() * (right - wrong)).sum(-1).mean()), float((drawn[0] == drawn[1]).float().mean()))
    shares = expected.log_softmax(-1)
    return float(-(shares.exp() * shares).sum(-1).mean() / np.log(2)), {
        name: loss for name, loss in found.items() if name != "float32"}


# Memory


def resident() -> int:
    """Bytes of this process in memory; 0 where the system does not say."""
    gc.collect()
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def growth(models: Models) -> list[tuple[int, float, float, int, int]]:
    """Length, seconds a step of stock and ours, bytes that stock copies a step, and that ours has taken."""
    network = models.ours["float32"]
    state = 2 * KeyValueCache.row_bytes(network.config, 1, 0, torch.float32)  # of one position of two rows
    found = []
    for length in LENGTHS:
        before = resident()
        ours = Ours(network, 1, length)
        ours_s = statistics.median(ours.steps(8))
        taken = resident() - before
        del ours
        stock_s = statistics.median(stock_steps(models.stock, 1, length, 8))
        found.append((length, stock_s, ours_s, state * length, taken))
    return found


# The page


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *("| " + " | ".join(row) + " |" for row in rows), ""]


def ms(value: float) -> str:
    return f"{1000 * value:.1f}"


def verdict(what: str, found: float, target: float, *, least: bool) -> list[str]:
    reached = found >= target if least else found <= target
    return [what, f"{found:.2f}x", f"{'at least' if least else 'at most'} {target:g}x", "reached" if reached else "missed"]


def on_cpu(models: Models, rounds: int) -> list[str]:
    float32 = models.ours["float32"]
    bandwidth = ReadBandwidth()
    early = {batch: speeds(models, batch, 0, rounds, bandwidth) for batch in BATCHES}
    late = {(1, 1400): speeds(models, 1, 1400, 1, bandwidth), (4, 700): speeds(models, 4, 700, 1, bandwidth)}
    one = early[1]
    floor = bytes_read(float32) / one.bandwidth
    pairs = [(stock_queue(models.stock), our_queue(float32)) for _ in range(1)]
    queue = statistics.median(stock / ours for stock, ours in pairs)
    page = ["## Targets", ""]
    page += table(["", "found", "target", ""], [
        verdict("a step at batch 1 against reading its weights once", one.seconds["float32"] / floor, 1.2, least=False),
        verdict("against stock at step 1,400, batch 1", late[1, 1400].ratio("stock", "float32"), 1.6, least=True),
        verdict("against stock at step 700, batch 4", late[4, 700].ratio("stock", "float32"), 1.9, least=True),
        verdict("int8 against our float32, batch 1", one.ratio("float32", "int8"), 1.5, least=True),
        verdict(f"{len(QUEUE_S)} queued prompts against stock one after the other", queue, 2.0, least=True)])
    page += [f"Reading the {bytes_read(float32) / 1e9:.2f} GB of a step once takes {ms(floor)} ms at the "
             f"{one.bandwidth / 1e9:.1f} GB/s that a plain sum over memory reads here beside; stock takes "
             f"{one.seconds['stock'] / floor:.1f} times as long.", ""]
    page += ["## Milliseconds a step, guidance on, drawing included", ""]
    names = list(models.ours)
    page += table(
        ["behind steps", "batch", "stock", *names, *(f"{name} against stock" for name in names),
         "float32, steps/s", "and of the read bandwidth"],
        [[str(length), str(batch), *(ms(value) for value in speed.seconds.values()),
          *(f"{speed.ratio('stock', name):.1f}x" for name in names), f"{batch / speed.seconds['float32']:.1f}",
          f"{100 * bytes_read(float32, 2 * batch, length) / speed.seconds['float32'] / speed.bandwidth:.0f} %"]
         for (batch, length), speed in (*(((batch, 0), speed) for batch, speed in early.items()), *late.items())])
    page += [f"Stock is `generate`, timed from one step to the next; behind steps it has read as many given frames. "
             f"Medians of {STEPS} steps, and of {rounds} rounds at the beginning.", ""]
    page += ["## As a take grows: batch 1, float32", ""]
    page += table(
        ["behind steps", "stock, ms", "ours, ms", "ratio", "stock copies a step, MB", "ours takes, MB"],
        [[str(length), ms(stock_s), ms(ours_s), f"{stock_s / ours_s:.1f}x", f"{copied / 1e6:.0f}", f"{taken / 1e6:.0f}"]
         for length, stock_s, ours_s, copied, taken in growth(models)])
    page += ["Stock puts each step's keys and values behind a copy of all before; ours writes them where there is room.", ""]
    page += [f"## {len(QUEUE_S)} prompts at once", "",
             f"Of {', '.join(f'{length:g}' for length in QUEUE_S)} s (a tenth of 5 to 30 s, so that stock is done in minutes; "
             f"its steps get slower with length, ours hardly): stock one after the other {pairs[0][0]:.1f} s, "
             f"our batcher {pairs[0][1]:.1f} s: {queue:.1f} times the throughput, {sum(QUEUE_S) / pairs[0][1]:.2f} s "
             f"of sound a second. Without the codec on either side.", ""]
    found = beside(models, "float32")
    page += ["## Sound beside the loop", "",
             f"EnCodec decodes {SOUND_S:g} s in {found['sound']:.1f} s on a thread of its own, and in "
             f"{found['sound beside']:.1f} s while steps are made; a step takes {ms(found['step'])} ms alone and "
             f"{ms(found['step beside'])} ms beside it ({os.cpu_count()} cores).", ""]
    bits, lost = losses(models)
    page += ["## What less precise weights change", "",
             f"Random weights are no music; this says how far numbers move, not what is heard. Guided distributions of "
             f"{bits:.1f} bits (of {np.log2(float32.config.vocabulary):.0f}), against float32, the same codes before:", ""]
    page += table(
        ["weights", "GB", "logits differ by", "divergence, nats", "same code with the same noise"],
        [[name, f"{bytes_read(models.ours[name]) / 1e9:.2f}", f"{100 * loss.logits:.2f} %", f"{loss.nats:.5f}",
          f"{100 * loss.same:.1f} %"] for name, loss in lost.items()])
    return page


def on_gpu(folder: Path, rounds: int) -> list[str]:
    models = load(folder, ["bfloat16"], "cuda")
    block = torch.ones(1 << 30, dtype=torch.bfloat16, device="cuda")

    def bandwidth() -> float:
        block.sum()
        started = now(block.device)
        block.sum()
        return block.nbytes / (now(block.device) - started)

    network = models.ours["bfloat16"]
    found = {batch: speeds(models, batch, 0, rounds, bandwidth) for batch in BATCHES}
    one, most = found[1], found[8]
    floor = bytes_read(network) / one.bandwidth
    page = [f"## On {torch.cuda.get_device_name()}, bfloat16, the step a captured graph", ""]
    page += table(["", "found", "target", ""], [
        verdict("against stock, batch 1", one.ratio("stock", "bfloat16"), 5, least=True),
        verdict("of the read bandwidth, batch 1", floor / one.seconds["bfloat16"], 0.6, least=True),
        verdict("a step at batch 8 against batch 1", most.seconds["bfloat16"] / one.seconds["bfloat16"], 1.5, least=False)])
    page += table(["batch", "stock, ms", "ours, ms", "ratio", "times real time, each"], [
        [str(batch), ms(speed.seconds["stock"]), ms(speed.seconds["bfloat16"]), f"{speed.ratio('stock', 'bfloat16'):.1f}x",
         f"{1 / speed.seconds['bfloat16'] / 50:.1f}"] for batch, speed in found.items()])
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure MusicGen against transformers at musicgen-small's size.")
    parser.add_argument("--rounds", type=int, default=3, help="rounds in which both are timed")
    rounds = parser.parse_args().rounds
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    torch.set_num_threads(1)
    started = time.perf_counter()
    page = ["# MusicGen", "", f"Measured by `python -m benchmarks.musicgen` on: {described()}. A random checkpoint of "
            f"{NAME}'s size; stock is `transformers`.",
            "Times are of one machine at one time; the ratios are of things measured side by side in one run.", ""]
    with tempfile.TemporaryDirectory() as folder:
        models = load(Path(folder), ["float32", "bfloat16", "int8"], "cpu")
        native = Ours(models.ours["float32"], 1).batcher._decoder._cache.native  # type: ignore[attr-defined]
        page += [f"The step is {'compiled' if native else 'PyTorch (no C compiler)'}.", ""]
        page += on_cpu(models, rounds)
        del models
        if torch.cuda.is_available():
            page += on_gpu(Path(folder), rounds)
        else:
            page += ["On CUDA nothing was measured: there is no GPU here.", ""]
    page += [f"All of this took {(time.perf_counter() - started) / 60:.0f} minutes."]
    text = "\n".join(page) + "\n"
    RESULTS.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
