"""Repositories, contents, branches, people."""

from __future__ import annotations

import base64
from typing import Any

from trackside.sandbox.hub import Problem
from trackside.sandbox.rest.route import Call, Reply, route
from trackside.sandbox.rest.views import Views

_R = "/repos/{owner}/{repo}"


def views(call: Call) -> Views:
    made: Views = call.hub.payloads
    return made


@route("GET", "/user")
def get_user(call: Call) -> Reply:
    if call.actor["kind"] == "workflow":
        raise Problem(403, "Resource not accessible by integration")
    made = call.contract.example("/user", "get", 200) | views(call).user(call.actor["login"])
    return Reply(body=made)


@route("GET", _R)
def get_repo(call: Call) -> Reply:
    return Reply(body=views(call).repo(call.repo))


@route("GET", _R + "/contents/{path}", "contents:read")
def get_content(call: Call) -> Reply:
    bare = call.hub.bare(call.repo)
    ref = call.query.get("ref") or call.hub.repo(call.repo)["default_branch"]
    sha = bare.sha(ref)
    path = call.params["path"].strip("/")
    if sha is None:
        raise Problem(404, f"No commit found for the ref {ref}")
    blob = bare.sha(f"{sha}:{path}", "blob")
    url = f"{views(call).api}/repos/{call.repo}"
    page = f"{call.hub.url}/{call.repo}"

    def entry(kind: str, path: str, oid: str, size: int) -> dict[str, Any]:
        link = f"{url}/contents/{path}?ref={ref}"
        git_url = f"{url}/git/{'blobs' if kind == 'file' else 'trees'}/{oid}"
        html = f"{page}/{'blob' if kind == 'file' else 'tree'}/{ref}/{path}"
        return {
            "type": kind,
            "size": size,
            "name": path.rsplit("/", 1)[-1],
            "path": path,
            "sha": oid,
            "url": link,
            "git_url": git_url,
            "html_url": html,
            "download_url": f"{page}/raw/{ref}/{path}" if kind == "file" else None,
            "_links": {"self": link, "git": git_url, "html": html},
        }

    if blob is None:
        listing = bare.sha(f"{sha}:{path}" if path else sha, "tree")
        if listing is None:
            raise Problem(404, "Not Found")
        prefix = f"{path}/" if path else ""
        return Reply(
            body=[
                entry("dir" if one.type == "tree" else "file", prefix + one.path, one.sha, one.size or 0)
                for one in bare.tree(listing)
            ]
        )
    data = bare.blob(blob)
    small = len(data) <= 1024 * 1024
    return Reply(
        body=entry("file", path, blob, len(data))
        | {"content": base64.encodebytes(data).decode() if small else "", "encoding": "base64" if small else "none"}
    )


@route("GET", _R + "/branches/{branch}", "contents:read")
def get_branch(call: Call) -> Reply:
    branch = call.params["branch"]
    sha = call.hub.bare(call.repo).sha(f"refs/heads/{branch}")
    if sha is None:
        raise Problem(404, "Branch not found")
    made = views(call).skeleton(call.repo, _R + "/branches/{branch}")
    made["name"] = branch
    made["commit"]["sha"] = sha
    return Reply(body=made)


@route("GET", _R + "/collaborators/{username}/permission")
def get_permission(call: Call) -> Reply:
    login = call.params["username"]
    if call.hub.state.get("user", "", login) is None:
        raise Problem(404, f"{login} is not a user")
    role = call.hub.role(call.repo, login)
    legacy = {"maintain": "write", "triage": "read"}.get(role, role)
    made = call.contract.example(_R + "/collaborators/{username}/permission", "get", 200)
    made |= {"permission": legacy, "role_name": role}
    made["user"] |= views(call).user(login)
    return Reply(body=made)
