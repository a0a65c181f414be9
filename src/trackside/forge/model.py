"""What Trackside reads from GitHub, as own frozen values."""

from __future__ import annotations

from dataclasses import dataclass, field

Role = str
"""`admin`, `maintain`, `write`, `triage`, `read` or `none`; custom roles map to the base role they inherit."""

ROLES: tuple[Role, ...] = ("none", "read", "triage", "write", "maintain", "admin")
"""From least to most."""


@dataclass(frozen=True, kw_only=True)
class Pull:
    """A pull request. `head_repo` is empty when the fork was deleted, `merge_sha` on conflict or while unknown.

    `closed_at` is RFC 3339, empty while it is open.
    """

    number: int
    title: str
    state: str
    draft: bool
    author: str
    head_repo: str
    head_ref: str
    head_sha: str
    base_repo: str
    base_ref: str
    base_sha: str
    merge_sha: str
    mergeable: bool | None
    merged: bool
    labels: tuple[str, ...] = ()
    url: str = ""
    closed_at: str = ""

    @property
    def from_fork(self) -> bool:
        return self.head_repo != self.base_repo


@dataclass(frozen=True, kw_only=True)
class Comment:
    """An issue or pull request comment. `bot`: written by anything but a person's account; times are RFC 3339."""

    id: int
    author: str
    body: str
    url: str = ""
    issue: int = 0
    created_at: str = ""
    updated_at: str = ""
    bot: bool = False


@dataclass(frozen=True, kw_only=True)
class Push:
    """A move of a branch as the server noted it: from `before` to `after`, `at` an RFC 3339 time, by `actor`."""

    ref: str
    before: str
    after: str
    at: str
    actor: str = ""


@dataclass(frozen=True, kw_only=True)
class CheckRun:
    """A check run as found on a commit. `annotations` is their number, `app` the slug of the App that made it."""

    id: int
    name: str
    head_sha: str
    status: str
    conclusion: str | None
    external_id: str = ""
    title: str = ""
    summary: str = ""
    text: str = ""
    annotations: int = 0
    app: str = ""
    url: str = ""


@dataclass(frozen=True, kw_only=True)
class WorkflowRun:
    """A workflow run. `title` is its run-name; `path` the workflow file."""

    id: int
    title: str
    path: str
    event: str
    status: str
    conclusion: str | None
    head_sha: str
    head_branch: str
    actor: str
    attempt: int = 1
    url: str = ""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A job of a workflow run, with the labels it asks for."""

    id: int
    name: str
    status: str
    conclusion: str | None
    labels: tuple[str, ...] = ()
    runner: str = ""
    url: str = ""


@dataclass(frozen=True, kw_only=True)
class Annotation:
    """A note on a line of a file. `level` is `notice`, `warning` or `failure`."""

    path: str
    line: int
    level: str
    title: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Commit:
    """A git commit; parents in order."""

    sha: str
    tree: str
    parents: tuple[str, ...] = field(default=())
    message: str = ""


@dataclass(frozen=True, kw_only=True)
class TagRef:
    """A tag by name. `object` is the SHA that the ref holds: of a tag object where `annotated`, else of a commit."""

    name: str
    object: str
    annotated: bool


@dataclass(frozen=True, kw_only=True)
class TagObject:
    """An annotated tag; `commit` is what it points at, `date` as the tagger's clock said."""

    sha: str
    name: str
    commit: str
    message: str
    tagger: str = ""
    date: str = ""


@dataclass(frozen=True, kw_only=True)
class FoundAsset:
    """A file of a release. `digest` is `sha256:<64 hex>`, empty where GitHub knows none; `uploaded` is False for
    what an interrupted upload left behind.
    """

    id: int
    name: str
    size: int
    digest: str
    uploaded: bool
    url: str = ""


@dataclass(frozen=True, kw_only=True)
class FoundRelease:
    """A release; drafts are seen only by those who may write. `commit` is what the tag would be made at."""

    id: int
    tag: str
    title: str
    body: str
    draft: bool
    commit: str = ""
    upload_url: str = ""
    url: str = ""
    published_at: str = ""
    assets: tuple[FoundAsset, ...] = ()


@dataclass(frozen=True, kw_only=True)
class StageDeployment:
    """What a deployment of `MarkDeployed` says: the stage tag, the commit that was deployed, and the version."""

    environment: str
    tag: str
    commit: str
    version: str = ""
