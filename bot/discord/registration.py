"""Slash commands are registered where they changed only: Discord allows it so often a day, and clients load them anew."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import discord
from discord import app_commands

from bot.discord.retry import passing
from models.whole_file import whole_file

EVERYWHERE = "everywhere"
FILE = "commands.json"  # in the data folder: place -> digest of what was registered there

_log = logging.getLogger("kapelle.discord")


async def register(tree: app_commands.CommandTree[Any], folder: Path, guild_ids: Sequence[int]) -> None:
    """Register the tree's commands in these guilds, or everywhere where none is named, unless they are already.

    What Discord turns down is logged, with what to do. Raises discord.HTTPException and errors of the network that may pass.
    """
    path = folder / FILE
    registered = await asyncio.to_thread(_read, path)
    guilds: list[discord.Object | None] = [discord.Object(guild_id) for guild_id in guild_ids] or [None]
    await _withdraw(tree, registered, [_place(tree, guild) for guild in guilds])
    for guild in guilds:  # noted before Discord hears of it, or nobody could withdraw what a killed bot has registered
        registered.setdefault(_place(tree, guild), "")
    await asyncio.to_thread(_write, path, registered)
    for guild in guilds:
        if guild is not None:
            tree.copy_global_to(guild=guild)
        place = _place(tree, guild)
        digest = await _digest(tree, guild)
        if registered.get(place) == digest:
            continue
        try:
            await tree.sync(guild=guild)
        except (discord.HTTPException, app_commands.CommandSyncFailure) as error:
            if passing(error):
                raise
            _log.error("the commands could not be registered (%s): %s; was the bot invited with applications.commands?",
                       place, error)
            continue
        registered[place] = digest
        await asyncio.to_thread(_write, path, registered)
        _log.info("commands registered (%s)", place)


def _place(tree: app_commands.CommandTree[Any], guild: discord.Object | None) -> str:
    return f"{tree.client.application_id}/{EVERYWHERE if guild is None else guild.id}"


async def _withdraw(tree: app_commands.CommandTree[Any], registered: dict[str, str], kept: Sequence[str]) -> None:
    """Take commands back where the settings named another place before, or members would see them twice."""
    http, application_id = tree.client.http, tree.client.application_id
    assert application_id is not None  # it has logged in
    for place in [place for place in registered if place not in kept]:
        application, _, scope = place.partition("/")
        if application != str(application_id):
            continue
        try:
            if scope == EVERYWHERE:
                await http.bulk_upsert_global_commands(application_id, [])
            else:
                await http.bulk_upsert_guild_commands(application_id, int(scope), [])
        except discord.HTTPException as error:
            if passing(error):
                raise
            _log.warning("the commands could not be withdrawn (%s): %s", place, error)
        del registered[place]


async def _digest(tree: app_commands.CommandTree[Any], guild: discord.Object | None) -> str:
    """Of everything that is registered, translations included."""
    translator = tree.translator
    payload = [
        await command.get_translated_payload(tree, translator) if translator else command.to_dict(tree)
        for command in tree.get_commands(guild=guild)]
    return hashlib.sha256(json.dumps(payload, sort_keys=True).encode()).hexdigest()


def _read(path: Path) -> dict[str, str]:
    try:
        registered = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # not there yet, or broken: registering once more does no harm
        return {}
    return registered if isinstance(registered, dict) else {}


def _write(path: Path, registered: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as draft:
        draft.write_text(json.dumps(registered, indent=1), encoding="utf-8")
