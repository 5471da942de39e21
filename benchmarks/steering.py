"""What guidance and strengths do: `python -m benchmarks.steering` writes benchmarks/RESULTS-steering.md.

Takes of the development prompts at the engine's settings, and with one of them changed at a time, by the measures of
`benchmarks.music`.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

from benchmarks.music import ROWS, composed_by, figure, hear_take
from benchmarks.music_prompts import evenly
from models.engines.pocket.engine import GUIDANCE, STRENGTHS, PocketEngine
from models.engines.pocket.steering import Strengths
from models.engines.pocket.titles import load_titles
from models.engines.pocket.weights import SHIPPED, load_pocket

RESULTS = Path(__file__).with_name("RESULTS-steering.md")
COLUMNS = {
    "key (Krumhansl-Kessler)": "key", "metre class (autocorrelation)": "metre",
    "share of the least-used instrument, median": "least share", "likeness of bars 1 apart": "bars 1",
    "likeness of bars 4 apart": "bars 4 apart", "likeness to the likest earlier bar": "likest",
    "bars that copy an earlier one": "copies", "top voice: steps": "steps",
    "top voice: leaps of more than nine semitones": "leaps", "repeated runs of four notes": "runs repeated",
    "distinct notes": "distinct",
}


def settings() -> Iterator[tuple[str, float, Strengths]]:
    """What is changed, guidance, strengths."""
    yield "as set", GUIDANCE, STRENGTHS
    for guidance in (1.0, 3.0):
        yield f"guidance {guidance:g}", guidance, STRENGTHS
    for name, value in asdict(STRENGTHS).items():
        for other in (0.0, 2 * value):
            yield f"{name} {other:g}", GUIDANCE, replace(STRENGTHS, **{name: other})


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what the strengths of the pocket engine do to takes.")
    parser.add_argument("--prompts", type=int, default=40)
    parser.add_argument("--model", type=Path, default=SHIPPED)
    options = parser.parse_args()
    network, titles, prompts = load_pocket(options.model), load_titles(), evenly(options.prompts)
    rows = {row.title: row for row in ROWS}
    default = ", ".join(f"{name} {value:g}" for name, value in asdict(STRENGTHS).items())
    lines = [
        "# What the pocket engine's guidance and strengths do", "",
        f"Two takes each of {options.prompts} development prompts, as in RESULTS-music.md, which says what the columns are.",
        f"As set: guidance {GUIDANCE:g}, {default}; every other line changes one.", "",
        f"| | {' | '.join(COLUMNS.values())} |", f"|---|{'---|' * len(COLUMNS)}",
    ]
    for changed, guidance, strengths in settings():
        engine = PocketEngine(network, titles, guidance=guidance, strengths=strengths)
        takes = [hear_take(made, {}) for made in composed_by(engine)(prompts, 2, 0.9)]
        found = [figure(rows[title], takes) for title in COLUMNS]
        lines.append(f"| {changed} | {' | '.join('-' if one is None else f'{100 * one.value:.0f} %' for one in found)} |")
        print(lines[-1], flush=True)
    RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
