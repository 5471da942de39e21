"""`python -m bot.messages.languages`: collect the sentences of the code, update the catalogues, compile them."""

from __future__ import annotations

import sys
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from bot.messages.languages import DOMAIN, FOLDER, LANGUAGES

ROOT = FOLDER.parents[2]
_SOURCES = ("bot", "cogs")
_KEYWORDS = {"_": None, "N_": None, "text": (2,), "plural": (2, 3), "C_": ((1, "c"), 2)}
_SETTLED = datetime(2026, 1, 1, tzinfo=UTC)  # a date that changed with every run would be all that changes


def extracted() -> Catalog:
    """All sentences that are marked in the code."""
    template = _new()
    for source in _SOURCES:
        found = extract_from_dir(ROOT / source, method_map=[("**.py", "python")], keywords=_KEYWORDS,
                                 comment_tags=("Translators:",), strip_comment_tags=True)
        for file, _, message, comments, context in sorted(found, key=lambda one: one[:2]):
            template.add(message, locations=[(f"{source}/{file}", None)],  # type: ignore[list-item]
                         auto_comments=comments, context=context)
    return template


def read(path: Path, language: str | None = None) -> Catalog:
    """A .po or .pot file; a new catalogue where there is none."""
    if not path.exists():
        return _new(language)
    with path.open("rb") as file:
        return read_po(file, locale=language, domain=DOMAIN)


def catalogue_path(language: str) -> Path:
    return FOLDER / language / "LC_MESSAGES" / f"{DOMAIN}.po"


def main() -> int:
    """Update and compile; how many sentences want a translation is printed, and returned as 1 if there are any."""
    template = extracted()
    _write(template, FOLDER / f"{DOMAIN}.pot")
    wanting = 0
    for language in LANGUAGES:
        path = catalogue_path(language)
        path.parent.mkdir(parents=True, exist_ok=True)
        catalogue = read(path, language)
        catalogue.update(deepcopy(template), no_fuzzy_matching=True)
        catalogue.obsolete.clear()
        catalogue.creation_date = catalogue.revision_date = _SETTLED
        if language == LANGUAGES[0]:  # the sentences are English
            for message in catalogue:
                if message.id and not _translated(message.string):
                    message.string = message.id
        missing = sum(1 for message in catalogue if message.id and not _translated(message.string))
        wanting += missing
        _write(catalogue, path)
        with path.with_suffix(".mo").open("wb") as file:
            write_mo(file, catalogue)
        print(f"{language}: {len(catalogue)} sentences, {missing} without a translation")
    return 1 if wanting else 0


def _translated(string: object) -> bool:
    return all(string) if isinstance(string, list | tuple) else bool(string)


def _new(language: str | None = None) -> Catalog:
    return Catalog(locale=language, domain=DOMAIN, project="Kapelle", creation_date=_SETTLED, revision_date=_SETTLED,
                   fuzzy=False, header_comment="# What Kapelle says. See docs/translating.md.")


def _write(catalogue: Catalog, path: Path) -> None:
    with path.open("wb") as file:
        write_po(file, catalogue, width=118, include_lineno=False)


if __name__ == "__main__":
    sys.exit(main())
