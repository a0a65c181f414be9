"""What only `doctor` reads: settings of the repository, most of which take administration rights to see."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from trackside.errors import NotFound
from trackside.forge.client import Client, segment, segments


@dataclass(frozen=True, kw_only=True)
class RepositoryFacts:
    """The repository as the token sees it. `admin`: the token's owner administers it; `push`: it may write contents.
    `git_url` is its address for git.
    """

    full_name: str
    private: bool
    default_branch: str
    admin: bool
    push: bool = False
    git_url: str = ""


@dataclass(frozen=True, kw_only=True)
class RunnerFacts:
    """A self-hosted runner of the repository. `ephemeral` is None where the server does not say."""

    name: str
    online: bool
    labels: frozenset[str]
    ephemeral: bool | None


@dataclass(frozen=True, kw_only=True)
class EnvironmentFacts:
    """An environment; `branches` says who may use it: all, protected branches, or the patterns named."""

    name: str
    branches: Literal["all", "protected"] | tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class RequiredCheck:
    """A check that a branch requires; `app` is the only one that may write it, None for any."""

    name: str
    app: int | None


@dataclass(frozen=True, kw_only=True)
class ActionsPolicy:
    """Whether Actions run, and which: `all`, `local_only` or `selected` with patterns."""

    enabled: bool
    allowed: str
    github_owned: bool = True
    patterns: tuple[str, ...] = ()


class SettingsReads:
    """A mixin of `GithubForge`: each method raises Forbidden or NotFound where the token may not see the setting."""

    client: Client

    def repository_facts(self) -> RepositoryFacts:
        raw = self.client.get("")
        return RepositoryFacts(
            full_name=raw["full_name"],
            private=bool(raw["private"]),
            default_branch=raw["default_branch"],
            admin=bool((raw.get("permissions") or {}).get("admin")),
            push=bool((raw.get("permissions") or {}).get("push")),
            git_url=raw["clone_url"],
        )

    def actions_policy(self) -> ActionsPolicy:
        raw = self.client.get("/actions/permissions")
        allowed = raw.get("allowed_actions") or "all"
        if allowed != "selected":
            return ActionsPolicy(enabled=raw["enabled"], allowed=allowed)
        chosen = self.client.get("/actions/permissions/selected-actions")
        return ActionsPolicy(
            enabled=raw["enabled"],
            allowed=allowed,
            github_owned=bool(chosen.get("github_owned_allowed")),
            patterns=tuple(chosen.get("patterns_allowed") or ()),
        )

    def actions_may_open_pulls(self) -> bool:
        """ "Allow GitHub Actions to create and approve pull requests"."""
        return bool(self.client.get("/actions/permissions/workflow")["can_approve_pull_request_reviews"])

    def fork_approval(self) -> str:
        """Whose workflows wait for approval: the API's word, such as `first_time_contributors`."""
        return str(self.client.get("/actions/permissions/fork-pr-contributor-approval")["approval_policy"])

    def runners(self) -> tuple[RunnerFacts, ...]:
        return tuple(
            RunnerFacts(
                name=raw["name"],
                online=raw["status"] == "online",
                labels=frozenset(one["name"].lower() for one in raw["labels"]),
                ephemeral=raw.get("ephemeral"),
            )
            for raw in self.client.pages("/actions/runners", key="runners")
        )

    def workflow_state(self, file: str) -> str:
        """`active`, `disabled_inactivity`, `disabled_manually`, …. Raises NotFound."""
        return str(self.client.get(f"/actions/workflows/{segment(file)}")["state"])

    def environment(self, name: str) -> EnvironmentFacts | None:
        raw = self.client.find(f"/environments/{segment(name)}")
        if raw is None:
            return None
        policy = raw.get("deployment_branch_policy")
        if policy is None:
            return EnvironmentFacts(name=name, branches="all")
        if policy["protected_branches"]:
            return EnvironmentFacts(name=name, branches="protected")
        path = f"/environments/{segment(name)}/deployment-branch-policies"
        rows = self.client.pages(path, key="branch_policies")
        return EnvironmentFacts(name=name, branches=tuple(row["name"] for row in rows))

    def secret_names(self, environment: str = "") -> frozenset[str]:
        """Names of the repository's secrets, or of an environment's."""
        path = f"/environments/{segment(environment)}/secrets" if environment else "/actions/secrets"
        return frozenset(row["name"] for row in self.client.pages(path, key="secrets"))

    def required_checks(self, branch: str) -> tuple[RequiredCheck, ...]:
        """From classic protection and from rulesets: both can be read by anyone who reads the repository."""
        made = [
            RequiredCheck(name=one["context"], app=one.get("integration_id"))
            for rule in self.client.pages(f"/rules/branches/{segments(branch)}")
            if rule["type"] == "required_status_checks"
            for one in (rule.get("parameters") or {}).get("required_status_checks", [])
        ]
        try:
            raw = self.client.get(f"/branches/{segments(branch)}")
        except NotFound:
            return tuple(made)
        required = (raw.get("protection") or {}).get("required_status_checks") or {}
        known = {one["context"]: one.get("app_id") for one in required.get("checks") or []}
        names = dict.fromkeys([*known, *(required.get("contexts") or [])])
        return (*made, *(RequiredCheck(name=name, app=known.get(name)) for name in names))
