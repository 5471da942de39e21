"""The one place where what went wrong becomes an answer: ephemeral, in the member's language, never a traceback."""

from __future__ import annotations

import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import discord
from discord import app_commands, ui

from bot.discord import permissions
from bot.discord.acknowledging import GONE
from bot.discord.retry import passing, reason
from bot.jobs.ledger import LedgerError
from bot.jobs.refusals import Reason, Refusal
from bot.messages import refusals
from bot.messages.languages import language_of

if TYPE_CHECKING:
    from discord.ext import commands

_log = logging.getLogger("kapelle.discord")


def install(bot: commands.Bot) -> None:
    """Answer what slash commands and context menus raise."""
    bot.tree.error(answer)


class AnsweringView(ui.View):
    """A view that answers what its items raise."""

    async def on_error(self, interaction: discord.Interaction, error: Exception, item: ui.Item[Any]) -> None:
        await answer(interaction, error)


@asynccontextmanager
async def answering(interaction: discord.Interaction) -> AsyncIterator[None]:
    """For callbacks that the library only logs, those of dynamic items and of windows: answers what the block raises."""
    try:
        yield
    except Exception as error:
        await answer(interaction, error)


async def answer(interaction: discord.Interaction, error: Exception) -> None:
    """Tell the member what went wrong, before or after the interaction was acknowledged. Never raises."""
    cause = _unwrapped(error)
    if isinstance(cause, discord.HTTPException) and cause.code in GONE:
        _log.warning("an answer could not be given (%s)", reason(cause))
        return
    sentence = explain(error, language_of(str(interaction.locale)))
    if interaction.type is discord.InteractionType.autocomplete:
        return  # nothing can be said there
    try:
        if interaction.response.is_done():
            await interaction.followup.send(sentence, ephemeral=True)
        else:
            await interaction.response.send_message(sentence, ephemeral=True)
    except (discord.DiscordException, aiohttp.ClientError, OSError) as unheard:  # the interaction is gone, or Discord is
        _log.warning("an answer could not be given (%s)", reason(unheard))


def explain(error: BaseException, language: str) -> str:
    """What a member reads about an error. What nobody foresaw is logged under a short number that they are told."""
    cause = _unwrapped(error)
    refusal = _refusal(cause)
    if refusal is not None:
        return refusals.refusal(refusal, language)
    number = secrets.token_hex(3)
    if passing(cause) or (isinstance(cause, discord.HTTPException) and not cause.code):  # of the network: nothing to look for
        _log.error("error %s: %s", number, reason(cause))
    else:
        _log.error("error %s", number, exc_info=(type(cause), cause, cause.__traceback__))
    return refusals.unforeseen(number, language)


def _unwrapped(error: BaseException) -> BaseException:
    """What our own code raised, without the library's wrapping."""
    while isinstance(error, app_commands.CommandInvokeError | app_commands.TransformerError):
        inner = error.original if isinstance(error, app_commands.CommandInvokeError) else error.__cause__
        if inner is None:
            break
        error = inner
    return error


def _refusal(error: BaseException) -> Refusal | None:
    """The refusal that says what an error means, if one does."""
    match error:
        case Refusal():
            return error
        case LedgerError():  # what to do about it is for whoever runs the bot
            _log.error("the ledger: %s", error)
            return Refusal(Reason.LEDGER)
        case app_commands.NoPrivateMessage():
            return Refusal(Reason.GUILD_ONLY)
        case app_commands.BotMissingPermissions():
            return Refusal(Reason.PERMISSIONS, missing=tuple(
                permissions.NAMES.get(flag, flag) for flag in error.missing_permissions))
        case app_commands.CheckFailure():
            return Refusal(Reason.MODERATORS_ONLY)
    return None
