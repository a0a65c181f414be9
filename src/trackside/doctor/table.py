"""The one table of checks: what each looks at, what to change, where to read more; and what a check finds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from trackside.errors import DOCS

Level = Literal["ok", "warning", "error", "unknown"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """A check. `right` is what a token needs to see the setting; empty where none is needed."""

    id: str
    title: str
    remedy: str
    link: str
    right: str = ""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a check found. `detail` holds a difference or a log; empty for `ok` as a rule."""

    check: str
    level: Level
    what: str
    remedy: str = ""
    link: str = ""
    detail: str = ""


_ADMIN = "administration: read (a person: the role admin)"

CHECKS: dict[str, Check] = {
    check.id: check
    for check in (
        Check(
            id="configuration.file",
            title="trackside.yaml is there and valid",
            remedy="trackside init writes a first one; trackside check says what is wrong",
            link="configuration.md",
        ),
        Check(
            id="configuration.model",
            title="a stage writes each model",
            remedy="let `path` be what a stage of dvc.yaml lists under `outs`",
            link="pipelines.md",
        ),
        Check(
            id="configuration.drift",
            title="the place of new data can be worked out",
            remedy="use date placeholders such as {yesterday}; double braces that are none",
            link="configuration.md#drift",
        ),
        Check(
            id="workflows.present",
            title="the workflow files are there",
            remedy="trackside init",
            link="quickstart.md",
        ),
        Check(
            id="workflows.pin",
            title="actions are those of this version, pinned to a commit",
            remedy="trackside init --force",
            link="trust.md",
        ),
        Check(
            id="workflows.edited",
            title="workflow files are as shipped",
            remedy="see the difference; trackside init --force takes it back",
            link="trust.md",
        ),
        Check(
            id="workflows.permissions",
            title="each job has the permissions that it needs, and no more",
            remedy="take the job's `permissions` over from the shipped file: trackside init --force --dry-run",
            link="trust.md",
        ),
        Check(
            id="workflows.branch",
            title="what runs on pushes runs on those to the default branch",
            remedy="name the default branch under `on.push.branches`",
            link="quickstart.md",
        ),
        Check(
            id="token.valid",
            title="the token sees the repository",
            remedy="export GITHUB_TOKEN=… of somebody who may read the repository; --repository owner/name names it",
            link="quickstart.md",
        ),
        Check(
            id="token.rights",
            title="the token may see the settings",
            remedy="use the token of an administrator, or a fine-grained one with `Administration: read`",
            link="quickstart.md",
        ),
        Check(
            id="settings.actions",
            title="Actions are on, and these actions are allowed",
            remedy="Settings → Actions → General: allow actions of GitHub and `trackside-ml/trackside*`",
            link="trust.md",
            right=_ADMIN,
        ),
        Check(
            id="settings.pull-requests",
            title="Actions may open pull requests",
            remedy="Settings → Actions → General → Workflow permissions: "
            '"Allow GitHub Actions to create and approve pull requests"; or give the job an App\'s token',
            link="recipes/github-app.md",
            right=_ADMIN,
        ),
        Check(
            id="settings.forks",
            title="workflows of strangers wait for approval",
            remedy="Settings → Actions → General: require approval for all external contributors",
            link="recipes/forks.md",
            right=_ADMIN,
        ),
        Check(
            id="runners.persistent",
            title="no runner of a public repository outlives its job",
            remedy="use ephemeral runners (by JIT or actions-runner-controller), or make the repository private",
            link="recipes/gpu-runners.md",
            right=_ADMIN,
        ),
        Check(
            id="runners.offline",
            title="the runners are online",
            remedy="start the runner's service, or remove the runner",
            link="recipes/gpu-runners.md",
            right=_ADMIN,
        ),
        Check(
            id="runners.labels",
            title="a runner has the labels that training asks for",
            remedy="give a runner these labels, or change `train.runs-on`; runners of an organization and those that "
            "start on demand are not in this list",
            link="recipes/gpu-runners.md",
            right=_ADMIN,
        ),
        Check(
            id="registry.sound",
            title="tags, records and releases agree",
            remedy="trackside models doctor",
            link="models-doctor.md",
            right="contents: read",
        ),
        Check(
            id="remote.configured",
            title="DVC has a default remote",
            remedy="dvc remote add --default storage s3://BUCKET/PATH, then commit .dvc/config",
            link="recipes/remotes.md",
        ),
        Check(
            id="remote.reachable",
            title="the DVC remote answers",
            remedy="check its address and the credentials of this shell; jobs have those of TRACKSIDE_REMOTE_ENV",
            link="recipes/remotes.md",
        ),
        Check(
            id="protection.required",
            title="the default branch requires the check of each model",
            remedy="Settings → Rules: require the status check `trackside / <model>` on the default branch",
            link="trust.md",
            right="metadata: read",
        ),
        Check(
            id="protection.source",
            title="only an app may write the required check",
            remedy="choose GitHub Actions, better an app of yours, as the expected source of the check",
            link="trust.md",
            right="metadata: read",
        ),
        Check(
            id="schedule.enabled",
            title="GitHub has not switched the schedule off",
            remedy="Actions → trackside drift → Enable workflow; it goes off after 60 days without activity",
            link="drift.md",
            right="actions: read",
        ),
        Check(
            id="schedule.heartbeat",
            title="the drift check has run lately",
            remedy="run the workflow by hand once; commit something at least every 60 days",
            link="drift.md",
            right="contents: read",
        ),
        Check(
            id="environment.training",
            title="the environment `training` is there",
            remedy="Settings → Environments → New environment: training",
            link="trust.md",
            right="actions: read",
        ),
        Check(
            id="environment.branches",
            title="only the default branch may use it",
            remedy="Settings → Environments → training → Deployment branches: the default branch only",
            link="trust.md",
            right="actions: read",
        ),
        Check(
            id="environment.secret",
            title="it holds the credentials of the data remote",
            remedy="gh secret set TRACKSIDE_REMOTE_ENV --env training < remote.env",
            link="recipes/remotes.md",
            right="environments: read (a person: the role write)",
        ),
        Check(
            id="container.backend",
            title="docker, podman or buildah is here",
            remedy="install one; GitHub's hosted runners have docker",
            link="image.md",
        ),
    )
}


def found(check: str, level: Level, what: str = "", *, remedy: str = "", detail: str = "") -> Finding:
    """A finding with the table's words for what is not given."""
    row = CHECKS[check]
    return Finding(
        check=check,
        level=level,
        what=what or row.title,
        remedy="" if level == "ok" else remedy or row.remedy,
        link="" if level == "ok" else f"{DOCS}/{row.link}",
        detail=detail,
    )


def unseen(check: str, why: str = "") -> Finding:
    """The token may not see it: say which right would."""
    row = CHECKS[check]
    return found(
        check,
        "unknown",
        f"cannot tell whether {row.title}" + (f": {why}" if why else ""),
        remedy=f"a token with {row.right}" if row.right else row.remedy,
    )


def counts(findings: tuple[Finding, ...]) -> dict[Level, int]:
    """How many findings of each level."""
    levels: tuple[Level, ...] = ("error", "warning", "unknown", "ok")
    return {level: sum(one.level == level for one in findings) for level in levels}


Findings = Iterator[Finding]
