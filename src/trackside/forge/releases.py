"""Tags and releases: what is read of them, and the operation that makes a tag, safe to repeat."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trackside.errors import Conflict, DataError, ForgeError, TimedOut
from trackside.forge.client import Client, Download, Unsure, segment, segments
from trackside.forge.model import FoundAsset, FoundRelease, Pull, TagObject, TagRef
from trackside.forge.operations import Applied, CreateTag
from trackside.forge.read import pull_of
from trackside.system.files import sha256_of


class ReleaseReads:
    """Tags, releases, and which pull requests brought a commit."""

    client: Client

    def tags(self, prefix: str) -> tuple[TagRef, ...]:
        """Tags whose name starts with `prefix`, which may be longer names than one thinks of (`delay`, `delay2@…`)."""
        path = f"{self.client.base}/git/matching-refs/tags/{segments(prefix)}"
        found: list[TagRef] = []
        page: dict[str, int] = {}  # this list comes whole; GitHub describes no paging, but may come to page it
        while True:
            body, headers = self.client.request("GET", path, query=page)
            found += [tag_of(one) for one in body]
            if 'rel="next"' not in headers.get("link", ""):
                return tuple(found)
            page = {"page": page.get("page", 1) + 1}

    def tag_object(self, sha: str) -> TagObject:
        """An annotated tag by the SHA of its object. Raises NotFound."""
        raw = self.client.get(f"/git/tags/{segment(sha)}")
        tagger = raw.get("tagger") or {}
        return TagObject(
            sha=raw["sha"],
            name=raw["tag"],
            commit=raw["object"]["sha"],
            message=raw["message"] or "",
            tagger=str(tagger.get("name") or ""),
            date=str(tagger.get("date") or ""),
        )

    def release(self, release_id: int) -> FoundRelease:
        """A release or draft. Raises NotFound."""
        return release_of(self.client.get(f"/releases/{release_id}"))

    def releases(self, *, limit: int = 0) -> tuple[FoundRelease, ...]:
        """Newest first, drafts included where the token may write."""
        return tuple(release_of(one) for one in self.client.pages("/releases", limit=limit))

    def assets(self, release_id: int) -> tuple[FoundAsset, ...]:
        return assets_of(self.client, release_id)

    def download(
        self,
        asset_id: int,
        to: Path,
        *,
        digest: str,
        resume: bool = False,
        told: Callable[[int], None] | None = None,
    ) -> None:
        """An asset's bytes to a file. Raises DataError where they are not those of `digest` (`sha256:<64 hex>`).

        Args:
            resume: bytes that the file holds already are its beginning, and only the rest is fetched.
            told: hears of the bytes that the file holds, as it grows.
        """
        download(self.client, asset_id, to, resume=resume, told=told)
        found = sha256_of(to)
        if found != digest:
            to.unlink()
            raise DataError(
                f"release asset {asset_id} has the digest {found}, not {digest}", reason_code="content_mismatch"
            )

    def merged_by(self, sha: str) -> tuple[Pull, ...]:
        """Merged pull requests that hold a commit: the one whose merge it is comes first, then the newest.

        A later pull request lists it too, where its branch was brought up to date with it.
        """
        found = (pull_of(one) for one in self.client.pages(f"/commits/{segment(sha)}/pulls"))
        return tuple(sorted((one for one in found if one.merged), key=lambda one: (one.merge_sha != sha, -one.number)))


def tag_of(raw: Any) -> TagRef:
    name = str(raw["ref"]).removeprefix("refs/tags/")
    return TagRef(name=name, object=raw["object"]["sha"], annotated=raw["object"]["type"] == "tag")


def asset_of(raw: Any) -> FoundAsset:
    return FoundAsset(
        id=raw["id"],
        name=raw["name"],
        size=raw["size"],
        digest=raw.get("digest") or "",
        uploaded=raw["state"] == "uploaded",
        url=raw.get("browser_download_url") or "",
    )


def release_of(raw: Any) -> FoundRelease:
    return FoundRelease(
        id=raw["id"],
        tag=raw["tag_name"],
        title=raw["name"] or "",
        body=raw["body"] or "",
        draft=bool(raw["draft"]),
        commit=raw["target_commitish"] or "",
        upload_url=re.sub(r"\{.*\}$", "", raw["upload_url"]),
        url=raw["html_url"] or "",
        published_at=raw["published_at"] or "",
        assets=tuple(asset_of(one) for one in raw.get("assets") or ()),
    )


def assets_of(client: Client, release_id: int) -> tuple[FoundAsset, ...]:
    return tuple(asset_of(one) for one in client.pages(f"/releases/{release_id}/assets"))


def download(
    client: Client, asset_id: int, to: Path, *, resume: bool = False, told: Callable[[int], None] | None = None
) -> None:
    """Attempts count anew whenever one brought something: a large file comes over a bad line too."""
    path = f"{client.base}/releases/assets/{asset_id}"
    while True:
        before = to.stat().st_size if to.exists() else 0
        try:
            client.request("GET", path, body=Download(path=to, resume=resume, told=told))
            return
        except TimedOut:
            if not resume or not to.exists() or to.stat().st_size <= before:
                raise


def create_tag(client: Client, operation: CreateTag) -> Applied:
    """An annotated tag: the object first, then the ref that makes it visible.

    Raises:
        Conflict: a tag of that name points elsewhere.
    """
    there = _tag_commit(client, operation.name)
    if there is not None:
        return _same_commit(operation, there, "unchanged")
    body = {"tag": operation.name, "message": operation.message, "object": operation.commit, "type": "commit"}
    made = client.post("/git/tags", body, repeatable=True)  # an object that no ref names is nothing
    sha = str(made["sha"])

    def send() -> Applied:
        try:
            client.post("/git/refs", {"ref": f"refs/tags/{operation.name}", "sha": sha})
        except Unsure:
            raise
        except ForgeError as error:
            # Another writer was faster; anything else that GitHub refuses stays an error.
            there = _tag_commit(client, operation.name)
            if there is None:
                raise error
            return _same_commit(operation, there, "unchanged")
        return Applied(operation=operation, outcome="created", id=sha)

    def find() -> Applied | None:
        there = _tag_commit(client, operation.name)
        return None if there is None else _same_commit(operation, there, "created")

    return client.create(send, find)


def _tag_commit(client: Client, name: str) -> tuple[str, str] | None:
    """SHA that the ref holds and the commit behind it; None where there is no such tag."""
    raw = client.find(f"/git/ref/tags/{segments(name)}")
    if raw is None:
        return None
    held = str(raw["object"]["sha"])
    if raw["object"]["type"] != "tag":
        return held, held
    return held, str(client.get(f"/git/tags/{segment(held)}")["object"]["sha"])


def _same_commit(operation: CreateTag, there: tuple[str, str], outcome: str) -> Applied:
    held, commit = there
    if commit != operation.commit:
        raise Conflict(
            f"the tag {operation.name} exists already, at {commit[:12]} instead of {operation.commit[:12]}",
            remedy="tags of versions and stages are never moved: run the job again, which takes the next number",
            link="releases.md",
            reason_code="tag_taken",
        )
    return Applied(operation=operation, outcome=outcome, id=held)
