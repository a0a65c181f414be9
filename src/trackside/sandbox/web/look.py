"""Looks into state and git for what a page shows: checks, timelines, diffs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from trackside.sandbox.git import ZERO, Bare, CommitInfo
from trackside.sandbox.hub import Hub
from trackside.sandbox.state import Doc
from trackside.sandbox.web.text import FAILED, PASSED, outcome

_TOLD = frozenset({"labeled", "unlabeled", "closed", "reopened", "renamed", "review_requested"})
MAX_FILES, MAX_DIFF_LINES, MAX_COMMITS = 300, 2000, 250


@dataclass(frozen=True, kw_only=True)
class Check:
    """One line of a merge box. `kind` is `check`, `status` or `job`; `page` is empty where there is none."""

    name: str
    outcome: str
    words: str
    page: str
    kind: str
    doc: Doc


@dataclass(frozen=True, kw_only=True)
class Event:
    """One entry of a conversation's timeline."""

    kind: str
    at: str
    data: dict[str, Any] = field(default_factory=dict)
    order: int = 0
    """The document's id: ids grow, so they order what happened in one second."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of a diff; numbers are empty where a side has no such line. `kind`: `add`, `del`, `hunk`, `same`."""

    old: str
    new: str
    kind: str
    text: str


@dataclass(frozen=True, kw_only=True)
class FileDiff:
    """One changed file. `note` says why there are no rows, or that some were left out."""

    path: str
    status: str
    added: int
    removed: int
    rows: list[Row]
    note: str


def checks(hub: Hub, repo: str, sha: str) -> list[Check]:
    """Everything that judges a commit, the latest of each name: check runs, statuses, workflow jobs."""
    base = f"/{repo}"
    made: dict[tuple[str, str], Check] = {}
    for run in hub.state.list("run", repo, head_sha=sha):
        for job in hub.state.list("job", repo, run_id=run["id"], attempt=run["attempt"]):
            name = f"{run['workflow_name']} / {job['name']} ({run['event']})"
            page = f"{base}/actions/runs/{run['id']}/job/{job['id']}"
            made["job", name] = Check(name=name, outcome=outcome(job), words="", page=page, kind="job", doc=job)
    for doc in hub.state.list("check_run", repo, head_sha=sha):
        words = (doc.get("output") or {}).get("title") or ""
        page = f"{base}/runs/{doc['id']}"
        made["check", doc["name"]] = Check(
            name=doc["name"], outcome=outcome(doc), words=words, page=page, kind="check", doc=doc
        )
    for doc in hub.state.list("status", repo, sha=sha):
        words = doc.get("description") or ""
        made["status", doc["context"]] = Check(
            name=doc["context"], outcome=doc["state"], words=words, page="", kind="status", doc=doc
        )
    return list(made.values())


def tally(found: list[Check]) -> dict[str, int]:
    """How many checks failed, wait and passed."""
    failed = sum(one.outcome in FAILED for one in found)
    passed = sum(one.outcome in PASSED for one in found)
    return {"failed": failed, "waiting": len(found) - failed - passed, "passed": passed}


def verdict(found: list[Check]) -> str:
    """`failure`, `pending` or `success` over all checks; empty without any."""
    count = tally(found)
    return "" if not found else "failure" if count["failed"] else "pending" if count["waiting"] else "success"


def blocked(pull: Doc, issue: Doc, found: list[Check]) -> str:
    """Why a pull request cannot be merged from its page; empty when it can."""
    if issue["state"] != "open":
        return "The pull request is closed."
    if pull["draft"]:
        return "This pull request is still a draft."
    if pull["mergeable"] is False:
        return "This branch has conflicts with the base branch."
    count = tally(found)["failed"]
    return f"{count} failing {'check' if count == 1 else 'checks'}." if count else ""


def start_of(bare: Bare, pull: Doc) -> str | None:
    """The commit that a pull request's changes are counted from."""
    if not bare.sha(pull["base_sha"] or "-") or not bare.sha(pull["head_sha"]):
        return None
    return bare.merge_base(pull["base_sha"], pull["head_sha"])


def commits(bare: Bare, spec: str) -> list[CommitInfo]:
    """Commits of a range, oldest first."""
    return [bare.commit(sha) for sha in reversed(bare.log(spec, MAX_COMMITS))]


def pull_commits(bare: Bare, pull: Doc) -> list[CommitInfo]:
    """A pull request's commits, oldest first."""
    start = start_of(bare, pull)
    return commits(bare, f"{start}..{pull['head_sha']}") if start else []


