"""Check runs and commit statuses."""

from __future__ import annotations

from typing import Any

from trackside.sandbox.core import app_of, author
from trackside.sandbox.problem import Problem, invalid
from trackside.sandbox.rest.route import Call, Reply, route
from trackside.sandbox.state import Doc
from trackside.sandbox.views import work as show

_R = "/repos/{owner}/{repo}"
_C = _R + "/check-runs"
MAX_OUTPUT, MAX_ANNOTATIONS, MAX_DESCRIPTION, MAX_STATUSES = 65_535, 50, 140, 1000


def rules(call: Call) -> None:
    """What GitHub refuses in a check run. Raises Problem 422."""
    body = call.fields
    if body.get("status") == "completed" and not body.get("conclusion"):
        raise Problem(422, "Invalid request.\n\nMissing required key: conclusion: a completed check run needs one.")
    output = body.get("output") or {}
    for name in ("summary", "text"):
        if len(output.get(name) or "") > MAX_OUTPUT:
            raise Problem(422, f"Invalid request.\n\nOnly {MAX_OUTPUT} characters are allowed in output.{name}.")
    count = len(output.get("annotations") or [])
    if count > MAX_ANNOTATIONS:
        raise Problem(
            422, f"Invalid request.\n\nNo more than {MAX_ANNOTATIONS} items are allowed; {count} were supplied."
        )


def _apply(call: Call, doc: Doc) -> Doc:
    """Lay a request over a check run; annotations are added to those of earlier requests."""
    body: dict[str, Any] = call.fields
    doc |= {name: body[name] for name in ("name", "external_id", "details_url", "started_at") if name in body}
    if body.get("conclusion"):
        ended = body.get("completed_at") or call.hub.now()
        doc |= {"conclusion": body["conclusion"], "status": "completed", "completed_at": ended}
    elif "status" in body:
        doc |= {"status": body["status"], "conclusion": None, "completed_at": None}
    output = body.get("output") or {}
    doc["output"] |= {name: output[name] for name in ("title", "summary", "text") if name in output}
    doc["annotations"] += output.get("annotations") or []
    return call.hub.state.put("check_run", call.repo, doc["id"], doc)


def _commit(call: Call, sha: str) -> str:
    found = call.hub.commit_of(call.repo, sha)
    if found is None:
        raise Problem(422, f"No commit found for SHA: {sha}")
    return found


@route("POST", _C, "checks:write", rule=rules)
def create_check(call: Call) -> Reply:
    with call.hub.lock:
        doc: Doc = {
            "id": call.hub.state.next("id"),
            "head_sha": _commit(call, call.fields["head_sha"]),
            "external_id": "",
            "details_url": "",
            "status": "queued",
            "conclusion": None,
            "started_at": call.hub.now(),
            "completed_at": None,
            "output": {},
            "annotations": [],
            "app": app_of(call.actor),
        }
        return Reply(status=201, body=show.check(call.hub, call.repo, _apply(call, doc)))


@route("GET", _C + "/{check_run_id}", "checks:read")
def get_check(call: Call) -> Reply:
    return Reply(body=show.check(call.hub, call.repo, call.doc("check_run", "check_run_id")))


@route("PATCH", _C + "/{check_run_id}", "checks:write", rule=rules)
def update_check(call: Call) -> Reply:
    with call.hub.lock:
        doc = call.doc("check_run", "check_run_id")
        if doc["app"] != app_of(call.actor):
            raise Problem(403, "Invalid app_id: a check run is changed only by the app that made it.")
        return Reply(body=show.check(call.hub, call.repo, _apply(call, doc)))


@route("GET", _C + "/{check_run_id}/annotations", "checks:read")
def list_annotations(call: Call) -> Reply:
    doc = call.doc("check_run", "check_run_id")
    return call.page(doc["annotations"], lambda one: show.annotation(call.hub, call.repo, doc["head_sha"], one))


@route("GET", _R + "/commits/{ref}/check-runs", "checks:read")
def list_checks(call: Call) -> Reply:
    """Newest first; `filter=latest` (the default) shows only the newest of each name and app."""
    sha, query = _commit(call, call.params["ref"]), call.query
    docs = list(reversed(call.hub.state.list("check_run", call.repo, head_sha=sha)))
    docs = [doc for doc in docs if query.get("check_name") in (None, doc["name"])]
    docs = [doc for doc in docs if query.get("status") in (None, doc["status"])]
    if query.get("filter", "latest") == "latest":
        newest: dict[tuple[str, str], Doc] = {}
        for doc in docs:
            newest.setdefault((doc["name"], doc["app"]), doc)
        docs = list(newest.values())
    return call.page(docs, lambda doc: show.check(call.hub, call.repo, doc), key="check_runs")


@route("POST", _R + "/statuses/{sha}", "statuses:write")
def create_status(call: Call) -> Reply:
    body, sha = call.fields, _commit(call, call.params["sha"])
    if len(body.get("description") or "") > MAX_DESCRIPTION:
        raise invalid(
            "Status", "description", "custom", f"description is too long (maximum is {MAX_DESCRIPTION} characters)"
        )
    doc = {
        "id": call.hub.state.next("id"),
        "sha": sha,
        "state": body["state"],
        "description": body.get("description"),
        "target_url": body.get("target_url"),
        "context": body.get("context") or "default",
        "creator": author(call.actor),
        "created_at": call.hub.now(),
    }
    if len(call.hub.state.list("status", call.repo, sha=sha, context=doc["context"])) >= MAX_STATUSES:
        raise invalid("Status", "context", "custom", "This SHA and context has reached the maximum number of statuses.")
    call.hub.state.put("status", call.repo, doc["id"], doc)
    return Reply(status=201, body=show.status(call.hub, call.repo, doc))


@route("GET", _R + "/commits/{ref}/statuses", "statuses:read")
def list_statuses(call: Call) -> Reply:
    docs = list(reversed(call.hub.state.list("status", call.repo, sha=_commit(call, call.params["ref"]))))
    return call.page(docs, lambda doc: show.status(call.hub, call.repo, doc))


@route("GET", _R + "/commits/{ref}/status", "statuses:read")
def combined_status(call: Call) -> Reply:
    sha = _commit(call, call.params["ref"])
    docs = call.hub.state.list("status", call.repo, sha=sha)
    return Reply(body=show.combined_status(call.hub, call.repo, sha, docs))
