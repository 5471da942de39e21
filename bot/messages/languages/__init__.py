"""The languages Kapelle speaks: gettext catalogues, looked up by the English sentence.

Sentences hold named places, `{like_this}`. What fills them has been made harmless before.
"""

from __future__ import annotations

import gettext
from functools import cache
from pathlib import Path

LANGUAGES = ("en", "de")
DOMAIN = "kapelle"
FOLDER = Path(__file__).parent


_others = [LANGUAGES[0]]  # what is spoken with those whose language is none of these


def speak_to_others(language: str) -> None:
    """Choose the language for those whose own is not spoken; English until then."""
    _others[0] = language


def language_of(locale: object) -> str:
    """The language that is spoken with someone of a locale ("de", "en-GB")."""
    language = str(locale).replace("_", "-").split("-")[0].lower()
    return language if language in LANGUAGES else _others[0]


def N_(message: str) -> str:  # noqa: N802 - gettext's own name
    """Marks a sentence that is translated later."""
    return message


def C_(context: str, message: str) -> str:  # noqa: N802 - gettext's own name
    """Marks a word that is translated later, by what it is used for."""
    return message


def text(language: str, message: str, **values: object) -> str:
    """A sentence in a language."""
    return _catalogue(language).gettext(message).format(**values)


def plural(language: str, one: str, many: str, n: int, **values: object) -> str:
    """A sentence about n things in a language; `{n}` is their number."""
    return _catalogue(language).ngettext(one, many, n).format(n=n, **values)


def word(language: str, context: str, message: str) -> str:
    """A word in a language, by what it is used for."""
    return _catalogue(language).pgettext(context, message)


@cache
def _catalogue(language: str) -> gettext.NullTranslations:
    return gettext.translation(DOMAIN, FOLDER, [language])
