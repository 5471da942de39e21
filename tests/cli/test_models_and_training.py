"""`kapelle models` and `kapelle train`."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

REFERENCE = Path(__file__).resolve().parents[2] / "../shared/reference/la_composer"
needs_reference = pytest.mark.skipif(not REFERENCE.is_dir(), reason="no recorded logits beside the project")


@needs_reference
def test_verify_prints_the_differences_in_both_modes(kapelle: Any) -> None:
    ended = kapelle("models", "verify", "la-composer", "--reference", REFERENCE)
    assert ended.code == 0
    for mode in ("native", "trained"):
        assert any(mode in line and line.endswith("ok") for line in ended.out.splitlines())


@needs_reference
def test_a_converted_model_is_listed_and_verified(kapelle: Any) -> None:
    assert "models fetch la-composer" in kapelle("models", "list").out
    assert kapelle("models", "convert", REFERENCE / "checkpoint.pth").code == 0
    assert "data/la-composer" in kapelle("models", "list").out
    ended = kapelle("models", "verify", "la-composer", "--reference", REFERENCE, "--model", "data/la-composer")
    assert ended.code == 0


@needs_reference
def test_verify_fails_above_the_tolerance(kapelle: Any, home: Path) -> None:
    import torch
    other = home / "other"
    shutil.copytree(REFERENCE, other)
    recorded = torch.load(other / "reference.pt", weights_only=True)
    recorded["prefill/native"] = recorded["prefill/native"] + 1e-3
    torch.save(recorded, other / "reference.pt")
    ended = kapelle("models", "verify", "la-composer", "--reference", other)
    assert ended.code == 1
    assert "ABOVE THE TOLERANCE" in ended.out
    assert ended.err[-1].startswith("kapelle: 1 of ")


@pytest.mark.parametrize("content", [None, b"", b"not a model" * 99])
def test_what_is_no_checkpoint_cannot_be_converted(
    kapelle: Any, written: Callable[[], list[str]], home: Path, content: bytes | None,
) -> None:
    source = home.with_name("model.pth")
    if content is not None:
        source.write_bytes(content)
    ended = kapelle("models", "convert", source)
    assert (ended.code, len(ended.err)) == (2, 1)
    assert "model.pth" in ended.err[0]
    assert written() == []


def test_an_unknown_model_is_bad_input(kapelle: Any, home: Path) -> None:
    for command in (("verify", "musicgen", "--reference", home), ("fetch", "musicgen")):
        ended = kapelle("models", *command)
        assert (ended.code, len(ended.err)) == (2, 1)
        assert "la-composer" in ended.err[0]


def test_training_leaves_a_checkpoint_and_goes_on(kapelle: Any, home: Path, long_scale: Path) -> None:
    data = home / "music"
    data.mkdir()
    shutil.copy(long_scale, data / "scale.mid")
    (data / "index.jsonl").write_text(json.dumps({"file": "scale.mid", "title": "Scale"}) + "\n")
    sizes = ("--width", 32, "--depth", 1, "--heads", 1, "--rows", 1, "--row-ids", 96, "--threads", 1, "--no-compile")
    first = kapelle("train", "--data", data, "--out", "run", *sizes, "--ids", 96)
    assert first.code == 0, first.err
    assert "done after 96 of 96 ids" in first.out
    again = kapelle("train", "--data", data, "--out", "run", *sizes, "--ids", 288)
    assert "done after 288 of 288 ids" in again.out
    assert (home / "run" / "checkpoint.pt").is_file()


@pytest.mark.parametrize(("options", "said"), [
    (("--data", "nowhere"), "index.jsonl"),
    (("--data", ".", "--width", 0), "width must be above 0"),
    (("--data", ".", "--row-ids", 100), "multiple of three"),
    ((), "--data"),
])
def test_training_on_nothing_is_bad_input(
    kapelle: Any, written: Callable[[], list[str]], options: tuple[object, ...], said: str,
) -> None:
    ended = kapelle("train", *options)
    assert (ended.code, len(ended.err)) == (2, 1)
    assert said in ended.err[0]
    assert written() == []


def test_fetch_reports_what_arrives_and_where(kapelle: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import models.fetching.fetch
    from models.fetching.fetch import Ahead

    def arrive(name: str, data: Path, progress: Callable[[int, int], None], ahead: Callable[[Ahead], None]) -> Path:
        ahead(Ahead(name, 10_000_000, f"hub:facebook/{name}", "CC-BY-NC-4.0" if name.startswith("musicgen") else ""))
        for done in range(0, 10_000_001, 500_000):
            progress(done, 10_000_000)
        return data / name

    monkeypatch.setattr(models.fetching.fetch, "fetch", arrive)  # the network is at the edge of the machine
    ended = kapelle("models", "fetch", "la-composer")
    assert (ended.code, ended.out) == (0, "la-composer is in data/la-composer\n")
    assert len(ended.err) == 10
    assert ended.err[-1] == "la-composer: 10 of 10 MB"
    ended = kapelle("models", "fetch", "musicgen-small")
    assert ended.err[0] == "musicgen-small: the licence of these weights is CC-BY-NC-4.0, not for commercial use"
    assert ended.err[1] == "musicgen-small: 10 MB come from hub:facebook/musicgen-small"
    assert len(ended.err) == 12


def test_published_sound_models_are_listed_with_their_size_once_they_are_there(
    kapelle: Any, home: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_HOME", str(home / "cache"))
    folder = home / "data" / "musicgen-small"
    folder.mkdir(parents=True)

    def line() -> str:
        lines = kapelle("models", "list").out.splitlines()
        return str(next(line for line in lines if line.startswith("musicgen-small ")))

    assert "not in data/musicgen-small (MusicGen, 300 M parameters, CC-BY-NC-4.0)" in line()
    assert "kapelle models fetch musicgen-stereo-melody-large" in kapelle("models", "list").out
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "model-00001-of-00002.safetensors").write_bytes(bytes(3_000_000))
    assert "not in data" in line()
    (folder / "model-00002-of-00002.safetensors").write_bytes(bytes(2_000_000))
    assert "5 MB in data/musicgen-small" in line()
    shutil.rmtree(folder)
    snapshot = home / "cache" / "hub" / "models--facebook--musicgen-small" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    assert "in the cache of the Hugging Face hub" in line()


def test_the_shipped_model_is_looked_for_where_its_engine_loads_it() -> None:
    from bot.cli.models import installed
    from models.engines.pocket.weights import SHIPPED
    pocket = installed(Path("data"))[0]
    assert pocket.name == "pocket"
    assert str(SHIPPED) in pocket.state
