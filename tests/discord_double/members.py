"""The people of the class server: what they type, tap and choose, as their clients send it."""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tests.discord_double import commands as registry
from tests.discord_double import uses
from tests.discord_double.commands import ATTACHMENT, BOOLEAN, CHANNEL, INTEGER, MENTIONABLE, NUMBER, ROLE, STRING, USER
from tests.discord_double.descriptions import role_payload
from tests.discord_double.forms import LABEL, ROW, SELECTS, TEXT_INPUT
from tests.discord_double.permissions import BITS
from tests.discord_double.things import (
    DIRECT,
    FORUM,
    PRIVATE_THREAD,
    THREADS_IN,
    WITHOUT_TEXT,
    Channel,
    Message,
    Role,
    Thread,
    User,
    walk,
)
from tests.discord_double.uses import Use

if TYPE_CHECKING:
    from tests.discord_double.double import DiscordDouble

BOT_DM, GUILD = 1, 0


class Member:
    """A person with a client. What a client would not offer or send raises ValueError or LookupError; `raw=True` sends it."""

    def __init__(self, double: DiscordDouble, user: User, locale: str) -> None:
        self.double = double
        self.user = user
        self.locale = locale

    @property
    def id(self) -> int:
        return self.user.id

    @property
    def name(self) -> str:
        return self.user.display_name

    @property
    def dm(self) -> Channel:
        """The conversation with the bot."""
        return self.double.world.direct_channel(self.user)

    def say(self, content: str, channel_id: int | None = None, files: Mapping[str, bytes] | None = None) -> Message:
        """Write a message of one's own."""
        world = self.double.world
        channel = world.channel(self.double.channel.id if channel_id is None else channel_id)
        if isinstance(channel, Thread) and channel.archived:
            world.set_archived(channel, False)
        self._look_into(channel)
        message = Message(world.snowflakes.next(), channel.id, self.id, world, content)
        message.attachments = [world.store_file(channel.id, name, content_) for name, content_ in (files or {}).items()]
        if f"<@{world.bot.id}>" in content:
            message.mentions = [world.bot.id]
        return world.post(message)

    def open_thread(self, name: str, channel_id: int | None = None, *, private: bool = False) -> Thread:
        """Open a thread of one's own, in a forum with its first message.

        Of a private one the bot hears nothing until somebody lets it in.
        """
        world = self.double.world
        parent = world.channel(self.double.channel.id if channel_id is None else channel_id)
        kinds = [kind for kind in sorted(THREADS_IN.get(parent.kind, ())) if private == (kind == PRIVATE_THREAD)]
        if not kinds:
            raise ValueError(f"{parent.name} takes no {'private ' if private else ''}threads")
        thread = world.add_thread(parent, self.user, name, kind=kinds[0], minutes=4320, message=None)
        if parent.kind == FORUM:
            world.post(Message(thread.id, thread.id, self.id, world, name))
        return thread

    def let_in(self, thread: Thread, who: Member | None = None) -> None:
        """Add somebody to a thread; without a name the bot."""
        self.double.world.join(thread, who.user if who else self.double.world.bot, by=self.user)

    def put_out(self, thread: Thread, who: Member | None = None) -> None:
        """Remove somebody from a thread; without a name the bot."""
        self.double.world.leave(thread, who.user if who else self.double.world.bot, by=self.user)

    async def command(
        self, name: str, options: Mapping[str, Any] | None = None, channel_id: int | None = None, *, raw: bool = False
    ) -> Use:
        """Use a slash command; sub-commands after a space: `kapelle limits set`."""
        channel = self._channel(channel_id)
        command, steps, leaf = self._found(name, channel, raw=raw)
        given = dict(options or {})
        if not raw and (reasons := list(registry.reasons_not_to_send(leaf.get("options") or (), given))):
            raise ValueError(f"/{name}: " + "; ".join(reasons))
        resolved: dict[str, Any] = {}
        sent = [self._option(leaf, key, value, channel, resolved) for key, value in given.items()]
        return await self._interact(uses.COMMAND, self._command_data(command, steps, sent, resolved), channel)

    async def autocomplete(
        self, name: str, options: Mapping[str, Any], focused: str, channel_id: int | None = None
    ) -> list[tuple[str, Any]]:
        """The choices offered while typing the option `focused`, as (name, value). TimeoutError without an answer."""
        channel = self._channel(channel_id)
        command, steps, leaf = self._found(name, channel, raw=False)
        option = next((item for item in leaf.get("options") or () if item["name"] == focused), None)
        if option is None or not option.get("autocomplete"):
            raise LookupError(f"/{name} has no option {focused!r} with autocomplete")
        sent = [self._option(leaf, key, value, channel, {}) for key, value in options.items()]
        for item in sent:
            if item["name"] == focused:
                item |= {"focused": True, "value": str(item["value"])}
        use = await self._interact(uses.AUTOCOMPLETE, self._command_data(command, steps, sent, {}), channel)
        if use.kind is None:
            raise TimeoutError(f"no choices within {self.double.patience_s} s")
        return [(choice["name"], choice["value"]) for choice in use.choices]

    async def menu(self, name: str, target: Message | Member, channel_id: int | None = None, *, raw: bool = False) -> Use:
        """Use a context menu on a message or a member."""
        world = self.double.world
        if isinstance(target, Message):
            channel = self._channel(target.channel_id)
            resolved: dict[str, Any] = {"messages": {str(target.id): target.raw}}
            kind = registry.MESSAGE_MENU
        else:
            channel = self._channel(channel_id)
            described = world.member_payload(target.user, user=False) | {"permissions": self._permissions(channel, target.user)}
            resolved = {
                "users": {str(target.id): world.user_payload(target.user)},
                "members": {str(target.id): described},
            }
            kind = registry.USER_MENU
        command = self._offered(name, kind, channel, raw=raw)
        data = self._command_data(command, [], [], resolved) | {"target_id": str(target.id)}
        data.pop("options", None)
        return await self._interact(uses.COMMAND, data, channel)

    async def press(self, message: Message, custom_id: str, *, raw: bool = False) -> Use:
        """Press a button; `raw` presses what is disabled, somebody else's, or forged and not there at all."""
        component = self._component(message, custom_id, raw=raw) or {"type": 2}
        data = {"component_type": component["type"], "custom_id": custom_id, "id": component.get("id", 1)}
        return await self._component_use(message, data)

    async def select(self, message: Message, custom_id: str, values: Sequence[Any], *, raw: bool = False) -> Use:
        """Choose in a select: values of its options, or ids of members, roles, channels."""
        component = self._component(message, custom_id, raw=raw) or {"type": 3}
        chosen = [str(getattr(value, "id", value)) for value in values]
        if not raw:
            offered = {option["value"] for option in component.get("options") or ()}
            if component["type"] == 3 and not set(chosen) <= offered:
                raise ValueError(f"{custom_id} offers {sorted(offered)}, not {chosen}")
            if not component.get("min_values", 1) <= len(chosen) <= component.get("max_values", 1):
                raise ValueError(f"{custom_id} takes no {len(chosen)} values")
        data: dict[str, Any] = {
            "component_type": component["type"],
            "custom_id": custom_id,
            "id": component.get("id", 1),
            "values": chosen,
        }
        if component["type"] != 3:
            resolved: dict[str, Any] = {}
            for value in chosen:
                self._resolve(int(value), resolved, self._channel(message.channel_id))
            data["resolved"] = resolved
        return await self._component_use(message, data)

    async def submit(self, use: Use, values: Mapping[str, Any], *, raw: bool = False) -> Use:
        """Fill in and send the modal that a use was answered with; fields left out keep what stands in them."""
        modal = use.modal
        if modal is None:
            raise LookupError("this use was not answered with a modal")
        fields = [item for item in walk(modal["components"]) if "custom_id" in item]
        unknown = set(values) - {item["custom_id"] for item in fields}
        if unknown and not raw:
            raise LookupError(f"the modal has no fields {sorted(unknown)}; it has {[item['custom_id'] for item in fields]}")
        number = iter(range(1, 100))
        filled: list[dict[str, Any]] = []
        for outer in modal["components"]:
            if outer["type"] == LABEL:
                inner = self._filled(outer["component"], values, raw=raw) | {"id": next(number)}
                filled.append({"type": LABEL, "id": next(number), "component": inner})
            elif outer["type"] == ROW:
                inside = [self._filled(item, values, raw=raw) | {"id": next(number)} for item in outer["components"]]
                filled.append({"type": ROW, "id": next(number), "components": inside})
            else:
                filled.append({"type": outer["type"], "id": next(number)})
        data = {"custom_id": modal["custom_id"], "components": filled}
        channel = self._channel(use.channel_id)
        return await self._interact(uses.MODAL_SUBMIT, data, channel, source=use.source, trigger=use)

    # what a client knows

    def _channel(self, channel_id: int | None) -> Channel:
        return self.double.world.channel(self.double.channel.id if channel_id is None else channel_id)

    def _look_into(self, channel: Channel) -> None:
        """LookupError where this member sees no such channel, ValueError where nothing can be typed in it."""
        if not self.double.world.sees(self.user, channel):
            raise LookupError(f"{self.name} cannot see {channel.name}")
        if channel.kind in WITHOUT_TEXT:
            raise ValueError(f"nothing can be written in {channel.name}")

    def _permissions(self, channel: Channel, user: User) -> str:
        return str(self.double.world.permissions_of(user, channel))

    def _offered(self, name: str, kind: int, channel: Channel, *, raw: bool) -> dict[str, Any]:
        command = self.double.rest.commands.named(name, kind, self.double.guild.id)
        if raw:
            return command
        self._look_into(channel)
        granted = int(self._permissions(channel, self.user))
        needed = int(command.get("default_member_permissions") or 0)
        if granted & needed != needed:
            raise LookupError(f"{self.name} is not offered /{name}: it needs permissions {needed}")
        contexts = command.get("contexts")
        private = channel.kind == DIRECT
        allowed = (command.get("dm_permission", False) if private else True) if contexts is None else int(private) in contexts
        if not allowed:
            raise LookupError(f"/{name} is not offered here")
        return command

    def _found(
        self, name: str, channel: Channel, *, raw: bool
    ) -> tuple[dict[str, Any], list[Mapping[str, Any]], Mapping[str, Any]]:
        first, *path = name.split()
        command = self._offered(first, registry.SLASH, channel, raw=raw)
        steps = registry.descend(command, path)
        return command, steps, steps[-1] if steps else command

    def _command_data(
        self, command: Mapping[str, Any], steps: Sequence[Mapping[str, Any]], sent: list[Any], resolved: dict[str, Any]
    ) -> dict[str, Any]:
        options = sent
        for step in reversed(steps):
            options = [{"name": step["name"], "type": step["type"], "options": options}]
        data: dict[str, Any] = {"id": command["id"], "name": command["name"], "type": command["type"], "options": options}
        if "guild_id" in command:
            data["guild_id"] = command["guild_id"]
        if resolved:
            data["resolved"] = resolved
        return data

    def _option(
        self, leaf: Mapping[str, Any], name: str, value: Any, channel: Channel, resolved: dict[str, Any]
    ) -> dict[str, Any]:
        known = next((item["type"] for item in leaf.get("options") or () if item["name"] == name), None)
        kind = known or (BOOLEAN if isinstance(value, bool) else INTEGER if isinstance(value, int) else STRING)
        if isinstance(value, float) and known is None:
            kind = NUMBER
        if kind in (USER, CHANNEL, ROLE, MENTIONABLE):
            number = int(getattr(value, "id", value))
            self._resolve(number, resolved, channel)
            value = str(number)
        elif kind == ATTACHMENT:
            filename, content = value
            stored = self.double.world.store_file(channel.id, filename, content, ephemeral=True)
            resolved.setdefault("attachments", {})[str(stored.id)] = stored.payload()
            value = str(stored.id)
        return {"name": name, "type": kind, "value": value}

    def _resolve(self, number: int, resolved: dict[str, Any], channel: Channel) -> None:
        """Describe what an id in the data stands for; an id that stands for nothing stays undescribed."""
        world = self.double.world
        if number in world.users:
            user = world.users[number]
            resolved.setdefault("users", {})[str(number)] = world.user_payload(user)
            described = world.member_payload(user, user=False) | {"permissions": self._permissions(channel, user)}
            resolved.setdefault("members", {})[str(number)] = described
        elif number in world.channels:
            chosen = world.channels[number]
            described = world.channel_payload(chosen) | {"permissions": self._permissions(chosen, self.user)}
            resolved.setdefault("channels", {})[str(number)] = described
        elif number in world.roles:
            resolved.setdefault("roles", {})[str(number)] = role_payload(world.roles[number])

    def _component(self, message: Message, custom_id: str, *, raw: bool) -> dict[str, Any] | None:
        component = message.component(custom_id)
        if raw:
            return component
        channel = self.double.world.channels.get(message.channel_id)
        unseen = channel is not None and not self.double.world.sees(self.user, channel)
        if unseen or message.seen_by not in (None, self.id):
            raise LookupError(f"{self.name} cannot see this message")
        if component is None or message.deleted:
            there = [item["custom_id"] for item in walk(message.components) if "custom_id" in item]
            raise LookupError(f"there is no {custom_id!r} to use; there are {there}")
        if component.get("disabled"):
            raise ValueError(f"{custom_id!r} is disabled")
        return component

    def _filled(self, item: Mapping[str, Any], values: Mapping[str, Any], *, raw: bool) -> dict[str, Any]:
        custom_id = item["custom_id"]
        described: dict[str, Any] = {"type": item["type"], "custom_id": custom_id}
        if item["type"] in SELECTS or item["type"] in (19, 22):
            chosen = values.get(custom_id) or [option["value"] for option in item.get("options") or () if option.get("default")]
            return described | {"values": [str(value) for value in chosen]}
        if item["type"] != TEXT_INPUT:
            return described | {"value": values.get(custom_id)}
        text = values.get(custom_id, item.get("value") or "")
        low, high = item.get("min_length") or 0, item.get("max_length") or 4000
        required = item.get("required", True)
        if not raw and not (max(low, 1) if required else 0) <= len(text) <= high:
            raise ValueError(f"{custom_id}: {len(text)} characters, the field takes {low} to {high}")
        return described | {"value": text}

    # sending

    async def _component_use(self, message: Message, data: dict[str, Any]) -> Use:
        return await self._interact(uses.COMPONENT, data, self._channel(message.channel_id), source=message)

    async def _interact(
        self, kind: int, data: dict[str, Any], channel: Channel, *, source: Message | None = None, trigger: Use | None = None
    ) -> Use:
        double = self.double
        world = double.world
        interaction_id = world.snowflakes.next()
        private = channel.kind == DIRECT
        owners = {"0": "0" if private else str(world.guild.id)}
        shown_kind = uses.COMMAND if kind == uses.AUTOCOMPLETE else kind
        metadata: dict[str, Any] = {
            "id": str(interaction_id),
            "type": shown_kind,
            "user": world.user_payload(self.user),
            "authorizing_integration_owners": owners,
        }
        if kind == uses.COMPONENT and source is not None:
            metadata["interacted_message_id"] = str(source.id)
        if trigger is not None:
            metadata["triggering_interaction_metadata"] = trigger.metadata
        secret = f"interaction:{interaction_id}:".encode() + secrets.token_bytes(99)
        token = base64.urlsafe_b64encode(secret).decode().rstrip("=")
        use = Use(
            world, interaction_id, token, kind, self.user, channel.id, world.clock.now(), metadata, data=data, source=source
        )
        double.rest.uses[token] = use
        permissions = self._permissions(channel, self.user)
        payload: dict[str, Any] = {
            "version": 1,
            "id": str(interaction_id),
            "application_id": str(world.application_id),
            "type": kind,
            "token": token,
            "data": data,
            "channel_id": str(channel.id),
            "channel": world.channel_payload(channel) | ({} if private else {"permissions": permissions}),
            "locale": self.locale,
            "context": BOT_DM if private else GUILD,
            "authorizing_integration_owners": owners,
            "entitlements": [],
            "entitlement_sku_ids": [],
            "app_permissions": self._permissions(channel, world.bot),
            "attachment_size_limit": world.guild.filesize_limit,
        }
        if private:
            payload["user"] = world.user_payload(self.user)
        else:
            payload |= {
                "guild_id": str(world.guild.id),
                "guild": {"id": str(world.guild.id), "locale": world.guild.locale, "features": []},
                "guild_locale": world.guild.locale,
                "member": world.member_payload(self.user) | {"permissions": permissions},
            }
        if source is not None:
            payload["message"] = _with_component(source.raw, data)
        use.sent_at = time.monotonic()
        double.gateway.interact(payload)
        # A client shows that the application did not respond, and goes on.
        await double.until(lambda: use.kind is not None, double.patience_s)
        return use


def _with_component(message: dict[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """The message as a forger has it: with the component used, should it have none such."""
    there = {item.get("custom_id") for item in walk(message["components"])}
    if "component_type" not in data or data["custom_id"] in there:
        return message
    forged: dict[str, Any] = {"type": data["component_type"], "custom_id": data["custom_id"], "id": data["id"]}
    if data["component_type"] == 2:
        forged |= {"style": 2, "label": "forged"}
    else:
        options = [{"label": value, "value": value} for value in data.get("values", ())]
        forged |= {"min_values": 1, "max_values": 1, "options": options}
    row = {"type": ROW, "id": data["id"], "components": [forged]}
    return {**message, "components": [*message["components"], row]}


def moderator_role(roles: Mapping[int, Role]) -> Role | None:
    """The role that holds Manage Server, if there is one."""
    return next((role for role in roles.values() if role.permissions & BITS["manage_guild"] and not role.managed), None)
