"""How Discord describes what exists, in its answers and events."""

from __future__ import annotations

from typing import Any

from tests.discord_double.clock import iso, made_at
from tests.discord_double.things import (
    COMPONENTS_V2,
    FORUM,
    HAS_THREAD,
    REPLY,
    STARTER,
    VOCAL,
    Attachment,
    Channel,
    Guild,
    Message,
    Role,
    Thread,
    User,
    walk,
)


class Descriptions:
    """What there is to describe, each thing as an object of Discord's API."""

    bot: User
    guild: Guild
    application_id: int
    users: dict[int, User]
    roles: dict[int, Role]
    channels: dict[int, Channel]

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
        return (
            described
            | self._kinds_fields(channel)
            | {
                "parent_id": None,
                "topic": None,
                "nsfw": False,
                "position": channel.position,
                "permission_overwrites": [
                    {"id": str(holder), "type": int(holder in self.users), "allow": str(allow), "deny": str(deny)}
                    for holder, (allow, deny) in channel.overwrites.items()
                ],
            }
        )

    def _kinds_fields(self, channel: Channel) -> dict[str, Any]:
        if channel.kind in VOCAL:
            return {"bitrate": 64000, "user_limit": 0, "rtc_region": None, "video_quality_mode": 1}
        if channel.kind == FORUM:
            posts = [item.id for item in self.channels.values() if isinstance(item, Thread) and item.parent_id == channel.id]
            return {
                "last_message_id": str(max(posts)) if posts else None,
                "available_tags": [],
                "default_reaction_emoji": None,
                "default_sort_order": None,
                "default_forum_layout": 0,
            }
        return {}

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
