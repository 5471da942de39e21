"""What is told of a take's plan: how long it is, which of its phrases come back, and its chords."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from bot.takes.render import AnyPlan
from models.interface.midi import Plan
from models.music.form.plan import FormPlan

LONGEST_PHRASES = 60  # characters of the letters
LONGEST_LINE = 100
_CUT = "…"


def form_of(plan: AnyPlan, take: int) -> FormPlan | None:
    """The plan of a take (from 1), where its engine has made one."""
    return plan.forms[take - 1] if isinstance(plan, Plan) and plan.forms else None


def phrases(form: FormPlan) -> str:
    """A letter for each phrase, with a stroke for each other harmony that it had before: `A A' B A'`."""
    said: list[str] = []
    heard: dict[str, list[tuple[tuple[int, ...], ...]]] = {}
    for section in form.sections:
        bars = form.bars[section.first:section.first + section.bars]
        starts = [place for place, bar in enumerate(bars) if not place or not bar.phrase_bar]
        for start, end in pairwise([*starts, len(bars)]):
            harmony = tuple(bar.chords for bar in bars[start:end])
            versions = heard.setdefault(section.letter, [])
            if harmony not in versions:
                versions.append(harmony)
            said.append(section.letter + "'" * versions.index(harmony))
    return _cut(" ".join(said), LONGEST_PHRASES, " ")


def in_short(form: FormPlan) -> dict[str, Any]:
    """What the ledger keeps: a few words, however long the piece is."""
    return {"name": form.name, "bars": len(form.bars), "phrases": phrases(form)}


def in_a_line(form: FormPlan) -> str:
    """Name, length, phrases and the chords of the first bars, in at most 100 characters."""
    bars = "1 bar" if len(form.bars) == 1 else f"{len(form.bars)} bars"
    chords = " | ".join(form.as_json()["chords"])
    return _cut(f"{form.name}, {bars}, {phrases(form)}; {chords}", LONGEST_LINE, " | ")


def _cut(said: str, longest: int, between: str) -> str:
    """As many whole parts as fit; what is left out is marked."""
    if len(said) <= longest:
        return said
    return said[:longest - len(_CUT)].rsplit(between, 1)[0] + between + _CUT
