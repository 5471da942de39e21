"""What the words of a request state about the music, in German and English."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass

from models.engines.pocket.instruments import Band, bands_in
from models.errors import InputError
from models.music.attributes import METRES, composer_key, form_places, forms_of, tonic_of
from models.music.score.programs import CHANNELS

LONGEST_TEXT = 400  # characters of a title or an artist that are read
SLOWEST_BPM, FASTEST_BPM = 40.0, 300.0  # what the pocket model was given in training

# Quarters a minute: middles of what metronomes print.
_TEMPO_WORDS = {
    "grave": 42, "largo": 50, "lento": 54, "larghetto": 63, "adagio": 66, "andante": 84, "andantino": 92,
    "moderato": 104, "allegretto": 112, "allegro": 132, "vivace": 152, "presto": 176, "prestissimo": 200,
}
_PACES = {
    "slow": r"slow(?:ly|er)?|langsam(?:e[nrsm]?)?|getragen(?:e[nrsm]?)?",
    "fast": r"fast|quick(?:ly)?|schnell(?:e[nrsm]?)?|rasch(?:e[nrsm]?)?|flott(?:e[nrsm]?)?|up-?tempo",
}
_METRE_WORDS = {
    "4/4": r"viervierteltakt|common time|four[- ]four", "3/4": r"dreivierteltakt|waltz time|three[- ]four",
    "2/4": r"zweivierteltakt|two[- ]four", "6/8": r"sechsachteltakt|six[- ]eight",
    "2/2": r"alla breve|cut time", "12/8": r"zwölfachteltakt|twelve[- ]eight", "5/4": r"fünfvierteltakt|five[- ]four",
}
_GENRE_WORDS = {
    "sacred": r"sacred|church|gospel|geistlich\w*|kirchen\w*|spiritual", "jazz": r"jazz\w*",
    "game": r"(?:video ?|computer ?)?game (?:music|soundtrack)|video ?games?|videospiel\w*|chiptune",
    "soundtrack": r"soundtrack|film ?score|film ?musi[ck]|movie music|(?:tv|television) (?:themes?|series)",
    "classical": r"classical|klassi(?:k|sch)\w*", "tango": r"tango", "reggae": r"reggae", "country": r"country",
    "folk": r"folk|volksmusik|volkslied\w*", "dance": r"dance music|tanzmusik", "pop": r"pop", "rock": r"rock\w*",
}
# Words that belong to a description and say nothing that is read.
_FILLER = re.compile(
    r"(?<!\w)(?:an?|the|some|any|of|in|on|at|by|to|and|or|but|with|without|for|no|not|only|just|solo|alone|please|make|me|"
    r"write|compose|play|something|very|more|little|short|long|piece|music|tune|song|melody|theme|time|key|tempo|style|like|"
    r"is|sad|happy|calm|quiet|soft|loud|dark|heavy|gentle|beautiful|nice|old|new|good|traditional|instrumental|arranged|"
    r"ein(?:e[mnrs]?)?|kein(?:e[mnrs]?)?|der|die|das|dem|den|des|im|am|und|oder|aber|mit|ohne|für|von|auf|zu|nur|allein|"
    r"bitte|mach\w*|schreib\w*|spiel\w*|etwas|sehr|kurze?[mnrs]?|lange?[mnrs]?|stück|musik|melodie|thema|takt|tonart|stil|"
    r"traurige?[mnrs]?|fröhliche?[mnrs]?|ruhige?[mnrs]?|leise?[mnrs]?|laute?[mnrs]?|schöne?[mnrs]?|dunkle?[mnrs]?)(?!\w)")


@dataclass(frozen=True)
class Stated:
    """What the words of a request say. None and empty mean: it does not say.

    `required` must sound. `only`, if given, is everything that may; it holds `required`. `excluded`
    must not sound, and wins where a request also asks for it. `pace` is "slow" or "fast" without a
    number. `description` is true when nothing in the request was left over for a name.
    """

    forms: tuple[str, ...] = ()
    genre: str | None = None
    composer: str | None = None
    artist_given: bool = False
    tonic: int | None = None
    mode: str | None = None
    metre: str | None = None
    tempo_bpm: float | None = None
    pace: str | None = None
    required: frozenset[str] = frozenset()
    only: frozenset[str] | None = None
    excluded: frozenset[str] = frozenset()
    description: bool = False


def read_prompt(title: str, artist: str, composers: Collection[str] = ()) -> Stated:
    """Read what a title and an artist state, in German and English.

    The title's word counts before the artist's; an artist among the `composers` (names as by
    `composer_key`) is a name and nothing else is read in it. Raises InputError when the request
    excludes every instrument.
    """
    title, artist = _plain(title), _plain(artist)
    composer = composer_key(artist)
    known = composer if composer in composers else None
    first = _Reading(title)
    second = _Reading("" if known else artist)
    if known is None and (named := _named_composer(title, composers)):
        known, words = named
        first.take(words)
    for reading in (first, second):
        reading.read()
    excluded = first.excluded | second.excluded
    if excluded >= set(CHANNELS):
        raise InputError("the request excludes every instrument; leave at least one in")
    complete = first.complete and second.complete
    understood = complete and bool(title.strip() or artist.strip())
    required, only = _instruments(first, second, complete)
    only = (only | required) - excluded if only is not None else None
    tonal = first if first.mode else second
    return Stated(
        forms=first.forms or second.forms, genre=first.genre or second.genre, composer=known,
        artist_given=bool(artist.strip()), tonic=tonal.tonic, mode=tonal.mode, metre=first.metre or second.metre,
        tempo_bpm=first.tempo_bpm or second.tempo_bpm, pace=first.pace or second.pace,
        required=frozenset(required - excluded), only=frozenset(only) if only else None, excluded=frozenset(excluded),
        description=understood)


_EXCLUDE, _ONLY, _FOR, _WITH, _BARE = "exclude", "only", "for", "with", "bare"
_OPERATORS: tuple[tuple[str, re.Pattern[str]], ...] = tuple((kind, re.compile(pattern)) for kind, pattern in (
    (_EXCLUDE, r"(?<!\w)(?:without|ohne|minus|except|außer)(?:\W+\w+){0,2}?\W*$|(?<!\w)w/o\W*$|"
               r"(?<!\w)(?:no|not|nicht|kein(?:e[mnrs]?)?)(?: (?:the|any|an?))? $"),
    (_ONLY, r"(?<!\w)(?:only|just|nur|lediglich|solo|ausschließlich|unaccompanied)(?:\W+\w+){0,2}?\W*$"),
    (_FOR, r"(?<!\w)(?:for|für|on|auf|played by|gespielt von)(?:\W+\w+){0,2}?\W*$"),
    (_WITH, r"(?<!\w)(?:with|mit|plus|including|feat\.?|featuring)(?:\W+\w+){0,2}?\W*$"),
))
_JOINED = re.compile(r"(?:[\s,&+/-]|(?<!\w)(?:and|und|or|oder|nor|noch|an?|the|one|two|three|four|zwei|drei|vier|"
                     r"ein(?:e[mnrs]?)?|der|die|das|dem|den|solo|\d)(?!\w))*$")
_AFTER = re.compile(r"[\s,]*(?:only|solo|alone|allein)(?!\w)")
_NO_VOICE = re.compile(r"(?<!\w)instrumental(?!\w)")

# Unicode categories: dashes; control and format characters, spaces, line separators.
_ALIKE = {"Pd": "-", "Cc": " ", "Cf": " ", "Zs": " ", "Zl": " "}
_GERMAN_KEY = re.compile(r"(?<![\w'])([a-h])(is|es|s|#|♯|b|♭)?[\s-]*(dur|moll)(?!\w)")
_ENGLISH_KEY = re.compile(
    r"(?<![\w'])(?P<in>in (?:the key of )?)?(?P<letter>[A-Ga-g])(?P<sign>[\s-]?(?:sharp|flat)|#|♯|b|♭)?"
    r"[\s-]+(?P<mode>[Mm]ajor|[Mm]inor|MAJOR|MINOR|maj|min)(?!\w)(?! key)")
_LETTER_KEY = re.compile(
    r"(?<!\w)[Ii]n (?:the key of )?(?P<letter>[A-G])(?P<sign>[ -]?(?:sharp|flat)|#|♯|b|♭)?\s*(?=$|[,.;(])")
_MODE_WORD = re.compile(
    r"(?<!\w)(?:(moll)|(dur)|in (?:a )?(minor)(?: key)?|in (?:a )?(major)(?: key)?|(minor) key|(major) key)(?!\w)")
_BARE_MODE = re.compile(r"(?<!\w)(major|minor)(?!\w)")
_BPM = re.compile(r"(?<![\w.])(\d{2,3}(?:[.,]\d+)?)[\s-]*(?:bpm|beats per minute|schläge pro minute)(?!\w)|"
                  r"(?:tempo|♩)\s*[:=]?\s*(\d{2,3})(?![\w/])")
_METRE = re.compile(r"(?<![\w/])(\d{1,2}) ?/ ?(\d{1,2})(?![\d/])(?:-?takt)?")
_PACE = {name: re.compile(rf"(?<!\w)(?:{words})(?!\w)") for name, words in _PACES.items()}
_TEMPO_WORD = re.compile(rf"(?<!\w)(?:{'|'.join(sorted(_TEMPO_WORDS, key=len, reverse=True))})(?!\w)")
_METRE_WORD = {name: re.compile(rf"(?<!\w)(?:{words})(?!\w)") for name, words in _METRE_WORDS.items()}
_GENRE = {name: re.compile(rf"(?<!\w)(?:{words})(?!\w)") for name, words in _GENRE_WORDS.items()}
_BY = re.compile(
    r"(?<!\w)(?:[Bb]y|[Vv]on|(?:style|manner|[Ss]til) (?:of|von)|à la) ((?:[A-ZÀ-Ž][\w.'-]*\s?){1,4}|\w+$)")
_FOLLOWS_KEY = re.compile(
    r"\W*(?:$|[^\w\s]|(?:for|with|by|without|op|opus|no|für|mit|ohne|von|and|solo|slow|fast)(?!\w))")


class _Reading:
    """One text, read from the most certain patterns to the least; what was read is blanked out."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._cased = text
        self._left = "".join(low if len(low := c.lower()) == 1 else c for c in text)  # keeps every place
        self.forms: tuple[str, ...] = ()
        self.genre: str | None = None
        self.mode: str | None = None
        self.metre: str | None = None
        self.pace: str | None = None
        self.tonic: int | None = None
        self.tempo_bpm: float | None = None
        self.mentions: list[tuple[str, Band]] = []
        self.complete = True

    @property
    def excluded(self) -> set[str]:
        return {channel for kind, band in self.mentions if kind == _EXCLUDE for channel in band.required}

    def take(self, span: tuple[int, int]) -> None:
        start, end = span
        blank = " " * (end - start)
        self._left = self._left[:start] + blank + self._left[end:]
        self._cased = self._cased[:start] + blank + self._cased[end:]

    def read(self) -> None:
        lowered = self._left
        self._read_metre_and_tempo()
        self._read_key()
        places = self._read_instruments()
        for place in form_places(lowered):
            if not any(start < place[1] and place[0] < end for start, end in places):
                self.take(place)
        for start, end in places:  # an instrument that is not wanted makes no form either
            lowered = lowered[:start] + " " * (end - start) + lowered[end:]
        self.forms = forms_of(lowered)
        for name, pattern in _GENRE.items():
            if pattern.search(lowered):
                self.genre = self.genre or name
                for match in pattern.finditer(lowered):
                    self.take(match.span())
        self.complete = not re.search(r"\w", _FILLER.sub(" ", _BARE_MODE.sub(" ", self._left)))
        bare = _BARE_MODE.search(self._left)
        if bare and self.mode is None and self.complete:
            self.mode = bare[1]
        self.complete = self.complete or not re.search(r"\w", _FILLER.sub(" ", self._left))

    def _read_metre_and_tempo(self) -> None:
        for match in _METRE.finditer(self._left):
            if (name := f"{int(match[1])}/{int(match[2])}") in METRES:
                self.metre = self.metre or name
                self.take(match.span())
        for name, pattern in _METRE_WORD.items():
            if match_ := pattern.search(self._left):
                self.metre = self.metre or name
                self.take(match_.span())
        if bpm := _BPM.search(self._left):
            self.tempo_bpm = min(max(float((bpm[1] or bpm[2]).replace(",", ".")), SLOWEST_BPM), FASTEST_BPM)
            self.take(bpm.span())
        if word := _TEMPO_WORD.search(self._left):
            self.tempo_bpm = self.tempo_bpm or float(_TEMPO_WORDS[word[0]])
            self.take(word.span())
        for name, pattern in _PACE.items():
            if match_ := pattern.search(self._left):
                self.pace = self.pace or name
                self.take(match_.span())

    def _read_key(self) -> None:
        if match := _GERMAN_KEY.search(self._left):
            self.tonic, self.mode = _german_tonic(match[1], match[2]), "major" if match[3] == "dur" else "minor"
            self.take(match.span())
            return
        for match in _ENGLISH_KEY.finditer(self._cased):
            letter, sign = match["letter"], match["sign"]
            if not (match["in"] or sign) and letter in "aA":
                # "A minor" may be an article: it is a key with a capital, where no other noun follows.
                rest = self._left[match.end():]
                follows = re.match(r"\W*(\w+)", rest)
                musical = follows and (forms_of(follows[1]) or bands_in(follows[1]))
                if letter == "a" or not (musical or _FOLLOWS_KEY.match(rest)):
                    continue
            self.tonic = tonic_of(letter.upper() + _sign(sign))
            self.mode = "major" if match["mode"].lower().startswith("maj") else "minor"
            self.take(match.span())
            return
        if match_ := _LETTER_KEY.search(self._cased):  # a letter alone names the major key: "Canon in D"
            self.tonic, self.mode = tonic_of(match_["letter"] + _sign(match_["sign"])), "major"
            self.take(match_.span())
        elif match_ := _MODE_WORD.search(self._left):
            self.mode = {"moll": "minor", "dur": "major"}.get(word := next(filter(None, match_.groups())), word)
            self.take(match_.span())

    def _read_instruments(self) -> list[tuple[int, int]]:
        """Note what is asked of each instrument; returns where the excluded ones stand."""
        text, last, kind = self._left, 0, _BARE
        unwanted, found = [], bands_in(self._left)
        if match := _NO_VOICE.search(text):
            self.mentions.append((_EXCLUDE, Band(("choir",))))
            self.take(match.span())
        for start, end, band in found:
            between = text[last:start]
            operators = [(match.start(), -order, name) for order, (name, pattern) in enumerate(_OPERATORS)
                         if (match := pattern.search(between))]
            if operators:
                kind = max(operators)[2]
            elif not (self.mentions and _JOINED.fullmatch(between)) or (kind == _EXCLUDE and band.whole):
                kind = _BARE  # "no singing, rock band": a line-up starts afresh
            if after := _AFTER.match(text, end):
                kind = _ONLY if kind != _EXCLUDE else kind
                self.take(after.span())
            solo = text[start:end].endswith("solo")
            self.mentions.append((_ONLY if solo and kind == _BARE else kind, band))
            if kind == _EXCLUDE:
                unwanted.append((start, end))
            self.take((start, end))
            last = end
        return unwanted


