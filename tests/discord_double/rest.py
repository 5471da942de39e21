"""Discord's REST API, version 10: each route as one function of a call."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tests.discord_double import commands as registry
from tests.discord_double import uses
from tests.discord_double.clock import iso
from tests.discord_double.errors import FormErrors, Refusal
from tests.discord_double.forms import Upload, check_message, check_modal, write_message
from tests.discord_double.gateway import Gateway
from tests.discord_double.uses import Use
from tests.discord_double.world import (
    CHAT_INPUT,
    CONTEXT_MENU,
    DEFAULT,
    DIRECT,
    EPHEMERAL,
    HAS_THREAD,
    LOADING,
    PRIVATE_THREAD,
    PUBLIC_THREAD,
    REPLY,
    STARTER,
    TEXT,
    THREAD_CREATED,
    Channel,
    Message,
    Thread,
    User,
    World,
    role_payload,
)

LATE_EDIT_AFTER_S = 3600.0
LATE_EDITS = 2
_CLOCKS_DIFFER_S = 0.02  # the bot's and the double's run beside each other


@dataclass
class Call:
    """A request that found its route."""

    method: str
    template: str
    parameters: dict[str, str]
    query: dict[str, str]
    body: Any
    uploads: dict[int, Upload] = field(default_factory=dict)
    arrived_at: float = 0.0  # monotonic

    def id(self, name: str) -> int:
        """A path parameter as a snowflake; Refusal 50035 for what is none."""
        text = self.parameters[name]
        if not re.fullmatch(r"\d{1,20}", text):
            errors = FormErrors()
            errors.add(name, "NUMBER_TYPE_COERCE", f'Value "{text[:40]}" is not snowflake.')
            errors.raise_if_any()
        return int(text)

    def fields(self) -> dict[str, Any]:
        """The body as an object; Refusal 50109 for anything else."""
        if not isinstance(self.body, dict):
            raise Refusal(50109)
        return self.body


Answer = tuple[int, Any]
Handler = Callable[["Rest", Call], Answer]


@dataclass(frozen=True)
class Route:
    method: str
    template: str
    handler: Handler
    by_token: bool  # of an interaction, in the path, instead of the bot's own
    pattern: re.Pattern[str]


ROUTES: list[Route] = []


def route(method: str, template: str, *, by_token: bool = False) -> Callable[[Handler], Handler]:
    """Register a route, with the path as Discord's description writes it."""
    pattern = re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(template)))

    def register(handler: Handler) -> Handler:
        ROUTES.append(Route(method, template, handler, by_token, pattern))
        # `@me` and `@original` come before the parameter they would match.
        ROUTES.sort(key=lambda item: item.template.count("{"))
        return handler

    return register


def find(method: str, path: str) -> tuple[Route, dict[str, str]] | None:
    """The route of a path, with its parameters."""
    for candidate in ROUTES:
        if candidate.method == method and (match := candidate.pattern.fullmatch(path)):
            return candidate, match.groupdict()
    return None


