"""What is said: in both languages, harmless and short enough whatever fills it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from babel.messages.pofile import read_po
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.jobs.audit import AuditEntry
from bot.jobs.guilds import GuildState
from bot.jobs.limits import Limits, Quota
from bot.jobs.moderation import Status
from bot.jobs.records import Estimate, Job, JobState, Queued, TakeRecord, TakeState
from bot.jobs.refusals import Failure, Reason, Refusal
from bot.jobs.texts import visible
from bot.messages import answers, moderators, pieces, refusals, wording
from bot.messages.escaping import copyable, plain
from bot.messages.languages import FOLDER, LANGUAGES
from bot.messages.wording import clock
from models.errors import InputError
from models.interface.midi import ComposeRequest, Plan
from models.music.attributes import Attributes

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HUGE = 2**63 - 1
HOSTILE = (
    "@everyone <@123> <@&4> <#5> </midi:6> <t:0:R> <:a:7> [a](https://evil.example) https://evil.example discord.gg/abc "
    "```\n# x\n``` **b** __u__ ~~s~~ ||secret|| > q - l 1. n \u202egnp.exe\u200b\u2066\ufeff\u00ad" + "Z" + "\u0301" * 40)
languages = pytest.mark.parametrize("language", LANGUAGES)
hostile = st.one_of(
    st.text(max_size=120), st.just(HOSTILE), st.text(alphabet="`*_~|<>@#\\[]()\n\u202e\u200b", max_size=200),
    st.sampled_from(["@" * 4000, "`" * 4000, "\u200b" * 80, "*" * 80, "W" * 4000]))


def job(**changed: Any) -> Job:
    fields: dict[str, Any] = {
        "id": 12, "guild_id": 1, "channel_id": 2, "thread_id": 3, "owner_id": 4, "language": "en", "kind": "midi",
        "engine": "pocket", "priority": 0, "parent_id": None, "state": JobState.DONE, "attempt": 1, "strikes": 0.0,
        "alone": False, "failure": None, "outcome": {}, "card_id": None, "created_at": NOW, "started_at": None,
        "ended_at": None, "takes": (take(1), take(2)),
        "parameters": {"title": "Clair de lune", "artist": "Debussy", "tokens": 512, "takes": 2, "temperature": 0.9,
                       "seed": 7, "stop_at_end": False}}
    return Job(**fields | changed)


def take(number: int, **changed: Any) -> TakeRecord:
    fields: dict[str, Any] = {"job_id": 12, "number": number, "state": TakeState.POSTED, "seconds": 63.4, "notes": 170}
    return TakeRecord(**fields | changed)


def named(title: str, artist: str = "", **changed: Any) -> Job:
    return job(parameters={**job().parameters, "title": title, "artist": artist}, **changed)


# Escaping

def unescaped(said: str) -> str:
    """What Discord shows of backslashes, with everything that was escaped gone."""
    return re.sub(r"\\[^0-9A-Za-z\s]", "", said)


@given(hostile, st.integers(1, 300))
def test_members_words_do_nothing_and_are_bounded(words: str, longest: int) -> None:
    said = plain(words, longest)
    assert len(said) <= longest
    assert not re.search(r"[\\`*_~|>#\[\](){}<:/@]", unescaped(said))
    assert not any(unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") for character in said)
    assert not re.search(r"(?:\\\\)*\\$", said) or said.endswith("\\\\"), "a backslash at the end would escape what follows"


@given(hostile, st.integers(1, 300))
def test_what_is_copied_cannot_leave_its_block(words: str, longest: int) -> None:
    said = copyable(words, longest)
    assert len(said) <= longest
    assert not {"`", "@", "\n", "\r", "\u202e", "\u200b"} & set(said)


def test_words_that_can_be_seen_stay() -> None:
    assert visible("  Für   Elise\n(WoO 59)  ") == "Für Elise (WoO 59)"
    assert visible("gnp\u202e.exe\u200b \u3164x") == "gnp.exe x"
    assert visible("a" + "\u0301" * 9) == "a" + "\u0301" * 2
    assert plain("Clair de lune 春の海 ♫") == "Clair de lune 春の海 ♫"
    assert plain("*a*") == r"\*a\*"
    assert plain("abcdef", 4) == "abc…"
    assert plain("ab**", 4) == "ab…", "no half of an escape is left"


def test_a_pasted_command_has_no_options_from_a_title() -> None:
    block = pieces.parameters(named("Nocturne takes:16 artist:x", "Op: 9"))
    assert block.count("takes:") == 1
    assert "artist:Op: 9 " in block


# Cards, captions and parameters

def test_parameters_are_a_command_to_paste() -> None:
    assert pieces.parameters(job()) == (
        "```\n/midi title:Clair de lune artist:Debussy tokens:512 takes:2 temperature:0.9 engine:pocket seed:7\n```")
    assert "titel:Clair de lune interpret:Debussy tokens:512" in pieces.parameters(job(language="de"))
    assert "stop-at-end:True" in pieces.parameters(job(parameters={**job().parameters, "stop_at_end": True}))
    assert "artist" not in pieces.parameters(named("Clair de lune"))


def formed(*forms: tuple[int, str]) -> Job:
    """A job whose takes are planned so: bars and phrases."""
    return job(outcome={"forms": [{"name": "song", "bars": bars, "phrases": letters} for bars, letters in forms]})


def test_a_take_says_how_long_it_is_and_what_comes_back() -> None:
    one = formed((12, "A A' B A'"), (1, "A"))
    captions = {(language, number): pieces.take_caption(one, take(number), language).splitlines()[0]
                for language in LANGUAGES for number in (1, 2)}
    assert captions["en", 1].endswith(" · 170 notes · 12 bars, form A A' B A'")
    assert captions["en", 2].endswith(" · 170 notes · 1 bar, form A")
    assert captions["de", 1].endswith(" · 170 Noten · 12 Takte, Form A A' B A'")
    assert captions["de", 2].endswith(" · 170 Noten · 1 Takt, Form A")
    assert pieces.take_caption(job(), take(1), "en").splitlines()[0].endswith(" · 170 notes"), "there is no plan"
    (line, _) = pieces.take_caption(formed((512, "A " * 5000)), take(1), "en").splitlines()
    assert "512 bars, form A A A" in line
    assert len(line) < 200


def test_a_card_says_the_form_that_all_takes_have() -> None:
    alike, different = formed((12, "A B A'"), (12, "A B A'")), formed((12, "A B A'"), (12, "A B A''"))
    assert "12 Takte, Form A B A'" in pieces.card(alike, None, (), "de").splitlines()
    assert "Form" not in pieces.card(different, None, (), "de")
    assert "Form" not in pieces.card(job(), None, (), "de")


def test_bars_are_said_where_they_were_asked_for() -> None:
    one = job(parameters={**job().parameters, "bars": 16})
    assert "tokens:512 bars:16 takes:2" in pieces.parameters(one)
    assert "tokens:512 takte:16 takes:2" in pieces.parameters(one, "de")
    assert "512 Tokens · 16 Takte · " in pieces.card(one, None, (), "de")
    assert "bar" not in pieces.card(job(), None, (), "en")


@given(hostile, hostile)
def test_parameters_are_one_block_whatever_was_asked_for(title: str, artist: str) -> None:
    block = pieces.parameters(named(title, artist))
    assert block.startswith("```\n/midi ")
    assert block.endswith("\n```")
    assert block.count("```") == 2
    assert block.count("\n") == 2
    assert len(block) <= 400


@languages
def test_a_card_follows_its_job_to_the_end(language: str) -> None:
    waiting = job(state=JobState.QUEUED, takes=(take(1, state=TakeState.PENDING),))
    said = {
        "queued": pieces.card(waiting, Queued(waiting, 3, Estimate(100, 200)), (), language),
        **{state.value: pieces.card(job(state=state), None, (0.5, 0.25), language)
           for state in JobState if state is not JobState.QUEUED}}
    assert len(set(said.values())) == len(JobState)
    assert all("**Clair de lune \\- Debussy** · #12 · <@4>" in card for card in said.values())
    assert "3" in said["queued"].splitlines()[2]
    assert "37 %" in said["running"]
    assert "▰" * 6 + "▱" * 10 in said["running"]


@pytest.mark.parametrize(("wait", "said"), [
    (Estimate(5, 50), "within a minute"), (Estimate(20, 170), "within 3 minutes"), (Estimate(120, 200), "2 to 4 minutes"),
    (Estimate(180, 180), "about 3 minutes")])
def test_waiting_times_are_ranges(wait: Estimate, said: str) -> None:
    assert said in answers.accepted(Queued(job(state=JobState.QUEUED), 2, wait), "en")
    assert "begins" not in answers.accepted(Queued(job(state=JobState.QUEUED), 2, None), "en")


@languages
def test_a_card_says_which_takes_are_missing(language: str) -> None:
    takes = (take(1, state=TakeState.EMPTY), take(2, state=TakeState.LOST), take(3))
    said = pieces.card(job(takes=takes), None, (), language).splitlines()
    assert "1" in said[-2]
    assert "`/take 12`" in said[-1]
    assert len(pieces.card(job(), None, (), language).splitlines()) == 3


def test_a_caption_tells_take_length_notes_and_licence_and_the_card_the_match() -> None:
    matched = job(outcome={"matched_title": "Clair de lune --- Claude Debussy", "matched_score": 95.4})
    assert pieces.take_caption(matched, take(2), "de").splitlines() == [
        r"**Take 2 von 2** · Clair de lune \- Debussy · 1:03 · 170 Noten",
        "-# Komponiert vom Modell „pocket“, das von freier Musik gelernt hat."]
    assert pieces.card(matched, None, (), "de").splitlines()[-1] == (
        r"Am nächsten kommt unter den Titeln, die ich kenne: Clair de lune \- Claude Debussy (95 von 100)")


@languages
def test_a_title_is_named_once_on_a_card(language: str) -> None:
    """As `la-composer` says it, which begins with a title that is not close."""
    notice = "no close match: the nearest title is “Nocturne - Chopin” with 62 of 100, probably not the song that was meant"
    far = job(outcome={"matched_title": "Nocturne --- Chopin", "matched_score": 62.4, "notices": [notice]})
    assert pieces.card(far, None, (), language).count("Nocturne") == 1


@pytest.mark.parametrize("seconds", [3.4, 3.6, 59.7, 60.0])
def test_a_length_is_the_same_wherever_it_stands(seconds: float) -> None:
    said = pieces.take_caption(job(), take(1, seconds=seconds), "en")
    assert f"· {clock(seconds)} ·" in said
    assert clock(seconds) == f"{round(seconds) // 60}:{round(seconds) % 60:02}"


@pytest.mark.parametrize(("n", "said"), [(0, "0 Noten"), (1, "1 Note"), (2, "2 Noten")])
def test_notes_are_counted_properly(n: int, said: str) -> None:
    assert pieces.take_caption(job(), take(1, notes=n), "de").splitlines()[0].endswith(said)


@languages
def test_nothing_counts_units_that_may_be_one_without_a_plural(language: str) -> None:
    """A number before a noun in the plural is right for one only by `plural`; units are abbreviated instead."""
    nouns = {"en": "seconds|notes|takes|pieces|files", "de": "Sekunden|Noten|Takes|Stücke|Dateien"}[language]
    fixed = {"limit", "most", "asked", "tokens"}  # bounds, and what is above one: never 1
    for entry in read_po((FOLDER / language / "LC_MESSAGES" / "kapelle.po").open("rb")):
        if entry.id and isinstance(entry.id, str):
            for found in re.finditer(rf"\{{(\w+)\}} (?:{nouns})\b", str(entry.string)):
                assert found[1] in fixed, entry.string


def test_german_sentences_have_german_quotation_marks() -> None:
    for entry in read_po((FOLDER / "de" / "LC_MESSAGES" / "kapelle.po").open("rb")):
        for said in [entry.string] if isinstance(entry.string, str) else entry.string or ():
            assert "”" not in said
            assert said.count("„") == said.count("“"), said
    assert wording.quoted("x", "de") == "„x“"


@pytest.mark.parametrize(("thread_id", "files", "said"), [
    (None, {}, "The channel is gone"), (3, {}, "The thread was deleted. Nothing was made of it."),
    (3, {"midi": "x"}, "The thread was deleted. 2 takes are kept: `/take 12` shows them.")])
def test_what_is_kept_of_a_piece_without_a_thread(thread_id: int | None, files: dict[str, str], said: str) -> None:
    lost = job(state=JobState.FAILED, failure="thread_gone", thread_id=thread_id,
               takes=(take(1, files=files, state=TakeState.MADE), take(2, files=files, state=TakeState.MADE)))
    assert said in pieces.failure(lost, "en")
    one = replace(lost, takes=lost.takes[:1])
    assert ("1 take is kept: `/take 12` shows it." in pieces.failure(one, "en")) == bool(files)


@languages
@pytest.mark.parametrize("code", ["thread_gone", "forbidden", "turned_down", "too_many_threads", "lost"])
@pytest.mark.parametrize("private", [True, False])
def test_nothing_is_said_to_be_kept_where_nothing_was_made(code: str, private: bool, language: str) -> None:
    empty = job(state=JobState.FAILED, failure=code, private=private, takes=(take(1, files={}, state=TakeState.PENDING),))
    assert "/take" not in pieces.failure(empty, language)


def test_a_pause_is_said_in_queue_and_card() -> None:
    waiting = job(state=JobState.QUEUED)
    for said in (pieces.card(waiting, Queued(waiting, 2, None, True), (), "en"),
                 answers.queue([Queued(waiting, 2, None, True)], "en")):
        assert "paused" in said
    assert "paused" not in pieces.card(waiting, Queued(waiting, 2, None), (), "en")
    assert "terms" in pieces.take_caption(job(engine="la-composer"), take(1), "en")


def test_notices_of_engines_are_said_in_german() -> None:
    from models.music.titles.matching import TitleMatch, in_words
    low = in_words(TitleMatch(1, "Nocturne --- Chopin", 62.5))
    none = in_words(TitleMatch(1, "x", 0.0))
    for notice in (low, none, f"{low}, so the piece is improvised", f"{none}, so the piece is improvised",
                   "there is no title database, so the title has no effect and the piece is improvised; run `x`"):
        said = pieces.card(job(outcome={"notices": [notice]}), None, (), "de")
        assert "Titel" in said.splitlines()[-1]
        assert "title" not in said
        assert ("62 von 100" in said) == (notice.startswith(low))


@settings(max_examples=25)
@given(hostile, hostile, st.lists(hostile, max_size=5))
def test_cards_and_captions_fit_whatever_fills_them(title: str, artist: str, notices: list[str]) -> None:
    outcome = {"matched_title": title, "matched_score": 50.0, "notices": tuple(notices), "failure": title,
               "forms": [{"name": title, "bars": HUGE, "phrases": artist}] * 16}
    for language in LANGUAGES:
        for state in JobState:
            one = named(title, artist, outcome=outcome, state=state, failure="refused", engine=title or "x", owner_id=HUGE,
                        takes=tuple(take(number, state=TakeState.LOST) for number in range(1, 17)))
            assert len(pieces.card(one, Queued(one, HUGE, Estimate(0, 1e9)), (2.0, -1.0), language)) <= 2000
            caption = pieces.take_caption(one, take(16, seconds=1e9, notes=HUGE), language)
            assert len(caption) + 1 + len(pieces.parameters(one)) <= 2000
            assert "@everyone" not in caption


def test_a_caption_leaves_room_for_parameters() -> None:
    worst = named("*" * 80, "*" * 80, outcome={"notices": ("*" * 4000,) * 9}, engine="x" * 40)
    for language in LANGUAGES:
        assert len(pieces.take_caption(worst, take(1), language)) < 2000 - len(pieces.parameters(worst))


# Refusals and failures

DETAILS: dict[Reason, dict[str, Any]] = {
    Reason.INVALID: {"text": "tokens must be between 32 and 2048, not 9000"},
    Reason.TOO_MANY_TAKES: {"asked": 16, "limit": 4, "rule": "role:77"},
    Reason.TOO_MANY_TOKENS: {"asked": 2048, "limit": 512, "rule": "channel:78"},
    Reason.TOO_MANY_SECONDS: {"asked": 2048, "limit": 512, "rule": "channel:78"},
    Reason.TOO_MANY_AT_ONCE: {"limit": 3, "rule": "machine"},
    Reason.JOBS_A_DAY: {"limit": 10, "rule": "guild"},
    Reason.TAKES_A_DAY: {"asked": 8, "left": 2, "limit": 40, "rule": "guild"},
    Reason.CHANNEL: {"channels": (5, 6)},
    Reason.QUEUE_FULL: {"limit": 500},
    Reason.NO_ENGINE: {"engine": HOSTILE, "engines": ("pocket", "la-composer")},
    Reason.NO_WEIGHTS: {"engine": HOSTILE}, Reason.NO_MELODY: {"engine": HOSTILE}, Reason.TOO_LARGE: {"limit": 10},
    Reason.NO_JOB: {"number": 99}, Reason.NO_TAKE: {"number": HOSTILE},
    Reason.PERMISSIONS: {"missing": ("Attach Files", "View Channel", "Read Minds")},
}


@languages
@pytest.mark.parametrize("reason", Reason)
def test_every_refusal_says_why_and_whether_it_counts(reason: Reason, language: str) -> None:
    refusal = Refusal(reason, **DETAILS.get(reason, {}))
    said = refusals.refusal(refusal, language)
    why, *counted = said.splitlines()
    assert len(why) > 25
    if reason in refusals._OF_A_PIECE:
        assert counted == [{"en": "It does not count against your quota.",
                            "de": "Es wird nicht auf dein Kontingent angerechnet."}[language]]
    else:  # nothing could count
        assert counted == []
    assert len(said) <= 2000
    assert "@everyone" not in said
    charged = refusals.refusal(Refusal(reason, charged=True, **DETAILS.get(reason, {})), language)
    assert charged.splitlines()[1] == {
        "en": "It counts against your quota.", "de": "Es wird auf dein Kontingent angerechnet."}[language]
    assert refusals.refusal(refusal, "en") != refusals.refusal(refusal, "de")


def test_every_reason_has_words_of_its_own() -> None:
    assert len({refusals.refusal(Refusal(reason, **DETAILS.get(reason, {})), "de") for reason in Reason}) == len(Reason)


def test_refusals_name_rule_numbers_and_names() -> None:
    def said(reason: Reason, language: str = "de") -> str:
        return refusals.refusal(Refusal(reason, **DETAILS[reason]), language)

    assert "16 Takes sind zu viele: 4 sind erlaubt (für <@&77>)" in said(Reason.TOO_MANY_TAKES)
    assert "512 sind erlaubt (in <#78>)" in said(Reason.TOO_MANY_TOKENS)
    assert "3 Stücke gleichzeitig haben (auf diesem Rechner)" in said(Reason.TOO_MANY_AT_ONCE)
    assert "Takes pro Tag (40, auf diesem Server) kannst du dir noch 2" in said(Reason.TAKES_A_DAY)
    assert re.search(r"<t:\d+:R>", said(Reason.JOBS_A_DAY))
    assert "<#5>, <#6>" in said(Reason.CHANNEL)
    assert "Textkanal" in refusals.refusal(Refusal(Reason.CHANNEL, channels=()), "de")
    assert "Dateien anhängen, Kanal anzeigen, Read Minds" in said(Reason.PERMISSIONS)
    assert "pocket, la\\-composer" in said(Reason.NO_ENGINE)


@pytest.mark.parametrize("wrong", [
    {"title": ""}, {"title": "x" * 81}, {"artist": "x" * 1081}, {"title": "a\x00b"}, {"artist": "a\x7fb"}, {"tokens": 9000},
    {"bars": 0}, {"takes": 17}, {"takes": -1}, {"seed": 2**40}, {"temperature": 3.0}, {"temperature": float("nan")}])
def test_what_models_refuse_is_said_in_german(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError) as error:
        ComposeRequest(**{"title": "x", **wrong})
    refusal = Refusal(Reason.INVALID, text=str(error.value))
    german, english = refusals.refusal(refusal, "de"), refusals.refusal(refusal, "en")
    assert str(error.value) not in german, "it was passed on in English"
    assert german != english
    assert "{" not in german + english


def test_that_an_engine_plans_no_bars_is_said_in_german() -> None:
    with pytest.raises(InputError) as error:
        Plan(ComposeRequest("x", bars=8), "la-composer", None, None, Attributes())
    failed = job(failure="refused", state=JobState.FAILED, outcome={"failure": str(error.value)})
    assert "Bei der Engine la\\-composer lässt sich nicht vorgeben, wie viele Takte" in pieces.failure(failed, "de")


def test_what_blocklist_and_service_refuse_is_said_in_german() -> None:
    from bot.jobs.words import check_word
    for wrong in ("x" * 51, "a\u200bb\x00", "a*b", "!!!", "a*", "a b c d e f g"):
        with pytest.raises(InputError) as error:
            check_word(wrong)
        assert str(error.value) not in refusals.refusal(Refusal(Reason.INVALID, text=str(error.value)), "de"), wrong
    said = refusals.refusal(Refusal(Reason.INVALID, text="a report may have at most 1,000 characters, not 2,345"), "de")
    assert "2.345 Zeichen, möglich sind 1.000" in said


def test_numbers_are_written_as_the_language_does() -> None:
    refusal = Refusal(Reason.INVALID, text="temperature must be between 0.1 and 1.5, not 3.0")
    assert refusals.refusal(refusal, "de").startswith("temperatur muss zwischen 0,1 und 1,5 liegen, nicht bei 3,0.")
    assert [wording.number(value, "de") for value in (0.9, 1.0, 10.0, 0.125)] == ["0,9", "1", "10", "0,12"]


@languages
@pytest.mark.parametrize("code", Failure)
def test_every_failure_says_why_and_whether_it_counts(code: Failure, language: str) -> None:
    failed = job(failure=code.value, state=JobState.FAILED, outcome={"failure": HOSTILE})
    said = pieces.failure(failed, language)
    counts = {"en": "It counts", "de": "Es wird auf"}[language] in said
    assert counts == (code is Failure.REFUSED)
    assert len(said) < 1000
    assert said != pieces.failure(replace(failed, failure="unheard of"), language)
    assert said in pieces.card(failed, None, (), language)


# Lists and moderators

LISTS: dict[str, Callable[[str, str], str]] = {
    "accepted": lambda words, language: answers.accepted(Queued(named(words, words, thread_id=None), 1, None), language),
    "queue": lambda words, language: answers.queue(
        [Queued(named(words, words, id=HUGE), 2, Estimate(60, 90)), Queued(named(words), 0, None)] * 30, language),
    "history": lambda words, language: answers.history([named(words, words, id=HUGE)] * 8, 1, HUGE, language),
    "cancelled": lambda words, language: answers.cancelled(job(started_at=NOW), language),
    "quota": lambda words, language: answers.quota(
        Quota(Limits(HUGE, HUGE, HUGE, HUGE, HUGE, HUGE, tuple([HUGE] * 500)), {"takes": f"role:{HUGE}"}, HUGE, HUGE, HUGE),
        language),
    "help": lambda words, language: answers.help(language),
    "privacy": lambda words, language: answers.privacy(language),
    "forgetting": lambda words, language: answers.confirm_forgetting(language) + answers.forgotten(2, language),
    "deleting": lambda words, language: answers.confirm_deleting(named(words, words), language),
    "files": lambda words, language: answers.all_files(named(words, words), 3, language),
    "limits": lambda words, language: moderators.limits(
        {f"role:{HUGE - n}": Limits(1, 32, 30, 1, 1, 1, tuple([HUGE] * 90)) for n in range(50)}, language),
    "limit_set": lambda words, language: moderators.limit_set("guild", "channels", tuple([HUGE] * 200), language),
    "role": lambda words, language: moderators.moderator_role_set(HUGE, language),
    "many_cancelled": lambda words, language: moderators.many_cancelled([job(id=HUGE)] * 500, language),
    "blocked": lambda words, language: moderators.blocked(HUGE, language) + moderators.unblocked(HUGE, language),
    "word": lambda words, language: moderators.word_added(words, language) + moderators.word_removed(words, language),
    "words": lambda words, language: moderators.words([words] * 40, language),
    "words_found": lambda words, language: moderators.words_found([words] * 40, language),
    "audit": lambda words, language: moderators.audit([
        AuditEntry(NOW, HUGE, action, details) for action, details in (
            ("limit", {"scope": f"role:{HUGE}", "name": "takes", "before": None, "after": [HUGE] * 90}),
            ("moderator_role", {"before": HUGE, "after": None}), ("block", {"member": HUGE, "before": None, "after": words}),
            ("cancel", {"jobs": [HUGE] * 500}), ("add_word", {"word": words}), ("pause", {"before": "open", "after": "paused"}),
            ("report", {"job": 1, "take": 2, "text": words}), ("delete", {"job": 1, "member": HUGE}), (words, {}))],
        1, 1, language),
    "status": lambda words, language: moderators.status(
        Status(dict.fromkeys(JobState, HUGE), GuildState(draining=True, moderator_role_id=HUGE), HUGE), language),
}


@pytest.mark.parametrize("what", LISTS)
@settings(max_examples=12)
@given(words=hostile)
def test_everything_said_fits_and_is_harmless(what: str, words: str) -> None:
    english, german = (LISTS[what](words, language) for language in LANGUAGES)
    for said in (english, german):
        assert 0 < len(said) <= 2000
        assert "@everyone" not in said
        assert "\u202e" not in said
        assert "](http" not in said
    assert english != german


def test_lists_that_are_empty_say_so() -> None:
    for said in (answers.queue, moderators.words, moderators.words_found):
        assert said([], "de") != said([], "en")
    assert "`/midi`" in answers.history([], 1, 1, "en")
    assert "None" not in moderators.audit([], 1, 1, "en")
    assert len(moderators.limits({}, "en").splitlines()) == 2


def test_an_audit_entry_tells_what_changed() -> None:
    def said(action: str, **details: Any) -> str:
        return moderators.audit([AuditEntry(NOW, 9, action, details)], 1, 2, "en").splitlines()[1].partition("> ")[2]

    assert said("limit", scope="role:5", name="takes", before=None, after=4) == \
        "<@9> **limit** takes in one piece · for <@&5> · no limit → 4"
    assert said("moderator_role", before=None, after=6) == "<@9> **role of moderators** none → <@&6>"
    assert said("block", member=7, before=None, after="spam") == "<@9> **blocked** <@7> · “spam”"
    assert said("block", member=7) == "<@9> **blocked** <@7>", "the reason was forgotten"
    assert said("report", job=12, take=3, text="too loud") == "<@9> **report** #12.3 · “too loud”"
    assert said("pause", before="open", after="paused") == "<@9> **pause**"


def test_quota_names_rules_and_use() -> None:
    said = answers.quota(Quota(Limits(takes=4, jobs_a_day=10), {"takes": "role:5", "jobs_a_day": "guild"}, 3, 9, 1), "en")
    assert "- takes in one piece: up to 4 (for <@&5>)" in said
    assert "- pieces a day: 3 of 10 (on this server)" in said
    assert "- takes a day: 9, no limit" in said
    assert "channels" not in said


def test_choices_of_jobs_fit_and_are_shown_as_they_are() -> None:
    assert answers.choice_of_job(job(state=JobState.QUEUED), "de") == "#12 Clair de lune - Debussy · wartet"
    assert len(answers.choice_of_job(named("W" * 80, "W" * 80), "de")) <= 100
