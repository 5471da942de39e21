"""Fixtures of ledgers on real databases: SQLite files always, PostgreSQL where a server is given or can be started."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from bot.jobs.changes import Changes
from bot.jobs.ledger import Ledger
from bot.jobs.moderation import Moderation
from tests.jobs.building import Clock

POSTGRES = "KAPELLE_TEST_POSTGRES"  # URL of a database that may be emptied


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    if url := os.environ.get(POSTGRES):
        yield url
        return
    initdb, postgres = _program("initdb"), _program("postgres")
    if initdb is None or postgres is None:
        pytest.skip(f"no PostgreSQL server: initdb or postgres was not found, and {POSTGRES} is not set")
    user = "postgres" if os.geteuid() == 0 else None  # the server refuses to be run by root
    folder = Path(tempfile.mkdtemp(prefix="kapelle-postgres-"))
    if user:
        try:
            shutil.chown(folder, user)
        except LookupError:
            pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    server = None
    try:
        subprocess.run([initdb, "-D", folder / "data", "-U", "kapelle", "-A", "trust", "--no-sync", "-E", "UTF8"],
                       check=True, capture_output=True, user=user, cwd=folder)
        server = subprocess.Popen(
            [postgres, "-D", folder / "data", "-h", "127.0.0.1", "-p", str(port), "-k", folder, "-F"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, user=user, cwd=folder)
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert time.monotonic() < deadline, "the PostgreSQL server did not start"
                assert server.poll() is None, "the PostgreSQL server ended at once"
                time.sleep(0.05)
        yield f"postgresql://kapelle@127.0.0.1:{port}/postgres"
    finally:
        if server is not None:
            server.send_signal(signal.SIGINT)  # at once, whoever is still connected
            server.wait(timeout=30)
        shutil.rmtree(folder, ignore_errors=True)


def _program(name: str) -> str | None:
    found = shutil.which(name)
    installed = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return found or (str(installed[-1]) if installed else None)


@pytest.fixture(scope="session")
def empty_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger's file as it is made; copying it takes less time."""
    path = tmp_path_factory.mktemp("ledger") / "empty.sqlite"

    async def make() -> None:
        await (await Ledger.open(f"sqlite:///{path}", Changes())).close()

    asyncio.run(make())
    return path


@pytest.fixture
def sqlite_url(empty_sqlite: Path, tmp_path: Path) -> str:
    return f"sqlite:///{shutil.copy(empty_sqlite, tmp_path / 'ledger.sqlite')}"


@pytest.fixture
async def empty_postgres_url(postgres_url: str) -> str:
    engine = create_async_engine(postgres_url.replace("postgresql:", "postgresql+asyncpg:"), isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        for _ in range(1200):  # the connections of the test before may still be closing
            if not await connection.scalar(text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")):
                break
            await asyncio.sleep(0.05)
        tables = await connection.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"))
        if names := ", ".join(name for name in tables if name != "alembic_version"):
            await connection.execute(text(f"TRUNCATE {names} RESTART IDENTITY"))
    await engine.dispose()
    return postgres_url


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest) -> str:
    """Of an empty database."""
    return str(request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "empty_postgres_url"))


@pytest.fixture
def clock() -> Clock:
    return Clock(datetime(2026, 3, 1, 12, tzinfo=UTC))


@pytest.fixture
async def ledger(url: str, clock: Clock) -> AsyncIterator[Ledger]:
    opened = await Ledger.open(url, Changes(), now=clock)
    yield opened
    await opened.close()


@pytest.fixture
def moderation(ledger: Ledger) -> Moderation:
    return Moderation(ledger)
