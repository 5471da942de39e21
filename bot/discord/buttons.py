"""Buttons below cards and takes. All they know is in their custom_id, so they outlive a restart.

Whoever presses one asks for themselves: a job that a button starts is theirs, on their quota, with the job it
belongs to as its parent.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import discord
from discord import ui

from bot.discord import modals, removal
from bot.discord.asking import acknowledge, answer, ask
from bot.discord.bundle import bundle
from bot.discord.errors import AnsweringView, answering
from bot.discord.people import place_of, pressed
from bot.discord.uploads import carried_on, inputs_of
from bot.jobs.records import Job, TakeState
from bot.jobs.refusals import Reason, Refusal
from bot.messages import answers
from bot.messages.languages import N_, text
from models.interface.audio import SECONDS

if TYPE_CHECKING:
    from discord.ext import commands

    from bot.discord.bot import ApplicationBot

    Press = discord.Interaction[ApplicationBot]

# The custom_ids there are; anything else that begins as they do was made by somebody else.
OF_A_JOB = (r"k:(?P<action>again|vary|fav|zip|delete|erase|report|melody|audio):(?P<job>[1-9][0-9]{0,17})"
            r"(?::(?P<take>[1-9][0-9]?))?")
OF_A_CHOICE = r"k:continue:(?P<job>[1-9][0-9]{0,17})"
OF_A_PROMPT = r"k:try:(?P<number>[1-3])"
OF_A_PAGE = r"k:page:(?P<whose>mine|class):(?P<page>[1-9][0-9]{0,5})"
OF_PRIVACY = r"k:privacy:(?P<action>export|forget|erase)"
_OURS = "|".join(re.sub(r"\?P<\w+>", "?:", template) for template in (
    OF_A_JOB, OF_A_CHOICE, OF_A_PROMPT, OF_A_PAGE, OF_PRIVACY))

CARRIED_ON_S = 10.0  # of sound that come to a take


@dataclass(frozen=True)
class _Action:
    label: str
    emoji: str
    run: Callable[[Press, int, int | None], Awaitable[None]]
    style: discord.ButtonStyle = discord.ButtonStyle.secondary


class JobButton(ui.DynamicItem[ui.Button[Any]], template=OF_A_JOB):
    """A button of a job, or of one of its takes."""

    def __init__(self, action: str, job_id: int, take: int | None = None, language: str = "en") -> None:
        said = _ACTIONS[action]
        place = "" if take is None else f":{take}"
        super().__init__(ui.Button(
            label=text(language, said.label), emoji=said.emoji, style=said.style, custom_id=f"k:{action}:{job_id}{place}"))
        self._action, self._job_id, self._take = action, job_id, take

    @classmethod
    async def from_custom_id(cls, interaction: discord.Interaction[Any], item: ui.Item[Any], match: re.Match[str]) -> Self:
        return cls(match["action"], int(match["job"]), int(match["take"]) if match["take"] else None)

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        async with answering(interaction):
            await _ACTIONS[self._action].run(interaction, self._job_id, self._take)


class ContinueSelect(ui.DynamicItem[ui.Select[Any]], template=OF_A_CHOICE):
    """Carries on the take that is chosen."""

    def __init__(self, job: Job | int, language: str = "en") -> None:
        number, takes = (job, ()) if isinstance(job, int) else (job.id, job.takes)
        options = [discord.SelectOption(label=text(language, "Take {number}", number=take.number), value=str(take.number))
                   for take in takes if take.files]
        super().__init__(ui.Select(
            custom_id=f"k:continue:{number}", placeholder=text(language, "Continue with take …"),
            options=options or [discord.SelectOption(label="1")]))
        self._job_id = number

    @classmethod
    async def from_custom_id(cls, interaction: discord.Interaction[Any], item: ui.Item[Any], match: re.Match[str]) -> Self:
        return cls(int(match["job"]))

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        async with answering(interaction):
            chosen = next(iter(self.item.values), "")
            if not re.fullmatch(r"[1-9][0-9]?", chosen):
                raise Refusal(Reason.FORGED)
            await _continue(interaction, self._job_id, int(chosen))


class ForgedButton(ui.DynamicItem[ui.Button[Any]], template=re.compile(rf"(?!(?:{_OURS})\Z)k:.*", re.DOTALL)):
    """Whatever looks like one of ours and is none."""

    @classmethod
    async def from_custom_id(cls, interaction: discord.Interaction[Any], item: ui.Item[Any], match: re.Match[str]) -> Self:
        return cls(ui.Button(custom_id=match[0]))

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        async with answering(interaction):
            raise Refusal(Reason.FORGED)


def register(bot: commands.Bot) -> None:
    """Let the bot answer presses of buttons that it sent before it was started."""
    bot.add_dynamic_items(JobButton, ContinueSelect, ForgedButton)


def buttons_of(job: Job, language: str, take: int | None = None) -> ui.View:
    """The buttons below a job's card, or below one of its takes."""
    view = AnsweringView(timeout=None)
    of_takes = ("again", "vary", "audio" if job.kind == "midi" else "melody", "fav", "report")
    for action in ("again", "vary", "fav", "zip", "delete", "report") if take is None else of_takes:
        view.add_item(JobButton(action, job.id, take if action in ("fav", "report", "audio", "melody") else None, language))
    if take is None and any(one.files for one in job.takes):
        view.add_item(ContinueSelect(job, language))
    return view


