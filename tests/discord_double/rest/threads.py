"""Threads: opening, listing, and who is in them."""

from __future__ import annotations

from typing import Any

from tests.discord_double.clock import iso
from tests.discord_double.errors import FormErrors, Refusal
from tests.discord_double.forms import write_message
from tests.discord_double.rest.channels import check_archive_minutes, check_guild
from tests.discord_double.rest.routing import Answer, Call, Rest, route
from tests.discord_double.things import (
    FORUM,
    HAS_THREAD,
    PRIVATE_THREAD,
    PUBLIC_THREAD,
    THREADS_IN,
    Channel,
    Message,
    Thread,
    User,
)
from tests.discord_double.world import World


@route("GET", "/guilds/{guild_id}/threads/active")
def active_threads(rest: Rest, call: Call) -> Answer:
    check_guild(rest, call)
    return 200, _thread_list(rest, rest.world.active_threads(), more=False)


def _check_form(world: World, body: dict[str, Any]) -> FormErrors:
    errors = FormErrors()
    errors.length("name", body.get("name") or "", 1, 100)
    world.check_name(body.get("name"), errors)
    check_archive_minutes(body, errors)
    return errors


def _open(rest: Rest, call: Call, parent: Channel, kind: int, message: Message | None = None) -> Thread:
    body = call.fields()
    minutes = body.get("auto_archive_duration") or 4320
    return rest.world.add_thread(parent, rest.world.bot, body["name"], kind=kind, minutes=minutes, message=message)


@route("POST", "/channels/{channel_id}/threads")
def open_thread(rest: Rest, call: Call) -> Answer:
    world = rest.world
    body = call.fields()
    parent = world.channel(call.id("channel_id"))
    if parent.kind == FORUM:
        return _post_in_forum(rest, call, parent)
    kind = body.get("type") or PRIVATE_THREAD
    world.demand(parent)
    if kind not in THREADS_IN.get(parent.kind, ()):
        raise Refusal(50024)
    world.demand(parent, "create_private_threads" if kind == PRIVATE_THREAD else "create_public_threads")
    _check_form(world, body).raise_if_any()
    return 201, world.channel_payload(_open(rest, call, parent, kind))


def _post_in_forum(rest: Rest, call: Call, forum: Channel) -> Answer:
    """A thread with its first message, which has the thread's id; it takes no more than the right to send messages."""
    world = rest.world
    body = call.fields()
    world.demand(forum, "send_messages", *(["attach_files"] if call.uploads else []))
    errors = _check_form(world, body)
    said = body.get("message")
    if not isinstance(said, dict):
        errors.required("message")
    errors.raise_if_any()
    assert isinstance(said, dict)
    rest.check(said, call)
    thread = _open(rest, call, forum, PUBLIC_THREAD)
    message = Message(thread.id, thread.id, world.bot.id, world)
    write_message(world, message, said, call.uploads)
    world.post(message)
    return 201, world.channel_payload(thread) | {"message": message.raw}


@route("POST", "/channels/{channel_id}/messages/{message_id}/threads")
def open_thread_from_message(rest: Rest, call: Call) -> Answer:
    world = rest.world
    parent = world.channel(call.id("channel_id"))
    message = world.message(parent.id, call.id("message_id"))
    world.demand(parent)
    kinds = THREADS_IN.get(parent.kind, frozenset()) - {PRIVATE_THREAD}
    if not kinds or parent.kind == FORUM:
        raise Refusal(50024)
    world.demand(parent, "create_public_threads")
    _check_form(world, call.fields()).raise_if_any()
    if message.flags & HAS_THREAD:
        raise Refusal(160004)
    (kind,) = kinds
    return 201, world.channel_payload(_open(rest, call, parent, kind, message))


@route("GET", "/channels/{channel_id}/threads/archived/public")
@route("GET", "/channels/{channel_id}/threads/archived/private")
@route("GET", "/channels/{channel_id}/users/@me/threads/archived/private")
def archived_threads(rest: Rest, call: Call) -> Answer:
    channel = rest.world.channel(call.id("channel_id"))
    private = not call.template.endswith("public")
    own = "@me" in call.template
    everybodys = private and not own
    rest.world.demand(channel, "read_message_history", *(["manage_threads"] if everybodys else []))
    found = [
        item
        for item in rest.world.channels.values()
        if isinstance(item, Thread) and item.parent_id == channel.id and item.archived
        if (item.kind == PRIVATE_THREAD) == private
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
