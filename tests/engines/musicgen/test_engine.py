from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from models.decoding.sequence import Sequence
from models.engines.musicgen.engine import MusicgenEngine
from models.errors import InputError
from models.interface.audio import AudioPlan, AudioRequest
from tests.engines.musicgen.building import VOCABULARY, WORDS, Tiny

Made = Callable[[str], Tiny]
Engines = Callable[[str], MusicgenEngine]


@pytest.fixture(scope="module")
def engine(tiny: Made) -> Engines:
    return cache(lambda kind: MusicgenEngine.load(tiny(kind).folder, name=f"musicgen-{kind}"))


def run(engine: MusicgenEngine, *plans: AudioPlan) -> list[list[Sequence]]:
    """The sequences of each plan, in one batch."""
    made = [engine.sequences(plan) for plan in plans]
    for sequences in made:
        for sequence in sequences:
            engine.batcher.add(sequence)
    while engine.batcher.busy:
        engine.batcher.step()
    return made


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    """2.1 s of a rising tone, in stereo at another rate."""
    time = np.arange(round(2.1 * 44_100)) / 44_100
    tone = 0.3 * np.sin(2 * np.pi * (220 + 100 * time) * time)
    soundfile.write(tmp_path / "tone.flac", np.stack((tone, 0.5 * tone), axis=1), 44_100)
    return tmp_path / "tone.flac"


@pytest.mark.parametrize(("kind", "channels"), [("mono", 1), ("stereo", 2), ("melody", 1)])
def test_a_prompt_becomes_takes_of_sound(kind: str, channels: int, engine: Engines) -> None:
    plan = engine(kind).plan(AudioRequest(WORDS[0], seconds=1.3, takes=3, seed=4))
    assert plan.engine == f"musicgen-{kind}"
    assert plan.licence == "CC-BY-NC-4.0"
    assert plan.notices == ()
    [sequences] = run(engine(kind), plan)
    takes = [engine(kind).take(plan, sequence) for sequence in sequences]
    assert [take.number for take in takes] == [1, 2, 3]
    sounds = [engine(kind).sound(plan, take) for take in takes]
    for take, sound in zip(takes, sounds, strict=True):
        assert take.content.shape == (65, 4 * channels)
        assert take.content.max() < VOCABULARY
        assert sound.shape == (round(1.3 * 32_000), channels)
        assert sound.dtype == np.float32
        assert np.isfinite(sound).all()
    assert not np.array_equal(sounds[0], sounds[1])


@pytest.mark.parametrize("guidance", [0.0, 40.0, 100.0])
def test_guidance_may_be_far_from_usual(guidance: float, engine: Engines) -> None:
    made = engine("mono")
    plan = made.plan(AudioRequest(WORDS[0], seconds=1, guidance=guidance))
    [[sequence]] = run(made, plan)
    assert np.isfinite(made.sound(plan, made.take(plan, sequence))).all()


@pytest.mark.parametrize("guidance", [-0.1, 100.5, float("nan")])
def test_guidance_out_of_range_is_refused(guidance: float) -> None:
    with pytest.raises(InputError, match="guidance must be between 0 and 100"):
        AudioRequest("piano", guidance=guidance)


def test_the_same_request_gives_the_same_sound_and_another_seed_another(engine: Engines) -> None:
    first, again, other = (engine("mono").plan(AudioRequest("piano", seconds=1, seed=seed)) for seed in (1, 1, 2))
    [one], [same], [different] = run(engine("mono"), first, again, other)
    assert one.ids == same.ids != different.ids


def test_a_short_request_is_ready_before_a_long_one_that_came_first(engine: Engines) -> None:
    made = engine("mono")
    long, short = (made.sequences(made.plan(AudioRequest("piano", seconds=seconds)))[0] for seconds in (3, 1))
    made.batcher.add(long)
    made.batcher.step()
    made.batcher.add(short)
    ended = []
    while made.batcher.busy:
        ended += made.batcher.step()
    assert ended == [short, long]


def test_a_sound_is_carried_on(engine: Engines, recording: Path) -> None:
    for kind in ("mono", "stereo", "melody"):
        made = engine(kind)
        plan = made.plan(AudioRequest("piano", seconds=3, takes=2, continuation=recording))
        [sequences] = run(made, plan)
        first, second = (made.take(plan, sequence).content for sequence in sequences)
        primed = len(plan.condition.prime)
        assert primed in (105, 106)
        assert len(first) == 150
        assert (first[:primed] == second[:primed]).all()
        assert (first[primed:] != second[primed:]).any()
        assert len(made.sound(plan, made.take(plan, sequences[0]))) == 3 * 32_000


