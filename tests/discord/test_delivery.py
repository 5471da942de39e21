from __future__ import annotations

import asyncio
import itertools

import pytest

from bot.discord import delivery, threads
from bot.jobs.ledger import LedgerError
from bot.jobs.records import JobState, Member, TakeState
from bot.jobs.refusals import Failure
from bot.worker.protocol import Progress
from tests.discord.conftest import Class
from tests.discord_double import DiscordDouble, Message

MESSAGES = "/channels/*/messages"


def numbers(posts: list[Message]) -> list[int]:
    """Which takes the messages hold, by the names of their files."""
    return [int(post.attachments[0].filename.rpartition("-")[2].partition(".")[0]) for post in posts]


# From the ledger to the thread

async def test_a_job_gets_a_thread_a_card_and_its_takes(running: Class) -> None:
    job = await running.ask(takes=3)
    job = await running.until(job, lambda job: job.card_id)
    thread, = running.double.threads()
    assert thread.id == job.thread_id
    assert thread.name == "Clair - Debussy · #1"
    assert running.anna.id in thread.members
    card = await running.until_card_says(job, "Place 1")
    assert not card.components
    await running.make(job)
    job = await running.until_over(job)
    assert job.state is JobState.DONE
    posts = await running.posts(job)
    assert numbers(posts) == [1, 2, 3]
    assert [take.message_id for take in job.takes] == [post.id for post in posts]
    for post in posts:
        assert [file.filename.rpartition(".")[2] for file in post.attachments] == ["ogg", "mid", "png"]
        assert "20 notes" in str(post.attachments[2].description)
        assert "```" in post.content
        assert post.components
        assert post.nonce
    assert await running.until_card_says(job, "Done: 3 takes") is card
    assert card.components
    assert [found for found in running.double.violations if ": answer " not in found] == []


async def test_takes_are_posted_as_soon_as_they_are_made_in_the_order_of_their_numbers(running: Class) -> None:
    job = await running.ask(takes=4)
    await running.make(job, [1])
    await running.until(job, lambda job: job.takes[0].state is TakeState.POSTED)
    await running.make(job, [3])
    await asyncio.sleep(0.8)
    assert numbers(await running.posts(job)) == [1]  # the second is not made yet
    await running.make(job, [2], empty=[2])
    await running.until(job, lambda job: job.takes[2].state is TakeState.POSTED)
    await running.make(job)
    assert (await running.until_over(job)).state is JobState.DONE
    assert numbers(await running.posts(job)) == [1, 3, 4]


async def test_a_card_is_edited_seldom(real_pace: None, running: Class) -> None:
    job = await running.until(await running.ask(), lambda job: job.card_id)
    await running.ledger.mark_running(job.id)
    for step in range(14):
        running.progress[job.id] = Progress(job.id, 1, (step / 14,), step)
        running.ledger.changes.publish(job.id)
        await asyncio.sleep(0.25)
    await running.make(job)
    card = await running.until_card_says(job, "Done")
    gaps = [later - earlier for earlier, later in itertools.pairwise([card.created_at, *card.edits])]
    assert all(gap >= 2.9 for gap in gaps[:-1])
    assert gaps[-1] >= 1.9


async def test_an_edit_whose_answer_was_lost_is_not_repeated_at_once(real_pace: None, running: Class) -> None:
    job = await running.until(await running.ask(), lambda job: job.card_id)
    running.double.faults.next("reset_after", "PATCH", "/channels/*/messages/*", times=2)
    await running.ledger.mark_running(job.id)
    card = await running.until_card_says(job, "Composing")
    await running.double.wait_for(lambda: len(card.edits) == 3)
    assert all(later - earlier >= 1.95 for earlier, later in itertools.pairwise([card.created_at, *card.edits]))
    assert [found for found in running.double.violations if "edited after" in found] == []


async def test_words_are_in_the_language_of_the_job(running: Class) -> None:
    job = await running.ask(language="de")
    await running.until_card_says(job, "Platz 1")


