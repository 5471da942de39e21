"""Routes, the calls that find them, and the state they share."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.discord_double import commands as registry
from tests.discord_double.errors import FormErrors, Refusal
from tests.discord_double.forms import Upload, check_message, write_message
from tests.discord_double.gateway import Gateway
from tests.discord_double.things import DIRECT, EPHEMERAL, LOADING, NOTICES, Message, Thread
from tests.discord_double.uses import Use
from tests.discord_double.world import World

LATE_EDIT_AFTER_S = 3600.0
LATE_EDITS = 2


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
        if message.type in NOTICES:
            raise Refusal(50021)
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

    def check(self, body: dict[str, Any], call: Call, *, edited: Message | None = None) -> None:
        """Refuse a message that Discord refuses, for its form or its words."""
        check_message(body, call.uploads, size_limit=self.world.guild.filesize_limit, edited=edited)
        self.world.check_words(body)

    def edit(self, message: Message, call: Call) -> None:
        """Change a message as the body says, within Discord's limits on edits."""
        world = self.world
        body = call.fields()
        thread = world.channels.get(message.channel_id)
        if isinstance(thread, Thread) and thread.archived:
            raise Refusal(50083)
        self.check(body, call, edited=message)
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
        self.check(dict(body), call)
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
