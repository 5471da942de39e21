"""Checkpoints as Los Angeles Music Composer publishes them: a `.pth` of tensors, read as nothing but tensors.

The sizes of the network follow from the shapes; what the shapes cannot say (8 heads of 64, a
window of 512) is the same in all of its checkpoints.
"""

from __future__ import annotations

import hashlib
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.checkpoints.store import named, require_finite, without_weights
from models.errors import CheckpointError
from models.network.local_transformer import ROTARY_BASE, LocalTransformer, LocalTransformerConfig, rotary_speeds

_OUTER = {
    "token_emb.weight": "embedding.weight",
    "pos_emb.weight": "positions.weight",
    "to_logits.0.weight": "norm.weight",
    "to_logits.0.bias": "norm.bias",
    "to_logits.1.weight": "head.weight",
}
_INNER = {
    "0.norm.weight": "attention_norm.weight",
    "0.norm.bias": "attention_norm.bias",
    "0.to_qkv.weight": "qkv.weight",
    "0.to_out.weight": "out.weight",
    "1.0.weight": "feed_forward_norm.weight",
    "1.0.bias": "feed_forward_norm.bias",
    "1.1.weight": "up.weight",
    "1.4.weight": "down.weight",
}
_ROTARY = "0.attn_fn.rel_pos.inv_freq"  # follows from the head width; checked, not kept
_LAYER = re.compile(r"layers\.(\d{1,4})\.(.+)")
_FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
_LARGEST_INDEX = 64 << 20  # bytes of the pickle that lists the tensors


@dataclass(frozen=True)
class UpstreamCheckpoint:
    """An upstream checkpoint under the names of `LocalTransformer`."""

    config: LocalTransformerConfig
    tensors: dict[str, Tensor]  # float32 or half precision, as stored


def read_upstream(path: Path) -> UpstreamCheckpoint:
    """Read an upstream `.pth`; tensors are mapped from the file where its format allows.

    Nothing in the file is executed. Raises CheckpointError for a file that is missing, damaged,
    hostile, or holds anything but a network of this family.
    """
    _require_file(path)
    stored = _tensors_of(_load(path), path)
    if sum(tensor.numel() * tensor.element_size() for tensor in stored.values()) > path.stat().st_size:
        raise CheckpointError(f"{path} declares more values than it holds; it is damaged or forged")
    config = _config_of(stored, path)
    with without_weights():
        wanted = LocalTransformer(config).state_dict()
    tensors: dict[str, Tensor] = {}
    unknown: list[str] = []
    for key, tensor in stored.items():
        name = _name_of(key)
        if name == _ROTARY:
            _require_rotary(tensor, config, path)
        elif name is None or name not in wanted:
            unknown.append(key)
        elif tensor.shape != wanted[name].shape:
            raise CheckpointError(
                f"{path}: {key} has the shape {tuple(tensor.shape)}, expected was {tuple(wanted[name].shape)}")
        else:
            tensors[name] = tensor.float() if tensor.dtype == torch.float64 else tensor
    if unknown:
        raise CheckpointError(f"{path} holds {named(unknown)}, which this family of networks does not have")
    if missing := [_upstream_name(name) for name in wanted if name not in tensors]:
        raise CheckpointError(f"{path} lacks {named(missing)}")
    require_finite(tensors, path)
    return UpstreamCheckpoint(config, tensors)


