"""What members may do, on SQLite and PostgreSQL."""

from __future__ import annotations

import asyncio
import json
import math
from dataclasses import replace
from typing import Any

import pytest

from bot.jobs.ledger import Ledger
from bot.jobs.limits import Limits
from bot.jobs.moderation import Moderation
from bot.jobs.records import JobState, Member, Place, Sight, TakeState
from bot.jobs.refusals import Failure, Reason
from bot.jobs.tables import Base
from tests.jobs.building import ANNA, BEN, CHANNEL, GUILD, STRANGER, TEACHER, Clock, ask, heard, refused, service_of


async def test_an_accepted_job_is_what_was_asked_for(ledger: Ledger, clock: Clock) -> None:
    service = service_of(ledger)
    parameters = {"title": "Für Elise", "artist": "Beethoven", "tokens": 64, "takes": 3, "temperature": 1, "seed": 7,
                  "stop_at_end": True}
    first = await service.submit("midi", "pocket", parameters, ANNA, Place(CHANNEL, CHANNEL + 1))
    assert (first.place, first.wait) == (1, None)
    assert dict(first.job.parameters) == parameters
    assert (first.job.name, first.job.seed) == ("Für Elise - Beethoven", 7)
    assert (first.job.guild_id, first.job.owner_id, first.job.channel_id, first.job.thread_id, first.job.language) == (
        GUILD, ANNA.user_id, CHANNEL, CHANNEL + 1, "de")
    assert (first.job.created_at, first.job.state, first.job.priority) == (clock(), JobState.QUEUED, 0)
    assert [(take.number, take.state) for take in first.job.takes] == [(number, TakeState.PENDING) for number in (1, 2, 3)]
    again = await service.submit("midi", "pocket", {"title": "x"}, BEN, Place(CHANNEL), parent_id=first.job.id)
    assert (again.job.parent_id, again.place) == (first.job.id, 2)
    assert 0 <= again.job.seed < 2**32
    assert (await ask(service)).job.seed != (await ask(service)).job.seed


@pytest.mark.parametrize("parameters", [
    {"title": " "}, {"title": "x" * 81}, {"title": "a\nb"}, {"title": "\ud800"}, {"title": 5}, {"title": "x", "artist": ["y"]},
    {"title": "x", "tokens": 31}, {"title": "x", "tokens": 10**30}, {"title": "x", "tokens": 64.0}, {"title": "x", "takes": 0},
    {"title": "x", "takes": True}, {"title": "x", "temperature": float("nan")}, {"title": "x", "temperature": "hot"},
    {"title": "x", "temperature": 10**400}, {"title": "x", "seed": -1}, {"title": "x", "stop_at_end": 1},
    {"title": "x", "prime": [1]}, {}])
