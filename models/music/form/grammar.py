"""How pieces are built: forms as strings of four-bar phrases, and harmony as songs and scores have it.

A form is a word of phrase letters for each number of phrases. The same letter is the same music; after it stands how
the phrase ends: `.` at home with a cadence, `,` away from home. What harmony there is to draw from was counted by
`models.training.harmony`.
"""

from __future__ import annotations

import gzip
import json
import random
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from models.errors import CheckpointError
from models.music.form.chords import degrees_between, transposed, units_in_bar
from models.music.form.drums import choose_groove
from models.music.form.plan import Bar, FormPlan, Player, Return, Section

SHIPPED = Path(__file__).with_name("harmony.json.gz")
VERSION = 1
PHRASE = 4  # bars
_LARGEST_BYTES = 4 << 20

_WORDS: Mapping[str, Mapping[int, str]] = {
    "song": {1: "a.", 2: "a,a.", 3: "a,a.b.", 4: "a,a.b,a.", 5: "a,a.b,a.a.", 6: "a,a.a,a.b,a.", 7: "a,a.a,a.b,b,a.",
             8: "a,a.a,a.b,b,a,a."},
    "verses": {1: "a.", 2: "a,b.", 3: "a,a,b.", 4: "a,a.b,b.", 5: "a,a,b,a,b.", 6: "a,a,b,b.a,b.", 7: "a,a,b,b.c,b,b.",
               8: "a,a,b,b.a,a,b,b."},
    "strains": {1: "a.", 2: "a,a.", 3: "a,a.b.", 4: "a,a.b,b.", 5: "a,a.b,b.a.", 6: "a,a.b,b.a,a.", 7: "a,a.b,b.t,t.a.",
                8: "a,a.b,b.t,t.a,a."},
    "minuet": {1: "a.", 2: "a,a.", 3: "a,a.b.", 4: "a,a.b,a.", 5: "a,a.t,t.a.", 6: "a,a.t,t.a,a.", 7: "a,a.b,a.t,t.a.",
               8: "a,a.t,t.b,t.a,a."},
    "hymn": {1: "a.", 2: "a,b.", 3: "a,a,b.", 4: "a,b.a,b.", 5: "a,b.a,b.c.", 6: "a,b.a,b.c,d.", 7: "a,b.a,b.c,d,b.",
             8: "a,b.a,b.c,d.c,b."},
    "rondo": {1: "a.", 2: "a,a.", 3: "a.b,a.", 4: "a,a.b,a.", 5: "a.b,a.c,a.", 6: "a,a.b,a.c,a.", 7: "a,a.b,b,a.c,a.",
              8: "a,a.b,b,a.c,c,a."},
    "variations": {1: "a.", 2: "a,a.", 3: "a.a.a.", 4: "a,a.a,a.", 5: "a.a.a.a.a.", 6: "a,a.a,a.a,a.", 7: "a,a.a,a.a,a.a.",
                   8: "a,a.a,a.a,a.a,a."},
}
_FORMS: Mapping[str, str] = {
    **dict.fromkeys(("march", "polka", "mazurka", "waltz", "polonaise", "galop", "quadrille", "ragtime", "gavotte", "bourree",
                     "gigue", "krakowiak", "oberek", "dixieland", "brass"), "strains"),
    **dict.fromkeys(("minuet", "scherzo"), "minuet"),
    **dict.fromkeys(("hymn", "chorale", "carol", "mass", "motet"), "hymn"),
    **dict.fromkeys(("fugue", "invention"), "fugue"),
    "rondo": "rondo", "variations": "variations", "blues": "blues", "canon": "round",
    **dict.fromkeys(("rock", "metal", "disco", "electronic", "country", "reggae", "ballad", "latin"), "verses"),
}
_GENRES: Mapping[str, str] = {
    "pop": "verses", "rock": "verses", "country": "verses", "reggae": "verses", "dance": "verses", "sacred": "hymn",
    "march": "strains",
}
_FUNCTIONS: Mapping[str, Mapping[str, str]] = {
    "song": {"a": "theme", "b": "bridge"}, "verses": {"a": "verse", "b": "chorus", "c": "bridge"},
    "strains": {"a": "first strain", "b": "second strain", "t": "trio"},
    "minuet": {"a": "minuet", "b": "second part", "t": "trio"},
    "hymn": {"a": "first line", "b": "refrain", "c": "middle", "d": "middle"},
    "rondo": {"a": "refrain", "b": "episode", "c": "episode"}, "variations": {"a": "variation"},
    "blues": {"a": "chorus"},
}
# Where popular genres find harmony that the scores of the corpus lack.
SONG_BOOK = "song book"
_BOOKS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("pop", "rock", "country", "reggae", "dance"), (SONG_BOOK,)),
    "jazz": ("jazz", "song"), "folk": ("folk", "dance"), "sacred": ("sacred",), "game": ("game", "soundtrack"),
    "soundtrack": ("soundtrack", "game"), "tango": ("tango",), "march": ("march",), "song": ("song", "classical"),
}
_BLUES = (0, 0, 0, 0, 5, 5, 0, 0, 7, 5, 0, 7)  # roots of the bars of a chorus
_ENTRY = 2  # bars between the entries of a fugue or a round
_MOST_ENTRIES = 4
_FEWEST_HITS = 4.0  # of the drums in a bar


