"""The bot's side: the process is started, watched, replaced and stopped."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bot.settings import Settings
from bot.worker import transport
from bot.worker.protocol import Cancel, Cancelled, Died, Event, Finished, Planned, Progress, Ready
from bot.worker.transport import LocalWorker, WorkerGone
from tests.worker.building import PATIENCE_S, ROOT, SMALL_WORKER, start_of

Program = Callable[[str], None]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    """What runs instead of `python -m bot.worker`: Python code."""

    def use(code: str) -> None:
        file = tmp_path / "worker.py"
        file.write_text(f"#!{interpreter} -u\n" + textwrap.dedent(code))
        file.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(file))

    interpreter = sys.executable
    return use


def settings_of(data: Path) -> Settings:
    return Settings(_env_file=None, data=data)  # type: ignore[call-arg]


@pytest.fixture
async def worker(tmp_path: Path, program: Program) -> AsyncIterator[LocalWorker]:
    """One with small engines that has been started."""
    program(f"""
        import os, sys
        os.environ["PYTHONPATH"] = {str(ROOT)!r}
        os.execv({sys.executable!r}, [{sys.executable!r}, {str(SMALL_WORKER)!r}])""")
    worker = LocalWorker(settings_of(tmp_path))
    await worker.start()
    yield worker
    await worker.stop()


async def heard(events: AsyncIterator[Event], until: Callable[[Any], bool]) -> list[Event]:
    """All that is said, up to an event that is waited for."""
    said: list[Event] = []
    async with asyncio.timeout(PATIENCE_S):
        while not said or not until(said[-1]):
            said.append(await anext(events))
    return said


def is_a(kind: type[Any]) -> Callable[[Any], bool]:
    return lambda event: isinstance(event, kind)


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_a_killed_worker_is_noticed_at_once_and_replaced(worker: LocalWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    events = worker.events()
    ready = (await heard(events, is_a(Ready)))[-1]
    assert ready == Ready(worker.pid or 0, ())
    await worker.send(start_of(1, takes=1))
    await heard(events, is_a(Finished))
    await worker.send(start_of(2, "slow", tokens=600))
    await worker.send(start_of(3, "slow", tokens=600))
    await worker.send(Cancel(3))
    await heard(events, is_a(Cancelled))
    await heard(events, lambda event: isinstance(event, Progress) and event.ids > 0)
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGSTOP)  # so that it cannot begin with the next one
    await worker.send(start_of(4))
    monkeypatch.setattr(transport, "LOOK_S", 2 * PATIENCE_S)  # it is heard of, not looked for
    os.kill(worker.pid, signal.SIGKILL)
    died = (await heard(events, is_a(Died)))[-1]
    assert died == Died(-signal.SIGKILL, (2, 4), (2,))
    assert (await heard(events, is_a(Ready)))[-1] != ready
    await worker.send(start_of(2, attempt=2))
    assert (await heard(events, is_a(Finished)))[-1] == Finished(2, 2)


async def test_a_crash_names_the_job_that_was_being_planned(worker: LocalWorker) -> None:
    events = worker.events()
    await worker.send(start_of(1, "unlucky"))
    said = await heard(events, is_a(Died))
    assert not any(isinstance(event, Planned) for event in said)
    assert said[-1] == Died(70, (1,), (1,))


async def test_a_dead_worker_leaves_no_program_and_no_temporary_files(
    tmp_path: Path, program: Program, monkeypatch: pytest.MonkeyPatch,
) -> None:
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    program("""
        import os, subprocess, sys, tempfile, time
        child = subprocess.Popen(["sleep", "600"], stdout=subprocess.DEVNULL)
        open(tempfile.mkdtemp() + "/rendered.wav", "w").close()
        print(f'{{"is": "Ready", "pid": {child.pid}, "engines": []}}')
        time.sleep(600)""")
    worker = LocalWorker(settings_of(tmp_path))
    await worker.start()
    try:
        events = worker.events()
        first = (await heard(events, is_a(Ready)))[-1]
        assert isinstance(first, Ready)
        (used,) = scratch.iterdir()
        assert len(list(used.rglob("rendered.wav"))) == 1
        os.kill(worker.pid or 0, signal.SIGKILL)
        await heard(events, is_a(Ready))
        assert not alive(first.pid)
        assert not used.exists()
    finally:
        monkeypatch.setattr(transport, "PATIENCE_S", 0.1)
        await worker.stop()
    assert list(scratch.iterdir()) == []


UNREADABLE = {
    "no message": "print('hello')",
    "an order": """print('{"is": "Stop"}')""",
    "a line of 2 MB": "print('x' * 2**21)",
    "not text": "sys.stdout.buffer.write(b'\\xff\\xfe\\n'); sys.stdout.flush()",
}


@pytest.mark.parametrize("said", UNREADABLE.values(), ids=UNREADABLE)
async def test_a_worker_that_says_what_cannot_be_read_is_replaced(
    tmp_path: Path, program: Program, said: str, caplog: pytest.LogCaptureFixture,
) -> None:
    program(f"""
        import sys, time
        print('{{"is": "Ready", "pid": 1, "engines": []}}')
        {said}
        time.sleep(600)""")
    worker = LocalWorker(settings_of(tmp_path))
    await worker.start()
    try:
        events = await heard(worker.events(), is_a(Died))
        assert events == [Ready(1, ()), Died(-signal.SIGKILL, (), ())]
    finally:
        with suppress(ProcessLookupError):
            os.kill(worker.pid or 2**22, signal.SIGKILL)
        await worker.stop()
    assert "cannot be read" in caplog.text


async def test_one_that_keeps_dying_is_started_less_and_less_often(
    tmp_path: Path, program: Program, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transport, "FIRST_DELAY_S", 0.2)
    monkeypatch.setattr(transport, "LONGEST_DELAY_S", 0.5)
    waited: list[float] = []
    wait_for = asyncio.wait_for

    async def measured(awaitable: Any, timeout: float | None) -> Any:
        waited.append(timeout or 0.0)
        return await wait_for(awaitable, timeout)

    monkeypatch.setattr(asyncio, "wait_for", measured)
    program("")
    worker = LocalWorker(settings_of(tmp_path))
    await worker.start()
    events = worker.events()
    times = []
    for _ in range(5):
        assert (await heard(events, is_a(Died)))[-1] == Died(0, (), ())
        times.append(time.monotonic())
        if len(times) > 1:
            assert worker.pid is None
            with pytest.raises(WorkerGone):
                await worker.send(start_of(1))
    await worker.stop()
    assert waited[:4] == [0.0, 0.2, 0.4, 0.5]
    assert all(later - earlier >= delay for (earlier, later), delay in zip(pairwise(times), waited, strict=False))


async def test_a_long_life_makes_up_for_earlier_deaths(
    tmp_path: Path, program: Program, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transport, "FIRST_DELAY_S", 600.0)
    monkeypatch.setattr(transport, "HEALTHY_S", 0.0)
    program("")
    worker = LocalWorker(settings_of(tmp_path))
    await worker.start()
    events = worker.events()
    for _ in range(3):
        await heard(events, is_a(Died))
    await worker.stop()


async def test_a_stopped_worker_ends_by_itself_and_so_do_its_events(
    worker: LocalWorker, caplog: pytest.LogCaptureFixture,
) -> None:
    events = worker.events()
    await worker.send(start_of(1, "slow", tokens=600))
    await heard(events, is_a(Planned))
    pid = worker.pid
    assert pid is not None
    await worker.stop()
    assert worker.pid is None
    assert not alive(pid)
    assert "is killed" not in caplog.text
    said = [event async for event in events]
    assert not any(isinstance(event, Died | Finished) for event in said)
    assert [event async for event in worker.events()] == []
    with pytest.raises(WorkerGone):
        await worker.send(start_of(2))
    await worker.stop()


async def test_one_that_does_not_stop_is_killed(
    tmp_path: Path, program: Program, monkeypatch: pytest.MonkeyPatch,
) -> None:
    program("""
        import signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print('{"is": "Ready", "pid": 1, "engines": []}')
        time.sleep(600)""")
    monkeypatch.setattr(transport, "PATIENCE_S", 0.3)
    worker = LocalWorker(settings_of(tmp_path))
    await worker.start()
    events = worker.events()
    await heard(events, is_a(Ready))
    pid = worker.pid
    assert pid is not None
    await worker.stop()
    assert not alive(pid)
    assert [event async for event in events] == []


async def test_stopping_during_back_off_does_not_wait_for_it(
    tmp_path: Path, program: Program, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transport, "FIRST_DELAY_S", 600.0)
    program("")
    worker = LocalWorker(settings_of(tmp_path))
    await worker.start()
    events = worker.events()
    await heard(events, is_a(Died))
    await heard(events, is_a(Died))
    async with asyncio.timeout(PATIENCE_S):
        await worker.stop()


async def test_one_that_hangs_while_it_decodes_is_replaced(
        worker: LocalWorker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(transport, "LOOK_S", 0.05)
    events = worker.events()
    await worker.send(start_of(1, "slow", tokens=600))
    await heard(events, lambda event: isinstance(event, Progress) and event.ids > 0)
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGSTOP)
    monkeypatch.setattr(transport, "LONGEST_STEP_S", 1.0)
    said = await heard(events, is_a(Died))
    assert said[-1] == Died(-signal.SIGKILL, (1,), (1,))
    assert "it is replaced" in caplog.text
    await heard(events, is_a(Ready))


async def test_one_that_says_again_and_again_how_far_it_is_and_gets_no_further_is_replaced(
        tmp_path: Path, program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    program("""
        import time
        print('{"is": "Ready", "pid": 1, "engines": []}', flush=True)
        input()
        while True:
            print('{"is": "Progress", "job": 1, "attempt": 1, "shares": [0.5], "ids": 9}', flush=True)
            time.sleep(0.02)""")
    monkeypatch.setattr(transport, "LONGEST_STEP_S", 0.5)
    worker = LocalWorker(settings_of(tmp_path))
    await worker.start()
    events = worker.events()
    await heard(events, is_a(Ready))
    await worker.send(start_of(1))
    said = await heard(events, is_a(Died))
    await worker.stop()
    assert said[-1] == Died(-signal.SIGKILL, (1,), (1,))


@pytest.mark.parametrize("said", [
    """{"is": "Rendering", "job": 1, "attempt": 1, "seconds": 1.0}""",
    """{"is": "Loading", "engine": "other", "over": false}""", ""])
async def test_one_that_renders_or_loads_or_has_nothing_to_do_is_left_alone(
        tmp_path: Path, program: Program, monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    program(f"""
        import time
        print('{{"is": "Ready", "pid": 1, "engines": []}}')
        if {said!r}:
            input()
            print('{{"is": "Progress", "job": 1, "attempt": 1, "shares": [0.5], "ids": 9}}')
            print({said!r})
        time.sleep(0.5)
        print('{{"is": "Ready", "pid": 2, "engines": []}}')
        time.sleep(600)""")
    monkeypatch.setattr(transport, "LOOK_S", 0.02)
    monkeypatch.setattr(transport, "LONGEST_STEP_S", 0.0)
    monkeypatch.setattr(transport, "PATIENCE_S", 0.1)
    worker = LocalWorker(settings_of(tmp_path))
    await worker.start()
    events = worker.events()
    await heard(events, is_a(Ready))
    if said:
        await worker.send(start_of(1))
    heard_of = await heard(events, lambda event: isinstance(event, Died) or event == Ready(2, ()))
    await worker.stop()
    assert heard_of[-1] == Ready(2, ())


async def test_a_worker_that_cannot_be_started_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nowhere"))
    worker = LocalWorker(settings_of(tmp_path))
    with pytest.raises(FileNotFoundError):
        await worker.start()
    await worker.stop()


async def test_secrets_stay_with_the_bot_and_settings_go_along(
    tmp_path: Path, program: Program, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:
    for name in ("DISCORD_TOKEN", "KAPELLE_DISCORD_TOKEN", "KAPELLE_DATABASE", "kapelle_database"):
        monkeypatch.setenv(name, "s3cret")
    monkeypatch.setenv("KAPELLE_THREADS", "7")
    monkeypatch.setenv("KAPELLE_NATIVE", "0")
    monkeypatch.chdir(tmp_path)
    program("""
        import os, sys, time
        sys.stderr.write(f"INFO {sorted(os.environ.items())}\\nERROR bad\\na warning\\n")
        print('{"is": "Ready", "pid": 1, "engines": []}')
        time.sleep(600)""")
    caplog.set_level(logging.INFO, "kapelle.worker")
    settings = Settings(  # type: ignore[call-arg]
        _env_file=None, data=Path("here"), threads=1, log_level="debug", pocket_returns=2.5)
    worker = LocalWorker(settings)
    await worker.start()
    await heard(worker.events(), is_a(Ready))
    await worker.stop()
    records = {record.getMessage(): record.levelname for record in caplog.records}
    environment = next(message for message in records if "KAPELLE_DATA" in message)
    assert "s3cret" not in environment
    for name, value in (("DATA", tmp_path / "here"), ("THREADS", 1), ("LOG_LEVEL", "debug"), ("NATIVE", 0), ("SOUNDFONT", ""),
                        ("POCKET_KEY_STRENGTH", 1.0), ("POCKET_RETURNS", 2.5)):
        assert f"('KAPELLE_{name}', '{value}')" in environment
    assert records[environment] == "INFO"
    assert (records["bad"], records["a warning"]) == ("ERROR", "WARNING")


def test_the_worker_ends_when_the_bot_is_killed(tmp_path: Path) -> None:
    code = f"""
        import asyncio
        from pathlib import Path
        from bot.settings import Settings
        from bot.worker.transport import LocalWorker

        async def main():
            worker = LocalWorker(Settings(_env_file=None, data=Path({str(tmp_path)!r})))
            await worker.start()
            async for event in worker.events():
                print(event.pid, flush=True)

        asyncio.run(main())"""
    bot = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert bot.stdout is not None
        pid = int(bot.stdout.readline())
        assert alive(pid)
    finally:
        bot.kill()
        bot.communicate()
    until = time.monotonic() + PATIENCE_S
    while alive(pid) and time.monotonic() < until:
        time.sleep(0.02)
    assert not alive(pid)


def test_the_bot_imports_no_torch() -> None:
    code = "import bot.worker.transport, bot.takes.spool, sys; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
