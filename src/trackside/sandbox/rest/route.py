"""The route table: path template of GitHub's description, method, needed permission, handler."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from trackside.sandbox.hub import Hub
from trackside.sandbox.limits import Meter
from trackside.sandbox.problem import Problem, not_found
from trackside.sandbox.state import Doc

DEFAULT_PAGE, MAX_PAGE = 30, 100
JSON = "application/json; charset=utf-8"


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An answer: JSON `body` (None: empty), or bytes as `raw` with their media type."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    media_type: str = JSON

    @property
    def data(self) -> bytes:
        if self.raw is not None:
            return self.raw
        return b"" if self.body is None else json.dumps(self.body).encode()


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request. `token` is the token's document, None for an anonymous one; `raw` the body as bytes."""

    hub: Hub
    params: dict[str, str]
    query: dict[str, str]
    headers: dict[str, str]
    raw: bytes
    body: Any
    token: Doc | None
    dispatcher: Any
    meter: Meter
    url: str
    cut: bool = False
    """An upload that broke off."""

    @property
    def actor(self) -> Doc:
        """The token's document. Raises Problem 401 without one."""
        if self.token is None:
            raise Problem(401, "Requires authentication")
        return self.token

    @property
    def repo(self) -> str:
        return f"{self.params['owner']}/{self.params['repo']}"

    @property
    def fields(self) -> Doc:
        """The body's fields; empty without a body."""
        return self.body if isinstance(self.body, dict) else {}

    def number(self, name: str) -> int:
        text = self.params[name]
        if not text.isdigit():
            raise not_found()
        return int(text)

    def doc(self, kind: str, name: str) -> Doc:
        """The document of a kind that a path parameter names. Raises Problem 404."""
        found = self.hub.state.get(kind, self.repo, self.number(name))
        if found is None:
            raise not_found()
        return found

    def page(self, items: list[Any], show: Callable[[Any], Any] | None = None, *, key: str = "") -> Reply:
        """One page (30 an answer unless asked, 100 at most) with Link headers; `key` wraps it with `total_count`."""
        size = max(1, min(_whole(self.query.get("per_page"), DEFAULT_PAGE), MAX_PAGE))
        number = max(_whole(self.query.get("page"), 1), 1)
        last = max(1, -(-len(items) // size))
        chosen = items[(number - 1) * size : number * size]
        shown = [show(one) for one in chosen] if show else chosen
        targets = {"prev": number - 1, "next": number + 1, "last": last, "first": 1}
        wanted = (["prev", "first"] if number > 1 else []) + (["next", "last"] if number < last else [])
        links = [
            f'<{self.url}?{urlencode({**self.query, "page": targets[one]})}>; rel="{one}"' for one in targets
            if one in wanted
        ]  # fmt: skip
        headers = {"Link": ", ".join(links)} if links else {}
        return Reply(body={"total_count": len(items), key: shown} if key else shown, headers=headers)


def _whole(text: str | None, default: int) -> int:
    return int(text) if text and text.isdigit() else default


Handler = Callable[[Call], Reply]
Rule = Callable[[Call], None]


@dataclass(frozen=True, kw_only=True)
class Route:
    """One endpoint.

    `needs` lists permissions, any of which is enough; `role` is the least role of a person where it is not the usual
    one. `rule` refuses what GitHub refuses with a 422 of its own, before the description judges the request.
    """

    method: str
    template: str
    needs: str
    handler: Handler
    role: str = ""
    rule: Rule | None = None
    prefix: str = "api"


ROUTES: list[Route] = []


def route(
    method: str,
    template: str,
    needs: str = "metadata:read",
    *,
    role: str = "",
    rule: Rule | None = None,
    prefix: str = "api",
) -> Callable[[Handler], Handler]:
    """Add a handler to the table."""

    def add(handler: Handler) -> Handler:
        ROUTES.append(
            Route(method=method, template=template, needs=needs, handler=handler, role=role, rule=rule, prefix=prefix)
        )
        return handler

    return add
