"""`trackside models verify`: gathers what there is of a version, has each link judged, and says so."""

from __future__ import annotations

import re
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from trackside.documents.release import Release
from trackside.errors import ConfigError, DataError, ForgeError, NotFound, ToolError
from trackside.forge.access import server_of
from trackside.models.which import Spec, find
from trackside.plan.objects import GitTree
from trackside.registry.package import FOLDER, model_name, unpack
from trackside.registry.tags import version_tag
from trackside.system.process import Processes
from trackside.train.files import digest as digest_of_path
from trackside.trust.links import GET_ALL, LATER, STATEMENT, Check, Gathered, Measured, examine, verdict
from trackside.trust.signatures import Attestation, Signer, Trust, any_verified, foreign, in_files, unsigned

if TYPE_CHECKING:
    from trackside.app import Context
    from trackside.forge.github import GithubForge
    from trackside.models.source import Source

SCHEMA = "trackside.verification/1"
LINK = "provenance.md"
READ = 16 * 1024 * 1024
"""Bytes of a file whose content is looked at; larger ones are only measured."""
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")
_BUNDLES = ("*.sigstore.json", "sha256*.jsonl")


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is asked for. `repo` is the clone (None: there is none), `folder` holds files of the release; the signer
    must be `workflow` on `branch` (empty: the default branch).
    """

    spec: Spec
    repo: Path | None = None
    folder: Path | None = None
    offline: bool = False
    signed: bool = False
    bundles: tuple[Path, ...] = ()
    trusted_root: Path | None = None
    workflow: str = "release.yml"
    branch: str = ""


def verify(context: Context, source: Source, wish: Wish) -> int:
    """Print every check; 0 where the version is verified, else 7.

    Raises:
        ConfigError: `--offline` without a folder or a clone.
        NotFound: the name means no version.
        DataError: the clone does not hold all tags.
        ForgeError: GitHub failed.
    """
    if wish.offline and (wish.folder is None or wish.repo is None):
        raise ConfigError("--offline takes the files of --dir, and a clone for tag and records", link=LINK)
    if wish.folder is not None and not wish.folder.is_dir():
        raise ConfigError(f"{wish.folder} is no folder", link=LINK)
    known = _registered(source, wish)
    with tempfile.TemporaryDirectory(prefix="trackside-") as aside:
        checks = _judged(context, source, wish, known, Path(aside))
    good = verdict(checks, signed=wish.signed)
    _say(context, source, known, checks, good)
    return 0 if good else DataError.exit_code


def _registered(source: Source, wish: Wish) -> Gathered:
    """Tag and records. A version that is named outright is looked for even where its tag is gone."""
    spec = wish.spec
    if spec.query == "version" and spec.version is not None:
        version, event = spec.version, source.state(spec.model).version_event(spec.model, spec.version)
    else:
        found = find(source, spec)
        version, event = found.version, found.event
    release = source.release(spec.model, version)
    if event is None and release is None:
        find(source, spec)  # tells what there is
    damaged = next((f"{one.path}: {one.why}" for one in source.problems if one.path.endswith(f"/{version}.json")), "")
    return Gathered(
        tag=version_tag(spec.model, version),
        model=spec.model,
        version=str(version),
        event=event,
        release=release,
        release_why=damaged,
        run=source.run(spec.model, release.run) if release is not None else None,
        image=source.image(spec.model, version),
    )


def _judged(context: Context, source: Source, wish: Wish, known: Gathered, aside: Path) -> list[Check]:
    files = _in_folder(wish.folder, known) if wish.folder is not None else {}
    if wish.offline:
        known = _measured(_with_tree(known, wish, context), files, wish.folder, aside)
        return [*examine(known), _signature(context, source, wish, known, None)]
    with source.forge() as forge:
        known = _asked(forge, known)
        files |= _downloaded(context, forge, known, files, aside, wish.folder)
        known = _measured(_with_tree(known, wish, context), files, wish.folder, aside)
        return [*examine(known), _signature(context, source, wish, known, forge)]


def _in_folder(folder: Path, known: Gathered) -> dict[str, Path]:
    """Files of a folder that have the name of one of the release's. Links are left out: they may lead anywhere."""
    names = [one.name for one in known.release.assets] if known.release is not None else []
    found = {name: folder / name for name in {*names, *LATER} if _NAME.fullmatch(name)}
    return {name: path for name, path in found.items() if path.is_file() and not path.is_symlink()}


