"""Files to and from a server: in pieces, whole, and with the token for one host alone."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from test_forge_releases import QuickClock

from trackside.errors import DataError, TimedOut
from trackside.forge.client import Upload
from trackside.forge.github import GithubForge
from trackside.forge.streams import CHUNK

CONTENT = bytes(range(256)) * 20_000
DIGEST = "sha256:" + hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Place:
    """A server whose answer to the next requests is planned: `cut` bodies end early."""

    server: ThreadingHTTPServer
    redirect: str = ""
    cut: int = 0
    status: int = 200
    seen: list[tuple[str, dict[str, str], int]] = field(default_factory=list)

    def url(self, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.server.server_address[1]}"


def serve() -> Iterator[Place]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            self.answer(b"")

        def do_POST(self) -> None:
            self.answer(self.rfile.read(int(self.headers["Content-Length"])))

        def answer(self, body: bytes) -> None:
            place.seen.append((self.path, {k.lower(): v for k, v in self.headers.items()}, len(body)))
            if place.redirect:
                self.send_response(302)
                self.send_header("Location", place.redirect)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(place.status)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            if place.cut:
                place.cut -= 1
                self.wfile.write(CONTENT[: len(CONTENT) // 2])
                self.close_connection = True
            else:
                self.wfile.write(CONTENT)

    place = Place(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
    thread = threading.Thread(target=place.server.serve_forever)
    thread.start()
    yield place
    place.server.shutdown()
    thread.join()
    place.server.server_close()


api, store = pytest.fixture(serve, name="api"), pytest.fixture(serve, name="store")


def forge(api: Place) -> GithubForge:
    return GithubForge("acme/flights", "ghs_secret", api.url(), QuickClock(), timeout=5)


def test_the_token_does_not_follow_a_redirect_to_another_host(api: Place, store: Place, workdir: Path) -> None:
    api.redirect = store.url("localhost") + "/file?signature=1"
    forge(api).download(7, workdir / "x", digest=DIGEST)
    assert (workdir / "x").read_bytes() == CONTENT
    ((path, sent, _),) = api.seen
    assert path == "/repos/acme/flights/releases/assets/7"
    assert sent["authorization"] == "Bearer ghs_secret"
    ((path, sent, _),) = store.seen
    assert path == "/file?signature=1"
    assert "authorization" not in sent
    assert "ghs_secret" not in str(sent)


def test_a_download_that_breaks_off_is_fetched_again(api: Place, workdir: Path) -> None:
    api.cut = 2
    forge(api).download(7, workdir / "x", digest=DIGEST)
    assert (workdir / "x").read_bytes() == CONTENT
    assert len(api.seen) == 3
    api.cut = 100
    with pytest.raises(TimedOut):
        forge(api).download(7, workdir / "y", digest=DIGEST)


def test_other_bytes_are_not_kept(api: Place, workdir: Path) -> None:
    with pytest.raises(DataError):
        forge(api).download(7, workdir / "x", digest="sha256:" + "0" * 64)
    assert not (workdir / "x").exists()


def test_a_file_is_sent_with_its_length(api: Place, workdir: Path) -> None:
    size = 64 * CHUNK
    with (workdir / "large").open("wb") as file:
        file.truncate(size)
    body = Upload(path=workdir / "large", media_type="application/octet-stream")
    answer = forge(api)._send("POST", f"{api.url()}/uploads", {"name": "a b&c"}, body)
    assert answer.status == 200
    ((path, sent, received),) = api.seen
    assert path == "/uploads?name=a+b%26c"
    assert (sent["content-length"], received) == (str(size), size)
    assert "transfer-encoding" not in sent
    assert sent["content-type"] == "application/octet-stream"
