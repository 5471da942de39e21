"""What a request asks of the notes of one take."""

from __future__ import annotations

from dataclasses import dataclass

from models.music.attributes import Attributes
from models.music.form.plan import FormPlan
from models.music.score.programs import CHANNELS
from models.music.vocabulary.los_angeles import CHANNEL_COUNT, DURATION, NO_DRUMS, PITCH, START, WITH_DRUMS

KIND_RANGES = ((0, DURATION), (DURATION, PITCH), (PITCH, PITCH + 128 * len(CHANNELS)))
_LOOKED_BACK = 3 * 512  # ids of a piece that is carried on


@dataclass(frozen=True)
class Strengths:
    """How firmly takes are led, in nats unless it says otherwise; 0 lets the network alone."""

    key: float = 1.0  # taken off pitches outside the key
    beat: float = 4.0  # at most this is taken off times that lead to weak places of the bar; a sixth of it is
    # what a class of velocity gains on the bar line, and loses between the divisions
    chords: float = 1.0  # a share of what pitches outside the chord lose; on a strong place two nats
    returns: float = 4.0  # added to what stood at the same place of a bar that comes back
    line: float = 1.0  # a share of what leaps of a single voice lose
    balance: float = 1.0  # a share of what an instrument gains that has had too few notes


@dataclass(frozen=True)
class Steering:
    """Notes to make at most, what is said of them, the plan they follow (None: none), and what they carry on."""

    notes: int
    attributes: Attributes
    form: FormPlan | None = None
    strengths: Strengths = Strengths()
    given: tuple[int, ...] = ()  # triplets of what is carried on

    @property
    def prime(self) -> tuple[int, ...]:
        """The header, and as much of what is carried on as the network can look back to."""
        players = self.form.players if self.form else ()
        channels = {player.instrument for player in players} or set(self.attributes.instruments)
        header = START, WITH_DRUMS if "drums" in channels else NO_DRUMS, CHANNEL_COUNT + min(max(len(channels), 1), 12)
        return *header, *self.given[-_LOOKED_BACK:]
