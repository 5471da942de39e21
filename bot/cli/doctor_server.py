"""What `kapelle doctor` looks at for the server: token, application, permissions, ledger, disk, port."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import sqlite3
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from bot.cli.finding import Finding, found_or_told
from bot.settings import Settings
from models.errors import KapelleError

if TYPE_CHECKING:
    import aiohttp
    from sqlalchemy import URL

_API = "https://discord.com/api/v10"
_PORTAL = "https://discord.com/developers/applications"
_PATIENCE_S = 10.0
_SPACE_MB = 1000  # a take's files need about one
_UPDATE = "update Kapelle, or restore the backup from before its update (docs/hosting.md)"
# An application that is in few servers has the "limited" flag of each pair.
_PRIVILEGED = {"presence": 1 << 12 | 1 << 13, "server members": 1 << 14 | 1 << 15, "message content": 1 << 18 | 1 << 19}


class _UnansweredError(KapelleError):
    """Discord does not answer, or not as it should; and what to do."""

    def __init__(
            self, message: str, remedy: str = f"copy it again ({_PORTAL}, Bot, Reset Token), or check the network") -> None:
        super().__init__(message)
        self.remedy = remedy


@dataclass(frozen=True)
class _Asked:
    """What Discord knows of a token."""

    user: dict[str, Any]
    application: dict[str, Any]
    guilds: list[dict[str, Any]]
    commands: dict[int | None, Any]  # by guild; None: everywhere. What is no list tells why there is none


class _NewerError(Exception):
    """The ledger was written by a newer Kapelle."""


def examine_server(settings: Settings, *, online: bool) -> Iterator[Finding]:
    """Look at one thing after the other. `online` asks Discord about the token.

    Without a token nothing of it counts as needed: the machine may be for composing alone.
    """
    serving = settings.discord_token is not None
    yield from _discord(settings, online=online)
    yield _ledger(settings, needed=serving)
    yield _space(settings.data, needed=serving)
    yield _port(settings.health_host, settings.health_port, needed=serving)


# ---- Discord


def _discord(settings: Settings, *, online: bool) -> Iterator[Finding]:
    from bot.discord.invite import application_of
    token = settings.discord_token.get_secret_value().strip() if settings.discord_token else ""
    if not token:
        remedy = f"make an application at {_PORTAL} and put its bot's token into .env: DISCORD_TOKEN=..."
        yield Finding("token", "none is set; only `kapelle run` needs one", True, remedy, needed=False)
        return
    application = application_of(token)
    if application is None:
        remedy = f"copy it again: {_PORTAL}, Bot, Reset Token (not the client secret, not the public key)"
        yield Finding("token", "it does not look like the token of a bot", True, remedy)
        return
    if online:
        try:
            asked = asyncio.run(_asked(settings, token))
        except _UnansweredError as error:
            yield Finding("token", str(error), True, error.remedy)
            return
        except ImportError as error:
            yield Finding("token", str(error), True, f"{sys.executable} -m pip install discord.py")
            return
        application = int(asked.application["id"])
        yield Finding("token", f"valid: it belongs to {asked.user.get('username', 'a bot')}")
        yield _intents(int(asked.application.get("flags", 0)))
        yield _interactions(asked.application.get("interactions_endpoint_url"))
        yield _permissions(asked.guilds)
        yield _commands(settings.data, application, asked.commands)
    else:
        yield Finding("token", "looks like one; kapelle doctor --online asks Discord whether it is valid")
        for what in ("intents", "interactions", "permissions", "commands"):
            yield Finding(what, "kapelle doctor --online asks Discord", seen=False)
    yield found_or_told("invitation", lambda: _invitation(application), f"{sys.executable} -m pip install discord.py")


def _invitation(application: int) -> str:
    from bot.discord.invite import invite_url, permissions_asked_for
    return f"permissions {permissions_asked_for()}: {invite_url(application)}"


def _intents(flags: int) -> Finding:
    on = [name for name, bits in _PRIVILEGED.items() if flags & bits]
    found = f"on: {', '.join(on)}; none of them is needed, switch them off" if on else "no privileged one is on, none is needed"
    return Finding("intents", found)


def _interactions(address: object) -> Finding:
    """With such an address set, Discord sends slash commands there and the bot never hears of them."""
    remedy = f"empty the field Interactions Endpoint URL at {_PORTAL}, General Information"
    if address:
        return Finding("interactions", "go to a web address, not to the bot", True, remedy)
    return Finding("interactions", "come to the bot")


def _permissions(guilds: list[dict[str, Any]]) -> Finding:
    """What its roles let the bot do in the servers it is in; what a channel takes away again is seen when it is asked there."""
    try:
        from bot.discord.permissions import missing_of
    except ImportError as error:
        return Finding("permissions", str(error), True, f"{sys.executable} -m pip install discord.py")
    if not guilds:
        return Finding("permissions", "the bot is in no server yet", True, "open the address of the invitation", needed=False)
    lacking = [(guild.get("name", "?"), missing_of(int(guild["permissions"]))) for guild in guilds]
    found = "; ".join(f"{name}: without {', '.join(missing)}" for name, missing in lacking if missing)
    remedy = "give them to the bot's role (Server Settings, Roles), or open the address of the invitation again"
    if found:
        return Finding("permissions", found, True, remedy)
    return Finding("permissions", f"all that are needed, in {len(guilds)} server{'s' if len(guilds) > 1 else ''}")


def _commands(data: Path, application: int, there: dict[int | None, Any]) -> Finding:
    """Whether Discord has the commands that were registered last; members see no others."""
    try:
        from bot.discord.registration import digest, place_of, remembered
    except ImportError as error:
        return Finding("commands", str(error), True, f"{sys.executable} -m pip install discord.py")
    registered = remembered(data)
    wrong, found = [], []
    for guild_id, commands in there.items():
        where = "everywhere" if guild_id is None else f"server {guild_id}"
        before = registered.get(place_of(application, guild_id))
        if not isinstance(commands, list):
            wrong.append(f"{where}: {commands}")
        elif before is not None and before.sent and before.found != digest(commands):
            wrong.append(f"{where}: {len(commands)}, and not those that were registered")
        else:
            found.append(f"{len(commands)} {where}")
    if wrong:
        remedy = "start the bot again, it registers them anew; another program with this token may have changed them"
        return Finding("commands", "; ".join(wrong), True, remedy)
    if not any(there.values()):
        return Finding("commands", "none is registered yet", True, "kapelle run registers them", needed=False)
    return Finding("commands", f"registered: {', '.join(found)}")


async def _asked(settings: Settings, token: str) -> _Asked:
    """Raises _UnansweredError when Discord does not know the token or cannot be asked."""
    import aiohttp

    from bot.discord.connection import connector
    async with aiohttp.ClientSession(
            connector=connector(settings), timeout=aiohttp.ClientTimeout(total=_PATIENCE_S),
            headers={"Authorization": f"Bot {token}", "User-Agent": "DiscordBot (kapelle, doctor)"}) as session:
        user, about, guilds = [await _answer(session, path) for path in (
            "/users/@me", "/applications/@me", "/users/@me/guilds")]
        for one in (user, about):
            if not isinstance(one, dict) or not str(one.get("id", "")).isdecimal():
                raise _UnansweredError("Discord's answer about it has no id")
        if not isinstance(guilds, list) or not all(
                isinstance(guild, dict) and str(guild.get("permissions", "")).isdecimal() for guild in guilds):
            raise _UnansweredError("Discord's answer about its servers has no permissions")
        commands: dict[int | None, Any] = {}
        for guild_id in settings.guilds or (None,):
            place = "" if guild_id is None else f"/guilds/{guild_id}"
            try:
                commands[guild_id] = await _answer(session, f"/applications/{about['id']}{place}/commands")
            except _UnansweredError as error:  # a server that the bot is not in
                commands[guild_id] = str(error)
    return _Asked(user, about, guilds, commands)


async def _answer(session: aiohttp.ClientSession, path: str) -> Any:
    import aiohttp

    from bot.discord.retry import banned_for_s
    try:
        async with session.get(_API + path) as response:
            if response.status == 401:
                raise _UnansweredError("Discord does not know it; it may have been reset")
            if ban_s := banned_for_s(response.status, response.headers):
                raise _UnansweredError(
                    f"not known: Cloudflare turns this machine's address away from Discord for {ban_s / 60:.0f} min, because "
                    "too many requests from it failed",
                    "wait that long, nothing else ends it; then look for what sends them: a bot that is started again and "
                    "again, another program at this address")
            if response.status != 200:
                raise _UnansweredError(f"Discord answers {response.status} when asked about it")
            return await response.json()
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        raise _UnansweredError(f"Discord cannot be asked about it ({type(error).__name__})") from error


# ---- the machine


def _ledger(settings: Settings, *, needed: bool) -> Finding:
    remedy = "let KAPELLE_DATABASE be a URL as docs/hosting.md has it, or leave it empty for a file in the data folder"
    try:
        from sqlalchemy import make_url
        from sqlalchemy.exc import ArgumentError
    except ImportError as error:
        return Finding("ledger", str(error), True, f"{sys.executable} -m pip install sqlalchemy aiosqlite alembic", needed)
    try:
        url = make_url(settings.database_url)
    except (ArgumentError, ValueError):  # not shown: it may hold a password
        return Finding("ledger", "KAPELLE_DATABASE is not a URL", True, remedy, needed)
    kind = url.get_backend_name()
    if kind == "sqlite" and url.database and url.database != ":memory:":
        path = Path(url.database)
        restore = "restore it from a backup, or move it away to begin with an empty one (docs/hosting.md)"
        writable = f"give this user permission to write to {path.parent} and all in it, or let KAPELLE_DATA name another folder"
        try:
            _check_writable(path)
        except KapelleError as error:
            return Finding("ledger", str(error), True, writable, needed)
        try:
            return Finding("ledger", _look_into(path))
        except _NewerError as error:
            return Finding("ledger", str(error), True, _UPDATE, needed)
        except KapelleError as error:
            return Finding("ledger", str(error), True, restore, needed)
    if kind in ("postgresql", "postgres"):
        check = "start the server, check name, password and rights of the user in KAPELLE_DATABASE"
        try:
            return found_or_told("ledger", lambda: asyncio.run(_greet(url)), check, needed=needed)
        except _NewerError as error:
            return Finding("ledger", str(error), True, _UPDATE, needed)
    return Finding("ledger", f"a database of kind {kind} cannot be used", True, remedy, needed)


def _check_writable(path: Path) -> None:
    """Raises KapelleError where this user may not write a SQLite ledger, or not beside it."""
    _nearest_folder(path.parent)
    for one in (path, *(path.with_name(path.name + suffix) for suffix in ("-wal", "-shm", ".lock"))):
        if one.exists() and not os.access(one, os.R_OK | os.W_OK):
            raise KapelleError(f"there is no permission to write to {one}")


def _schema(found: str | None) -> str:
    """The version of a ledger's tables. Raises KapelleError for one that this Kapelle does not know."""
    from alembic.script import ScriptDirectory

    from bot.jobs.database import MIGRATIONS
    scripts = ScriptDirectory(str(MIGRATIONS))
    if found is None:
        return "schema none"
    if found not in {script.revision for script in scripts.walk_revisions()}:
        raise _NewerError(f"it was written by a newer Kapelle (schema {found})")
    newest = scripts.get_current_head()
    return f"schema {found}" if found == newest else f"schema {found}, which the next start brings to {newest}"