async def _again(press: Press, job_id: int, take: int | None) -> None:
    await acknowledge(press)
    _, job = await pressed(press, job_id)
    parameters = {name: value for name, value in job.parameters.items() if name != "seed"}
    await ask(press, parameters, kind=job.kind, engine=job.engine, parent_id=job.id, once=True,
              inputs=await inputs_of(job, press.client.application.spool))


async def _continue(press: Press, job_id: int, number: int) -> None:
    """A job that carries on a take: as long again, with another seed."""
    await acknowledge(press)
    member, job = await pressed(press, job_id)
    parameters = {name: value for name, value in job.parameters.items() if name != "seed"}
    if job.kind == "audio":  # there the sound that is carried on counts
        there = next((take.seconds for take in job.takes if take.number == number), 0.0)
        wanted = math.ceil(there) + min(float(parameters["seconds"]), CARRIED_ON_S)
        most = (await press.client.application.jobs.quota(member, place_of(press).channel_id)).limits.seconds
        # Where that is more than may be asked for, the engine carries on the end that leaves room.
        parameters["seconds"] = min(wanted, SECONDS[1] if most is None else most)
    await ask(press, parameters, kind=job.kind, engine=job.engine, parent_id=job.id,
              inputs=await carried_on(job, number, press.client.application.spool))


async def _melody(press: Press, job_id: int, take: int | None) -> None:
    member, job = await pressed(press, job_id)
    await press.response.send_modal(modals.follow(job, take or 1, member.language))


async def _vary(press: Press, job_id: int, take: int | None) -> None:
    member, job = await pressed(press, job_id)
    await press.response.send_modal(modals.vary(job, member.language))


async def _report(press: Press, job_id: int, take: int | None) -> None:
    member, job = await pressed(press, job_id)
    await press.response.send_modal(modals.report(job, take, member.language))


async def _favourite(press: Press, job_id: int, take: int | None) -> None:
    """Of one take, or of all: those not marked are marked, and if all were, none is any more."""
    await acknowledge(press)
    member, job = await pressed(press, job_id)
    jobs = press.client.application.jobs
    numbers = [one.number for one in job.takes if one.state is not TakeState.EMPTY] if take is None else [take]
    marked = {number: await jobs.favourite(job.id, number, member) for number in numbers}
    if any(marked.values()):
        for number in numbers:
            if not marked[number]:
                await jobs.favourite(job.id, number, member)
    await answer(press, answers.favourite(take, any(marked.values()), member.language))


async def _zip(press: Press, job_id: int, take: int | None) -> None:
    await acknowledge(press)
    member, job = await pressed(press, job_id)
    packed = await bundle(job, press.client.application.spool, press.filesize_limit)
    if packed is None:
        raise Refusal(Reason.NO_TAKE, number=job.id)
    await press.edit_original_response(
        content=answers.all_files(job, packed.left_out, member.language),
        attachments=[discord.File(io.BytesIO(packed.contents), packed.name)])


async def _delete(press: Press, job_id: int, take: int | None) -> None:
    await acknowledge(press)
    member, job = await pressed(press, job_id)
    if not (member.moderator or member.user_id == job.owner_id):
        raise Refusal(Reason.NOT_YOURS)
    view = AnsweringView(timeout=None)
    view.add_item(JobButton("erase", job.id, language=member.language))
    await answer(press, answers.confirm_deleting(job, member.language), view)


async def _erase(press: Press, job_id: int, take: int | None) -> None:
    await acknowledge(press)
    member, job = await pressed(press, job_id)
    copies = await press.client.application.ledger.copies(job.id)
    job = await press.client.application.jobs.delete(job.id, member)  # as it last was: more may have been posted meanwhile
    left = await removal.take_down(press.client, job, copies)
    await answer(press, answers.deleted(job.id, left.messages, left.name, left.notice, member.language))
    if not await press.client.application.ledger.shares_thread(job):
        await removal.close(press.client, job)


_ACTIONS = {
    "audio": _Action(N_("As audio"), "🎧", _melody),
    "melody": _Action(N_("Use as melody"), "🎧", _melody),
    "again": _Action(N_("Again"), "🔁", _again, discord.ButtonStyle.primary),
    "vary": _Action(N_("Vary"), "🎛️", _vary),
    "fav": _Action(N_("Favourite"), "⭐", _favourite),
    "zip": _Action(N_("All files"), "📦", _zip),
    "delete": _Action(N_("Delete"), "🗑️", _delete),
    "erase": _Action(N_("Yes, delete"), "🗑️", _erase, discord.ButtonStyle.danger),
    "report": _Action(N_("Report"), "🚩", _report),
}
