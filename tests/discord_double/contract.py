"""Discord's official OpenAPI description, as a judge of requests and answers.

Only the part of JSON Schema that the description uses is compiled, each schema once, into plain functions.
Requests are read strictly: a field that the description does not know is a violation.
"""

from __future__ import annotations

import copy
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

Check = Callable[[Any, str], list[str]]

_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value),
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}
KEPT_ATTACHMENT = ("proxy_url", "url", "size", "spoiler", "content_type", "width", "height")


def description_path() -> Path | None:
    """Where the description is: `KAPELLE_DISCORD_OPENAPI`, or beside the project; None where there is none."""
    named = os.environ.get("KAPELLE_DISCORD_OPENAPI")
    path = Path(named) if named else Path(__file__).parents[3] / "shared" / "contracts" / "discord-openapi.json"
    return path if path.is_file() else None


@cache
def contract(path: Path) -> Contract:
    """The description at a path, read and compiled once a process."""
    return Contract(path)


class Contract:
    """Checks bodies, queries and answers of routes against the description."""

    def __init__(self, path: Path) -> None:
        description = json.loads(path.read_text(encoding="utf-8"))
        self._paths: dict[str, Any] = description["paths"]
        self._components: dict[str, Any] = description["components"]
        self._compiled: dict[tuple[str, bool], Check] = {}
        self._routes: dict[tuple[str, str, str], Check | None] = {}

    def request(self, method: str, template: str, query: Mapping[str, str], body: Any) -> list[str]:
        """What the description holds against a request; nothing when it is sound."""
        operation = self._paths.get(template, {}).get(method.lower())
        if operation is None:
            return ["the description knows no such route"]
        return self._query(operation, query) + self._body(method, template, operation, body)

    def response(self, method: str, template: str, status: int, body: Any) -> list[str]:
        """What the description holds against an answer of the double."""
        operation = self._paths.get(template, {}).get(method.lower())
        if operation is None:
            return []
        key = (method, template, str(status))
        if key not in self._routes:
            answers = operation["responses"]
            answer = answers.get(str(status)) or answers.get(f"{status // 100}XX")
            if answer is None:
                return [f"answer {status} is not described"]
            if "$ref" in answer:
                answer = self._components["responses"][answer["$ref"].rsplit("/", 1)[1]]
            schema = answer.get("content", {}).get("application/json", {}).get("schema")
            self._routes[key] = None if schema is None else self._compile(schema, strict=False)
        check = self._routes[key]
        if check is None:
            return [] if body is None else [f"answer {status} has no body in the description"]
        if status >= 400 and isinstance(body, dict):
            # The description calls the codes inside `errors` numbers; Discord sends words.
            body = {name: value for name, value in body.items() if name != "errors"}
        return [f"answer {status}: {reason}" for reason in check(body, "body")]

    def _query(self, operation: dict[str, Any], query: Mapping[str, str]) -> list[str]:
        parameters = {item["name"]: item for item in operation.get("parameters", ()) if item["in"] == "query"}
        found = []
        for name, text in query.items():
            if name == "use_nested_fields":
                continue  # discord.py asks for it where it posts in a forum
            if name not in parameters:
                found.append(f"query {name}: unknown")
                continue
            schema = parameters[name]["schema"]
            kind = schema.get("type")
            value: Any = text
            if kind == "integer" and re.fullmatch(r"-?\d+", text):
                value = int(text)
            elif kind == "boolean" and text.lower() in {"0", "1", "true", "false"}:
                value = text.lower() in {"1", "true"}
            found += self._compile(schema, strict=True)(value, f"query {name}")
        found += [f"query {name}: missing" for name, item in parameters.items() if item.get("required") and name not in query]
        return found

    def _body(self, method: str, template: str, operation: dict[str, Any], body: Any) -> list[str]:
        key = (method, template, "request")
        if key not in self._routes:
            schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
            self._routes[key] = None if schema is None else self._compile(schema, strict=True)
        check = self._routes[key]
        if check is None:
            return [] if body is None else ["body: none is described"]
        if body is None:
            return ["body: missing"] if operation["requestBody"].get("required") else []
        return check(_without_known_deviations(method, template, body), "body")

    def _reference(self, name: str, strict: bool) -> Check:
        key = (name, strict)

        def check(value: Any, at: str) -> list[str]:
            if key not in self._compiled:
                self._compiled[key] = self._compile(self._components["schemas"][name], strict)
            return self._compiled[key](value, at)

        return check

    def _compile(self, schema: dict[str, Any], strict: bool) -> Check:
        if "$ref" in schema:
            return self._reference(schema["$ref"].rsplit("/", 1)[1], strict)
        checks: list[Check] = []
        kinds = schema.get("type")
        if kinds is not None:
            checks.append(_of_type([kinds] if isinstance(kinds, str) else kinds))
        if "const" in schema:
            checks.append(_one_of([schema["const"]]))
        if "enum" in schema:
            checks.append(_one_of(schema["enum"]))
        # Parts of a conjunction describe one value together, so none of them alone knows all its fields.
        checks += [self._compile(part, strict=False) for part in schema.get("allOf", ())]
        variants = schema.get("oneOf") or schema.get("anyOf")
        if variants:
            checks.append(_any_of([self._compile(variant, strict) for variant in variants]))
        if "properties" in schema or isinstance(schema.get("additionalProperties"), dict):
            checks.append(self._object(schema, strict))
        if "items" in schema:
            checks.append(_items(self._compile(schema["items"], strict)))
        checks += _bounds(schema)
        return _all(checks)

    def _object(self, schema: dict[str, Any], strict: bool) -> Check:
        fields = {name: self._compile(part, strict) for name, part in schema.get("properties", {}).items()}
        required = schema.get("required", ())
        others = schema.get("additionalProperties")
        other = self._compile(others, strict) if isinstance(others, dict) else None

        def check(value: Any, at: str) -> list[str]:
            if not isinstance(value, dict):
                return []
            found = [f"{at}.{name}: missing" for name in required if name not in value]
            for name, part in value.items():
                field = fields.get(name, other)
                if field is not None:
                    found += field(part, f"{at}.{name}")
                elif strict:
                    found.append(f"{at}.{name}: unknown field")
            return found

        return check


