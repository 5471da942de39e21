"""The pocket engine: titles in, music out, with the model that ships with Kapelle."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

from models.decoding.batcher import Batcher
from models.decoding.sequence import Sequence
from models.engines.pocket.counts import players_named
from models.engines.pocket.decoder import HEADER, Condition, PocketDecoder
from models.engines.pocket.direction import direct
from models.engines.pocket.guide import LONGEST_TIME_MS
from models.engines.pocket.instruments import ordered
from models.engines.pocket.network import PocketNetwork
from models.engines.pocket.steering import Steering, Strengths
from models.engines.pocket.titles import PocketTitles, load_titles
from models.engines.pocket.weights import SHIPPED, load_pocket
from models.errors import InputError
from models.interface.engine import Host
from models.interface.midi import ComposeRequest, Plan, Take
from models.music.attributes import METRES, Attributes
from models.music.form.grammar import PHRASE, harmony, make_plan
from models.music.form.plan import FormPlan
from models.music.form.players import players_of
from models.music.form.playing import played
from models.music.score.measures import channels, estimate_key
from models.music.score.notes import Metre, Score, Tempo
from models.music.vocabulary.carried_on import CarriedOn, read_carried_on
from models.music.vocabulary.los_angeles import TIME_STEP_MS, decode, prime_seconds

TOP_K = 283
NOTES_EACH = 8  # of a take, for each of its instruments
FEWEST_PIECES = 10  # of a form, for the network to be told of it
ROWS = 64  # of the cache; a guided sequence takes two
GUIDANCE = 2.0
STRENGTHS = Strengths()
_STRONGEST = 20.0  # of guidance and strengths; far beyond what sounds like anything
_USED = 0.94  # of the notes that were asked for, by plan
_FEWEST_IN_BAR, _MOST_IN_BAR = 2.5, 16.0
_DRUMS_IN_BAR = 5.0  # more
_THINNER = 0.9  # than usual of the kind: there is more of a form in as many notes
_LINE_UPS = (
    ("piano",), ("piano",), ("piano", "violin"), ("piano", "flute"), ("piano", "cello", "clarinet"),
    ("violin", "cello", "flute"),
    ("guitar", "bass", "drums"), ("violin", "cello"))
_COMMON_TONICS = (0, 2, 3, 5, 7, 9, 10)  # C, D, Eb, F, G, A, Bb


class PocketEngine:
    """Composes from attributes: those of the best matching title, and those that the request states itself.

    `guidance` (1: none) says how much the attributes count beyond what the network would do, `strengths` how firmly
    takes are led in key, beat and form. All are 0 to 20; docs/decisions.md has what they do to takes. Raises InputError
    for others.
    """

    name = "pocket"

    def __init__(
        self, network: PocketNetwork, titles: PocketTitles, *, guidance: float = GUIDANCE, strengths: Strengths = STRENGTHS,
    ) -> None:
        led = {f"{name} strength": value for name, value in asdict(strengths).items()}
        for name, value in {"guidance": guidance, **led}.items():
            if not 0 <= value <= _STRONGEST:
                raise InputError(f"the pocket model's {name} must be between 0 and {_STRONGEST:g}, not {value}")
        self._titles = titles
        self._guidance, self._strengths = guidance, strengths
        self.batcher = Batcher(PocketDecoder(network, ROWS), joins_per_step=16)

    @classmethod
    def load(
        cls, folder: Path | None = None, *, guidance: float = GUIDANCE, strengths: Strengths = STRENGTHS,
    ) -> PocketEngine:
        """The shipped model, or another one of its family. Raises CheckpointError, InputError."""
        return cls(load_pocket(folder or SHIPPED), load_titles(), guidance=guidance, strengths=strengths)

    def plan(self, request: ComposeRequest) -> Plan:
        direction, matches = direct(request.title, request.artist, self._titles)
        known, sources = direction.attributes, dict(direction.sources)
        given: tuple[int, ...] = ()
        allowed = direction.allowed or frozenset()
        faults: tuple[str, ...] = ()
        if request.continuation is not None:
            carried_on = read_carried_on(request.continuation)
            known, faults = as_heard(carried_on, known), carried_on.score.faults
            given = carried_on.in_time(steady(carried_on.bpm))
            sources |= dict.fromkeys(("key", "metre", "tempo_bpm", "instruments"), "carried on")
            allowed = allowed or frozenset(known.instruments)
        notes = request.tokens // 3
        attributes, drawn = complete(known, request.seed, allowed, direction.required)
        best = matches[0] if matches and matches[0].score > 0 else None
        # Of a form with hardly any piece in training the network has learnt the pieces, not the form.
        forms = self._titles.usuals.forms
        heard = tuple(form for form in attributes.forms if form in forms and forms[form].pieces >= FEWEST_PIECES)
        line_up = fitting(attributes.instruments, direction.required, notes)
        used = "title" in sources.values()
        named = players_named(f"{request.title}, {request.artist}")
        outlines = tuple(
            outline(attributes, line_up, named, notes, request.bars, random.Random(f"{request.seed} {take} {request.name}"),
                    carried_on=bool(given))
            for take in range(1, request.takes + 1))
        bar_seconds = outlines[0].bar_seconds
        attributes = replace(attributes, instruments=line_up, density=outlines[0].notes_in_bar / bar_seconds)
        told = replace(attributes, forms=heard)
        steered = tuple(
            Steering(notes, replace(told, density=one.notes_in_bar / bar_seconds), one, self._strengths, given)
            for one in outlines)
        return Plan(
            request=request, engine=self.name,
            matched_title=best.title if best and used else None, matched_score=best.score if best and used else None,
            attributes=attributes, sources=sources | dict.fromkeys(drawn, "drawn"), forms=outlines,
            steering=steered,
            notices=faults + (() if request.continuation or used else _unknown(request, sources)))

    def sequences(self, plan: Plan) -> list[Sequence]:
        request = plan.request
        return [
            Sequence(
                prime=steering.prime, length=3 * steering.notes, seed=request.seed, take=number,
                temperature=request.temperature, top_k=TOP_K, guidance=self._guidance, condition=Condition(steering))
            for number, steering in enumerate(plan.steering, 1)
        ]

    def take(self, plan: Plan, sequence: Sequence) -> Take:
        given, form = plan.steering[sequence.take - 1].given, plan.forms[sequence.take - 1]
        score = decode((*given, *sequence.ids))
        durations_ms, before = score.notes["duration_ms"], len(given) // 3
        score = played(score, form.players)
        score.notes["duration_ms"][:before] = durations_ms[:before]  # what was there stays as it was
        name = " - ".join(text for text in (plan.request.title.strip(), plan.request.artist.strip()) if text)
        return Take(
            number=sequence.take, ids=(*sequence.prime[:HEADER], *given, *sequence.ids), prime_length=HEADER + len(given),
            score=replace(on_grid(score, plan.attributes), name=name), prime_seconds=prime_seconds(given) if given else None)


def outline(
    attributes: Attributes, line_up: tuple[str, ...], named: Mapping[str, int], notes: int, bars: int | None,
    chance: random.Random, *, carried_on: bool = False,
) -> FormPlan:
    """A plan whose bars hold about as many notes as pieces of the kind have, and as many as were asked for in all.

    `named` says how many players of an instrument were asked for; a piece that is carried on first goes on to the end of
    its bar. Raises InputError for bars that the notes cannot reach
    the end of.
    """
    assert attributes.tonic is not None
    assert attributes.mode is not None
    assert attributes.tempo_bpm is not None
    beats, unit = map(int, (attributes.metre or "4/4").split("/"))
    counted, players = harmony(), players_of(line_up, harmony().shares, named)
    bar_quarters = beats * 4 / unit
    usual = counted.notes_in_quarter(attributes.genre, len(line_up)) * bar_quarters
    if attributes.density:
        usual = attributes.density * bar_quarters * 60 / attributes.tempo_bpm
    most = _MOST_IN_BAR + (_DRUMS_IN_BAR if "drums" in line_up else 0.0)
    most = min(sum(player.most_in_quarter for player in players) * bar_quarters, most)
    usual = min(max(_THINNER * usual, _FEWEST_IN_BAR), most)
    last = max(min(sum(player.last_notes for player in players), notes // 4), 1)

    def fewest(bars: int) -> int:
        """Notes without which the last bar is not reached."""
        quarters = (bars - 1 + carried_on) * bar_quarters
        return math.ceil(quarters * 60_000 / (attributes.tempo_bpm or 1.0) / LONGEST_TIME_MS) + last

    if bars is None:
        wanted = max((notes * _USED - last) / usual, 0.0) + 1
        bars = PHRASE * round(wanted / PHRASE) if wanted >= 1.5 * PHRASE else max(round(wanted), 2)
        while bars > 1 and fewest(bars) > notes:
            bars -= 1
        in_bar = max(notes * _USED - last, 1.0) / max(bars - 1, 1)
    else:  # as many notes as bars of the kind hold, or what there is for each
        if (needed := fewest(bars)) > notes:
            raise InputError(
                f"{bars} bars at {attributes.tempo_bpm:.0f} bpm need at least {3 * needed} tokens, not {3 * notes}")
        in_bar = min(usual, max(notes * _USED - last, 1.0) / max(bars - 1, 1))
    return make_plan(
        forms=attributes.forms, genre=attributes.genre, tonic=attributes.tonic, mode=attributes.mode, metre=(beats, unit),
        tempo_bpm=attributes.tempo_bpm, bars=bars, notes_in_bar=in_bar, players=players, chance=chance)


def fitting(instruments: tuple[str, ...], required: frozenset[str], notes: int) -> tuple[str, ...]:
    """As many of the instruments as there are notes for, those that must sound first."""
    most = max(notes // NOTES_EACH, len(required), 1)
    chosen = sorted(instruments, key=lambda name: name not in required)[:most]
    return ordered(chosen)


def complete(
    attributes: Attributes, seed: int, allowed: frozenset[str] = frozenset(), required: frozenset[str] = frozenset(),
) -> tuple[Attributes, tuple[str, ...]]:
    """Draw what a piece cannot do without and nothing is known about; also returns what was drawn.

    A key, a metre and a tempo that are the same throughout hold a piece together better than none, and somebody has to
    play. `allowed` are those who may (empty: all), `required` those who must. The draw depends on the seed alone.
    """
    chance = random.Random(seed)
    tonic, mode = chance.choice(_COMMON_TONICS), chance.choice(("major", "major", "minor"))
    metre, tempo = chance.choice(("4/4", "4/4", "3/4")), float(chance.randrange(84, 125, 4))
    line_up = attributes.instruments
    if not line_up:
        free = [one for one in _LINE_UPS if not allowed or set(one) <= allowed]
        line_up = ordered({*required, *(chance.choice(free) if free else sorted(allowed)[:3])})
    drawn = {
        "key": attributes.tonic is None or attributes.mode is None,
        "metre": attributes.metre is None,
        "tempo_bpm": attributes.tempo_bpm is None,
        "instruments": not attributes.instruments,
    }
    return replace(
        attributes,
        tonic=tonic if attributes.tonic is None else attributes.tonic, mode=attributes.mode or mode,
        metre=attributes.metre or metre, tempo_bpm=steady(attributes.tempo_bpm or tempo),
        instruments=line_up,
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
    given = {
        "key": host.pocket_key_strength, "beat": host.pocket_beat_strength, "chords": host.pocket_chords,
        "returns": host.pocket_returns, "line": host.pocket_line, "balance": host.pocket_balance}
    return PocketEngine.load(
        model, guidance=host.pocket_guidance,
        strengths=replace(STRENGTHS, **{what: value for what, value in given.items() if value is not None}))
