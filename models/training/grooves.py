"""Grooves and fills of the Groove MIDI Dataset as the small file that `models.music.form.drums` reads.

    python -m models.training.grooves --groove DIR [--out FILE]

DIR holds the data set's `info.csv` and `midi.zip`.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
import zipfile
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from models.errors import InputError, KapelleError, ScoreError
from models.music.form.drums import (
    BAR,
    BEAT_HITS,
    FILL_HITS,
    KICKS,
    QUARTER,
    SHIPPED,
    SNARES,
    STRAIGHT_STEP,
    SWING_STEP,
    TIMEKEEPERS,
    TOMS,
    VERSION,
    Bar,
    Grooves,
    Hit,
    read_grooves,
)
from models.music.score.midi import read_midi
from models.whole_file import whole_file

LARGEST_FILE = 40_000  # bytes
MOST_BARS = 12  # of a style, of beats and of fills
RAREST = 1 / 3  # share of a performance's bars that a hit of its typical bar must be in
WORST_FIT = 0.19  # mean distance from the grid in steps of it; hits at random have 0.25
USUAL = 2 / 3  # share of the bars from which a hat or ride belongs to all typical ones: once left out, it is missed
STEADY = 0.6  # share of a typical bar's hits that must be left without the rare ones, else it is rather a solo
_MOST_OF_ONE = 3  # bars of one performance, where a style has few
_DIFFERENT = 0.8  # likeness from which two bars are the same one
_LAST_QUARTER = 3 * QUARTER
_CRASHES, _CRASHING = frozenset({49, 57}), 3  # so many of them in a bar keep time
_KICK_BELOW = 2  # velocity classes that the kick of a straight beat may stay under the loudest hit

# Of the Roland TD-11: rims, edges and second zones as the drum they belong to, after the paper's table, but pedal hat, stick,
# second crash and bell of the ride stay, as General MIDI has them too. 58, a floor tom's rim, is a vibraslap there.
PITCH_OF = {22: 42, 26: 46, 40: 38, 45: 47, 48: 50, 52: 57, 55: 49, 58: 43, 59: 51}

# What the data set keeps under a style of which most is something else.
STYLE_OF = {
    "jazz/swing": "swing", "jazz/mediumfast": "swing", "jazz/fast": "swing", "jazz/march": "march",
    "latin/brazilian-bossa": "bossa", "latin/brazilian-samba": "samba", "latin/samba": "samba",
}

Places = dict[tuple[int, int], int]
"""Velocity (1..127) by tick in the bar and pitch."""


@dataclass(frozen=True)
class Performance:
    bpm: float
    swing: bool
    bars: tuple[Places, ...]  # those with hits


def build_grooves(groove: Path, target: Path) -> Grooves:
    """Write the grooves of the data set in a folder. The same data gives the same bytes.

    Raises InputError when the data set cannot be read, holds nothing of use or makes a file of more than LARGEST_FILE bytes.
    """
    performances = _read(groove)
    document: dict[str, Any] = {"version": VERSION, "beats": {}, "fills": {}}
    for kind, style in sorted(performances):
        played = performances[kind, style]
        if kind == "beat":
            count = 1 if len(played) >= MOST_BARS else _MOST_OF_ONE
            bars = [bar for performance in played for bar in typical_bars(performance, count)]
        else:
            bars = [bar for performance in played if (bar := fill_bar(performance))]
        if chosen := spread(bars, MOST_BARS):
            document[f"{kind}s"][style] = [
                {"bpm": round(bar.bpm), "swing": bar.swing, "hits": [list(hit) for hit in bar.hits]} for bar in chosen]
    data = gzip.compress(json.dumps(document, separators=(",", ":")).encode(), 9, mtime=0)
    if len(data) > LARGEST_FILE:
        raise InputError(f"the grooves take {len(data):,} bytes; at most {LARGEST_FILE:,} were expected, so keep fewer bars")
    with whole_file(target) as draft:
        draft.write_bytes(data)
        return read_grooves(draft)


def _read(groove: Path) -> dict[tuple[str, str], list[Performance]]:
    """Performances in 4/4 that keep to a grid, by kind (beat, fill) and style."""
    found: dict[tuple[str, str], list[Performance]] = defaultdict(list)
    try:
        with zipfile.ZipFile(groove / "midi.zip") as archive, (groove / "info.csv").open(encoding="utf-8", newline="") as table:
            for row in csv.DictReader(table):
                if row["time_signature"] != "4-4" or row["beat_type"] not in ("beat", "fill"):
                    continue
                name = row["midi_filename"]
                performance = performance_of(archive.read(name), float(row["bpm"]))
                if performance:
                    style = STYLE_OF.get(row["style"], row["style"].split("/")[0])
                    found[row["beat_type"], style].append(performance)
    except ScoreError as error:
        raise InputError(f"{name} of {groove / 'midi.zip'} cannot be read: {error}") from error
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise InputError(f"{groove} does not hold the Groove MIDI Dataset's info.csv and midi.zip ({error})") from error
    if not found:
        raise InputError(f"{groove} holds no performance in 4/4 that is of use")
    return found


def performance_of(midi: bytes, bpm: float) -> Performance | None:
    """The bars of a performance on the grid that fits it better; None where neither fits."""
    score = read_midi(io.BytesIO(midi))
    at = score.notes["onset_tick"] * (QUARTER / score.ticks_per_quarter)
    pitches, velocity = score.notes["pitch"].tolist(), score.notes["velocity"]
    # Some play ahead of the click or behind it throughout: what lies near a quarter says by how much.
    off = at - np.round(at / QUARTER) * QUARTER
    near = np.abs(off) < STRAIGHT_STEP / 2
    at = at - (np.median(off[near]) if near.any() else 0)
    straight, swing = (_misfit(at, velocity, step) for step in (STRAIGHT_STEP, SWING_STEP))
    if min(straight, swing) > WORST_FIT:
        return None
    step = SWING_STEP if swing < straight else STRAIGHT_STEP
    places = np.maximum(np.round(at / step).astype(int) * step, 0).tolist()
    bars: dict[int, Places] = defaultdict(dict)
    for place, pitch, loud in zip(places, pitches, velocity.tolist(), strict=True):
        here = bars[place // BAR]
        key = place % BAR, PITCH_OF.get(pitch, pitch)
        here[key] = max(loud, here.get(key, 0))
    return Performance(bpm, step == SWING_STEP, tuple(bars[number] for number in sorted(bars)))


def _misfit(at: np.ndarray, velocity: np.ndarray, step: int) -> float:
    """Mean distance from a grid, louder hits counting for more, in steps of it: else the finer grid would always win."""
    return float(np.average(np.abs(at - np.round(at / step) * step), weights=velocity)) / step


def typical_bars(performance: Performance, count: int = 1) -> list[Bar]:
    """Up to so many different bars that are most like a performance's others; a single bar is typical of nothing.

    What is rare in the performance is left out, what keeps time in most of it put in, and each hit has its median velocity.
    """
    bars = performance.bars
    if len(bars) < 2:
        return []
    heard: dict[tuple[int, int], list[int]] = defaultdict(list)
    for bar in bars:
        for key, loud in bar.items():
            heard[key].append(loud)
    common = {key for key, louds in heard.items() if len(louds) >= RAREST * len(bars)}
    usual = {key for key in common if key[1] in TIMEKEEPERS and len(heard[key]) >= USUAL * len(bars)}
    counts = Counter(frozenset(bar) for bar in bars)
    order = sorted(counts, key=lambda keys: (-_mean_likeness(keys, counts), sorted(keys)))
    taken: list[frozenset[tuple[int, int]]] = []
    for keys in order:
        kept = (keys & common) | usual
        crashes = {key for key in kept if key[1] in _CRASHES}
        if len(crashes) < _CRASHING:  # they mark the start of a phrase, not of every bar
            kept -= crashes
        steady = len(keys & common) >= STEADY * len(keys)
        if steady and BEAT_HITS[0] <= len(kept) <= BEAT_HITS[1] and _is_beat(kept) \
                and all(likeness(kept, other) < _DIFFERENT for other in taken):
            taken.append(kept)
        if len(taken) == count:
            break
    return [_with_kick(_bar(performance, {key: round(median(heard[key])) for key in keys})) for keys in taken]


def _is_beat(keys: frozenset[tuple[int, int]]) -> bool:
    """Whether the bar line and every quarter are marked, by more than one of kick, snare and who keeps time."""
    pitches = {pitch for _, pitch in keys}
    return any(tick == 0 for tick, _ in keys) and len({tick // QUARTER for tick, _ in keys}) == BAR // QUARTER \
        and sum(bool(pitches & role) for role in (KICKS, SNARES, TIMEKEEPERS)) > 1


def _with_kick(bar: Bar) -> Bar:
    """A straight beat with a kick that is heard: on some of the kits that were recorded its pad was much less sensitive.

    Where beats swing it is left alone; there, a kick is often but felt.
    """
    kicks = [hit.velocity for hit in bar.hits if hit.pitch in KICKS]
    lift = max(hit.velocity for hit in bar.hits) - _KICK_BELOW - max(kicks, default=7)
    if bar.swing or lift <= 0:
        return bar
    return replace(bar, hits=tuple(
        hit._replace(velocity=hit.velocity + lift) if hit.pitch in KICKS else hit for hit in bar.hits))


def fill_bar(performance: Performance) -> Bar | None:
    """The fullest bar, if it is one that leads on: drums more than cymbals, up to the last quarter."""
    full = max(performance.bars, key=len)
    drums = sum(pitch in KICKS | SNARES | TOMS for _, pitch in full)
    rolling = any(tick >= _LAST_QUARTER and pitch in KICKS | SNARES | TOMS for tick, pitch in full)
    if not FILL_HITS[0] <= len(full) <= FILL_HITS[1] or 2 * drums < len(full) or not rolling:
        return None
    return _bar(performance, full)


def _bar(performance: Performance, places: Places) -> Bar:
    hits = (Hit(tick, pitch, velocity_class(loud)) for (tick, pitch), loud in places.items())
    return Bar(performance.bpm, performance.swing, tuple(sorted(hits)))


def velocity_class(velocity: int) -> int:
    """0..7 of a MIDI velocity."""
    return min(max(round(velocity / 15) - 1, 0), 7)


def likeness(one: frozenset[tuple[int, int]], other: frozenset[tuple[int, int]]) -> float:
    """What two bars share of all their hits, 0..1 (Jaccard)."""
    return len(one & other) / max(len(one | other), 1)


def _mean_likeness(keys: frozenset[tuple[int, int]], counts: Mapping[frozenset[tuple[int, int]], int]) -> float:
    total = sum(number * likeness(keys, other) for other, number in counts.items())
    return (total - 1) / max(sum(counts.values()) - 1, 1)  # without itself


def spread(bars: Sequence[Bar], most: int) -> list[Bar]:
    """At most so many different bars, from sparse to full: by hits in runs of equal length, of each the most typical.

    Where all bars of a run are much like one that is chosen, none of it is.
    """
    different = {(bar.swing, _keys(bar)): bar for bar in bars}
    counts = Counter(keys for _, keys in different)
    order = sorted(different.values(), key=lambda bar: (len(bar.hits), bar.hits, bar.bpm))
    runs = min(most, len(order))
    chosen: list[Bar] = []
    for number in range(runs):
        run = order[number * len(order) // runs:(number + 1) * len(order) // runs]
        fresh = [bar for bar in run if all(likeness(_keys(bar), _keys(other)) < _DIFFERENT for other in chosen)]
        if fresh:
            chosen.append(max(fresh, key=lambda bar: _mean_likeness(_keys(bar), counts)))
    return chosen


def _keys(bar: Bar) -> frozenset[tuple[int, int]]:
    return frozenset((hit.tick, hit.pitch) for hit in bar.hits)


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the file of drum grooves from the Groove MIDI Dataset.")
    parser.add_argument("--groove", type=Path, required=True, help="folder with info.csv and midi.zip")
    parser.add_argument("--out", type=Path, default=SHIPPED)
    arguments = parser.parse_args()
    try:
        grooves = build_grooves(arguments.groove, arguments.out)
    except KapelleError as error:
        parser.exit(1, f"{error}\n")
    for style in sorted(grooves.beats.keys() | grooves.fills.keys()):
        beats, fills = grooves.beats.get(style, ()), grooves.fills.get(style, ())
        print(f"{style:14} {len(beats):3} beats ({sum(bar.swing for bar in beats)} swing), "
              f"{len(fills):3} fills ({sum(bar.swing for bar in fills)} swing)")
    print(f"{arguments.out}: {arguments.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