def _look_into(path: Path) -> str:
    """What a SQLite ledger is; nothing is written or migrated. Raises KapelleError when it cannot be used."""
    if not path.exists():
        return f"{path} will be made at the first start"
    # Without a write-ahead log beside it nobody has it open. To read it as unchangeable then keeps SQLite from making
    # files beside it, which would belong to whoever asks and not to the bot.
    quiet = not path.with_name(path.name + "-wal").exists()
    address = f"file:{quote(str(path.absolute()))}?mode=ro{'&immutable=1' if quiet else ''}"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=2.0)) as connection:
            condition = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if condition != "ok":
                raise KapelleError(f"{path} is damaged ({condition})")
            schema = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.Error as error:
        raise KapelleError(f"{path} is no ledger that can be read ({error})") from error
    return f"{path}, {_schema(schema[0] if schema else None)}, {path.stat().st_size / 1e6:.1f} MB"


async def _greet(url: URL) -> str:
    """Connect to a server and leave again. Raises KapelleError when it does not let us in."""
    from sqlalchemy import text
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.ext.asyncio import create_async_engine
    shown = url.render_as_string(hide_password=True)
    engine = create_async_engine(url.set(drivername="postgresql+asyncpg"), hide_parameters=True)
    try:
        async with asyncio.timeout(_PATIENCE_S), engine.connect() as connection:
            release = await connection.scalar(text("SHOW server_version"))
            made = await connection.scalar(text("SELECT to_regclass('alembic_version') IS NOT NULL"))
            found = await connection.scalar(text("SELECT version_num FROM alembic_version")) if made else None
            may_write = await connection.scalar(text(
                "SELECT has_table_privilege('jobs', 'INSERT')" if made else
                "SELECT has_schema_privilege(current_schema(), 'CREATE')"))
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise KapelleError(f"{shown} cannot be reached ({first})") from error
    finally:
        await engine.dispose()
    if not may_write:
        raise KapelleError(f"{shown}: its user may not write there")
    return f"{shown}, PostgreSQL {release}, {_schema(found) if made else 'will be set up at the first start'}"


