"""Issues: create, list, their timelines; labels of a repository one by one."""

from __future__ import annotations

from trackside.sandbox.access import allowed
from trackside.sandbox.problem import not_found
from trackside.sandbox.rest.route import Call, Reply, route
from trackside.sandbox.state import Doc
from trackside.sandbox.views import history
from trackside.sandbox.views import talk as show

_R = "/repos/{owner}/{repo}"
_I = _R + "/issues"
_READ, _WRITE = "issues:read|pull_requests:read", "issues:write|pull_requests:write"


def label_names(labels: list[str | Doc]) -> list[str]:
    """Names of labels, which come as text or as objects."""
    return [one if isinstance(one, str) else one["name"] for one in labels]


def _assigned(wanted: str | None, logins: list[str]) -> bool:
    if wanted in ("*", "none"):
        return bool(logins) is (wanted == "*")
    return wanted is None or wanted in logins


@route("GET", _I, _READ)
def list_issues(call: Call) -> Reply:
    """Issues and pull requests, newest first; `labels` have to be there all."""
    query, wanted = call.query, [one for one in call.query.get("labels", "").split(",") if one]

    def fits(doc: Doc) -> bool:
        return (
            query.get("state", "open") in ("all", doc["state"])
            and query.get("creator") in (None, doc["user"])
            and query.get("since", "") <= doc["updated_at"]
            and _assigned(query.get("assignee"), doc.get("assignees", []))
            and set(wanted) <= set(doc["labels"])
        )

    docs = [doc for doc in call.hub.state.list("issue", call.repo) if fits(doc)]
    field = {"updated": "updated_at", "comments": "number"}.get(query.get("sort", ""), "number")
    docs.sort(key=lambda doc: (doc[field], doc["number"]), reverse=query.get("direction", "desc") == "desc")
    return call.page(docs, lambda doc: show.issue(call.hub, call.repo, doc))


@route("POST", _I, "issues:write", role="read")
def create_issue(call: Call) -> Reply:
    """Anybody opens issues; labels and assignees of those without write access are passed over, as on GitHub."""
    body = call.fields
    strong = allowed(call.hub, call.repo, call.token, "issues:write", "triage")
    given = [body["assignee"]] if body.get("assignee") else body.get("assignees") or []
    number = call.hub.new_issue(
        call.repo,
        title=str(body["title"]),
        body=body.get("body") or "",
        actor=call.actor,
        labels=label_names(body.get("labels") or []) if strong else [],
        assignees=given if strong else [],
    )
    return Reply(status=201, body=show.issue(call.hub, call.repo, call.hub.issue(call.repo, number)))


@route("GET", _I + "/comments", _READ)
def list_all_comments(call: Call) -> Reply:
    """Comments of all issues and pull requests, oldest first."""
    field = {"updated": "updated_at"}.get(call.query.get("sort", ""), "created_at")
    docs = [
        doc for doc in call.hub.state.list("comment", call.repo) if doc["updated_at"] >= call.query.get("since", "")
    ]
    docs.sort(key=lambda doc: (doc[field], doc["id"]), reverse=call.query.get("direction") == "desc")
    return call.page(docs, lambda doc: show.comment(call.hub, call.repo, doc))


@route("GET", _I + "/{issue_number}/timeline", _READ)
def list_timeline(call: Call) -> Reply:
    number = call.number("issue_number")
    call.hub.issue(call.repo, number)
    docs = [doc | {"event": "commented"} for doc in call.hub.state.list("comment", call.repo, issue=number)]
    docs += call.hub.state.list("issue_event", call.repo, issue=number)
    docs.sort(key=lambda doc: (doc["created_at"], doc["id"]))
    return call.page(docs, lambda doc: history.timeline_event(call.hub, call.repo, doc))


@route("PUT", _I + "/{issue_number}/labels", _WRITE, role="triage")
def replace_labels(call: Call) -> Reply:
    given = call.body if isinstance(call.body, list) else call.fields.get("labels", [])
    names = call.hub.set_labels(call.repo, call.number("issue_number"), label_names(given), call.actor)
    return Reply(body=[show.label(call.hub, call.repo, name) for name in names])


@route("DELETE", _I + "/{issue_number}/labels", _WRITE, role="triage")
def remove_labels(call: Call) -> Reply:
    call.hub.set_labels(call.repo, call.number("issue_number"), [], call.actor)
    return Reply(status=204)


@route("GET", _R + "/labels/{name}", _READ)
def get_label(call: Call) -> Reply:
    if call.hub.state.get("label", call.repo, call.params["name"]) is None:
        raise not_found()
    return Reply(body=show.label(call.hub, call.repo, call.params["name"]))
