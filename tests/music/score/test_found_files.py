# ruff: noqa: RUF001 (names in other scripts)
"""MIDI files as they lie around: what players take, the reader takes, and what is read can be heard.

Each row is made here: a scale of eight notes, half a second each, in a file with one thing that is unusual about it.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from models.errors import ScoreError
from models.music.score.midi import read_midi
from models.sound.rendering.sound import render_sound

SCALE = (60, 62, 64, 65, 67, 69, 71, 72)


def _header(tracks: int, kind: int = 1, division: int = 480) -> bytes:
    return struct.pack(">4sLHHH", b"MThd", 6, kind, tracks, division)


def _chunk(content: bytes, name: bytes = b"MTrk", length: int | None = None) -> bytes:
    return name + struct.pack(">L", len(content) if length is None else length) + content


def _number(value: int) -> bytes:
    digits = bytes([value & 0x7F])
    while value := value >> 7:
        digits = bytes([value & 0x7F | 0x80]) + digits
    return digits


def _meta(kind: int, content: bytes, delta: int = 0) -> bytes:
    return _number(delta) + bytes([0xFF, kind]) + _number(len(content)) + content


END = _meta(0x2F, b"")


def _notes(pitches: tuple[int, ...] = SCALE, ticks: int = 480, channel: int = 0) -> bytes:
    return b"".join(b"\x00" + bytes([0x90 | channel, pitch, 90]) + _number(ticks) + bytes([0x80 | channel, pitch, 0])
                    for pitch in pitches)


def _tempo(us: int) -> bytes:
    return _meta(0x51, us.to_bytes(3, "big"))


WHOLE = _header(1, 0) + _chunk(_notes() + END)


def _riff(midi: bytes, after: bytes = b"") -> bytes:
    content = b"RMIDdata" + struct.pack("<L", len(midi)) + midi + bytes(len(midi) % 2) + after
    return b"RIFF" + struct.pack("<L", len(content)) + content


def _named(name: bytes) -> bytes:
    return _header(1, 0) + _chunk(_meta(0x03, name) + _notes() + END)


def _tracks(count: int) -> bytes:
    return _header(count) + b"".join(_chunk(_notes((36 + number % 60,)) + END) for number in range(count))


CUT = "cut short"
FOUND: dict[str, tuple[Callable[[], bytes], int, float, str]] = {  # notes, seconds, what is told
    "nothing unusual": (lambda: WHOLE, 8, 4.0, ""),
    "a chunk of Yamaha's before the track": (lambda: _header(1) + _chunk(b"xyz", b"XFIH") + WHOLE[14:], 8, 4.0, ""),
    "a chunk between tracks": (
        lambda: _header(2) + _chunk(_tempo(500_000) + END) + _chunk(b"x" * 9, b"XFKM") + WHOLE[14:], 8, 4.0, ""),
    "a chunk behind the track": (lambda: WHOLE + _chunk(b"x" * 9, b"XFKM"), 8, 4.0, ""),
    "rubbish behind the track": (lambda: WHOLE + bytes(range(256)), 8, 4.0, ""),
    "rubbish between tracks": (lambda: _header(2) + _chunk(_tempo(500_000) + END) + b"\x00\x00\x00" + WHOLE[14:], 8, 4.0, ""),
    "a header of ten bytes": (lambda: WHOLE[:4] + struct.pack(">L", 10) + WHOLE[8:14] + bytes(4) + WHOLE[14:], 8, 4.0, ""),
    "a tempo of 0": (lambda: _header(1, 0) + _chunk(_tempo(0) + _notes() + END), 8, 4.0, ""),
    "500 tracks": (lambda: _tracks(500), 500, 0.5, ""),
    "RIFF": (lambda: _riff(WHOLE), 8, 4.0, ""),
    "RIFF with chunks behind": (lambda: _riff(WHOLE, b"DISP\x04\x00\x00\x00MIDI"), 8, 4.0, ""),
    "karaoke": (lambda: _header(2) + _chunk(
        _meta(0x01, b"@KMIDI KARAOKE FILE") + _meta(0x01, b"\\La ", 480) + _meta(0x01, b"/la", 480) + END) + WHOLE[14:],
        8, 4.0, ""),
    "zeros before the header": (lambda: bytes(12) + WHOLE, 8, 4.0, ""),
    "MacBinary": (lambda: b"\x00\x05piece" + bytes(121) + WHOLE + bytes(40), 8, 4.0, ""),
    "frames: 25 of 40": (lambda: _header(1, 0, 0xE728) + _chunk(_notes(ticks=500) + END), 8, 4.0, ""),
    "frames: 24 of 1": (lambda: _header(1, 0, 0xE801) + _chunk(_notes(ticks=12) + END), 8, 4.0, ""),
    "frames: 25 of 1, an odd number a second": (lambda: _header(1, 0, 0xE701) + _chunk(_notes(ticks=25) + END), 8, 8.0, ""),
    "frames: 29 of 80, 30 in 1.001 s": (lambda: _header(1, 0, 0xE350) + _chunk(_notes(ticks=1200) + END), 8, 4.004, ""),
    "frames: a tempo means nothing": (
        lambda: _header(1, 0, 0xE728) + _chunk(_tempo(100_000) + _notes(ticks=500) + END), 8, 4.0, ""),
    "two patterns of type 2": (
        lambda: _header(2, 2) + _chunk(_notes() + END) + _chunk(_notes((48, 50)) + END), 10, 5.0, ""),
    "a pattern that waits before its end": (
        lambda: _header(2, 2) + _chunk(_notes() + _meta(0x2F, b"", 960)) + _chunk(_notes((48, 50)) + END), 10, 6.0, ""),
    "a track length that is too large": (lambda: _header(1, 0) + _chunk(_notes() + END, length=1_000_000), 8, 4.0, ""),
    "too large a length, and a track behind": (
        lambda: _header(2) + _chunk(_tempo(500_000) + END, length=5000) + WHOLE[14:], 8, 4.0, ""),
    "a track length that is too small": (lambda: _header(1, 0) + _chunk(_notes() + END, length=30), 8, 4.0, ""),
    "too small a length, and a track behind": (
        lambda: _header(2) + _chunk(_notes((36, 38)) + END, length=7) + WHOLE[14:], 10, 4.0, ""),
    "a track length of 0": (lambda: _header(1, 0) + _chunk(_notes() + END, length=0), 8, 4.0, ""),
    "no end of track": (lambda: _header(1, 0) + _chunk(_notes()), 8, 4.0, ""),
    "cut inside the only track": (lambda: WHOLE[:-12], 7, 3.5, CUT),
    "cut inside the last of two": (
        lambda: _header(2) + _chunk(_notes() + END) + _chunk(_notes((36, 38)) + END)[:-9], 9, 4.0, CUT),
    "tracks that are missing": (lambda: _header(5) + WHOLE[14:], 8, 4.0, "1 of its 5 tracks"),
    "a cut in the name of a chunk": (lambda: _header(2) + WHOLE[14:] + b"MTr", 8, 4.0, "1 of its 2 tracks"),
    "only drums": (lambda: _header(1, 0) + _chunk(_notes((36, 38, 42, 38), channel=9) + END), 4, 2.0, ""),
}


@pytest.mark.parametrize("found", FOUND)
def test_what_lies_around_is_read_and_can_be_heard(found: str, tmp_path: Path) -> None:
    data, notes, seconds, told = FOUND[found]
    path = tmp_path / "piece.mid"
    path.write_bytes(data())
    score = read_midi(path)
    assert len(score) == notes
    assert score.seconds == pytest.approx(seconds, abs=0.001)
    assert bool(score.faults) == bool(told)
    assert told in "".join(score.faults)
    sound = render_sound(path, tmp_path / "piece.wav")
    assert seconds - 0.6 < sound.seconds < seconds + 3.1


@pytest.mark.parametrize(("name", "read"), [
    ("Klavier", "Klavier"), ("Für Elise – „Ö“", "Für Elise – „Ö“"), ("ピアノ", "ピアノ")])
def test_names_in_utf8(name: str, read: str) -> None:
    assert read_midi(io.BytesIO(_named(name.encode()))).name == read


@pytest.mark.parametrize("name", ["ピアノ", "さくら さくら", "電子オルガン", "Piano 右手", "ＦＦ　戦闘"])
def test_names_in_shift_jis(name: str) -> None:
    assert read_midi(io.BytesIO(_named(name.encode("cp932")))).name == name.replace("\u3000", " ")


@pytest.mark.parametrize("name", [
    "Für Elise", "Prélude à l’après-midi", "Ständchen", "Gymnopédie", "Böhmen – Žižka", "“Ave María”",
    "ÄÖÜ äöü ß", "Año señor"])
def test_names_in_latin_1_with_windows_additions(name: str) -> None:
    assert read_midi(io.BytesIO(_named(name.encode("cp1252")))).name == name


def test_a_file_of_which_nothing_is_whole_is_refused() -> None:
    with pytest.raises(ScoreError, match=r"no notes; track 1 .* cut short"):
        read_midi(io.BytesIO(WHOLE[:25]))
