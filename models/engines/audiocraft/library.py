"""Meta's audiocraft as this project uses it: no downloads, no pickles that run code, seeds that each take has to itself.

audiocraft has its own environment (`kapelle install audiocraft`) and is imported nowhere else. It is left as it is
published but for a few names that are replaced after the import, all of them in `_adapted`:

* Checkpoints are `torch.save` files. audiocraft reads every one of them through `loaders._get_state_dict`, which is
  ours: files of this machine only, and `weights_only=True`, so that a hostile file cannot run anything.
* The text encoder, EnCodec and demucs are named by their places on the Hugging Face hub. They are looked for beside
  the model and in the hub's cache on this machine.
* Samples are drawn from torch's one generator for everything. Ours gives each row of a batch its own, so a take comes
  out the same whatever is made beside it.
* MAGNeT's masks need the attention that audiocraft calls "xformers", and the choice is global: it is made once, here.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import sys
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from models.errors import CheckpointError, InputError

STANDINS = Path(__file__).with_name("standins")
NOT_INSTALLED = "audiocraft is not installed; type: kapelle install audiocraft"
_SEPARATORS = ("demucs.htdemucs.HTDemucs", "demucs.hdemucs.HDemucs")

_places: ContextVar[tuple[Path, ...]] = ContextVar("places", default=())
_generators: ContextVar[tuple[torch.Generator, ...]] = ContextVar("generators", default=())


def version() -> str:
    """Of the audiocraft in this environment. Raises InputError where there is none."""
    try:
        return importlib.metadata.version("audiocraft")
    except importlib.metadata.PackageNotFoundError as error:
        raise InputError(NOT_INSTALLED) from error


@functools.cache
def library() -> Any:
    """The module `audiocraft.models`. Raises InputError where audiocraft is missing or cannot be imported."""
    version()
    sys.path.insert(0, str(STANDINS))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about what training would need
            import audiocraft.models
            import demucs.hf  # noqa: F401 - so that a lack shows here
            from transformers.utils import logging
            logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    except (ImportError, OSError, AttributeError) as error:
        sys.path.remove(str(STANDINS))
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(f"audiocraft cannot be imported ({reason}); type: kapelle install audiocraft") from error
    return _adapted(audiocraft.models)


@contextmanager
def looking_in(*places: Path) -> Iterator[None]:
    """Look for files in these folders, in folders in them, and then in the hub's cache on this machine."""
    token = _places.set(places)
    try:
        yield
    finally:
        _places.reset(token)


@contextmanager
def drawing(seeds: Sequence[int]) -> Iterator[None]:
    """Draw the samples of each row of a batch from a generator of its own, seeded with its number of 64 bits."""
    token = _generators.set(tuple(torch.Generator().manual_seed(seed) for seed in seeds))
    try:
        yield
    finally:
        _generators.reset(token)


def _adapted(models: Any) -> Any:
    """Replace what the docstring of this module speaks of."""
    from audiocraft.models import encodec, loaders
    from audiocraft.modules import conditioners, transformer
    from audiocraft.utils import utils
    from demucs import pretrained

    loaders._get_state_dict = _state
    sound = ("config.json", "model.safetensors")
    text = (*sound, "tokenizer.json", "tokenizer_config.json")
    conditioners.T5Tokenizer = _OnThisMachine(conditioners.T5Tokenizer, text)
    conditioners.T5EncoderModel = _OnThisMachine(conditioners.T5EncoderModel, text)
    encodec.HFEncodecModel = _OnThisMachine(encodec.HFEncodecModel, sound)
    pretrained.get_model = _separator
    utils.multinomial = functools.partial(_draw, utils.multinomial)
    transformer.set_efficient_attention_backend("xformers")
    return models


# ---- files


def find(repository: str, name: str) -> Path:
    """A file of a repository on the Hugging Face hub, on this machine. Raises CheckpointError where it is missing."""
    from huggingface_hub import try_to_load_from_cache
    short = repository.rsplit("/", 1)[-1]
    places = _places.get()
    for place in places:
        for path in (place / short / name, place / name):
            if path.is_file():
                return path
    cached = try_to_load_from_cache(repository, name)
    if isinstance(cached, str):
        return Path(cached)
    raise CheckpointError(_missing(repository, name))


def _missing(repository: str, *names: str) -> str:
    """What is missing, and the command of `huggingface_hub` that puts it where it is looked for."""
    place = next(iter(_places.get()[::-1]), Path(".")) / repository.rsplit("/", 1)[-1]
    what = f"{names[0]} of {repository}" if len(names) == 1 else repository
    return f"{what} is not on this machine; type: hf download {repository} {' '.join(names)} --local-dir {place}"


