"""The titles the pocket model knows, with what is known of each, and what is usual of a form.

They are facts from a corpus's index; there is no music in them. One gzipped JSON file holds the
rows column by column, and for forms, genres and composers what most of their pieces share.
"""

from __future__ import annotations

import gzip
import json
import statistics
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from models.engines.pocket.instruments import channels_named, ordered
from models.errors import CheckpointError, InputError
from models.music.attributes import FORMS, GENRES, METRES, MODES, Attributes, attributes_of, composer_key
from models.music.score.programs import CHANNELS
from models.music.titles.matching import SEPARATOR, TitleIndex, TitleMatch

VERSION = 1
SHIPPED = Path(__file__).with_name("titles.json.gz")
LARGEST_BYTES = 16 << 20  # unpacked; a file that claims more is not ours
FEWEST = 5  # pieces before anything is called usual
_COLUMNS = ("title", "artist", "genre", "forms", "tonic", "mode", "metre", "tempo", "density", "channels")
_MAJORITY = 0.5
_COMMON_SET = 0.25
_CORE = 0.8


@dataclass(frozen=True)
class Usual:
    """What pieces of a form, a genre or a composer share. Each `*_share` (0 to 1) says how sure it is.

    `core` are the instruments hardly any of them lacks.
    """

    pieces: int = 0
    genre: str | None = None
    genre_share: float = 0.0
    metre: str | None = None
    metre_share: float = 0.0
    tempo_bpm: float | None = None
    tempo_share: float = 0.0  # of the pieces within a fifth of the median
    density: float | None = None
    instruments: tuple[str, ...] = ()
    core: tuple[str, ...] = ()
    instruments_share: float = 0.0


# Forms of which a corpus of concert and song scores holds too little, or the wrong thing.
BY_HAND: Mapping[str, dict[str, Any]] = {
    # A jig's two dotted quarters a bar go at 110 to 120, which is 165 to 180 quarters.
    "gigue": {"metre": "6/8", "tempo_bpm": 170.0, "instruments": ("violin", "flute")},
    "oberek": {"genre": "classical", "metre": "3/8", "tempo_bpm": 150.0, "instruments": ("piano",)},
    # Dances of the keyboard suite: tempos as players take them today.
    "sarabande": {"genre": "classical", "metre": "3/4", "tempo_bpm": 60.0, "instruments": ("piano",)},
    "allemande": {"genre": "classical", "metre": "4/4", "tempo_bpm": 76.0, "instruments": ("piano",)},
    "courante": {"genre": "classical", "metre": "3/4", "tempo_bpm": 120.0, "instruments": ("piano",)},
    "gavotte": {"genre": "classical", "metre": "4/4", "tempo_bpm": 132.0, "instruments": ("piano",)},
    "bourree": {"genre": "classical", "metre": "4/4", "tempo_bpm": 152.0, "instruments": ("piano",)},
    "ragtime": {"genre": "jazz", "metre": "2/4", "tempo_bpm": 84.0, "instruments": ("piano",)},
    # Game scores mix their metal with synthesisers, which go to wind and string channels: what
    # people mean by metal is the band. The tempo is the upper quartile of pieces tagged metal.
    "metal": {"tempo_bpm": 140.0, "instruments": ("guitar", "bass", "drums", "organ"),
              "core": ("guitar", "bass", "drums"), "density": None},
}


@dataclass(frozen=True)
class Usuals:
    """What is usual of each form, genre and composer (by `composer_key`) that is known well enough."""

    forms: Mapping[str, Usual] = field(default_factory=dict)
    genres: Mapping[str, Usual] = field(default_factory=dict)
    composers: Mapping[str, Usual] = field(default_factory=dict)


@dataclass(frozen=True)
class PocketTitles:
    """The title list. `artists[i]` and the rows belong to `titles[i]`."""

    titles: tuple[str, ...]
    artists: tuple[str, ...]
    rows: tuple[Mapping[str, Any], ...]
    usuals: Usuals

    def __len__(self) -> int:
        return len(self.titles)

    @property
    def composers(self) -> frozenset[str]:
        """Composers of whom enough pieces are known to say something."""
        return frozenset(self.usuals.composers)

    @cached_property
    def index(self) -> TitleIndex:
        return TitleIndex([SEPARATOR.join(part for part in pair if part)
                           for pair in zip(self.titles, self.artists, strict=True)])

    def match(self, title: str, artist: str = "", limit: int = 5, seed: int | None = None) -> list[TitleMatch]:
        """As `TitleIndex.match`."""
        return self.index.match(title, artist, limit, seed)

    def attributes(self, number: int) -> Attributes:
        """What is known of a title, by its number in the list."""
        row = self.rows[number]
        return Attributes(
            genre=row["genre"], forms=tuple(row["forms"]), composer=composer_key(self.artists[number]),
            tonic=row["tonic"], mode=row["mode"], metre=row["metre"], tempo_bpm=row["tempo"],
            density=row["density"], instruments=tuple(row["channels"]))


