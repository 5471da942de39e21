"""A hundred prompts as a class types them, half English, half German, ten of each kind.

They are for development: look at them, tune with them, and keep others for judging. What a prompt states is written
down by hand, from what a musician would expect, and knows nothing of the parser that the engine reads prompts with.
"""

from __future__ import annotations

from dataclasses import dataclass

from models.music.attributes import tonic_of
from models.music.score.measures import Key

SLOW, MODERATE, FAST = (40.0, 84.0), (76.0, 126.0), (116.0, 210.0)
"""What words of pace mean, in quarters a minute."""


@dataclass(frozen=True)
class Prompt:
    """A title and an artist, and what they state; None and empty where they leave it open."""

    kind: str  # of KINDS
    title: str
    artist: str = ""
    key: Key | None = None
    metre: str | None = None  # only its class counts, of measures.CLASS_OF_METRE
    tempo: tuple[float, float] | None = None  # quarters a minute, slowest and fastest; a stated number is both
    instruments: tuple[str, ...] = ()  # that must sound, of CHANNELS
    single: tuple[str, ...] = ()  # those of them that are one named player, who plays one note at a time


def _of(
    kind: str, title: str, artist: str = "", *, key: str = "", metre: str | None = None,
    tempo: float | tuple[float, float] | None = None, needs: str = "", single: str = "",
) -> Prompt:
    """`key` as "D minor"; `needs` and `single` are channels with spaces between; who is single is needed, too."""
    tonic, _, mode = key.partition(" ")
    number = tonic_of(tonic or None)
    return Prompt(
        kind, title, artist, key=None if number is None else Key(number, mode), metre=metre,
        tempo=tempo if tempo is None or isinstance(tempo, tuple) else (float(tempo), float(tempo)),
        instruments=tuple(dict.fromkeys((*single.split(), *needs.split()))), single=tuple(single.split()))


