"""Check runs: a completed one needs a conclusion; at most 50 annotations a request."""

from __future__ import annotations

from typing import Any

from trackside.sandbox.hub import Problem, now
from trackside.sandbox.rest.repos import views
from trackside.sandbox.rest.route import Call, Reply, route
from trackside.sandbox.state import Doc

_C = "/repos/{owner}/{repo}/check-runs"
MAX_OUTPUT = 65_535
MAX_ANNOTATIONS = 50


def _apply(call: Call, doc: Doc, body: dict[str, Any]) -> Doc:
    for name in ("name", "external_id", "details_url", "started_at"):
        if name in body:
            doc[name] = body[name]
    if "conclusion" in body:
        doc.update(conclusion=body["conclusion"], status="completed", completed_at=body.get("completed_at") or now())
    elif body.get("status") == "completed":
        raise Problem(422, "Invalid request. A completed check run needs a conclusion.")
    elif "status" in body:
        doc.update(status=body["status"], conclusion=None, completed_at=None)
    output = body.get("output") or {}
    for name in ("summary", "text"):
        if len(output.get(name) or "") > MAX_OUTPUT:
            raise Problem(422, f"Invalid request. output.{name}: only {MAX_OUTPUT} characters are allowed")
    annotations = output.get("annotations") or []
    if len(annotations) > MAX_ANNOTATIONS:
        raise Problem(
            422, f"Invalid request. No more than {MAX_ANNOTATIONS} items are allowed; {len(annotations)} were supplied."
        )
    doc["output"] |= {name: output[name] for name in ("title", "summary", "text") if name in output}
    doc["annotations"] += annotations
    return call.hub.state.put("check_run", call.repo, doc["id"], doc)


@route("POST", _C, "checks:write")
def create_check(call: Call) -> Reply:
    if call.hub.bare(call.repo).sha(call.body["head_sha"]) is None:
        raise Problem(422, "No commit found for SHA: " + call.body["head_sha"])
    doc: Doc = {
        "id": call.hub.state.next("id"),
        "head_sha": call.body["head_sha"],
        "external_id": "",
        "details_url": "",
        "status": "queued",
        "conclusion": None,
        "started_at": now(),
        "completed_at": None,
        "output": {},
        "annotations": [],
        "app": call.actor["login"],
    }
    return Reply(status=201, body=views(call).check(call.repo, _apply(call, doc, call.body)))


@route("PATCH", _C + "/{check_run_id}", "checks:write")
def update_check(call: Call) -> Reply:
    doc = call.hub.state.get("check_run", call.repo, call.number("check_run_id"))
    if doc is None:
        raise Problem(404, "Not Found")
    return Reply(body=views(call).check(call.repo, _apply(call, doc, call.body)))


@route("GET", "/repos/{owner}/{repo}/commits/{ref}/check-runs", "checks:read")
def list_checks(call: Call) -> Reply:
    sha = call.hub.bare(call.repo).sha(call.params["ref"])
    if sha is None:
        raise Problem(422, "No commit found for SHA: " + call.params["ref"])
    name = call.query.get("check_name")
    docs = [doc for doc in call.hub.state.list("check_run", call.repo, head_sha=sha) if name in (None, doc["name"])]
    return call.page([views(call).check(call.repo, doc) for doc in reversed(docs)], key="check_runs")
