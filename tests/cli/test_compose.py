"""`kapelle compose` through the real command line, batcher, renderer and files."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import soundfile

from tests.cli.conftest import TWO_FORMS

Written = Callable[[], list[str]]


def raise_interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


def test_takes_are_written_and_described(kapelle: Any, small: Any, written: Written, home: Path) -> None:
    ended = kapelle("compose", "Clair de lune", "--artist", "Debussy", "--takes", 2, "--tokens", 60, "--seed", 7)
    assert ended.code == 0
    folder = "takes/clair-de-lune-debussy-7"
    files = [f"{folder}/take-{n}.{suffix}" for n in (1, 2) for suffix in ("mid", "ogg", "png")]
    assert written() == sorted(["takes", folder, *files])
    assert soundfile.info(home / folder / "take-2.ogg").format == "OGG"
    for said in ("Nocturne in C --- Nobody", "41.0 of 100)", "note: nothing like it was found", "C major", "(as you asked)",
                 "note: nothing like it", "take-1.mid take-1.ogg take-1.png", f"files are in {folder}", "seed 7"):
        assert said in ended.out
    assert any("take 2 is ready (2 of 2)" in line for line in ended.err)


def test_json_is_one_document(kapelle: Any, small: Any) -> None:
    ended = kapelle("compose", "Nocturne", "--takes", 2, "--tokens", 48, "--seed", 1, "--format", "wav", "--json")
    document = json.loads(ended.out)
    assert document["engine"] == "pocket"
    assert document["matched"] == {"title": "Nocturne in C --- Nobody", "score": 41.0}
    assert document["attributes"]["mode"] == "major"
    assert document["seed"] == 1
    assert document["parameters"]["tokens"] == 48
    assert document["notices"] == ["nothing like it was found"]
    first, second = document["takes"]
    assert (first["number"], second["number"]) == (1, 2)
    assert len(second["ids"]) == second["prime_length"] + 48
    assert second["notes"] == 16
    assert second["seconds"] == pytest.approx(soundfile.info(second["files"]["sound"]).duration, abs=0.01)
    assert all(Path(path).is_file() for take in document["takes"] for path in take["files"].values())


def test_each_take_is_told_with_its_plan(kapelle: Any, small: Any) -> None:
    small.forms = TWO_FORMS
    command = ("compose", "Nocturne", "--takes", 2, "--tokens", 48, "--seed", 1, "--bars", 2)
    document = json.loads(kapelle(*command, "--json").out)
    assert document["parameters"]["bars"] == 2
    assert [take["plan"]["form"] for take in document["takes"]] == ["song", "hymn"]
    assert document["takes"][0]["plan"] == TWO_FORMS[0].as_json()
    said = kapelle(*command).out.splitlines()
    assert "form of take 1: song, 2 bars, A; C | F G" in said
    assert "form of take 2: hymn, 2 bars, A; C | F G" in said


def test_an_engine_that_plans_no_bars_says_so_before_anyone_waits(kapelle: Any, small: Any, written: Written) -> None:
    ended = kapelle("compose", "x", "--bars", 16)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err[-1] == "kapelle: pocket plans no bars; leave out how many, or choose an engine that does"
    assert small.decoder.steps == 0
    assert written() == []
    assert json.loads(kapelle("compose", "x", "--takes", 1, "--tokens", 32, "--json").out)["takes"][0]["plan"] is None


def test_a_seed_gives_the_same_takes_in_a_new_folder(kapelle: Any, small: Any) -> None:
    command = ("compose", "Nocturne", "--takes", 1, "--tokens", 33, "--json", "--seed")
    first, again, other = (json.loads(kapelle(*command, seed).out) for seed in (1, 1, 2))
    assert first["takes"][0]["ids"] == again["takes"][0]["ids"] != other["takes"][0]["ids"]
    assert again["folder"] == first["folder"] + "-2"
    assert other["folder"].endswith("nocturne-2")


def test_a_seed_left_out_is_chosen_and_told(kapelle: Any, small: Any) -> None:
    seeds = {json.loads(kapelle("compose", "x", "--takes", 1, "--tokens", 32, "--json").out)["seed"] for _ in range(2)}
    assert len(seeds) == 2


def test_a_take_without_notes_is_told_and_has_no_files(kapelle: Any, small: Any) -> None:
    ended = kapelle("compose", "x", "--takes", 2, "--tokens", 60, "--stop-at-end", "--json", "--seed", 3)
    empty, other = json.loads(ended.out)["takes"]
    assert (empty["notes"], empty["files"]) == (0, {})
    assert other["notes"] == 4
    assert other["files"]


def test_takes_without_any_notes_are_a_failure(kapelle: Any, small: Any, written: Written) -> None:
    ended = kapelle("compose", "x", "--takes", 1, "--stop-at-end")
    assert ended.code == 1
    assert "holds a note" in ended.err[-1]
    assert ended.err[-1].endswith("leave out --stop-at-end")
    assert written() == []
    small.forms = TWO_FORMS  # then it is not the option that ends a piece
    assert "--stop-at-end" not in kapelle("compose", "x", "--takes", 1, "--stop-at-end").err[-1]


BAD = {
    "no title and no artist": (("",), "give a title"),
    "blank title": (("  ", "--artist", " "), "give a title"),
    "10,000 characters": (("x" * 10_000,), "at most 80 characters, not 10,000"),
    "control characters": (("a\x1b[2Jb",), "control characters"),
    "not UTF-8": (("a\udcff",), "not valid UTF-8"),
    "few tokens": (("x", "--tokens", 31), "tokens must be between 32 and 2048, not 31"),
    "many tokens": (("x", "--tokens", 9000), "tokens must be between 32 and 2048, not 9000"),
    "no bars": (("x", "--bars", 0), "bars must be between 1 and 512, not 0"),
    "many bars": (("x", "--bars", 513), "bars must be between 1 and 512, not 513"),
    "words for tokens": (("x", "--tokens", "many"), "valid integer"),
    "temperature 0": (("x", "--temperature", 0), "temperature must be between"),
    "temperature NaN": (("x", "--temperature", "nan"), "temperature must be between"),
    "no takes": (("x", "--takes", 0), "takes must be between 1 and 16, not 0"),
    "negative seed": (("x", "--seed", -1), "seed must be between"),
    "unknown engine": (("x", "--engine", "piano"), "there is no engine 'piano'"),
    "unknown format": (("x", "--format", "flac"), "flac"),
    "no model": (("x", "--model", __file__), "is no model"),
    "unknown option": (("x", "--loud"), "--loud"),
    "two titles": (("x", "y"), "unexpected extra argument"),
}


@pytest.mark.parametrize(("arguments", "said"), BAD.values(), ids=BAD)
def test_bad_input_is_one_line(
    kapelle: Any, small: Any, written: Written, arguments: tuple[object, ...], said: str,
) -> None:
    ended = kapelle("compose", *arguments)
    assert ended.code == 2
    told = [line for line in ended.err if line.startswith("kapelle: ")]
    assert ended.err == told
    assert len(told) == 1
    assert said in told[0]
    assert ended.out == ""
    assert written() == []


@pytest.mark.parametrize(("title", "slug"), [
    ("../../etc/passwd", "etc-passwd"),
    ("C:\\x. ..", "c-x"),
    ("🎹🎹", "piece"),
    ("\u202eevil שלום", "evil"),
    ("NUL", "nul"),
    ("Żal — Étude ß", "zal-etude-ss"),
    ("月光", "piece"),
])
def test_no_title_gets_out_of_the_folder(
    kapelle: Any, small: Any, written: Written, title: str, slug: str,
) -> None:
    ended = kapelle("compose", title, "--takes", 1, "--tokens", 32, "--seed", 5)
    assert ended.code == 0
    assert written()[:2] == ["takes", f"takes/{slug}-5"]
    assert "\u202e" not in ended.out


@pytest.mark.parametrize("as_root_too", [Path("/proc/takes"), Path("/proc/self/takes")])
def test_a_folder_that_cannot_be_made_is_a_failure(kapelle: Any, small: Any, as_root_too: Path) -> None:
    ended = kapelle("compose", "x", "--out", as_root_too)
    assert ended.code == 1
    assert str(as_root_too.parent) in ended.err[-1]
    assert "--out" in ended.err[-1]


def test_a_file_in_place_of_the_folder_is_bad_input(kapelle: Any, small: Any, scale: Path) -> None:
    ended = kapelle("compose", "x", "--out", scale / "sub")
    assert (ended.code, len(ended.err)) == (2, 1)
    assert "is a file" in ended.err[0]


def test_a_full_disk_is_told_before_composing(
    kapelle: Any, small: Any, written: Written, monkeypatch: pytest.MonkeyPatch,
) -> None:
    full = shutil._ntuple_diskusage(10**9, 10**9 - 1_000, 1_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    ended = kapelle("compose", "x")
    assert (ended.code, len(ended.err)) == (1, 1)
    assert "0 MB left" in ended.err[0]
    assert small.decoder.steps == 0
    assert written() == []


def test_a_disk_that_fills_up_meanwhile_leaves_nothing_half_written(
    kapelle: Any, small: Any, written: Written, home: Path,
) -> None:
    folder = home / "takes" / "x-1"
    small.decoder.at_step[1] = lambda: folder.rename(folder.with_name("gone"))  # what is written next fails
    ended = kapelle("compose", "x", "--takes", 1, "--tokens", 40, "--seed", 1)
    assert ended.code == 1
    assert ended.err[-1].startswith("kapelle: ")
    assert written() == ["takes", "takes/gone"]


def test_without_fluidsynth_nobody_waits(
    kapelle: Any, small: Any, written: Written, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    ended = kapelle("compose", "x")
    assert (ended.code, len(ended.err)) == (1, 1)
    assert "fluidsynth" in ended.err[0]
    assert small.decoder.steps == 0
    assert written() == []


def test_without_a_soundfont_nobody_waits(
    kapelle: Any, small: Any, written: Written, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KAPELLE_SOUNDFONT", "/nowhere/piano.sf2")
    ended = kapelle("compose", "x")
    assert (ended.code, len(ended.err)) == (1, 1)
    assert "/nowhere/piano.sf2" in ended.err[0]
    assert small.decoder.steps == 0
    assert written() == []


def test_ctrl_c_leaves_finished_takes_and_no_half_file(kapelle: Any, small: Any, written: Written) -> None:
    small.decoder.at_step[58] = raise_interrupt  # take 1 has ended after 57 ids, take 2 has not
    ended = kapelle("compose", "x", "--takes", 2, "--tokens", 60, "--seed", 1)
    assert ended.code == 130
    assert "complete in" in ended.err[-1]
    assert ended.err[-1].endswith("take 1")
    assert written() == sorted(["takes", "takes/x-1", *(f"takes/x-1/take-1.{kind}" for kind in ("mid", "ogg", "png"))])


def test_ctrl_c_before_the_first_take_leaves_nothing(kapelle: Any, small: Any, written: Written) -> None:
    small.decoder.at_step[5] = raise_interrupt
    ended = kapelle("compose", "x", "--takes", 2, "--tokens", 60)
    assert ended.code == 130
    assert ended.err[-1] == "kapelle: interrupted; nothing was written"
    assert written() == []


def test_ctrl_c_between_composing_and_rendering_keeps_the_take(
    kapelle: Any, small: Any, written: Written, monkeypatch: pytest.MonkeyPatch,
) -> None:
    take, interruptions = small.take, [raise_interrupt]

    def interrupted_once(*arguments: Any) -> Any:
        if interruptions:
            interruptions.pop()()
        return take(*arguments)

    monkeypatch.setattr(small, "take", interrupted_once)
    ended = kapelle("compose", "x", "--takes", 1, "--tokens", 60, "--seed", 1)
    assert ended.code == 130
    assert ended.err[-2] == "take 1 is ready (1 of 1)"
    assert "takes/x-1/take-1.ogg" in written()


def test_an_unexpected_error_is_one_line_unless_debugging(kapelle: Any, small: Any, written: Written) -> None:
    def break_down() -> None:
        raise RuntimeError("the weights\nare gone")

    small.decoder.at_step[5] = small.decoder.at_step[10] = break_down
    ended = kapelle("compose", "x", "--takes", 1)
    assert ended.code == 1
    assert ended.err[-1].startswith("kapelle: unexpected RuntimeError: the weights (")
    assert not any("Traceback" in line for line in ended.err)
    assert not small.batcher.busy
    assert written() == []
    assert any("Traceback" in line for line in kapelle("--debug", "compose", "x", "--takes", 1).err)


def test_ctrl_c_at_a_terminal_does_not_reach_programs_that_render() -> None:
    from bot.takes.compose import _leave_interrupts_to_the_main_thread
    interrupted_program = ["sh", "-c", "kill -INT $$; echo still there"]
    with ThreadPoolExecutor(1, initializer=_leave_interrupts_to_the_main_thread) as pool:
        ended = pool.submit(subprocess.run, interrupted_program, capture_output=True, check=False).result()
    assert ended.stdout == b"still there\n"
