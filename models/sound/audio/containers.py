"""What kind of sound file some bytes are, by their beginnings, and whether they are all there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_UNKNOWN_SIZE = 0x7FFF_0000  # sizes from here on are what programs write that do not know them yet
_MOST_SAMPLES = 4_000_000  # packets that the tables of an mp4 may announce; FFmpeg keeps some 70 bytes for each
_TABLE = re.compile(rb"(?s)(?:stsz....(....)|trun....)(....)")  # of sizes of samples: (size of each), count


@dataclass(frozen=True)
class Kind:
    """How files of a kind are read."""

    demuxer: str  # FFmpeg's, where libsndfile is not asked or does not understand
    by_libsndfile: bool


WAV, FLAC, OGG, MP3 = Kind("wav", True), Kind("flac", True), Kind("ogg", True), Kind("mp3", True)
AAC, MP4, MATROSKA = Kind("aac", False), Kind("mov", False), Kind("matroska", False)


def kind_of(content: bytes) -> Kind | None:
    """What the content of a file is; None for what holds no sound that is read here."""
    if content[:3] == b"ID3" and len(content) > 10:  # tags in front, of mp3 mostly
        size = 0
        for byte in content[6:10]:
            size = size << 7 | byte & 0x7F
        return _kind_by_magic(content[10 + size:].lstrip(b"\0")[:16]) or MP3
    return _kind_by_magic(content[:16])


def _kind_by_magic(head: bytes) -> Kind | None:
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        return WAV
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return MP4
    for magic, kind in ((b"fLaC", FLAC), (b"OggS", OGG), (b"\x1a\x45\xdf\xa3", MATROSKA)):
        if head.startswith(magic):
            return kind
    if len(head) > 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:  # a frame of MPEG audio
        version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
        if head[1] & 0xF6 == 0xF0:
            return AAC
        if version != 1 and layer in (1, 2) and head[2] >> 4 != 15:
            return MP3
    return None


def announces_too_much(content: bytes) -> bool:
    """Whether the tables of an mp4 have more samples than there are bytes. FFmpeg would make room for billions."""
    samples = 0
    for kind, start, end in _boxes(content):
        if kind == b"mdat":
            continue
        box = content[start:end]
        if b"cmov" in box:  # tables compressed, as QuickTime once did
            return True
        # Where samples have sizes of their own, the table takes up space, and what is not there is not read.
        samples += sum(
            int.from_bytes(table[2], "big") for table in _TABLE.finditer(box) if table[1] != bytes(4))
    return samples > min(len(content), _MOST_SAMPLES)


def is_cut(content: bytes, kind: Kind) -> bool:
    """Whether a file ends within something that it says is longer. Many a file says nothing, and is not found out."""
    if kind is WAV:
        return _is_cut_riff(content)
    if kind is OGG:
        return _is_cut_ogg(content)
    if kind is MP4:
        return _is_cut_mp4(content)
    return kind is MATROSKA and _is_cut_matroska(content)


def _is_cut_riff(content: bytes) -> bool:
    at = 12
    while at + 8 <= len(content):
        size = int.from_bytes(content[at + 4:at + 8], "little")
        if content[at:at + 4] == b"data":
            return size < _UNKNOWN_SIZE and at + 8 + size > len(content)
        at += 8 + size + size % 2
    return True


def _is_cut_ogg(content: bytes) -> bool:
    at = content.rfind(b"OggS\0")  # the last page: a header of 27 bytes, a table of segments, the segments
    table = content[at + 27:at + 27 + (content[at + 26] if at + 26 < len(content) else 255)]
    return at + 27 > len(content) or len(table) < content[at + 26] or at + 27 + len(table) + sum(table) > len(content)


def _is_cut_mp4(content: bytes) -> bool:
    boxes = list(_boxes(content))
    # What else reaches beyond the end is something that somebody appended.
    return b"moov" not in {kind for kind, _, _ in boxes} or any(
        end > len(content) and kind in (b"moov", b"mdat", b"moof") for kind, _, end in boxes)


def _boxes(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of what an mp4 is made of. The end may lie beyond that of the file."""
    start = 0
    while start + 8 <= len(content):
        size, kind = int.from_bytes(content[start:start + 4], "big"), content[start + 4:start + 8]
        if size == 1:
            size = int.from_bytes(content[start + 8:start + 16], "big")
        end = start + size if size >= 8 else len(content)  # 0: up to the end of the file
        yield kind, start, end
        start = end


def _is_cut_matroska(content: bytes) -> bool:
    at = 4 + _vint(content, 4)[1] + _vint(content, 4)[0]  # behind the header: an id of 4 bytes, a size, that many bytes
    if content[at:at + 4] != b"\x18\x53\x80\x67":
        return True
    size, length = _vint(content, at + 4)
    return size != (1 << 7 * length) - 1 and at + 4 + length + size > len(content)  # all ones: not known


def _vint(content: bytes, at: int) -> tuple[int, int]:
    """A number of variable length in Matroska, and its bytes."""
    first = content[at] if at < len(content) else 0
    length = max(9 - first.bit_length(), 1)
    return int.from_bytes(content[at:at + length], "big") & (1 << 7 * length) - 1, length
