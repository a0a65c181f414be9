"""People, repositories, contents, branches, commits and comparisons."""

from __future__ import annotations

from trackside.sandbox.access import role_of
from trackside.sandbox.problem import Problem, not_found
from trackside.sandbox.rest.route import Call, Reply, route
from trackside.sandbox.state import Doc
from trackside.sandbox.views import core as show
from trackside.sandbox.views import git as show_git
from trackside.sandbox.views import talk as show_talk

_R = "/repos/{owner}/{repo}"
_UNTOLD = ("bio", "blog", "company", "email", "hireable", "location")
_PUBLIC_COUNTS = ("followers", "following", "public_gists", "public_repos")
_PRIVATE_COUNTS = ("collaborators", "disk_usage", "owned_private_repos", "private_gists", "total_private_repos")


def _person(call: Call, doc: Doc) -> Doc:
    """`public-user`: the sandbox knows a name, no more."""
    told: Doc = dict.fromkeys(_UNTOLD) | dict.fromkeys(_PUBLIC_COUNTS, 0)
    dates = {"created_at": doc["created_at"], "updated_at": doc["created_at"]}
    return show.user(call.hub, doc["login"]) | told | {"name": doc["name"]} | dates


@route("GET", "/user")
def get_user(call: Call) -> Reply:
    if call.actor["kind"] == "workflow":
        raise Problem(403, "Resource not accessible by integration")
    more: Doc = dict.fromkeys(_PRIVATE_COUNTS, 0) | {"two_factor_authentication": True, "user_view_type": "private"}
    return Reply(body=_person(call, call.hub.user(call.actor["login"])) | more)


@route("GET", "/users/{username}")
def get_someone(call: Call) -> Reply:
    doc = call.hub.state.get("user", "", call.params["username"])
    if doc is None:
        raise not_found()
    return Reply(body=_person(call, doc))


@route("GET", "/rate_limit")
def get_rate_limit(call: Call) -> Reply:
    now = call.meter.peek(call.token)
    return Reply(body={"rate": now, "resources": {"core": now, "search": now}}, headers=call.meter.headers(call.token))


@route("GET", _R)
def get_repo(call: Call) -> Reply:
    return Reply(body=show.full_repo(call.hub, call.repo, role_of(call.hub, call.repo, call.token)))


@route("GET", _R + "/forks")
def list_forks(call: Call) -> Reply:
    found = call.hub.state.list("repo", "", parent=call.repo)
    return call.page(found, lambda doc: show.repo(call.hub, doc["full_name"]))


@route("GET", _R + "/collaborators/{username}/permission")
def get_permission(call: Call) -> Reply:
    login = call.params["username"]
    if call.actor and call.hub.state.get("user", "", login) is None:
        raise Problem(404, f"{login} is not a user")
    role, name = call.hub.role(call.repo, login), call.hub.role_name(call.repo, login)
    legacy = {"maintain": "write", "triage": "read"}.get(role, role)
    user = show.user(call.hub, login) | {"role_name": name, "permissions": show.permissions(role)}
    return Reply(body={"permission": legacy, "role_name": name, "user": user})


@route("GET", _R + "/contents/{path}", "contents:read")
def get_content(call: Call) -> Reply:
    bare = call.hub.bare(call.repo)
    ref = call.query.get("ref") or call.hub.repo(call.repo)["default_branch"]
    sha = call.hub.commit_of(call.repo, ref)
    path = call.params["path"].strip("/")
    if sha is None:
        raise Problem(404, f"No commit found for the ref {ref}")
    found = bare.entry(sha, path) if path else None
    if path and found is None:
        raise not_found()
    if found is None or found.type == "tree":
        prefix = f"{path}/" if path else ""
        entries = bare.tree(found.sha if found else sha)
        return Reply(body=[show_git.content(call.hub, call.repo, ref, prefix + one.path, one) for one in entries])
    data = bare.blob(found.sha) if found.type == "blob" else b""
    return Reply(body=show_git.content(call.hub, call.repo, ref, path, found, data))


@route("GET", _R + "/branches", "contents:read")
def list_branches(call: Call) -> Reply:
    found = sorted(call.hub.bare(call.repo).refs("refs/heads/").items())

    def view(row: tuple[str, str]) -> Doc:
        return show_git.short_branch(call.hub, call.repo, row[0].removeprefix("refs/heads/"), row[1])

    return call.page(found, view)


