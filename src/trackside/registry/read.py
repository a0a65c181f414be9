"""What the registry holds: versions, who is in which stage, records of releases, and their files."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Protocol

from trackside.documents.codec import load
from trackside.documents.release import Asset, Release
from trackside.documents.run import Run
from trackside.errors import DataError, NotFound
from trackside.forge.model import FoundAsset, TagObject, TagRef
from trackside.forge.ports import ContentReader
from trackside.registry.tags import RegistryState, fold
from trackside.registry.versions import Version, parse
from trackside.store.layout import DATA_BRANCH
from trackside.system.files import sha256_of

LOOK_BACK = 12
"""How many tag objects of one stage are read to find who is and who was in it."""

_PATH = re.compile(r"releases/([^/]+)/([^/]+)\.json")
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


def recorded(reader: ContentReader, model: str, *, branch: str = DATA_BRANCH) -> tuple[Version, ...]:
    """Versions that have a record, in whatever state, lowest first: one call."""
    if not _MODEL.fullmatch(model):
        return ()
    found = (_PATH.fullmatch(path) for path in reader.files(f"releases/{model}", branch))
    versions = (parse(one[2]) for one in found if one is not None)
    return tuple(sorted(one for one in versions if one is not None))


def record(reader: ContentReader, model: str, version: Version | str, *, branch: str = DATA_BRANCH) -> Release | None:
    """A release's record in whatever state, or None.

    Raises:
        DataError: the file is damaged, or speaks of another model or version.
    """
    path = record_path(model, version)
    data = reader.file(path, branch) if path else None
    if data is None:
        return None
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
    """The release's files of a role, each checked against its recorded digest, under their own paths in `folder`.

    Parts of a split file are put together. Model files lie at `folder/<asset.path>`, others at `folder/<asset.name>`.

    Raises:
        NotFound: the release has no such file (any longer).
        DataError: a file is not what was recorded.
    """
    wanted = [one for one in release.assets if one.role == role]
    if not wanted:
        raise NotFound(f"{release.tag} has no {role}", link="releases.md", reason_code="asset_missing")
    there = {one.name: one for one in reader.assets(release.release_id)}
    made: dict[Path, None] = {}
    folder.mkdir(parents=True, exist_ok=True)
    for asset in sorted(wanted, key=lambda one: (one.path, one.part, one.name)):
        found = there.get(asset.name)
        if found is None:
            raise NotFound(f"{release.tag} lacks its file {asset.name}", reason_code="asset_missing")
        target = _inside(folder, asset)
        target.parent.mkdir(parents=True, exist_ok=True)
        if asset.part <= 1:
            reader.download(found.id, target, digest=asset.digest)
        else:
            _append(reader, found.id, asset, target)
        made[target] = None
    for path, digest in _wholes(release).items():
        whole = folder / path
        if whole in made and sha256_of(whole) != digest:
            raise DataError(f"the parts of {path} do not make the file of {release.tag}", reason_code="digest_mismatch")
    return tuple(made)


def _wholes(release: Release) -> dict[str, str]:
    """Digests of files that were split, by path: those of a single model file are on record."""
    split = {one.path for one in release.assets if one.role == "model" and one.part}
    return dict.fromkeys(split, release.model_digest) if len({o.path for o in _models(release)}) == 1 else {}


def _models(release: Release) -> list[Asset]:
    return [one for one in release.assets if one.role == "model"]


def _inside(folder: Path, asset: Asset) -> Path:
    """Where an asset belongs; a record cannot lead out of the folder. Raises DataError."""
    path = asset.path or asset.name
    if not path or path.startswith("/") or "\\" in path or any(part in ("", ".", "..") for part in path.split("/")):
        raise DataError(f"{path!r} is no path of a release's file", reason_code="document_invalid")
    return folder / path


def _append(reader: AssetReader, asset_id: int, asset: Asset, target: Path) -> None:
    part = target.with_name(target.name + f".part{asset.part}")
    reader.download(asset_id, part, digest=asset.digest)
    with target.open("ab") as whole, part.open("rb") as file:
        while piece := file.read(1024 * 1024):
            whole.write(piece)
    part.unlink()


def run_of(reader: AssetReader, release: Release, folder: Path) -> Run:
    """The run document that is shipped with a release."""
    (path,) = fetch(reader, release, "run", folder)
    return load(Run, path.read_bytes(), name=path.name)
