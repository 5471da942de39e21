"""The decoding step of MusicGen as machine code of this CPU; its source is `models/network/native/musicgen.c`."""

from __future__ import annotations

import ctypes
from typing import cast

import torch
from torch import Tensor, nn

from models.engines.musicgen.network import Block, Int8Linear, KeyValueCache, MusicgenNetwork
from models.network.native import FEWEST, library

_KINDS = {torch.float32: 0, torch.bfloat16: 1, torch.int8: 2}  # as in kernels.h
_STATES = (torch.float32, torch.bfloat16)
_Address = ctypes.c_void_p


class _Matrix(ctypes.Structure):
    _fields_ = [("numbers", _Address), ("scales", _Address)]


class _Layer(ctypes.Structure):
    _fields_ = [
        ("attention_norm", _Address), ("attention_bias", _Address), ("qkv", _Matrix), ("out", _Matrix),
        ("text_norm", _Address), ("text_bias", _Address), ("text_q", _Matrix), ("text_out", _Matrix),
        ("feed_norm", _Address), ("feed_bias", _Address), ("up", _Matrix), ("down", _Matrix),
        ("cache", _Address), ("text", _Address),
    ]


class _Network(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int64) for name in (
            "width", "depth", "heads", "head_width", "inner", "codebooks", "vocabulary", "slots", "text_slots",
            "kind", "states")),
        *((name, _Address) for name in ("embedding", "places", "norm", "bias")),
        ("head", _Matrix), ("layers", ctypes.POINTER(_Layer)),
    ]


def attach(network: MusicgenNetwork, cache: KeyValueCache) -> bool:
    """Let steps with this cache, whose memory is there, run as compiled code if they can: on a CPU with a compiler.

    Weights may be float32, bfloat16 or int8, keys and values float32 or bfloat16; all is computed in float32. What a
    row comes to does not depend on the other rows, to the last bit.
    """
    config, linear = network.config, _linear(network)
    tensors = (*network.parameters(), *network.buffers(), *cache.layers, *cache.texts)
    if not cache.layers or not all(tensor.device.type == "cpu" and tensor.is_contiguous() for tensor in tensors):
        return False
    kinds = {module.weight.dtype for module in linear}
    if len(kinds) > 1 or not kinds <= _KINDS.keys() or cache.dtype not in _STATES or network.dtype not in _STATES:
        return False
    if network.dtype != (kinds - {torch.int8} or {torch.float32}).pop():
        return False
    if min(config.width, config.inner, config.codebooks * config.vocabulary) < FEWEST or library("musicgen") is None:
        return False
    cache.native = NativeStep(network, cache)
    return True


def _linear(network: MusicgenNetwork) -> list[nn.Linear | Int8Linear]:
    return [module for module in network.modules() if isinstance(module, (nn.Linear, Int8Linear))]


class NativeStep:
    """The step of one network with one cache. Both must stay as they are: their memory is used directly."""

    def __init__(self, network: MusicgenNetwork, cache: KeyValueCache) -> None:
        found = library("musicgen")
        assert found is not None
        self._run = found.kapelle_musicgen_step
        self._run.argtypes = [_Address, ctypes.c_int64, *[_Address] * 5, ctypes.c_int]
        self._run.restype = None
        self._cache, self._config = cache, network.config
        self._kept: list[object] = [network]
        config = network.config
        layers = (_Layer * config.depth)()
        for number, layer in enumerate(layers):
            block = cast(Block, network.blocks[number])
            layer.attention_norm, layer.attention_bias = self._norm(block.attention_norm)
            layer.qkv, layer.out = _matrix(block.qkv), _matrix(block.out)
            if config.crosses:
                layer.text_norm, layer.text_bias = self._norm(block.text_norm)
                layer.text_q, layer.text_out = _matrix(block.text_q), _matrix(block.text_out)
                layer.text = cache.texts[number].data_ptr()
            layer.feed_norm, layer.feed_bias = self._norm(block.feed_forward_norm)
            layer.up, layer.down = _matrix(block.up), _matrix(block.down)
            layer.cache = cache.layers[number].data_ptr()
        self._network = _Network(
            config.width, config.depth, config.heads, config.head_width, config.inner, config.codebooks, config.vocabulary,
            cache.slots, cache.text_slots, _KINDS[_linear(network)[0].weight.dtype], _KINDS[cache.dtype],
            network.embedding.weight.data_ptr(), self._float(network.places(torch.arange(cache.slots))),
            *self._norm(network.norm), _matrix(network.head), layers)
        self._scratch = torch.empty(cache.rows * (6 * config.width + config.inner))

    def __call__(self, codes: Tensor) -> Tensor:
        """Codes (rows, codebooks) -> logits (rows, codebooks, vocabulary), float32. Raises IndexError where one is outside."""
        rows, config, cache = codes.shape[0], self._config, self._cache
        codes = codes.contiguous()
        if rows > cache.rows or int(cache.lengths[:rows].max()) >= cache.slots:
            raise IndexError(f"{rows} rows at {cache.lengths[:rows].tolist()}: there is room for {cache.rows} of {cache.slots}")
        least, most = torch.aminmax(codes)
        if least < 0 or most > config.vocabulary:
            raise IndexError(f"codes must be between 0 and {config.vocabulary}, not {int(least)} to {int(most)}")
        logits = torch.empty(rows, config.codebooks, config.vocabulary)
        self._run(
            ctypes.addressof(self._network), rows, codes.data_ptr(), cache.lengths.data_ptr(), cache.text_lengths.data_ptr(),
            logits.data_ptr(), self._scratch.data_ptr(), torch.get_num_threads())
        return logits

    def _norm(self, norm: nn.LayerNorm) -> tuple[int, int]:
        return self._float(norm.weight), self._float(norm.bias)

    def _float(self, tensor: Tensor) -> int:
        """Where the numbers lie in float32: as many as a row has, so a copy costs little."""
        kept = tensor.detach().float().contiguous()
        self._kept.append(kept)
        return kept.data_ptr()


def _matrix(module: nn.Module) -> _Matrix:
    assert isinstance(module, (nn.Linear, Int8Linear))
    return _Matrix(module.weight.data_ptr(), module.scale.data_ptr() if isinstance(module, Int8Linear) else None)
