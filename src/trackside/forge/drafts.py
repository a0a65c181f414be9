"""Releases from draft to publication: operations that are safe to repeat, with as few calls as can be."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from trackside.errors import DataError, ForgeError
from trackside.forge.client import Client, Unsure, Upload
from trackside.forge.model import FoundAsset, FoundRelease
from trackside.forge.operations import (
    Applied,
    DiscardDraft,
    DraftRelease,
    FillRelease,
    PublishRelease,
    ReleaseAsset,
)
from trackside.forge.releases import asset_of, assets_of, download, release_of
from trackside.system.files import sha256_of
from trackside.system.text import clean, cut

MAX_BODY = 125_000
"""Characters of a release's notes."""

MAX_TITLE = 255

LARGE = 64 * 1024 * 1024
"""Bytes of a file whose upload is told about, tenth by tenth."""


class Drafts:
    """The drafts that this process made, so that what they are need not be looked up: empty, then unpublished."""

    def __init__(self) -> None:
        self._empty: dict[int, FoundRelease] = {}
        self._unpublished: set[int] = set()

    def apply(self, client: Client, operation: DraftRelease | FillRelease | PublishRelease | DiscardDraft) -> Applied:
        match operation:
            case DraftRelease():
                return self._draft(client, operation)
            case FillRelease():
                return self._fill(client, operation)
            case PublishRelease():
                return self._publish(client, operation)
            case DiscardDraft():
                return self._discard(client, operation)

    def _draft(self, client: Client, operation: DraftRelease) -> Applied:
        body = {
            "tag_name": operation.tag,
            "target_commitish": operation.commit,
            "name": clean(operation.title)[:MAX_TITLE],
            "body": cut(operation.body, MAX_BODY),
            "draft": True,
            "prerelease": operation.prerelease,
        }
        found = None if operation.fresh else _find_release(client, operation)
        outcome = "unchanged"
        if found is None:
            outcome = "created"
            found = client.create(
                lambda: release_of(client.post("/releases", body)), lambda: _find_release(client, operation)
            )
            if not found.assets:
                self._empty[found.id] = found
                self._unpublished.add(found.id)
        return Applied(operation=operation, outcome=outcome, id=found.id, url=found.url)

    def _fill(self, client: Client, operation: FillRelease) -> Applied:
        """Upload what is missing and replace what differs, then look again that all is there.

        Raises:
            DataError: a file on this machine is not what its digest says, or GitHub holds other bytes than were sent.
        """
        made = self._empty.pop(operation.release_id, None)
        if made is not None:
            try:
                return _filled(client, operation, made, {})
            except ForgeError:  # somebody was there: look after all
                pass
        release = release_of(client.get(f"/releases/{operation.release_id}"))
        return _filled(client, operation, release, {one.name: one for one in assets_of(client, release.id)})

    def _publish(self, client: Client, operation: PublishRelease) -> Applied:
        body = cut(operation.body, MAX_BODY)
        if operation.release_id in self._unpublished:
            self._unpublished.discard(operation.release_id)
        else:
            there = release_of(client.get(f"/releases/{operation.release_id}"))
            if not there.draft and clean(there.body).rstrip() == clean(body).rstrip():
                return Applied(operation=operation, outcome="unchanged", id=there.id, url=there.url)
        made = release_of(client.patch(f"/releases/{operation.release_id}", {"draft": False, "body": body}))
        return Applied(operation=operation, outcome="updated", id=made.id, url=made.url)

    def _discard(self, client: Client, operation: DiscardDraft) -> Applied:
        raw = client.find(f"/releases/{operation.release_id}")
        gone = raw is None or not raw["draft"]
        if not gone:
            client.delete(f"/releases/{operation.release_id}")
        return Applied(operation=operation, outcome="unchanged" if gone else "updated", id=operation.release_id)


def _filled(client: Client, operation: FillRelease, release: FoundRelease, there: dict[str, FoundAsset]) -> Applied:
    sent = 0
    for asset in operation.assets:
        found = there.get(asset.name)
        if found is not None and _is(client, found, asset):
            continue
        if found is not None:
            client.delete(f"/releases/assets/{found.id}")
        _upload(client, release, asset, operation.told)
        sent += 1
    if sent:
        there = {one.name: one for one in assets_of(client, release.id)}
        for asset in operation.assets:
            found = there.get(asset.name)
            if found is None or not _is(client, found, asset):
                raise DataError(
                    f"release {release.tag} does not hold {asset.name} as it was uploaded",
                    why=f"expected {asset.digest}, found {(found.digest or found.size) if found else 'nothing'}",
                    remedy="run the job again",
                    reason_code="content_mismatch",
                )
    return Applied(operation=operation, outcome="updated" if sent else "unchanged", id=release.id, url=release.url)


def _find_release(client: Client, operation: DraftRelease) -> FoundRelease | None:
    """The published release of the tag, else the oldest draft with this body; the list has drafts, a look-up by tag
    has none.
    """
    same = [release_of(one) for one in client.pages("/releases") if one["tag_name"] == operation.tag]
    body = clean(cut(operation.body, MAX_BODY)).rstrip()
    same = [one for one in same if not one.draft or clean(one.body).rstrip() == body]
    return min(same, key=lambda one: (one.draft, one.id), default=None)


def _upload(client: Client, release: FoundRelease, asset: ReleaseAsset, told: Callable[[str], None] | None) -> None:
    found = sha256_of(asset.path)
    if found != asset.digest:
        raise DataError(f"{asset.name} changed before it was uploaded", why=f"{found} instead of {asset.digest}")

    def send() -> FoundAsset:
        body = Upload(path=asset.path, media_type=asset.media_type, told=_tenths(asset, told))
        try:
            made, _ = client.request(
                "POST", release.upload_url, query={"name": asset.name}, body=body, repeatable=False
            )
        except Unsure:
            raise
        except ForgeError:  # another writer may have sent the very same file meanwhile
            same = [one for one in assets_of(client, release.id) if one.name == asset.name and _is(client, one, asset)]
            if not same:
                raise
            return same[0]
        return asset_of(made)

    def find() -> FoundAsset | None:
        """What an upload with a lost answer left: whole, or a remnant that is taken away."""
        for one in assets_of(client, release.id):
            if one.name == asset.name:
                if _is(client, one, asset):
                    return one
                client.delete(f"/releases/assets/{one.id}")
        return None

    client.create(send, find)


def _is(client: Client, found: FoundAsset, asset: ReleaseAsset) -> bool:
    """Whether an asset has the wanted bytes: by GitHub's digest, else by fetching them."""
    if not found.uploaded or found.size != asset.size:
        return False
    if found.digest:
        return found.digest == asset.digest
    with tempfile.TemporaryDirectory(prefix="trackside-") as folder:
        path = Path(folder) / "asset"
        download(client, found.id, path)
        return sha256_of(path) == asset.digest


def _tenths(asset: ReleaseAsset, told: Callable[[str], None] | None) -> Callable[[int], None] | None:
    """Hears of the bytes that were sent, and tells each tenth of a large file."""
    if told is None or asset.size < LARGE:
        return None
    say, last = told, [0]

    def sent(count: int) -> None:
        tenth = count * 10 // asset.size
        if tenth > last[0]:
            last[0] = tenth
            say(f"{asset.name}: {count / 1e6:,.0f} of {asset.size / 1e6:,.0f} MB sent")

    return sent
