"""Interactions: their first answer and what follows it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tests.discord_double import commands as registry
from tests.discord_double import uses
from tests.discord_double.errors import FormErrors, Refusal
from tests.discord_double.forms import check_modal, write_message
from tests.discord_double.rest.routing import Answer, Call, Rest, route
from tests.discord_double.things import CHAT_INPUT, CONTEXT_MENU, DEFAULT, EPHEMERAL, LOADING, REPLY, Message
from tests.discord_double.uses import Use


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
        rest.check(body, call)
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
