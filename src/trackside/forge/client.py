"""One funnel for all REST calls: counts them, repeats what may be repeated, pages, and maps errors."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from trackside.errors import Conflict, Forbidden, ForgeError, NotFound, TimedOut
from trackside.forge.permissions import needed, remedy
from trackside.forge.retry import ATTEMPTS, Failure, backoff, next_step
from trackside.system.clock import Clock

T = TypeVar("T")

PAGE = 100
"""Items a page: the most that GitHub gives."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An HTTP answer; header names are lower case."""

    status: int
    headers: Mapping[str, str]
    text: str


class NoAnswer(Exception):
    """A transport failed: the request may or may not have arrived."""


class Unsure(TimedOut):
    """A creation whose outcome is unknown: look whether it is there before sending it again."""


@dataclass(frozen=True, kw_only=True)
class Upload:
    """In place of a body: a file whose bytes are sent without being held in memory. `told` hears how many were."""

    path: Path
    media_type: str
    told: Callable[[int], None] | None = None


@dataclass(frozen=True, kw_only=True)
class Download:
    """In place of a body: the answer's bytes go to a file, and its text is empty.

    With `resume`, bytes that the file holds already are not asked for again. `told` hears of the bytes that the file
    holds, as it grows.
    """

    path: Path
    resume: bool = False
    told: Callable[[int], None] | None = None


Send = Callable[[str, str, Mapping[str, Any], Any], Answer]
"""Method, path with a leading slash (or a whole URL), query, JSON body or one of the above. Raises NoAnswer."""


class Client:
    """REST calls to one repository. `calls` counts the requests sent, repetitions included."""

    def __init__(self, repository: str, send: Send, clock: Clock, *, max_rate_limit_wait: float) -> None:
        owner, _, name = repository.partition("/")
        self.base = f"/repos/{segment(owner)}/{segment(name)}"
        self.clock = clock
        self._count = [0]
        self._send = send
        self._max_wait = max_rate_limit_wait
        self._random = random.Random()  # noqa: S311 - spreads retries, guards nothing

    @property
    def calls(self) -> int:
        return self._count[0]

    @calls.setter
    def calls(self, count: int) -> None:
        self._count[0] = count

    def at(self, repository: str) -> Client:
        """The same connection and count, for another repository."""
        owner, _, name = repository.partition("/")
        other = copy(self)
        other.base = f"/repos/{segment(owner)}/{segment(name)}"
        return other

    def get(self, path: str, **query: Any) -> Any:
        """The JSON body of a GET below the repository."""
        return self.request("GET", self.base + path, query=query)[0]

    def find(self, path: str, **query: Any) -> Any:
        """Like `get`, but None where there is nothing."""
        try:
            return self.get(path, **query)
        except NotFound:
            return None

    def pages(
        self, path: str, query: Mapping[str, Any] | None = None, *, key: str = "", limit: int = 0
    ) -> Iterator[Any]:
        """The items of all pages (or the first `limit`), `PAGE` a request; `key` names the list within the body."""
        size = min(limit, PAGE) if limit else PAGE
        number = seen = 0
        while True:
            number += 1
            paging = {"per_page": size} if number == 1 else {"per_page": size, "page": number}
            body, headers = self.request("GET", self.base + path, query={**(query or {}), **paging})
            for item in body[key] if key else body:
                yield item
                seen += 1
                if seen == limit:
                    return
            if 'rel="next"' not in headers.get("link", ""):
                return

    def post(self, path: str, body: Any, *, repeatable: bool = False) -> Any:
        """The JSON body of a POST. Raises Unsure unless `repeatable` says that twice does no harm."""
        return self.request("POST", self.base + path, body=body, repeatable=repeatable)[0]

    def patch(self, path: str, body: Any, *, repeatable: bool = True) -> Any:
        """The JSON body of a PATCH, which by default is sent again after a lost answer."""
        return self.request("PATCH", self.base + path, body=body, repeatable=repeatable)[0]

    def delete(self, path: str) -> None:
        """Delete; what is gone already is no error."""
        try:
            self.request("DELETE", self.base + path)
        except NotFound:
            return

    def create(self, send: Callable[[], T], find: Callable[[], T | None]) -> T:
        """Send a creation; when its outcome is unknown, look first, and send again only what is not there."""
        for attempt in range(1, ATTEMPTS):
            try:
                return send()
            except Unsure:
                self.pause(attempt)
                found = find()
                if found is not None:
                    return found
        return send()

    def pause(self, attempt: int) -> None:
        """Back off after failed attempt `attempt` (from 1)."""
        self.clock.sleep(backoff(attempt, self._random.random()))

    def request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        repeatable: bool = True,
    ) -> tuple[Any, Mapping[str, str]]:
        """JSON body (None when empty) and headers.

        Raises:
            NotFound, Forbidden, Conflict: as the status says.
            Unsure: no answer or a server error, for a call that must not be repeated blindly.
            TimedOut: no answer to repeated attempts.
            ForgeError: everything else, a rate limit beyond the allowed wait included.
        """
        attempt, waited = 0, 0.0
        while True:
            attempt += 1
            self.calls += 1
            failure = Failure(status=0, headers={})
            try:
                answer = self._send(method, path, query or {}, body)
                if answer.status < 400:
                    return (json.loads(answer.text) if answer.text.strip() else None), answer.headers
                failure = Failure(status=answer.status, headers=answer.headers, message=_message(answer.text))
            except NoAnswer as error:
                failure = Failure(status=0, headers={}, message=str(error))
            except ValueError:
                failure = Failure(status=502, headers={}, message="the answer is not JSON")
            step = next_step(
                failure,
                repeatable=repeatable,
                attempt=attempt,
                waited=waited,
                max_wait=self._max_wait,
                now=self.clock.now(),
                jitter=self._random.random(),
            )
            if step.action == "look":
                raise Unsure(_what(method, path, failure), why=failure.message)
            if step.action == "give_up":
                if step.limited:
                    raise _limited(step.seconds, self._max_wait)
                raise error_of(method, path, failure)
            self.clock.sleep(step.seconds)
            waited += step.seconds if step.limited else 0.0


