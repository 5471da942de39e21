"""Who the bot is, and the commands it registers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.discord_double import commands as registry
from tests.discord_double.errors import FormErrors, Refusal
from tests.discord_double.rest.routing import Answer, Call, Rest, route


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


def _scope(rest: Rest, call: Call) -> int | None:
    if call.id("application_id") != rest.world.application_id:
        raise Refusal(50001)
    if "guild_id" not in call.parameters:
        return None
    if call.id("guild_id") != rest.world.guild.id or not rest.world.joined:
        raise Refusal(50001)
    return rest.world.guild.id


@route("GET", "/applications/{application_id}/commands")
@route("GET", "/applications/{application_id}/guilds/{guild_id}/commands")
def list_commands(rest: Rest, call: Call) -> Answer:
    found = rest.commands.all(_scope(rest, call))
    if call.query.get("with_localizations", "false").lower() in ("true", "1"):
        return 200, found
    return 200, [registry.without_localizations(item) for item in found]


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
