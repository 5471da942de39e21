"""Takes of the shipped model sound as well as they did: the bench of music, small."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.music import BASELINE, main


def test_no_figure_has_fallen_by_more_than_chance(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = main(["--prompts", "10", "--check", str(BASELINE)], results=tmp_path / "results.md")
    assert status == 0, capsys.readouterr().err
