"""The way from an interaction to an answer, the same for commands, buttons and modals."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import discord

from bot.discord.people import member_of, place_of
from bot.discord.permissions import preflight
from bot.discord.retry import patiently, reason
from bot.discord.uploads import uploaded
from bot.messages import answers

if TYPE_CHECKING:
    from bot.discord.bot import ApplicationBot

PATIENCE_S = 60.0  # with the answer to a member
_log = logging.getLogger("kapelle.discord")


async def acknowledge(interaction: discord.Interaction[Any]) -> None:
    """Tell Discord that an ephemeral answer comes. First of all: it waits for three seconds."""
    await interaction.response.defer(ephemeral=True, thinking=True)
    waited = discord.utils.utcnow() - interaction.created_at
    interaction.client.application.metrics.acknowledged(waited.total_seconds())


async def answer(interaction: discord.Interaction[Any], content: str, view: discord.ui.View | None = None) -> None:
    """Say what was promised by `acknowledge`. What was done is not undone by an answer that is lost, so it is tried again."""
    await patiently(
        lambda: interaction.edit_original_response(content=content, view=view), what="answer", give_up_s=PATIENCE_S)


async def ask(
        interaction: discord.Interaction[ApplicationBot], parameters: Mapping[str, Any], *, kind: str = "midi",
        engine: str | None = None, parent_id: int | None = None, inputs: Mapping[str, bytes] | None = None,
        attached: Mapping[str, discord.Attachment | None] | None = None, once: bool = False) -> None:
    """Accept a job of whoever asks, on their quota, and say so. `engine`: the usual one of the kind where none is named;
    `once`: a second tap means the same.

    Raises Refusal.
    """
    application = interaction.client.application
    preflight(interaction)
    member = await member_of(interaction, application.moderation)
    if attached:
        await application.jobs.check(member, parameters)  # before anything is fetched
        inputs = await uploaded(attached, application.inspection)
    queued = await application.jobs.submit(
        kind, engine, parameters, member, place_of(interaction), parent_id=parent_id, inputs=inputs, once=once)
    try:
        await answer(interaction, answers.accepted(queued, member.language))
    except Exception as error:  # it is accepted all the same, and its thread will say so
        _log.warning("the owner of job %d was not answered (%s)", queued.job.id, reason(error),
                     exc_info=not isinstance(error, discord.DiscordException | OSError))
