"""Files that are damaged, hostile or no MIDI files at all: a score or one clear line, and soon."""

from __future__ import annotations

import io
import os
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import mido
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import ScoreError
from models.music.score import Score, read_midi
from models.music.score.midi import MAX_BYTES
from models.music.score.tracks import MAX_EVENTS, MAX_NOTES
from models.music.vocabulary.los_angeles import encode
from models.training.corpus import piece_notes
from tests.music.score.building import meta, midi_file, off, on, program

NOTE = b"\x00\x90\x3c\x40\x64\x80\x3c\x40"


def smf(*tracks: bytes, kind: int = 1, count: int | None = None, division: int = 480) -> bytes:
    header = struct.pack(">4sLHHH", b"MThd", 6, kind, len(tracks) if count is None else count, division)
    return header + b"".join(b"MTrk" + struct.pack(">L", len(track)) + track for track in tracks)


def outcome(data: bytes) -> Score | str:
    """The score, used as others use it, or the one line of the error."""
    line = ""
    try:
        score = read_midi(io.BytesIO(data))
    except ScoreError as error:
        line = str(error)
    if line:
        assert len(line.splitlines()) == 1
        assert len(line) < 200
        return line
    read_midi(io.BytesIO(data), compat=True)
    piece_notes(score)
    with suppress(ScoreError):  # drums alone
        encode(score, nearest=True)
    return score


VALID = midi_file(
    [meta(0, "set_tempo", tempo=400_000), meta(0, "time_signature", numerator=3, denominator=4),
     meta(600, "set_tempo", tempo=700_000), meta(600, "track_name", name="x")],
    [program(0, 40), on(0, 60), on(10, 64), off(500, 60), off(600, 64), program(700, 90), on(700, 50), off(800, 50)],
    [on(0, 36, channel=9), off(90, 36, channel=9), (95, mido.Message("sysex", data=(1, 2, 3))),
     on(100, 100, channel=15)],
).getvalue()


@given(st.binary(max_size=200))
def test_any_bytes_are_a_score_or_one_line(data: bytes) -> None:
    outcome(data)


@given(st.lists(st.binary(max_size=60), max_size=4), st.integers(0, 3), st.integers(0, 65535), st.integers(0, 65535))
def test_any_bytes_in_tracks_are_a_score_or_one_line(tracks: list[bytes], kind: int, count: int, division: int) -> None:
    outcome(smf(*tracks, kind=kind, division=division))
    outcome(smf(*tracks, kind=kind, count=count, division=division))


@given(st.lists(st.tuples(st.integers(0, len(VALID) - 1), st.integers(0, 255)), min_size=1, max_size=6),
       st.integers(0, len(VALID)))
def test_a_changed_and_cut_file_is_a_score_or_one_line(changes: list[tuple[int, int]], length: int) -> None:
    data = bytearray(VALID)
    for place, value in changes:
        data[place] = value
    outcome(bytes(data))
    outcome(bytes(data[:length]))


def test_the_file_those_are_made_from_is_fine() -> None:
    assert isinstance(outcome(VALID), Score)


@pytest.mark.parametrize(("data", "line"), [
    (b"", "is empty"),
    (b"RIFF" + bytes(100), "there is no MThd in it"),
    (b"MThd\x00\x00\x00\x06", "cut short inside its header"),
    (smf(NOTE, kind=7), "of type 7"),
    (smf(NOTE, division=0xF128), "15 frames"),
    (smf(NOTE, division=0xE700), "25 frames of 0 ticks"),
    (smf(NOTE, division=0), "0 ticks"),
    (smf(), "no notes"),
    (smf(b"\x00\xff\x2f\x00"), "no notes"),
    (smf(NOTE[:3]), "cut short"),
    (smf(b"\x00\x3c\x40"), "belongs to no event"),
    (smf(b"\xff\xff\xff\xff\x7f\x90\x3c\x40"), "four bytes"),
    (smf(b"\x00\xff\x01\xff\xff\xff\x7fabc"), "cut short"),
    (smf(b"\x00\xf0\xff\xff\xff\x7fabc"), "cut short"),
    (smf(b"\x00\x90\x3c\x40\xff\xff\xff\x7f\x80\x3c\x40", division=1), "hours"),
])
def test_each_fault_has_its_line(data: bytes, line: str) -> None:
    found = outcome(data)
    assert isinstance(found, str)
    assert line in found


