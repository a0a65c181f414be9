"""The links between a version and what it was made of, each a check with a name: pure, over what was gathered."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from trackside.documents.codec import Document, dump, load
from trackside.documents.image import Image
from trackside.documents.release import Asset, Release
from trackside.documents.run import Run
from trackside.errors import DataError
from trackside.forge.model import FoundAsset, FoundRelease
from trackside.registry.state import Event
from trackside.store.layout import FETCH_DATA

State = Literal["ok", "failed", "unknown"]
STATEMENT, RUN, BOM, MANIFEST = "provenance.intoto.json", "run.json", "mlbom.cdx.json", "manifest.json"
IMAGE, PACKAGES = "image.json", "sbom.cdx.json"
LATER = (IMAGE, PACKAGES)
"""Files that a release gets after its record was written, from the image job; the record of the image names them."""

NEEDED = frozenset(
    (
        *("tag", "tag commit", "tag run", "tag statement", "record", "record statement", "model", "run"),
        *("statement", "statement run", "statement record", "statement commit", "statement data"),
    )
)
"""Checks without which nothing is verified."""

GET_ALL = "trackside models get SPEC --all -o DIR"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One link. `expected` and `found` tell what differs, `detail` what was looked at, `remedy` what it would take."""

    name: str
    state: State
    detail: str = ""
    expected: str = ""
    found: str = ""
    remedy: str = ""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A file that is here: `sha256:…`, bytes, and the content of a small one."""

    digest: str
    size: int
    content: bytes = b""


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """All that is known of a version.

    Args:
        event: the version's tag; None: there is none.
        release: the record; `release_why` tells why there is none.
        run: the data branch's run record, None where there is none; likewise `image`.
        files: files of the release by name.
        model_digest: of the model as it was trained, parts joined and folders unpacked; empty: it is not here.
        joined: of the one file that the parts make; empty: there are none, or they are not here.
        there: GitHub's release; None: not asked. `there_why`: it was asked and has none.
        assets: files that GitHub's release has.
        tree: sha256 of code and lock files at the tag's commit by path; None: the commit is not here.
    """

    tag: str
    model: str
    version: str
    event: Event | None = None
    release: Release | None = None
    release_why: str = ""
    run: Run | None = None
    image: Image | None = None
    files: Mapping[str, Measured] = field(default_factory=dict)
    model_digest: str = ""
    joined: str = ""
    there: FoundRelease | None = None
    there_why: str = ""
    assets: Sequence[FoundAsset] = ()
    tree: Mapping[str, str] | None = None


def verdict(checks: Iterable[Check], *, signed: bool = False) -> bool:
    """Whether nothing failed and every needed link is there; `signed` asks for a signature as well."""
    all_of = list(checks)
    needed = NEEDED | ({"signature"} if signed else set())
    good = {one.name for one in all_of if one.state == "ok"} - {one.name for one in all_of if one.state != "ok"}
    return needed <= good and all(one.state != "failed" for one in all_of)


def examine(known: Gathered) -> list[Check]:
    """Every link but the signature."""
    return [
        *tag_links(known.event, known.release, known.files.get(STATEMENT), tag=known.tag),
        *_record(known),
        *_release(known),
        *_files(known),
        *_model(known),
        *_statement(known),
        *_run(known),
        *_commit(known),
        *_bom(known),
        *_image(known),
    ]


def tag_links(event: Event | None, release: Release | None, statement: Measured | None, *, tag: str) -> Iterator[Check]:
    """What the version's tag says, against record and statement."""
    if event is None:
        yield Check(name="tag", state="failed", expected=tag, found="no such tag", remedy="git fetch --tags --force")
        return
    made = release.tag_object if release is not None else ""
    if not event.annotated:
        yield Check(name="tag", state="failed", expected="an annotated tag", found="a lightweight tag")
    else:
        yield same("tag", made or event.object, event.object, detail=event.name)
    if release is not None:
        yield same("tag commit", release.commit, event.commit)
        yield same("tag run", release.run, event.trailers.get("Run-Id", ""))
    said = event.trailers.get("Statement-Sha256", "")
    if statement is not None:
        yield same("tag statement", statement.digest, f"sha256:{said}")
    elif release is not None and f"sha256:{said}" != release.statement_digest:
        yield same("tag statement", release.statement_digest, f"sha256:{said}")
    else:
        yield lacking("tag statement", STATEMENT)


def same(name: str, expected: str, found: str, *, detail: str = "") -> Check:
    """`ok` where both are equal and say anything."""
    if expected == found and expected:
        return Check(name=name, state="ok", detail=detail or found)
    return Check(name=name, state="failed", detail=detail, expected=expected or "something", found=found or "nothing")


def lacking(name: str, file: str) -> Check:
    """A check that takes a file which is not here."""
    return Check(name=name, state="unknown", detail=f"{file} is not here", remedy=GET_ALL)


