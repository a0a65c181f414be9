"""Issues, comments, labels and reactions."""

from __future__ import annotations

from trackside.sandbox.access import allowed, permit
from trackside.sandbox.core import author
from trackside.sandbox.problem import Problem, invalid, not_found
from trackside.sandbox.rest.issues import label_names
from trackside.sandbox.rest.route import Call, Reply, route
from trackside.sandbox.state import Doc
from trackside.sandbox.views import talk as show

_R = "/repos/{owner}/{repo}"
_I = _R + "/issues"
_READ, _WRITE = "issues:read|pull_requests:read", "issues:write|pull_requests:write"


@route("GET", _I + "/{issue_number}", _READ)
def get_issue(call: Call) -> Reply:
    return Reply(body=show.issue(call.hub, call.repo, call.hub.issue(call.repo, call.number("issue_number"))))


@route("PATCH", _I + "/{issue_number}", _WRITE, role="read")
def update_issue(call: Call) -> Reply:
    """People without write access change only what they opened; whoever may triage closes and labels."""
    number, body = call.number("issue_number"), call.fields
    least = "write" if set(body) & {"title", "body"} else "triage"
    if call.hub.issue(call.repo, number)["user"] != call.actor["login"] or set(body) & {"labels", "assignees"}:
        permit(call.hub, call.repo, call.token, _WRITE, least)
    changes: Doc = {name: body[name] for name in ("title", "body") if name in body}
    if changes:
        call.hub.edit(call.repo, number, changes, call.actor)
    if "labels" in body:
        call.hub.set_labels(call.repo, number, label_names(body["labels"] or []), call.actor)
    if "assignees" in body:
        call.hub.set_assignees(call.repo, number, body["assignees"] or [])
    if "state" in body:
        call.hub.set_state(call.repo, number, body["state"], call.actor, body.get("state_reason"))
    return Reply(body=show.issue(call.hub, call.repo, call.hub.issue(call.repo, number)))


@route("GET", _I + "/{issue_number}/comments", _READ)
def list_comments(call: Call) -> Reply:
    number = call.number("issue_number")
    call.hub.issue(call.repo, number)
    docs = call.hub.state.list("comment", call.repo, issue=number)
    since = call.query.get("since", "")
    return call.page([doc for doc in docs if doc["updated_at"] >= since], lambda doc: _shown(call, doc))


def _shown(call: Call, doc: Doc) -> Doc:
    return show.comment(call.hub, call.repo, doc)


@route("POST", _I + "/{issue_number}/comments", _WRITE, role="read")
def create_comment(call: Call) -> Reply:
    doc = call.hub.add_comment(call.repo, call.number("issue_number"), call.fields["body"], call.actor)
    return Reply(status=201, body=_shown(call, doc))


@route("GET", _I + "/comments/{comment_id}", _READ)
def get_comment(call: Call) -> Reply:
    return Reply(body=_shown(call, call.doc("comment", "comment_id")))


@route("PATCH", _I + "/comments/{comment_id}", _WRITE, role="read")
def update_comment(call: Call) -> Reply:
    _own(call)
    doc = call.hub.edit_comment(call.repo, call.number("comment_id"), call.fields["body"], call.actor)
    return Reply(body=_shown(call, doc))


@route("DELETE", _I + "/comments/{comment_id}", _WRITE, role="read")
def delete_comment(call: Call) -> Reply:
    _own(call)
    call.hub.delete_comment(call.repo, call.number("comment_id"), call.actor)
    return Reply(status=204)


def _own(call: Call) -> None:
    """People without write access change only what they wrote."""
    doc = call.doc("comment", "comment_id")
    actor = call.actor
    strong = call.hub.role(call.repo, actor["login"]) in ("write", "maintain", "admin")
    if actor["kind"] == "user" and doc["user"] != actor["login"] and not strong:
        raise Problem(403, "Must have admin rights to Repository.")


@route("GET", _I + "/{issue_number}/labels", _READ)
def list_labels(call: Call) -> Reply:
    names = call.hub.issue(call.repo, call.number("issue_number"))["labels"]
    return call.page(names, lambda name: show.label(call.hub, call.repo, name))