@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_what_no_engine_can_do_is_refused_with_a_sentence(ledger: Ledger, parameters: dict[str, Any]) -> None:
    service = service_of(ledger)
    refusal = await refused(service.submit("midi", "pocket", parameters, ANNA, Place(CHANNEL)))
    assert refusal.reason is Reason.INVALID
    assert len(refusal.details["text"]) > 10
    assert not refusal.charged
    assert await ledger.count() == 0
    assert (await service.quota(ANNA, CHANNEL)).jobs_today == 0


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_other_kinds_engines_and_parents_are_refused(ledger: Ledger) -> None:
    service = service_of(ledger, engines=("pocket", "la-composer"))
    assert (await refused(service.submit("sound", "pocket", {"title": "x"}, ANNA, Place(1)))).reason is Reason.INVALID
    unknown = await refused(service.submit("midi", "musicgen", {"title": "x"}, ANNA, Place(1)))
    assert (unknown.reason, unknown.details["engines"]) == (Reason.NO_ENGINE, ("pocket", "la-composer"))
    strange = (await ask(service, STRANGER)).job.id
    for parent_id in (strange, strange + 1, 10**20):
        lost = await refused(service.submit("midi", "pocket", {"title": "x"}, ANNA, Place(1), parent_id=parent_id))
        assert (lost.reason, lost.details["number"]) == (Reason.NO_JOB, parent_id)
    assert await ledger.count(guild_id=GUILD) == 0


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_each_limit_refuses_with_its_rule(ledger: Ledger, moderation: Moderation) -> None:
    service = service_of(ledger, machine=Limits(takes=4, tokens=512, jobs_at_once=1, jobs_a_day=3, takes_a_day=6))

    async def why(**parameters: Any) -> tuple[Reason, dict[str, Any]]:
        refusal = await refused(ask(service, **parameters))
        return refusal.reason, refusal.details

    await moderation.set_limit(TEACHER, "guild", "channels", (CHANNEL, CHANNEL + 1))
    await moderation.set_limit(TEACHER, f"channel:{CHANNEL + 1}", "tokens", 100)
    assert await why(channel_id=CHANNEL + 2) == (Reason.CHANNEL, {"channels": (CHANNEL, CHANNEL + 1)})
    assert await why(takes=5) == (Reason.TOO_MANY_TAKES, {"asked": 5, "limit": 4, "rule": "machine"})
    assert await why(tokens=513) == (Reason.TOO_MANY_TOKENS, {"asked": 513, "limit": 512, "rule": "machine"})
    assert await why(tokens=101, channel_id=CHANNEL + 1) == (
        Reason.TOO_MANY_TOKENS, {"asked": 101, "limit": 100, "rule": f"channel:{CHANNEL + 1}"})
    first = (await ask(service, takes=3)).job.id
    assert await why() == (Reason.TOO_MANY_AT_ONCE, {"limit": 1, "rule": "machine"})
    await ledger.mark_running(first)
    assert (await why())[0] is Reason.TOO_MANY_AT_ONCE
    await ledger.fail(first, Failure.REFUSED)  # it stays charged
    assert await why(takes=4) == (Reason.TAKES_A_DAY, {"asked": 4, "left": 3, "limit": 6, "rule": "machine"})
    for _ in range(2):
        await ledger.mark_running(number := (await ask(service, takes=1)).job.id)
        await ledger.cancel(number)
    assert await why(takes=1) == (Reason.JOBS_A_DAY, {"limit": 3, "rule": "machine"})
    await ask(service, BEN)


async def test_a_new_day_brings_a_new_quota(ledger: Ledger, clock: Clock) -> None:
    service = service_of(ledger, machine=Limits(jobs_a_day=1))
    await ask(service)
    clock.move(hours=11, minutes=59)  # still the same day in UTC
    assert (await refused(ask(service))).reason is Reason.JOBS_A_DAY
    clock.move(minutes=1)
    await ask(service)


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_the_queue_ends_somewhere(ledger: Ledger) -> None:
    service = service_of(ledger, longest_queue=2)
    await ask(service)
    await ask(service, BEN)
    refusal = await refused(ask(service))
    assert (refusal.reason, refusal.details) == (Reason.QUEUE_FULL, {"limit": 2})
    await ledger.mark_running(1)
    await ask(service)


@pytest.mark.parametrize(("machine", "accepted"), [
    (Limits(jobs_at_once=3), 3), (Limits(jobs_a_day=4), 4), (Limits(takes_a_day=5), 2)])
async def test_members_who_ask_many_times_at_once_get_no_more_than_their_limit(
        ledger: Ledger, machine: Limits, accepted: int) -> None:
    service = service_of(ledger, machine=machine)
    outcomes = await asyncio.gather(*(ask(service, member) for _ in range(8) for member in (ANNA, BEN)), return_exceptions=True)
    assert sum(not isinstance(outcome, Exception) for outcome in outcomes) == 2 * accepted
    for member in (ANNA, BEN):
        quota = await service.quota(member, CHANNEL)
        assert (quota.jobs_today, quota.takes_today, quota.jobs_now) == (accepted, 2 * accepted, accepted)


