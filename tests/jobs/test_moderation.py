"""What moderators may do, on SQLite and PostgreSQL."""

from __future__ import annotations

from typing import Any

import pytest

from bot.jobs.changes import Changes
from bot.jobs.ledger import Ledger
from bot.jobs.limits import Limits
from bot.jobs.moderation import GuildState, Moderation
from bot.jobs.records import JobState
from bot.jobs.refusals import Reason
from tests.jobs.building import ANNA, BEN, CHANNEL, GUILD, STRANGER, TEACHER, Clock, ask, refused, service_of


async def told(moderation: Moderation) -> list[tuple[str, Any]]:
    """The audit log, oldest first."""
    entries, pages = await moderation.audit(TEACHER, 1)
    assert pages == 1
    assert all(entry.user_id == TEACHER.user_id for entry in entries)
    return [(entry.action, entry.details) for entry in reversed(entries)]


async def test_nobody_else_may_do_any_of_it(ledger: Ledger, moderation: Moderation) -> None:
    number = (await ask(service_of(ledger))).job.id
    for call in (
            moderation.limits(ANNA), moderation.set_limit(ANNA, "guild", "takes", 16), moderation.pause(ANNA),
            moderation.resume(ANNA), moderation.drain(ANNA), moderation.set_moderator_role(ANNA, 5),
            moderation.cancel(ANNA, number), moderation.cancel(ANNA, None), moderation.block(ANNA, BEN.user_id, ""),
            moderation.unblock(ANNA, BEN.user_id), moderation.add_word(ANNA, "x"), moderation.remove_word(ANNA, "x"),
            moderation.words(ANNA), moderation.test_word(ANNA, "x"), moderation.audit(ANNA, 1), moderation.status(ANNA)):
        assert (await refused(call)).reason is Reason.MODERATORS_ONLY
    assert await told(moderation) == []
    assert await ledger.count(JobState.QUEUED) == 1


async def test_limits_are_kept_by_scope_and_noted(ledger: Ledger, moderation: Moderation) -> None:
    await moderation.set_limit(TEACHER, "guild", "takes", 4)
    await moderation.set_limit(TEACHER, "guild", "takes", 2)
    await moderation.set_limit(TEACHER, "guild", "takes", 2)  # changes nothing
    await moderation.set_limit(TEACHER, f"channel:{CHANNEL}", "tokens", 64)
    await moderation.set_limit(TEACHER, "role:5", "channels", (CHANNEL + 1, CHANNEL, CHANNEL))
    assert await moderation.limits(TEACHER) == {
        "guild": Limits(takes=2), f"channel:{CHANNEL}": Limits(tokens=64), "role:5": Limits(channels=(CHANNEL, CHANNEL + 1))}
    await moderation.set_limit(TEACHER, "guild", "takes", None)
    await moderation.set_limit(TEACHER, "guild", "takes", None)
    assert "guild" not in await moderation.limits(TEACHER)
    assert await moderation.limits(STRANGER) == {}
    assert await told(moderation) == [
        ("limit", {"scope": scope, "name": name, "before": before, "after": after}) for scope, name, before, after in (
            ("guild", "takes", None, 4), ("guild", "takes", 4, 2), (f"channel:{CHANNEL}", "tokens", None, 64),
            ("role:5", "channels", None, [CHANNEL, CHANNEL + 1]), ("guild", "takes", 2, None))]


@pytest.mark.parametrize(("scope", "name", "value"), [
    ("server", "takes", 1), ("role:", "takes", 1), ("role:x", "takes", 1), ("role:5\n", "takes", 1), ("role:٣", "takes", 1),
    ("guild", "wishes", 1), ("guild", "takes", -1),
    ("guild", "takes", 0), ("guild", "takes", 17), ("guild", "tokens", 31), ("guild", "tokens", 2049),
    ("guild", "seconds", 0), ("guild", "seconds", 121), ("guild", "jobs_at_once", 0), ("guild", "jobs_at_once", 99_999),
    ("guild", "jobs_a_day", 10_001), ("guild", "takes_a_day", 100_001), ("guild", "takes", True), ("guild", "takes", 10**30),
    ("guild", "takes", (1,)), ("guild", "channels", 5), ("guild", "channels", (0,)), ("guild", "channels", (2**63,)),
    ("channel:5", "channels", (5,))])
