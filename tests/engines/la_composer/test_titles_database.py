"""The title database: read from a pickle without unpickling it, and kept as plain arrays."""

from __future__ import annotations

import pickle
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.engines.la_composer.titles_database import TitleDatabase, convert_titles, read_pickle
from models.errors import CheckpointError
from tests.checkpoints.building import SONGS, Bomb, write_titles


def converted(tmp_path: Path, songs: Any = SONGS, protocol: int = 4) -> TitleDatabase:
    convert_titles(write_titles(tmp_path / "titles.pickle", songs, protocol), tmp_path / "titles.safetensors")
    return TitleDatabase.load(tmp_path / "titles.safetensors")


def refused(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        list(read_pickle(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_songs_come_out_as_they_were_pickled(tmp_path: Path, protocol: int) -> None:
    songs = converted(tmp_path, protocol=protocol)
    assert songs.titles == [title for title, _ in SONGS]
    assert [songs.ids(number) for number in range(len(songs))] == [tuple(ids) for _, ids in SONGS]


@settings(max_examples=40)
@given(st.lists(st.tuples(st.text(max_size=30), st.lists(st.integers(0, 2830), max_size=40)), max_size=12),
       st.integers(2, 5))
def test_reading_equals_unpickling(tmp_path_factory: pytest.TempPathFactory, songs: list[Any], protocol: int) -> None:
    path = write_titles(tmp_path_factory.mktemp("titles") / "a.pickle", songs, protocol)
    read = [(title, ids.tolist()) for title, ids in read_pickle(path)]
    assert read == [tuple(song) for song in pickle.loads(path.read_bytes())]


def test_long_lists_titles_that_repeat_and_tuples_are_read(tmp_path: Path) -> None:
    title = "the same --- title"
    many = [[title, tuple(range(2831)) * 4] for _ in range(3)] + [(title, [7])] * 2500
    songs = converted(tmp_path, many)
    assert len(songs) == 2503
    assert songs.ids(1) == tuple(range(2831)) * 4
    assert songs.ids(2502) == (7,)


def test_songs_without_ids_are_left_out(tmp_path: Path) -> None:
    assert converted(tmp_path, [["a", []], ["b", [5]]]).titles == ["b"]


@pytest.mark.parametrize("songs", [
    [], [["a", []]], {"a": [1]}, "text", 5, [5], ["ab"], [["a"]], [["a", [1], [2]]], [[1, ["a"]]], [["a", ["b"]]],
    [["a", [[1]]]], [["a", [2831]]], [["a", [-1]]], [["a", [70_000]]], [["a", [2**70]]], [["a", [1.5]]],
    [["a", [None]]], [["a", [True]]], [[b"a", [1]]], [["a" * 5000, [1]]], [["a", {1}]], [["a", OrderedDict()]],
    [["a", np.array([1, 2])]],
])
def test_anything_but_titles_and_ids_is_refused(tmp_path: Path, songs: Any) -> None:
    path = write_titles(tmp_path / "a.pickle", songs)
    with pytest.raises(CheckpointError):
        convert_titles(path, tmp_path / "titles.safetensors")
    assert not (tmp_path / "titles.safetensors").exists()
    assert sorted(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("protocol", range(6))
def test_a_hostile_pickle_is_refused_and_nothing_in_it_runs(tmp_path: Path, protocol: int) -> None:
    sign = tmp_path / "it ran"
    path = write_titles(tmp_path / "a.pickle", [["a", [1]], ["b", Bomb(sign)]], protocol)
    assert "no title database" in refused(path)
    assert not sign.exists()
    pickle.loads(path.read_bytes())[1][1].close()
    assert sign.exists()  # the bomb was a real one


@settings(max_examples=60)
@given(st.binary(max_size=80))
def test_arbitrary_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("titles") / "a.pickle"
    for beginning in (b"", b"\x80\x04", b"\x80\x04]("):
        path.write_bytes(beginning + content)
        try:
            list(read_pickle(path))
        except CheckpointError:
            continue
        assert pickle.loads(path.read_bytes()) == []  # nothing else is so short and a list of songs


@pytest.mark.parametrize("place", range(1, 90, 7))
def test_truncated_pickles_are_refused(tmp_path: Path, place: int) -> None:
    path = write_titles(tmp_path / "a.pickle")
    path.write_bytes(path.read_bytes()[:-place])
    refused(path)


def test_a_small_file_cannot_become_many_songs(tmp_path: Path) -> None:
    song = b"]\x94(" + b"K\x05" * 4000 + b"e"
    path = tmp_path / "a.pickle"
    path.write_bytes(b"\x80\x04](" + b"X\x01\0\0\0a" + song + b"\x86" + b"X\x01\0\0\0ah\0\x86" * 20_000 + b"e.")
    assert "forged" in refused(path)


def test_missing_and_empty_files_and_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").write_bytes(b"")
    for path in (tmp_path / "missing", tmp_path / "empty", tmp_path):
        refused(path)


@pytest.mark.parametrize("damage", [lambda b: b"", lambda b: b"hello", lambda b: b[:-5], lambda b: b[:40]])
def test_a_damaged_database_is_refused(tmp_path: Path, damage: Any) -> None:
    converted(tmp_path)
    path = tmp_path / "titles.safetensors"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(CheckpointError, match="models fetch"):
        TitleDatabase.load(path)


def test_a_database_whose_songs_do_not_add_up_is_refused(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    good = {"ids": torch.arange(4, dtype=torch.int16), "id_ends": torch.tensor([2, 4]),
            "titles": torch.tensor(list(b"ab"), dtype=torch.uint8), "title_ends": torch.tensor([1, 2])}
    path = tmp_path / "titles.safetensors"
    save_file(good, path)
    assert TitleDatabase.load(path).ids(1) == (2, 3)
    for name, wrong in (("id_ends", torch.tensor([3, 2])), ("id_ends", torch.tensor([2, 5])),
                        ("id_ends", torch.tensor([-1, 4])), ("title_ends", torch.tensor([2])),
                        ("titles", torch.tensor([255, 255], dtype=torch.uint8)), ("ids", torch.zeros(4)),
                        ("ids", torch.zeros(2, 2, dtype=torch.int16))):
        save_file({**good, name: wrong}, path)
        with pytest.raises(CheckpointError):
            TitleDatabase.load(path)


def test_a_database_of_the_published_size_loads_in_a_fraction_of_what_reading_the_pickle_takes(tmp_path: Path) -> None:
    count = 160_000
    rng = np.random.default_rng(1)
    songs = [[f"Song number {number} --- Artist {number % 977}", rng.integers(0, 2831, 6).tolist()]
             for number in range(count)]
    started = time.process_time()
    converted(tmp_path, songs)
    read = time.process_time()
    songs_read = TitleDatabase.load(tmp_path / "titles.safetensors")
    assert time.process_time() - read < (read - started) / 5
    assert len(songs_read) == count
    assert songs_read.titles[-1] == songs[-1][0]
    assert songs_read.ids(count - 1) == tuple(songs[-1][1])
