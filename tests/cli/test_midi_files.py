"""`kapelle encode` and `kapelle render`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import soundfile
from PIL import Image

from models.music.score.midi import read_midi
from models.music.vocabulary.los_angeles import HEADER_LENGTH, encode

Written = Callable[[], list[str]]


def test_encode_prints_ids(kapelle: Any, scale: Path) -> None:
    ended = kapelle("encode", scale)
    assert ended.code == 0
    assert json.loads(ended.out) == encode(read_midi(scale)).ids
    assert ended.err == []


def test_encode_compat_reads_a_file_without_tempo_as_the_seed_system_does(kapelle: Any, scale: Path) -> None:
    assert json.loads(kapelle("encode", scale, "--compat").out) == encode(read_midi(scale, compat=True)).ids
    assert kapelle("encode", scale, "--compat").out != kapelle("encode", scale).out


def test_encode_tells_of_dropped_notes(kapelle: Any, bells: Path) -> None:
    ended = kapelle("encode", bells)
    assert len(json.loads(ended.out)) == HEADER_LENGTH + 3 * 4
    assert ended.err == ["dropped 4 notes of instruments without a channel: General MIDI program 14 (from 0); "
                         "--nearest keeps most of them"]
    nearest = kapelle("encode", bells, "--nearest")
    assert len(json.loads(nearest.out)) == HEADER_LENGTH + 3 * 8
    assert nearest.err == []


def test_render_makes_a_sound_and_a_picture_beside_others(
    kapelle: Any, written: Written, scale: Path, home: Path,
) -> None:
    for _ in range(2):
        assert kapelle("render", scale, "--out", "made", "--format", "mp3", "--title", "Scale").code == 0
    assert written() == ["made", "made/scale-2.mp3", "made/scale-2.png", "made/scale.mp3", "made/scale.png"]
    assert soundfile.info(home / "made/scale.mp3").format == "MP3"
    with Image.open(home / "made/scale.png") as picture:
        assert picture.width >= 1000


@pytest.mark.parametrize("command", ["encode", "render"])
@pytest.mark.parametrize("content", [None, b"", b"MThd\0\0\0\6\0\1\0\1", b"no music at all" * 99], ids=[
    "missing", "empty", "cut short", "something else"])
def test_a_broken_midi_file_is_bad_input(
    kapelle: Any, written: Written, home: Path, command: str, content: bytes | None,
) -> None:
    broken = home.with_name("broken.mid")
    if content is not None:
        broken.write_bytes(content)
    ended = kapelle(command, broken)
    assert ended.code == 2
    assert len(ended.err) == 1
    assert ended.out == ""
    assert written() == []
    assert sorted(path.name for path in home.parent.glob("broken*")) == ([] if content is None else ["broken.mid"])


def test_render_without_fluidsynth_is_a_failure(
    kapelle: Any, written: Written, scale: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    ended = kapelle("render", scale, "--out", "made")
    assert (ended.code, len(ended.err)) == (1, 1)
    assert "fluidsynth" in ended.err[0]
    assert written() == []
