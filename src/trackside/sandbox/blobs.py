"""Assets' bytes as GitHub's file store gives them: whole or a range (RFC 9110), slow or cut off where a test asks."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from trackside.sandbox.problem import not_found

CHUNK = 64 * 1024
_RANGE = re.compile(r"bytes=(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))")


@dataclass(kw_only=True)
class Trouble:
    """A planned one: once `after` bytes of an answer were sent, wait `seconds`, then `cut` the line or go on."""

    after: int
    seconds: float = 0.0
    cut: bool = True
    times: int = 1


@dataclass(frozen=True, kw_only=True)
class Given:
    """An answer: of which file, from which byte on, how many bytes were sent of those that it has."""

    digest: str
    status: int
    first: int
    sent: int
    size: int


@dataclass
class Blobs:
    """The files of `folder` by digest. `given` lists the answers, `wrong` what a client should not have asked."""

    folder: Path
    given: list[Given] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def answer(self, request: Request) -> Response:
        """Bytes by digest: knowing the digest is the permission, as with GitHub's signed addresses."""
        digest = request.path_params["name"].partition(".")[0]
        path = self.folder / digest
        if not re.fullmatch(r"[0-9a-f]{64}", digest) or not path.is_file():
            return JSONResponse(not_found().body(), status_code=404)
        size = path.stat().st_size
        asked = request.headers.get("range", "")
        if asked and not _RANGE.fullmatch(asked):
            self.wrong.append(f"the range {asked[:60]!r} is none that GitHub's store answers")
        if asked and request.headers.get("accept-encoding", "identity") != "identity":
            self.wrong.append("a range was asked for in an encoding, whose bytes have other places")
        span = part(asked, size) if _current(request.headers, digest) else None
        if span == (0, 0):
            return Response(status_code=416, headers={"Content-Range": f"bytes */{size}"})
        return _Part(self, path, span or (0, size), size, partial=span is not None)

    def trouble(self) -> Trouble | None:
        found = next((one for one in self.troubles if one.times > 0), None)
        if found is not None:
            found.times -= 1
        return found


def part(asked: str, size: int) -> tuple[int, int] | None:
    """First byte and the one after the last of a `Range`; None where it counts for nothing, (0, 0) for an empty one."""
    found = _RANGE.fullmatch(asked)
    if found is None or (found[2] and int(found[2]) < int(found[1])):
        return None
    if found[3]:
        return (max(size - int(found[3]), 0), size) if int(found[3]) else (0, 0)
    first = int(found[1])
    return (first, min(int(found[2]) + 1, size) if found[2] else size) if first < size else (0, 0)


def _current(headers: Mapping[str, str], digest: str) -> bool:
    """Whether a range holds: `If-Range` may bind it to the bytes that the client has."""
    return headers.get("if-range", f'"{digest}"') == f'"{digest}"'


class _Part(Response):
    def __init__(self, blobs: Blobs, path: Path, span: tuple[int, int], size: int, *, partial: bool) -> None:
        first, end = span
        headers = {"Accept-Ranges": "bytes", "ETag": f'"{path.name}"', "Content-Length": str(end - first)}
        if partial:
            headers["Content-Range"] = f"bytes {first}-{end - 1}/{size}"
        super().__init__(status_code=206 if partial else 200, headers=headers, media_type="application/octet-stream")
        self.raw_headers = [(name, text) for name, text in self.raw_headers if name != b"content-length"]
        self.raw_headers.append((b"content-length", str(end - first).encode()))
        self.blobs, self.path, self.span, self.size = blobs, path, span, size

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        first, end = self.span
        trouble, whole, sent = self.blobs.trouble(), end - first, 0
        pause = trouble.after if trouble is not None and trouble.after < whole else -1
        goal = pause if trouble is not None and trouble.cut and pause >= 0 else whole
        self.blobs.given.append(
            Given(digest=self.path.name, status=self.status_code, first=first, sent=goal, size=self.size)
        )
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        with self.path.open("rb") as file:
            file.seek(first)
            while sent < goal:
                if trouble is not None and sent == pause:
                    await _wait(receive, trouble.seconds)
                piece = file.read(min(CHUNK, goal - sent, pause - sent if sent < pause else CHUNK))
                sent += len(piece)
                await send({"type": "http.response.body", "body": piece, "more_body": sent < whole})
        if trouble is not None and trouble.cut and sent == pause:
            await _wait(receive, trouble.seconds)
        if goal < whole:
            await _hang_up(receive)


async def _wait(receive: Any, seconds: float) -> None:
    """Until the time is over or the client has gone."""
    cycle = cast(Any, getattr(receive, "__self__", None))
    end = time.monotonic() + seconds
    while time.monotonic() < end and not cycle.disconnected:
        await asyncio.sleep(0.01)


async def _hang_up(receive: Any) -> None:
    """Close the line once what was written is out: the client meets an early end."""
    cycle = cast(Any, getattr(receive, "__self__", None))
    cycle.transport.close()
    while not cycle.disconnected:
        await asyncio.sleep(0.001)
