"""Kapelle on Discord: the connection, its commands, and the delivery of what is made."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, Any

import aiohttp
import discord
from discord import app_commands

from bot.discord import buttons, errors, modals, removal
from bot.discord.acknowledging import acknowledge_surely
from bot.discord.admission import not_let_in
from bot.discord.bot import ApplicationBot
from bot.discord.connection import connector
from bot.discord.delivery import Delivery
from bot.discord.parsing import skip_what_cannot_be_parsed
from bot.discord.registration import register
from bot.discord.retry import passing, punctual, reason, told_to_wait_s
from bot.discord.translation import CommandTranslator

if TYPE_CHECKING:
    from bot.application import Application
    from bot.jobs.records import Removed

COGS = ("cogs.midi", "cogs.audio", "cogs.jobs", "cogs.help", "cogs.privacy", "cogs.moderation", "cogs.menus")
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 120.0  # at most 720 a day: Discord allows 1000 log-ins at the gateway, then it resets the token
_TURNED_OUT = (discord.ConnectionClosed, discord.PrivilegedIntentsRequired)
_UNAUTHORIZED = 401

_log = logging.getLogger("kapelle.discord")


class KapelleBot(ApplicationBot):
    """The bot's user on Discord. It reads no messages: everything comes as an interaction."""

    def __init__(self, application: Application) -> None:
        super().__init__(
            application, command_prefix=(), help_command=None, intents=discord.Intents(guilds=True),
            allowed_mentions=discord.AllowedMentions.none(), member_cache_flags=discord.MemberCacheFlags.none(),
            chunk_guilds_at_startup=False, max_messages=None, http_trace=punctual(),
            allowed_contexts=app_commands.AppCommandContext(guild=True),
            allowed_installs=app_commands.AppInstallationType(guild=True))
        self._tasks: set[asyncio.Task[None]] = set()
        self._registering = asyncio.Lock()
        self._delivering: asyncio.Task[None] | None = None

    async def serve(self, token: str) -> None:
        """Be on Discord until closed or cancelled. To be called once. What ends the delivery by an error ends it, too.

        Where Discord or the network is away, tries again every 1 s to 120 s, or when Discord says. Raises AdmissionError
        where the token is wrong or the gateway turns the bot away for good.
        """
        acknowledge_surely()
        skip_what_cannot_be_parsed(self)
        try:
            await self._until_it_works(lambda: self._log_in(token), "log in")
            self._begin(self._until_it_works(self._register, "register commands"), "commands")
            await self._connected_and_delivering()
        except (discord.LoginFailure, *_TURNED_OUT) as error:
            raise not_let_in(error) from None  # it says all that the library does, and what to do
        finally:
            await self.close()

    async def setup_hook(self) -> None:
        for cog in COGS:
            await self.load_extension(cog)
        errors.install(self)
        buttons.register(self)
        await self.tree.set_translator(CommandTranslator())
        self._delivering = self._begin(Delivery(self, self._parts).run(), "delivery")

    async def on_ready(self) -> None:
        _log.info("connected as %s, in %d servers", self.user, len(self.guilds))

    async def on_guild_join(self, guild: discord.Guild) -> None:
        """Its commands may be gone, or could not be registered before the bot was in it."""
        self._begin(self._until_it_works(self._register, "register commands"), "commands")

    def take_down(self, removed: Sequence[Removed]) -> None:
        """Begin to remove what is posted of jobs that are gone. It may take minutes, so nobody waits for it."""

        async def one_by_one() -> None:
            left = 0
            for one in removed:
                left += bool(await removal.take_down(self, one.job, one.copies))
                if not one.shared:
                    await removal.close(self, one.job)
            if left:
                _log.warning("of %d deleted jobs, something is left at Discord of %d", len(removed), left)

        self._begin(one_by_one(), "removal")

    async def on_disconnect(self) -> None:
        self._parts.metrics.event("gateway lost")

    async def on_interaction(self, interaction: discord.Interaction[Any]) -> None:
        """Commands and buttons have been found by the library already; windows of before a restart it would not know."""
        if interaction.type is discord.InteractionType.modal_submit:
            await modals.submitted(interaction)

    async def on_message(self, message: discord.Message) -> None:
        """There are no commands with a prefix."""

    async def close(self) -> None:
        tasks, self._tasks = self._tasks, set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await super().close()

    def _begin(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(_report)
        task.add_done_callback(self._tasks.discard)
        self._tasks.add(task)
        return task

    async def _connected_and_delivering(self) -> None:
        assert self._delivering is not None
        connected = asyncio.create_task(self._until_it_works(self._stay_connected, "connect"), name="connection")
        try:
            done, _ = await asyncio.wait((connected, self._delivering), return_when=asyncio.FIRST_COMPLETED)
            if self._delivering.cancelled():  # by `close`, which the library calls before it says why the gateway closed
                done, _ = await asyncio.wait((connected,))
            for task in done:
                task.result()
        finally:
            connected.cancel()
            await asyncio.wait((connected,))

    async def _log_in(self, token: str) -> None:
        await self.http.close()  # what a failed try left open, its connector with it
        self.http.connector = connector(self._parts.settings) or aiohttp.TCPConnector(limit=0)
        await self.login(token)

    async def _register(self) -> None:
        async with self._registering:
            await register(self.tree, self._parts.settings.data, self._parts.settings.guilds)

    async def _stay_connected(self) -> None:
        """The library connects again by itself, but only where a first connection stood; before, it stumbles over its lack."""
        try:
            await self.connect()
        except _TURNED_OUT:
            raise
        except Exception as error:
            if self.ws is not None:  # it stood, and the library stumbled over what came
                _log.error("the connection is begun anew after an error in the library", exc_info=error)
                await self.ws.close(code=4000)
            raise _NoConnectionError(reason(error.__context__ or error)) from error

    async def _until_it_works(self, step: Callable[[], Awaitable[None]], what: str) -> None:
        wait_s = FIRST_WAIT_S
        while True:
            try:
                return await step()
            except Exception as error:
                if not (passing(error) or _in_front_of_discord(error)):
                    raise
                pause_s = max(wait_s, told_to_wait_s(error))
                _log.warning("could not %s (%s), again in %.0f s", what, reason(error), pause_s)
            await asyncio.sleep(pause_s)
            wait_s = min(wait_s * 2, LONGEST_WAIT_S)


class _NoConnectionError(ConnectionError):
    """The gateway could not be reached, or not be understood."""


def _in_front_of_discord(error: Exception) -> bool:
    """Whether it is not Discord that answers, which gives a code with all that it refuses but a wrong token."""
    return isinstance(error, discord.HTTPException) and not error.code and error.status != _UNAUTHORIZED


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("%s ended by an error", task.get_name(), exc_info=error)
