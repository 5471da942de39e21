"""`/audio` end to end: the real bot process, a Discord on loopback, tiny MusicGens with random weights."""

from __future__ import annotations

import io
import os
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
import soundfile
from PIL import Image

from tests.discord_double import DiscordDouble, Message, Thread, Use
from tests.engines.musicgen.building import write
from tests.rehearsal.bot_process import running_bot
from tests.server.asking import buttons, takes_of, thread_named
from tests.sound.audio.building import by_libsndfile, tone

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.slow]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def double(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DiscordDouble]:
    data = tmp_path_factory.mktemp("data")
    write(data / "musicgen-small")
    write(data / "musicgen-melody", melody=True)
    async with DiscordDouble(tmp_path_factory.mktemp("discord")) as discord:
        async with running_bot(
                discord, data, threads="1", engines="pocket,musicgen-small,musicgen-melody,musicgen-large",
                max_jobs_at_once="50", max_jobs_a_day="1000", max_seconds="60"):
            yield discord
        assert discord.violations == []


@pytest.fixture(scope="module")
def names() -> Iterator[str]:
    return (f"calm piano number {number}" for number in range(100, 1000))


async def said(use: Use) -> str:
    return (await use.answer(timeout_s=30)).content


def takes_in(double: DiscordDouble, thread: Thread) -> list[Message]:
    return [message for message in double.messages(thread.id) if any(
        re.search(r"-take-\d+\.(ogg|mp3)$", file.filename) for file in message.attachments)]


async def made(double: DiscordDouble, name: str, count: int = 1) -> list[Message]:
    """The takes of a job, once so many are posted."""
    def there() -> list[Message] | None:
        thread = thread_named(double, name)
        takes = takes_in(double, thread) if thread else []
        return takes if len(takes) >= count else None

    found: list[Message] = await double.wait_for(there, 120)
    return found


def check(message: Message, seconds: float) -> None:
    """Sound as long as was asked for, neither silent nor clipped, and a picture that can be seen."""
    files = {file.filename.rpartition(".")[2]: file for file in message.attachments}
    sound, rate = soundfile.read(io.BytesIO(files["ogg"].content))
    assert len(sound) / rate == pytest.approx(seconds, abs=0.15)
    assert 0.05 < np.abs(sound).max() < 0.98
    with Image.open(io.BytesIO(files["png"].content)) as picture:
        assert picture.size == (1600, 900)
        assert len(picture.convert("RGB").getcolors(2**24) or ()) > 20
    assert files["png"].description


def hum(seconds: float = 2.0) -> bytes:
    rate = 16_000
    time_s = np.arange(round(seconds * rate)) / rate
    target = io.BytesIO()
    soundfile.write(target, 0.3 * np.sin(2 * np.pi * 440 * time_s), rate, format="WAV")
    return target.getvalue()


async def card(double: DiscordDouble, name: str) -> Message:
    thread = thread_named(double, name)
    assert thread is not None
    found: Message = await double.wait_for(
        lambda: next((message for message in double.messages(thread.id) if "zip" in buttons(message)), None), 60)
    return found


@pytest.mark.parametrize(("student", "locale", "word"), [
    ("Anna", "en-GB", "not for commercial use"), ("Änne", "de", "nicht für kommerzielle Zwecke")])
async def test_sound_is_made_of_a_description(
    double: DiscordDouble, names: Iterator[str], student: str, locale: str, word: str,
) -> None:
    anna, name = double.member(student, locale=locale), next(names)
    use = await anna.command("audio", {"prompt": name, "seconds": 3.0, "takes": 2, "seed": 7})
    assert name in await said(use)
    for message in await made(double, name, 2):
        check(message, 3.0)
        assert "/audio " in message.content
        assert ":7" in message.content
        assert word in message.content


async def test_a_short_one_is_posted_before_a_long_one_that_began_with_it(double: DiscordDouble, names: Iterator[str]) -> None:
    anna, ben = double.member("Anna", locale="en-GB"), double.member("Ben", locale="en-GB")
    long, short = next(names), next(names)
    await said(await anna.command("audio", {"prompt": long, "seconds": 30.0}))
    await said(await ben.command("audio", {"prompt": short, "seconds": 5.0}))
    early, = await made(double, short)
    late, = await made(double, long)
    assert early.id < late.id
    check(late, 30.0)


async def test_a_melody_that_is_attached_is_followed(double: DiscordDouble, names: Iterator[str]) -> None:
    anna, name = double.member("Anna", locale="en-GB"), next(names)
    await said(await anna.command("audio", {"prompt": name, "seconds": 2.0, "melody": ("hum.wav", hum())}))
    message, = await made(double, name)
    check(message, 2.0)
    assert "engine:musicgen-melody" in message.content  # the usual one cannot