def build_titles(index_jsonl: Path, target: Path) -> PocketTitles:
    """Write the title list of a corpus's index; the split `val` stays out. The same index gives the same bytes.

    Raises InputError when the index cannot be read or holds no titles.
    """
    try:
        lines = index_jsonl.read_text(encoding="utf-8").splitlines()
        entries = [json.loads(line) for line in lines if line.strip()]
        rows = [_row(entry) for entry in entries if entry.get("split", "train") == "train" and entry.get("title")]
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise InputError(f"{index_jsonl} is not an index of a corpus (a JSON object a line): {error}") from error
    if not rows:
        raise InputError(f"{index_jsonl} holds no titles to train on; each line needs at least `title`")
    unique = {json.dumps(row, sort_keys=True, ensure_ascii=False): row for row in rows}
    rows = [unique[key] for key in sorted(unique, key=lambda key: (unique[key]["title"], unique[key]["artist"], key))]
    document = {
        "version": VERSION,
        "columns": {name: [_packed(name, row[name]) for row in rows] for name in _COLUMNS},
        "usual": _usuals(rows),
    }
    text = json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    target.write_bytes(gzip.compress(text.encode("utf-8", "replace"), 9, mtime=0))
    return load_titles(target)


def load_titles(path: Path = SHIPPED) -> PocketTitles:
    """Read a title list and check it. Raises CheckpointError when it is missing, damaged or of another kind."""
    try:
        with gzip.open(path, "rb") as file:
            data = file.read(LARGEST_BYTES + 1)
        if len(data) > LARGEST_BYTES:
            raise ValueError(f"it unpacks to more than {LARGEST_BYTES >> 20} MB")
        document = json.loads(data)
        if not isinstance(document, dict) or document.get("version") != VERSION:
            raise ValueError(f"it is not a title list of version {VERSION}")
        columns = document["columns"]
        rows = tuple(
            {name: _unpacked(name, value) for name, value in zip(_COLUMNS, values, strict=True)}
            for values in zip(*(columns[name] for name in _COLUMNS), strict=True))
        usual = document["usual"]
        usuals = Usuals(_with_hand(_read_usuals(usual["forms"])), _read_usuals(usual["genres"]),
                        _read_usuals(usual["composers"]))
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError, IndexError, AttributeError,
            RecursionError) as error:
        raise CheckpointError(f"{path} is no usable title list ({error}); restore it or build it again") from error
    return PocketTitles(
        tuple(row["title"] for row in rows), tuple(row["artist"] for row in rows), rows, usuals)


def _row(entry: Mapping[str, Any]) -> dict[str, Any]:
    known = attributes_of(entry)
    notes, seconds = entry.get("notes"), entry.get("seconds")
    return {
        "title": str(entry["title"]), "artist": str(entry.get("artist") or ""), "genre": known.genre,
        "forms": list(known.forms), "tonic": known.tonic, "mode": known.mode, "metre": known.metre,
        "tempo": known.tempo_bpm, "density": round(notes / seconds, 1) if notes and seconds else None,
        "channels": list(channels_named(entry.get("instruments") or ())),
    }


# Columns whose values come from a fixed list are kept as places in it.
_LISTS: Mapping[str, Sequence[str]] = {
    "genre": GENRES, "forms": tuple(FORMS), "mode": MODES, "metre": METRES, "channels": CHANNELS,
}


def _packed(name: str, value: Any) -> Any:
    if name not in _LISTS or value is None:
        return value
    return [_LISTS[name].index(item) for item in value] if isinstance(value, list) else _LISTS[name].index(value)


def _unpacked(name: str, value: Any) -> Any:
    if name in ("title", "artist"):
        if not isinstance(value, str):
            raise ValueError(f"{name} {value!r} is not a text")
        return value
    if name in ("forms", "channels"):
        return tuple(_item(name, place) for place in value)
    if value is None:
        return None
    if name in _LISTS:
        return _item(name, value)
    if name == "tonic":
        if type(value) is not int or not 0 <= value < 12:
            raise ValueError(f"tonic {value!r} is not within 0..11")
        return value
    return _positive(name, value)