def timeline(hub: Hub, repo: str, issue: Doc, pull: Doc | None) -> list[Event]:
    """What happened after the description, in order of time."""
    number, state = issue["number"], hub.state
    events = [
        Event(
            kind="comment",
            at=doc["created_at"],
            data={"doc": doc, "reactions": reactions(hub, repo, f"comment/{doc['id']}")},
            order=doc["id"],
        )
        for doc in state.list("comment", repo, issue=number)
    ]
    events += [
        Event(kind=doc["event"], at=doc["created_at"], data={"doc": doc}, order=doc["id"])
        for doc in state.list("issue_event", repo, issue=number)
        if doc["event"] in _TOLD
    ]
    if pull:
        events += [
            Event(kind="push", at=one["at"], data=_push(hub.bare(repo), pull, one), order=one.get("id", 0))
            for one in pull["pushes"]
        ]
        reviews = [doc for doc in state.list("review", repo, pull=number) if doc["state"] != "PENDING"]
        events += [Event(kind="review", at=doc["submitted_at"], data={"doc": doc}, order=doc["id"]) for doc in reviews]
        if pull["merged"]:
            found = state.list("issue_event", repo, issue=number, event="merged")
            order = found[-1]["id"] if found else 0
            events.append(Event(kind="merged", at=pull["merged_at"], data={"pull": pull}, order=order))
    if pull and pull["merged"]:
        events = [one for one in events if one.kind != "closed" or one.at != pull["merged_at"]]
    return sorted(events, key=lambda event: (event.at, event.order))


def _push(bare: Bare, pull: Doc, push: Doc) -> dict[str, Any]:
    """Commits that a push brought; a push that is no continuation of the branch is a forced one."""
    before, sha = push["before"], push["sha"]
    known = bare.sha(sha) is not None
    forced = known and before != ZERO and bool(bare.sha(before)) and not bare.is_ancestor(before, sha)
    first = before == ZERO or not bare.sha(before)
    start = start_of(bare, pull | {"head_sha": sha}) if first or forced else before
    found = commits(bare, f"{start}..{sha}") if known and start and not forced else []
    return {"push": push, "commits": found, "forced": forced}


FACES = {
    "+1": "👍",
    "-1": "👎",
    "laugh": "😄",
    "confused": "😕",
    "heart": "❤️",
    "hooray": "🎉",
    "rocket": "🚀",
    "eyes": "👀",
}


def reactions(hub: Hub, repo: str, subject: str) -> list[tuple[str, str, list[str]]]:
    """Face, its name and who gave it; `subject` is `comment/ID` or `issue/NUMBER`."""
    given = hub.state.list("reaction", repo, subject=subject)
    by_kind = {name: [str(doc["user"]) for doc in given if doc["content"] == name] for name in FACES}
    return [(face, name, by_kind[name]) for name, face in FACES.items() if by_kind[name]]


def diff(bare: Bare, base: str, head: str) -> tuple[list[FileDiff], int]:
    """Changed files, at most `MAX_FILES`, and how many there are altogether."""
    changed = bare.changed(base, head)
    if len(changed) <= MAX_FILES:
        changed = bare.changed(base, head, patches=True)
    made = []
    for one in changed[:MAX_FILES]:
        rows = diff_rows(one.patch)
        note = "" if rows else "Binary file or no change of content."
        if len(rows) > MAX_DIFF_LINES:
            rows, note = rows[:MAX_DIFF_LINES], f"{len(rows) - MAX_DIFF_LINES} more lines are not shown."
        status = {"A": "added", "D": "removed"}.get(one.status, "changed")
        made.append(FileDiff(path=one.path, status=status, added=one.added, removed=one.removed, rows=rows, note=note))
    return made, len(changed)


def diff_rows(patch: str) -> list[Row]:
    """Lines of a patch with their numbers on both sides."""
    rows: list[Row] = []
    old = new = 0
    for line in patch.split("\n") if patch else []:
        mark, words = line[:1], line[1:]
        if line.startswith("@@"):
            ranges = line.split(" ")
            old, new = (int(part[1:].split(",")[0]) for part in ranges[1:3])
            rows.append(Row(old="", new="", kind="hunk", text=line))
        elif mark == "+":
            rows.append(Row(old="", new=str(new), kind="add", text=words))
            new += 1
        elif mark == "-":
            rows.append(Row(old=str(old), new="", kind="del", text=words))
            old += 1
        elif mark == "\\":
            rows.append(Row(old="", new="", kind="hunk", text=line))
        else:
            rows.append(Row(old=str(old), new=str(new), kind="same", text=words))
            old, new = old + 1, new + 1
    return rows
