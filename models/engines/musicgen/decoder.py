"""Decoding with MusicGen: rows for what is wanted and what it is held against, delays, windows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Sequence as Listed
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from models.decoding.sampling import noise, sample
from models.decoding.sequence import Sequence
from models.engines.musicgen.native import attach
from models.engines.musicgen.network import KeyValueCache, MusicgenConfig, MusicgenNetwork, Step, mask_of
from models.interface.audio import FRAMES_PER_SECOND, WINDOW_SECONDS

WINDOW = round(WINDOW_SECONDS * FRAMES_PER_SECOND)  # frames
TEXT_SLOTS = 256  # pieces of words that a prompt may have
STRIDE = 18 * FRAMES_PER_SECOND  # frames


@dataclass(frozen=True, eq=False)
class Condition:
    """What a sequence follows. Takes of one plan share it, so that what is read alike is read once."""

    text: Tensor  # encoded, (time, width)
    stride: int = STRIDE  # frames by which the window moves on
    melody: Mapping[int, np.ndarray] | None = None  # first frame of a window -> the strongest of the chroma, (length,)


def windows(frames: int, primed: int, stride: int, window: int = WINDOW) -> list[int]:
    """The first frame of each window in which so many frames are made, those that are there before included."""
    first = [0 if primed < window else primed - (window - stride)]
    while first[-1] + window < frames:
        first.append(first[-1] + stride)
    return first


def delayed(frames: np.ndarray, delays: Listed[int], empty: int) -> np.ndarray:
    """What is fed to the network for frames (time, codebooks): each codebook late by its delay, `empty` in front."""
    late = np.full_like(frames, empty)
    for codebook, delay in enumerate(delays):
        late[delay:, codebook] = frames[:max(len(frames) - delay, 0), codebook]
    return late


def frames_of(sequence: Sequence, delays: Listed[int]) -> np.ndarray:
    """The frames that are there in full, those of the prime first, (frames, codebooks)."""
    made = np.array(sequence.ids, dtype=np.int64).reshape(-1, len(delays))
    count = max(len(made) - max(delays), 0)
    own = np.stack([made[delay:delay + count, codebook] for codebook, delay in enumerate(delays)], axis=1)
    return np.concatenate((np.array(sequence.prime, dtype=np.int64).reshape(-1, len(delays)), own))


class Draw(NamedTuple):
    """All that a step and its drawing depend on, beside the cache. First by row, then by sequence."""

    codes: Tensor  # fed, (rows, codebooks)
    wanted: Tensor  # row of what a sequence wants, (sequences,)
    held: Tensor  # row of what that is held against; the same one where there is no guidance
    guidance: Tensor  # float32
    temperature: Tensor  # float32; 0: the likeliest
    top_k: Tensor
    top_p: Tensor  # float32; 0: off
    uniform: Tensor  # (sequences, codebooks), float64

    def sample(self, logits: Tensor, *, plain: bool = False) -> Tensor:
        """logits (rows, codebooks, vocabulary) -> codes (sequences, codebooks). `plain`: nobody asks for a top-p."""
        logits = logits.float()
        held = logits[self.held]
        logits = held + self.guidance[:, None, None] * (logits[self.wanted] - held)
        sequences, codebooks, vocabulary = logits.shape

        def each(values: Tensor) -> Tensor:
            return values.repeat_interleave(codebooks)

        return sample(
            logits.view(-1, vocabulary), each(self.temperature), each(self.top_k), self.uniform.flatten(),
            None if plain else each(self.top_p)).view(sequences, codebooks)


class CapturedStep:
    """A step and its drawing as a CUDA graph, which starts its thousand kernels at once.

    There is a graph for each number of rows (a power of two) and of visible slots (a multiple of `COARSE`), made
    when it is first needed. It uses the cache where it lies, so that must stay there.

    No GPU was at hand: what the graph holds is tested on a CPU, capturing and replaying it has never been tried.
    """

    COARSE = 256

    def __init__(self, network: MusicgenNetwork, cache: KeyValueCache) -> None:
        self._network, self._cache = network, cache
        self._graphs: dict[tuple[int, int, int], Callable[[], Tensor]] = {}
        rows, codebooks = cache.rows, network.config.codebooks

        def each(value: float, dtype: torch.dtype) -> Tensor:
            return torch.full((rows,), value, dtype=dtype, device=cache.device)

        self._inputs = Draw(
            codes=each(0, torch.long)[:, None].repeat(1, codebooks), wanted=each(0, torch.long), held=each(0, torch.long),
            guidance=each(1, torch.float32), temperature=each(1, torch.float32), top_k=each(1, torch.long),
            top_p=each(0, torch.float32), uniform=each(0, torch.float64)[:, None].repeat(1, codebooks))
        self._lengths, self._text_lengths = each(0, torch.long), each(1, torch.long)

    def __call__(self, draw: Draw) -> Tensor:
        rows, sequences = len(draw.codes), len(draw.wanted)
        lengths, text_lengths = self._cache.lengths, self._cache.text_lengths.clamp(min=1)
        self._inputs.wanted.zero_()  # of sequences that have ended: their rows may be gone
        self._inputs.held.zero_()
        for ours, given in zip((*self._inputs, self._lengths, self._text_lengths), (*draw, lengths, text_lengths), strict=True):
            ours[:len(given)].copy_(given)
        visible, text_visible = int(lengths[:rows].max()) + 1, int(text_lengths[:rows].max())
        key = (
            min(1 << (rows - 1).bit_length(), self._cache.rows),
            min(-(-visible // self.COARSE) * self.COARSE, self._cache.slots),
            min(-(-text_visible // self.COARSE) * self.COARSE, self._cache.text_slots))
        if key not in self._graphs:
            self._graphs[key] = self._capture(*key)
        drawn = self._graphs[key]()
        lengths[:rows] += 1
        return drawn[:sequences]

    def _capture(self, rows: int, visible: int, text_visible: int) -> Callable[[], Tensor]:
        stream = torch.cuda.Stream(self._cache.device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(self._cache.device))
        with torch.cuda.stream(stream):  # what libraries set up when they are first used cannot be captured
            for _ in range(2):
                self._run(rows, visible, text_visible)
        torch.cuda.current_stream(self._cache.device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        # Only this thread's calls are held to what a capture allows: another one may be making sound of codes.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            drawn = self._run(rows, visible, text_visible)

        def replay() -> Tensor:
            graph.replay()
            return drawn

        return replay

    def _run(self, rows: int, visible: int, text_visible: int) -> Tensor:
        """Rows beyond those in use write to the first slot of theirs, which nobody reads."""
        draw = Draw(*(values[:rows] for values in self._inputs))
        positions, dtype = self._lengths[:rows], self._network.dtype
        step = Step(
            positions, visible, mask_of(positions + 1, visible, dtype),
            text_visible, mask_of(self._text_lengths[:rows], text_visible, dtype))
        return draw.sample(self._network.rows(draw.codes, self._cache, step))


class MusicgenDecoder:
    """A `Decoder` whose ids are steps: a tuple with the code of each codebook that this step makes, which is of an
    earlier frame the later the codebook is; no code where a codebook's first frame is yet to come, or its last one gone.

    A sequence's prime are whole frames, its length is the steps that are still to make: frames - primed + longest delay.

    Guidance is any number from 0: 1 follows what is wanted and 0 knows nothing of it, which take one cache row each;
    others take two. A step is made in `draw`; so reading a sequence without a prime costs hardly anything.

    A sequence longer than the window goes on in another one, `stride` frames further on, and what is in both is read
    anew; here the stream of delayed codes goes on, where audiocraft completes the frames of one window first.

    Memory of the cache is there while sequences run; on a GPU it stays, for the graphs that use it.
    """

    def __init__(
        self, network: MusicgenNetwork, rows: int, *, window: int = WINDOW, text_slots: int = TEXT_SLOTS,
        chroma: Tensor | None = None, melody_slots: int = 0, cache_dtype: torch.dtype | None = None,
    ) -> None:
        """`chroma`, (chroma, width), is what a network that takes a melody sees of each; `melody_slots` the melody's length."""
        config = network.config
        self.network = network
        self._window, self._chroma, self._melody_slots = window, chroma, melody_slots
        self._delays, self._empty = config.delays, config.vocabulary
        self._cache = KeyValueCache(
            config, rows, slots_of(config, window, text_slots, melody_slots), text_slots,
            dtype=cache_dtype or network.dtype, device=network.device)
        self._captured = CapturedStep(network, self._cache) if network.device.type == "cuda" else None
        self._owners: list[Sequence | None] = []  # of the rows; None where one has left
        self._rows: dict[Sequence, list[int]] = {}  # the wanted one first
        self._starts: dict[Sequence, int] = {}  # first frame of the window
        self._fed: dict[Sequence, tuple[int, ...]] = {}  # what goes in next

    @property
    def promised_bytes(self) -> int:
        """Memory of the cache that may yet be taken. On a CPU all of it: slots take theirs when they are written."""
        return 0 if self._captured is not None and self._cache.layers else self._cache.full_bytes

    # The decoder protocol

    def fits(self, sequence: Sequence) -> bool:
        used = sum(map(len, self._rows.values()))
        return used + len(_streams(sequence)) <= self._cache.rows

    @torch.inference_mode()
    def join(self, sequence: Sequence) -> None:
        self._cache.allocate()
        if not self._owners:
            attach(self.network, self._cache)
        self._close_up()
        start, first = self._starts_at(sequence), len(self._owners)
        streams = _streams(sequence)
        twins = self._twins(sequence, start, streams)
        for row, wanted in enumerate(streams, first):
            if twins:
                self._cache.copy(twins[row - first], row, self._read_length(sequence, start))
                continue
            if self.network.config.crosses:
                self.network.read_text(sequence.condition.text if wanted else None, self._cache, row)
            self._read(sequence, start, row, wanted)
        self._owners += [sequence] * len(streams)
        self._rows[sequence] = list(range(first, first + len(streams)))
        self._starts[sequence] = start
        self._fed[sequence] = tuple(self._inputs(sequence, start)[-1].tolist())

    @torch.inference_mode()
    def draw(self, sequences: Listed[Sequence]) -> list[tuple[int, ...]]:
        if not sequences:
            return []
        self._close_up()
        draw = self._draw_of(sequences)
        if self._captured is not None:
            drawn = self._captured(draw)
        else:
            drawn = draw.sample(self.network.step(draw.codes, self._cache), plain=not any(one.top_p for one in sequences))
        steps = [self._settled(sequence, codes) for sequence, codes in zip(sequences, drawn.tolist(), strict=True)]
        self._fed.update(zip(sequences, steps, strict=True))
        return steps

    @torch.inference_mode()
    def advance(self, sequences: Listed[Sequence]) -> None:
        for sequence in sequences:
            place = len(sequence.prime) + len(sequence.ids)
            if place - self._starts[sequence] >= self._window and place < self._frames(sequence):
                start = self._starts[sequence] = self._starts[sequence] + sequence.condition.stride
                for row, wanted in zip(self._rows[sequence], _streams(sequence), strict=True):
                    self._read(sequence, start, row, wanted)

    def leave(self, sequence: Sequence) -> None:
        for row in self._rows.pop(sequence):
            self._owners[row] = None
            self._cache.lengths[row] = 0
        del self._starts[sequence], self._fed[sequence]
        if not self._rows:
            self._owners.clear()
            if self._captured is None:
                self._cache.release()

    def _close_up(self) -> None:
        """Move the last rows to where others have left; once for all that left since the last step."""
        for row in range(len(self._owners)):
            while self._owners and self._owners[-1] is None:
                self._owners.pop()
            if row >= len(self._owners):
                break
            if self._owners[row] is None:
                last = len(self._owners) - 1
                self._cache.copy(last, row)
                self._cache.lengths[last] = 0  # of a row that is not in use, so that it has a slot to write to
                owner = self._owners[row] = self._owners.pop()
                assert owner is not None
                rows = self._rows[owner]
                rows[rows.index(last)] = row

    # Reading

    def _frames(self, sequence: Sequence) -> int:
        return len(sequence.prime) + sequence.length - max(self._delays)

    def _starts_at(self, sequence: Sequence) -> int:
        return windows(0, len(sequence.prime), sequence.condition.stride, self._window)[0]

    def _inputs(self, sequence: Sequence, start: int) -> np.ndarray:
        """All that is fed up to the next step from the first frame of a window on, (steps, codebooks)."""
        place = len(sequence.prime) + len(sequence.ids)
        frames = np.full((place, len(self._delays)), self._empty, dtype=np.int64)
        if primed := len(sequence.prime):
            frames[:primed] = sequence.prime
        for codebook, delay in enumerate(self._delays):  # the last frames have not every code yet
            made = [step[codebook] for step in sequence.ids[delay:]]
            frames[primed:primed + len(made), codebook] = made
        begin = np.full((1, len(self._delays)), self._empty, dtype=np.int64)
        return np.concatenate((begin, delayed(frames[start:], self._delays, self._empty)))

    def _read_length(self, sequence: Sequence, start: int) -> int:
        return len(self._inputs(sequence, start)) - 1 + self._prefix_length(sequence)

    def _prefix_length(self, sequence: Sequence) -> int:
        return 0 if self.network.config.crosses else self._melody_slots + len(sequence.condition.text)

    def _read(self, sequence: Sequence, start: int, row: int, wanted: bool) -> None:
        """Read all but the last of what is fed: with that the next step is made."""
        inputs = torch.from_numpy(self._inputs(sequence, start)[:-1]).to(self.network.device)
        self.network.read(inputs, self._cache, row, self._prefix(sequence.condition, start, wanted))

    def _prefix(self, condition: Condition, start: int, wanted: bool) -> Tensor | None:
        """States in front of the codes, the melody's first; without a melody they are those of its first chroma."""
        if self._chroma is None:
            return None
        strongest = np.zeros(self._melody_slots, dtype=np.int64)
        if wanted and condition.melody is not None:
            strongest[:] = condition.melody[start]
        text = condition.text.to(self._chroma)
        return torch.cat((self._chroma[torch.from_numpy(strongest)], text if wanted else torch.zeros_like(text)))

    def _twins(self, sequence: Sequence, start: int, streams: Listed[bool]) -> list[int]:
        """Rows of another take that begin with just what the rows of this one would; none if there are none."""
        for other, rows in self._rows.items():
            if (other.condition is sequence.condition and other.prime is sequence.prime and self._starts[other] == start
                    and _streams(other) == streams):
                return rows
        return []

    # Drawing

    def _draw_of(self, sequences: Listed[Sequence]) -> Draw:
        vocabulary, codebooks = self.network.config.vocabulary, len(self._delays)
        uniform = [
            [noise(one.seed, one.take, (len(one.prime) + len(one.ids)) * codebooks + codebook) for codebook in range(codebooks)]
            for one in sequences]
        return Draw(
            codes=torch.tensor([self._fed[owner] for owner in self._owners if owner is not None]),
            wanted=torch.tensor([self._rows[one][0] for one in sequences]),
            held=torch.tensor([self._rows[one][-1] for one in sequences]),
            guidance=torch.tensor([float(one.guidance) for one in sequences]),
            temperature=torch.tensor([float(one.temperature) for one in sequences]),
            top_k=torch.tensor([one.top_k or vocabulary for one in sequences]),
            top_p=torch.tensor([float(one.top_p) for one in sequences]),
            uniform=torch.tensor(uniform, dtype=torch.float64))

    def _settled(self, sequence: Sequence, drawn: list[int]) -> tuple[int, ...]:
        """The drawn codes, but for those that are known."""
        place, primed, frames = len(sequence.prime) + len(sequence.ids), len(sequence.prime), self._frames(sequence)
        if primed + max(self._delays) <= place < frames:
            return tuple(drawn)
        for codebook, delay in enumerate(self._delays):
            frame = place - delay
            if not 0 <= frame < frames:
                drawn[codebook] = self._empty
            elif frame < primed:
                drawn[codebook] = sequence.prime[frame][codebook]
        return tuple(drawn)


def _streams(sequence: Sequence) -> tuple[bool, ...]:
    """The rows of a sequence: whether each follows the condition."""
    if sequence.guidance in (0, 1):
        return (sequence.guidance == 1,)
    return True, False


def slots_of(config: MusicgenConfig, window: int = WINDOW, text_slots: int = TEXT_SLOTS, melody_slots: int = 0) -> int:
    """Positions that a row may come to stand at."""
    return window + max(config.delays) + (0 if config.crosses else text_slots + melody_slots)
