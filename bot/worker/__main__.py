"""`python -m bot.worker`: orders come in on stdin, events go out on stdout, the log to stderr.

Started by the bot, with its settings in the environment.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import sys
from typing import NoReturn

_LESS_URGENT = 5  # niceness: that the bot answers comes first


def main() -> NoReturn:
    """Work until the orders end or SIGTERM comes; the exit code is 0 then, 70 after a crash."""
    orders, events = _pipes()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to everyone; the bot decides what ends
    faulthandler.enable()
    os.nice(_LESS_URGENT)
    from bot.settings import Settings
    # The file with settings holds secrets, too; what the worker needs is in the environment.
    settings = Settings(_env_file=None)  # type: ignore[call-arg]
    settings.limit_threads()
    logging.basicConfig(stream=sys.stderr, level=settings.log_level.upper(), format="%(levelname)s %(message)s")
    from bot.worker.process import Worker  # numpy and torch read the number of threads when they are imported
    code = Worker(settings, orders, events).run()
    logging.shutdown()
    os._exit(code)  # threads that read or render are not waited for


def _pipes() -> tuple[int, int]:
    """Descriptors of orders and events, taken out of everyone else's way: who prints, prints to stderr."""
    orders, events = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return orders, events


if __name__ == "__main__":
    main()
