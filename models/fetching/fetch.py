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

from models.checkpoints.local_transformer import convert
from models.checkpoints.store import CONFIG
from models.checkpoints.upstream import sha256_of
from models.engines.la_composer.engine import TITLES
from models.engines.la_composer.titles_database import convert_titles
from models.errors import DownloadError, InputError
from models.fetching.archive import extract, joined
from models.fetching.download import PATIENT, TIMEOUT_S, Announced, Patience, download, fetch_json
from models.fetching.hub import PARTS, parts, wanted, weights_in
from models.fetching.sources import SOURCES, GitHubArchive, HubFile, HubModel, Source

RECORD = "downloads.json"  # what was fetched from where, with checksums
WORK = "download"  # in the model's folder while it is being fetched
_ADVICE = "check the network connection and run the same command again, it goes on where it stopped"
_SPARE_BYTES = 100 << 20  # that a disk keeps beside a download
Progress = Callable[[int, int], None]  # bytes done, bytes in all


@dataclass(frozen=True)
class Ahead:
    """What is about to be fetched."""

    name: str
    bytes: int
    origin: str
    licence: str = ""  # where using the model is bound to something


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
    announced: Announced

    @property
    def bytes(self) -> int:
        return self.announced.bytes

    @property
    def origin(self) -> str:
        return f"hub:{self.file.repository}/{self.file.name}"

    def fetch(self, work: Path, progress: Callable[[int], None], patience: Patience) -> tuple[list[Path], str]:
        # Not by the hub's library: it begins anew where a download broke off.
        path = work / self.file.name
        download(self.announced, path, progress, patience)
        return [path], self.announced.sha256 or sha256_of(path)


_Fetched = _Parts | _Hub
_Step = tuple[_Fetched, Callable[[Path, str], object]]  # and what makes of it what is loaded


def fetch(
    name: str, data: Path, progress: Progress = lambda _done, _all: None, *,
    ahead: Callable[[Ahead], None] = lambda _: None,
    sources: Mapping[str, Source | HubModel] = SOURCES, patience: Patience = PATIENT,
) -> Path:
    """Fetch the model `name` into a folder of `data`, ready to be loaded; returns that folder.

    What is there already is not fetched again. A download that broke off is continued by the next
    call. Checksums are remembered in `downloads.json`; a file that has become another one is refused.
    `ahead` is told what is coming before it comes.

    Raises InputError for an unknown name, DownloadError, and CheckpointError when what was published
    is no such model.
    """
    if name not in sources:
        raise InputError(f"there is no published model {name!r}; there are {', '.join(sources)}")
    source, folder = sources[name], data / name
    work = folder / WORK
    try:
        work.mkdir(parents=True, exist_ok=True)
        if isinstance(source, HubModel):
            steps = _of_repository(source, folder, patience)
        else:
            steps = _of_files(source, folder, patience)
        total, done = sum(one.bytes for one, _ in steps), 0
        if steps:
            ahead(_ahead(name, source, total))
            _require_space(work, total)
        for one, finish in steps:
            before = done
            paths, sha256 = one.fetch(work, lambda here, before=before: progress(before + here, total), patience)  # type: ignore[misc]
            _remember(folder, one, sha256)
            if isinstance(one, _Parts):
                unpacked = work / "unpacked"
                extract(paths, one.archive.member, unpacked, one.archive.largest)
                paths.append(unpacked)
            finish(paths[-1], one.origin)
            for path in paths:
                path.unlink(missing_ok=True)
            done += one.bytes
        shutil.rmtree(work)
    except OSError as error:
        raise DownloadError(f"{folder} cannot be written: {error.strerror or error}") from error
    return folder


def _of_files(source: Source, folder: Path, patience: Patience) -> list[_Step]:
    """What is missing of a network and its titles."""
    steps: list[_Step] = []
    if not (folder / CONFIG).is_file():
        steps.append((_announced(source.checkpoint, patience), lambda path, origin: convert(path, folder, origin=origin)))
    if not (folder / TITLES).is_file():
        steps.append((_announced(source.titles, patience), lambda path, _: convert_titles(path, folder / TITLES)))
    return steps


