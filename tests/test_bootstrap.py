"""Set-up: which torch is chosen, when `.venv` counts as ready, and what is said when something fails."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import threading
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bootstrap
from bootstrap import State, TorchBuild

PROJECT = Path(bootstrap.__file__).parent


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the recipe's files and a finished `.venv`, as far as the stamp is concerned."""
    for name in bootstrap.RECIPE:
        shutil.copy(PROJECT / name, tmp_path)
    python = bootstrap.venv_python(tmp_path)
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    bootstrap.write_stamp(tmp_path)
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


def report_on(version: str, address: str) -> dict[str, Any]:
    """What `pip install --report` says about one package, as far as it matters here."""
    return {"install": [{"metadata": {"name": "torch", "version": version}, "download_info": {"url": address}}]}


REMOTE, LOCAL = "https://files.example/torch.whl", "file:///wheels/torch.whl"


@pytest.mark.parametrize(
    ("version", "address", "driver", "build"),
    [
        ("2.13.0+cpu", REMOTE, False, TorchBuild.OFFERED),
        ("2.13.0+cpu", LOCAL, True, TorchBuild.OFFERED),
        ("2.13.0", LOCAL, False, TorchBuild.OFFERED),
        ("2.13.0", REMOTE, False, TorchBuild.CPU),
        ("2.13.0", REMOTE, True, TorchBuild.CUDA),
        ("2.13.0+cu130", REMOTE, False, TorchBuild.CPU),
    ],
)
def test_the_build_of_torch_follows_from_pips_offer_and_the_driver(
    version: str, address: str, driver: bool, build: TorchBuild
) -> None:
    assert bootstrap.choose_torch(report_on(version, address), nvidia_driver=driver) is build


@pytest.mark.parametrize("report", [{}, {"install": []}, {"install": [{}]}, {"install": None}])
def test_a_report_without_torch_is_refused(report: dict[str, Any]) -> None:
    with pytest.raises(bootstrap.SetupError, match="did not say which torch"):
        bootstrap.choose_torch(report, nvidia_driver=False)


