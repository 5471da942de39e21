"""Application commands: Discord's rules for registering them, and what a member's client does with them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tests.discord_double.errors import FormErrors, Refusal

SUBCOMMAND, GROUP, STRING, INTEGER, BOOLEAN, USER, CHANNEL, ROLE, MENTIONABLE, NUMBER, ATTACHMENT = range(1, 12)
SLASH, USER_MENU, MESSAGE_MENU = 1, 2, 3
LOCALES = frozenset({
    "id", "da", "de", "en-GB", "en-US", "es-ES", "es-419", "fr", "hr", "it", "lt", "hu", "nl", "no", "pl", "pt-BR", "ro",
    "fi", "sv-SE", "vi", "tr", "cs", "el", "bg", "ru", "uk", "hi", "th", "zh-CN", "ja", "zh-TW", "ko",
})  # fmt: skip
LONGEST_COMMAND = 8000
MOST = {SLASH: 100, USER_MENU: 15, MESSAGE_MENU: 15}


def check_commands(commands: Sequence[Mapping[str, Any]]) -> None:
    """Refuse (50035) what Discord does not register: names, lengths, localisations, counts, order of options."""
    errors = FormErrors()
    seen: set[tuple[int, str]] = set()
    for index, command in enumerate(commands):
        check_command(command, errors, f"{index}.")
        key = (command.get("type") or SLASH, str(command.get("name")))
        if key in seen:
            errors.add(f"{index}.name", "APPLICATION_COMMANDS_DUPLICATE_NAME", "Application command names must be unique")
        seen.add(key)
    for kind, most in MOST.items():
        if sum((command.get("type") or SLASH) == kind for command in commands) > most:
            errors.add("_", "APPLICATION_COMMANDS_LIMIT_EXCEEDED", f"At most {most} commands of type {kind}")
    errors.raise_if_any()


def check_command(command: Mapping[str, Any], errors: FormErrors, at: str = "") -> None:
    """Note what is wrong with one command."""
    kind = command.get("type") or SLASH
    _name(command.get("name"), errors, f"{at}name", spaces=kind != SLASH)
    _localised(command, "name", errors, at, spaces=kind != SLASH)
    if kind == SLASH:
        errors.length(f"{at}description", command.get("description") or "", 1, 100)
        _localised(command, "description", errors, at)
        _options(command.get("options") or [], errors, f"{at}options", depth=0)
        if _weight(command) > LONGEST_COMMAND:
            errors.add(f"{at}name", "APPLICATION_COMMAND_TOO_LARGE", f"Command exceeds maximum size ({LONGEST_COMMAND})")
    elif command.get("description"):
        errors.add(f"{at}description", "APPLICATION_COMMAND_CONTEXT_MENU_DESCRIPTION", "Context menus have no description")
    elif command.get("options"):
        errors.add(f"{at}options", "APPLICATION_COMMAND_CONTEXT_MENU_OPTIONS", "Context menus have no options")


def _name(name: Any, errors: FormErrors, at: str, *, spaces: bool = False) -> None:
    errors.length(at, name or "", 1, 32)
    fits = isinstance(name, str) and (spaces or (re.fullmatch(r"[-_'\w]*", name) and name == name.lower()))
    if not fits:
        errors.add(at, "APPLICATION_COMMAND_INVALID_NAME", "Command name is invalid")


def _localised(thing: Mapping[str, Any], field: str, errors: FormErrors, at: str, *, spaces: bool = False) -> None:
    for locale, text in (thing.get(f"{field}_localizations") or {}).items():
        where = f"{at}{field}_localizations.{locale}"
        if locale not in LOCALES:
            errors.add(where, "BASE_TYPE_CHOICES", "This locale is not known")
        if field == "name":
            _name(text, errors, where, spaces=spaces)
        else:
            errors.length(where, text, 1, 100)


def _options(options: Sequence[Mapping[str, Any]], errors: FormErrors, at: str, *, depth: int) -> None:
    if len(options) > 25:
        errors.too_long(at, 25)
    names = [option.get("name") for option in options]
    optional_before = False
    nested = [option.get("type") in (SUBCOMMAND, GROUP) for option in options]
    if any(nested) and not all(nested):
        errors.add(at, "APPLICATION_COMMAND_OPTIONS_TYPE_INVALID", "Sub-commands and options cannot be mixed")
    for index, option in enumerate(options):
        here = f"{at}.{index}"
        _name(option.get("name"), errors, f"{here}.name")
        _localised(option, "name", errors, f"{here}.")
        errors.length(f"{here}.description", option.get("description") or "", 1, 100)
        _localised(option, "description", errors, f"{here}.")
        if names.index(option.get("name")) != index:
            errors.add(f"{here}.name", "APPLICATION_COMMAND_OPTIONS_NAME_ALREADY_EXISTS", "Option name already exists")
        kind = option.get("type")
        if kind in (SUBCOMMAND, GROUP):
            if depth > 1 or (kind == GROUP and depth > 0):
                errors.add(f"{here}.type", "APPLICATION_COMMAND_OPTIONS_TYPE_INVALID", "Nested too deep")
            _options(option.get("options") or [], errors, f"{here}.options", depth=depth + (1 if kind == GROUP else 2))
            continue
        if option.get("required") and optional_before:
            errors.add(here, "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID", "Required options must come before optional ones")
        optional_before = optional_before or not option.get("required")
        _choices(option, errors, here)


def _choices(option: Mapping[str, Any], errors: FormErrors, at: str) -> None:
    choices = option.get("choices") or []
    if choices and option.get("autocomplete"):
        errors.add(at, "APPLICATION_COMMAND_AUTOCOMPLETE_WITH_CHOICES", "Choices and autocomplete exclude each other")
    check_choices(choices, option.get("type"), errors, f"{at}.choices")
    for index, choice in enumerate(choices):
        for locale, text in (choice.get("name_localizations") or {}).items():
            errors.length(f"{at}.choices.{index}.name_localizations.{locale}", text, 1, 100)


def check_choices(choices: Any, kind: int | None, errors: FormErrors, at: str) -> None:
    """Note what is wrong with choices, of an option or of an autocomplete answer."""
    if len(choices) > 25:
        errors.too_long(at, 25)
    for index, choice in enumerate(choices):
        errors.length(f"{at}.{index}.name", choice.get("name") or "", 1, 100)
        value = choice.get("value")
        numeric = isinstance(value, int | float) and not isinstance(value, bool)
        if kind == STRING:
            errors.length(f"{at}.{index}.value", value, 0, 100)
        if value is None or (kind in (INTEGER, NUMBER) and not numeric):
            errors.add(f"{at}.{index}.value", "APPLICATION_COMMAND_OPTIONS_CHOICE_VALUE_INVALID", "Not a value of this option")


def _weight(thing: Mapping[str, Any]) -> int:
    """Characters that count towards a command's size: the longest version of each text, and the values of choices."""
    total = 0
    for field in ("name", "description"):
        total += max(map(len, [thing.get(field) or "", *(thing.get(f"{field}_localizations") or {}).values()]))
    for choice in thing.get("choices") or ():
        total += max(map(len, [choice["name"], *(choice.get("name_localizations") or {}).values()])) + len(str(choice["value"]))
    return total + sum(_weight(option) for option in thing.get("options") or ())