async def test_blocked_members_paused_guilds_and_blocked_words_are_refused(ledger: Ledger, moderation: Moderation) -> None:
    service = service_of(ledger)
    await moderation.add_word(TEACHER, "schei*")
    assert (await refused(ask(service, title="So eine \uff33che1\u200bße"))).reason is Reason.WORD
    assert (await refused(ask(service, artist="SCHEIBENKLEISTER"))).reason is Reason.WORD
    await moderation.pause(TEACHER)
    assert (await refused(ask(service))).reason is Reason.PAUSED
    await moderation.drain(TEACHER)
    assert (await refused(ask(service))).reason is Reason.DRAINING
    await moderation.block(TEACHER, ANNA.user_id, "")
    assert (await refused(ask(service))).reason is Reason.BLOCKED
    await moderation.resume(TEACHER)
    assert (await refused(ask(service))).reason is Reason.BLOCKED
    await ask(service, BEN)
    await ask(service, replace(ANNA, guild_id=GUILD + 1))  # each guild for itself
    await moderation.unblock(TEACHER, ANNA.user_id)
    await ask(service)


async def test_own_jobs_are_cancelled_others_by_moderators_only(ledger: Ledger, moderation: Moderation) -> None:
    service = service_of(ledger)
    number = (await ask(service)).job.id
    assert (await refused(service.cancel(number, BEN))).reason is Reason.NOT_YOURS
    assert (await refused(service.cancel(number, STRANGER))).reason is Reason.NO_JOB
    assert (await service.cancel(number, ANNA)).state is JobState.CANCELLED
    assert (await refused(service.cancel(number, ANNA))).reason is Reason.OVER
    assert (await refused(service.cancel(number + 1, ANNA))).details == {"number": number + 1}
    other = (await ask(service)).job.id
    assert (await service.cancel(other, TEACHER)).id == other
    entries, _ = await moderation.audit(TEACHER, 1)
    assert [(entry.action, entry.user_id, entry.details) for entry in entries] == [
        ("cancel", TEACHER.user_id, {"jobs": [other]})]


async def test_jobs_of_another_worker_hold_up_nobody(ledger: Ledger) -> None:
    service = service_of(ledger, engines=("pocket", "la-composer", "musicgen-small"))
    for _ in range(3):
        await ask(service)
    audio = await service.submit("audio", "musicgen-small", {"prompt": "a calm piano"}, BEN, Place(CHANNEL))
    assert audio.place == 1
    beside = await service.submit("midi", "la-composer", {"title": "y"}, TEACHER, Place(CHANNEL))
    assert beside.place == 1  # a moderator
    assert [one.place for one in await service.mine(ANNA)] == [2, 3, 4]


async def test_places_go_round_and_waits_come_with_data(ledger: Ledger, moderation: Moderation) -> None:
    service = service_of(ledger, jobs_at_once=1)
    working = (await ask(service)).job.id
    await ledger.mark_running(working)
    second = await ask(service, takes=4, tokens=500)
    bens = await ask(service, BEN)
    assert (second.place, bens.place, bens.wait) == (1, 1, None)
    assert [(one.job.id, one.place) for one in await service.mine(ANNA)] == [(working, 0), (second.job.id, 2)]
    for _ in range(3):
        await ledger.record_speed("pocket", 100, 1.0)
    placed = await service.place(second.job.id)
    assert placed
    assert placed.wait
    assert placed.wait.least_s == pytest.approx(10.24)  # Ben's 2 takes of 512 ids
    assert placed.wait.most_s == pytest.approx(20.48)  # and the two at work, if they have only begun
    at_work = await service.place(working)
    assert at_work
    assert (at_work.place, at_work.wait) == (0, None)
    teachers = await ask(service, TEACHER)
    assert (teachers.place, teachers.job.priority) == (1, 1)
    assert (await ask(service_of(ledger, moderators_first=False), TEACHER)).job.priority == 0
    await ledger.cancel(second.job.id)
    assert await service.place(second.job.id) is None
    assert await service.place(99) is None


