"""The engine protocol on Meta's audiocraft: MusicGen, also decoded by MultiBand Diffusion, AudioGen and MAGNeT.

Runs in the environment that `kapelle install audiocraft` makes, in a worker process of its own. audiocraft makes all
takes of a job in one call, so takes of different jobs do not share a batch; within a job they do, and each comes out
the same whatever is made beside it.
"""

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import Iterator
from collections.abc import Sequence as Listed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.decoding.sampling import noise
from models.decoding.sequence import Sequence
from models.engines.audiocraft.calls import CalledSequence, Calls, Tell
from models.engines.audiocraft.library import drawing, find, library, looking_in, read_weights
from models.engines.audiocraft.published import DEBUG, LICENCE, MODELS, NEWEST, PUBLISHER, Family, model_of, why_not
from models.errors import CheckpointError, InputError
from models.interface.audio import WINDOW_SECONDS, AudioPlan, AudioRequest, AudioTake, carried_on_seconds
from models.interface.engine import Host
from models.interface.english import NOTICE as NOT_ENGLISH
from models.interface.english import seems_english
from models.network.memory import available_bytes
from models.sound.audio.reading import read_audio, read_end

_ROUNDING = 0.25  # frames; audiocraft cuts what it computes in seconds, and must not cut one frame too many
_LEAST_NEW_S = 1.0  # that a window has room for behind what is carried on
_MAGNET = {"temperature": 3.0, "guidance": 10.0, "top_p": 0.9}  # its authors' values, where MusicGen's are 1, 3 and 0
_DRAWING, _DIFFUSING = 0, 1  # what a take's noise is for
_BESIDE_BYTES = 1 << 30  # text encoder, codec and activations


@dataclass(frozen=True, eq=False)
class _Wish:
    """What the takes of one plan have in common."""

    request: AudioRequest
    frames: int  # of a take, what is carried on included
    prompt: Tensor | None  # samples to carry on, (channels, samples) at the model's rate
    melody: Tensor | None  # likewise