def _record(known: Gathered) -> Iterator[Check]:
    release = known.release
    if release is None:
        why = known.release_why or "no record on the data branch"
        yield Check(name="record", state="failed", expected=f"a record of {known.tag}", found=why)
        return
    if release.state != "published":
        yield Check(name="record", state="failed", expected="published", found=release.state)
    else:
        yield same("record", known.tag, release.tag)
    statement = known.files.get(STATEMENT)
    if statement is None:
        yield lacking("record statement", STATEMENT)
    else:
        yield same("record statement", release.statement_digest, statement.digest)


def _release(known: Gathered) -> Iterator[Check]:
    """GitHub's release, where GitHub was asked."""
    if known.there_why:
        yield Check(name="release", state="failed", expected=f"a release of {known.tag}", found=known.there_why)
    if known.there is None or known.release is None:
        return
    if known.there.draft:
        yield Check(name="release", state="failed", expected="published", found="a draft")
    else:
        yield same("release", known.release.tag, known.there.tag)
    recorded = {one.name for one in known.release.assets} | (set(LATER) if known.image is not None else set())
    extra = sorted(one.name for one in known.assets if one.name not in recorded)
    if extra:
        found = ", ".join(extra)[:300]
        yield Check(name="files", state="failed", expected="no file that nobody recorded", found=found)
    else:
        yield Check(name="files", state="ok", detail=counted(len(known.assets), "file"))


def _files(known: Gathered) -> Iterator[Check]:
    assets = known.release.assets if known.release is not None else ()
    listed = {one.name: one for one in known.assets}
    for asset in assets:
        name, here, there = f"file {asset.name}", known.files.get(asset.name), listed.get(asset.name)
        if known.there is not None and (there is None or not there.uploaded):
            yield Check(name=name, state="failed", expected=asset.digest, found="the release lacks it")
        elif there is not None and there.digest and there.digest != asset.digest:
            yield Check(name=name, state="failed", expected=asset.digest, found=f"{there.digest} at GitHub")
        elif here is not None:
            yield same(name, f"{asset.digest}, {asset.size} bytes", f"{here.digest}, {here.size} bytes")
        elif asset.role == "model" and known.model_digest:  # joined or unpacked, and judged as a whole
            yield Check(name=name, state="ok", detail="part of the model that is here")
        else:
            yield lacking(name, asset.name)


def _model(known: Gathered) -> Iterator[Check]:
    release = known.release
    if release is None:
        return
    if not known.model_digest:
        yield lacking("model", "the model")
    else:
        yield same("model", release.model_digest, known.model_digest)
    manifest = next((one for one in release.assets if one.role == "manifest"), None)
    if manifest is None:
        return
    here = known.files.get(manifest.name)
    yield lacking("manifest", MANIFEST) if here is None else _manifest(known, release.assets, here.content)


def _manifest(known: Gathered, assets: Sequence[Asset], content: bytes) -> Check:
    """What the manifest says of whole and parts, against the record and the files."""
    parts = sorted((one for one in assets if one.role == "model" and one.part), key=lambda one: one.part)
    try:
        said = msgspec.json.decode(content)
        named = [[one["name"], one["digest"], one["size"]] for one in said["parts"]]
        whole, model = said["file"]["digest"], said["digest"]
    except (msgspec.DecodeError, UnicodeDecodeError, LookupError, TypeError, RecursionError) as error:
        return Check(
            name="manifest", state="failed", expected="a manifest", found=f"it cannot be read: {error!r}"[:200]
        )
    wanted = [[one.name, one.digest, one.size] for one in parts]
    if named != wanted or [one.part for one in parts] != list(range(1, len(parts) + 1)):
        return Check(name="manifest", state="failed", expected=str(wanted)[:300], found=str(named)[:300])
    if known.joined and whole != known.joined:
        return same("manifest", known.joined, str(whole))
    return same("manifest", known.release.model_digest if known.release else "", str(model))


def _statement(known: Gathered) -> Iterator[Check]:
    """What the statement says, against record, run and model."""
    from trackside.trust.statement import links

    here, run = known.files.get(STATEMENT), known.files.get(RUN)
    if here is None:
        yield from (lacking(name, STATEMENT) for name in sorted(NEEDED) if name.startswith("statement"))
    elif known.release is not None:
        yield from links(here.content, known.release, _loaded(Run, run), run.digest if run is not None else "")


def _loaded(kind: type[Any], file: Measured | None) -> Any:
    """A document of a file; None where it is not here or cannot be read, which other checks tell."""
    if file is None:
        return None
    try:
        return load(kind, file.content)
    except DataError:
        return None


def _run(known: Gathered) -> Iterator[Check]:
    here, release = known.files.get(RUN), known.release
    if here is None or release is None:
        yield lacking("run", RUN)
        return
    try:
        run = load(Run, here.content, name=RUN)
    except DataError as error:
        yield Check(name="run", state="failed", expected="a run document", found=error.why or error.message)
        return
    model = next((one.digest for one in run.artifacts if one.role == "model"), "")
    if (run.id, run.model) != (release.run, release.model):
        yield same("run", f"{release.run} of {release.model}", f"{run.id} of {run.model}")
    elif model != release.model_digest:
        yield same("run", f"model {release.model_digest}", f"model {model}")
    else:
        yield _as_recorded("run", run, known.run)
    yield _metrics(release, run)


