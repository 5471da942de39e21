"""The table's logic on music the test wrote, and on excerpts of the real corpus in place of takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.attributes_table import PROMPTS, cells, excerpt, main, measure, real_measured, real_pieces, rows, table
from models.music.attributes import Attributes
from models.music.score.notes import Score
from models.music.score.programs import CHANNELS
from models.training.corpus import PIECE_NOTE, Corpus

WALTZ = Attributes(tonic=0, mode="major", metre="3/4", tempo_bpm=120.0, instruments=("violin", "cello"))


def waltz_notes(bars: int = 24, semitones: int = 0) -> np.ndarray:
    strokes = [(0.0, 36, 1.0, 105, "cello"), (0.0, 72, 2.0, 90, "violin"), (1.0, 64, 0.5, 60, "violin"),
               (1.0, 67, 0.5, 60, "violin"), (2.0, 64, 0.5, 60, "violin"), (2.0, 67, 0.5, 60, "violin")]
    notes = np.zeros(bars * len(strokes), dtype=PIECE_NOTE)
    for i, note in enumerate(notes):
        bar, (place, pitch, quarters, velocity, channel) = i // len(strokes), strokes[i % len(strokes)]
        root = (0, 5, 7, 0)[bar % 4]
        note["onset_ms"], note["duration_ms"] = (3 * bar + place) * 500, quarters * 500
        note["pitch"], note["velocity"], note["channel"] = pitch + root + semitones, velocity, CHANNELS.index(channel)
        note["quarter_ms"], note["quarters_in_bar"] = 500, place
    return notes


def corpus(val: int, train: int) -> Corpus:
    pieces = [waltz_notes(semitones=i % 5) for i in range(val + train)]
    entries = [{"file": f"{i}.mid", "title": "Waltz", "key": ("C", "Db", "D", "Eb", "E")[i % 5], "mode": "major",
                "metre": "3/4", "tempo_bpm": 120, "split": "val" if i < val else "train"} for i in range(val + train)]
    return Corpus(entries, np.concatenate(pieces), np.arange(val + train + 1) * len(pieces[0]), {})


def test_a_take_with_everything_asked_for_measures_so() -> None:
    measured = measure(excerpt(waltz_notes(), WALTZ), WALTZ)
    for name in ("instruments", "key", "near_key", "metre", "tempo", "related_tempo"):
        assert getattr(measured, name) is True, name
    assert measured.scale == 1
    assert (measured.grid or 0) > 0.9


@pytest.mark.parametrize(("change", "missed"), [
    ({"tonic": 6}, "key"), ({"tonic": 6}, "near_key"), ({"metre": "4/4"}, "metre"), ({"tempo_bpm": 101.0}, "tempo"),
    ({"tempo_bpm": 101.0}, "related_tempo"), ({"instruments": ("violin",)}, "instruments"),
    ({"instruments": ("violin", "cello", "harp")}, "instruments"),
])
def test_a_take_without_what_was_asked_measures_so(change: dict[str, object], missed: str) -> None:
    asked = replace(WALTZ, **change)  # type: ignore[arg-type]
    assert getattr(measure(excerpt(waltz_notes(), WALTZ), asked), missed) is False


def test_what_was_not_asked_is_a_dash_and_shares_are_percentages() -> None:
    score = excerpt(waltz_notes(), WALTZ)
    both = [measure(score, WALTZ), measure(score, replace(WALTZ, tonic=6))]
    line = table([("A waltz", "conditioned", both)]).splitlines()
    assert line[2].startswith("| A waltz | conditioned | 2 | 100 % |")
    assert "| 50 % |" in line[2]
    assert len({row.count("|") for row in line}) == 1
    assert cells([measure(score, Attributes())])[:8] == ["-"] * 8


def test_real_pieces_are_those_of_val_and_of_train_where_it_has_too_few() -> None:
    assert real_pieces(corpus(6, 9), "waltz") == {"val": list(range(6))}
    assert real_pieces(corpus(2, 9), "waltz") == {"val": [0, 1], "train": list(range(2, 11))}
    assert real_pieces(corpus(0, 2), "waltz") == {"train": [0, 1]}
    assert real_pieces(corpus(6, 9), "hymn") == {}


def test_real_pieces_are_measured_against_their_own_key_and_tempo() -> None:
    for number in range(5):
        measured = real_measured(corpus(5, 0), number, ("violin", "cello"))
        for name in ("key", "tempo", "metre", "instruments"):
            assert getattr(measured, name) is True, name


def test_every_prompt_has_its_rows_and_each_take_its_seed() -> None:
    asked_for: list[tuple[str, int, bool]] = []

    def takes_of(prompt: str, seeds: Sequence[int], conditioned: bool) -> list[tuple[Score, Attributes]]:
        asked_for.extend((prompt, seed, conditioned) for seed in seeds)
        return [(excerpt(waltz_notes(semitones=0 if conditioned else 6), WALTZ), WALTZ) for _ in seeds]

    found = list(rows(takes_of, 2, corpus(6, 0)))
    assert [(prompt, what) for prompt, what, _ in found] == [
        (prompt.text, what) for prompt in PROMPTS
        for what in ("conditioned", "unconditioned", *(["real (val)"] if prompt.form == "waltz" else []))]
    assert len(set(asked_for)) == len(asked_for) == len(PROMPTS) * 2 * 2
    assert [one.key for one in found[0][2]] == [True, True]
    assert [one.key for one in found[1][2]] == [False, False]


def test_the_table_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    waltz = excerpt(waltz_notes(), WALTZ), WALTZ
    main(lambda _, seeds, __: [waltz for _ in seeds], ["--seeds", "1"], tmp_path / "results.md")
    assert "| A jig | unconditioned | 1 |" in (tmp_path / "results.md").read_text(encoding="utf-8")
    assert "| A jig | unconditioned | 1 |" in capsys.readouterr().out
