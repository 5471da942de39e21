"""Fetching a published model: download, compare, unpack, convert; then it is ready to be loaded."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.checkpoints.archive import extract, joined
from models.checkpoints.download import PATIENT, Announced, Patience, download, fetch_json
from models.checkpoints.local_transformer import convert
from models.checkpoints.sources import SOURCES, GitHubArchive, HubFile, Source
from models.checkpoints.store import CONFIG
from models.checkpoints.upstream import sha256_of
from models.errors import DownloadError, InputError
from models.la_composer.engine import TITLES
from models.la_composer.titles_database import convert_titles

RECORD = "downloads.json"  # what was fetched from where, with checksums
WORK = "download"  # in the model's folder while it is being fetched
_ADVICE = "check the network connection and run the same command again, it goes on where it stopped"
Progress = Callable[[int, int], None]  # bytes done, bytes in all


@dataclass(frozen=True)
class _Parts:
    """An archive's parts as GitHub lists them."""

    archive: GitHubArchive
    files: tuple[Announced, ...]

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)

    @property
    def origin(self) -> str:
        return f"github:{self.archive.repository}/{self.archive.folder}/{self.archive.name}"

    def fetch(self, work: Path, progress: Callable[[int], None], patience: Patience) -> tuple[list[Path], str]:
        paths, done = [], 0
        for file in self.files:
            path = work / file.url.rsplit("/", 1)[-1]
            before = done
            download(file, path, lambda here, before=before: progress(before + here), patience)  # type: ignore[misc]
            paths.append(path)
            done += file.bytes
        with joined(paths) as whole:
            return paths, hashlib.file_digest(whole, "sha256").hexdigest()


@dataclass(frozen=True)
class _Hub:
    """A file as the hub announces it."""

    file: HubFile
    bytes: int
    sha256: str | None  # of large files

    @property
    def origin(self) -> str:
        return f"hub:{self.file.repository}/{self.file.name}"

    def fetch(self, work: Path, progress: Callable[[int], None], patience: Patience) -> tuple[list[Path], str]:
        from huggingface_hub import hf_hub_download

        with _hub_errors(self.file):
            path = Path(hf_hub_download(
                self.file.repository, self.file.name, revision=self.file.revision, local_dir=work,
                tqdm_class=_bar(progress)))
        sha256 = sha256_of(path)
        if self.sha256 and sha256 != self.sha256:
            path.unlink()
            raise DownloadError(f"{self.origin} arrived damaged; run the same command again")
        progress(self.bytes)
        return [path], sha256


def fetch(
    name: str, data: Path, progress: Progress = lambda _done, _all: None, *,
    sources: Mapping[str, Source] = SOURCES, patience: Patience = PATIENT,
) -> Path:
    """Fetch the model `name` into a folder of `data`, ready to be loaded; returns that folder.

    What is there already is not fetched again. A download that broke off is continued by the next
    call. Checksums are remembered in `downloads.json`; a file that has become another one is refused.

    Raises InputError for an unknown name, DownloadError, and CheckpointError when what was published
    is no such model.
    """
    if name not in sources:
        raise InputError(f"there is no published model {name!r}; there are {', '.join(sources)}")
    source, folder = sources[name], data / name
    work = folder / WORK
    steps: list[tuple[HubFile | GitHubArchive, Callable[[Path, str], object]]] = []
    if not (folder / CONFIG).is_file():
        steps.append((source.checkpoint, lambda path, origin: convert(path, folder, origin=origin)))
    if not (folder / TITLES).is_file():
        steps.append((source.titles, lambda path, _: convert_titles(path, folder / TITLES)))
    try:
        work.mkdir(parents=True, exist_ok=True)
        announced = [_announced(location, patience) for location, _ in steps]
        total, done = sum(one.bytes for one in announced), 0
        for one, (_, finish) in zip(announced, steps, strict=True):
            before = done
            paths, sha256 = one.fetch(work, lambda here, before=before: progress(before + here, total), patience)  # type: ignore[misc]
            _remember(folder, one, sha256)
            if isinstance(one, _Parts):
                unpacked = work / "unpacked"
                extract(paths, one.archive.member, unpacked, one.archive.largest)
                paths.append(unpacked)
            finish(paths[-1], one.origin)
            for path in paths:
                path.unlink()
            done += one.bytes
        shutil.rmtree(work)
    except OSError as error:
        raise DownloadError(f"{folder} cannot be written: {error.strerror or error}") from error
    return folder