def _item(name: str, place: Any) -> str:
    if type(place) is not int or not 0 <= place < len(_LISTS[name]):
        raise ValueError(f"{place!r} is no place in the list of {name}")
    return _LISTS[name][place]


def _positive(name: str, value: Any) -> float:
    if type(value) not in (int, float) or not 0 < value < 10_000:
        raise ValueError(f"{name} {value!r} is not a number between 0 and 10000")
    return float(value)


def _usuals(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    groups: dict[str, dict[str, list[Mapping[str, Any]]]] = {"forms": {}, "genres": {}, "composers": {}}
    for row in rows:
        for form in row["forms"]:
            groups["forms"].setdefault(form, []).append(row)
        if row["genre"]:
            groups["genres"].setdefault(row["genre"], []).append(row)
        if composer := composer_key(row["artist"]):
            groups["composers"].setdefault(composer, []).append(row)
    return {kind: {name: _usual(members) for name, members in sorted(named.items()) if len(members) >= FEWEST}
            for kind, named in groups.items()}


def _usual(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """As the fields of `Usual`, without those that are not known."""
    result: dict[str, Any] = {"pieces": len(rows)}
    for name in ("genre", "metre"):
        value, count = _most_common([row[name] for row in rows])
        if value is not None and count >= _MAJORITY * len(rows):
            result |= {name: value, f"{name}_share": round(count / len(rows), 3)}
    if tempos := [row["tempo"] for row in rows if row["tempo"]]:
        median = statistics.median(tempos)
        near = sum(0.8 <= tempo / median <= 1.25 for tempo in tempos)
        result |= {"tempo_bpm": round(median, 1), "tempo_share": round(near / len(rows), 3)}
    sets = [tuple(row["channels"]) for row in rows if row["channels"]]
    if not sets:
        return result
    band, count = _most_common(sets)
    heard = Counter(channel for channels in sets for channel in channels)
    if count < _COMMON_SET * len(sets):
        often = ordered(channel for channel, times in heard.items() if times >= _MAJORITY * len(sets))
        band, count = often or band, sum(set(channels) <= set(often or band) for channels in sets)
    like = [row["density"] for row in rows if tuple(row["channels"]) == band and row["density"]]
    return result | {
        "instruments": list(band), "instruments_share": round(count / len(sets), 3),
        "core": [channel for channel in band if heard[channel] >= _CORE * len(sets)],
    } | ({"density": round(statistics.median(like), 1)} if like else {})


def _most_common(values: Sequence[Any]) -> tuple[Any, int]:
    """The value met most often, of equals the smallest by its text, so that order does not matter."""
    counts = Counter(value for value in values if value is not None)
    if not counts:
        return None, 0
    value = min(counts, key=lambda value: (-counts[value], str(value)))
    return value, counts[value]


def _read_usuals(document: Mapping[str, Mapping[str, Any]]) -> dict[str, Usual]:
    known = {entry.name for entry in fields(Usual)}
    result = {}
    for name, values in document.items():
        if not set(values) <= known:
            raise ValueError(f"unknown fields for {name!r}: {sorted(set(values) - known)}")
        checked: dict[str, Any] = {}
        for key, value in values.items():
            if key in ("genre", "metre"):
                if value not in _LISTS[key]:
                    raise ValueError(f"{value!r} is no {key}")
                checked[key] = value
            elif key in ("instruments", "core"):
                if not set(value) <= set(CHANNELS):
                    raise ValueError(f"{value!r} are not all instruments")
                checked[key] = tuple(value)
            elif key in ("tempo_bpm", "density", "pieces"):
                checked[key] = int(_positive(key, value)) if key == "pieces" else _positive(key, value)
            elif type(value) not in (int, float) or not 0 <= value <= 1:
                raise ValueError(f"{key} {value!r} is not a share between 0 and 1")
            else:
                checked[key] = float(value)
        result[name] = Usual(**checked)
    return result


def _with_hand(forms: dict[str, Usual]) -> dict[str, Usual]:
    """The measured forms with those set by hand in place; what is set by hand is sure."""
    result = dict(forms)
    for name, values in BY_HAND.items():
        shares = {f"{key.removesuffix('_bpm')}_share": 1.0 for key in ("genre", "metre", "tempo_bpm", "instruments")
                  if key in values}
        core = {} if "instruments" not in values else {"core": (), "density": None}
        result[name] = replace(result.get(name, Usual()), **(core | values | shares))
    return result
