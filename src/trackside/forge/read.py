"""What the adapter reads: each method one REST endpoint, turned into the models."""

from __future__ import annotations

import base64
from typing import Any

from trackside.errors import Forbidden, NotFound
from trackside.forge.client import Client, segment, segments
from trackside.forge.model import ROLES, CheckRun, Comment, Commit, Job, Pull, Role, WorkflowRun

ACTIONS_LOGIN = "github-actions[bot]"
"""Whom a GITHUB_TOKEN writes as; it may not ask GitHub for that."""


class Reads:
    """The reading half of `GithubForge`."""

    client: Client
    _viewer: str
    _default_branch: str
    _git_url: str

    # Pull requests

    def pull(self, number: int) -> Pull:
        return pull_of(self.client.get(f"/pulls/{number}"))

    def pull_with_merge(self, number: int, *, wait: float = 30.0) -> Pull:
        clock = self.client.clock
        deadline = clock.monotonic() + wait
        pause = 0.5
        while True:
            pull = self.pull(number)
            left = deadline - clock.monotonic()
            if pull.mergeable is not None or pull.merged or pull.state != "open" or left <= 0:
                return pull
            clock.sleep(min(pause, left))
            pause = min(2 * pause, 4.0)

    def pulls_of_commit(self, sha: str, *, head: str = "") -> tuple[Pull, ...]:
        # `/commits/{sha}/pulls` is empty for forks, so the open ones are compared by SHA.
        query = {"state": "open", **({"head": head} if head else {})}
        found = (pull_of(one) for one in self.client.pages("/pulls", query))
        return tuple(pull for pull in found if pull.head_sha == sha)

    # Contents

    def default_branch(self) -> str:
        if not self._default_branch:
            self._look()
        return self._default_branch

    def git_url(self) -> str:
        """The repository's address for git, as GitHub names it."""
        if not self._git_url:
            self._look()
        return self._git_url

    def _look(self) -> None:
        raw = self.client.get("")
        self._default_branch, self._git_url = str(raw["default_branch"]), str(raw["clone_url"])

    def head_of(self, branch: str) -> str:
        return str(self.client.get(f"/git/ref/heads/{segments(branch)}")["object"]["sha"])

    def commit(self, sha: str) -> Commit:
        raw = self.client.get(f"/git/commits/{segment(sha)}")
        parents = tuple(one["sha"] for one in raw["parents"])
        return Commit(sha=raw["sha"], tree=raw["tree"]["sha"], parents=parents, message=raw["message"])

    def file(self, path: str, ref: str) -> bytes | None:
        try:
            raw = self.client.get(f"/contents/{segments(path)}", ref=ref)
        except NotFound:
            return None
        if not isinstance(raw, dict) or raw.get("type") != "file":
            return None
        if raw.get("encoding") == "none":  # above 1 MiB the contents endpoint leaves the bytes out
            raw = self.client.get(f"/git/blobs/{segment(raw['sha'])}")
        return base64.b64decode(raw["content"])

    def files(self, folder: str, ref: str) -> tuple[str, ...]:
        prefix = folder.strip("/") + "/"
        raw = self.client.find(f"/git/trees/{segment(ref)}", recursive="1")
        if raw is None:
            return ()
        if not raw.get("truncated"):
            return tuple(sorted(_blobs(raw, "", prefix)))
        return tuple(sorted(self._walk(raw["sha"], "", prefix)))

    def _walk(self, tree: str, at: str, prefix: str) -> list[str]:
        """Paths below `prefix` in a tree too large for one answer: one request a folder on the way and below."""
        raw = self.client.get(f"/git/trees/{segment(tree)}")
        found = _blobs(raw, at, prefix)
        for one in raw["tree"]:
            path = f"{at}{one['path']}/"
            if one["type"] == "tree" and (path.startswith(prefix) or prefix.startswith(path)):
                found += self._walk(one["sha"], path, prefix)
        return found

    # People

    def role(self, login: str) -> Role:
        try:
            raw = self.client.get(f"/collaborators/{segment(login)}/permission")
        except NotFound:
            return "none"
        return role_of(raw)

    def viewer(self) -> str:
        if not self._viewer:
            try:
                self._viewer = str(self.client.request("GET", "/user")[0]["login"])
            except (Forbidden, NotFound):
                self._viewer = ACTIONS_LOGIN
        return self._viewer

    # Workflow runs

    def runs(self, workflow: str, *, active: bool = False, limit: int = 100) -> tuple[WorkflowRun, ...]:
        path = f"/actions/workflows/{segment(workflow)}/runs"
        found = tuple(run_of(one) for one in self.client.pages(path, key="workflow_runs", limit=limit))
        return tuple(run for run in found if run.status != "completed") if active else found

    def run(self, run_id: int) -> WorkflowRun:
        return run_of(self.client.get(f"/actions/runs/{run_id}"))

    def jobs(self, run_id: int) -> tuple[Job, ...]:
        return tuple(job_of(one) for one in self.client.pages(f"/actions/runs/{run_id}/jobs", key="jobs"))

    # Talk

    def comments(self, issue: int) -> tuple[Comment, ...]:
        return tuple(comment_of(one) for one in self.client.pages(f"/issues/{issue}/comments"))

    def checks(self, sha: str, *, name: str = "") -> tuple[CheckRun, ...]:
        query = {"check_name": name} if name else {}
        path = f"/commits/{segment(sha)}/check-runs"
        return tuple(check_of(one) for one in self.client.pages(path, query, key="check_runs"))


