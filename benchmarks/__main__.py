"""`python -m benchmarks`: everything that is measured, as a Markdown page in benchmarks/RESULTS.md."""

from __future__ import annotations

from pathlib import Path

from benchmarks import decoding, whole_way
from benchmarks.machine import described
from models.engines.pocket.weights import load_pocket

RESULTS = Path(__file__).with_name("RESULTS.md")


def main() -> None:
    # Before anything large is in this process: a child's peak memory counts what it was forked from.
    command, parts = whole_way.command(), whole_way.parts()
    network = load_pocket().body
    page = ["# Benchmarks", "", f"Measured by `make bench` on: {described()}; the decoding step is "
            f"{'compiled' if decoding.native_step(network) else 'PyTorch (no C compiler)'}.",
            "Times are of one machine at one time; the ratios are of things measured side by side in one run.",
            "The goal of three times the ids/s of one take at 16 is one without guidance; guided ones are 32 rows then.", ""]
    for title, speeds in (
        ("Pocket model, 510 ids a take, sampling included; guided takes have two rows", decoding.pocket()),
        ("Full-size Los Angeles Music Composer (387.6 M random weights), behind 600 ids", decoding.full_size()),
    ):
        page += [f"## {title}", "",
                 "| takes | guidance | ms a step | ids/s | against no cache | against one take | of the read bandwidth |",
                 "|---|---|---|---|---|---|---|"]
        one = {speed.guidance: speed.step_s for speed in speeds if speed.batch == 1}
        for speed in speeds:
            page.append(
                f"| {speed.batch} | {'none' if speed.guidance == 1 else f'{speed.guidance:g}'} | "
                f"{1000 * speed.step_s:.2f} | {speed.batch / speed.step_s:.0f} | {speed.ratio:.0f}x | "
                f"{speed.batch * one[speed.guidance] / speed.step_s:.2f}x | {100 * speed.bandwidth_share:.1f} % |")
        page.append("")
    page += ["## Parts of the way from the command to one finished take (512 tokens)", "",
             "| part | seconds |", "|---|---|"]
    names = {"load": "load (Python, imports, model, titles)", "plan": "plan (match the title)",
             "prefill": "prefill and first id", "decode": "decode",
             "sound": "sound (FluidSynth, OGG)", "picture": "picture"}
    page += [f"| {name} | {parts[key]:.2f} |" for key, name in names.items()]
    page += ["", f"Starting, imports and loading take {parts['load_cpu']:.2f} s of CPU time. "
             f"Sound is rendered at {parts['music'] / parts['sound']:.0f} times real time, encoding included.", ""]
    page += ["## `kapelle compose`, four takes of 512 tokens with sound and pictures", "",
             f"{command.seconds:.1f} s for {command.music_s:.1f} s of music: "
             f"{command.seconds / command.music_s:.2f} of "
             f"its playing time. Peak memory {command.peak_bytes / 1e6:.0f} MB.", ""]
    text = "\n".join(page)
    RESULTS.write_text(text, encoding="utf-8")
    print(text)
    print(f"written to {RESULTS}")


if __name__ == "__main__":
    main()
