"""Whatever Discord answers or does, takes come once, or the member is told why not."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.discord_double import DiscordDouble, Message, Thread
from tests.rehearsal.bot_process import BotProcess
from tests.server.asking import finished_card, takes_in, takes_of, thread_named
from tests.server.chaos import children, takes_posted

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("bot"), pytest.mark.slow]
SMALL = {"tokens": 48, "takes": 2}


@pytest.fixture(scope="module")
def names() -> Iterator[str]:
    return (f"Fault {number}" for number in range(100, 1000))


async def asked(double: DiscordDouble, title: str, **options: object) -> str:
    use = await double.member("Anna", locale="en-GB").command("midi", {"title": title, **SMALL, **options})
    return (await use.answer()).content


def once_each(double: DiscordDouble) -> bool:
    return set(takes_posted(double).values()) <= {1}


def cards_in(double: DiscordDouble, thread: Thread) -> list[Message]:
    return [message for message in double.messages(thread.id) if not message.attachments]


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
    await double.connected()
    again = next(names)
    await asked(double, again)
    await takes_of(double, again, 2)
    assert once_each(double)


async def test_sound_that_is_too_large_is_made_smaller_or_left_out(double: DiscordDouble, names: Iterator[str]) -> None:
    title = next(names)
    double.faults.next("too_large", "POST", "/channels/*/messages", files=True)
    await asked(double, title, takes=1)
    threaded = await takes_of(double, title, 1)
    (take,) = threaded.takes
    kinds = {file.filename.rpartition(".")[2] for file in take.attachments}
    assert "mid" in kinds
    assert ("The sound is too large" in take.content) == ("ogg" not in kinds)
    assert ("The picture is too large" in take.content) == ("png" not in kinds)


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
    thread = await double.wait_for(lambda: thread_named(double, title))
    double.archive(thread.id)
    await takes_of(double, title, 4)
    assert not thread.archived


async def test_a_command_that_discord_has_given_up_begins_no_job(double: DiscordDouble, names: Iterator[str]) -> None:
    title, ben = next(names), double.member("Ben", locale="en-GB")
    fault = double.faults.next("unknown_interaction", "POST", "/interactions/*")
    double.patience_s, patience_s = 0.5, double.patience_s
    try:
        use = await ben.command("midi", {"title": title, **SMALL})
        await double.wait_for(lambda: fault.times == 0)  # the acknowledgement; nobody can be told of it
    finally:
        double.patience_s = patience_s
    assert use.kind is None
    assert title not in (await (await ben.command("history")).answer()).content
    assert thread_named(double, title) is None


async def test_a_message_that_may_not_be_edited_any_more_is_replaced(double: DiscordDouble, names: Iterator[str]) -> None:
    title = next(names)
    fault = double.faults.next("old_message", "PATCH", "/channels/*/messages/*")
    await asked(double, title)
    threaded = await takes_of(double, title, 2)
    await finished_card(double, threaded)
    assert fault.times == 0
    await double.wait_for(lambda: len(cards_in(double, threaded.thread)) == 1)
    assert once_each(double)


@pytest_asyncio.fixture(loop_scope="module")
async def held(double: DiscordDouble, names: Iterator[str]) -> AsyncIterator[Thread]:
    """The thread of Ben's job whose takes are made and cannot be posted; they can once the faults are cleared."""
    title, ben, channel = next(names), double.member("Ben", locale="en-GB"), double.add_channel("strict")
    for message in double.messages(ben.dm.id):
        double.world.remove(message)
    double.faults.next("unavailable", "POST", "/channels/*/messages", times=10_000, files=True)
    await (await ben.command("midi", {"title": title, **SMALL}, channel_id=channel.id)).answer()
    thread = await double.wait_for(lambda: thread_named(double, title))
    path = f"/channels/{thread.id}/messages"
    try:
        await double.wait_for(lambda: any(request.path == path and request.status == 503 for request in double.requests))
        yield thread
    finally:
        double.faults.clear()


async def note_to_ben(double: DiscordDouble) -> str:
    ben = double.member("Ben")
    (note,) = await double.wait_for(lambda: double.messages(ben.dm.id))
    return note.content


async def test_a_deleted_thread_ends_the_job_and_keeps_its_takes(double: DiscordDouble, held: Thread) -> None:
    ben = double.member("Ben", locale="en-GB")
    double.delete_channel(held.id)
    double.faults.clear()
    note = await note_to_ben(double)
    assert "The thread was deleted" in note
    assert "does not count" in note
    assert "failed" in (await (await ben.command("history")).answer()).content
    number = held.name.rpartition("#")[2]
    again = await (await ben.command("take", {"number": number})).answer()
    assert f"Posted again: 2 takes of #{number}" in again.content
    assert once_each(double)


@pytest.mark.parametrize("taken", [("attach_files",), ("send_messages_in_threads", "view_channel")])
async def test_a_permission_that_is_taken_away_ends_the_job(
    double: DiscordDouble, held: Thread, taken: tuple[str, ...],
) -> None:
    double.permissions.deny(held.parent_id, *taken)
    double.faults.clear()
    note = await note_to_ben(double)
    assert "I may not post there" in note
    assert f"/take {held.name.rpartition('#')[2]}" in note
    assert takes_in(double, held) == []
    if taken == ("attach_files",):  # the card can still be edited
        (card,) = cards_in(double, held)
        assert "I may not post there" in card.content


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

    def posted() -> int:
        return sum(len(takes_in(double, thread)) for title in titles if (thread := thread_named(double, title)))

    for takes in (0, 1, 4):  # of eight
        await double.wait_for(lambda takes=takes: thread_named(double, titles[0]) and posted() >= takes)  # type: ignore[misc]
        bot.kill()
        await bot.wait()
        await double.disconnected()
        await bot.start()
        await double.connected()
    threads = []
    for title in titles:
        threaded = await takes_of(double, title, 2)
        await finished_card(double, threaded)
        threads.append(threaded.thread)
    assert Counter(len(takes_in(double, thread)) for thread in threads) == {2: 4}
    assert once_each(double)


async def test_limits_and_history_survive_a_restart(double: DiscordDouble, bot: BotProcess, names: Iterator[str]) -> None:
    teacher, ben = double.member("Ms Miller", locale="en-GB", moderator=True), double.member("Ben", locale="en-GB")
    await (await teacher.command("kapelle limits set", {"limit": "takes", "value": "3"})).answer()
    assert await bot.stop() == 0
    await double.disconnected()
    await bot.start()
    await double.connected()
    refused = await (await ben.command("midi", {"title": next(names), "takes": 4})).answer()
    assert "3" in refused.content
    assert thread_named(double, "Fault 999") is None
    await (await teacher.command("kapelle limits set", {"limit": "takes", "value": "-"})).answer()
    assert "Fault" in (await (await ben.command("history")).answer()).content
