"""The class server as it is now, and the laws about it that hold whoever asks."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from tests.discord_double import permissions
from tests.discord_double.clock import Changes, Clock, Snowflakes, iso
from tests.discord_double.descriptions import Descriptions, role_payload
from tests.discord_double.errors import FormErrors, Refusal
from tests.discord_double.things import (
    ADDED,
    DIRECT,
    DIRECT_MESSAGES,
    FORUM,
    GUILD_MEMBERS,
    GUILD_MESSAGES,
    HAS_THREAD,
    NOTICES,
    PRIVATE_THREAD,
    REMOVED,
    RENAMED,
    STARTER,
    TEXT,
    THREAD_CREATED,
    VOCAL,
    Attachment,
    Channel,
    Guild,
    Message,
    Role,
    Thread,
    User,
)

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
        self.joined = True  # whether the bot is in the server
        self.filtered_in_names: set[str] = set()
        self.filtered_in_messages: set[str] = set()
        self.snowflakes = Snowflakes(clock)
        self.dispatch: Dispatch = lambda event, data, intents: None
        self.users: dict[int, User] = {}
        self.roles: dict[int, Role] = {}
        self.channels: dict[int, Channel] = {}
        self.files: dict[str, Attachment] = {}  # by path on the CDN
        self.nonces: dict[tuple[int, str | int], tuple[float, Message]] = {}  # by author, whatever the channel
        clock.advanced.append(self.archive_the_silent)
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

    def tell(self, channel: Channel, event: str, data: dict[str, Any], intents: int = 0) -> None:
        """As `send`, of something in a channel: of what the bot cannot see it hears nothing."""
        if self.sees(self.bot, channel):
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

    def sees(self, user: User, channel: Channel) -> bool:
        """Whether a user may look into a channel; into a private thread only its members and who manages threads."""
        granted = self.permissions_of(user, channel)
        if not granted & permissions.BITS["view_channel"] or (user is self.bot and not self.joined and channel.kind != DIRECT):
            return False
        if channel.kind in VOCAL and not granted & permissions.BITS["connect"]:
            return False
        if channel.kind != PRIVATE_THREAD or not isinstance(channel, Thread):
            return True
        return user.id in channel.members or bool(granted & permissions.BITS["manage_threads"])

    def demand(self, channel: Channel, *names: str) -> None:
        """Refusal 50001 where the bot cannot see the channel, 50013 where it lacks one of the permissions."""
        if not self.sees(self.bot, channel):
            raise Refusal(50001)
        if not self.bot_may(channel, *names):
            raise Refusal(50013)

    # words

    def check_name(self, name: object, errors: FormErrors) -> None:
        """Note it where a channel's or thread's name holds a word that the server filters."""
        if isinstance(name, str) and any(word in name.lower() for word in self.filtered_in_names):
            errors.add("name", "INVALID_COMMUNITY_PROPERTY_NAME", "Contains words not allowed for servers in Server Discovery.")

    def check_words(self, body: Mapping[str, Any]) -> None:
        """Refusal 200000 where a message's body holds a word that the server filters."""
        said = json.dumps([body.get(name) for name in ("content", "embeds", "components")], ensure_ascii=False).lower()
        if any(word in said for word in self.filtered_in_messages):
            raise Refusal(200000)

    # changing things

    def add_role(self, name: str, granted: int) -> Role:
        role = Role(self.snowflakes.next(), name, granted, len(self.roles))
        self.roles[role.id] = role
        self.send("GUILD_ROLE_CREATE", {"guild_id": str(self.guild.id), "role": role_payload(role)})
        return role

    def add_channel(self, name: str, kind: int = TEXT) -> Channel:
        channel = Channel(self.snowflakes.next(), name, kind=kind, position=len(self.channels))
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
        self.tell(thread, "THREAD_CREATE", {**self.channel_payload(thread), "newly_created": True})
        self._tell_members(thread, added=owner)
        reference = {"guild_id": str(self.guild.id), "channel_id": str(thread.id)}
        if message:
            message.flags |= HAS_THREAD
            reference = {"guild_id": str(self.guild.id), "channel_id": str(parent.id), "message_id": str(message.id)}
            starter = Message(self.snowflakes.next(), thread.id, owner.id, self, type=STARTER, reference=reference)
            thread.messages[starter.id] = starter
            self._message_event("MESSAGE_UPDATE", message)
        elif parent.kind != FORUM and kind != PRIVATE_THREAD:
            self.notice(parent, owner, THREAD_CREATED, name, reference=reference)
        return thread

    def join(self, thread: Thread, user: User, *, by: User | None = None) -> None:
        """Let a user into a thread; where somebody else lets them in, a notice says so. The bot hears of its own joining."""
        if user.id in thread.members:
            return
        thread.members[user.id] = self.clock.now()
        if user is self.bot:
            # Also where it has the thread already, for example as one who manages threads.
            self.send("THREAD_CREATE", self.channel_payload(thread))
        self._tell_members(thread, added=user)
        if by is not None and by is not user:
            self.notice(thread, by, ADDED, mentions=[user.id])

    def leave(self, thread: Thread, user: User, *, by: User | None = None) -> None:
        """Let a user out of a thread."""
        if thread.members.pop(user.id, None) is None:
            return
        self._tell_members(thread, removed=user)
        if by is not None and by is not user:
            self.notice(thread, by, REMOVED, mentions=[user.id])

    def _tell_members(self, thread: Thread, *, added: User | None = None, removed: User | None = None) -> None:
        described: dict[str, Any] = {
            "id": str(thread.id),
            "guild_id": str(self.guild.id),
            "member_count": min(len(thread.members), 50),
        }
        if added is not None:
            member = {"member": self.member_payload(added), "presence": None}
            described["added_members"] = [self.thread_member_payload(thread, added.id) | member]
        if removed is not None:
            described["removed_member_ids"] = [str(removed.id)]
        if self.bot in (added, removed):
            self.send("THREAD_MEMBERS_UPDATE", described)
        else:
            self.tell(thread, "THREAD_MEMBERS_UPDATE", described, GUILD_MEMBERS)

    def notice(self, channel: Channel, author: User, kind: int, content: str = "", **more: Any) -> Message:
        """What Discord itself writes into a channel about something that `author` did there."""
        return self.post(Message(self.snowflakes.next(), channel.id, author.id, self, content, type=kind, **more))

    def set_archived(self, thread: Thread, archived: bool, *, locked: bool | None = None) -> None:
        """Archive a thread or open it again; who does not see it hears nothing of it."""
        opened = thread.archived and not archived
        if archived != thread.archived:
            thread.archived_or_opened_at = self.clock.now()
        thread.archived = archived
        thread.locked = thread.locked if locked is None else locked
        self.tell(thread, "THREAD_UPDATE", self.channel_payload(thread))
        if opened and self.bot.id in thread.members:
            mine = self.thread_member_payload(thread, self.bot.id) | {"guild_id": str(self.guild.id)}
            self.tell(thread, "THREAD_MEMBER_UPDATE", mine)

    def rename(self, thread: Thread, name: str, by: User) -> None:
        """Give a thread another name; a notice in it says so."""
        if name == thread.name:
            return
        thread.name = name
        self.notice(thread, by, RENAMED, name)

    def archive_the_silent(self) -> None:
        """Archive the threads in which nothing was said for as long as they were set to wait."""
        for thread in list(self.channels.values()):
            if not isinstance(thread, Thread) or thread.archived:
                continue
            if self.clock.now() - thread.active_at >= 60 * thread.archive_minutes:
                self.set_archived(thread, True)

    def active_threads(self) -> list[Thread]:
        """The threads that are not archived and that the bot can see: all that the gateway tells of."""
        open_ = [item for item in self.channels.values() if isinstance(item, Thread) and not item.archived]
        return [thread for thread in open_ if self.sees(self.bot, thread)]

    def sync_threads(self, channel: Channel) -> None:
        """Tell the bot of the active threads of a channel that it has gained access to."""
        threads = [thread for thread in self.active_threads() if thread.parent_id == channel.id]
        joined = [thread for thread in threads if self.bot.id in thread.members]
        self.send(
            "THREAD_LIST_SYNC",
            {
                "guild_id": str(self.guild.id),
                "channel_ids": [str(channel.id)],
                "threads": [self.channel_payload(thread) for thread in threads],
                "members": [self.thread_member_payload(thread, self.bot.id) for thread in joined],
            },
        )

    def delete_channel(self, channel: Channel) -> None:
        for thread in [item for item in self.channels.values() if isinstance(item, Thread) and item.parent_id == channel.id]:
            self.delete_channel(thread)
        seen = self.sees(self.bot, channel)
        del self.channels[channel.id]
        for message in channel.messages.values():
            message.deleted = True
        if not isinstance(channel, Thread):
            self.send("CHANNEL_DELETE", self.channel_payload(channel))
        elif seen:
            described = {"id": str(channel.id), "guild_id": str(self.guild.id), "parent_id": str(channel.parent_id)}
            self.send("THREAD_DELETE", {**described, "type": channel.kind})
        self.changes.announce()

    def known_nonce(self, author_id: int, nonce: str | int) -> Message | None:
        """The message that an author already sent with a nonce, in whatever channel, if Discord still remembers it."""
        sent_at, message = self.nonces.get((author_id, nonce), (0.0, None))
        if message is None or message.deleted or self.clock.now() - sent_at > NONCE_MEMORY_S:
            return None
        return message

    def post(self, message: Message) -> Message:
        """Put a finished message into its channel (an ephemeral one into nobody's) and tell of it."""
        channel = self.channel(message.channel_id)
        if message.ephemeral:
            self.changes.announce()
            return message
        channel.messages[message.id] = message
        if message.nonce is not None:
            self.nonces[message.author_id, message.nonce] = (self.clock.now(), message)
        if isinstance(channel, Thread):
            channel.sent += 1
            if message.type not in NOTICES and not message.from_webhook:  # an answer to an interaction joins no thread
                for user_id in (message.author_id, *message.mentions):
                    self.join(channel, self.users[user_id])
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
        self.tell(channel, "MESSAGE_DELETE", described, DIRECT_MESSAGES if channel.kind == DIRECT else GUILD_MESSAGES)

    def _message_event(self, event: str, message: Message) -> None:
        channel = self.channel(message.channel_id)
        described = self.message_payload(message)
        if message.nonce is not None and event == "MESSAGE_CREATE":
            described["nonce"] = message.nonce
        author = self.users[message.author_id]
        if channel.kind != DIRECT:
            described["guild_id"] = str(self.guild.id)
            described["member"] = self.member_payload(author, user=False)
        self.tell(channel, event, described, DIRECT_MESSAGES if channel.kind == DIRECT else GUILD_MESSAGES)

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
        channels = [item for item in self.channels.values() if item.kind != DIRECT and not isinstance(item, Thread)]
        return self.guild_payload() | {
            "joined_at": iso(self.bot.joined_at),
            "large": False,
            "unavailable": False,
            "member_count": len(self.users),
            "members": [self.member_payload(user) for user in people],
            "channels": [self.channel_payload(item) for item in channels if self.bot_may(item, "view_channel")],
            "threads": [self.channel_payload(item) for item in self.active_threads()],
            "presences": [],
            "voice_states": [],
            "stage_instances": [],
            "guild_scheduled_events": [],
            "soundboard_sounds": [],
        }
