"""What is said of takes when they are done."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.cli.summary import print_summary
from bot.takes.compose import Composition
from bot.takes.render import Rendered
from models.interface.midi import ComposeRequest, Plan, Take
from models.music.attributes import Attributes
from models.music.vocabulary.los_angeles import decode


@pytest.mark.parametrize(("stop_at_end", "said"), [(True, "it ended before its first note"), (False, "its ids make no note")])
def test_why_a_take_has_no_files_depends_on_whether_it_could_end(
    stop_at_end: bool, said: str, capsys: pytest.CaptureFixture[str],
) -> None:
    request = ComposeRequest("Nocturne", takes=1, stop_at_end=stop_at_end)
    plan = Plan(request, "la-composer", None, None, Attributes())
    print_summary(Composition(plan, Path("takes"), (Rendered(Take(1, (5, 5), 0, decode(()), None), {}, 0.0),), 1.0))
    assert f"none: {said}" in " ".join(capsys.readouterr().out.split())