def _announced(location: HubFile | GitHubArchive, patience: Patience) -> _Parts | _Hub:
    return _listed(location, patience) if isinstance(location, GitHubArchive) else _on_hub(location)


def _listed(archive: GitHubArchive, patience: Patience) -> _Parts:
    """The parts of an archive, in order, by GitHub's list of its folder."""
    address = f"{archive.api}/repos/{archive.repository}/contents/{archive.folder}?ref={archive.revision}"
    listing = fetch_json(address, patience)
    pattern = re.compile(re.escape(archive.name) + r"(?:\.(\d{1,4}))?")
    numbered: dict[int, Announced] = {}
    for entry in listing if isinstance(listing, list) else ():
        match entry:
            case {"name": str() as name, "size": int() as size, "sha": str() as sha1}:
                if found := pattern.fullmatch(name):
                    url = f"{archive.raw}/{archive.repository}/{archive.revision}/{archive.folder}/{name}"
                    numbered[int(found[1] or 0)] = Announced(url, size, sha1)
    if not numbered:
        raise DownloadError(f"{address} lists no {archive.name}; if it has moved, say where it is now "
                            "in models/checkpoints/sources.py")
    numbers = sorted(numbered)
    if numbers != list(range(numbers[0], numbers[0] + len(numbers))) or numbers[0] > 1:
        raise DownloadError(f"{address} lists only some of the parts of {archive.name}; try again later")
    parts = _Parts(archive, tuple(numbered[number] for number in numbers))
    if parts.bytes > archive.largest:
        raise DownloadError(f"{archive.name} has {parts.bytes:,} bytes; at most {archive.largest:,} are taken")
    return parts


def _on_hub(file: HubFile) -> _Hub:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    with _hub_errors(file):
        metadata = get_hf_file_metadata(hf_hub_url(file.repository, file.name, revision=file.revision))
    large = metadata.etag if metadata.etag and re.fullmatch("[0-9a-f]{64}", metadata.etag) else None
    return _Hub(file, metadata.size or 0, large)


@contextmanager
def _hub_errors(file: HubFile) -> Iterator[None]:
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError, RepositoryNotFoundError

    where = f"hub:{file.repository}/{file.name}"
    try:
        yield
    except LocalEntryNotFoundError as error:  # the library's way to say that the hub did not answer
        raise DownloadError(f"{where} could not be fetched; {_ADVICE}") from error
    except (EntryNotFoundError, RepositoryNotFoundError) as error:
        raise DownloadError(f"{where} is not there; if it has moved, say where it is now "
                            "in models/checkpoints/sources.py") from error
    except Exception as error:  # the library hands on what its HTTP client raises, which is not always the same client
        said = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise DownloadError(f"{where} could not be fetched ({said}); {_ADVICE}") from error


def _bar(progress: Callable[[int], None]) -> type[Any]:
    """A progress bar class, as the hub's library wants one, that draws nothing and tells `progress`."""
    from huggingface_hub.utils.tqdm import tqdm

    class Bar(tqdm):
        def __init__(self, *words: Any, **named: Any) -> None:
            named.pop("name", None)
            self._here = int(named.get("initial") or 0)
            super().__init__(*words, **{**named, "disable": True})  # type: ignore[no-untyped-call]

        def update(self, n: float | None = 1) -> bool | None:
            self._here += int(n or 0)
            progress(self._here)
            return None

    return Bar


def _remember(folder: Path, fetched: _Parts | _Hub, sha256: str) -> None:
    """Record a checksum, or compare with the recorded or pinned one. Raises DownloadError when it differs."""
    pinned = (fetched.archive if isinstance(fetched, _Parts) else fetched.file).sha256
    path = folder / RECORD
    record: dict[str, Any] = {}
    if path.is_file():
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            known = {origin: str(entry["sha256"]) for origin, entry in record.items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DownloadError(f"{path} is damaged; remove it to fetch anew") from error
    else:
        known = {}
    expected = pinned or known.get(fetched.origin)
    if expected and expected != sha256:
        raise DownloadError(
            f"{fetched.origin} is another file than {'the pinned one' if pinned else 'at the last download'} "
            f"(sha256 {sha256[:12]}..., expected {expected[:12]}...); if its author replaced it, "
            + ("change models/checkpoints/sources.py" if pinned else f"remove {path}") + " and fetch again")
    record[fetched.origin] = {"sha256": sha256, "bytes": fetched.bytes}
    draft = path.with_name(f".{RECORD}.part")
    draft.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    draft.replace(path)
