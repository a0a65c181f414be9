"""What the registry holds: versions, who is in which stage, records of releases, and their files."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from trackside.documents.codec import load
from trackside.documents.release import Asset, Release
from trackside.documents.run import Run
from trackside.errors import DataError, NotFound
from trackside.forge.model import FoundAsset, TagObject, TagRef
from trackside.forge.ports import ContentReader
from trackside.registry.package import FOLDER, model_name, unpack
from trackside.registry.state import RegistryState, fold
from trackside.registry.tags import read
from trackside.registry.versions import Version, parse
from trackside.store.layout import DATA_BRANCH
from trackside.train.files import digest

LOOK_BACK = 12
"""How many tag objects of one stage are read to find who is and who was in it."""

_PATH = re.compile(r"releases/([^/]+)/([^/]+)\.json")
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")
_MODEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,98}[A-Za-z0-9])?")


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


def record_path(model: str, version: Version | str) -> str:
    """Path of a release's record on the data branch; empty for names that no release can have."""
    made = parse(str(version))
    return f"releases/{model}/{made}.json" if made is not None and _MODEL.fullmatch(model) else ""


def of_path(path: str) -> tuple[str, Version] | None:
    """Model and version of a record's path; None for any other file."""
    found = _PATH.fullmatch(path)
    version = parse(found[2]) if found else None
    return (found[1], version) if found and version and record_path(found[1], version) == path else None


def state(reader: TagReader, model: str, stages: Sequence[str] = ()) -> RegistryState:
    """The registry's tags of a model, with what `holder` and `previous_holder` need of its stages.

    One call, and one for each stage tag until two versions are known. `stages` limits which are looked into.
    """
    refs = [ref for ref in reader.tags(model) if ref.name.startswith((f"{model}@", f"{model}#"))]
    objects: dict[str, TagObject] = {}
    seen = fold(refs)
    for stage in stages or seen.stages(model):
        for at, event in enumerate(seen.history(model, stage)[:LOOK_BACK]):
            objects[event.name] = reader.tag_object(event.object)
            found = fold(refs, objects)
            if event.tag.action == "assign" and found.version_of(found.history(model, stage)[at]) is None:
                _read_versions(reader, refs, objects, model)
                found = fold(refs, objects)
            if found.previous_holder(model, stage) is not None:
                break
    return fold(refs, objects)


def _read_versions(reader: TagReader, refs: Iterable[TagRef], objects: dict[str, TagObject], model: str) -> None:
    """Commits of the version tags, for stage tags of other tools that name no version."""
    for ref in refs:
        if ref.annotated and ref.name.startswith(f"{model}@v") and ref.name not in objects:
            objects[ref.name] = reader.tag_object(ref.object)


def whole(reader: TagReader, model: str = "", *, objects: bool = True) -> RegistryState:
    """All tags of a model, or of every one, each with what its object says: a call for each annotated tag.

    Without `objects` only names are known: one call.
    """
    refs = [ref for ref in reader.tags(model) if not model or ref.name.startswith((f"{model}@", f"{model}#"))]
    asked = [ref for ref in refs if objects and ref.annotated and read(ref.name) is not None]
    return fold(refs, {ref.name: reader.tag_object(ref.object) for ref in asked})


def recorded(reader: ContentReader, model: str, *, branch: str = DATA_BRANCH) -> tuple[Version, ...]:
    """Versions that have a record, in whatever state, lowest first: one call."""
    if not _MODEL.fullmatch(model):
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


def parsed(path: str, data: bytes) -> Release:
    """A record's file. Raises DataError: damaged, or it speaks of another model or version than its path."""
    found = load(Release, data, name=path)
    if record_path(found.model, found.version) != path:
        raise DataError(f"{path} holds another release", reason_code="document_invalid")
    return found


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