async def test_a_job_asked_for_in_a_thread_is_answered_there(running: Class) -> None:
    first = await running.until(await running.ask(), lambda job: job.thread_id)
    second = await running.ask(thread_id=first.thread_id, title="Gymnopedie")
    await running.make(second)
    await running.until_over(second)
    assert len(running.double.threads()) == 1
    assert len(await running.posts(second)) == 1
    assert len(await running.cards(second)) == 2


async def test_a_cancelled_job_says_so(running: Class) -> None:
    job = await running.until(await running.ask(), lambda job: job.card_id)
    await running.ledger.cancel(job.id)
    card = await running.until_card_says(job, "Cancelled")
    assert not card.components


async def test_a_job_that_is_cancelled_while_it_is_posted_stops_there(running: Class) -> None:
    job = await running.until(await running.ask(takes=6), lambda job: job.card_id)
    running.double.faults.next("slow", "POST", MESSAGES, times=6, delay_s=0.5)
    await running.make(job)
    await running.until(job, lambda job: job.takes[0].state is TakeState.POSTED)
    await running.ledger.cancel(job.id)
    await running.until_card_says(job, "Cancelled")
    job = await running.until(job, lambda job: job.told)
    posted = [take.number for take in job.takes if take.state is TakeState.POSTED]
    assert len(posted) < 6
    assert numbers(await running.posts(job)) == posted


@pytest.mark.parametrize("end", ["deleted", "cancelled"])
async def test_a_take_of_a_job_that_ends_while_it_is_on_its_way_is_taken_away(running: Class, end: str) -> None:
    job = await running.until(await running.ask(), lambda job: job.card_id)
    assert job.thread_id is not None
    slow = running.double.faults.next("slow", "POST", MESSAGES, delay_s=60)
    await running.make(job)
    there = await running.double.wait_for(
        lambda: [message for message in running.double.messages(job.thread_id) if message.attachments])
    anna = Member(running.double.guild.id, running.anna.id)
    await (running.jobs.delete if end == "deleted" else running.jobs.cancel)(job.id, anna)
    slow.release()
    await running.double.wait_for(lambda: there[0].deleted)
    await running.double.wait_for(lambda: not _followed(job.id))


# Exactly once

async def test_after_a_restart_takes_that_are_there_are_not_posted_again(running: Class) -> None:
    job = await running.ask(takes=3)
    await running.make(job)
    before = await running.until_over(job)
    await running.stop()
    posts, cards = await running.posts(job), await running.cards(job)
    await running.forget_that_it_was_posted(job)
    running.double.clock.advance(3600)  # nonces are forgotten
    await running.start()
    after = await running.until_over(job)
    assert after.state is JobState.DONE
    assert [take.message_id for take in after.takes] == [take.message_id for take in before.takes]
    assert await running.posts(job) == posts
    assert await running.cards(job) == cards
    assert after.card_id == before.card_id


async def test_after_a_restart_what_is_missing_is_posted(running: Class) -> None:
    job = await running.ask(takes=3)
    await running.make(job, [1])
    await running.until(job, lambda job: job.takes[0].state is TakeState.POSTED)
    await running.stop()
    await running.make(job)
    await running.start()
    await running.until_over(job)
    assert numbers(await running.posts(job)) == [1, 2, 3]
    assert len(await running.cards(job)) == 1


async def test_the_end_is_shown_after_a_restart(running: Class) -> None:
    job = await running.until(await running.ask(), lambda job: job.card_id)
    await running.stop()
    await running.ledger.cancel(job.id)
    await running.start()
    await running.until_card_says(job, "Cancelled")


