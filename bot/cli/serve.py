"""`kapelle run`: the bot, until a signal tells it to stop."""

from __future__ import annotations

import asyncio
import gc
import signal
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from models.errors import InputError

if TYPE_CHECKING:
    from bot.settings import Settings


def run() -> None:
    """Connect to Discord and serve the class until SIGTERM or Ctrl-C.

    Settings come from the environment and `.env`; `kapelle doctor` checks them.
    """
    from bot.hosting.logs import set_up_logs
    from bot.settings import read_settings

    settings = read_settings()
    if settings.discord_token is None or not settings.discord_token.get_secret_value().strip():
        raise InputError(
            "there is no Discord token: put DISCORD_TOKEN=... into .env (docs/hosting.md says where to get one), "
            "or see a rehearsal without Discord with `make run`")
    token = settings.discord_token.get_secret_value().strip()
    password = urlsplit(settings.database_url).password or ""
    set_up_logs(settings.log_format, settings.log_level, secrets=[token, settings.database.get_secret_value(), password])
    asyncio.run(_serve(settings, token))


async def _serve(settings: Settings, token: str) -> None:
    from bot.application import opened
    from bot.discord.client import KapelleBot
    from bot.hosting.health import HealthServer
    from bot.messages.languages import speak_to_others

    speak_to_others(settings.language)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    async with opened(settings) as application:
        bot = KapelleBot(application)

        async def there() -> None:
            bot.remove_listener(there, "on_ready")
            _leave_out_of_collections()

        bot.add_listener(there, "on_ready")
        health = HealthServer(settings, application, bot)
        await health.start()
        _leave_out_of_collections()
        serving = asyncio.create_task(bot.serve(token))
        stopped = asyncio.create_task(stopping.wait())
        working = [serving, *([application.dispatching] if application.dispatching else [])]
        try:
            await asyncio.wait((*working, stopped), return_when=asyncio.FIRST_COMPLETED)
            ended = [task for task in working if task.done()]
        finally:
            stopped.cancel()
            for task in reversed(working):  # no job is begun any more when the bot closes
                task.cancel()
                await asyncio.wait((task,))
            await health.stop()
        for task in ended:
            task.result()  # raises what ended it


def _leave_out_of_collections() -> None:
    """What is there now stays. To look through all of it for garbage would hold up the event loop for 0.1 s each time."""
    gc.collect()
    gc.freeze()
