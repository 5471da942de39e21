"""Logs as they come out of a process: what they look like, and what is never in them."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

from bot.hosting.logs import job_context, set_up_logs

# The parts of a token, put together here so that nobody takes the file for a leak.
TOKEN = ".".join(("MTIzNDU2Nzg5MDEyMzQ1Njc4", "GabcDE", "abcdefghijklmnopqrstuvwxyz-0123456789_"))


@pytest.fixture(autouse=True)
def own_root() -> Iterator[None]:
    """Leaves logging as it was."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    levels = {name: logging.getLogger(name).level for name in ("discord", "aiohttp", "asyncio", "sqlalchemy")}
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


def entries(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines(capsys)]


def test_a_line_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs("human", "info")
    with job_context(7):
        logging.getLogger("bot.worker.dispatcher").info("started with %s", "pocket", extra={"attempt": 2})
    logging.getLogger("bot").warning("no job here")
    first, second = lines(capsys)
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ INFO    bot\.worker\.dispatcher: started with pocket \[job=7 attempt=2\]", first)
    assert second.endswith("WARNING bot: no job here")


def test_times_are_utc(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    record = logging.makeLogRecord(
        {"msg": "then", "levelname": "INFO", "levelno": logging.INFO, "created": 1_700_000_000.25})
    for format, shown in (("human", "2023-11-14 22:13:20Z"), ("json", '"2023-11-14T22:13:20.250Z"')):
        set_up_logs(format, "info")  # type: ignore[arg-type]
        logging.getLogger().handle(record)
        assert shown in lines(capsys)[0]
    monkeypatch.undo()
    time.tzset()


def test_json_has_an_exception_as_one_field(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs("json", "info")
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        logging.getLogger("bot").exception("it %s", "failed", extra={"job": 3, "files": ("a", 1), "share": float("nan")})
    (entry,) = entries(capsys)
    assert (entry["level"], entry["logger"], entry["message"], entry["job"]) == ("error", "bot", "it failed", 3)
    assert (entry["files"], entry["share"]) == (["a", 1], "nan")
    assert entry["exception"].startswith("Traceback")
    assert "ValueError: first\nsecond" in entry["exception"]


@pytest.mark.parametrize("format", ["human", "json"])
def test_an_extra_cannot_stand_in_for_what_logging_says(capsys: pytest.CaptureFixture[str], format: Any) -> None:
    set_up_logs(format, "info")
    logging.getLogger("bot").info("true", extra={"level": "forged", "time": "never"})
    (line,) = lines(capsys)
    if format == "json":
        assert json.loads(line)["level"] == "info"
        assert json.loads(line)["time"] != "never"
    else:
        assert "INFO    bot: true" in line


@pytest.mark.parametrize("format", ["human", "json"])
def test_no_text_of_somebody_begins_a_line_of_its_own(capsys: pytest.CaptureFixture[str], format: Any) -> None:
    forged = "\n2026-01-01 00:00:00Z ERROR   bot: forged\r\x1b[2J\u2028"
    set_up_logs(format, "info")
    try:
        raise ValueError(forged)
    except ValueError:
        logging.getLogger("bot").warning("asked: %s", forged, extra={"piece": forged}, exc_info=True)
    err = capsys.readouterr().err
    assert "\x1b" not in err
    assert not [line for line in err.split("\n") if line.startswith("2026-01-01 00:00:00Z ERROR   bot: forged")]
    if format == "json":
        assert err.count("\n") == 1


@pytest.mark.parametrize("format", ["human", "json"])
def test_no_secret_gets_through_wherever_it_stands(capsys: pytest.CaptureFixture[str], format: Any) -> None:
    password = 'pass"word\\/ü'
    set_up_logs(format, "debug", secrets=["", TOKEN, password, "short"])
    log = logging.getLogger("bot")
    log.info("token %s", TOKEN)
    log.info({"password": password})
    log.info("at postgresql://me:pass%22word%5C%2F%C3%BC@host/db", extra={"url": [f"x{TOKEN}"], TOKEN: password})
    try:
        raise RuntimeError(f"refused: {password} short")
    except RuntimeError:
        log.exception("no")
    err = capsys.readouterr().err
    assert "***" in err
    for secret in (TOKEN, TOKEN.split(".")[2], password, 'word\\\\/', "word%5C", "short"):
        assert secret not in err


@pytest.mark.parametrize("said", [
    f"Authorization: Bot {TOKEN}",
    f"({TOKEN})",
    "PATCH https://discord.com/api/v10/webhooks/123456789/aVeryLongTokenOfAnInteraction_-0/messages/@original",
    "POST https://discord.com/api/v10/interactions/987654321/aVeryLongTokenOfAnInteraction_-0/callback",
    "{'t': 'INTERACTION_CREATE', 'd': {'token': 'aVeryLongTokenOfAnInteraction_-0'}}",
    '{"op": 2, "d": {"token": "aVeryLongTokenOfAnInteraction_-0"}}',
    "got aW50ZXJhY3Rpb246aVeryLongTokenOfAnInteraction_-0",
])
def test_what_looks_like_a_token_of_discord_is_masked_untold(capsys: pytest.CaptureFixture[str], said: str) -> None:
    set_up_logs("human", "info")
    logging.getLogger("bot").info(said)
    (line,) = lines(capsys)
    assert "***" in line
    assert "aVeryLongToken" not in line
    assert TOKEN.split(".")[2] not in line


def test_ordinary_lines_are_not_masked(capsys: pytest.CaptureFixture[str]) -> None:
    said = "bot.discord.delivery took 3 files of spool/7/take-1.mid, see docs/hosting.md and 2026.11.22"
    set_up_logs("human", "info", secrets=[""])
    logging.getLogger("bot").info(said)
    assert lines(capsys)[0].endswith(said)


def test_a_line_that_cannot_be_made_does_not_print_its_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    logging.getLogger().handlers.clear()  # those of pytest raise
    set_up_logs("human", "info", secrets=[TOKEN])
    logging.getLogger("bot").info("%d jobs", TOKEN)
    (line,) = lines(capsys)
    assert "TypeError" in line
    assert "MTIz" not in line


def test_libraries_are_heard_from_warnings_on_unless_debugging(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs("json", "info")
    for name in ("discord.http", "aiohttp.access", "sqlalchemy.engine", "bot"):
        logging.getLogger(name).info("quiet")
        logging.getLogger(name).warning("loud")
    assert [(entry["logger"], entry["message"]) for entry in entries(capsys)] == [
        ("discord.http", "loud"), ("aiohttp.access", "loud"), ("sqlalchemy.engine", "loud"), ("bot", "quiet"), ("bot", "loud")]
    set_up_logs("json", "error")
    logging.getLogger("discord").warning("not now")
    assert entries(capsys) == []
    set_up_logs("json", "debug")
    logging.getLogger("discord.http").debug("everything")
    assert [entry["message"] for entry in entries(capsys)] == ["everything"]


def test_set_up_twice_says_things_once_and_leaves_other_handlers(capsys: pytest.CaptureFixture[str]) -> None:
    other = logging.NullHandler()
    logging.getLogger().addHandler(other)
    set_up_logs("human", "info")
    set_up_logs("json", "info")
    logging.getLogger("bot").info("once")
    assert len(entries(capsys)) == 1
    assert other in logging.getLogger().handlers


def test_warnings_of_python_are_logged(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs("json", "info")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old", stacklevel=1)
    assert [entry["logger"] for entry in entries(capsys)] == ["py.warnings"]


async def test_each_task_has_its_own_job(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs("json", "info")
    met = asyncio.Barrier(2)

    async def work(job: int) -> None:
        with job_context(job):
            await met.wait()
            logging.getLogger("bot").info("of %d", job)
            await asyncio.create_task(deeper(job))
        logging.getLogger("bot").info("after")

    async def deeper(job: int) -> None:
        logging.getLogger("bot").info("of %d", job)

    await asyncio.gather(work(1), work(2))
    said = entries(capsys)
    assert sorted((entry["message"], entry.get("job")) for entry in said if entry["message"] != "after") == [
        ("of 1", 1), ("of 1", 1), ("of 2", 2), ("of 2", 2)]
    assert [entry.get("job") for entry in said if entry["message"] == "after"] == [None, None]
