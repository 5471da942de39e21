"""A published MusicGen on disk: the folder that `transformers` writes, checked before anything is loaded.

Weights are safetensors, whole or in parts; they are mapped, checked by name and shape, and copied one by one.
Nothing is unpickled, and nothing asks the network.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from models.checkpoints.store import CONFIG, assign, named, without_weights
from models.engines.musicgen.network import Int8Linear, KeyValueCache, MusicgenConfig, MusicgenNetwork, quantised
from models.engines.musicgen.published import PUBLISHER
from models.errors import CheckpointError
from models.network.large_pages import in_large_pages

WEIGHTS, PARTS = "model.safetensors", "model.safetensors.index.json"
RATE_HZ = 32_000  # of the sound
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "int8": torch.float32}  # what is computed in
_PLAIN, _MELODY = "musicgen", "musicgen_melody"  # model types
_LONGEST_JSON = 16 << 20  # bytes
_LARGEST = 1 << 16  # of any size
_WORKING_BYTES = 512 << 20  # beside weights and cache: activations, and what libraries take
_SIZES = {  # ours -> the decoder's, and what it is where nothing is said
    "vocabulary": ("vocab_size", 2048), "codebooks": ("num_codebooks", 4), "channels": ("audio_channels", 1),
    "width": ("hidden_size", 1024), "depth": ("num_hidden_layers", 24), "heads": ("num_attention_heads", 16),
    "inner": ("ffn_dim", 4096)}
_DECODER, _BODY = "decoder.", "decoder.model.decoder."  # in front of names of tensors
TEXT, SOUND = "text_encoder.", "audio_encoder."
TO_DECODER = "enc_to_dec_proj."  # from the text encoder's width
MELODY_TO_DECODER = "audio_enc_to_dec_proj."


@dataclass(frozen=True)
class Checkpoint:
    """An opened folder: what is in it is known and fits together; no weights are in memory.

    Raises CheckpointError, here and later, of one line that names the file and what to do.
    """

    name: str  # of the model, musicgen-small
    folder: Path
    network: MusicgenConfig
    text: Mapping[str, Any]  # configuration of the text encoder
    sound: Mapping[str, Any]  # configuration of the codec
    melody: Mapping[str, int] | None  # "chroma" and "length" of the melody's conditioning, for a network that has one
    files: Mapping[str, Path] = field(repr=False)  # of each tensor
    shapes: Mapping[str, tuple[int, ...]] = field(repr=False)

    @classmethod
    def open(cls, folder: Path, name: str) -> Checkpoint:
        """Find and check a model; a folder that is not there is looked for in the Hugging Face cache."""
        folder = locate(folder, name)
        hint = f"fetch it again with `kapelle models fetch {name}`"
        config = _json(folder / CONFIG, hint)
        kind = config.get("model_type")
        path = folder / CONFIG
        if kind not in (_PLAIN, _MELODY):
            raise CheckpointError(f"{path} is of the type {str(kind)[:40]!r}; a MusicGen is {_PLAIN!r} or {_MELODY!r}; {hint}")
        decoder, text, sound = (_part(config, part, path, hint) for part in ("decoder", "text_encoder", "audio_encoder"))
        if (text.get("model_type"), sound.get("model_type")) != ("t5", "encodec"):
            raise CheckpointError(f"{path} has other encoders than T5 and EnCodec; {hint}")
        if sound.get("sampling_rate", 24_000) != RATE_HZ or sound.get("audio_channels", 1) != 1 or sound.get("chunk_length_s"):
            raise CheckpointError(f"{path} has a codec other than the one for {RATE_HZ:,} Hz, mono, in one piece; {hint}")
        if decoder.get("activation_function", "gelu") != "gelu":
            raise CheckpointError(f"{path} has an activation function other than gelu; {hint}")
        sizes = {ours: _size(decoder, theirs, default, path, hint) for ours, (theirs, default) in _SIZES.items()}
        network = MusicgenConfig(**sizes, crosses=kind == _PLAIN)
        if network.width % network.heads or network.width % 2 or network.channels > 2 or network.codebooks % network.channels:
            raise CheckpointError(f"{path} has sizes that do not go together; {hint}")
        melody = None if kind == _PLAIN else {
            "chroma": _size(config, "num_chroma", 12, path, hint), "length": _size(config, "chroma_length", 235, path, hint)}
        files, shapes = _tensors(folder, hint)
        checkpoint = cls(name, folder, network, text, sound, melody, files, shapes)
        checkpoint._check_shapes()
        return checkpoint

    @property
    def hint(self) -> str:
        return f"fetch it again with `kapelle models fetch {self.name}`"

    @property
    def text_width(self) -> int:
        return _size(self.text, "d_model", 512, self.folder / CONFIG, self.hint)

    def _check_shapes(self) -> None:
        """All that is ours to load is there, and as large as the configuration says."""
        width, melody = self.network.width, self.melody
        wanted = dict(_shapes(self.network))
        if self.text_width != width:
            wanted |= {f"{TO_DECODER}weight": (width, self.text_width), f"{TO_DECODER}bias": (width,)}
        if melody and melody["chroma"] != width:
            wanted |= {f"{MELODY_TO_DECODER}weight": (width, melody["chroma"]), f"{MELODY_TO_DECODER}bias": (width,)}
        if missing := [name for name in wanted if name not in self.shapes]:
            raise CheckpointError(f"{self.folder / WEIGHTS} lacks {named(missing)}; {self.hint}")
        for name, shape in wanted.items():
            if self.shapes[name] != shape:
                raise CheckpointError(f"{self.files[name]}: {name} has the shape {self.shapes[name]}, expected was {shape} "
                                      f"by {CONFIG}; {self.hint}")
        for prefix in (TEXT, SOUND):
            if not any(name.startswith(prefix) for name in self.shapes):
                raise CheckpointError(f"{self.folder / WEIGHTS} holds nothing called {prefix}*; {self.hint}")

    # Weights

    def tensors(self, prefix: str) -> dict[str, Tensor]:
        """Copies in float32 of all tensors whose names begin so, by the rest of their names."""
        return {name.removeprefix(prefix): self.tensor(name).float() for name in self.files if name.startswith(prefix)}

    def tensor(self, name: str) -> Tensor:
        """A copy: the file may change or go away afterwards."""
        path = self.files[name]
        try:
            tensor: Tensor = self._open[path].get_tensor(name).clone()
        except (SafetensorError, OSError, ValueError, RuntimeError) as error:
            raise CheckpointError(f"{path} is damaged ({_line(error)}); {self.hint}") from error
        if tensor.is_floating_point() and not torch.isfinite(tensor.sum(dtype=torch.float64)):
            raise CheckpointError(f"{path}: {name} holds values that are not numbers; {self.hint}")
        return tensor

    @cached_property
    def _open(self) -> Mapping[Path, Any]:
        return {path: _safetensors(path, self.hint) for path in set(self.files.values())}

    def load_network(self, precision: str = "float32", device: torch.device | str = "cpu") -> MusicgenNetwork:
        """The decoder, its queries, keys and values in one matrix. `precision` is one of PRECISIONS."""
        dtype = PRECISIONS[precision]
        with without_weights():
            network = MusicgenNetwork(self.network, int8=precision == "int8")
        loaded: dict[str, Tensor] = {}
        for name, sources in _sources(self.network):
            parts = [self.tensor(source) for source in sources]
            whole = torch.cat(parts) if len(parts) > 1 else parts[0]
            if isinstance(network.get_submodule(name.rpartition(".")[0]), Int8Linear):
                loaded[name], loaded[name.removesuffix("weight") + "scale"] = (
                    in_large_pages(tensor.to(device)) for tensor in quantised(whole))
            else:
                loaded[name] = in_large_pages(whole.to(device, dtype))
        assign(network, loaded, self.folder)
        return network.eval().requires_grad_(False)

    def fill(self, module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
        """Give a module of `transformers` its weights; tensors that it does not know are left."""
        wanted = module.state_dict()
        if missing := [name for name in wanted if name not in tensors]:
            raise CheckpointError(f"{self.folder} lacks {named(missing)} of {type(module).__name__}; {self.hint}")
        for name, old in wanted.items():
            if tensors[name].shape != old.shape:
                raise CheckpointError(f"{self.folder}: {name} has the shape {tuple(tensors[name].shape)}, "
                                      f"expected was {tuple(old.shape)} by {CONFIG}; {self.hint}")
        module.load_state_dict({name: tensors[name] for name in wanted}, assign=True)
        module.eval().requires_grad_(False)

    # Memory

    def weight_bytes(self, precision: str) -> int:
        """Memory of all weights; the encoders stay in float32 whatever the decoder is."""
        dtype, count = PRECISIONS[precision], 0
        linear = {name for name, _ in _linear(self.network)}
        for name, shape in self.shapes.items():
            size = torch.Size(shape).numel()
            if not name.startswith(_DECODER):
                count += 4 * size
            elif precision == "int8" and name in linear:
                count += size
            else:
                count += dtype.itemsize * size
        return count

    def needed_bytes(self, precision: str, rows: int, slots: int, text_slots: int, cache: torch.dtype) -> int:
        """Memory to have free before loading, so that `rows` rows of the cache can be full."""
        return self.weight_bytes(precision) + rows * KeyValueCache.row_bytes(
            self.network, slots, text_slots, cache) + _WORKING_BYTES


def locate(folder: Path, name: str) -> Path:
    """The folder itself, or where the Hugging Face cache has the published model. Raises CheckpointError."""
    if folder.is_dir():
        return folder
    from huggingface_hub import try_to_load_from_cache
    found = try_to_load_from_cache(f"{PUBLISHER}/{name}", CONFIG)  # looks at the disk only
    if isinstance(found, str):
        return Path(found).parent
    raise CheckpointError(f"{name} is not on this machine: there is no {folder}, and nothing in the Hugging Face cache; "
                          f"run `kapelle models fetch {name}`, or name a model's folder")


# Names and shapes of what a checkpoint of `transformers` holds


def _linear(config: MusicgenConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
    width, inner = config.width, config.inner
    for layer in range(config.depth):
        block = f"{_BODY}layers.{layer}."
        for part in ("self_attn", "encoder_attn")[:1 + config.crosses]:
            for kind in "qkv":
                yield f"{block}{part}.{kind}_proj.weight", (width, width)
            yield f"{block}{part}.out_proj.weight", (width, width)
        yield f"{block}fc1.weight", (inner, width)
        yield f"{block}fc2.weight", (width, inner)
    for codebook in range(config.codebooks):
        yield f"{_DECODER}lm_heads.{codebook}.weight", (config.vocabulary, width)


def _shapes(config: MusicgenConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield from _linear(config)
    for codebook in range(config.codebooks):
        yield f"{_BODY}embed_tokens.{codebook}.weight", (config.vocabulary + 1, config.width)
    for _, (source, *_) in _norms(config):
        yield source, (config.width,)


def _norms(config: MusicgenConfig) -> Iterator[tuple[str, tuple[str, ...]]]:
    for part in ("weight", "bias"):
        yield f"norm.{part}", (f"{_BODY}layer_norm.{part}",)
        for layer in range(config.depth):
            block, ours = f"{_BODY}layers.{layer}.", f"blocks.{layer}."
            yield f"{ours}attention_norm.{part}", (f"{block}self_attn_layer_norm.{part}",)
            yield f"{ours}feed_forward_norm.{part}", (f"{block}final_layer_norm.{part}",)
            if config.crosses:
                yield f"{ours}text_norm.{part}", (f"{block}encoder_attn_layer_norm.{part}",)


def _sources(config: MusicgenConfig) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Our tensors, and the ones of the checkpoint that they are, one behind the other."""
    yield from _norms(config)
    yield "embedding.weight", tuple(f"{_BODY}embed_tokens.{codebook}.weight" for codebook in range(config.codebooks))
    yield "head.weight", tuple(f"{_DECODER}lm_heads.{codebook}.weight" for codebook in range(config.codebooks))
    for layer in range(config.depth):
        block, ours = f"{_BODY}layers.{layer}.", f"blocks.{layer}."
        yield f"{ours}qkv.weight", tuple(f"{block}self_attn.{kind}_proj.weight" for kind in "qkv")
        yield f"{ours}out.weight", (f"{block}self_attn.out_proj.weight",)
        if config.crosses:
            yield f"{ours}text_q.weight", (f"{block}encoder_attn.q_proj.weight",)
            yield f"{ours}text_kv.weight", tuple(f"{block}encoder_attn.{kind}_proj.weight" for kind in "kv")
            yield f"{ours}text_out.weight", (f"{block}encoder_attn.out_proj.weight",)
        yield f"{ours}up.weight", (f"{block}fc1.weight",)
        yield f"{ours}down.weight", (f"{block}fc2.weight",)


