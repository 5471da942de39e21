"""What exists in the double: a class server, its people, channels, threads and messages, and how Discord describes them."""

from __future__ import annotations

import hashlib
import mimetypes
import re
import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.discord_double import permissions
from tests.discord_double.clock import Changes, Clock, Snowflakes, iso, made_at
from tests.discord_double.errors import Refusal

GUILD_MESSAGES, DIRECT_MESSAGES, MESSAGE_CONTENT, GUILD_MEMBERS = 1 << 9, 1 << 12, 1 << 15, 1 << 1
EPHEMERAL, LOADING, HAS_THREAD, COMPONENTS_V2 = 1 << 6, 1 << 7, 1 << 5, 1 << 15
TEXT, DIRECT, PUBLIC_THREAD, PRIVATE_THREAD = 0, 1, 11, 12
DEFAULT, THREAD_CREATED, REPLY, CHAT_INPUT, STARTER, CONTEXT_MENU = 0, 18, 19, 20, 21, 23
NONCE_MEMORY_S = 300.0
CDN_LINK_LIFE_S = 86_400
EDITS_APART_S = 2.0  # not Discord's law but what Kapelle promises


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
    """A text channel, a thread or a direct conversation."""

    id: int
    name: str
    kind: int = TEXT
    position: int = 0
    overwrites: dict[int, tuple[int, int]] = field(default_factory=dict)  # user or role -> (allow, deny)
    messages: dict[int, Message] = field(default_factory=dict, repr=False)
    recipient_id: int | None = None
    nonces: dict[tuple[int, str | int], tuple[float, int]] = field(default_factory=dict)

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


Dispatch = Callable[[str, dict[str, Any], int], None]


