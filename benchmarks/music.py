"""Is what the pocket engine makes of prompts good music? Measured from the notes alone, beside real pieces.

`python -m benchmarks.music [--prompts N] [--takes 2] [--temperature 0.9] [--model FOLDER] [--corpus DIR --cache DIR]` composes
takes for the prompts of benchmarks/music_prompts.py at the engine's own settings, prints a Markdown table and
writes it to benchmarks/RESULTS-music.md. A corpus adds the real pieces of split `val`, and what takes copy from `train`.
`--write-baseline` keeps the figures in benchmarks/music-baseline.json; `--check FILE` compares with such a
file and exits with 1 when a figure is worse by more than chance explains. The measures: models/music/score/listening.py.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from benchmarks.music_prompts import PROMPTS, Prompt, evenly
from models.engines.pocket.engine import PocketEngine
from models.engines.pocket.instruments import PROGRAMS, channels_named
from models.interface.midi import ComposeRequest
from models.music.attributes import Attributes, attributes_of
from models.music.score.listening import (
    KRUMHANSL_KESSLER,
    RANGES,
    TEMPERLEY,
    Bar,
    Ending,
    TopVoice,
    bars,
    best_likeness,
    codes_of,
    crowded,
    empty_share,
    ending,
    fleeting_share,
    key_by_profiles,
    least_share,
    likeness,
    metre_by_autocorrelation,
    note_codes,
    note_shares,
    out_of_range,
    run_hashes,
    tempo_within,
    top_voice,
)
from models.music.score.measures import (
    CLASS_OF_METRE,
    Key,
    Repetition,
    channels,
    density,
    estimate_metre,
    polyphony,
    repetition,
)
from models.music.score.notes import Metre, Score, Tempo
from models.music.score.programs import DROPPED, SEED_CHANNEL
from models.music.vocabulary.los_angeles import DURATION_STEP_MS, TIME_STEP_MS, decode, triplets
from models.training.corpus import Corpus, read_corpus

RESULTS = Path(__file__).with_name("RESULTS-music.md")
BASELINE = Path(__file__).with_name("music-baseline.json")
NOTES = 170  # of 512 ids
TEMPERATURE, COLD, HOT = 0.9, 0.3, 1.2
TEMPERATURE_PROMPTS = 10
RUNS = (8, 12, 16, 24)  # notes that follow each other as in a piece of `train`
FEWEST = 0.02  # share of the notes with which an instrument counts as playing
ALONE = ("flute", "clarinet", "trumpet", "violin", "bass")
SECTIONS: Mapping[str, int] = {"flute": 2, "clarinet": 2, "trumpet": 2, "violin": 3, "bass": 1}
"""Players that a channel has when nobody named them: two flutes, violins and viola."""
_GENRE_PIECES = 100  # of `train`, for how dense a genre is
_TICKS = 960  # to a quarter, of excerpts
_CHANCES = 3.0  # standard errors by which a figure may be worse than the stored one


@dataclass(frozen=True)
class Made:
    """A take, what was typed for it and how the engine understood that."""

    number: int  # of the prompt
    prompt: Prompt
    attributes: Attributes
    tokens: int
    score: Score


Compose = Callable[[Sequence[tuple[int, Prompt]], int, float], list[Made]]
"""Numbered prompts, takes of each, temperature -> all takes."""


@dataclass(frozen=True)
class Heard:
    """A take or a piece, and what it is measured against; None and empty where that is not known."""

    score: Score
    final: Score  # how it ends; of a take the same
    key: Key | None = None
    metre: str | None = None  # of METRE_CLASSES
    tempo_bpm: float | None = None
    stated_tempo: tuple[float, float] | None = None
    instruments: tuple[str, ...] = ()  # stated
    single: tuple[str, ...] = ()
    players: frozenset[str] = frozenset()
    tokens: int | None = None
    usual_density: float | None = None  # median notes a second of real pieces of the genre
    copied: Mapping[int, bool] | None = None  # length of a run -> whether one of that length is in `train`

    @cached_property
    def bars(self) -> list[Bar]:
        return bars(self.score)

    @cached_property
    def best(self) -> tuple[float, float] | None:
        return best_likeness(self.bars)

    @cached_property
    def ending(self) -> Ending | None:
        return ending(self.final, self.key) if self.key else None

    @cached_property
    def top(self) -> TopVoice | None:
        return top_voice(self.score)

    @cached_property
    def shares(self) -> dict[str, float]:
        return note_shares(self.score)

    @cached_property
    def outside(self) -> dict[str, float]:
        return out_of_range(self.score)

    @cached_property
    def repetition(self) -> Repetition:
        return repetition(self.score)

    @cached_property
    def least(self) -> float | None:
        return least_share(self.score, self.players)


@dataclass(frozen=True)
class Row:
    """A measure of one take, and how the takes' values become a figure."""

    title: str
    of: Callable[[Heard], float | bool | None]
    goal: str
    better: str = "more"  # "more", "less", or "same" as before
    share: bool = True  # shown in per cent
    median: bool = False  # of the values, else their mean
    needs_corpus: bool = False


