"""The catalogues: complete, compiled, and as the code has them."""

from __future__ import annotations

import re
import string
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog, Message
from babel.messages.mofile import read_mo

from bot.messages.languages import FOLDER, LANGUAGES, language_of, plural, speak_to_others, text, word
from bot.messages.languages.__main__ import catalogue_path, extracted, read

TRANSLATED = LANGUAGES[1:]


def entries(catalogue: Catalog) -> dict[tuple[object, object], Message]:
    return {(context_of(message), sources(message)): message for message in catalogue if message.id}


def context_of(message: Message) -> str | None:
    context: str | bytes | None = message.context  # compiled ones are read as bytes
    return context.decode() if isinstance(context, bytes) else context


def strings(message: Message) -> tuple[str, ...]:
    return tuple(message.string) if isinstance(message.string, list | tuple) else (message.string or "",)


def sources(message: Message) -> tuple[str, ...]:
    return tuple(message.id) if isinstance(message.id, list | tuple) else (message.id,)


def places(sentence: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name is not None}


@pytest.fixture(scope="module")
def code() -> Catalog:
    return extracted()


def test_the_template_holds_what_the_code_says(code: Catalog) -> None:
    assert len(entries(code)) > 200
    assert entries(read(FOLDER / "kapelle.pot")).keys() == entries(code).keys(), "run python -m bot.messages.languages"


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_catalogue_holds_what_the_code_says_and_every_sentence_is_translated(language: str, code: Catalog) -> None:
    catalogue = read(catalogue_path(language), language)
    assert entries(catalogue).keys() == entries(code).keys(), "run python -m bot.messages.languages"
    for message in entries(catalogue).values():
        assert all(strings(message)), message.id
        assert not message.fuzzy
        assert len(strings(message)) == len(sources(message))


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_compiled_is_what_is_written(language: str) -> None:
    with catalogue_path(language).with_suffix(".mo").open("rb") as file:
        compiled = entries(read_mo(file))
    written = entries(read(catalogue_path(language), language))
    assert {key: strings(message) for key, message in compiled.items()} == \
        {key: strings(message) for key, message in written.items()}


@pytest.mark.parametrize("language", TRANSLATED)
def test_a_translation_has_the_places_markup_and_commands_of_its_sentence(language: str) -> None:
    for message in entries(read(catalogue_path(language), language)).values():
        for source, said in zip(sources(message), strings(message), strict=True):
            assert places(said) == places(source), source
            assert re.findall(r"`[^`]*`", said) == re.findall(r"`[^`]*`", source), source
            assert said.count("**") == source.count("**"), source
            assert (said[-1] in ".:!?") == (source[-1] in ".:!?"), source


@pytest.mark.parametrize("language", TRANSLATED)
def test_sentences_differ_from_english_ones(language: str) -> None:
    catalogue = entries(read(catalogue_path(language), language))
    alike = [source for message in catalogue.values() for source, said in zip(sources(message), strings(message), strict=True)
             if said == source and " " in re.sub(r"\{\w+\}|\*\*\w+", "", source).strip(" ·*")]
    assert alike == []


def test_german_is_informal() -> None:
    for message in entries(read(catalogue_path("de"), "de")).values():
        for said in strings(message):
            assert not re.search(r"\bSie (haben|können|dürfen|sind|müssen)\b|(?<=[a-z] )(Ihnen|Ihre?[nmrs]?)\b", said), said
            assert not re.search(r"\b(fuer|koennen|muessen|loeschen|Stueck|naechste)", said), said


def test_locales_have_languages() -> None:
    assert [language_of(locale) for locale in ("de", "de-AT", "en-GB", "en-US", "fr", "pt-BR", "", None)] == \
        ["de", "de", "en", "en", "en", "en", "en", "en"]


def test_sentences_and_words_are_said_in_the_language() -> None:
    assert text("de", "Place {place} in the queue.", place=3) == "Platz 3 in der Warteschlange."
    assert text("en", "Place {place} in the queue.", place=3) == "Place 3 in the queue."
    assert [plural("de", "{n} note", "{n} notes", n) for n in (0, 1, 2)] == ["0 Noten", "1 Note", "2 Noten"]
    assert (word("de", "option", "title"), word("en", "option", "title")) == ("titel", "title")


def test_a_language_without_a_catalogue_is_an_error() -> None:
    with pytest.raises(FileNotFoundError):
        text("xx", "Cancelled.")


def test_updating_leaves_nothing_to_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bot.messages.languages import __main__ as update
    before = {path: path.read_bytes() for path in FOLDER.rglob("*") if path.suffix in (".po", ".pot", ".mo")}
    for path, content in before.items():
        copy = tmp_path / path.relative_to(FOLDER)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(content)
    monkeypatch.setattr(update, "FOLDER", tmp_path)
    assert update.main() == 0
    assert {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == \
        {path.relative_to(FOLDER): content for path, content in before.items()}


def test_others_are_spoken_to_in_the_language_of_the_settings() -> None:
    assert [language_of(locale) for locale in ("de", "en-GB", "fr", "")] == ["de", "en", "en", "en"]
    speak_to_others("de")
    try:
        assert [language_of(locale) for locale in ("de", "en-GB", "fr", "")] == ["de", "en", "de", "de"]
    finally:
        speak_to_others("en")