def _blobs(tree: Any, at: str, prefix: str) -> list[str]:
    return [at + one["path"] for one in tree["tree"] if one["type"] == "blob" and (at + one["path"]).startswith(prefix)]


def login_of(user: Any) -> str:
    """A deleted account is null."""
    return str((user or {}).get("login", ""))


def pull_of(raw: Any) -> Pull:
    """A pull request; lists leave `mergeable` and `merged` out."""
    head, base, mergeable = raw["head"], raw["base"], raw.get("mergeable")
    merged = bool(raw.get("merged") or raw.get("merged_at"))
    return Pull(
        number=raw["number"],
        title=raw["title"] or "",
        state=raw["state"],
        draft=bool(raw.get("draft")),
        author=login_of(raw["user"]),
        head_repo=(head["repo"] or {}).get("full_name", ""),
        head_ref=head["ref"],
        head_sha=head["sha"],
        base_repo=base["repo"]["full_name"],
        base_ref=base["ref"],
        base_sha=base["sha"],
        # While `mergeable` is unknown GitHub still shows the merge of an older head.
        merge_sha=(raw.get("merge_commit_sha") or "") if mergeable or merged else "",
        mergeable=mergeable,
        merged=merged,
        labels=tuple(one["name"] for one in raw["labels"]),
        url=raw.get("html_url") or "",
        closed_at=raw.get("closed_at") or "",
    )


def role_of(raw: Any) -> Role:
    """The role of a collaborator answer; a custom role counts as the highest base permission that it grants."""
    name = str(raw.get("role_name") or "")
    if name in ROLES:
        return name
    held = ((raw.get("user") or {}).get("permissions")) or {}
    for role, key in (("admin", "admin"), ("maintain", "maintain"), ("write", "push"), ("triage", "triage")):
        if held.get(key) is True:
            return role
    legacy = str(raw.get("permission") or "none")
    return legacy if legacy in ROLES else "none"


def run_of(raw: Any) -> WorkflowRun:
    return WorkflowRun(
        id=raw["id"],
        title=raw.get("display_title") or "",
        path=raw["path"],
        event=raw["event"],
        status=raw["status"] or "",
        conclusion=raw["conclusion"],
        head_sha=raw["head_sha"],
        head_branch=raw["head_branch"] or "",
        actor=login_of(raw.get("actor")),
        attempt=raw.get("run_attempt") or 1,
        url=raw.get("html_url") or "",
    )


def job_of(raw: Any) -> Job:
    return Job(
        id=raw["id"],
        name=raw["name"],
        status=raw["status"],
        conclusion=raw["conclusion"],
        labels=tuple(raw["labels"]),
        runner=raw["runner_name"] or "",
        url=raw.get("html_url") or "",
    )


def comment_of(raw: Any) -> Comment:
    issue = str(raw.get("issue_url") or "").rpartition("/")[2]
    return Comment(
        id=raw["id"],
        author=login_of(raw["user"]),
        body=raw.get("body") or "",
        url=raw["html_url"],
        issue=int(issue) if issue.isdecimal() else 0,
        created_at=raw.get("created_at") or "",
        updated_at=raw.get("updated_at") or "",
        bot=(raw["user"] or {}).get("type") != "User",
    )


def check_of(raw: Any) -> CheckRun:
    output = raw["output"]
    return CheckRun(
        id=raw["id"],
        name=raw["name"],
        head_sha=raw["head_sha"],
        status=raw["status"],
        conclusion=raw["conclusion"],
        external_id=raw.get("external_id") or "",
        title=output["title"] or "",
        summary=output["summary"] or "",
        text=output["text"] or "",
        annotations=output["annotations_count"] or 0,
        app=(raw.get("app") or {}).get("slug") or "",
        url=raw.get("html_url") or "",
    )
