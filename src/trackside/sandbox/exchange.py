"""One REST exchange: fault, token, limits, permission, rule, judgement of the request, handler, answer judged."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from trackside.sandbox.access import actor_of, permit
from trackside.sandbox.bus import HookEvent
from trackside.sandbox.contract import Asked, contract
from trackside.sandbox.faults import Fault, Faults
from trackside.sandbox.hub import Hub
from trackside.sandbox.limits import Meter
from trackside.sandbox.problem import Problem
from trackside.sandbox.rest.route import Call, Reply, Route
from trackside.sandbox.state import Doc

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Logged:
    """One API call as it was answered; `status` 0 where the connection was cut."""

    method: str
    path: str
    status: int
    token_kind: str
    run_id: int | None
    job: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Sent:
    """A request as it came in; header names in lower case, `path` below `/api/v3`.

    `cut`: the caller went away, or the storage failed, in the middle of an upload.
    """

    method: str
    path: str
    url: str
    params: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    raw: bytes
    cut: bool = False


@dataclass(kw_only=True)
class Desk:
    """Answers requests. `violations` lists every breach of GitHub's description; `calls` every call."""

    hub: Hub
    faults: Faults
    meter: Meter
    strict: bool
    dispatcher: Any = None
    violations: list[str] = field(default_factory=list)
    calls: list[Logged] = field(default_factory=list)

    def answer(self, row: Route, sent: Sent) -> Reply | None:
        """The reply, or None when the connection is to be cut."""
        started = time.monotonic()
        fault = self.faults.take(row.method, sent.path)
        actor: Doc | None = None
        reply: Reply | None
        try:
            actor = actor_of(self.hub, sent.headers.get("authorization", ""))
            self.meter.count(actor, row.method)
            reply = self._hindered(fault, row, sent, actor)
        except Problem as problem:
            reply = self._refused(problem)
        except Exception as error:
            _LOG.exception("%s %s", row.method, sent.path)
            self._violated(row, [f"the sandbox failed: {error!r}"])
            reply = self._refused(Problem(500, f"The sandbox failed: {error!r}"))
        if reply is not None:
            told = self.meter.headers(actor) | {"x-github-request-id": f"{id(sent):X}"}
            reply = Reply(
                body=reply.body, status=reply.status, headers=told | reply.headers, raw=reply.raw,
                media_type=reply.media_type,
            )  # fmt: skip
        self.calls.append(
            Logged(
                method=row.method,
                path=sent.path,
                status=reply.status if reply else 0,
                token_kind=actor["kind"] if actor else "",
                run_id=actor.get("run_id") if actor else None,
                job=(actor.get("job") or "") if actor else "",
                seconds=time.monotonic() - started,
            )
        )
        return reply

    def _hindered(self, fault: Fault | None, row: Route, sent: Sent, actor: Doc | None) -> Reply | None:
        """Act, with the planned fault in the way."""
        if fault is None:
            return self._act(row, sent, actor)
        if fault.mode == "drop":
            return None
        if fault.mode == "before":
            raise Problem(fault.status, "Fault injected by the sandbox", headers=fault.headers)
        if fault.mode == "latency":
            time.sleep(fault.seconds)
            return self._act(row, sent, actor)
        self._act(row, replace(sent, cut=True) if fault.mode == "partial" else sent, actor)
        if fault.mode == "lost":
            time.sleep(fault.seconds)
            return None
        raise Problem(fault.status, "Fault injected by the sandbox", headers=fault.headers)

    def _act(self, row: Route, sent: Sent, actor: Doc | None) -> Reply:
        if "repo" in sent.params:
            permit(self.hub, f"{sent.params['owner']}/{sent.params['repo']}", actor, row.needs, row.role)
        call = self._call(row, sent, actor)
        if row.rule is not None:
            row.rule(call)
        # GitHub reads JSON whatever its media type is called; the bytes of an upload have no schema.
        uploads = row.prefix == "uploads"
        raw, kind = (b"", "application/octet-stream") if uploads else (sent.raw, "application/json")
        asked = contract().request(row.template, row.method, sent.params, sent.query, raw, kind)
        wrong = contract().request_errors(asked)
        if wrong and self.strict:
            self._violated(row, wrong)
            raise Problem(500, "The request violates GitHub's description: " + "; ".join(wrong[:5]))
        if wrong:
            raise Problem(422, "Invalid request.\n\n" + "\n".join(wrong[:5]))
        try:
            reply = row.handler(call)
        except Problem as problem:
            self._judge(row, asked, Reply(status=problem.status, body=problem.body()))
            raise
        self._judge(row, asked, reply)
        return reply

    def _call(self, row: Route, sent: Sent, actor: Doc | None) -> Call:
        try:
            body = json.loads(sent.raw) if sent.raw and row.prefix == "api" else None
        except ValueError:
            raise Problem(400, "Problems parsing JSON") from None
        return Call(
            hub=self.hub,
            params=dict(sent.params),
            query=dict(sent.query),
            headers=dict(sent.headers),
            raw=sent.raw,
            cut=sent.cut,
            body=body,
            token=actor,
            dispatcher=self.dispatcher,
            meter=self.meter,
            url=sent.url,
        )

    def _judge(self, row: Route, asked: Asked, reply: Reply) -> None:
        if not self.strict:
            return
        data = b"" if reply.status in (204, 302) else reply.data
        wrong = contract().response_errors(asked, reply.status, data)
        if wrong:
            self._violated(row, [f"{reply.status}: {one}" for one in wrong])
            raise Problem(500, "The sandbox's answer violates GitHub's description: " + "; ".join(wrong[:5]))

    @staticmethod
    def _refused(problem: Problem) -> Reply:
        return Reply(status=problem.status, body=problem.body(), headers=problem.headers)

    def _violated(self, row: Route, wrong: list[str]) -> None:
        self.violations += [f"{row.method} {row.template}: {one}" for one in wrong]

    def unknown(self, method: str, path: str) -> None:
        """Note a call that the sandbox has no endpoint for."""
        self.violations.append(f"{method} {path}: the sandbox has no such endpoint")

    def check_event(self, event: HookEvent) -> None:
        """Judge a webhook payload."""
        if self.strict:
            wrong = contract().payload_errors(event.name, event.payload)
            self.violations += [f"webhook {event.name} {event.action or ''}: {one}" for one in wrong]
