"""Releases: draft, upload, publish; assets by digest; what is immutable stays as it was published."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from trackside.sandbox import payloads
from trackside.sandbox.core import author
from trackside.sandbox.git import ZERO
from trackside.sandbox.problem import Problem, invalid, not_found
from trackside.sandbox.pulls import Pulls
from trackside.sandbox.state import Doc

GIB2 = 2**31


def stored_name(name: str) -> str:
    """What GitHub makes of an asset's name: odd characters become one dot, a leading dot gets a word before it.

    GitHub does not say which characters it keeps; these are those that people reported to be kept.
    """
    plain = unicodedata.normalize("NFKD", name)
    plain = "".join(char for char in plain if not unicodedata.combining(char))
    made = re.sub(r"\.{2,}", ".", re.sub(r"[^A-Za-z0-9._@+-]+", ".", plain)).rstrip(".")
    return f"default{made}" if made.startswith(".") or not made else made


class Releases(Pulls):
    """Releases with their assets. The repository's setting `immutable_releases` locks what is published."""

    max_asset = GIB2
    """Bytes of the largest asset."""

    def release(self, repo: str, release_id: int) -> Doc:
        found = self.state.get("release", repo, release_id)
        if found is None:
            raise not_found()
        return found

    def add_release(self, repo: str, fields: Mapping[str, Any], actor: Doc) -> Doc:
        """A draft or published release. Publishing makes a lightweight tag where none exists."""
        with self.lock:
            tag = fields["tag_name"]
            doc: Doc = {
                "id": self.state.next("id"),
                "tag_name": tag,
                "target_commitish": fields.get("target_commitish") or self.repo(repo)["default_branch"],
                "name": fields.get("name"),
                "body": fields.get("body"),
                "draft": True,
                "prerelease": bool(fields.get("prerelease")),
                "latest": fields.get("make_latest", "true") != "false",
                "immutable": False,
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
        """Change, publish, or make a draft of a release again. Raises Problem 404, 422."""
        with self.lock:
            doc = self.release(repo, release_id)
            moved = fields.get("tag_name", doc["tag_name"]) != doc["tag_name"]
            if doc["immutable"] and (moved or fields.get("draft")):
                raise invalid("Release", "tag_name", "custom", "An immutable release keeps its tag and stays published")
            known = ("tag_name", "target_commitish", "name", "body", "prerelease")
            doc |= {name: fields[name] for name in known if name in fields}
            doc["updated_at"] = self.now()
            if "make_latest" in fields:
                doc["latest"] = fields["make_latest"] != "false"
            publishes = doc["draft"] and fields.get("draft") is False
            if publishes or (moved and not doc["draft"]):
                self._publish(repo, doc, actor)
            elif fields.get("draft"):
                doc |= {"draft": True, "published_at": None}
            self.state.put("release", repo, release_id, doc)
            self._emit_release(repo, doc, "published" if publishes else "edited", actor)
            return doc

    def _publish(self, repo: str, doc: Doc, actor: Doc) -> None:
        bare, ref = self.bare(repo), f"refs/tags/{doc['tag_name']}"
        for other in self.state.list("release", repo, tag_name=doc["tag_name"], draft=False):
            if other["id"] != doc["id"]:
                raise invalid("Release", "tag_name", "already_exists")
        if self.state.get("immutable_tag", repo, doc["tag_name"]):
            raise invalid("Release", "tag_name", "custom", "tag_name was used by an immutable release")
        if bare.git("check-ref-format", ref, check=False).returncode:
            raise invalid("Release", "tag_name", "custom", "tag_name is not a valid tag")
        if ref not in bare.refs(ref):
            target = self.commit_of(repo, doc["target_commitish"])
            if target is None:
                raise invalid("Release", "target_commitish")
            bare.update_ref(ref, target, ZERO)
            self.pushed(repo, {ref: (ZERO, target)}, actor)
        locks = bool(self.setting(repo, "immutable_releases"))
        if locks:
            self.state.put("immutable_tag", repo, doc["tag_name"], {"release": doc["id"]})
        doc |= {"draft": False, "published_at": doc["published_at"] or self.now(), "immutable": locks}

    def delete_release(self, repo: str, release_id: int, actor: Doc) -> None:
        """Delete a release with its assets; its tag stays."""
        with self.lock:
            doc = self.release(repo, release_id)
            self.state.delete("release", repo, release_id)
            for one in self.state.list("asset", repo, release=release_id):
                self.state.delete("asset", repo, one["id"])
            self._emit_release(repo, doc, "deleted", actor)

    def _emit_release(self, repo: str, doc: Doc, action: str, actor: Doc) -> None:
        changes: Doc = {"changes": {}} if action == "edited" else {}
        payload = payloads.release_event(self, repo, doc, action, author(actor)) | changes
        bare = self.bare(repo)
        sha = bare.sha(f"refs/tags/{doc['tag_name']}")
        ref, tip = self.default_tip(repo)
        self.emit(repo, "release", payload, actor, ref=f"refs/tags/{doc['tag_name']}" if sha else ref, sha=sha or tip)

    # Assets

    def add_asset(self, repo: str, release_id: int, name: str, data: bytes | None, actor: Doc, **more: Any) -> Doc:
        """Store an asset's bytes by digest; `data` None leaves what an interrupted upload leaves: a `starter` asset.

        Raises Problem 422 when the name is taken (by a `starter` too), the asset too large or the release immutable.
        """
        name = stored_name(name)
        with self.lock:
            if self.release(repo, release_id)["immutable"]:
                raise Problem(422, "Cannot upload assets to an immutable release.")
            if self.state.list("asset", repo, release=release_id, name=name):
                raise invalid("ReleaseAsset", "name", "already_exists")
            if data is not None and len(data) > self.max_asset:
                raise invalid("ReleaseAsset", "size", "custom", f"size must be less than or equal to {self.max_asset}")
            doc: Doc = {
                "id": self.state.next("id"),
                "release": release_id,
                "name": name,
                "label": more.get("label") or "",
                "content_type": more.get("content_type") or "application/octet-stream",
                "size": len(data or b""),
                "digest": None if data is None else "sha256:" + self.keep(data),
                "state": "starter" if data is None else "uploaded",
                "uploader": author(actor),
                "created_at": self.now(),
            }
            return self.state.put("asset", repo, doc["id"], doc)

    def edit_asset(self, repo: str, asset_id: int, fields: Mapping[str, Any]) -> Doc:
        """Rename or label an asset. Raises Problem 404, 422."""
        with self.lock:
            doc = self._asset(repo, asset_id)
            name = stored_name(fields.get("name", doc["name"]))
            if any(one["id"] != asset_id for one in self.state.list("asset", repo, release=doc["release"], name=name)):
                raise invalid("ReleaseAsset", "name", "already_exists")
            return self.state.put("asset", repo, asset_id, doc | {"name": name, "label": fields.get("label") or ""})

    def delete_asset(self, repo: str, asset_id: int) -> None:
        """Raises Problem 404, 422."""
        with self.lock:
            doc = self._asset(repo, asset_id)
            if self.release(repo, doc["release"])["immutable"]:
                raise Problem(422, "Cannot delete asset from an immutable release")
            self.state.delete("asset", repo, asset_id)

    def _asset(self, repo: str, asset_id: int) -> Doc:
        found = self.state.get("asset", repo, asset_id)
        if found is None:
            raise not_found()
        return found

    def keep(self, data: bytes) -> str:
        """Put bytes below `blobs/`; returns their SHA-256."""
        digest = hashlib.sha256(data).hexdigest()
        path = self.state.root / "blobs" / digest
        path.parent.mkdir(exist_ok=True)
        if not path.exists():
            path.write_bytes(data)
        return digest