async def test_a_sound_is_carried_on(double: DiscordDouble, names: Iterator[str]) -> None:
    anna, name = double.member("Anna", locale="en-GB"), next(names)
    await said(await anna.command("audio", {"prompt": name, "seconds": 4.0, "continue": ("hum.wav", hum())}))
    check((await made(double, name))[0], 4.0)


async def test_what_cannot_be_used_is_refused_or_said_to_be_unusable(double: DiscordDouble, names: Iterator[str]) -> None:
    anna = double.member("Anna", locale="en-GB")
    large = await said(await anna.command("audio", {"prompt": "x", "melody": ("l.wav", b"RIFF" + bytes(11 * 2**20))}))
    assert "10 MB" in large
    able = await said(await anna.command("audio", {"prompt": "x", "engine": "musicgen-small", "melody": ("h.wav", hum())}))
    assert "cannot follow a melody" in able
    missing = await said(await anna.command("audio", {"prompt": "x", "engine": "musicgen-large"}))
    assert "kapelle models fetch musicgen-large" in missing
    long = await said(await anna.command("audio", {"prompt": "x", "seconds": 61.0}))
    assert "60 are allowed" in long
    for name, contents, words in (
            ("song.mp3", b"this is a text file\n" * 50, "no sound that I can read"), ("empty.wav", b"", "empty"),
            ("still.wav", hum()[:44] + bytes(64_000), "silent")):
        threads, prompt = len(double.threads()), next(names)
        for option in ("melody", "continue"):
            answer = await said(await anna.command("audio", {"prompt": prompt, "seconds": 2.0, option: (name, contents)}))
            assert words in answer
        assert len(double.threads()) == threads


async def test_of_a_whole_song_the_end_is_carried_on(double: DiscordDouble, names: Iterator[str]) -> None:
    anna, name = double.member("Anna", locale="en-GB"), next(names)
    song = by_libsndfile(tone(180.0, rate_hz=16_000), "MP3", rate_hz=16_000)
    await said(await anna.command("audio", {"prompt": name, "seconds": 2.0, "continue": ("song.mp3", song)}))
    message, = await made(double, name)
    check(message, 2.0)
    assert "Only the last 1 s of the sound are carried on" in (await card(double, name)).content


@pytest.mark.parametrize("options", [
    {"prompt": ""}, {"prompt": " "}, {"prompt": "x" * 4000}, {"prompt": "x", "seconds": 0.3}, {"prompt": "x", "seconds": 500.0},
    {"prompt": "x", "takes": 5}, {"prompt": "x", "guidance": -1.0}, {"prompt": "x", "top-k": 9999}, {"prompt": "x\ny"},
])
async def test_options_out_of_range_are_refused(double: DiscordDouble, options: dict[str, object]) -> None:
    threads = len(double.threads())
    answer = await (await double.member("Ina", locale="en-GB").command("audio", options, raw=True)).answer()
    assert answer.content
    assert answer.ephemeral
    assert len(double.threads()) == threads


async def test_buttons_vary_continue_and_follow_a_take(double: DiscordDouble, names: Iterator[str]) -> None:
    anna, ben, name = double.member("Anna", locale="en-GB"), double.member("Ben", locale="en-GB"), next(names)
    await said(await anna.command("audio", {"prompt": name, "seconds": 2.0, "takes": 2, "seed": 3}))
    first, second = await made(double, name, 2)
    status = await card(double, name)
    thread = thread_named(double, name)
    assert thread is not None
    assert name in await said(await ben.press(status, buttons(status)["again"]["custom_id"]))
    await double.wait_for(lambda: len(takes_in(double, thread)) == 4, 60)
    vary = await ben.press(status, buttons(status)["vary"]["custom_id"])
    await said(await ben.submit(vary, {"temperature": "0.8", "seconds": "3", "guidance": "2"}))
    await double.wait_for(lambda: len(takes_in(double, thread)) == 6, 60)
    check(takes_in(double, thread)[-1], 3.0)
    await said(await ben.select(status, buttons(status)["continue"]["custom_id"], ["2"]))
    await double.wait_for(lambda: len(takes_in(double, thread)) == 8, 60)
    check(takes_in(double, thread)[-1], 4.0)
    follow = await ben.press(second, buttons(second)["melody"]["custom_id"])
    await said(await ben.submit(follow, {"prompt": "lofi", "seconds": "2"}))
    await double.wait_for(lambda: len(takes_in(double, thread)) == 9, 60)
    assert "engine:musicgen-melody" in takes_in(double, thread)[-1].content
    assert first.attachments


