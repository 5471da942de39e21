"""Threads: opening, listing, and who is in them."""

from __future__ import annotations

from typing import Any

from tests.discord_double.clock import iso
from tests.discord_double.errors import FormErrors, Refusal
from tests.discord_double.rest.channels import check_archive_minutes, check_guild
from tests.discord_double.rest.routing import Answer, Call, Rest, route
from tests.discord_double.things import DIRECT, HAS_THREAD, PRIVATE_THREAD, PUBLIC_THREAD, Message, Thread, User


@route("GET", "/guilds/{guild_id}/threads/active")
def active_threads(rest: Rest, call: Call) -> Answer:
    check_guild(rest, call)
    return 200, _thread_list(rest, rest.world.active_threads(), more=False)


def _open_thread(rest: Rest, call: Call, message: Message | None) -> Answer:
    world = rest.world
    body = call.fields()
    parent = world.channel(call.id("channel_id"))
    if isinstance(parent, Thread) or parent.kind == DIRECT:
        raise Refusal(50024)
    kind = PUBLIC_THREAD if message else body.get("type") or PRIVATE_THREAD
    world.demand(parent, "create_private_threads" if kind == PRIVATE_THREAD else "create_public_threads")
    errors = FormErrors()
    errors.length("name", body.get("name") or "", 1, 100)
    world.check_name(body.get("name"), errors)
    check_archive_minutes(body, errors)
    if kind not in (PUBLIC_THREAD, PRIVATE_THREAD):
        errors.add("type", "BASE_TYPE_CHOICES", "Value must be one of (10, 11, 12).")
    errors.raise_if_any()
    if message and message.flags & HAS_THREAD:
        raise Refusal(160004)
    minutes = body.get("auto_archive_duration") or 4320
    thread = world.add_thread(parent, world.bot, body["name"], kind=kind, minutes=minutes, message=message)
    return 201, world.channel_payload(thread)


@route("POST", "/channels/{channel_id}/threads")
def open_thread(rest: Rest, call: Call) -> Answer:
    return _open_thread(rest, call, None)


@route("POST", "/channels/{channel_id}/messages/{message_id}/threads")
def open_thread_from_message(rest: Rest, call: Call) -> Answer:
    return _open_thread(rest, call, rest.world.message(call.id("channel_id"), call.id("message_id")))


@route("GET", "/channels/{channel_id}/threads/archived/public")
@route("GET", "/channels/{channel_id}/threads/archived/private")
@route("GET", "/channels/{channel_id}/users/@me/threads/archived/private")
def archived_threads(rest: Rest, call: Call) -> Answer:
    channel = rest.world.channel(call.id("channel_id"))
    kind = PUBLIC_THREAD if call.template.endswith("public") else PRIVATE_THREAD
    own = "@me" in call.template
    everybodys = kind == PRIVATE_THREAD and not own
    rest.world.demand(channel, "read_message_history", *(["manage_threads"] if everybodys else []))
    found = [
        item
        for item in rest.world.channels.values()
        if isinstance(item, Thread) and item.parent_id == channel.id and item.archived and item.kind == kind
        if not own or rest.world.bot.id in item.members
    ]
    found.sort(key=lambda item: item.id if own else item.archived_or_opened_at, reverse=True)
    if "before" in call.query:
        before = call.query["before"]
        found = [item for item in found if (item.id < int(before) if own else iso(item.archived_or_opened_at) < before)]
    limit = int(call.query.get("limit", "50"))
    return 200, _thread_list(rest, found[:limit], more=len(found) > limit)


def _thread_list(rest: Rest, threads: list[Thread], *, more: bool) -> dict[str, Any]:
    bot = rest.world.bot.id
    return {
        "threads": [rest.world.channel_payload(item) for item in threads],
        "members": [rest.world.thread_member_payload(item, bot) for item in threads if bot in item.members],
        "has_more": more,
    }


@route("PUT", "/channels/{channel_id}/thread-members/@me")
@route("PUT", "/channels/{channel_id}/thread-members/{user_id}")
def join_thread(rest: Rest, call: Call) -> Answer:
    thread = rest.thread(call.id("channel_id"))
    rest.world.demand(thread, *(["send_messages_in_threads"] if "user_id" in call.parameters else []))
    if thread.archived:
        raise Refusal(50083)
    person = _thread_person(rest, call)
    rest.world.join(thread, person, by=rest.world.bot)
    return 204, None


@route("DELETE", "/channels/{channel_id}/thread-members/@me")
@route("DELETE", "/channels/{channel_id}/thread-members/{user_id}")
def leave_thread(rest: Rest, call: Call) -> Answer:
    thread = rest.thread(call.id("channel_id"))
    rest.world.demand(thread, *(["manage_threads"] if "user_id" in call.parameters else []))
    if thread.archived:
        raise Refusal(50083)
    rest.world.leave(thread, _thread_person(rest, call), by=rest.world.bot)
    return 204, None


def _thread_person(rest: Rest, call: Call) -> User:
    if "user_id" not in call.parameters:
        return rest.world.bot
    found = rest.world.users.get(call.id("user_id"))
    if found is None:
        raise Refusal(10013)
    return found