def described(command: Mapping[str, Any], application_id: int, command_id: int, guild_id: int | None) -> dict[str, Any]:
    """A command as Discord gives it back."""
    shown: dict[str, Any] = {name: value for name, value in command.items() if value is not None}
    granted = command.get("default_member_permissions")
    shown |= {
        "id": str(command_id),
        "application_id": str(application_id),
        "version": str(command_id),
        "type": command.get("type") or SLASH,
        "description": command.get("description") or "",
        "default_member_permissions": None if granted is None else str(granted),
        "nsfw": bool(command.get("nsfw")),
        "name_localizations": command.get("name_localizations"),
        "description_localizations": command.get("description_localizations"),
    }
    if guild_id is not None:
        shown["guild_id"] = str(guild_id)
    else:
        shown.setdefault("contexts", None)
        shown.setdefault("integration_types", [0])
        shown["dm_permission"] = command.get("dm_permission") is not False
    return shown


def without_localizations(thing: Mapping[str, Any]) -> dict[str, Any]:
    """A command, option or choice as it is listed where nobody asked for its translations."""
    shown: dict[str, Any] = {}
    for name, value in thing.items():
        if name in ("options", "choices"):
            shown[name] = [without_localizations(item) for item in value]
        else:
            shown[name] = None if name in ("name_localizations", "description_localizations") else value
    return shown