def test_of_a_sound_that_leaves_no_room_the_end_is_carried_on(engine: Engines, tmp_path: Path, recording: Path) -> None:
    plan = engine("mono").plan(AudioRequest("piano", seconds=2, continuation=recording))
    assert len(plan.condition.prime) == 50
    assert plan.notices == ("only the last 1 s of the sound are carried on",)
    song = tmp_path / "song.flac"
    time = np.arange(180 * 8000) / 8000  # the pitch of its end is another one
    soundfile.write(song, 0.3 * np.sin(2 * np.pi * np.where(time < 175, 220, 440) * time), 8000)
    plan = engine("mono").plan(AudioRequest("piano", seconds=10, continuation=song))
    assert len(plan.condition.prime) == 250
    assert plan.notices == ("only the last 5 s of the sound are carried on",)
    soundfile.write(tmp_path / "end.flac", 0.3 * np.sin(2 * np.pi * 440 * time[175 * 8000:]), 8000)
    end = engine("mono").plan(AudioRequest("piano", seconds=10, continuation=tmp_path / "end.flac"))
    alike = [one == other for one, other in zip(plan.condition.prime[20:-20], end.condition.prime[20:-20], strict=True)]
    assert sum(alike) > len(alike) / 2
    assert end.notices == ()


@pytest.mark.parametrize(("prompt", "english"), [
    ("piano", True), ("80s pop track with bassy drums and synth", True), ("bossa nova", True), ("Los Angeles funk", True),
    ("Stille Nacht on a church organ", True), ("lo-fi", True), ("Motörhead", True), ("🎹", True), ("Adagio, molto lento", True),
    ("ruhige Klaviermusik am Abend", False), ("ein trauriges Lied mit Geige", False), ("musique triste avec piano", False),
    ("música rápida con guitarra", False), ("грустная музыка", False), ("悲しいピアノ", False), ("موسيقى هادئة", False)])
def test_a_prompt_in_a_language_that_the_model_does_not_know_is_told_so(engine: Engines, prompt: str, english: bool) -> None:
    notices = engine("mono").plan(AudioRequest(prompt, seconds=1)).notices
    assert any("seems not to be in English" in notice for notice in notices) is not english


def test_a_melody_changes_what_is_made(engine: Engines, recording: Path) -> None:
    made = engine("melody")
    plans = [made.plan(AudioRequest("piano", seconds=1, melody=melody)) for melody in (None, recording)]
    without, with_it = run(made, *plans)
    assert without[0].ids != with_it[0].ids


def test_a_model_that_follows_no_melody_names_those_that_do(engine: Engines, recording: Path) -> None:
    with pytest.raises(InputError, match=r"musicgen-mono cannot follow a melody; musicgen-melody, .* and "
                                         r"musicgen-stereo-melody-large can"):
        engine("mono").plan(AudioRequest("piano", melody=recording))


def test_files_that_cannot_be_used_are_refused(engine: Engines, tmp_path: Path) -> None:
    (tmp_path / "words.mp3").write_text("no sound at all\n" * 100)
    for name in ("words.mp3", "nothing.wav"):
        with pytest.raises(InputError, match=name):
            engine("melody").plan(AudioRequest("piano", continuation=tmp_path / name))
        with pytest.raises(InputError, match=name):
            engine("melody").plan(AudioRequest("piano", melody=tmp_path / name))


def test_longer_than_a_window_and_with_a_melody_that_goes_round(tiny: Made, recording: Path) -> None:
    made = MusicgenEngine(tiny("melody").open(), rows=4, window=80)
    requests: list[dict[str, Any]] = [{}, {"melody": recording}, {"melody": recording, "continuation": recording}]
    plans = [made.plan(AudioRequest("piano", seconds=4, stride=1.0, **changes)) for changes in requests]
    assert sorted(plans[1].condition.condition.melody) == [0, 50, 100, 150]
    assert sorted(plans[2].condition.condition.melody)[0] == len(plans[2].condition.prime) - 30
    for plan, [sequence] in zip(plans, run(made, *plans), strict=True):
        assert made.take(plan, sequence).content.shape == (200, 4)


def test_a_prompt_of_too_many_pieces_is_cut_and_said_so(engine: Engines) -> None:
    plan = engine("mono").plan(AudioRequest("k p " * 125, seconds=1))
    assert plan.condition.condition.text.shape == (256, 32)
    assert plan.notices == ("the end of the prompt was left out: it is too long",)


def test_plans_and_takes_are_small(engine: Engines, recording: Path) -> None:
    made = engine("melody")
    plan = made.plan(AudioRequest("piano", seconds=4, melody=recording, continuation=recording))
    assert len(pickle.dumps(plan)) < 50_000
    [[sequence]] = run(made, plan)
    assert made.take(plan, sequence).content.nbytes == 200 * 4 * 2


@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_other_precisions_make_sound_too(precision: str, tiny: Made) -> None:
    made = MusicgenEngine.load(tiny("mono").folder, name="musicgen-small", dtype=precision)
    plan = made.plan(AudioRequest("piano", seconds=1))
    [[sequence]] = run(made, plan)
    assert made.sound(plan, made.take(plan, sequence)).shape == (32_000, 1)
