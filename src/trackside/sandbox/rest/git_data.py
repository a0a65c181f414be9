"""Git objects and refs."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from trackside.sandbox.git import ZERO, Bare
from trackside.sandbox.hub import Problem
from trackside.sandbox.rest.repos import views
from trackside.sandbox.rest.route import Call, Reply, route

_G = "/repos/{owner}/{repo}/git"


def _ref(call: Call, name: str, sha: str) -> dict[str, Any]:
    kind = call.hub.bare(call.repo).git("cat-file", "-t", sha).text.strip()
    base = f"{views(call).api}/repos/{call.repo}/git"
    return {
        "ref": name,
        "node_id": "REF_x",
        "url": f"{base}/{name}",
        "object": {"type": kind, "sha": sha, "url": f"{base}/{kind}s/{sha}"},
    }


@route("GET", _G + "/ref/{ref}", "contents:read")
def get_ref(call: Call) -> Reply:
    name = "refs/" + call.params["ref"]
    sha = call.hub.bare(call.repo).refs(name).get(name)
    if sha is None:
        raise Problem(404, "Not Found")
    return Reply(body=_ref(call, name, sha))


@route("POST", _G + "/refs", "contents:write")
def create_ref(call: Call) -> Reply:
    name, sha = call.body["ref"], call.body["sha"]
    bare = call.hub.bare(call.repo)
    if (
        not name.startswith("refs/")
        or name.count("/") < 2
        or bare.git("check-ref-format", name, check=False).returncode
    ):
        raise Problem(422, f"{name} is not a valid ref name.")
    with call.hub.lock:
        if bare.git("cat-file", "-e", sha, check=False).returncode:
            raise Problem(422, "Object does not exist")
        if not bare.update_ref(name, sha, ZERO):
            raise Problem(422, "Reference already exists")
        call.hub.pushed(call.repo, {name: (ZERO, sha)}, call.actor)
    return Reply(status=201, body=_ref(call, name, sha))


@route("PATCH", _G + "/refs/{ref}", "contents:write")
def update_ref(call: Call) -> Reply:
    name, new = "refs/" + call.params["ref"], call.body["sha"]
    bare = call.hub.bare(call.repo)
    with call.hub.lock:
        old = bare.refs(name).get(name)
        if old is None:
            raise Problem(422, "Reference does not exist")
        if bare.git("cat-file", "-e", new, check=False).returncode:
            raise Problem(422, "Object does not exist")
        if not call.body.get("force") and not bare.is_ancestor(old, new):
            raise Problem(422, "Update is not a fast forward")
        if not bare.update_ref(name, new, old):
            raise Problem(422, "Reference cannot be updated")
        if old != new:
            call.hub.pushed(call.repo, {name: (old, new)}, call.actor)
    return Reply(body=_ref(call, name, new))


def _commit(call: Call, bare: Bare, sha: str) -> dict[str, Any]:
    info = bare.commit(sha)
    base = f"{views(call).api}/repos/{call.repo}/git"
    page = f"{call.hub.url}/{call.repo}/commit"
    return {
        "sha": sha,
        "node_id": f"C_{sha[:12]}",
        "url": f"{base}/commits/{sha}",
        "html_url": f"{page}/{sha}",
        "message": info.message,
        "author": {"name": info.author_name, "email": info.author_email, "date": info.author_date},
        "committer": {"name": info.committer_name, "email": info.committer_email, "date": info.committer_date},
        "tree": {"sha": info.tree, "url": f"{base}/trees/{info.tree}"},
        "parents": [{"sha": one, "url": f"{base}/commits/{one}", "html_url": f"{page}/{one}"} for one in info.parents],
        "verification": {
            "verified": False,
            "reason": "unsigned",
            "signature": None,
            "payload": None,
            "verified_at": None,
        },
    }


@route("GET", _G + "/commits/{commit_sha}", "contents:read")
def get_commit(call: Call) -> Reply:
    bare = call.hub.bare(call.repo)
    sha = bare.sha(call.params["commit_sha"])
    if sha is None:
        raise Problem(404, "Not Found")
    return Reply(body=_commit(call, bare, sha))


@route("POST", _G + "/commits", "contents:write")
def create_commit(call: Call) -> Reply:
    bare = call.hub.bare(call.repo)
    parents = call.body.get("parents", [])
    if bare.sha(call.body["tree"], "tree") is None or any(bare.sha(one) is None for one in parents):
        raise Problem(422, "Tree SHA does not exist")
    login = call.actor["login"]
    user = call.hub.user(login)
    email = f"{user['id']}+{login}@users.noreply.localhost"
    identity = {
        "GIT_AUTHOR_NAME": login,
        "GIT_AUTHOR_EMAIL": email,
        "GIT_COMMITTER_NAME": login,
        "GIT_COMMITTER_EMAIL": email,
    }
    sha = bare.write_commit(call.body["tree"], parents, call.body["message"], identity)
    return Reply(status=201, body=_commit(call, bare, sha))


@route("GET", _G + "/trees/{tree_sha}", "contents:read")
def get_tree(call: Call) -> Reply:
    bare = call.hub.bare(call.repo)
    sha = bare.sha(call.params["tree_sha"], "tree")
    if sha is None:
        raise Problem(404, "Not Found")
    return Reply(body=_tree(call, bare, sha, recursive="recursive" in call.query))


def _tree(call: Call, bare: Bare, sha: str, *, recursive: bool) -> dict[str, Any]:
    base = f"{views(call).api}/repos/{call.repo}/git"
    entries = []
    for one in bare.tree(sha, recursive=recursive):
        entry: dict[str, Any] = {
            "path": one.path,
            "mode": one.mode,
            "type": one.type,
            "sha": one.sha,
            "url": f"{base}/{one.type}s/{one.sha}",
        }
        if one.size is not None:
            entry["size"] = one.size
        entries.append(entry)
    return {"sha": sha, "url": f"{base}/trees/{sha}", "tree": entries, "truncated": False}


@route("POST", _G + "/trees", "contents:write")
def create_tree(call: Call) -> Reply:
    bare = call.hub.bare(call.repo)
    entries: list[dict[str, str | None]] = []
    for entry in call.body["tree"]:
        path = entry["path"]
        if path.startswith("/") or ".." in path.split("/") or ".git" in path.split("/"):
            raise Problem(422, "tree.path contains a malformed path component")
        sha = bare.write_blob(entry["content"].encode()) if "content" in entry else entry["sha"]
        if sha is not None and bare.git("cat-file", "-e", sha, check=False).returncode:
            raise Problem(422, f"tree.sha {sha} is not a valid {entry.get('type', 'blob')}")
        entries.append({"path": path, "mode": entry.get("mode", "100644"), "sha": sha})
    base = call.body.get("base_tree")
    with call.hub.lock:
        sha = bare.write_tree(entries, bare.sha(base, "tree") if base else None)
    return Reply(status=201, body=_tree(call, bare, sha, recursive=False))


@route("GET", _G + "/blobs/{file_sha}", "contents:read")
def get_blob(call: Call) -> Reply:
    bare = call.hub.bare(call.repo)
    sha = bare.sha(call.params["file_sha"], "blob")
    if sha is None:
        raise Problem(404, "Not Found")
    data = bare.blob(sha)
    url = f"{views(call).api}/repos/{call.repo}/git/blobs/{sha}"
    return Reply(
        body={
            "sha": sha,
            "node_id": f"B_{sha[:12]}",
            "url": url,
            "size": len(data),
            "encoding": "base64",
            "content": base64.encodebytes(data).decode(),
        }
    )


@route("POST", _G + "/blobs", "contents:write")
def create_blob(call: Call) -> Reply:
    text = call.body["content"]
    try:
        data = base64.b64decode(text, validate=False) if call.body.get("encoding") == "base64" else text.encode()
    except binascii.Error as error:
        raise Problem(422, "content is not valid Base64") from error
    sha = call.hub.bare(call.repo).write_blob(data)
    return Reply(status=201, body={"sha": sha, "url": f"{views(call).api}/repos/{call.repo}/git/blobs/{sha}"})