@dataclass(frozen=True)
class Harmony:
    """Phrases by mode and genre as (chords over the tonic, two a bar; pieces that have them), shares and densities."""

    phrases: Mapping[str, Mapping[str, tuple[tuple[tuple[int, ...], int], ...]]]
    shares: Mapping[str, float]
    notes: Mapping[str, tuple[float, ...]]

    def notes_in_quarter(self, genre: str | None, instruments: int) -> float:
        """Notes a quarter, usual of a genre for so many instruments."""
        place = min(max(instruments, 1), 5) - 1
        of_genre = self.notes.get(genre or "", (0.0,) * 5)[place]
        return of_genre or self.notes["all"][place]


@cache
def harmony(path: Path = SHIPPED) -> Harmony:
    """What was counted. Raises CheckpointError for a damaged file."""
    try:
        with gzip.open(path) as file:
            data: dict[str, Any] = json.loads(file.read(_LARGEST_BYTES))
        if data["version"] != VERSION:
            raise ValueError(f"version {data['version']}")
        return Harmony(
            {mode: {genre: tuple((tuple(row[:-1]), int(row[-1])) for row in rows) for genre, rows in books.items()}
             for mode, books in data["phrases"].items()},
            {name: float(share) for name, share in data["shares"].items()},
            {genre: tuple(map(float, rates)) for genre, rates in data["notes"].items()})
    except (OSError, EOFError, ValueError, TypeError, KeyError, AttributeError, zlib.error) as error:
        raise CheckpointError(f"{path} is damaged; install Kapelle anew ({type(error).__name__})") from error


def family_of(forms: Sequence[str], genre: str | None) -> str:
    """Which of the forms a piece has."""
    return next((_FORMS[name] for name in forms if name in _FORMS), _GENRES.get(genre or "", "song"))


