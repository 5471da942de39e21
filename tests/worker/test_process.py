"""The worker's side: what a worker process makes of orders."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bot.takes.spool import Made
from bot.worker.protocol import (
    Cancel,
    Cancelled,
    Event,
    Failed,
    Finished,
    Loading,
    Planned,
    Progress,
    Ready,
    Rendering,
    Start,
    Stop,
    to_line,
)
from tests.worker.building import Talk, start_of

PROMPT = "zanzibar"  # a word that nothing else says


def over(*jobs: int) -> Callable[[Any], bool]:
    """Whether all of the jobs have finished or failed."""
    left = set(jobs)

    def heard(event: Any) -> bool:
        if isinstance(event, Finished | Failed):
            left.discard(event.job)
        return not left

    return heard


def half_written(spool: Path) -> list[str]:
    return [str(path) for path in spool.rglob(".*")]


def test_takes_are_on_the_disk_when_they_are_announced(shared: Talk) -> None:
    shared.send(start_of(1))
    events: list[Event] = []
    while not events or not isinstance(events[-1], Finished):
        events += shared.heard(lambda event: isinstance(event, Made | Finished))
        if isinstance(made := events[-1], Made):
            folder = shared.spool / "1"
            assert made.files == {what: f"take-{made.number}.{suffix}"
                                  for what, suffix in (("midi", "mid"), ("sound", "ogg"), ("roll", "png"))}
            assert all((folder / name).stat().st_size > 100 for name in made.files.values())
            kept = json.loads((folder / f"take-{made.number}.json").read_text())
            assert kept == {"job": 1, "attempt": 1, "number": made.number, "files": made.files, "seconds": made.seconds,
                            "notes": 12, "ids": 36}
            assert made.seconds > 1
    others = [type(event) for event in events if not isinstance(event, Loading | Progress | Made)]
    assert others == [Planned, Rendering, Finished]
    assert {event.number for event in events if isinstance(event, Made)} == {1, 2}
    planned = next(event for event in events if isinstance(event, Planned))
    assert planned.outcome["matched_title"] == "Nocturne in C --- Nobody"
    assert planned.outcome["matched_score"] == 41.0
    assert planned.outcome["attributes"]["forms"] == ["nocturne"]
    assert planned.outcome["notices"] == ["nothing like it was found"]
    assert planned.outcome["forms"] == []
    assert half_written(shared.spool) == []


def test_forms_are_told_in_short_and_kept_whole_beside_the_takes(shared: Talk) -> None:
    shared.send(start_of(17, "planned", bars=512))
    planned = next(event for event in shared.heard(over(17)) if isinstance(event, Planned))
    assert planned.outcome["forms"] == [{"name": "song", "bars": 512, "phrases": letter} for letter in "AB"]
    assert len(to_line(planned)) < 1000
    plans = [json.loads((shared.spool / "17" / f"take-{number}.json").read_text())["plan"] for number in (1, 2)]
    assert [plan["sections"][0]["letter"] for plan in plans] == ["A", "B"]
    assert plans[0]["chords"] == ["C"] * 512


def test_made_takes_are_not_made_again_and_the_others_come_out_the_same(shared: Talk) -> None:
    shared.send(start_of(11, takes=3), start_of(12, takes=3, made=(1, 3), attempt=2))
    events = shared.heard(over(11, 12))
    assert [(event.number, event.attempt) for event in events if isinstance(event, Made) and event.job == 12] == [(2, 2)]
    first, second = ((shared.spool / job / "take-2.mid").read_bytes() for job in ("11", "12"))
    assert first == second
    assert first != (shared.spool / "11" / "take-1.mid").read_bytes()
    last = [event for event in events if isinstance(event, Progress) and event.job == 12][-1]
    assert (last.shares, last.ids) == ((1.0, 1.0, 1.0), 36)


def test_a_job_whose_takes_are_all_made_finishes(shared: Talk) -> None:
    shared.send(start_of(15, made=(1, 2)))
    assert [type(event) for event in shared.heard(over(15))] == [Progress, Planned, Progress, Rendering, Finished]


def test_a_take_without_notes_has_no_files_but_is_made(shared: Talk) -> None:
    shared.send(start_of(16, takes=2, stop_at_end=True))
    made = {event.number: event for event in shared.heard(over(16)) if isinstance(event, Made)}
    assert (made[1].files, made[1].notes, made[1].ids) == ({}, 0, 0)
    assert made[2].notes == 4
    assert (shared.spool / "16" / "take-1.json").exists()


def test_jobs_share_the_batch_and_progress_is_said_at_most_four_times_a_second(shared: Talk) -> None:
    began = time.monotonic()
    shared.send(start_of(21, "slow", tokens=75), start_of(22, "slow", tokens=75, takes=1),
                start_of(23, "slow", engine="other", tokens=36))
    events = shared.heard(over(21, 22, 23))
    took_s = time.monotonic() - began
    jobs = (21, 22, 23)
    progress = [(index, event.job) for index, event in enumerate(events) if isinstance(event, Progress) and 0 < event.ids]
    first_done = next(index for index, event in enumerate(events) if isinstance(event, Rendering))
    begun = {job for index, job in progress if index < first_done}
    assert begun == set(jobs), "one waited for another to end"
    for job in jobs:
        said = sum(one == job for _, one in progress)
        assert 2 < said <= 4 * took_s + 1  # the last one says that all is made


def test_a_cancelled_job_ends_and_the_others_go_on(shared: Talk) -> None:
    shared.send(start_of(31, "slow", tokens=600), start_of(32, "slow", tokens=36))
    shared.heard(lambda event: isinstance(event, Progress) and event.job == 31 and event.ids > 0)
    shared.send(Cancel(31), Cancel(99))
    events = shared.heard(over(32))
    assert [event for event in events if isinstance(event, Cancelled)] == [Cancelled(31)]
    place = events.index(Cancelled(31))
    assert not any(getattr(event, "job", None) == 31 for event in events[place + 1:])
    assert list((shared.spool / "31").iterdir()) == []


def test_a_new_attempt_takes_the_place_of_an_earlier_one(shared: Talk) -> None:
    shared.send(start_of(35, tokens=36), start_of(35, "slow", tokens=60, attempt=2))
    events = [event for event in shared.heard(over(35)) if isinstance(event, Rendering | Made | Finished)]
    assert [event.attempt for event in events] == [2, 2, 2, 2]


REFUSED = {
    "by the engine": (start_of(41, "refused"), "nothing can be made of this"),
    "out of range": (start_of(41, tokens=9000), "tokens must be between"),
    "bars of an engine that plans none": (start_of(41, bars=8), "pocket plans no bars"),
    "not those of a piece": (start_of(41, colour="red"), "not those of a piece"),
    "of the wrong type": (start_of(41, artist=5), "not those of a piece"),
    "another kind": (start_of(41, kind="opera"), "'opera'"),
    "a folder elsewhere": (start_of(41, folder="../41"), "no file of that name"),
}


@pytest.mark.parametrize(("order", "said"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_done_is_refused_in_one_line(shared: Talk, order: Start, said: str) -> None:
    shared.send(order)
    failed = shared.heard(over(41))[-1]
    assert isinstance(failed, Failed)
    assert (failed.failure, failed.attempt) == ("refused", 1)
    assert said in failed.text
    assert "\n" not in failed.text


@pytest.mark.parametrize(("engine", "said"), [
    ("broken", "the model is damaged; fetch it again"), ("exploding", "MemoryError"), ("piano", "no engine 'piano'")])
def test_an_engine_that_cannot_be_loaded_fails_its_jobs_only(shared: Talk, engine: str, said: str) -> None:
    shared.send(start_of(51, engine=engine), start_of(52))
    events = shared.heard(over(51, 52))
    failed = next(event for event in events if isinstance(event, Failed))
    assert (failed.job, failed.failure) == (51, "no_model")
    assert said in failed.text
    assert isinstance(events[-1], Finished)


def test_a_disk_that_cannot_be_written_fails_the_job_only(shared: Talk) -> None:
    (shared.spool / "61").mkdir(parents=True)
    (shared.spool / "61" / "take-1.mid").mkdir()  # in the way of a file
    shared.send(start_of(61), start_of(62))
    events = shared.heard(over(61, 62))
    failed = next(event for event in events if isinstance(event, Failed))
    assert (failed.job, failed.failure) == (61, "rendering")
    assert "cannot be written" in failed.text
    assert not any(getattr(event, "job", None) == 61 for event in events[events.index(failed) + 1:])
    assert Finished(62, 1) in events


def test_a_sound_that_cannot_be_rendered_fails_the_job(tmp_path: Path) -> None:
    worker = Talk(tmp_path, KAPELLE_SOUNDFONT="/nowhere/piano.sf2")
    try:
        worker.send(start_of(1))
        failed = worker.heard(over(1))[-1]
        assert isinstance(failed, Failed)
        assert failed.failure == "rendering"
        assert "no SoundFont" in failed.text
    finally:
        worker.end()


@pytest.mark.parametrize(("title", "kind"), [("unlucky", "KeyError"), ("doomed", "RuntimeError")])
def test_a_crash_is_logged_without_prompts_and_ends_the_process(talk: Talk, title: str, kind: str) -> None:
    talk.send(start_of(1, f"{title} {PROMPT}"))
    events = talk.rest()
    assert talk.ended() == 70
    assert any(isinstance(event, Progress) for event in events)  # so that the bot knows whose fault it may be
    log = talk.log()
    assert kind in log
    assert "small_worker.py" in log
    assert PROMPT not in log


def test_an_order_that_cannot_be_read_is_left_out(talk: Talk) -> None:
    talk.send(b"}\n", b"\xff\xfe\n", b"\n", b"[]\n", f'{{"is": "{PROMPT}"}}\n'.encode(),
              b'{"is": "Ready", "pid": 1, "engines": []}\n', start_of(1, f"{PROMPT} waltz"))
    assert talk.heard(over(1))[-1] == Finished(1, 1)
    talk.send(Stop())
    assert talk.ended() == 0
    log = talk.log()
    assert log.count("cannot be read") == 6
    assert PROMPT not in log


def test_only_messages_are_on_stdout(talk: Talk) -> None:
    talk.send(start_of(1, "noisy"))
    talk.heard(over(1))  # reads every line as a message
    talk.send(Stop())
    assert talk.rest() == []
    log = talk.log()
    assert "a library that prints" in log
    assert "and one that writes" in log


ENDINGS: dict[str, Callable[[Talk], None]] = {
    "the orders end": lambda talk: talk.close(),
    "SIGTERM": lambda talk: talk.process.terminate(),
    "SIGTERM to all": lambda talk: os.killpg(talk.process.pid, signal.SIGTERM),
}


@pytest.mark.parametrize("end", ENDINGS.values(), ids=ENDINGS)
def test_a_worker_ends_between_steps_and_leaves_nothing_half_written(talk: Talk, end: Callable[[Talk], None]) -> None:
    talk.send(start_of(1, takes=6, tokens=120), start_of(2, "slow", tokens=600))
    talk.heard(lambda event: isinstance(event, Rendering))
    end(talk)
    events = talk.rest()
    assert talk.ended() == 0
    assert not any(isinstance(event, Failed) for event in events)
    assert half_written(talk.spool) == []
    for manifest in talk.spool.glob("*/take-*.json"):
        made = json.loads(manifest.read_text())
        assert all((manifest.parent / name).stat().st_size for name in made["files"].values())
    assert list((talk.spool / "2").iterdir()) == []


def test_an_idle_worker_ends_on_sigterm_and_not_on_sigint(talk: Talk) -> None:
    talk.process.send_signal(signal.SIGINT)
    talk.send(start_of(1))
    assert talk.heard(over(1))[-1] == Finished(1, 1)
    talk.process.terminate()
    assert talk.ended() == 0


def test_drafts_of_a_killed_worker_are_swept(talk: Talk) -> None:
    draft = talk.spool / "1" / ".abc.part"
    draft.mkdir(parents=True)
    (draft / "take-1.mid").write_bytes(b"half")
    talk.send(start_of(1))
    talk.heard(over(1))
    assert half_written(talk.spool) == []


def test_ready_names_the_process(tmp_path: Path) -> None:
    worker = Talk(tmp_path)
    try:
        assert worker.heard(lambda event: True) == [Ready(worker.process.pid, ())]
    finally:
        worker.end()
