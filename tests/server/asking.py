"""What tests of the server do again and again: ask, wait for takes, look at them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import soundfile
from PIL import Image

from models.music.score.midi import read_midi
from tests.discord_double import DiscordDouble, Message, Thread


@dataclass(frozen=True)
class Threaded:
    """A job's thread with the messages of its takes."""

    thread: Thread
    takes: list[Message]


def takes_in(double: DiscordDouble, thread: Thread) -> list[Message]:
    return [message for message in double.messages(thread.id)
            if any(file.filename.endswith(".mid") for file in message.attachments)]


def thread_named(double: DiscordDouble, name: str) -> Thread | None:
    return next((thread for thread in double.threads() if name in thread.name), None)


async def takes_of(double: DiscordDouble, name: str, count: int, timeout_s: float = 180) -> Threaded:
    """Wait until so many takes are in the thread that has `name` in its own."""
    def found() -> Threaded | None:
        thread = thread_named(double, name)
        if thread is None:
            return None
        takes = takes_in(double, thread)
        return Threaded(thread, takes) if len(takes) >= count else None

    result = await double.wait_for(found, timeout_s)
    assert isinstance(result, Threaded)
    return result


def files_of(message: Message) -> Mapping[str, bytes]:
    """The content of a take's files by their endings, with the picture's alt text checked."""
    files = {file.filename.rpartition(".")[2]: file.content for file in message.attachments}
    picture = next(file for file in message.attachments if file.filename.endswith(".png"))
    assert picture.description
    return files


def check_take(message: Message) -> None:
    """Its MIDI holds notes, its sound is as long as they are, neither silent nor clipped, and its picture can be seen."""
    files = files_of(message)
    score = read_midi(io.BytesIO(files["mid"]))
    assert len(score.notes) >= 8
    end_s = float((score.notes["onset_ms"] + score.notes["duration_ms"]).max()) / 1000
    sound, rate = soundfile.read(io.BytesIO(files["ogg"]))
    assert end_s * 0.7 < len(sound) / rate < end_s + 6
    peak = float(np.abs(sound).max())
    assert 0.3 < peak < 0.95  # what was cut off would be at 1.0
    assert float(np.sqrt((sound ** 2).mean())) > 0.01
    with Image.open(io.BytesIO(files["png"])) as image:
        assert image.width >= 1000
        assert len(image.convert("RGB").getcolors(2**24) or ()) > 4


async def finished_card(double: DiscordDouble, threaded: Threaded) -> Message:
    """The card of the thread's first job once nothing of it will follow."""
    return await double.wait_for(
        lambda: next((message for message in double.messages(threaded.thread.id) if "zip" in buttons(message)), None))


def buttons(message: Message) -> dict[str, dict[str, Any]]:
    """Buttons and selects of a message by the action in their custom_id."""
    return {part["custom_id"].split(":")[1]: part for row in message.components for part in row.get("components", ())
            if "custom_id" in part}