def _state(source: object, filename: str | None = None, device: object = "cpu", cache_dir: object = None) -> Any:
    """What a checkpoint holds: in place of `loaders._get_state_dict`, with its arguments."""
    path = Path(str(source))
    if path.is_dir() and filename:
        path /= filename
    elif not path.is_file():
        if filename is None or str(source).startswith("https:"):
            raise CheckpointError(f"{source} is not a file on this machine")
        path = find(str(source), filename)
    return read_weights(path)


def read_weights(path: Path) -> Any:
    """What a file written by `torch.save` holds: tensors, plain values and omegaconf's settings, and nothing else.

    Tensors are mapped, not read. Raises CheckpointError.
    """
    try:
        with torch.serialization.safe_globals(_settings_classes()):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing; fetch the model again") from error
    except (UnpicklingError, RuntimeError, OSError, EOFError, ValueError, KeyError, AttributeError) as error:
        raise CheckpointError(
            f"{path} is damaged, or holds more than weights and settings; fetch the model again") from error


def _settings_classes() -> list[Any]:
    """What omegaconf's settings are pickled as: the files of MultiBand Diffusion hold them so."""
    import collections
    import typing

    from omegaconf import DictConfig, ListConfig, base, nodes
    return [DictConfig, ListConfig, base.ContainerMetadata, base.Metadata, nodes.AnyNode, nodes.StringNode,
            nodes.IntegerNode, nodes.FloatNode, nodes.BooleanNode, typing.Any, collections.defaultdict, dict, list, int,
            float, str, bool]


class _OnThisMachine:
    """A class of `transformers` that is loaded from a folder or from the hub's cache, but never from the hub."""

    def __init__(self, kind: Any, files: Sequence[str]) -> None:
        self._kind = kind
        self._files = files  # that it needs

    def from_pretrained(self, name: str) -> Any:
        short = name.rsplit("/", 1)[-1]
        found = next((place / short for place in _places.get() if (place / short / "config.json").is_file()), None)
        try:
            return self._kind.from_pretrained(str(found or name), local_files_only=True)
        except (OSError, ValueError) as error:
            if found is None:
                raise CheckpointError(_missing(name, *self._files)) from error
            raise CheckpointError(f"{found} cannot be read as a {self._kind.__name__}; fetch it again") from error


def _separator(name: str, repo: Path | None = None) -> Any:
    """demucs, which takes drums and bass out of a melody: in place of `demucs.pretrained.get_model`.

    Its files say which class they are of and with what arguments; only demucs' own are made.
    """
    import yaml
    from demucs.apply import BagOfModels
    from demucs.hf import hf_repo_name, load_safetensors_model
    from safetensors import SafetensorError, safe_open

    repository = f"adefossez/{hf_repo_name(name)}"
    bag_file = find(repository, f"{name}.yaml")
    try:
        bag = yaml.safe_load(bag_file.read_text(encoding="utf-8"))
        files = [find(repository, f"{signature}.safetensors") for signature in bag["models"]]
        for file in files:
            with safe_open(str(file), framework="pt") as opened:
                facts = opened.metadata() or {}
            if facts.get("klass") not in _SEPARATORS or "structure" in facts:
                raise CheckpointError(f"{file} is no demucs model; fetch it again")
        separator = BagOfModels([load_safetensors_model(file) for file in files], bag.get("weights"), bag.get("segment"))
    except (SafetensorError, yaml.YAMLError, OSError, KeyError, TypeError, ValueError, RuntimeError, AssertionError) as error:
        raise CheckpointError(f"{bag_file.parent} cannot be read as a demucs model; fetch it again") from error
    return separator.eval()


# ---- chance


def _draw(published: Any, input: Tensor, num_samples: int, *others: Any, **named: Any) -> Tensor:
    """One id a row and place: in place of `utils.multinomial`, with its arguments; shares (rows, ..., ids) -> (rows, ..., 1).

    The noise of a row is that of its own generator. An id without a share is never drawn.
    """
    generators = _generators.get()
    if num_samples != 1 or len(generators) != len(input):
        drawn: Tensor = published(input, num_samples, *others, **named)
        return drawn
    uniform = torch.stack([torch.rand(input.shape[1:-1], generator=one, dtype=torch.float64) for one in generators])
    mass = input.double().cumsum(dim=-1)
    return (mass <= uniform.to(input.device)[..., None] * mass[..., -1:]).sum(dim=-1, keepdim=True)
