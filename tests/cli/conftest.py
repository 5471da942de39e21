"""A small engine for the command line's tests: sequences, batcher, ids and files are real, a network it has none."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from collections.abc import Sequence as Listed
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import mido
import pytest

from bot.cli.app import run
from models.decoding.batcher import Batcher
from models.decoding.sequence import Sequence
from models.engines import registry
from models.errors import CheckpointError
from models.interface.engine import Host
from models.interface.midi import ComposeRequest, Plan, Take
from models.music.attributes import Attributes
from models.music.form.plan import Bar, FormPlan, Section
from models.music.vocabulary.los_angeles import DURATION, NO_DRUMS, PITCH, START, decode

HEADER = (START, NO_DRUMS, START + 3)
TWO_FORMS = tuple(
    FormPlan(name, 0, "major", (4, 4), 120.0, (Section("A", "theme", 0, 2),), (Bar((0,)), Bar((5, 7), 1)), (), 4.0)
    for name in ("song", "hymn"))


class ScaleDecoder:
    """Walks up and down a scale: T, D, P in turn, drawn from seed, take and place."""

    def __init__(self) -> None:
        self.steps = 0
        self.at_step: dict[int, Callable[[], None]] = {}

    def fits(self, sequence: Sequence) -> bool:
        return True

    def join(self, sequence: Sequence) -> None: ...

    def leave(self, sequence: Sequence) -> None: ...

    def advance(self, sequences: Listed[Sequence]) -> None:
        self.steps += 1
        if self.steps in self.at_step:
            self.at_step[self.steps]()

    def draw(self, sequences: Listed[Sequence]) -> list[int]:
        return [self._next(one) for one in sequences]

    def _next(self, sequence: Sequence) -> int:
        place = len(sequence.ids)
        chance = random.Random(f"{sequence.seed} {sequence.take} {place}")
        if sequence.stop_id is not None and place >= 12 * sequence.take - 12:
            return sequence.stop_id
        return (chance.randrange(5, 20), DURATION + 8 * 10 + 5, PITCH + 60 + chance.choice((0, 2, 4, 5, 7)))[place % 3]


class SmallEngine:
    """An engine that matches everything with one title."""

    name = "pocket"

    def __init__(self) -> None:
        self.decoder = ScaleDecoder()
        self.forms: tuple[FormPlan, ...] = ()
        self.batcher = Batcher(self.decoder)

    def plan(self, request: ComposeRequest) -> Plan:
        return Plan(
            request=request, engine=self.name, matched_title="Nocturne in C --- Nobody", matched_score=41.0,
            attributes=Attributes(genre="classical", tonic=0, mode="major"),
            sources={"genre": "title", "key": "stated"}, forms=self.forms, prime=HEADER,
            notices=("nothing like it was found",))

    def sequences(self, plan: Plan) -> list[Sequence]:
        request = plan.request
        # Takes of different lengths, so that they finish one after the other.
        return [Sequence(plan.prime, request.tokens - 3 * (request.takes - take), request.seed, take,
                         stop_id=START if request.stop_at_end else None)
                for take in range(1, request.takes + 1)]

    def take(self, plan: Plan, sequence: Sequence) -> Take:
        ids = (*sequence.prime, *sequence.ids)
        return Take(sequence.take, ids, len(sequence.prime), decode(ids), None)


@dataclass(frozen=True)
class Ended:
    """What a command left: exit code, stdout, the lines of stderr."""

    code: int
    out: str
    err: list[str]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> SmallEngine:
    """The engine that `compose` gets for the name `pocket`; a model that is named must be a folder."""
    engine = SmallEngine()

    def load(name: str, model: Path | None, host: Host) -> SmallEngine:
        if model is not None and not model.is_dir():
            raise CheckpointError(f"{model} is no model")
        return engine

    monkeypatch.setitem(sys.modules, "small_engine", SimpleNamespace(load=load))
    monkeypatch.setattr(registry, "ENGINES", {"pocket": registry.Listed("midi", "compose", "small_engine")})
    return engine


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, and no settings."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in ("SOUNDFONT", "DATA", "OUT", "THREADS", "DEBUG"):
        monkeypatch.delenv(f"KAPELLE_{name}", raising=False)
    return folder


@pytest.fixture
def kapelle(home: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Run a command in this process, in the folder `home`."""

    def call(*arguments: object) -> Ended:
        capfd.readouterr()
        code = run([str(one) for one in arguments])
        out, err = capfd.readouterr()
        return Ended(code, out, err.splitlines())

    return call


@pytest.fixture
def written(home: Path) -> Callable[[], list[str]]:
    """Lists everything in `home`, hidden files included."""
    return lambda: sorted(str(path.relative_to(home)) for path in home.rglob("*"))


@pytest.fixture
def scale(home: Path) -> Path:
    """A short MIDI file in a folder beside `home`."""
    return _write_scale(home.with_name("scale.mid"), program=0)


@pytest.fixture
def bells(home: Path) -> Path:
    """Four notes of a piano and four of tubular bells, which the seed system has no channel for."""
    return _write_scale(home.with_name("bells.mid"), program=14)


@pytest.fixture
def long_scale(home: Path) -> Path:
    """Enough notes to train on."""
    return _write_scale(home.with_name("long.mid"), program=0, repeats=20)


def _write_scale(path: Path, *, program: int, repeats: int = 1) -> Path:
    piano, other = mido.MidiTrack(), mido.MidiTrack()
    other.append(mido.Message("program_change", channel=1, program=program, time=0))
    for channel, track in enumerate((piano, other)):
        for pitch in (60, 62, 64, 65) * repeats:
            track.append(mido.Message("note_on", channel=channel, note=pitch, velocity=90, time=0))
            track.append(mido.Message("note_off", channel=channel, note=pitch, time=240))
    mido.MidiFile(type=1, tracks=[piano, other]).save(path)
    return path
