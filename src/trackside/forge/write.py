"""Applies operations: looks before it writes, and again after a write whose outcome is unknown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from trackside.errors import Conflict, ForgeError, TracksideError
from trackside.forge.approvals import ApprovalReads
from trackside.forge.client import segment
from trackside.forge.commit import commit_files
from trackside.forge.deployments import mark_deployed
from trackside.forge.drafts import Drafts
from trackside.forge.model import Annotation, CheckRun, Comment, WorkflowRun
from trackside.forge.operations import (
    AddLabels,
    Applied,
    CancelRun,
    CommitFiles,
    CreateTag,
    DiscardDraft,
    DiscardRemnant,
    DispatchWorkflow,
    DraftRelease,
    FillRelease,
    MarkDeployed,
    MergePull,
    Operation,
    ProposeChange,
    PublishRelease,
    React,
    UpsertCheck,
    UpsertComment,
    UpsertIssue,
)
from trackside.forge.proposals import ProposalReads, merge_pull, propose_change, upsert_issue
from trackside.forge.read import Reads, check_of, comment_of
from trackside.forge.refs import RefWrites
from trackside.forge.releases import ReleaseReads, create_tag
from trackside.forge.remnants import discard_remnant
from trackside.forge.talk import Reactions, TalkReads, add_labels
from trackside.system.text import clean, cut, length

MAX_COMMENT = 65_536
"""Characters of a comment."""

MAX_OUTPUT = 65_535
"""Characters of a check run's summary, and of its text."""

ANNOTATIONS_A_REQUEST = 50

MAX_TITLE = 255
MAX_MESSAGE = 16_000
"""Characters of an annotation's message: within 64 KB in any script."""

LAG_ATTEMPTS = 4
"""How often to look for a run that was dispatched: together about 3 s, the time it takes to be listed."""


