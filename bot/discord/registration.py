"""Slash commands are registered where they are not as they should be only: Discord allows it so often a day, and clients
load them anew.

What Discord has is read at each start, which is free: another program with the same token, or Discord, may have dropped them.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import discord
from discord import app_commands

from bot.discord.retry import passing, reason
from models.whole_file import whole_file

EVERYWHERE = "everywhere"
FILE = "commands.json"  # in the data folder: place -> what was registered there

_log = logging.getLogger("kapelle.discord")


@dataclass(frozen=True)
class Registered:
    """What was registered at a place last, as digests: what was sent, and what Discord made of it."""

    sent: str = ""
    found: str = ""


async def register(tree: app_commands.CommandTree[Any], folder: Path, guild_ids: Sequence[int]) -> None:
    """Register the tree's commands in these guilds, or everywhere where none is named, unless Discord has them already.

    What Discord turns down is logged, with what to do. Raises discord.HTTPException and errors of the network that may pass.
    """
    path = folder / FILE
    registered = await asyncio.to_thread(remembered, folder)
    guilds: list[discord.Object | None] = [discord.Object(guild_id) for guild_id in guild_ids] or [None]
    await _withdraw(tree, registered, [_place(tree, guild) for guild in guilds])
    for guild in guilds:  # noted before Discord hears of it, or nobody could withdraw what a killed bot has registered
        registered.setdefault(_place(tree, guild), Registered())
    await asyncio.to_thread(_write, path, registered)
    for guild in guilds:
        if guild is not None:
            tree.copy_global_to(guild=guild)
        place = _place(tree, guild)
        try:
            now = await _synchronised(tree, guild, registered[place])
        except (discord.HTTPException, app_commands.CommandSyncFailure) as error:
            if passing(error):
                raise
            _log.error("the commands could not be registered (%s): %s; was the bot invited with applications.commands?",
                       place, _told(error))
            continue
        if now != registered[place]:
            registered[place] = now
            await asyncio.to_thread(_write, path, registered)


async def _synchronised(
        tree: app_commands.CommandTree[Any], guild: discord.Object | None, before: Registered) -> Registered:
    """What is registered at a place, once it is what should be."""
    place, sent = _place(tree, guild), digest(await _payload(tree, guild))
    there = await _at_discord(tree, guild)
    if before == Registered(sent, digest(there)):
        return before
    if before.sent == sent:  # nothing has changed here
        _log.warning("the commands at Discord (%s) are not those that were registered there, %d instead of %d; another program "
                     "with this token may have changed them; they are registered again", place, len(there),
                     len(tree.get_commands(guild=guild)))
    await tree.sync(guild=guild)
    _log.info("commands registered (%s)", place)
    return Registered(sent, digest(await _at_discord(tree, guild)))


async def _at_discord(tree: app_commands.CommandTree[Any], guild: discord.Object | None) -> list[Any]:
    http, application_id = tree.client.http, tree.client.application_id
    assert application_id is not None  # it has logged in
    there: list[Any] = (
        await http.get_global_commands(application_id) if guild is None else
        await http.get_guild_commands(application_id, guild.id))
    return there


def place_of(application_id: int | None, guild_id: int | None) -> str:
    """How a place is called in the file and in the log."""
    return f"{application_id}/{EVERYWHERE if guild_id is None else guild_id}"


def _place(tree: app_commands.CommandTree[Any], guild: discord.Object | None) -> str:
    return place_of(tree.client.application_id, None if guild is None else guild.id)


async def _withdraw(tree: app_commands.CommandTree[Any], registered: dict[str, Registered], kept: Sequence[str]) -> None:
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
            _log.warning("the commands could not be withdrawn (%s): %s", place, _told(error))
        del registered[place]


async def _payload(tree: app_commands.CommandTree[Any], guild: discord.Object | None) -> list[Any]:
    """Everything that is registered, translations included."""
    translator = tree.translator
    return [
        await command.get_translated_payload(tree, translator) if translator else command.to_dict(tree)
        for command in tree.get_commands(guild=guild)]


def digest(commands: list[Any]) -> str:
    """Of commands as they are sent, or as Discord lists them."""
    commands = sorted(commands, key=lambda command: str(command.get("id", "")))
    return hashlib.sha256(json.dumps(commands, sort_keys=True).encode()).hexdigest()


def _told(error: Exception) -> str:
    """Also Discord's own words: nothing of members is in what was sent."""
    words = error.text if isinstance(error, discord.HTTPException) else str(error)
    return " ".join(f"{reason(error)}: {words}".split())


def remembered(folder: Path) -> dict[str, Registered]:
    """What was registered where, as the data folder has it; not what Discord has now."""
    path = folder / FILE
    try:
        registered = json.loads(path.read_text(encoding="utf-8"))
        return {place: Registered(**one) if isinstance(one, dict) else Registered() for place, one in registered.items()}
    except (OSError, ValueError, TypeError, AttributeError):  # not there yet, or broken: registering again does no harm
        return {}


def _write(path: Path, registered: dict[str, Registered]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as draft:
        draft.write_text(json.dumps({place: asdict(one) for place, one in registered.items()}, indent=1), encoding="utf-8")
