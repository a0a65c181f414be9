"""The sandbox's server: authentication, permissions, validation, faults and the log of calls around the route table."""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.routing import Route as HttpRoute

from trackside.sandbox import smart_http
from trackside.sandbox.bus import Bus
from trackside.sandbox.contract import Contract
from trackside.sandbox.faults import Faults
from trackside.sandbox.hub import ROLES, Hub, Problem
from trackside.sandbox.rest import checks, git_data, pulls, repos, workflow_runs
from trackside.sandbox.rest.route import ROUTES, Call, Reply, Route
from trackside.sandbox.rest.views import API, Views
from trackside.sandbox.state import Doc, State

HANDLERS = (checks, git_data, pulls, repos, workflow_runs)
"""Imported for the routes they add."""

_SLASHES = {"ref", "path", "branch"}


@dataclass(frozen=True, kw_only=True)
class Logged:
    """One API call as it was answered."""

    method: str
    path: str
    status: int
    token_kind: str
    run_id: int | None
    job: str
    seconds: float


class Sandbox:
    """A GitHub on 127.0.0.1. Use as a context manager, or `start()` and `stop()`.

    Args:
        root: state folder; an existing one is continued.
        env: environment for git.
        port: 0 chooses a free one.
        strict: answer 500 when an exchange violates GitHub's description; violations are listed either way.
    """

    def __init__(self, root: Path, env: Mapping[str, str], *, port: int = 0, strict: bool = True) -> None:
        self.state, self.bus, self.faults = State(root), Bus(), Faults()
        self.contract = Contract()
        self.hub = Hub(self.state, self.bus, env)
        self.hub.payloads = Views(self.hub, self.contract)
        self.strict, self.violations = strict, list[str]()
        self.calls: list[Logged] = []
        self.dispatcher: Any = None
        self.extra_routes: list[BaseRoute] = []
        self._port = port
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return self.hub.url

    @property
    def api_url(self) -> str:
        return self.hub.url + API

    def __enter__(self) -> Sandbox:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen on 127.0.0.1; returns when requests are answered."""
        config = uvicorn.Config(
            self._app(), host="127.0.0.1", port=self._port, log_level="warning", lifespan="off", ws="none"
        )
        server = self._server = uvicorn.Server(config)
        socket = config.bind_socket()
        self.hub.url = f"http://127.0.0.1:{socket.getsockname()[1]}"
        self._thread = threading.Thread(
            target=lambda: asyncio.run(server.serve(sockets=[socket])), daemon=True, name="sandbox"
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
        routes: list[BaseRoute] = [self._http_route(row) for row in ROUTES]
        routes += self.extra_routes
        routes.append(HttpRoute("/{owner}/{repo}/{tail:path}", self._git, methods=["GET", "POST"]))
        routes.append(HttpRoute("/{rest:path}", self._unknown, methods=["GET", "POST", "PATCH", "PUT", "DELETE"]))
        return Starlette(routes=routes)

    def _http_route(self, row: Route) -> HttpRoute:
        path = re.sub(
            r"\{(\w+)\}", lambda found: f"{{{found[1]}:path}}" if found[1] in _SLASHES else found[0], row.template
        )

        async def endpoint(request: Request) -> Response:
            body = await request.body()
            return await run_in_threadpool(self._exchange, row, request, body)

        return HttpRoute(API + path, endpoint, methods=[row.method])

    def _exchange(self, row: Route, request: Request, raw: bytes) -> Response:
        started = time.monotonic()
        actor: Doc | None = None
        path = request.url.path.removeprefix(API)
        fault = self.faults.take(row.method, path)
        try:
            actor = smart_http.actor_of(self.hub, request.headers.get("authorization", ""))
            if fault and fault.mode == "latency":
                time.sleep(fault.seconds)
            if fault and fault.mode == "before":
                raise Problem(fault.status, "injected fault", headers=fault.headers)
            reply = self._answer(row, request, raw, actor)
            if fault and fault.mode == "lost":
                reply = Reply(status=599)
        except Problem as problem:
            body: dict[str, Any] = {
                "message": problem.message,
                "documentation_url": "https://docs.github.com/rest",
                "status": str(problem.status),
            }
            if problem.errors:
                body["errors"] = problem.errors
            reply = Reply(status=problem.status, body=body, headers=problem.headers)
        self.calls.append(
            Logged(
                method=row.method,
                path=path,
                status=reply.status,
                token_kind=actor["kind"] if actor else "",
                seconds=time.monotonic() - started,
                run_id=actor.get("run_id") if actor else None,
                job=(actor.get("job") or "") if actor else "",
            )
        )
        if reply.status == 599:
            return _Dropped()
        content = b"" if reply.body is None else json.dumps(reply.body).encode()
        limits = {
            "x-ratelimit-limit": "5000",
            "x-ratelimit-remaining": "4999",
            "x-ratelimit-used": "1",
            "x-ratelimit-reset": str(int(time.time()) + 3600),
        }
        return Response(
            content,
            status_code=reply.status,
            headers={**limits, **reply.headers},
            media_type="application/json; charset=utf-8",
        )

    def _answer(self, row: Route, request: Request, raw: bytes, actor: Doc | None) -> Reply:
        if actor is None:
            raise Problem(401, "Requires authentication")
        params = {name: str(value) for name, value in request.path_params.items()}
        if "repo" in params:
            self._permit(f"{params['owner']}/{params['repo']}", row, actor)
        try:
            body = json.loads(raw) if raw else None
        except ValueError:
            raise Problem(400, "Problems parsing JSON") from None
        query = dict(request.query_params)
        wrong = self.contract.request_errors(row.template, row.method, query, body)
        if wrong:
            self._violated(row, wrong)
            raise Problem(422, "Invalid request.\n\n" + "\n".join(wrong[:5]))
        call = Call(
            hub=self.hub,
            contract=self.contract,
            params=params,
            query=query,
            body=body,
            actor=actor,
            dispatcher=self.dispatcher,
            url=f"{self.url}{request.url.path}",
        )
        reply = row.handler(call)
        wrong = self.contract.response_errors(row.template, row.method, reply.status, reply.body)
        if wrong:
            self._violated(row, wrong)
            if self.strict:
                raise Problem(500, "the sandbox's answer violates GitHub's description: " + "; ".join(wrong[:5]))
        return reply

    def _violated(self, row: Route, wrong: list[str]) -> None:
        self.violations += [f"{row.method} {row.template}: {one}" for one in wrong]

    def _permit(self, repo: str, row: Route, actor: Doc) -> None:
        doc = self.hub.repo(repo)
        if not self.allowed(repo, actor, row.needs):
            if doc["private"] and actor["kind"] == "user":
                raise Problem(404, "Not Found")
            message = (
                "Resource not accessible by integration"
                if actor["kind"] != "user"
                else "Must have admin rights to Repository."
            )
            raise Problem(403, message, headers={"x-accepted-github-permissions": row.needs.replace(":", "=")})

    def allowed(self, repo: str, actor: Doc | None, needs: str) -> bool:
        """Whether a token may do what a route needs in a repository."""
        if actor is None:
            return False
        permission, level = needs.split(":")
        if actor["permissions"] is not None:
            held = actor["permissions"].get(permission.replace("_", "-"), "none")
            right_repo = actor["repo"] == repo
            return right_repo and (permission == "metadata" or held == "write" or (held == "read" and level == "read"))
        role = self.hub.role(repo, actor["login"])
        if level == "read" or permission == "metadata":
            return role != "none"
        return permission == "pull_requests" and role != "none" or ROLES.index(role) >= ROLES.index("write")

    async def _git(self, request: Request) -> Response:
        repo = f"{request.path_params['owner']}/{request.path_params['repo'].removesuffix('.git')}"
        tail = request.path_params["tail"]
        if tail not in ("info/refs", "git-upload-pack", "git-receive-pack"):
            return await self._unknown(request)
        body = await request.body()

        def work() -> Response:
            try:
                actor = smart_http.actor_of(self.hub, request.headers.get("authorization", ""))
                status, headers, content = smart_http.serve(
                    self.hub,
                    repo=repo,
                    tail=tail,
                    method=request.method,
                    query=request.url.query,
                    headers=dict(request.headers),
                    body=body,
                    actor=actor,
                    may_write=lambda who: self.allowed(repo, who, "contents:write"),
                )
                return Response(content, status_code=status, headers=headers)
            except Problem as problem:
                return Response(problem.message, status_code=problem.status, headers=problem.headers)

        return await run_in_threadpool(work)

    async def _unknown(self, request: Request) -> Response:
        if request.url.path.startswith(API):
            self.violations.append(f"{request.method} {request.url.path}: no such endpoint in the sandbox")
        return Response('{"message":"Not Found","status":"404"}', status_code=404, media_type="application/json")


class _Dropped(Response):
    """The connection is cut before any answer: what a time-out after the write looks like."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        transport = cast(Any, getattr(receive, "__self__", None)).transport
        transport.abort()