class Rest:
    """The state that the routes share."""

    def __init__(self, world: World, gateway: Gateway) -> None:
        self.world = world
        self.gateway = gateway
        self.commands = registry.Commands()
        self.uses: dict[str, Use] = {}  # by token

    def thread(self, channel_id: int) -> Thread:
        channel = self.world.channel(channel_id)
        if not isinstance(channel, Thread):
            raise Refusal(50024)
        return channel

    def own_message(self, call: Call) -> Message:
        """A message of the bot, or Refusal 50005."""
        message = self.world.message(call.id("channel_id"), call.id("message_id"))
        if message.author_id != self.world.bot.id:
            raise Refusal(50005)
        return message

    def use(self, call: Call) -> Use:
        """The interaction whose token is in the path: 10015 unknown, 50027 expired."""
        use = self.uses.get(call.parameters["webhook_token"])
        if use is None or call.id("webhook_id") != self.world.application_id or use.kind is None:
            raise Refusal(10015)
        if use.expired:
            raise Refusal(50027)
        return use

    def response_of(self, call: Call) -> tuple[Use, Message]:
        """An interaction's original response or one of its follow-ups."""
        use = self.use(call)
        name = call.parameters.get("message_id")
        message = use.original if name is None else None
        if name is not None:
            candidates = [use.original, *use.followups]
            message = next((item for item in candidates if item is not None and str(item.id) == name), None)
        if message is None or message.deleted:
            raise Refusal(10008)
        return use, message

    def edit(self, message: Message, call: Call) -> None:
        """Change a message as the body says, within Discord's limits on edits."""
        world = self.world
        body = call.fields()
        thread = world.channels.get(message.channel_id)
        if isinstance(thread, Thread) and thread.archived:
            raise Refusal(50083)
        check_message(body, call.uploads, size_limit=world.guild.filesize_limit, edited=message)
        late = [at for at in message.edits if at - message.created_at > LATE_EDIT_AFTER_S]
        if world.clock.now() - message.created_at > LATE_EDIT_AFTER_S and len(late) >= LATE_EDITS:
            raise Refusal(30046, extra={"retry_after": 60.0, "global": False})
        write_message(world, message, body, call.uploads)
        if message.thinking:
            message.flags &= ~LOADING
            world.filled(message)
        else:
            world.edited(message)

    def respond(self, use: Use, call: Call, body: Mapping[str, Any], *, kind: int, reference: Message | None) -> Message:
        """A message in answer to an interaction, checked and posted."""
        world = self.world
        check_message(dict(body), call.uploads, size_limit=world.guild.filesize_limit)
        message = self.blank(use, kind, (body.get("flags") or 0) & EPHEMERAL, reference)
        write_message(world, message, body, call.uploads)
        return world.post(message)

    def blank(self, use: Use, kind: int, flags: int, reference: Message | None) -> Message:
        world = self.world
        pointed = None
        if reference is not None:
            pointed = {"channel_id": str(reference.channel_id), "message_id": str(reference.id)}
            if world.channel(reference.channel_id).kind != DIRECT:
                pointed["guild_id"] = str(world.guild.id)
        return Message(
            world.snowflakes.next(),
            use.channel_id,
            world.bot.id,
            world,
            type=kind,
            flags=flags,
            reference=pointed,
            metadata=use.metadata,
            from_webhook=True,
            seen_by=use.member.id if flags & EPHEMERAL else None,
        )


# who the bot is


@route("GET", "/gateway")
def gateway(rest: Rest, call: Call) -> Answer:
    return 200, {"url": "wss://gateway.discord.gg"}


@route("GET", "/gateway/bot")
def gateway_bot(rest: Rest, call: Call) -> Answer:
    left = max(0, 1000 - rest.gateway.identifies)
    limit = {"total": 1000, "remaining": left, "reset_after": 14_400_000, "max_concurrency": 1}
    return 200, {"url": "wss://gateway.discord.gg", "shards": 1, "session_start_limit": limit}


@route("GET", "/users/@me")
def me(rest: Rest, call: Call) -> Answer:
    extra = {"mfa_enabled": True, "locale": "en-US", "premium_type": 0, "email": None, "verified": True}
    return 200, rest.world.user_payload(rest.world.bot) | extra


@route("GET", "/users/{user_id}")
def user(rest: Rest, call: Call) -> Answer:
    found = rest.world.users.get(call.id("user_id"))
    if found is None:
        raise Refusal(10013)
    return 200, rest.world.user_payload(found)


