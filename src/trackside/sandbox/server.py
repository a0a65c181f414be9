"""The sandbox's server: REST, uploads, git and pages on one port of 127.0.0.1."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute
from starlette.routing import Route as HttpRoute

from trackside.errors import ConfigError
from trackside.sandbox import smart_http
from trackside.sandbox.access import actor_of, permit
from trackside.sandbox.attesting import attest
from trackside.sandbox.blobs import Blobs
from trackside.sandbox.bus import Bus
from trackside.sandbox.core import API, UPLOADS
from trackside.sandbox.exchange import Desk, Logged, Sent
from trackside.sandbox.faults import Faults
from trackside.sandbox.hub import Hub
from trackside.sandbox.limits import Limits, Meter
from trackside.sandbox.problem import Problem, not_found
from trackside.sandbox.rest import (
    attestations,
    checks,
    git_data,
    history,
    issues,
    pulls,
    releases,
    repos,
    settings,
    talk,
    workflow_runs,
)
from trackside.sandbox.rest.route import ROUTES, Route
from trackside.sandbox.seed import Seed
from trackside.sandbox.state import State
from trackside.system.clock import Clock, SystemClock

HANDLERS = (attestations, checks, git_data, history, issues, pulls, releases, repos, settings, talk, workflow_runs)
"""Imported for the routes they add."""

_SLASHES = frozenset({"ref", "path", "branch", "basehead", "tag", "name"})
_METHODS = ["GET", "POST", "PATCH", "PUT", "DELETE"]
ADDRESS = "127.0.0.1"


class Sandbox:
    """A GitHub on 127.0.0.1. Use as a context manager, or `start()` and `stop()`.

    Args:
        root: state folder; an existing one is continued.
        env: environment for git; it needs PATH.
        port: 0 chooses a free one.
        strict: answer 500 when an exchange violates GitHub's description, and list it in `violations`.
        clock: for times and limits.
        limits: requests an hour and writes a minute.
    """

    def __init__(
        self,
        root: Path,
        env: Mapping[str, str] | None = None,
        *,
        port: int = 0,
        strict: bool = True,
        clock: Clock | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.state, self.bus, self.faults = State(root), Bus(), Faults()
        self.blobs = Blobs(self.state.root / "blobs")
        clock = clock or SystemClock()
        self.hub = Hub(self.state, self.bus, env or {"PATH": os.defpath}, clock)
        self.meter = Meter(limits or Limits(), clock)
        self.desk = Desk(hub=self.hub, faults=self.faults, meter=self.meter, strict=strict)
        self.hub.judge = self.desk.check_event
        self.extra_routes: list[BaseRoute] = []
        self.git_calls: list[tuple[str, str]] = []
        self._port = port
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return self.hub.url

    @property
    def api_url(self) -> str:
        return self.hub.api_url

    @property
    def seed(self) -> Seed:
        return Seed(self.hub)

    @property
    def violations(self) -> list[str]:
        return self.desk.violations

    @property
    def calls(self) -> list[Logged]:
        return self.desk.calls

    @property
    def dispatcher(self) -> Any:
        """Runs workflows: needs `cancel(repo, run_id)`, `rerun(repo, run_id, failed_only, actor)` and `stop()`."""
        return self.desk.dispatcher

    @dispatcher.setter
    def dispatcher(self, value: Any) -> None:
        self.desk.dispatcher = value

    def __enter__(self) -> Sandbox:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen on 127.0.0.1; returns when requests are answered."""
        config = uvicorn.Config(
            self._app(),
            log_level="warning",
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=3,
        )
        server = self._server = uvicorn.Server(config)
        # With the protocol named, asyncio switches Nagle's algorithm off; without, every answer waits 40 ms.
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((ADDRESS, self._port))
        except OSError as error:
            listener.close()
            raise ConfigError(
                f"port {self._port} cannot be taken: {error.strerror}",
                remedy="--port 0 takes a free one",
                link="sandbox.md",
            ) from error
        self.hub.url = f"http://{ADDRESS}:{listener.getsockname()[1]}"
        # Texts hold the address of their day: the pages read those links as their own.
        self.state.put("address", "", self.hub.url, {"url": self.hub.url})
        self._thread = threading.Thread(
            target=lambda: asyncio.run(server.serve(sockets=[listener])), daemon=True, name="sandbox"
        )
        self._thread.start()
        while not server.started and self._thread.is_alive():
            time.sleep(0.01)

    def stop(self) -> None:
        """Stop the dispatcher, then the server, then close the state."""
        if self.dispatcher is not None:
            self.dispatcher.stop()
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(10)
        self.state.close()

    def _app(self) -> Starlette:
        # Templates with more fixed words come first: `/releases/latest` before `/releases/{release_id}`.
        rows = sorted(ROUTES, key=lambda row: -sum("{" not in word for word in row.template.split("/")))
        routes: list[BaseRoute] = [self._http_route(row) for row in rows]
        routes.append(HttpRoute(API + "/{rest:path}", self._unknown, methods=_METHODS))
        for tail in smart_http.SERVICES:
            routes.append(HttpRoute("/{owner}/{repo}/" + tail, self._git, methods=["GET", "POST"]))
        routes.append(HttpRoute("/_blobs/{name}", self._blob))
        routes.append(HttpRoute("/{owner}/{repo}/releases/download/{tag:path}/{name}", self._asset))
        routes.append(HttpRoute("/_sandbox/attest", self._attest, methods=["POST"]))
        routes += self.extra_routes
        routes.append(HttpRoute("/{rest:path}", self._unknown, methods=_METHODS))
        app = Starlette(routes=routes)
        app.router.redirect_slashes = False
        return app

    def _http_route(self, row: Route) -> HttpRoute:
        path = re.sub(r"\{(\w+)\}", lambda one: f"{{{one[1]}:path}}" if one[1] in _SLASHES else one[0], row.template)
        prefix = UPLOADS if row.prefix == "uploads" else API

        async def endpoint(request: Request) -> Response:
            try:
                raw, cut = await request.body(), False
            except ClientDisconnect:
                raw, cut = b"", True
            if cut and row.prefix != "uploads":
                return _Cut()
            sent = Sent(
                method=row.method,
                path=request.url.path.removeprefix(prefix),
                url=f"{self.url}{request.url.path}",
                params={name: str(value) for name, value in request.path_params.items()},
                query=dict(request.query_params),
                headers=dict(request.headers),
                raw=raw,
                cut=cut,
            )
            reply = await run_in_threadpool(self.desk.answer, row, sent)
            if reply is None:
                return _Cut()
            headers = reply.headers | ({"content-type": reply.media_type} if reply.data else {})
            return Response(reply.data, status_code=reply.status, headers=headers)

        return HttpRoute(prefix + path, endpoint, methods=[row.method])

    async def _git(self, request: Request) -> Response:
        repo = f"{request.path_params['owner']}/{request.path_params['repo'].removesuffix('.git')}"
        tail = request.url.path.split("/", 3)[3]
        body = await request.body()

        def act() -> smart_http.Answer:
            return smart_http.serve(
                self.hub,
                repo,
                tail,
                method=request.method,
                query=request.url.query,
                headers=dict(request.headers),
                body=body,
            )

        def work() -> Response:
            path = f"/{repo}/{tail}" + (f"?{request.url.query}" if request.url.query else "")
            fault = self.faults.take(request.method, path, git=True)
            self.git_calls.append((request.method, path))
            try:
                answer = smart_http.hindered(fault, act)
                return _Cut() if answer is None else Response(answer[2], status_code=answer[0], headers=answer[1])
            except Problem as problem:
                return Response(problem.message, status_code=problem.status, headers=problem.headers)

        return await run_in_threadpool(work)

    async def _blob(self, request: Request) -> Response:
        answer = self.blobs.answer(request)
        self.desk.violations += self.blobs.wrong
        self.blobs.wrong.clear()
        return answer

    async def _asset(self, request: Request) -> Response:
        """A published release's asset by tag and name, for browsers and plain downloads."""
        owner, name, tag, file = (request.path_params[key] for key in ("owner", "repo", "tag", "name"))
        repo = f"{owner}/{name}"
        try:
            permit(self.hub, repo, actor_of(self.hub, request.headers.get("authorization", "")), "contents:read")
            for release in self.state.list("release", repo, tag_name=tag, draft=False):
                for doc in self.state.list("asset", repo, release=release["id"], name=file, state="uploaded"):
                    return RedirectResponse(f"{self.url}/_blobs/{doc['digest'].removeprefix('sha256:')}", 302)
            raise not_found()
        except Problem as problem:
            return JSONResponse(problem.body(), status_code=problem.status)

    async def _attest(self, request: Request) -> Response:
        """A statement, signed as the job whose token asks: what the stand-in of `actions/attest` calls."""
        statement = await request.body()

        def work() -> Response:
            try:
                token = actor_of(self.hub, request.headers.get("authorization", ""))
                return JSONResponse(attest(self.hub, token, statement))
            except Problem as problem:
                return JSONResponse(problem.body(), status_code=problem.status)

        return await run_in_threadpool(work)

    async def _unknown(self, request: Request) -> Response:
        if request.url.path.startswith("/api/"):
            self.desk.unknown(request.method, request.url.path)
        return JSONResponse(not_found().body(), status_code=404)


class _Cut(Response):
    """The connection is cut before any answer: what a time-out after the write looks like."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        cycle = cast(Any, getattr(receive, "__self__", None))
        cycle.transport.abort()