def _space(data: Path, *, needed: bool) -> Finding:
    def look() -> str:
        free = shutil.disk_usage(_nearest_folder(data.absolute())).free / 1e6
        if free < _SPACE_MB:
            raise KapelleError(f"{free:.0f} MB left in {data.absolute()}, {_SPACE_MB} MB are wanted")
        return f"{free / 1000:.1f} GB left for the takes of members in {data.absolute()}"

    return found_or_told("data folder", look, "free some space, or let KAPELLE_DATA name another folder", needed=needed)


def _nearest_folder(folder: Path) -> Path:
    """The folder, or the first one above it that is there. Raises KapelleError when this user may not write to it."""
    folder = folder.absolute()
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        raise KapelleError(f"{folder} is a file; a folder is needed")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise KapelleError(f"there is no permission to write to {folder}")
    return folder


def _port(host: str, port: int, *, needed: bool) -> Finding:
    if not port:
        return Finding("health port", "none is wanted")

    def look() -> str:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            for family, kind, protocol, _, address in found:
                with closing(socket.socket(family, kind, protocol)) as trial:
                    trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    trial.bind(address)
        except OSError as error:
            if (state := _health_at(host, port)) is not None:
                return f"{host}, port {port}: Kapelle answers there, {state}"
            raise KapelleError(f"{host}, port {port} cannot be had ({error.strerror or error})") from error
        return f"{host}, port {port} is free"

    remedy = "let KAPELLE_HEALTH_PORT name another port (0: none), or correct KAPELLE_HEALTH_HOST"
    return found_or_told("health port", look, remedy, needed=needed)


def _health_at(host: str, port: int) -> str | None:
    """How the bot that runs there is; None where something else listens."""
    place = f"[{host}]" if ":" in host else host
    try:
        with urllib.request.urlopen(f"http://{place}:{port}/healthz", timeout=4.0) as response:
            said = json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            try:
                said = json.load(error)
            except ValueError:
                return None
    except (OSError, ValueError):
        return None
    if not isinstance(said, dict) or "fit" not in said:
        return None
    return "fit" if said["fit"] else "not fit"
