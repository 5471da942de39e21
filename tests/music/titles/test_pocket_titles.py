from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.engines.pocket.instruments import PROGRAMS, channels_named
from models.engines.pocket.titles import SHIPPED, build_titles, load_titles
from models.errors import CheckpointError, InputError
from models.music.attributes import attributes_of
from models.music.score.programs import CHANNELS, NEAREST_CHANNEL

CORPUS = Path(__file__).resolve().parents[3] / "../shared/data/corpus"


def _entry(number: int, **more: Any) -> dict[str, Any]:
    return {"title": f"Waltz {number}", "artist": "Ada Example", "genre": "classical", "tags": ["waltz"], "key": "Bb",
            "mode": "minor", "metre": "3/4", "tempo_bpm": 120 + number, "instruments": ["Viola", "Piano"],
            "notes": 300, "seconds": 60.0, "split": "train"} | more


def _index(folder: Path, entries: list[dict[str, Any]]) -> Path:
    path = folder / "index.jsonl"
    path.write_text("\n".join(json.dumps(entry) for entry in entries), encoding="utf-8")
    return path


def test_what_is_built_is_what_is_loaded(tmp_path: Path) -> None:
    entries = [_entry(number) for number in range(6)]
    build_titles(_index(tmp_path, entries), tmp_path / "t.gz")
    titles = load_titles(tmp_path / "t.gz")
    assert titles.titles == tuple(entry["title"] for entry in entries)
    known = titles.attributes(2)
    expected = attributes_of(entries[2])
    assert (known.forms, known.tonic, known.mode, known.tempo_bpm) == (("waltz",), 10, "minor", 122.0)
    assert known.composer == expected.composer == "example"
    assert known.instruments == ("piano", "violin")
    assert known.density == 5.0
    usual = titles.usuals.forms["waltz"]
    assert (usual.metre, usual.genre, usual.tempo_bpm) == ("3/4", "classical", 122.5)
    assert usual.instruments == ("piano", "violin")
    assert titles.composers == {"example"}


def test_validation_pieces_stay_out(tmp_path: Path) -> None:
    index = _index(tmp_path, [_entry(1), _entry(2, split="val", title="Secret")])
    assert build_titles(index, tmp_path / "t.gz").titles == ("Waltz 1",)


def test_the_order_of_the_index_does_not_change_a_byte(tmp_path: Path) -> None:
    entries = [_entry(number, metre="3/4" if number % 2 else "3/8") for number in range(8)]
    build_titles(_index(tmp_path, entries), tmp_path / "a.gz")
    build_titles(_index(tmp_path, entries[::-1]), tmp_path / "b.gz")
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()


@pytest.mark.parametrize("text", ["", "[1]", "{nonsense", '{"file": "x"}'])
def test_an_index_without_titles_is_an_input_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "index.jsonl").write_text(text, encoding="utf-8")
    with pytest.raises(InputError):
        build_titles(tmp_path / "index.jsonl", tmp_path / "t.gz")
    assert not (tmp_path / "t.gz").exists()


def _damaged(**change: Any) -> bytes:
    document = json.loads(gzip.decompress(SHIPPED.read_bytes()))
    for path, value in change.items():
        if path in document:
            document[path] = value
        else:
            document["columns"][path][0] = value
    return gzip.compress(json.dumps(document).encode())


@pytest.mark.parametrize("data", [
    b"", b"not gzip", SHIPPED.read_bytes()[:-2000], gzip.compress(b"[]"), gzip.compress(b"[" * 100_000),
    gzip.compress(b" " * (17 << 20)), _damaged(version=2), _damaged(columns={}), _damaged(title=7), _damaged(genre=99),
    _damaged(channels=[12]), _damaged(forms=[-1]), _damaged(tonic=12), _damaged(tempo="fast"), _damaged(density=-1),
    _damaged(usual={"forms": {"waltz": {"evil": 1}}, "genres": {}, "composers": {}}),
])
def test_a_damaged_list_is_a_checkpoint_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "t.gz").write_bytes(data)
    with pytest.raises(CheckpointError, match="title list"):
        load_titles(tmp_path / "t.gz")


def test_a_missing_list_is_a_checkpoint_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        load_titles(tmp_path / "none.gz")


def test_the_shipped_list_is_small_and_useful() -> None:
    assert SHIPPED.stat().st_size < 400_000
    titles = load_titles()
    assert len(titles) > 5000
    best = titles.match("Nocturne No. 2, Op. 9", "Chopin")[0]
    assert not best.low
    assert titles.attributes(best.number).composer == "chopin"
    assert titles.usuals.forms["waltz"].metre == "3/4"
    assert titles.usuals.forms["string quartet"].instruments == ("violin", "cello")
    assert titles.usuals.forms["metal"].core == ("guitar", "bass", "drums")
    assert titles.usuals.forms["gigue"].metre == "6/8"


def test_instruments_follow_the_table_of_programs() -> None:
    for name, program in PROGRAMS.items():
        channel = NEAREST_CHANNEL[program]
        assert (channel == 255) == (channels_named([name]) == ())
        if channel != 255:
            assert CHANNELS[channel] in channels_named([name])
    assert channels_named(["Strings"]) == ("violin", "cello")
    assert channels_named(["Viola", "Drums", "French Horn", "Acoustic Bass", "Sound FX", "Nonsense"]) == (
        "bass", "violin", "trumpet", "drums")


def test_the_shipped_list_is_the_corpus_index() -> None:
    if not CORPUS.is_dir():
        pytest.skip("the corpus is not beside the project")
    entries = [json.loads(line) for line in (CORPUS / "index.jsonl").read_text(encoding="utf-8").splitlines()]
    held_back = {(e["title"], e["artist"]) for e in entries if e["split"] == "val"}
    shown = {(e["title"], e["artist"]) for e in entries if e["split"] == "train"}
    titles = load_titles()
    listed = set(zip(titles.titles, titles.artists, strict=True))
    assert listed == shown
    assert not (held_back - shown) & listed


def test_named_instruments_are_the_ones_that_sound() -> None:
    if not CORPUS.is_dir():
        pytest.skip("the corpus is not beside the project")
    import io
    import zipfile

    from models.music.score.midi import read_midi
    from models.music.score.programs import DROPPED, channels_of

    entries = [json.loads(line) for line in (CORPUS / "index.jsonl").read_text(encoding="utf-8").splitlines()]
    named_and_heard, named, heard = 0, 0, 0
    with zipfile.ZipFile(CORPUS / "midi.zip") as archive:
        for entry in sorted(entries, key=lambda entry: entry["notes"])[100:2600:100]:
            score = read_midi(io.BytesIO(archive.read(entry["file"])))
            channels = np.unique(channels_of(score.notes, nearest=True))
            sounds = {CHANNELS[channel] for channel in channels if channel != DROPPED}
            says = set(channels_named(entry["instruments"]))
            named_and_heard, named, heard = named_and_heard + len(says & sounds), named + len(says), heard + len(sounds)
    assert named_and_heard >= 0.95 * max(named, heard)
