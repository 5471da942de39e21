"""The database below the ledger: opening it, keeping others out, transactions, and what its errors mean.

All that differs between SQLite and PostgreSQL is here.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, create_async_engine

from models.errors import KapelleError

MIGRATIONS = Path(__file__).with_name("migrations")
_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}
_BUSY_S = 5.0  # how long a write waits for another program that holds the file
_ADVISORY_LOCK = 0x4B6170656C6C65  # "Kapelle"


class LedgerError(KapelleError):
    """The ledger cannot be opened, read or written; says what to do. Its file is left as it is."""


class Database:
    """A database that this process alone writes to, at the newest schema."""

    def __init__(self, engine: AsyncEngine, shown: str) -> None:
        self._engine = engine
        self._writer = engine.execution_options(writes=True)
        self._shown = shown  # how it is called in messages, without a password
        self._writing = asyncio.Lock()
        self._claim: IO[str] | AsyncConnection | None = None

    @classmethod
    async def open(cls, url: str) -> Database:
        """Claim it, check it, and bring it to the newest schema. Raises LedgerError."""
        parsed = _parsed(url)
        path = _path(parsed)
        shown = str(path) if path else parsed.render_as_string(hide_password=True)
        # hide_parameters: what members wrote is not to be in tracebacks.
        if path:
            timeout = {} if "timeout" in parsed.query else {"timeout": _BUSY_S}
            engine = create_async_engine(parsed, connect_args=timeout, hide_parameters=True)
            _set_up_sqlite(engine)
        else:
            engine = _server_engine(parsed)
        database = cls(engine, shown)
        try:
            with database.explained():
                database._claim = await asyncio.to_thread(_claim_file, path) if path else await database._claim_server()
                async with database._writer.begin() as connection:
                    if path and (found := await connection.scalar(text("PRAGMA quick_check(1)"))) != "ok":
                        raise LedgerError(_damaged(shown, str(found)))
                    await connection.run_sync(_migrate, shown)
        except BaseException:
            await database.close()
            raise
        return database

    async def close(self) -> None:
        """End all connections; a SQLite connection's thread would otherwise keep the process alive."""
        async with self._writing:
            if isinstance(self._claim, AsyncConnection):
                with suppress(DBAPIError, OSError):  # the server may be gone already
                    await self._claim.close()
            await self._engine.dispose()
            if self._claim is not None and not isinstance(self._claim, AsyncConnection):
                self._claim.close()
            self._claim = None

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncSession]:
        """A view of one moment. Raises LedgerError."""
        with self.explained():
            async with AsyncSession(self._engine, expire_on_commit=False) as session:
                yield session

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncSession]:
        """A transaction, one at a time; it is committed when the block ends well. Raises LedgerError."""
        with self.explained():
            async with self._writing, AsyncSession(self._writer, expire_on_commit=False) as session, session.begin():
                yield session

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turns what the database and its driver raise into a LedgerError; mistakes in our own SQL stay what they are."""
        try:
            yield
        except (IntegrityError, ProgrammingError):
            raise
        except DBAPIError as error:
            raise LedgerError(self._meaning(str(error.orig))) from error
        except (OSError, PoolTimeoutError) as error:
            raise LedgerError(self._meaning(str(error))) from error
        except Exception as error:
            if not type(error).__module__.startswith("asyncpg."):
                raise
            raise LedgerError(self._meaning(str(error))) from error  # while it connects, its errors come as they are

    def _meaning(self, reason: str) -> str:
        told, shown = reason.lower(), self._shown
        if "malformed" in told or "not a database" in told:
            return _damaged(shown, reason)
        if "locked" in told or "busy" in told:
            return f"another program holds the ledger {shown} ({reason}); close it and try again"
        if "disk is full" in told or "no space left" in told or "disk full" in told:
            return f"there is no space left for the ledger {shown} ({reason}); free some and try again"
        if any(sign in told for sign in ("readonly", "read-only", "unable to open", "permission denied")):
            return f"the ledger {shown} cannot be written ({reason}); check the owner and permissions of its folder"
        return f"the ledger {shown} cannot be used ({reason}); check KAPELLE_DATABASE, and that its server or disk is there"

    async def _claim_server(self) -> AsyncConnection:
        connection = await self._engine.connect()
        try:
            connection = await connection.execution_options(isolation_level="AUTOCOMMIT")
            if not await connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), {"key": _ADVISORY_LOCK}):
                raise LedgerError(f"another bot uses the ledger {self._shown}; stop it first")
        except BaseException:
            await connection.close()
            raise
        return connection


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
        backend = parsed.drivername.partition("+")[0]
        return parsed.set(drivername=_DRIVERS[backend])
    except (ArgumentError, KeyError, ValueError) as error:  # the URL is not shown, it may hold a password
        raise LedgerError("KAPELLE_DATABASE is not a URL that can be used; give sqlite:///path/of/a/file or "
                          "postgresql://user:password@host/name, or leave it empty") from error


def _path(url: URL) -> Path | None:
    """The file of a SQLite database; None for a server."""
    if url.get_backend_name() != "sqlite":
        return None
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise LedgerError("the ledger needs a file; give KAPELLE_DATABASE as sqlite:///path/of/a/file, or leave it empty")
    return Path(url.database)


def _claim_file(path: Path) -> IO[str]:
    """Lock the file beside the database for as long as this process lives, however it ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".lock")
    held = os.fdopen(os.open(beside, os.O_RDWR | os.O_CREAT, 0o600), "r+")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        process = held.read(20).strip()
        held.close()
        raise LedgerError(f"another bot{f' (process {process})' if process else ''} uses the ledger {path}; "
                          "stop it first") from error
    except BaseException:
        held.close()
        raise
    held.truncate(0)
    held.write(str(os.getpid()))
    held.flush()
    return held


def _server_engine(url: URL) -> AsyncEngine:
    try:
        return create_async_engine(url, hide_parameters=True, pool_pre_ping=True)
    except ModuleNotFoundError as error:
        raise LedgerError(f"a ledger on a server needs the Python package {error.name}; install it with pip") from error


def _set_up_sqlite(engine: AsyncEngine) -> None:
    @event.listens_for(engine.sync_engine, "connect")
    def prepare(connection: Any, record: object) -> None:
        connection.isolation_level = None  # we begin transactions ourselves, below
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        # A write that began as a read could find that somebody else has written meanwhile, and would fail at once.
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _migrate(connection: Connection, shown: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    scripts = ScriptDirectory.from_config(config)
    known = {script.revision for script in scripts.walk_revisions()}
    current = MigrationContext.configure(connection).get_current_heads()
    if set(current) == set(scripts.get_heads()):
        return
    if unknown := set(current) - known:
        raise LedgerError(f"the ledger {shown} was written by a newer Kapelle (schema {', '.join(sorted(unknown))}); "
                          "update Kapelle, or restore the backup from before its update")
    command.upgrade(config, "head")


def _damaged(shown: str, reason: str) -> str:
    return (f"the ledger {shown} is damaged ({reason}); it was left as it is: restore a backup, "
            "or move it elsewhere to begin with an empty one")
