"""Issues, comments, labels and reactions, with the events that they send."""

from __future__ import annotations

from typing import Any

from trackside.sandbox import payloads
from trackside.sandbox.core import Core, app_of, author
from trackside.sandbox.problem import Problem, invalid, not_found
from trackside.sandbox.state import Doc

MAX_BODY = 65_536
"""Characters of a comment or description."""


def check_body(resource: str, body: str) -> None:
    """Refuse a text that GitHub would refuse. Raises Problem 422."""
    if len(body) > MAX_BODY:
        raise invalid(resource, "body", "custom", f"body is too long (maximum is {MAX_BODY} characters)")


class Conversation(Core):
    """What people and bots say."""

    def open_issue(self, repo: str, *, title: str, body: str, actor: Doc, is_pull: bool = False) -> Doc:
        """A new issue document; a pull request has one too. Sends no event."""
        check_body("Issue", body)
        number = self.state.next(f"number:{repo}")
        doc = {
            "id": self.state.next("id"),
            "number": number,
            "title": title,
            "body": body,
            "user": author(actor),
            "state": "open",
            "labels": [],
            "created_at": self.now(),
            "updated_at": self.now(),
            "closed_at": None,
            "reason": None,
            "assignees": [],
            "is_pull": is_pull,
            "locked": False,
        }
        return self.state.put("issue", repo, number, doc)

    def emit_issue(self, repo: str, number: int, action: str, actor: Doc, **more: Any) -> None:
        """`issues`, or the pull request events where the number is one."""
        ref, sha = self.default_tip(repo)
        payload = payloads.issues(self, repo, self.issue(repo, number), action, author(actor), **more)
        self.emit(repo, "issues", payload, actor, ref=ref, sha=sha)

    def record(self, repo: str, number: int, event: str, actor: Doc, **more: Any) -> None:
        """Keep an event of an issue's or pull request's timeline."""
        key = self.state.next("id")
        doc = {"id": key, "issue": number, "event": event, "actor": author(actor), "created_at": self.now()}
        self.state.put("issue_event", repo, key, doc | more)

    def set_labels(self, repo: str, number: int, names: list[str], actor: Doc) -> list[str]:
        """Make the labels of an issue exactly `names`; unknown ones are created."""
        with self.lock:
            before = list(self.issue(repo, number)["labels"])
            wanted = list(dict.fromkeys(names))
            for name in wanted:
                if not self.state.get("label", repo, name):
                    doc = {"id": self.state.next("id"), "name": name, "color": "ededed", "description": None}
                    self.state.put("label", repo, name, doc)
            if wanted != before:
                self.touch(repo, number, labels=wanted)
            for name in [one for one in wanted if one not in before]:
                self.record(repo, number, "labeled", actor, label=name)
                self.emit_issue(repo, number, "labeled", actor, label=name)
            for name in [one for one in before if one not in wanted]:
                self.record(repo, number, "unlabeled", actor, label=name)
                self.emit_issue(repo, number, "unlabeled", actor, label=name)
            return wanted

    def add_labels(self, repo: str, number: int, names: list[str], actor: Doc) -> list[str]:
        with self.lock:
            return self.set_labels(repo, number, [*self.issue(repo, number)["labels"], *names], actor)

    def remove_label(self, repo: str, number: int, name: str, actor: Doc) -> list[str]:
        """Raises Problem 404 for a label that the issue does not have."""
        with self.lock:
            names = self.issue(repo, number)["labels"]
            if name not in names:
                raise Problem(404, "Label does not exist")
            return self.set_labels(repo, number, [one for one in names if one != name], actor)

    def add_comment(self, repo: str, number: int, body: str, actor: Doc) -> Doc:
        check_body("IssueComment", body)
        if not body.strip():
            raise invalid("IssueComment", "body", "missing_field", "Body can't be blank")
        with self.lock:
            about = self.issue(repo, number)
            doc: Doc = {
                "id": self.state.next("id"),
                "issue": number,
                "user": author(actor),
                "body": body,
                "created_at": self.now(),
                "updated_at": self.now(),
                "app": app_of(actor),
            }
            self.state.put("comment", repo, doc["id"], doc)
            self._emit_comment(repo, about, doc, "created", actor)
        return doc

    def edit_comment(self, repo: str, comment_id: int, body: str, actor: Doc) -> Doc:
        check_body("IssueComment", body)
        with self.lock:
            doc = self.comment(repo, comment_id)
            before = doc["body"]
            doc |= {"body": body, "updated_at": self.now()}
            self.state.put("comment", repo, comment_id, doc)
            changes = {"body": {"from": before}}
            self._emit_comment(repo, self.issue(repo, doc["issue"]), doc, "edited", actor, changes=changes)
        return doc

    def delete_comment(self, repo: str, comment_id: int, actor: Doc) -> None:
        with self.lock:
            doc = self.comment(repo, comment_id)
            self.state.delete("comment", repo, comment_id)
            self._emit_comment(repo, self.issue(repo, doc["issue"]), doc, "deleted", actor)

    def new_issue(
        self, repo: str, *, title: str, body: str, actor: Doc, labels: list[str] | None = None,
        assignees: list[str] | None = None,
    ) -> int:  # fmt: skip
        """Open an issue that is no pull request, with its events; returns its number. Raises Problem 422."""
        with self.lock:
            if not title.strip():
                raise invalid("Issue", "title", "missing_field")
            number = int(self.open_issue(repo, title=title, body=body, actor=actor)["number"])
            if assignees:
                self.set_assignees(repo, number, assignees)
            self.emit_issue(repo, number, "opened", actor)
            if labels:
                self.set_labels(repo, number, labels, actor)
            return number

    def set_assignees(self, repo: str, number: int, logins: list[str]) -> None:
        """Who works on it; people without write access are passed over, as on GitHub."""
        known = [one for one in dict.fromkeys(logins) if self.state.get("collaborator", repo, one)]
        self.touch(repo, number, assignees=known)

    def comment(self, repo: str, comment_id: int) -> Doc:
        found = self.state.get("comment", repo, comment_id)
        if found is None:
            raise not_found()
        return found

    def _emit_comment(self, repo: str, about: Doc, doc: Doc, action: str, actor: Doc, **more: Any) -> None:
        ref, sha = self.default_tip(repo)
        payload = payloads.issue_comment(self, repo, about, doc, action, author(actor), **more)
        self.emit(repo, "issue_comment", payload, actor, ref=ref, sha=sha)

    def react(self, repo: str, subject: str, content: str, actor: Doc) -> tuple[Doc, bool]:
        """Add a reaction (once for each user and kind) and tell whether it is new."""
        with self.lock:
            for known in self.state.list("reaction", repo, subject=subject, user=author(actor), content=content):
                return known, False
            key = self.state.next("id")
            doc: Doc = {
                "id": key,
                "subject": subject,
                "user": author(actor),
                "content": content,
                "created_at": self.now(),
            }
            return self.state.put("reaction", repo, key, doc), True
