"""Do takes have what their prompts ask for? Measured from the notes, beside real pieces of the kind.

`python -m benchmarks.attributes_table [--corpus DIR] [--cache DIR] [--seeds 10]` composes takes for five prompts, each
with and without conditioning, prints a Markdown table and writes it to benchmarks/RESULTS-attributes.md. With a
corpus folder, the same measures of real pieces stand below: of split `val` and, where that has
fewer than five of a kind, of `train`, too.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.pocket_takes import takes_of
from models.engines.pocket.engine import PocketEngine
from models.music.attributes import Attributes, attributes_of
from models.music.score.measures import (
    CLASS_OF_METRE,
    Key,
    channels,
    density,
    estimate_key,
    estimate_metre,
    key_distance,
    polyphony,
    scale_share,
    tempo_error,
    tempo_strength,
)
from models.music.score.notes import NOTE, Score
from models.music.score.programs import DRUMS, PATCHES
from models.music.vocabulary.los_angeles import DURATION, PITCH
from models.training.corpus import Corpus, read_corpus
from models.training.rows import segment_of

RESULTS = Path(__file__).parent / "RESULTS-attributes.md"
NOTES = 170  # of 512 ids
TOLERANCE_OCTAVES = 0.06  # 4 %
FEWEST_REAL, MOST_REAL = 5, 40


@dataclass(frozen=True)
class Prompt:
    text: str
    form: str  # real pieces of the kind have this form, of FORMS


PROMPTS = (
    Prompt("A waltz", "waltz"),
    Prompt("A jig", "gigue"),
    Prompt("A hymn", "hymn"),
    Prompt("A string quartet", "string quartet"),
    Prompt("A doom-like metal piece", "metal"),
)

TakesOf = Callable[[str, Sequence[int], bool], list[tuple[Score, Attributes]]]
"""Prompt, seeds, whether conditioned -> a take of each seed, and what the prompt asked for."""


@dataclass(frozen=True)
class Measured:
    """One take or piece; None where the attribute was not asked for."""

    instruments: bool | None  # exactly those asked for
    scale: float | None  # share of notes in the asked key's scale
    key: bool | None  # the estimated key is the asked one
    near_key: bool | None  # ... or its relative, or a fifth away
    metre: bool | None  # the estimated class of metre, at the asked tempo, is the asked one
    grid: float | None  # strength of the asked tempo
    tempo: bool | None  # the estimated tempo is within 4 % of the asked one
    related_tempo: bool | None  # ... or of 1/2, 2/3, 3/2, 2 times it
    density: float
    polyphony: float


def measure(score: Score, asked: Attributes) -> Measured:
    heard_key = estimate_key(score)
    key = Key(asked.tonic, asked.mode) if asked.tonic is not None and asked.mode else None
    bpm = asked.tempo_bpm
    metre = CLASS_OF_METRE.get(asked.metre or "")
    return Measured(
        instruments=channels(score) == set(asked.instruments) if asked.instruments else None,
        scale=scale_share(score, *key) if key else None,
        key=heard_key == key if key else None,
        near_key=heard_key is not None and key_distance(heard_key, key) <= 1 if key else None,
        metre=estimate_metre(score, bpm) == metre if bpm and metre else None,
        grid=tempo_strength(score, bpm) if bpm else None,
        tempo=tempo_error(score, bpm, (1,)) < TOLERANCE_OCTAVES if bpm else None,
        related_tempo=tempo_error(score, bpm) < TOLERANCE_OCTAVES if bpm else None,
        density=density(score),
        polyphony=polyphony(score),
    )


_COLUMNS = (
    ("instruments exactly", "instruments"), ("notes in scale", "scale"), ("key", "key"), ("key or near", "near_key"),
    ("metre", "metre"), ("on the tempo's grid", "grid"), ("tempo", "tempo"), ("tempo or related", "related_tempo"),
    ("notes/s", "density"), ("polyphony", "polyphony"),
)
_SHARES = frozenset({"instruments", "scale", "key", "near_key", "metre", "tempo", "related_tempo"})


_LEGEND = """`n` takes or pieces a row. Unconditioned takes are measured against the same wishes,
which the model was not told; they are the same ten takes for every prompt, without mask, steering and guidance,
so the difference is that of all of these together, not of what the network has learnt alone.
Real pieces are measured against their own key, metre and opening tempo, and the instruments of the prompt. Where split
`val`, which training never saw, has fewer than five of a kind, those of `train` stand below (40 at most); no row: it has none.
Key: the estimated key is the right one; near: or at most a fifth away, relative keys counting as one. Metre: the
estimated class (twos, threes, compound) at the asked tempo. Grid: 1 is exact, 0 is chance.
Tempo: the estimate is within 4 %;
related: or within 4 % of 1/2, 2/3, 3/2 or 2 times it. How far the measures can be trusted: docs/measures.md.
"""


def cells(measured: Sequence[Measured]) -> list[str]:
    """Means over the takes for which each attribute was asked; a dash where it never was."""
    result = []
    for _, name in _COLUMNS:
        values = [float(value) for one in measured if (value := getattr(one, name)) is not None]
        if not values:
            result.append("-")
        elif name in _SHARES:
            result.append(f"{100 * float(np.mean(values)):.0f} %")
        else:
            result.append(f"{float(np.mean(values)):.2f}")
    return result


def table(rows: Iterable[tuple[str, str, Sequence[Measured]]]) -> str:
    """Markdown from (prompt, what was measured, measurements)."""
    head = ["prompt", "what", "n", *(title for title, _ in _COLUMNS)]
    lines = [head, ["---"] * len(head)]
    lines += [[prompt, what, str(len(measured)), *cells(measured)] for prompt, what, measured in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def excerpt(piece: np.ndarray, attributes: Attributes, notes: int = NOTES) -> Score:
    """The first notes of a piece of the corpus, as coarse in time and velocity as a take is."""
    ids = segment_of(piece, attributes, 0, notes).ids[3:].reshape(-1, 3)
    result = np.zeros(len(ids), dtype=NOTE)
    duration, velocity = np.divmod(ids[:, 1] - DURATION, 8)
    channel, result["pitch"] = np.divmod(ids[:, 2] - PITCH, 128)
    result["onset_ms"] = 10.0 * np.cumsum(ids[:, 0])
    result["onset_tick"] = result["onset_ms"]
    result["duration_ms"] = 20.0 * duration
    result["velocity"] = 15 * (velocity + 1)
    result["program"] = np.array(PATCHES)[channel]
    result["drum"] = channel == DRUMS
    return Score(result)


def real_pieces(corpus: Corpus, form: str) -> dict[str, list[int]]:
    """Numbers of pieces with a form: those of `val`, and of `train`, where `val` has too few."""
    found: dict[str, list[int]] = {}
    for split in ("val", "train"):
        chosen = [i for i in corpus.split(split) if form in attributes_of(corpus.entries[i]).forms]
        if chosen:
            every = max(len(chosen) // MOST_REAL, 1)
            found[split] = chosen[::every][:MOST_REAL]
        if len(chosen) >= FEWEST_REAL:
            break
    return found


def real_measured(corpus: Corpus, number: int, instruments: tuple[str, ...]) -> Measured:
    """Against the piece's own key and metre, its tempo where it begins, and the instruments of the prompt."""
    piece = corpus.piece(number)
    own = attributes_of(corpus.entries[number])
    tempo_bpm = 60_000 / float(np.median(piece["quarter_ms"][:NOTES]))
    return measure(excerpt(piece, own), replace(own, tempo_bpm=tempo_bpm, instruments=instruments))


