"""Worker and transport with the pocket model: takes are real, and come out the same whatever happens in between."""

from __future__ import annotations

import io
import os
import signal
from collections.abc import AsyncIterator

import mido
import numpy as np
import pytest
import pytest_asyncio
import soundfile
from PIL import Image

from bot.settings import Settings
from bot.takes.spool import Made, Spool
from bot.worker.protocol import Died, Finished, Planned, Progress, Ready, Rendering
from bot.worker.transport import LocalWorker
from tests.worker.building import start_of
from tests.worker.test_transport import heard, is_a

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(_env_file=None, data=tmp_path_factory.mktemp("data"), threads=1)  # type: ignore[call-arg]


@pytest.fixture(scope="module")
def spool(settings: Settings) -> Spool:
    return Spool(settings.spool)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def worker(settings: Settings) -> AsyncIterator[LocalWorker]:
    worker = LocalWorker(settings)
    await worker.start()
    yield worker
    await worker.stop()


async def test_takes_of_a_shared_batch_are_real(worker: LocalWorker, spool: Spool) -> None:
    events = worker.events()
    await worker.send(start_of(1, "Vltava", tokens=960, takes=3))
    await worker.send(start_of(2, "Maple Leaf Rag", artist="Scott Joplin", tokens=768, takes=1))
    said = await heard(events, is_a(Finished))
    said += await heard(events, is_a(Finished))
    first = next(place for place, event in enumerate(said) if isinstance(event, Rendering))
    shared = {event.job for event in said[:first] if isinstance(event, Progress) and 0 < event.ids}
    assert shared == {1, 2}, "one waited for the other"
    turns = [(type(event), event.job) for event in said if isinstance(event, Planned | Rendering)]
    # The short one came later and is done sooner: it shared the batch of the long one.
    assert turns == [(Planned, 1), (Planned, 2), (Rendering, 2), (Rendering, 1)], "one waited for the other"
    planned = {event.job: event.outcome for event in said if isinstance(event, Planned)}
    assert "joplin" in str(planned[2]["attributes"]).lower()
    made = [event for event in said if isinstance(event, Made)]
    assert sorted((event.job, event.number) for event in made) == [(1, 1), (1, 2), (1, 3), (2, 1)]
    for take in made:
        score = mido.MidiFile(file=io.BytesIO(await spool.read(take.job, take.files["midi"])))
        notes = sum(message.type == "note_on" and message.velocity > 0 for message in score)
        assert 0 < notes == take.notes <= (320 if take.job == 1 else 256)
        sound, rate = soundfile.read(io.BytesIO(await spool.read(take.job, take.files["sound"])))
        assert len(sound) / rate == pytest.approx(take.seconds, abs=0.05)
        assert take.seconds > 1
        assert 0.3 < np.abs(sound).max() <= 1.0
        picture = Image.open(io.BytesIO(await spool.read(take.job, take.files["roll"])))
        picture.load()
        assert picture.size == (1600, 900)
    found = await spool.made(1)
    assert [take.number for take in found] == [1, 2, 3]


async def test_a_job_that_was_killed_half_way_comes_out_the_same(worker: LocalWorker, spool: Spool) -> None:
    events = worker.events()
    await worker.send(start_of(3, "Vltava", tokens=960, takes=3))
    await heard(events, lambda event: isinstance(event, Progress) and min(event.shares) > 0.3)
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    said = await heard(events, is_a(Ready))
    assert [event for event in said if isinstance(event, Died)] == [Died(-signal.SIGKILL, (3,), (3,))]
    await worker.send(start_of(3, "Vltava", tokens=960, takes=3, attempt=2, made=(1,)))
    said = await heard(events, is_a(Finished))
    made = {event.number: event for event in said if isinstance(event, Made)}
    assert sorted(made) == [2, 3]
    for number, take in made.items():
        assert take.attempt == 2
        assert await spool.read(3, f"take-{number}.mid") == await spool.read(1, f"take-{number}.mid")