def sha256_of(path: Path) -> str:
    """Checksum of a file in lower-case hex. Raises CheckpointError when it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror}") from error


def _require_file(path: Path) -> None:
    if path.is_dir():
        raise CheckpointError(f"{path} is a folder; expected was a .pth file")
    if not path.is_file():
        raise CheckpointError(f"there is no file {path}")
    try:
        if path.stat().st_size == 0:
            raise CheckpointError(f"{path} is empty")
        if not zipfile.is_zipfile(path):
            return
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            # PyTorch stores, it does not compress; what unpacks to more than the file holds is a trap.
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
                raise CheckpointError(f"{path} is a compressed archive, not a checkpoint; unpack it first")
            if any(entry.file_size > _LARGEST_INDEX for entry in entries if entry.filename.endswith(".pkl")):
                raise CheckpointError(
                    f"{path} is no checkpoint: its list of tensors is longer than {_LARGEST_INDEX:,} bytes")
            if damaged := archive.testzip():  # PyTorch does not look at the checksums
                raise CheckpointError(f"{path} is damaged: the checksum of {named([damaged])} does not hold; "
                                      "fetch or copy it again")
    except (OSError, zipfile.BadZipFile, ValueError, EOFError, RuntimeError, NotImplementedError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error


def _load(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            mappable = file.read(4) == b"PK\x03\x04"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about a pickle's protocol, say: what is wrong is said in one line
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mappable)
    except pickle.UnpicklingError as error:
        raise CheckpointError(f"{path} is no checkpoint of tensors alone: it is damaged, or of another kind, "
                              "or holds objects that could run code") from error
    except Exception as error:  # a damaged or forged file may raise anything at all
        raise CheckpointError(f"{path} is damaged or no PyTorch checkpoint ({type(error).__name__})") from error


def _tensors_of(loaded: Any, path: Path) -> dict[str, Tensor]:
    """The mapping of names to tensors, or the only one below it, without `module.` in front of names."""
    if isinstance(loaded, Mapping) and not any(isinstance(value, Tensor) for value in loaded.values()):
        nested = [value for value in loaded.values()
                  if isinstance(value, Mapping) and any(isinstance(inner, Tensor) for inner in value.values())]
        loaded = nested[0] if len(nested) == 1 else None
    if not isinstance(loaded, Mapping) or not loaded:
        raise CheckpointError(f"{path} holds no network: expected was one mapping of names to tensors")
    tensors: dict[str, Tensor] = {}
    for key, value in loaded.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise CheckpointError(f"{path}: {str(key)[:80]!r} is no named tensor")
        if value.dtype not in _FLOATS or value.layout != torch.strided or value.device.type != "cpu":
            raise CheckpointError(f"{path}: {key[:80]} is no tensor of floating-point numbers")
        name = key.removeprefix("module.")
        if name in tensors:
            raise CheckpointError(f"{path} holds {name[:80]} twice")
        tensors[name] = value.detach()
    return tensors


def _config_of(tensors: Mapping[str, Tensor], path: Path) -> LocalTransformerConfig:
    for key in ("token_emb.weight", "pos_emb.weight"):
        if key not in tensors:
            raise CheckpointError(f"{path} is no Los Angeles Music Composer checkpoint: it lacks {key}")
        if tensors[key].dim() != 2 or 0 in tensors[key].shape:
            raise CheckpointError(
                f"{path}: {key} has the shape {tuple(tensors[key].shape)}, expected were two dimensions")
    layers = {int(found[1]) for key in tensors if (found := _LAYER.fullmatch(key))}
    if not layers:
        raise CheckpointError(f"{path} is no Los Angeles Music Composer checkpoint: it has no layers")
    if lost := sorted(set(range(max(layers))) - layers):
        raise CheckpointError(f"{path} lacks layers.{lost[0]}, but has layers.{max(layers)}")
    vocabulary, width = tensors["token_emb.weight"].shape
    return LocalTransformerConfig(
        vocabulary=vocabulary, width=width, depth=len(layers), positions=tensors["pos_emb.weight"].shape[0])


def _name_of(key: str) -> str | None:
    """Our name of an upstream key; `_ROTARY` for the rotary speeds, None for what is not of this family."""
    if (layer := _LAYER.fullmatch(key)) is None:
        return _OUTER.get(key)
    if layer[2] == _ROTARY:
        return _ROTARY
    return f"blocks.{int(layer[1])}.{_INNER[layer[2]]}" if layer[2] in _INNER else None


def _upstream_name(name: str) -> str:
    if name.startswith("blocks."):
        _, layer, rest = name.split(".", 2)
        return f"layers.{layer}." + next(key for key, ours in _INNER.items() if ours == rest)
    return next(key for key, ours in _OUTER.items() if ours == name)


def _require_rotary(tensor: Tensor, config: LocalTransformerConfig, path: Path) -> None:
    expected = rotary_speeds(config.head_width)
    if tensor.shape != expected.shape or not torch.allclose(tensor.float(), expected, rtol=1e-2, atol=1e-6):
        raise CheckpointError(f"{path}: its rotary speeds are not {len(expected)} to the base {ROTARY_BASE:g}")
