"""Pages of repositories: home, files, commits, pull requests, checks, releases; and the table of all pages."""

from __future__ import annotations

from typing import Any

from trackside.sandbox.git import Bare
from trackside.sandbox.hub import Hub
from trackside.sandbox.state import Doc
from trackside.sandbox.web import look, runs
from trackside.sandbox.web.site import Ask, Entry, Moved, Page, Raw, missing
from trackside.sandbox.web.text import path as quoted

MAX_SHOWN = 1_000_000
"""Bytes of a file shown as text."""
_PICTURES = {"png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "gif": "image/gif", "webp": "image/webp",
             "svg": "image/svg+xml"}  # fmt: skip


def start(ask: Ask) -> Page:
    """All repositories that the person sees."""
    docs = [doc for doc in ask.hub.state.list("repo", "") if _visible(ask, doc)]
    return Page(template="start.html.j2", title="Repositories", data={"repos": docs, "who": None})


def person(ask: Ask) -> Page:
    """A user's repositories; apps stand below `/apps/`."""
    name = f"{ask.params['app']}[bot]" if "app" in ask.params else ask.params["owner"]
    user = ask.hub.state.get("user", "", name)
    if user is None:
        raise missing()
    docs = [doc for doc in ask.hub.state.list("repo", "") if doc["owner"] == user["login"] and _visible(ask, doc)]
    return Page(template="start.html.j2", title=user["login"], data={"repos": docs, "who": user})


def _visible(ask: Ask, doc: Doc) -> bool:
    return not doc["private"] or (ask.login is not None and ask.hub.role(doc["full_name"], ask.login) != "none")


def home(ask: Ask) -> Page:
    """Files, README, branches and open pull requests of a branch."""
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
        "branches": _branches(ask),
        "pulls": _pulls(ask.hub, ask.repo, "open"),
    }
    return Page(template="home.html.j2", title=ask.repo, data=data, tab="code")


def _folder(bare: Bare, commit: str, path: str) -> str | None:
    """The tree of a folder; None where there is none."""
    entry = bare.entry(commit, path) if path else None
    return commit if not path else entry.sha if entry and entry.type == "tree" else None


def _branches(ask: Ask) -> list[str]:
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
    shown = {
        "ref": ref,
        "name": name,
        "size": len(data),
        "picture": ending in _PICTURES,
        "markdown": data.decode("utf-8", "replace") if ending == "md" and not binary else None,
        "lines": None if binary else data.decode("utf-8", "replace").rstrip("\n").split("\n"),
    }
    return Page(template="blob.html.j2", title=f"{name} · {ask.repo}", data=shown, tab="code")


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


# Pull requests


def _pulls(hub: Hub, repo: str, state: str) -> list[dict[str, Any]]:
    """Pull requests, newest first, with the verdict of their checks."""
    made = []
    for pull in reversed(hub.state.list("pull", repo)):
        issue = hub.issue(repo, pull["number"])
        if state in ("all", issue["state"]):
            found = look.checks(hub, repo, pull["head_sha"])
            count = len(hub.state.list("comment", repo, issue=pull["number"]))
            made.append({"pull": pull, "issue": issue, "verdict": look.verdict(found), "comments": count})
    return made


def pulls(ask: Ask) -> Page:
    """The list, by state."""
    state = ask.query.get("state", "open")
    state = state if state in ("open", "closed", "all") else "open"
    data = {"pulls": _pulls(ask.hub, ask.repo, state), "state": state}
    return Page(template="pulls.html.j2", title=f"Pull requests · {ask.repo}", data=data, tab="pulls")


def compare(ask: Ask) -> Page:
    """The form that opens a pull request."""
    owner = ask.params["owner"]
    base = ask.query.get("base") or ask.hub.repo(ask.repo)["default_branch"]
    heads = _branches(ask)
    for fork in ask.hub.state.list("repo", "", parent=ask.repo):
        if _visible(ask, fork):
            names = ask.hub.bare(fork["full_name"]).refs("refs/heads/")
            heads += [f"{fork['owner']}:{name.removeprefix('refs/heads/')}" for name in names]
    data = {
        "heads": heads,
        "bases": _branches(ask),
        "base": base,
        "head": ask.query.get("head", "").removeprefix(f"{owner}:") or next((one for one in heads if one != base), ""),
    }
    return Page(template="compare.html.j2", title=f"Open a pull request · {ask.repo}", data=data, tab="pulls")


def _about(ask: Ask) -> tuple[Doc, Doc, dict[str, Any]]:
    """What every tab of a pull request shows."""
    pull, issue = ask.doc("pull", "number"), ask.doc("issue", "number")
    bare = ask.hub.bare(ask.repo)
    found = look.checks(ask.hub, ask.repo, pull["head_sha"])
    begin = look.start_of(bare, pull)
    data = {
        "pull": pull,
        "issue": issue,
        "commit_count": bare.count(f"{begin}..{pull['head_sha']}") if begin else 0,
        "file_count": len(bare.changed(begin, pull["head_sha"])) if begin else 0,
        "checks": found,
        "tally": look.tally(found),
        "verdict": look.verdict(found),
    }
    return pull, issue, data


def _title(ask: Ask, issue: Doc) -> str:
    return f"{issue['title']} · Pull request #{issue['number']} · {ask.repo}"


