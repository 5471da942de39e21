"""Descriptions, names of options and choices of the commands, in every language; names of commands stay the same."""

from __future__ import annotations

from discord import Locale, app_commands
from discord.app_commands import TranslationContextLocation as Location

from bot.messages.languages import C_, LANGUAGES, language_of, text, word

# As mentions of commands are not translated, neither are their names.
_NAMES = frozenset({Location.command_name, Location.group_name})
# Names of options may be short words that mean other things elsewhere, so they are translated by what they are.
_OPTION = "option"
OPTIONS = frozenset({
    C_("option", "title"), C_("option", "artist"), C_("option", "tokens"), C_("option", "takes"), C_("option", "bars"),
    C_("option", "temperature"), C_("option", "engine"), C_("option", "seed"), C_("option", "stop-at-end"),
    C_("option", "job"), C_("option", "number"), C_("option", "whose"), C_("option", "limit"), C_("option", "value"),
    C_("option", "role"), C_("option", "channel"), C_("option", "member"), C_("option", "reason"), C_("option", "word"),
    C_("option", "text"), C_("option", "page"), C_("option", "prompt"), C_("option", "seconds"), C_("option", "melody"),
    C_("option", "continue"), C_("option", "guidance"), C_("option", "top-k"), C_("option", "top-p"), C_("option", "stride"),
    C_("option", "video"),
})


class CommandTranslator(app_commands.Translator):
    """Tells Discord what commands say in languages other than English."""

    async def translate(
            self, string: app_commands.locale_str, locale: Locale,
            context: app_commands.TranslationContextTypes) -> str | None:
        language = language_of(locale.value)
        menu = isinstance(context.data, app_commands.ContextMenu)  # it is tapped, never mentioned
        if language == LANGUAGES[0] or (context.location in _NAMES and not menu):
            return None
        if context.location is Location.parameter_name:
            said = word(language, _OPTION, string.message)
        else:
            said = text(language, string.message)
        return None if said == string.message else said