class AudiocraftEngine:
    """A model of audiocraft's as an engine."""

    kind = "audio"

    def __init__(self, model: Any, name: str, family: Family, *, diffusion: Any = None) -> None:
        self.name = name
        self.batcher = Calls(self._generate)
        self.rate_hz: int = model.sample_rate
        self.channels: int = model.audio_channels
        self._model = model
        self._family = family
        self._diffusion = diffusion  # a MultiBandDiffusion, or None
        self._diffusing = threading.Lock()  # it draws from torch's one generator

    @classmethod
    def load(cls, name: str, folder: Path | None = None, *, data: Path, device: str = "auto") -> AudiocraftEngine:
        """Load a model by the engine's name, such as audiocraft-musicgen-small.

        Files are looked for in `folder`, in the data folder under the names of the engine, of the model and of what
        the model needs, and in the Hugging Face cache; nothing is downloaded. `device` is cpu, cuda or auto. Computes
        in float32 on a CPU and float16 on a GPU, as audiocraft does.

        Raises InputError for a name that is not known or a library that is missing, CheckpointError for the files.
        """
        model_name, diffused = model_of(name)
        if model_name != DEBUG and model_name not in MODELS:
            raise InputError(f"audiocraft has no model {model_name!r}; there are {', '.join(MODELS)}")
        if (reason := why_not(model_name)) is not None:
            raise InputError(reason)
        place = _device(device)
        models = library()
        if model_name == DEBUG:
            return cls(models.MusicGen.get_pretrained(DEBUG, device=place), name, "MusicGen")
        published = MODELS[model_name]
        if published.newer and not hasattr(models, "JASCO"):
            raise InputError(
                f"{model_name} needs an audiocraft newer than {NEWEST}, which PyPI does not have: install the one of the "
                "repository facebookresearch/audiocraft into an environment, and name its Python in KAPELLE_AUDIOCRAFT_PYTHON")
        with looking_in(*([folder] if folder else []), data / name, data), _fitting(model_name):
            _check_memory(model_name, place)
            kind = getattr(models, published.family)
            model = kind.get_pretrained(f"{PUBLISHER}/{model_name}", device=place)
            _check_text(model, model_name)
            diffusion = _multiband(models, model, place) if diffused else None
        return cls(model, name, published.family, diffusion=diffusion)

    def plan(self, request: AudioRequest) -> AudioPlan:
        """Read what is to be followed and carried on. Raises InputError for what this model cannot do."""
        notices: list[str] = []
        seconds, window = request.seconds, self._model.max_duration
        if self._family == "MAGNeT":
            if seconds > window:
                raise InputError(f"{self.name} makes at most {window:g} s, not {seconds:g}")
            notices.append("MAGNeT makes the whole take at once; temperature and guidance count from its own usual ones")
        frames = max(1, round(seconds * self._model.frame_rate))
        prompt = melody = None
        if request.continuation is not None:
            samples, more = read_end(request.continuation, self.rate_hz, self.channels)
            given = len(samples) / self.rate_hz
            kept = min(carried_on_seconds(given, seconds), window - _LEAST_NEW_S)
            if more or kept < given:
                notices.append(f"only the last {kept:g} s of the sound are carried on")
            prompt = torch.from_numpy(samples[-int(kept * self.rate_hz):].T.copy())
        if request.melody is not None:
            if "self_wav" not in self._model.lm.condition_provider.conditioners:
                raise InputError(f"{self.name} follows no melody; choose a model with melody or style in its name")
            melody = self._samples(request.melody)
        if not seems_english(request.prompt):
            notices.append(NOT_ENGLISH)
        licence = "" if self._model.name == DEBUG else LICENCE
        return AudioPlan(request, self.name, licence, tuple(notices), _Wish(request, frames, prompt, melody))

    def sequences(self, plan: AudioPlan) -> list[Sequence]:
        wish: _Wish = plan.condition
        return [CalledSequence(prime=(), length=wish.frames, seed=plan.request.seed, take=take, condition=wish)
                for take in range(1, plan.request.takes + 1)]

    def take(self, plan: AudioPlan, sequence: Sequence) -> AudioTake:
        """The content of a take is its codes, (codebooks, frames)."""
        assert isinstance(sequence, CalledSequence)
        return AudioTake(sequence.take, sequence.content)

    @torch.no_grad()
    def sound(self, plan: AudioPlan, take: AudioTake) -> np.ndarray:
        """Samples of a take, float32 (frames, channels) at `rate_hz`."""
        codes = take.content[None].to(self._model.device)
        if self._diffusion is None:
            samples = self._model.compression_model.decode(codes, None)
        else:
            with self._diffusing, _seeded(_seed(plan.request.seed, take.number, _DIFFUSING), self._model.device):
                samples = self._diffused(codes)
        result: np.ndarray = samples[0].T.float().cpu().numpy()
        return result

    # ---- on the thread of a call

    def _generate(self, wish: _Wish, takes: Listed[int], tell: Tell) -> list[Tensor]:
        model, request = self._model, wish.request
        self._set_up(wish)
        steps, told = self._steps(wish), 0

        def progress(_done: int, _total: int) -> None:  # which start anew, or run past their end, beyond a window
            nonlocal told
            told += 1
            tell(told / steps)

        model.set_custom_progress_callback(progress)
        count = len(takes)
        prompt = None if wish.prompt is None else wish.prompt.expand(count, -1, -1)
        melody = {} if wish.melody is None else {"melody_wavs": [wish.melody] * count}
        with drawing([_seed(request.seed, take, _DRAWING) for take in takes]), torch.no_grad():
            attributes, start = model._prepare_tokens_and_attributes([request.prompt.strip()] * count, prompt, **melody)
            codes: Tensor = model._generate_tokens(attributes, start, progress=True)
        return list(codes[..., :wish.frames].cpu())

    def _set_up(self, wish: _Wish) -> None:
        """Tell the model how to make the takes."""
        model, request = self._model, wish.request
        sampled = {"use_sampling": request.temperature > 0, "top_k": min(request.top_k, model.lm.card), "top_p": request.top_p}
        if self._family == "MAGNeT":
            model.set_generation_params(
                **sampled | {"top_k": 0, "top_p": request.top_p or _MAGNET["top_p"]},
                temperature=max(request.temperature, 1e-3) * _MAGNET["temperature"],
                max_cfg_coef=request.guidance / 3 * _MAGNET["guidance"])
            return
        rate, window = model.frame_rate, self._window
        duration = (wish.frames + _ROUNDING) / rate
        model.set_generation_params(
            **sampled, temperature=request.temperature or 1.0, cfg_coef=request.guidance,
            duration=duration if wish.frames > window else min(duration, model.max_duration),
            extend_stride=(self._stride(wish) + _ROUNDING) / rate)

    @property
    def _window(self) -> int:
        """Frames that the network sees at once."""
        return int(self._model.max_duration * self._model.frame_rate)

    def _stride(self, wish: _Wish) -> int:
        """Frames by which the window moves on; asked for as a part of MusicGen's 30 s."""
        return min(max(round(wish.request.stride / WINDOW_SECONDS * self._window), 1), self._window - 1)

    def _steps(self, wish: _Wish) -> int:
        """How often the library will tell of its progress, about."""
        if self._family == "MAGNeT":
            return int(sum(self._model.generation_params["decoding_steps"]))
        delay = max(getattr(self._model.lm.pattern_provider, "delays", [0]))
        prompt = 0 if wish.prompt is None else self._frames(wish.prompt)
        return steps_told(wish.frames, self._window, self._stride(wish), prompt, delay)

    # ---- sound

    def _samples(self, path: Path) -> Tensor:
        """(channels, samples) of a file."""
        return torch.from_numpy(read_audio(path, rate_hz=self.rate_hz, channels=self.channels).T.copy())

    def _frames(self, samples: Tensor) -> int:
        """How many frames samples become as codes."""
        frames: int = math.ceil(samples.shape[-1] * self._model.frame_rate / self.rate_hz)
        return frames

    def _diffused(self, codes: Tensor) -> Tensor:
        """MultiBand Diffusion knows one channel; of stereo it makes left and right as two rows, as Meta's page does."""
        if self.channels == 2:
            codes = torch.cat(self._model.compression_model.get_left_right_codes(codes))
        samples: Tensor = self._diffusion.tokens_to_wav(codes)  # (rows, 1, samples)
        return samples.transpose(0, 1)