def _as_recorded(name: str, here: Document, kept: Document | None) -> Check:
    """A document of a release against the data branch's."""
    if kept is None:
        return Check(name=name, state="unknown", detail="the data branch has no such record", remedy=FETCH_DATA)
    if dump(kept) == dump(here):
        return Check(name=name, state="ok", detail="as the data branch has it")
    old, new = msgspec.to_builtins(kept), msgspec.to_builtins(here)
    differs = ", ".join(sorted(key for key in new if new[key] != old.get(key)))
    return Check(name=name, state="failed", expected="the data branch's record", found=f"another {differs}"[:300])


def _metrics(release: Release, run: Run) -> Check:
    if list(release.metrics) == list(run.metrics):
        return Check(name="metrics", state="ok", detail=counted(len(run.metrics), "value"))
    expected, found = ({one.name: one.value for one in of.metrics} for of in (run, release))
    return Check(name="metrics", state="failed", expected=str(expected)[:300], found=str(found)[:300])


def _commit(known: Gathered) -> Iterator[Check]:
    """Code and lock files at the tag's commit against those that the run read. A folder's digest is a listing's."""
    run = _loaded(Run, known.files.get(RUN)) or known.run
    if known.tree is None or run is None:
        yield Check(name="commit", state="unknown", detail="the tag's commit is not here", remedy="git fetch origin")
        return
    files = [one for one in run.dependencies if one.kind in ("code", "lock") and one.files is None]
    differ = [one for one in files if f"sha256:{known.tree.get(one.path, '')}" != one.digest]
    if differ:
        first = differ[0]
        found = known.tree.get(first.path, "")
        yield Check(
            name="commit",
            state="failed",
            detail=f"{len(differ)} of {len(files)} code and lock files differ",
            expected=f"{first.path} {first.digest}",
            found=f"sha256:{found}" if found else "no such file",
        )
    else:
        yield Check(name="commit", state="ok", detail=counted(len(files), "code and lock file"))


def _bom(known: Gathered) -> Iterator[Check]:
    from trackside.trust.bom import speaks_of

    release, here = known.release, known.files.get(BOM)
    if release is None or not any(one.role == "bom" for one in release.assets):
        return  # of a version that was made before there was one
    if here is None:
        yield lacking("bom", BOM)
        return
    statement = known.files.get(STATEMENT)
    wrong = speaks_of(here.content, release, statement.digest if statement is not None else release.statement_digest)
    if wrong:
        yield Check(name="bom", state="failed", expected=wrong[0], found=wrong[1])
    else:
        yield Check(name="bom", state="ok", detail="of this model, run, commit and statement")


def _image(known: Gathered) -> Iterator[Check]:
    """What the image job added, against the image's record."""
    here, release = known.files.get(IMAGE), known.release
    if known.image is None and here is None:
        return
    listed = {one.name for one in known.assets}
    if here is None or release is None:
        state: State = "failed" if known.there is not None and IMAGE not in listed else "unknown"
        yield Check(name="image", state=state, expected=IMAGE, found="not there", remedy=GET_ALL)
        return
    image = _loaded(Image, here)
    if image is None:
        yield Check(name="image", state="failed", expected="a document of an image", found="it cannot be read")
        return
    wanted = (release.tag, release.model_digest, release.run, release.commit)
    if (image.tag, image.model_digest, image.run, image.commit) != wanted:
        yield same("image", str(wanted), str((image.tag, image.model_digest, image.run, image.commit)))
    elif unread := _unread(here.content, image):
        remedy = "verify with the newest version of Trackside"
        yield Check(name="image", state="failed", expected="a document of an image", found=unread[:300], remedy=remedy)
    else:
        yield _as_recorded("image", image, known.image)
    packages = known.files.get(PACKAGES)
    if packages is None or not image.sbom_digest:
        yield Check(
            name="image packages",
            state="unknown",
            detail=f"{PACKAGES} is not here" if packages is None else "the image's record names no digest of it",
        )
    else:
        yield same("image packages", image.sbom_digest, packages.digest)


def _unread(content: bytes, read: Document) -> str:
    """What a document holds beside what was read of it; fields that an older one lacks are no matter."""
    raw = msgspec.json.decode(content)
    if msgspec.json.format(msgspec.json.encode(raw, order="sorted"), indent=2) + b"\n" != content:
        return "it is not written as documents are"
    return _extra(raw, msgspec.to_builtins(read))


def _extra(raw: Any, read: Any) -> str:
    for key, value in raw.items() if isinstance(raw, dict) and isinstance(read, dict) else ():
        found = f"{key} is not known" if key not in read else _extra(value, read[key])
        if found:
            return found
    return ""


def counted(number: int, what: str) -> str:
    """`1 file`, `2 files`."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def digest_of(content: bytes) -> str:
    """`sha256:…` of bytes."""
    return "sha256:" + hashlib.sha256(content).hexdigest()