def _plain(text: str) -> str:
    """Compatibility forms unified, signs of all dashes alike, control characters to spaces; cut to a sane length."""
    text = unicodedata.normalize("NFKC", text[:LONGEST_TEXT])[:LONGEST_TEXT]
    return "".join(_ALIKE.get(unicodedata.category(c), c) for c in text)


def _named_composer(title: str, composers: Collection[str]) -> tuple[str, tuple[int, int]] | None:
    """A composer the title names with "by", "von" or "in the style of", and where."""
    for match in _BY.finditer(title):
        if (name := composer_key(match[1])) in composers and name is not None:
            return name, match.span()
    return None


def _sign(text: str | None) -> str:
    text = (text or "").strip(" -").lower()
    return {"sharp": "#", "♯": "#", "flat": "b", "♭": "b"}.get(text, text)


def _german_tonic(letter: str, ending: str | None) -> int | None:
    """Pitch class by the German names: b is Bb, h is B, "cis" C sharp, "es" and "as" E and A flat."""
    if letter == "b" and not ending:
        return tonic_of("Bb")
    step = {"is": 1, "#": 1, "♯": 1, "es": -1, "s": -1, "b": -1, "♭": -1}.get(ending or "", 0)
    natural = tonic_of("B" if letter == "h" else letter.upper())
    return None if natural is None else (natural + step) % 12


def _instruments(first: _Reading, second: _Reading, complete: bool) -> tuple[set[str], set[str] | None]:
    """Instruments that must sound, and all that may (None: open), before exclusions."""
    mentions = [mention for mention in first.mentions + second.mentions if mention[0] != _EXCLUDE]
    required = {channel for _, band in mentions for channel in band.required}
    everything = required | {channel for _, band in mentions for channel in band.optional}
    forms = {*first.forms, *second.forms}
    # A concerto for flute has an orchestra, a violin sonata has a piano; a list in a name is no line-up.
    soloist = "concerto" in forms
    bare_is_all = complete and not soloist and "sonata" not in forms
    closed = any(
        kind == _ONLY or (kind == _FOR and not soloist) or (kind == _BARE and (band.whole or bare_is_all))
        for kind, band in mentions)
    return required, everything if closed else None
