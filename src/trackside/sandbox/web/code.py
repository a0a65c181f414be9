"""Pages of code: repositories, files, commits, branches, tags."""

from __future__ import annotations

import json
from typing import Any

from trackside.sandbox.git import Bare
from trackside.sandbox.web import conversation, look, releases, story
from trackside.sandbox.web.site import Ask, Moved, Page, Raw, missing, visible
from trackside.sandbox.web.text import path as quoted

MAX_SHOWN = 1_000_000
"""Bytes of a file shown as text."""
_PICTURES = {"png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "gif": "image/gif", "webp": "image/webp",
             "svg": "image/svg+xml"}  # fmt: skip


def start(ask: Ask) -> Page:
    """All repositories that the person sees."""
    docs = [doc for doc in ask.hub.state.list("repo", "") if visible(ask, doc)]
    return Page(template="start.html.j2", title="Repositories", data={"repos": docs, "who": None})


def person(ask: Ask) -> Page:
    """A user's repositories; apps stand below `/apps/`."""
    name = f"{ask.params['app']}[bot]" if "app" in ask.params else ask.params["owner"]
    user = ask.hub.state.get("user", "", name)
    if user is None:
        raise missing()
    docs = [doc for doc in ask.hub.state.list("repo", "") if doc["owner"] == user["login"] and visible(ask, doc)]
    return Page(template="start.html.j2", title=user["login"], data={"repos": docs, "who": user})


def home(ask: Ask) -> Page:
    """Files and README of a branch; beside them what is going on in the repository."""
    repo = ask.hub.repo(ask.repo)
    branch, folder = _split(ask) if "rest" in ask.params else (repo["default_branch"], "")
    bare = ask.hub.bare(ask.repo)
    tip = ask.hub.commit_of(ask.repo, branch)
    entries = []
    if tip:
        tree = _folder(bare, tip, folder)
        if tree is None:
            raise missing()
        entries = sorted(bare.tree(tree), key=lambda one: (one.type != "tree", one.path.lower()))
    elif "rest" in ask.params:
        raise missing()
    readme = next((one for one in entries if one.path.lower() == "readme.md" and one.type == "blob"), None)
    data: dict[str, Any] = {
        "branch": branch,
        "folder": folder,
        "entries": entries,
        "tip": bare.commit(tip) if tip else None,
        "readme": bare.blob(readme.sha).decode("utf-8", "replace") if readme else None,
        "branches": branches(ask),
        "pulls": conversation.listed(ask.hub, ask.repo, "open"),
        "issues": conversation.issues_listed(ask.hub, ask.repo, "all")[:5],
        "latest": releases.latest(ask),
        "stages": releases.held(bare),
        "news": story.told(ask)[-8:][::-1],
        "front": not folder and branch == repo["default_branch"],
    }
    return Page(template="home.html.j2", title=ask.repo, data=data, tab="code")


def _folder(bare: Bare, commit: str, path: str) -> str | None:
    """The tree of a folder; None where there is none."""
    entry = bare.entry(commit, path) if path else None
    return commit if not path else entry.sha if entry and entry.type == "tree" else None


def branches(ask: Ask) -> list[str]:
    """Names of all branches."""
    return [name.removeprefix("refs/heads/") for name in ask.hub.bare(ask.repo).refs("refs/heads/")]


def _split(ask: Ask) -> tuple[str, str]:
    """`ref/path` of an address, where the ref may hold slashes: the longest one that exists counts."""
    words = ask.params["rest"].split("/")
    for count in range(len(words), 0, -1):
        ref = "/".join(words[:count])
        if ask.hub.commit_of(ask.repo, ref):
            return ref, "/".join(words[count:])
    raise missing()


def _file(ask: Ask) -> tuple[str, str, bytes]:
    ref, name = _split(ask)
    data = ask.hub.bare(ask.repo).file(ask.hub.commit_of(ask.repo, ref) or "", name)
    if data is None:
        raise missing()
    return ref, name, data