def _all(checks: list[Check]) -> Check:
    if len(checks) == 1:
        return checks[0]

    def check(value: Any, at: str) -> list[str]:
        return [reason for part in checks for reason in part(value, at)]

    return check


def _of_type(kinds: Iterable[str]) -> Check:
    tests = [_TYPES[kind] for kind in kinds]
    expected = " or ".join(kinds)

    def check(value: Any, at: str) -> list[str]:
        return [] if any(test(value) for test in tests) else [f"{at}: {type(value).__name__} where {expected} is described"]

    return check


def _one_of(values: list[Any]) -> Check:
    def check(value: Any, at: str) -> list[str]:
        return [] if value is None or value in values else [f"{at}: {value!r} is not one of {values}"]

    return check


def _any_of(variants: list[Check]) -> Check:
    def check(value: Any, at: str) -> list[str]:
        nearest: list[str] | None = None
        for variant in variants:
            reasons = variant(value, at)
            if not reasons:
                return []
            # The variant meant is the one whose own type and whose `type` field fit; then the one with the least to say.
            if nearest is None or _distance(reasons, at) < _distance(nearest, at):
                nearest = reasons
        return nearest or []

    return check


def _distance(reasons: list[str], at: str) -> tuple[bool, int]:
    return any(reason.startswith((f"{at}: ", f"{at}.type: ")) for reason in reasons), len(reasons)


def _items(part: Check) -> Check:
    def check(value: Any, at: str) -> list[str]:
        if not isinstance(value, list):
            return []
        return [reason for index, item in enumerate(value) for reason in part(item, f"{at}.{index}")]

    return check


