"""Writes as values: a stage decides them, `apply` in the adapter does them, re-applying changes nothing."""

from __future__ import annotations

from dataclasses import dataclass, field

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


Operation = UpsertComment | UpsertCheck | DispatchWorkflow | CancelRun | CommitFiles


@dataclass(frozen=True, kw_only=True)
class Applied:
    """What came of it: `created`, `updated`, `unchanged`, `skipped` or `failed`, with the id and URL it made."""

    operation: Operation
    outcome: str
    id: int | str = 0
    url: str = ""
    error: str = ""
    reason_code: str = ""
