"""Every command, button and menu in both languages: the real bot process says what it should, to nobody else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.discord_double import DiscordDouble, Message, Role, Use
from tests.discord_double.commands import GROUP, MESSAGE_MENU, SLASH, SUBCOMMAND
from tests.discord_double.members import Member
from tests.server.asking import Threaded, buttons, finished_card, takes_of
from tests.server.judging import Records

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("bot"), pytest.mark.slow]
PATIENCE_S = 120.0
LOCALES = {"en": "en-GB", "de": "de"}
SMALL = {"tokens": 33, "takes": 1}
LONG = {"tokens": 2048, "takes": 16}  # it does not end before it is cancelled


@dataclass
class Class:
    """Who speaks a language, and what they talk about."""

    double: DiscordDouble
    records: Records
    language: str
    student: Member
    other: Member
    teacher: Member
    role: Role

    def newest(self) -> int:
        """The number of the student's newest job."""
        return max(job.id for job in self.records.jobs() if job.owner_id == self.student.id)

    async def until_done(self, number: int) -> None:
        await self.double.wait_for(
            lambda: any(job.id == number and job.state == "done" for job in self.records.jobs()), PATIENCE_S)

    async def posted(self, title: str) -> Threaded:
        """A small job of the student."""
        assert title in await said(await self.student.command("midi", {"title": title, **SMALL}))
        return await takes_of(self.double, title, 1, PATIENCE_S)


Options = Mapping[str, Any]


@dataclass(frozen=True)
class Line:
    """A command of somebody, and what the answer says in English and in German. Functions in options are asked for values."""

    who: str
    command: str
    options: Options
    english: str
    german: str

    def phrase(self, language: str) -> str:
        return self.german if language == "de" else self.english


def done_job(people: Class) -> int:
    return min(job.id for job in people.records.jobs() if job.owner_id == people.student.id)


NEWEST: Callable[[Class], Any] = Class.newest
TABLE = (
    # a member who has asked for nothing yet
    Line("student", "queue", {}, "You have nothing in the queue.", "Von dir wartet gerade nichts."),
    Line("student", "history", {}, "Nothing has been made yet.", "Hier ist noch nichts entstanden."),
    Line("student", "help", {}, "**Music from words**", "**Musik aus Worten**"),
    Line("student", "quota", {}, "**What you may ask for here**", "**Was du dir hier wünschen darfst**"),
    Line("student", "privacy", {}, "**What I keep about you**", "**Was ich über dich speichere**"),
    Line("student", "audio", {"prompt": "a calm piano"}, "There is no model here that makes sound",
         "Hier gibt es kein Modell, das aus einer Beschreibung Klang macht"),
    Line("student", "take", {"number": "twelve"}, "is no number of a piece", "ist keine Nummer eines Stücks"),
    Line("student", "take", {"number": "999999.1"}, "There is no piece #999999 here.", "Ein Stück #999999 gibt es hier nicht."),
    # a job that is made, see test_what_is_said, and one that is taken back
    Line("student", "midi", {"title": "Every command", **SMALL}, "I have got **Every command**",
         "**Every command** ist notiert"),
    Line("student", "take", {"number": lambda people: f"{done_job(people)}.1"}, "Posted again: 1 take of #",
         "Noch einmal gepostet: 1 Take von #"),
    Line("student", "history", {"whose": "class"}, "**Pieces**, page 1 of", "**Stücke**, Seite 1 von"),
    Line("student", "cancel", {"job": done_job}, "It is over already", "Es ist schon vorbei"),
    Line("student", "midi", {"title": "For long", **LONG}, "I have got **For long**", "**For long** ist notiert"),
    Line("student", "queue", {}, "**Your pieces**", "**Deine Stücke**"),
    Line("student", "cancel", {"job": NEWEST}, "is cancelled. It ", "ist abgebrochen. Es "),
    # moderators
    Line("teacher", "kapelle limits set", {"limit": "takes", "value": "3", "role": lambda people: people.role},
         "takes in one piece, for <@&", "Takes in einem Stück, für <@&"),
    Line("teacher", "kapelle limits show", {}, "**Limits**\n", "**Grenzen**\n"),
    Line("teacher", "kapelle limits set", {"limit": "takes", "value": "-", "role": lambda people: people.role},
         "not limited any more", "nicht mehr begrenzt"),
    Line("teacher", "kapelle limits show", {}, "None are set here", "Hier sind keine gesetzt"),
    Line("teacher", "kapelle limits set", {"limit": "takes", "value": "many"}, "is no limit.", "ist keine Grenze."),
    Line("teacher", "kapelle pause", {}, "Paused: nothing new", "Pause: bis"),
    Line("student", "midi", {"title": "In the pause"}, "There is a pause", "Gerade ist Pause"),
    Line("teacher", "kapelle drain", {}, "Draining: nothing new", "Auslaufen: Neues"),
    Line("student", "midi", {"title": "In the drain"}, "Nothing new is accepted just now",
         "Gerade wird nichts Neues angenommen"),
    Line("teacher", "kapelle resume", {}, "Open: pieces are accepted", "Offen: Stücke werden angenommen"),
    Line("teacher", "kapelle cancel", {}, "Nothing was waiting.", "Es hat nichts gewartet."),
    Line("student", "midi", {"title": "Too long", **LONG}, "I have got **Too long**", "**Too long** ist notiert"),
    Line("teacher", "kapelle cancel", {"job": NEWEST}, "1 piece is cancelled: #", "1 Stück ist abgebrochen: #"),
    Line("teacher", "kapelle block", {"member": lambda people: people.other, "reason": "spam"}, "is blocked and can ask",
         "ist gesperrt und kann"),
    Line("other", "midi", {"title": "Blocked"}, "You cannot ask for pieces on this server.",
         "Du kannst dir auf diesem Server keine Stücke wünschen."),
    Line("teacher", "kapelle unblock", {"member": lambda people: people.other}, "can ask for pieces again.",
         "kann sich wieder Stücke wünschen."),
    Line("teacher", "kapelle words list", {}, "No word is refused.", "Es wird kein Wort abgelehnt."),
    Line("teacher", "kapelle words add", {"word": "kazoo*"}, "are refused from now on.", "werden ab jetzt abgelehnt."),
    Line("teacher", "kapelle words list", {}, "**Refused words**\n- kazoo", "**Abgelehnte Wörter**\n- kazoo"),
    Line("teacher", "kapelle words test", {"text": "two kazoos"}, "That would be refused, because of:",
         "Das würde abgelehnt, wegen:"),
    Line("student", "midi", {"title": "Two kazoos"}, "There is a word in it", "Darin steht ein Wort"),
    Line("teacher", "kapelle words remove", {"word": "kazoo*"}, "is not refused any more.", "wird nicht mehr abgelehnt."),
    Line("teacher", "kapelle words test", {"text": "two kazoos"}, "That would be accepted.", "Das würde angenommen."),
    Line("teacher", "kapelle role", {"role": lambda people: people.role}, "and those with <@&", "oder die Rolle <@&"),
    Line("teacher", "kapelle role", {}, "Moderators are those with Manage Server.", "wer das Recht „Server verwalten“ hat."),
    Line("teacher", "kapelle audit", {}, "**What moderators changed**, page 1 of",
         "**Was die Moderation geändert hat**, Seite 1 von"),
    Line("teacher", "kapelle status", {}, "members are blocked.", "Mitglieder sind gesperrt."),
)


