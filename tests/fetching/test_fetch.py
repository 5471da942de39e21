"""Fetching from a publisher on loopback that breaks off, lies and moves things."""

from __future__ import annotations

import hashlib
import io
import json
import os
import socket
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from models.checkpoints.local_transformer import load
from models.checkpoints.store import CONFIG, WEIGHTS
from models.engines.la_composer.engine import TITLES
from models.engines.la_composer.titles_database import TitleDatabase
from models.errors import CheckpointError, DownloadError, InputError
from models.fetching.archive import extract, joined
from models.fetching.download import Announced, Patience, download
from models.fetching.fetch import RECORD, WORK, fetch
from models.fetching.sources import SOURCES, GitHubArchive, HubModel, Source
from tests.checkpoints.building import SONGS, write_checkpoint, write_titles
from tests.fetching.publisher import Publisher, publishing

ROOT = Path(__file__).resolve().parents[2]
REPOSITORY = "somebody/something"
AT_ONCE = Patience(attempts=3, pause_s=0.0)
CONTENT = bytes(range(256)) * 4000


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with publishing() as running:
        yield running


def zipped(name: str, content: bytes, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", compression) as archive:
        archive.writestr(name, content)
    return packed.getvalue()


def in_parts(name: str, content: bytes, parts: int, first: int = 1) -> dict[str, bytes]:
    size = -(-len(content) // parts)
    return {f"{name}.{first + part:03d}": content[part * size:(part + 1) * size] for part in range(parts)}


def announced(publisher: Publisher, content: bytes = CONTENT, path: str = "/file") -> Announced:
    publisher.files[path] = content
    return Announced(publisher.address + path, len(content),
                     hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest())


@pytest.fixture
def sources(publisher: Publisher, tmp_path: Path) -> Mapping[str, Source]:
    """`small`, as upstream publishes: parts of zip archives on GitHub."""
    checkpoint = write_checkpoint(tmp_path / "a.pth").read_bytes()
    titles = write_titles(tmp_path / "titles.pickle").read_bytes()
    publisher.put_github(REPOSITORY, "Model", {
        "README.md": b"read me", **in_parts("Model.zip", zipped("content/deep/Model.pth", checkpoint), 12)})
    publisher.put_github(REPOSITORY, "Aux", in_parts("Titles.zip", zipped("Titles.pickle", titles), 1))
    archive = GitHubArchive(REPOSITORY, "Model", "Model.zip", "Model.pth", api=publisher.address, raw=publisher.address)
    return {"small": Source("a test", archive, replace(archive, folder="Aux", name="Titles.zip", member=None))}


def test_a_published_model_is_fetched_joined_unpacked_and_converted(
    publisher: Publisher, sources: Mapping[str, Source], tmp_path: Path,
) -> None:
    seen: list[tuple[int, int]] = []
    folder = fetch("small", tmp_path / "data", lambda done, total: seen.append((done, total)),
                   sources=sources, patience=AT_ONCE)
    assert folder == tmp_path / "data" / "small"
    assert load(folder).network.config.vocabulary == 2831
    assert TitleDatabase.load(folder / TITLES).titles == [title for title, _ in SONGS]
    assert sorted(path.name for path in folder.iterdir()) == sorted([CONFIG, WEIGHTS, TITLES, RECORD])
    record = json.loads((folder / RECORD).read_text())
    joined = b"".join(publisher.files[path] for path in sorted(publisher.files) if "/Model.zip" in path)
    assert record[f"github:{REPOSITORY}/Model/Model.zip"]["sha256"] == hashlib.sha256(joined).hexdigest()
    done = [one for one, _ in seen]
    assert done == sorted(done)
    assert len({total for _, total in seen}) == 1
    assert seen[-1][0] == seen[-1][1] == sum(entry["bytes"] for entry in record.values())


def test_what_is_there_is_not_fetched_again(
    publisher: Publisher, sources: Mapping[str, Source], tmp_path: Path,
) -> None:
    folder = fetch("small", tmp_path, sources=sources, patience=AT_ONCE)
    publisher.asked.clear()
    fetch("small", tmp_path, sources=sources, patience=AT_ONCE)
    assert publisher.asked == []
    (folder / TITLES).unlink()
    fetch("small", tmp_path, sources=sources, patience=AT_ONCE)
    assert [path for path, _ in publisher.asked if "/Model" in path] == []
    assert (folder / TITLES).is_file()


def test_a_fetch_that_failed_goes_on_with_the_parts_that_are_whole(
    publisher: Publisher, sources: Mapping[str, Source], tmp_path: Path,
) -> None:
    fifth = f"/{REPOSITORY}/main/Model/Model.zip.005"
    publisher.breaks_after[fifth] = [700, 0, 0]
    with pytest.raises(DownloadError, match="goes on where it stopped"):
        fetch("small", tmp_path, sources=sources, patience=AT_ONCE)
    assert (tmp_path / "small" / WORK / "Model.zip.005.part").stat().st_size == 700
    publisher.asked.clear()
    fetch("small", tmp_path, sources=sources, patience=AT_ONCE)
    asked = [(path, range_) for path, range_ in publisher.asked if "Model.zip" in path]
    assert asked[0] == (f"GET {fifth}", "bytes=700-")
    assert len(asked) == 8
    assert load(tmp_path / "small").network.config.depth == 2


def test_an_archive_that_became_another_one_is_refused(
    publisher: Publisher, sources: Mapping[str, Source], tmp_path: Path,
) -> None:
    folder = fetch("small", tmp_path, sources=sources, patience=AT_ONCE)
    (folder / TITLES).unlink()
    other = write_titles(tmp_path / "other.pickle", [["Another --- One", [1, 200, 1300]]]).read_bytes()
    publisher.put_github(REPOSITORY, "Aux", in_parts("Titles.zip", zipped("Titles.pickle", other), 1))
    with pytest.raises(DownloadError, match="at the last download"):
        fetch("small", tmp_path, sources=sources, patience=AT_ONCE)
    assert not (folder / TITLES).exists()
    (folder / RECORD).unlink()
    fetch("small", tmp_path, sources=sources, patience=AT_ONCE)
    assert TitleDatabase.load(folder / TITLES).titles == ["Another --- One"]


def test_a_pinned_checksum_is_held_against_the_first_download(sources: Mapping[str, Source], tmp_path: Path) -> None:
    source = sources["small"]
    assert isinstance(source.titles, GitHubArchive)
    pinned = {"small": replace(source, titles=replace(source.titles, sha256="0" * 64))}
    with pytest.raises(DownloadError, match="the pinned one"):
        fetch("small", tmp_path, sources=pinned, patience=AT_ONCE)


@pytest.mark.parametrize("missing", ["Model.zip.001", "Model.zip.004"])
def test_a_list_without_one_of_the_parts_is_refused(
    publisher: Publisher, sources: Mapping[str, Source], tmp_path: Path, missing: str,
) -> None:
    listing = publisher.listings[f"/repos/{REPOSITORY}/contents/Model"]
    if missing == "Model.zip.001":
        listing.remove(f"/{REPOSITORY}/main/Model/Model.zip.002")
    else:
        listing.remove(f"/{REPOSITORY}/main/Model/{missing}")
    with pytest.raises(DownloadError, match="some of the parts"):
        fetch("small", tmp_path, sources=sources, patience=AT_ONCE)


def test_moved_things_say_where_to_look(
    publisher: Publisher, sources: Mapping[str, Source], tmp_path: Path,
) -> None:
    publisher.listings[f"/repos/{REPOSITORY}/contents/Model"] = []
    with pytest.raises(DownloadError, match=r"sources\.py"):
        fetch("small", tmp_path, sources=sources, patience=AT_ONCE)
    del publisher.listings[f"/repos/{REPOSITORY}/contents/Model"]
    with pytest.raises(DownloadError, match=r"404.*sources\.py"):
        fetch("small", tmp_path, sources=sources, patience=AT_ONCE)


def test_a_published_file_that_is_no_checkpoint_is_refused(
    publisher: Publisher, sources: Mapping[str, Source], tmp_path: Path,
) -> None:
    publisher.put_github(REPOSITORY, "Model", {"Model.zip": zipped("Model.pth", b"no model at all")})
    with pytest.raises(CheckpointError):
        fetch("small", tmp_path, sources=sources, patience=AT_ONCE)
    assert not (tmp_path / "small" / CONFIG).exists()


def test_unknown_names_are_answered_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="la-composer, la-composer-small"):
        fetch("pocket", tmp_path)


def test_a_folder_that_cannot_be_written_is_an_error(sources: Mapping[str, Source], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DownloadError, match="cannot be written"):
        fetch("small", tmp_path / "file", sources=sources, patience=AT_ONCE)


# ---- one file


def test_a_broken_connection_is_continued(publisher: Publisher, tmp_path: Path) -> None:
    file = announced(publisher)
    publisher.breaks_after["/file"] = [300_000, 400_000]
    seen: list[int] = []
    download(file, tmp_path / "file", seen.append, AT_ONCE)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert [range_ for _, range_ in publisher.asked] == [None, "bytes=300000-", "bytes=700000-"]
    assert seen == sorted(seen)
    assert seen[-1] == len(CONTENT)
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_a_server_that_cannot_continue_is_asked_for_all_of_it(publisher: Publisher, tmp_path: Path) -> None:
    file = announced(publisher)
    publisher.ranges = False
    publisher.breaks_after["/file"] = [300_000]
    download(file, tmp_path / "file", patience=AT_ONCE)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert len(publisher.asked) == 2


def test_a_part_of_another_file_is_not_taken_for_the_beginning(publisher: Publisher, tmp_path: Path) -> None:
    file = announced(publisher)
    (tmp_path / "file.part").write_bytes(b"x" * 1000)
    download(file, tmp_path / "file", patience=AT_ONCE)
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_file_that_is_whole_is_not_asked_for(publisher: Publisher, tmp_path: Path) -> None:
    file = announced(publisher)
    (tmp_path / "file").write_bytes(CONTENT)
    download(file, tmp_path / "file", patience=AT_ONCE)
    assert publisher.asked == []


@pytest.mark.parametrize("content", [b"x" * len(CONTENT), CONTENT + b"more", CONTENT[:-1]])
def test_another_content_than_announced_is_refused(publisher: Publisher, tmp_path: Path, content: bytes) -> None:
    file = announced(publisher)
    publisher.files["/file"] = content
    with pytest.raises(DownloadError):
        download(file, tmp_path / "file", patience=AT_ONCE)
    assert not (tmp_path / "file").exists()


def test_an_endless_answer_is_cut_off(publisher: Publisher, tmp_path: Path) -> None:
    file = replace(announced(publisher, bytes(64 << 20)), bytes=1000)
    with pytest.raises(DownloadError):
        download(file, tmp_path / "file", patience=Patience(1, 0.0))
    assert not list(tmp_path.iterdir())
    assert publisher.sent < 32 << 20  # what is under way when the connection is closed


def test_a_busy_server_is_asked_again(publisher: Publisher, tmp_path: Path) -> None:
    file = announced(publisher)
    publisher.answers["/file"] = [503, 429]
    download(file, tmp_path / "file", patience=AT_ONCE)
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_file_that_is_gone_is_not_asked_for_again(publisher: Publisher, tmp_path: Path) -> None:
    file = announced(publisher)
    del publisher.files["/file"]
    with pytest.raises(DownloadError, match="404"):
        download(file, tmp_path / "file", patience=AT_ONCE)
    assert len(publisher.asked) == 1


def test_without_a_network_the_message_says_what_to_do(tmp_path: Path) -> None:
    with socket.socket() as taken:  # bound, but not listening: nobody answers there
        taken.bind(("127.0.0.1", 0))
        file = Announced(f"http://127.0.0.1:{taken.getsockname()[1]}/file", 5, "0" * 40)
        with pytest.raises(DownloadError, match="check the network connection") as caught:
            download(file, tmp_path / "file", patience=AT_ONCE)
    assert "\n" not in str(caught.value)


# ---- archives


def test_joined_parts_are_one_file(tmp_path: Path) -> None:
    paths = []
    for number, content in enumerate((b"abc", b"", b"defgh", b"i")):
        paths.append(tmp_path / str(number))
        paths[-1].write_bytes(content)
    with joined(paths) as whole:
        assert whole.read() == b"abcdefghi"
        assert whole.read(1) == b""
        assert whole.seek(-7, io.SEEK_END) == 2
        assert whole.read(4) == b"cdef"
        assert whole.tell() == 6
        assert whole.read(100) == b"ghi"


@pytest.mark.parametrize("name", ["../../escaped", "/tmp/absolute-escape", "a\\..\\b", "C:evil"])
def test_names_in_an_archive_lead_nowhere(tmp_path: Path, name: str) -> None:
    archive = tmp_path / "in" / "a.zip"
    archive.parent.mkdir()
    archive.write_bytes(zipped(name, b"content"))
    (tmp_path / "out").mkdir()
    extract([archive], None, tmp_path / "out" / "target", 100)
    assert (tmp_path / "out" / "target").read_bytes() == b"content"
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["a.zip", "target"]


def test_a_member_that_is_too_large_is_refused_unseen(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(zipped("bomb", bytes(10_000_000)))
    with pytest.raises(DownloadError, match="at most 1,000,000"):
        extract([tmp_path / "a.zip"], None, tmp_path / "target", 1_000_000)
    assert not (tmp_path / "target").exists()


def test_a_member_that_unpacks_to_more_than_it_says_is_refused(tmp_path: Path) -> None:
    content = bytes(1_000_000)
    packed = zipped("bomb", content)
    assert packed.count(len(content).to_bytes(4, "little")) == 2
    (tmp_path / "a.zip").write_bytes(packed.replace(len(content).to_bytes(4, "little"), (5000).to_bytes(4, "little")))
    with pytest.raises(DownloadError):
        extract([tmp_path / "a.zip"], None, tmp_path / "target", 1_000_000)
    assert (tmp_path / "target").stat().st_size <= 5000


@pytest.mark.parametrize("content", [b"", b"no archive", zipped("a", CONTENT)[:-30], zipped("other.txt", b"")])
def test_what_is_no_archive_or_lacks_the_member_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(DownloadError):
        extract([tmp_path / "a.zip"], "model.pth", tmp_path / "target", 10**6)


def test_a_damaged_member_is_refused(tmp_path: Path) -> None:
    packed = bytearray(zipped("model.pth", CONTENT, zipfile.ZIP_STORED))
    packed[5000] ^= 1
    (tmp_path / "a.zip").write_bytes(packed)
    with pytest.raises(DownloadError, match="CRC"):
        extract([tmp_path / "a.zip"], "model.pth", tmp_path / "target", 10**7)


# ---- the hub, whose library reads HF_ENDPOINT when it is imported

FETCH = """
import sys
from pathlib import Path
from models.fetching.download import Patience
from models.fetching.fetch import fetch
from models.fetching.sources import GitHubArchive, HubFile, Source
from models.errors import KapelleError
data, address = sys.argv[1:]
titles = GitHubArchive("somebody/something", "Aux", "Titles.zip", api=address, raw=address)
source = Source("a test", HubFile("somebody/something", "model.pth"), titles)
try:
    fetch("small", Path(data), print, sources={"small": source}, patience=Patience(2, 0))
except KapelleError as error:
    print(type(error).__name__, error)
"""


def fetch_from_hub(address: str, data: Path) -> list[str]:
    environment = {**os.environ, "HF_ENDPOINT": address, "HF_HOME": str(data / "home"), "HF_HUB_DISABLE_TELEMETRY": "1"}
    done = subprocess.run([sys.executable, "-c", FETCH, str(data), address], cwd=ROOT, env=environment,
                          capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_checkpoint_is_fetched_from_the_hub(
    publisher: Publisher, sources: Mapping[str, Source], tmp_path: Path,
) -> None:
    publisher.put_hub(REPOSITORY, "model.pth", (tmp_path / "a.pth").read_bytes())
    publisher.breaks_after[f"/{REPOSITORY}/resolve/main/model.pth"] = [5000]
    lines = fetch_from_hub(publisher.address, tmp_path / "data")
    folder = tmp_path / "data" / "small"
    assert load(folder).network.config.width == 12, lines
    record = json.loads((folder / RECORD).read_text())
    sha256 = hashlib.sha256((tmp_path / "a.pth").read_bytes()).hexdigest()
    assert record[f"hub:{REPOSITORY}/model.pth"]["sha256"] == sha256
    done, total = (int(number) for number in lines[-1].split())
    assert done == total
    asked = [path for path, _ in publisher.asked if path == f"GET /{REPOSITORY}/resolve/main/model.pth"]
    assert len(asked) == 2  # the library came back after the broken connection


def test_a_file_the_hub_does_not_have_is_named(
    publisher: Publisher, sources: Mapping[str, Source], tmp_path: Path,
) -> None:
    lines = fetch_from_hub(publisher.address, tmp_path / "data")
    assert lines[-1].startswith("DownloadError hub:somebody/something/model.pth is not there")


def test_the_table_names_a_network_and_titles_for_each_model() -> None:
    for name, source in SOURCES.items():
        if isinstance(source, HubModel):
            continue
        assert name.startswith("la-composer")
        assert source.checkpoint.name.endswith((".pth", ".zip"))
        assert source.titles.name.endswith(".zip")
