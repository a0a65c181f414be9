"""Git objects and refs."""

from __future__ import annotations

import base64
from datetime import datetime
from typing import Any

from trackside.sandbox.core import author
from trackside.sandbox.git import ZERO, Bare
from trackside.sandbox.problem import Problem, not_found
from trackside.sandbox.rest.route import Call, Reply, route
from trackside.sandbox.state import Doc
from trackside.sandbox.views import git as show

_G = "/repos/{owner}/{repo}/git"


def _ref(call: Call, name: str, sha: str) -> Doc:
    return show.ref(call.hub, call.repo, name, sha, call.hub.bare(call.repo).kind(sha) or "commit")


@route("GET", _G + "/ref/{ref}", "contents:read")
def get_ref(call: Call) -> Reply:
    name = "refs/" + call.params["ref"]
    sha = call.hub.bare(call.repo).refs(name).get(name)
    if sha is None:
        raise not_found()
    return Reply(body=_ref(call, name, sha))


@route("GET", _G + "/matching-refs/{ref}", "contents:read")
def matching_refs(call: Call) -> Reply:
    """Refs whose name starts with the given one; an empty list is no error."""
    prefix = "refs/" + call.params["ref"]
    folder = prefix.rsplit("/", 1)[0] + "/"
    found = sorted(row for row in call.hub.bare(call.repo).typed_refs(folder).items() if row[0].startswith(prefix))
    return Reply(body=[show.ref(call.hub, call.repo, name, sha, kind) for name, (sha, kind) in found])


@route("POST", _G + "/refs", "contents:write")
def create_ref(call: Call) -> Reply:
    name, sha = call.fields["ref"], call.fields["sha"]
    bare = call.hub.bare(call.repo)
    odd = not name.startswith("refs/") or name.count("/") < 2 or name.startswith("refs/pull/")
    if odd or bare.git("check-ref-format", name, check=False).returncode:
        raise Problem(422, f"{name} is not a valid ref name.")
    with call.hub.lock:
        _target(bare, name, sha)
        if not bare.update_ref(name, sha, ZERO):
            raise Problem(422, "Reference already exists")
        call.hub.pushed(call.repo, {name: (ZERO, sha)}, call.actor)
    return Reply(status=201, body=_ref(call, name, sha))


def _target(bare: Bare, name: str, sha: str) -> None:
    """A branch leads to a commit, other refs to any object. Raises Problem 422."""
    kind = bare.kind(sha)
    if kind is None or (name.startswith("refs/heads/") and kind != "commit"):
        raise Problem(422, "Object does not exist")


def _free(call: Call, name: str) -> None:
    """The tag of an immutable release stays where it is. Raises Problem 422."""
    if call.hub.state.get("immutable_tag", call.repo, name.removeprefix("refs/tags/")):
        raise Problem(422, "Repository rule violations found\n\nCannot change a tag of an immutable release.\n\n")


@route("PATCH", _G + "/refs/{ref}", "contents:write")
def update_ref(call: Call) -> Reply:
    name, new = "refs/" + call.params["ref"], call.fields["sha"]
    bare = call.hub.bare(call.repo)
    with call.hub.lock:
        old = bare.refs(name).get(name)
        if old is None:
            raise Problem(422, "Reference does not exist")
        _target(bare, name, new)
        _free(call, name)
        if not call.fields.get("force") and not bare.is_ancestor(old, new):
            raise Problem(422, "Update is not a fast forward")
        if not bare.update_ref(name, new, old):
            raise Problem(422, "Reference cannot be updated")
        if old != new:
            call.hub.pushed(call.repo, {name: (old, new)}, call.actor)
    return Reply(body=_ref(call, name, new))


@route("DELETE", _G + "/refs/{ref}", "contents:write")
def delete_ref(call: Call) -> Reply:
    name, bare = "refs/" + call.params["ref"], call.hub.bare(call.repo)
    with call.hub.lock:
        old = bare.refs(name).get(name)
        if old is None or name.startswith("refs/pull/"):
            raise Problem(422, "Reference does not exist")
        _free(call, name)
        if name == f"refs/heads/{call.hub.repo(call.repo)['default_branch']}":
            raise Problem(422, "Cannot delete the default branch")
        bare.delete_ref(name)
        call.hub.pushed(call.repo, {name: (old, ZERO)}, call.actor)
    return Reply(status=204)


@route("GET", _G + "/commits/{commit_sha}", "contents:read")
def get_commit(call: Call) -> Reply:
    bare = call.hub.bare(call.repo)
    sha = bare.sha(call.params["commit_sha"])
    if sha is None:
        raise not_found()
    return Reply(body=show.git_commit(call.hub, call.repo, bare.commit(sha)))