def _key(profiles: np.ndarray, heard: Heard) -> bool | None:
    return key_by_profiles(heard.score, profiles) == heard.key if heard.key else None


def _metre(estimate: Callable[[Score, float], str], heard: Heard) -> bool | None:
    return estimate(heard.score, heard.tempo_bpm) == heard.metre if heard.metre and heard.tempo_bpm else None


def _tempo(number: bool, heard: Heard) -> bool | None:
    """A stated number may be heard as its half or double; for a word, which spans an octave itself, that says nothing."""
    if heard.stated_tempo is None or (heard.stated_tempo[0] == heard.stated_tempo[1]) != number:
        return None
    return tempo_within(heard.score, *heard.stated_tempo) if number else tempo_within(heard.score, *heard.stated_tempo, (1,))


def _played(heard: Heard) -> bool | None:
    return all(heard.shares.get(name, 0.0) >= FEWEST for name in heard.instruments) if heard.instruments else None


def _missing(heard: Heard) -> bool | None:
    return None if heard.least is None else heard.least < FEWEST


def _ending(of: Callable[[Ending], bool], heard: Heard) -> bool | None:
    return of(heard.ending) if heard.ending else None


def _alone(name: str, heard: Heard) -> float | None:
    return crowded(heard.score, name) if name in heard.single else None


def _section(name: str, heard: Heard) -> float | None:
    return None if name in heard.single else crowded(heard.score, name, SECTIONS[name])


def _relative_density(heard: Heard) -> float | None:
    return density(heard.score) / heard.usual_density if heard.usual_density else None


def _copied(length: int, heard: Heard) -> bool | None:
    return heard.copied[length] if heard.copied else None


def _likeness(apart: int, heard: Heard) -> float | None:
    return likeness(heard.bars, apart)


def _outside(name: str, heard: Heard) -> float | None:
    return heard.outside.get(name)


def _mean_outside(heard: Heard) -> float | None:
    return sum(share * heard.shares[name] for name, share in heard.outside.items()) if heard.outside else None