def steps_told(frames: int, window: int, stride: int, prompt: int, delay: int) -> int:
    """How often audiocraft tells of its progress while it makes a take window by window; all in frames.

    Each window after the first begins with the end of the one before, and each tells of `delay` steps more.
    """
    told = start = 0
    while start + prompt < frames:
        end = min(frames - start, window)
        told += end - prompt + delay
        if frames <= window:
            break
        prompt = max(end - stride, 0)
        start += stride
    return max(told, 1)


def _device(wanted: str) -> str:
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise InputError("torch finds no CUDA device in the environment of audiocraft; set KAPELLE_DEVICE=cpu")
    return wanted


def _check_memory(name: str, device: str) -> None:
    """Raises CheckpointError when the model is too large for what is free."""
    weights = read_weights(find(f"{PUBLISHER}/{name}", "state_dict.bin"))["best_state"]
    numbers = sum(one.numel() for one in weights.values())
    needed, free = numbers * (4 if device == "cpu" else 2) + _BESIDE_BYTES, available_bytes(device)
    if needed > free:
        raise CheckpointError(
            f"{name} needs about {needed / 1e9:.1f} GB of memory on {device}, and {free / 1e9:.1f} GB are free; "
            "choose a smaller model")


def _check_text(model: Any, name: str) -> None:
    """Raises CheckpointError for a model whose texts go through spaCy, since only a stand-in is there."""
    if any(getattr(one, "normalize_text", False) for one in model.lm.condition_provider.conditioners.values()):
        raise CheckpointError(f"{name} reads texts by spaCy, which is not supported; choose another model")


def _multiband(models: Any, model: Any, device: str) -> Any:
    """MultiBand Diffusion around the model's own codec."""
    from audiocraft.models import loaders, multibanddiffusion
    codec = getattr(model.compression_model, "model", model.compression_model)  # of stereo: the codec of one channel
    networks, processors, settings = loaders.load_diffusion_models(
        f"{PUBLISHER}/multiband-diffusion", filename="mbd_musicgen_32khz.th", device=device)
    bands = [
        multibanddiffusion.DiffusionProcess(
            model=network.eval(),
            noise_schedule=multibanddiffusion.NoiseSchedule(**setting.schedule, sample_processor=processor, device=device))
        for network, processor, setting in zip(networks, processors, settings, strict=True)]
    return models.MultiBandDiffusion(bands, codec)


@contextmanager
def _fitting(name: str) -> Iterator[None]:
    """Turn what a library says of files that do not fit together into one line."""
    from omegaconf.errors import OmegaConfBaseException
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about how old it is
            yield
    except torch.OutOfMemoryError as error:
        raise CheckpointError(f"there is not enough memory on the GPU for {name}; choose a smaller model") from error
    except (OmegaConfBaseException, RuntimeError, LookupError, AttributeError, AssertionError, TypeError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
        raise CheckpointError(f"the files of {name} do not fit together ({reason}); fetch the model again") from error


def _seed(seed: int, take: int, purpose: int) -> int:
    return int(noise(seed, take, purpose) * 2**53)


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """torch's one generator, seeded for a while."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def load(name: str, model: Path | None, host: Host) -> AudiocraftEngine:
    """The engine for the registry."""
    return AudiocraftEngine.load(name, model, data=host.data, device=host.device)
