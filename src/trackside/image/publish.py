"""What is told of an image: the release's assets and notes, the data branch, a comment on the merged pull request."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

import msgspec

from trackside.documents.codec import dump, load
from trackside.documents.image import Image
from trackside.documents.release import Release
from trackside.errors import TracksideError
from trackside.forge.model import FoundRelease
from trackside.forge.operations import (
    Applied,
    CommitFiles,
    FillRelease,
    Operation,
    PublishRelease,
    ReleaseAsset,
    UpsertComment,
)
from trackside.forge.ports import ContentReader
from trackside.image.build import Built
from trackside.registry.versions import parse
from trackside.report.escape import code
from trackside.store.layout import image_path

START, END = "<!-- trackside:image -->", "<!-- /trackside:image -->"


class Describes(Protocol):
    """Reads a release's words."""

    def release(self, release_id: int) -> FoundRelease: ...


def recorded(reader: ContentReader, branch: str, model: str, version: str) -> Image | None:
    """What was recorded of a version's image; None where nothing was, or where it cannot be read."""
    data = reader.file(image_path(model, version), branch)
    try:
        return load(Image, data, name=image_path(model, version)) if data is not None else None
    except TracksideError:
        return None


def last_before(reader: ContentReader, branch: str, model: str, version: str) -> Image | None:
    """The image of the highest version below this one that was pushed."""
    below = parse(version)
    names = (Path(path).stem for path in reader.files(f"images/{model}", branch))
    versions = sorted((found for name in names if (found := parse(name)) and below and found < below), reverse=True)
    for one in versions[:5]:
        image = recorded(reader, branch, model, str(one))
        if image is not None and image.digest:
            return image
    return None


def overtaken(reader: ContentReader, branch: str, model: str, version: str) -> bool:
    """Whether a higher version has an image already: a late job, or one that is run again, deploys no older one."""
    mine = parse(version)
    found = (parse(Path(path).stem) for path in reader.files(f"images/{model}", branch))
    return mine is not None and any(one is not None and one > mine and not one.pre for one in found)


def operations(built: Built, release: Release, reader: Describes, branch: str, folder: Path) -> list[Operation]:
    """In order: assets, notes, the record that ends the work (what is recorded is not built again), the comment."""
    image = msgspec.structs.replace(built.image, sbom_digest=_sha256(built.sbom)) if built.sbom else built.image
    said = [comment(image, release, release.pull_request)] if release.pull_request is not None else []
    if built.known:
        return [*said]
    assets = (
        _asset(folder, "image.json", dump(image), "application/json"),
        _asset(folder, "sbom.cdx.json", built.sbom, "application/vnd.cyclonedx+json"),
    )
    body = with_line(reader.release(release.release_id).body, image)
    files: dict[str, str | None] = {image_path(image.model, image.version): dump(image).decode()}
    return [
        FillRelease(release_id=release.release_id, assets=assets),
        PublishRelease(release_id=release.release_id, body=body),
        CommitFiles(branch=branch, message=f"Record the image of {image.tag}", files=files),
        *said,
    ]


def with_line(body: str, image: Image) -> str:
    """The release notes with the image's paragraph, in place of an older one."""
    paragraph = f"{START}\n{sentence(image)}\n{END}"
    old = re.compile(re.escape(START) + ".*?" + re.escape(END), re.DOTALL)
    return old.sub(lambda _: paragraph, body, count=1) if old.search(body) else f"{body.rstrip()}\n\n{paragraph}\n"


def sentence(image: Image) -> str:
    """What was built and how it did."""
    smoke = image.smoke
    tested = f"{smoke.passed} of {smoke.requests} recorded answers, {smoke.bad_refused} bad requests refused"
    if not image.container:
        return f"**Bento** {code(image.bento)}: served without a container for want of a backend; {tested}."
    where = _copied(f"{image.reference}@{image.digest}") if image.digest else "built and tested, pushed nowhere"
    pace = f"; latency {smoke.latency_ratio:.2f} times the last image's" if smoke.latency_ratio else ""
    return f"**Image** {where} ({image.size / 1e6:,.0f} MB): {tested}{pace}."


def _copied(reference: str) -> str:
    """A name to copy: without the invisible signs that keep names in prose from becoming links."""
    return f"`{reference}`" if re.fullmatch(r"[\w.:/@+-]{1,600}", reference, re.ASCII) else code(reference)


def comment(image: Image, release: Release, number: int) -> UpsertComment:
    """The one comment about images on the pull request that was merged."""
    link = f"[{release.tag}]({release.url})" if release.url else code(release.tag)
    return UpsertComment(
        issue=number,
        marker=f"<!-- trackside:image model={image.model} -->",
        body=f"### {image.model}: released as {link}\n\n{sentence(image)}\n",
    )


def failed(applied: Iterable[Applied]) -> Applied | None:
    """The first operation that failed."""
    return next((one for one in applied if one.outcome == "failed"), None)


def _sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _asset(folder: Path, name: str, data: bytes, media_type: str) -> ReleaseAsset:
    path = folder / name
    path.write_bytes(data)
    return ReleaseAsset(name=name, path=path, digest=_sha256(data), size=len(data), media_type=media_type)