def _bounds(schema: dict[str, Any]) -> list[Check]:
    checks: list[Check] = []
    for kinds, low, high, word in (
        (str, "minLength", "maxLength", "long"),
        (list, "minItems", "maxItems", "items"),
        (dict, "minProperties", "maxProperties", "fields"),
    ):
        if low in schema or high in schema:
            checks.append(_sized(kinds, schema.get(low, 0), schema.get(high, math.inf), word))
    if "minimum" in schema or "maximum" in schema:
        checks.append(_ranged(schema.get("minimum", -math.inf), schema.get("maximum", math.inf)))
    if "pattern" in schema:
        checks.append(_matching(re.compile(schema["pattern"])))
    if schema.get("uniqueItems"):
        checks.append(_unique)
    if schema.get("format") in {"date-time", "uri"}:
        checks.append(_date_time if schema["format"] == "date-time" else _uri)
    return checks


def _sized(kind: type, low: float, high: float, word: str) -> Check:
    def check(value: Any, at: str) -> list[str]:
        if not isinstance(value, kind) or low <= len(value) <= high:  # type: ignore[arg-type]
            return []
        return [f"{at}: {len(value)} {word}, described are {low} to {high}"]  # type: ignore[arg-type]

    return check


def _ranged(low: float, high: float) -> Check:
    def check(value: Any, at: str) -> list[str]:
        if isinstance(value, bool) or not isinstance(value, int | float) or low <= value <= high:
            return []
        return [f"{at}: {value} is outside {low} to {high}"]

    return check


def _matching(pattern: re.Pattern[str]) -> Check:
    def check(value: Any, at: str) -> list[str]:
        return [f"{at}: does not match {pattern.pattern}"] if isinstance(value, str) and not pattern.search(value) else []

    return check


def _unique(value: Any, at: str) -> list[str]:
    if not isinstance(value, list):
        return []
    seen = [json.dumps(item, sort_keys=True) for item in value]
    return [] if len(set(seen)) == len(seen) else [f"{at}: has the same item twice"]


def _date_time(value: Any, at: str) -> list[str]:
    if not isinstance(value, str):
        return []
    try:
        return [] if datetime.fromisoformat(value).tzinfo else [f"{at}: a time without its offset"]
    except ValueError:
        return [f"{at}: not a time"]


def _uri(value: Any, at: str) -> list[str]:
    return [f"{at}: not an address"] if isinstance(value, str) and not urlsplit(value).scheme else []


def _without_known_deviations(method: str, template: str, body: Any) -> Any:
    """The body without what discord.py 2.7.1 is known to send beyond the description, and Discord to accept."""
    if isinstance(body, list):
        return [_without_known_deviations(method, template, item) for item in body]
    if not isinstance(body, dict):
        return body
    body = copy.deepcopy(body)
    if "/commands" in template:
        body.pop("nsfw", None)
    forms = [body]
    if template.endswith("/callback") and isinstance(body.get("data"), dict):
        forms.append(body["data"])
    if template.endswith("/threads") and isinstance(body.get("message"), dict):
        forms.append(body["message"])
        body["message"].pop("tts", None)
        body.pop("type", None)  # of a post in a forum, which is always public
    edit = (method == "PATCH" and "/messages/" in template) or (template.endswith("/callback") and body.get("type") == 7)
    for form in forms:
        if edit:
            form.pop("tts", None)
        for embed in form.get("embeds") or ():
            if isinstance(embed, dict):
                embed.pop("flags", None)
        for attachment in form.get("attachments") or ():
            if isinstance(attachment, dict):
                _as_snowflake(attachment, "id")
                if "proxy_url" in attachment:  # one that is kept is sent back whole
                    for name in KEPT_ATTACHMENT:
                        attachment.pop(name, None)
        mentions = form.get("allowed_mentions")
        if isinstance(mentions, dict):
            for name in ("users", "roles"):
                if mentions.get(name):
                    mentions[name] = [str(item) if isinstance(item, int) else item for item in mentions[name]]
        reference = form.get("message_reference")
        if isinstance(reference, dict):
            for name in ("message_id", "channel_id", "guild_id"):
                _as_snowflake(reference, name)
    _as_snowflake(body, "recipient_id")
    return body


def _as_snowflake(holder: dict[str, Any], name: str) -> None:
    if isinstance(holder.get(name), int) and not isinstance(holder[name], bool):
        holder[name] = str(holder[name])