@pytest.fixture(scope="module", params=LOCALES)
def people(request: pytest.FixtureRequest, double: DiscordDouble, data: Path) -> Class:
    language = str(request.param)

    def member(name: str, *, moderator: bool = False) -> Member:
        return double.member(f"{name} ({language})", locale=LOCALES[language], moderator=moderator)

    return Class(double, Records(data), language, member("Anna"), member("Ben"), member("Weber", moderator=True),
                 double.add_role(f"Musik-AG {language}"))


@pytest.fixture(scope="module")
def names() -> Iterator[str]:
    """Titles that are in no other test."""
    return (f"Etude {number}" for number in range(100, 1000))


async def said(use: Use) -> str:
    message = await use.answer(PATIENCE_S)
    assert use.ephemeral
    return message.content


async def test_what_is_said(people: Class) -> None:
    for line in TABLE:
        options = {name: value(people) if callable(value) else value for name, value in line.options.items()}
        who: Member = getattr(people, line.who)
        answer = await said(await who.command(line.command, options))
        assert line.phrase(people.language) in answer, f"/{line.command} {options}"
        if options.get("title") == "Every command":  # the next lines are about one that is done
            await people.until_done(people.newest())


async def test_a_cancelled_job_says_so_in_its_thread(people: Class, names: Iterator[str]) -> None:
    title = next(names)
    await said(await people.student.command("midi", {"title": title, **LONG}))
    number = people.newest()
    assert "#" in await said(await people.student.command("cancel", {"job": number}))
    cancelled = "Cancelled." if people.language == "en" else "Abgebrochen."
    await people.double.wait_for(
        lambda: any(cancelled in message.content and f"#{number} " in message.content
                    for thread in people.double.threads() for message in people.double.messages(thread.id)), PATIENCE_S)
    assert next(job.state for job in people.records.jobs() if job.id == number) == "cancelled"


async def test_jobs_to_cancel_are_suggested(people: Class, names: Iterator[str]) -> None:
    title = next(names)
    await said(await people.student.command("midi", {"title": title, **LONG}))
    number = people.newest()
    shown = await people.student.autocomplete("cancel", {"job": ""}, focused="job")
    assert [value for _, value in shown] == [number]
    assert title in shown[0][0]
    states = ("waiting", "being composed") if people.language == "en" else ("wartet", "wird komponiert")
    assert any(state in shown[0][0] for state in states)
    assert await people.other.autocomplete("cancel", {"job": ""}, focused="job") == []
    assert await people.student.autocomplete("cancel", {"job": f"{number}9"}, focused="job") == []
    await said(await people.student.command("cancel", {"job": number}))
    assert await people.student.autocomplete("cancel", {"job": ""}, focused="job") == []


