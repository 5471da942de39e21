"""What songs and scores do, counted once for plans of new pieces: four bars of harmony, and who plays how much.

`python -m models.training.harmony --corpus DIR --songs FILE` writes `models/music/form/harmony.json.gz`. A phrase is eight
chords, two a bar, with roots over the tonic; it is kept with the number of pieces that have it, by mode and genre.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from models.music.attributes import GENRES, attributes_of, tonic_of
from models.music.form.chords import NO_CHORD, transposed
from models.music.form.grammar import PHRASE, SHIPPED, SONG_BOOK, VERSION
from models.music.score.measures import MODES, SCALES
from models.music.score.programs import CHANNELS
from models.training.corpus import Corpus, read_corpus
from models.training.form import form_of

_MOST = 120  # phrases of a mode and genre
_FEWEST_PIECES = 2
_FEWEST_CHORDS = 3  # different ones
_STRANGERS = 1  # chords of a phrase with a root or third outside the key
_TONICS = 2  # chords of a phrase that are the tonic, at least
_QUALITY = ((r"^(dim|hdim)", 2), (r"^min", 1))
_DIATONIC = {"major": (0, 1, 1, 0, 0, 1, 2), "minor": (1, 2, 0, 1, 0, 0, 0, 2)}  # by degree of SCALES


def _song_bar(text: str, mode: str, tonic: int) -> tuple[int, int] | None:
    """The chords of both halves of a bar over the tonic; None where there is none."""
    beats = text.split()
    halves = []
    for name in (beats[0], beats[len(beats) // 2]):
        root, _, kind = name.partition(":")
        pitch = tonic_of(root)
        if pitch is None:
            return None
        degree = (pitch - tonic) % 12
        quality = next((number for pattern, number in _QUALITY if re.match(pattern, kind)), 0)
        if re.match(r"^[15]\b", kind) and degree in SCALES[mode]:
            quality = _DIATONIC[mode][SCALES[mode].index(degree)]
        halves.append(12 * quality + degree)
    return halves[0], halves[1]


def song_phrases(lines: Iterable[str]) -> dict[tuple[str, str], Counter[tuple[int, ...]]]:
    """Phrases of annotated songs, by mode and where they belong; each counts once a song."""
    found: dict[tuple[str, str], Counter[tuple[int, ...]]] = defaultdict(Counter)
    for line in lines:
        song = json.loads(line)
        tonic = tonic_of(song["tonic"])
        mine = set()
        for section in song["sections"]:
            bars = [_song_bar(bar, song["mode"], tonic) if tonic is not None and bar.split() else None
                    for bar in section["bars"]]
            for first in range(0, len(bars) - PHRASE + 1, PHRASE):
                phrase = bars[first:first + PHRASE]
                if None not in phrase:
                    mine.add(tuple(chord for bar in phrase if bar for chord in bar))
        found[song["mode"], SONG_BOOK].update(phrase for phrase in mine if usable(phrase, song["mode"]))
    return found


def usable(phrase: tuple[int, ...], mode: str) -> bool:
    """Whether a phrase goes somewhere and says its key: the tonic sounds, and hardly a chord stands outside."""
    scale = SCALES[mode]
    if len(set(phrase)) < _FEWEST_CHORDS:
        return False
    strangers = sum(chord % 12 not in scale or (chord % 12 + (3 if chord >= 12 else 4)) % 12 not in scale for chord in phrase)
    return strangers <= _STRANGERS and phrase.count(0 if mode == "major" else 12) >= _TONICS


def score_phrases(corpus: Corpus, pieces: list[int]) -> dict[tuple[str, str], Counter[tuple[int, ...]]]:
    """Phrases of scores, found by template in every fourth bar's wake, by mode and genre."""
    found: dict[tuple[str, str], Counter[tuple[int, ...]]] = defaultdict(Counter)
    for number in pieces:
        attributes, piece = attributes_of(corpus.entries[number]), corpus.piece(number)
        if attributes.tonic is None or attributes.mode is None or attributes.genre is None:
            continue
        chords = np.full((int(piece["bar"].max()) + 1, 2), NO_CHORD)
        over = transposed(form_of(piece).chord, -attributes.tonic)
        late = piece["quarters_in_bar"] >= piece["bar_quarters"] / 2 - 1e-4
        chords[piece["bar"][~late], 0] = over[~late]
        chords[piece["bar"][late], 1] = over[late]
        chords[:, 1] = np.where(chords[:, 1] == NO_CHORD, chords[:, 0], chords[:, 1])
        mine = {tuple(chords[first:first + PHRASE].ravel().tolist()) for first in range(0, len(chords) - PHRASE + 1, PHRASE)}
        found[attributes.mode, attributes.genre].update(
            phrase for phrase in mine if NO_CHORD not in phrase and usable(phrase, attributes.mode))
    return found


