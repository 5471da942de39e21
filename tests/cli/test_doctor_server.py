"""What the doctor says about the server: token, application, ledger, disk, port. Discord is a server on loopback."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import socket
import sqlite3
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import discord
import pytest
import trustme
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from bot.discord.invite import application_of, invite_url, permissions_asked_for
from bot.discord.registration import digest
from bot.settings import read_settings
from models.errors import InputError
from tests.jobs.ledgers import postgres_url  # noqa: F401  (a fixture)

APPLICATION = 123456789012345678
TOKEN = ".".join((base64.urlsafe_b64encode(str(APPLICATION).encode()).decode().rstrip("="), "GabcDE", "x" * 38))
NO_RIGHTS = pytest.mark.skipif(os.geteuid() == 0, reason="an administrator may write everywhere")


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("KAPELLE_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("DISCORD_TOKEN", raising=False)
    monkeypatch.setenv("KAPELLE_HEALTH_PORT", "0")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch and the compiler have tests of their own, and take seconds."""
    from bot.cli import doctor
    from bot.cli.finding import Finding
    monkeypatch.setattr(doctor, "_torch", lambda: iter(()))
    monkeypatch.setattr(doctor, "_compiler", lambda: Finding("decoding step", "not looked at"))


@pytest.fixture
def examined(kapelle: Any) -> Callable[..., tuple[int, dict[str, tuple[str, str, str]]]]:
    """Run the doctor: its exit code, and by what was looked at the mark, what was found, and the remedy."""

    def run(*options: str) -> tuple[int, dict[str, tuple[str, str, str]]]:
        ended = kapelle("doctor", *options)
        assert TOKEN not in ended.out + "".join(ended.err)
        found = {}
        lines = ended.out.splitlines()
        for number, line in enumerate(lines):
            what = line[10:29].strip()
            if what:
                remedy = lines[number + 1][29:] if number + 1 < len(lines) and not lines[number + 1][10:29].strip() else ""
                found[what] = (line[:10].strip(), line[29:], remedy.removeprefix("to get it: "))
        return ended.code, found

    return run


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISCORD_TOKEN", TOKEN)


