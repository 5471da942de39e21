from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from weakref import WeakSet

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from models.engines.musicgen import engine as engines
from models.engines.musicgen.checkpoint import Checkpoint, locate
from models.engines.musicgen.engine import MusicgenEngine, needed_bytes, rows_that_fit
from models.engines.musicgen.network import MusicgenNetwork
from models.errors import CheckpointError
from models.network.memory import available_bytes
from tests.engines.musicgen.building import KINDS, Tiny, write

Made = Callable[[str], Tiny]
NAME = "musicgen-small"
AGAIN = r"kapelle models fetch musicgen-small"


@pytest.fixture
def folder(tiny: Made, tmp_path: Path) -> Path:
    """A copy that may be broken."""
    return Path(shutil.copytree(tiny("mono").folder, tmp_path / "model"))


def change(path: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def refused(folder: Path, match: str) -> None:
    with pytest.raises(CheckpointError, match=match) as caught:
        MusicgenEngine(Checkpoint.open(folder, NAME), rows=2)
    message = str(caught.value)
    assert "\n" not in message
    assert AGAIN in message


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_weight_of_the_decoder_is_in_the_network(kind: str, tiny: Made) -> None:
    checkpoint = tiny(kind).open()
    network = checkpoint.load_network()
    ours = sum(parameter.numel() for parameter in network.parameters())
    theirs = sum(parameter.numel() for parameter in tiny(kind).model.decoder.parameters())
    assert ours == theirs
    assert all(parameter.data_ptr() % 64 == 0 for parameter in network.parameters())  # own memory, not the file's


@pytest.mark.parametrize(("kind", "shards"), [("mono", "40KB"), ("stereo", "60KB")])
def test_weights_may_lie_in_parts(kind: str, shards: str, tiny: Made, tmp_path: Path) -> None:
    parts = write(tmp_path / "parts", **KINDS[kind], max_shard_size=shards)
    assert len(list(parts.glob("model-*.safetensors"))) > 2
    assert not (parts / "model.safetensors").exists()
    whole, split = tiny(kind).open().load_network(), Checkpoint.open(parts, NAME).load_network()
    for (name, ours), theirs in zip(whole.state_dict().items(), split.state_dict().values(), strict=True):
        assert ours.equal(theirs), name
    MusicgenEngine(Checkpoint.open(parts, NAME), rows=2)


def test_weights_of_half_precision_and_older_names_are_read(folder: Path, tiny: Made) -> None:
    """As older versions of the library wrote them: other names of the codec's weights, tied ones once or twice."""
    tensors = load_file(folder / "model.safetensors")
    renamed = {name.replace("parametrizations.weight.original0", "weight_g").replace(
        "parametrizations.weight.original1", "weight_v"): tensor.half() for name, tensor in tensors.items()}
    assert renamed.keys() != tensors.keys()
    renamed["text_encoder.encoder.embed_tokens.weight"] = renamed["text_encoder.shared.weight"].clone()
    renamed["decoder.model.decoder.embed_positions.weights"] = torch.zeros(3, 32)
    save_file(renamed, folder / "model.safetensors")
    network = Checkpoint.open(folder, NAME).load_network()
    expected = tiny("mono").open().load_network()
    assert network.head.weight.dtype == torch.float32
    assert torch.allclose(network.head.weight, expected.head.weight, atol=1e-3)  # type: ignore[arg-type]
    MusicgenEngine(Checkpoint.open(folder, NAME), rows=2)


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_missing_file_is_named(folder: Path, missing: str) -> None:
    (folder / missing).unlink()
    refused(folder, missing)


def test_pickles_are_not_read(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    refused(folder, "pickle")


def test_a_missing_part_is_named(folder: Path, tmp_path: Path) -> None:
    parts = write(tmp_path / "parts", max_shard_size="60KB")
    gone = sorted(parts.glob("model-*.safetensors"))[1]
    gone.unlink()
    refused(parts, gone.name)


def test_parts_outside_the_folder_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder.parent / "model.safetensors")
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../model.safetensors"}}')
    refused(folder, "outside")


@pytest.mark.parametrize("kept", [0, 6, 100, 0.5, 0.99999])
def test_a_truncated_file_is_refused(folder: Path, kept: float) -> None:
    path = folder / "model.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:int(kept * len(content)) if kept < 1 else int(kept)])
    refused(folder, r"model\.safetensors is damaged")


@pytest.mark.parametrize(("edit", "match"), [
    (lambda config: config.update(model_type="llama"), "llama"),
    (lambda config: config.pop("decoder"), "decoder"),
    (lambda config: config["decoder"].update(hidden_size=10**12), "hidden_size"),
    (lambda config: config["decoder"].update(num_hidden_layers="two"), "num_hidden_layers"),
    (lambda config: config["decoder"].update(num_attention_heads=5), "do not go together"),
    (lambda config: config["decoder"].update(activation_function="relu"), "activation"),
    (lambda config: config["decoder"].update(num_hidden_layers=3), r"lacks decoder.*layers\.2"),
    (lambda config: config["decoder"].update(ffn_dim=65), "has the shape"),
    (lambda config: config["text_encoder"].update(model_type="bert"), "T5"),
    (lambda config: config["text_encoder"].update(num_layers=3), "lacks"),
    (lambda config: config["text_encoder"].update(d_ff=50), "has the shape"),
    (lambda config: config["audio_encoder"].update(sampling_rate=24_000), "codec"),
    (lambda config: config["audio_encoder"].update(num_filters=5), "has the shape"),
    (lambda config: config["audio_encoder"].update(codebook_size=63), "codec"),
])
def test_a_configuration_that_does_not_fit_is_refused(
    folder: Path, edit: Callable[[dict[str, Any]], object], match: str,
) -> None:
    change(folder / "config.json", edit)
    refused(folder, match)


@pytest.mark.parametrize("content", ["", "{", "[1]", "[" * 100_000, '{"model_type": "musicgen"}', "\ud800"])
def test_a_configuration_that_is_none_is_refused(folder: Path, content: str) -> None:
    (folder / "config.json").write_bytes(content.encode("utf-8", "surrogatepass"))
    refused(folder, r"config\.json")


@pytest.mark.parametrize(("name", "match"), [
    ("decoder.lm_heads.2.weight", r"lacks decoder\.lm_heads\.2\.weight"), ("enc_to_dec_proj.bias", "lacks enc_to_dec_proj"),
    ("text_encoder.encoder.final_layer_norm.weight", "lacks encoder.final_layer_norm"),
    ("audio_encoder.quantizer.layers.1.codebook.embed", "lacks quantizer"),
])
def test_a_missing_tensor_is_named(folder: Path, name: str, match: str) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors[name]
    save_file(tensors, folder / "model.safetensors")
    refused(folder, match)


def test_weights_that_are_no_numbers_are_refused(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["decoder.model.decoder.layers.1.fc1.weight"][3, 3] = float("nan")
    save_file(tensors, folder / "model.safetensors")
    refused(folder, r"layers\.1\.fc1\.weight holds values that are not numbers")


def test_a_broken_tokenizer_is_refused(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")
    refused(folder, "text encoder")


# Where models are

def test_a_model_that_is_not_here_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "none"))
    with pytest.raises(CheckpointError, match=AGAIN):
        locate(tmp_path / "nothing", NAME)


def test_a_model_of_the_hubs_cache_is_found_without_asking_the_hub(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    repository = tmp_path / "hub" / "models--facebook--musicgen-small"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc")
    shutil.copytree(folder, repository / "snapshots" / "abc")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    assert locate(tmp_path / "nothing", NAME) == repository / "snapshots" / "abc"
    assert Checkpoint.open(tmp_path / "nothing", NAME).network.codebooks == 4


# Memory

def sizes(checkpoint: Checkpoint) -> dict[str, int]:
    return {precision: checkpoint.weight_bytes(precision) for precision in ("float32", "bfloat16", "int8")}


def test_memory_of_weights_is_what_they_take(tiny: Made) -> None:
    for kind in ("mono", "melody"):
        checkpoint = tiny(kind).open()
        with safe_open(checkpoint.folder / "model.safetensors", framework="pt") as file:
            rest = sum(4 * file.get_tensor(name).numel() for name in file.keys()  # noqa: SIM118
                       if not name.startswith("decoder."))
        for precision, predicted in sizes(checkpoint).items():
            network: MusicgenNetwork = checkpoint.load_network(precision)
            taken = sum(tensor.nbytes for name, tensor in network.state_dict().items() if not name.endswith("scale"))
            assert predicted == taken + rest


def test_too_little_memory_is_said_before_loading_and_what_would_fit(tiny: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = tiny("mono").open()
    needed = {precision: needed_bytes(checkpoint, precision, 2) for precision in ("float32", "bfloat16", "int8")}

    def free(count: int) -> None:
        monkeypatch.setattr(engines, "available_bytes", lambda device: count)

    monkeypatch.setattr(engines, "_LOADED", WeakSet())
    free(needed["int8"])
    with pytest.raises(CheckpointError, match=r"needs 0\.\d GB in float32 on cpu, where 0\.\d GB are free; .*int8") as caught:
        rows_that_fit(checkpoint, "cpu", "float32")
    assert "bfloat16" in str(caught.value)
    assert rows_that_fit(checkpoint, "cpu", "int8") == 2
    free(needed["bfloat16"] - 1)
    with pytest.raises(CheckpointError, match="smaller model"):
        rows_that_fit(checkpoint, "cpu", "bfloat16")
    free(needed_bytes(checkpoint, "float32", 5))
    assert rows_that_fit(checkpoint, "cpu", "float32") == 5
    free(1 << 40)
    assert rows_that_fit(checkpoint, "cpu", "float32") == 16


def test_what_another_engine_will_take_is_not_free(tiny: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = tiny("mono").open()
    five = needed_bytes(checkpoint, "float32", 5)
    row = needed_bytes(checkpoint, "float32", 6) - five
    monkeypatch.setattr(engines, "_LOADED", WeakSet())
    monkeypatch.setattr(engines, "available_bytes", lambda device: five)
    other = MusicgenEngine(checkpoint, rows=3)
    assert other.promised_bytes("cpu") == 3 * row
    assert other.promised_bytes("cuda") == 0
    assert rows_that_fit(checkpoint, "cpu", "float32") == 2
    monkeypatch.setattr(engines, "available_bytes", lambda device: five - 1)
    with pytest.raises(CheckpointError, match="needs"):
        rows_that_fit(checkpoint, "cpu", "float32")
    del other
    assert rows_that_fit(checkpoint, "cpu", "float32") == 4


@pytest.mark.parametrize(("device", "precision", "match"), [
    ("cpu", "float64", "float32, bfloat16, int8"), ("tpu", "float32", "cpu or cuda"),
    pytest.param("cuda", "bfloat16", "no GPU", marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")),
])
def test_devices_and_precisions_that_are_none_are_refused(device: str, precision: str, match: str, tiny: Made) -> None:
    with pytest.raises(CheckpointError, match=match):
        MusicgenEngine.load(tiny("mono").folder, name=NAME, device=device, dtype=precision)


def test_free_memory_is_a_plausible_number() -> None:
    assert 1 << 24 < available_bytes("cpu") <= 1 << 62


def described(root: Path, files: dict[str, str]) -> Path:
    """A machine with 8,000 kB free, as its system describes it."""
    free = {"proc/meminfo": "MemTotal: 9000 kB\nMemAvailable:    8000 kB\nHugePages_Free:    0\n"}
    for name, content in (free | files).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return root


def cgroup(name: str, limit: str, used: int, cached: int) -> dict[str, str]:
    folder = f"sys/fs/cgroup/{name}"
    return {f"{folder}/memory.max": f"{limit}\n", f"{folder}/memory.current": f"{used}\n",
            f"{folder}/memory.stat": f"anon 5\ninactive_file {cached}\nactive_file 7\n"}


@pytest.mark.parametrize(("files", "free"), [
    ({}, 8_192_000),
    ({"proc/self/cgroup": "0::/\n"} | cgroup(".", "900000", 300_000, 1_000), 601_000),
    ({"proc/self/cgroup": "0::/a/b\n"} | cgroup("a", "max", 1, 0) | cgroup("a/b", "5000", 2_000, 0), 3_000),
    ({"proc/self/cgroup": "0::/a/b\n"} | cgroup("a", "4000", 3_500, 100) | cgroup("a/b", "max", 2_000, 0), 600),
    ({"proc/self/cgroup": "0::/a\n"} | cgroup("a", "5000", 6_000, 0), 0),
    ({"proc/self/cgroup": "0::/a\n"} | cgroup("a", "90000000", 6_000, 0), 8_192_000),
    ({"proc/self/cgroup": "4:memory:/a\n0::/\n"} | cgroup("a", "5", 1, 0), 8_192_000),
    ({"proc/self/cgroup": "0::/../x\n"} | cgroup("../x", "5", 1, 0), 8_192_000),
    ({"proc/meminfo": ""}, 1 << 62),
])
def test_free_memory_is_within_the_limits_of_the_process(files: dict[str, str], free: int, tmp_path: Path) -> None:
    assert available_bytes("cpu", root=described(tmp_path, files)) == free