@route("GET", "/oauth2/applications/@me")
@route("GET", "/applications/@me")
def application(rest: Rest, call: Call) -> Answer:
    world = rest.world
    return 200, {
        "id": str(world.application_id),
        "name": "Kapelle",
        "icon": None,
        "description": "",
        "type": None,
        "bot": world.user_payload(world.bot),
        "bot_public": False,
        "bot_require_code_grant": False,
        "integration_types_config": {"0": {}},
        "verify_key": f"{world.application_id:064x}",
        "flags": 1 << 23,
        "flags_new": str(1 << 23),
        "redirect_uris": [],
        "interactions_endpoint_url": None,
        "role_connections_verification_url": None,
        "owner": world.user_payload(world.users[world.guild.owner_id]),
        "approximate_guild_count": 1,
        "approximate_user_install_count": 0,
        "approximate_user_authorization_count": 0,
        "explicit_content_filter": 0,
        "team": None,
        "eligible_oauth2_scopes": [],
    }


# application commands


def _scope(rest: Rest, call: Call) -> int | None:
    if call.id("application_id") != rest.world.application_id:
        raise Refusal(50001)
    if "guild_id" not in call.parameters:
        return None
    if call.id("guild_id") != rest.world.guild.id:
        raise Refusal(50001)
    return rest.world.guild.id


@route("GET", "/applications/{application_id}/commands")
@route("GET", "/applications/{application_id}/guilds/{guild_id}/commands")
def list_commands(rest: Rest, call: Call) -> Answer:
    return 200, rest.commands.all(_scope(rest, call))


@route("PUT", "/applications/{application_id}/commands")
@route("PUT", "/applications/{application_id}/guilds/{guild_id}/commands")
def set_commands(rest: Rest, call: Call) -> Answer:
    scope = _scope(rest, call)
    given = [] if call.body is None else call.body
    if not isinstance(given, list) or not all(isinstance(item, dict) for item in given):
        raise Refusal(50109)
    registry.check_commands(given)
    earlier = {(item["type"], item["name"]): item["id"] for item in rest.commands.all(scope)}
    described = []
    for item in given:
        kept = earlier.get((item.get("type") or registry.SLASH, item["name"]))
        command_id = int(kept) if kept else rest.world.snowflakes.next()
        described.append(registry.described(item, rest.world.application_id, command_id, scope))
    rest.commands.replace(scope, described)
    rest.world.changes.announce()
    return 200, rest.commands.all(scope)


@route("POST", "/applications/{application_id}/commands")
@route("POST", "/applications/{application_id}/guilds/{guild_id}/commands")
def add_command(rest: Rest, call: Call) -> Answer:
    scope = _scope(rest, call)
    body = call.fields()
    _check_command(body)
    key = (body.get("type") or registry.SLASH, body["name"])
    earlier = next((item for item in rest.commands.all(scope) if (item["type"], item["name"]) == key), None)
    command_id = int(earlier["id"]) if earlier else rest.world.snowflakes.next()
    described = registry.described(body, rest.world.application_id, command_id, scope)
    rest.commands.put(scope, described)
    rest.world.changes.announce()
    return 200 if earlier else 201, described


@route("GET", "/applications/{application_id}/commands/{command_id}")
@route("GET", "/applications/{application_id}/guilds/{guild_id}/commands/{command_id}")
def get_command(rest: Rest, call: Call) -> Answer:
    return 200, rest.commands.get(_scope(rest, call), call.parameters["command_id"])


@route("PATCH", "/applications/{application_id}/commands/{command_id}")
@route("PATCH", "/applications/{application_id}/guilds/{guild_id}/commands/{command_id}")
def edit_command(rest: Rest, call: Call) -> Answer:
    scope = _scope(rest, call)
    earlier = rest.commands.get(scope, call.parameters["command_id"])
    merged = {**earlier, **call.fields()}
    _check_command(merged)
    described = registry.described(merged, rest.world.application_id, int(earlier["id"]), scope)
    described["version"] = str(rest.world.snowflakes.next())
    rest.commands.put(scope, described)
    rest.world.changes.announce()
    return 200, described


