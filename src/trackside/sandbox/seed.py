"""Seeding: people, tokens, repositories, forks and pushes in a few words, for demos and tests."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

from trackside.sandbox.hub import Hub, folder_files
from trackside.sandbox.state import Doc


class Seed:
    """Makes what a demo or a test needs; every push sends its events."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub

    def person(self, login: str) -> Doc:
        """A user as an actor for the hub's calls."""
        self.hub.add_user(login)
        return {"login": login, "kind": "user", "permissions": None, "repo": ""}

    def token(self, login: str) -> str:
        """A new personal token with all rights of its owner."""
        text = "ghp_" + secrets.token_hex(18)
        self.hub.add_token(text, login)
        return text

    def app_token(self, slug: str, permissions: Mapping[str, str], repo: str = "") -> str:
        """A new installation token of an app, which writes as `slug[bot]`; `repo` empty: all repositories."""
        text = "ghs_" + secrets.token_hex(18)
        self.hub.add_token(text, f"{slug}[bot]", "app", permissions, repo)
        return text

    def job_token(self, repo: str, permissions: Mapping[str, str], run_id: int | None = None, job: str = "") -> str:
        """A new token of a workflow's job: one repository, only what is granted."""
        text = "ghs_" + secrets.token_hex(18)
        self.hub.add_token(text, "github-actions[bot]", "workflow", permissions, repo, run_id=run_id, job=job)
        return text

    def repository(
        self,
        full_name: str,
        files: Mapping[str, bytes | None] | Path | None = None,
        *,
        roles: Mapping[str, str] | None = None,
        private: bool = False,
    ) -> Doc:
        """A repository with one commit on `main` (files, or all files of a folder) and people's roles."""
        doc = self.hub.add_repo(full_name, private=private)
        for login, role in (roles or {}).items():
            self.hub.set_role(full_name, login, role)
        if files is not None:
            self.push(full_name, "main", files, "First commit", full_name.split("/")[0])
        return doc

    def fork(self, parent: str, owner: str) -> str:
        """A fork under another owner; returns its full name."""
        name = f"{owner}/{parent.split('/')[1]}"
        self.hub.add_repo(name, parent=parent, default_branch=self.hub.repo(parent)["default_branch"])
        return name

    def push(
        self, repo: str, branch: str, files: Mapping[str, bytes | None] | Path, message: str, login: str
    ) -> str:  # fmt: skip
        """Commit files (None removes) or a folder's files on top of a branch; returns the SHA."""
        changes = folder_files(files) if isinstance(files, Path) else files
        programs = frozenset[str]()
        if isinstance(files, Path):
            programs = frozenset(path for path in changes if (files / path).stat().st_mode & 0o100)
        return self.hub.commit_folder(repo, branch, changes, message, self.person(login), executable=programs)

    # Settings

    def runner(
        self, repo: str, name: str, labels: Sequence[str], *, ephemeral: bool = True, online: bool = True
    ) -> None:
        """A self-hosted runner as the list of runners shows it."""
        status = "online" if online else "offline"
        doc = {"id": self.hub.state.next("id"), "name": name, "os": "linux", "status": status, "busy": False}
        self.hub.state.put("runner", repo, name, doc | {"labels": list(labels), "ephemeral": ephemeral})

    def environment(self, repo: str, name: str, *, branches: Sequence[str] | None = None) -> None:
        """An environment that the named branches may use; None: all branches, empty: those with protection."""
        policy = (
            None if branches is None else {"protected_branches": not branches, "custom_branch_policies": bool(branches)}
        )
        doc = {"id": self.hub.state.next("id"), "name": name, "created_at": self.hub.now(), "branches": branches or []}
        self.hub.state.put("environment", repo, name, doc | {"deployment_branch_policy": policy})

    def secret(self, repo: str, name: str, text: str, environment: str = "") -> None:
        """A secret of the repository or of one environment."""
        doc = {"name": name, "value": text, "environment": environment}
        self.hub.state.put("secret", repo, f"{environment}/{name}", doc)

    def protect(self, repo: str, branch: str, checks: Mapping[str, int | None]) -> None:
        """Classic protection: names of required checks, each with the app that must write it (None: any)."""
        rows = [{"context": name, "app_id": app} for name, app in checks.items()]
        self.hub.state.put("protection", repo, branch, {"checks": rows})

    def ruleset(self, repo: str, branches: Sequence[str], checks: Mapping[str, int | None]) -> None:
        """A ruleset with required checks for branches, `~DEFAULT_BRANCH` among them."""
        rows = [{"context": name} | ({"integration_id": app} if app else {}) for name, app in checks.items()]
        number = self.hub.state.next("id")
        self.hub.state.put("ruleset", repo, number, {"id": number, "branches": list(branches), "checks": rows})
