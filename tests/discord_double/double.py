"""The double itself: one server that is Discord's REST API, gateway and CDN, and the hands that tests lay on it."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import secrets
import ssl
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import trustme
from aiohttp import BodyPartReader, hdrs, web

from tests.discord_double import permissions as granting
from tests.discord_double import rest
from tests.discord_double.clock import Clock
from tests.discord_double.contract import contract, description_path
from tests.discord_double.errors import Refusal
from tests.discord_double.faults import BANS, GATEWAY_ERRORS, RATE_LIMITS, REFUSALS, Fault, Faults
from tests.discord_double.forms import Upload
from tests.discord_double.gateway import Gateway, reset
from tests.discord_double.members import Member, moderator_role
from tests.discord_double.permissions import BotPermissions
from tests.discord_double.rate_limits import RateLimits
from tests.discord_double.things import KINDS, NOTICES, Channel, Guild, Message, Role, Thread, User
from tests.discord_double.world import World

API = "/api/v10"
GATEWAY_HOSTS = ".discord.gg"
CDN_HOSTS = frozenset({"cdn.discordapp.com", "media.discordapp.net"})
NAMES = ("discord.com", "*.discord.com", "gateway.discord.gg", "*.discord.gg", "cdn.discordapp.com", "media.discordapp.net")
LARGEST_REQUEST = 2**30
PATIENCE_S = 60.0  # with what ought to come at once, on a machine that is busy
T = TypeVar("T")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """A request to the API: its path without `/api/v10`, the answer's status (0: the connection was cut), when, how big."""

    method: str
    path: str
    status: int
    at: float
    bytes: int


@dataclass
class _Body:
    """What came with a request."""

    json: Any
    uploads: dict[int, Upload]
    size: int


