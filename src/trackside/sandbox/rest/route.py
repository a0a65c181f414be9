"""The route table: path template of GitHub's description, method, needed permission, handler."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from trackside.sandbox.contract import Contract
from trackside.sandbox.hub import Hub, Problem
from trackside.sandbox.state import Doc

MAX_PAGE = 100


@dataclass(frozen=True, kw_only=True)
class Reply:
    """An answer: status, JSON body (None: empty) and headers."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request, authenticated: `actor` is the token's document."""

    hub: Hub
    contract: Contract
    params: dict[str, str]
    query: dict[str, str]
    body: Any
    actor: Doc
    dispatcher: Any
    url: str

    @property
    def repo(self) -> str:
        return f"{self.params['owner']}/{self.params['repo']}"

    def number(self, name: str) -> int:
        text = self.params[name]
        if not text.isdigit():
            raise Problem(404, "Not Found")
        return int(text)

    def page(self, items: list[Any], *, key: str = "") -> Reply:
        """One page, 30 a page by default, with Link headers; `key` wraps it with `total_count`."""
        size = min(int(self.query.get("per_page", 30)), MAX_PAGE)
        number = max(int(self.query.get("page", 1)), 1)
        last = max(1, -(-len(items) // size))
        chosen = items[(number - 1) * size : number * size]
        links = []
        for relation, target in (("next", number + 1), ("prev", number - 1), ("last", last), ("first", 1)):
            if (
                (relation == "next" and number < last)
                or (relation == "prev" and number > 1)
                or (relation == "last" and number < last)
                or (relation == "first" and number > 1)
            ):
                query = "&".join(f"{k}={v}" for k, v in {**self.query, "page": str(target)}.items())
                links.append(f'<{self.url}?{query}>; rel="{relation}"')
        headers = {"Link": ", ".join(links)} if links else {}
        return Reply(body={"total_count": len(items), key: chosen} if key else chosen, headers=headers)


Handler = Callable[[Call], Reply]


@dataclass(frozen=True, kw_only=True)
class Route:
    """`needs` is `permission:level`; empty: any token."""

    method: str
    template: str
    needs: str
    handler: Handler


ROUTES: list[Route] = []


def route(method: str, template: str, needs: str = "metadata:read") -> Callable[[Handler], Handler]:
    """Add a handler to the table."""

    def add(handler: Handler) -> Handler:
        ROUTES.append(Route(method=method, template=template, needs=needs, handler=handler))
        return handler

    return add
