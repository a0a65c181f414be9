"""What the registry holds: versions, who is in which stage, records of releases, and their files."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from trackside.documents.codec import load
from trackside.documents.release import Asset, Release
from trackside.documents.run import Run
from trackside.errors import DataError, NotFound
from trackside.forge.model import FoundAsset, TagObject, TagRef
from trackside.forge.ports import ContentReader
from trackside.registry.package import FOLDER, model_name, unpack
from trackside.registry.records import MODEL, of_path, parsed, record_path
from trackside.registry.versions import Version
from trackside.store.layout import DATA_BRANCH
from trackside.train.files import digest

if TYPE_CHECKING:
    from trackside.registry.state import RegistryState

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")


class TagReader(Protocol):
    """Tags of the repository."""

    def tags(self, prefix: str) -> tuple[TagRef, ...]: ...
    def tag_object(self, sha: str) -> TagObject: ...


class AssetReader(Protocol):
    """Files of releases."""

    def assets(self, release_id: int) -> tuple[FoundAsset, ...]: ...
    def download(self, asset_id: int, to: Path, *, digest: str) -> None: ...


class RegistryReader(TagReader, AssetReader, ContentReader, Protocol):
    """All that is read of the registry; `forge.github.GithubForge` is one."""


def state(reader: TagReader, model: str, stages: Sequence[str] = ()) -> RegistryState:
    """The registry's tags of a model over the API, with what tells who holds its stages and what a rollback leads to.

    One call, and as many for tag objects as that takes. `stages` limits which are looked into.
    """
    from trackside.registry.stage_tags import StageTags

    tags = StageTags(reader, model)
    for stage in stages or tags.state.stages(model):
        tags.before(stage)
    return tags.state


def recorded(reader: ContentReader, model: str, *, branch: str = DATA_BRANCH) -> tuple[Version, ...]:
    """Versions that have a record, in whatever state, lowest first: one call."""
    if not MODEL.fullmatch(model):
        return ()
    found = (of_path(path) for path in reader.files(f"releases/{model}", branch))
    return tuple(sorted(one[1] for one in found if one is not None))


def record(reader: ContentReader, model: str, version: Version | str, *, branch: str = DATA_BRANCH) -> Release | None:
    """A release's record in whatever state, or None.

    Raises:
        DataError: the file is damaged, or speaks of another model or version.
    """
    path = record_path(model, version)
    data = reader.file(path, branch) if path else None
    if data is None:
        return None
    return parsed(path, data)


def find(
    reader: ContentReader, model: str, version: Version | str = "", *, branch: str = DATA_BRANCH
) -> Release | None:
    """A published release by version; without one, the newest (the highest version). None where there is none.

    Raises:
        DataError: a record is damaged.
    """
    if version:
        found = record(reader, model, version, branch=branch)
        return found if found is not None and found.state == "published" else None
    for one in reversed(recorded(reader, model, branch=branch)):
        found = record(reader, model, one, branch=branch)
        if found is not None and found.state == "published":
            return found
    return None


def need(reader: ContentReader, model: str, version: Version | str = "", *, branch: str = DATA_BRANCH) -> Release:
    """Like `find`. Raises NotFound with what to do."""
    found = find(reader, model, version, branch=branch)
    if found is None:
        raise NotFound(
            f"{model} has no published release{f' {version}' if version else ''}",
            remedy="merge a trained pull request, or run the workflow release.yml",
            link="releases.md",
            reason_code="release_missing",
        )
    return found


def fetch(reader: AssetReader, release: Release, role: str, folder: Path) -> tuple[Path, ...]:
    """The release's files of a role, each checked against its recorded digest, as `folder/<asset.name>`.

    Raises:
        NotFound: the release has no such file, or has it no longer.
        DataError: a file is not what was recorded.
    """
    wanted = [one for one in release.assets if one.role == role]
    if not wanted:
        raise NotFound(f"{release.tag} has no {role}", link="releases.md", reason_code="asset_missing")
    there = {one.name: one for one in reader.assets(release.release_id)}
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for asset in wanted:
        found = there.get(asset.name)
        if found is None or not _NAME.fullmatch(asset.name):
            raise NotFound(f"{release.tag} lacks its file {asset.name[:100]!r}", reason_code="asset_missing")
        reader.download(found.id, folder / asset.name, digest=asset.digest)
        made.append(folder / asset.name)
    return tuple(made)


def fetch_model(reader: AssetReader, release: Release, folder: Path) -> Path:
    """The model file or folder at its own path below `folder`: parts joined, the whole checked against the digest
    that the training run recorded.

    Raises:
        NotFound, DataError: see `fetch`.
    """
    parts = sorted((one for one in release.assets if one.role == "model"), key=lambda one: one.part)
    with tempfile.TemporaryDirectory(prefix="trackside-", dir=_made(folder)) as aside:
        fetch(reader, release, "model", Path(aside))
        path = _inside(parts[0])
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        whole = Path(aside) / parts[0].name
        with whole.open("ab") as file:
            for part in parts[1:]:
                with (Path(aside) / part.name).open("rb") as more:
                    shutil.copyfileobj(more, file)
        if parts[0].name.startswith(model_name(path) + FOLDER):
            unpack(whole, target)
        else:
            whole.replace(target)
    if digest(path, folder)[0] != release.model_digest:
        raise DataError(f"the model of {release.tag} is not the one that was trained", reason_code="content_mismatch")
    return target


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _inside(asset: Asset) -> str:
    """Where an asset belongs; a record cannot lead out of the folder. Raises DataError."""
    path = asset.path
    if not path or path.startswith("/") or "\\" in path or any(part in ("", ".", "..") for part in path.split("/")):
        raise DataError(f"{path[:100]!r} is no path of a release's file", reason_code="document_invalid")
    return path


def run_of(reader: AssetReader, release: Release, folder: Path) -> Run:
    """The run document that is shipped with a release."""
    (path,) = fetch(reader, release, "run", folder)
    return load(Run, path.read_bytes(), name=path.name)