@route("DELETE", "/applications/{application_id}/commands/{command_id}")
@route("DELETE", "/applications/{application_id}/guilds/{guild_id}/commands/{command_id}")
def delete_command(rest: Rest, call: Call) -> Answer:
    rest.commands.remove(_scope(rest, call), call.parameters["command_id"])
    rest.world.changes.announce()
    return 204, None


def _check_command(body: Mapping[str, Any]) -> None:
    errors = FormErrors()
    registry.check_command(body, errors)
    errors.raise_if_any()


# interactions


@route("POST", "/interactions/{interaction_id}/{interaction_token}/callback", by_token=True)
def callback(rest: Rest, call: Call) -> Answer:
    use = rest.uses.get(call.parameters["interaction_token"])
    if use is None or use.id != call.id("interaction_id"):
        raise Refusal(10062)
    if use.kind is not None:
        raise Refusal(40060)
    if use.too_late:
        raise Refusal(10062)
    body = call.fields()
    kind = body.get("type")
    _check_callback_kind(use, kind)
    data = body.get("data") or {}
    if kind in (uses.MESSAGE, uses.DEFERRED):
        _answer_with_message(rest, use, call, data, deferred=kind == uses.DEFERRED)
    elif kind == uses.DEFERRED_UPDATE:
        use.original = use.source
    elif kind == uses.UPDATE and use.source is not None:
        rest.edit(use.source, replace(call, body=data))
        use.original, use.answered = use.source, True
    elif kind == uses.CHOICES:
        _take_choices(use, data)
    elif kind == uses.MODAL:
        check_modal(data)
        use.modal = data
    use.kind = kind
    use.acknowledged_after_s = call.arrived_at - use.sent_at
    rest.world.changes.announce()
    if call.query.get("with_response", "0").lower() in ("0", "false"):
        return 204, None
    return 200, _callback_response(rest, use)


def _check_callback_kind(use: Use, kind: Any) -> None:
    component = use.type == uses.COMPONENT or (use.type == uses.MODAL_SUBMIT and use.source is not None)
    allowed = {uses.CHOICES} if use.type == uses.AUTOCOMPLETE else {uses.MESSAGE, uses.DEFERRED}
    if component:
        allowed |= {uses.DEFERRED_UPDATE, uses.UPDATE}
    if use.type in (uses.COMMAND, uses.COMPONENT):
        allowed.add(uses.MODAL)
    if kind not in allowed:
        errors = FormErrors()
        errors.add("type", "BASE_TYPE_CHOICES", f"Value must be one of {sorted(allowed)}.")
        errors.raise_if_any()


def _answer_with_message(rest: Rest, use: Use, call: Call, data: Mapping[str, Any], *, deferred: bool) -> None:
    if use.type == uses.COMMAND:
        kind, reference = (CHAT_INPUT if use.data.get("type", 1) == 1 else CONTEXT_MENU), None
    else:
        kind, reference = (REPLY if use.source else DEFAULT), use.source
    use.ephemeral = bool((data.get("flags") or 0) & EPHEMERAL)
    if deferred:
        flags = LOADING | ((data.get("flags") or 0) & EPHEMERAL)
        use.original = rest.world.post(rest.blank(use, kind, flags, reference))
        return
    use.original = rest.respond(use, call, data, kind=kind, reference=reference)
    use.answered = True


def _take_choices(use: Use, data: Mapping[str, Any]) -> None:
    errors = FormErrors()
    choices = data.get("choices") or []
    registry.check_choices(choices, _focused_kind(use.data), errors, "data.choices")
    errors.raise_if_any()
    use.choices = choices


def _focused_kind(data: Mapping[str, Any]) -> int | None:
    for option in data.get("options") or ():
        if option.get("focused"):
            return int(option["type"])
        if (kind := _focused_kind(option)) is not None:
            return kind
    return None


