"""Temporary folders of processes that were killed are gone once another one starts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from models.scratch import Scratch

_HOLDING = """
import subprocess, sys, time
from models.scratch import Scratch
scratch = Scratch.make("test-")
if "child" in sys.argv:
    subprocess.Popen(["sleep", "600"], pass_fds=(scratch.lock,), stdout=subprocess.DEVNULL)
print(scratch.path, flush=True)
time.sleep(600)
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def _held(*arguments: str) -> tuple[subprocess.Popen[str], Path]:
    process = subprocess.Popen([sys.executable, "-c", _HOLDING, *arguments], stdout=subprocess.PIPE, text=True,
                               start_new_session=True)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def _kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_what_a_killed_process_left_is_removed_by_the_next() -> None:
    process, folder = _held()
    (folder / "piece.wav").write_bytes(bytes(1000))
    with Scratch.make():
        assert (folder / "piece.wav").exists()  # it lives
    _kill(process)
    with Scratch.make() as mine:
        assert not folder.exists()
        assert mine.exists()
    assert not mine.exists()


def test_a_folder_is_kept_as_long_as_a_child_uses_it() -> None:
    process, folder = _held("child")
    _kill(process)
    with Scratch.make():
        assert folder.exists()
    os.killpg(process.pid, signal.SIGKILL)
    for _ in range(200):  # its descriptor is closed a moment after it was told to end
        with Scratch.make():
            if not folder.exists():
                return
    raise AssertionError("the folder stays")


def test_nothing_else_is_touched(temporary: Path) -> None:
    other = temporary / "kapelle-notes"  # somebody's own, without a lock
    other.mkdir()
    (other / "important").write_text("x")
    (temporary / "elsewhere").mkdir()
    (temporary / "elsewhere" / ".in-use").touch()
    (temporary / "kapelle-link").symlink_to(temporary / "elsewhere")
    strange = temporary / "kapelle-strange"
    strange.mkdir()
    (strange / ".in-use").symlink_to(other / "important")
    (temporary / "kapelle-file").touch()
    before = sorted(temporary.rglob("*"))
    with Scratch.make():
        pass
    assert sorted(temporary.rglob("*")) == before
