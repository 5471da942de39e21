"""Discord's gateway: sessions, their events, and the connections they travel on."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import socket
import struct
import time
import zlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from tests.discord_double.world import World

DISPATCH, HEARTBEAT, IDENTIFY, PRESENCE, RESUME, RECONNECT, REQUEST_MEMBERS, INVALID_SESSION, HELLO, ACK = (
    0, 1, 2, 3, 6, 7, 8, 9, 10, 11,
)  # fmt: skip
PRIVILEGED = 1 << 1 | 1 << 8 | 1 << 15  # members, presences, message content
UNKNOWN_OPCODE, DECODE_ERROR, NOT_AUTHENTICATED, AUTHENTICATION_FAILED, ALREADY, DISALLOWED_INTENTS = (
    4001, 4002, 4003, 4004, 4005, 4014,
)  # fmt: skip
REMEMBERED_EVENTS = 5000
LONGEST_FRAME = 4096  # bytes, of what a bot sends


def reset(request: web.Request) -> None:
    """Cut a connection so that the other side sees a reset, not an end."""
    transport = request.transport
    if transport is None:
        return
    line = transport.get_extra_info("socket")
    if line is not None:
        with contextlib.suppress(OSError):
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def _plain(text: str) -> str | bytes:
    return text


def compressor(kind: str | None) -> Callable[[str], str | bytes] | None:
    """How frames are written for `compress=`; None for a kind that cannot be written here."""
    if kind is None:
        return _plain
    if kind == "zlib-stream":
        stream = zlib.compressobj()
        return lambda text: stream.compress(text.encode()) + stream.flush(zlib.Z_SYNC_FLUSH)
    if kind == "zstd-stream":
        return _zstd()
    return None


def _zstd() -> Callable[[str], str | bytes] | None:
    # discord.py asks for it where it finds one of these two, and only there.
    try:
        import zstandard  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        try:
            from compression import zstd  # type: ignore[import-not-found, unused-ignore]
        except ImportError:
            return None
        block = zstd.ZstdCompressor()
        return lambda text: block.compress(text.encode(), block.FLUSH_BLOCK)
    stream = zstandard.ZstdCompressor().compressobj()
    return lambda text: stream.compress(text.encode()) + stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)


@dataclass(eq=False)
class Connection:
    """One web socket; frames wait in order in `frames`."""

    request: web.Request
    socket: web.WebSocketResponse
    write: Callable[[str], str | bytes]
    frames: asyncio.Queue[str | int] = field(default_factory=asyncio.Queue)  # a number closes with it
    closing: bool = False

    def send(self, op: int, data: Any, *, event: str | None = None, sequence: int | None = None) -> None:
        self.frames.put_nowait(json.dumps({"op": op, "d": data, "s": sequence, "t": event}))

    async def pump(self) -> None:
        while True:
            frame = await self.frames.get()
            if isinstance(frame, int):
                self.closing = True
                await self.socket.close(code=frame)
                return
            written = self.write(frame)
            try:
                if isinstance(written, bytes):
                    await self.socket.send_bytes(written)
                else:
                    await self.socket.send_str(written)
            except ConnectionError:
                return


@dataclass(eq=False)
class Session:
    """What a bot identified for; it outlives its connection until it is invalidated or replaced."""

    id: str
    intents: int
    identify: dict[str, Any]
    connection: Connection | None
    sequence: int = 0
    events: deque[tuple[int, str, Any]] = field(default_factory=lambda: deque(maxlen=REMEMBERED_EVENTS))

    def dispatch(self, event: str, data: Any) -> None:
        self.sequence += 1
        # A deep copy in effect: what is sent is the state of now.
        frozen = json.loads(json.dumps(data))
        self.events.append((self.sequence, event, frozen))
        if self.connection is not None:
            self.connection.send(DISPATCH, frozen, event=event, sequence=self.sequence)


class Gateway:
    """Every session with the bot."""

    def __init__(self, world: World, token: str) -> None:
        self.world = world
        self.token = token
        self.heartbeat_interval_s = 41.25
        self.privileged_intents = 0  # those switched on for the application
        self.refused_until = 0.0
        self.closes_at_identify: list[int] = []  # codes for those that identify themselves next
        self.sessions: dict[str, Session] = {}
        self.identifies = 0
        self.resumes = 0
        self.heartbeats = 0
        self._connections: set[Connection] = set()

    @property
    def live(self) -> list[Session]:
        return [session for session in self.sessions.values() if session.connection is not None]

    def dispatch(self, event: str, data: dict[str, Any], intents: int = 0) -> None:
        """Send an event to every session that asked for one of `intents` (0: to every one)."""
        for session in self.sessions.values():
            if not intents or session.intents & intents:
                session.dispatch(event, self._readable(session, data) if event.startswith("MESSAGE_") else data)

    def interact(self, data: dict[str, Any]) -> bool:
        """Send an interaction to one session; one that lost its connection hears of it when it resumes. False: nobody there."""
        sessions = sorted(self.sessions.values(), key=lambda session: session.connection is not None)
        if not sessions:
            return False
        sessions[-1].dispatch("INTERACTION_CREATE", data)
        return True

    def _readable(self, session: Session, data: dict[str, Any]) -> dict[str, Any]:
        """Without the message content intent, others' words in the guild are blank unless they speak to the bot."""
        own = str(self.world.bot.id)
        author = data.get("author", {}).get("id")
        mentioned = any(user["id"] == own for user in data.get("mentions", ()))
        if session.intents & 1 << 15 or author in (own, None) or mentioned or "guild_id" not in data:
            return data
        return {**data, "content": "", "embeds": [], "attachments": [], "components": []}

    # faults

    def drop(self) -> None:
        for connection in list(self._connections):
            reset(connection.request)

    def reconnect(self) -> None:
        for connection in self._connections:
            connection.send(RECONNECT, None)

    def invalidate(self, *, resumable: bool) -> None:
        for session in self.live:
            if session.connection is not None:
                session.connection.send(INVALID_SESSION, resumable)
            if not resumable:
                del self.sessions[session.id]

    def close_with(self, code: int, *, forget: bool) -> None:
        for session in self.live:
            if session.connection is not None:
                session.connection.frames.put_nowait(code)
            if forget:
                del self.sessions[session.id]

    async def close(self) -> None:
        for connection in list(self._connections):
            await connection.socket.close(code=WSCloseCode.GOING_AWAY)

    # the protocol

    async def connect(self, request: web.Request) -> web.StreamResponse:
        """One connection, from HELLO to its end."""
        if time.monotonic() < self.refused_until:
            reset(request)
            return web.Response(status=503)
        write = compressor(request.query.get("compress"))
        if write is None or request.query.get("encoding", "json") != "json":
            return web.Response(status=400, text="this compression or encoding is not spoken here")
        socket_ = web.WebSocketResponse(timeout=1.0, max_msg_size=LONGEST_FRAME, compress=False)
        await socket_.prepare(request)
        connection = Connection(request, socket_, write)
        self._connections.add(connection)
        pump = asyncio.create_task(connection.pump())
        connection.send(HELLO, {"heartbeat_interval": int(self.heartbeat_interval_s * 1000), "_trace": []})
        try:
            async for frame in socket_:
                if frame.type is not WSMsgType.TEXT:
                    await socket_.close(code=DECODE_ERROR)
                    break
                self._receive(connection, json.loads(frame.data))
        finally:
            self._connections.discard(connection)
            for session in self.sessions.values():
                if session.connection is connection:
                    session.connection = None
            if not connection.closing:
                pump.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await pump
            self.world.changes.announce()
        return socket_

    def _receive(self, connection: Connection, frame: dict[str, Any]) -> None:
        op, data = frame.get("op"), frame.get("d")
        known = next((session for session in self.sessions.values() if session.connection is connection), None)
        if op == HEARTBEAT:
            self.heartbeats += 1
            connection.send(ACK, None)
        elif op in (IDENTIFY, RESUME) and self.closes_at_identify:
            connection.frames.put_nowait(self.closes_at_identify.pop(0))
        elif op == IDENTIFY and isinstance(data, dict):
            self._identify(connection, data, known)
        elif op == RESUME and isinstance(data, dict):
            self._resume(connection, data)
        elif known is None:
            connection.frames.put_nowait(NOT_AUTHENTICATED)
        elif op == REQUEST_MEMBERS and isinstance(data, dict):
            self._members(known, data)
        elif op not in (PRESENCE, 4):
            connection.frames.put_nowait(UNKNOWN_OPCODE)

    def _identify(self, connection: Connection, data: dict[str, Any], known: Session | None) -> None:
        intents = int(data.get("intents", 0))
        if data.get("token") != self.token:
            connection.frames.put_nowait(AUTHENTICATION_FAILED)
            return
        if known is not None:
            connection.frames.put_nowait(ALREADY)
            return
        if intents & PRIVILEGED & ~self.privileged_intents:
            connection.frames.put_nowait(DISALLOWED_INTENTS)
            return
        self.identifies += 1
        # A process that starts anew never resumes the session it lost.
        self.sessions = {session.id: session for session in self.live}
        kept = {name: value for name, value in data.items() if name != "token"}
        session = Session(secrets.token_hex(16), intents, kept, connection)
        self.sessions[session.id] = session
        world = self.world
        ready: dict[str, Any] = {
            "v": 10,
            "user": world.user_payload(world.bot) | {"verified": True, "mfa_enabled": True, "email": None},
            "guilds": [{"id": str(world.guild.id), "unavailable": True}] if world.joined else [],
            "session_id": session.id,
            "session_type": "normal",
            "resume_gateway_url": "wss://gateway-eu-west.discord.gg",
            "application": {"id": str(world.application_id), "flags": 1 << 23},
            "private_channels": [],
            "relationships": [],
            "presences": [],
            "user_settings": {},
            "guild_join_requests": [],
            "geo_ordered_rtc_regions": [],
            "_trace": [],
        }
        if "shard" in data:
            ready["shard"] = data["shard"]
        session.dispatch("READY", ready)
        if world.joined:
            session.dispatch("GUILD_CREATE", world.guild_create_payload(intents))
        world.changes.announce()

    def _resume(self, connection: Connection, data: dict[str, Any]) -> None:
        if data.get("token") != self.token:
            connection.frames.put_nowait(AUTHENTICATION_FAILED)
            return
        session = self.sessions.get(str(data.get("session_id")))
        heard = data.get("seq")
        if session is None or not isinstance(heard, int) or heard > session.sequence:
            connection.send(INVALID_SESSION, False)
            return
        self.resumes += 1
        if session.connection is not None:
            reset(session.connection.request)
        session.connection = connection
        for sequence, event, missed in session.events:
            if sequence > heard:
                connection.send(DISPATCH, missed, event=event, sequence=sequence)
        session.dispatch("RESUMED", {"_trace": []})
        self.world.changes.announce()

    def _members(self, session: Session, data: dict[str, Any]) -> None:
        ids = data.get("user_ids")
        wanted = {int(item) for item in (ids if isinstance(ids, list) else [ids] if ids else [])}
        begins = str(data.get("query") or "").lower()
        people = [
            user
            for user in self.world.users.values()
            if (user.id in wanted if wanted else user.name.lower().startswith(begins))
        ]
        chunk = {
            "guild_id": str(self.world.guild.id),
            "members": [self.world.member_payload(user) for user in people],
            "chunk_index": 0,
            "chunk_count": 1,
            "not_found": [str(item) for item in wanted - {user.id for user in people}],
        }
        if "nonce" in data:
            chunk["nonce"] = data["nonce"]
        session.dispatch("GUILD_MEMBERS_CHUNK", chunk)