@route("GET", _R + "/branches/{branch}", "contents:read")
def get_branch(call: Call) -> Reply:
    name, bare = call.params["branch"], call.hub.bare(call.repo)
    sha = bare.sha(f"refs/heads/{name}")
    if sha is None:
        raise Problem(404, "Branch not found")
    return Reply(body=show_git.branch(call.hub, call.repo, name, bare.commit(sha)))


@route("GET", _R + "/tags", "contents:read")
def list_tags(call: Call) -> Reply:
    bare = call.hub.bare(call.repo)
    names = [name.removeprefix("refs/tags/") for name in bare.refs("refs/tags/")]

    def view(name: str) -> Doc:
        return show_git.tag(call.hub, call.repo, name, bare.sha(f"refs/tags/{name}") or "")

    return call.page(sorted(names, reverse=True), view)


@route("GET", _R + "/commits", "contents:read")
def list_commits(call: Call) -> Reply:
    bare = call.hub.bare(call.repo)
    sha = call.hub.commit_of(call.repo, call.query.get("sha") or call.hub.repo(call.repo)["default_branch"])
    if sha is None:
        raise not_found()
    path = call.query.get("path")
    shas = bare.log(sha, 1000, path=path)
    return call.page(shas, lambda one: show_git.commit(call.hub, call.repo, bare.commit(one)))


@route("GET", _R + "/commits/{ref}", "contents:read")
def get_commit(call: Call) -> Reply:
    bare = call.hub.bare(call.repo)
    sha = call.hub.commit_of(call.repo, call.params["ref"])
    if sha is None:
        raise Problem(422, f"No commit found for SHA: {call.params['ref']}")
    info = bare.commit(sha)
    base = info.parents[0] if info.parents else bare.write_tree([], None)
    files = bare.changed(base, sha, patches=True)
    added, removed = sum(one.added for one in files), sum(one.removed for one in files)
    more = {
        "stats": {"additions": added, "deletions": removed, "total": added + removed},
        "files": [show_git.diff_entry(call.hub, call.repo, one, sha) for one in files],
    }
    return Reply(body=show_git.commit(call.hub, call.repo, info) | more)


@route("GET", _R + "/commits/{commit_sha}/pulls", "pull_requests:read")
def pulls_of_commit(call: Call) -> Reply:
    """Pull requests of this repository's own branches whose commits hold this one; empty for forks, as on GitHub."""
    bare = call.hub.bare(call.repo)
    sha = bare.sha(call.params["commit_sha"])
    if sha is None:
        raise Problem(422, f"No commit found for SHA: {call.params['commit_sha']}")
    numbers = []
    for pull in call.hub.state.list("pull", call.repo, head_repo=call.repo):
        inside = bare.is_ancestor(sha, pull["head_sha"]) and not bare.is_ancestor(sha, pull["base_sha"])
        if inside or sha == pull["merge_commit_sha"]:
            numbers.append(pull["number"])
    return call.page(numbers, lambda number: show_talk.simple_pull(call.hub, call.repo, number))


@route("GET", _R + "/compare/{basehead}", "contents:read")
def compare(call: Call) -> Reply:
    hub, bare = call.hub, call.hub.bare(call.repo)
    base_name, _, head_name = call.params["basehead"].partition("...")
    base, head = (_side(call, name) for name in (base_name, head_name))
    merge_base = bare.merge_base(base, head)
    if merge_base is None:
        raise Problem(404, f"No common ancestor between {base_name} and {head_name}.")
    return Reply(body=show_git.comparison(hub, call.repo, call.params["basehead"], bare, base, head, merge_base))


def _side(call: Call, name: str) -> str:
    """The commit of `ref` or `owner:ref`; a fork's objects are fetched."""
    owner, _, ref = name.rpartition(":")
    hub, repo = call.hub, call.repo
    if owner and owner != repo.split("/")[0]:
        forks = [doc for doc in hub.state.list("repo", "", owner=owner) if doc["parent"] == repo]
        sha = hub.commit_of(forks[0]["full_name"], ref) if forks else None
        if sha:
            hub.bare(repo).fetch(hub.bare(forks[0]["full_name"]).path, sha)
    else:
        sha = hub.commit_of(repo, ref) if ref else None
    if sha is None:
        raise not_found()
    return sha
