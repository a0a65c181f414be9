"""Pull requests: list, open, edit, files, commits, merge, reviews, reviewers."""

from __future__ import annotations

from trackside.sandbox.access import permit
from trackside.sandbox.core import author
from trackside.sandbox.problem import Problem, invalid, not_found
from trackside.sandbox.rest.route import Call, Reply, route
from trackside.sandbox.state import Doc
from trackside.sandbox.views import git as show_git
from trackside.sandbox.views import talk as show

_P = "/repos/{owner}/{repo}/pulls"
_READ, _WRITE = "pull_requests:read", "pull_requests:write"


@route("GET", _P, _READ)
def list_pulls(call: Call) -> Reply:
    state, head, base = call.query.get("state", "open"), call.query.get("head", ""), call.query.get("base")
    numbers = []
    for pull in call.hub.state.list("pull", call.repo):
        label = f"{pull['head_repo'].split('/')[0]}:{pull['head_ref']}"
        # A head without an owner is ignored, as on GitHub.
        fits = (":" not in head or head == label) and base in (None, pull["base_ref"])
        if fits and state in ("all", call.hub.issue(call.repo, pull["number"])["state"]):
            numbers.append(pull["number"])
    if call.query.get("direction", "desc") == "desc":
        numbers.reverse()
    return call.page(numbers, lambda number: show.simple_pull(call.hub, call.repo, number))


@route("POST", _P, _WRITE, role="read")
def create_pull(call: Call) -> Reply:
    body = call.fields
    if not body.get("title"):
        raise invalid("PullRequest", "title", "missing_field")
    _permitted(call)
    number = call.hub.open_pull(
        call.repo,
        title=body["title"],
        head=body["head"],
        base=body["base"],
        actor=call.actor,
        body=body.get("body") or "",
        draft=bool(body.get("draft")),
    )
    return Reply(status=201, body=show.pull(call.hub, call.repo, number))


def _permitted(call: Call) -> None:
    """Jobs create and approve pull requests only where the repository says so. Raises Problem 403."""
    if call.actor["kind"] == "workflow" and not call.hub.setting(call.repo, "actions_can_create_pull_requests"):
        raise Problem(403, "GitHub Actions is not permitted to create or approve pull requests.")


@route("GET", _P + "/{pull_number}", _READ)
def get_pull(call: Call) -> Reply:
    number = call.number("pull_number")
    with call.hub.lock:
        doc = call.hub.pull(call.repo, number)
        left = doc.get("unknown_for", 0)
        if left:
            call.hub.state.put("pull", call.repo, number, doc | {"unknown_for": left - 1})
    unknown = {"mergeable": None, "rebaseable": None, "mergeable_state": "unknown", "merge_commit_sha": None}
    return Reply(body=show.pull(call.hub, call.repo, number) | (unknown if left else {}))


@route("PATCH", _P + "/{pull_number}", _WRITE, role="read")
def update_pull(call: Call) -> Reply:
    """People without write access change only what they opened."""
    number = call.number("pull_number")
    call.hub.pull(call.repo, number)
    if call.hub.issue(call.repo, number)["user"] != call.actor["login"]:
        permit(call.hub, call.repo, call.token, _WRITE, "triage" if set(call.fields) == {"state"} else "write")
    changes: Doc = {name: call.fields[name] for name in ("title", "body", "base") if name in call.fields}
    if changes:
        call.hub.edit(call.repo, number, changes, call.actor)
    if "state" in call.fields:
        call.hub.set_state(call.repo, number, call.fields["state"], call.actor)
    return Reply(body=show.pull(call.hub, call.repo, number))


@route("GET", _P + "/{pull_number}/files", _READ)
def list_files(call: Call) -> Reply:
    pull, bare = call.hub.pull(call.repo, call.number("pull_number")), call.hub.bare(call.repo)
    start = bare.merge_base(pull["base_sha"], pull["head_sha"]) or pull["base_sha"]
    changes = bare.changed(start, pull["head_sha"], patches=True)
    return call.page(changes, lambda one: show_git.diff_entry(call.hub, call.repo, one, pull["head_sha"]))


@route("GET", _P + "/{pull_number}/commits", _READ)
def list_commits(call: Call) -> Reply:
    pull, bare = call.hub.pull(call.repo, call.number("pull_number")), call.hub.bare(call.repo)
    shas = list(reversed(bare.log(f"{pull['base_sha']}..{pull['head_sha']}")))
    return call.page(shas, lambda sha: show_git.commit(call.hub, call.repo, bare.commit(sha)))


