"""Reading upstream's `.pth`, and refusing what is none."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from models.checkpoints.upstream import read_upstream
from models.errors import CheckpointError
from models.network.local_transformer import LocalTransformerConfig
from tests.checkpoints.building import DEPTH, POSITIONS, VOCABULARY, WIDTH, Bomb, upstream_tensors, write_checkpoint

SIZES = LocalTransformerConfig(vocabulary=VOCABULARY, width=WIDTH, depth=DEPTH, positions=POSITIONS)


def refused(path: Path) -> str:
    """The message with which a file is refused: one line."""
    with pytest.raises(CheckpointError) as caught:
        read_upstream(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def test_sizes_follow_from_the_shapes_and_names_are_ours(tmp_path: Path) -> None:
    checkpoint = read_upstream(write_checkpoint(tmp_path / "a.pth"))
    assert checkpoint.config == SIZES
    theirs = upstream_tensors()
    assert torch.equal(checkpoint.tensors["embedding.weight"], theirs["module.token_emb.weight"])
    assert torch.equal(checkpoint.tensors["blocks.1.down.weight"], theirs["module.layers.1.1.4.weight"])
    assert torch.equal(checkpoint.tensors["blocks.0.qkv.weight"], theirs["module.layers.0.0.to_qkv.weight"])
    assert torch.equal(checkpoint.tensors["norm.bias"], theirs["module.to_logits.0.bias"])
    assert torch.equal(checkpoint.tensors["head.weight"], theirs["module.to_logits.1.weight"])


@pytest.mark.parametrize("wrap", [
    lambda tensors: {"state_dict": tensors, "step": 5},
    lambda tensors: {"model": OrderedDict(tensors)},
    lambda tensors: {key.removeprefix("module."): value for key, value in tensors.items()},
    lambda tensors: {key: value for key, value in tensors.items() if "inv_freq" not in key},
])
def test_nested_and_plain_state_dicts_are_read(tmp_path: Path, wrap: Callable[[dict[str, Any]], Any]) -> None:
    path = write_checkpoint(tmp_path / "a.pth", wrap(upstream_tensors()))
    assert set(read_upstream(path).tensors) == set(read_upstream(write_checkpoint(tmp_path / "b.pth")).tensors)


def test_the_older_file_format_is_read(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    assert torch.equal(read_upstream(path).tensors["norm.weight"], upstream_tensors()["module.to_logits.0.weight"])


def test_half_precision_stays_as_it_is_stored(tmp_path: Path) -> None:
    tensors = {key: value.half() for key, value in upstream_tensors().items()}
    assert read_upstream(write_checkpoint(tmp_path / "a.pth", tensors)).tensors["norm.weight"].dtype == torch.float16


@pytest.mark.parametrize(("change", "said"), [
    (lambda t: t.pop("module.layers.1.0.to_out.weight"), "lacks layers.1.0.to_out.weight"),
    (lambda t: t.pop("module.token_emb.weight"), "lacks token_emb.weight"),
    (lambda t: [t.pop(key) for key in list(t) if ".layers.0." in key], "lacks layers.0"),
    (lambda t: [t.pop(key) for key in list(t) if ".layers." in key], "has no layers"),
    (lambda t: t.update({"module.extra.weight": torch.ones(3)}), "extra.weight"),
    (lambda t: t.update({"module.layers.0.0.to_qkv.bias": torch.ones(3)}), "layers.0.0.to_qkv.bias"),
    (lambda t: t.update({"module.layers.0.0.to_qkv.weight": torch.ones(7, WIDTH)}), "expected was (1536, 12)"),
    (lambda t: t.update({"module.layers.1.1.4.weight": torch.ones(WIDTH, 31)}), "layers.1.1.4.weight has the shape"),
    (lambda t: t.update({"module.token_emb.weight": torch.ones(5)}), "two dimensions"),
    (lambda t: t["module.to_logits.0.bias"].fill_(float("nan")), "not numbers"),
    (lambda t: t["module.pos_emb.weight"][3].fill_(float("inf")), "not numbers"),
    (lambda t: t["module.layers.0.0.attn_fn.rel_pos.inv_freq"].mul_(2), "rotary"),
    (lambda t: t.update({"module.to_logits.0.bias": torch.ones(WIDTH, dtype=torch.int64)}), "floating-point"),
    (lambda t: t.update({"to_logits.0.bias": torch.ones(WIDTH)}), "twice"),
    (lambda t: t.update({"step": 7}), "no named tensor"),
    (lambda t: t.update({"module.layers.99999.0.norm.weight": torch.ones(WIDTH)}), "layers.99999"),
    (lambda t: t.update({"module.layers.900.0.norm.weight": torch.ones(WIDTH)}), "lacks layers.2"),
])
def test_what_is_not_of_the_family_is_named(tmp_path: Path, change: Callable[[dict[str, Any]], Any], said: str) -> None:
    tensors: dict[str, Any] = upstream_tensors()
    change(tensors)
    assert said in refused(write_checkpoint(tmp_path / "a.pth", tensors))


@pytest.mark.parametrize("content", [
    [1, 2], {}, {"a": {}}, torch.ones(3), {"a": {"x": torch.ones(1)}, "b": {"x": torch.ones(1)}},
])
def test_something_else_than_a_state_dict_is_refused(tmp_path: Path, content: Any) -> None:
    assert "no network" in refused(write_checkpoint(tmp_path / "a.pth", content))


@pytest.mark.parametrize("older", [False, True])
def test_a_hostile_pickle_is_refused_and_nothing_in_it_runs(tmp_path: Path, older: bool) -> None:
    sign = tmp_path / "it ran"
    tensors = {**upstream_tensors(), "module.bomb": Bomb(sign)}
    path = write_checkpoint(tmp_path / "a.pth", tensors, _use_new_zipfile_serialization=not older)
    assert "could run code" in refused(path)
    plain = tmp_path / "plain.pth"
    plain.write_bytes(pickle.dumps(Bomb(sign)))
    refused(plain)
    assert not sign.exists()
    pickle.loads(plain.read_bytes()).close()
    assert sign.exists()  # the bomb was a real one


@pytest.mark.parametrize("content", [
    b"", b"hello, this is a text file\n" * 40, b"\x80", b"PK\x03\x04", bytes(range(256)) * 9,
])
def test_files_of_another_kind_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.pth"
    path.write_bytes(content)
    refused(path)


def test_folders_and_missing_files_are_refused(tmp_path: Path) -> None:
    assert "folder" in refused(tmp_path)
    assert "no file" in refused(tmp_path / "missing.pth")


@pytest.mark.parametrize("older", [False, True])
@pytest.mark.parametrize("share", [0.01, 0.3, 0.7, 0.99])
def test_truncated_files_are_refused(tmp_path: Path, share: float, older: bool) -> None:
    path = write_checkpoint(tmp_path / "a.pth", _use_new_zipfile_serialization=not older)
    whole = path.read_bytes()
    path.write_bytes(whole[:int(len(whole) * share)])
    refused(path)


def test_a_flipped_byte_is_found(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "a.pth")
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        largest = max(archive.infolist(), key=lambda entry: entry.file_size)
    place = content.index(b"FB", largest.header_offset) + 2000  # behind what pads the header
    content[place] ^= 1  # of the last digit of a number: it stays finite
    path.write_bytes(content)
    assert "checksum" in refused(path)


def test_more_values_than_the_file_holds_are_refused_before_they_take_memory(tmp_path: Path) -> None:
    tensors = upstream_tensors()
    tensors["module.token_emb.weight"] = torch.zeros(1, 1).expand(1 << 17, 1 << 14)  # 8 GB in four bytes
    assert "more values than it holds" in refused(write_checkpoint(tmp_path / "a.pth", tensors))


def test_a_storage_that_lies_about_its_size_is_refused(tmp_path: Path) -> None:
    honest = write_checkpoint(tmp_path / "a.pth", {"module.token_emb.weight": torch.zeros(16, 2)})
    forged = tmp_path / "b.pth"
    with zipfile.ZipFile(honest) as source, zipfile.ZipFile(forged, "w") as target:
        for entry in source.infolist():
            content = source.read(entry)
            if entry.filename.endswith("data.pkl"):
                assert content.count(b"K\x20") == 1  # 32 values
                content = content.replace(b"K\x20", b"J\xff\xff\xff\x7f")
            target.writestr(entry.filename, content)
    refused(forged)


def test_compressed_archives_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    packed = io.BytesIO()
    torch.save(upstream_tensors(), packed)
    with zipfile.ZipFile(packed) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for entry in source.infolist():
            target.writestr(entry.filename, source.read(entry))
    assert "is a compressed archive" in refused(path)
