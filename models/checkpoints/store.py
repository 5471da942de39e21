"""A model on disk: a folder with `model.safetensors` and `config.json`.

The configuration is what makes a folder a model: it is taken away before other weights come in
and written last, so a folder never holds weights and a configuration that do not belong together.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from models.errors import CheckpointError

CONFIG, WEIGHTS = "config.json", "model.safetensors"
FORMAT = 1
_LONGEST_CONFIG = 1 << 20  # bytes
_NAMED = 4  # keys that an error names before it counts


def save_model(folder: Path, tensors: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
    """Write a model; one that is in the folder stays until the new one is complete. Other files are left alone.

    `config` says at least its "family"; "format" is added. Raises CheckpointError when it cannot be written.
    """
    written = {"format": FORMAT, **config}
    drafts = {name: folder / f".{name}.part" for name in (WEIGHTS, CONFIG)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, drafts[WEIGHTS])
        drafts[CONFIG].write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
        for draft in drafts.values():
            draft.chmod(0o644)  # the library leaves it to its owner; a model may serve several users
            _flush(draft)
        (folder / CONFIG).unlink(missing_ok=True)
        os.replace(drafts[WEIGHTS], folder / WEIGHTS)
        os.replace(drafts[CONFIG], folder / CONFIG)
    except (OSError, SafetensorError) as error:  # safetensors wraps what the disk says
        raise CheckpointError(
            f"the model cannot be written to {folder}: {_line(error)}; check permissions and free space") from error
    finally:
        for draft in drafts.values():
            with suppress(OSError):
                draft.unlink(missing_ok=True)


def load_model(folder: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Configuration and tensors of a model folder; the tensors are mapped from the file, not read.

    Half-precision tensors are given back as float32. Raises CheckpointError.
    """
    config = read_config(folder)
    path = folder / WEIGHTS
    if not path.is_file():
        raise CheckpointError(f"{folder} has a {CONFIG} but no {WEIGHTS}; fetch or convert the model again")
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: _full(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError, ValueError, RuntimeError, MemoryError) as error:
        raise CheckpointError(
            f"{path} is damaged or no safetensors file ({_line(error)}); fetch or convert the model again") from error
    require_finite(tensors, path)
    return config, tensors


def read_config(folder: Path) -> dict[str, Any]:
    """The configuration of a model folder, with its format checked. Raises CheckpointError."""
    path = folder / CONFIG
    if not path.is_file():
        raise CheckpointError(f"{folder} is no model folder: it has no {CONFIG}")
    try:
        if path.stat().st_size > _LONGEST_CONFIG:
            raise CheckpointError(f"{path} is no configuration: it is longer than {_LONGEST_CONFIG:,} bytes")
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read: {_line(error)}") from error
    if not isinstance(config, dict) or not isinstance(config.get("family"), str):
        raise CheckpointError(f"{path} is no configuration of a model: it names no family")
    if config.get("format") != FORMAT:
        raise CheckpointError(f"{path} is of format {config.get('format')!r}; this version reads format {FORMAT}")
    return config


@contextmanager
def without_weights() -> Iterator[None]:
    """Modules that are made in here have shapes but no values; `assign` gives them those."""
    with _NoInitialisation(), torch.device("meta"):
        yield


class _NoInitialisation(TorchFunctionMode):
    """Skips the functions of `torch.nn.init`: on the meta device they do nothing, in more than a second."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None,
    ) -> Any:
        skipped = getattr(func, "__module__", None) == "torch.nn.init"
        return None if skipped else func(*args, **(kwargs or {}))


def assign(module: nn.Module, tensors: Mapping[str, Tensor], origin: Path) -> None:
    """Make tensors the parameters of a module, without copying.

    Raises CheckpointError that names what is missing, unknown or of another shape.
    """
    wanted = module.state_dict()
    if missing := [name for name in wanted if name not in tensors]:
        raise CheckpointError(f"{origin} lacks {named(missing)}")
    if unknown := [name for name in tensors if name not in wanted]:
        raise CheckpointError(f"{origin} holds {named(unknown)}, which this kind of model does not have")
    for name, tensor in tensors.items():
        if tensor.shape != wanted[name].shape:
            raise CheckpointError(
                f"{origin}: {name} has the shape {tuple(tensor.shape)}, expected was {tuple(wanted[name].shape)}")
    module.load_state_dict(dict(tensors), assign=True)


def require_finite(tensors: Mapping[str, Tensor], origin: Path) -> None:
    """Raises CheckpointError when a tensor holds NaN or infinity."""
    # One number a tensor: a sum is finite only if what it adds up is.
    if broken := [name for name, tensor in tensors.items()
                  if tensor.is_floating_point() and not torch.isfinite(tensor.sum(dtype=torch.float64))]:
        raise CheckpointError(f"{origin}: {named(broken)} holds values that are not numbers; the file is damaged")


def named(keys: list[str]) -> str:
    """The first few keys, and how many more there are."""
    more = f" and {len(keys) - _NAMED} more" if len(keys) > _NAMED else ""
    return ", ".join(key[:80] for key in keys[:_NAMED]) + more


def _full(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def _flush(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