def make_plan(
    *, forms: Sequence[str], genre: str | None, tonic: int, mode: str, metre: tuple[int, int], tempo_bpm: float,
    bars: int, notes_in_bar: float, players: tuple[Player, ...], chance: random.Random,
) -> FormPlan:
    """A plan of so many bars; the same draws give the same plan. Raises ValueError for fewer than one bar."""
    if bars < 1:
        raise ValueError(f"a piece has at least one bar, not {bars}")
    family = family_of(forms, genre)
    draft = _Draft(family, genre, mode, units_in_bar(*metre), chance, players)
    if family == "blues":
        draft.blues(bars)
    elif family in ("fugue", "round") and bars >= 2 * _ENTRY:
        draft.entries(bars, round_=family == "round")
    else:
        draft.phrases(_word(family, bars // PHRASE), bars)
    draft.come_home()
    groove = None
    if (drums := next((player for player in players if player.instrument == "drums"), None)) is not None:
        hits = max(drums.share * notes_in_bar, _FEWEST_HITS)
        groove = choose_groove(genre, tuple(forms), f"{metre[0]}/{metre[1]}", tempo_bpm, hits, chance)
    written = tuple(replace(bar, chords=tuple(transposed(np.array(bar.chords), tonic).tolist())) for bar in draft.bars)
    return FormPlan(family, tonic, mode, metre, tempo_bpm, tuple(draft.sections), written, players, notes_in_bar, groove)


def _word(family: str, phrases: int) -> list[tuple[str, str]]:
    """Letter and ending of each phrase."""
    words = _WORDS.get(family, _WORDS["song"])
    most = max(words)
    word = ""
    while phrases > most:  # longer pieces go through the whole form again
        word, phrases = word + words[most], phrases - most
    word += words.get(phrases, "")
    return [(word[place], word[place + 1]) for place in range(0, len(word), 2)]


class _Draft:
    """Bars with chords over the tonic, as they are put together."""

    def __init__(
        self, family: str, genre: str | None, mode: str, units: int, chance: random.Random, players: tuple[Player, ...],
    ) -> None:
        self.bars: list[Bar] = []
        self.sections: list[Section] = []
        self._family, self._units, self._chance = family, units, chance
        self._mode, self._home = mode, 0 if mode == "major" else 12
        books = harmony().phrases[mode]
        names = [name for name in _BOOKS.get(genre or "", ("classical",)) if name in books] or ["classical"]
        self._book = [pair for name in names for pair in books[name]]
        if sum(count for _, count in self._book) < 60:  # too few to draw from
            self._book += books[SONG_BOOK if genre in ("game", "soundtrack") else "classical"]
        self._players = players

    def phrases(self, word: list[tuple[str, str]], bars: int) -> None:
        """All phrases of a form; bars that are too many for them are a coda, and a piece of less than a phrase is all coda."""
        drawn: dict[str, tuple[int, ...]] = {}
        first_of: dict[str, int] = {}
        heard: dict[str, int] = {}
        for place, (letter, ending) in enumerate(word):
            before = heard.get(letter, 0)
            heard[letter] = before + 1
            if letter not in drawn:
                drawn[letter] = self._draw(begins=not drawn or letter in "ats", others=set(drawn.values()))
            chords = self._ended(drawn[letter], ending)
            if letter == "t":  # a trio stands a fourth higher
                chords = transposed(np.array(chords), 5).tolist()
            start = len(self.bars)
            first = first_of.setdefault(letter, start)
            again = first if before else None
            changed = {PHRASE - 1} if ending == "." else {PHRASE - 1} if before and word[place - 1][1] == "," else set()
            self._add(chords, again, changed, varied=before >= 2 or self._family == "variations", ending=ending,
                      letter=letter)
            self._section(letter, start, PHRASE, joins=place > 0 and word[place - 1][0] == letter and word[place - 1][1] == ",")
        if left := bars - len(self.bars):
            start = len(self.bars)
            self._add(self._ended(self._draw(begins=True, others=set()), ".")[-2 * left:], None, set(), False, ".")
            self._section("coda" if word else "a", start, left, joins=False)

    def blues(self, bars: int) -> None:
        """Choruses of twelve bars; a shorter piece is the end of one."""
        while len(self.bars) < bars:
            left = bars - len(self.bars)
            roots = _BLUES[-left:] if left < 8 else _BLUES[:left] if left < 12 else _BLUES
            start = len(self.bars)
            again = self.sections[0].first if self.sections and self.sections[0].bars == len(roots) else None
            chords = [chord for root in roots for chord in 2 * (root if root == 7 else self._home + root,)]
            self._add(chords, again, {len(roots) - 1, len(roots) - 2}, varied=True, ending=".")
            self._section("a", start, len(roots), joins=False)

    def entries(self, bars: int, round_: bool) -> None:
        """A subject that one after the other takes up: a fifth higher and in other octaves, or, in a round, as it is.

        In a fugue free bars and entries in turn follow; in a round everybody goes on with what the one before had.
        """
        names = [player.instrument for player in self._players if player.instrument != "drums"]
        names.sort(key=lambda name: -_middle(self._players, name))
        voices = names if len(names) > 1 else names * 3
        count = max(min(len(voices), _MOST_ENTRIES, bars // _ENTRY - 1), 1)
        exposed = min(_ENTRY * count, bars)
        ground = self._ended(self._draw(begins=True, others=set()), ".")
        ground = ground[:2 * _ENTRY] if round_ else [self._home, self._home, self._home, 7]
        for bar in range(bars):
            number, place = divmod(bar, _ENTRY)
            come_in = min(number + 1, count)
            returns = None
            if 0 < number < count or (round_ and number):
                source = bar - _ENTRY if round_ else place
                pairs = list(pairwise(voices[:come_in])) if round_ else [(voices[0], voices[number])]
                same = len(names) == 1
                degrees = (-7 if same else 0) if round_ else (4 if number % 2 else 0) - (7 * ((number + 1) // 2) if same else 0)
                returns = Return(source, 1, degrees, () if same else tuple(pairs))
            elif not round_ and number >= count and (number - count) % 3 == 2:
                returns = Return(place, 1, 0)  # the subject once more, at home
            elif not round_ and number > count and place == 0:
                returns = Return(bar - 1, 0, -1)  # an episode leads downwards
            chords = ground[2 * place:2 * place + 2]
            if not round_ and returns is not None and returns.degrees % 7 == 4:
                chords = [7, 7] if place == 0 else [7, self._home]
            elif not round_ and number >= count and returns is None:
                chords = [(9 + 12, 2 + 12, 5, 7)[bar % 4]] * 2 if self._home == 0 else [(8, 3, 5 + 12, 7)[bar % 4]] * 2
            waiting = len(names) > 1 and bar < exposed
            silent = tuple(name for name in names if name not in voices[:come_in]) if waiting else ()
            most = come_in if bar < _ENTRY * count and len(names) == 1 else 0
            units = tuple(chords if self._units == 2 else chords[:1])
            self.bars.append(Bar(units, place, returns, silent=silent, most_at_once=most))
        self.sections.append(Section("S" if not round_ else "A", "entries", 0, exposed))
        if bars > exposed:
            self.sections.append(Section("E" if not round_ else "B", "episodes" if not round_ else "all together", exposed,
                                         bars - exposed))

    def come_home(self) -> None:
        """The last bar is the tonic's, the one before leads there."""
        self.bars[-1] = replace(self.bars[-1], chords=(self._home,) * self._units, cadence=True, returns=None, silent=())
        if len(self.bars) > 1:
            before = self.bars[-2]
            self.bars[-2] = replace(before, chords=(*before.chords[:-1], 7))
        for number, bar in enumerate(self.bars):  # over other chords it is another bar
            again = bar.returns
            if again and not again.degrees and not again.voices and bar.chords != self.bars[again.bar].chords:
                self.bars[number] = replace(bar, returns=replace(again, level=0))

    def _draw(self, begins: bool, others: set[tuple[int, ...]]) -> tuple[int, ...]:
        """Four bars of harmony: at home where a piece begins, from elsewhere where something else is to be heard."""
        found = [(phrase, count) for phrase, count in self._book
                 if (phrase[0] == self._home) == begins and phrase not in others]
        found = found or self._book
        return self._chance.choices([phrase for phrase, _ in found], [count ** 0.5 for _, count in found])[0]

    def _ended(self, phrase: tuple[int, ...], ending: str) -> list[int]:
        chords = list(phrase)
        if ending == ".":
            if not (chords[-1] == chords[-2] == self._home and chords[-3] % 12 in (7, 11, 5)):
                chords[-4:] = [chords[-4], 7, self._home, self._home]
        elif chords[-1] == self._home:
            chords[-1] = 7
        return chords

    def _add(
        self, chords: list[int], again: int | None, changed: set[int], varied: bool, ending: str, letter: str = "a",
    ) -> None:
        """Bars of one phrase; with `again` they bring back those from that bar on, but for the `changed` ones."""
        count = len(chords) // 2
        within = self._chance.random() < 0.5  # the phrase's second half sets out as the first
        for bar in range(count):
            halves = chords[2 * bar:2 * bar + 2]
            returns = None
            if again is not None and bar not in changed:
                returns = Return(again + bar, 1 if varied or bar % 2 else 2)
            elif again is None and within and bar == 2 and count == PHRASE:
                returns = Return(len(self.bars) - 2, 0)
            units = tuple(halves if self._units == 2 else halves[ending == "." and bar == count - 2:][:1])
            if returns is None and self.bars and bar and letter in "bce" and self._chance.random() < 0.6:
                before = self.bars[-1].chords
                step = degrees_between(before[0], units[0], 0, self._mode)
                if step and abs(step) <= 2 and before[0] // 12 == units[0] // 12:
                    returns = Return(len(self.bars) - 1, 1, step)  # a sequence
            if returns is None and (alike := [number for number, one in enumerate(self.bars) if one.chords == units]):
                phrase_ago = len(self.bars) - PHRASE  # the same harmony, the same figures; rather those of the same place
                returns = Return(phrase_ago if phrase_ago in alike else alike[-1], 0)
            self.bars.append(Bar(units, bar, returns, cadence=bar == count - 1 and ending == ".",
                                 fill=bar == count - 1 and count >= PHRASE))

    def _section(self, letter: str, first: int, bars: int, joins: bool) -> None:
        if joins and self.sections[-1].letter == letter.upper():
            self.sections[-1] = replace(self.sections[-1], bars=self.sections[-1].bars + bars)
        else:
            function = "coda" if letter == "coda" else _FUNCTIONS.get(self._family, {}).get(letter, "theme")
            self.sections.append(Section(letter if letter == "coda" else letter.upper(), function, first, bars))


def _middle(players: tuple[Player, ...], name: str) -> float:
    """The middle of an instrument's range."""
    return next((player.low + player.high) / 2 for player in players if player.instrument == name)