def test_the_driver_shows_in_proc_or_by_its_program(
    programs: Callable[[str, str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bootstrap, "NVIDIA_DRIVER", tmp_path / "version")
    assert not bootstrap.nvidia_driver_present()
    (tmp_path / "version").touch()
    assert bootstrap.nvidia_driver_present()
    (tmp_path / "version").unlink()
    programs("nvidia-smi", "exit 0")
    assert bootstrap.nvidia_driver_present()


def test_a_finished_set_up_is_ready(project: Path) -> None:
    assert bootstrap.state_of(project) is State.READY


@pytest.mark.parametrize("name", bootstrap.RECIPE)
def test_a_change_in_the_recipe_makes_the_set_up_outdated(project: Path, name: str) -> None:
    with (project / name).open("a") as file:
        file.write("\n")
    assert bootstrap.state_of(project) is State.OUTDATED


@pytest.mark.parametrize("stamp", ["", "{", "[]", "{}", "null", '{"place": 1}'])
def test_a_damaged_stamp_means_starting_over(project: Path, stamp: str) -> None:
    bootstrap.stamp_file(project).write_text(stamp)
    assert bootstrap.state_of(project) is State.UNFINISHED


def test_a_set_up_that_never_ended_starts_over(project: Path) -> None:
    bootstrap.stamp_file(project).unlink()
    assert bootstrap.state_of(project) is State.UNFINISHED


def test_a_venv_whose_python_has_gone_starts_over(project: Path) -> None:
    bootstrap.venv_python(project).unlink()
    bootstrap.venv_python(project).symlink_to(project / "no-such-python")
    assert bootstrap.state_of(project) is State.UNFINISHED


def test_a_moved_project_starts_over(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "kapelle"
    shutil.copytree(project, elsewhere, symlinks=True)
    assert bootstrap.state_of(elsewhere) is State.UNFINISHED


def test_an_update_that_fails_leaves_no_stamp_behind(project: Path) -> None:
    bootstrap.venv_python(project).unlink()
    bootstrap.venv_python(project).write_text("#!/bin/sh\necho out of luck\nexit 1\n")
    bootstrap.venv_python(project).chmod(0o755)
    with pytest.raises(bootstrap.CommandError, match=r"out of luck\n.*the lines above say why"):
        bootstrap.install_packages(project, State.OUTDATED)
    assert bootstrap.state_of(project) is State.UNFINISHED


def test_the_second_set_up_is_over_within_a_second(project: Path, programs: Callable[[str, str], None]) -> None:
    programs("fluidsynth", "exit 0")
    begin = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, project / "bootstrap.py"], capture_output=True, text=True, check=False)
    end = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert end.ru_utime + end.ru_stime - begin.ru_utime - begin.ru_stime < 1  # CPU time, for a busy machine is slow


def test_a_missing_fluidsynth_is_told_with_the_command_to_type(
    programs: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    programs("apt-get", "exit 1")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(bootstrap.SetupError) as told:
        bootstrap.ensure_fluidsynth()
    assert str(told.value).splitlines()[-1] == (
        "sudo apt-get update && sudo apt-get install --no-install-recommends -y fluidsynth"
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


def test_without_apt_a_missing_fluidsynth_is_still_told(programs: Callable[[str, str], None]) -> None:
    with pytest.raises(bootstrap.SetupError, match="package manager"):
        bootstrap.ensure_fluidsynth()


def test_an_existing_fluidsynth_needs_nothing(programs: Callable[[str, str], None]) -> None:
    programs("fluidsynth", "exit 0")
    bootstrap.ensure_fluidsynth()


@pytest.mark.parametrize(
    ("printed", "told"),
    [
        ("ERROR: [Errno 28] No space left on device", "disk is full"),
        ("HTTPSConnectionPool: Read timed out.", "network did not answer"),
        ("error: dns error: failed to lookup address", "network did not answer"),
        ("error: metadata-generation-failed", "lines above say why"),
    ],
)
def test_the_reason_of_a_failure_is_named(printed: str, told: str) -> None:
    with pytest.raises(bootstrap.CommandError, match=told) as error:
        bootstrap.run("Trying", sys.executable, "-c", f"print({printed!r}); raise SystemExit(3)")
    assert f"  | {printed}\n" in str(error.value)


def test_only_a_full_disk_is_a_full_disk() -> None:
    assert isinstance(bootstrap.failure("Trying", ["No space left on device"]), bootstrap.DiskFullError)
    assert not isinstance(bootstrap.failure("Trying", ["Connection refused"]), bootstrap.DiskFullError)


def test_a_program_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(bootstrap.CommandError, match="nothing-here could not be started"):
        bootstrap.run("Trying", tmp_path / "nothing-here")


@pytest.mark.parametrize(
    "line",
    [
        "Looking in indexes: https://user:secret@mirror.example.org/simple",
        "HTTPSConnectionPool(host='mirror.example.org', port=443): Max retries exceeded",
        "WARNING: Connection to mirror.example.org timed out. (connect timeout=15)",
        "  error sending request for url (https://mirror.example.org/simple/torch/)",
    ],
)
def test_failures_name_no_hosts(line: str) -> None:
    told = str(bootstrap.failure("Trying", [line]))
    assert "mirror" not in told
    assert "secret" not in told


def test_file_names_are_no_hosts() -> None:
    line = "ERROR: pyproject.toml and setup.py of pretty_midi-0.2.11.post0 could not be read"
    assert bootstrap.without_hosts(line) == line


@pytest.mark.parametrize(
    ("line", "progress"),
    [
        ("Downloading torch-2.13.0-cp311-cp311-linux_x86_64.whl (190.5 MB)", "downloading torch 2.13.0 (190.5 MB)"),
        ("  Downloading https://host.example/a/scipy-1.17.1.tar.gz (30 MB)", "downloading scipy 1.17.1.tar.gz (30 MB)"),
        ("Downloading torch (176.3MiB)", "downloading torch (176.3MiB)"),
        ("Downloading six-1.17.0-py2.py3-none-any.whl (11 kB)", ""),
        ("Installing collected packages: torch, numpy", "unpacking"),
        ("Requirement already satisfied: numpy", ""),
    ],
)
def test_progress_shows_what_takes_long(line: str, progress: str) -> None:
    assert bootstrap.progress_in(line) == progress


def test_an_interrupted_program_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    survived = tmp_path / "survived"
    code = f"import time; print(1, flush=True); time.sleep(2); open({str(survived)!r}, 'w')"
    monkeypatch.setattr(bootstrap, "progress_in", interrupt)
    with pytest.raises(KeyboardInterrupt):
        bootstrap.run("Waiting", sys.executable, "-c", code)  # comes back when the program has ended
    assert not survived.exists()


def interrupt(line: str) -> str:
    raise KeyboardInterrupt


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
    with pytest.raises(bootstrap.SetupError, match=r"sudo apt-get install python3\.\d+-venv"):
        bootstrap.make_venv(project)


def test_every_dependency_is_pinned() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"], "pip", "setuptools", "uv"]
    for requirement in wanted:
        name = re.split(r"[\[>=]", requirement)[0]
        assert bootstrap.pinned(PROJECT, name).startswith(f"{name}=="), name


def test_a_package_that_is_not_pinned_is_named(project: Path) -> None:
    with pytest.raises(bootstrap.SetupError, match="no line nonesuch=="):
        bootstrap.pinned(project, "nonesuch")


def test_the_stamp_holds_no_more_than_place_and_digest(project: Path) -> None:
    assert json.loads(bootstrap.stamp_file(project).read_text()) == {
        "place": str(project),
        "recipe": bootstrap.recipe(project),
    }
