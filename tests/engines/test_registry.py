from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from models.engines.pocket.weights import save_pocket
from models.engines.registry import ENGINES, load_engine
from models.errors import CheckpointError, InputError
from models.interface.engine import Host
from models.interface.midi import ComposeRequest
from tests.engines.pocket.building import small_network


@pytest.mark.parametrize("values", [
    {"tokens": 32}, {"tokens": 2048}, {"takes": 1}, {"takes": 16}, {"temperature": 0.1}, {"temperature": 1.5},
    {"seed": 0}, {"seed": 2**32 - 1}, {"title": "", "artist": "Bach"}, {"title": "x" * 80}, {"artist": "y" * 80},
    {"title": "🎹 Für Elise ♫"}, {"title": "../../etc/passwd"}, {"title": "نشيد"}, {"title": "a / b \\ c"},
])
def test_what_lies_within_the_limits_is_taken(values: dict[str, Any]) -> None:
    request = ComposeRequest(**{"title": "Nocturne", **values})
    assert all(getattr(request, name) == value for name, value in values.items())


@pytest.mark.parametrize(("values", "message"), [
    ({"tokens": 31}, "tokens must be between 32 and 2048, not 31"),
    ({"tokens": 9000}, "tokens must be between 32 and 2048, not 9000"),
    ({"takes": 0}, "takes must be between 1 and 16, not 0"), ({"takes": 17}, "takes must be between 1 and 16, not 17"),
    ({"temperature": 0.0}, "temperature must be between 0.1 and 1.5, not 0.0"),
    ({"temperature": float("nan")}, "not nan"), ({"temperature": float("inf")}, "not inf"), ({"temperature": -1.0}, "not -1.0"),
    ({"temperature": 1.51}, "not 1.51"),
    ({"seed": -1}, "seed must be between 0 and 4294967295, not -1"), ({"seed": 2**32}, "not 4294967296"),
    ({"title": ""}, "give a title, an artist, or both"), ({"title": " \u3000", "artist": " "}, "give a title"),
    ({"title": "x" * 81}, "the title may have at most 80 characters, not 81"),
    ({"title": "x" * 10_000}, "at most 80 characters, not 10,000"),
    ({"artist": "y" * 81}, "the artist may have at most 80 characters"),
    ({"title": "a\0b"}, "the title may not contain control characters"), ({"title": "a\nb"}, "control characters"),
    ({"artist": "\x1b[31m"}, "the artist may not contain control characters"), ({"title": "\x7f"}, "control characters"),
])
def test_what_lies_outside_is_refused_with_one_line_that_says_what_is_wanted(
    values: dict[str, Any], message: str,
) -> None:
    with pytest.raises(InputError) as error:
        ComposeRequest(**{"title": "Nocturne", **values})
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_an_engine_is_loaded_by_its_name(tmp_path: Path) -> None:
    save_pocket(tmp_path / "model", small_network(), {})
    engine = load_engine("pocket", tmp_path / "model", Host(tmp_path))
    assert engine.name == "pocket"
    assert not engine.batcher.busy


def test_an_unknown_engine_is_bad_input_and_the_known_ones_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="musicgen") as error:
        load_engine("musicgen", None, Host(tmp_path))
    assert all(name in str(error.value) for name in ENGINES)


@pytest.mark.parametrize("name", ["pocket", "la-composer"])
def test_a_model_that_is_not_there_is_said_to_be_missing(tmp_path: Path, name: str) -> None:
    with pytest.raises(CheckpointError, match="nothing here"):
        load_engine(name, tmp_path / "nothing here", Host(tmp_path))
