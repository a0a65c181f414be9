"""The sandbox's GitHub as one object: pull requests, dispatches, releases, and seeding for demos and tests."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trackside.sandbox import payloads
from trackside.sandbox.core import ROLES, author
from trackside.sandbox.git import ZERO
from trackside.sandbox.problem import Problem, invalid, not_found
from trackside.sandbox.pulls import Pulls
from trackside.sandbox.state import Doc
from trackside.sandbox.views.core import BOT
from trackside.system.clock import SystemClock, rfc3339


class Hub(Pulls):
    """Everything that the REST side, the git side, the pages and the dispatcher call."""

    def dispatch(self, repo: str, workflow: str, ref: str, inputs: Mapping[str, str], actor: Doc) -> int:
        """Emit `workflow_dispatch`; returns the id that its run will have. Raises Problem 422 for an unknown ref."""
        bare = self.bare(repo)
        branch = ref.removeprefix("refs/heads/").removeprefix("refs/tags/")
        names = (f"refs/heads/{branch}", f"refs/tags/{branch}")
        full, sha = next(((name, found) for name in names if (found := bare.sha(name))), ("", ""))
        if not sha:
            raise Problem(422, f"No ref found for: {ref}")
        run_id = self.state.next("id")
        given = dict(inputs)
        payload = payloads.workflow_dispatch(self, repo, workflow, full, given, author(actor))
        more: dict[str, Any] = {"workflow": workflow, "run_id": run_id, "inputs": given}
        self.emit(repo, "workflow_dispatch", payload, actor, ref=full, sha=sha, **more)
        return run_id

    # Releases

    def release(self, repo: str, release_id: int) -> Doc:
        found = self.state.get("release", repo, release_id)
        if found is None:
            raise not_found()
        return found

    def add_release(self, repo: str, fields: Mapping[str, Any], actor: Doc) -> Doc:
        """A draft or published release. Publishing makes a lightweight tag where none exists."""
        with self.lock:
            tag = fields["tag_name"]
            if not fields.get("draft") and self.state.list("release", repo, tag_name=tag, draft=False):
                raise invalid("Release", "tag_name", "already_exists")
            doc: Doc = {
                "id": self.state.next("id"),
                "tag_name": tag,
                "target_commitish": fields.get("target_commitish") or self.repo(repo)["default_branch"],
                "name": fields.get("name"),
                "body": fields.get("body"),
                "draft": True,
                "prerelease": bool(fields.get("prerelease")),
                "author": author(actor),
                "created_at": self.now(),
                "updated_at": self.now(),
                "published_at": None,
            }
            if not fields.get("draft"):
                self._publish(repo, doc, actor)
            self.state.put("release", repo, doc["id"], doc)
            self._emit_release(repo, doc, "created", actor)
            if not doc["draft"]:
                self._emit_release(repo, doc, "published", actor)
            return doc

    def edit_release(self, repo: str, release_id: int, fields: Mapping[str, Any], actor: Doc) -> Doc:
        with self.lock:
            doc = self.release(repo, release_id)
            known = ("tag_name", "target_commitish", "name", "body", "prerelease")
            doc |= {name: fields[name] for name in known if name in fields}
            doc["updated_at"] = self.now()
            publishes = doc["draft"] and fields.get("draft") is False
            if publishes:
                if self.state.list("release", repo, tag_name=doc["tag_name"], draft=False):
                    raise invalid("Release", "tag_name", "already_exists")
                self._publish(repo, doc, actor)
            self.state.put("release", repo, release_id, doc)
            self._emit_release(repo, doc, "published" if publishes else "edited", actor)
            return doc

    def _publish(self, repo: str, doc: Doc, actor: Doc) -> None:
        bare, ref = self.bare(repo), f"refs/tags/{doc['tag_name']}"
        if bare.git("check-ref-format", ref, check=False).returncode:
            raise invalid("Release", "tag_name", "custom", "tag_name is not a valid tag")
        if ref not in bare.refs(ref):
            target = self.commit_of(repo, doc["target_commitish"])
            if target is None:
                raise invalid("Release", "target_commitish")
            bare.update_ref(ref, target, ZERO)
            self.pushed(repo, {ref: (ZERO, target)}, actor)
        doc |= {"draft": False, "published_at": self.now()}

    def delete_release(self, repo: str, release_id: int, actor: Doc) -> None:
        with self.lock:
            doc = self.release(repo, release_id)
            self.state.delete("release", repo, release_id)
            self._emit_release(repo, doc, "deleted", actor)

    def _emit_release(self, repo: str, doc: Doc, action: str, actor: Doc) -> None:
        changes: Doc = {"changes": {}} if action == "edited" else {}
        payload = payloads.release_event(self, repo, doc, action, author(actor)) | changes
        bare = self.bare(repo)
        sha = bare.sha(f"refs/tags/{doc['tag_name']}")
        ref, tip = self.default_tip(repo)
        self.emit(repo, "release", payload, actor, ref=f"refs/tags/{doc['tag_name']}" if sha else ref, sha=sha or tip)

    def add_asset(self, repo: str, release_id: int, name: str, data: bytes, actor: Doc, **more: Any) -> Doc:
        """Store an asset's bytes by digest. Raises Problem 422 when the name is taken."""
        with self.lock:
            if self.state.list("asset", repo, release=release_id, name=name):
                raise invalid("ReleaseAsset", "name", "already_exists")
            doc = {
                "id": self.state.next("id"),
                "release": release_id,
                "name": name,
                "label": more.get("label") or "",
                "content_type": more.get("content_type") or "application/octet-stream",
                "size": len(data),
                "digest": "sha256:" + self.keep(data),
                "state": "uploaded",
                "uploader": author(actor),
                "created_at": self.now(),
            }
            return self.state.put("asset", repo, doc["id"], doc)

    def keep(self, data: bytes) -> str:
        """Put bytes below `blobs/`; returns their SHA-256."""
        digest = hashlib.sha256(data).hexdigest()
        path = self.state.root / "blobs" / digest
        path.parent.mkdir(exist_ok=True)
        if not path.exists():
            path.write_bytes(data)
        return digest

    # Seeding, for demo and tests

    def commit_folder(
        self,
        repo: str,
        branch: str,
        files: Mapping[str, bytes | None],
        message: str,
        actor: Doc,
        *,
        executable: frozenset[str] = frozenset(),
    ) -> str:
        """Commit files (None removes) on a branch, as a push by `actor`. New branches start at the default one."""
        with self.lock:
            bare = self.bare(repo)
            before = bare.sha(f"refs/heads/{branch}")
            parent = before or bare.sha(f"refs/heads/{self.repo(repo)['default_branch']}")
            entries: list[dict[str, str | None]] = [
                {
                    "path": path,
                    "mode": "100755" if path in executable else "100644",
                    "sha": bare.write_blob(data) if data is not None else None,
                }
                for path, data in files.items()
            ]
            tree = bare.write_tree(entries, bare.commit(parent).tree if parent else None)
            sha = bare.write_commit(tree, [parent] if parent else [], message, self.identity(author(actor)))
            bare.update_ref(f"refs/heads/{branch}", sha)
            self.pushed(repo, {f"refs/heads/{branch}": (before or ZERO, sha)}, actor)
            return sha


def now() -> str:
    """The machine's time as GitHub writes it."""
    return rfc3339(SystemClock().now())


def folder_files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, by its path relative to it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


__all__ = ["BOT", "ROLES", "Hub", "Problem", "folder_files", "now"]
