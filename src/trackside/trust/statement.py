"""What a released statement says, held against the record and the run: pure; whatever is malformed has failed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from trackside.documents.release import Release
from trackside.documents.run import Dependency, Run
from trackside.train.provenance import BUILD_TYPE, PREDICATE, STATEMENT, digests, subjects
from trackside.trust.links import NEEDED, Check, counted, lacking, same

_KINDS = {"statement data": ("data", "external"), "statement code": ("code",), "statement lock": ("lock",)}


def links(content: bytes, release: Release, run: Run | None, run_digest: str) -> Iterator[Check]:
    """The links of a statement.

    Args:
        run: the release's run document, None where it is not here or cannot be read.
        run_digest: sha256 of the release's `run.json`; empty where it is not here.
    """
    said = _read(content)
    if said is None:
        for name in sorted(NEEDED):
            if name.startswith("statement"):
                yield Check(name=name, state="failed", expected="a statement", found="it cannot be read")
        return
    predicate = _at(said, "predicate")
    definition = _at(predicate, "buildDefinition")
    yield _about(said, definition, release)
    yield same("statement run", release.run, str(_at(definition, "internalParameters", "run")))
    record = next((one for one in _rows(predicate, "runDetails", "byproducts") if one.get("name") == "run.json"), {})
    if not run_digest:
        yield lacking("statement record", "run.json")
    else:
        yield same("statement record", run_digest, f"sha256:{_at(record, 'digest', 'sha256')}")
    if run is None:
        for name in ("statement commit", *_KINDS):
            yield lacking(name, "run.json")
        return
    inputs = _rows(definition, "resolvedDependencies")
    source = next((one for one in inputs if one.get("name") == "source"), {})
    yield same("statement commit", run.source.commit, str(_at(source, "digest", "gitCommit")))
    for name, kinds in _KINDS.items():
        yield _inputs(name, [one for one in run.dependencies if one.kind in kinds], inputs, kinds)


def _read(content: bytes) -> Mapping[str, Any] | None:
    try:
        made = msgspec.json.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return made if isinstance(made, dict) else None


def _about(said: Mapping[str, Any], definition: Any, release: Release) -> Check:
    """Its kind, and that it is about the model."""
    kind = (said.get("_type"), said.get("predicateType"), _at(definition, "buildType"))
    if kind != (STATEMENT, PREDICATE, BUILD_TYPE):
        return same("statement", str((STATEMENT, PREDICATE, BUILD_TYPE)), str(kind)[:300])
    about = subjects(said)
    if release.model_digest not in about:
        found = ", ".join(sorted(about)[:3]) or "no subject"
        return Check(name="statement", state="failed", expected=release.model_digest, found=found)
    return same("statement", release.model, str(_at(definition, "externalParameters", "model")))


def _inputs(name: str, wanted: list[Dependency], rows: list[dict[str, Any]], kinds: tuple[str, ...]) -> Check:
    """Each input by path and digest, and no other one of these kinds."""
    expected: dict[tuple[str, str], dict[str, str]] = {
        (one.path, one.kind): {} if one.kind == "external" else digests(one.digest) for one in wanted
    }
    mine = [one for one in rows if _at(one, "annotations", "kind") in kinds]
    found = {(str(one.get("name")), str(_at(one, "annotations", "kind"))): one.get("digest") or {} for one in mine}
    if found == expected and len(mine) != len(expected):
        twice = f"{len(mine)} inputs, some of them twice"
        return Check(name=name, state="failed", expected=counted(len(expected), "input"), found=twice)
    if found == expected:
        return Check(name=name, state="ok", detail=counted(len(expected), "input"))
    key = sorted(key for key in {*found, *expected} if found.get(key) != expected.get(key))[0]
    return Check(
        name=name,
        state="failed",
        expected=f"{key[0]} {expected.get(key, 'is no input')}"[:300],
        found=str(found.get(key, "nothing of it"))[:300],
    )


def _at(value: Any, *path: str) -> Any:
    """A value by keys; empty text where it is not there."""
    for key in path:
        value = value.get(key, "") if isinstance(value, dict) else ""
    return value


def _rows(value: Any, *path: str) -> list[dict[str, Any]]:
    found = _at(value, *path)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
