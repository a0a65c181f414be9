"""Plain HTTP calls to services that were started here and to container registries."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from trackside.errors import ForgeError

MAX_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Response:
    """Status, lower-case headers and at most `MAX_BYTES` of the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as plain data; None where it is no JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


class _Redirects(HTTPRedirectHandler):
    """Follows redirects without the credentials when they lead to another host."""

    def redirect_request(self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Request | None:
        made = super().redirect_request(req, fp, code, msg, headers, newurl)
        if made is not None and made.host != req.host:
            made.headers.pop("Authorization", None)
        return made


def call(
    method: str,
    url: str,
    *,
    data: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = 30.0,
) -> Response:
    """One request; an error status is an answer too.

    Raises:
        ForgeError: no answer arrived.
    """
    if not url.startswith(("http://", "https://")):
        raise ForgeError(f"{url[:80]!r} is no web address")
    request = Request(url, data=data, method=method, headers=dict(headers or {}))  # noqa: S310 - checked above
    try:
        with build_opener(_Redirects()).open(request, timeout=timeout) as answer:
            return Response(status=answer.status, headers=_lower(answer.headers), body=answer.read(MAX_BYTES))
    except HTTPError as error:
        with error:
            return Response(status=error.code, headers=_lower(error.headers), body=error.read(MAX_BYTES))
    except (URLError, OSError, HTTPException) as error:
        raise ForgeError(f"{method} {url}: no answer", why=str(error)[:300]) from error


def _lower(headers: Any) -> dict[str, str]:
    return {name.lower(): text for name, text in headers.items()}


def free_port() -> int:
    """A port of the loopback interface that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
