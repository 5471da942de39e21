"""Fetching whole models from a hub on loopback: which files, in which order, and what is refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from models.errors import DownloadError
from models.fetching.download import Patience
from models.fetching.fetch import RECORD, WORK, Ahead, fetch
from models.fetching.hub import CONFIG, PARTS, WEIGHTS, weights_in
from models.fetching.sources import SOURCES, HubModel
from tests.fetching.publisher import COMMIT, Publisher, publishing

REPOSITORY = "somebody/musicgen-tiny"
AT_ONCE = Patience(attempts=2, pause_s=0.0)
SOURCE = {"tiny": HubModel("a test", REPOSITORY, "CC-BY-NC-4.0")}
SMALL = {
    CONFIG: b'{"model_type": "musicgen"}', "generation_config.json": b"{}", "preprocessor_config.json": b'{"a": 1}',
    "tokenizer.json": b'{"b": 2}', "tokenizer_config.json": b'{"c": 3}', "special_tokens_map.json": b'{"d": 4}',
    "spiece.model": bytes(range(200)),
}  # fmt: skip
OTHERS = {
    "README.md": b"read me", ".gitattributes": b"x", "pytorch_model.bin": b"pickle", "state_dict.bin": b"pickle",
    "compression_state_dict.bin": b"pickle", "flax_model.msgpack": b"no", "assets/sample.wav": b"no",
}  # fmt: skip
WHOLE = bytes(range(251)) * 3000
PIECES = {f"model-0000{number}-of-00003.safetensors": bytes([number]) * (100_000 + number) for number in (1, 2, 3)}
INDEX = json.dumps({"metadata": {}, "weight_map": {
    "a.weight": "model-00001-of-00003.safetensors", "b.weight": "model-00003-of-00003.safetensors",
    "c.weight": "model-00002-of-00003.safetensors", "d.weight": "model-00001-of-00003.safetensors"}}).encode()


class Hub(NamedTuple):
    publisher: Publisher
    data: Path

    def put(self, *collections: Mapping[str, bytes]) -> None:
        for files in collections:
            for name, content in files.items():
                self.publisher.put_hub(REPOSITORY, name, content)

    def fetch(self, seen: list[tuple[int, int]] | None = None, told: list[Ahead] | None = None) -> Path:
        seen, told = seen if seen is not None else [], told if told is not None else []
        return fetch("tiny", self.data, lambda done, total: seen.append((done, total)), ahead=told.append,
                     sources=SOURCE, patience=AT_ONCE)

    @property
    def asked(self) -> list[str]:
        """Names of the files that were asked for, in order."""
        return [path.rsplit("/", 1)[-1] for path, _ in self.publisher.asked if path.startswith("GET") and "/resolve/" in path]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    import huggingface_hub.constants
    with publishing() as running:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", running.address)
        monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE",
                            running.address + "/{repo_id}/resolve/{revision}/{filename}")
        monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
        yield Hub(running, tmp_path / "data")


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_model_is_fetched_with_what_belongs_to_it_and_nothing_else(hub: Hub) -> None:
    hub.put(OTHERS, SMALL, {WEIGHTS: WHOLE})
    seen: list[tuple[int, int]] = []
    folder = hub.fetch(seen)
    assert folder == hub.data / "tiny"
    assert names(folder) == {*SMALL, WEIGHTS, RECORD}
    for name, content in {**SMALL, WEIGHTS: WHOLE}.items():
        assert (folder / name).read_bytes() == content
    assert weights_in(folder) == [folder / WEIGHTS]
    record = json.loads((folder / RECORD).read_text())
    assert record[f"hub:{REPOSITORY}/{WEIGHTS}"] == {"sha256": hashlib.sha256(WHOLE).hexdigest(), "bytes": len(WHOLE)}
    assert record[f"hub:{REPOSITORY}/{CONFIG}"]["sha256"] == hashlib.sha256(SMALL[CONFIG]).hexdigest()
    done = [one for one, _ in seen]
    assert done == sorted(done)
    assert {total for _, total in seen} == {done[-1]} == {sum(map(len, SMALL.values())) + len(WHOLE)}


def test_everything_comes_from_one_commit_and_the_configuration_last(hub: Hub) -> None:
    hub.put(SMALL, {WEIGHTS: WHOLE})
    hub.fetch()
    assert all(f"/resolve/{COMMIT}/" in path for path, _ in hub.publisher.asked if "/resolve/" in path)
    assert hub.asked[0] == WEIGHTS
    assert hub.asked[-1] == CONFIG


def test_weights_in_parts_follow_their_index(hub: Hub) -> None:
    hub.put(OTHERS, SMALL, PIECES, {PARTS: INDEX, "model-00004-of-00003.safetensors": b"not in the index"})
    folder = hub.fetch()
    assert names(folder) == {*SMALL, *PIECES, PARTS, RECORD}
    assert weights_in(folder) == [folder / name for name in sorted(PIECES)]


def test_weights_that_lie_there_whole_and_in_parts_are_fetched_once(hub: Hub) -> None:
    hub.put(SMALL, PIECES, {PARTS: INDEX, WEIGHTS: WHOLE})
    assert names(hub.fetch()) == {*SMALL, WEIGHTS, RECORD}


def test_a_model_without_the_optional_files_is_fetched(hub: Hub) -> None:
    hub.put({CONFIG: SMALL[CONFIG], "spiece.model": SMALL["spiece.model"], WEIGHTS: WHOLE})
    assert names(hub.fetch()) == {CONFIG, "spiece.model", WEIGHTS, RECORD}


def test_size_and_licence_are_told_before_anything_comes(hub: Hub) -> None:
    hub.put(OTHERS, SMALL, {WEIGHTS: WHOLE})
    asked_before: list[list[str]] = []

    def ahead(coming: Ahead) -> None:
        asked_before.append(hub.asked)
        assert coming == Ahead("tiny", sum(map(len, SMALL.values())) + len(WHOLE), f"hub:{REPOSITORY}", "CC-BY-NC-4.0")

    fetch("tiny", hub.data, ahead=ahead, sources=SOURCE, patience=AT_ONCE)
    assert asked_before == [[]]


def test_a_fetch_that_broke_off_goes_on_in_the_middle_of_a_file(hub: Hub) -> None:
    hub.put(SMALL, PIECES, {PARTS: INDEX})
    second = "model-00002-of-00003.safetensors"
    hub.publisher.breaks_after[f"/{REPOSITORY}/resolve/{COMMIT}/{second}"] = [60_000, 5000]
    with pytest.raises(DownloadError, match="goes on where it stopped"):
        hub.fetch()
    assert not (hub.data / "tiny" / CONFIG).exists()
    assert weights_in(hub.data / "tiny") == []
    assert (hub.data / "tiny" / WORK / f"{second}.part").stat().st_size == 65_000
    hub.publisher.asked.clear()
    told: list[Ahead] = []
    seen: list[tuple[int, int]] = []
    folder = hub.fetch(seen, told)
    assert names(folder) == {*SMALL, *PIECES, PARTS, RECORD}
    assert (folder / second).read_bytes() == PIECES[second]
    assert "model-00001-of-00003.safetensors" not in hub.asked
    ranges = [range_ for path, range_ in hub.publisher.asked if path.endswith(second) and path.startswith("GET")]
    assert ranges == ["bytes=65000-"]
    assert seen[-1] == (told[0].bytes, told[0].bytes)


def test_what_is_there_is_not_fetched_again_and_the_network_not_asked(hub: Hub) -> None:
    hub.put(SMALL, PIECES, {PARTS: INDEX})
    folder = hub.fetch()
    hub.publisher.asked.clear()
    told: list[Ahead] = []
    assert hub.fetch(told=told) == folder
    assert hub.publisher.asked == []
    assert told == []
    (folder / "model-00003-of-00003.safetensors").unlink()
    assert weights_in(folder) == []
    hub.fetch()
    assert hub.asked == [PARTS, "model-00003-of-00003.safetensors"]  # the index to know what there is to be


def test_a_file_that_arrives_damaged_is_not_used(hub: Hub) -> None:
    hub.put(SMALL, {WEIGHTS: WHOLE})
    for revision in ("main", COMMIT):
        hub.publisher.files[f"/{REPOSITORY}/resolve/{revision}/{WEIGHTS}"] = WHOLE[:-1] + b"x"
    with pytest.raises(DownloadError, match="not what was announced"):
        hub.fetch()
    assert not (hub.data / "tiny" / WEIGHTS).exists()


def test_a_file_that_became_another_one_is_refused(hub: Hub) -> None:
    hub.put(SMALL, {WEIGHTS: WHOLE})
    folder = hub.fetch()
    (folder / WEIGHTS).unlink()
    hub.put({WEIGHTS: b"other" * 1000})
    with pytest.raises(DownloadError, match="at the last download"):
        hub.fetch()
    assert weights_in(folder) == []


@pytest.mark.parametrize(("missing", "said"), [
    ({CONFIG}, "no config.json"), ({WEIGHTS}, "weights in pickles are not fetched"),
    ({"tokenizer.json", "spiece.model"}, "no tokenizer")])
def test_a_repository_without_what_makes_a_model_is_refused(hub: Hub, missing: set[str], said: str) -> None:
    files = {**OTHERS, **SMALL, WEIGHTS: WHOLE}
    hub.put({name: content for name, content in files.items() if name not in missing})
    with pytest.raises(DownloadError, match=said):
        hub.fetch()
    assert hub.asked == []


@pytest.mark.parametrize("index", [
    b"no json", b"[]", b"{}", b'{"weight_map": {}}', b'{"weight_map": {"a": 3}}', b'{"weight_map": {"a": ["x"]}}',
    b'{"weight_map": {"a": "../../evil.safetensors"}}', b'{"weight_map": {"a": "pytorch_model.bin"}}',
    b'{"weight_map": {"a": "model-00009-of-00009.safetensors"}}'])
def test_an_index_that_is_none_or_names_other_files_is_refused(hub: Hub, index: bytes) -> None:
    hub.put(OTHERS, SMALL, PIECES, {PARTS: index})
    with pytest.raises(DownloadError) as caught:
        hub.fetch()
    assert len(str(caught.value).splitlines()) == 1
    assert [path.name for path in hub.data.rglob("*") if path.is_file()] == []


def test_a_repository_that_is_not_there_is_named(hub: Hub) -> None:
    with pytest.raises(DownloadError, match=rf"hub:{REPOSITORY} is not there.*sources\.py"):
        hub.fetch()


def test_a_disk_without_room_is_noticed_before_the_download(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.put(SMALL, {WEIGHTS: WHOLE})
    monkeypatch.setattr("models.fetching.fetch._SPARE_BYTES", 1 << 60)  # as if the disk were full
    with pytest.raises(DownloadError, match=r"GB left and .* GB are needed"):
        hub.fetch()
    assert hub.asked == []


def test_a_token_is_shown_to_the_hub_and_to_nobody_it_sends_us_to(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    import http.server
    import threading

    import huggingface_hub.constants
    seen: list[tuple[str, str | None]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            seen.append((self.path, self.headers.get("Authorization")))
            if self.path.startswith("/elsewhere"):
                self.send_response(200)
                self.send_header("Content-Length", "4")
                self.end_headers()
                self.wfile.write(b"data")
            else:
                self.send_response(302)
                self.send_header("Location", "/elsewhere")
                self.end_headers()

    from models.fetching.download import Announced, download
    assert huggingface_hub.get_token() is None
    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        hub.data.mkdir()
        file = Announced(f"http://127.0.0.1:{server.server_address[1]}/file", 4, token="secret",
                         sha256=hashlib.sha256(b"data").hexdigest())
        download(file, hub.data / "file", patience=AT_ONCE)
    finally:
        server.shutdown()
        server.server_close()
    assert seen == [("/file", "Bearer secret"), ("/elsewhere", None)]
    assert "secret" not in repr(file)


def test_the_table_has_all_ten_models_with_their_licence() -> None:
    models = {name: source for name, source in SOURCES.items() if isinstance(source, HubModel)}
    assert set(models) == {f"musicgen-{kind}" for kind in (
        "small", "medium", "large", "melody", "melody-large", "stereo-small", "stereo-medium", "stereo-large",
        "stereo-melody", "stereo-melody-large")}
    for name, model in models.items():
        assert model.repository == f"facebook/{name}"
        assert model.licence == "CC-BY-NC-4.0"
        assert model.licence in model.about