def rows(makes: TakesOf, seeds: int, corpus: Corpus | None) -> Iterable[tuple[str, str, list[Measured]]]:
    for prompt in PROMPTS:
        instruments: tuple[str, ...] = ()
        for conditioned, what in ((True, "conditioned"), (False, "unconditioned")):
            takes = makes(prompt.text, range(seeds), conditioned)
            instruments = takes[-1][1].instruments
            yield prompt.text, what, [measure(score, asked) for score, asked in takes]
        if corpus is not None:
            for split, chosen in real_pieces(corpus, prompt.form).items():
                yield prompt.text, f"real ({split})", [real_measured(corpus, number, instruments) for number in chosen]


def main(makes: TakesOf, arguments: Sequence[str] | None = None, results: Path = RESULTS) -> None:
    parser = argparse.ArgumentParser(description="Measure whether takes have what their prompts ask for.")
    parser.add_argument("--corpus", type=Path, help="folder with index.jsonl: adds rows of real pieces")
    parser.add_argument("--cache", type=Path, help="folder that keeps the corpus as arrays between runs")
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        corpus = read_corpus(options.corpus, options.cache or Path(temporary)) if options.corpus else None
    text = table(rows(makes, options.seeds, corpus))
    print(text)
    results.write_text(f"# Attributes of takes, measured from the notes\n\n{text}\n{_LEGEND}", encoding="utf-8")


def _shipped(prompt: str, seeds: Sequence[int], conditioned: bool) -> list[tuple[Score, Attributes]]:
    return takes_of(PocketEngine.load(), prompt, seeds, conditioned=conditioned)


if __name__ == "__main__":
    main(_shipped)
