"""Writes as values: a stage decides them, `apply` in the adapter does them, re-applying changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from trackside.forge.model import Annotation


@dataclass(frozen=True, kw_only=True)
class UpsertComment:
    """One sticky comment: own author and `marker` first in the body; the oldest is patched, extras are deleted.

    With `only_over` it is written only while that very text stands there, so that newer words are never replaced.
    """

    issue: int
    marker: str
    body: str
    only_over: str = ""


@dataclass(frozen=True, kw_only=True)
class UpsertCheck:
    """One check run by name and external id on a commit. `conclusion` is None while it is in progress."""

    name: str
    head_sha: str
    external_id: str
    title: str
    summary: str
    conclusion: str | None
    text: str = ""
    details_url: str = ""
    annotations: tuple[Annotation, ...] = ()
    started_at: str = ""


@dataclass(frozen=True, kw_only=True)
class DispatchWorkflow:
    """Start a workflow of `ref` (a branch) with string inputs; skipped while a run titled `unless_title` is active."""

    workflow: str
    ref: str
    inputs: dict[str, str] = field(default_factory=dict)
    unless_title: str = ""


@dataclass(frozen=True, kw_only=True)
class CancelRun:
    """Cancel a workflow run; one that has ended is no error."""

    run_id: int
    why: str


@dataclass(frozen=True, kw_only=True)
class CommitFiles:
    """Files on the data branch in one commit. `text` None deletes. Applied by compare-and-swap with retries.

    `keep` lists paths that stay as they are when they exist already (first writer wins).
    """

    branch: str
    message: str
    files: dict[str, str | None]
    keep: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class CreateTag:
    """An annotated tag at a commit. `unchanged` where the same name points there already; Conflict elsewhere."""

    name: str
    commit: str
    message: str


@dataclass(frozen=True, kw_only=True)
class ReleaseAsset:
    """A file to attach: `path` on this machine, `digest` `sha256:<64 hex>` of its content, `size` in bytes."""

    name: str
    path: Path
    digest: str
    size: int
    media_type: str = "application/octet-stream"


@dataclass(frozen=True, kw_only=True)
class DraftRelease:
    """A draft release of a tag. A published one of the tag, or a draft with this very body, is used again, unless
    `fresh` says that there can be none; drafts may share a tag, and whose body differs is another writer's.
    """

    tag: str
    commit: str
    title: str
    body: str
    prerelease: bool = False
    fresh: bool = False


@dataclass(frozen=True, kw_only=True)
class FillRelease:
    """Attach what is missing, replace what differs or was left half uploaded; then verify every digest.

    `told` hears lines about the progress of large files.
    """

    release_id: int
    assets: tuple[ReleaseAsset, ...]
    told: Callable[[str], None] | None = field(default=None, compare=False)


@dataclass(frozen=True, kw_only=True)
class DiscardDraft:
    """Delete a draft with its files; one that is gone, or was published, is `unchanged`."""

    release_id: int


@dataclass(frozen=True, kw_only=True)
class DiscardRemnant:
    """Delete what an interrupted upload left of a release's asset; one that is gone, or whole, is `unchanged`."""

    asset_id: int


@dataclass(frozen=True, kw_only=True)
class PublishRelease:
    """Make a draft public with its last words; a published one with the same body is `unchanged`."""

    release_id: int
    body: str


@dataclass(frozen=True, kw_only=True)
class ProposeChange:
    """One branch and one open pull request. The branch is reset to the tip of `base` plus one commit with `files`.

    `text` None deletes. When the base branch, reset like that, already equals the files, nothing is proposed. An open
    pull request of the branch is updated, never doubled. Users who cannot be asked for a review are left out.
    `repository` is empty for this one; another one needs a token that may write there.
    """

    branch: str
    base: str
    files: dict[str, bytes | None]
    message: str
    title: str
    body: str
    labels: tuple[str, ...] = ()
    reviewers: tuple[str, ...] = ()
    repository: str = ""


@dataclass(frozen=True, kw_only=True)
class UpsertIssue:
    """One open issue by marker (first in its body) and own author; closed again with `open` False."""

    marker: str
    title: str
    body: str
    labels: tuple[str, ...] = ()
    open: bool = True


@dataclass(frozen=True, kw_only=True)
class React:
    """A reaction to a comment: `eyes`, `rocket`, `confused`; `instead_of` is taken away."""

    comment_id: int
    content: str
    instead_of: str = ""


@dataclass(frozen=True, kw_only=True)
class AddLabels:
    """Labels of an issue or pull request; `remove` are taken away, where they are."""

    issue: int
    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class MergePull:
    """Merge at exactly `head_sha`; one that is merged already is `unchanged`."""

    number: int
    head_sha: str
    title: str


@dataclass(frozen=True, kw_only=True)
class MarkDeployed:
    """The deployment of a stage's holder: `tag` is the stage tag at `commit`, `facts` go into the payload.

    `log_url` leads to the workflow run, `page` to the release.
    """

    environment: str
    tag: str
    commit: str
    description: str
    facts: dict[str, str] = field(default_factory=dict)
    log_url: str = ""
    page: str = ""


Operation = (
    UpsertComment
    | UpsertCheck
    | DispatchWorkflow
    | CancelRun
    | CommitFiles
    | CreateTag
    | DraftRelease
    | FillRelease
    | DiscardDraft
    | DiscardRemnant
    | PublishRelease
    | React
    | AddLabels
    | ProposeChange
    | UpsertIssue
    | MergePull
    | MarkDeployed
)


@dataclass(frozen=True, kw_only=True)
class Applied:
    """What came of it: `created`, `updated`, `unchanged`, `skipped` or `failed`, with the id and URL it made."""

    operation: Operation
    outcome: str
    id: int | str = 0
    url: str = ""
    error: str = ""
    reason_code: str = ""
