"""Names of instruments, as scores and as people give them, and the channels they sound on."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from models.music.score.programs import CHANNELS, DROPPED, NEAREST_CHANNEL, SEED_CHANNEL

# General MIDI program (from 0) of the names that corpus indexes use. The channel follows from it
# by the table in `models.music.score.programs`, so that there is one truth about it.
PROGRAMS: Mapping[str, int] = {
    "Piano": 0, "Electric Piano": 4, "Harpsichord": 6, "Clavinet": 7, "Celesta": 8, "Glockenspiel": 9,
    "Music Box": 10, "Vibraphone": 11, "Marimba": 12, "Xylophone": 13, "Tubular Bells": 14, "Bells": 14,
    "Dulcimer": 15, "Organ": 19, "Accordion": 21, "Harmonica": 22, "Nylon Guitar": 24, "Steel Guitar": 25,
    "Jazz Guitar": 26, "Clean Guitar": 27, "Muted Guitar": 28, "Overdriven Guitar": 29, "Distortion Guitar": 30,
    "Guitar Harmonics": 31, "Acoustic Bass": 32, "Electric Bass": 33, "Fretless Bass": 35, "Slap Bass": 36,
    "Synth Bass": 38, "Violin": 40, "Viola": 41, "Cello": 42, "Contrabass": 43, "Tremolo Strings": 44,
    "Pizzicato Strings": 45, "Harp": 46, "Timpani": 47, "Strings": 48, "Synth Strings": 50, "Choir": 52,
    "Synth Choir": 54, "Orchestra Hit": 55, "Trumpet": 56, "Trombone": 57, "Tuba": 58, "Muted Trumpet": 59,
    "French Horn": 60, "Brass": 61, "Synth Brass": 62, "Soprano Sax": 64, "Alto Sax": 65, "Tenor Sax": 66,
    "Baritone Sax": 67, "Oboe": 68, "English Horn": 69, "Bassoon": 70, "Clarinet": 71, "Piccolo": 72, "Flute": 73,
    "Recorder": 74, "Pan Flute": 75, "Blown Bottle": 76, "Shakuhachi": 77, "Whistle": 78, "Ocarina": 79,
    "Synth Lead": 80, "Synth Pad": 88, "Synth FX": 96, "Sitar": 104, "Banjo": 105, "Shamisen": 106, "Koto": 107,
    "Kalimba": 108, "Bagpipe": 109, "Fiddle": 110, "Shanai": 111, "Tinkle Bell": 112, "Agogo": 113,
    "Steel Drums": 114, "Woodblock": 115, "Taiko": 116, "Melodic Tom": 117, "Synth Drum": 118,
    "Reverse Cymbal": 119, "Sound FX": 122,
}


def ordered(channels: Iterable[str]) -> tuple[str, ...]:
    """Channel names without doubles, in the order of CHANNELS."""
    wanted = set(channels)
    return tuple(name for name in CHANNELS if name in wanted)


def channels_named(names: Iterable[str]) -> tuple[str, ...]:
    """Channels of instruments as an index names them; names that are unknown or never sound are left out.

    Sections of strings are split between violin and cello by pitch, so they are both.
    """
    channels = set()
    for name in names:
        if name == "Drums":
            channels.add("drums")
        elif name in PROGRAMS and NEAREST_CHANNEL[PROGRAMS[name]] != DROPPED:
            program = PROGRAMS[name]
            channel = CHANNELS[NEAREST_CHANNEL[program]]
            channels.add(channel)
            if channel == "violin" and SEED_CHANNEL[program] == DROPPED and name != "Fiddle":
                channels.add("cello")
    return ordered(channels)


@dataclass(frozen=True)
class Band:
    """What a word asks for: channels that must sound, channels that may, and whether that is all."""

    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    whole: bool = False


_STRINGS = ("violin", "cello")
_WINDS = ("trumpet", "clarinet", "flute")
# Words of requests, English and German. Earlier ones win, so longer names stand before shorter ones.
_WORDS: tuple[tuple[str, Band], ...] = (
    (r"(?:string|streich) ?(?:quartett?|quintett?|trio|orchestra|orchester)s?", Band(_STRINGS, whole=True)),
    (r"(?:piano|klavier) ?(?:trio|quartett?|quintett?)s?", Band(("piano", *_STRINGS), whole=True)),
    (r"(?:jazz|piano jazz) ?trio", Band(("piano", "bass", "drums"), whole=True)),
    (r"jazz ?(?:band|combo|quartett?|quintett?)", Band(("piano", "bass", "drums"), ("trumpet", "clarinet", "guitar"),
                                                      whole=True)),
    (r"big ?band", Band(("trumpet", "clarinet", "bass", "drums"), ("piano", "guitar"), whole=True)),
    (r"(?:rock|metal|punk|garage) ?band|power trio", Band(("guitar", "bass", "drums"), ("organ", "piano"), whole=True)),
    (r"brass band|blaskapelle|marching band", Band(("trumpet",), ("drums", "clarinet", "flute"), whole=True)),
    (r"wind (?:band|orchestra)|concert band|blasorchester|blasmusik", Band(_WINDS, ("drums",), whole=True)),
    (r"brass (?:quartett?|quintett?|ensemble|choir)|blechbläser\w*|posaunenchor|blechblasquartett",
     Band(("trumpet",), whole=True)),
    (r"(?:woodwind|holzbläser)[ -]?(?:quartett?|quintett?|trio|ensemble)", Band(("clarinet", "flute"), ("trumpet",),
                                                                               whole=True)),
    (r"(?:wind|bläser)[ -]?(?:quartett?|quintett?|ensemble)", Band(_WINDS, whole=True)),
    (r"woodwinds?|holzbläser\w*", Band(("clarinet", "flute"))),
    (r"bläser|wind instruments", Band(_WINDS)),
    (r"(?:symphony |chamber |sinfonie|symphonie|kammer)?(?:orchestra|orchester)",
     Band(_STRINGS, ("trumpet", "clarinet", "flute", "harp", "bass"))),
    (r"a cap+ella", Band(("choir",), whole=True)),
    (r"steel drums?|harps?|harfen?\w*|glockenspiel|celesta|spieluhr|music box|koto|dulcimer|hackbrett",
     Band(("harp",))),
    (r"viola da gamba|gambe|cell(?:o|os|i)|violoncell\w*|cello\w*", Band(("cello",))),
    (r"violins?|violin\w*|violas?|geigen?\w*|bratschen?|fiddle", Band(("violin",))),
    (r"strings|streicher\w*|string section", Band(_STRINGS)),
    (r"bass clarinets?|bassklarinetten?|(?:english |cor )(?:horns?|anglais)|englischhorn|clarinets?|klarinetten?\w*|"
     r"(?:(?:alto|tenor|soprano|baritone?) )?sax(?:ophone?)?s?|(?:alt|tenor|sopran|bariton)?saxophone?|oboes?|oboen|"
     r"bassoons?|fagotte?|bagpipes?|dudelsack", Band(("clarinet",))),
    (r"(?:pan|tin|bamboo|alto) (?:flutes?|whistle)|flutes?|(?:quer|block|pan)?flöten?\w*|piccolos?|recorder|ocarina|"
     r"okarina|shakuhachi", Band(("flute",))),
    (r"bass guitars?|bassgitarren?|(?:electric|acoustic|double|slap|upright|e)[ -]bass|kontrabass|contrabass|bass|"
     r"timpani|pauken?", Band(("bass",))),
    (r"(?:(?:electric|acoustic|e)[ -])?(?:guitars?|gitarren?\w*)|banjo|ukulele|mandolin[es]?|lute|laute|sitar",
     Band(("guitar",))),
    (r"trumpets?|trompeten?\w*|cornets?|kornett|flugelhorn|flügelhorn|trombones?|posaunen?|tuba|"
     r"(?:french |wald)?horns?|hörner|brass", Band(("trumpet",))),
    (r"drum ?(?:kit|set|machine)s?|drums?|schlagzeug\w*|schlagwerk|percussion|perkussion|trommeln?|snare|"
     r"congas?|bongos?",
     Band(("drums",))),
    (r"(?:(?:mixed|male|female|gospel|church|boys'?|childrens?'?|children's|männer|frauen|kinder|kirchen|knaben|gospel|"
     r"gemischter )[ -]?)?(?:choirs?|chor|chöre|chorus)|satb|voices?|vocals?|singing|singers?|gesang|"
     r"singstimmen?|stimmen?",
     Band(("choir",))),
    (r"(?:church |pipe |hammond |kirchen|hammond)?(?:organs?|orgeln?)|orgel\w*|harmonium|accordions?|akkordeon|"
     r"bandone[oó]n|harmonica|mundharmonika", Band(("organ",))),
    (r"(?:grand |electric |e-)?pianos?|pianoforte|fortepiano|klaviere?\w*|flügel|keyboards?|harpsichord|cembalo|"
     r"clavichord|vibraphone?|marimba|xylophone?", Band(("piano",))),
)
_PATTERN = re.compile(
    r"(?<!\w)(?:solo-?)?(?:" + "|".join(f"(?P<w{i}>{words})" for i, (words, _) in enumerate(_WORDS)) + r")(?!\w)")


def bands_in(text: str) -> list[tuple[int, int, Band]]:
    """Instruments and ensembles named in a lower-case text: start, end and what is asked for, in order."""
    return [(match.start(), match.end(), _WORDS[int(str(match.lastgroup)[1:])][1]) for match in _PATTERN.finditer(text)]
