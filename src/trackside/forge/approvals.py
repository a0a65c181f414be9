"""Who approved: reviews of pull requests, and the people who let a workflow run into an environment."""

from __future__ import annotations

from dataclasses import dataclass

from trackside.forge.client import Client
from trackside.forge.read import login_of


@dataclass(frozen=True, kw_only=True)
class Review:
    """One review. `state` is GitHub's word (`APPROVED`, `CHANGES_REQUESTED`, `COMMENTED`, `DISMISSED`, `PENDING`);
    `commit` is the head that was looked at, `bot` whether anything but a person's account wrote it.
    """

    author: str
    state: str
    commit: str
    bot: bool = False


class ApprovalReads:
    """Reviews and approvals."""

    client: Client

    def reviews(self, number: int) -> tuple[Review, ...]:
        """Reviews of a pull request, oldest first. Raises NotFound."""
        return tuple(
            Review(
                author=login_of(raw["user"]),
                state=str(raw["state"]),
                commit=str(raw.get("commit_id") or ""),
                bot=(raw["user"] or {}).get("type") != "User",
            )
            for raw in self.client.pages(f"/pulls/{number}/reviews")
        )

    def run_approvals(self, run_id: int) -> tuple[str, ...]:
        """Logins of the required reviewers who approved an environment for a workflow run."""
        found = self.client.find(f"/actions/runs/{run_id}/approvals") or []
        return tuple(login_of(one["user"]) for one in found if one["state"] == "approved")
