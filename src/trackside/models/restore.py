"""A release's record written again from the release's own files, where they prove what they are: pure but for names."""

from __future__ import annotations

import hashlib
import re

from trackside.documents.codec import load
from trackside.documents.release import Asset, Release
from trackside.documents.run import Artifact, Run
from trackside.errors import DataError
from trackside.forge.model import FoundAsset
from trackside.models.finding import Restore
from trackside.registry.decide import model_of
from trackside.registry.package import FOLDER, model_name
from trackside.registry.tags import version_tag
from trackside.registry.versions import Bump, Version, parse

LINK = "models-doctor.md"
_PART = re.compile(r"\.part([0-9]{2,4})")
_SHA = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_ROLES = {
    "run.json": "run",
    "provenance.intoto.json": "statement",
    "README.md": "card",
    "drift-profile.json": "profile",
    "manifest.json": "manifest",
    "golden.jsonl": "golden",
    "mlbom.cdx.json": "bom",
}
"""What the register job ships beside the model. Files that come later (an image's) are no part of its record."""


def restored(wish: Restore, run_json: bytes, statement: bytes) -> Release:
    """The record as the register job would have left it.

    Args:
        run_json: the release's `run.json`.
        statement: its `provenance.intoto.json`.

    Raises:
        DataError: the files are not of this version: the tag names another run or statement, the run another model; or
            a file's digest is not known to GitHub.
    """
    name = version_tag(wish.model, wish.version)
    run = load(Run, run_json, name=f"run.json of {name}")
    artifact = model_of(run)
    digest = hashlib.sha256(statement).hexdigest()
    said = dict(wish.event.trailers) if wish.event else {}
    if run.model != wish.model or said.get("Run-Id", run.id) != run.id:
        raise _differs(f"{name} is released with run {run.id[:64]} of {run.model[:64]}, its tag names another")
    if said.get("Statement-Sha256", digest) != digest:
        raise _differs(f"{name} is released with another statement than its tag names")
    commit = wish.event.commit if wish.event else wish.release.commit
    if not _SHA.fullmatch(commit):
        raise _differs(f"nothing tells which commit {name} was made from")
    before = wish.before
    return Release(
        model=wish.model,
        version=wish.version,
        tag=name,
        commit=commit,
        tag_object=wish.event.object if wish.event and wish.event.annotated else "",
        run=run.id,
        state="published",
        release_id=wish.release.id,
        url=wish.release.url,
        bump=_bump(before, parse(wish.version)),
        previous=str(before) if before else "",
        model_digest=artifact.digest,
        statement_digest=f"sha256:{digest}",
        created_at=(wish.event.date if wish.event else "") or wish.release.published_at,
        metrics=list(run.metrics),
        assets=_assets(wish, artifact),
    )


def _assets(wish: Restore, artifact: Artifact) -> list[Asset]:
    there = {one.name: one for one in wish.release.assets if one.uploaded}
    base = model_name(artifact.path)
    made = []
    for name, one in sorted(there.items()):
        tail = name.removeprefix(base) if name.startswith(base) else None
        part = _PART.fullmatch((tail or "").removeprefix(FOLDER))
        if tail in ("", FOLDER) or part:
            number = int(part[1]) if part else 0
            path = artifact.path
            made.append(Asset(name=name, role="model", digest=_digest(one), size=one.size, path=path, part=number))
        elif name in _ROLES:
            made.append(Asset(name=name, role=_ROLES[name], digest=_digest(one), size=one.size))  # type: ignore[arg-type]
    if not any(one.role == "model" for one in made):
        raise _differs(f"the release of {wish.release.tag} carries no {base}, which its run made")
    whole = [one for one in made if one.role == "model" and not one.part and not one.name.endswith(FOLDER)]
    if whole and whole[0].digest != artifact.digest:
        raise _differs(f"the model of {wish.release.tag} is not the one that its run made")
    order = ["model", "manifest", "run", "statement", "profile", "golden", "bom", "card"]
    return sorted(made, key=lambda one: (order.index(one.role), one.part))


def _digest(asset: FoundAsset) -> str:
    if not asset.digest:
        raise _differs(f"GitHub knows no digest of {asset.name[:100]!r}")
    return asset.digest


def _bump(before: Version | None, version: Version | None) -> Bump:
    if before is None or version is None or (version.major == before.major and version.minor == before.minor):
        return "patch"
    return "minor" if version.major == before.major else "major"


def _differs(text: str) -> DataError:
    return DataError(
        text,
        remedy="compare them by hand: trackside models verify",
        link=LINK,
        reason_code="content_mismatch",
    )