@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_limits_that_mean_nothing_are_refused(moderation: Moderation, scope: str, name: str, value: Any) -> None:
    assert (await refused(moderation.set_limit(TEACHER, scope, name, value))).reason is Reason.INVALID
    assert await moderation.limits(TEACHER) == {}


async def test_a_changed_limit_holds_at_once_and_after_a_restart(url: str, clock: Clock) -> None:
    first = await Ledger.open(url, Changes(), now=clock)
    await Moderation(first).set_limit(TEACHER, "guild", "takes", 1)
    assert (await refused(ask(service_of(first), takes=2))).details == {"asked": 2, "limit": 1, "rule": "guild"}
    await first.close()
    second = await Ledger.open(url, Changes(), now=clock)
    assert (await refused(ask(service_of(second), takes=2))).details["rule"] == "guild"
    assert len((await Moderation(second).audit(TEACHER, 1))[0]) == 1
    await second.close()


async def test_pause_drain_and_resume_follow_each_other(ledger: Ledger, moderation: Moderation) -> None:
    await moderation.resume(TEACHER)  # it is open
    await moderation.pause(TEACHER)
    await moderation.pause(TEACHER)
    assert await moderation.state(GUILD) == GuildState(paused=True)
    await moderation.drain(TEACHER)
    assert await moderation.state(GUILD) == GuildState(draining=True)
    await moderation.resume(TEACHER)
    assert await moderation.state(GUILD) == await moderation.state(GUILD + 1) == GuildState()
    assert await told(moderation) == [
        ("pause", {"before": "open", "after": "paused"}), ("drain", {"before": "paused", "after": "draining"}),
        ("resume", {"before": "draining", "after": "open"})]


async def test_the_moderators_role_is_kept(moderation: Moderation) -> None:
    await moderation.pause(TEACHER)
    await moderation.set_moderator_role(TEACHER, 2**62)
    await moderation.set_moderator_role(TEACHER, 2**62)
    assert await moderation.state(GUILD) == GuildState(paused=True, moderator_role_id=2**62)
    await moderation.set_moderator_role(TEACHER, None)
    assert (await told(moderation))[1:] == [
        ("moderator_role", {"before": None, "after": 2**62}), ("moderator_role", {"before": 2**62, "after": None})]
    assert (await refused(moderation.set_moderator_role(TEACHER, 2**63))).reason is Reason.INVALID


async def test_one_job_or_all_that_wait_are_cancelled(ledger: Ledger, moderation: Moderation) -> None:
    service = service_of(ledger)
    working, *waiting = [(await ask(service, member)).job.id for member in (ANNA, ANNA, BEN)]
    strange = (await ask(service, STRANGER)).job.id
    await ledger.mark_running(working)
    assert [job.id for job in await moderation.cancel(TEACHER, None)] == waiting
    assert await moderation.cancel(TEACHER, None) == []
    assert [job.state for job in await moderation.cancel(TEACHER, working)] == [JobState.CANCELLED]
    assert (await refused(moderation.cancel(TEACHER, working))).reason is Reason.OVER
    assert (await refused(moderation.cancel(TEACHER, strange))).reason is Reason.NO_JOB
    assert await ledger.count(JobState.QUEUED) == 1
    assert (await service.quota(BEN, CHANNEL)).jobs_today == 0
    assert await told(moderation) == [("cancel", {"jobs": waiting}), ("cancel", {"jobs": [working]})]