async def test_notes_become_the_melody_of_sound_and_are_carried_on(double: DiscordDouble) -> None:
    anna = double.member("Änne", locale="de")
    await said(await anna.command("midi", {"title": "Etude 99", "takes": 2, "tokens": 60, "seed": 5}))
    composed = await takes_of(double, "Etude 99", 2)
    status = await card(double, "Etude 99")
    await said(await anna.select(status, buttons(status)["continue"]["custom_id"], ["1"]))
    await double.wait_for(lambda: len([message for message in double.messages(composed.thread.id) if any(
        file.filename.endswith(".mid") for file in message.attachments)]) == 4, 60)
    audio = await anna.press(composed.takes[0], buttons(composed.takes[0])["audio"]["custom_id"])
    await said(await anna.submit(audio, {"prompt": "a string quartet", "seconds": "2"}))
    await double.wait_for(
        lambda: any("musicgen-melody" in message.content for message in takes_in(double, composed.thread)), 60)


async def test_cancelling_ends_it(double: DiscordDouble, names: Iterator[str]) -> None:
    anna, name = double.member("Anna", locale="en-GB"), next(names)
    accepted = await said(await anna.command("audio", {"prompt": name, "seconds": 60.0, "takes": 4}))
    number = int(re.search(r"#(\d+)", accepted)[1])  # type: ignore[index]
    await said(await anna.command("cancel", {"job": number}))
    thread = await double.wait_for(lambda: thread_named(double, name), 30)
    await double.wait_for(lambda: any("Cancelled" in message.content for message in double.messages(thread.id)), 30)


async def test_a_moderator_limits_seconds(double: DiscordDouble, names: Iterator[str]) -> None:
    teacher, anna = double.member("Ms Miller", locale="en-GB", moderator=True), double.member("Anna", locale="en-GB")
    await said(await teacher.command("kapelle limits set", {"limit": "seconds", "value": "5"}))
    assert "5 are allowed" in await said(await anna.command("audio", {"prompt": "x", "seconds": 6.0}))
    name = next(names)
    await said(await anna.command("audio", {"prompt": name}))  # the usual ten are more than is allowed
    check((await made(double, name))[0], 5.0)
    assert "Sekunden" in await said(await double.member("Ole", locale="de").command("quota"))
    await said(await teacher.command("kapelle limits set", {"limit": "seconds", "value": "-"}))


async def test_without_a_model_nothing_is_pretended(tmp_path: Path) -> None:
    async with DiscordDouble(tmp_path) as discord, running_bot(discord, tmp_path / "data"):
        answer = await said(await discord.member("Anna", locale="en-GB").command("audio", {"prompt": "calm piano"}))
        assert "no model here" in answer
        assert discord.threads() == []


async def test_what_an_operator_allows_instead_says_that_it_is_not_musicgen(tmp_path: Path) -> None:
    async with DiscordDouble(tmp_path) as discord:
        async with running_bot(discord, tmp_path / "data", audio_fallback="compose"):
            await said(await discord.member("Anna", locale="en-GB").command("audio", {"prompt": "calm waltz", "seconds": 5.0}))
            message, = await made(discord, "calm waltz")
            assert "This is not MusicGen" in message.content
            assert all("not-musicgen" in file.filename for file in message.attachments)
        assert discord.violations == []


async def test_metas_own_library_makes_sound_in_a_process_of_its_own(tmp_path: Path) -> None:
    python = os.environ.get("KAPELLE_AUDIOCRAFT_PYTHON")
    if not python:
        pytest.skip("no audiocraft: type `kapelle install audiocraft` and name its Python in KAPELLE_AUDIOCRAFT_PYTHON")
    async with DiscordDouble(tmp_path) as discord:
        async with running_bot(discord, tmp_path / "data", engines="pocket,audiocraft-debug", audiocraft_python=python):
            anna = discord.member("Anna", locale="en-GB")
            await said(await anna.command("audio", {"prompt": "calm piano", "seconds": 2.0, "takes": 2, "seed": 1}))
            await said(await anna.command("midi", {"title": "Beside it", "takes": 1, "tokens": 60}))
            await takes_of(discord, "Beside it", 1)  # does not wait for the other process
            for message in await made(discord, "calm piano", 2):
                check(message, 2.0)
                assert "audiocraft" in message.content
        assert discord.violations == []
