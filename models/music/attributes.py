"""What is said about a piece: genre, forms, composer, key, metre, tempo, density, instruments.

Attributes come from a piece's metadata (training, title list) or from a request, and condition
the pocket model. `None` or an empty tuple means unknown.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

GENRES = ("classical", "sacred", "jazz", "game", "pop", "dance", "march", "folk", "soundtrack",
          "tango", "country", "reggae", "rock", "song")
METRES = ("4/4", "3/4", "2/4", "6/8", "2/2", "3/8", "12/8", "9/8", "6/4", "3/2", "5/4")
MODES = ("major", "minor")
TONICS = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
_ENHARMONIC = {"C#": 1, "D#": 3, "Gb": 6, "G#": 8, "A#": 10, "Cb": 11, "B#": 0, "E#": 5, "Fb": 4}

# A form, dance or style, and how titles and tags in several languages name it.
FORMS: Mapping[str, str] = {
    "waltz": r"waltz|walzer|valse|walc\b|walce\b|ländler",
    "minuet": r"minuet|menuet",
    "gigue": r"gigue|\bjigs?\b|\bgiga\b",
    "mazurka": r"mazur|masur(ka|ek)",
    "polonaise": r"polonaise|polonez|polonoise|polon[äa]se",
    "polka": r"\bpolka",
    "krakowiak": r"krakowiak",
    "oberek": r"oberek|kujawiak|obertas",
    "galop": r"\bgalop",
    "quadrille": r"quadrille|contredan|contradan|kontredans|kontratan|anglaise|cotillon",
    "sarabande": r"saraband",
    "allemande": r"allemande",
    "courante": r"courante|corrente",
    "gavotte": r"gavott",
    "bourree": r"bourr[ée]e",
    "march": r"\bmarche?\b|marsch\b|märsche\b|marsz|parade",
    "tango": r"tango",
    "bossa nova": r"bossa( nova)?",
    "swing": r"\bswing",
    "dixieland": r"dixieland|traditional jazz",
    "ragtime": r"\brag\b|ragtime",
    "blues": r"\bblues\b",
    "reggae": r"reggae",
    "country": r"\bcountry\b|banjo",
    "disco": r"disco\b|four on the floor",
    "rock": r"\b(hard|folk|punk)?rock\b",
    "metal": r"\bmetal\b|\bdoom\b",
    "jazz": r"\bjazz",
    "ballad": r"\bballads?\b|pop ballad|jazz ballad|six-eight ballad",
    "latin": r"\blatin\b|\b(samba|salsa|rumba|mambo)\b",
    "electronic": r"electronic|elektronisch|\bsynth\b|\btechno\b",
    "cinematic": r"cinematic|film score|film ?musi[ck]",
    "easy listening": r"easy listening",
    "nocturne": r"nocturne|notturno|nokturn",
    "prelude": r"pr[eéä]lud|preludi|preludjum",
    "etude": r"\b[eé]tude|etiuda|\bstud(y|ies)\b|etüde",
    "ballade": r"ballade\b|ballada",
    "sonata": r"sonat",
    "rondo": r"\brondo|rondeau",
    "fugue": r"\bfug(ue|a|e)\b|fughetta",
    "variations": r"variation|wariacj|variazion",
    "scherzo": r"scherz",
    "fantasia": r"(f|ph)antas(ia|y|ie)|fantazja",
    "impromptu": r"impromptu",
    "romance": r"roman[cz]",
    "barcarolle": r"barcarol|barkarol",
    "berceuse": r"berceuse|lullaby|wiegenlied|schlaflied|kołysanka|cradle",
    "serenade": r"serenad|ständchen",
    "invention": r"\binvention|sinfonia \d",
    "suite": r"\bsuite|partita",
    "overture": r"overture|ouvert[uü]re|uwertura",
    "symphony": r"symphon|sinfoni[ae]\b",
    "concerto": r"concerto|konzert\b|koncert\b",
    "string quartet": r"string quartet|streichquartett",
    "orchestra": r"\borchestra\b|orchestral|orchester",
    "opera": r"\boper[an]?\b|\bari(a|en?)\b|oratori(o|um)",
    "mass": r"\bmass\b|\bmesse\b|missa|requiem|\bmsza\b",
    "hymn": r"\bhymn(s|en?)?\b|hymnus|kirchenlied",
    "chorale": r"chor[aä]le?\b",
    "carol": r"\bcarol|christmas|weihnacht|kolęd",
    "art song": r"art song|kunstlied|\blied\b",
    "folk song": r"folk song|traditional song|volkslied",
    "motet": r"motet|madrigal|renaissance",
    "brass": r"brass (band|quartet|quintet|ensemble)|blasmusik|blaskapelle|blechbläser|posaunenchor",
    "choir": r"\bchoirs?\b|\bsatb\b|\b(männer|frauen|kinder|kirchen|knaben|gospel)?chor\b|a cap+ella",
    "baroque": r"baroque|barock",
    "romantic": r"\bromantic\b",
    "canon": r"\b[ck]anons?\b",
}
PLANNED_FORMS = frozenset({"canon"})
"""Forms that plans know and networks have not learnt as an attribute."""
_FORM_PATTERNS = tuple((name, re.compile(pattern)) for name, pattern in FORMS.items())


@dataclass(frozen=True)
class Attributes:
    """What is known of a piece; fields left out are unknown."""

    genre: str | None = None
    forms: tuple[str, ...] = ()
    composer: str | None = None  # as by `composer_key`
    tonic: int | None = None  # 0 is C, 11 is B
    mode: str | None = None
    metre: str | None = None
    tempo_bpm: float | None = None  # quarter notes a minute
    density: float | None = None  # notes a second
    instruments: tuple[str, ...] = ()  # of CHANNELS


def tonic_of(name: str | None) -> int | None:
    """Pitch class of a key's name ("Bb"), or None."""
    if name is None:
        return None
    return TONICS.index(name) if name in TONICS else _ENHARMONIC.get(name)


