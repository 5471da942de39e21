"""EnCodec: codes to sound and back. Stereo is two mono passes, whose codebooks take turns.

The convolutions go over a sound in pieces that overlap by more than they can see, so that memory does not grow with
its length; what comes out is the same. The recurrent layers between them see all of it, at 50 frames a second.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from models.engines.musicgen.checkpoint import SOUND, Checkpoint
from models.errors import CheckpointError
from models.interface.audio import FRAMES_PER_SECOND

PIECE = 10 * FRAMES_PER_SECOND  # frames at once
SEEN = 16  # frames to either side that are enough for the convolutions
_OLD_NAMES = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"}


class Codec:
    """The codec of a checkpoint, float32. Threads may share it; one sound is decoded at a time, so memory is bounded."""

    def __init__(self, checkpoint: Checkpoint, device: torch.device | str = "cpu") -> None:
        from transformers import EncodecConfig, EncodecModel
        from transformers.models.encodec.modeling_encodec import EncodecLSTM
        self.channels = checkpoint.network.channels
        self._device, self._lock = torch.device(device), threading.Lock()
        try:
            model: Any = EncodecModel(EncodecConfig(**checkpoint.sound))
        except Exception as error:  # libraries raise whatever they like on values that are not what they expect
            reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
            raise CheckpointError(f"{checkpoint.folder}: the codec cannot be set up ({reason}); {checkpoint.hint}") from error
        tensors = {_renamed(name): tensor for name, tensor in checkpoint.tensors(SOUND).items()}
        checkpoint.fill(model, tensors)
        for module in list(model.modules()):
            if parametrize.is_parametrized(module, "weight"):
                parametrize.remove_parametrizations(module, "weight")  # its product is needed only
        self._model = model.to(self._device)
        self._hop = int(np.prod(model.config.upsampling_ratios))  # samples of a frame
        codebooks = checkpoint.network.codebooks // self.channels
        if (model.config.sampling_rate != self._hop * FRAMES_PER_SECOND or len(model.quantizer.layers) < codebooks
                or model.config.codebook_size != checkpoint.network.vocabulary or model.config.norm_type != "weight_norm"):
            raise CheckpointError(f"{checkpoint.folder}: codec and decoder do not go together; {checkpoint.hint}")
        self._codebooks = codebooks
        self._encoder, self._decoder = list(model.encoder.layers), list(model.decoder.layers)
        # Convolutions to the one side of the recurrent layers, and to the other.
        self._down = next(place for place, layer in enumerate(self._encoder) if isinstance(layer, EncodecLSTM))
        self._up = 1 + next(place for place, layer in enumerate(self._decoder) if isinstance(layer, EncodecLSTM))

    @torch.inference_mode()
    def decode(self, codes: np.ndarray) -> np.ndarray:
        """Codes (frames, codebooks) -> samples (640 * frames, channels), float32."""
        with self._lock:
            given = torch.from_numpy(np.ascontiguousarray(codes, dtype=np.int64)).to(self._device)
            sides = [self._decode(given[:, side::self.channels]) for side in range(self.channels)]
        return torch.stack(sides, dim=1).float().cpu().numpy()

    @torch.inference_mode()
    def encode(self, samples: np.ndarray) -> np.ndarray:
        """Samples (samples, channels) at 32 kHz -> codes (frames, codebooks), int64; the last frame may be filled up."""
        given = torch.from_numpy(np.ascontiguousarray(samples.T, dtype=np.float32)).to(self._device)
        sides = [self._encode(side) for side in given]
        return torch.stack(sides, dim=2).flatten(1).cpu().numpy()

    def _decode(self, codes: Tensor) -> Tensor:
        states = self._model.quantizer.decode(codes.T[:, None])  # (1, hidden, frames)
        states = _through(self._decoder[:self._up], states)
        frames = states.shape[-1]
        pieces = []
        for start in range(0, frames, PIECE):
            first, end = max(start - SEEN, 0), min(start + PIECE, frames)
            sound = _through(self._decoder[self._up:], states[..., first:end + SEEN])
            pieces.append(sound[0, 0, (start - first) * self._hop:(end - first) * self._hop])
        return torch.cat(pieces)

    def _encode(self, samples: Tensor) -> Tensor:
        frames = -(-len(samples) // self._hop)
        pieces = []
        for start in range(0, frames, PIECE):
            first, end = max(start - SEEN, 0), min(start + PIECE, frames)
            states = _through(self._encoder[:self._down], samples[None, None, first * self._hop:(end + SEEN) * self._hop])
            pieces.append(states[..., start - first:end - first])
        states = _through(self._encoder[self._down:], torch.cat(pieces, dim=-1))
        codes: Tensor = self._model.quantizer.encode(states)  # (codebooks, 1, frames)
        return codes[:self._codebooks, 0].T


def _through(layers: Sequence[nn.Module], states: Tensor) -> Tensor:
    for layer in layers:
        states = layer(states)
    return states


def _renamed(name: str) -> str:
    """Names of older checkpoints: a weight's length and direction."""
    module, _, part = name.rpartition(".")
    return f"{module}.{_OLD_NAMES[part]}" if part in _OLD_NAMES else name