class DiscordDouble:
    """A Discord on loopback. Use it as an asynchronous context manager; `folder` receives the certificate to trust."""

    def __init__(self, folder: Path, *, filesize_limit: int = 10 * 2**20) -> None:
        self.host = "127.0.0.1"
        self.port = 0
        self.ca_file = folder / "discord-double-ca.pem"
        self.clock = Clock()
        self.world = World(self.clock, filesize_limit=filesize_limit)
        self.token = self._make_token()
        self.gateway = Gateway(self.world, self.token)
        self.world.dispatch = self.gateway.dispatch
        self.rest = rest.Rest(self.world, self.gateway)
        self.faults = Faults(self.gateway)
        self.permissions = BotPermissions(self.world)
        self.rate_limits = RateLimits(self.clock)
        self.patience_s = 3.0  # how long a member's client waits for an acknowledgement
        self.requests: list[Request] = []
        self.violations = self.world.violations
        path = description_path()
        self._contract = contract(path) if path else None
        self._runner: web.AppRunner | None = None
        self._members: dict[str, Member] = {}
        self.channel = self.world.add_channel("musik")

    @property
    def contract_checked(self) -> bool:
        """Whether Discord's official description is there and everything is held against it."""
        return self._contract is not None

    @property
    def application_id(self) -> int:
        return self.world.application_id

    @property
    def guild(self) -> Guild:
        return self.world.guild

    async def __aenter__(self) -> Self:
        authority = trustme.CA()
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert(*NAMES).configure_cert(context)
        await asyncio.to_thread(authority.cert_pem.write_to_path, str(self.ca_file))
        application = web.Application(client_max_size=LARGEST_REQUEST)
        application.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.host, 0, ssl_context=context)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.gateway.close()
        if self._runner is not None:
            await self._runner.cleanup()

    # what tests do

    def member(self, name: str, *, locale: str = "de", roles: Iterable[Role | int] = (), moderator: bool = False) -> Member:
        """The member of that name; the first call lets them join. A moderator has Manage Server."""
        known = self._members.get(name)
        if known is not None:
            return known
        world = self.world
        user = User(world.snowflakes.next(), name.lower().replace(" ", "_"), name, joined_at=self.clock.now())
        user.roles = [role if isinstance(role, int) else role.id for role in roles]
        if moderator:
            role = moderator_role(world.roles) or self.add_role(
                "Lehrkräfte", granting.bits(["manage_guild", "manage_messages", "manage_threads", "manage_channels"])
            )
            user.roles.append(role.id)
        world.users[user.id] = user
        world.send("GUILD_MEMBER_ADD", world.member_payload(user) | {"guild_id": str(self.guild.id)}, 1 << 1)
        self._members[name] = Member(self, user, locale)
        return self._members[name]

    def add_channel(self, name: str, kind: str = "text") -> Channel:
        """Open another channel: text, voice, stage, forum, announcement or category."""
        if kind not in KINDS:
            raise ValueError(f"no kind of channel is named {kind!r}; there are {', '.join(KINDS)}")
        return self.world.add_channel(name, KINDS[kind])

    def add_role(self, name: str, permissions: int = 0) -> Role:
        """Make a role; `permissions` as Discord's bits."""
        return self.world.add_role(name, permissions)

    def filter_words(self, *words: str, messages: bool = False) -> None:
        """Refuse names of channels and threads that hold one of these words (50035), as on servers in Server Discovery.

        With `messages` also messages, as by automatic moderation (200000).
        """
        self.world.filtered_in_names |= {word.lower() for word in words}
        self.world.filtered_in_messages |= {word.lower() for word in words if messages}

    def empty_commands(self) -> None:
        """Take all of the bot's commands behind its back, as another program with its token does."""
        self.rest.commands.clear()
        self.world.changes.announce()

    def remove_bot(self) -> None:
        """Put the bot out of the server; the server's own commands go with it."""
        self.rest.commands.replace(self.guild.id, [])
        self.world.send("GUILD_DELETE", {"id": str(self.guild.id)})
        self.world.joined = False

    def invite_bot(self) -> None:
        """Let the bot into the server again."""
        self.world.joined = True
        for session in self.gateway.live:
            described = self.world.guild_create_payload(session.intents)
            described.pop("unavailable")  # only a guild that was known before is available again
            session.dispatch("GUILD_CREATE", described)
        self.world.changes.announce()

    def reset_token(self) -> None:
        """Give the bot another token, as its owner can: the old one ends at once, the connection with 4004."""
        self.token = self.gateway.token = self._make_token()
        self.faults.close(4004)

    def archive(self, thread_id: int, locked: bool = False) -> None:
        """Archive a thread at once; `locked`: only who manages threads opens it again.

        After its days of silence a thread archives itself: `clock.advance` lets them pass.
        """
        thread = self.world.channel(thread_id)
        if not isinstance(thread, Thread):
            raise ValueError(f"{thread_id} is no thread")
        self.world.set_archived(thread, True, locked=locked)

    def delete_channel(self, channel_id: int) -> None:
        """Delete a channel with its threads, or a thread."""
        self.world.delete_channel(self.world.channel(channel_id))

    def messages(self, channel_id: int | None = None, *, system: bool = False) -> list[Message]:
        """What stands in a channel or thread, oldest first; without Discord's own notices unless `system`."""
        channel = self.world.channels.get(self.channel.id if channel_id is None else channel_id)
        found = sorted(channel.messages.values(), key=lambda message: message.id) if channel else []
        return [message for message in found if system or message.type not in NOTICES]

    def threads(self) -> list[Thread]:
        """Every thread, oldest first."""
        return sorted((item for item in self.world.channels.values() if isinstance(item, Thread)), key=lambda item: item.id)

    async def connected(self, timeout_s: float = PATIENCE_S) -> None:
        """Wait until a bot has identified itself and got READY. TimeoutError."""
        await self.wait_for(lambda: self.gateway.live, timeout_s)

    async def disconnected(self, timeout_s: float = PATIENCE_S) -> None:
        """Wait until no bot is connected, for example after its process was killed. TimeoutError."""
        await self.wait_for(lambda: not self.gateway.live, timeout_s)

    async def commands_synced(self, timeout_s: float = PATIENCE_S) -> None:
        """Wait until commands are registered, of the guild or global. TimeoutError."""
        await self.wait_for(lambda: bool(self.rest.commands), timeout_s)

    async def wait_for(self, predicate: Callable[[], T | None], timeout_s: float = PATIENCE_S) -> T:
        """The first true value of `predicate`, asked again whenever something changes. TimeoutError."""
        return await self.world.changes.wait_for(predicate, timeout_s)

    async def until(self, predicate: Callable[[], T | None], timeout_s: float) -> T | None:
        """As `wait_for`, but None when the time is up."""
        try:
            return await self.wait_for(predicate, timeout_s)
        except TimeoutError:
            return None

    # serving

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        host = request.host.partition(":")[0]
        if host.endswith(GATEWAY_HOSTS):
            return await self.gateway.connect(request)
        if host in CDN_HOSTS:
            return self._file(request)
        return await self._api(request)

    def _file(self, request: web.Request) -> web.Response:
        attachment = self.world.files.get(request.path)
        expires = request.query.get("ex", "0")
        if attachment is None or int(expires, 16) < self.clock.now():
            return web.Response(status=404, text="This content is no longer available.")
        return web.Response(body=attachment.content, content_type=attachment.content_type or "application/octet-stream")

    async def _api(self, request: web.Request) -> web.Response:
        arrived_at = time.monotonic()
        path = request.path.removeprefix(API)
        fault = self.faults.take(request.method, path, files=request.content_type == "multipart/form-data")
        if fault is not None and fault.name == "reset_before":
            return self._cut(request, path, 0)
        try:
            body = await _read(request)
        except ValueError:
            return self._written(request, path, 400, Refusal(50109).body, {}, 0)
        found = rest.find(request.method, path) if request.path.startswith(API + "/") else None
        if found is None:
            self.violations.append(f"{request.method} {path}: the double knows no such route")
            return self._written(request, path, 404, {"message": "404: Not Found", "code": 0}, {}, body.size)
        route, parameters = found
        call = rest.Call(request.method, route.template, parameters, dict(request.query), body.json, body.uploads, arrived_at)
        if self._contract is not None:
            self._hold(call, self._contract.request(call.method, call.template, call.query, call.body))
        status, answer, headers = self._answer(request, route, call, fault)
        from_discord = fault is None or (fault.name not in GATEWAY_ERRORS and fault.name not in BANS)
        if self._contract is not None and from_discord:
            self._hold(call, self._contract.response(call.method, call.template, status, answer))
        if fault is not None and fault.name == "reset_after":
            return self._cut(request, path, body.size)
        if fault is not None and fault.name == "slow":
            with suppress(TimeoutError):
                await asyncio.wait_for(fault.released.wait(), fault.delay_s)
        return self._written(request, path, status, answer, headers, body.size)

    def _answer(
        self, request: web.Request, route: rest.Route, call: rest.Call, fault: Fault | None
    ) -> tuple[int, Any, dict[str, str]]:
        if fault is not None and fault.name in GATEWAY_ERRORS:
            return GATEWAY_ERRORS[fault.name], f"<html><body>{fault.name}</body></html>", {}
        if fault is not None and fault.name in BANS:
            return 429, BANS[fault.name], {"Retry-After": f"{fault.retry_after_s:.0f}"}
        if fault is not None and fault.name in RATE_LIMITS:
            everywhere, via = RATE_LIMITS[fault.name]
            return _rate_limited(fault.retry_after_s, everywhere=everywhere, via=via)
        headers, wait_s = self.rate_limits.spend(call.method, call.template, call.parameters)
        if wait_s is not None:
            status, answer, more = _rate_limited(wait_s, everywhere=False, via=True)
            return status, answer, headers | more
        try:
            if fault is not None and fault.name in REFUSALS:
                code = REFUSALS[fault.name]
                raise Refusal(code, extra={"retry_after": 1.0, "global": False} if code == 30046 else None)
            if not route.by_token and request.headers.get(hdrs.AUTHORIZATION) != f"Bot {self.token}":
                raise Refusal(0)
            status, answer = route.handler(self.rest, call)
        except Refusal as refusal:
            return refusal.status, refusal.body, headers
        except Exception as error:
            # The double could not make sense of it: nothing that a test should pass over.
            _log.exception("%s %s", call.method, call.template)
            self.violations.append(f"{call.method} {call.template}: the double failed: {error!r}")
            return 500, {"message": "500: Internal Server Error", "code": 0}, headers
        return status, answer, headers

    def _hold(self, call: rest.Call, reasons: list[str]) -> None:
        self.violations += [f"{call.method} {call.template}: {reason}" for reason in reasons]

    def _cut(self, request: web.Request, path: str, size: int) -> web.Response:
        self._note(request, path, 0, size)
        reset(request)
        return web.Response(status=500)  # goes nowhere

    def _written(
        self, request: web.Request, path: str, status: int, answer: Any, headers: dict[str, str], size: int
    ) -> web.Response:
        self._note(request, path, status, size)
        if answer is None:
            return web.Response(status=status, headers=headers)
        if isinstance(answer, str):
            return web.Response(status=status, headers=headers, text=answer, content_type="text/html")
        # As bytes, so that the type carries no charset: discord.py reads nothing else as JSON.
        return web.Response(status=status, headers=headers, body=json.dumps(answer).encode(), content_type="application/json")

    def _note(self, request: web.Request, path: str, status: int, size: int) -> None:
        self.requests.append(Request(request.method, path, status, self.clock.now(), size))
        self.world.changes.announce()

    def _make_token(self) -> str:
        owner = base64.urlsafe_b64encode(str(self.world.application_id).encode()).decode().rstrip("=")
        return f"{owner}.{secrets.token_urlsafe(4)}.{secrets.token_urlsafe(28)}"