def composer_key(artist: str) -> str | None:
    """The surname in lower case without accents: "W. A. Mozart" and "Wolfgang Amadeus MOZART" are one."""
    plain = unicodedata.normalize("NFKD", artist.replace("ł", "l").replace("Ł", "L"))
    plain = "".join(c for c in plain if not unicodedata.combining(c)).lower()
    words = re.findall(r"[a-z'-]+", re.split(r"[,;&(/]| and | und |arr\.", plain)[0])
    words = [word for word in words if word not in ("jr", "sr", "anonymous", "traditional", "unknown", "anon")]
    return words[-1] if words and len(words[-1]) > 2 else None


def forms_of(*texts: str) -> tuple[str, ...]:
    """The forms, dances and styles that the texts name."""
    text = " | ".join(texts).lower()
    return tuple(name for name, pattern in _FORM_PATTERNS if pattern.search(text))


def form_places(text: str) -> list[tuple[int, int]]:
    """Where words that name a form stand in a lower-case text: start and end of the whole words."""
    places = []
    for _, pattern in _FORM_PATTERNS:
        for match in pattern.finditer(text):
            start, end = match.span()
            while start > 0 and text[start - 1].isalnum():
                start -= 1
            while end < len(text) and text[end].isalnum():
                end += 1
            places.append((start, end))
    return places


def attributes_of(entry: Mapping[str, Any]) -> Attributes:
    """Attributes of a line of `index.jsonl`. Instruments and density are measured from the notes instead."""
    genre, metre, mode = entry.get("genre"), entry.get("metre"), entry.get("mode")
    tempo = entry.get("tempo_bpm")
    return Attributes(
        genre=genre if genre in GENRES else None,
        forms=forms_of(entry.get("title") or "", *(entry.get("tags") or ())),
        composer=composer_key(entry.get("artist") or ""),
        tonic=tonic_of(entry.get("key")),
        mode=mode if mode in MODES else None,
        metre=metre if metre in METRES else None,
        tempo_bpm=float(tempo) if tempo else None,
    )