@route("POST", _G + "/commits", "contents:write")
def create_commit(call: Call) -> Reply:
    bare, body = call.hub.bare(call.repo), call.fields
    parents = body.get("parents", [])
    if bare.kind(body["tree"]) != "tree" or any(bare.kind(one) != "commit" for one in parents):
        raise Problem(422, "Tree SHA does not exist")
    identity = call.hub.identity(author(call.actor))
    for who in ("author", "committer"):
        given = body.get(who) or (body.get("author") if who == "committer" else None) or {}
        fields = {"NAME": given.get("name"), "EMAIL": given.get("email"), "DATE": given.get("date")}
        identity |= {f"GIT_{who.upper()}_{part}": value for part, value in fields.items() if value}
    sha = bare.write_commit(body["tree"], parents, body["message"], identity)
    return Reply(status=201, body=show.git_commit(call.hub, call.repo, bare.commit(sha)))


@route("GET", _G + "/trees/{tree_sha}", "contents:read")
def get_tree(call: Call) -> Reply:
    bare = call.hub.bare(call.repo)
    name = call.params["tree_sha"]
    sha = bare.sha(call.hub.commit_of(call.repo, name) or name, "tree")
    if sha is None:
        raise not_found()
    return Reply(body=show.tree(call.hub, call.repo, sha, bare.tree(sha, recursive="recursive" in call.query)))


@route("POST", _G + "/trees", "contents:write")
def create_tree(call: Call) -> Reply:
    bare = call.hub.bare(call.repo)
    base = call.fields.get("base_tree")
    root = bare.sha(base, "tree") if base else None
    if base and root is None:
        raise Problem(422, "base_tree is not a valid tree oid")
    sha = bare.write_tree([_entry(bare, entry) for entry in call.fields["tree"]], root)
    return Reply(status=201, body=show.tree(call.hub, call.repo, sha, bare.tree(sha)))


def _entry(bare: Bare, entry: dict[str, Any]) -> dict[str, str | None]:
    path = entry["path"]
    parts = path.split("/")
    if not path or "\0" in path or any(part in ("", ".", "..", ".git") for part in parts):
        raise Problem(422, "tree.path contains a malformed path component")
    sha = bare.write_blob(entry["content"].encode()) if "content" in entry else entry.get("sha")
    mode = entry.get("mode", "100644")
    wanted = {"040000": "tree", "160000": None}.get(mode, "blob")
    if sha is not None and wanted and bare.kind(sha) != wanted:
        raise Problem(422, f"tree.sha {sha} is not a valid {wanted}")
    return {"path": path, "mode": mode, "sha": sha}


@route("GET", _G + "/blobs/{file_sha}", "contents:read")
def get_blob(call: Call) -> Reply:
    bare, sha = call.hub.bare(call.repo), call.params["file_sha"]
    if bare.kind(sha) != "blob":
        raise not_found()
    return Reply(body=show.blob(call.hub, call.repo, sha, bare.blob(sha)))


@route("POST", _G + "/blobs", "contents:write")
def create_blob(call: Call) -> Reply:
    text = call.fields["content"]
    try:
        data = base64.b64decode(text) if call.fields.get("encoding") == "base64" else text.encode()
    except ValueError:
        raise Problem(422, "content is not valid Base64") from None
    sha = call.hub.bare(call.repo).write_blob(data)
    return Reply(status=201, body={"sha": sha, "url": f"{call.hub.api_url}/repos/{call.repo}/git/blobs/{sha}"})


@route("GET", _G + "/tags/{tag_sha}", "contents:read")
def get_tag(call: Call) -> Reply:
    sha = call.params["tag_sha"]
    fields = call.hub.bare(call.repo).tag(sha)
    if fields is None:
        raise not_found()
    return Reply(body=show.tag_object(call.hub, call.repo, sha, fields))


@route("POST", _G + "/tags", "contents:write")
def create_tag(call: Call) -> Reply:
    """An annotated tag object; a ref makes it visible."""
    bare, body = call.hub.bare(call.repo), call.fields
    if bare.kind(body["object"]) != body["type"]:
        raise Problem(422, "Object does not exist")
    if bare.git("check-ref-format", f"refs/tags/{body['tag']}", check=False).returncode:
        raise Problem(422, f"{body['tag']} is not a valid tag name.")
    login = author(call.actor)
    given = body.get("tagger") or {}
    moment = datetime.fromisoformat(given["date"]) if given.get("date") else call.hub.clock.now()
    name, email = given.get("name") or login, given.get("email") or call.hub.email_of(login)
    if any(sign in name + email for sign in "<>\n"):
        raise Problem(422, "tagger is malformed")
    person = f"{name} <{email}> {int(moment.timestamp())} +0000"
    sha = bare.write_tag(body["tag"], body["object"], body["type"], body["message"], person)
    return Reply(status=201, body=show.tag_object(call.hub, call.repo, sha, bare.tag(sha) or {}))