class Writes(Reads, ReleaseReads, TalkReads, RefWrites, ProposalReads, ApprovalReads):
    """The writing half of `GithubForge`."""

    _reactions: Reactions
    _drafts: Drafts

    def apply(self, operations: Iterable[Operation], *, dry_run: bool = False) -> tuple[Applied, ...]:
        return tuple(self._one(operation, dry_run=dry_run) for operation in operations)

    def _one(self, operation: Operation, *, dry_run: bool) -> Applied:
        if dry_run:
            return Applied(operation=operation, outcome="skipped")
        try:
            match operation:
                case UpsertComment():
                    return self._comment(operation)
                case UpsertCheck():
                    return self._check(operation)
                case DispatchWorkflow():
                    return self._dispatch(operation)
                case ProposeChange():
                    return propose_change(self.client, operation)
                case UpsertIssue():
                    return upsert_issue(self.client, operation, self.viewer())
                case MergePull():
                    return merge_pull(self.client, operation)
                case CancelRun():
                    return self._cancel(operation)
                case CommitFiles():
                    return commit_files(self.client, operation)
                case CreateTag():
                    return create_tag(self.client, operation)
                case DraftRelease() | FillRelease() | PublishRelease() | DiscardDraft():
                    return self._drafts.apply(self.client, operation)
                case DiscardRemnant():
                    return discard_remnant(self.client, operation)
                case React():
                    return self._reactions.react(self.client, operation, self.viewer)
                case AddLabels():
                    return add_labels(self.client, operation)
                case MarkDeployed():
                    return mark_deployed(self.client, operation)
        except TracksideError as error:
            return Applied(operation=operation, outcome="failed", error=error.render(), reason_code=error.reason_code)

    # Comments

    def _comment(self, operation: UpsertComment) -> Applied:
        body = comment_body(operation)
        own = self._own(operation, self.viewer())
        if operation.only_over:
            expected = comment_body(replace(operation, body=operation.only_over))
            if not own or not same_text(own[0].body, expected):
                return Applied(operation=operation, outcome="unchanged")
        if own:
            return self._keep_oldest(operation, own, body)

        def send() -> Comment:
            return comment_of(self.client.post(f"/issues/{operation.issue}/comments", {"body": body}))

        def find() -> Comment | None:
            return next(iter(self._own(operation, self.viewer())), None)

        made = self.client.create(send, find)
        # The answer tells for certain who we are; an App that is not known by name learns it here.
        self._viewer = made.author
        own = self._own(operation, made.author) or [made]
        # Of writers that came first together, the last to create has the newest word. Each looks after its own
        # creation, so whoever looks last sees every comment, reckons the same and leaves one.
        newest = own[-1].body if same_text(made.body, body) else body
        return self._keep_oldest(operation, own, newest, outcome="created")

    def _own(self, operation: UpsertComment, author: str) -> list[Comment]:
        """Our comments that begin with the marker, oldest first.

        A marker that somebody else planted counts for nothing, nor does one further down: a pull request may name a
        file or a stage like another model's marker, which our own comments then show.
        """
        found = self.comments(operation.issue)
        own = [one for one in found if one.author.lower() == author.lower() and one.body.startswith(operation.marker)]
        return sorted(own, key=lambda one: one.id)

    def _keep_oldest(self, operation: UpsertComment, own: list[Comment], body: str, outcome: str = "") -> Applied:
        """Bring the oldest up to date, then delete the others; what another writer deleted meanwhile is fine."""
        oldest, extras = own[0], own[1:]
        changed = not same_text(oldest.body, body)
        if changed:
            self.client.patch(f"/issues/comments/{oldest.id}", {"body": body})
        for extra in extras:
            self.client.delete(f"/issues/comments/{extra.id}")
        outcome = outcome or ("updated" if changed or extras else "unchanged")
        return Applied(operation=operation, outcome=outcome, id=oldest.id, url=oldest.url)

    # Check runs

    def _check(self, operation: UpsertCheck) -> Applied:
        found = self._find_check(operation)
        body = check_body(operation)
        if found is not None:
            self._learn(found)
        if found is not None and same_check(found, body, len(operation.annotations)):
            return Applied(operation=operation, outcome="unchanged", id=found.id, url=found.url)
        # GitHub only ever adds annotations: where some are outdated, a new check run takes the place of the old one.
        if found is None or found.annotations:
            return self._create_check(operation, body, after=found.id if found else 0)
        if operation.annotations:
            self._annotate(found.id, body, operation.annotations, sent=0)
        else:
            self.client.patch(f"/check-runs/{found.id}", body)
        return Applied(operation=operation, outcome="updated", id=found.id, url=found.url)

    def _create_check(self, operation: UpsertCheck, body: dict[str, Any], *, after: int) -> Applied:
        """A new check run; after a lost answer it is the one with an id above `after`."""
        first = operation.annotations[:ANNOTATIONS_A_REQUEST]
        creation = {**with_annotations(body, first), "head_sha": operation.head_sha}

        def send() -> tuple[CheckRun, int]:
            return check_of(self.client.post("/check-runs", creation)), len(first)

        def find() -> tuple[CheckRun, int] | None:
            found = self._find_check(operation)
            return (found, found.annotations) if found is not None and found.id > after else None

        made, sent = self.client.create(send, find)
        self._learn(made)
        self._annotate(made.id, {"output": body["output"]}, operation.annotations, sent=sent)
        return Applied(operation=operation, outcome="created", id=made.id, url=made.url)

    def _annotate(self, check_id: int, body: dict[str, Any], annotations: tuple[Annotation, ...], *, sent: int) -> None:
        """Send those beyond the first `sent` in batches; after a lost answer, GitHub's count tells where to go on."""
        path = f"/check-runs/{check_id}"
        while sent < len(annotations):
            batch = annotations[sent : sent + ANNOTATIONS_A_REQUEST]
            update = with_annotations(body, batch)

            def send(update: dict[str, Any] = update, reached: int = sent + len(batch)) -> int:
                self.client.patch(path, update, repeatable=False)
                return reached

            def find(before: int = sent) -> int | None:
                count = check_of(self.client.get(path)).annotations
                return count if count > before else None

            sent = self.client.create(send, find)

    def _find_check(self, operation: UpsertCheck) -> CheckRun | None:
        """The newest check run of this name and external id; the same name alone may be anybody's job."""
        found = self.checks(operation.head_sha, name=operation.name)
        same = [one for one in found if one.name == operation.name and one.external_id == operation.external_id]
        own = [one for one in same if f"{one.app}[bot]" == self._viewer]
        return max(own or same, key=lambda one: one.id, default=None)

    def _learn(self, check: CheckRun) -> None:
        """Who we are, from a check run of ours: only Apps make them, and only their maker changes them."""
        if check.app:
            self._viewer = f"{check.app}[bot]"

    # Workflow runs

    def _dispatch(self, operation: DispatchWorkflow) -> Applied:
        active = self._titled(operation)
        if active is not None:
            return Applied(operation=operation, outcome="skipped", id=active.id, url=active.url)
        path = f"/actions/workflows/{segment(operation.workflow)}/dispatches"
        body = {"ref": operation.ref, "inputs": operation.inputs}
        if not operation.unless_title:  # nothing to find it by, so an unknown outcome stays an error
            raw = self._send_dispatch(path, body)
        else:
            raw = self.client.create(
                lambda: self._send_dispatch(path, body) or self._await_run(operation),
                lambda: self._await_run(operation) or None,
            )
        run_id, url = int(raw.get("workflow_run_id", 0)), str(raw.get("html_url", ""))
        return Applied(operation=operation, outcome="created", id=run_id, url=url)

    def _await_run(self, operation: DispatchWorkflow) -> dict[str, Any]:
        """What a dispatch would have answered, from the list of runs, which may lag; empty when none appears."""
        for attempt in range(1, LAG_ATTEMPTS + 1):
            run = self._titled(operation)
            if run is not None:
                return {"workflow_run_id": run.id, "html_url": run.url}
            self.client.pause(attempt)
        return {}

    def _send_dispatch(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """The run's id and URL; empty from a server that does not tell them."""
        try:
            return self.client.post(path, {**body, "return_run_details": True}) or {}
        except ForgeError as error:
            if "return_run_details" not in error.why:
                raise
        return self.client.post(path, body) or {}

    def _titled(self, operation: DispatchWorkflow) -> WorkflowRun | None:
        """The newest active run of the operation's title."""
        if not operation.unless_title:
            return None
        runs = self.runs(operation.workflow, active=True)
        return next((run for run in runs if run.title == operation.unless_title), None)

    def _cancel(self, operation: CancelRun) -> Applied:
        try:
            self.client.post(f"/actions/runs/{operation.run_id}/cancel", None, repeatable=True)
        except Conflict:  # it has ended
            return Applied(operation=operation, outcome="unchanged", id=operation.run_id)
        return Applied(operation=operation, outcome="updated", id=operation.run_id)


def comment_body(operation: UpsertComment) -> str:
    """The body within GitHub's limit; it begins with the marker."""
    body = cut(operation.body, MAX_COMMENT)
    if body.startswith(operation.marker):
        return body
    lead = operation.marker + "\n"
    return lead + cut(operation.body, MAX_COMMENT - length(lead))


def same_text(one: str, other: str) -> bool:
    """Equal but for line ends and space at the end, which GitHub may change."""
    return clean(one).rstrip() == clean(other).rstrip()


def check_body(operation: UpsertCheck) -> dict[str, Any]:
    """The request body for a check run, without annotations."""
    body: dict[str, Any] = {
        "name": operation.name,
        "external_id": operation.external_id,
        "output": {
            "title": clean(operation.title)[:MAX_TITLE],
            "summary": cut(operation.summary, MAX_OUTPUT),
            "text": cut(operation.text, MAX_OUTPUT),
        },
    }
    if operation.details_url:
        body["details_url"] = operation.details_url
    if operation.started_at:
        body["started_at"] = operation.started_at
    if operation.conclusion is None:
        return {**body, "status": "in_progress"}
    return {**body, "status": "completed", "conclusion": operation.conclusion}


def same_check(found: CheckRun, body: dict[str, Any], annotations: int) -> bool:
    """Whether an update would show nothing new. Annotations are judged by number: GitHub gives no more at once."""
    output = body["output"]
    texts = ((found.title, "title"), (found.summary, "summary"), (found.text, "text"))
    return (
        (found.status, found.conclusion) == (body["status"], body.get("conclusion"))
        and found.annotations == annotations
        and all(same_text(there, output[name]) for there, name in texts)
    )


def with_annotations(body: dict[str, Any], annotations: Sequence[Annotation]) -> dict[str, Any]:
    """The body with annotations added to its output."""
    rows = [
        {
            "path": one.path,
            "start_line": one.line,
            "end_line": one.line,
            "annotation_level": one.level,
            "title": clean(one.title)[:MAX_TITLE],
            "message": clean(one.message)[:MAX_MESSAGE],
        }
        for one in annotations
    ]
    return {**body, "output": {**body["output"], "annotations": rows}} if rows else body
