"""The class server as it is now, and the laws about it that hold whoever asks."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Any

from tests.discord_double import permissions
from tests.discord_double.clock import Changes, Clock, Snowflakes, iso
from tests.discord_double.descriptions import Descriptions, role_payload
from tests.discord_double.errors import Refusal
from tests.discord_double.things import (
    DIRECT,
    DIRECT_MESSAGES,
    GUILD_MEMBERS,
    GUILD_MESSAGES,
    HAS_THREAD,
    PUBLIC_THREAD,
    STARTER,
    THREAD_CREATED,
    Attachment,
    Channel,
    Guild,
    Message,
    Role,
    Thread,
    User,
)
from tests.discord_double.things import walk as walk  # read from here, too

NONCE_MEMORY_S = 300.0
CDN_LINK_LIFE_S = 86_400
EDITS_APART_S = 2.0  # not Discord's law but what Kapelle promises

Dispatch = Callable[[str, dict[str, Any], int], None]


class World(Descriptions):
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
