"""Decoding steps as machine code of this CPU, compiled once from C where there is a compiler.

Here is how a source is compiled and kept, and the step of a `LocalTransformer`; that of MusicGen is in
`models.engines.musicgen.native`.
"""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from models.network.cache import KeyValueCache
from models.network.local_transformer import Block, LocalTransformer, rotary_speeds

_FOLDER = Path(__file__).parent
_KERNELS = "kernels.h"  # what the sources share
# -ffast-math lets exp and erf run on vectors; sums stay in the order that the sources give them. It is not given to
# the linker, where it would make denormal numbers zero in the whole process.
_COMPILE = ("-O3", "-march=native", "-std=gnu11", "-fPIC", "-fopenmp", "-ffast-math", "-fno-associative-math")
_LINK = ("-shared", "-fopenmp")  # resolves to the OpenMP runtime that PyTorch has loaded
FEWEST = 8  # of what a layer makes, as COLUMNS in the source
_LOG = logging.getLogger(__name__)
_Floats = ctypes.c_void_p


class _Layer(ctypes.Structure):
    _fields_ = [(name, _Floats) for name in (
        "attention_norm", "attention_bias", "qkv", "out", "feed_norm", "feed_bias", "up", "down", "cache")]


class _Network(ctypes.Structure):
    _fields_ = [
        *((name, ctypes.c_int64) for name in (
            "width", "depth", "heads", "head_width", "inner", "vocabulary", "window", "slots", "phantom", "half")),
        *((name, _Floats) for name in ("speeds", "norm", "bias", "head")),
        ("layers", ctypes.POINTER(_Layer)),
    ]


def cache_folder() -> Path:
    """Where compiled code is kept: below XDG_CACHE_HOME, or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kapelle"


@cache
def library(name: str = "step") -> ctypes.CDLL | None:
    """A compiled step; None where there is no C compiler, or KAPELLE_NATIVE is 0. Decoding works without it.

    Compiling takes a few seconds, once for a version of the source and a kind of CPU.
    """
    if os.environ.get("KAPELLE_NATIVE", "1") == "0":
        return None
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        _LOG.info("no C compiler: decoding goes through PyTorch, which is slower")
        return None
    try:
        target = _target(compiler, name)
        if target.is_file():
            try:
                return ctypes.CDLL(str(target))
            except OSError:
                _LOG.warning("%s cannot be loaded; it is compiled again", target)
        _compile(compiler, target, name)
        return ctypes.CDLL(str(target))
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:  # RuntimeError: there is no home folder
        _LOG.warning("the decoding step could not be compiled; decoding goes through PyTorch and is slower: %s", error)
        return None


def _target(compiler: str, name: str = "step") -> Path:
    """Where the code for this source, compiler and CPU is kept. Raises OSError where others could put theirs."""
    sources = ((_FOLDER / file).read_text(encoding="utf-8") for file in (f"{name}.c", _KERNELS))
    parts = (*sources, *_COMPILE, *_LINK, compiler, _cpu())
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    target = folder / f"{name}-{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:16]}.so"
    for path in (folder, target):
        if path.exists() and hasattr(os, "getuid"):
            found = path.stat()
            if found.st_uid != os.getuid() or found.st_mode & 0o022:
                raise OSError(f"{path} belongs to someone else, or others may write to it")
    return target


def _compile(compiler: str, target: Path, name: str = "step") -> None:
    with tempfile.TemporaryDirectory(dir=target.parent) as work:
        code, linked = Path(work, f"{name}.o"), Path(work, f"{name}.so")
        for command in (
            [compiler, *_COMPILE, "-c", str(_FOLDER / f"{name}.c"), "-o", str(code)],
            [compiler, *_LINK, str(code), "-lm", "-o", str(linked)],
        ):
            done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
            if done.returncode:
                raise OSError(done.stderr.strip().splitlines()[0] if done.stderr.strip() else f"{compiler} failed")
        linked.chmod(0o700)  # whatever the umask is
        with linked.open("rb") as file:
            os.fsync(file.fileno())  # half a library would not be refused but crash
        linked.replace(target)


def _cpu() -> str:
    """What tells kinds of CPU apart: code for one may not run on another."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line for line in lines if line.startswith(("flags", "Features")))
    except (OSError, StopIteration):
        return f"{platform.machine()} {platform.processor()}"


def attach(network: LocalTransformer, cache: KeyValueCache) -> bool:
    """Let steps with this cache run as compiled code, if they can: float32 on a CPU, and a compiler is there.

    Keys and values may be bfloat16. What a row comes to does not depend on the other rows, to the last bit.
    """
    tensors = (*network.parameters(), *cache.layers)
    if not all(t.device.type == "cpu" and t.is_contiguous() for t in tensors):
        return False
    if any(p.dtype != torch.float32 for p in network.parameters()) or cache.dtype not in (torch.float32, torch.bfloat16):
        return False
    config = network.config
    if min(config.width, config.inner, config.vocabulary, 3 * config.heads * config.head_width) < FEWEST or library() is None:
        return False
    cache.native = NativeStep(network, cache)
    return True


class NativeStep:
    """The step of one network with one cache. Both must stay as they are: their memory is used directly."""

    def __init__(self, network: LocalTransformer, cache: KeyValueCache) -> None:
        found = library()
        assert found is not None
        self._run = found.kapelle_step
        self._run.argtypes = [ctypes.c_void_p, ctypes.c_int64, *[ctypes.c_void_p] * 4, ctypes.c_int]
        self._run.restype = None
        config = network.config
        self._cache, self._vocabulary = cache, config.vocabulary
        self._speeds = rotary_speeds(config.head_width)
        layers = (_Layer * config.depth)()
        for number, (layer, keys_and_values) in enumerate(zip(layers, cache.layers, strict=True)):
            block = network.blocks[number]
            assert isinstance(block, Block)
            layer.attention_norm = block.attention_norm.weight.data_ptr()
            layer.attention_bias = block.attention_norm.bias.data_ptr()
            layer.qkv, layer.out = block.qkv.weight.data_ptr(), block.out.weight.data_ptr()
            layer.feed_norm = block.feed_forward_norm.weight.data_ptr()
            layer.feed_bias = block.feed_forward_norm.bias.data_ptr()
            layer.up, layer.down = block.up.weight.data_ptr(), block.down.weight.data_ptr()
            layer.cache = keys_and_values.data_ptr()
        self._network = _Network(
            config.width, config.depth, config.heads, config.head_width, config.inner, config.vocabulary,
            config.window, cache.layers[0].shape[3], cache.phantom, cache.dtype == torch.bfloat16,
            self._speeds.data_ptr(),
            network.norm.weight.data_ptr(), network.norm.bias.data_ptr(), network.head.weight.data_ptr(), layers)
        self._kept = network, layers
        attended = config.heads * config.head_width
        self._scratch = torch.empty(cache.rows * (4 * attended + config.width + config.inner))

    def __call__(self, x: Tensor, positions: Tensor) -> Tensor:
        """Embedded ids (rows, width), overwritten, at positions (rows,) -> logits (rows, vocabulary)."""
        rows = x.shape[0]
        logits = torch.empty(rows, self._vocabulary)
        self._run(
            ctypes.addressof(self._network), rows, positions.data_ptr(), x.data_ptr(), logits.data_ptr(),
            self._scratch.data_ptr(), torch.get_num_threads())
        return logits
