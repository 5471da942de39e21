"""The program as a whole: `python -m bot` as a process, help, settings, pipes, the doctor."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.settings import read_settings
from models.engines.pocket.steering import Strengths
from models.errors import InputError
from models.interface.engine import Host

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared"
STRENGTHS = {"KEY_STRENGTH": "key", "BEAT_STRENGTH": "beat", "CHORDS": "chords", "RETURNS": "returns", "LINE": "line",
             "BALANCE": "balance"}


def program(*arguments: object, cwd: Path, **options: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""}
    command = [sys.executable, *options.pop("python", ()), "-m", "bot", *map(str, arguments)]
    return subprocess.run(
        command, cwd=cwd, env=environment, text=True, check=False, timeout=60,
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options})


def test_help_imports_neither_torch_nor_numpy(home: Path) -> None:
    ended = program("--help", cwd=home, python=("-X", "importtime"))
    assert ended.returncode == 0
    for command in ("compose", "encode", "render", "doctor", "models", "train"):
        assert command in ended.stdout
    imported = {line.rpartition("|")[2].strip() for line in ended.stderr.splitlines()}
    assert "typer" in imported
    assert not imported & {"torch", "numpy", "pydantic", "mido", "rich.progress"}


def test_the_process_exits_with_the_code_of_the_command(home: Path) -> None:
    ended = program("compose", "", cwd=home)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "kapelle: give a title, an artist, or both\n"


def test_a_reader_that_leaves_is_no_error_message(home: Path, scale: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    ended = program("encode", scale, cwd=home, stdout=writing)
    os.close(writing)
    assert ended.returncode == 1
    assert ended.stderr == ""


def test_a_stdout_that_is_full_is_one_line(home: Path, scale: Path) -> None:
    with open("/dev/full", "w") as full:
        ended = program("encode", scale, cwd=home, stdout=full)
    assert ended.returncode == 1
    assert ended.stderr == "kapelle: No space left on device\n"


def test_a_stdout_that_is_closed_does_no_harm(home: Path, scale: Path) -> None:
    ended = subprocess.run(
        ["sh", "-c", f'exec "{sys.executable}" -m bot encode "{scale}" >&-'], cwd=home, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, stderr=subprocess.PIPE, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, b"")


def test_no_command_shows_the_help(kapelle: Any) -> None:
    ended = kapelle()
    assert ended.code == 0
    assert "Commands:" in ended.out


def test_version(kapelle: Any) -> None:
    ended = kapelle("--version")
    assert ended.code == 0
    assert ended.out.startswith("kapelle ")


def test_an_unknown_command_is_bad_input(kapelle: Any) -> None:
    ended = kapelle("conpose", "x")
    assert (ended.code, len(ended.err)) == (2, 1)
    assert "conpose" in ended.err[0]


def test_settings_come_from_the_environment_before_the_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / ".env").write_text("KAPELLE_OUT=from-file\nKAPELLE_THREADS=3\nKAPELLE_SOUNDFONT=\nOTHER=1\n")
    monkeypatch.setenv("KAPELLE_OUT", "from-environment")
    settings = read_settings()
    assert (settings.out, settings.threads, settings.soundfont) == (Path("from-environment"), 3, None)
    assert settings.data == Path("data")


def test_strengths_of_the_pocket_model_are_its_own_unless_they_are_set(
    home: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    from models.engines.pocket import engine
    given: list[Strengths] = []
    monkeypatch.setattr(engine.PocketEngine, "load", lambda folder, **options: given.append(options["strengths"]))
    for setting in STRENGTHS:
        monkeypatch.delenv(f"KAPELLE_POCKET_{setting}", raising=False)
    engine.load("pocket", None, Host(Path("data")))
    engine.load("pocket", None, read_settings().host)
    assert given == [Strengths(), Strengths()]
    for setting, field in STRENGTHS.items():
        with monkeypatch.context() as set_to:
            set_to.setenv(f"KAPELLE_POCKET_{setting}", "0.25")
            engine.load("pocket", None, read_settings().host)
        assert given[-1] == replace(Strengths(), **{field: 0.25}), setting


@pytest.mark.parametrize("value", ["-0.1", "20.5", "nan", "much"])
@pytest.mark.parametrize("setting", ["CHORDS", "RETURNS", "LINE", "BALANCE"])
def test_strengths_are_0_to_20(home: Path, monkeypatch: pytest.MonkeyPatch, setting: str, value: str) -> None:
    monkeypatch.setenv(f"KAPELLE_POCKET_{setting}", value)
    with pytest.raises(InputError, match=f"KAPELLE_POCKET_{setting}"):
        read_settings()


def test_settings_do_without_torch(home: Path) -> None:
    code = "import sys; from bot.settings import read_settings; read_settings(); sys.exit('torch' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], cwd=home, check=False, timeout=60,
                           env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert ended.returncode == 0


@pytest.mark.parametrize("command", [("compose", "x"), ("render", "x.mid"), ("doctor",), ("models", "list")])
def test_a_setting_that_does_not_hold_is_named(
    kapelle: Any, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...],
) -> None:
    monkeypatch.setenv("KAPELLE_THREADS", "many")
    ended = kapelle(*command)
    assert (ended.code, ended.out, len(ended.err)) == (2, "", 1)
    assert "KAPELLE_THREADS" in ended.err[0]
    assert "'many'" in ended.err[0]


def test_the_doctor_names_what_is_missing_and_how_to_get_it(
    kapelle: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("KAPELLE_SOUNDFONT", "/nowhere/piano.sf2")
    ended = kapelle("doctor")
    assert ended.code == 1
    assert ended.err[-1].startswith("kapelle: missing: ")
    for what in ("fluidsynth", "SoundFont"):
        assert what in ended.err[-1]
    lines = ended.out.splitlines()
    after = {line.split()[1]: lines[number + 1] for number, line in enumerate(lines[:-1]) if line.startswith("MISSING")}
    assert "install fluidsynth" in after["fluidsynth"]
    assert "KAPELLE_SOUNDFONT" in after["SoundFont"]
    assert any(line.startswith("ok") and "torch" in line for line in lines)