async def test_the_history_has_pages(people: Class, names: Iterator[str]) -> None:
    """Of somebody with nine jobs, eight to a page."""
    many = people.double.member(f"Nora ({people.language})", locale=LOCALES[people.language])
    titles = [next(names) for _ in range(9)]
    for title in titles:
        await said(await many.command("midi", {"title": title, **SMALL}))
    first = await (await many.command("history")).answer(PATIENCE_S)
    page = "**Pieces**, page {} of 2" if people.language == "en" else "**Stücke**, Seite {} von 2"
    older, newer = ("Older", "Newer") if people.language == "en" else ("Ältere", "Neuere")
    assert page.format(1) in first.content
    assert [title in first.content for title in titles] == [False] + [True] * 8
    second = await (await many.press(first, _button(first, older))).answer(PATIENCE_S)
    assert page.format(2) in second.content
    assert [title in second.content for title in titles] == [True] + [False] * 8
    back = await (await many.press(second, _button(second, newer))).answer(PATIENCE_S)
    assert page.format(1) in back.content


def _button(message: Message, label: str) -> str:
    return next(str(part["custom_id"]) for row in message.components for part in row["components"]
                if label in part.get("label", ""))


async def test_prompts_of_the_help_are_one_tap_away(people: Class) -> None:
    curious = people.double.member(f"Cora ({people.language})", locale=LOCALES[people.language])
    help_ = await (await curious.command("help")).answer(PATIENCE_S)
    prompts = [part["custom_id"] for row in help_.components for part in row["components"]]
    assert len(prompts) == 3
    accepted = "I have got **" if people.language == "en" else "ist notiert"
    for custom_id in prompts:
        assert accepted in await said(await curious.press(help_, custom_id))
    asked = [job for job in people.records.jobs() if job.owner_id == curious.id]
    assert [(job.name, len(job.takes)) for job in asked] == [
        ("Clair de lune", 2), ("Mazurka in A minor", 2), ("A slow reggae with flute", 2)]
    for job in asked:
        await people.until_done(job.id)


MODALS = {  # button -> title of the window
    "vary": ("Vary #", " abwandeln"),
    "report": ("Report ", " melden"),
    "audio": (" as melody", " als Melodie"),
}
MENUS = {"Use as template": ("A piece like #", "Ein Stück wie #"), "Copy parameters": ("title:", "titel:"),
         "Report": ("Report take 1 of #", "Take 1 von #")}


async def test_buttons_and_menus(people: Class, names: Iterator[str]) -> None:
    german = people.language == "de"
    title = next(names)
    done = await people.posted(title)
    card, take = await finished_card(people.double, done), done.takes[0]
    on_card, on_take = buttons(card), buttons(take)
    for name, (english, translated) in MENUS.items():
        use = await people.student.menu(name, take)
        shown = use.modal["title"] if use.modal else await said(use)
        assert (translated if german else english) in shown
    for action, (english, translated) in MODALS.items():
        use = await people.other.press(take, on_take[action]["custom_id"])
        assert use.modal
        assert (translated if german else english) in use.modal["title"]
        if action == "vary":
            varied = await said(await people.other.submit(use, {"tokens": "36"}))
            assert ("ist notiert" if german else "I have got **") in varied
    for action, english, translated in (("again", "I have got **", "ist notiert"), ("fav", "favourite", "Favorit"),
                                        ("zip", "All files of", "Alle Dateien")):
        use = await people.other.press(card, on_card[action]["custom_id"])
        assert (translated if german else english) in await said(use)
    carried_on = await people.other.select(card, on_card["continue"]["custom_id"], ["1"])
    assert ("ist notiert" if german else "I have got **") in await said(carried_on)
    refused = await said(await people.other.press(card, on_card["delete"]["custom_id"]))
    assert ("gehört jemand anderem" if german else "belongs to somebody else") in refused
    asked = await (await people.student.press(card, on_card["delete"]["custom_id"])).answer(PATIENCE_S)
    assert ("wirklich löschen" if german else "Shall I really delete") in asked.content
    erased = await said(await people.student.press(asked, buttons(asked)["erase"]["custom_id"]))
    assert ("ist gelöscht." if german else "is deleted.") in erased


async def test_the_table_has_every_command_there_is(double: DiscordDouble) -> None:
    registered = {SLASH: set[str](), MESSAGE_MENU: set[str]()}
    for command in double.rest.commands.all(None):
        registered[command["type"]] |= set(_paths(command))
    assert registered[SLASH] == {line.command for line in TABLE}
    assert registered[MESSAGE_MENU] == set(MENUS)


def _paths(command: Mapping[str, Any]) -> Iterator[str]:
    below = [option for option in command.get("options") or () if option["type"] in (SUBCOMMAND, GROUP)]
    for option in below:
        yield from (f"{command['name']} {path}" for path in _paths(option))
    if not below:
        yield str(command["name"])
