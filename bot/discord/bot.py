"""What commands, buttons and windows know of the bot: that it has the parts of Kapelle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from discord.ext import commands

if TYPE_CHECKING:
    from bot.application import Application


class ApplicationBot(commands.Bot):
    """A bot with the parts that commands call."""

    def __init__(self, application: Application, **options: Any) -> None:
        super().__init__(**options)
        self._parts = application

    @property
    def application(self) -> Application:  # type: ignore[override] # the library's is what Discord knows of it
        return self._parts
