"""Pull requests, their comments and labels."""

from __future__ import annotations

from trackside.sandbox.hub import Problem, now
from trackside.sandbox.rest.repos import views
from trackside.sandbox.rest.route import Call, Reply, route

_P = "/repos/{owner}/{repo}/pulls"
_I = "/repos/{owner}/{repo}/issues"


@route("GET", _P, "pull_requests:read")
def list_pulls(call: Call) -> Reply:
    state, head = call.query.get("state", "open"), call.query.get("head", "")
    found = []
    for pull in reversed(call.hub.state.list("pull", call.repo)):
        label = f"{pull['head_repo'].split('/')[0]}:{pull['head_ref']}"
        fits = not head or head == label
        if fits and state in ("all", call.hub.issue(call.repo, pull["number"])["state"]):
            found.append(views(call).pull(call.repo, pull["number"], simple=True))
    return call.page(found)


@route("POST", _P, "pull_requests:write")
def create_pull(call: Call) -> Reply:
    body = call.body
    number = call.hub.open_pull(
        call.repo,
        title=body.get("title", ""),
        head=body["head"],
        base=body["base"],
        actor=call.actor,
        body=body.get("body") or "",
        draft=bool(body.get("draft")),
    )
    return Reply(status=201, body=views(call).pull(call.repo, number))


@route("GET", _P + "/{pull_number}", "pull_requests:read")
def get_pull(call: Call) -> Reply:
    return Reply(body=views(call).pull(call.repo, call.number("pull_number")))


@route("PATCH", _P + "/{pull_number}", "pull_requests:write")
def update_pull(call: Call) -> Reply:
    number = call.number("pull_number")
    issue = call.hub.issue(call.repo, number)
    changed = {name: call.body[name] for name in ("title", "body") if name in call.body}
    if changed:
        call.hub.state.put("issue", call.repo, number, issue | changed | {"updated_at": now()})
    if "state" in call.body:
        call.hub.set_state(call.repo, number, call.body["state"], call.actor)
    return Reply(body=views(call).pull(call.repo, number))


@route("PUT", _P + "/{pull_number}/merge", "contents:write")
def merge_pull(call: Call) -> Reply:
    body = call.body or {}
    sha = call.hub.merge_pull(
        call.repo, call.number("pull_number"), call.actor, body.get("merge_method", "merge"), body.get("sha")
    )
    return Reply(body={"sha": sha, "merged": True, "message": "Pull Request successfully merged"})


@route("GET", _I + "/{issue_number}/comments", "pull_requests:read")
def list_comments(call: Call) -> Reply:
    number = call.number("issue_number")
    call.hub.issue(call.repo, number)
    return call.page(
        [views(call).comment(call.repo, doc) for doc in call.hub.state.list("comment", call.repo, issue=number)]
    )


@route("POST", _I + "/{issue_number}/comments", "pull_requests:write")
def create_comment(call: Call) -> Reply:
    doc = call.hub.add_comment(call.repo, call.number("issue_number"), call.body["body"], call.actor)
    return Reply(status=201, body=views(call).comment(call.repo, doc))


@route("PATCH", _I + "/comments/{comment_id}", "pull_requests:write")
def update_comment(call: Call) -> Reply:
    doc = call.hub.state.get("comment", call.repo, call.number("comment_id"))
    if doc is None:
        raise Problem(404, "Not Found")
    if len(call.body["body"]) > 65_536:
        raise Problem(422, "Validation Failed")
    doc.update(body=call.body["body"], updated_at=now())
    call.hub.state.put("comment", call.repo, doc["id"], doc)
    return Reply(body=views(call).comment(call.repo, doc))


@route("DELETE", _I + "/comments/{comment_id}", "pull_requests:write")
def delete_comment(call: Call) -> Reply:
    if not call.hub.state.delete("comment", call.repo, call.number("comment_id")):
        raise Problem(404, "Not Found")
    return Reply(status=204)


@route("POST", _I + "/{issue_number}/labels", "pull_requests:write")
def add_labels(call: Call) -> Reply:
    names = call.body if isinstance(call.body, list) else call.body["labels"]
    names = call.hub.add_labels(call.repo, call.number("issue_number"), [str(one) for one in names], call.actor)
    return Reply(body=[views(call).label(call.repo, name) for name in names])