async def test_jobs_of_a_paused_guild_hold_up_nobody(ledger: Ledger, moderation: Moderation) -> None:
    service = service_of(ledger)
    paused = (await ask(service)).job.id
    other = (await ask(service, replace(BEN, guild_id=GUILD + 1))).job.id
    for _ in range(3):
        await ledger.record_speed("pocket", 100, 1.0)
    await ledger.line()
    listener = ledger.changes.listen()
    await moderation.pause(TEACHER)
    assert heard(listener) == {paused}
    first, behind = await service.place(other), await service.place(paused)
    assert first
    assert behind
    assert (first.place, behind.place, behind.wait) == (1, 1, None)  # each in the queue as it sees it
    await ledger.cancel(other)
    await ledger.cancel(paused)
    assert (await ledger.line()).paused == {GUILD}
    await moderation.resume(TEACHER)  # of no job at all: who waits is read again nevertheless
    assert (await ledger.line()).paused == set()


def sight(member: Member, here: int | None = None, threads: frozenset[int] = frozenset()) -> Sight:
    """Of a member who sees the usual channel."""
    return Sight(member, here, frozenset({CHANNEL}), threads)


PLACES = {
    "in the channel": Place(CHANNEL), "in a channel that is not seen": Place(CHANNEL + 5),
    "in a public thread": Place(CHANNEL, 21, private=False), "in a private thread": Place(CHANNEL, 22, private=True),
    "in a thread that nobody knows": Place(CHANNEL, 23, private=None),
    "in one that is known to be public now": Place(CHANNEL, 24, private=None),
    "in a public thread of a channel that is not seen": Place(CHANNEL + 5, 25, private=False),
}
OPEN = {"in the channel", "in a public thread", "in one that is known to be public now"}


@pytest.mark.parametrize(("who", "here", "seen"), [
    (ANNA, None, set(PLACES)), (TEACHER, None, set(PLACES)), (BEN, None, OPEN), (BEN, 22, {*OPEN, "in a private thread"}),
    (BEN, 23, {*OPEN, "in a thread that nobody knows"})])
@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_who_sees_what_is_the_same_for_a_piece_and_for_the_history(
        ledger: Ledger, who: Member, here: int | None, seen: set[str]) -> None:
    service = service_of(ledger)
    asked = {(await service.submit("midi", "pocket", {"title": name}, ANNA, place)).job.id: name
             for name, place in PLACES.items()}
    own = sight(who, here, frozenset({24}))
    jobs, pages = await service.history(own, whole_class=True, page=1, per_page=3)
    assert pages == math.ceil(len(seen) / 3)
    jobs = [job for page in range(pages) for job in (
        await service.history(own, whole_class=True, page=page + 1, per_page=3))[0]]
    assert {asked[job.id] for job in jobs} == seen
    assert {asked[job.id] for job in await ledger.jobs() if own.sees(job)} == seen


async def test_a_piece_that_was_partly_posted_gives_back_the_rest(ledger: Ledger) -> None:
    service = service_of(ledger)
    job = (await ask(service, takes=3)).job
    running = await ledger.mark_running(job.id)
    assert running is not None
    for number in (1, 2):
        await ledger.take_made(job.id, running.attempt, number, {"midi": "x.mid"}, 1.0, 5)
    await ledger.take_posted(job.id, 1, 77)
    await ledger.fail(job.id, Failure.CRASHED)
    quota = await service.quota(ANNA, CHANNEL)
    assert (quota.jobs_today, quota.takes_today) == (1, 1)
    other = (await ask(service, takes=3)).job
    running = await ledger.mark_running(other.id)
    assert running is not None
    await ledger.take_made(other.id, running.attempt, 1, {"midi": "x.mid"}, 1.0, 5)
    await ledger.take_posted(other.id, 1, 78)
    await ledger.requeue(other.id)  # the worker died
    await service.cancel(other.id, ANNA)
    quota = await service.quota(ANNA, CHANNEL)
    assert (quota.jobs_today, quota.takes_today) == (2, 2)


