"""Opening a ledger: its schema, who else has it open, and what is said when something is wrong with it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, event, text
from sqlalchemy.pool import Pool

from bot.jobs.changes import Changes
from bot.jobs.database import MIGRATIONS, LedgerError
from bot.jobs.ledger import Ledger
from bot.jobs.records import JobState
from bot.jobs.tables import Base
from tests.jobs.building import ask, service_of

ROOT = Path(__file__).parents[2]


async def opened(url: str) -> Ledger:
    return await Ledger.open(url, Changes())


async def why(url: str) -> str:
    """Why it cannot be opened."""
    with pytest.raises(LedgerError) as error:
        await opened(url)
    return str(error.value)


def path_of(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


async def test_migrations_make_the_tables_there_are(ledger: Ledger) -> None:
    async with ledger.read() as session:
        connection = await session.connection()
        difference = await connection.run_sync(
            lambda sync: compare_metadata(MigrationContext.configure(sync), Base.metadata))
    assert difference == []


async def test_a_ledger_is_made_with_its_folder_and_found_again(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new % folder' / 'ledger.sqlite'}"
    first = await opened(url)
    number = (await ask(service_of(first))).job.id
    await first.close()
    second = await opened(url.replace("sqlite:", "sqlite+aiosqlite:"))
    assert await second.count(JobState.QUEUED) == 1
    assert await second.job(number)
    await second.close()


async def test_sqlite_is_set_up_to_lose_nothing(sqlite_url: str) -> None:
    ledger = await opened(sqlite_url)
    for session_of in (ledger.read(), ledger._database.write()):
        async with session_of as session:
            settings = {name: await session.scalar(text(f"PRAGMA {name}"))
                        for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")}
        assert settings == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 5000}
    await ledger.close()


async def test_no_thread_is_left_when_it_is_closed(sqlite_url: str) -> None:
    before = set(threading.enumerate())
    ledger = await opened(sqlite_url)
    await asyncio.gather(*(ledger.count() for _ in range(5)))
    assert set(threading.enumerate()) - before
    await ledger.close()
    await ledger.close()
    async with asyncio.timeout(60):
        while [thread for thread in set(threading.enumerate()) - before if "asyncio" not in thread.name]:
            await asyncio.sleep(0.01)


async def test_a_second_bot_is_refused(url: str) -> None:
    first = await opened(url)
    said = await why(url)
    assert "another bot" in said
    assert "stop it first" in said
    if url.startswith("sqlite"):
        assert f"process {os.getpid()}" in said
    assert await first.count() == 0
    await first.close()
    await (await opened(url)).close()


KILLED = """
import asyncio, sys
from bot.jobs.changes import Changes
from bot.jobs.ledger import Ledger
from tests.jobs.building import ask, service_of

async def main():
    ledger = await Ledger.open(sys.argv[1], Changes())
    service = service_of(ledger)
    print(ledger.now().year, flush=True)
    while True:
        print((await ask(service)).job.id, flush=True)