def conversation(ask: Ask) -> Page | Moved:
    """The pull request's description, timeline and merge box; plain issues share it."""
    issue = ask.doc("issue", "number")
    if not issue["is_pull"]:
        return Moved(path=f"/{quoted(ask.repo)}/issues/{issue['number']}")
    pull, issue, data = _about(ask)
    data |= {
        "events": look.timeline(ask.hub, ask.repo, issue, pull),
        "blocked": look.blocked(pull, issue, data["checks"]),
        "labels": _labels(ask, issue),
    }
    return Page(template="pull.html.j2", title=_title(ask, issue), data=data, tab="pulls")


def issue_page(ask: Ask) -> Page | Moved:
    """An issue that is no pull request."""
    issue = ask.doc("issue", "number")
    if issue["is_pull"]:
        return Moved(path=f"/{quoted(ask.repo)}/pull/{issue['number']}")
    data = {"issue": issue, "events": look.timeline(ask.hub, ask.repo, issue, None), "labels": _labels(ask, issue)}
    title = f"{issue['title']} · Issue #{issue['number']} · {ask.repo}"
    return Page(template="issue.html.j2", title=title, data=data)


def _labels(ask: Ask, issue: Doc) -> list[str]:
    return [str(name) for name in issue["labels"]]


def pull_commits(ask: Ask) -> Page:
    """Commits, oldest first, each with the verdict of its checks."""
    pull, issue, data = _about(ask)
    found = look.pull_commits(ask.hub.bare(ask.repo), pull)
    data["commits"] = [(info, look.verdict(look.checks(ask.hub, ask.repo, info.sha))) for info in found]
    return Page(template="pull_commits.html.j2", title=_title(ask, issue), data=data, tab="pulls")


def pull_checks(ask: Ask) -> Page:
    """Check runs in full, then statuses and workflow jobs."""
    _, issue, data = _about(ask)
    return Page(template="pull_checks.html.j2", title=_title(ask, issue), data=data, tab="pulls")


def pull_files(ask: Ask) -> Page:
    """The diff against the merge base."""
    pull, issue, data = _about(ask)
    bare = ask.hub.bare(ask.repo)
    begin = look.start_of(bare, pull)
    data["files"], data["count"] = look.diff(bare, begin, pull["head_sha"]) if begin else ([], 0)
    return Page(template="pull_files.html.j2", title=_title(ask, issue), data=data, tab="pulls")


def check_run(ask: Ask) -> Page:
    """One check run with its output and annotations."""
    doc = ask.doc("check_run", "check")
    pulls_of = [one for one in ask.hub.state.list("pull", ask.repo) if one["head_sha"] == doc["head_sha"]]
    data = {"check": doc, "pulls": pulls_of}
    return Page(template="check.html.j2", title=f"{doc['name']} · {ask.repo}", data=data, tab="pulls")


# Releases


def releases(ask: Ask) -> Page:
    """Published releases, newest first; drafts are for those who may write."""
    docs = [doc for doc in reversed(ask.hub.state.list("release", ask.repo)) if not doc["draft"] or _writes(ask)]
    data = {"releases": _with_assets(ask, docs), "one_only": False}
    return Page(template="releases.html.j2", title=f"Releases · {ask.repo}", data=data, tab="releases")


def _with_assets(ask: Ask, docs: list[Doc]) -> list[tuple[Doc, list[Doc]]]:
    return [(doc, ask.hub.state.list("asset", ask.repo, release=doc["id"])) for doc in docs]


def _writes(ask: Ask) -> bool:
    return ask.login is not None and ask.hub.role(ask.repo, ask.login) in ("write", "maintain", "admin")


def release(ask: Ask) -> Page:
    """One release by its tag."""
    docs = ask.hub.state.list("release", ask.repo, tag_name=ask.params["tag"])
    docs = [doc for doc in docs if not doc["draft"] or _writes(ask)]
    if not docs:
        raise missing()
    data = {"releases": _with_assets(ask, docs[:1]), "one_only": True}
    title = f"{docs[0]['name'] or docs[0]['tag_name']} · {ask.repo}"
    return Page(template="releases.html.j2", title=title, data=data, tab="releases")


_R = "/{owner}/{repo}"
TABLE = [
    Entry(template=template, handler=handler)
    for template, handler in {
        "/": start,
        "/{owner}": person,
        "/apps/{app}": person,
        _R: home,
        _R + "/tree/{rest:path}": home,
        _R + "/blob/{rest:path}": blob,
        _R + "/raw/{rest:path}": raw,
        _R + "/commit/{sha}": commit,
        _R + "/pulls": pulls,
        _R + "/compare": compare,
        _R + "/issues/{number:int}": issue_page,
        _R + "/pull/{number:int}": conversation,
        _R + "/pull/{number:int}/commits": pull_commits,
        _R + "/pull/{number:int}/checks": pull_checks,
        _R + "/pull/{number:int}/files": pull_files,
        _R + "/runs/{check:int}": check_run,
        _R + "/releases": releases,
        _R + "/releases/tag/{tag:path}": release,
        _R + "/actions": runs.listing,
        _R + "/actions/runs/{run:int}": runs.run,
        _R + "/actions/runs/{run:int}/attempts/{attempt:int}": runs.run,
        _R + "/actions/runs/{run:int}/job/{job:int}": runs.job,
    }.items()
]
"""Every page; `server.py` keeps git and `releases/download` for itself."""
