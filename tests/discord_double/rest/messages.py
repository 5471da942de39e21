"""Messages in channels, threads and conversations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.discord_double.errors import FormErrors, Refusal
from tests.discord_double.forms import write_message
from tests.discord_double.rest.routing import Answer, Call, Rest, route
from tests.discord_double.things import LASTING, REPLY, THREAD_CREATED, WITHOUT_TEXT, Channel, Message, Thread
from tests.discord_double.world import World

_CLOCKS_DIFFER_S = 0.02  # the bot's and the double's run beside each other


@route("POST", "/channels/{channel_id}/typing")
def typing(rest: Rest, call: Call) -> Answer:
    channel = rest.world.channel(call.id("channel_id"))
    rest.world.demand(channel, _to_send(channel))
    _demand_text(channel)
    return 204, None


def _demand_text(channel: Channel) -> None:
    if channel.kind in WITHOUT_TEXT:
        raise Refusal(50008)


def _to_send(channel: Channel) -> str:
    return "send_messages_in_threads" if isinstance(channel, Thread) else "send_messages"


@route("GET", "/channels/{channel_id}/messages")
def list_messages(rest: Rest, call: Call) -> Answer:
    channel = rest.world.channel(call.id("channel_id"))
    rest.world.demand(channel)
    if not rest.world.bot_may(channel, "read_message_history"):
        return 200, []
    found = sorted(channel.messages.values(), key=lambda item: item.id, reverse=True)
    limit = min(100, max(1, int(call.query.get("limit", "50"))))
    if "before" in call.query:
        found = [item for item in found if item.id < int(call.query["before"])][:limit]
    elif "after" in call.query:
        found = [item for item in found if item.id > int(call.query["after"])][-limit:]
    elif "around" in call.query:
        middle = int(call.query["around"])
        newer = [item for item in found if item.id > middle]
        older = [item for item in found if item.id <= middle]
        found = (newer[-(limit // 2) :] if limit > 1 else []) + older[: limit - limit // 2]
    return 200, [item.raw for item in found[:limit]]


@route("GET", "/channels/{channel_id}/messages/{message_id}")
def get_message(rest: Rest, call: Call) -> Answer:
    channel = rest.world.channel(call.id("channel_id"))
    rest.world.demand(channel, "read_message_history")
    return 200, rest.world.message(channel.id, call.id("message_id")).raw


@route("POST", "/channels/{channel_id}/messages")
def create_message(rest: Rest, call: Call) -> Answer:
    world = rest.world
    channel = world.channel(call.id("channel_id"))
    body = call.fields()
    world.demand(channel, _to_send(channel), *(["attach_files"] if call.uploads else []))
    _demand_text(channel)
    rest.check(body, call)
    nonce = body.get("nonce")
    if nonce is not None and body.get("enforce_nonce"):
        earlier = world.known_nonce(world.bot.id, nonce)
        if earlier is not None:
            return 200, earlier.raw | {"nonce": nonce}
    if isinstance(channel, Thread):
        _open_for_sending(world, channel)
    message = Message(world.snowflakes.next(), channel.id, world.bot.id, world, nonce=nonce)
    _refer(world, message, body)
    write_message(world, message, body, call.uploads)
    world.post(message)
    return 200, message.raw | ({} if nonce is None else {"nonce": nonce})


def _open_for_sending(world: World, thread: Thread) -> None:
    """Sending opens an archived thread again, unless it is locked and the bot has no say in it."""
    if thread.locked and not world.bot_may(thread, "manage_threads"):
        raise Refusal(50083, status=403) if thread.archived else Refusal(160005)
    if thread.archived:
        world.set_archived(thread, False)


def _refer(world: World, message: Message, body: Mapping[str, Any]) -> None:
    reference = body.get("message_reference")
    if not reference:
        return
    replied = world.channel(message.channel_id).messages.get(int(reference.get("message_id", 0)))
    if replied is None and reference.get("fail_if_not_exists", True):
        errors = FormErrors()
        errors.add("message_reference", "MESSAGE_REFERENCE_UNKNOWN_MESSAGE", "Unknown message")
        errors.raise_if_any()
    if replied is not None:
        message.type = REPLY
        message.reference = {"channel_id": str(replied.channel_id), "message_id": str(replied.id)}


@route("PATCH", "/channels/{channel_id}/messages/{message_id}")
def edit_message(rest: Rest, call: Call) -> Answer:
    rest.world.demand(rest.world.channel(call.id("channel_id")), *(["attach_files"] if call.uploads else []))
    message = rest.own_message(call)
    earlier = message.edits[-1:]
    rest.edit(message, call)
    world = rest.world
    if earlier and message.edits[-1] - earlier[0] < world.edits_apart_s - _CLOCKS_DIFFER_S:
        world.violations.append(
            f"message {message.id} was edited after {message.edits[-1] - earlier[0]:.2f} s, not {world.edits_apart_s:g} s"
        )
    return 200, message.raw


@route("DELETE", "/channels/{channel_id}/messages/{message_id}")
def delete_message(rest: Rest, call: Call) -> Answer:
    world = rest.world
    channel = world.channel(call.id("channel_id"))
    world.demand(channel)
    message = world.message(channel.id, call.id("message_id"))
    if message.type in LASTING:
        raise Refusal(50021)
    if message.author_id != world.bot.id or message.type == THREAD_CREATED:
        world.demand(channel, "manage_messages")
    if isinstance(channel, Thread) and channel.archived:
        raise Refusal(50083)
    world.remove(message)
    return 204, None