def _asked(forge: GithubForge, known: Gathered) -> Gathered:
    """With what GitHub says of the release."""
    if known.release is None or not known.release.release_id:
        return known
    try:
        there = forge.release(known.release.release_id)
    except NotFound:
        return replace(known, there_why=f"GitHub has no release {known.release.release_id}")
    return replace(known, there=there, assets=forge.assets(there.id))


def _downloaded(
    context: Context, forge: GithubForge, known: Gathered, have: Mapping[str, Path], aside: Path, folder: Path | None
) -> dict[str, Path]:
    """Recorded files that are not here yet, as GitHub has them: whether they are right is judged later."""
    from trackside.forge.releases import download

    release, made = known.release, {}
    if release is None or known.there is None:
        return {}
    wanted = {one.name: one for one in release.assets} | dict.fromkeys(LATER)
    for asset in known.assets:
        recorded = wanted.get(asset.name)
        if asset.name not in wanted or asset.name in have or not asset.uploaded or not _NAME.fullmatch(asset.name):
            continue
        if recorded is not None and recorded.role == "model" and folder is not None and _model_in(folder, release):
            continue
        if not context.json:
            context.say(f"fetching {asset.name} ({asset.size:,} bytes)")
        try:
            download(forge.client, asset.id, aside / asset.name)
        except NotFound:  # listed, and lost: its check says that it is not here
            continue
        made[asset.name] = aside / asset.name
    return made


def _model_in(folder: Path, release: Release) -> Path | None:
    """The model as it was trained, where `models get` puts it or where it lay in the repository."""
    path = next((one.path for one in release.assets if one.role == "model"), "")
    parts = path.split("/")
    if not path or path.startswith("/") or "\\" in path or any(part in ("", ".", "..") for part in parts):
        return None
    places = (folder / parts[-1], folder / path)
    try:
        return next((place for place in places if place.exists() and not place.is_symlink()), None)
    except OSError:  # a name that no file system has
        return None


def _measured(known: Gathered, files: Mapping[str, Path], folder: Path | None, aside: Path) -> Gathered:
    """With digests of what is here, and the model put together."""
    made = {}
    for name, path in files.items():
        digest, size = digest_of_path(path.name, path.parent)
        made[name] = Measured(digest=digest, size=size, content=path.read_bytes() if size <= READ else b"")
    known = replace(known, files=made)
    release = known.release
    if release is None:
        return known
    whole, joined = _whole(release, files, made, aside)
    if whole is None and folder is not None:
        whole = _model_in(folder, release)
    if whole is not None:
        known = replace(known, model_digest=digest_of_path(whole.name, whole.parent)[0])
    return replace(known, joined=digest_of_path(joined.name, joined.parent)[0]) if joined is not None else known


def _whole(
    release: Release, files: Mapping[str, Path], measured: Mapping[str, Measured], aside: Path
) -> tuple[Path | None, Path | None]:
    """The model of its parts, and the one file that they make; None where parts are missing, or are no archive.

    Only an archive that the record names is unpacked: who knows what another one would unfold to.
    """
    parts = sorted((one for one in release.assets if one.role == "model"), key=lambda one: one.part)
    if not parts or any(one.name not in files for one in parts):
        return None, None
    joined = files[parts[0].name]
    if len(parts) > 1:
        joined = aside / "joined"
        with joined.open("wb") as file:
            for one in parts:
                with files[one.name].open("rb") as part:
                    while piece := part.read(1 << 22):
                        file.write(piece)
    if not parts[0].name.startswith(model_name(parts[0].path) + FOLDER):
        return joined, joined
    if any(measured[one.name].digest != one.digest for one in parts):
        return None, joined
    try:
        unpack(joined, aside / "unpacked")
    except (DataError, zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError):
        return None, joined
    return aside / "unpacked", joined


def _with_tree(known: Gathered, wish: Wish, context: Context) -> Gathered:
    """With the digests of code and lock files at the tag's commit, where the clone has it."""
    if wish.repo is None or known.event is None or known.run is None or not known.event.commit:
        return known
    try:
        tree = GitTree.open(wish.repo, known.event.commit, Processes(context.env))
        named = [one.path for one in known.run.dependencies if one.kind in ("code", "lock") and one.files is None]
        at = {path: target for path in named if (target := tree.resolve(path)) in tree.entries and target is not None}
        digests = tree.digests(at.values())
    except (NotFound, ConfigError, DataError, ToolError):
        return known
    return replace(known, tree={path: digests[target] for path, target in at.items()})