REPEATED = Row("repeated runs of four notes", lambda heard: heard.repetition.repeated, "as real", "same")
ROWS = (
    Row("key (Krumhansl-Kessler)", partial(_key, KRUMHANSL_KESSLER), "75 %"),
    Row("key (Temperley)", partial(_key, TEMPERLEY), "real or more"),
    Row("metre class (autocorrelation)", partial(_metre, metre_by_autocorrelation), "78 %"),
    Row("metre class (measures.estimate_metre)", partial(_metre, estimate_metre), "real or more"),
    Row("stated tempo in bpm, octaves allowed", partial(_tempo, True), "97 %"),
    Row("stated pace in words, no octaves", partial(_tempo, False), "75 %"),
    Row("every stated instrument has 2 % of the notes", _played, "99 %"),
    Row("two players or more, one with under 2 % of the notes", _missing, "0 %", "less"),
    Row("share of the least-used instrument, median", lambda heard: heard.least, "real or more", median=True),
    Row("ends on the tonic in the bass", partial(_ending, lambda end: end.on_tonic), "90 %"),
    Row("two thirds of the final notes in the tonic triad", partial(_ending, lambda end: end.triad >= 2 / 3 - 1e-9),
        "95 %"),
    Row("final notes 1.5 times as long as the median", partial(_ending, lambda end: end.length > 1.5), "86 %"),
    *(Row(f"likeness of bars {apart} apart", partial(_likeness, apart),
          "18 %, more than 1, 2 and 8 apart" if apart == 4 else "as real", "same") for apart in (1, 2, 4, 8)),
    Row("likeness to the likest earlier bar", lambda heard: heard.best[0] if heard.best else None, "36 to 50 %", "same"),
    Row("bars that copy an earlier one", lambda heard: heard.best[1] if heard.best else None, "real or less", "less"),
    Row("bars in which nothing begins", lambda heard: empty_share(heard.bars), "real or less", "less"),
    Row("notes of less than 60 ms", lambda heard: fleeting_share(heard.score), "real or less", "less"),
    Row("notes out of range, all", _mean_outside, "0 %", "less"),
    *(Row(f"notes out of range, {name}", partial(_outside, name), "0 %", "less")
      for name in RANGES),
    Row("top voice: steps", lambda heard: heard.top.steps if heard.top else None, "26 % or more"),
    Row("top voice: leaps of more than nine semitones", lambda heard: heard.top.leaps if heard.top else None,
        "20 % or less", "less"),
    *(Row(f"one {name}: onsets with more than one note", partial(_alone, name), "0 %", "less") for name in ALONE),
    *(Row(f"{name}, unnamed players: onsets with more than {SECTIONS[name]}", partial(_section, name), "real or less", "less")
      for name in ALONE),
    Row("distinct notes", lambda heard: heard.repetition.distinct, "as real", "same"),
    REPEATED,
    Row("notes a second, of the genre's median; median", _relative_density, "0.8 to 1.25", "same", share=False, median=True,
        needs_corpus=True),
    Row("polyphony", lambda heard: polyphony(heard.score), "as real", "same", share=False),
    Row("tokens that are notes", lambda heard: 3 * len(heard.score) / heard.tokens if heard.tokens else None, "85 %"),
    *(Row(f"holds a run of {length} notes from `train`", partial(_copied, length), "real or less", "less", needs_corpus=True)
      for length in RUNS),
)
TEMPERATURE_ROWS = tuple(
    (temperature, replace(REPEATED, title=f"repeated runs at temperature {temperature}", goal=goal))
    for temperature, goal in ((COLD, "more than at 1.2"), (HOT, "less than at 0.3")))


@dataclass(frozen=True)
class Figure:
    """What a row says of many takes: value, standard error, number of takes."""

    value: float
    error: float
    count: int


def figure(row: Row, heard: Iterable[Heard]) -> Figure | None:
    """The mean or median over those for which the row says anything; None for none.

    The error is the binomial one for what is true or false, pulled towards a half so that 0 of 20 is
    not held to be certain; else that of the mean, and at least 1 / (n + 2) of a share or 2 % of a number.
    """
    values = [value for one in heard if (value := row.of(one)) is not None]
    if not values:
        return None
    count = len(values)
    numbers = np.array(values, dtype=np.float64)
    value = float(np.median(numbers) if row.median else numbers.mean())
    if all(isinstance(one, bool | np.bool_) for one in values):
        pulled = (numbers.sum() + 1) / (count + 2)
        return Figure(value, math.sqrt(pulled * (1 - pulled) / count), count)
    spread = float(numbers.std()) / math.sqrt(count) * (1.25 if row.median else 1.0)
    return Figure(value, max(spread, 1 / (count + 2) if row.share else 0.02 * abs(value)), count)


def fell(row: Row, now: Figure, before: Figure) -> str | None:
    """What to say where a figure is worse than before by more than chance explains; None where it is not."""
    tolerance = _CHANCES * math.hypot(now.error, before.error)
    change = now.value - before.value
    worse = {"more": change < -tolerance, "less": change > tolerance, "same": abs(change) > tolerance}[row.better]
    return f"{row.title}: {_shown(row, now)}, was {_shown(row, before)}, tolerance {tolerance:.3f}" if worse else None