def line_ups(corpus: Corpus, pieces: list[int]) -> dict[str, float]:
    """Log share of the notes that an instrument has beside others, against an even share."""
    logs = defaultdict(list)
    for number in pieces:
        counts = np.bincount(corpus.piece(number)["channel"], minlength=len(CHANNELS))
        present = np.flatnonzero(counts > 0.01 * counts.sum())
        if len(present) > 1:
            for channel in present:
                logs[CHANNELS[channel]].append(float(np.log(counts[channel] * len(present) / counts[present].sum())))
    return {name: round(float(np.median(logs[name])), 2) for name in CHANNELS if logs[name]}


def densities(corpus: Corpus, pieces: list[int]) -> dict[str, list[float]]:
    """Notes a quarter by genre: median for one to five instruments and more; 0 where there are too few pieces."""
    found: dict[tuple[str, int], list[float]] = defaultdict(list)
    for number in pieces:
        piece, genre = corpus.piece(number), attributes_of(corpus.entries[number]).genre
        quarters = float(piece["quarters"][-1] - piece["quarters"][0])
        if quarters > 8:
            rate, players = len(piece) / quarters, min(len(np.unique(piece["channel"])), 5)
            for name in (genre, "all"):
                if name:
                    found[name, players].append(rate)
    return {name: [round(float(np.median(rates)), 2) if len(rates := found[name, players]) >= 5 else 0.0
                   for players in range(1, 6)] for name in (*GENRES, "all")}


def build(corpus: Corpus, songs: Iterable[str]) -> dict[str, Any]:
    pieces = corpus.split("train")
    phrases: dict[str, dict[str, list[list[Any]]]] = {mode: {} for mode in MODES}
    for found in (song_phrases(songs), score_phrases(corpus, pieces)):
        for (mode, genre), counts in sorted(found.items()):
            kept = [(phrase, count) for phrase, count in counts.items() if count >= _FEWEST_PIECES]
            kept.sort(key=lambda pair: (-pair[1], pair[0]))
            if kept:
                phrases[mode][genre] = [[*phrase, count] for phrase, count in kept[:_MOST]]
    return {"version": VERSION, "phrases": phrases, "shares": line_ups(corpus, pieces), "notes": densities(corpus, pieces)}


def write(found: Mapping[str, Any], target: Path) -> None:
    """The same figures give the same bytes."""
    data = json.dumps(found, separators=(",", ":"), sort_keys=True).encode()
    target.write_bytes(gzip.compress(data, 9, mtime=0))


def main() -> None:
    parser = argparse.ArgumentParser(description="Count the harmony of songs and scores for plans of new pieces.")
    parser.add_argument("--corpus", type=Path, required=True, help="folder with index.jsonl")
    parser.add_argument("--songs", type=Path, required=True, help="songs.jsonl.gz")
    parser.add_argument("--cache", type=Path, help="folder that keeps the corpus as arrays between runs")
    parser.add_argument("--out", type=Path, default=SHIPPED)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, gzip.open(options.songs, "rt", encoding="utf-8") as songs:
        found = build(read_corpus(options.corpus, options.cache or Path(temporary)), songs)
    write(found, options.out)


if __name__ == "__main__":
    main()
