"""The plan of a piece: sections, bars with their chords, players. Made before the notes, and kept with them.

Bars count from 0, chords are numbers of `models.music.form.chords`, and a bar that returns names the earlier bar that it brings
back, how much alike the two are to be, how many steps of the scale higher, and who takes over whose notes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from models.music.attributes import TONICS
from models.music.form.chords import NO_CHORD, units_in_bar
from models.music.form.drums import Groove

_QUALITY_SIGNS = ("", "m", "dim")


@dataclass(frozen=True)
class Player:
    """Everybody who plays one instrument of the twelve channels."""

    instrument: str  # of CHANNELS
    role: str  # melody, inner, bass, rhythm
    low: int  # lowest and highest MIDI pitch
    high: int
    players: int  # how many people
    voices: int  # notes that each may play at once
    share: float  # of all notes, 0..1

    @property
    def most_in_quarter(self) -> float:
        """Notes a quarter that they can play for long without haste: lines have a breath, chords have several notes."""
        return 4.0 if self.voices > 1 else 2.2 * self.players

    @property
    def last_notes(self) -> int:
        """Notes that they have of a last chord: one each, and up to three where chords are played."""
        return min(self.players * self.voices, 3 if self.voices > 2 else self.players) if self.instrument != "drums" else 1


@dataclass(frozen=True)
class Section:
    letter: str  # sections of one letter are the same music
    function: str  # theme, bridge, verse, chorus, trio, ...
    first: int  # bar
    bars: int


@dataclass(frozen=True)
class Return:
    """What of an earlier bar comes back, and how."""

    bar: int  # the earlier bar
    level: int  # how much alike, of LIKENESS_LEVELS of the bar memory
    degrees: int = 0  # so many steps of the scale higher
    voices: tuple[tuple[str, str], ...] = ()  # who takes over whose notes; nobody named: everybody keeps them


@dataclass(frozen=True)
class Bar:
    chords: tuple[int, ...]  # one for each harmonic unit
    phrase_bar: int = 0  # place in its phrase
    returns: Return | None = None
    cadence: bool = False  # a phrase comes to rest here
    fill: bool = False  # drums lead over into what follows
    silent: tuple[str, ...] = ()  # instruments that have not come in yet
    most_at_once: int = 0  # notes that may begin together; 0: as many as there are voices


@dataclass(frozen=True)
class FormPlan:
    """A piece before its notes."""

    name: str  # of the form: song, strains, blues, ...
    tonic: int
    mode: str
    metre: tuple[int, int]
    tempo_bpm: float  # quarters a minute
    sections: tuple[Section, ...]
    bars: tuple[Bar, ...]
    players: tuple[Player, ...]
    notes_in_bar: float  # how many are to come in each bar, about
    groove: Groove | None = None  # of the drums, where there are any

    @property
    def units(self) -> int:
        """Harmonic units of a bar."""
        return units_in_bar(*self.metre)

    @property
    def bar_seconds(self) -> float:
        beats, unit = self.metre
        return beats * 4 / unit * 60 / self.tempo_bpm

    @property
    def last_notes(self) -> int:
        """Notes of the last chord."""
        return sum(player.last_notes for player in self.players)

    def as_json(self) -> dict[str, Any]:
        """What a user may read of it, with chords by name."""
        return {
            "form": self.name,
            "sections": [{"letter": one.letter, "function": one.function, "first_bar": one.first + 1, "bars": one.bars}
                         for one in self.sections],
            "chords": [" ".join(chord_name(chord) for chord in _unheld(bar.chords)) for bar in self.bars],
            "returns": {str(number + 1): bar.returns.bar + 1 for number, bar in enumerate(self.bars) if bar.returns},
            "cadences": [number + 1 for number, bar in enumerate(self.bars) if bar.cadence],
            "players": [{"instrument": one.instrument, "role": one.role, "lowest": one.low, "highest": one.high,
                         "players": one.players, "voices": one.voices, "share": round(one.share, 3)}
                        for one in self.players],
            "drums": self.groove.style if self.groove else None,
        }


def _unheld(chords: tuple[int, ...]) -> tuple[int, ...]:
    return chords[:1] if len(set(chords)) == 1 else chords


def chord_name(chord: int) -> str:
    """As lead sheets write it: C, F#m, Bdim; - for none."""
    return "-" if chord == NO_CHORD else TONICS[chord % 12] + _QUALITY_SIGNS[chord // 12]