def blob(ask: Ask) -> Page | Moved:
    """One file: Markdown rendered, pictures shown, text numbered."""
    ref, name = _split(ask)
    commit = ask.hub.commit_of(ask.repo, ref)
    if commit and _folder(ask.hub.bare(ask.repo), commit, name):
        return Moved(path=f"/{quoted(ask.repo)}/tree/{quoted(ask.params['rest'])}")
    ref, name, data = _file(ask)
    ending = name.rpartition(".")[2].lower()
    binary = b"\0" in data[:8000] or len(data) > MAX_SHOWN
    text = "" if binary else data.decode("utf-8", "replace")
    spread = _spread(text) if ending in ("json", "jsonl") else None
    shown = {
        "spread": spread is not None,
        "ref": ref,
        "name": name,
        "size": len(data),
        "picture": ending in _PICTURES,
        "markdown": text if ending == "md" and not binary else None,
        "lines": None if binary else (spread or text).rstrip("\n").split("\n"),
    }
    return Page(template="blob.html.j2", title=f"{name} · {ask.repo}", data=shown, tab="code")


def _spread(text: str) -> str | None:
    """JSON that was written as one line, over many lines; None for everything else."""
    if "\n" in text.rstrip("\n"):
        return None
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return None


def raw(ask: Ask) -> Raw:
    """A file's bytes: pictures as such, everything else as plain text."""
    _, name, data = _file(ask)
    return Raw(data=data, media_type=_PICTURES.get(name.rpartition(".")[2].lower(), "text/plain; charset=utf-8"))


def commit(ask: Ask) -> Page:
    """One commit with its changes against the first parent."""
    bare = ask.hub.bare(ask.repo)
    sha = bare.sha(ask.params["sha"])
    if sha is None:
        raise missing()
    info = bare.commit(sha)
    empty = bare.git("hash-object", "-t", "tree", "--stdin", data=b"").text.strip()
    files, count = look.diff(bare, info.parents[0] if info.parents else empty, sha)
    data = {"info": info, "files": files, "count": count, "checks": look.checks(ask.hub, ask.repo, sha)}
    title = f"{info.message.splitlines()[0] if info.message else sha[:7]} · {ask.repo}"
    return Page(template="commit.html.j2", title=title, data=data, tab="code")


def all_branches(ask: Ask) -> Page:
    """Every branch with its newest commit."""
    bare = ask.hub.bare(ask.repo)
    rows = [(name, bare.commit(bare.sha(f"refs/heads/{name}") or "")) for name in branches(ask)]
    rows.sort(key=lambda row: row[1].committer_date, reverse=True)
    return Page(template="branches.html.j2", title=f"Branches · {ask.repo}", data={"rows": rows}, tab="code")


def commits(ask: Ask) -> Page:
    """The newest commits of a branch, tag or commit."""
    ref = ask.params.get("ref") or ask.hub.repo(ask.repo)["default_branch"]
    bare, tip = ask.hub.bare(ask.repo), ask.hub.commit_of(ask.repo, ref)
    if tip is None:
        raise missing()
    rows = [
        (info, look.verdict(look.checks(ask.hub, ask.repo, info.sha))) for info in map(bare.commit, bare.log(tip, 100))
    ]
    data = {"ref": ref, "rows": rows, "count": bare.count(tip)}
    return Page(template="commits.html.j2", title=f"Commits · {ask.repo}", data=data, tab="code")


def comparison(ask: Ask) -> Page:
    """What `head` has that `base` has not: commits, and the changes since they parted."""
    base_name, dots, head_name = ask.params["basehead"].partition("...")
    bare = ask.hub.bare(ask.repo)
    base, head = (ask.hub.commit_of(ask.repo, name) if dots else None for name in (base_name, head_name))
    start = bare.merge_base(base, head) if base and head else None
    if start is None or head is None:
        raise missing()
    files, count = look.diff(bare, start, head)
    found = look.commits(bare, f"{start}..{head}")
    data = {"base": base_name, "head": head_name, "commits": found, "files": files, "count": count}
    return Page(template="comparison.html.j2", title=f"{ask.params['basehead']} · {ask.repo}", data=data, tab="code")
