"""Environments: which torch is chosen, how programs are called, and what is said when one fails."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bot.hosting import environments
from bot.hosting.environments import CommandError, Environment, State, TorchBuild, digest


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
    assert environments.choose_torch(report_on(version, address), nvidia_driver=driver) is build


@pytest.mark.parametrize("report", [{}, {"install": []}, {"install": [{}]}, {"install": None}])
def test_a_report_without_torch_is_refused(report: dict[str, Any]) -> None:
    with pytest.raises(environments.SetupError, match="did not say which torch"):
        environments.choose_torch(report, nvidia_driver=False)


def test_the_driver_shows_in_proc_or_by_its_program(
    programs: Callable[[str, str], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environments, "NVIDIA_DRIVER", tmp_path / "version")
    assert not environments.nvidia_driver_present()
    (tmp_path / "version").touch()
    assert environments.nvidia_driver_present()
    (tmp_path / "version").unlink()
    programs("nvidia-smi", "exit 0")
    assert environments.nvidia_driver_present()


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
    with pytest.raises(environments.CommandError, match=told) as error:
        environments.run("Trying", sys.executable, "-c", f"print({printed!r}); raise SystemExit(3)")
    assert f"  | {printed}\n" in str(error.value)


def test_only_a_full_disk_is_a_full_disk() -> None:
    assert isinstance(environments.failure("Trying", ["No space left on device"]), environments.DiskFullError)
    assert not isinstance(environments.failure("Trying", ["Connection refused"]), environments.DiskFullError)


def test_a_program_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(environments.CommandError, match="nothing-here could not be started"):
        environments.run("Trying", tmp_path / "nothing-here")


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
    told = str(environments.failure("Trying", [line]))
    assert "mirror" not in told
    assert "secret" not in told


def test_file_names_are_no_hosts() -> None:
    line = "ERROR: pyproject.toml and setup.py of pretty_midi-0.2.11.post0 could not be read"
    assert environments.without_hosts(line) == line


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
    assert environments.progress_in(line) == progress


def test_an_interrupted_program_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    survived = tmp_path / "survived"
    code = f"import time; print(1, flush=True); time.sleep(2); open({str(survived)!r}, 'w')"
    monkeypatch.setattr(environments, "progress_in", interrupt)
    with pytest.raises(KeyboardInterrupt):
        environments.run("Waiting", sys.executable, "-c", code)  # comes back when the program has ended
    assert not survived.exists()


def interrupt(line: str) -> str:
    raise KeyboardInterrupt


def test_settings_that_lead_pip_astray_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in environments.MISLEADING:
        monkeypatch.setenv(name, "/elsewhere")
    printed = environments.run("Looking", sys.executable, "-c", "import os; print(*os.environ, sep='\\n')")
    assert not set(environments.MISLEADING) & set(printed)


def test_an_error_has_one_line_of_reason_and_the_output_apart() -> None:
    with pytest.raises(CommandError) as told:
        environments.run("Trying", sys.executable, "-c", "print('a'); print('b'); raise SystemExit(3)")
    assert told.value.reason == "Trying failed; the lines above say why."
    assert told.value.output == ("a", "b")


def test_what_to_type_again_and_where_progress_goes_is_the_callers(tmp_path: Path) -> None:
    told: list[str] = []
    made = Environment(tmp_path / "venv", tmp_path / "none.txt", digest(b""), "here", again="try again", tell=told.append)
    with pytest.raises(CommandError, match=r"Make room .* and try again"):
        made.run("Trying", sys.executable, "-c", "print('Downloading a-1.whl (3 MB)'); print('No space left on device'); 1/0")
    assert told == ["  downloading a 1.whl (3 MB)"]
    assert made.state is State.UNFINISHED
