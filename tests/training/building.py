"""Small corpora of MIDI files, and a plan that trains on one within seconds."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from models.music.score.midi import write_midi
from models.music.score.notes import NOTE, Metre, Score, Tempo
from models.training.corpus import Corpus, piece_notes
from models.training.train import TrainingPlan

PLAN = TrainingPlan(
    width=32, depth=1, heads=1, window=24, row_ids=48, rows=4, planned_ids=20 * 4 * 48, warm_up_ids=400, matrix_rate=2e-2,
    vector_rate=2e-2, compiled=False)


def tune(
    seed: int = 0, notes: int = 60, *, bpm: float = 120.0, metre: tuple[int, int] = (4, 4), program: int = 0,
    drums: bool = True,
) -> Score:
    """Eighths of a scale up and down from another note for each seed; every fourth note is a drum."""
    us = round(60_000_000 / bpm)
    rows = np.zeros(notes, dtype=NOTE)
    rows["onset_tick"] = 240 * np.arange(notes)
    rows["onset_ms"] = rows["onset_tick"] * us / 480_000
    rows["duration_ms"] = 0.9 * us / 2000
    step = (np.arange(notes) + seed) % 14
    rows["pitch"] = 55 + seed % 7 + np.where(step < 7, step, 14 - step)
    rows["velocity"] = 70 + seed % 30
    rows["program"] = program
    if drums:
        rows["drum"][3::4] = True
        rows["pitch"][3::4] = 38
    return Score(rows, 480, (Tempo(0, us),), (Metre(0, *metre),), name=f"Tune {seed}")


def write_corpus(folder: Path, pieces: Iterable[tuple[Score, dict[str, Any]]]) -> Path:
    """A folder of MIDI files with its index."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number, (score, entry) in enumerate(pieces):
        name = f"{number:03}.mid"
        write_midi(score, folder / name)
        lines.append(json.dumps({"file": name, "title": score.name, **entry}))
    (folder / "index.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def corpus_of(*pieces: tuple[Score, dict[str, Any]], shares: dict[str, float] | None = None) -> Corpus:
    """The same without files."""
    notes = [piece_notes(score) for score, _ in pieces]
    return Corpus([{"file": f"{number}.mid", **entry} for number, (_, entry) in enumerate(pieces)],
                  np.concatenate(notes), np.cumsum([0, *map(len, notes)]), shares or {})


def later(score: Score, ms: float) -> Score:
    """The same, but each onset that much later against its beat."""
    notes = score.notes.copy()
    notes["onset_ms"] += ms
    return replace(score, notes=notes)