async def test_deleting_what_was_made_does_not_bring_the_next_piece_forward(ledger: Ledger, clock: Clock) -> None:
    service = service_of(ledger)
    first = (await ask(service)).job
    await ledger.mark_running(first.id)
    await ledger.fail(first.id, Failure.REFUSED)
    clock.move(minutes=1)
    anna, ben = (await ask(service)).job, (await ask(service, BEN)).job
    assert [(await service.mine(member))[0].place for member in (ANNA, BEN)] == [2, 1]
    await service.delete(first.id, ANNA)
    assert [(await service.mine(member))[0].place for member in (ANNA, BEN)] == [2, 1]
    assert anna.id < ben.id


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_history_has_pages_and_stays_in_its_guild(ledger: Ledger) -> None:
    service = service_of(ledger)
    assert await service.history(sight(ANNA), whole_class=True, page=1) == ([], 1)
    await ask(service, STRANGER)
    annas = [(await ask(service)).job.id for _ in range(5)]
    bens = (await ask(service, BEN)).job.id

    async def page(number: int, whole_class: bool) -> tuple[list[int], int]:
        jobs, pages = await service.history(sight(ANNA), whole_class=whole_class, page=number, per_page=2)
        return [job.id for job in jobs], pages

    assert await page(1, True) == ([bens, annas[4]], 3)
    assert await page(1, False) == ([annas[4], annas[3]], 3)
    assert await page(3, False) == ([annas[0]], 3)
    assert await page(9, False) == await page(3, False)
    assert await page(-(10**30), False) == await page(1, False)


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_jobs_and_takes_of_other_guilds_are_not_there(ledger: Ledger) -> None:
    service = service_of(ledger)
    number = (await ask(service)).job.id
    assert (await service.job(number, BEN)).id == number
    for call in (service.job(number, STRANGER), service.favourite(number, 1, STRANGER), service.delete(number, STRANGER),
                 service.report(number, 1, STRANGER, "x"), service.job(10**30, ANNA)):
        assert (await refused(call)).reason is Reason.NO_JOB
    assert (await refused(service.favourite(number, 3, ANNA))).details == {"number": 3}
    assert (await refused(service.report(number, 0, ANNA, "x"))).reason is Reason.NO_TAKE
    assert await service.favourite(number, 2, BEN)
    assert not await service.favourite(number, 2, BEN)


async def test_a_deleted_job_is_gone_with_its_files(ledger: Ledger, moderation: Moderation) -> None:
    removed: list[tuple[int, JobState]] = []

    async def remove(job_id: int) -> None:
        found = await ledger.job(job_id)
        assert found  # cancelled before its files go, there until they are gone
        removed.append((job_id, found.state))

    service = service_of(ledger, remove_files=remove)
    number = (await ask(service)).job.id
    child = (await service.submit("midi", "pocket", {"title": "y"}, BEN, Place(CHANNEL), parent_id=number)).job.id
    await ledger.mark_running(number)
    await ledger.toggle_favourite(number, 1, BEN.user_id)
    assert (await refused(service.delete(number, BEN))).reason is Reason.NOT_YOURS
    listener = ledger.changes.listen()
    deleted = await service.delete(number, ANNA)
    assert (deleted.id, deleted.state, deleted.name) == (number, JobState.CANCELLED, "Clair de lune")
    assert removed == [(number, JobState.CANCELLED)]
    assert heard(listener) == {number}
    assert (await refused(service.job(number, ANNA))).reason is Reason.NO_JOB
    assert (await service.job(child, BEN)).parent_id is None
    assert (await service.quota(ANNA, CHANNEL)).jobs_today == 1  # it was at work
    await service.delete(child, TEACHER)
    assert (await service.quota(BEN, CHANNEL)).jobs_today == 0
    entries, _ = await moderation.audit(TEACHER, 1)
    assert [(entry.action, entry.details) for entry in entries] == [("delete", {"job": child, "member": BEN.user_id})]


