"""`CommitFiles` through the Git Data API: tree, commit, then compare-and-swap of the branch, without any checkout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trackside.errors import Conflict, DataError, ForgeError
from trackside.forge.client import Client, Unsure, segment, segments
from trackside.forge.operations import Applied, CommitFiles
from trackside.system.text import valid

RACES = 25
"""How often a lost race is run again; each round at least one writer gets through."""

LOST = ("not a fast forward", "already exists", "does not exist", "cannot be updated", "is at ", "but expected")
"""Words of GitHub's 422 when the branch moved meanwhile; any other 422 will not change by trying again."""


@dataclass(frozen=True, kw_only=True)
class Tip:
    """A branch's newest commit and its tree."""

    commit: str
    tree: str


def commit_files(client: Client, operation: CommitFiles) -> Applied:
    """Bring the files onto the branch, whoever else writes; `unchanged` when they are there already.

    Raises:
        DataError: a path that git does not take.
        Conflict: the branch moved `RACES` times in a row.
    """
    for path in operation.files:
        check_path(path)
    mine: set[str] = set()
    for attempt in range(1, RACES + 1):
        tip = _tip(client, operation.branch)
        entries = _entries(client, operation, tip)
        tree = _tree(client, entries, tip)
        if not entries or (tip and tip.tree == tree):
            at = tip.commit if tip else ""
            return Applied(operation=operation, outcome="updated" if at in mine else "unchanged", id=at)
        body = {"message": valid(operation.message), "tree": tree, "parents": [tip.commit] if tip else []}
        made = client.post("/git/commits", body, repeatable=True)
        mine.add(str(made["sha"]))
        if _swap(client, operation.branch, tip, str(made["sha"])):
            outcome = "updated" if tip else "created"
            return Applied(operation=operation, outcome=outcome, id=made["sha"], url=made.get("html_url") or "")
        client.pause(min(attempt, 3))
    raise Conflict(
        f"branch {operation.branch} moved {RACES} times while it was written to",
        remedy="run the job again",
        link="data-branch.md",
    )


def check_path(path: str) -> None:
    """Raises DataError for a path that git does not take."""
    parts = path.split("/")
    if any(part in ("", ".", "..") or part.lower() == ".git" for part in parts) or "\0" in path or "\\" in path:
        raise DataError(f"{path!r} is no path for a file on a branch")


def _tip(client: Client, branch: str) -> Tip | None:
    raw = client.find(f"/git/ref/heads/{segments(branch)}")
    if raw is None:
        return None
    sha = str(raw["object"]["sha"])
    return Tip(commit=sha, tree=str(client.get(f"/git/commits/{segment(sha)}")["tree"]["sha"]))


def _entries(client: Client, operation: CommitFiles, tip: Tip | None) -> list[dict[str, Any]]:
    """Tree entries to lay over the tip's tree. Text travels inline, so no blob costs a request."""
    entries: list[dict[str, Any]] = []
    for path, text in operation.files.items():
        # Only a deletion and a kept path depend on what is there.
        if text is None or path in operation.keep:
            there = tip is not None and client.find(f"/contents/{segments(path)}", ref=tip.commit) is not None
            if there != (text is None):
                continue
        entry: dict[str, Any] = {"path": path, "mode": "100644", "type": "blob"}
        entries.append(entry | ({"sha": None} if text is None else {"content": valid(text)}))
    return entries


def _tree(client: Client, entries: list[dict[str, Any]], tip: Tip | None) -> str:
    """The tree with the entries laid over the tip's; equal content gives the tip's own name again."""
    if not entries:
        return tip.tree if tip else ""
    base = {"base_tree": tip.tree} if tip else {}
    return str(client.post("/git/trees", {"tree": entries, **base}, repeatable=True)["sha"])


def _swap(client: Client, branch: str, tip: Tip | None, sha: str) -> bool:
    """Move the branch from `tip` to `sha`; False when another writer was faster, or it is unknown who made the branch.

    Unknown is as good as lost: the next round finds the files there, and has nothing left to do.
    """
    try:
        if tip is not None:
            return _move(client, branch, tip.commit, sha)
        client.post("/git/refs", {"ref": f"refs/heads/{branch}", "sha": sha})
        return True
    except Conflict:
        return False
    except Unsure:
        if tip is not None:
            raise
        return False
    except ForgeError as error:
        if any(words in error.why.lower() for words in LOST):
            return False
        raise


def _move(client: Client, branch: str, before: str, sha: str) -> bool:
    """The same for a branch that is there. Without an answer the tip tells; one that stands still takes the same commit
    again, which costs one write and not the three of another round. Raises Unsure after many.
    """

    def send() -> bool:
        client.patch(f"/git/refs/heads/{segments(branch)}", {"sha": sha, "force": False}, repeatable=False)
        return True

    def find() -> bool | None:
        at = str(client.get(f"/git/ref/heads/{segments(branch)}")["object"]["sha"])
        return None if at == before else at == sha

    return client.create(send, find)