def _signature(context: Context, source: Source, wish: Wish, known: Gathered, forge: GithubForge | None) -> Check:
    """The one check that takes a library and a trust root: what hinders it is told as `unknown`, never as `ok`."""
    release = known.release
    if release is None:
        return Check(name="signature", state="unknown", detail="without a record nobody knows what was signed")
    try:
        made = _attested(context, source, wish, release, forge)
    except DataError as error:
        if error.reason_code == "attestation_unsupported":
            return Check(name="signature", state="unknown", detail=error.why or error.message, remedy=error.remedy)
        return Check(
            name="signature", state="failed", expected=f"signed by {wish.workflow}", found=error.why or error.message
        )
    except (ToolError, ForgeError) as error:
        return Check(name="signature", state="unknown", detail=error.message, remedy=error.remedy)
    if made is None:
        where = "--bundle FILE names one" if wish.offline else "the job attest of release.yml signs versions"
        return Check(name="signature", state="unknown", detail="there is no attestation", remedy=where)
    here = known.files.get(STATEMENT)
    if here is None:
        return Check(name="signature", state="unknown", detail=f"{STATEMENT} is not here", remedy=GET_ALL)
    if found := foreign(made, here.content):
        return Check(name="signature", state="failed", expected=f"the predicate of {STATEMENT}", found=found)
    if found := unsigned(made, release):
        return Check(name="signature", state="failed", expected="every file of the release", found=found)
    return Check(name="signature", state="ok", detail=f"{made.signer} {made.url}".rstrip())


def _attested(
    context: Context, source: Source, wish: Wish, release: Release, forge: GithubForge | None
) -> Attestation | None:
    paths = [*wish.bundles]
    if wish.folder is not None:
        paths += sorted(path for pattern in _BUNDLES for path in wish.folder.glob(pattern))
    bundles = in_files(paths)
    listed = forge.attestations(release.model_digest) if forge is not None else ()
    bundles += [(one.bundle, one.url or "kept by GitHub") for one in listed if one.bundle]
    if not bundles and listed:
        raise DataError(
            f"GitHub lists {len(listed)} attestations without their contents",
            remedy="gh attestation download FILE --repo OWNER/NAME, then --bundle FILE",
            link=LINK,
            reason_code="attestation_unsupported",
        )
    repository = source.repository
    if bundles and not repository:
        raise DataError(
            "nobody knows of which repository the signer must be",
            remedy="--repository OWNER/NAME, or a clone with an origin",
            link=LINK,
            reason_code="attestation_unsupported",
        )
    signer = Signer(
        repository=repository,
        branch=wish.branch or (forge.default_branch() if forge is not None else _branch(context, wish.repo)),
        server=server_of(context.env),
        workflow=wish.workflow,
    )
    root = context.env.get("TRACKSIDE_TRUSTED_ROOT", "")
    trust = Trust(root=wish.trusted_root or (Path(root) if root else None), offline=wish.offline)
    return any_verified(bundles, release.model_digest, signer, trust, run=release.run)


def _branch(context: Context, repo: Path | None) -> str:
    """The default branch as the clone knows it."""
    if repo is not None:
        words: list[str | Path] = ["git", "-C", repo, "symbolic-ref", "--quiet", "--short", "refs/remotes/origin/HEAD"]
        said = Processes(context.env).run(words, check=False).text.strip()
        if said.startswith("origin/"):
            return said.removeprefix("origin/")
    return "main"


def _say(context: Context, source: Source, known: Gathered, checks: list[Check], good: bool) -> None:
    from trackside.models.layout import columns, emit, printable, table

    counts = {state: sum(one.state == state for one in checks) for state in ("ok", "failed", "unknown")}
    if context.json:
        document = {
            "schema": SCHEMA,
            "repository": source.repository,
            "model": known.model,
            "version": f"v{known.version}",
            "tag": known.tag,
            "verified": good,
            "reason_code": "verified" if good else "not_verified",
            **counts,
            "checks": [msgspec.to_builtins(one) for one in checks],
        }
        emit(context, document)
        return
    order = {"failed": 0, "unknown": 1, "ok": 2}
    rows = []
    for one in sorted(checks, key=lambda check: order[check.state]):
        told = [one.detail] if one.detail else []
        told += [f"expected {one.expected}", f"found {one.found}"] if one.state == "failed" else []
        told += [f"fix: {one.remedy}"] if one.remedy and one.state != "ok" else []
        rows.append([one.state.upper() if one.state == "failed" else one.state, one.name, "; ".join(told)])
    context.say(table(["", "Check", "What"], rows, room=columns(context), shrink={2: 30}))
    listed = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    context.say(f"\n{printable(known.tag)} is {'verified' if good else 'NOT verified'}: {listed}")