def segment(text: str) -> str:
    """One path segment, percent-encoded.

    Raises:
        NotFound: empty or made of dots, which would name another endpoint.
    """
    if text in ("", ".", ".."):
        raise NotFound(f"{text!r} names nothing")
    return quote(text, safe="")


def segments(path: str) -> str:
    """A path of several segments, each encoded like `segment`."""
    return "/".join(segment(part) for part in path.split("/"))


def error_of(method: str, path: str, failure: Failure) -> ForgeError:
    """The error that a final failure becomes."""
    what, why = _what(method, path, failure), failure.message
    if failure.status == 0:
        return TimedOut(what, why=why, remedy="check the network and GitHub's status page, then run the job again")
    if failure.status == 401:
        return Forbidden(
            what, why=why, remedy="set GITHUB_TOKEN: ${{ github.token }} in the step's env", reason_code="unauthorized"
        )
    if failure.status == 403:
        line = needed(method, path, failure.headers.get("x-accepted-github-permissions", ""))
        return Forbidden(what, why=why, remedy=remedy(line))
    if failure.status in (404, 410):
        return NotFound(what, why=why)
    if failure.status == 409:
        return Conflict(what, why=why)
    return ForgeError(what, why=why)


def _what(method: str, path: str, failure: Failure) -> str:
    return f"{method} {path}: " + (f"GitHub answered {failure.status}" if failure.status else "no answer arrived")


def _limited(asked: float, allowed: float) -> ForgeError:
    return ForgeError(
        "GitHub's rate limit is reached",
        why=f"it asks to wait {asked:.0f} s; at most {allowed:.0f} s are waited",
        remedy="run the job again later",
        reason_code="rate_limited",
    )


def _message(text: str) -> str:
    """GitHub's own words for an error: `message` and the messages of its `errors`."""
    try:
        body = json.loads(text)
    except ValueError:
        return text.strip()[:200]
    if not isinstance(body, dict):
        return ""
    parts = [str(body.get("message", ""))]
    errors = body.get("errors")
    for one in errors if isinstance(errors, list) else []:
        parts.append(str(one.get("message") or one.get("code") or "") if isinstance(one, dict) else str(one))
    return "; ".join(part for part in parts if part)[:1000]
