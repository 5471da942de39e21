"""A folder of MIDI files with an `index.jsonl`, read once and kept as flat arrays.

Each line of the index is a JSON object with at least `file`; `title`, `artist`, `genre`, `tags`,
`key`, `mode`, `metre`, `tempo_bpm`, `source` and `split` are used where they are present. A
`sources.json` beside it may give each source a `suggested_share` of the training rows. Pieces
may lie in a `midi.zip` instead of the folder.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache as kept_once
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from models.errors import InputError, KapelleError
from models.music.form.chords import units_in_bar
from models.music.score.midi import read_midi
from models.music.score.notes import Score
from models.music.score.programs import DROPPED, channels_of

PIECE_NOTE = np.dtype([
    ("onset_ms", "f4"),
    ("duration_ms", "f4"),
    ("quarters", "f4"),  # from the beginning of the piece
    ("quarters_in_bar", "f4"),
    ("bar_quarters", "f4"),
    ("bar", "u2"),  # from 0
    ("units", "u1"),  # harmonic units in the bar
    ("quarter_ms", "f4"),
    ("pitch", "u1"),
    ("velocity", "u1"),
    ("channel", "u1"),
])
_CACHE = "kapelle-corpus.npz"
_ARCHIVE = "midi.zip"


@dataclass(frozen=True)
class Corpus:
    """All pieces of a folder; piece i has the notes `offsets[i]:offsets[i + 1]`, by onset."""

    entries: list[dict[str, Any]]
    notes: np.ndarray  # of PIECE_NOTE
    offsets: np.ndarray  # (pieces + 1,)
    shares: Mapping[str, float]

    def piece(self, number: int) -> np.ndarray:
        return self.notes[self.offsets[number]:self.offsets[number + 1]]

    def split(self, name: str) -> list[int]:
        """Numbers of the pieces in a split; pieces without one are `train`."""
        return [i for i, entry in enumerate(self.entries) if entry.get("split", "train") == name]


def piece_notes(score: Score) -> np.ndarray:
    """The notes of a score that training uses, with their place in the bar."""
    notes = score.notes
    channels = channels_of(notes, nearest=True)
    keep = channels != DROPPED
    notes, channels = notes[keep], channels[keep]
    tick = notes["onset_tick"]
    metre_ticks = np.array([metre.tick for metre in score.metres])
    bar_quarters = np.array([metre.beats * 4 / metre.unit for metre in score.metres])
    at = np.searchsorted(metre_ticks, tick, side="right") - 1
    tempo_ticks = np.array([tempo.tick for tempo in score.tempos])
    quarter_ms = np.array([tempo.us_per_quarter / 1000 for tempo in score.tempos])
    result = np.zeros(len(notes), dtype=PIECE_NOTE)
    result["onset_ms"] = notes["onset_ms"]
    result["duration_ms"] = notes["duration_ms"]
    since = (tick - metre_ticks[at]) / score.ticks_per_quarter
    result["quarters"] = tick / score.ticks_per_quarter
    result["quarters_in_bar"] = since % bar_quarters[at]
    result["bar_quarters"] = bar_quarters[at]
    result["units"] = np.array([units_in_bar(metre.beats, metre.unit) for metre in score.metres])[at]
    lengths = np.diff(metre_ticks) / score.ticks_per_quarter / bar_quarters[:-1]
    bars_before = np.concatenate(([0], np.cumsum(np.ceil(lengths - 1e-6)))).astype(np.int64)
    result["bar"] = np.minimum(bars_before[at] + (since // bar_quarters[at]).astype(np.int64), np.iinfo(np.uint16).max)
    result["quarter_ms"] = quarter_ms[np.searchsorted(tempo_ticks, tick, side="right") - 1]
    for name in ("pitch", "velocity"):
        result[name] = notes[name]
    result["channel"] = channels
    return result[np.argsort(result["onset_ms"], kind="stable")]


def _entries(index: Path) -> list[dict[str, Any]]:
    entries = []
    for number, line in enumerate(index.read_text(encoding="utf-8").splitlines(), 1):
        if line.strip():
            try:
                entries.append(json.loads(line))
                Path(entries[-1]["file"])
            except (ValueError, TypeError, KeyError) as error:
                raise InputError(f'line {number} of {index} is not a JSON object with a "file"') from error
    return entries


def _shares(path: Path) -> dict[str, float]:
    """Suggested share of each source; none where there is no such file."""
    if not path.is_file():
        return {}
    try:
        sources = json.loads(path.read_text(encoding="utf-8"))
        return {name: float(source["suggested_share"]) for name, source in sources.items() if "suggested_share" in source}
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f'{path} is not a JSON object of sources with a number as "suggested_share"') from error


@kept_once
def _archive(path: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(path)  # open as long as the process that reads: its list of files is long


def _read(folder: Path, name: str) -> np.ndarray | str:
    try:
        path = folder / name
        if path.is_file():
            return piece_notes(read_midi(path))
        return piece_notes(read_midi(io.BytesIO(_archive(folder / _ARCHIVE).read(name))))
    except (KapelleError, OSError, KeyError, zipfile.BadZipFile) as error:
        return str(error)


def read_corpus(folder: Path, cache: Path, processes: int = 2) -> Corpus:
    """Read a folder, or what an earlier reading left in `cache`. Pieces that cannot be read are left out.

    Raises InputError when the folder has no index or no readable piece.
    """
    index = folder / "index.jsonl"
    if not index.is_file():
        raise InputError(f"{folder} holds no index.jsonl; training takes a folder of MIDI files with one")
    entries = _entries(index)
    shares = _shares(folder / "sources.json")
    stored = cache / _CACHE
    read_from = (index, folder / _ARCHIVE, *(folder / entry["file"] for entry in entries))
    states = "".join(f"{path.stat().st_size} {path.stat().st_mtime_ns} " for path in read_from if path.is_file())
    stamp = hashlib.sha256(f"{states}{PIECE_NOTE.descr}".encode()).hexdigest()
    with suppress(OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile), np.load(stored) as data:  # else it is read anew
        if str(data["stamp"]) == stamp:
            return Corpus([entries[i] for i in data["kept"]], data["notes"], data["offsets"], shares)
    with ProcessPoolExecutor(processes) as pool:
        pieces = list(pool.map(partial(_read, folder), [entry["file"] for entry in entries], chunksize=32))
    kept = [i for i, piece in enumerate(pieces) if not isinstance(piece, str) and len(piece) >= 16]
    if not kept:
        raise InputError(f"none of the {len(entries)} pieces of {folder} could be read")
    parts = [piece for i in kept if not isinstance(piece := pieces[i], str)]
    offsets = np.concatenate(([0], np.cumsum([len(part) for part in parts])))
    notes = np.concatenate(parts)
    cache.mkdir(parents=True, exist_ok=True)
    draft = stored.with_name(f".{_CACHE}.part")
    with draft.open("wb") as file:
        np.savez(file, notes=notes, offsets=offsets, kept=np.array(kept), stamp=stamp)
    draft.replace(stored)
    return Corpus([entries[i] for i in kept], notes, offsets, shares)