async def test_a_report_reaches_the_moderators(ledger: Ledger, moderation: Moderation) -> None:
    service = service_of(ledger)
    number = (await ask(service)).job.id
    await service.report(number, 2, BEN, "too \0loud\ud800")
    assert (await refused(service.report(number, 2, BEN, "x" * 1001))).reason is Reason.INVALID
    entries, _ = await moderation.audit(TEACHER, 1)
    assert [(entry.action, entry.user_id, entry.details) for entry in entries] == [
        ("report", BEN.user_id, {"job": number, "take": 2, "text": "too loud?"})]


async def everything(ledger: Ledger) -> str:
    """All that is in the database, as text."""
    async with ledger.read() as session:
        return repr([(table.name, (await session.execute(table.select())).all()) for table in Base.metadata.sorted_tables])


async def test_members_get_what_is_kept_about_them(ledger: Ledger, moderation: Moderation) -> None:
    service = service_of(ledger)
    number = (await ask(service, title="Geheim")).job.id
    bens = (await ask(service, BEN, title="Bens")).job.id
    await service.favourite(bens, 1, ANNA)
    await service.report(bens, None, ANNA, "quiet")
    await moderation.block(TEACHER, ANNA.user_id, "rude")
    kept = json.loads(json.dumps(await service.export(ANNA)))
    assert kept["user"] == str(ANNA.user_id)
    assert [(job["id"], job["parameters"]["title"], job["guild_id"], len(job["takes"])) for job in kept["jobs"]] == [
        (number, "Geheim", str(GUILD), 2)]
    assert [(one["job"], one["take"]) for one in kept["favourites"]] == [(bens, 1)]
    assert [(one["jobs"], one["takes"]) for one in kept["quota"]] == [(1, 2)]
    assert [one["text"] for one in kept["reports"]] == ["quiet"]
    assert [one["reason"] for one in kept["blocked"]] == ["rude"]
    assert [(one["action"], one["user_id"]) for one in kept["audit"]] == [
        ("report", str(ANNA.user_id)), ("block", str(TEACHER.user_id))]
    assert "Bens" not in json.dumps(kept)


async def test_forgetting_leaves_ids_only(ledger: Ledger, moderation: Moderation, clock: Clock) -> None:
    removed: list[int] = []

    async def remove(job_id: int) -> None:
        removed.append(job_id)

    service = service_of(ledger, remove_files=remove)
    clock.move(days=-1)
    done = (await ask(service, title="Geheim")).job.id
    clock.move(days=1)
    await ledger.mark_running(done)
    waiting = (await ask(service, title="Geheim")).job.id
    elsewhere = (await ask(service, replace(ANNA, guild_id=GUILD + 1), title="Geheim")).job.id
    bens = (await ask(service, BEN)).job.id
    await service.favourite(bens, 1, ANNA)
    await service.favourite(done, 1, BEN)
    await service.report(bens, 1, ANNA, "geheimer Text")
    await service.report(done, 1, BEN, "about Anna")
    await moderation.block(TEACHER, ANNA.user_id, "geheimer Grund")
    await moderation.unblock(TEACHER, ANNA.user_id)
    listener = ledger.changes.listen()
    assert len(await service.forget(ANNA)) == 3
    assert removed == [done, waiting, elsewhere]
    assert heard(listener) == {done, waiting, elsewhere, bens}
    left = await everything(ledger)
    assert "eheim" not in left
    assert [job.id for job in await ledger.jobs()] == [bens]
    assert (await ledger.jobs())[0].takes[0].favourites == 0
    entries, _ = await moderation.audit(TEACHER, 1)
    assert [(entry.action, entry.details) for entry in entries] == [
        ("unblock", {"member": ANNA.user_id}), ("block", {"member": ANNA.user_id}),
        ("report", {"job": done, "take": 1}), ("report", {"job": bens, "take": 1})]
    kept = await service.export(ANNA)
    assert (kept["jobs"], kept["favourites"], kept["reports"]) == ([], [], [])
    assert await service.forget(ANNA) == []