# Files


def _tensors(folder: Path, hint: str) -> tuple[dict[str, Path], dict[str, tuple[int, ...]]]:
    """File and shape of every tensor."""
    whole, index = folder / WEIGHTS, folder / PARTS
    if whole.is_file():
        paths = {whole}
    elif index.is_file():
        listed = _json(index, hint).get("weight_map")
        if not isinstance(listed, dict) or not listed:
            raise CheckpointError(f"{index} lists no weights; {hint}")
        names = {str(name) for name in listed.values()}
        if strange := [name for name in names if Path(name).name != name]:
            raise CheckpointError(f"{index} names files outside its folder: {named(strange)}; {hint}")
        paths = {folder / name for name in names}
    else:
        pickled = " (weights in pickles are not read)" if any(folder.glob("*.bin")) else ""
        raise CheckpointError(f"{folder} has no {WEIGHTS} and no {PARTS}{pickled}; {hint}")
    files: dict[str, Path] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    for path in sorted(paths):
        opened = _safetensors(path, hint)
        for name in opened.keys():  # noqa: SIM118 - not a dict
            files[name], shapes[name] = path, tuple(opened.get_slice(name).get_shape())
    return files, shapes


def _safetensors(path: Path, hint: str) -> Any:
    if not path.is_file():
        raise CheckpointError(f"{path} is missing; {hint}")
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path} is damaged or no safetensors file ({_line(error)}); {hint}") from error


def _json(path: Path, hint: str) -> dict[str, Any]:
    if not path.is_file():
        raise CheckpointError(f"{path} is missing; {hint}")
    try:
        if path.stat().st_size > _LONGEST_JSON:
            raise CheckpointError(f"{path} is longer than {_LONGEST_JSON:,} bytes; {hint}")
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read ({_line(error)}); {hint}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} is no JSON object; {hint}")
    return content


def _part(config: Mapping[str, Any], name: str, path: Path, hint: str) -> dict[str, Any]:
    part = config.get(name)
    if not isinstance(part, dict):
        raise CheckpointError(f"{path} has no {name}; {hint}")
    return part


def _size(part: Mapping[str, Any], name: str, default: int, path: Path, hint: str) -> int:
    value = part.get(name, default)
    if type(value) is not int or not 1 <= value <= _LARGEST:
        raise CheckpointError(f"{path}: {name} must be a whole number from 1 to {_LARGEST:,}, not {str(value)[:40]}; {hint}")
    return value


def _line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
