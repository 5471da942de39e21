"""What guidance, key strength and beat strength do: `python -m benchmarks.steering` writes benchmarks/RESULTS-steering.md.

The prompts of the attributes table, which has the measures, at the engine's settings and with one of them changed at a
time; means over all takes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.attributes_table import PROMPTS, cells, measure
from benchmarks.pocket_takes import takes_of
from models.engines.pocket.engine import BEAT_STRENGTH, GUIDANCE, KEY_STRENGTH, PocketEngine
from models.engines.pocket.titles import load_titles
from models.engines.pocket.weights import load_pocket

RESULTS = Path(__file__).with_name("RESULTS-steering.md")
# Guidance, key strength, beat strength.
SETTINGS = (
    (GUIDANCE, KEY_STRENGTH, BEAT_STRENGTH),
    *((guidance, KEY_STRENGTH, BEAT_STRENGTH) for guidance in (1.0, 1.5, 3.0)),
    *((GUIDANCE, key, BEAT_STRENGTH) for key in (0.0, 0.5, 2.0)),
    *((GUIDANCE, KEY_STRENGTH, beat) for beat in (0.0, 2.0, 6.0)),
)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what the strengths of the pocket engine do to takes.")
    parser.add_argument("--seeds", type=int, default=6, help="takes of each of the five prompts")
    seeds = parser.parse_args().seeds
    network, titles = load_pocket(), load_titles()
    lines = [
        "# What the pocket engine's strengths do", "",
        f"Takes of 170 notes, {len(PROMPTS)} prompts with {seeds} seeds each, as in RESULTS-attributes.md, which says what the",
        "columns are. The first line is what is set; every other one changes one strength.", "",
        "| guidance | key strength | beat strength | notes in scale | key | key or near | metre | on the grid | tempo |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for guidance, key, beat in SETTINGS:
        engine = PocketEngine(network, titles, guidance=guidance, key_strength=key, beat_strength=beat)
        measured = [measure(score, asked) for prompt in PROMPTS for score, asked in takes_of(engine, prompt.text, range(seeds))]
        lines.append(f"| {guidance:g} | {key:g} | {beat:g} | {' | '.join(cells(measured)[1:7])} |")
        print(lines[-1], flush=True)
    text = "\n".join(lines) + "\n"
    RESULTS.write_text(text, encoding="utf-8")
    print(f"written to {RESULTS}")


if __name__ == "__main__":
    main()
