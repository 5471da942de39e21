"""What is asked for in a window: other parameters, a template, the reason of a report.

All that a window knows is in its custom_id, so that what is sent from one is answered also after a restart, as presses of
buttons are.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import discord
from discord import ui

from bot.discord import reading
from bot.discord.asking import acknowledge, answer, ask
from bot.discord.errors import answering
from bot.discord.people import pressed
from bot.discord.uploads import file_of, inputs_of
from bot.jobs.records import Job, Member
from bot.jobs.refusals import Reason, Refusal
from bot.jobs.requests import OFFERED_BARS
from bot.messages import answers, wording
from bot.messages.languages import text
from models.interface.audio import GUIDANCES, LONGEST_PROMPT, SECONDS
from models.interface.audio import TAKES as AUDIO_TAKES
from models.interface.audio import TEMPERATURES as AUDIO_TEMPERATURES
from models.interface.midi import LONGEST_TITLE, TAKES, TEMPERATURES, TOKENS

if TYPE_CHECKING:
    from bot.discord.bot import ApplicationBot

    Sending = discord.Interaction[ApplicationBot]

OF_A_WINDOW = re.compile(
    r"k:(?P<window>vary|follow|template|report):(?P<job>[1-9][0-9]{0,17})(?::(?P<take>[1-9][0-9]?))?")
LONGEST_REPORT = 500


class Window(ui.Modal):
    """A window as it is shown."""

    def __init__(self, what: str, title: str, job: Job, take: int | None = None) -> None:
        super().__init__(title=title, custom_id=f"k:{what}:{job.id}" + ("" if take is None else f":{take}"))
        self.stop()  # the library need not remember it: `submitted` answers

    def ask_for(self, what: str, label: str, default: str = "", *, longest: int = 10, required: bool = True,
                style: discord.TextStyle = discord.TextStyle.short) -> None:
        self.add_item(ui.Label(text=label, component=ui.TextInput(
            custom_id=what, default=default[:longest] or None, max_length=longest, required=required, style=style)))


def vary(job: Job, language: str) -> Window:
    """The same piece with another temperature or length, of sound also guidance; the seed stays.

    Bars can be changed where their number was asked for.
    """
    window = Window("vary", text(language, "Vary #{number}", number=job.id), job)
    _ask_for_temperature(window, job, language)
    _ask_for_length(window, job, language)
    if "bars" in job.parameters:
        window.ask_for("bars", text(language, "Bars ({least} to {most})", least=OFFERED_BARS.start, most=OFFERED_BARS.stop - 1),
                       str(job.parameters["bars"]))
    if job.kind == "audio":
        low, high = (wording.number(value, language) for value in GUIDANCES)
        window.ask_for("guidance", text(language, "Guidance ({least} to {most})", least=low, most=high),
                       wording.number(float(job.parameters["guidance"]), language))
    return window


def follow(job: Job, take: int, language: str) -> Window:
    """Sound that follows the melody of a take."""
    window = Window("follow", text(language, "Take {take} of #{number} as melody", number=job.id, take=take), job, take)
    window.ask_for("prompt", text(language, "What it sounds like"), job.name, longest=LONGEST_PROMPT,
                   style=discord.TextStyle.paragraph)
    window.ask_for("seconds", _seconds_label(language), "10")
    return window


def template(job: Job, language: str) -> Window:
    """A new piece that begins with the parameters of another; the seed is drawn anew."""
    window = Window("template", text(language, "A piece like #{number}", number=job.id), job)
    composed = job.kind == "midi"
    words = {"title": text(language, "Title"), "artist": text(language, "Artist")} if composed else {
        "prompt": text(language, "What it sounds like")}
    for name, label in words.items():
        window.ask_for(name, label, str(job.parameters[name]), longest=LONGEST_TITLE if composed else LONGEST_PROMPT,
                       required=not composed)
    _ask_for_length(window, job, language)
    most = (TAKES if composed else AUDIO_TAKES).stop - 1
    window.ask_for("takes", text(language, "Takes ({least} to {most})", least=TAKES.start, most=most),
                   str(job.parameters["takes"]))
    _ask_for_temperature(window, job, language)
    return window


def report(job: Job, take: int | None, language: str) -> Window:
    """What is wrong with a piece, or with one of its takes."""
    title = text(language, "Report #{number}", number=job.id) if take is None else text(
        language, "Report take {take} of #{number}", number=job.id, take=take)
    window = Window("report", title, job, take)
    window.ask_for("reason", text(language, "What is wrong with it?"), longest=LONGEST_REPORT,
                   style=discord.TextStyle.paragraph)
    return window


@dataclass(frozen=True)
class _Sent:
    """What was sent from a window, and about which piece."""

    job: Job
    take: int | None
    member: Member
    fields: Mapping[str, str]

    def length(self) -> dict[str, Any]:
        """What was asked for as length, as the kind of job names it."""
        if self.job.kind == "midi":
            return {"tokens": reading.whole("tokens", self.fields["tokens"])}
        return {"seconds": reading.decimal("seconds", self.fields["seconds"])}

    def decimal(self, name: str) -> dict[str, Any]:
        return {name: reading.decimal(name, self.fields[name])}


async def submitted(interaction: Sending) -> None:
    """Do what a window was opened for. Never raises: what went wrong is answered."""
    async with answering(interaction):
        data: Mapping[str, Any] = interaction.data or {}
        match = OF_A_WINDOW.fullmatch(str(data.get("custom_id")))
        if match is None:
            raise Refusal(Reason.FORGED)
        await acknowledge(interaction)
        member, job = await pressed(interaction, int(match["job"]))
        sent = _Sent(job, int(match["take"]) if match["take"] else None, member, dict(_fields(data.get("components"))))
        try:
            await _WINDOWS[match["window"]](interaction, sent)
        except KeyError as error:  # a field that the window has not
            raise Refusal(Reason.FORGED) from error


def _fields(components: Any) -> Iterator[tuple[str, str]]:
    """Of a submission: rows or labels, with what was typed within."""
    for component in components or ():
        if "value" in component:
            yield str(component["custom_id"]), str(component["value"] or "")
        else:
            yield from _fields(component.get("components") or [component.get("component") or {}]
                               if {"components", "component"} & component.keys() else ())


async def _vary(interaction: Sending, sent: _Sent) -> None:
    job = sent.job
    changed = {**sent.decimal("temperature"), **sent.length()}
    if "bars" in job.parameters:
        changed["bars"] = reading.whole("bars", sent.fields["bars"])
    if job.kind == "audio":
        changed |= sent.decimal("guidance")
    await ask(interaction, {**job.parameters, **changed}, kind=job.kind, engine=job.engine, parent_id=job.id,
              inputs=await inputs_of(job, interaction.client.application.spool))


async def _follow(interaction: Sending, sent: _Sent) -> None:
    await ask(interaction, {"prompt": sent.fields["prompt"], **sent.decimal("seconds")}, kind="audio",
              parent_id=sent.job.id, inputs={
                  "melody": await file_of(sent.job, sent.take or 1, "sound", interaction.client.application.spool)})


async def _template(interaction: Sending, sent: _Sent) -> None:
    job = sent.job
    words = ("title", "artist") if job.kind == "midi" else ("prompt",)
    await ask(interaction, {
        **{name: value for name, value in job.parameters.items() if name != "seed"},
        **{name: sent.fields[name] for name in words},
        **sent.length(),
        "takes": reading.whole("takes", sent.fields["takes"]),
        **sent.decimal("temperature"),
    }, kind=job.kind, engine=job.engine, parent_id=job.id)


async def _report(interaction: Sending, sent: _Sent) -> None:
    await interaction.client.application.jobs.report(sent.job.id, sent.take, sent.member, sent.fields["reason"])
    await answer(interaction, answers.reported(sent.member.language))


_WINDOWS: Mapping[str, Callable[[Sending, _Sent], Awaitable[None]]] = {
    "vary": _vary, "follow": _follow, "template": _template, "report": _report}


def _ask_for_length(window: Window, job: Job, language: str) -> None:
    if job.kind == "midi":
        label = text(language, "Tokens ({least} to {most})", least=TOKENS.start, most=TOKENS.stop - 1)
        window.ask_for("tokens", label, str(job.parameters["tokens"]))
    else:
        window.ask_for("seconds", _seconds_label(language), wording.number(float(job.parameters["seconds"]), language))


def _seconds_label(language: str) -> str:
    low, high = SECONDS
    return text(language, "Seconds ({least} to {most})", least=f"{low:g}", most=f"{high:g}")


def _ask_for_temperature(window: Window, job: Job, language: str) -> None:
    low, high = (wording.number(value, language) for value in (TEMPERATURES if job.kind == "midi" else AUDIO_TEMPERATURES))
    window.ask_for("temperature", text(language, "Temperature ({least} to {most})", least=low, most=high),
                   wording.number(float(job.parameters["temperature"]), language))