class Commands:
    """The registered commands; a guild's own come before global ones of the same name."""

    def __init__(self) -> None:
        self._by_scope: dict[int | None, dict[str, dict[str, Any]]] = {}

    def all(self, guild_id: int | None) -> list[dict[str, Any]]:
        return list(self._by_scope.get(guild_id, {}).values())

    def __bool__(self) -> bool:
        return any(self._by_scope.values())

    def clear(self) -> None:
        self._by_scope.clear()

    def replace(self, guild_id: int | None, commands: Sequence[dict[str, Any]]) -> None:
        self._by_scope[guild_id] = {command["id"]: command for command in commands}

    def put(self, guild_id: int | None, command: dict[str, Any]) -> None:
        self._by_scope.setdefault(guild_id, {})[command["id"]] = command

    def get(self, guild_id: int | None, command_id: str) -> dict[str, Any]:
        """The command; Refusal 10063 where there is none."""
        command = self._by_scope.get(guild_id, {}).get(command_id)
        if command is None:
            raise Refusal(10063)
        return command

    def remove(self, guild_id: int | None, command_id: str) -> None:
        self.get(guild_id, command_id)
        del self._by_scope[guild_id][command_id]

    def named(self, name: str, kind: int, guild_id: int) -> dict[str, Any]:
        """The command a member sees under a name; LookupError names those there are."""
        for scope in (guild_id, None):
            for command in self._by_scope.get(scope, {}).values():
                if command["name"] == name and command["type"] == kind:
                    return command
        there = sorted({command["name"] for scope in self._by_scope.values() for command in scope.values()})
        raise LookupError(f"no command {name!r} of type {kind} is registered; there are {', '.join(there) or 'none'}")


def descend(command: Mapping[str, Any], path: Sequence[str]) -> list[Mapping[str, Any]]:
    """The groups and the sub-command that `path` names, outermost first; LookupError where it leads nowhere."""
    steps: list[Mapping[str, Any]] = []
    options = command.get("options") or ()
    for name in path:
        step = next((item for item in options if item["name"] == name and item["type"] in (SUBCOMMAND, GROUP)), None)
        if step is None:
            raise LookupError(f"/{command['name']} has no sub-command {' '.join(path)!r}")
        steps.append(step)
        options = step.get("options") or ()
    leaf = steps[-1] if steps else command
    if any(item["type"] in (SUBCOMMAND, GROUP) for item in leaf.get("options") or ()):
        raise LookupError(f"/{' '.join([command['name'], *path])} is not a command but a group of them")
    return steps


def reasons_not_to_send(options: Sequence[Mapping[str, Any]], given: Mapping[str, Any]) -> Iterator[str]:
    """Why a member's client would not send these values."""
    known = {option["name"]: option for option in options}
    yield from (f"{name}: there is no such option" for name in given if name not in known)
    for name, option in known.items():
        if name not in given:
            if option.get("required"):
                yield f"{name}: required"
            continue
        value = given[name]
        choices = [choice["value"] for choice in option.get("choices") or ()]
        if choices and value not in choices:
            yield f"{name}: {value!r} is not one of {choices}"
        if option["type"] == STRING:
            if not isinstance(value, str):
                yield f"{name}: a text, not {value!r}"
            elif not option.get("min_length", 0) <= len(value) <= option.get("max_length", 6000):
                yield f"{name}: {len(value)} characters"
        elif option["type"] in (INTEGER, NUMBER):
            whole = option["type"] == INTEGER
            if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
                yield f"{name}: a number, not {value!r}"
            elif not option.get("min_value", -(2**53)) <= value <= option.get("max_value", 2**53):
                yield f"{name}: {value} is out of range"
        elif option["type"] == BOOLEAN and not isinstance(value, bool):
            yield f"{name}: true or false, not {value!r}"
