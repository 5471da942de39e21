"""What is asked for in a window: other parameters, a template, the reason of a report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import discord
from discord import ui

from bot import messages, reading
from bot.discord.asking import acknowledge, answer, ask
from bot.discord.errors import AnsweringModal
from bot.discord.people import member_of
from bot.jobs.records import Job
from bot.languages import text
from models.engines import LONGEST_TITLE, TAKES, TEMPERATURES, TOKENS

if TYPE_CHECKING:
    from bot.discord.client import KapelleBot

LIFE_S = 900.0  # as long as Discord would take an answer to it
LONGEST_REPORT = 500


class _Window(AnsweringModal):
    def __init__(self, title: str) -> None:
        super().__init__(title=title, timeout=LIFE_S)

    def _ask_for(self, what: str, label: str, default: str = "", *, longest: int = 10, required: bool = True,
                 style: discord.TextStyle = discord.TextStyle.short) -> ui.TextInput[Any]:
        field: ui.TextInput[Any] = ui.TextInput(
            custom_id=what, default=default[:longest] or None, max_length=longest, required=required, style=style)
        self.add_item(ui.Label(text=label, component=field))
        return field


class Vary(_Window):
    """The same piece with another temperature or length; the seed stays."""

    def __init__(self, job: Job, language: str) -> None:
        super().__init__(text(language, "Vary #{number}", number=job.id))
        self._job = job
        self._temperature = self._ask_for(
            "temperature", _temperature_label(language), messages.number(float(job.parameters["temperature"]), language))
        self._tokens = self._ask_for("tokens", _tokens_label(language), str(job.parameters["tokens"]))

    async def on_submit(self, interaction: discord.Interaction[KapelleBot]) -> None:  # type: ignore[override]
        await acknowledge(interaction)
        await ask(interaction, {
            **self._job.parameters,
            "temperature": reading.decimal("temperature", self._temperature.value),
            "tokens": reading.whole("tokens", self._tokens.value),
        }, engine=self._job.engine, parent_id=self._job.id)


class Template(_Window):
    """A new piece that begins with the parameters of another; the seed is drawn anew."""

    def __init__(self, job: Job, language: str) -> None:
        super().__init__(text(language, "A piece like #{number}", number=job.id))
        asked = job.parameters
        self._job = job
        self._title = self._ask_for(
            "title", text(language, "Title"), str(asked["title"]), longest=LONGEST_TITLE, required=False)
        self._artist = self._ask_for(
            "artist", text(language, "Artist"), str(asked["artist"]), longest=LONGEST_TITLE, required=False)
        self._tokens = self._ask_for("tokens", _tokens_label(language), str(asked["tokens"]))
        self._takes = self._ask_for(
            "takes", text(language, "Takes ({least} to {most})", least=TAKES.start, most=TAKES.stop - 1), str(asked["takes"]))
        self._temperature = self._ask_for(
            "temperature", _temperature_label(language), messages.number(float(asked["temperature"]), language))

    async def on_submit(self, interaction: discord.Interaction[KapelleBot]) -> None:  # type: ignore[override]
        await acknowledge(interaction)
        await ask(interaction, {
            "title": self._title.value,
            "artist": self._artist.value,
            "tokens": reading.whole("tokens", self._tokens.value),
            "takes": reading.whole("takes", self._takes.value),
            "temperature": reading.decimal("temperature", self._temperature.value),
            "stop_at_end": bool(self._job.parameters.get("stop_at_end", False)),
        }, engine=self._job.engine, parent_id=self._job.id)


class Report(_Window):
    """What is wrong with a piece, or with one of its takes."""

    def __init__(self, job: Job, number: int | None, language: str) -> None:
        super().__init__(text(language, "Report #{number}", number=job.id) if number is None else
                         text(language, "Report take {take} of #{number}", number=job.id, take=number))
        self._job_id = job.id
        self._number = number
        self._reason = self._ask_for("reason", text(language, "What is wrong with it?"), longest=LONGEST_REPORT,
                                     style=discord.TextStyle.paragraph)

    async def on_submit(self, interaction: discord.Interaction[KapelleBot]) -> None:  # type: ignore[override]
        await acknowledge(interaction)
        application = interaction.client.application
        member = await member_of(interaction, application.moderation)
        await application.jobs.report(self._job_id, self._number, member, self._reason.value)
        await answer(interaction, messages.reported(member.language))


def _tokens_label(language: str) -> str:
    return text(language, "Tokens ({least} to {most})", least=TOKENS.start, most=TOKENS.stop - 1)


def _temperature_label(language: str) -> str:
    low, high = (messages.number(value, language) for value in TEMPERATURES)
    return text(language, "Temperature ({least} to {most})", least=low, most=high)
