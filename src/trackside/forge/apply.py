"""Applies operations over a caller of the API: looks before it writes, and again after an answer that got lost."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol
from urllib.parse import quote

from trackside.errors import Conflict, ForgeError, NotFound, TimedOut
from trackside.forge.model import Annotation, CheckRun, Comment, WorkflowRun
from trackside.forge.operations import (
    Applied,
    CancelRun,
    CommitFiles,
    DispatchWorkflow,
    Operation,
    UpsertCheck,
    UpsertComment,
)
from trackside.system.clock import Clock

MAX_OUTPUT = 65_535
ANNOTATIONS = 50
RACES = 12
"""How often a lost race for the data branch is run again."""


class Api(Protocol):
    """What applying needs of the adapter."""

    def call(
        self, verb: str, path: str, *, params: dict[str, Any] | None = None, body: Any = None, needs: str = ""
    ) -> Any: ...
    def pages(
        self, path: str, *, params: dict[str, Any] | None = None, key: str = "", limit: int = ...
    ) -> Iterator[Any]: ...
    def comments(self, issue: int) -> tuple[Comment, ...]: ...
    def checks(self, sha: str, *, name: str = "") -> tuple[CheckRun, ...]: ...
    def runs(self, workflow: str, *, active: bool = False, limit: int = 100) -> tuple[WorkflowRun, ...]: ...
    def viewer(self) -> str: ...


class Applier:
    """One method an operation."""

    def __init__(self, api: Api, clock: Clock) -> None:
        self.api, self.clock = api, clock

    def apply(self, operations: Iterable[Operation], *, dry_run: bool = False) -> tuple[Applied, ...]:
        done = []
        for operation in operations:
            if dry_run:
                done.append(Applied(operation=operation, outcome="skipped"))
                continue
            try:
                done.append(self._one(operation))
            except ForgeError as error:
                done.append(
                    Applied(operation=operation, outcome="failed", error=error.render(), reason_code=error.reason_code)
                )
        return tuple(done)

    def _one(self, operation: Operation) -> Applied:
        match operation:
            case UpsertComment():
                return self._comment(operation)
            case UpsertCheck():
                return self._check(operation)
            case DispatchWorkflow():
                return self._dispatch(operation)
            case CancelRun():
                return self._cancel(operation)
            case CommitFiles():
                return self._commit(operation)

    def _create(self, write: Callable[[], Any], found: Callable[[], Any]) -> Any:
        """Create once: after a lost answer look whether it exists before sending again."""
        for attempt in range(3):
            try:
                return write()
            except TimedOut:
                existing = found()
                if existing is not None:
                    return existing
                if attempt == 2:
                    raise
                self.clock.sleep(0.5 * 2**attempt)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _again(self, write: Callable[[], Any]) -> Any:
        """Repeat a write that has the same effect twice."""
        return self._create(write, lambda: None)

    # Comments

    def _own(self, operation: UpsertComment) -> list[Comment]:
        viewer = self.api.viewer()
        found = self.api.comments(operation.issue)
        return sorted(
            (one for one in found if one.author == viewer and operation.marker in one.body), key=lambda one: one.id
        )

    def _comment(self, operation: UpsertComment) -> Applied:
        needs = "pull-requests: write"
        own = self._own(operation)
        outcome = "updated"
        if not own:
            path = f"/issues/{operation.issue}/comments"
            self._create(
                lambda: self.api.call("POST", path, body={"body": operation.body}, needs=needs),
                lambda: next(iter(self._own(operation)), None),
            )
            # Another first writer may have come in between: both look again and agree on the oldest.
            own, outcome = self._own(operation), "created"
        keep, extras = own[0], own[1:]
        if keep.body != operation.body:
            body = {"body": operation.body}
            self._again(lambda: self.api.call("PATCH", f"/issues/comments/{keep.id}", body=body, needs=needs))
        elif outcome == "updated" and not extras:
            outcome = "unchanged"
        for extra in extras:
            self._delete(extra, needs)
        return Applied(operation=operation, outcome=outcome, id=keep.id, url=keep.url)

    def _delete(self, extra: Comment, needs: str) -> None:
        try:
            self._again(lambda: self.api.call("DELETE", f"/issues/comments/{extra.id}", needs=needs))
        except NotFound:
            return

    # Check runs

    def _check(self, operation: UpsertCheck) -> Applied:
        found = [
            one
            for one in self.api.checks(operation.head_sha, name=operation.name)
            if one.external_id == operation.external_id
        ]
        latest = max(found, key=lambda one: one.id, default=None)
        body: dict[str, Any] = {
            "name": operation.name,
            "external_id": operation.external_id,
            "output": {"title": operation.title[:255], "summary": cut(operation.summary), "text": cut(operation.text)},
        }
        if operation.details_url:
            body["details_url"] = operation.details_url
        if operation.started_at:
            body["started_at"] = operation.started_at
        if operation.conclusion is None:
            body["status"] = "in_progress"
        else:
            body |= {"status": "completed", "conclusion": operation.conclusion}
        needs = "checks: write"
        # A completed check is never set back: a new run of the same name takes its place.
        if latest is None or (latest.status == "completed" and operation.conclusion is None):
            batches = list(_batches(operation.annotations))
            body["output"] |= {"annotations": batches[0]} if batches else {}
            data = self._create(
                lambda: self.api.call(
                    "POST", "/check-runs", body={**body, "head_sha": operation.head_sha}, needs=needs
                ),
                lambda: self._find_check(operation),
            )
            self._annotate(data["id"], body["output"], batches[1:], needs)
            return Applied(operation=operation, outcome="created", id=data["id"], url=data.get("html_url") or "")
        if _same(latest, operation):
            return Applied(operation=operation, outcome="unchanged", id=latest.id, url=latest.url)
        batches = list(_batches(operation.annotations)) if latest.annotations == 0 else []
        body["output"] |= {"annotations": batches[0]} if batches else {}
        self._again(lambda: self.api.call("PATCH", f"/check-runs/{latest.id}", body=body, needs=needs))
        self._annotate(latest.id, body["output"], batches[1:], needs)
        return Applied(operation=operation, outcome="updated", id=latest.id, url=latest.url)

    def _annotate(self, check_id: int, output: dict[str, Any], batches: list[list[dict[str, Any]]], needs: str) -> None:
        """Annotations beyond the first 50, which every request appends."""
        for batch in batches:
            body = {"output": {**output, "annotations": batch}}
            self.api.call("PATCH", f"/check-runs/{check_id}", body=body, needs=needs)

    def _find_check(self, operation: UpsertCheck) -> dict[str, Any] | None:
        for one in self.api.checks(operation.head_sha, name=operation.name):
            if one.external_id == operation.external_id and (one.status == "completed") == bool(operation.conclusion):
                return {"id": one.id, "html_url": one.url}
        return None

    # Workflow runs

    def _dispatch(self, operation: DispatchWorkflow) -> Applied:
        title = operation.unless_title

        def active() -> WorkflowRun | None:
            runs = self.api.runs(operation.workflow, active=True) if title else ()
            return next((run for run in runs if run.title == title), None)

        running = active()
        if running:
            return Applied(operation=operation, outcome="unchanged", id=running.id, url=running.url)
        body = {"ref": operation.ref, "inputs": operation.inputs, "return_run_details": True}
        path = f"/actions/workflows/{quote(operation.workflow)}/dispatches"
        data = self._create(lambda: self.api.call("POST", path, body=body, needs="actions: write") or {}, active)
        if isinstance(data, WorkflowRun):
            return Applied(operation=operation, outcome="created", id=data.id, url=data.url)
        if not data:  # a server that does not return the run yet
            data = {}
            started = active()
            if started:
                data = {"workflow_run_id": started.id, "html_url": started.url}
        return Applied(
            operation=operation, outcome="created", id=data.get("workflow_run_id", 0), url=data.get("html_url", "")
        )

    def _cancel(self, operation: CancelRun) -> Applied:
        try:
            self._again(
                lambda: self.api.call("POST", f"/actions/runs/{operation.run_id}/cancel", needs="actions: write")
            )
        except Conflict:
            return Applied(operation=operation, outcome="unchanged", id=operation.run_id)
        return Applied(operation=operation, outcome="updated", id=operation.run_id)

    # Files on a branch

    def _commit(self, operation: CommitFiles) -> Applied:
        needs = "contents: write"
        for attempt in range(RACES):
            tip = self._tip(operation.branch)
            files = self._changes(operation, tip)
            if not files:
                return Applied(operation=operation, outcome="unchanged", id=tip or "")
            try:
                sha = self._push(operation, tip, files, needs)
            except Conflict:
                self.clock.sleep(random.uniform(0, 0.05 * 2 ** min(attempt, 5)))  # noqa: S311 - jitter
                continue
            except TimedOut:
                continue  # the next look finds the files there, or writes them
            return Applied(operation=operation, outcome="updated" if tip else "created", id=sha)
        raise Conflict(
            f"branch {operation.branch} moved {RACES} times while writing",
            remedy="run the job again",
            reason_code="conflict",
        )

    def _tip(self, branch: str) -> str | None:
        try:
            return str(self.api.call("GET", f"/git/ref/heads/{quote(branch)}")["object"]["sha"])
        except NotFound:
            return None

    def _changes(self, operation: CommitFiles, tip: str | None) -> dict[str, str | None]:
        """What is not on the branch yet, by git's own blob digest."""
        if tip is None:
            return {path: text for path, text in operation.files.items() if text is not None}
        changes = {}
        for path, text in operation.files.items():
            try:
                existing = self.api.call("GET", f"/contents/{quote(path)}", params={"ref": tip})["sha"]
            except NotFound:
                existing = None
            wanted = blob_sha(text) if text is not None else None
            if existing != wanted and not (existing and path in operation.keep):
                changes[path] = text
        return changes

    def _push(self, operation: CommitFiles, tip: str | None, files: dict[str, str | None], needs: str) -> str:
        entries = [
            {"path": path, "mode": "100644", "type": "blob", **({"sha": None} if text is None else {"content": text})}
            for path, text in files.items()
        ]
        body: dict[str, Any] = {"tree": entries}
        if tip:
            body["base_tree"] = tip
        tree = self._again(lambda: self.api.call("POST", "/git/trees", body=body, needs=needs))["sha"]
        commit = {"message": operation.message, "tree": tree, "parents": [tip] if tip else []}
        sha = str(self._again(lambda: self.api.call("POST", "/git/commits", body=commit, needs=needs))["sha"])
        ref = f"heads/{quote(operation.branch)}"
        if tip:
            self.api.call("PATCH", f"/git/refs/{ref}", body={"sha": sha, "force": False}, needs=needs)
        else:
            self.api.call("POST", "/git/refs", body={"ref": f"refs/heads/{operation.branch}", "sha": sha}, needs=needs)
        return sha


def blob_sha(text: str) -> str:
    """Git's object name of a file with this text."""
    data = text.encode()
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def cut(text: str) -> str:
    """At most 65,535 characters, with a note where something was cut."""
    note = "\n\n… cut: see the job summary for the rest."
    return text if len(text) <= MAX_OUTPUT else text[: MAX_OUTPUT - len(note)] + note


def _same(check: CheckRun, operation: UpsertCheck) -> bool:
    return (
        check.conclusion == operation.conclusion
        and check.title == operation.title[:255]
        and check.summary == cut(operation.summary)
        and check.text == cut(operation.text)
    )


def _batches(annotations: tuple[Annotation, ...]) -> Iterator[list[dict[str, Any]]]:
    rows = [
        {
            "path": one.path,
            "start_line": one.line,
            "end_line": one.line,
            "annotation_level": one.level,
            "title": one.title[:255],
            "message": one.message[:64_000],
        }
        for one in annotations
    ]
    for start in range(0, len(rows), ANNOTATIONS):
        yield rows[start : start + ANNOTATIONS]
