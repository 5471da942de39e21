"""Set-up: when `.venv` counts as ready, and what is said when something is missing."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

import bootstrap
from bootstrap import environment
from bot.hosting.environments import CommandError, SetupError, State

PROJECT = Path(bootstrap.__file__).parent


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the recipe's files and a finished `.venv`, as far as the stamp is concerned."""
    for name in bootstrap.RECIPE:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / name, tmp_path / name)
    made = bootstrap.environment(tmp_path)
    made.python.parent.mkdir(parents=True)
    made.python.symlink_to(sys.executable)
    made.write_stamp()
    return tmp_path


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Make the PATH an empty folder, and give a way to put shell scripts there."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def add(name: str, script: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)

    return add


def test_a_finished_set_up_is_ready(project: Path) -> None:
    assert environment(project).state is State.READY


@pytest.mark.parametrize("name", bootstrap.RECIPE)
def test_a_change_in_the_recipe_makes_the_set_up_outdated(project: Path, name: str) -> None:
    with (project / name).open("a") as file:
        file.write("\n")
    assert environment(project).state is State.OUTDATED


@pytest.mark.parametrize("stamp", ["", "{", "[]", "{}", "null", '{"place": 1}'])
def test_a_damaged_stamp_means_starting_over(project: Path, stamp: str) -> None:
    environment(project).stamp.write_text(stamp)
    assert environment(project).state is State.UNFINISHED


def test_a_set_up_that_never_ended_starts_over(project: Path) -> None:
    environment(project).stamp.unlink()
    assert environment(project).state is State.UNFINISHED


def test_a_venv_whose_python_has_gone_starts_over(project: Path) -> None:
    environment(project).python.unlink()
    environment(project).python.symlink_to(project / "no-such-python")
    assert environment(project).state is State.UNFINISHED


def test_a_moved_project_starts_over(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "kapelle"
    shutil.copytree(project, elsewhere, symlinks=True)
    assert environment(elsewhere).state is State.UNFINISHED


def test_an_update_that_fails_leaves_no_stamp_behind(project: Path) -> None:
    (project / "constraints.txt").open("a").write("\n")
    environment(project).python.unlink()
    environment(project).python.write_text("#!/bin/sh\necho out of luck\nexit 1\n")
    environment(project).python.chmod(0o755)
    with pytest.raises(CommandError, match=r"out of luck\n.*the lines above say why"):
        bootstrap.install_packages(environment(project))
    assert environment(project).state is State.UNFINISHED


def test_a_second_set_up_runs_no_program(project: Path, programs: Callable[[str, str], None]) -> None:
    """So it is over as soon as Python has started."""
    programs("fluidsynth", "exit 0")
    environment(project).python.unlink()
    environment(project).python.write_text(f"#!/bin/sh\necho called >> '{project}/calls'\n")
    environment(project).python.chmod(0o755)
    done = subprocess.run([sys.executable, project / "bootstrap.py"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not (project / "calls").exists()


def test_a_missing_fluidsynth_is_told_with_the_command_to_type(
    programs: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    programs("apt-get", "exit 1")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(SetupError) as told:
        bootstrap.ensure_fluidsynth()
    assert str(told.value).splitlines()[-1] == (
        "sudo apt-get update && sudo apt-get install --no-install-recommends -y fluidsynth fluid-soundfont-gm"
    )


def test_root_gets_fluidsynth_installed(
    programs: Callable[[str, str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs("apt-get", f'echo "$*" >> "{tmp_path}/calls"')
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    bootstrap.ensure_fluidsynth()
    assert (tmp_path / "calls").read_text().splitlines() == [
        "update",
        "install --no-install-recommends -y fluidsynth",
    ]


@pytest.mark.parametrize(("manager", "typed"), [
    ("dnf", "sudo dnf install -y fluidsynth"), ("pacman", "sudo pacman -S fluidsynth"), ("brew", "brew install fluidsynth"),
    (None, "install fluidsynth"),
])
def test_without_apt_the_command_of_another_package_manager_is_told(
    programs: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch, manager: str | None, typed: str,
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    if manager:
        programs(manager, "exit 1")
    with pytest.raises(SetupError, match="fluidsynth is missing") as told:
        bootstrap.ensure_fluidsynth()
    assert str(told.value).splitlines()[-1] == typed


def test_an_existing_fluidsynth_needs_nothing(programs: Callable[[str, str], None]) -> None:
    programs("fluidsynth", "exit 0")
    bootstrap.ensure_fluidsynth()


@pytest.fixture
def no_soundfont(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.sound.rendering.soundfont.INSTALLED_FONTS", (Path("/nowhere.sf2"),))


def test_root_gets_the_good_soundfont(
    programs: Callable[[str, str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_soundfont: None,
) -> None:
    programs("apt-get", f'echo "$*" >> "{tmp_path}/calls"')
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    bootstrap.offer_soundfont()
    assert (tmp_path / "calls").read_text().splitlines() == [
        "update", "install --no-install-recommends -y fluid-soundfont-gm"]


def test_a_soundfont_that_cannot_be_had_is_told_and_does_not_stop_the_set_up(
    programs: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    no_soundfont: None,
) -> None:
    programs("apt-get", "echo no such package; exit 100")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    bootstrap.offer_soundfont()
    said = "".join(capsys.readouterr())
    assert "no such package" in said
    assert "small ones are used" in said


def test_whoever_may_not_install_is_told_what_to_type(
    programs: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    no_soundfont: None,
) -> None:
    programs("apt-get", "exit 1")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    bootstrap.offer_soundfont()
    assert "sudo apt-get install -y fluid-soundfont-gm" in "".join(capsys.readouterr())


def test_two_set_ups_take_turns(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entered = threading.Event()

    def second() -> None:
        with bootstrap.only_one(project):
            entered.set()

    with bootstrap.only_one(project):
        thread = threading.Thread(target=second)
        thread.start()
        assert not entered.wait(0.2)
    thread.join(timeout=5)
    assert entered.is_set()
    assert "waiting for it" in capsys.readouterr().out


def test_an_old_python_is_told_what_is_needed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 18, "final", 0))
    assert bootstrap.main() == 1
    assert "needs Python 3.11 or newer, not 3.9.18" in capsys.readouterr().err


def test_a_python_without_venv_is_told_the_package(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", {"venv": object()}.get)
    with pytest.raises(SetupError, match=r"sudo apt-get install python3\.\d+-venv"):
        environment(project).make()


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"], "pip", "setuptools", "uv"]
    for requirement in wanted:
        name = re.split(r"[\[>=]", requirement)[0]
        assert environment(PROJECT).pinned(name).startswith(f"{name}=="), name


def test_a_package_that_is_not_pinned_is_named(project: Path) -> None:
    with pytest.raises(SetupError, match="no line nonesuch=="):
        environment(project).pinned("nonesuch")


def test_the_stamp_holds_no_more_than_place_and_digest(project: Path) -> None:
    assert json.loads(environment(project).stamp.read_text()) == {
        "place": str(project),
        "recipe": environment(project).recipe,
    }
