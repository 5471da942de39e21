from __future__ import annotations

import ssl
from pathlib import Path

import aiohttp
import pytest
import trustme
from aiohttp import web
from aiohttp.test_utils import TestServer

from bot.discord.connection import connector
from bot.settings import Settings
from models.errors import InputError


def settings(**fields: object) -> Settings:
    return Settings(_env_file=None, **fields)  # type: ignore[arg-type,call-arg]


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


async def serve(authority: trustme.CA) -> TestServer:
    """A server that says which host it was asked for, and echoes over a websocket."""
    async def host(request: web.Request) -> web.Response:
        return web.Response(text=request.host)

    async def gateway(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            await socket.send_str(f"{request.host}: {message.data}")
        return socket

    application = web.Application()
    application.router.add_get("/", host)
    application.router.add_get("/gateway", gateway)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("discord.com", "cdn.discordapp.com", "gateway.discord.gg").configure_cert(context)
    server = TestServer(application, scheme="https")
    await server.start_server(ssl=context)
    return server


async def test_every_host_is_at_the_address(authority: trustme.CA, ca_file: Path) -> None:
    server = await serve(authority)
    made = connector(settings(discord_address=f"localhost:{server.port}", discord_ca=ca_file))
    async with server, aiohttp.ClientSession(connector=made) as session:
        for host in ("discord.com", "cdn.discordapp.com"):
            async with session.get(f"https://{host}/") as answer:
                assert await answer.text() == host
        async with session.ws_connect("wss://gateway.discord.gg/gateway") as socket:
            await socket.send_str("hello")
            assert await socket.receive_str() == "gateway.discord.gg: hello"


async def test_no_other_authority_is_trusted(authority: trustme.CA, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))
    server = await serve(authority)
    made = connector(settings(discord_address=f"127.0.0.1:{server.port}", discord_ca=other))
    async with server, aiohttp.ClientSession(connector=made) as session:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await session.get("https://discord.com/")


async def test_discord_itself_is_reached_as_always() -> None:
    assert connector(settings()) is None


@pytest.mark.parametrize("address", ["", "localhost", "localhost:", "localhost:no", "a:99999", ":443", "a:1/b", "u@a:1"])
async def test_an_address_that_is_none_is_named(address: str, ca_file: Path) -> None:
    with pytest.raises(InputError, match="KAPELLE_DISCORD_ADDRESS must be host:port"):
        connector(settings().model_copy(update={"discord_address": address, "discord_ca": ca_file}))


async def test_an_authority_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs KAPELLE_DISCORD_CA"):
        connector(settings(discord_address="localhost:1"))
    with pytest.raises(InputError, match=r"missing\.pem"):
        connector(settings(discord_address="localhost:1", discord_ca=tmp_path / "missing.pem"))
    broken = tmp_path / "broken.pem"
    broken.write_text("no certificate")
    with pytest.raises(InputError, match=r"broken\.pem"):
        connector(settings(discord_address="localhost:1", discord_ca=broken))
