"""The server, its channels, and what can be changed about them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.discord_double.descriptions import role_payload
from tests.discord_double.errors import FormErrors, Refusal
from tests.discord_double.rest.routing import Answer, Call, Rest, route
from tests.discord_double.things import KINDS, Thread


def check_guild(rest: Rest, call: Call) -> None:
    if call.id("guild_id") != rest.world.guild.id or not rest.world.joined:
        raise Refusal(10004)


@route("GET", "/guilds/{guild_id}")
def guild(rest: Rest, call: Call) -> Answer:
    check_guild(rest, call)
    described = rest.world.guild_payload()
    if call.query.get("with_counts", "false").lower() in ("true", "1"):
        people = len(rest.world.users)
        described |= {"approximate_member_count": people, "approximate_presence_count": people}
    return 200, described


@route("GET", "/users/@me/guilds")
def my_guilds(rest: Rest, call: Call) -> Answer:
    world = rest.world
    granted = 0
    for role_id in (world.guild.id, *world.bot.roles):
        granted |= world.roles[role_id].permissions
    if not world.joined:
        return 200, []
    described = {"id": str(world.guild.id), "name": world.guild.name, "icon": None, "banner": None, "owner": False}
    return 200, [{**described, "permissions": str(granted), "features": []}]


@route("GET", "/guilds/{guild_id}/channels")
def guild_channels(rest: Rest, call: Call) -> Answer:
    check_guild(rest, call)
    return 200, [rest.world.channel_payload(item) for item in rest.world.channels.values() if item.kind in KINDS.values()]


@route("GET", "/guilds/{guild_id}/roles")
def guild_roles(rest: Rest, call: Call) -> Answer:
    check_guild(rest, call)
    return 200, [role_payload(role) for role in rest.world.roles.values()]


@route("GET", "/guilds/{guild_id}/members/{user_id}")
def guild_member(rest: Rest, call: Call) -> Answer:
    check_guild(rest, call)
    found = rest.world.users.get(call.id("user_id"))
    if found is None:
        raise Refusal(10007)
    return 200, rest.world.member_payload(found)


@route("POST", "/users/@me/channels")
def open_direct(rest: Rest, call: Call) -> Answer:
    wanted = str(call.fields().get("recipient_id"))
    found = rest.world.users.get(int(wanted)) if wanted.isdigit() else None
    if found is None:
        raise Refusal(10013)
    if found.bot:
        raise Refusal(50007)
    return 200, rest.world.channel_payload(rest.world.direct_channel(found))


@route("GET", "/channels/{channel_id}")
def get_channel(rest: Rest, call: Call) -> Answer:
    channel = rest.world.channel(call.id("channel_id"))
    rest.world.demand(channel)
    return 200, rest.world.channel_payload(channel)


@route("PATCH", "/channels/{channel_id}")
def edit_channel(rest: Rest, call: Call) -> Answer:
    world = rest.world
    channel = world.channel(call.id("channel_id"))
    body = call.fields()
    errors = FormErrors()
    errors.length("name", body.get("name"), 1, 100)
    world.check_name(body.get("name"), errors)
    check_archive_minutes(body, errors)
    errors.raise_if_any()
    if not isinstance(channel, Thread):
        world.demand(channel, "manage_channels")
        channel.name = body.get("name") or channel.name
        world.send("CHANNEL_UPDATE", world.channel_payload(channel))
        return 200, world.channel_payload(channel)
    world.demand(channel)
    manages = world.bot_may(channel, "manage_threads")
    opens = body.get("archived") is False and not channel.locked and world.bot_may(channel, "send_messages_in_threads")
    if not manages:
        changes = {name for name in body if body[name] is not None}
        owns = channel.owner_id == world.bot.id
        if "locked" in changes and body["locked"] != channel.locked:
            raise Refusal(50013)
        if not (owns and not channel.locked) and not (opens and changes <= {"archived", "locked"}):
            raise Refusal(50013)
    if channel.archived and body.get("archived") is not False:
        raise Refusal(50083)
    world.rename(channel, body.get("name") or channel.name, world.bot)
    channel.archive_minutes = body.get("auto_archive_duration") or channel.archive_minutes
    archived = channel.archived if body.get("archived") is None else bool(body["archived"])
    world.set_archived(channel, archived, locked=body.get("locked"))
    return 200, world.channel_payload(channel)


@route("DELETE", "/channels/{channel_id}")
def delete_channel(rest: Rest, call: Call) -> Answer:
    channel = rest.world.channel(call.id("channel_id"))
    rest.world.demand(channel, "manage_threads" if isinstance(channel, Thread) else "manage_channels")
    described = rest.world.channel_payload(channel)
    rest.world.delete_channel(channel)
    return 200, described


def check_archive_minutes(body: Mapping[str, Any], errors: FormErrors) -> None:
    if body.get("auto_archive_duration") not in (None, 60, 1440, 4320, 10080):
        errors.add("auto_archive_duration", "BASE_TYPE_CHOICES", "Value must be one of (60, 1440, 4320, 10080).")
