"""The pocket engine: titles in, music out, with the model that ships with Kapelle."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from models.decoding.batcher import Batcher
from models.decoding.sequence import Sequence
from models.engines.pocket.conditioning import Steering
from models.engines.pocket.decoder import HEADER, Condition, PocketDecoder
from models.engines.pocket.direction import direct
from models.engines.pocket.network import PocketNetwork
from models.engines.pocket.titles import PocketTitles, load_titles
from models.engines.pocket.weights import SHIPPED, load_pocket
from models.errors import InputError
from models.interface.engine import Host
from models.interface.midi import ComposeRequest, Plan, Take
from models.music.attributes import METRES, Attributes
from models.music.score.measures import channels, estimate_key
from models.music.score.notes import Metre, Score, Tempo
from models.music.vocabulary.carried_on import CarriedOn, read_carried_on
from models.music.vocabulary.los_angeles import START, TIME_STEP_MS, decode, prime_seconds

TOP_K = 283
NOTES_EACH = 8  # of a take, for each of its instruments
FEWEST_PIECES = 10  # of a form, for the network to be told of it
ROWS = 64  # of the cache; a guided sequence takes two
GUIDANCE = 2.0
KEY_STRENGTH = 1.0
BEAT_STRENGTH = 4.0
_STRONGEST = 20.0  # of guidance, key and beat; far beyond what sounds like anything
_COMMON_TONICS = (0, 2, 3, 5, 7, 9, 10)  # C, D, Eb, F, G, A, Bb


class PocketEngine:
    """Composes from attributes: those of the best matching title, and those that the request states itself.

    `guidance` (1: none) says how much the attributes count beyond what the network would do,
    `key_strength` how many nats a pitch outside the key loses, `beat_strength` how many at most
    an onset at a weak place of the bar; it also sets the accents. All three are 0 to 20; docs/decisions.md has
    what they do to takes. Raises InputError for others.
    """

    name = "pocket"

    def __init__(
        self, network: PocketNetwork, titles: PocketTitles, *, guidance: float = GUIDANCE,
        key_strength: float = KEY_STRENGTH, beat_strength: float = BEAT_STRENGTH,
    ) -> None:
        for name, value in (("guidance", guidance), ("key strength", key_strength), ("beat strength", beat_strength)):
            if not 0 <= value <= _STRONGEST:
                raise InputError(f"the pocket model's {name} must be between 0 and {_STRONGEST:g}, not {value}")
        self._titles = titles
        self._guidance, self._key_strength, self._beat_strength = guidance, key_strength, beat_strength
        self.batcher = Batcher(PocketDecoder(network, ROWS), joins_per_step=16)

    @classmethod
    def load(
        cls, folder: Path | None = None, *, guidance: float = GUIDANCE, key_strength: float = KEY_STRENGTH,
        beat_strength: float = BEAT_STRENGTH,
    ) -> PocketEngine:
        """The shipped model, or another one of its family. Raises CheckpointError, InputError."""
        return cls(load_pocket(folder or SHIPPED), load_titles(), guidance=guidance, key_strength=key_strength,
                   beat_strength=beat_strength)

    def plan(self, request: ComposeRequest) -> Plan:
        direction, matches = direct(request.title, request.artist, self._titles)
        known, sources = direction.attributes, dict(direction.sources)
        given: tuple[int, ...] = ()
        allowed = direction.allowed or frozenset()
        faults: tuple[str, ...] = ()
        if request.continuation is not None:
            carried_on = read_carried_on(request.continuation)
            known, given, faults = as_heard(carried_on, known), carried_on.triplets, carried_on.score.faults
            sources |= dict.fromkeys(("key", "metre", "tempo_bpm", "instruments"), "carried on")
            allowed = allowed or frozenset(known.instruments)
        attributes, drawn = complete(known, request.seed)
        best = matches[0] if matches and matches[0].score > 0 else None
        notes = request.tokens // 3
        # Of a form with hardly any piece in training the network has learnt the pieces, not the form.
        forms = self._titles.usuals.forms
        heard = tuple(form for form in attributes.forms if form in forms and forms[form].pieces >= FEWEST_PIECES)
        # Everybody who may play is heard, if there are notes enough for all.
        required = allowed if len(allowed) * NOTES_EACH <= notes else direction.required
        used = "title" in sources.values()
        return Plan(
            request=request, engine=self.name,
            matched_title=best.title if best and used else None, matched_score=best.score if best and used else None,
            attributes=attributes, sources=sources | dict.fromkeys(drawn, "drawn"),
            steering=Steering(
                notes=notes, attributes=replace(attributes, forms=heard), allowed=allowed, required=required,
                key_strength=self._key_strength, beat_strength=self._beat_strength, may_end=request.stop_at_end,
                given=given),
            notices=faults + (() if request.continuation or used else _unknown(request, sources)))

    def sequences(self, plan: Plan) -> list[Sequence]:
        request, steering = plan.request, plan.steering
        return [
            Sequence(
                prime=steering.prime, length=3 * steering.notes, seed=request.seed, take=number,
                temperature=request.temperature, top_k=TOP_K, stop_id=START if request.stop_at_end else None,
                guidance=self._guidance, condition=Condition(steering))
            for number in range(1, request.takes + 1)
        ]

    def take(self, plan: Plan, sequence: Sequence) -> Take:
        given = plan.steering.given
        score = decode((*given, *sequence.ids))
        name = " - ".join(text for text in (plan.request.title.strip(), plan.request.artist.strip()) if text)
        return Take(
            number=sequence.take, ids=(*sequence.prime[:HEADER], *given, *sequence.ids), prime_length=HEADER + len(given),
            score=replace(on_grid(score, plan.attributes), name=name), prime_seconds=prime_seconds(given) if given else None)


def complete(attributes: Attributes, seed: int) -> tuple[Attributes, tuple[str, ...]]:
    """Draw what a piece cannot do without and nothing is known about; also returns what was drawn.

    A key, a metre and a tempo that are the same throughout hold a piece together better than
    none. The draw depends on the seed alone.
    """
    chance = random.Random(seed)
    tonic, mode = chance.choice(_COMMON_TONICS), chance.choice(("major", "major", "minor"))
    metre, tempo = chance.choice(("4/4", "4/4", "3/4")), float(chance.randrange(84, 125, 4))
    drawn = {
        "key": attributes.tonic is None or attributes.mode is None,
        "metre": attributes.metre is None,
        "tempo_bpm": attributes.tempo_bpm is None,
    }
    return replace(
        attributes,
        tonic=tonic if attributes.tonic is None else attributes.tonic, mode=attributes.mode or mode,
        metre=attributes.metre or metre, tempo_bpm=steady(attributes.tempo_bpm or tempo),
    ), tuple(name for name, missing in drawn.items() if missing)


def _unknown(request: ComposeRequest, sources: Mapping[str, str]) -> tuple[str, ...]:
    """What to say where a title was meant that is not known; nothing where the request describes the music instead."""
    if not request.title.strip() or any(source == "stated" and name != "composer" for name, source in sources.items()):
        return ()
    if "composer" in sources:
        return (f"no known piece is called that, so this one is new, in the style of {request.artist.strip()}",)
    return ("no known piece is called that, so this one is all new",)


def as_heard(piece: CarriedOn, stated: Attributes) -> Attributes:
    """What was stated of a piece, with key, beat and instruments as they are in what is carried on."""
    key = estimate_key(piece.recent) or estimate_key(piece.score)
    return replace(
        stated, tonic=key.tonic if key else stated.tonic, mode=key.mode if key else stated.mode, tempo_bpm=piece.bpm,
        metre=piece.metre if piece.metre in METRES else stated.metre,
        instruments=tuple(sorted(channels(piece.score) | set(stated.instruments))))


def steady(tempo_bpm: float) -> float:
    """The nearest tempo whose eighths are whole steps of the vocabulary (10 ms), at most 2.5 % away up to 150.

    The network likes to repeat a time it has just used; at other tempos it drifts off the beat by that.
    """
    step_ms = 2 * TIME_STEP_MS
    return 60_000 / (step_ms * round(60_000 / tempo_bpm / step_ms))


def on_grid(score: Score, attributes: Attributes) -> Score:
    """The same notes with the tempo and metre they were made for, so that notation programs find the bars.

    A tick stays a millisecond: other ones round onsets, and what the file is read as has other times than the ids.
    """
    if not attributes.tempo_bpm:
        return score
    quarter_ms = round(60_000 / attributes.tempo_bpm)  # of a `steady` tempo exactly
    beats, unit = map(int, (attributes.metre or "4/4").split("/"))
    return replace(
        score, ticks_per_quarter=quarter_ms, tempos=(Tempo(0, 1000 * quarter_ms),), metres=(Metre(0, beats, unit),))


def load(name: str, model: Path | None, host: Host) -> PocketEngine:
    """The engine for the registry."""
    return PocketEngine.load(
        model, guidance=host.pocket_guidance, key_strength=host.pocket_key_strength,
        beat_strength=host.pocket_beat_strength)
