"""Downloading a file: resumed where it broke off, bounded, and compared with what was announced."""

from __future__ import annotations

import hashlib
import http.client
import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, cast

from models.errors import DownloadError

TIMEOUT_S = 30.0
_BLOCK = 1 << 18
_LONGEST_JSON = 8 << 20  # bytes
_WORTH_ANOTHER = {408, 425, 429, 500, 502, 503, 504}

Outcome = TypeVar("Outcome")


@dataclass(frozen=True)
class Announced:
    """A file as its publisher lists it."""

    url: str
    bytes: int
    git_sha1: str | None = None  # of "blob <bytes>\\0" and the content
    sha256: str | None = None  # of the content; one of the two is enough
    token: str | None = field(default=None, repr=False)  # for the host of `url`, not for where it redirects to


@dataclass(frozen=True)
class Patience:
    """How often to try, and how long to wait in between."""

    attempts: int = 5
    pause_s: float = 1.0  # before the second attempt; doubled each time


PATIENT = Patience()


def download(
    file: Announced, target: Path, progress: Callable[[int], None] = lambda _: None, patience: Patience = PATIENT,
) -> None:
    """Fetch a file to `target`; nothing happens if it is there and whole. `progress` gets the bytes that are here.

    What has arrived is kept as `target.part`, and another call continues it. Raises DownloadError.
    """
    if target.is_file() and _fits(file, target):
        progress(file.bytes)
        return
    part = target.with_name(target.name + ".part")

    def attempt() -> None:
        _continue(file, part, progress)
        if not _fits(file, part):
            part.unlink()
            raise _BrokenError("what arrived is not what was announced")

    _persist(file.url, attempt, patience)
    part.replace(target)


def fetch_json(url: str, patience: Patience = PATIENT) -> Any:
    """Fetch and parse a JSON document. Raises DownloadError."""

    def attempt() -> Any:
        with _open(url) as answer:
            return json.loads(answer.read(_LONGEST_JSON))

    try:
        return _persist(url, attempt, patience)
    except ValueError as error:
        raise DownloadError(f"{url} did not answer with a list of files; try again later") from error


class _BrokenError(ConnectionError):
    """An answer that ended too early or is not the right one."""


def _persist(url: str, attempt: Callable[[], Outcome], patience: Patience) -> Outcome:
    failure = ""
    for number in range(patience.attempts):
        if number:
            time.sleep(patience.pause_s * 2 ** (number - 1))
        try:
            return attempt()
        except urllib.error.HTTPError as error:
            if error.code not in _WORTH_ANOTHER:
                raise DownloadError(f"{url} answered {error.code} {error.reason}; if it has moved, say where it is now "
                                    "in models/fetching/sources.py") from error
            failure = f"{error.code} {error.reason}"
        except urllib.error.URLError as error:
            failure = str(error.reason)
        except (http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError) as error:
            failure = str(error) or type(error).__name__
        except OSError as error:
            raise DownloadError(f"{url} could not be written to disk: {error.strerror or error}") from error
    raise DownloadError(f"{url} could not be fetched ({failure}); check the network connection and run the same "
                        "command again, it goes on where it stopped")


def _open(url: str, offset: int = 0, token: str | None = None) -> http.client.HTTPResponse:
    headers = {"User-Agent": "kapelle", "Accept-Encoding": "identity"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
    request = urllib.request.Request(url, headers=headers)
    if token:
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    return cast(http.client.HTTPResponse, urllib.request.urlopen(request, timeout=TIMEOUT_S))


def _continue(file: Announced, part: Path, progress: Callable[[int], None]) -> None:
    """Append to `part` what is missing of the file, or write it anew where the server cannot continue."""
    here = part.stat().st_size if part.is_file() else 0
    if here >= file.bytes and here:
        return
    with _open(file.url, here, file.token) as answer, part.open("ab") as target:
        if here and not (answer.headers.get("Content-Range") or "").startswith(f"bytes {here}-"):
            target.truncate(0)
            here = 0
        progress(here)
        while here <= file.bytes and (block := answer.read(_BLOCK)):
            target.write(block)
            here += len(block)
            progress(min(here, file.bytes))
    if here < file.bytes:
        raise _BrokenError(f"the connection broke off after {here:,} of {file.bytes:,} bytes")


def _fits(file: Announced, path: Path) -> bool:
    if path.stat().st_size != file.bytes:
        return False
    digests: list[tuple[Any, str]] = []
    if file.git_sha1:
        digests.append((hashlib.sha1(b"blob %d\0" % file.bytes, usedforsecurity=False), file.git_sha1))
    if file.sha256:
        digests.append((hashlib.sha256(), file.sha256))
    with path.open("rb") as content:
        while block := content.read(_BLOCK):
            for digest, _ in digests:
                digest.update(block)
    return all(digest.hexdigest() == announced for digest, announced in digests)
