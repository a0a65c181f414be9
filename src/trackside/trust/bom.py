"""The bill of materials of a version: CycloneDX 1.6 with a model card, as its release carries it.

Written as plain JSON: the same facts give the same bytes with whatever libraries are installed.
Fields: https://cyclonedx.org/docs/1.6/json/
"""

from __future__ import annotations

import hashlib
import re
import uuid
from typing import Any
from urllib.parse import quote

import msgspec

from trackside.config.model import Card, Model
from trackside.documents.release import Release
from trackside.documents.run import Dependency, Interval, Run, SliceRow
from trackside.errors import DataError

NAME = "mlbom.cdx.json"
MEDIA_TYPE = "application/vnd.cyclonedx+json"

_HASHES = {"md5": ("MD5", 32), "sha256": ("SHA-256", 64)}
_PINNED = re.compile(r"(?m)^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]\s]*\])?==([^\s;\\#]+)")
_SHA256 = re.compile(r"sha256:[0-9a-f]{64}")
_SPDX = (
    *("Apache-2.0", "MIT", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MPL-2.0", "Unlicense", "CC0-1.0", "CC-BY-4.0"),
    *("CC-BY-SA-4.0", "CC-BY-NC-4.0", "GPL-2.0-only", "GPL-3.0-only", "GPL-3.0-or-later", "LGPL-3.0-only"),
    *("AGPL-3.0-only", "AGPL-3.0-or-later", "EUPL-1.2"),
)


def bom(release: Release, run: Run, policy: Model, *, web_url: str, statement: bytes, lock: str = "") -> bytes:
    """The document: model, data and packages, with digests; stable bytes.

    Args:
        policy: the model's part of the configuration at the released commit.
        web_url: the repository's page.
        statement: `provenance.intoto.json` as it is released.
        lock: texts of the pip requirements that the run was trained with, joined; empty where it had none.

    Raises:
        DataError: the run recorded no model with a sha256.
    """
    model = next((one for one in run.artifacts if one.role == "model"), None)
    if model is None or not _SHA256.fullmatch(model.digest):
        raise DataError(f"run {run.id} recorded no model file", link="provenance.md", reason_code="model_missing")
    ref = f"model:{release.tag}"
    data = [_data(one) for one in run.dependencies if one.kind in ("data", "external")]
    packages = [_package(name, version) for name, version in pinned(lock)]
    component: dict[str, Any] = {
        "type": "machine-learning-model",
        "bom-ref": ref,
        "name": release.model,
        "version": release.version,
        **({"description": policy.card.description} if policy.card.description else {}),
        "hashes": _hashes(model.digest, "" if model.dvc_digest.endswith(".dir") else model.dvc_digest),
        **_licenses(policy.card),
        "pedigree": _pedigree(release, run, web_url),
        "externalReferences": _references(release, run, web_url, statement),
        "modelCard": _card(run, policy, [one["bom-ref"] for one in data]),
        "properties": _properties(
            {
                "trackside:tag": release.tag,
                "trackside:run": run.id,
                "trackside:input-digest": run.input_digest,
                "trackside:path": model.path,
                "trackside:dvc-digest": model.dvc_digest,
                "trackside:lock-digest": run.environment.lock_digest,
                "trackside:python": run.environment.python,
            }
        ),
        **({"tags": list(policy.card.tags)} if policy.card.tags else {}),
    }
    parts = sorted([*data, *packages], key=lambda one: str(one["bom-ref"]))
    seed = f"{web_url} {release.tag} {hashlib.sha256(statement).hexdigest()}"
    made = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, seed)}",
        "version": 1,
        "metadata": {
            "timestamp": release.created_at or run.finished_at,
            "lifecycles": [{"phase": "post-build"}],
            "tools": {"components": [{"type": "application", "name": "trackside"}]},
            "component": component,
        },
        "components": parts,
        "dependencies": [{"ref": ref, "dependsOn": [one["bom-ref"] for one in parts]}],
    }
    return msgspec.json.format(msgspec.json.encode(made, order="sorted"), indent=2) + b"\n"


def pinned(lock: str) -> list[tuple[str, str]]:
    """Packages that a requirements file pins, by normal name; a package pinned twice (by markers) counts as each."""
    return sorted({(re.sub(r"[-_.]+", "-", name).lower(), version) for name, version in _PINNED.findall(lock)})


def _package(name: str, version: str) -> dict[str, Any]:
    purl = f"pkg:pypi/{name}@{quote(version, safe='.-_~')}"
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def _data(one: Dependency) -> dict[str, Any]:
    """A data set. The digest of a folder is over DVC's listing and that of an external one over its name: no hashes."""
    whole = one.kind == "data" and not one.digest.endswith(".dir")
    hashes = _hashes(one.digest) if whole else []
    return {
        "type": "data",
        "bom-ref": f"{one.kind}:{one.path}",
        "name": one.path,
        **({"hashes": hashes} if hashes else {}),
        "data": [{"type": "dataset", "name": one.path}],
        "properties": _properties(
            {
                "trackside:digest": one.digest,
                "trackside:size": "" if one.size is None else str(one.size),
                "trackside:files": "" if one.files is None else str(one.files),
            }
        ),
    }


