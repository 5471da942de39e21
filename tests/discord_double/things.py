"""What exists in the double: people, roles, channels, threads, messages and their files."""

from __future__ import annotations

import mimetypes
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.discord_double.clock import made_at

if TYPE_CHECKING:
    from tests.discord_double.world import World

GUILD_MESSAGES, DIRECT_MESSAGES, MESSAGE_CONTENT, GUILD_MEMBERS = 1 << 9, 1 << 12, 1 << 15, 1 << 1
EPHEMERAL, LOADING, HAS_THREAD, COMPONENTS_V2 = 1 << 6, 1 << 7, 1 << 5, 1 << 15
TEXT, DIRECT, VOICE, CATEGORY, ANNOUNCEMENT, ANNOUNCEMENT_THREAD, PUBLIC_THREAD, PRIVATE_THREAD, STAGE, FORUM = (
    0, 1, 2, 4, 5, 10, 11, 12, 13, 15,
)  # fmt: skip
KINDS: Mapping[str, int] = {
    "text": TEXT, "voice": VOICE, "category": CATEGORY, "announcement": ANNOUNCEMENT, "stage": STAGE, "forum": FORUM,
}  # fmt: skip
VOCAL = frozenset({VOICE, STAGE})  # where one can be heard; the text beside it is for who may connect
WITHOUT_TEXT = frozenset({CATEGORY, FORUM})  # where nothing can be written
# The kinds of threads that each kind of channel takes
THREADS_IN: Mapping[int, frozenset[int]] = {
    TEXT: frozenset({PUBLIC_THREAD, PRIVATE_THREAD}),
    ANNOUNCEMENT: frozenset({ANNOUNCEMENT_THREAD}),
    FORUM: frozenset({PUBLIC_THREAD}),
}
DEFAULT, ADDED, REMOVED, RENAMED, THREAD_CREATED, REPLY, CHAT_INPUT, STARTER, CONTEXT_MENU = 0, 1, 2, 4, 18, 19, 20, 21, 23
NOTICES = frozenset({ADDED, REMOVED, RENAMED, THREAD_CREATED, STARTER})  # what Discord itself writes into a channel
LASTING = NOTICES - {THREAD_CREATED}  # those that nobody may delete


@dataclass
class Role:
    id: int
    name: str
    permissions: int
    position: int
    managed: bool = False


@dataclass
class User:
    id: int
    name: str
    display_name: str
    bot: bool = False
    roles: list[int] = field(default_factory=list)
    joined_at: float = 0.0

    @property
    def mention(self) -> str:
        return f"<@{self.id}>"


@dataclass
class Attachment:
    """A file of a message, with its bytes."""

    id: int
    filename: str
    content: bytes = field(repr=False)
    url: str
    description: str | None = None
    title: str | None = None
    ephemeral: bool = False

    @property
    def content_type(self) -> str | None:
        return mimetypes.guess_type(self.filename)[0]

    @property
    def picture_size(self) -> tuple[int, int] | None:
        """Width and height of a PNG."""
        if self.content[:8] != b"\x89PNG\r\n\x1a\n" or len(self.content) < 24:
            return None
        width, height = struct.unpack(">II", self.content[16:24])
        return width, height

    def payload(self) -> dict[str, Any]:
        described: dict[str, Any] = {
            "id": str(self.id),
            "filename": self.filename,
            "size": len(self.content),
            "url": self.url,
            "proxy_url": self.url.replace("cdn.discordapp.com", "media.discordapp.net"),
        }
        if self.content_type:
            described["content_type"] = self.content_type
        if self.description is not None:
            described["description"] = self.description
        if self.title is not None:
            described["title"] = self.title
        if self.picture_size:
            described["width"], described["height"] = self.picture_size
        if self.ephemeral:
            described["ephemeral"] = True
        return described


@dataclass(eq=False)
class Message:
    """A message as it is now; `edits` holds when it was edited, in seconds of the double's clock."""

    id: int
    channel_id: int
    author_id: int
    world: World = field(repr=False)
    content: str = ""
    embeds: list[dict[str, Any]] = field(default_factory=list, repr=False)
    attachments: list[Attachment] = field(default_factory=list)
    components: list[dict[str, Any]] = field(default_factory=list, repr=False)
    nonce: str | int | None = None
    edits: list[float] = field(default_factory=list)
    type: int = DEFAULT
    flags: int = 0
    reference: dict[str, str] | None = None
    metadata: dict[str, Any] | None = field(default=None, repr=False)  # of the interaction that a response answers
    from_webhook: bool = False
    seen_by: int | None = None  # an ephemeral message's only reader
    deleted: bool = False
    mentions: list[int] = field(default_factory=list)

    @property
    def ephemeral(self) -> bool:
        return bool(self.flags & EPHEMERAL)

    @property
    def thinking(self) -> bool:
        return bool(self.flags & LOADING)

    @property
    def created_at(self) -> float:
        return made_at(self.id)

    @property
    def raw(self) -> dict[str, Any]:
        """The message as Discord describes it to the bot."""
        return self.world.message_payload(self)

    def component(self, custom_id: str) -> dict[str, Any] | None:
        """The button or select with that id, wherever it stands in the message."""
        return next((item for item in walk(self.components) if item.get("custom_id") == custom_id), None)


def walk(components: Iterable[Mapping[str, Any]]) -> Iterable[dict[str, Any]]:
    """Every component, at any depth."""
    for component in components:
        yield dict(component)
        yield from walk(component.get("components") or ())
        for single in ("accessory", "component"):
            if isinstance(component.get(single), dict):
                yield from walk([component[single]])


@dataclass(eq=False)
class Channel:
    """A channel of the server (its kind is one of KINDS), a thread or a direct conversation."""

    id: int
    name: str
    kind: int = TEXT
    position: int = 0
    overwrites: dict[int, tuple[int, int]] = field(default_factory=dict)  # user or role -> (allow, deny)
    messages: dict[int, Message] = field(default_factory=dict, repr=False)
    recipient_id: int | None = None

    @property
    def last_message_id(self) -> str | None:
        return str(max(self.messages)) if self.messages else None


@dataclass(eq=False)
class Thread(Channel):
    """A thread; `parent_id` is its channel."""

    parent_id: int = 0
    owner_id: int = 0
    archived: bool = False
    locked: bool = False
    archive_minutes: int = 4320
    archived_or_opened_at: float = 0.0
    members: dict[int, float] = field(default_factory=dict)
    sent: int = 0

    @property
    def active_at(self) -> float:
        """When it was last opened or written in; from then its time until it archives itself counts."""
        return max(self.archived_or_opened_at, made_at(max(self.messages)) if self.messages else 0.0)


@dataclass
class Guild:
    id: int
    name: str
    owner_id: int
    locale: str
    filesize_limit: int

    @property
    def premium_tier(self) -> int:
        """The boost level at which Discord grants the limit on files."""
        return 3 if self.filesize_limit >= 100 * 2**20 else 2 if self.filesize_limit >= 50 * 2**20 else 0
