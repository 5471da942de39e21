"""Where Discord is: in the internet, or for rehearsals at an address of ours with a certificate authority of its own."""

from __future__ import annotations

import asyncio
import socket
import ssl
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from bot.settings import Settings
from models.errors import InputError


def connector(settings: Settings) -> aiohttp.TCPConnector | None:
    """What every connection to Discord is made with where KAPELLE_DISCORD_ADDRESS is set, else None.

    Every host (REST, gateway, files) is then found at that address and has to show a certificate of KAPELLE_DISCORD_CA.
    To be called inside the running event loop. Raises InputError where one of the two does not hold.
    """
    if settings.discord_address is None:
        return None
    if settings.discord_ca is None:
        raise InputError("KAPELLE_DISCORD_ADDRESS needs KAPELLE_DISCORD_CA, the certificate authority of that address")
    try:
        context = ssl.create_default_context(cafile=settings.discord_ca)  # trusts no other one
    except (OSError, ssl.SSLError) as error:
        raise InputError(
            f"KAPELLE_DISCORD_CA: {settings.discord_ca} is not a readable PEM file with certificates ({error})") from error
    return aiohttp.TCPConnector(resolver=_Everywhere(*_split(settings.discord_address)), ssl=context, limit=0)


def _split(address: str) -> tuple[str, int]:
    try:
        parts = urlsplit(f"//{address}")
        if not parts.hostname or not parts.port or parts.netloc != address or "@" in address:
            raise ValueError
    except ValueError:
        raise InputError(f"KAPELLE_DISCORD_ADDRESS must be host:port, not {address!r}") from None
    return parts.hostname, parts.port


class _Everywhere(AbstractResolver):
    """Finds every host at one address."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await asyncio.get_running_loop().getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        return [
            ResolveResult(
                hostname=host, host=str(address[0]), port=self._port, family=kind, proto=protocol, flags=socket.AI_NUMERICHOST)
            for kind, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        """Nothing is held."""