@route("POST", _I + "/{issue_number}/labels", _WRITE, role="triage")
def add_labels(call: Call) -> Reply:
    given = call.body if isinstance(call.body, list) else call.fields.get("labels", [])
    names = call.hub.add_labels(call.repo, call.number("issue_number"), label_names(given), call.actor)
    return Reply(body=[show.label(call.hub, call.repo, name) for name in names])


@route("DELETE", _I + "/{issue_number}/labels/{name}", _WRITE, role="triage")
def remove_label(call: Call) -> Reply:
    left = call.hub.remove_label(call.repo, call.number("issue_number"), call.params["name"], call.actor)
    return Reply(body=[show.label(call.hub, call.repo, name) for name in left])


@route("GET", _R + "/labels", _READ)
def list_repo_labels(call: Call) -> Reply:
    docs = call.hub.state.list("label", call.repo)
    return call.page(docs, lambda doc: show.label(call.hub, call.repo, doc["name"]))


@route("POST", _R + "/labels", _WRITE)
def create_label(call: Call) -> Reply:
    body = call.fields
    if call.hub.state.get("label", call.repo, body["name"]):
        raise invalid("Label", "name", "already_exists")
    doc = {"id": call.hub.state.next("id"), "name": body["name"], "color": body.get("color") or "ededed"}
    call.hub.state.put("label", call.repo, body["name"], doc | {"description": body.get("description")})
    return Reply(status=201, body=show.label(call.hub, call.repo, body["name"]))


@route("GET", _I + "/comments/{comment_id}/reactions", _READ)
def list_comment_reactions(call: Call) -> Reply:
    return _reactions(call, f"comment/{call.doc('comment', 'comment_id')['id']}")


@route("POST", _I + "/comments/{comment_id}/reactions", _WRITE, role="read")
def react_to_comment(call: Call) -> Reply:
    return _react(call, f"comment/{call.doc('comment', 'comment_id')['id']}")


@route("DELETE", _I + "/comments/{comment_id}/reactions/{reaction_id}", _WRITE, role="read")
def remove_comment_reaction(call: Call) -> Reply:
    return _remove(call, f"comment/{call.doc('comment', 'comment_id')['id']}")


@route("GET", _I + "/{issue_number}/reactions", _READ)
def list_issue_reactions(call: Call) -> Reply:
    return _reactions(call, f"issue/{call.hub.issue(call.repo, call.number('issue_number'))['number']}")


@route("POST", _I + "/{issue_number}/reactions", _WRITE, role="read")
def react_to_issue(call: Call) -> Reply:
    return _react(call, f"issue/{call.hub.issue(call.repo, call.number('issue_number'))['number']}")


@route("DELETE", _I + "/{issue_number}/reactions/{reaction_id}", _WRITE, role="read")
def remove_issue_reaction(call: Call) -> Reply:
    return _remove(call, f"issue/{call.hub.issue(call.repo, call.number('issue_number'))['number']}")


def _reactions(call: Call, subject: str) -> Reply:
    docs = call.hub.state.list("reaction", call.repo, subject=subject)
    wanted = call.query.get("content")
    return call.page(
        [doc for doc in docs if wanted in (None, doc["content"])], lambda doc: show.reaction(call.hub, doc)
    )


def _remove(call: Call, subject: str) -> Reply:
    """Take a reaction back; others' are for those who may write."""
    doc = call.doc("reaction", "reaction_id")
    if doc["subject"] != subject:
        raise not_found()
    if doc["user"] != author(call.actor) and not allowed(call.hub, call.repo, call.token, _WRITE, "write"):
        raise Problem(403, "Must have admin rights to Repository.")
    call.hub.state.delete("reaction", call.repo, doc["id"])
    return Reply(status=204)


def _react(call: Call, subject: str) -> Reply:
    doc, new = call.hub.react(call.repo, subject, call.fields["content"], call.actor)
    return Reply(status=201 if new else 200, body=show.reaction(call.hub, doc))