def _callback_response(rest: Rest, use: Use) -> dict[str, Any]:
    interaction: dict[str, Any] = {"id": str(use.id), "type": use.type}
    response: dict[str, Any] = {"interaction": interaction}
    if use.original is not None:
        interaction["response_message_id"] = str(use.original.id)
        interaction["response_message_loading"] = use.original.thinking
        interaction["response_message_ephemeral"] = use.original.ephemeral
        if use.kind in (uses.MESSAGE, uses.UPDATE):
            response["resource"] = {"type": use.kind, "message": use.original.raw}
    return response


@route("POST", "/webhooks/{webhook_id}/{webhook_token}", by_token=True)
def follow_up(rest: Rest, call: Call) -> Answer:
    use = rest.use(call)
    original = use.original
    if original is not None and original.thinking and not original.deleted and use.kind == uses.DEFERRED:
        # The first follow-up takes the place of "thinking", and is as private as the deferral said.
        body = {**call.fields(), "flags": (call.fields().get("flags") or 0) & ~EPHEMERAL}
        check_message(body, call.uploads, size_limit=rest.world.guild.filesize_limit)
        write_message(rest.world, original, body, call.uploads)
        original.flags &= ~LOADING
        use.answered = True
        use.followups.append(original)
        rest.world.filled(original)
        return _sent(call, original)
    message = rest.respond(use, call, call.fields(), kind=REPLY if original else DEFAULT, reference=original)
    use.followups.append(message)
    rest.world.changes.announce()
    return _sent(call, message)


def _sent(call: Call, message: Message) -> Answer:
    return (200, message.raw) if call.query.get("wait", "false").lower() in ("true", "1") else (204, None)


@route("GET", "/webhooks/{webhook_id}/{webhook_token}/messages/@original", by_token=True)
@route("GET", "/webhooks/{webhook_id}/{webhook_token}/messages/{message_id}", by_token=True)
def get_response(rest: Rest, call: Call) -> Answer:
    _, message = rest.response_of(call)
    return 200, message.raw


@route("PATCH", "/webhooks/{webhook_id}/{webhook_token}/messages/@original", by_token=True)
@route("PATCH", "/webhooks/{webhook_id}/{webhook_token}/messages/{message_id}", by_token=True)
def edit_response(rest: Rest, call: Call) -> Answer:
    use, message = rest.response_of(call)
    rest.edit(message, call)
    if message is use.original:
        use.answered = True
        rest.world.changes.announce()
    return 200, message.raw


@route("DELETE", "/webhooks/{webhook_id}/{webhook_token}/messages/@original", by_token=True)
@route("DELETE", "/webhooks/{webhook_id}/{webhook_token}/messages/{message_id}", by_token=True)
def delete_response(rest: Rest, call: Call) -> Answer:
    _, message = rest.response_of(call)
    rest.world.remove(message)
    return 204, None


# the guild


def _check_guild(rest: Rest, call: Call) -> None:
    if call.id("guild_id") != rest.world.guild.id:
        raise Refusal(10004)


@route("GET", "/guilds/{guild_id}")
def guild(rest: Rest, call: Call) -> Answer:
    _check_guild(rest, call)
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
    described = {"id": str(world.guild.id), "name": world.guild.name, "icon": None, "banner": None, "owner": False}
    return 200, [{**described, "permissions": str(granted), "features": []}]


@route("GET", "/guilds/{guild_id}/channels")
def guild_channels(rest: Rest, call: Call) -> Answer:
    _check_guild(rest, call)
    return 200, [rest.world.channel_payload(item) for item in rest.world.channels.values() if item.kind == TEXT]


@route("GET", "/guilds/{guild_id}/roles")
def guild_roles(rest: Rest, call: Call) -> Answer:
    _check_guild(rest, call)
    return 200, [role_payload(role) for role in rest.world.roles.values()]


