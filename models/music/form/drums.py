"""What a drummer plays to a piece: a bar of groove and a bar of fill, by genre, form, metre and tempo.

Grooves in four were played by real drummers (`ATTRIBUTION.md`); those in other metres are written by hand, or made of
the others. Places are in 24ths of a quarter, which hold sixteenths (6) as well as triplets (8).
"""

from __future__ import annotations

import functools
import gzip
import json
import math
import random
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from models.errors import CheckpointError

VERSION = 1
SHIPPED = Path(__file__).with_name("grooves.json.gz")
LARGEST_BYTES = 1 << 20  # unpacked; a file that claims more is not ours
QUARTER = 24  # ticks
BAR = 4 * QUARTER  # ticks of the bars in the file, all in 4/4
BEAT_HITS, FILL_HITS = (3, 20), (4, 20)  # fewest and most of a bar in the file
PITCHES = range(35, 82)  # the General MIDI kit
VELOCITIES = 8
STRAIGHT_STEP, SWING_STEP = 6, 8  # ticks between places: sixteenths, eighths of a triplet

KICKS, SNARES, TOMS = frozenset({35, 36}), frozenset({37, 38, 39, 40}), frozenset({41, 43, 45, 47, 48, 50})
TIMEKEEPERS = frozenset({42, 44, 46, 51, 53, 54, 59, 70, 82})  # hi-hats, rides, and shakers

_FEWEST_OF_HALF = 2  # hits of a bar's half that is a bar of its own
_FILL_SHARE = 1.5  # a fill may have this many times the hits of a beat
_STYLE_COST = 0.15  # octaves of tempo that the next style of a list is worse than the one before
_NEAR, _MOST_NEAR = 0.25, 6  # chance chooses among bars so close (octaves) to the best, and so many


class Hit(NamedTuple):
    tick: int  # 24ths of a quarter from the bar line
    pitch: int  # of the General MIDI kit
    velocity: int  # class 0..7, which stands for a MIDI velocity of about 15 * (class + 1)


@dataclass(frozen=True)
class Groove:
    """One bar to repeat and one to end a phrase with, hits in order of tick and pitch.

    `swing` says that eighths are played long and short, at ticks 0 and 16 of a quarter.
    """

    style: str
    metre: str
    beats: tuple[Hit, ...]
    fill: tuple[Hit, ...]
    swing: bool


@dataclass(frozen=True)
class Bar:
    """A bar as it was played, at so many quarters a minute."""

    bpm: float
    swing: bool
    hits: tuple[Hit, ...]


@dataclass(frozen=True)
class Grooves:
    """Bars in 4/4 by style."""

    beats: Mapping[str, tuple[Bar, ...]]
    fills: Mapping[str, tuple[Bar, ...]]


def choose_groove(genre: str | None, forms: tuple[str, ...], metre: str, bpm: float, most_hits: float,
                  chance: random.Random, *, swing: bool | None = None) -> Groove | None:
    """A groove for a piece, or None where nothing fits its metre (those of `attributes.METRES` all have one).

    The first of `forms` that says something about drums decides on the style, else the genre. `bpm` counts quarters.
    The beat has at most `most_hits` hits (at least one), the fill half as many again. `swing` overrules what is usual
    of the style. The same state of `chance` gives the same groove. Raises CheckpointError where the data file is damaged.
    """
    manner = next((_OF_FORM[form] for form in forms if form in _OF_FORM), _OF_GENRE.get(genre or "", _BAND))
    wish = _Wish(manner.styles, manner.swing if swing is None else swing, max(bpm, 1.0), max(most_hits, 1.0), chance)
    if metre in _OWN_METRES:
        return _choose(metre, wish)
    made = _MADE.get(metre)
    if made is None:
        return None
    groove, most = made(wish), math.floor(wish.most)
    return replace(groove, metre=metre, beats=thinned(groove.beats, most, _pulse(metre)),
                   fill=thinned(groove.fill, math.floor(_FILL_SHARE * most), _pulse(metre)))


def bar_ticks(metre: str) -> int:
    """The length of a bar, as "6/8", in 24ths of a quarter."""
    beats, unit = metre.split("/")
    return int(beats) * 4 * QUARTER // int(unit)


def _pulse(metre: str) -> int:
    return 3 * QUARTER // 2 if metre.endswith("/8") else QUARTER


