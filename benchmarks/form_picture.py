"""A take as notes with its plan written over it: `python -m benchmarks.form_picture "A waltz" --out form.png`."""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image, ImageDraw

from models.engines.pocket.engine import PocketEngine
from models.interface.midi import ComposeRequest
from models.music.form.plan import FormPlan, chord_name
from models.music.score.notes import Score
from models.sound.rendering.picture import AXIS, HEIGHT, INK, MARGIN, PALE_INK, SMALL_PX, STRONG_GRID, WIDTH, Lane, font
from models.sound.rendering.roll import draw_roll


def draw(score: Score, form: FormPlan, target: Path, title: str) -> None:
    """The roll, with bars, chords and sections: letters where a section begins, thin lines at the other bars."""
    draw_roll(score, target, title=title)
    drums = bool(score.notes["drum"].any())
    lane = Lane(MARGIN + (100 if drums else 36), 168, WIDTH - MARGIN, HEIGHT - AXIS, score.seconds)
    image = Image.open(target).convert("RGB")
    pen, small, bold = ImageDraw.Draw(image), font("Regular", SMALL_PX - 7), font("Semibold", SMALL_PX)
    begins = {section.first: section for section in form.sections}
    for number, bar in enumerate(form.bars):
        x = lane.x(number * form.bar_seconds)
        section = begins.get(number)
        pen.line((x, lane.top - 22, x, lane.bottom), fill=INK if section else STRONG_GRID, width=2 if section else 1)
        names = [chord_name(chord) for chord in dict.fromkeys(bar.chords)]
        pen.text((x + 5, lane.top - 22), " ".join(names), PALE_INK, small)
        if section:
            pen.text((x + 5, lane.top), f"{section.letter} {section.function}", INK, bold)
        if bar.returns:
            pen.text((x + 5, lane.bottom - 24), f"as {bar.returns.bar + 1}", PALE_INK, small)
    image.save(target)


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw a take with its plan.")
    parser.add_argument("title")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--out", type=Path, default=Path("form.png"))
    options = parser.parse_args()
    engine = PocketEngine.load()
    plan = engine.plan(ComposeRequest(options.title, takes=1, seed=options.seed, tokens=options.tokens))
    [sequence] = engine.sequences(plan)
    engine.batcher.add(sequence)
    while engine.batcher.busy:
        engine.batcher.step()
    draw(engine.take(plan, sequence).score, plan.forms[0], options.out, options.title)


if __name__ == "__main__":
    main()
