"""The pages on the wire: routes, headers, the login cookie, and forms that go through the REST side."""

from __future__ import annotations

import json
import secrets
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from trackside.sandbox.core import API
from trackside.sandbox.exchange import Sent
from trackside.sandbox.problem import Problem
from trackside.sandbox.rest.route import ROUTES, Reply
from trackside.sandbox.web.forms import FORMS, Filled
from trackside.sandbox.web.pages import TABLE
from trackside.sandbox.web.site import Moved, Page, Site, asset, error

if TYPE_CHECKING:
    from trackside.sandbox.server import Sandbox

COOKIE = "sandbox_login"
_POLICY = (
    "default-src 'none'; style-src 'self' 'unsafe-inline'; script-src 'self'; img-src 'self' data:; font-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Mermaid writes style elements into its drawings, hence `unsafe-inline` for styles; scripts only come as files."""
_RAW_POLICY = "sandbox; default-src 'none'; style-src 'unsafe-inline'"
_HEADERS = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin", "Cache-Control": "no-store"}
_NAMES = ("127.0.0.1", "localhost")


def routes(sandbox: Sandbox, mermaid: Path | None = None) -> list[BaseRoute]:
    """Routes of all pages and forms, to be set before the sandbox starts.

    Args:
        sandbox: what the pages show.
        mermaid: Mermaid's browser bundle, from `assets.ensure_mermaid`; None shows charts as text.
    """
    return Web(sandbox, mermaid).routes()


class Web:
    """The pages of one sandbox."""

    def __init__(self, sandbox: Sandbox, mermaid: Path | None) -> None:
        self.sandbox = sandbox
        self.site = Site(sandbox.hub, TABLE, mermaid)

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/_static/{name}", self.static),
            Route("/_session", self.session, methods=["POST"]),
            *(Route(path, self._sender(handler), methods=["POST"]) for path, handler in FORMS.items()),
            Route("/{rest:path}", self.page, methods=["GET"]),
        ]

    def login(self, request: Request) -> str | None:
        """Who the person acts as."""
        login = request.cookies.get(COOKIE, "")
        return login if login and login in self.site.people() else None

    async def page(self, request: Request) -> Response:
        return await run_in_threadpool(self._page, request)

    def _page(self, request: Request) -> Response:
        login = self.login(request)
        path = request.scope["path"].rstrip("/") or "/"
        found = self.site.get(path, dict(request.query_params), login)
        if isinstance(found, Moved):
            return RedirectResponse(found.path, 302)
        if isinstance(found, Page):
            return self._html(found, path, login)
        headers = _HEADERS | {"Content-Security-Policy": _RAW_POLICY}
        return Response(found.data, media_type=found.media_type, headers=headers)

    def _html(self, page: Page, path: str, login: str | None) -> Response:
        headers = _HEADERS | {"Content-Security-Policy": _POLICY}
        return HTMLResponse(self.site.html(page, path, login), status_code=page.status, headers=headers)

    async def static(self, request: Request) -> Response:
        found = asset(self.site, request.path_params["name"])
        if found is None:
            return self._html(error(404, "Not Found"), "/", None)
        return Response(found.data, media_type=found.media_type, headers={"X-Content-Type-Options": "nosniff"})

    # Forms

    async def session(self, request: Request) -> Response:
        """Act as somebody: a cookie that other sites' requests never carry."""
        fields, refusal = await self._form(request)
        if refusal is not None:
            return refusal
        back = urlsplit(fields.get("back", "")).path
        back = quote(back) if back.startswith("/") and not back.startswith(("//", "/\\")) else "/"
        answer = RedirectResponse(back, 303)
        if fields.get("login") in self.site.people():
            answer.set_cookie(COOKIE, fields["login"], httponly=True, samesite="strict", path="/")
        else:
            answer.delete_cookie(COOKIE, httponly=True, samesite="strict", path="/")
        return answer

    def _sender(self, handler: Callable[[Filled], Response]) -> Callable[[Request], Awaitable[Response]]:
        """An endpoint that reads a form and hands it on, once it is known who sends it from where."""

        async def endpoint(request: Request) -> Response:
            fields, refusal = await self._form(request)
            if refusal is not None:
                return refusal
            login = self.login(request)
            if login is None:
                page = error(403, "Choose whom to act as first, at the top of the page.")
                return self._html(page, request.scope["path"], None)
            filled = Filled(web=self, request=request, fields=fields, login=login)
            try:
                return await run_in_threadpool(handler, filled)
            except Problem as problem:
                return self.refused(request, login, problem.status, problem.body())

        return endpoint

    async def _form(self, request: Request) -> tuple[dict[str, str], Response | None]:
        """Fields of a form that was sent from one of our own pages, by name; or the refusal."""
        origin, host = request.headers.get("origin", ""), request.headers.get("host", "")
        if origin != f"http://{host}" or host.rpartition(":")[0] not in _NAMES:
            page = error(403, "This form was not sent from a page of the sandbox.")
            return {}, self._html(page, "/", None)
        form = await request.form()
        return {name: value for name, value in form.items() if isinstance(value, str)}, None

    def refused(self, request: Request, login: str, status: int, body: Any) -> Response:
        """The page that tells what the REST side refused."""
        page = error(status, str(body.get("message", "")), _details(body))
        return self._html(page, request.scope["path"], login)

    def rest(self, login: str, method: str, template: str, params: Mapping[str, str], body: Any) -> Reply:
        """Send a wish through the REST side with a token of the person. Raises Problem."""
        row = next(one for one in ROUTES if (one.method, one.template) == (method, template))
        path = template
        for name, value in params.items():
            path = path.replace("{" + name + "}", quote(value))
        sent = Sent(
            method=method,
            path=path,
            url=f"{self.sandbox.url}{API}{path}",
            params=params,
            query={},
            headers={"authorization": f"Bearer {self._token(login)}", "content-type": "application/json"},
            raw=b"" if body is None else json.dumps(body).encode(),
        )
        reply = self.sandbox.desk.answer(row, sent)
        if reply is None:
            raise Problem(502, "The sandbox gave no answer.")
        return reply

    def _token(self, login: str) -> str:
        """A token of the person, made at the first need."""
        state = self.sandbox.hub.state
        known = state.list("token", "", login=login, permissions=None, page=True)
        if known:
            return str(known[0]["token"])
        text = "ghp_" + secrets.token_hex(18)
        self.sandbox.hub.add_token(text, login, page=True)
        return text


def _details(body: Any) -> list[str]:
    """What an error answer says beyond its message."""
    found = []
    for one in body.get("errors") or []:
        words = (
            one.get("message") or f"{one.get('field', '')}: {one.get('code', '')}"
            if isinstance(one, dict)
            else str(one)
        )
        found.append(str(words))
    return found