def test_a_tempo_of_zero_and_bars_without_length_are_ignored() -> None:
    track = b"\x00\xff\x51\x03\x00\x00\x00\x00\xff\x58\x04\x00\xff\x18\x08\x00\xff\x58\x04\x04\xff\x18\x08" + NOTE
    score = outcome(smf(track, division=500))
    assert isinstance(score, Score)
    assert score.notes["duration_ms"].tolist() == [100]
    assert score.metres == ((0, 4, 4),)


# From a number of bytes: the largest file that is read, and an eighth of it.
NONSENSE: dict[str, Callable[[int], bytes]] = {
    "a number without an end": lambda size: b"\xff" * size,
    "a meta event without an end": lambda size: b"\x00\xff" + b"\xff" * size,
    "open notes": lambda size: NOTE[:4] + b"\x00\x3d\x40" * (size // 4),
    "notes": lambda size: b"\x00\x90\x3c\x40" + b"\x01\x3c\x40\x01\x3c\x00" * (size // 8),
    "programs": lambda size: b"\x00\xc0\x01" + b"\x00\x02" * (3 * size // 8),
    "texts": lambda size: b"\x00\xff\x01\x00" * (size // 4 - 100_000 * size // MAX_BYTES),
    "tempos": lambda size: b"\x00\xff\x51\x03\x01\x01\x01" * (size // 8),
    "ends of no notes": lambda size: b"\x00\x80\x3c\x40" * (size // 4 - 100_000 * size // MAX_BYTES),
}


def cpu_seconds(track: bytes) -> float:
    begin = time.process_time()
    outcome(smf(track))
    return time.process_time() - begin


@pytest.mark.parametrize("nonsense", NONSENSE)
def test_large_nonsense_is_turned_away_in_time_that_grows_with_its_size_only(nonsense: str) -> None:
    """Eight times the bytes may take eight times as long; were all before it looked at for each byte, it were 64."""
    track = NONSENSE[nonsense](MAX_BYTES - 100)
    assert isinstance(outcome(smf(track)), str)
    small = cpu_seconds(NONSENSE[nonsense](MAX_BYTES // 8))
    assert cpu_seconds(track) < 32 * max(small, 0.02)


def test_notes_and_events_are_counted_over_all_tracks() -> None:
    half = b"\x00\x90\x3c\x40" + b"\x00\x3c\x40" * (MAX_NOTES // 2)
    assert f"more than {MAX_NOTES:,} notes" in str(outcome(smf(half, half)))
    half = b"\x00\xb0\x07\x40" + b"\x00\x07\x40" * (MAX_EVENTS // 2)
    assert f"more than {MAX_EVENTS:,} events" in str(outcome(smf(half, half)))


def test_a_hundred_thousand_notes_at_once_are_read() -> None:
    open_notes = b"\x00\x90\x3c\x40" + b"\x00\x3c\x40" * 99_999
    score = outcome(smf(open_notes + b"\x60\x80\x3c\x40" + b"\x00\x3c\x40" * 50_000))
    assert isinstance(score, Score)
    assert len(score) == 100_000


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.mid"
    with open(path, "wb") as stream:
        stream.write(VALID)
        stream.truncate(10**12)  # a hole: takes no space
    with pytest.raises(ScoreError, match=r"larger than the 8,000,000 bytes"):
        read_midi(path)


def test_a_missing_file_a_folder_and_a_pipe_are_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, line in (("missing.mid", "No such file"), (".", "a folder"), ("pipe", "not a regular file"),
                       ("x" * 5000, "name too long"), ("nul\0.mid", "null")):
        with pytest.raises(ScoreError, match=line) as caught:
            read_midi(os.path.join(tmp_path, name))
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "closed.mid"
    path.write_bytes(VALID)
    path.chmod(0)
    with pytest.raises(ScoreError, match="Permission denied"):
        read_midi(path)


@pytest.mark.parametrize("source", [io.StringIO("MThd"), None, 7, b"MThd", ["x.mid"]])
def test_what_is_no_file_is_a_score_error(source: Any) -> None:
    with pytest.raises(ScoreError):
        read_midi(source)


def test_a_closed_file_is_a_score_error() -> None:
    stream = io.BytesIO(VALID)
    stream.close()
    with pytest.raises(ScoreError, match="closed"):
        read_midi(stream)