def _rate_limited(retry_after_s: float, *, everywhere: bool, via: bool) -> tuple[int, Any, dict[str, str]]:
    headers = {"Retry-After": str(max(1, round(retry_after_s))), "X-RateLimit-Scope": "global" if everywhere else "user"}
    if everywhere:
        headers["X-RateLimit-Global"] = "true"
    if via:
        headers[hdrs.VIA] = "1.1 google"
    body = {"message": "You are being rate limited.", "retry_after": retry_after_s, "global": everywhere, "code": 0}
    return 429, body, headers


async def _read(request: web.Request) -> _Body:
    """The JSON of a request and its files; ValueError where it is neither JSON nor a form."""
    if request.content_type != "multipart/form-data":
        text = await request.read()
        return _Body(json.loads(text) if text else None, {}, len(text))
    fields: dict[str, Any] = {}
    uploads: dict[int, Upload] = {}
    size = 0
    async for part in await request.multipart():
        if not isinstance(part, BodyPartReader):
            raise ValueError("a form within a form")
        content = bytes(await part.read())
        size += len(content)
        name = part.name or ""
        if name == "payload_json":
            fields = json.loads(content)
        elif name.startswith("files[") and name.endswith("]") and name[6:-1].isdigit():
            uploads[int(name[6:-1])] = Upload(part.filename or "unknown", content)
        else:
            raise ValueError(f"a part named {name!r}")
    return _Body(fields, uploads, size)