@route("GET", _P + "/{pull_number}/merge", _READ)
def is_merged(call: Call) -> Reply:
    if not call.hub.pull(call.repo, call.number("pull_number"))["merged"]:
        raise not_found()
    return Reply(status=204)


_METHODS = {
    "merge": ("allow_merge_commit", "Merge commits"),
    "squash": ("allow_squash_merge", "Squash merges"),
    "rebase": ("allow_rebase_merge", "Rebase merges"),
}


@route("PUT", _P + "/{pull_number}/merge", "contents:write")
def merge_pull(call: Call) -> Reply:
    body = call.fields
    setting, words = _METHODS[body.get("merge_method", "merge")]
    if call.hub.setting(call.repo, setting) is False:
        raise Problem(405, f"{words} are not allowed on this repository.")
    sha = call.hub.merge_pull(
        call.repo,
        call.number("pull_number"),
        call.actor,
        body.get("merge_method", "merge"),
        body.get("sha"),
        body.get("commit_title"),
        body.get("commit_message"),
    )
    return Reply(body={"sha": sha, "merged": True, "message": "Pull Request successfully merged"})


@route("GET", _P + "/{pull_number}/reviews", _READ)
def list_reviews(call: Call) -> Reply:
    number = call.number("pull_number")
    call.hub.pull(call.repo, number)
    docs = call.hub.state.list("review", call.repo, pull=number)
    return call.page(docs, lambda doc: show.review(call.hub, call.repo, doc))


@route("POST", _P + "/{pull_number}/reviews", _WRITE, role="read")
def create_review(call: Call) -> Reply:
    pull = call.hub.pull(call.repo, call.number("pull_number"))
    who = author(call.actor)
    event = call.fields.get("event", "")
    state = {"APPROVE": "APPROVED", "REQUEST_CHANGES": "CHANGES_REQUESTED", "COMMENT": "COMMENTED"}.get(
        event, "PENDING"
    )
    if state == "APPROVED":
        _permitted(call)
    own = call.hub.issue(call.repo, pull["number"])["user"] == who
    if own and state in ("APPROVED", "CHANGES_REQUESTED"):
        verb = "approve" if state == "APPROVED" else "request changes on"
        raise Problem(422, "Unprocessable Entity", errors=[f"Can not {verb} your own pull request"])
    doc = {
        "id": call.hub.state.next("id"),
        "pull": pull["number"],
        "user": who,
        "body": call.fields.get("body") or "",
        "state": state,
        "commit_id": call.fields.get("commit_id") or pull["head_sha"],
        "submitted_at": call.hub.now(),
    }
    call.hub.state.put("review", call.repo, doc["id"], doc)
    return Reply(body=show.review(call.hub, call.repo, doc))


@route("POST", _P + "/{pull_number}/requested_reviewers", _WRITE)
def request_reviewers(call: Call) -> Reply:
    """Ask people for a review. Teams need an app that may read members: 422 for a workflow's token, as on GitHub."""
    number = call.number("pull_number")
    call.hub.pull(call.repo, number)
    stranger = (
        "Reviews may only be requested from collaborators. One or more of the users or teams you specified is not a"
        f" collaborator of the {call.repo} repository."
    )
    if call.fields.get("team_reviewers"):
        raise Problem(422, stranger)
    added = list(call.fields.get("reviewers", []))
    for login in added:
        if call.hub.state.get("collaborator", call.repo, login) is None:
            raise Problem(422, stranger)
        if login == call.hub.issue(call.repo, number)["user"]:
            raise Problem(422, "Review cannot be requested from pull request author.")
    with call.hub.lock:
        pull = call.hub.pull(call.repo, number)
        for login in [one for one in added if one not in pull.get("reviewers", [])]:
            call.hub.record(call.repo, number, "review_requested", call.actor, reviewer=login)
        reviewers = list(dict.fromkeys([*pull.get("reviewers", []), *added]))
        call.hub.state.put("pull", call.repo, number, pull | {"reviewers": reviewers})
    return Reply(status=201, body=show.simple_pull(call.hub, call.repo, number))


@route("DELETE", _P + "/{pull_number}/requested_reviewers", _WRITE)
def remove_reviewers(call: Call) -> Reply:
    number = call.number("pull_number")
    with call.hub.lock:
        pull = call.hub.pull(call.repo, number)
        left = [one for one in pull.get("reviewers", []) if one not in call.fields.get("reviewers", [])]
        call.hub.state.put("pull", call.repo, number, pull | {"reviewers": left})
    return Reply(body=show.simple_pull(call.hub, call.repo, number))
