"""What kind of sound file some bytes are, and what has to be put right for the libraries to read them as players do.

Players do not mind, and neither does this:

* tags (ID3v2, APE), zeros and other rubbish in front of the first frame or header, and tags and rubbish behind;
* a WAV whose recorder never wrote lengths (0, or all ones), whose length is a few bytes off, or whose chunks in front of
  the sound are not padded or say that they are longer than the file; chunks of any name, before and behind;
* lengths in headers of MP3s (Xing), which programs that cut them leave as they were: they are not believed;
* FLAC, CAF and AU without a length; several OGG files, or MP3s, one behind the other, of whatever rates;
* frames that cannot be decoded in the middle: they are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_UNKNOWN_SIZE = 0x7FFF_0000  # sizes from here on are what programs write that do not know them yet
_TOLERANCE_S = 0.25  # of sound that may be missing at the end of a file
_MOST_RUBBISH = 1 << 16  # bytes in front of a file
_MOST_SAMPLES = 4_000_000  # packets that the tables of an mp4 may announce; FFmpeg keeps some 70 bytes for each
_TABLE = re.compile(rb"(?s)(?:stsz....(....)|trun....)(....)")  # of sizes of samples: (size of each), count


@dataclass(frozen=True)
class Kind:
    """How files of a kind are read."""

    demuxer: str  # FFmpeg's
    readers: tuple[str, ...] = ("ffmpeg",)  # the one that is asked first comes first


_BOTH = ("libsndfile", "ffmpeg")
WAV, FLAC, OGG = Kind("wav", _BOTH), Kind("flac", _BOTH), Kind("ogg", _BOTH)
AIFF, AU, CAF, W64 = Kind("aiff", _BOTH), Kind("au", _BOTH), Kind("caf", _BOTH), Kind("w64", _BOTH)
MP3 = Kind("mp3", ("ffmpeg", "libsndfile"))  # libsndfile ends where the rate changes, and where the header says so
AAC, MP4, MATROSKA, AMR = Kind("aac"), Kind("mov"), Kind("matroska"), Kind("amr")

_MAGIC = ((b"fLaC", FLAC), (b"OggS", OGG), (b"\x1a\x45\xdf\xa3", MATROSKA), (b"caff\0\1", CAF), (b".snd\0\0", AU),
          (b"riff\x2e\x91\xcf\x11", W64), (b"#!AMR", AMR))
_UNMISTAKABLE = re.compile(
    rb"(?s)(?:RIFF|RIFX|RF64|BW64)....WAVE|FORM....AIF[FC]|fLaC\x00|OggS\x00\x02|caff\x00\x01|\xff[\xe2-\xff]")


def found_in(content: bytes) -> tuple[Kind, bytes] | None:
    """What the content of a file is, and the content without what stands in front; None for what holds no sound."""
    start = _behind_tags(content)
    kind = _kind_by_magic(content[start:start + 16])
    if kind is not None:
        return kind, content[start:]
    for match in _UNMISTAKABLE.finditer(content, start, start + _MOST_RUBBISH):
        at = match.start()
        kind = _kind_by_magic(content[at:at + 16])
        if kind is not None and (kind is not MP3 or _frames_follow(content, at)):
            return kind, content[at:]
    return (MP3, content) if start else None


def _behind_tags(content: bytes) -> int:
    """Where tags and zeros in front of a file end."""
    at = 0
    while True:
        if content[at:at + 3] == b"ID3" and len(content) > at + 10:
            size = 0
            for byte in content[at + 6:at + 10]:
                size = size << 7 | byte & 0x7F
            at += 10 + size
        elif content[at:at + 8] == b"APETAGEX":
            at += 32 + int.from_bytes(content[at + 12:at + 16], "little")
        elif at and content[at:at + 1] == b"\0":
            at = len(content) - len(content[at:].lstrip(b"\0"))
        else:
            return at


def _kind_by_magic(head: bytes) -> Kind | None:
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        return WAV
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return AIFF
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return MP4
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if len(head) > 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0:  # a frame of MPEG audio
        version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
        if head[1] & 0xF6 == 0xF0:
            return AAC
        if version != 1 and layer in (1, 2) and head[2] >> 4 != 15:
            return MP3
    return None


def _frames_follow(content: bytes, at: int) -> bool:
    """Whether the like of the frame of MPEG audio comes again where it says that it ends, three times."""
    first = content[at:at + 4]
    for _ in range(3):
        size = _frame_bytes(content[at:at + 4])
        if not size or content[at:at + 2] != first[:2]:
            return False
        at += size
    return True


def _frame_bytes(head: bytes) -> int:
    """Length of a frame of layer 3, the only one that is looked for in rubbish; 0 where it is none."""
    if len(head) < 4 or head[1] >> 1 & 3 != 1:
        return 0
    newest = head[1] >> 3 & 3 == 3  # MPEG 1
    rates = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0) if newest else (
        0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0)
    kbit, hz = rates[head[2] >> 4], (44_100, 48_000, 32_000, 0)[head[2] >> 2 & 3]
    if not kbit or not hz:
        return 0
    hz >>= {3: 0, 2: 1}.get(head[1] >> 3 & 3, 2)
    return (144 if newest else 72) * 1000 * kbit // hz + (head[2] >> 1 & 1)


def parts_of(content: bytes, kind: Kind) -> list[bytes]:
    """What a file is made of for those who read it: files of their own, mended where their header needs it."""
    if kind is WAV:
        return [_mended_wav(content)]
    return _links(content) if kind is OGG else [content]


def _mended_wav(content: bytes) -> bytes:
    """A WAV with what the libraries need and nothing else, where its chunks do not lead to sound that is there."""
    if content[:4] != b"RIFF":
        return content
    found = _data_of(content)
    at = content.find(b"fmt ", 12)
    if found is None or at < 0:
        return content
    start, size = found
    rest = max(len(content) - start, 0)
    if 0 < size <= rest and _walked(content):
        return content
    size = min(size, rest) if 0 < size < _UNKNOWN_SIZE else rest
    form = content[at:at + 8 + min(int.from_bytes(content[at + 4:at + 8], "little"), 64)]
    form += b"\0" * (len(form) % 2)
    return b"".join((b"RIFF", (len(form) + 12 + size).to_bytes(4, "little"), b"WAVE", form, b"data",
                     size.to_bytes(4, "little"), content[start:start + size]))


def _walked(content: bytes) -> tuple[int, int] | None:
    """Where the sound of a WAV begins and how many bytes it is said to have, from chunk to chunk."""
    at = 12
    while at + 8 <= len(content):
        size = int.from_bytes(content[at + 4:at + 8], "little")
        if content[at:at + 4] == b"data":
            return at + 8, size
        at += 8 + size + size % 2
    return None


def _data_of(content: bytes) -> tuple[int, int] | None:
    """The same, or where the word stands, if the chunks do not lead there."""
    if (found := _walked(content)) is not None:
        return found
    at = content.find(b"data", content.find(b"fmt ", 12, _MOST_RUBBISH) + 1, _MOST_RUBBISH)
    return (at + 8, int.from_bytes(content[at + 4:at + 8], "little")) if at > 0 else None


def _links(content: bytes) -> list[bytes]:
    """The files of a chain of OGGs. Pages of beginning follow each other at the beginning of each."""
    starts, beginning = [0], True
    at = content.find(b"OggS\0", 1)
    while at >= 0:
        begins = at + 5 < len(content) and bool(content[at + 5] & 2)
        if begins and not beginning:
            starts.append(at)
        beginning = begins
        at = content.find(b"OggS\0", at + 5)
    return [content[start:end] for start, end in zip(starts, [*starts[1:], len(content)], strict=True)]


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
    if content[:4] != b"RIFF":
        return False
    found = _data_of(content)
    if found is None:
        return True
    start, size = found
    form = content.find(b"fmt ", 12)
    bytes_a_second = int.from_bytes(content[form + 16:form + 20], "little") if form > 0 else 0
    return size < _UNKNOWN_SIZE and start + size > len(content) + _TOLERANCE_S * bytes_a_second


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