class Discord:
    """Answers what is asked about a token, and remembers what it was asked with."""

    def __init__(self, folder: Path) -> None:
        self.status = 200
        self.user: Any = {"id": str(APPLICATION), "username": "kapelle"}
        self.about: Any = {"id": str(APPLICATION), "flags": 0}
        self.guilds: Any = [{"id": "1", "name": "7b", "permissions": str(permissions_asked_for())}]
        self.commands: Any = []
        self.headers: dict[str, str] = {"Via": "1.1 google"}
        self.asked: list[tuple[str, str, str]] = []
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(folder / "ca.pem"))
        self.ca = folder / "ca.pem"
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("discord.com").configure_cert(context)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append((self.headers["Host"], self.path, self.headers["Authorization"]))
                said = {"users/@me": outer.user, "applications/@me": outer.about, "users/@me/guilds": outer.guilds}
                said[f"applications/{outer.about['id']}/commands"] = outer.commands
                body = json.dumps(said[self.path.removeprefix("/api/v10/")]).encode()
                self.send_response(outer.status)
                for name, value in outer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.address = f"127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def double(tmp_path: Path, token: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Discord]:
    there = Discord(tmp_path)
    monkeypatch.setenv("KAPELLE_DISCORD_ADDRESS", there.address)
    monkeypatch.setenv("KAPELLE_DISCORD_CA", str(there.ca))
    thread = threading.Thread(target=there.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield there
    there.server.shutdown()
    thread.join()
    there.server.server_close()


# ---- token and application


def test_without_a_token_composing_is_all_that_is_needed(examined: Any) -> None:
    code, found = examined()
    mark, said, remedy = found["token"]
    assert (code, mark) == (0, "not there")
    assert "kapelle run" in said
    assert "DISCORD_TOKEN=" in remedy


@pytest.mark.parametrize("wrong", ["hunter2-hunter2", "a.b.c", "x" * 70, f"{TOKEN}.more", "bm90IGRpZ2l0cw.GabcDE." + "x" * 38])
def test_what_is_no_token_is_missing(examined: Any, monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    monkeypatch.setenv("DISCORD_TOKEN", wrong)
    code, found = examined()
    assert code == 1
    assert found["token"][0] == "MISSING"
    assert "Reset Token" in found["token"][2]
    assert wrong not in str(found)


def test_the_invitation_asks_for_what_is_needed(examined: Any, token: None) -> None:
    code, found = examined()
    assert code == 0
    assert found["token"][:2] == ("ok", "looks like one; kapelle doctor --online asks Discord whether it is valid")
    wanted = discord.Permissions(
        view_channel=True, send_messages=True, send_messages_in_threads=True, create_public_threads=True,
        attach_files=True, read_message_history=True)
    address = (f"https://discord.com/oauth2/authorize?client_id={APPLICATION}&scope=bot+applications.commands"
               f"&permissions={wanted.value}")
    assert found["invitation"] == ("ok", f"permissions {wanted.value}: {address}", "")


def test_an_application_is_read_from_a_token() -> None:
    assert application_of(TOKEN) == APPLICATION
    assert application_of(TOKEN.replace("MTIz", "M!Iz")) is None
    assert str(permissions_asked_for()) in invite_url(APPLICATION)


def test_online_a_valid_token_is_known_by_its_name(examined: Any, double: Discord) -> None:
    double.about["id"] = "999999999999999999"  # an old application's id is not its bot's
    code, found = examined("--online")
    assert code == 0
    assert found["token"] == ("ok", "valid: it belongs to kapelle", "")
    assert found["intents"] == ("ok", "no privileged one is on, none is needed", "")
    assert found["interactions"][0] == "ok"
    assert "client_id=999999999999999999&" in found["invitation"][1]
    assert found["permissions"] == ("ok", "all that are needed, in 1 server", "")
    assert double.asked == [("discord.com", f"/api/v10/{path}", f"Bot {TOKEN}") for path in (
        "users/@me", "applications/@me", "users/@me/guilds", "applications/999999999999999999/commands")]


def test_online_commands_that_vanished_are_noticed(examined: Any, double: Discord) -> None:
    """Another program with the same token has emptied them."""
    _, found = examined("--online")
    assert found["commands"] == ("not there", "none is registered yet", "kapelle run registers them")
    double.commands = [{"id": "7", "name": "midi", "version": "1"}]
    data = read_settings().data
    data.mkdir(parents=True, exist_ok=True)
    (data / "commands.json").write_text(json.dumps(
        {f"{APPLICATION}/everywhere": {"sent": "x", "found": digest(double.commands)}}))
    code, found = examined("--online")
    assert (code, found["commands"]) == (0, ("ok", "registered: 1 everywhere", ""))
    double.commands = []
    code, found = examined("--online")
    assert code == 1
    assert found["commands"][:2] == ("MISSING", "everywhere: 0, and not those that were registered")
    assert "start the bot again" in found["commands"][2]


def test_online_cloudflares_ban_is_named(examined: Any, double: Discord) -> None:
    double.status, double.headers = 429, {"Retry-After": "3600"}
    code, found = examined("--online")
    assert code == 1
    assert "Cloudflare turns this machine's address away from Discord for 60 min" in found["token"][1]
    assert "wait that long" in found["token"][2]
    assert len(double.asked) == 1


def test_online_permissions_that_are_missing_are_named(examined: Any, double: Discord) -> None:
    lacking = discord.Permissions(permissions_asked_for())
    lacking.update(attach_files=False, create_public_threads=False)
    double.guilds += [{"id": "2", "name": "8a", "permissions": str(lacking.value)},
                      {"id": "3", "name": "9c", "permissions": str(discord.Permissions(administrator=True).value)}]
    code, found = examined("--online")
    assert code == 1
    assert found["permissions"][:2] == ("MISSING", "8a: without Create Public Threads, Attach Files")
    assert "invitation" in found["permissions"][2]


def test_online_a_bot_that_nobody_invited_is_told_so(examined: Any, double: Discord) -> None:
    double.guilds = []
    code, found = examined("--online")
    assert code == 0
    assert found["permissions"][:2] == ("not there", "the bot is in no server yet")


def test_what_nobody_looked_at_is_not_called_well(examined: Any, token: None) -> None:
    code, found = examined()
    assert code == 0
    assert {what: found[what][0] for what in ("intents", "interactions", "permissions")} == dict.fromkeys(
        ("intents", "interactions", "permissions"), "not seen")


def test_online_privileged_intents_that_are_on_are_named(examined: Any, double: Discord) -> None:
    double.about["flags"] = 1 << 15 | 1 << 18 | 1 << 23
    _, found = examined("--online")
    assert found["intents"][1].startswith("on: server members, message content;")


def test_online_commands_that_go_elsewhere_are_noticed(examined: Any, double: Discord) -> None:
    double.about["interactions_endpoint_url"] = "https://example.org/interactions"
    code, found = examined("--online")
    assert code == 1
    assert found["interactions"][0] == "MISSING"
    assert "Interactions Endpoint URL" in found["interactions"][2]


@pytest.mark.parametrize(("status", "user", "said"), [
    (401, {}, "does not know it"), (503, {}, "answers 503"), (200, ["no"], "has no id"), (200, {"id": "x"}, "has no id"),
    (200, {"id": "1"}, "has no permissions")])
def test_online_a_token_that_discord_does_not_take_is_missing(
    examined: Any, double: Discord, status: int, user: Any, said: str,
) -> None:
    double.status, double.user = status, user
    double.guilds[0]["permissions"] = "all"
    code, found = examined("--online")
    assert code == 1
    assert found["token"][0] == "MISSING"
    assert said in found["token"][1]
    assert found["token"][2]


def test_online_without_an_answer_says_so(examined: Any, token: None, double: Discord, monkeypatch: Any) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as nobody:
        monkeypatch.setenv("KAPELLE_DISCORD_ADDRESS", f"127.0.0.1:{nobody.getsockname()[1]}")
    code, found = examined("--online")
    assert code == 1
    assert "cannot be asked" in found["token"][1]


# ---- ledger


def test_a_ledger_that_is_not_there_will_be_made_and_is_not_made_now(examined: Any, token: None, home: Path) -> None:
    code, found = examined()
    assert code == 0
    assert found["ledger"][:2] == ("ok", f"{home / 'data' / 'ledger.sqlite'} will be made at the first start")
    assert list(home.iterdir()) == []


def _ledger(home: Path) -> Path:
    path = home / "data" / "ledger.sqlite"
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE alembic_version (version_num)")
        connection.execute("INSERT INTO alembic_version VALUES ('0001')")
        connection.commit()
    return path


def test_a_ledger_is_read_and_nothing_beside_it_is_made(examined: Any, token: None, home: Path) -> None:
    path = _ledger(home)
    before = path.read_bytes()
    code, found = examined()
    assert code == 0
    assert "schema 0001" in found["ledger"][1]
    assert [file.name for file in path.parent.iterdir()] == ["ledger.sqlite"]
    assert path.read_bytes() == before


def test_a_ledger_in_use_is_read_as_it_is_now(examined: Any, token: None, home: Path) -> None:
    path = _ledger(home)
    with closing(sqlite3.connect(path)) as bot:
        bot.execute("UPDATE alembic_version SET version_num = '0008'")
        bot.commit()
        _, found = examined()
    assert "schema 0008" in found["ledger"][1]


def test_a_ledger_of_a_newer_kapelle_is_not_called_well(examined: Any, token: None, home: Path) -> None:
    with closing(sqlite3.connect(_ledger(home))) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '0999'")
        connection.commit()
    code, found = examined()
    assert (code, found["ledger"][0]) == (1, "MISSING")
    assert "newer Kapelle (schema 0999)" in found["ledger"][1]
    assert "update Kapelle" in found["ledger"][2]


@pytest.mark.parametrize("name", [".", "ledger.sqlite", "ledger.sqlite.lock"])
def test_a_ledger_that_may_not_be_written_is_not_called_well(
    examined: Any, token: None, home: Path, monkeypatch: pytest.MonkeyPatch, name: str,
) -> None:
    """Where the tests are run by an administrator, who may write everywhere, the mode of the file is asked instead."""
    path = _ledger(home)
    (path.parent / "ledger.sqlite.lock").touch()
    (path.parent / name).chmod(0o500)
    monkeypatch.setattr("bot.cli.doctor_server.os.access", lambda path, mode: bool(Path(path).stat().st_mode & 0o200))
    code, found = examined()
    (path.parent / name).chmod(0o700)
    assert (code, found["ledger"][0]) == (1, "MISSING")
    assert "no permission to write" in found["ledger"][1]
    assert "give this user permission" in found["ledger"][2]


def _postgres(url: str, *statements: str) -> None:
    async def execute() -> None:
        engine = create_async_engine(url.replace("postgresql:", "postgresql+asyncpg:"))
        async with engine.begin() as connection:
            for statement in statements:
                await connection.execute(text(statement))
        await engine.dispose()

    asyncio.run(execute())


def test_a_ledger_on_a_server_is_read_and_its_rights_are_checked(
    examined: Any, token: None, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest,
) -> None:
    url = str(request.getfixturevalue("postgres_url"))
    if "//kapelle@127.0.0.1:" not in url:
        pytest.skip("it makes a user, for which it needs a server of its own")
    monkeypatch.setenv("KAPELLE_DATABASE", url)
    _postgres(url, "CREATE ROLE reader LOGIN", "GRANT USAGE ON SCHEMA public TO reader")
    assert "will be set up at the first start" in examined()[1]["ledger"][1]
    monkeypatch.setenv("KAPELLE_DATABASE", url.replace("kapelle@", "reader@"))
    assert "may not write" in examined()[1]["ledger"][1]
    _postgres(url, "CREATE TABLE alembic_version (version_num text)", "INSERT INTO alembic_version VALUES ('0001')",
              "CREATE TABLE jobs (id integer)", "GRANT SELECT ON alembic_version TO reader")
    code, found = examined()
    assert code == 1
    assert "may not write" in found["ledger"][1]
    monkeypatch.setenv("KAPELLE_DATABASE", url)
    assert "schema 0001" in examined()[1]["ledger"][1]
    _postgres(url, "UPDATE alembic_version SET version_num = '0999'")
    assert "newer Kapelle" in examined()[1]["ledger"][1]


@pytest.mark.parametrize("content", [b"no database at all, but long enough to be looked at" * 50, b""])
def test_a_file_that_is_no_ledger_is_said_and_kept(examined: Any, token: None, home: Path, content: bytes) -> None:
    path = _ledger(home)
    path.write_bytes(content)
    code, found = examined()
    assert code == 1
    assert found["ledger"][0] == "MISSING"
    assert "backup" in found["ledger"][2]
    assert path.read_bytes() == content


def test_a_damaged_ledger_is_noticed(examined: Any, token: None, home: Path) -> None:
    path = _ledger(home)
    damaged = bytearray(path.read_bytes())
    damaged[4096:4196] = b"\xff" * 100
    path.write_bytes(damaged)
    code, found = examined()
    assert (code, found["ledger"][0]) == (1, "MISSING")


@pytest.mark.parametrize("url", ["no url with p4ssw0rd", "mysql://me:p4ssw0rd@127.0.0.1/db", "sqlite://"])
def test_a_database_that_cannot_be_used_is_named_without_its_password(
    examined: Any, token: None, monkeypatch: pytest.MonkeyPatch, url: str,
) -> None:
    monkeypatch.setenv("KAPELLE_DATABASE", url)
    code, found = examined()
    assert (code, found["ledger"][0]) == (1, "MISSING")
    assert "KAPELLE_DATABASE" in found["ledger"][2]
    assert "p4ssw0rd" not in str(found)


def test_a_server_that_does_not_answer_is_named_without_its_password(
    examined: Any, token: None, monkeypatch: pytest.MonkeyPatch,
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as nobody:
        monkeypatch.setenv("KAPELLE_DATABASE", f"postgresql://me:p4ssw0rd@127.0.0.1:{nobody.getsockname()[1]}/class")
    code, found = examined()
    assert (code, found["ledger"][0]) == (1, "MISSING")
    assert "postgresql://me:***@127.0.0.1" in found["ledger"][1]
    assert "p4ssw0rd" not in str(found)


# ---- disk, engines, port


def test_a_full_disk_is_noticed(examined: Any, token: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.cli.doctor_server._SPACE_MB", 10**12)
    code, found = examined()
    assert (code, found["data folder"][0]) == (1, "MISSING")
    assert "KAPELLE_DATA" in found["data folder"][2]


def test_a_data_folder_that_is_a_file_is_noticed(examined: Any, token: None, home: Path) -> None:
    (home / "data").write_text("")
    code, found = examined()
    assert code == 1
    assert "is a file" in found["data folder"][1]
    assert "is a file" in found["ledger"][1]


@NO_RIGHTS
def test_a_data_folder_without_permission_is_noticed(examined: Any, token: None, home: Path) -> None:
    (home / "data").mkdir(mode=0o500)
    code, found = examined()
    assert code == 1
    assert "no permission" in found["data folder"][1]


def test_an_engine_that_is_offered_must_be_there(examined: Any, token: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert examined()[1]["la-composer"][0] == "not there"
    monkeypatch.setenv("KAPELLE_ENGINES", "pocket,la-composer")
    code, found = examined()
    assert (code, found["la-composer"][0]) == (1, "MISSING")
    assert found["la-composer"][2] == "kapelle models fetch la-composer"


@pytest.mark.parametrize("engines", ["pocket,hurdy-gurdy", " , "])
def test_engines_that_there_are_none_of_are_refused(engines: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAPELLE_ENGINES", engines)
    with pytest.raises(InputError, match=r"KAPELLE_ENGINES.*pocket, la-composer"):
        read_settings()


@pytest.mark.parametrize(("answer", "mark", "said"), [
    (None, "MISSING", "cannot be had"),
    ((200, {"fit": True}), "ok", "Kapelle answers there, fit"),
    ((503, {"fit": False}), "ok", "Kapelle answers there, not fit"),
    ((200, ["another program"]), "MISSING", "cannot be had"),
])
def test_a_health_port_in_use_is_well_only_when_it_is_kapelles_own(
    examined: Any, token: None, monkeypatch: pytest.MonkeyPatch, answer: Any, mark: str, said: str,
) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answer or (404, "")
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, format: str, *arguments: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as other:
        threading.Thread(target=other.serve_forever, kwargs={"poll_interval": 0.02}).start()
        monkeypatch.setenv("KAPELLE_HEALTH_PORT", str(other.server_address[1]))
        code, found = examined()
        other.shutdown()
    assert found["health port"][0] == mark
    assert said in found["health port"][1]
    assert code == (0 if mark == "ok" else 1)


def test_a_free_health_port_is_free_afterwards(examined: Any, token: None, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("KAPELLE_HEALTH_PORT", str(port))
    code, found = examined()
    assert (code, found["health port"][1]) == (0, f"127.0.0.1, port {port} is free")
    with closing(socket.create_server(("127.0.0.1", port))):
        pass
