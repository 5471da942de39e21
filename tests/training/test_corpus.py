from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.errors import InputError
from models.music.score.midi import read_midi
from models.music.score.programs import CHANNELS, DRUMS
from models.training.corpus import Corpus, piece_notes, read_corpus
from tests.music.score.building import meta, midi_file, off, on, program
from tests.training.building import tune, write_corpus


def pieces(count: int = 4) -> list[tuple[Any, dict[str, Any]]]:
    return [(tune(number, 20 + number), {"split": "val" if number == 1 else "train"}) for number in range(count)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_corpus(tmp_path / "data", pieces())


def same(one: Corpus, other: Corpus) -> bool:
    return (one.entries == other.entries and np.array_equal(one.notes, other.notes)
            and np.array_equal(one.offsets, other.offsets) and one.shares == other.shares)


def test_pieces_and_their_entries_belong_together(folder: Path, tmp_path: Path) -> None:
    corpus = read_corpus(folder, tmp_path / "cache", processes=1)
    assert [entry["title"] for entry in corpus.entries] == [f"Tune {number}" for number in range(4)]
    for number in range(4):
        piece = corpus.piece(number)
        assert len(piece) == 20 + number
        assert piece["onset_ms"].tolist() == [250.0 * note for note in range(20 + number)]
        assert piece["pitch"].tolist() == tune(number, 20 + number).notes["pitch"].tolist()
    assert corpus.split("train") == [0, 2, 3]
    assert corpus.split("val") == [1]


def test_what_was_read_once_is_read_from_the_cache(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = read_corpus(folder, tmp_path / "cache", processes=1)
    monkeypatch.setattr("models.training.corpus.ProcessPoolExecutor", None)  # nothing can be read
    assert same(read_corpus(folder, tmp_path / "cache"), first)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["kapelle-corpus.npz"]


def test_another_index_is_read_anew(folder: Path, tmp_path: Path) -> None:
    read_corpus(folder, tmp_path / "cache", processes=1)
    write_corpus(folder, pieces(3))
    assert len(read_corpus(folder, tmp_path / "cache", processes=1).entries) == 3


def test_a_piece_that_was_exchanged_is_read_anew(folder: Path, tmp_path: Path) -> None:
    read_corpus(folder, tmp_path / "cache", processes=1)
    (folder / "000.mid").write_bytes((folder / "003.mid").read_bytes())
    corpus = read_corpus(folder, tmp_path / "cache", processes=1)
    assert corpus.piece(0)["pitch"].tolist() == corpus.piece(3)["pitch"].tolist()


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 cut short", None])
def test_a_damaged_cache_is_read_anew(folder: Path, tmp_path: Path, damage: bytes | None) -> None:
    first = read_corpus(folder, tmp_path / "cache", processes=1)
    stored = tmp_path / "cache/kapelle-corpus.npz"
    stored.write_bytes(stored.read_bytes()[:-200] if damage is None else damage)
    assert same(read_corpus(folder, tmp_path / "cache", processes=1), first)


def test_pieces_may_lie_in_an_archive(folder: Path, tmp_path: Path) -> None:
    plain = read_corpus(folder, tmp_path / "one", processes=1)
    with zipfile.ZipFile(folder / "midi.zip", "w") as archive:
        for file in sorted(folder.glob("*.mid")):
            archive.write(file, file.name)
            file.unlink()
    assert same(read_corpus(folder, tmp_path / "other", processes=1), plain)


def test_broken_missing_and_tiny_pieces_are_left_out(folder: Path, tmp_path: Path) -> None:
    (folder / "001.mid").write_bytes(b"MThd and no more")
    (folder / "002.mid").unlink()
    corpus = read_corpus(folder, tmp_path / "cache", processes=1)
    assert [entry["title"] for entry in corpus.entries] == ["Tune 0", "Tune 3"]
    assert corpus.piece(1)["pitch"].tolist() == tune(3, 23).notes["pitch"].tolist()
    tiny = write_corpus(tmp_path / "tiny", [(tune(0, 15), {}), (tune(1, 16), {})])
    assert [entry["title"] for entry in read_corpus(tiny, tmp_path / "other", processes=1).entries] == ["Tune 1"]


def test_shares_of_sources_are_read(folder: Path, tmp_path: Path) -> None:
    (folder / "sources.json").write_text(json.dumps({"a": {"suggested_share": 0.25}, "b": {"licence": "CC0"}}))
    assert read_corpus(folder, tmp_path / "cache", processes=1).shares == {"a": 0.25}


@pytest.mark.parametrize("text", ["", "[]", '{"a": 1}', '{"a": {"suggested_share": "much"}}'])
def test_broken_sources_are_refused(folder: Path, tmp_path: Path, text: str) -> None:
    (folder / "sources.json").write_text(text)
    with pytest.raises(InputError, match=r"sources\.json"):
        read_corpus(folder, tmp_path / "cache", processes=1)


def test_a_folder_that_is_no_corpus_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"index\.jsonl"):
        read_corpus(tmp_path, tmp_path / "cache")
    (tmp_path / "index.jsonl").write_text('{"file": "none.mid"}\n')
    with pytest.raises(InputError, match="none of the 1 pieces"):
        read_corpus(tmp_path, tmp_path / "cache", processes=1)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("line", ["{", "[1]", '{"title": "no file"}', '{"file": 7}', "null"])
def test_a_line_that_is_no_entry_is_named(folder: Path, tmp_path: Path, line: str) -> None:
    with (folder / "index.jsonl").open("a") as index:
        index.write(line + "\n")
    with pytest.raises(InputError, match="line 5 "):
        read_corpus(folder, tmp_path / "cache")


def test_notes_keep_their_place_in_the_bar() -> None:
    """Two bars of 3/4 at 120, then 6/8 at 60 quarters a minute; 480 ticks a quarter."""
    score = read_midi(midi_file(
        [meta(0, "time_signature", numerator=3, denominator=4), meta(0, "set_tempo", tempo=500_000),
         meta(2880, "time_signature", numerator=6, denominator=8), meta(2880, "set_tempo", tempo=1_000_000)],
        [event for tick in (0, 720, 1440, 2760, 2880, 4080, 4320) for event in (on(tick, 60), off(tick + 60, 60))],
        ticks_per_quarter=480))
    piece = piece_notes(score)
    assert piece["quarters_in_bar"].tolist() == [0, 1.5, 0, 2.75, 0, 2.5, 0]
    assert piece["quarter_ms"].tolist() == [500] * 4 + [1000] * 3
    assert piece["onset_ms"].tolist() == [0, 750, 1500, 2875, 3000, 5500, 6000]


def notes_at(ticks: tuple[int, ...], *metres: tuple[int, int, int]) -> np.ndarray:
    """A piece of notes at ticks, 480 a quarter, with metres (tick, beats, unit)."""
    return piece_notes(read_midi(midi_file(
        [meta(tick, "time_signature", numerator=beats, denominator=unit) for tick, beats, unit in metres],
        [event for tick in ticks for event in (on(tick, 60), off(tick + 60, 60))], ticks_per_quarter=480)))


def test_bars_and_quarters_are_counted_from_the_beginning() -> None:
    piece = notes_at((0, 720, 1440, 2760, 2880, 7200), (0, 3, 4))
    assert piece["quarters"].tolist() == [0, 1.5, 3, 5.75, 6, 15]
    assert piece["bar"].tolist() == [0, 0, 1, 1, 2, 5]
    assert piece["quarters_in_bar"].tolist() == [0, 1.5, 0, 2.75, 0, 0]
    assert set(piece["bar_quarters"]) == {3}


def test_bars_are_counted_on_through_changes_of_metre() -> None:
    """Two bars of 3/4, three of 6/8, then 4/4; a bar has two harmonic units where its beats are even and it is long."""
    metres = ((0, 3, 4), (2880, 6, 8), (7200, 4, 4))
    piece = notes_at((0, 2760, 2880, 3600, 7100, 7200, 9600), *metres)
    assert piece["bar"].tolist() == [0, 1, 2, 2, 4, 5, 6]
    assert piece["bar_quarters"].tolist() == [3, 3, 3, 3, 3, 4, 4]
    assert piece["units"].tolist() == [1, 1, 2, 2, 2, 2, 2]
    assert piece["quarters_in_bar"].tolist() == pytest.approx([0, 2.75, 0, 1.5, 2.7917, 0, 1], abs=1e-4)


@pytest.mark.parametrize(("beats", "unit", "units"), [
    (4, 4, 2), (3, 4, 1), (2, 4, 1), (2, 2, 2), (6, 8, 2), (3, 8, 1), (12, 8, 2), (9, 8, 1), (5, 4, 1), (6, 4, 2)])
def test_harmony_changes_by_halves_where_a_bar_has_them(beats: int, unit: int, units: int) -> None:
    assert set(notes_at((0, 480), (0, beats, unit))["units"]) == {units}


def test_a_pickup_is_a_bar_of_its_own() -> None:
    """An upbeat of a quarter, then 4/4: the metre changes where the first whole bar begins."""
    piece = notes_at((0, 240, 480, 1440, 2400, 4320), (0, 1, 4), (480, 4, 4))
    assert piece["bar"].tolist() == [0, 0, 1, 1, 2, 3]
    assert piece["quarters_in_bar"].tolist() == [0, 0.5, 0, 2, 0, 0]
    assert piece["bar_quarters"].tolist() == [1, 1, 4, 4, 4, 4]


def test_a_bar_that_a_change_of_metre_cuts_short_is_counted() -> None:
    piece = notes_at((0, 1920, 2880, 4320), (0, 4, 4), (2880, 3, 4))
    assert piece["bar"].tolist() == [0, 1, 2, 3]
    assert piece["quarters_in_bar"].tolist() == [0, 0, 0, 0]


def test_instruments_go_to_the_nearest_channel_and_effects_are_dropped() -> None:
    tracks = [
        [program(0, number, channel), on(10 * channel, 72, channel=channel), off(500, 72, channel=channel)]
        for channel, number in enumerate((0, 48, 21, 122))]
    tracks.append([on(70, 36, channel=9), off(500, 36, channel=9)])
    piece = piece_notes(read_midi(midi_file(*tracks)))
    assert [CHANNELS[channel] for channel in piece["channel"]] == ["piano", "violin", "organ", "drums"]
    assert piece["channel"][3] == DRUMS
