"""Files to and from GitHub by HTTP, in pieces: a model may be larger than the memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import IO, Any

import requests
from urllib3.exceptions import HTTPError

from trackside import __version__
from trackside.forge.client import Answer, Download, NoAnswer, Upload

CHUNK = 1024 * 1024
"""Bytes of a piece."""

TRANSFER_TIMEOUT = 600
"""Seconds that an answer to an upload may take once all is sent."""


def transfer(
    method: str, url: str, query: Mapping[str, Any], body: Upload | Download, *, token: str, timeout: int
) -> Answer:
    """One attempt. The token goes to the host of `url` alone: a redirect to a file store does not get it.

    Raises:
        NoAnswer: the transport failed on the way, in either direction.
    """
    headers = {"User-Agent": f"trackside/{__version__}", "X-GitHub-Api-Version": "2022-11-28"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    try:
        with requests.Session() as session:
            session.auth = _NoNetrc()
            if isinstance(body, Upload):
                return _upload(session, method, url, query, body, headers, timeout)
            return _download(session, method, url, query, body, headers, timeout)
    except requests.RequestException as error:
        raise NoAnswer(f"{type(error).__name__}: {error}"[:300]) from error


class _NoNetrc(requests.auth.AuthBase):
    """Keeps `requests` from putting a password of a `.netrc` file in the token's place."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


def _upload(
    session: requests.Session,
    method: str,
    url: str,
    query: Mapping[str, Any],
    body: Upload,
    headers: Mapping[str, str],
    timeout: int,
) -> Answer:
    size = body.path.stat().st_size
    with body.path.open("rb") as file:
        answer = session.request(
            method,
            url,
            params=dict(query),
            data=_Sent(file, size, body.told)
            if size
            else b"",  # an empty file object would be sent in chunks, which GitHub refuses
            headers={**headers, "Content-Type": body.media_type, "Accept": "application/vnd.github+json"},
            timeout=(timeout, TRANSFER_TIMEOUT),
            allow_redirects=False,
        )
    return _answer(answer, answer.text)


class _Sent:
    """A file on its way, of known length, that tells how far it is."""

    def __init__(self, file: IO[bytes], size: int, told: Callable[[int], None] | None) -> None:
        self._file, self._size, self._told = file, size, told
        self._sent = 0

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        while piece := self.read(CHUNK):
            yield piece

    def read(self, size: int = -1) -> bytes:
        piece = self._file.read(size)
        self._sent += len(piece)
        if self._told is not None:
            self._told(self._sent)
        return piece


def _download(
    session: requests.Session,
    method: str,
    url: str,
    query: Mapping[str, Any],
    body: Download,
    headers: Mapping[str, str],
    timeout: int,
) -> Answer:
    # Unpacked bytes have other places than those that a range counts.
    wanted = {**headers, "Accept": "application/octet-stream", "Accept-Encoding": "identity"}
    held = body.path.stat().st_size if body.resume and body.path.exists() else 0
    if held:
        wanted["Range"] = f"bytes={held}-"
    with session.request(method, url, params=dict(query), headers=wanted, timeout=timeout, stream=True) as answer:
        if answer.status_code == 416:  # the file has all there is, or too much: whoever asked knows the digest
            if answer.headers.get("Content-Range") != f"bytes */{held}":
                body.path.write_bytes(b"")
                raise NoAnswer(f"the server has other bytes than the {held:,} that are here")
            return Answer(status=200, headers={}, text="")
        if answer.status_code >= 400:
            return _answer(answer, answer.text)
        follows = answer.status_code == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {held}-")
        if answer.status_code == 206 and not follows:
            raise NoAnswer("the server sent another part of the file than was asked for")
        with body.path.open("ab" if follows else "wb") as file:
            for piece in _pieces(answer):
                file.write(piece)
                if body.told is not None:
                    body.told(file.tell())
        return _answer(answer, "")


def _pieces(answer: requests.Response) -> Iterator[bytes]:
    """The body as it arrives: of a line that breaks, all that came is kept.

    Raises:
        NoAnswer: it broke, or ended before its time.
    """
    said = answer.headers.get("Content-Length", "")
    expected, came = int(said) if said.isdecimal() else 0, 0
    try:
        while piece := answer.raw.read1(CHUNK):
            came += len(piece)
            yield piece
    except HTTPError as error:
        raise NoAnswer(f"{type(error).__name__}: {error}"[:300]) from error
    if came < expected:
        raise NoAnswer(f"the line broke after {came:,} of {expected:,} bytes")


def _answer(answer: requests.Response, text: str) -> Answer:
    found = {name.lower(): value for name, value in answer.headers.items()}
    return Answer(status=answer.status_code, headers=found, text=text)
