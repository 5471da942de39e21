"""The audiocraft runtime on real audiocraft, with small random models in the published format.

Needs audiocraft's environment: its Python is named by KAPELLE_AUDIOCRAFT_PYTHON, or lies in the data folder. All cases
of `cases.py` run in one process of it; the tests look at what came of them.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bot.hosting.audiocraft import VARIABLE, interpreter
from bot.settings import read_settings
from models.errors import InputError

PROJECT = Path(__file__).parents[3]
CASES = Path(__file__).with_name("cases.py")
LIMIT_S = 900

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    try:
        python = interpreter(read_settings())
    except InputError as error:
        pytest.skip(f"{error} (or name its Python in {VARIABLE})")
    folder = tmp_path_factory.mktemp("audiocraft")
    # One thread: with more, small recurrent networks spend their time waiting for one another.
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [python, CASES, folder], env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return found


def case(results: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = results[name]
    assert "error" not in found, found["traceback"]
    return found


def test_the_debug_model_makes_takes_from_text(results: dict[str, Any]) -> None:
    made = case(results, "debug_text")
    assert made["sounds"] == [[64_000, 1]] * 2
    assert made["kinds"] == ["float32"] * 2
    assert made["rate_hz"] == 32_000
    assert made["states"] == ["finished"] * 2
    assert made["progress"] == [1.0] * 2
    assert made["licence"] == ""
    assert made["ids"][0] != made["ids"][1]


def test_what_is_carried_on_comes_first(results: dict[str, Any]) -> None:
    made = case(results, "debug_continuation")
    assert made["sounds"] == [[96_000, 1]]
    assert made["begins"] == made["prompt"]
    assert len(made["prompt"][0][0]) == 25  # a second


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [("debug_melody", "InputError", "audiocraft-debug follows no melody; choose a model with melody or style in its name"),
     ("all_at_once_but_too_long", "InputError", "audiocraft-magnet-small-10secs makes at most 2 s, not 3")])
def test_what_a_model_cannot_do_is_refused(results: dict[str, Any], name: str, error: str, message: str) -> None:
    assert (results[name].get("error"), results[name].get("message")) == (error, message)


@pytest.mark.parametrize(
    ("name", "sounds", "codes", "rate_hz"),
    [
        ("mono", [[48_000, 1]] * 2, [[4, 75]] * 2, 32_000),
        ("stereo", [[32_000, 2]], [[8, 50]], 32_000),
        ("melody", [[32_000, 1]], [[4, 50]], 32_000),
        ("melody_and_continuation_over_several_windows", [[128_000, 1]], [[4, 200]], 32_000),
        ("sound_effects", [[24_000, 1]], [[4, 75]], 16_000),
        ("all_at_once", [[48_000, 1]] * 2, [[4, 75]] * 2, 32_000),
        ("diffusion", [[32_000, 1]], [[4, 50]], 32_000),
    ])
def test_published_checkpoints_make_sound(
    results: dict[str, Any], name: str, sounds: list[list[int]], codes: list[list[int]], rate_hz: int
) -> None:
    made = case(results, name)
    assert (made["sounds"], made["codes"], made["rate_hz"]) == (sounds, codes, rate_hz)
    assert made["licence"] == "CC-BY-NC-4.0"
    assert all(0 < peak < 100 and math.isfinite(peak) for peak in made["peaks"])
    assert all(0 <= code < 64 for take in made["ids"] for code in take)


def test_a_melody_is_listened_to(results: dict[str, Any]) -> None:
    made = case(results, "melody")
    assert made["ids"][0] != made["free"]


def test_multiband_diffusion_repeats_itself_and_knows_stereo(results: dict[str, Any]) -> None:
    made = case(results, "diffusion")
    assert made["again"] == [True]
    assert made["stereo"] == [[32_000, 2]]


def test_a_take_is_the_same_alone_and_among_others(results: dict[str, Any]) -> None:
    made = case(results, "the_same_alone_and_among_others")
    assert made["alone"] == made["together"][1]
    assert made["together"][0] != made["together"][1]
    assert made["other_seed"] != made["together"][0]


def test_takes_longer_than_the_window_have_the_length_and_progress_that_were_asked_for(results: dict[str, Any]) -> None:
    made = case(results, "longer_than_the_window")
    assert made["lengths"] == [100, 101, 120, 165, 250, 359]
    assert made["shares"] == [1.0] * 6
    assert made["halfway"] == pytest.approx([0.5] * 6, abs=0.02)
    for told, expected, farthest in made["told"]:
        assert told == expected
        assert farthest >= 1
    assert made["told"][-1][2] > 2  # the library's own count runs past its total


def test_progress_is_seen_while_the_caller_stays_responsive(results: dict[str, Any]) -> None:
    made = case(results, "progress_while_the_caller_stays_responsive")
    shares = [share for share, _ in made["shares"]]
    assert shares == sorted(shares)
    assert len({share for share in shares if 0 < share < 1}) >= 5
    assert made["longest"] < 1.0  # of seconds of decoding


def test_cancelling_ends_a_call_and_leaves_nothing_behind(results: dict[str, Any]) -> None:
    made = case(results, "cancelled")
    assert made["alone"] == [2]  # one take of two is cancelled: the other one goes on
    assert made["busy"]  # with what waited
    assert made["states"] == ["cancelled", "cancelled", "finished"]
    assert made["share"][0] == made["share"][1] < 0.9  # nothing was made of it any more
    assert not made["made"]
    assert made["threads"] == []
    assert made["after"] == made["untouched"]


def test_a_call_that_fails_is_told_and_the_engine_goes_on(results: dict[str, Any]) -> None:
    made = case(results, "failing")
    assert (made["state"], made["busy"], made["next"]) == ("cancelled", False, "finished")


def test_the_attention_that_stands_in_equals_audiocrafts_own(results: dict[str, Any]) -> None:
    made = case(results, "both_attentions_agree")
    assert made["xformers"] == made["torch"]


def test_the_spectrogram_that_stands_in_is_the_one_by_definition(results: dict[str, Any]) -> None:
    made = case(results, "spectrogram")
    assert made["stand_in"]
    assert made["shape"] == [1, 8193, 8]
    assert made["off"] < 1e-5
    assert made["loudness"] == pytest.approx(-11.7, abs=0.3)  # a sine of amplitude 0.4 at 440 Hz


def test_a_pickle_that_would_run_code_is_refused(results: dict[str, Any]) -> None:
    made = case(results, "hostile")
    assert not made["executed"]
    assert "holds more than weights and settings" in made["told"]


@pytest.mark.parametrize(
    ("name", "kind", "told"),
    [
        ("other name", "InputError", "audiocraft has no model 'musicgen-tiny'; there are musicgen-small,"),
        ("newer", "InputError", "musicgen-style needs an audiocraft newer than 1.3.0"),
        ("chords", "InputError", "jasco-chords-drums-400M needs an audiocraft newer than 1.3.0"),
        ("no model", "CheckpointError", "state_dict.bin of facebook/musicgen-small is not on this machine"),
        ("no codec", "CheckpointError", "compression_state_dict.bin of facebook/musicgen-small is not on this machine"),
        ("no named codec", "CheckpointError", "facebook/encodec_32khz is not on this machine"),
        ("no text", "CheckpointError", "t5-small is not on this machine"),
        ("no separator", "CheckpointError", "htdemucs.yaml of adefossez/HTDemucs is not on this machine"),
        ("no diffusion", "CheckpointError", "mbd_musicgen_32khz.th of facebook/multiband-diffusion is not on this machine"),
        ("other sizes", "CheckpointError", "the files of musicgen-small do not fit together"),
        ("no settings", "CheckpointError", "the files of musicgen-small do not fit together"),
        ("cut", "CheckpointError", "compression_state_dict.bin is damaged"),
        ("foreign separator", "CheckpointError", "small.safetensors is no demucs model"),
    ])
def test_files_that_cannot_be_used_are_told_in_one_line(results: dict[str, Any], name: str, kind: str, told: str) -> None:
    made = case(results, "refusals")
    assert made[name]["kind"] == kind
    assert told in made[name]["told"]
    assert "\n" not in made[name]["told"]
    assert made["executed"]["kind"] == "False"
