"""The MusicGen engine: a description becomes sound, with a melody to follow or a sound to carry on.

    plan = engine.plan(request)
    for sequence in engine.sequences(plan):
        engine.batcher.add(sequence)
    while engine.batcher.busy:
        for sequence in engine.batcher.step():
            take = engine.take(plan, sequence)
    samples = engine.sound(plan, take)  # on another thread, beside the loop
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakSet

import numpy as np
import torch

from models.decoding.batcher import Batcher
from models.decoding.sequence import Sequence
from models.engines.musicgen.checkpoint import PRECISIONS, RATE_HZ, Checkpoint
from models.engines.musicgen.codec import Codec
from models.engines.musicgen.conditions import MELODY_SECONDS, TextEncoder, chroma_states, melody_windows
from models.engines.musicgen.decoder import TEXT_SLOTS, WINDOW, Condition, MusicgenDecoder, frames_of, slots_of, windows
from models.engines.musicgen.published import LICENCE, PUBLISHED
from models.errors import CheckpointError, InputError
from models.interface.audio import FRAMES_PER_SECOND, AudioPlan, AudioRequest, AudioTake, carried_on_seconds
from models.interface.engine import Host
from models.interface.english import NOTICE as NOT_ENGLISH
from models.interface.english import seems_english
from models.network.memory import available_bytes
from models.sound.audio.reading import read_audio, read_end

ROWS = 16  # of the cache, if there is memory for them; a guided take uses two
FEWEST_ROWS = 2
_LOG = logging.getLogger(__name__)
_LOADED: WeakSet[MusicgenEngine] = WeakSet()  # the engines of this process


@dataclass(frozen=True, eq=False)
class Wish:
    """What the takes of a plan have in common."""

    condition: Condition
    prime: tuple[tuple[int, ...], ...] = ()  # frames of the sound that is carried on


class MusicgenEngine:
    """One of the published models.

    `plan` and `sound` leave the batcher alone: while one thread decodes, one other may plan and one more make sound.
    """

    kind = "audio"
    rate_hz = RATE_HZ

    def __init__(
        self, checkpoint: Checkpoint, *, device: torch.device | str = "cpu", precision: str = "float32", rows: int = ROWS,
        window: int = WINDOW,
    ) -> None:
        """`window`, in frames, is what the network was trained on. Raises CheckpointError."""
        self.name = checkpoint.name
        self._window, self._delays = window, checkpoint.network.delays
        self._melody = checkpoint.melody
        self._text = TextEncoder(checkpoint, device)
        self._codec = Codec(checkpoint, device)
        network = checkpoint.load_network(precision, device)
        chroma = chroma_states(checkpoint)
        self._decoder = MusicgenDecoder(
            network, rows, window=window, melody_slots=self._melody["length"] if self._melody else 0,
            chroma=None if chroma is None else chroma.to(device))
        self.batcher = Batcher(self._decoder)
        _LOADED.add(self)

    def promised_bytes(self, kind: str) -> int:
        """Memory on devices of a kind, cpu or cuda, that takes will need and that still counts as free."""
        return self._decoder.promised_bytes if self._decoder.network.device.type == kind else 0

    @classmethod
    def load(cls, folder: Path, *, name: str, device: str = "cpu", dtype: str = "float32") -> MusicgenEngine:
        """A model of a folder, or of the Hugging Face cache if the folder is not there.

        `dtype` is float32, bfloat16 or (on a CPU) int8. As many rows are made room for as memory allows. Raises
        CheckpointError: a bad model, an unknown device, too little memory; the message says what would fit.
        """
        checkpoint = Checkpoint.open(folder, name)
        return cls(checkpoint, device=device, precision=dtype, rows=rows_that_fit(checkpoint, device, dtype))

    def plan(self, request: AudioRequest) -> AudioPlan:
        """Encode the prompt and read the files. Raises InputError."""
        notices: list[str] = []
        stride = round(request.stride * FRAMES_PER_SECOND)
        prime: tuple[tuple[int, ...], ...] = ()
        if request.continuation is not None:
            prime = self._carried_on(request, request.continuation, notices)
        melody = None
        if request.melody is not None:
            if self._melody is None:
                able = [name for name, published in PUBLISHED.items() if published.melody]
                raise InputError(f"{self.name} cannot follow a melody; {', '.join(able[:-1])} and {able[-1]} can")
            heard = read_audio(request.melody, rate_hz=RATE_HZ, channels=1)[:, 0]
            starts = windows(request.frames, len(prime), stride, self._window)
            melody = melody_windows(heard, starts, self._melody["length"], chroma=self._melody["chroma"])
            if len(starts) == 1 and len(heard) > MELODY_SECONDS * RATE_HZ:
                notices.append(f"the first {MELODY_SECONDS} s of the melody are followed")
        if not seems_english(request.prompt):
            notices.append(NOT_ENGLISH)
        text, whole = self._text(request.prompt, TEXT_SLOTS)
        if not whole:
            notices.append("the end of the prompt was left out: it is too long")
        return AudioPlan(request, self.name, LICENCE, tuple(notices), Wish(Condition(text, stride, melody), prime))

    def _carried_on(self, request: AudioRequest, path: Path, notices: list[str]) -> tuple[tuple[int, ...], ...]:
        """The frames of the end of a sound file, as many as leave room in a take."""
        samples, more = read_end(path, RATE_HZ, self._codec.channels)
        seconds = carried_on_seconds(len(samples) / RATE_HZ, request.seconds)
        kept = samples[-round(seconds * RATE_HZ):]
        if more or len(kept) < len(samples):
            notices.append(f"only the last {seconds:g} s of the sound are carried on")
        return tuple(map(tuple, self._codec.encode(kept).tolist()))

    def sequences(self, plan: AudioPlan) -> list[Sequence]:
        """One for each take."""
        request, wish = plan.request, plan.condition
        steps = request.frames - len(wish.prime) + max(self._delays)
        return [
            Sequence(
                prime=wish.prime, length=steps, seed=request.seed, take=number, temperature=request.temperature,
                top_k=request.top_k, top_p=request.top_p, guidance=request.guidance, condition=wish.condition)
            for number in range(1, request.takes + 1)
        ]

    def take(self, plan: AudioPlan, sequence: Sequence) -> AudioTake:
        """The content of a take is its codes, (frames, codebooks), int16; what it carries on is in front."""
        return AudioTake(sequence.take, frames_of(sequence, self._delays).astype(np.int16),
                         len(sequence.prime) / FRAMES_PER_SECOND)

    def sound(self, plan: AudioPlan, take: AudioTake) -> np.ndarray:
        """Samples of a take, (samples, channels) at 32 kHz, float32, as the codec makes them: peaks may be above 1."""
        return self._codec.decode(take.content)


def rows_that_fit(checkpoint: Checkpoint, device: str, dtype: str) -> int:
    """Rows of the cache that there is memory for beside the weights and what other engines of this process will take.

    Raises CheckpointError when two do not fit.
    """
    if dtype not in PRECISIONS:
        raise CheckpointError(f"the precision must be one of {', '.join(PRECISIONS)}, not {dtype!r}")
    kind = device.partition(":")[0]
    if kind not in ("cpu", "cuda"):
        raise CheckpointError(f"the device must be cpu or cuda, not {device!r}")
    if kind == "cuda" and not torch.cuda.is_available():
        raise CheckpointError(f"the device is {device}, but PyTorch finds no GPU here; choose cpu")
    if kind == "cuda" and dtype == "int8":
        raise CheckpointError("int8 is for CPUs; choose bfloat16 on a GPU")
    free = max(available_bytes(device) - sum(engine.promised_bytes(kind) for engine in _LOADED), 0)
    for rows in range(ROWS, FEWEST_ROWS - 1, -1):
        if needed_bytes(checkpoint, dtype, rows) <= free:
            if rows < ROWS:
                _LOG.warning("%s: there is memory for %d rows of the cache, not for %d", checkpoint.name, rows, ROWS)
            return rows
    others = [f"{other} ({_gigabytes(needed_bytes(checkpoint, other, FEWEST_ROWS))})" for other in PRECISIONS
              if other != dtype and (kind, other) != ("cuda", "int8") and needed_bytes(checkpoint, other, FEWEST_ROWS) <= free]
    advice = f"{' or '.join(others)} would fit" if others else "take a smaller model, or a machine with more memory"
    raise CheckpointError(
        f"{checkpoint.name} needs {_gigabytes(needed_bytes(checkpoint, dtype, FEWEST_ROWS))} in {dtype} on {device}, "
        f"where {_gigabytes(free)} are free; {advice}")


def needed_bytes(checkpoint: Checkpoint, dtype: str, rows: int) -> int:
    """Memory to have free before loading, so that `rows` rows of the cache can be full."""
    slots = slots_of(checkpoint.network, melody_slots=checkpoint.melody["length"] if checkpoint.melody else 0)
    return checkpoint.needed_bytes(dtype, rows, slots, TEXT_SLOTS, PRECISIONS[dtype])


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB"


def load(name: str, model: Path | None, host: Host) -> MusicgenEngine:
    """The engine for the registry."""
    device = ("cuda" if torch.cuda.is_available() else "cpu") if host.device == "auto" else host.device
    precision = ("bfloat16" if device == "cuda" else "float32") if host.precision == "auto" else host.precision
    return MusicgenEngine.load(model or host.data / name, name=name, device=device, dtype=precision)
