"""What happened to a repository: its activity, and its deployments."""

from __future__ import annotations

from datetime import timedelta

from trackside.sandbox.problem import invalid
from trackside.sandbox.rest.route import MAX_PAGE, Call, Reply, route
from trackside.sandbox.state import Doc
from trackside.sandbox.views import history as show
from trackside.system.clock import rfc3339

_R = "/repos/{owner}/{repo}"
_D = _R + "/deployments"
_READ, _WRITE = "deployments:read", "deployments:write"
_DAYS = {"day": 1, "week": 7, "month": 31, "quarter": 92, "year": 366}


@route("GET", _R + "/activity", "contents:read")
def list_activity(call: Call) -> Reply:
    """Who moved which branch when, newest first; pages are cut by cursors, which Link headers carry."""
    query = call.query
    ref = query.get("ref", "")
    refs = {ref, f"refs/heads/{ref}"} if ref else None
    since = ""
    if query.get("time_period"):
        since = rfc3339(call.hub.clock.now() - timedelta(days=_DAYS[query["time_period"]]))
    docs = [
        doc
        for doc in call.hub.state.list("activity", call.repo)
        if (refs is None or doc["ref"] in refs)
        and query.get("actor") in (None, doc["actor"])
        and query.get("activity_type") in (None, doc["kind"])
        and doc["at"] >= since
    ]
    if query.get("direction", "desc") == "desc":
        docs.reverse()
    return _by_cursor(call, docs)


def _by_cursor(call: Call, docs: list[Doc]) -> Reply:
    size = max(1, min(int(call.query.get("per_page") or 30), MAX_PAGE))
    ids = [str(doc["id"]) for doc in docs]
    start = 0
    for name in ("after", "before"):
        mark = call.query.get(name)
        if mark is not None and mark not in ids:
            raise invalid("Activity", name)
        if mark is not None:
            place = ids.index(mark)
            start = place + 1 if name == "after" else max(0, place - size)
    shown = docs[start : start + size]
    links = []
    kept = "".join(f"{key}={value}&" for key, value in call.query.items() if key not in ("after", "before"))
    if start + size < len(docs):
        links.append(f'<{call.url}?{kept}after={shown[-1]["id"]}>; rel="next"')
    if start > 0 and shown:
        links.append(f'<{call.url}?{kept}before={shown[0]["id"]}>; rel="prev"')
    headers = {"Link": ", ".join(links)} if links else {}
    return Reply(body=[show.activity(call.hub, doc) for doc in shown], headers=headers)


@route("GET", _D, _READ)
def list_deployments(call: Call) -> Reply:
    """Newest first."""
    docs = [
        doc
        for doc in reversed(call.hub.state.list("deployment", call.repo))
        if all(call.query.get(name) in (None, "none", doc[name]) for name in ("sha", "ref", "task", "environment"))
    ]
    return call.page(docs, lambda doc: show.deployment(call.hub, call.repo, doc))


@route("POST", _D, _WRITE)
def create_deployment(call: Call) -> Reply:
    doc = call.hub.add_deployment(call.repo, call.fields, call.actor)
    return Reply(status=201, body=show.deployment(call.hub, call.repo, doc))


@route("GET", _D + "/{deployment_id}", _READ)
def get_deployment(call: Call) -> Reply:
    return Reply(body=show.deployment(call.hub, call.repo, call.doc("deployment", "deployment_id")))


@route("DELETE", _D + "/{deployment_id}", _WRITE)
def delete_deployment(call: Call) -> Reply:
    call.hub.delete_deployment(call.repo, call.number("deployment_id"))
    return Reply(status=204)


@route("GET", _D + "/{deployment_id}/statuses", _READ)
def list_deployment_statuses(call: Call) -> Reply:
    doc = call.doc("deployment", "deployment_id")
    docs = list(reversed(call.hub.state.list("deployment_status", call.repo, deployment=doc["id"])))
    return call.page(docs, lambda one: show.deployment_status(call.hub, call.repo, one))


@route("POST", _D + "/{deployment_id}/statuses", _WRITE)
def create_deployment_status(call: Call) -> Reply:
    made = call.hub.add_deployment_status(call.repo, call.number("deployment_id"), call.fields, call.actor)
    return Reply(status=201, body=show.deployment_status(call.hub, call.repo, made))