def thinned(hits: Sequence[Hit], most: int, pulse: int = QUARTER) -> tuple[Hit, ...]:
    """At most so many of the hits, but one: kick and snare first, then who keeps time, each on pulses before halves of them.

    Of who keeps time, all or none of a kind of place stay: hats that fall silent half way through a bar sound like a mistake.
    """
    most = max(most, 1)
    if len(hits) <= most:
        return tuple(hits)
    groups: dict[tuple[int, ...], list[Hit]] = {}
    for hit in hits:
        groups.setdefault(_rank(hit, pulse), []).append(hit)
    kept: list[Hit] = []
    for rank in sorted(groups):
        group, room = groups[rank], most - len(kept)
        if len(group) <= room:
            kept += group
        elif not kept or rank[0] in (0, 1, 4):  # the first of a bar, then the loudest
            kept += sorted(group, key=lambda hit: (hit.tick > 0, -hit.velocity, hit))[:room]
    return tuple(sorted(kept))


def _rank(hit: Hit, pulse: int) -> tuple[int, ...]:
    place = hit.tick % pulse
    halves = (pulse // 2, 2 * pulse // 3) if pulse == QUARTER else (pulse // 3, 2 * pulse // 3)
    strength = 0 if place == 0 else 1 if place in halves else 2
    if hit.pitch in KICKS | SNARES and strength < 2:
        return (strength,)
    if hit.pitch in TIMEKEEPERS and strength < 2:
        return 2 + strength, hit.pitch
    return (4,)


@functools.cache
def shipped_grooves() -> Grooves:
    """The grooves that come with Kapelle. Raises CheckpointError as `read_grooves` does."""
    return read_grooves(SHIPPED)


def read_grooves(path: Path) -> Grooves:
    """Read what `models.training.grooves` wrote. Raises CheckpointError when the file is missing, damaged or another one."""
    try:
        with gzip.open(path) as stream:
            data = stream.read(LARGEST_BYTES + 1)
        if len(data) > LARGEST_BYTES:
            raise ValueError(f"more than {LARGEST_BYTES:,} bytes unpacked")
        document = json.loads(data)
        if document["version"] != VERSION:
            raise ValueError(f"version {document['version']!r}, expected {VERSION}")
        grooves = Grooves(_read_styles(document["beats"], *BEAT_HITS), _read_styles(document["fills"], *FILL_HITS))
        if not any(grooves.beats.values()) or not any(grooves.fills.values()):
            raise ValueError("beats and fills were expected")
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{path} holds no usable grooves ({error}); restore it or build it again") from error
    return grooves


def _read_styles(document: Mapping[str, Sequence[Mapping[str, Any]]], fewest: int, most: int) -> dict[str, tuple[Bar, ...]]:
    return {style: tuple(_read_bar(bar, fewest, most) for bar in bars) for style, bars in document.items()}


def _read_bar(document: Mapping[str, Any], fewest: int, most: int) -> Bar:
    bpm, swing, rows = document["bpm"], document["swing"], document["hits"]
    if type(bpm) not in (int, float) or not 20 <= bpm <= 400 or type(swing) is not bool:
        raise ValueError(f"tempo {bpm!r} is not within 20..400, or swing {swing!r} is neither true nor false")
    hits = tuple(Hit(*row) for row in rows)
    step = SWING_STEP if swing else STRAIGHT_STEP
    for hit in hits:
        if any(type(number) is not int for number in hit) or hit.tick not in range(0, BAR, step) \
                or hit.pitch not in PITCHES or not 0 <= hit.velocity < VELOCITIES:
            raise ValueError(f"{list(hit)} is no hit on a grid of {step} ticks")
    places = [hit[:2] for hit in hits]
    if not fewest <= len(hits) <= most or places != sorted(set(places)):
        raise ValueError(f"a bar has {len(hits)} hits, or not in order; {fewest}..{most} in order were expected")
    return Bar(float(bpm), swing, hits)


class _Manner(NamedTuple):
    """Styles, the most fitting first, and whether they swing."""

    styles: tuple[str, ...]
    swing: bool = False


_BAND = _Manner(("pop", "rock"))
_QUIET = _Manner(("sparse", "waltz"))
_WALTZ = _Manner(("waltz", "sparse"))
_JAZZ = _Manner(("swing", "jazz"), swing=True)
_MARCH = _Manner(("march", "polka"))
_POLKA = _Manner(("polka", "march"))
_LATIN = _Manner(("latin", "samba", "afrocuban"))
_TANGO = _Manner(("tango", "latin", "afrocuban"))
_ROCK = _Manner(("rock", "punk"))
_FOLK = _Manner(("folk", "country", "pop"))
_COUNTRY = _Manner(("country", "pop", "rock"))

_OF_GENRE: Mapping[str, _Manner] = {
    "classical": _QUIET,
    "sacred": _Manner(("gospel", "sparse")),
    "jazz": _JAZZ,
    "game": _Manner(("rock", "dance", "pop")),
    "pop": _Manner(("pop", "soul", "rock")),
    "dance": _Manner(("dance", "hiphop")),
    "march": _MARCH,
    "folk": _FOLK,
    "soundtrack": _Manner(("sparse", "pop", "rock")),
    "tango": _TANGO,
    "country": _COUNTRY,
    "reggae": _Manner(("reggae",)),
    "rock": _ROCK,
    "song": _Manner(("pop", "soul", "country")),
}
# Forms that say something about drums; of the others the genre decides.
_OF_FORM: Mapping[str, _Manner] = {
    **dict.fromkeys(("waltz", "minuet", "mazurka", "polonaise", "oberek", "sarabande", "courante"), _WALTZ),
    **dict.fromkeys(("polka", "krakowiak", "galop", "quadrille"), _POLKA),
    **dict.fromkeys(("orchestra", "symphony", "overture", "opera", "concerto", "string quartet", "baroque"), _QUIET),
    **dict.fromkeys(("romantic", "hymn", "chorale", "carol"), _QUIET),
    **dict.fromkeys(("jazz", "swing"), _JAZZ),
    "dixieland": _Manner(("swing", "jazz", "blues"), swing=True),
    "ragtime": _Manner(("march", "polka", "neworleans")),  # a rag is a march against which the melody leans: not swung
    "blues": _Manner(("blues", "jazz"), swing=True),
    "bossa nova": _Manner(("bossa", "latin")),
    "latin": _LATIN,
    "tango": _TANGO,
    "reggae": _OF_GENRE["reggae"],
    "rock": _ROCK,
    "metal": _Manner(("punk", "rock")),
    "disco": _Manner(("dance", "soul")),
    "electronic": _OF_GENRE["dance"],
    "ballad": _Manner(("pop", "soul", "rock")),
    "easy listening": _Manner(("pop", "bossa", "soul")),
    "cinematic": _Manner(("sparse", "rock")),
    "country": _COUNTRY,
    "folk song": _FOLK,
    "gigue": _FOLK,
    "march": _MARCH,
    "brass": _Manner(("march", "neworleans")),
}

_OWN_METRES = ("4/4", "2/4", "3/4", "6/8")


class _Written(NamedTuple):
    """A bar written by hand: voices as velocity classes on equal steps of the bar, a dot where a voice is silent."""

    bpm: float
    voices: Mapping[int, str]
    swing: bool = False


_KICK, _STICK, _SNARE, _LOW, _HAT, _PEDAL, _MID, _CRASH, _HIGH, _RIDE = 36, 37, 38, 43, 42, 44, 47, 49, 50, 51

# Not from the data set: it has next to nothing outside of 4/4, and no orchestra, march, polka or tango. Written for Kapelle.
_BEATS_BY_HAND: Mapping[str, Mapping[str, tuple[_Written, ...]]] = {
    "4/4": {
        "sparse": (
            _Written(80, {_KICK: "5.3.", _PEDAL: ".2.2"}),
            _Written(100, {_KICK: "5...", _SNARE: "..3.", _RIDE: "3333"}),
            _Written(120, {_KICK: "5...4...", _SNARE: "..3...32"}),
        ),
        "march": (
            _Written(116, {_KICK: "6.5.", _SNARE: ".5.5"}),
            _Written(116, {_KICK: "6...5...", _SNARE: "..5...54"}),
            _Written(112, {_KICK: "6.......5.......", _SNARE: "....5.44....5.44"}),
            _Written(120, {_KICK: "6.......5.......", _SNARE: "4...4.444...4444", _CRASH: "4..............."}),
        ),
        "polka": (_Written(110, {_KICK: "6.5.6.5.", _SNARE: ".4.4.4.4"}),),
        "tango": (
            _Written(124, {_KICK: "6...5...", _SNARE: "5.4.5.45"}),
            _Written(120, {_KICK: "6..54.5.", _STICK: "..4...4."}),
        ),
    },
    "2/4": {
        "sparse": (_Written(90, {_KICK: "5...", _PEDAL: "..3.", _SNARE: "...2"}),),
        "march": (
            _Written(116, {_KICK: "6.5.", _SNARE: ".4.4"}),
            _Written(112, {_KICK: "6...5...", _SNARE: "..4...44"}),
            _Written(120, {_KICK: "6.......", _SNARE: "..4.5.44"}),
        ),
        "polka": (
            _Written(112, {_KICK: "6.5.", _SNARE: ".4.4"}),
            _Written(120, {_KICK: "6.5.", _PEDAL: ".4.4"}),
            _Written(110, {_KICK: "6...5...", _SNARE: "..4...43", _PEDAL: "..4...4."}),
        ),
        "tango": (
            _Written(62, {_KICK: "6..54.5.", _STICK: "..4...4."}),
            _Written(60, {_KICK: "6...5...", _SNARE: "5.4.5.45"}),
        ),
    },
    "3/4": {
        "waltz": (
            _Written(170, {_KICK: "6..", _PEDAL: ".44"}),
            _Written(160, {_KICK: "6..", _SNARE: ".33"}),
            _Written(180, {_KICK: "6..", _SNARE: ".43", _PEDAL: ".44"}),
            _Written(140, {_KICK: "6.....", _SNARE: "..4.43"}),
        ),
        "sparse": (
            _Written(90, {_KICK: "5..", _PEDAL: ".32"}),
            _Written(120, {_KICK: "5..", _SNARE: "..3", _RIDE: "333"}),
        ),
        "pop": (
            _Written(90, {_KICK: "6.....", _SNARE: "....5.", _HAT: "434343"}),
            _Written(120, {_KICK: "6.....", _SNARE: "..5.5.", _HAT: "4.4.4."}),
            _Written(150, {_KICK: "6..", _STICK: ".44", _HAT: "444"}),
        ),
        "rock": (
            _Written(120, {_KICK: "7....5", _SNARE: "..6.6.", _HAT: "535353"}),
            _Written(150, {_KICK: "7..5..", _SNARE: "....6.", _HAT: "535353"}),
        ),
        "jazz": (
            _Written(140, {_KICK: "4........", _PEDAL: "...4.....", _RIDE: "5..5.44.."}, swing=True),
            _Written(180, {_KICK: "4........", _PEDAL: "...4..4..", _RIDE: "5..4.34.3"}, swing=True),
        ),
    },
    "6/8": {
        "pop": (
            _Written(90, {_KICK: "6.....", _SNARE: "...5..", _HAT: "433433"}),
            _Written(75, {_KICK: "6....4", _SNARE: "...5..", _HAT: "433433"}),
            _Written(110, {_KICK: "6.....", _STICK: "...4..", _RIDE: "4.34.3"}),
        ),
        "rock": (
            _Written(100, {_KICK: "7.5..5", _SNARE: "...6..", _HAT: "533533"}),
            _Written(140, {_KICK: "7....5", _SNARE: "...6..", _HAT: "5.35.3"}),
        ),
        "sparse": (
            _Written(80, {_KICK: "5.....", _PEDAL: "...3.2"}),
            _Written(110, {_KICK: "5..4..", _SNARE: "..2..2"}),
        ),
        "march": (
            _Written(170, {_KICK: "6..5..", _SNARE: "..4..4"}),
            _Written(170, {_KICK: "6..5..", _SNARE: "..45.4", _CRASH: "4....."}),
        ),
        "folk": (
            _Written(170, {_KICK: "5..4..", _SNARE: "3.23.2"}),
            _Written(150, {_KICK: "5.....", _STICK: "...4..", _HAT: "4.34.3"}),
        ),
    },
}
_FILLS_BY_HAND: Mapping[str, Mapping[str, tuple[_Written, ...]]] = {
    "4/4": {
        "sparse": (
            _Written(90, {_KICK: "5.......", _SNARE: "....3345"}),
            _Written(110, {_KICK: "5...", _LOW: "..34", _CRASH: "3..."}),
        ),
        "march": (
            _Written(116, {_KICK: "6...5...", _SNARE: "5.555555"}),
            _Written(112, {_KICK: "6...............", _SNARE: "5...5.553344556."}),
        ),
        "polka": (_Written(110, {_KICK: "6.5.6...", _SNARE: ".4.44455"}),),
        "tango": (_Written(120, {_KICK: "6...............", _SNARE: "5...4...3.3.4456"}),),
    },
    "2/4": {
        "sparse": (_Written(90, {_KICK: "5...", _SNARE: ".345"}),),
        "march": (
            _Written(116, {_KICK: "6.......", _SNARE: "5.555555"}),
            _Written(116, {_KICK: "6...", _SNARE: "5555"}),
        ),
        "polka": (_Written(112, {_KICK: "6...5...", _SNARE: "..4.4455"}),),
        "tango": (_Written(62, {_KICK: "6.......", _SNARE: "4...3456"}),),
    },
    "3/4": {
        "waltz": (
            _Written(160, {_KICK: "6.....", _SNARE: "..4455"}),
            _Written(140, {_KICK: "6...........", _SNARE: "....4.4.4455"}),
        ),
        "sparse": (_Written(100, {_KICK: "5.....", _SNARE: "..3345"}),),
        "pop": (
            _Written(90, {_KICK: "6...........", _SNARE: "....5.55....", _HIGH: "........55..", _LOW: "..........56"}),
            _Written(130, {_KICK: "6.....", _SNARE: "..55..", _MID: "....5.", _LOW: ".....6"}),
        ),
        "rock": (
            _Written(120, {_KICK: "7...........", _SNARE: "....6666....", _HIGH: "........6.6.", _LOW: ".........6.7"}),
            _Written(150, {_KICK: "7....5", _SNARE: "..66..", _MID: "....6.", _LOW: ".....6"}),
        ),
        "jazz": (_Written(150, {_KICK: "4........", _SNARE: "...4.45..", _MID: "......4.4", _LOW: "........5"}, swing=True),),
    },
    "6/8": {
        "pop": (
            _Written(90, {_KICK: "6.....", _SNARE: "...55.", _MID: ".....5", _HAT: "433..."}),
            _Written(75, {_KICK: "6...........", _SNARE: "......55....", _HIGH: "........55..", _LOW: "..........56"}),
        ),
        "rock": (
            _Written(110, {_KICK: "7.....", _SNARE: ".666..", _HIGH: "....6.", _LOW: ".....7"}),
            _Written(90, {_KICK: "7...........", _SNARE: "....6.66....", _MID: "........66..", _LOW: "..........67"}),
        ),
        "sparse": (_Written(90, {_KICK: "5.....", _SNARE: "..3345"}),),
        "march": (_Written(170, {_KICK: "6.....", _SNARE: "5.5555"}),),
        "folk": (_Written(160, {_KICK: "5..4..", _SNARE: "3.3445"}),),
    },
}


class _Wish(NamedTuple):
    styles: tuple[str, ...]
    swing: bool
    bpm: float  # quarters a minute
    most: float  # hits of the beat
    chance: random.Random


def _choose(metre: str, wish: _Wish) -> Groove:
    """A groove in one of the metres that have bars of their own."""
    for styles in (wish.styles, _BAND.styles, tuple(sorted(shipped_grooves().beats))):
        if offered := _offered(metre, styles, fill=False):
            break
    style, beat = _nearest(offered, wish, math.floor(wish.most), _pulse(metre))
    # A fill goes on as the beat did: of its style, else of a like one, else of any, as long as it has the same feel.
    others = tuple(sorted({*_FILLS_BY_HAND[metre], *shipped_grooves().fills}))
    for styles in ((style,), wish.styles, others):
        offered = _offered(metre, styles, fill=True)
        if any(bar.swing == beat.swing for _, bar in offered):
            break
    like_beat = wish._replace(styles=(style, *wish.styles), swing=beat.swing)
    _, fill = _nearest(offered, like_beat, math.floor(_FILL_SHARE * wish.most), _pulse(metre))
    return Groove(style, metre, beat.hits, fill.hits, beat.swing)


def _offered(metre: str, styles: Iterable[str], *, fill: bool) -> list[tuple[str, Bar]]:
    return [(style, bar) for style in styles for bar in _bars(metre, style, fill)]


@functools.cache
def _bars(metre: str, style: str, fill: bool) -> tuple[Bar, ...]:
    """Bars of a style in a metre; those in two quarters are, where none is written, halves of bars in four."""
    written = _by_hand(metre, fill).get(style, ())
    if metre not in ("4/4", "2/4") or (metre == "2/4" and written):
        return written
    grooves = shipped_grooves()
    played = (grooves.fills if fill else grooves.beats).get(style, ())
    if metre == "4/4":
        return written + played
    start = BAR // 2 if fill else 0  # the end of a fill is what leads on
    halves = (replace(bar, hits=_part(bar.hits, start, BAR // 2)) for bar in played)
    return tuple(bar for bar in halves if len(bar.hits) >= _FEWEST_OF_HALF)


@functools.cache
def _by_hand(metre: str, fill: bool) -> Mapping[str, tuple[Bar, ...]]:
    table = (_FILLS_BY_HAND if fill else _BEATS_BY_HAND)[metre]
    return {style: tuple(_sounded(written, bar_ticks(metre)) for written in bars) for style, bars in table.items()}


def _sounded(written: _Written, length: int) -> Bar:
    hits = (Hit(length // len(steps) * place, pitch, int(mark))
            for pitch, steps in written.voices.items() for place, mark in enumerate(steps) if mark != ".")
    return Bar(written.bpm, written.swing, tuple(sorted(hits)))


def _nearest(offered: Sequence[tuple[str, Bar]], wish: _Wish, most: int, pulse: int) -> tuple[str, Bar]:
    """One of the bars nearest in style and tempo, by chance, with at most so many hits.

    The feel comes first: swung drums against straight notes are out of time.
    """
    pool = [entry for entry in offered if entry[1].swing == wish.swing] or list(offered)
    pool = [entry for entry in pool if len(entry[1].hits) <= most] or pool

    def cost(entry: tuple[str, Bar]) -> float:
        rank = wish.styles.index(entry[0]) if entry[0] in wish.styles else len(wish.styles)
        return abs(math.log2(entry[1].bpm / wish.bpm)) + _STYLE_COST * rank

    pool.sort(key=cost)
    near = [entry for entry in pool[:_MOST_NEAR] if cost(entry) <= cost(pool[0]) + _NEAR]
    style, bar = wish.chance.choice(near)
    return style, replace(bar, hits=thinned(bar.hits, most, pulse))


def _part(hits: Iterable[Hit], start: int, length: int) -> tuple[Hit, ...]:
    return tuple(hit._replace(tick=hit.tick - start) for hit in hits if start <= hit.tick < start + length)


def _later(hits: Iterable[Hit], ticks: int) -> tuple[Hit, ...]:
    return tuple(hit._replace(tick=hit.tick + ticks) for hit in hits)


def _scaled(hits: Iterable[Hit], numerator: int, denominator: int) -> tuple[Hit, ...]:
    return tuple(hit._replace(tick=hit.tick * numerator // denominator) for hit in hits)


def _half_longer(base: str, wish: _Wish) -> Groove:
    """A bar and half of it again: the beat repeats its first half, and the fill comes after that half."""
    groove, length = _choose(base, wish._replace(most=wish.most * 2 / 3)), bar_ticks(base)
    half = _part(groove.beats, 0, length // 2)
    return replace(groove, beats=groove.beats + _later(half, length), fill=half + _later(groove.fill, length // 2))


def _in_five(wish: _Wish) -> Groove:
    """Three quarters and two."""
    three, two = _choose("3/4", wish._replace(most=wish.most * 3 / 5)), _choose("2/4", wish._replace(most=wish.most * 2 / 5))
    length = bar_ticks("3/4")
    return replace(three, beats=three.beats + _later(two.beats, length), fill=three.beats + _later(two.fill, length))


def _in_three_eighths(wish: _Wish) -> Groove:
    """Three quarters, twice as fast."""
    groove = _choose("3/4", wish._replace(bpm=2 * wish.bpm))
    return replace(groove, beats=_scaled(groove.beats, 1, 2), fill=_scaled(groove.fill, 1, 2))


def _in_twelve(wish: _Wish) -> Groove:
    """Four quarters of three eighths: a style's swung bar, else two bars of six."""
    slower = wish._replace(bpm=wish.bpm / 1.5, swing=True)
    if any(bar.swing for _, bar in _offered("4/4", wish.styles, fill=False)):
        groove = _choose("4/4", slower)
        if groove.swing:
            return replace(groove, beats=_scaled(groove.beats, 3, 2), fill=_scaled(groove.fill, 3, 2), swing=False)
    groove, length = _choose("6/8", wish._replace(most=wish.most / 2)), bar_ticks("6/8")
    return replace(groove, beats=groove.beats + _later(groove.beats, length), fill=groove.beats + _later(groove.fill, length))


_MADE: Mapping[str, Callable[[_Wish], Groove]] = {
    "2/2": functools.partial(_choose, "4/4"),
    "3/8": _in_three_eighths,
    "5/4": _in_five,
    "6/4": functools.partial(_half_longer, "4/4"),
    "3/2": functools.partial(_half_longer, "4/4"),
    "9/8": functools.partial(_half_longer, "6/8"),
    "12/8": _in_twelve,
}
