"""`/audio`: sound from a description, following a melody or carrying on a sound where one comes along."""

from __future__ import annotations

from typing import TYPE_CHECKING

from discord import Attachment, Interaction, app_commands
from discord.app_commands import Choice, Range
from discord.app_commands import locale_str as _
from discord.ext import commands

from bot.discord.asking import acknowledge, ask
from models.interface.audio import GUIDANCES, LONGEST_PROMPT, SECONDS, SEEDS, STRIDES, TAKES, TEMPERATURES, TOP_K

if TYPE_CHECKING:
    from bot.discord.client import KapelleBot

MOST_CHOICES = 25


class Audio(commands.Cog):
    """Slash commands that make sound."""

    def __init__(self, bot: KapelleBot) -> None:
        engines = bot.application.settings.offered("audio")[:MOST_CHOICES]
        if engines:
            app_commands.choices(engine=[Choice(name=name, value=name) for name in engines])(self.audio)

    @app_commands.command(name="audio", description=_("Make sound from a description"))
    @app_commands.describe(
        prompt=_("What it sounds like: 80s pop track with bassy drums and synth"),
        seconds=_("How long it is"),
        melody=_("A sound file whose melody it follows"),
        continuation=_("A sound file that it carries on"),
        takes=_("How many different takes you get"),
        temperature=_("How daring it is: 1 is usual, 0 takes always the likeliest"),
        guidance=_("How closely it keeps to the description: 3 is usual, 1 hardly does"),
        top_k=_("From how many of the likeliest sounds it draws: 250 is usual, 0 is all"),
        top_p=_("Instead: from those that make up this share, 0 to 1"),
        stride=_("Beyond 30 seconds: by how many it goes on each time"),
        video=_("Also a video with the waveform"),
        engine=_("Which model makes it"),
        seed=_("A number: the same one gives the same piece again"))
    @app_commands.rename(top_k="top-k", top_p="top-p", continuation="continue")
    @app_commands.guild_only
    @app_commands.guild_install
    async def audio(
            self, interaction: Interaction[KapelleBot],
            prompt: Range[str, 1, LONGEST_PROMPT],
            seconds: Range[float, SECONDS[0], SECONDS[1]] | None = None,
            melody: Attachment | None = None,
            continuation: Attachment | None = None,
            takes: Range[int, TAKES.start, TAKES.stop - 1] | None = None,
            temperature: Range[float, TEMPERATURES[0], TEMPERATURES[1]] | None = None,
            guidance: Range[float, GUIDANCES[0], GUIDANCES[1]] | None = None,
            top_k: Range[int, TOP_K.start, TOP_K.stop - 1] | None = None,
            top_p: Range[float, 0, 1] | None = None,
            stride: Range[float, STRIDES[0], STRIDES[1]] | None = None,
            video: bool = False,
            engine: str | None = None,
            seed: Range[int, SEEDS.start, SEEDS.stop - 1] | None = None) -> None:
        await acknowledge(interaction)
        given = {"seconds": seconds, "takes": takes, "temperature": temperature, "guidance": guidance, "top_k": top_k,
                 "top_p": top_p, "stride": stride, "seed": seed}
        await ask(interaction, {
            "prompt": prompt, "video": video,
            **{name: value for name, value in given.items() if value is not None},  # what is not said, the service chooses
        }, kind="audio", engine=engine, attached={"melody": melody, "continuation": continuation})


async def setup(bot: KapelleBot) -> None:
    await bot.add_cog(Audio(bot))
