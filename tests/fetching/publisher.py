"""A publisher on loopback: GitHub's list of a folder and its raw files, and the hub's way to hand out a file."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "c" * 40
_BLOCK = 1 << 16


@dataclass
class Publisher:
    """Files by path, and what goes wrong with them. `asked` is every request with its Range."""

    address: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    listings: dict[str, list[str]] = field(default_factory=dict)  # folder -> paths of its files
    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)  # where the hub tells of one -> its files
    breaks_after: dict[str, list[int]] = field(default_factory=dict)  # path -> bytes sent before each break
    answers: dict[str, list[int]] = field(default_factory=dict)  # path -> status codes before it works
    ranges: bool = True
    sent: int = 0  # bytes of contents
    asked: list[tuple[str, str | None]] = field(default_factory=list)

    def put_github(self, repository: str, folder: str, files: dict[str, bytes]) -> None:
        paths = []
        for name, content in files.items():
            path = f"/{repository}/main/{folder}/{name}"
            self.files[path] = content
            paths.append(path)
        self.listings[f"/repos/{repository}/contents/{folder}"] = paths

    def put_hub(self, repository: str, name: str, content: bytes) -> None:
        self.files[f"/{repository}/resolve/main/{name}"] = content
        self.files[f"/{repository}/resolve/{COMMIT}/{name}"] = content
        self.repositories.setdefault(f"/api/models/{repository}/revision/main", {})[name] = content


def _told(name: str, content: bytes) -> dict[str, object]:
    """A file as the hub tells of it; large ones are in a storage of their own, with another checksum."""
    sha1 = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    told: dict[str, object] = {"rfilename": name, "size": len(content), "blobId": sha1}
    if not name.endswith((".json", ".md")):
        told |= {"blobId": "0" * 40, "lfs": {
            "size": len(content), "sha256": hashlib.sha256(content).hexdigest(), "pointerSize": 130}}
    return told


@contextmanager
def publishing() -> Iterator[Publisher]:
    publisher = Publisher()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def _answer(self, *, body: bool) -> None:
            path = unquote(urlsplit(self.path).path)
            publisher.asked.append((f"{self.command} {path}", self.headers.get("Range")))
            codes = publisher.answers.get(path)
            if codes:
                return self._send(codes.pop(0), b"", {}, body)
            if path in publisher.listings:
                listing = [self._entry(file) for file in publisher.listings[path]]
                return self._send(200, json.dumps(listing).encode(), {}, body)
            if path in publisher.repositories:
                told = {"id": path, "sha": COMMIT, "siblings": [
                    _told(name, content) for name, content in publisher.repositories[path].items()]}
                return self._send(200, json.dumps(told).encode(), {}, body)
            if path not in publisher.files:
                return self._send(404, b"", {"X-Error-Code": "EntryNotFound"}, body)
            content, status = publisher.files[path], 200
            headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT,
                       "X-Linked-Size": str(len(content))}
            asked = self.headers.get("Range")
            if asked and publisher.ranges:
                start = int(asked.removeprefix("bytes=").split("-")[0])
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
                content, status = content[start:], 206
            return self._send(status, content, headers, body, path)

        def _entry(self, path: str) -> dict[str, object]:
            content = publisher.files[path]
            sha1 = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            return {"name": path.rsplit("/", 1)[-1], "size": len(content), "sha": sha1, "type": "file"}

        def _send(self, status: int, content: bytes, headers: dict[str, str], body: bool, path: str = "") -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if not body:
                return
            breaks = publisher.breaks_after.get(path)
            if breaks:
                self.wfile.write(content[:breaks.pop(0)])
                self.close_connection = True
                return
            for start in range(0, len(content), _BLOCK):
                self.wfile.write(content[start:start + _BLOCK])
                publisher.sent += len(content[start:start + _BLOCK])

    class Server(ThreadingHTTPServer):
        def handle_error(self, request: object, client_address: object) -> None:
            pass  # a client that has heard enough hangs up

    server = Server(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    publisher.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield publisher
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
