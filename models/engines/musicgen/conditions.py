"""What a sound follows: the words of a prompt through T5, and the chroma of a melody.

A prompt is encoded alone and never padded, so it means the same whatever else is asked for. (In a batch of the
melody networks `transformers` and audiocraft let shorter prompts see the padding.)
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models.checkpoints.store import without_weights
from models.engines.musicgen.checkpoint import MELODY_TO_DECODER, RATE_HZ, TEXT, TO_DECODER, Checkpoint
from models.errors import CheckpointError

TRANSFORM = 16_384  # samples of one spectrum
HOP = 4_096  # samples from one chroma to the next
MELODY_SECONDS = 30  # of a melody are heard
_TOKENIZERS = ("tokenizer.json", "spiece.model")
_TUNING_HZ = 440.0
_OCTAVE, _OCTAVES = 5.0, 2.0  # what counts most, in octaves above 27.5 Hz, and how far around it


class TextEncoder:
    """T5 as it lies in the checkpoint, and the projection to the decoder's width; float32."""

    def __init__(self, checkpoint: Checkpoint, device: torch.device | str = "cpu") -> None:
        from transformers import AutoTokenizer, T5Config, T5EncoderModel
        self._device = torch.device(device)
        if not any((checkpoint.folder / name).is_file() for name in _TOKENIZERS):  # the library would make an empty one
            raise CheckpointError(f"{checkpoint.folder} has no {' and no '.join(_TOKENIZERS)}; {checkpoint.hint}")
        try:
            self._tokenizer: Any = AutoTokenizer.from_pretrained(checkpoint.folder, local_files_only=True)
            with without_weights():
                encoder: Any = T5EncoderModel(T5Config(**checkpoint.text))
        except Exception as error:  # libraries raise whatever they like on files that are not what they expect
            reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
            raise CheckpointError(f"{checkpoint.folder}: the text encoder cannot be set up ({reason}); "
                                  f"{checkpoint.hint}") from error
        if len(self._tokenizer) > encoder.config.vocab_size:
            raise CheckpointError(
                f"{checkpoint.folder}: the tokenizer has more pieces than the text encoder; {checkpoint.hint}")
        tensors = checkpoint.tensors(TEXT)
        shared, tied = "shared.weight", "encoder.embed_tokens.weight"  # one matrix; files have either name, or both
        for name, other in ((shared, tied), (tied, shared)):
            if name not in tensors and other in tensors:
                tensors[name] = tensors[other]
        checkpoint.fill(encoder, tensors)
        self._encoder = encoder.to(device)
        projection = checkpoint.tensors(TO_DECODER)
        self._projection = (projection["weight"].to(self._device), projection["bias"].to(self._device)) if projection else None

    @torch.inference_mode()
    def __call__(self, prompt: str, most: int) -> tuple[Tensor, bool]:
        """States of the first `most` pieces of a prompt, (time, width), and whether these are all of it."""
        pieces = self._tokenizer(prompt)["input_ids"]
        whole = len(pieces) <= most
        if not whole:
            pieces = [*pieces[:most - 1], pieces[-1]]  # the end mark stays
        states: Tensor = self._encoder(input_ids=torch.tensor([pieces], device=self._device)).last_hidden_state[0]
        return states if self._projection is None else F.linear(states, *self._projection), whole


def chroma_states(checkpoint: Checkpoint) -> Tensor | None:
    """What the decoder sees where one chroma is the strongest, (chroma, width); None if it takes no melody."""
    if checkpoint.melody is None:
        return None
    states = torch.eye(checkpoint.melody["chroma"])
    projection = checkpoint.tensors(MELODY_TO_DECODER)
    return F.linear(states, projection["weight"], projection["bias"]) if projection else states


def strongest_chroma(samples: np.ndarray, chroma: int = 12) -> np.ndarray:
    """The strongest pitch class (0: C) at each hop of a sound, (samples,) at 32 kHz -> (hops,), uint8.

    As the feature extractor of MusicGen Melody does it. Audiocraft first takes drums and bass out of the sound with
    a network for that (demucs); neither the extractor nor this does, so a sound with few instruments is followed best.
    """
    sound = torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32))
    if (short := TRANSFORM - len(sound)) > 0:
        sound = F.pad(sound, (short // 2, short - short // 2))
    spectrum = torch.stft(sound, TRANSFORM, HOP, window=torch.hann_window(TRANSFORM), return_complex=True)
    power = spectrum.abs().square()
    strongest: np.ndarray = (chroma_filters(chroma) @ power).argmax(dim=0).numpy().astype(np.uint8)
    return strongest


def chroma_filters(chroma: int = 12) -> Tensor:
    """How much each frequency counts for each pitch class, (chroma, TRANSFORM / 2 + 1).

    As in librosa: a bump around every octave of the class, columns of length 1, frequencies around the fifth octave count most.
    """
    frequencies = np.arange(1, TRANSFORM) * RATE_HZ / TRANSFORM
    steps = chroma * np.log2(frequencies / (_TUNING_HZ / 16))
    steps = np.concatenate(([steps[0] - 1.5 * chroma], steps))  # 0 Hz has no pitch: an octave and a half below
    widths = np.append(np.maximum(np.diff(steps), 1), 1)
    half = round(chroma / 2)
    away = (steps - np.arange(chroma)[:, None] + half) % chroma - half
    bumps = np.exp(-2 * (away / widths) ** 2)
    bumps /= np.linalg.norm(bumps, axis=0)
    bumps *= np.exp(-0.5 * ((steps / chroma - _OCTAVE) / _OCTAVES) ** 2)
    from_c = np.roll(bumps, -3 * (chroma // 12), axis=0)
    return torch.from_numpy(from_c[:, :TRANSFORM // 2 + 1].astype(np.float32))


def melody_windows(samples: np.ndarray, starts: list[int], hops: int, *, chroma: int = 12) -> dict[int, np.ndarray]:
    """The strongest chroma for each window, by its first frame (50 a second); samples (samples,) at 32 kHz -> (hops,).

    In one window what is heard of a melody is repeated until it is full, as in `transformers`; in several the melody
    itself goes round and each window hears it from where it is, as in audiocraft.
    """
    heard = MELODY_SECONDS * RATE_HZ
    if len(starts) == 1:
        strongest = strongest_chroma(samples[:heard], chroma)
        return {starts[0]: np.resize(strongest, hops)}
    places = np.arange(heard)
    return {start: np.resize(strongest_chroma(samples[(places + start * RATE_HZ // 50) % len(samples)], chroma), hops)
            for start in starts}