def _of_repository(source: HubModel, folder: Path, patience: Patience) -> list[_Step]:
    """What is missing of a model that is used as it was published; its configuration, which makes it one, comes last."""
    if weights_in(folder):
        return []
    published = _repository(source)
    names = wanted(published, source.repository)
    if PARTS in names:
        names[:1] = [*_parts_of(published[PARTS], patience), PARTS]
    steps: list[_Step] = []
    for name in names:
        if name not in published:
            raise DownloadError(f"hub:{source.repository} has no {name}, which its {PARTS} names; try again later")
        target = folder / name
        if not target.is_file() or target.stat().st_size != published[name].bytes:
            steps.append((published[name], lambda path, _, target=target: path.replace(target)))  # type: ignore[misc]
    return steps


def _ahead(name: str, source: Source | HubModel, total: int) -> Ahead:
    if isinstance(source, HubModel):
        return Ahead(name, total, f"hub:{source.repository}", source.licence)
    return Ahead(name, total, f"{'hub' if isinstance(source.checkpoint, HubFile) else 'github'}:{source.checkpoint.repository}")


def _require_space(work: Path, total: int) -> None:
    """Raises DownloadError where the disk does not have room for what has not arrived yet."""
    here = sum(path.stat().st_size for path in work.iterdir() if path.is_file())
    needed, free = total - here + _SPARE_BYTES, shutil.disk_usage(work).free
    if free < needed:
        raise DownloadError(f"{work.parent} has {free / 1e9:.1f} GB left and {needed / 1e9:.1f} GB are needed; "
                            "free some space, or let KAPELLE_DATA name another folder")


def _announced(location: HubFile | GitHubArchive, patience: Patience) -> _Fetched:
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
                            "in models/fetching/sources.py")
    numbers = sorted(numbered)
    if numbers != list(range(numbers[0], numbers[0] + len(numbers))) or numbers[0] > 1:
        raise DownloadError(f"{address} lists only some of the parts of {archive.name}; try again later")
    parts = _Parts(archive, tuple(numbered[number] for number in numbers))
    if parts.bytes > archive.largest:
        raise DownloadError(f"{archive.name} has {parts.bytes:,} bytes; at most {archive.largest:,} are taken")
    return parts


def _on_hub(file: HubFile) -> _Hub:
    from huggingface_hub import get_hf_file_metadata, get_token, hf_hub_url

    url = hf_hub_url(file.repository, file.name, revision=file.revision)
    with _hub_errors(f"hub:{file.repository}/{file.name}"):
        metadata = get_hf_file_metadata(url)
    etag = metadata.etag or ""
    return _Hub(file, Announced(
        url, metadata.size or 0, token=get_token(), sha256=etag if re.fullmatch("[0-9a-f]{64}", etag) else None,
        git_sha1=etag if re.fullmatch("[0-9a-f]{40}", etag) else None))


def _repository(source: HubModel) -> dict[str, _Hub]:
    """Every file of a repository, all of the same commit."""
    from huggingface_hub import HfApi, get_token, hf_hub_url

    with _hub_errors(f"hub:{source.repository}"):
        listed = HfApi().model_info(source.repository, revision=source.revision, files_metadata=True, timeout=TIMEOUT_S)
    revision = listed.sha or source.revision
    return {
        file.rfilename: _Hub(HubFile(source.repository, file.rfilename, revision), Announced(
            hf_hub_url(source.repository, file.rfilename, revision=revision), file.size, token=get_token(),
            sha256=file.lfs.sha256 if file.lfs else None, git_sha1=None if file.lfs else file.blob_id))
        for file in listed.siblings or () if file.size is not None
    }


def _parts_of(index: _Hub, patience: Patience) -> list[str]:
    """The files that an index names. It is read before anything else, so that what is coming is known."""
    return parts(fetch_json(index.announced.url, patience), index.origin)


@contextmanager
def _hub_errors(where: str) -> Iterator[None]:
    from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError

    try:
        yield
    except (EntryNotFoundError, RepositoryNotFoundError) as error:
        raise DownloadError(f"{where} is not there; if it has moved, say where it is now "
                            "in models/fetching/sources.py") from error
    except Exception as error:  # the library hands on what its HTTP client raises, which is not always the same client
        said = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise DownloadError(f"{where} could not be fetched ({said}); {_ADVICE}") from error


def _remember(folder: Path, fetched: _Fetched, sha256: str) -> None:
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
            + ("change models/fetching/sources.py" if pinned else f"remove {path}") + " and fetch again")
    record[fetched.origin] = {"sha256": sha256, "bytes": fetched.bytes}
    draft = path.with_name(f".{RECORD}.part")
    draft.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    draft.replace(path)
