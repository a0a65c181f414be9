"""What can be wrong with a registry, as values: what was read, what was found, and what repairs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from trackside.documents.release import Release
from trackside.forge.model import FoundAsset, FoundRelease, StageDeployment
from trackside.registry.state import Event, RegistryState
from trackside.registry.versions import Version

CODES: dict[str, str] = {
    "asset_missing": "a published release lacks a file of its record",
    "asset_starter": "an interrupted upload left a remnant at a published release",
    "asset_wrong": "a file of a published release has other bytes than its record says",
    "claim_unfinished": "a release was begun and not brought to its end",
    "clock_disorder": "by date, as GTO reads tags, another version would hold the stage",
    "clone_behind": "the clone's copy of the data branch is not the server's",
    "clone_shallow": "the clone holds only a part of the history",
    "clone_tagless": "the clone lacks tags of the registry that the server has",
    "counter_gap": "a number is missing among the tags of a model",
    "counter_missing": "a tag without a number among numbered ones: it counts as the oldest",
    "counter_too_large": "a tag with a number of more than 18 digits: it does not count",
    "counter_twice": "two tags of a stage have one number and disagree",
    "deployments_unasked": "GitHub's deployments were not looked at",
    "draft_left": "a draft that no record names",
    "lightweight": "a tag without tagger, reason or trailers",
    "record_damaged": "a record on the data branch cannot be read",
    "record_missing": "a published release without a record",
    "release_missing": "a version without its release",
    "release_renumbered": "the release of a version has another id than recorded",
    "release_unpublished": "a release that was out is a draft again",
    "server_unasked": "only the clone was looked at",
    "stage_commit_differs": "a stage tag names a version, and points at another commit",
    "stage_of_deregistered": "a stage was given to a version that is out of use",
    "stage_of_unregistered": "a stage was given to a version that has no tag",
    "stage_tag_missing": "GitHub's deployments name a stage tag that is not there",
    "stage_tag_moved": "a stage tag is not at the commit, or of the version, that GitHub's deployments name",
    "stage_without_version": "a stage tag that no version can be told from",
    "tag_differs_here": "a tag of the clone is not the server's",
    "tag_missing": "a recorded version without its tag",
    "tag_moved": "the tag of a version is not at the commit that was released",
    "tag_only_here": "a tag of the registry that the server does not have",
    "tag_rewritten": "the tag of a version names another run or statement than its record",
    "tag_unbound": "neither the tag of a version nor its record names a statement",
    "tag_unknown": "a version tag that no record and no release explains",
    "version_moved": "one version was registered twice, at two commits",
}
"""Every code of a finding, and what it stands for; those of `registry.problems` come through under their own names."""


@dataclass(frozen=True, kw_only=True)
class Fetch:
    """Bring tags that the clone lacks, and the data branch, into it; its own tags stay as they are."""

    tags: tuple[str, ...] = ()
    unshallow: bool = False


@dataclass(frozen=True, kw_only=True)
class TakeTag:
    """Let a tag of the clone be the server's: `ours` and `theirs` are objects; ours is kept under another ref."""

    name: str
    ours: str
    theirs: str


@dataclass(frozen=True, kw_only=True)
class Retag:
    """A tag at the server. `before` is the object that its ref holds now, empty where there is none; with `keep` it
    stays under another name. `record` is the version's, by which the tag is made the same as it was.
    """

    name: str
    commit: str
    message: str
    before: str = ""
    keep: bool = False
    record: Release | None = None


@dataclass(frozen=True, kw_only=True)
class Restore:
    """Write the record of a published release again, from the release's own files.

    `event` is its tag, if any, `before` the version that was published before it, `damaged` the file that it replaces.
    """

    model: str
    version: str
    release: FoundRelease
    event: Event | None = None
    before: Version | None = None
    damaged: bytes = b""


@dataclass(frozen=True, kw_only=True)
class Rewrite:
    """Put a record in the place of one that says `before`."""

    before: Release
    after: Release
    why: str


@dataclass(frozen=True, kw_only=True)
class Republish:
    """Make a release public that was public before, with its own words."""

    release: FoundRelease


@dataclass(frozen=True, kw_only=True)
class Rerun:
    """Let the register job carry a release on; `reopen` says in the record first that it is not complete."""

    record: Release
    reopen: bool = False


@dataclass(frozen=True, kw_only=True)
class DropDraft:
    """Delete a draft of ours that no record names."""

    release: FoundRelease


@dataclass(frozen=True, kw_only=True)
class DropRemnant:
    """Delete what an interrupted upload left."""

    tag: str
    release_id: int
    asset: FoundAsset


Level = Literal["problem", "note"]
Local = Fetch | TakeTag
Repair = Local | Retag | Restore | Rewrite | Republish | Rerun | DropDraft | DropRemnant


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong (`problem`), or that one should know (`note`). `subject` is a tag, a path or `clone`.

    `repair` is what `--fix` does about it, with `force` only where `--force` is given too; None is a person's to do.
    """

    code: str
    subject: str
    what: str
    why: str = ""
    remedy: str = ""
    level: Level = "problem"
    repair: Repair | None = None
    force: bool = False


@dataclass(frozen=True, kw_only=True)
class Clone:
    """The clone one stands in: its registry tags (name → object), and the data branch's commit here and there.

    `lacks` says what it cannot answer for, where its server was not asked.
    """

    tags: Mapping[str, str]
    shallow: bool = False
    data: str = ""
    server_data: str = ""
    lacks: str = ""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The registry as it was read, at the server where that could be asked.

    `releases` is None where GitHub was not asked, and was read before the records: whatever draft is in it, its claim,
    which is written first, is among them. `drafts`: the token sees drafts. `damaged`: paths of records that cannot be
    read, with their bytes. `runs`: model and id of every recorded run. `doubts`: by tag, why nothing but the data
    branch speaks for a record; empty text where its release proves it. `deployments` of stages, newest first; None
    where the token may not read them.
    """

    state: RegistryState
    records: tuple[Release, ...]
    now: datetime
    damaged: Mapping[str, bytes] = field(default_factory=dict)
    releases: tuple[FoundRelease, ...] | None = None
    drafts: bool = False
    runs: frozenset[tuple[str, str]] = frozenset()
    doubts: Mapping[str, str] = field(default_factory=dict)
    deployments: tuple[StageDeployment, ...] | None = ()
    clone: Clone | None = None