asyncio.run(main())
"""


async def test_a_killed_bot_leaves_every_accepted_job_whole(sqlite_url: str) -> None:
    bot = subprocess.Popen([sys.executable, "-c", KILLED, sqlite_url], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert bot.stdout
    lines = [bot.stdout.readline() for _ in range(6)]
    assert "another bot" in await why(sqlite_url)
    bot.send_signal(signal.SIGKILL)
    rest = bot.stdout.read().splitlines()
    bot.wait()
    accepted = [int(line) for line in [*lines[1:], *rest] if line.strip()]
    ledger = await opened(sqlite_url)  # nothing has to be cleared away first
    jobs = await ledger.jobs(JobState.QUEUED)
    assert {*accepted} <= {job.id for job in jobs}
    assert all(len(job.takes) == 2 for job in jobs)
    async with ledger.read() as session:
        assert await session.scalar(text("SELECT sum(jobs) FROM quota_use")) == len(jobs)
    await ledger.close()


async def test_the_bots_side_never_loads_torch_or_discord() -> None:
    loads = "import sys, bot.jobs.moderation, bot.jobs.service; sys.exit(bool({'torch', 'discord'} & set(sys.modules)))"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", loads, cwd=ROOT)
    assert await process.wait() == 0


@pytest.mark.parametrize("spoil", ["garbage", "torn", "one page"])
async def test_a_damaged_file_is_named_and_kept(sqlite_url: str, spoil: str) -> None:
    path = path_of(sqlite_url)
    if spoil == "garbage":
        path.write_bytes(b"this was a ledger once\n" * 400)
    else:
        ledger = await opened(sqlite_url)
        for _ in range(3):
            await ask(service_of(ledger))
        await ledger.close()
        whole = path.read_bytes()
        torn = 4096 if spoil == "one page" else len(whole) - 8192  # the last one is not read on the way in
        path.write_bytes(whole[:-torn] + b"\xff" * torn)
    spoilt = path.read_bytes()
    said = await why(sqlite_url)
    assert "is damaged" in said
    assert str(path) in said
    assert "restore a backup" in said
    assert path.read_bytes() == spoilt


async def test_a_ledger_of_the_first_schema_is_brought_to_the_newest_with_its_jobs(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(text(
            "INSERT INTO jobs (guild_id, channel_id, thread_id, owner_id, language, kind, engine, parameters, inputs, "
            "priority, state, attempt, strikes, alone, outcome, told, created_at) VALUES (1, 2, 3, 4, 'de', 'midi', 'pocket', "
            """'{"title": "x", "takes": 1, "seed": 1}', '{}', 0, 'done', 1, 0, 0, '{}', 1, '2026-01-01 00:00:00')"""))
    engine.dispose()
    ledger = await opened(f"sqlite:///{path}")
    job, = await ledger.jobs()
    assert (job.thread_id, job.private) == (3, None)  # nobody knows what kind of thread it is
    await ledger.close()


async def test_a_newer_schema_is_left_to_a_newer_kapelle(sqlite_url: str) -> None:
    with sqlite3.connect(path_of(sqlite_url)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0999'")
    connection.close()
    said = await why(sqlite_url)
    assert "newer Kapelle (schema 0999)" in said
    with sqlite3.connect(path_of(sqlite_url)) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("0999",)]
    connection.close()


async def test_a_write_waits_for_another_program_and_then_says_who_is_in_the_way(sqlite_url: str) -> None:
    ledger = await opened(f"{sqlite_url}?timeout=0.2")
    await ask(service_of(ledger))
    other = sqlite3.connect(path_of(sqlite_url), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(LedgerError, match="another program holds the ledger"):
        await ask(service_of(ledger))
    assert await ledger.count() == 1  # reading goes on
    assert "another program holds" in await why_without_lock(ledger, f"{sqlite_url}?timeout=0.2")
    other.execute("ROLLBACK")
    other.close()
    ledger = await opened(sqlite_url)
    await ask(service_of(ledger))
    await ledger.close()


async def why_without_lock(ledger: Ledger, url: str) -> str:
    await ledger.close()
    return await why(url)


async def test_a_full_disk_is_said_and_what_was_written_stays(sqlite_url: str) -> None:
    def no_more_pages(connection: Any, record: object) -> None:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA max_page_count = {path_of(sqlite_url).stat().st_size // 4096 + 1}")
        cursor.close()

    event.listen(Pool, "connect", no_more_pages)
    try:
        ledger = await opened(sqlite_url)
        service = service_of(ledger)
        accepted = 0
        with pytest.raises(LedgerError, match="no space left for the ledger"):  # noqa: PT012  (which one is the last is not known)
            for _ in range(200):
                await ask(service, takes=16)
                accepted += 1
        assert accepted
        assert await ledger.count(JobState.QUEUED) == accepted
        await ledger.close()
    finally:
        event.remove(Pool, "connect", no_more_pages)


async def test_a_folder_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot be" in await why(f"sqlite:///{tmp_path / 'file' / 'ledger.sqlite'}")
    (tmp_path / "folder.sqlite").mkdir()
    assert "cannot be" in await why(f"sqlite:///{tmp_path / 'folder.sqlite'}")


@pytest.mark.parametrize("url", ["", "sqlite://", "sqlite:///:memory:", "mysql://user:hunter2@host/name", "nonsense hunter2"])
async def test_urls_that_cannot_be_used_are_refused_without_being_shown(url: str) -> None:
    said = await why(url)
    assert "KAPELLE_DATABASE" in said
    assert "hunter2" not in said


async def test_a_server_that_is_away_is_named_without_its_password() -> None:
    said = await why("postgresql://kapelle:hunter2@127.0.0.1:9/kapelle")
    assert "127.0.0.1" in said
    assert "hunter2" not in said


async def test_a_database_a_server_does_not_have_is_said(postgres_url: str) -> None:
    assert "absent" in await why(f"{postgres_url.rsplit('/', 1)[0]}/absent")


async def test_prompts_do_not_reach_errors_or_logs(sqlite_url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    ledger = await opened(sqlite_url)
    service = service_of(ledger)
    await ask(service, title="Geheim")
    with sqlite3.connect(path_of(sqlite_url)) as connection:
        connection.execute("DROP TABLE takes")
    connection.close()
    with pytest.raises(LedgerError) as error:
        await ask(service, title="Geheim")
    await ledger.close()
    assert "Geheim" not in f"{error.value} {error.value.__cause__}"
    loud = [record for record in caplog.records if record.levelno >= logging.INFO]
    assert "Geheim" not in "".join(record.getMessage() for record in loud)
