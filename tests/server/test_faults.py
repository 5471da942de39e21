"""Whatever Discord answers or does, takes come once, or the member is told why not."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.discord_double import DiscordDouble, Thread
from tests.rehearsal.bot_process import BotProcess
from tests.server.asking import takes_in, takes_of, thread_named
from tests.server.chaos import children, takes_posted

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("bot"), pytest.mark.slow]
SMALL = {"tokens": 48, "takes": 2}


@pytest.fixture(scope="module")
def names() -> Iterator[str]:
    return (f"Fault {number}" for number in range(100, 1000))


async def asked(double: DiscordDouble, title: str, **options: object) -> str:
    use = await double.member("Anna", locale="en-GB").command("midi", {"title": title, **SMALL, **options})
    return (await use.answer(timeout_s=20)).content


def once_each(double: DiscordDouble) -> bool:
    return set(takes_posted(double).values()) <= {1}


@pytest.mark.parametrize("name", [
    "rate_limited", "rate_limited_without_via", "server_error", "bad_gateway", "unavailable", "timeout", "reset_before",
    "reset_after", "slow",
])
@pytest.mark.parametrize("path", ["/channels/*/messages", "/channels/*/threads"])
async def test_what_passes_is_waited_for(double: DiscordDouble, names: Iterator[str], name: str, path: str) -> None:
    title = next(names)
    fault = double.faults.next(name, "POST", path, times=2)
    await asked(double, title)
    threaded = await takes_of(double, title, 2)
    await asyncio.sleep(0.5)
    assert fault.times < 2
    double.faults.clear()
    assert len(takes_in(double, threaded.thread)) == 2
    assert len([thread for thread in double.threads() if title in thread.name]) == 1
    assert once_each(double)


async def test_a_global_rate_limit_is_waited_for(double: DiscordDouble, names: Iterator[str]) -> None:
    title = next(names)
    double.faults.next("rate_limited_globally", "POST", "/channels/*", times=2, retry_after_s=0.5)
    await asked(double, title)
    await takes_of(double, title, 2)
    assert once_each(double)


@pytest.mark.parametrize("what", ["drop", "reconnect", "invalidate", "forget"])
async def test_the_gateway_comes_back(double: DiscordDouble, names: Iterator[str], what: str) -> None:
    title = next(names)
    await asked(double, title)
    match what:
        case "drop":
            double.faults.drop()
        case "reconnect":
            double.faults.reconnect()
        case "invalidate":
            double.faults.invalidate(resumable=True)
        case "forget":
            double.faults.invalidate(resumable=False)
    await takes_of(double, title, 2)
    await double.connected(30)
    again = next(names)
    await asked(double, again)
    await takes_of(double, again, 2)
    assert once_each(double)


async def test_sound_that_is_too_large_is_made_smaller_or_left_out(double: DiscordDouble, names: Iterator[str]) -> None:
    title = next(names)
    double.faults.next("too_large", "POST", "/channels/*/messages", times=2)  # the card is the first to meet it
    await asked(double, title, takes=1)
    threaded = await takes_of(double, title, 1)
    assert {"mid", "png"} <= {file.filename.rpartition(".")[2] for file in threaded.takes[0].attachments}


@pytest.mark.parametrize("fault", ["unknown_interaction", "expired_token"])
async def test_an_interaction_that_is_gone_loses_no_job(double: DiscordDouble, names: Iterator[str], fault: str) -> None:
    title = next(names)
    double.faults.next(fault, "*", "/webhooks/*", times=3)
    anna = double.member("Anna", locale="en-GB")
    await anna.command("midi", {"title": title, **SMALL})
    await takes_of(double, title, 2)
    double.faults.clear()


async def test_an_archived_thread_is_opened_again(double: DiscordDouble, names: Iterator[str]) -> None:
    title = next(names)
    await asked(double, title, takes=4)
    thread = await double.wait_for(lambda: thread_named(double, title), 20)
    double.archive(thread.id)
    await takes_of(double, title, 4)
    assert not thread.archived


async def test_a_deleted_thread_ends_the_job_and_keeps_its_takes(double: DiscordDouble, names: Iterator[str]) -> None:
    title, ben = next(names), double.member("Ben", locale="en-GB")
    await (await ben.command("midi", {"title": title, "tokens": 256, "takes": 4})).answer()
    thread = await double.wait_for(lambda: thread_named(double, title), 20)
    double.delete_channel(thread.id)

    async def history() -> str:
        return (await (await ben.command("history")).answer()).content

    async with asyncio.timeout(60):
        while "failed" not in await history():
            await asyncio.sleep(0.5)
    number = (await history()).split("#")[1].split()[0].strip("*:· ")
    again = await (await ben.command("take", {"number": number})).answer()
    assert again.content
    assert once_each(double)


async def test_a_permission_that_is_taken_away_ends_the_job(double: DiscordDouble, names: Iterator[str]) -> None:
    title, ben = next(names), double.member("Ben", locale="en-GB")
    channel = double.add_channel("strict")
    await (await ben.command("midi", {"title": title, "tokens": 256, "takes": 3}, channel_id=channel.id)).answer()
    await double.wait_for(lambda: thread_named(double, title), 20)
    double.permissions.deny(channel.id, "send_messages_in_threads", "view_channel")

    async with asyncio.timeout(60):
        while "failed" not in (await (await ben.command("history")).answer()).content:
            await asyncio.sleep(0.5)


async def test_a_killed_worker_loses_nothing(double: DiscordDouble, bot: BotProcess, names: Iterator[str]) -> None:
    titles = [next(names) for _ in range(3)]
    for title in titles:
        await asked(double, title, tokens=192)
    (worker,) = children(bot.pid)
    os.kill(worker, signal.SIGKILL)
    for title in titles:
        await takes_of(double, title, 2)
    assert once_each(double)
    assert children(bot.pid) != [worker]


async def test_a_killed_bot_loses_nothing_and_posts_nothing_twice(
    double: DiscordDouble, bot: BotProcess, names: Iterator[str],
) -> None:
    titles = [next(names) for _ in range(4)]
    for title in titles:
        await asked(double, title, tokens=96)
    threads: list[Thread] = []
    for number in range(3):
        await asyncio.sleep(1.0 + 0.7 * number)
        bot.kill()
        await bot.wait()
        await double.disconnected(10)
        await bot.start()
        await double.connected(30)
    for title in titles:
        threads.append((await takes_of(double, title, 2)).thread)
    await asyncio.sleep(3)
    assert Counter(len(takes_in(double, thread)) for thread in threads) == {2: 4}
    assert once_each(double)


async def test_limits_and_history_survive_a_restart(double: DiscordDouble, bot: BotProcess, names: Iterator[str]) -> None:
    teacher, ben = double.member("Ms Miller", locale="en-GB", moderator=True), double.member("Ben", locale="en-GB")
    await (await teacher.command("kapelle limits set", {"limit": "takes", "value": "3"})).answer()
    assert await bot.stop() == 0
    await double.disconnected(10)
    await bot.start()
    await double.connected(30)
    refused = await (await ben.command("midi", {"title": next(names), "takes": 4})).answer()
    assert "3" in refused.content
    assert thread_named(double, "Fault 999") is None
    await (await teacher.command("kapelle limits set", {"limit": "takes", "value": "-"})).answer()
    assert "Fault" in (await (await ben.command("history")).answer()).content