async def test_forgetting_is_no_way_round_the_quota(ledger: Ledger, clock: Clock) -> None:
    service = service_of(ledger, machine=Limits(jobs_a_day=1))
    await ledger.mark_running((await ask(service)).job.id)
    await service.forget(ANNA)
    assert (await refused(ask(service))).reason is Reason.JOBS_A_DAY
    clock.move(days=8)
    await ask(service, BEN)  # days that nobody needs any more go with the next job
    assert (await service.export(ANNA))["quota"] == []


async def test_a_blocked_member_stays_blocked_when_forgotten(ledger: Ledger, moderation: Moderation) -> None:
    service = service_of(ledger)
    await moderation.block(TEACHER, ANNA.user_id, "rude")
    await service.forget(ANNA)
    assert (await refused(ask(service))).reason is Reason.BLOCKED


async def test_the_most_generous_role_counts_and_everyone_has_the_guilds_own(ledger: Ledger, moderation: Moderation) -> None:
    service = service_of(ledger, machine=Limits(takes=16))
    await moderation.set_limit(TEACHER, "role:5", "takes", 8)
    await moderation.set_limit(TEACHER, f"role:{GUILD}", "takes", 2)
    helper = Member(GUILD, BEN.user_id, role_ids=(5,))
    assert (await service.quota(helper, CHANNEL)).rules["takes"] == "role:5"
    assert (await ask(service, helper, takes=8)).job.parameters["takes"] == 8
    assert (await refused(ask(service, ANNA, takes=3))).details["rule"] == f"role:{GUILD}"


async def test_what_is_not_asked_for_is_within_the_limits(ledger: Ledger) -> None:
    service = service_of(ledger, machine=Limits(takes=2, tokens=96))
    queued = await service.submit("midi", "pocket", {"title": "Clair de lune"}, ANNA, Place(CHANNEL))
    assert (queued.job.parameters["takes"], queued.job.parameters["tokens"]) == (2, 96)
    assert (await refused(ask(service, takes=3))).reason is Reason.TOO_MANY_TAKES


async def test_a_full_disk_takes_no_jobs(ledger: Ledger) -> None:
    service = service_of(ledger, free_bytes=lambda: 10_000)
    assert (await refused(ask(service))).reason is Reason.FULL_DISK
    assert await ledger.count() == 0
    assert (await service.quota(ANNA, CHANNEL)).jobs_today == 0


async def test_a_second_tap_is_no_second_piece(ledger: Ledger, clock: Clock) -> None:
    service = service_of(ledger)
    parent = (await ask(service)).job

    async def tap(**changed: Any) -> int:
        parameters = {**{name: value for name, value in parent.parameters.items() if name != "seed"}, **changed}
        return (await service.submit("midi", "pocket", parameters, ANNA, Place(CHANNEL), parent_id=parent.id, once=True)).job.id

    first = await tap()
    clock.move(seconds=2)
    assert await tap() == first
    assert (await service.quota(ANNA, CHANNEL)).jobs_today == 2
    assert await tap(temperature=0.5) != first  # something else
    clock.move(seconds=6)
    assert await tap() != first  # meant


async def test_a_pause_is_told_with_the_place(ledger: Ledger, moderation: Moderation) -> None:
    service = service_of(ledger)
    await ask(service)
    assert [queued.paused for queued in await service.mine(ANNA)] == [False]
    await moderation.pause(TEACHER)
    assert [queued.paused for queued in await service.mine(ANNA)] == [True]