def _hashes(*digests: str) -> list[dict[str, str]]:
    made = []
    for digest in digests:
        algorithm, _, value = digest.partition(":")
        name, length = _HASHES.get(algorithm, ("", 0))
        if name and re.fullmatch(rf"[0-9a-f]{{{length}}}", value):
            made.append({"alg": name, "content": value})
    return made


def _licenses(card: Card) -> dict[str, Any]:
    if not card.license:
        return {}
    known = next((one for one in _SPDX if one.casefold() == card.license.casefold()), "")
    return {"licenses": [{"license": {"id": known} if known else {"name": card.license}}]}


def _pedigree(release: Release, run: Run, web_url: str) -> dict[str, Any]:
    commits = list(dict.fromkeys(one for one in (run.source.commit, release.commit) if one))
    return {
        "commits": [{"uid": one, "url": f"{web_url}/commit/{one}"} for one in commits],
        "notes": f"Trained at {run.source.commit} by run {run.id}; released for {release.commit}, "
        "whose inputs have the same digest.",
    }


def _references(release: Release, run: Run, web_url: str, statement: bytes) -> list[dict[str, Any]]:
    page = f"{web_url}/releases/tag/{quote(release.tag, safe='')}"
    files = f"{web_url}/releases/download/{quote(release.tag, safe='')}"
    digest = hashlib.sha256(statement).hexdigest()
    made: list[dict[str, Any]] = [
        {"type": "vcs", "url": web_url},
        {"type": "distribution", "url": page},
        {"type": "model-card", "url": f"{files}/README.md"},
        {
            "type": "attestation",
            "url": f"{files}/provenance.intoto.json",
            "hashes": [{"alg": "SHA-256", "content": digest}],
        },
    ]
    if run.trigger.url.startswith(("https://", "http://")):
        made.append({"type": "build-meta", "url": quote(run.trigger.url, safe=":/?#[]@!$&'()*+,;=%~")})
    return made


def _card(run: Run, policy: Model, data: list[str]) -> dict[str, Any]:
    said = policy.card
    parameters: dict[str, Any] = {"datasets": [{"ref": one} for one in data]} if data else {}
    if said.task:
        parameters["task"] = said.task
    if said.architecture:
        parameters["modelArchitecture"] = said.architecture
    considerations: dict[str, Any] = {}
    if said.intended_use:
        considerations["useCases"] = [said.intended_use]
    if said.limitations:
        considerations["technicalLimitations"] = [said.limitations]
    values = {**run.params, **{f"seed:{name}": seed for name, seed in run.seeds.items()}}
    made: dict[str, Any] = {
        "modelParameters": parameters,
        "quantitativeAnalysis": {"performanceMetrics": _metrics(run)},
        "considerations": considerations,
        "properties": _properties({f"trackside:param:{key}": _text(value) for key, value in sorted(values.items())}),
    }
    return {key: value for key, value in made.items() if value}


def _metrics(run: Run) -> list[dict[str, Any]]:
    """Values of this run; then differences to its baseline, whose intervals are those of the difference."""
    made = [{"type": one.name, "value": _text(one.value)} for one in run.metrics if one.value is not None]
    if run.comparison is None:
        return made
    for one in run.comparison.metrics:
        made += _difference(one, run.comparison.baseline_run)
    for row in run.comparison.slices:
        part = f"{row.column}={row.value}"
        if row.current is not None:
            made.append({"type": row.metric, "value": _text(row.current), "slice": part})
        made += [{**one, "slice": part} for one in _difference(row, run.comparison.baseline_run)]
    return made


def _difference(one: Interval | SliceRow, baseline: str) -> list[dict[str, Any]]:
    if one.delta is None:
        return []
    made: dict[str, Any] = {"type": f"{one.metric} (difference to run {baseline})", "value": _text(one.delta)}
    if one.low is not None and one.high is not None:
        made["confidenceInterval"] = {"lowerBound": _text(one.low), "upperBound": _text(one.high)}
    return [made]


def _properties(values: dict[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in values.items() if value]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value, order="sorted").decode()


def speaks_of(content: bytes, release: Release, statement_digest: str) -> tuple[str, str] | None:
    """What a bill of materials should say of a release and says otherwise (expected, found); None: it is of it."""
    try:
        root = msgspec.json.decode(content)["metadata"]["component"]
        hashes = {one["alg"]: one["content"] for one in root["hashes"]}
        said = {one["name"]: one["value"] for one in root["properties"]}
        linked = [one["hashes"] for one in root["externalReferences"] if one["type"] == "attestation"]
        found = {
            "name": root["name"],
            "version": root["version"],
            "model": f"sha256:{hashes.get('SHA-256')}",
            "run": said.get("trackside:run"),
            "tag": said.get("trackside:tag"),
            "commit": root["pedigree"]["commits"][-1]["uid"],
            "statement": f"sha256:{linked[0][0]['content']}",
        }
    except (msgspec.DecodeError, UnicodeDecodeError, LookupError, TypeError, AttributeError, RecursionError) as error:
        return "a bill of materials", f"it cannot be read: {error!r}"[:200]
    wanted = {
        "name": release.model,
        "version": release.version,
        "model": release.model_digest,
        "run": release.run,
        "tag": release.tag,
        "commit": release.commit,
        "statement": statement_digest,
    }
    wrong = next((key for key, value in wanted.items() if found[key] != value), "")
    return (f"{wrong} {wanted[wrong]}", f"{wrong} {found[wrong]}"[:200]) if wrong else None
