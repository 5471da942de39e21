"""Discord's permissions: names, bits, and what they come to in a channel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.discord_double.things import Channel
    from tests.discord_double.world import World

# As listed in Discord's documentation of permissions
BITS: Mapping[str, int] = {
    "create_instant_invite": 1 << 0,
    "kick_members": 1 << 1,
    "ban_members": 1 << 2,
    "administrator": 1 << 3,
    "manage_channels": 1 << 4,
    "manage_guild": 1 << 5,
    "add_reactions": 1 << 6,
    "view_audit_log": 1 << 7,
    "view_channel": 1 << 10,
    "send_messages": 1 << 11,
    "send_tts_messages": 1 << 12,
    "manage_messages": 1 << 13,
    "embed_links": 1 << 14,
    "attach_files": 1 << 15,
    "read_message_history": 1 << 16,
    "mention_everyone": 1 << 17,
    "use_external_emojis": 1 << 18,
    "connect": 1 << 20,
    "speak": 1 << 21,
    "change_nickname": 1 << 26,
    "manage_roles": 1 << 28,
    "manage_webhooks": 1 << 29,
    "use_application_commands": 1 << 31,
    "manage_threads": 1 << 34,
    "create_public_threads": 1 << 35,
    "create_private_threads": 1 << 36,
    "send_messages_in_threads": 1 << 38,
    "send_voice_messages": 1 << 46,
}
EVERYTHING = sum(BITS.values())


def bits(names: Iterable[str]) -> int:
    """The sum of named permissions; ValueError names the one that does not exist."""
    total = 0
    for name in names:
        if name not in BITS:
            raise ValueError(f"no permission is named {name!r}; there are {', '.join(BITS)}")
        total |= BITS[name]
    return total


# What a class server gives everybody, and what an invitation of Kapelle asks for.
EVERYBODY = bits(
    [
        "view_channel",
        "send_messages",
        "send_messages_in_threads",
        "create_public_threads",
        "embed_links",
        "attach_files",
        "read_message_history",
        "add_reactions",
        "use_application_commands",
        "change_nickname",
        "connect",
        "speak",
    ]
)
BOT = bits(
    [
        "view_channel",
        "send_messages",
        "send_messages_in_threads",
        "create_public_threads",
        "attach_files",
        "read_message_history",
    ]
)


class BotPermissions:
    """What the bot may do in a channel and its threads; tests take and give here."""

    def __init__(self, world: World) -> None:
        self._world = world

    def deny(self, channel_id: int, *names: str, announce: bool = True) -> None:
        """Take permissions in a channel. `announce=False`: the bot does not hear of it, its picture is out of date."""
        self._overwrite(channel_id, allow=0, deny=bits(names), announce=announce)

    def allow(self, channel_id: int, *names: str, announce: bool = True) -> None:
        """Give permissions in a channel."""
        self._overwrite(channel_id, allow=bits(names), deny=0, announce=announce)

    def hide(self, channel_id: int) -> None:
        """Take a channel out of everybody's sight but the bot's and, as on Discord, the owner's."""
        channel, seen = self._world.guild_channel(channel_id), bits(["view_channel"])
        allowed, denied = channel.overwrites.get(self._world.guild.id, (0, 0))
        channel.overwrites[self._world.guild.id] = (allowed & ~seen, denied | seen)
        self._overwrite(channel_id, allow=seen, deny=0, announce=True)

    def reset(self, channel_id: int) -> None:
        """Back to what the bot's role says."""
        channel = self._world.guild_channel(channel_id)
        seen = len(self._world.active_threads())
        channel.overwrites.pop(self._world.bot.id, None)
        self._told(channel, seen)

    def _overwrite(self, channel_id: int, *, allow: int, deny: int, announce: bool) -> None:
        channel = self._world.guild_channel(channel_id)
        allowed, denied = channel.overwrites.get(self._world.bot.id, (0, 0))
        seen = len(self._world.active_threads())
        channel.overwrites[self._world.bot.id] = (allowed & ~deny | allow, denied & ~allow | deny)
        if announce:
            self._told(channel, seen)

    def _told(self, channel: Channel, seen: int) -> None:
        self._world.send("CHANNEL_UPDATE", self._world.channel_payload(channel))
        if len(self._world.active_threads()) > seen:
            self._world.sync_threads(channel)
