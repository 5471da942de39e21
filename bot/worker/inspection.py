"""A look at sound files that members attach, before a job is accepted for them.

Their content meets libraries in C, so it is a process of its own that reads them, with no secrets in its environment;
it ends with the file. `python -m bot.worker.inspection melody` reads one from its standard input and says in JSON what is
wrong with it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import resource
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

from bot.jobs.refusals import Reason, Refusal
from bot.takes.spool import INPUT

AT_ONCE = 2  # files
PATIENCE_S = 60.0  # for one of them; reading a minute of sound takes a fraction of a second
_PROCESSOR_S = 30  # the reader gives up before, by itself
_KEPT = ("PATH", "HOME", "TMPDIR", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "SYSTEMROOT", "PYTHONPATH", "PYTHONHOME")
_HOME = Path(__file__).resolve().parents[2]
_LOG = logging.getLogger(__name__)


class Inspection:
    """Looks at a few files at a time; others wait."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(AT_ONCE)

    async def look(self, name: str, content: bytes) -> None:
        """Raises Refusal(INVALID) for a sound file (`name`: continuation, melody) that an engine could not use."""
        async with self._free:
            fault = await _looked_at(name, content)
        if fault:
            raise Refusal(Reason.INVALID, text=fault)


async def _looked_at(name: str, content: bytes) -> str:
    """What is wrong with a file; nothing: ''."""
    environment = {key: value for key, value in os.environ.items() if key in _KEPT} | {"OPENBLAS_NUM_THREADS": "1"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", __name__, name, stdin=PIPE, stdout=PIPE, stderr=PIPE, cwd=_HOME, env=environment,
        start_new_session=True)
    try:
        async with asyncio.timeout(PATIENCE_S):
            said, complaint = await process.communicate(content)
        return str(json.loads(said)["fault"])
    except TimeoutError:
        return f"{INPUT}{name} takes too long to decode; save it as wav or mp3 and send that"
    except (ValueError, LookupError):
        _LOG.warning("an attached file ended the process that read it (%s): %s", process.returncode,
                     complaint[-300:].decode(errors="replace"))
        return f"{INPUT}{name} is damaged or cut short and cannot be decoded; save it again, as wav or mp3"
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _main(name: str) -> None:
    from models.sound.audio.reading import AudioError, checked
    resource.setrlimit(resource.RLIMIT_CPU, (_PROCESSOR_S, _PROCESSOR_S))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    out = os.dup(1)
    os.dup2(2, 1)  # libraries may print
    fault = ""
    try:
        checked(sys.stdin.buffer.read(), f"{INPUT}{name}", end=name == "continuation")
    except AudioError as error:
        fault = str(error)
    os.write(out, json.dumps({"fault": fault}).encode())


if __name__ == "__main__":
    _main(sys.argv[1])
