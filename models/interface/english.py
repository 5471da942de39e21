"""Whether a description is in English, the only language that the models of sound were taught."""

from __future__ import annotations

import re
import unicodedata

NOTICE = "the prompt seems not to be in English, the only language that this model was taught"

_WORD = re.compile(r"[^\W\d_]+")
# Small words, and words that descriptions of music are made of, of the languages that members are likely to write;
# none of them is an English one.
_FOREIGN = frozenset(re.findall(r"\w+", """
    und mit der das ein eine einen einem einer für ist nicht sehr wie auf aus oder zum zur vom bei ohne nach viel
    musik klavier klaviermusik gitarre schlagzeug geige geigen flöte trompete stimme lied ruhig ruhige ruhiges ruhiger
    traurig traurige trauriges trauriger fröhlich fröhliche fröhliches fröhlicher schnell schnelle schneller langsam langsame
    langsamer leise laut tanzmusik filmmusik blasmusik orgel streicher nacht regen sommer
    une des avec et pour dans sur musique guitare batterie triste rapide calme violon
    una con y para música musica guitarra tambores rápido rápida tranquila
    gli della per chitarra batteria veloce
    uma com muito bateria violão het een muziek gitaar rustig rustige snel snelle muzyka spokojna szybka
    bir ile müzik
"""))
_ENGLISH = frozenset(re.findall(r"\w+", """
    a an the and with of in on for to from like by at very music song track beat drums guitar slow fast happy sad calm
    soft loud dark upbeat style night rain summer
"""))


def seems_english(prompt: str) -> bool:
    """False for descriptions mostly in another script, or with more words of other languages than English ones."""
    letters = [letter for letter in prompt if letter.isalpha()]
    latin = sum(unicodedata.name(letter, "").startswith("LATIN") for letter in letters)
    if 2 * latin < len(letters):
        return False
    words = _WORD.findall(prompt.lower())
    foreign = sum(word in _FOREIGN for word in words)
    return foreign <= sum(word in _ENGLISH for word in words)
