"""Comments, reactions, labels, and what GitHub itself noted about pushes; written so that twice is once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from trackside.errors import NotFound
from trackside.forge.client import Client, segment, segments
from trackside.forge.model import Comment, Push
from trackside.forge.operations import AddLabels, Applied, React
from trackside.forge.read import comment_of, login_of

MAX_FILES = 300
"""So many files of a comparison GitHub tells at most."""


class TalkReads:
    """One comment by its number, pushes, and what a branch holds."""

    client: Client

    def comment(self, comment_id: int) -> Comment:
        """A comment of an issue or pull request. Raises NotFound."""
        return comment_of(self.client.get(f"/issues/comments/{int(comment_id)}"))

    def last_push(self, branch: str) -> Push | None:
        """The newest move of a branch as the server noted it; None where it noted none.

        A commit's own dates are set by whoever makes it; these are not.
        """
        found = self.client.pages("/activity", {"ref": f"refs/heads/{branch}"}, limit=1)
        return next((push_of(one) for one in found if one["ref"] == f"refs/heads/{branch}"), None)

    def contains(self, branch: str, sha: str) -> bool:
        """Whether a commit is an ancestor of a branch's tip, or that tip."""
        raw = self.client.find(f"/compare/{segments(branch)}...{segment(sha)}", per_page=1)
        return raw is not None and raw["status"] in ("behind", "identical")

    def changed(self, base: str, tip: str) -> tuple[str, ...] | None:
        """Paths that differ between a commit and a later one, by old names too.

        None where the tip does not descend from `base`, or where more may differ than GitHub tells.
        """
        raw = self.client.find(f"/compare/{segment(base)}...{segment(tip)}", per_page=1)
        if raw is None or raw["status"] not in ("ahead", "identical") or len(raw.get("files", ())) >= MAX_FILES:
            return None
        names = {one[key] for one in raw.get("files", ()) for key in ("filename", "previous_filename") if key in one}
        return tuple(sorted(names))


def push_of(raw: Any) -> Push:
    return Push(
        ref=raw["ref"], before=raw["before"], after=raw["after"], at=raw["timestamp"], actor=login_of(raw["actor"])
    )


class Reactions:
    """The reactions of this process, so that the one to take away need not be looked up."""

    def __init__(self) -> None:
        self._made: dict[tuple[int, str], int] = {}

    def react(self, client: Client, operation: React, viewer: Callable[[], str]) -> Applied:
        """Add, then take the other away. GitHub answers a second reaction of the same kind with the first."""
        path = f"/issues/comments/{operation.comment_id}/reactions"
        made = int(client.post(path, {"content": operation.content}, repeatable=True)["id"])
        self._made[operation.comment_id, operation.content] = made
        if operation.instead_of:
            for old in self._ours(client, path, operation, viewer):
                client.delete(f"{path}/{old}")
        return Applied(operation=operation, outcome="updated", id=made)

    def _ours(self, client: Client, path: str, operation: React, viewer: Callable[[], str]) -> list[int]:
        known = self._made.pop((operation.comment_id, operation.instead_of), 0)
        if known:
            return [known]
        ours = viewer().lower()
        found = client.pages(path, {"content": operation.instead_of})
        return [int(one["id"]) for one in found if login_of(one["user"]).lower() == ours]


def add_labels(client: Client, operation: AddLabels) -> Applied:
    """Labels are a set: adding one that is there, and removing one that is not, changes nothing."""
    path = f"/issues/{operation.issue}/labels"
    there = [str(one["name"]) for one in client.pages(path)]
    known = {name.lower() for name in there}
    new = [name for name in operation.add if name.lower() not in known]
    gone = [name for name in operation.remove if name.lower() in known]
    if new:
        client.post(path, {"labels": new}, repeatable=True)
    for name in gone:
        try:
            client.delete(f"{path}/{segment(name)}")
        except NotFound:
            continue
    return Applied(operation=operation, outcome="updated" if new or gone else "unchanged")