class World:
    """Everything that exists, and the laws about it that hold whoever asks."""

    def __init__(self, clock: Clock, *, filesize_limit: int) -> None:
        self.clock = clock
        self.changes = Changes()
        self.violations: list[str] = []
        self.edits_apart_s = EDITS_APART_S
        self.snowflakes = Snowflakes(clock)
        self.dispatch: Dispatch = lambda event, data, intents: None
        self.users: dict[int, User] = {}
        self.roles: dict[int, Role] = {}
        self.channels: dict[int, Channel] = {}
        self.files: dict[str, Attachment] = {}  # by path on the CDN
        year_s = 365 * 86_400.0
        self.application_id = self.snowflakes.next(age_s=year_s)
        self.bot = User(self.application_id, "kapelle", "Kapelle", bot=True, joined_at=clock.now() - 86_400)
        teacher = User(
            self.snowflakes.next(age_s=3 * year_s), "frau_krause", "Frau Krause", joined_at=clock.now() - 40 * 86_400
        )
        self.users = {self.bot.id: self.bot, teacher.id: teacher}
        guild_id = self.snowflakes.next(age_s=40 * 86_400.0)
        self.guild = Guild(guild_id, "Klasse 8b", teacher.id, "de", filesize_limit)
        self.roles[guild_id] = Role(guild_id, "@everyone", permissions.EVERYBODY, 0)
        own = Role(self.snowflakes.next(age_s=86_400.0), "Kapelle", permissions.BOT, 1, managed=True)
        self.roles[own.id] = own
        self.bot.roles.append(own.id)

    def send(self, event: str, data: dict[str, Any], intents: int = 0) -> None:
        """Tell the connected bot (if it asked for one of `intents`; 0: always) and whoever waits for a change."""
        self.dispatch(event, data, intents)
        self.changes.announce()

    # finding things

    def channel(self, channel_id: int) -> Channel:
        """The channel or thread; Refusal 10003 where there is none."""
        if channel_id not in self.channels:
            raise Refusal(10003)
        return self.channels[channel_id]

    def guild_channel(self, channel_id: int) -> Channel:
        """The channel, or the parent of a thread: where permissions are written down."""
        channel = self.channel(channel_id)
        return self.channel(channel.parent_id) if isinstance(channel, Thread) else channel

    def message(self, channel_id: int, message_id: int) -> Message:
        """A message that stands in a channel; Refusal 10008 where it does not."""
        message = self.channel(channel_id).messages.get(message_id)
        if message is None:
            raise Refusal(10008)
        return message

    # permissions

    def permissions_of(self, user: User, channel: Channel) -> int:
        """What a member may do in a channel, as Discord reckons it: roles, then overwrites of everyone, roles, member."""
        if channel.kind == DIRECT:
            return permissions.EVERYBODY
        if user.id == self.guild.owner_id:
            return permissions.EVERYTHING
        held = [self.guild.id, *user.roles]
        granted = 0
        for role_id in held:
            granted |= self.roles[role_id].permissions
        if granted & permissions.BITS["administrator"]:
            return permissions.EVERYTHING
        overwrites = self.guild_channel(channel.id).overwrites
        allow, deny = overwrites.get(self.guild.id, (0, 0))
        granted = granted & ~deny | allow
        role_allow = role_deny = 0
        for role_id in user.roles:
            allow, deny = overwrites.get(role_id, (0, 0))
            role_allow, role_deny = role_allow | allow, role_deny | deny
        granted = granted & ~role_deny | role_allow
        allow, deny = overwrites.get(user.id, (0, 0))
        return granted & ~deny | allow

    def bot_may(self, channel: Channel, *names: str) -> bool:
        needed = permissions.bits(names)
        return self.permissions_of(self.bot, channel) & needed == needed

    def demand(self, channel: Channel, *names: str) -> None:
        """Refusal 50001 where the bot cannot see the channel, 50013 where it lacks one of the permissions."""
        if not self.bot_may(channel, "view_channel"):
            raise Refusal(50001)
        if not self.bot_may(channel, *names):
            raise Refusal(50013)

    # changing things

    def add_role(self, name: str, granted: int) -> Role:
        role = Role(self.snowflakes.next(), name, granted, len(self.roles))
        self.roles[role.id] = role
        self.send("GUILD_ROLE_CREATE", {"guild_id": str(self.guild.id), "role": role_payload(role)})
        return role

    def add_channel(self, name: str) -> Channel:
        channel = Channel(self.snowflakes.next(), name, position=len(self.channels))
        self.channels[channel.id] = channel
        self.send("CHANNEL_CREATE", self.channel_payload(channel))
        return channel

    def direct_channel(self, user: User) -> Channel:
        """The bot's conversation with a user, opened at need."""
        for channel in self.channels.values():
            if channel.recipient_id == user.id:
                return channel
        channel = Channel(self.snowflakes.next(), user.name, kind=DIRECT, recipient_id=user.id)
        self.channels[channel.id] = channel
        self.changes.announce()
        return channel

    def add_thread(
        self, parent: Channel, owner: User, name: str, *, kind: int, minutes: int, message: Message | None
    ) -> Thread:
        """Open a thread in a channel, from a message or without one."""
        now = self.clock.now()
        thread = Thread(
            message.id if message else self.snowflakes.next(),
            name,
            kind=kind,
            parent_id=parent.id,
            owner_id=owner.id,
            archive_minutes=minutes,
            archived_or_opened_at=now,
            members={owner.id: now},
        )
        self.channels[thread.id] = thread
        self.send("THREAD_CREATE", {**self.channel_payload(thread), "newly_created": True})
        reference = {"guild_id": str(self.guild.id), "channel_id": str(thread.id)}
        if message:
            message.flags |= HAS_THREAD
            reference = {"guild_id": str(self.guild.id), "channel_id": str(parent.id), "message_id": str(message.id)}
            starter = Message(self.snowflakes.next(), thread.id, owner.id, self, type=STARTER, reference=reference)
            thread.messages[starter.id] = starter
            self._message_event("MESSAGE_UPDATE", message)
        elif kind == PUBLIC_THREAD:
            notice = Message(self.snowflakes.next(), parent.id, owner.id, self, name, type=THREAD_CREATED, reference=reference)
            parent.messages[notice.id] = notice
            self._message_event("MESSAGE_CREATE", notice)
        return thread

    def set_archived(self, thread: Thread, archived: bool, *, locked: bool | None = None) -> None:
        if archived != thread.archived:
            thread.archived_or_opened_at = self.clock.now()
        thread.archived = archived
        thread.locked = thread.locked if locked is None else locked
        self.send("THREAD_UPDATE", self.channel_payload(thread))

    def delete_channel(self, channel: Channel) -> None:
        for thread in [item for item in self.channels.values() if isinstance(item, Thread) and item.parent_id == channel.id]:
            self.delete_channel(thread)
        del self.channels[channel.id]
        for message in channel.messages.values():
            message.deleted = True
        if isinstance(channel, Thread):
            described = {"id": str(channel.id), "guild_id": str(self.guild.id), "parent_id": str(channel.parent_id)}
            self.send("THREAD_DELETE", {**described, "type": channel.kind})
        else:
            self.send("CHANNEL_DELETE", self.channel_payload(channel))

    def known_nonce(self, channel: Channel, author_id: int, nonce: str | int) -> Message | None:
        """The message already sent with a nonce, if Discord still remembers it."""
        sent_at, message_id = channel.nonces.get((author_id, nonce), (0.0, 0))
        if self.clock.now() - sent_at > NONCE_MEMORY_S:
            return None
        return channel.messages.get(message_id)

    def post(self, message: Message) -> Message:
        """Put a finished message into its channel (an ephemeral one into nobody's) and tell of it."""
        channel = self.channel(message.channel_id)
        if message.ephemeral:
            self.changes.announce()
            return message
        channel.messages[message.id] = message
        if message.nonce is not None:
            channel.nonces[(message.author_id, message.nonce)] = (self.clock.now(), message.id)
        if isinstance(channel, Thread):
            channel.sent += 1
            channel.members.setdefault(message.author_id, self.clock.now())
        self._message_event("MESSAGE_CREATE", message)
        return message

    def edited(self, message: Message) -> None:
        message.edits.append(self.clock.now())
        self._tell_update(message)

    def filled(self, message: Message) -> None:
        """A deferred answer got its content; Discord does not call that an edit."""
        self._tell_update(message)

    def _tell_update(self, message: Message) -> None:
        if message.ephemeral:
            self.changes.announce()
        else:
            self._message_event("MESSAGE_UPDATE", message)

    def remove(self, message: Message) -> None:
        message.deleted = True
        channel = self.channels.get(message.channel_id)
        if channel is None or channel.messages.pop(message.id, None) is None:
            self.changes.announce()
            return
        described = {"id": str(message.id), "channel_id": str(channel.id)}
        if channel.kind != DIRECT:
            described["guild_id"] = str(self.guild.id)
        self.send("MESSAGE_DELETE", described, DIRECT_MESSAGES if channel.kind == DIRECT else GUILD_MESSAGES)

    def _message_event(self, event: str, message: Message) -> None:
        channel = self.channel(message.channel_id)
        described = self.message_payload(message)
        if message.nonce is not None and event == "MESSAGE_CREATE":
            described["nonce"] = message.nonce
        author = self.users[message.author_id]
        if channel.kind != DIRECT:
            described["guild_id"] = str(self.guild.id)
            described["member"] = self.member_payload(author, user=False)
        self.send(event, described, DIRECT_MESSAGES if channel.kind == DIRECT else GUILD_MESSAGES)

    def store_file(self, channel_id: int, name: str, content: bytes, **described: Any) -> Attachment:
        """Keep a file under an address of the CDN, named as Discord names files."""
        safe = re.sub(r"[^\w.\-]", "", name.replace(" ", "_")) or "unknown"
        attachment_id = self.snowflakes.next()
        folder = "ephemeral-attachments" if described.get("ephemeral") else "attachments"
        path = f"/{folder}/{channel_id}/{attachment_id}/{safe}"
        until = int(self.clock.now()) + CDN_LINK_LIFE_S
        signature = hashlib.sha256(f"{path}{until}".encode()).hexdigest()
        url = f"https://cdn.discordapp.com{path}?ex={until:x}&is={until - CDN_LINK_LIFE_S:x}&hm={signature}&"
        attachment = Attachment(attachment_id, safe, content, url, title=None if safe == name else name, **described)
        self.files[path] = attachment
        return attachment

    # describing things

    def user_payload(self, user: User) -> dict[str, Any]:
        described: dict[str, Any] = {
            "id": str(user.id),
            "username": user.name,
            "global_name": user.display_name if not user.bot else None,
            "discriminator": "4242" if user.bot else "0",
            "avatar": None,
            "avatar_decoration_data": None,
            "banner": None,
            "accent_color": None,
            "public_flags": 0,
            "flags": 0,
            "primary_guild": None,
        }
        if user.bot:
            described["bot"] = True
        return described

    def member_payload(self, member: User, *, user: bool = True) -> dict[str, Any]:
        described: dict[str, Any] = {
            "avatar": None,
            "banner": None,
            "communication_disabled_until": None,
            "deaf": False,
            "flags": 0,
            "joined_at": iso(member.joined_at),
            "mute": False,
            "nick": None,
            "pending": False,
            "premium_since": None,
            "roles": [str(role_id) for role_id in member.roles],
        }
        if user:
            described["user"] = self.user_payload(member)
        return described

    def channel_payload(self, channel: Channel) -> dict[str, Any]:
        described: dict[str, Any] = {
            "id": str(channel.id),
            "type": channel.kind,
            "flags": 0,
            "last_message_id": channel.last_message_id,
        }
        if channel.recipient_id is not None:
            return {**described, "recipients": [self.user_payload(self.users[channel.recipient_id])]}
        described |= {"guild_id": str(self.guild.id), "name": channel.name, "rate_limit_per_user": 0}
        if isinstance(channel, Thread):
            return described | self._thread_fields(channel)
        return described | {
            "parent_id": None,
            "topic": None,
            "nsfw": False,
            "position": channel.position,
            "permission_overwrites": [
                {"id": str(holder), "type": int(holder in self.users), "allow": str(allow), "deny": str(deny)}
                for holder, (allow, deny) in channel.overwrites.items()
            ],
        }

    def _thread_fields(self, thread: Thread) -> dict[str, Any]:
        described: dict[str, Any] = {
            "parent_id": str(thread.parent_id),
            "owner_id": str(thread.owner_id),
            "message_count": sum(message.type != STARTER for message in thread.messages.values()),
            "member_count": min(len(thread.members), 50),
            "total_message_sent": thread.sent,
            "thread_metadata": {
                "archived": thread.archived,
                "archive_timestamp": iso(thread.archived_or_opened_at),
                "auto_archive_duration": thread.archive_minutes,
                "locked": thread.locked,
                "create_timestamp": iso(made_at(thread.id)),
            },
        }
        if self.bot.id in thread.members:
            described["member"] = self.thread_member_payload(thread, self.bot.id)
        return described

    def thread_member_payload(self, thread: Thread, user_id: int) -> dict[str, Any]:
        joined = iso(thread.members[user_id])
        return {"id": str(thread.id), "user_id": str(user_id), "join_timestamp": joined, "flags": 1}

    def message_payload(self, message: Message) -> dict[str, Any]:
        shown = [] if message.flags & COMPONENTS_V2 == 0 else list(walk(message.components))
        described: dict[str, Any] = {
            "id": str(message.id),
            "type": message.type,
            "channel_id": str(message.channel_id),
            "author": self.user_payload(self.users[message.author_id]),
            "content": message.content,
            "timestamp": iso(message.created_at),
            "edited_timestamp": iso(message.edits[-1]) if message.edits else None,
            "tts": False,
            "mention_everyone": False,
            "mentions": [self.user_payload(self.users[user_id]) for user_id in message.mentions],
            "mention_roles": [],
            "attachments": [item.payload() for item in message.attachments if not embedded(message, item, shown)],
            "embeds": message.embeds,
            "components": message.components,
            "pinned": False,
            "flags": message.flags,
        }
        if message.from_webhook:
            described["webhook_id"] = described["application_id"] = str(self.application_id)
        if message.metadata is not None:
            described["interaction_metadata"] = message.metadata
        if message.reference is not None:
            described["message_reference"] = {"type": 0, **message.reference}
            described.update(self._referenced(message))
        thread = self.channels.get(message.id)
        if message.flags & HAS_THREAD and isinstance(thread, Thread):
            described["thread"] = self.channel_payload(thread)
        return described

    def _referenced(self, message: Message) -> dict[str, Any]:
        if message.type not in (REPLY, STARTER) or message.reference is None:
            return {}
        channel = self.channels.get(int(message.reference["channel_id"]))
        original = channel.messages.get(int(message.reference.get("message_id", 0))) if channel else None
        if original is None:
            return {"referenced_message": None} if message.type == REPLY else {}
        described = self.message_payload(original)
        described.pop("referenced_message", None)
        return {"referenced_message": described}

    def guild_payload(self) -> dict[str, Any]:
        guild = self.guild
        return {
            "id": str(guild.id),
            "name": guild.name,
            "icon": None,
            "description": None,
            "home_header": None,
            "splash": None,
            "discovery_splash": None,
            "features": [],
            "banner": None,
            "owner_id": str(guild.owner_id),
            "application_id": None,
            "region": "deprecated",
            "afk_channel_id": None,
            "afk_timeout": 300,
            "system_channel_id": None,
            "system_channel_flags": 0,
            "widget_enabled": False,
            "widget_channel_id": None,
            "verification_level": 1,
            "roles": [role_payload(role) for role in self.roles.values()],
            "default_message_notifications": 1,
            "mfa_level": 0,
            "explicit_content_filter": 2,
            "max_presences": None,
            "max_members": 500_000,
            "max_stage_video_channel_users": 50,
            "max_video_channel_users": 25,
            "vanity_url_code": None,
            "premium_tier": guild.premium_tier,
            "premium_subscription_count": 0,
            "preferred_locale": guild.locale,
            "rules_channel_id": None,
            "safety_alerts_channel_id": None,
            "public_updates_channel_id": None,
            "premium_progress_bar_enabled": False,
            "nsfw": False,
            "nsfw_level": 0,
            "emojis": [],
            "stickers": [],
            "incidents_data": None,
        }

    def guild_create_payload(self, intents: int) -> dict[str, Any]:
        """The guild as the gateway sends it; without the members intent only the bot is among its members."""
        people = [user for user in self.users.values() if user is self.bot or intents & GUILD_MEMBERS]
        visible = [item for item in self.channels.values() if item.kind != DIRECT and self.bot_may(item, "view_channel")]
        return self.guild_payload() | {
            "joined_at": iso(self.bot.joined_at),
            "large": False,
            "unavailable": False,
            "member_count": len(self.users),
            "members": [self.member_payload(user) for user in people],
            "channels": [self.channel_payload(item) for item in visible if not isinstance(item, Thread)],
            "threads": [self.channel_payload(item) for item in visible if isinstance(item, Thread) and not item.archived],
            "presences": [],
            "voice_states": [],
            "stage_instances": [],
            "guild_scheduled_events": [],
            "soundboard_sounds": [],
        }


def role_payload(role: Role) -> dict[str, Any]:
    return {
        "id": str(role.id),
        "name": role.name,
        "permissions": str(role.permissions),
        "position": role.position,
        "color": 0,
        "colors": {"primary_color": 0, "secondary_color": None, "tertiary_color": None},
        "hoist": False,
        "managed": role.managed,
        "mentionable": False,
        "icon": None,
        "unicode_emoji": None,
        "flags": 0,
    }


def embedded(message: Message, attachment: Attachment, shown: list[dict[str, Any]]) -> bool:
    """Whether a file stands inside an embed, and so is not listed again. Components-V2 messages list all their files."""
    if shown:
        return False
    inside = [embed.get(part, {}).get("url") for embed in message.embeds for part in ("image", "thumbnail")]
    return attachment.url in inside