def _shown(row: Row, found: Figure | None) -> str:
    if found is None:
        return "-"
    return f"{100 * found.value:.1f} % ({found.count})" if row.share else f"{found.value:.2f} ({found.count})"


def hear_take(made: Made, usual: Mapping[str | None, float]) -> Heard:
    """Against what the prompt states, and where it states nothing, what the engine planned."""
    prompt, plan = made.prompt, made.attributes
    planned = Key(plan.tonic, plan.mode) if plan.tonic is not None and plan.mode else None
    return Heard(
        score=made.score, final=made.score, key=prompt.key or planned,
        metre=CLASS_OF_METRE.get(prompt.metre or plan.metre or ""), tempo_bpm=plan.tempo_bpm, stated_tempo=prompt.tempo,
        instruments=prompt.instruments, single=prompt.single,
        players=frozenset(prompt.instruments) | frozenset(plan.instruments) | channels(made.score), tokens=made.tokens,
        usual_density=usual.get(plan.genre, usual.get(None)))


def hear_piece(corpus: Corpus, number: int, usual: Mapping[str | None, float]) -> Heard:
    """Against the piece's own key and metre, and the tempo of what is heard of it."""
    piece, entry = corpus.piece(number), corpus.entries[number]
    own = attributes_of(entry)
    tempo_bpm = 60_000 / float(np.median(piece["quarter_ms"][:NOTES]))
    score = excerpt(piece[:NOTES])
    return Heard(
        score=score, final=excerpt(piece[-NOTES:]),
        key=Key(own.tonic, own.mode) if own.tonic is not None and own.mode else None,
        metre=CLASS_OF_METRE.get(own.metre or ""), tempo_bpm=tempo_bpm, stated_tempo=(tempo_bpm, tempo_bpm),
        single=single_players(entry.get("instruments") or ()), players=channels(score),
        usual_density=usual.get(own.genre, usual.get(None)))


def single_players(names: Sequence[str]) -> tuple[str, ...]:
    """Channels of which an index names one instrument and no section."""
    found: dict[str, list[str]] = {}
    for name in names:
        for channel in channels_named([name]):
            found.setdefault(channel, []).append(name)
    return tuple(channel for channel, those in found.items()
                 if channel in ALONE and len(those) == 1 and SEED_CHANNEL[PROGRAMS[those[0]]] != DROPPED)


def excerpt(piece: np.ndarray) -> Score:
    """Notes of a piece, as coarse in time, length and loudness as a take is, on the bars that they were written in."""
    start = np.floor(piece["onset_ms"].astype(np.float64) / TIME_STEP_MS).astype(np.int64)
    order = np.lexsort((-piece["pitch"].astype(np.int64), start))
    duration = np.floor(piece["duration_ms"] / DURATION_STEP_MS).astype(np.int64)
    rows = np.stack((start, duration, *(piece[name].astype(np.int64) for name in ("channel", "pitch", "velocity"))), axis=1)
    score = decode(triplets(rows[order]).ravel())
    quarters, bar_quarters = piece["quarters"].astype(np.float64), piece["bar_quarters"]
    score.notes["onset_tick"] = np.rint(quarters[order] * _TICKS)
    changes = np.flatnonzero(np.append(True, np.diff(bar_quarters) != 0))
    metres = tuple(
        Metre(round((quarters[i] - float(piece["quarters_in_bar"][i])) * _TICKS), round(float(bar_quarters[i]) * 4), 16)
        for i in changes.tolist())
    tempo = Tempo(0, round(1000 * float(np.median(piece["quarter_ms"]))))
    return replace(score, ticks_per_quarter=_TICKS, tempos=(tempo,), metres=metres)


