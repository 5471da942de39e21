"""How temperature shows in the notes: `python -m benchmarks.repetition` writes benchmarks/RESULTS-repetition.md.

The same prompts and seeds at several temperatures, takes of equal length; measures are those of
`models.music.score.measures.repetition`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import mean

from benchmarks.attributes_table import PROMPTS
from benchmarks.pocket_takes import takes_of
from models.engines.pocket.engine import PocketEngine
from models.music.score.measures import repetition

RESULTS = Path(__file__).with_name("RESULTS-repetition.md")
TEMPERATURES = (0.3, 0.6, 0.9, 1.2)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure how repetitive takes are at several temperatures.")
    parser.add_argument("--seeds", type=int, default=4, help="takes of each of the five prompts")
    seeds = parser.parse_args().seeds
    engine = PocketEngine.load()
    lines = [
        "# Temperature and repetition", "",
        f"Takes of 170 notes, {len(PROMPTS)} prompts with {seeds} seeds each, pocket model. Repeated: runs of four notes",
        "(instrument and pitch) heard before in the take. Distinct: notes unlike all others in time, length, loudness,",
        "instrument and pitch. Entropy: of instrument and pitch.", "",
        "| temperature | repeated runs | distinct notes | entropy, bits |", "|---|---|---|---|",
    ]
    for temperature in TEMPERATURES:
        found = [repetition(score) for prompt in PROMPTS
                 for score, _ in takes_of(engine, prompt.text, range(seeds), temperature=temperature)]
        lines.append(f"| {temperature} | {100 * mean(one.repeated for one in found):.0f} % | "
                     f"{100 * mean(one.distinct for one in found):.0f} % | {mean(one.pitch_bits for one in found):.2f} |")
    text = "\n".join(lines) + "\n"
    print(text)
    RESULTS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
