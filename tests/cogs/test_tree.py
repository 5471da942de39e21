"""The tree of commands as Discord gets it: names, limits, both languages."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest
from discord import AppCommandOptionType as Kind
from discord import AppCommandType, Permissions

from bot.application import Application
from bot.discord.client import COGS, KapelleBot
from bot.discord.translation import OPTIONS, CommandTranslator
from bot.messages.languages import word
from models.interface.midi import SEEDS, TAKES, TEMPERATURES, TOKENS

ENGINES = {"midi": ("pocket", "la-composer"), "audio": ("musicgen-small", "musicgen-melody")}
COMMANDS = {
    "midi", "audio", "queue", "cancel", "quota", "history", "take", "help", "privacy",
    "kapelle limits show", "kapelle limits set", "kapelle pause", "kapelle resume", "kapelle drain", "kapelle cancel",
    "kapelle block", "kapelle unblock", "kapelle words add", "kapelle words remove", "kapelle words test",
    "kapelle words list", "kapelle audit", "kapelle status", "kapelle role"}
MENUS = {"Use as template", "Copy parameters", "Report"}
GROUPS = (Kind.subcommand.value, Kind.subcommand_group.value)
NAME = re.compile(r"[-_'\w]{1,32}")
Payload = Mapping[str, Any]


@pytest.fixture
async def payloads() -> list[Payload]:
    """What would be sent, with every cog loaded and translated, without a connection."""
    parts = SimpleNamespace(settings=SimpleNamespace(offered=lambda kind: ENGINES[kind]), titles=None, moderation=None)
    bot = KapelleBot(cast(Application, parts))
    for cog in COGS:
        await bot.load_extension(cog)
    translator = CommandTranslator()
    return [cast(Payload, await command.get_translated_payload(bot.tree, translator)) for command in bot.tree.get_commands()]


def leaves(payload: Payload, above: str = "") -> Iterator[tuple[str, Payload]]:
    """Commands by their whole names."""
    name = f"{above} {payload['name']}".strip()
    below = [option for option in payload.get("options", ()) if option["type"] in GROUPS]
    if below:
        for option in below:
            yield from leaves(option, name)
    else:
        yield name, payload


def slashes(payloads: list[Payload]) -> dict[str, Payload]:
    return {name: leaf for payload in payloads if payload["type"] == AppCommandType.chat_input.value
            for name, leaf in leaves(payload)}


def everything(payload: Payload) -> Iterator[Payload]:
    yield payload
    for option in payload.get("options", ()):
        yield from everything(option)


def test_all_commands_are_there(payloads: list[Payload]) -> None:
    assert slashes(payloads).keys() == COMMANDS
    assert {payload["name"] for payload in payloads if payload["type"] == AppCommandType.message.value} == MENUS


def test_commands_work_in_guilds_only_and_moderators_ones_are_hidden(payloads: list[Payload]) -> None:
    for payload in payloads:
        assert payload["contexts"] == [0], payload["name"]
        assert payload["integration_types"] == [0], payload["name"]
        hidden = payload["name"] == "kapelle"
        assert payload["default_member_permissions"] == (Permissions(manage_guild=True).value if hidden else None)


def test_midi_takes_what_models_take(payloads: list[Payload]) -> None:
    options = {option["name"]: option for option in slashes(payloads)["midi"]["options"]}
    assert list(options) == ["title", "artist", "tokens", "bars", "takes", "temperature", "engine", "seed", "stop-at-end"]
    assert (options["title"]["min_length"], options["title"]["max_length"], options["title"]["required"]) == (1, 80, True)
    assert (options["artist"]["min_length"], options["artist"]["max_length"]) == (0, 80)
    for name, (low, high) in {
            "tokens": (TOKENS[0], TOKENS[-1]), "bars": (4, 64), "takes": (TAKES[0], TAKES[-1]), "temperature": TEMPERATURES,
            "seed": (SEEDS[0], SEEDS[-1])}.items():
        assert (options[name]["min_value"], options[name]["max_value"]) == (low, high), name
    assert [choice["value"] for choice in options["engine"]["choices"]] == list(ENGINES["midi"])
    assert options["title"]["autocomplete"]
    assert options["artist"]["autocomplete"]
    assert not any(option["required"] for name, option in options.items() if name != "title")


def test_texts_keep_discords_limits_in_both_languages(payloads: list[Payload]) -> None:
    for payload in payloads:
        if payload["type"] == AppCommandType.message.value:
            assert 1 <= len(payload["name"]) <= 32
            continue
        for part in everything(payload):
            for name in (part["name"], *part.get("name_localizations", {}).values()):
                assert NAME.fullmatch(name), name
                assert name == name.lower()
            for said in (part["description"], *part.get("description_localizations", {}).values()):
                assert 1 <= len(said) <= 100, said
            assert len(part.get("options", ())) <= 25
            assert len(part.get("choices", ())) <= 25
            for choice in part.get("choices", ()):
                assert all(1 <= len(said) <= 100 for said in (choice["name"], *choice.get("name_localizations", {}).values()))
            german = [option.get("name_localizations", {}).get("de", option["name"]) for option in part.get("options", ())]
            assert len(set(german)) == len(german)
        for said in (0, 1):
            length = sum(_length(part, said) for part in everything(payload))
            assert length <= 8000


def _length(part: Payload, language: int) -> int:
    texts = [part["name"], part["description"], *(choice["name"] for choice in part.get("choices", ()))]
    german = [part.get("description_localizations", {}).get("de", "")] if language else []
    return sum(map(len, texts + german))


def test_descriptions_options_and_choices_are_german_and_names_are_not(payloads: list[Payload]) -> None:
    for payload in payloads:
        if payload["type"] == AppCommandType.message.value:  # tapped in a menu, never mentioned
            assert set(payload["name_localizations"]) == {"de"}
            continue
        assert payload["name_localizations"] == {}, payload["name"]
        for part in everything(payload):
            assert set(part["description_localizations"]) == {"de"}, part["name"]
            if part["type"] in GROUPS:
                assert part["name_localizations"] == {}, part["name"]
            for choice in part.get("choices", ()):
                localised = set(choice.get("name_localizations", {}))
                assert localised == ({"de"} if choice["value"] not in (*ENGINES["midi"], *ENGINES["audio"]) else set()), choice
    midi = slashes(payloads)["midi"]["options"]
    assert midi[0]["name_localizations"] == {"de": "titel"}
    assert midi[0]["description_localizations"]["de"].startswith("Wie das Stück heißt")


def test_every_option_is_marked_for_translation(payloads: list[Payload]) -> None:
    names = {option["name"] for leaf in slashes(payloads).values() for option in leaf.get("options", ())}
    assert names == OPTIONS
    assert {word("de", "option", name) for name in names} - names, "none is translated"