@pytest.mark.parametrize("fault", ["reset_after", "unavailable", "rate_limited_without_via", "rate_limited"])
async def test_a_fault_while_posting_leaves_one_message(running: Class, fault: str) -> None:
    job = await running.until(await running.ask(takes=2), lambda job: job.card_id)
    running.double.faults.next(fault, "POST", MESSAGES, times=2)
    await running.make(job)
    assert (await running.until_over(job)).state is JobState.DONE
    assert numbers(await running.posts(job)) == [1, 2]
    assert len(await running.cards(job)) == 1


async def test_a_ledger_that_is_locked_for_a_while_loses_nothing(running: Class, monkeypatch: pytest.MonkeyPatch) -> None:
    job = await running.until(await running.ask(takes=2), lambda job: job.card_id)
    written, refused = running.ledger.take_posted, iter(range(2))

    async def locked(job_id: int, number: int, message_id: int) -> bool:
        if next(refused, None) is not None:
            raise LedgerError("database is locked")
        return await written(job_id, number, message_id)

    monkeypatch.setattr(running.ledger, "take_posted", locked)
    await running.make(job)
    assert (await running.until_over(job)).state is JobState.DONE
    assert numbers(await running.posts(job)) == [1, 2]


async def test_a_delivery_that_failed_for_good_begins_again_with_a_search(
        running: Class, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "MOST_TROUBLES", 1)
    job = await running.until(await running.ask(), lambda job: job.card_id)
    written, broken = running.ledger.take_posted, iter(range(1))

    async def stumbling(job_id: int, number: int, message_id: int) -> bool:
        if next(broken, None) is not None:
            raise ZeroDivisionError
        return await written(job_id, number, message_id)

    monkeypatch.setattr(running.ledger, "take_posted", stumbling)
    await running.make(job)
    await running.double.wait_for(lambda: not _followed(job.id))
    running.double.clock.advance(3600)
    running.ledger.changes.publish(job.id)
    await running.until_over(job)
    assert numbers(await running.posts(job)) == [1]


async def test_a_thread_whose_opening_was_not_heard_of_is_found(running: Class) -> None:
    running.double.faults.next("reset_after", "POST", "/channels/*/threads")
    job = await running.until(await running.ask(), lambda job: job.thread_id)
    assert [thread.id for thread in running.double.threads()] == [job.thread_id]


