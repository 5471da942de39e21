"""What is said about a composition when it is done: a table for people, a document for programs."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bot.cli.terminal import shown
from bot.takes.compose import Composition
from bot.takes.forms import form_of, in_a_line
from models.interface.midi import Plan, Take
from models.music.attributes import TONICS, Attributes

_SOURCES = {  # an engine's words for where an attribute is from -> ours
    "stated": "as you asked", "title": "from the matched title", "form": "usual for the form",
    "genre": "usual for the genre", "composer": "usual for the composer", "drawn": "chosen by the seed",
}


def document(composition: Composition[Plan, Take], model: Path | None, sound_format: str) -> str:
    """A composition as one line of JSON."""
    plan = composition.plan
    request = asdict(plan.request)
    seed = request.pop("seed")
    request["continuation"] = None if plan.request.continuation is None else str(plan.request.continuation)
    contents: dict[str, Any] = {
        "engine": plan.engine,
        "model": None if model is None else str(model),
        "matched": None if plan.matched_title is None else {"title": plan.matched_title, "score": plan.matched_score},
        "attributes": asdict(plan.attributes),
        "sources": dict(plan.sources),
        "seed": seed,
        "parameters": {**request, "format": sound_format},
        "notices": list(plan.notices),
        "folder": str(composition.folder.absolute()),
        "seconds": round(composition.seconds, 3),
        "takes": [{
            "number": one.take.number,
            "files": {what: str(path.absolute()) for what, path in one.files.items()},
            "notes": len(one.take.score),
            "seconds": round(one.seconds, 3),
            "plan": None if (form := form_of(plan, one.take.number)) is None else form.as_json(),
            "prime_length": one.take.prime_length,
            "ids": [int(id_) for id_ in one.take.ids],
        } for one in composition.takes],
    }
    return json.dumps(contents)


def print_summary(composition: Composition[Plan, Take]) -> None:
    """Print what was matched and asked for, each take with its files, and where they are."""
    plan = composition.plan
    console = Console(file=sys.stdout, highlight=False, markup=False)

    def line(text: str) -> None:
        console.print(shown(text), soft_wrap=True)

    if plan.matched_title is not None and plan.matched_score is not None:
        line(f"matched: {plan.matched_title} (score {plan.matched_score:.1f} of 100)")
    else:
        line("matched: no title")
    if described := describe(plan):
        asked = Table(box=None, show_header=False, pad_edge=False)
        for name, value, source in described:
            asked.add_row(f"  {name}", shown(value), shown(source))
        line("asked for:")
        console.print(asked)
    for notice in plan.notices:
        line(f"note: {notice}")
    takes = Table(box=None, pad_edge=False)
    takes.add_column("take", justify="right")
    takes.add_column("notes", justify="right")
    takes.add_column("seconds", justify="right")
    takes.add_column("files")
    silent = "it ended before its first note" if plan.request.stop_at_end else "its ids make no note"
    for one in composition.takes:
        files = " ".join(path.name for path in one.files.values()) or f"none: {silent}"
        takes.add_row(str(one.take.number), str(len(one.take.score)), f"{one.seconds:.1f}", files)
    console.print(takes)
    for one in composition.takes:
        if (form := form_of(plan, one.take.number)) is not None:
            line(f"form of take {one.take.number}: {in_a_line(form)}")
    playing = sum(one.seconds for one in composition.takes)
    line(f"made in {composition.seconds:.1f} s, plays for {playing:.1f} s; seed {plan.request.seed}")
    line(f"files are in {composition.folder}")


def describe(plan: Plan) -> list[tuple[str, str, str]]:
    """What the engine was asked for: attribute, value, and where it is from. What is unknown is left out."""
    values = _values(plan.attributes)
    fields = {"key": ("key", "tonic", "mode"), "tempo": ("tempo_bpm", "tempo")}
    result = []
    for name, value in values.items():
        told = [plan.sources[one] for one in fields.get(name, (name,)) if one in plan.sources]
        sources = dict.fromkeys(_SOURCES.get(one, one) for one in told)
        result.append((name, value, f"({', '.join(sources)})" if sources else ""))
    return result


def _values(attributes: Attributes) -> dict[str, str]:
    key = " ".join(part for part in (
        "" if attributes.tonic is None else TONICS[attributes.tonic], attributes.mode or "") if part)
    values = {
        "genre": attributes.genre or "",
        "forms": ", ".join(attributes.forms),
        "composer": (attributes.composer or "").title(),
        "key": key,
        "metre": attributes.metre or "",
        "tempo": "" if attributes.tempo_bpm is None else f"{attributes.tempo_bpm:.0f} quarters a minute",
        "density": "" if attributes.density is None else f"{attributes.density:.1f} notes a second",
        "instruments": ", ".join(attributes.instruments),
    }
    return {name: value for name, value in values.items() if value}
