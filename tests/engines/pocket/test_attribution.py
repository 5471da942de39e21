"""Whoever made the music that the model learnt from is named."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import models.engines.pocket

FOLDER = Path(models.engines.pocket.__file__).parent


def test_every_mutopia_piece_under_cc_by_is_listed_with_its_composer_and_path() -> None:
    [counted] = re.findall(r"^\| The Mutopia Project.*$", (FOLDER / "MODEL_CARD.md").read_text(encoding="utf-8"), re.M)
    wanted = {f"CC BY {version}": int(count) for version, count in re.findall(r"CC-BY-([\d.]+) \((\d+)\)", counted)}
    rows = [re.split(r" (?<!\\)\| ", line.strip("| ")) for line in
            (FOLDER / "ATTRIBUTION.md").read_text(encoding="utf-8").splitlines() if line.endswith(".ly |")]
    assert sum(wanted.values()) == len(rows) == 106
    assert Counter(licence for _, _, licence, _ in rows) == wanted
    assert all(title and composer for title, composer, _, _ in rows)
