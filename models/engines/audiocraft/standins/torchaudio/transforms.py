"""The two transforms that audiocraft calls, and the name of one that it imports for training."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Spectrogram(nn.Module):
    """Power spectrogram, (..., samples) -> (..., n_fft // 2 + 1, frames), of a Hann window.

    The arguments are torchaudio's. `normalized` divides by the window's root of summed squares. The window is a
    buffer, since the published melody models hold it among their weights.
    """

    window: Tensor

    def __init__(
        self, n_fft: int = 400, win_length: int | None = None, hop_length: int | None = None, pad: int = 0,
        power: float = 2.0, normalized: bool = False, center: bool = True, **others: Any,
    ) -> None:
        super().__init__()
        if pad or others:
            raise NotImplementedError(f"the stand-in for torchaudio's Spectrogram knows no {', '.join(others) or 'pad'}")
        self.n_fft, self.power, self.normalized, self.center = n_fft, power, normalized, center
        self.win_length = win_length or n_fft
        self.hop_length = hop_length or self.win_length // 2
        self.register_buffer("window", torch.hann_window(self.win_length))

    def forward(self, waveform: Tensor) -> Tensor:
        flat = waveform.reshape(-1, waveform.shape[-1])
        spectrum = torch.stft(
            flat, self.n_fft, self.hop_length, self.win_length, self.window, center=self.center, return_complex=True)
        if self.normalized:
            spectrum = spectrum / self.window.square().sum().sqrt()
        return spectrum.abs().pow(self.power).reshape(*waveform.shape[:-1], *spectrum.shape[-2:])


class Loudness(nn.Module):
    """Integrated loudness in LUFS (ITU-R BS.1770-4) of (channels, samples), as a tensor without dimensions."""

    def __init__(self, sample_rate: int) -> None:
        super().__init__()
        self.sample_rate = sample_rate

    def forward(self, waveform: Tensor) -> Tensor:
        from pyloudnorm import Meter
        return torch.tensor(Meter(self.sample_rate).integrated_loudness(waveform.detach().cpu().numpy().T))


class MelSpectrogram(nn.Module):
    """Part of a loss for training, which audiocraft imports and Kapelle does not do."""

    def __init__(self, *_: Any, **__: Any) -> None:
        raise NotImplementedError("training needs the real torchaudio")