async def test_blocks_are_kept_with_their_reason(ledger: Ledger, moderation: Moderation) -> None:
    await moderation.block(TEACHER, ANNA.user_id, "rude\0")
    await moderation.block(TEACHER, ANNA.user_id, "rude")
    await moderation.block(TEACHER, ANNA.user_id, "very rude")
    assert (await moderation.status(TEACHER)).blocked == 1
    await moderation.unblock(TEACHER, ANNA.user_id)
    await moderation.unblock(TEACHER, ANNA.user_id)
    assert (await moderation.status(TEACHER)).blocked == 0
    member = ANNA.user_id
    assert await told(moderation) == [
        ("block", {"member": member, "before": None, "after": "rude"}),
        ("block", {"member": member, "before": "rude", "after": "very rude"}),
        ("unblock", {"member": member, "before": "very rude"})]
    for call in (
            moderation.block(TEACHER, 10**30, ""), moderation.block(TEACHER, 5, "x" * 501), moderation.unblock(TEACHER, 0)):
        assert (await refused(call)).reason is Reason.INVALID


async def test_blocked_words_are_added_tested_and_removed(moderation: Moderation) -> None:
    for word in (" Mist ", "mist", "blöd*", "zwei Wörter"):
        await moderation.add_word(TEACHER, word)
    assert await moderation.words(TEACHER) == ["Mist", "blöd*", "zwei Wörter"]
    assert await moderation.words(STRANGER) == []
    assert await moderation.test_word(TEACHER, "zwei wörter sind BLÖDSINN, Optimist") == ["blöd*", "zwei Wörter"]
    await moderation.remove_word(TEACHER, "MIST")
    assert await moderation.test_word(TEACHER, "Mist") == []
    assert (await refused(moderation.remove_word(TEACHER, "mist"))).reason is Reason.INVALID
    for word in ("", "*", "a*", "a*b", "...", "x" * 51, "a b c d e f", "a\u200bb"):
        assert (await refused(moderation.add_word(TEACHER, word))).reason is Reason.INVALID
    assert [action for action, _ in await told(moderation)] == ["add_word"] * 3 + ["remove_word"]


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_the_list_of_words_has_an_end(moderation: Moderation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bot.jobs.moderation.MOST_WORDS", 2)
    await moderation.add_word(TEACHER, "one")
    await moderation.add_word(TEACHER, "two")
    assert (await refused(moderation.add_word(TEACHER, "three"))).reason is Reason.INVALID


async def test_the_audit_log_has_pages_of_its_own_guild(moderation: Moderation, clock: Clock) -> None:
    assert await moderation.audit(TEACHER, 1) == ([], 1)
    for number in range(1, 13):
        clock.move(minutes=1)
        await moderation.set_limit(TEACHER, "guild", "takes", number)
    newest, pages = await moderation.audit(TEACHER, 1)
    assert (len(newest), pages) == (10, 2)
    assert (newest[0].at, newest[0].details["after"]) == (clock(), 12)
    oldest, _ = await moderation.audit(TEACHER, 10**20)
    assert [entry.details["after"] for entry in oldest] == [2, 1]
    assert await moderation.audit(STRANGER, 1) == ([], 1)


async def test_the_log_never_holds_a_prompt(ledger: Ledger, moderation: Moderation) -> None:
    service = service_of(ledger)
    numbers = [(await ask(service, title="Geheim", artist="Geheim")).job.id for _ in range(3)]
    await service.report(numbers[0], 1, BEN, "")
    await service.delete(numbers[0], TEACHER)
    await service.cancel(numbers[1], TEACHER)
    await moderation.cancel(TEACHER, None)
    entries, _ = await moderation.audit(TEACHER, 1)
    assert len(entries) == 4
    assert "Geheim" not in repr(entries)


async def test_status_counts_the_guilds_jobs(ledger: Ledger, moderation: Moderation) -> None:
    service = service_of(ledger)
    for member in (ANNA, BEN, STRANGER):
        await ask(service, member)
    await ledger.mark_running(1)
    await moderation.drain(TEACHER)
    status = await moderation.status(TEACHER)
    assert status.jobs == dict.fromkeys(JobState, 0) | {JobState.QUEUED: 1, JobState.RUNNING: 1}
    assert status.guild == GuildState(draining=True)