def usual_densities(corpus: Corpus) -> dict[str | None, float]:
    """Median notes a second of the first notes of real pieces of `train`, by genre; None is all of them."""
    of_genre: dict[str | None, list[int]] = {}
    for number in corpus.split("train"):
        for genre in {attributes_of(corpus.entries[number]).genre, None}:
            of_genre.setdefault(genre, []).append(number)
    return {genre: float(np.median([density(excerpt(corpus.piece(number)[:NOTES]))
                                    for number in numbers[::max(len(numbers) // _GENRE_PIECES, 1)]]))
            for genre, numbers in of_genre.items()}


def with_copies(corpus: Corpus, heard: Sequence[Heard]) -> list[Heard]:
    """The same, with which lengths of runs they share with a piece of `train`."""
    codes = [codes_of(one.score) for one in heard]
    hashes = {length: [run_hashes(one, length) for one in codes] for length in RUNS}
    wanted = {length: np.unique(np.concatenate(runs)) for length, runs in hashes.items()}
    found = {length: np.zeros(len(those), dtype=bool) for length, those in wanted.items()}
    for number in corpus.split("train"):
        piece = corpus.piece(number)
        step = np.floor(piece["onset_ms"].astype(np.float64) / TIME_STEP_MS).astype(np.int64)
        order = np.lexsort((-piece["pitch"].astype(np.int64), step))
        code = note_codes(step[order], piece["channel"][order], piece["pitch"][order])
        for length, those in wanted.items():
            if len(those):
                runs = run_hashes(code, length)
                at = np.minimum(np.searchsorted(those, runs), len(those) - 1)
                found[length][at[those[at] == runs]] = True
    known = {length: wanted[length][found[length]] for length in RUNS}
    return [replace(one, copied={length: bool(np.isin(hashes[length][i], known[length]).any()) for length in RUNS})
            for i, one in enumerate(heard)]


def compose_with(model: Path | None) -> Compose:
    """Takes of a pocket model, None for the shipped one."""
    return composed_by(PocketEngine.load(model))


def composed_by(engine: PocketEngine) -> Compose:
    """Takes of an engine, all of them in one batcher."""
    def compose(prompts: Sequence[tuple[int, Prompt]], takes: int, temperature: float) -> list[Made]:
        waiting = []
        for number, prompt in prompts:
            request = ComposeRequest(prompt.title, prompt.artist, takes=takes, seed=number, temperature=temperature)
            plan = engine.plan(request)
            for sequence in engine.sequences(plan):
                engine.batcher.add(sequence)
                waiting.append((number, prompt, plan, sequence))
        while engine.batcher.busy:
            engine.batcher.step()
        return [Made(number, prompt, plan.attributes, plan.request.tokens, engine.take(plan, sequence).score)
                for number, prompt, plan, sequence in waiting]

    return compose


def table(rows: Iterable[tuple[Row, Figure | None, Figure | None]]) -> str:
    """Markdown from (row, takes, real); how many takes or pieces a figure is of stands in brackets."""
    lines = ["| measure | takes | real (first 170 notes) | goal |", "|---|---|---|---|"]
    lines += [f"| {row.title} | {_shown(row, takes)} | {_shown(row, real)} | {row.goal} |" for row, takes, real in rows]
    return "\n".join(lines) + "\n"


def compare(path: Path, setting: str, found: Mapping[str, tuple[Row, Figure]], with_corpus: bool) -> list[str]:
    """What is worse than in a file of figures, one line each; a line, too, where it has none of this setting."""
    stored = json.loads(path.read_text(encoding="utf-8"))
    if setting not in stored:
        return [f"{path} has no figures for {setting}, only for: {'; '.join(stored) or 'nothing'}"]
    lines = []
    rows = {row.title: row for row in (*ROWS, *(row for _, row in TEMPERATURE_ROWS))}
    for title, numbers in stored[setting].items():
        if title in found:
            row, now = found[title]
            lines += [line] if (line := fell(row, now, Figure(*numbers))) else []
        elif title in rows and (with_corpus or not rows[title].needs_corpus):
            lines.append(f"{title}: nothing to measure, was {_shown(rows[title], Figure(*numbers))}")
    return lines


def keep(path: Path, setting: str, found: Mapping[str, tuple[Row, Figure]]) -> None:
    """Write figures beside those of other settings."""
    stored = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    stored[setting] = {title: [round(now.value, 5), round(now.error, 5), now.count] for title, (_, now) in found.items()}
    path.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")


_LEGEND = """In brackets: of how many takes or pieces. Real are the pieces of split `val`, their first 170 notes as coarse as
takes are, for endings their last 170, against their own key and metre and the tempo they have there. Takes are measured against
what the prompt states, and where it states nothing, what the engine planned. What each measure does:
models/music/score/listening.py; repeated runs, distinct notes, polyphony and the second metre: models/music/score/measures.py.
Players of a take are the instruments that were stated or planned or are heard, of a piece those heard. One flute (trumpet ...):
a prompt names one player, or the index of a piece one instrument of that channel, which may still be several people.
Notes a second are relative to the median of pieces of the genre in `train`. Runs from `train` count in any key and tempo.
"""


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure takes of a hundred prompts from their notes, beside real pieces.")
    parser.add_argument("--prompts", type=int, default=len(PROMPTS), help="how many of them, evenly over their kinds")
    parser.add_argument("--takes", type=int, default=2, help="of each prompt")
    parser.add_argument("--temperature", type=float, default=TEMPERATURE)
    parser.add_argument("--model", type=Path, help="folder of a pocket model; default: the shipped one")
    parser.add_argument("--corpus", type=Path, help="folder with index.jsonl: adds real pieces, and what takes copy")
    parser.add_argument("--cache", type=Path, help="folder that keeps the corpus as arrays between runs")
    parser.add_argument("--check", type=Path, metavar="FILE", help="exit with 1 where figures are worse than in this file")
    parser.add_argument("--write-baseline", action="store_true", help=f"keep the figures in {BASELINE.name}")
    options = parser.parse_args(arguments)
    if not 1 <= options.prompts <= len(PROMPTS):
        parser.error(f"--prompts must be between 1 and {len(PROMPTS)}, not {options.prompts}")
    if options.check and not options.check.is_file():
        parser.error(f"{options.check} does not exist; --write-baseline makes such a file")
    return options


def main(
    arguments: Sequence[str] | None = None, composer: Callable[[Path | None], Compose] = compose_with,
    results: Path = RESULTS, baseline: Path = BASELINE,
) -> int:
    """Measure, print and write; returns the exit status."""
    options = _options(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        corpus = read_corpus(options.corpus, options.cache or Path(temporary)) if options.corpus else None
    usual = usual_densities(corpus) if corpus else {}
    compose, prompts = composer(options.model), evenly(options.prompts)
    takes = [hear_take(made, usual) for made in compose(prompts, options.takes, options.temperature)]
    pieces = [hear_piece(corpus, number, usual) for number in corpus.split("val")] if corpus else []
    if corpus:
        both = with_copies(corpus, (*takes, *pieces))
        takes, pieces = both[:len(takes)], both[len(takes):]
    rows = [(row, figure(row, takes), figure(row, pieces)) for row in ROWS]
    cold_and_hot = prompts[:min(TEMPERATURE_PROMPTS, max(options.prompts // 2, 1))]
    for temperature, row in TEMPERATURE_ROWS:
        some = [hear_take(made, usual) for made in compose(cold_and_hot, options.takes, temperature)]
        rows.append((row, figure(row, some), None))
    setting = f"{options.prompts} prompts, {options.takes} takes, temperature {options.temperature:g}"
    text = table(rows)
    print(text)
    if options.prompts == len(PROMPTS) or results != RESULTS:
        results.write_text(
            f"# Takes of prompts, measured from the notes\n\n{setting}.\n\n{text}\n{_LEGEND}", encoding="utf-8")
    found = {row.title: (row, now) for row, now, _ in rows if now is not None}
    worse = compare(options.check, setting, found, corpus is not None) if options.check else []
    for line in worse:
        print(line, file=sys.stderr)
    if options.write_baseline:
        keep(baseline, setting, found)
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
