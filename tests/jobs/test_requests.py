"""What members ask for, as requests; and jobs that work on files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bot.jobs.ledger import Ledger
from bot.jobs.limits import Limits
from bot.jobs.records import Place
from bot.jobs.refusals import Reason, Refusal
from bot.jobs.requests import parameters_of, read, rebuilt
from bot.takes.spool import Spool
from models.errors import InputError
from models.interface.audio import AudioRequest
from models.interface.midi import ComposeRequest
from tests.jobs.building import ANNA, CHANNEL, refused, service_of


@pytest.mark.parametrize(("kind", "given"), [
    ("midi", {"title": "Clair de lune", "tokens": 64, "temperature": 1}),
    ("audio", {"prompt": "lofi", "seconds": 12, "guidance": 2.5, "video": True}),
])
def test_parameters_make_the_same_request_again(kind: str, given: dict[str, Any]) -> None:
    request = read(kind, given, Limits())
    assert isinstance(request, ComposeRequest if kind == "midi" else AudioRequest)
    assert rebuilt(kind, parameters_of(request), {}) == request
    assert not {"melody", "continuation"} & parameters_of(request).keys()


@pytest.mark.parametrize(("kind", "given"), [
    ("midi", {"title": "x", "continuation": "/etc/passwd"}), ("audio", {"prompt": "x", "melody": "../../secret.wav"}),
    ("audio", {"prompt": "x", "title": "y"}), ("audio", {"prompt": 5}), ("audio", {"prompt": "x", "seconds": "10"}),
    ("audio", {"prompt": "x", "seconds": True}), ("audio", {"prompt": "x", "seconds": float("nan")}),
    ("audio", {"prompt": "x", "seconds": 10**400}), ("audio", {}), ("video", {"prompt": "x"}),
])
def test_nothing_else_gets_in(kind: str, given: dict[str, Any]) -> None:
    with pytest.raises(Refusal) as refusal:
        read(kind, given, Limits())
    assert refusal.value.reason is Reason.INVALID


def test_what_is_not_said_is_as_much_as_the_limits_allow() -> None:
    limits = Limits(takes=1, tokens=100, seconds=4)
    assert read("midi", {"title": "x"}, limits).length == 100
    request = read("audio", {"prompt": "x"}, limits)
    assert isinstance(request, AudioRequest)
    assert (request.seconds, request.takes) == (4, 1)


def test_files_are_those_of_the_request(tmp_path: Path) -> None:
    request = rebuilt("audio", {"prompt": "x"}, {"melody": tmp_path / "input-melody"})
    assert isinstance(request, AudioRequest)
    assert request.melody == tmp_path / "input-melody"
    with pytest.raises(InputError):
        rebuilt("midi", {"title": "x"}, {"melody": tmp_path / "input-melody"})


async def test_the_files_of_a_job_are_there_before_it_is(ledger: Ledger, tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    service = service_of(ledger, keep_file=spool.keep_file)
    queued = await service.submit("midi", None, {"title": "x"}, ANNA, Place(CHANNEL), inputs={"continuation": b"MThd..."})
    assert queued.job.inputs == {"continuation": "input-continuation"}
    paths = spool.inputs(spool.folder(queued.job.id).name, queued.job.inputs)
    assert paths["continuation"].read_bytes() == b"MThd..."
    Spool(tmp_path).open(str(queued.job.id))  # a worker that begins cleans up
    assert paths["continuation"].exists()


async def test_a_job_whose_files_cannot_be_kept_is_refused_and_charges_nothing(ledger: Ledger) -> None:
    removed: list[int] = []

    async def full(job_id: int, name: str, contents: bytes) -> None:
        raise OSError(28, "No space left on device")

    async def remove(job_id: int) -> None:
        removed.append(job_id)

    service = service_of(ledger, keep_file=full, remove_files=remove)
    refusal = await refused(
        service.submit("midi", None, {"title": "x"}, ANNA, Place(CHANNEL), inputs={"continuation": b"MThd"}))
    assert refusal.reason is Reason.FULL_DISK
    assert len(removed) == 1
    assert await service.mine(ANNA) == []
    assert (await service.quota(ANNA, CHANNEL)).jobs_today == 0


async def test_the_engine_suits_the_kind_and_the_files(ledger: Ledger) -> None:
    small, follower = "musicgen-small", "musicgen-melody"
    service = service_of(ledger, engines=("pocket", small, follower))

    async def engine_of(kind: str, asked: str | None, **inputs: bytes) -> str:
        given = {"title": "x"} if kind == "midi" else {"prompt": "x"}
        return (await service.submit(kind, asked, given, ANNA, Place(CHANNEL), inputs=inputs)).job.engine

    assert await engine_of("midi", None) == "pocket"
    assert await engine_of("audio", None) == small
    assert await engine_of("audio", None, melody=b"RIFF") == follower
    assert (await refused(engine_of("audio", small, melody=b"RIFF"))).reason is Reason.NO_MELODY
    assert (await refused(engine_of("audio", "pocket"))).reason is Reason.NO_ENGINE
    assert (await refused(engine_of("midi", small))).reason is Reason.NO_ENGINE
    bare = service_of(ledger, installed=lambda name: name == "pocket", engines=("pocket", small))
    assert (await refused(bare.submit("audio", None, {"prompt": "x"}, ANNA, Place(CHANNEL)))).reason is Reason.NO_WEIGHTS
    allowed = service_of(ledger, installed=lambda name: name in ("pocket", "composed"), engines=("pocket", small, "composed"))
    assert (await allowed.submit("audio", None, {"prompt": "x"}, ANNA, Place(CHANNEL))).job.engine == "composed"
    for inputs in ({"melody": b"RIFF"}, {"continuation": b"RIFF"}):
        refusal = await refused(allowed.submit("audio", None, {"prompt": "x"}, ANNA, Place(CHANNEL), inputs=inputs))
        assert refusal.reason is Reason.NO_MELODY
    none = service_of(ledger)
    assert (await refused(none.submit("audio", None, {"prompt": "x"}, ANNA, Place(CHANNEL)))).reason is Reason.NO_AUDIO


async def test_seconds_have_a_limit_of_their_own(ledger: Ledger) -> None:
    service = service_of(ledger, engines=("musicgen-small",), machine=Limits(tokens=32, seconds=8))
    refusal = await refused(service.submit("audio", None, {"prompt": "x", "seconds": 8.5}, ANNA, Place(CHANNEL)))
    assert refusal.reason is Reason.TOO_MANY_SECONDS
    assert refusal.details == {"asked": 8.5, "limit": 8, "rule": "machine"}
