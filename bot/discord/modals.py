"""What is asked for in a window: other parameters, a template, the reason of a report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import discord
from discord import ui

from bot.discord import reading
from bot.discord.asking import acknowledge, answer, ask
from bot.discord.errors import AnsweringModal
from bot.discord.people import member_of
from bot.discord.uploads import file_of, inputs_of
from bot.jobs.records import Job
from bot.messages import answers, wording
from bot.messages.languages import text
from models.interface.audio import GUIDANCES, LONGEST_PROMPT, SECONDS
from models.interface.audio import TAKES as AUDIO_TAKES
from models.interface.audio import TEMPERATURES as AUDIO_TEMPERATURES
from models.interface.midi import LONGEST_TITLE, TAKES, TEMPERATURES, TOKENS

if TYPE_CHECKING:
    from bot.discord.bot import ApplicationBot

LIFE_S = 900.0  # as long as Discord would take an answer to it
LONGEST_REPORT = 500


class _Window(AnsweringModal):
    def __init__(self, title: str) -> None:
        super().__init__(title=title, timeout=LIFE_S)

    def ask_for(self, what: str, label: str, default: str = "", *, longest: int = 10, required: bool = True,
                 style: discord.TextStyle = discord.TextStyle.short) -> ui.TextInput[Any]:
        field: ui.TextInput[Any] = ui.TextInput(
            custom_id=what, default=default[:longest] or None, max_length=longest, required=required, style=style)
        self.add_item(ui.Label(text=label, component=field))
        return field


class Vary(_Window):
    """The same piece with another temperature or length, of sound also guidance; the seed stays."""

    def __init__(self, job: Job, language: str) -> None:
        super().__init__(text(language, "Vary #{number}", number=job.id))
        self._job = job
        self._temperature = _ask_for_temperature(self, job, language)
        self._length = _ask_for_length(self, job, language)
        if job.kind == "audio":
            low, high = (wording.number(value, language) for value in GUIDANCES)
            self._guidance = self.ask_for(
                "guidance", text(language, "Guidance ({least} to {most})", least=low, most=high),
                wording.number(float(job.parameters["guidance"]), language))

    async def on_submit(self, interaction: discord.Interaction[ApplicationBot]) -> None:  # type: ignore[override]
        await acknowledge(interaction)
        changed: dict[str, Any] = {
            "temperature": reading.decimal("temperature", self._temperature.value), **_length(self._job, self._length)}
        if self._job.kind == "audio":
            changed["guidance"] = reading.decimal("guidance", self._guidance.value)
        await ask(
            interaction, {**self._job.parameters, **changed}, kind=self._job.kind, engine=self._job.engine,
            parent_id=self._job.id, inputs=await inputs_of(self._job, interaction.client.application.spool))


class Follow(_Window):
    """Sound that follows the melody of a take."""

    def __init__(self, job: Job, number: int, language: str) -> None:
        super().__init__(text(language, "Take {take} of #{number} as melody", number=job.id, take=number))
        self._job, self._number = job, number
        self._prompt = self.ask_for(
            "prompt", text(language, "What it sounds like"), job.name, longest=LONGEST_PROMPT,
            style=discord.TextStyle.paragraph)
        self._seconds = self.ask_for("seconds", _seconds_label(language), "10")

    async def on_submit(self, interaction: discord.Interaction[ApplicationBot]) -> None:  # type: ignore[override]
        await acknowledge(interaction)
        spool = interaction.client.application.spool
        await ask(
            interaction, {"prompt": self._prompt.value, "seconds": reading.decimal("seconds", self._seconds.value)},
            kind="audio", parent_id=self._job.id,
            inputs={"melody": await file_of(self._job, self._number, "sound", spool)})


class Template(_Window):
    """A new piece that begins with the parameters of another; the seed is drawn anew."""

    def __init__(self, job: Job, language: str) -> None:
        super().__init__(text(language, "A piece like #{number}", number=job.id))
        self._job = job
        asked, composed = job.parameters, job.kind == "midi"
        words = {"title": text(language, "Title"), "artist": text(language, "Artist")} if composed else {
            "prompt": text(language, "What it sounds like")}
        self._words = [
            self.ask_for(name, label, str(asked[name]), longest=LONGEST_TITLE if composed else LONGEST_PROMPT,
                          required=not composed)
            for name, label in words.items()]
        self._length = _ask_for_length(self, job, language)
        most = (TAKES if composed else AUDIO_TAKES).stop - 1
        self._takes = self.ask_for(
            "takes", text(language, "Takes ({least} to {most})", least=TAKES.start, most=most), str(asked["takes"]))
        self._temperature = _ask_for_temperature(self, job, language)

    async def on_submit(self, interaction: discord.Interaction[ApplicationBot]) -> None:  # type: ignore[override]
        await acknowledge(interaction)
        kept = {name: value for name, value in self._job.parameters.items() if name != "seed"}
        await ask(interaction, {
            **kept,
            **{field.custom_id: field.value for field in self._words},
            **_length(self._job, self._length),
            "takes": reading.whole("takes", self._takes.value),
            "temperature": reading.decimal("temperature", self._temperature.value),
        }, kind=self._job.kind, engine=self._job.engine, parent_id=self._job.id)


class Report(_Window):
    """What is wrong with a piece, or with one of its takes."""

    def __init__(self, job: Job, number: int | None, language: str) -> None:
        super().__init__(text(language, "Report #{number}", number=job.id) if number is None else
                         text(language, "Report take {take} of #{number}", number=job.id, take=number))
        self._job_id = job.id
        self._number = number
        self._reason = self.ask_for("reason", text(language, "What is wrong with it?"), longest=LONGEST_REPORT,
                                     style=discord.TextStyle.paragraph)

    async def on_submit(self, interaction: discord.Interaction[ApplicationBot]) -> None:  # type: ignore[override]
        await acknowledge(interaction)
        application = interaction.client.application
        member = await member_of(interaction, application.moderation)
        await application.jobs.report(self._job_id, self._number, member, self._reason.value)
        await answer(interaction, answers.reported(member.language))


def _ask_for_length(window: _Window, job: Job, language: str) -> ui.TextInput[Any]:
    if job.kind == "midi":
        label = text(language, "Tokens ({least} to {most})", least=TOKENS.start, most=TOKENS.stop - 1)
        return window.ask_for("tokens", label, str(job.parameters["tokens"]))
    return window.ask_for("seconds", _seconds_label(language), wording.number(float(job.parameters["seconds"]), language))


def _length(job: Job, field: ui.TextInput[Any]) -> dict[str, Any]:
    """What was asked for as length, as the kind of job names it."""
    if job.kind == "midi":
        return {"tokens": reading.whole("tokens", field.value)}
    return {"seconds": reading.decimal("seconds", field.value)}


def _seconds_label(language: str) -> str:
    low, high = SECONDS
    return text(language, "Seconds ({least} to {most})", least=f"{low:g}", most=f"{high:g}")


def _ask_for_temperature(window: _Window, job: Job, language: str) -> ui.TextInput[Any]:
    low, high = (wording.number(value, language) for value in (TEMPERATURES if job.kind == "midi" else AUDIO_TEMPERATURES))
    return window.ask_for(
        "temperature", text(language, "Temperature ({least} to {most})", least=low, most=high),
        wording.number(float(job.parameters["temperature"]), language))
