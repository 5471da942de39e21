"""`make run`: see the whole bot at work without an account."""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from models.scratch import Scratch
from tests.discord_double import DiscordDouble, Message, Thread
from tests.discord_double.things import THREAD_CREATED
from tests.rehearsal.bot_process import BotProcess, running_bot
from tests.rehearsal.page import Scene, write_page

PATIENCE_S = 900


@dataclass(frozen=True)
class Asked:
    """What a student types."""

    student: str
    locale: str
    options: dict[str, str | int]

    @property
    def words(self) -> str:
        return "/midi " + " ".join(f"{name}:{value}" for name, value in self.options.items())


SCRIPT = (
    Asked("Anna", "de", {"title": "Clair de lune", "artist": "Claude Debussy", "takes": 4, "seed": 1}),
    Asked("Ben", "en-GB", {"title": "A waltz for two violins", "takes": 2, "seed": 2}),
)


async def rehearse(out: Path, console: Console) -> Path:
    """Let the students of the script ask, and write what they get as a page. Raises TimeoutError, RuntimeError."""
    with Scratch.make("rehearsal-") as work:
        async with DiscordDouble(work) as double:
            console.print("Discord double: listening on loopback")
            async with running_bot(double, work / "data") as bot:
                console.print("Kapelle: connected, commands registered")
                names = {}
                for line in SCRIPT:
                    student = double.member(line.student, locale=line.locale)
                    names[student.id] = line.student
                    use = await student.command("midi", line.options)
                    await use.answer()
                    console.print(
                        f"{line.student}: {line.words} (answered in {1000 * (use.acknowledged_after_s or 0):.0f} ms)",
                        highlight=False, soft_wrap=True)
                await _until_posted(double, bot, sum(int(line.options["takes"]) for line in SCRIPT), console)
                if double.violations:
                    raise RuntimeError("Discord would have refused: " + "; ".join(double.violations))
                if out.exists():
                    shutil.rmtree(out)
                scenes = [Scene(line.student, line.words, thread.name, shown_of(double, thread))
                          for line in SCRIPT for thread in double.threads() if str(line.options["title"]) in thread.name]
                names[double.world.bot.id] = double.world.bot.display_name
                return write_page(out, "Kapelle: a rehearsal", INTRODUCTION, scenes, names)


INTRODUCTION = (
    "Two students of a class asked for music. Everything here was made and posted by the bot itself on this machine; "
    "only Discord was a stand-in. Sound plays, pictures open, MIDI files can be saved. The buttons show what is offered; "
    "they need Discord.")


def shown_of(double: DiscordDouble, thread: Thread) -> list[Message]:
    """What a student sees of a thread: the channel's notice that it was opened, and all that stands in it."""
    opened = [message for message in double.messages(thread.parent_id, system=True)
              if message.type == THREAD_CREATED and (message.reference or {}).get("channel_id") == str(thread.id)]
    return opened + double.messages(thread.id, system=True)


async def _until_posted(double: DiscordDouble, bot: BotProcess, takes: int, console: Console) -> None:
    deadline = time.monotonic() + PATIENCE_S
    shown = 0
    while shown < takes:
        if not bot.alive:
            raise RuntimeError(f"the bot ended:\n{bot.log.read_text(errors='replace')[-2000:]}")
        if time.monotonic() > deadline:
            raise TimeoutError(f"{shown} of {takes} takes after {PATIENCE_S} s:\n{bot.log.read_text(errors='replace')[-2000:]}")
        await asyncio.sleep(0.2)
        posted = sum(any(file.filename.endswith(".mid") for file in message.attachments)
                     for thread in double.threads() for message in double.messages(thread.id))
        if posted > shown:
            shown = posted
            console.print(f"Kapelle: {shown} of {takes} takes posted")
    await double.wait_for(lambda: all(double.messages(thread.id)[0].components for thread in double.threads()), 60)  # on cards


def main() -> int:
    parser = argparse.ArgumentParser(prog="make run", description="Rehearse Kapelle against a Discord on loopback.")
    parser.add_argument("--out", type=Path, default=Path("rehearsal"), help="folder of the page (is replaced)")
    out = parser.parse_args().out
    console = Console()
    if out.exists() and not (out / "index.html").exists():
        print(f"{out} is there and is no rehearsal; choose another folder with --out", file=sys.stderr)
        return 2
    try:
        page = asyncio.run(rehearse(out, console))
    except (RuntimeError, OSError, TimeoutError) as error:
        print(str(error) or "the bot did not connect in time", file=sys.stderr)
        return 1
    takes = len(list((page.parent / "files").glob("*.mid")))
    console.print(f"\n{takes} takes are in {page.parent / 'files'}, each as MIDI file, sound and picture.", highlight=False)
    console.print(f"The threads are a page now; open [bold]{page.resolve().as_uri()}[/] in a browser.", soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