PROMPTS = (
    # Named instruments
    _of("instruments", "a slow waltz for flute and harp in D minor", key="D minor", metre="3/4", tempo=SLOW, needs="harp",
        single="flute"),
    _of("instruments", "Trio für Violine, Cello und Klavier in G-Dur, 3/4", key="G major", metre="3/4", needs="piano",
        single="violin cello"),
    _of("instruments", "duet for trumpet and organ", needs="organ", single="trumpet"),
    _of("instruments", "Klarinette und Klavier, ein trauriges Lied", needs="piano", single="clarinet"),
    _of("instruments", "flute, clarinet and cello trio", single="flute clarinet cello"),
    _of("instruments", "Duett für Geige und Gitarre", needs="guitar", single="violin"),
    _of("instruments", "violin and piano sonata in A major", key="A major", needs="piano", single="violin"),
    _of("instruments", "Chor und Orgel, feierlich", needs="choir organ"),
    _of("instruments", "song for two guitars and bass", needs="guitar", single="bass"),
    _of("instruments", "Harfe und Cello, langsam", tempo=SLOW, needs="harp", single="cello"),
    # Forms and genres
    _of("forms", "Walzer für eine Hochzeit", metre="3/4"),
    _of("forms", "a hymn for Sunday"),
    _of("forms", "Ragtime wie im Saloon", metre="2/4"),
    _of("forms", "a jig in 6/8", metre="6/8"),
    _of("forms", "Marsch für das Sportfest", metre="2/4"),
    _of("forms", "blues in the morning", metre="4/4"),
    _of("forms", "Fuge in c-Moll", key="C minor"),
    _of("forms", "string quartet", needs="violin cello"),
    _of("forms", "Choral für vier Stimmen", metre="4/4", needs="choir"),
    _of("forms", "a tango at midnight", metre="2/4"),
    # Keys
    _of("keys", "a piece in E flat major", key="Eb major"),
    _of("keys", "Ein Stück in h-Moll", key="B minor"),
    _of("keys", "prelude in F sharp minor", key="F# minor"),
    _of("keys", "Menuett in B-Dur", key="Bb major", metre="3/4"),
    _of("keys", "something in A minor for piano", key="A minor", needs="piano"),
    _of("keys", "Sonate in As-Dur", key="Ab major"),
    _of("keys", "a song in C major", key="C major"),
    _of("keys", "Etüde in e-Moll für Klavier", key="E minor", needs="piano"),
    _of("keys", "rondo in D major", key="D major"),
    _of("keys", "Polonaise in A-Dur", key="A major", metre="3/4"),
    # Metres
    _of("metres", "Ein Lied im 6/8-Takt", metre="6/8"),
    _of("metres", "a piece in 3/4 time", metre="3/4"),
    _of("metres", "Tanz im Dreivierteltakt", metre="3/4"),
    _of("metres", "a folk tune in 6/8", metre="6/8"),
    _of("metres", "Stück im 4/4-Takt für Klavier", metre="4/4", needs="piano"),
    _of("metres", "2/4 polka", metre="2/4"),
    _of("metres", "Barcarole im 6/8 Takt", metre="6/8"),
    _of("metres", "slow song in 12/8", metre="12/8", tempo=SLOW),
    _of("metres", "Mazurka, 3/4", metre="3/4"),
    _of("metres", "minuet 3/4 for strings", metre="3/4", needs="violin cello"),
    # Tempos
    _of("tempos", "a happy tune at 120 bpm", tempo=120),
    _of("tempos", "schnelles Stück für Klavier", tempo=FAST, needs="piano"),
    _of("tempos", "slow and quiet music", tempo=SLOW),
    _of("tempos", "Popsong mit 96 bpm", tempo=96),
    _of("tempos", "march, 112 bpm", metre="2/4", tempo=112),
    _of("tempos", "Adagio für Streicher", tempo=SLOW, needs="violin cello"),
    _of("tempos", "rock at 140 bpm", tempo=140),
    _of("tempos", "Langsamer Walzer, 84 bpm", metre="3/4", tempo=84),
    _of("tempos", "presto for violin", tempo=(132.0, 210.0), single="violin"),
    _of("tempos", "Andante in F-Dur", key="F major", tempo=(60.0, 108.0)),
    # Single players
    _of("single", "Trompete solo", single="trumpet"),
    _of("single", "solo flute", single="flute"),
    _of("single", "Klarinette solo, langsam", tempo=SLOW, single="clarinet"),
    _of("single", "cello suite for solo cello in G major", key="G major", single="cello"),
    _of("single", "Sologeige", single="violin"),
    _of("single", "solo guitar in E minor", key="E minor", needs="guitar"),
    _of("single", "Querflöte allein, fröhlich", single="flute"),
    _of("single", "solo trumpet fanfare", single="trumpet"),
    _of("single", "Orgel solo in d-Moll", key="D minor", needs="organ"),
    _of("single", "a saxophone alone at night", single="clarinet"),
    # Bands with drums
    _of("bands", "jazz trio with piano, bass and drums", needs="piano drums", single="bass"),
    _of("bands", "Rockband mit E-Gitarre, Bass und Schlagzeug", needs="guitar drums", single="bass"),
    _of("bands", "heavy metal band", needs="guitar bass drums"),
    _of("bands", "Bigband Swing", metre="4/4", needs="trumpet clarinet bass drums"),
    _of("bands", "funk with drums, bass, guitar and trumpet", needs="drums guitar", single="bass trumpet"),
    _of("bands", "Popband: Klavier, Gitarre, Bass und Schlagzeug", needs="piano guitar drums", single="bass"),
    _of("bands", "reggae with organ, guitar, bass and drums", needs="organ guitar drums", single="bass"),
    _of("bands", "Blaskapelle mit Trommeln spielt einen Marsch", metre="2/4", needs="trumpet drums"),
    _of("bands", "disco with drums and strings, 118 bpm", metre="4/4", tempo=118, needs="drums violin"),
    _of("bands", "Punkrock, schnell, Gitarre, Bass, Schlagzeug", tempo=FAST, needs="guitar drums", single="bass"),
    # Moods
    _of("moods", "sad rainy afternoon"),
    _of("moods", "Sommerregen"),
    _of("moods", "epic battle against the dragon"),
    _of("moods", "fröhlicher Morgen im Wald"),
    _of("moods", "mysterious castle at night"),
    _of("moods", "Abschied von meiner Stadt"),
    _of("moods", "dreaming under the stars"),
    _of("moods", "Verfolgungsjagd im Regen"),
    _of("moods", "calm sea"),
    _of("moods", "Heimweh"),
    # Titles with composers
    _of("composers", "Nocturne", "Chopin"),
    _of("composers", "Menuett", "Johann Sebastian Bach", metre="3/4"),
    _of("composers", "The Entertainer", "Scott Joplin", metre="2/4"),
    _of("composers", "Kleine Nachtmusik", "W. A. Mozart"),
    _of("composers", "Mazurka", "Chopin", metre="3/4"),
    _of("composers", "Lied ohne Worte", "Felix Mendelssohn"),
    _of("composers", "Canon", "Pachelbel"),
    _of("composers", "Walzer", "Johann Strauss", metre="3/4"),
    _of("composers", "Maple Leaf Rag", "Joplin", metre="2/4"),
    _of("composers", "Wiegenlied", "Brahms"),
    # Mixtures
    _of("mixtures", "Trauriger Walzer in a-Moll für Violine und Klavier, 90 bpm", key="A minor", metre="3/4", tempo=90,
        needs="piano", single="violin"),
    _of("mixtures", "cheerful march in B flat major for brass band, 116 bpm", key="Bb major", metre="2/4", tempo=116,
        needs="trumpet"),
    _of("mixtures", "Fröhliche Gigue in D-Dur für Flöte und Gitarre", key="D major", metre="6/8", needs="guitar",
        single="flute"),
    _of("mixtures", "slow blues in E with guitar, bass and drums", tempo=SLOW, needs="guitar drums", single="bass"),
    _of("mixtures", "Weihnachtslied in F-Dur für Chor und Orgel, langsam", key="F major", tempo=SLOW, needs="choir organ"),
    _of("mixtures", "lullaby in G major for harp and flute, 3/4, 76 bpm", key="G major", metre="3/4", tempo=76, needs="harp",
        single="flute"),
    _of("mixtures", "Streichquartett in c-Moll, Adagio", key="C minor", tempo=SLOW, needs="violin cello"),
    _of("mixtures", "fast jig in A major for fiddle and guitar, 6/8", key="A major", metre="6/8", tempo=FAST, needs="guitar",
        single="violin"),
    _of("mixtures", "Jazzballade in Es-Dur mit Saxophon, Klavier, Bass und Schlagzeug", key="Eb major", tempo=(50.0, 100.0),
        needs="piano drums", single="clarinet bass"),
    _of("mixtures", "hymn in C major for trumpet, choir and organ, 4/4", key="C major", metre="4/4", needs="choir organ",
        single="trumpet"),
)
KINDS = tuple(dict.fromkeys(prompt.kind for prompt in PROMPTS))


def evenly(count: int) -> list[tuple[int, Prompt]]:
    """The first prompts with their numbers, the same number of each kind as far as that goes: first of each, second ..."""
    of_kind = {kind: [number for number, prompt in enumerate(PROMPTS) if prompt.kind == kind] for kind in KINDS}
    turns = [numbers[turn] for turn in range(max(map(len, of_kind.values()))) for numbers in of_kind.values()
             if turn < len(numbers)]
    return [(number, PROMPTS[number]) for number in turns[:count]]
