"""The spool: which takes count as made, and that names lead nowhere else."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from bot.takes.spool import Made, Spool
from models.errors import InputError

MADE = Made(7, 3, 2, {"midi": "take-2.mid", "sound": "take-2.ogg"}, 12.5, 40, 120)


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "data" / "spool")


def put(spool: Spool, made: Made) -> Path:
    folder = spool.open(str(made.job))
    for name in made.files.values():
        (folder / name).write_bytes(name.encode())
    spool.keep(folder, made)
    return folder


async def test_takes_are_found_in_the_order_of_their_numbers(spool: Spool) -> None:
    assert await spool.made(7) == []
    put(spool, MADE)
    put(spool, Made(7, 1, 10, {"midi": "take-10.mid"}, 1.0, 3, 9))
    put(spool, Made(7, 1, 1))
    put(spool, Made(8, 1, 5))
    assert await spool.made(7) == [
        Made(7, 0, 1), Made(7, 0, 2, MADE.files, 12.5, 40, 120), Made(7, 0, 10, {"midi": "take-10.mid"}, 1.0, 3, 9)]


def rewritten(**fields: object) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        manifest = folder / "take-2.json"
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | fields))
    return spoil


SPOILT: dict[str, Callable[[Path], object]] = {
    "a file is missing": lambda folder: (folder / "take-2.ogg").unlink(),
    "a file is empty": lambda folder: (folder / "take-2.ogg").write_bytes(b""),
    "the manifest is cut short": lambda folder: (folder / "take-2.json").write_text('{"job": 7, "numb'),
    "the manifest is empty": lambda folder: (folder / "take-2.json").write_text(""),
    "the manifest is not text": lambda folder: (folder / "take-2.json").write_bytes(b"\xff\xfe"),
    "the manifest is a list": lambda folder: (folder / "take-2.json").write_text("[]"),
    "the manifest is another take's": rewritten(number=3),
    "the manifest is another job's": rewritten(job=8),
    "a file is elsewhere": rewritten(files={"midi": "../7/take-2.mid"}),
    "files are a list": rewritten(files=["take-2.mid"]),
    "seconds are a word": rewritten(seconds="many"),
}


@pytest.mark.parametrize("spoil", SPOILT.values(), ids=SPOILT)
async def test_a_take_that_is_not_whole_counts_as_not_made(spool: Spool, spoil: Callable[[Path], object]) -> None:
    put(spool, Made(7, 1, 1))
    folder = put(spool, MADE)
    assert [made.number for made in await spool.made(7)] == [1, 2]
    spoil(folder)
    assert [made.number for made in await spool.made(7)] == [1]


async def test_files_without_a_manifest_are_no_take(spool: Spool) -> None:
    (put(spool, MADE) / "take-2.json").rename(spool.folder(7) / "copy-of-take-2.json")
    assert await spool.made(7) == []


async def test_files_are_read_by_name(spool: Spool) -> None:
    put(spool, MADE)
    assert await spool.read(7, "take-2.ogg") == b"take-2.ogg"
    with pytest.raises(FileNotFoundError):
        await spool.read(7, "take-3.ogg")
    with pytest.raises(FileNotFoundError):
        await spool.read(8, "take-2.ogg")


@pytest.mark.parametrize("name", [
    "", ".", "..", "../secret", "/etc/passwd", "take-1.mid/..", "a\\b", "a\0b", ".hidden", "take-1.mid\n", "täke.mid",
    "take.tar.gz", "x" * 65])
async def test_names_that_lead_elsewhere_are_refused(spool: Spool, name: str) -> None:
    put(spool, MADE)
    (spool.folder(7).parent / "secret").write_text("secret")
    with pytest.raises(InputError):
        await spool.read(7, name)
    with pytest.raises(InputError):
        spool.open(name)


async def test_a_removed_job_leaves_nothing(spool: Spool) -> None:
    folder = put(spool, MADE)
    put(spool, Made(8, 1, 1))
    (folder / ".abc.part").mkdir()
    (folder.parent / ".removed-6-abcd").mkdir()  # of a bot that was killed while it removed
    await spool.remove(7)
    await spool.remove(7)
    assert [path.name for path in folder.parent.iterdir()] == ["8"]


async def test_a_job_can_be_removed_while_it_is_written(spool: Spool) -> None:
    folder = put(spool, MADE)
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            try:
                (folder / f"file-{number}").write_bytes(b"x")
            except FileNotFoundError:
                return

    writer = threading.Thread(target=write)
    writer.start()
    try:
        await spool.remove(7)
        writer.join(10)
        assert not writer.is_alive()
    finally:
        stop.set()
        writer.join()
    assert not folder.exists()


def test_drafts_are_swept_when_a_job_is_taken_up(spool: Spool) -> None:
    folder = put(spool, MADE)
    (folder / ".abc.part").write_bytes(b"half")
    (folder / ".def.part").mkdir()
    (folder / ".def.part" / "take-1.mid").write_bytes(b"half")
    assert spool.open("7") == folder
    assert sorted(path.name for path in folder.iterdir()) == ["take-2.json", "take-2.mid", "take-2.ogg"]


def test_free_space_is_known_before_the_spool_exists(spool: Spool, tmp_path: Path) -> None:
    assert spool.free_bytes() > 0
    assert list(tmp_path.iterdir()) == []
