"""Events as Trackside sees them. SHAs are 40 or 64 lower-case hex digits; repositories `owner/name`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What all events share. `action` is empty where the event has none; `repository` where it belongs to none."""

    kind: ClassVar[str]
    name: str
    action: str = ""
    repository: str = ""
    actor: str = ""
    default_branch: str = ""


@dataclass(frozen=True, kw_only=True)
class PullRequestEvent(Origin):
    """`pull_request` and `pull_request_target`. `label` is the one that was added or removed.

    `head_sha` comes from the payload, never from GITHUB_SHA, which is the merge or the default branch.
    `head_repository` is empty when the fork was deleted.
    """

    kind: ClassVar[str] = "pull_request"
    number: int
    head_sha: str
    head_repository: str
    head_ref: str
    base_sha: str
    base_ref: str
    draft: bool
    label: str = ""


@dataclass(frozen=True, kw_only=True)
class ReviewEvent(Origin):
    """A review, a review comment or a review thread of a pull request."""

    kind: ClassVar[str] = "review"
    number: int
    head_sha: str


@dataclass(frozen=True, kw_only=True)
class CommentEvent(Origin):
    """A comment on an issue or pull request. It carries no SHA: the head is looked up by number.

    `bot`: written by anything but a person's account; `created_at` is an RFC 3339 time.
    """

    kind: ClassVar[str] = "comment"
    number: int
    on_pull: bool
    comment_id: int
    author: str
    body: str
    bot: bool = False
    created_at: str = ""
    url: str = ""


@dataclass(frozen=True, kw_only=True)
class DispatchEvent(Origin):
    """`workflow_dispatch`: inputs as strings; `sha` is the tip of `ref` when it was dispatched."""

    kind: ClassVar[str] = "dispatch"
    ref: str
    sha: str
    workflow: str
    inputs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class MergeGroupEvent(Origin):
    """A merge queue asks for checks on `head_sha`, which is not the head of any pull request."""

    kind: ClassVar[str] = "merge_group"
    head_sha: str
    head_ref: str
    base_sha: str
    base_ref: str


@dataclass(frozen=True, kw_only=True)
class PushEvent(Origin):
    """A branch or tag moved to `sha`. A deletion has `deleted` and the zero SHA; `branch` is empty for a tag."""

    kind: ClassVar[str] = "push"
    ref: str
    sha: str
    before: str
    branch: str
    tag: str
    deleted: bool


@dataclass(frozen=True, kw_only=True)
class ScheduleEvent(Origin):
    """The clock: `sha` is the tip of the default branch."""

    kind: ClassVar[str] = "schedule"
    cron: str
    sha: str


@dataclass(frozen=True, kw_only=True)
class OtherEvent(Origin):
    """Anything that Trackside takes no decision on."""

    kind: ClassVar[str] = "other"


Event = (
    PullRequestEvent
    | ReviewEvent
    | CommentEvent
    | DispatchEvent
    | MergeGroupEvent
    | PushEvent
    | ScheduleEvent
    | OtherEvent
)