@route("GET", "/guilds/{guild_id}/members/{user_id}")
def guild_member(rest: Rest, call: Call) -> Answer:
    _check_guild(rest, call)
    found = rest.world.users.get(call.id("user_id"))
    if found is None:
        raise Refusal(10007)
    return 200, rest.world.member_payload(found)


@route("GET", "/guilds/{guild_id}/threads/active")
def active_threads(rest: Rest, call: Call) -> Answer:
    _check_guild(rest, call)
    open_ = [item for item in rest.world.channels.values() if isinstance(item, Thread) and not item.archived]
    return 200, _thread_list(rest, open_, more=False)


# channels and threads


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
    _check_archive_minutes(body, errors)
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
    channel.name = body.get("name") or channel.name
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


def _check_archive_minutes(body: Mapping[str, Any], errors: FormErrors) -> None:
    if body.get("auto_archive_duration") not in (None, 60, 1440, 4320, 10080):
        errors.add("auto_archive_duration", "BASE_TYPE_CHOICES", "Value must be one of (60, 1440, 4320, 10080).")


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
    _check_archive_minutes(body, errors)
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
def archived_threads(rest: Rest, call: Call) -> Answer:
    channel = rest.world.channel(call.id("channel_id"))
    rest.world.demand(channel, "read_message_history")
    kind = PUBLIC_THREAD if call.template.endswith("public") else PRIVATE_THREAD
    found = [
        item
        for item in rest.world.channels.values()
        if isinstance(item, Thread) and item.parent_id == channel.id and item.archived and item.kind == kind
    ]
    found.sort(key=lambda item: item.archived_or_opened_at, reverse=True)
    if "before" in call.query:
        found = [item for item in found if iso(item.archived_or_opened_at) < call.query["before"]]
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
    thread.members.setdefault(person.id, rest.world.clock.now())
    rest.world.changes.announce()
    return 204, None


@route("DELETE", "/channels/{channel_id}/thread-members/@me")
@route("DELETE", "/channels/{channel_id}/thread-members/{user_id}")
def leave_thread(rest: Rest, call: Call) -> Answer:
    thread = rest.thread(call.id("channel_id"))
    rest.world.demand(thread, *(["manage_threads"] if "user_id" in call.parameters else []))
    if thread.archived:
        raise Refusal(50083)
    thread.members.pop(_thread_person(rest, call).id, None)
    rest.world.changes.announce()
    return 204, None


def _thread_person(rest: Rest, call: Call) -> User:
    if "user_id" not in call.parameters:
        return rest.world.bot
    found = rest.world.users.get(call.id("user_id"))
    if found is None:
        raise Refusal(10013)
    return found


@route("POST", "/channels/{channel_id}/typing")
def typing(rest: Rest, call: Call) -> Answer:
    channel = rest.world.channel(call.id("channel_id"))
    rest.world.demand(channel, _to_send(channel))
    return 204, None


def _to_send(channel: Channel) -> str:
    return "send_messages_in_threads" if isinstance(channel, Thread) else "send_messages"


# messages


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
    check_message(body, call.uploads, size_limit=world.guild.filesize_limit)
    nonce = body.get("nonce")
    if nonce is not None and body.get("enforce_nonce"):
        earlier = world.known_nonce(channel, world.bot.id, nonce)
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
            f"message {message.id} was edited after {message.edits[-1] - earlier[0]:.2f} s, not {world.edits_apart_s:g} s")
    return 200, message.raw


@route("DELETE", "/channels/{channel_id}/messages/{message_id}")
def delete_message(rest: Rest, call: Call) -> Answer:
    world = rest.world
    channel = world.channel(call.id("channel_id"))
    world.demand(channel)
    message = world.message(channel.id, call.id("message_id"))
    if message.author_id != world.bot.id or message.type in (THREAD_CREATED, STARTER):
        world.demand(channel, "manage_messages")
    if isinstance(channel, Thread) and channel.archived:
        raise Refusal(50083)
    world.remove(message)
    return 204, None
