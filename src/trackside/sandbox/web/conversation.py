"""Pages of pull requests and issues."""

from __future__ import annotations

from typing import Any

from trackside.sandbox.hub import Hub
from trackside.sandbox.state import Doc
from trackside.sandbox.web import look
from trackside.sandbox.web.site import Ask, Moved, Page, visible, writes
from trackside.sandbox.web.text import path as quoted


def listed(hub: Hub, repo: str, state: str) -> list[dict[str, Any]]:
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
    data = {"pulls": listed(ask.hub, ask.repo, state), "state": state}
    return Page(template="pulls.html.j2", title=f"Pull requests · {ask.repo}", data=data, tab="pulls")


def compare(ask: Ask) -> Page:
    """The form that opens a pull request."""
    owner = ask.params["owner"]
    base = ask.query.get("base") or ask.hub.repo(ask.repo)["default_branch"]
    names = [name.removeprefix("refs/heads/") for name in ask.hub.bare(ask.repo).refs("refs/heads/")]
    heads = list(names)
    for fork in ask.hub.state.list("repo", "", parent=ask.repo):
        if visible(ask, fork):
            theirs = ask.hub.bare(fork["full_name"]).refs("refs/heads/")
            heads += [f"{fork['owner']}:{name.removeprefix('refs/heads/')}" for name in theirs]
    data = {
        "heads": heads,
        "bases": names,
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
        "held": [
            run
            for run in ask.hub.state.list("run", ask.repo, head_sha=pull["head_sha"], conclusion="action_required")
            if issue["state"] == "open"
        ],
        **_beside(ask, issue),
    }
    return Page(template="pull.html.j2", title=_title(ask, issue), data=data, tab="pulls")


def issue_page(ask: Ask) -> Page | Moved:
    """An issue that is no pull request."""
    issue = ask.doc("issue", "number")
    if issue["is_pull"]:
        return Moved(path=f"/{quoted(ask.repo)}/pull/{issue['number']}")
    data = {"issue": issue, "events": look.timeline(ask.hub, ask.repo, issue, None), **_beside(ask, issue)}
    title = f"{issue['title']} · Issue #{issue['number']} · {ask.repo}"
    return Page(template="issue.html.j2", title=title, data=data, tab="issues")


def _beside(ask: Ask, issue: Doc) -> dict[str, Any]:
    """What stands beside a conversation: labels, those that could be added, reactions to the description."""
    known = [str(doc["name"]) for doc in ask.hub.state.list("label", ask.repo)]
    return {
        "labels": [str(name) for name in issue["labels"]],
        "more_labels": [name for name in known if name not in issue["labels"]],
        "faces": look.FACES,
        "reactions": look.reactions(ask.hub, ask.repo, f"issue/{issue['number']}"),
        "writes": writes(ask),
    }


def issues_listed(hub: Hub, repo: str, state: str, label: str = "") -> list[dict[str, Any]]:
    """Issues that are no pull requests, newest first."""
    return [
        {"issue": doc, "comments": len(hub.state.list("comment", repo, issue=doc["number"]))}
        for doc in reversed(hub.state.list("issue", repo, is_pull=False))
        if state in ("all", doc["state"]) and (not label or label in doc["labels"])
    ]


def issues(ask: Ask) -> Page:
    """The list, by state and label."""
    state = ask.query.get("state", "open")
    state, label = state if state in ("open", "closed", "all") else "open", ask.query.get("label", "")
    data = {"issues": issues_listed(ask.hub, ask.repo, state, label), "state": state, "label": label}
    return Page(template="issues.html.j2", title=f"Issues · {ask.repo}", data=data, tab="issues")


def labels(ask: Ask) -> Page:
    """All labels with how many open issues and pull requests have them."""
    open_ones = ask.hub.state.list("issue", ask.repo, state="open")
    docs = ask.hub.state.list("label", ask.repo)
    rows = [(doc, sum(doc["name"] in one["labels"] for one in open_ones)) for doc in docs]
    return Page(template="labels.html.j2", title=f"Labels · {ask.repo}", data={"rows": rows}, tab="issues")


def new_issue(ask: Ask) -> Page:
    """The form that opens an issue."""
    return Page(template="new_issue.html.j2", title=f"Open an issue · {ask.repo}", tab="issues")


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
