"""How many players of an instrument a request names: "two violins", "ein Cello", "string quartet"."""

from __future__ import annotations

import re
from collections.abc import Mapping

from models.engines.pocket.instruments import bands_in

MOST = 8  # of one instrument
_NUMBERS: Mapping[str, int] = {
    "a": 1, "an": 1, "one": 1, "ein": 1, "eine": 1, "einer": 1, "einen": 1, "solo": 1, "two": 2, "zwei": 2, "duo": 2,
    "three": 3, "drei": 3, "four": 4, "vier": 4, "five": 5, "fünf": 5, "six": 6, "sechs": 6, "seven": 7, "sieben": 7,
    "eight": 8, "acht": 8,
}
_NUMBER = re.compile(rf"(?:^|(?<=\W))({'|'.join(_NUMBERS)}|[1-8])[\s-]+$")
# Ensembles whose name says who plays; the viola counts as a violin, bassoon and oboe as clarinets, the horn as a trumpet.
_ENSEMBLES = tuple((re.compile(rf"(?<!\w)(?:{words})"), who) for words, who in (
    (r"(?:string|streich)[ -]?trio", {"violin": 2, "cello": 1}),
    (r"(?:string|streich)[ -]?quartett?", {"violin": 3, "cello": 1}),
    (r"(?:string|streich)[ -]?quintett?", {"violin": 3, "cello": 2}),
    (r"(?:piano|klavier)[ -]?(?:trio)", {"violin": 1, "cello": 1, "piano": 1}),
    (r"(?:piano|klavier)[ -]?quartett?", {"violin": 2, "cello": 1, "piano": 1}),
    (r"(?:piano|klavier)[ -]?quintett?", {"violin": 3, "cello": 1, "piano": 1}),
    (r"(?:brass|blechbl\w+|blech)[ -]?quartett?", {"trumpet": 4}),
    (r"(?:brass|blechbl\w+|blech)[ -]?quintett?", {"trumpet": 5}),
    (r"(?:wind|woodwind|holzbläser|bläser)[ -]?quintett?", {"flute": 1, "clarinet": 3, "trumpet": 1}),
    (r"brass band|blaskapelle|marching band|posaunenchor|brass (?:ensemble|choir)|blechbläser", {"trumpet": 4, "clarinet": 2}),
    (r"big ?band", {"trumpet": 4, "clarinet": 3}),
    (r"(?:symphony |sinfonie|symphonie|kammer|chamber )?(?:orchestra|orchester)|streicher(?!\w*quart)|strings|string section",
     {"violin": 3, "cello": 2, "trumpet": 2, "clarinet": 2, "flute": 2}),
))
_PLURAL = re.compile(
    r"(?:violins|violas|violinen|geigen|bratschen|celli|cellos|flutes|flöten|trumpets|trompeten|trombones|posaunen|horns|"
    r"hörner|clarinets|klarinetten|saxophones|saxes|oboes|oboen|bassoons|fagotte|recorders)$")


def players_named(text: str) -> dict[str, int]:
    """Players of each channel that a text speaks of; those it does not count are not among them.

    A number before an instrument counts it, a plural without one is two, a single name is one player.
    """
    text = text.lower()
    for pattern, who in _ENSEMBLES:
        if pattern.search(text):
            return dict(who)
    players: dict[str, dict[str, int]] = {}
    for start, end, band in bands_in(text):
        if len(band.required) != 1 or band.optional:
            continue
        word = text[start:end]
        if number := _NUMBER.search(text[:start]):
            count = _NUMBERS.get(number[1]) or int(number[1])
        else:
            count = 2 if _PLURAL.search(word) else 1
        (name,) = band.required
        kinds = players.setdefault(name, {})  # a violin and a viola are two players, a violin named twice is one
        kinds[word] = max(count, kinds.get(word, 0))
    return {name: min(sum(kinds.values()), MOST) for name, kinds in players.items()}