@pytest.mark.parametrize("fault", ["reset_before", "reset_after"])
async def test_after_an_outage_the_thread_is_searched_before_posting(
        running: Class, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    monkeypatch.setattr(delivery, "NONCE_TRUST_S", 0.0)  # the outage is longer than anyone tries
    job = await running.until(await running.ask(), lambda job: job.card_id)
    double = running.double
    double.faults.next(fault, "POST", MESSAGES)
    await running.make(job)
    await double.wait_for(lambda: any(request.status == 0 for request in double.requests))
    double.clock.advance(3600)  # the nonce is forgotten
    assert (await running.until_over(job)).state is JobState.DONE
    assert numbers(await running.posts(job)) == [1]
    assert [request.method for request in double.requests if request.path.endswith("/messages")].count("GET") == 1


async def test_the_newest_messages_are_searched(running: Class, monkeypatch: pytest.MonkeyPatch) -> None:
    """A class may have said a lot in the thread before the take was posted."""
    monkeypatch.setattr(threads, "SEARCHED", 5)
    job = await running.until(await running.ask(), lambda job: job.card_id)
    for number in range(6):
        running.anna.say(f"message {number}", job.thread_id)
    await running.make(job)
    await running.until_over(job)
    await running.stop()
    posts = await running.posts(job)
    await running.forget_that_it_was_posted(job)
    running.double.clock.advance(3600)
    await running.start()
    await running.until_over(job)
    assert await running.posts(job) == posts


# Told how it ended

async def test_a_job_that_ends_before_its_thread_is_open_is_told_to_its_owner(
        running: Class, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "NONCE_TRUST_S", 0.2)
    running.double.faults.next("unavailable", "POST", "/channels/*/threads", times=1000)
    job = await running.ask()
    await running.double.wait_for(lambda: any(request.status == 503 for request in running.double.requests))
    await running.ledger.fail(job.id, Failure.NO_MODEL)
    (note,) = await running.double.wait_for(lambda: running.double.messages(running.anna.dm.id))
    assert "could not be loaded" in note.content
    assert "#1" in note.content
    assert running.double.threads() == []


@pytest.mark.parametrize("end", ["failed", "cancelled"])
async def test_a_job_that_ended_while_the_bot_was_away_is_told_once(kapelle: Class, end: str) -> None:
    job = await kapelle.ask()
    await (kapelle.ledger.fail(job.id, Failure.NO_MODEL) if end == "failed" else kapelle.ledger.cancel(job.id))
    for _ in range(2):
        await kapelle.start()
        await kapelle.until(job, lambda job: job.told)
        await kapelle.stop()
        kapelle.double.clock.advance(3600)
    (note,) = kapelle.double.messages(kapelle.anna.dm.id)
    assert ("could not be loaded" if end == "failed" else "Cancelled") in note.content


async def test_who_takes_no_direct_messages_is_told_in_the_channel(kapelle: Class) -> None:
    job = await kapelle.ask()
    await kapelle.ledger.fail(job.id, Failure.NO_MODEL)
    kapelle.double.faults.next("closed_messages", "POST", f"/channels/{kapelle.anna.dm.id}/messages")
    await kapelle.start()
    await kapelle.until(job, lambda job: job.told)
    assert kapelle.double.messages(kapelle.anna.dm.id) == []
    (note,) = kapelle.double.messages(kapelle.double.channel.id)
    assert "could not be loaded" in note.content
    assert f"<@{kapelle.anna.id}>" in note.content
    assert note.mentions == []


async def test_a_note_that_did_not_arrive_is_sent_after_a_restart(running: Class) -> None:
    job = await running.until(await running.ask(), lambda job: job.card_id)
    assert job.thread_id is not None
    running.double.faults.next("unavailable", "POST", "/users/@me/channels", times=1000)
    running.double.delete_channel(job.thread_id)
    await running.make(job)
    await running.until_over(job)
    await running.stop()
    running.double.faults.clear()
    assert running.double.messages(running.anna.dm.id) == []
    await running.start()
    (note,) = await running.double.wait_for(lambda: running.double.messages(running.anna.dm.id))
    assert "/take 1" in note.content


async def test_more_threads_than_discord_allows_end_the_job_and_charge_nothing(running: Class) -> None:
    running.double.faults.next("too_many_threads", "POST", "/channels/*/threads")
    job = await running.until(await running.ask(), lambda job: job.told)
    assert (job.state, job.failure) == (JobState.FAILED, Failure.TOO_MANY_THREADS)
    assert await charged(running) == (0, 0)
    (note,) = running.double.messages(running.anna.dm.id)
    assert "as many open threads" in note.content


@pytest.mark.parametrize(("words", "name"), [(("clair",), "Kapelle · #1"), (("clair", "#1"), "Kapelle")])
async def test_a_name_that_a_word_filter_dislikes_gives_way_to_a_plainer_one(
        running: Class, words: tuple[str, ...], name: str) -> None:
    running.double.filter_words(*words)
    job = await running.ask()
    await running.make(job)
    assert (await running.until_over(job)).state is JobState.DONE
    (thread,) = running.double.threads()
    assert thread.name == name
    assert len(await running.posts(job)) == 1


async def test_what_automatic_moderation_blocks_is_posted_without_the_title(running: Class) -> None:
    running.double.filter_words("clair", messages=True)
    job = await running.ask(takes=2)
    await running.make(job)
    assert (await running.until_over(job)).state is JobState.DONE
    await running.until_card_says(job, "Done")
    posts, cards = await running.posts(job), await running.cards(job)
    assert (len(posts), len(cards)) == (2, 1)
    for message in (*posts, *cards):
        assert "clair" not in message.content.lower()
        assert f"#{job.id}" in message.content


async def test_a_word_that_is_blocked_midway_loses_no_take(running: Class) -> None:
    job = await running.until(await running.ask(takes=2), lambda job: job.card_id)
    running.double.filter_words("clair", messages=True)
    await running.make(job)
    done = await running.until_over(job)
    assert [take.state for take in done.takes] == [TakeState.POSTED] * 2
    assert len(await running.posts(job)) == 2


async def test_a_thread_with_the_plainest_name_is_found_again(running: Class) -> None:
    running.double.filter_words("clair", "#1")
    running.double.faults.next("rate_limited", "POST", "/channels/*/threads", retry_after_s=0.1)
    running.double.faults.next("reset_after", "POST", "/channels/*/threads")
    job = await running.ask()
    await running.make(job)
    await running.until_over(job)
    assert len([thread for thread in running.double.threads() if thread.name == "Kapelle"]) == 1


async def test_a_card_that_discord_turns_down_ends_the_job(running: Class) -> None:
    running.double.faults.next("too_large", "POST", MESSAGES)
    job = await running.until_over(await running.ask())
    assert job.failure == Failure.TURNED_DOWN
    assert await charged(running) == (0, 0)
    await running.until_card_says(job, "Discord does not let me post it")


async def test_a_refusal_that_is_not_discords_is_waited_for(running: Class) -> None:
    running.double.faults.next("forbidden_on_the_way", "POST", "/channels/*/threads", times=2)
    job = await running.until(await running.ask(), lambda job: job.card_id)
    assert not job.state.over


# Threads that are closed, gone or forbidden

async def test_an_archived_thread_is_opened_again(running: Class) -> None:
    job = await running.until(await running.ask(), lambda job: job.card_id)
    assert job.thread_id is not None
    running.double.archive(job.thread_id)
    await running.ledger.mark_running(job.id)  # the card is edited, which an archived thread does not allow
    await running.until_card_says(job, "Composing")
    assert not running.double.threads()[0].archived
    assert len(await running.cards(job)) == 1


async def test_a_locked_thread_ends_the_job(running: Class) -> None:
    job = await running.until(await running.ask(), lambda job: job.card_id)
    assert job.thread_id is not None
    running.double.archive(job.thread_id, locked=True)
    await running.make(job)
    job = await running.until_over(job)
    assert job.failure == Failure.FORBIDDEN


async def test_a_deleted_thread_ends_the_job_and_its_takes_are_kept(running: Class) -> None:
    job = await running.until(await running.ask(), lambda job: job.card_id)
    assert job.thread_id is not None
    running.double.delete_channel(job.thread_id)
    await running.make(job)
    job = await running.until_over(job)
    assert (job.state, job.failure) == (JobState.FAILED, Failure.THREAD_GONE)
    assert job.takes[0].state is TakeState.MADE
    assert await running.spool.read(job.id, job.takes[0].files["midi"]) == b"MThd"
    note = await running.double.wait_for(lambda: running.double.messages(running.anna.dm.id))
    assert "/take 1" in note[0].content


async def test_a_missing_permission_ends_the_job(running: Class) -> None:
    job = await running.until(await running.ask(), lambda job: job.card_id)
    running.double.permissions.deny(running.double.channel.id, "attach_files")
    await running.make(job)
    assert (await running.until_over(job)).failure == Failure.FORBIDDEN


async def test_a_channel_without_permission_for_threads_ends_the_job(running: Class) -> None:
    running.double.permissions.deny(running.double.channel.id, "create_public_threads")
    assert (await running.until_over(await running.ask())).failure == Failure.FORBIDDEN


async def test_a_deleted_card_is_posted_anew(running: Class) -> None:
    job = await running.until(await running.ask(), lambda job: job.card_id)
    running.double.faults.next("unknown_message", "PATCH", "/channels/*/messages/*")
    await running.ledger.cancel(job.id)
    card = await running.until_card_says(job, "Cancelled")
    assert (await running.until(job, lambda now: now.card_id != job.card_id)).card_id == card.id
    await running.double.wait_for(lambda: len(running.double.messages(job.thread_id)) == 1)  # the other one was deleted


async def test_a_card_older_than_55_minutes_is_not_edited(kapelle: Class) -> None:
    job = await kapelle.ask()
    await kapelle.ledger.set_card(job.id, kapelle.double.world.snowflakes.next(age_s=56 * 60))
    await kapelle.start()
    card = await kapelle.until_card_says(job, "Place 1")
    await kapelle.until(job, lambda job: job.card_id == card.id)
    assert not [request for request in kapelle.double.requests if request.method == "PATCH"]


# Sizes

async def test_sound_is_encoded_smaller_where_discord_finds_it_too_large(running: Class) -> None:
    job = await running.until(await running.ask(takes=2), lambda job: job.card_id)
    running.double.faults.next("too_large", "POST", MESSAGES)
    await running.make(job)
    await running.until_over(job)
    first, second = await running.posts(job)
    assert [file.filename.rpartition(".")[2] for file in first.attachments] == ["ogg", "mid", "png"]
    assert len(first.attachments[0].content) <= len(second.attachments[0].content) / 2


async def test_a_take_that_never_fits_is_lost_and_the_others_are_posted(running: Class) -> None:
    job = await running.until(await running.ask(takes=2), lambda job: job.card_id)
    running.double.faults.next("too_large", "POST", MESSAGES, times=4)
    await running.make(job)
    job = await running.until_over(job)
    assert [take.state for take in job.takes] == [TakeState.LOST, TakeState.POSTED]
    assert job.state is JobState.DONE


async def test_a_job_of_which_nothing_was_posted_fails_and_is_not_charged(running: Class) -> None:
    job = await running.until(await running.ask(takes=2), lambda job: job.card_id)
    running.double.faults.next("too_large", "POST", MESSAGES, times=8, files=True)
    await running.make(job)
    job = await running.until_over(job)
    assert [take.state for take in job.takes] == [TakeState.LOST, TakeState.LOST]
    assert (job.state, job.failure) == (JobState.FAILED, Failure.LOST)
    assert await charged(running) == (0, 0)
    card = await running.until_card_says(job, "Nothing of it could be posted")
    assert "/take 1" in card.content


async def test_a_take_whose_files_are_gone_is_lost(running: Class) -> None:
    job = await running.until(await running.ask(takes=2), lambda job: job.card_id)
    await running.stop()
    await running.make(job)
    (running.spool.folder(job.id) / "take-1.mid").unlink()
    await running.start()
    job = await running.until_over(job)
    assert [take.state for take in job.takes] == [TakeState.LOST, TakeState.POSTED]


# Ends

async def test_stopping_leaves_no_tasks_behind(double: DiscordDouble, running: Class) -> None:
    jobs = [await running.ask() for _ in range(3)]
    for job in jobs:
        await running.until(job, lambda job: job.card_id)
    await running.stop()
    assert [task.get_name() for task in asyncio.all_tasks() if "delivery" in task.get_name()] == []


async def test_a_job_that_was_deleted_is_let_go(running: Class) -> None:
    job = await running.until(await running.ask(), lambda job: job.card_id)
    await running.jobs.delete(job.id, Member(running.double.guild.id, running.anna.id))
    await running.double.wait_for(lambda: not _followed(job.id))


async def charged(kapelle: Class) -> tuple[int, int]:
    """Jobs and takes that count against Anna's quota."""
    quota = await kapelle.jobs.quota(Member(kapelle.double.guild.id, kapelle.anna.id), kapelle.double.channel.id)
    return quota.jobs_today, quota.takes_today


def _followed(job_id: int) -> bool:
    return any(task.get_name() == f"delivery of job {job_id}" for task in asyncio.all_tasks())
