"""What members type: numbers in both notations, pieces and takes, limits."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.discord import reading
from bot.jobs.refusals import Reason, Refusal
from bot.messages import refusals


def refused(error: pytest.ExceptionInfo[Refusal]) -> str:
    assert error.value.reason is Reason.INVALID
    return str(error.value.details["text"])


@pytest.mark.parametrize(("typed", "value"), [("0.9", 0.9), ("0,9", 0.9), (" 1 ", 1.0), (",5", 0.5), (".5", 0.5)])
def test_decimal_numbers_are_read_in_both_notations(typed: str, value: float) -> None:
    assert reading.decimal("temperature", typed) == value


@pytest.mark.parametrize("typed", ["", "1.2.3", "1,000.5", "nan", "inf", "1e3", "-1", "0x1", "viel", "9" * 30])
def test_what_is_no_decimal_number_is_refused(typed: str) -> None:
    with pytest.raises(Refusal) as error:
        reading.decimal("temperature", typed)
    assert "temperature" in refused(error)


@pytest.mark.parametrize("typed", ["", "1.5", "-3", "1e3", "zwölf", "9" * 30])
def test_what_is_no_whole_number_is_refused(typed: str) -> None:
    with pytest.raises(Refusal) as error:
        reading.whole("tokens", typed)
    assert "tokens" in refused(error)


def test_whole_numbers_are_read() -> None:
    assert reading.whole("tokens", " 512 ") == 512


@pytest.mark.parametrize(("typed", "piece"), [
    ("12", (12, None)), ("#12", (12, None)), ("12.3", (12, 3)), ("#12,16", (12, 16)), (" 7 ", (7, None))])
def test_pieces_and_takes_are_read(typed: str, piece: tuple[int, int | None]) -> None:
    assert reading.piece(typed) == piece


@given(st.text(max_size=30) | st.from_regex(r"#?[0-9]{1,20}([.,][0-9]{1,3})?", fullmatch=True))
def test_anything_typed_for_a_piece_is_a_piece_or_refused_in_words(typed: str) -> None:
    if re.fullmatch(r"#?[1-9][0-9]{0,17}([.,][1-9][0-9]?)?", typed.strip(), re.ASCII):
        job, take = reading.piece(typed)
        assert job > 0
        assert take is None or 0 < take < 100
    else:
        with pytest.raises(Refusal) as error:
            reading.piece(typed)
        assert "12.3" in refusals.refusal(error.value, "de")


def test_limits_are_read() -> None:
    assert reading.limit("takes", " 4 ") == 4
    assert reading.limit("takes", "0") == 0
    assert reading.limit("channels", "<#12>, <#34> <#12>") == (12, 34)
    assert [reading.limit(name, typed) for name in ("takes", "channels") for typed in ("-", "none", "Keine")] == [None] * 6


@pytest.mark.parametrize(("name", "typed"), [
    ("takes", "-1"), ("takes", "4.5"), ("takes", "<#12>"), ("channels", "12"), ("channels", "<#12> or <@34>"),
    ("channels", "")])
def test_what_is_no_limit_is_refused(name: str, typed: str) -> None:
    with pytest.raises(Refusal) as error:
        reading.limit(name, typed)
    assert "limit" in refused(error)


def test_a_limit_holds_for_the_guild_a_role_or_a_channel() -> None:
    assert [reading.scope(None, None), reading.scope(5, None), reading.scope(None, 6)] == ["guild", "role:5", "channel:6"]
    with pytest.raises(Refusal):
        reading.scope(5, 6)
