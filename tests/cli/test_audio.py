"""`kapelle audio` on tiny MusicGens with random weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.cli.conftest import Ended
from tests.engines.musicgen.building import write

PROMPT = "80s pop track with bassy drums and synth"
Kapelle = Callable[..., Ended]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write(folder / "musicgen-small")
    write(folder / "musicgen-stereo-small", channels=2)
    write(folder / "musicgen-melody", melody=True)
    return folder


@pytest.fixture(autouse=True)
def _data(home: Path, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAPELLE_DATA", str(models))
    for name in ("KAPELLE_AUDIO_FALLBACK", "AUDIO_FALLBACK"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def hum(home: Path) -> Path:
    path = home / "hum.wav"
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * 330 * np.arange(32_000) / 16_000), 16_000)
    return path


def test_takes_are_sound_and_picture(kapelle: Kapelle, home: Path) -> None:
    ended = kapelle("audio", PROMPT, "--seconds", 2, "--takes", 2, "--seed", 1, "--video", "--format", "mp3")
    assert ended.code == 0, ended.err
    folder = home / "takes" / "80s-pop-track-with-bassy-drums-and-synth-1"
    assert {path.name for path in folder.iterdir()} == {
        f"take-{number}.{suffix}" for number in (1, 2) for suffix in ("mp3", "png", "mp4")}
    assert "not for commercial use" in ended.out
    sound, rate = soundfile.read(folder / "take-1.mp3")
    assert len(sound) / rate == pytest.approx(2.0, abs=0.1)
    assert 0.05 < np.abs(sound).max() <= 1.0


def test_the_same_seed_gives_the_same_sound(kapelle: Kapelle) -> None:
    def sound(seed: int) -> bytes:
        ended = kapelle("audio", PROMPT, "--seconds", 1, "--seed", seed, "--format", "wav", "--json")
        return Path(json.loads(ended.out)["takes"][0]["files"]["sound"]).read_bytes()

    assert sound(1) == sound(1) != sound(2)


def test_one_json_document_tells_everything(kapelle: Kapelle, hum: Path) -> None:
    ended = kapelle("audio", "strings", "--seconds", 1, "--melody", hum, "--seed", 5, "--temperature", 0.5, "--json")
    told = json.loads(ended.out)
    assert (told["engine"], told["seed"], told["licence"]) == ("musicgen-melody", 5, "CC-BY-NC-4.0")
    assert told["parameters"]["melody"] == str(hum)
    assert told["parameters"]["temperature"] == 0.5
    assert told["takes"][0]["seconds"] == pytest.approx(1.0, abs=0.05)


def test_stereo_and_carrying_on(kapelle: Kapelle, hum: Path) -> None:
    ended = kapelle("audio", "strings", "--stereo", "--seconds", 3, "--continue", hum, "--format", "wav", "--json")
    told = json.loads(ended.out)
    assert told["engine"] == "musicgen-stereo-small"
    sound, rate = soundfile.read(told["takes"][0]["files"]["sound"])
    assert sound.shape == (pytest.approx(3 * rate, abs=0.05 * rate), 2)


def test_a_model_may_be_a_folder(kapelle: Kapelle, models: Path) -> None:
    ended = kapelle("audio", "strings", "--seconds", 1, "--model", models / "musicgen-stereo-small", "--json")
    assert json.loads(ended.out)["engine"] == "musicgen-stereo-small"


@pytest.mark.parametrize(("arguments", "words"), [
    (["", "--seconds", 2], "describe the music"), (["x" * 4000], "at most 500 characters"),
    ([PROMPT, "--seconds", 0], "between 1 and 120"), ([PROMPT, "--seconds", 0.3], "between 1 and 120"),
    ([PROMPT, "--seconds", 500], "between 1 and 120"), ([PROMPT, "--guidance", "nan"], "guidance must be between"),
    ([PROMPT, "--takes", 5], "between 1 and 4"), ([PROMPT, "--model", "musicgen-huge"], "there is no model"),
    ([PROMPT, "--model", "musicgen-small", "--melody", "hum.wav"], "cannot follow a melody"),
    ([PROMPT, "--melody", "nothing.wav"], "nothing.wav"), ([PROMPT, "--continue", "text.mp3"], "no sound file"),
])
def test_what_cannot_be_done_is_one_line_and_leaves_nothing(
    kapelle: Kapelle, home: Path, hum: Path, arguments: list[object], words: str,
) -> None:
    (home / "text.mp3").write_text("no sound\n" * 100)
    ended = kapelle("audio", *arguments)
    assert ended.code == 2
    assert words in ended.err[-1]
    assert not (home / "takes").exists()


def test_a_model_that_is_not_there_says_how_to_get_it(kapelle: Kapelle, home: Path) -> None:
    ended = kapelle("audio", PROMPT, "--model", "musicgen-large")
    assert ended.code == 1
    assert "kapelle models fetch musicgen-large" in ended.err[-1]
    assert not (home / "takes").exists()


def test_what_an_operator_allows_instead_says_so(
    kapelle: Kapelle, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AUDIO_FALLBACK", "compose")
    ended = kapelle("audio", "a calm waltz", "--model", "musicgen-large", "--seconds", 4, "--seed", 1)
    assert ended.code == 0, ended.err
    assert any("NOT MUSICGEN" in line for line in ended.err)
    assert "this is not MusicGen" in ended.out


def test_audiocraft_that_is_not_there_says_how_to_get_it(kapelle: Kapelle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KAPELLE_AUDIOCRAFT_PYTHON", raising=False)
    ended = kapelle("audio", PROMPT, "--runtime", "audiocraft")
    assert ended.code != 0
    assert "kapelle install audiocraft" in ended.err[-1]
