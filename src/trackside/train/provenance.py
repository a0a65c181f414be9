"""A run as an in-toto Statement v1 with SLSA provenance v1, so that existing tools can sign and verify it.

It binds the model's digest to the run (its id, and the digest of its record), the commit, the digests of data, code and
lock files, and the job that trained. Meaning of each field: docs/provenance.md.

Fields: https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md and https://slsa.dev/spec/v1.0/provenance
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from trackside.documents.codec import dump
from trackside.documents.run import Artifact, Dependency, Run
from trackside.errors import DataError

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "https://github.com/trackside-ml/trackside/blob/main/docs/provenance.md#training-v1"
BUILDER = "https://github.com/trackside-ml/trackside"


def statement(run: Run, *, server: str = "https://github.com") -> dict[str, Any]:
    """The statement: subjects are the artifacts, resolved dependencies all that went in.

    Raises:
        DataError: the run did not succeed, or has no artifact with a sha256.
    """
    subjects = [_subject(artifact) for artifact in run.artifacts if artifact.digest.startswith("sha256:")]
    if run.status != "succeeded" or not subjects:
        raise DataError(f"run {run.id} {run.status}: only what a run made can be attested")
    return {
        "_type": STATEMENT,
        "subject": subjects,
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "repository": run.source.repository,
                    "ref": run.source.branch,
                    "model": run.model,
                    "overrides": run.overrides,
                },
                "internalParameters": {
                    "run": run.id,
                    **({"restoredFrom": run.restored_from} if run.restored_from else {}),
                    "params": run.params,
                    "seeds": run.seeds,
                    "inputDigest": run.input_digest,
                    "stages": [{"name": one.name, "command": one.command} for one in run.stages],
                },
                "resolvedDependencies": [_source(run, server), *(_dependency(one) for one in run.dependencies)],
            },
            "runDetails": {
                "builder": {
                    "id": BUILDER + (f"/runner/{run.trigger.event}" if run.trigger.workflow_run_id else "/local"),
                    "version": {"trackside": run.trackside, **run.environment.tools, "python": run.environment.python},
                },
                "metadata": {
                    "invocationId": _invocation(run),
                    "startedOn": run.started_at,
                    "finishedOn": run.finished_at,
                },
                "byproducts": [_record(run)],
            },
        },
    }


def subjects(statement: Mapping[str, Any]) -> frozenset[str]:
    """The sha256 digests that a statement is about; whatever is malformed counts as absent."""
    rows = statement.get("subject")
    digests = (one.get("digest") for one in rows if isinstance(one, dict)) if isinstance(rows, list) else ()
    return frozenset(f"sha256:{one.get('sha256')}" for one in digests if isinstance(one, dict))


def _subject(artifact: Artifact) -> dict[str, Any]:
    return {"name": artifact.path, "digest": digests(artifact.digest, artifact.dvc_digest)}


def digests(*digests: str) -> dict[str, str]:
    """Digests by algorithm. DVC's listing digests and digests of names get a name of their own: they are no file's."""
    made: dict[str, str] = {}
    for digest in digests:
        algorithm, _, value = digest.partition(":")
        if algorithm == "md5" and value.endswith(".dir"):
            made["dvcDirMd5"] = value.removesuffix(".dir")
        elif value:
            made[algorithm] = value
    return made


def _source(run: Run, server: str) -> dict[str, Any]:
    uri = f"git+{server}/{run.source.repository}" if run.source.repository else "git+file:"
    made = {"name": "source", "uri": f"{uri}@{run.source.commit}", "digest": {"gitCommit": run.source.commit}}
    return {**made, "annotations": {"dirty": True}} if run.source.dirty else made


def _dependency(dependency: Dependency) -> dict[str, Any]:
    made: dict[str, Any] = {"name": dependency.path, "annotations": {"kind": dependency.kind}}
    if dependency.kind == "external":  # the digest is of its name: what it held is not known
        return {**made, "uri": dependency.path}
    return {**made, "digest": digests(dependency.digest)}


def _invocation(run: Run) -> str:
    if not run.trigger.workflow_run_id:
        return run.id
    return f"{run.trigger.url or run.trigger.workflow_run_id}/attempts/{run.trigger.attempt or 1}"


def _record(run: Run) -> dict[str, Any]:
    """The run document as a release ships it: it holds all else that was recorded."""
    return {
        "name": "run.json",
        "mediaType": "application/json",
        "digest": {"sha256": hashlib.sha256(dump(run)).hexdigest()},
        "annotations": _environment(run),
    }


def _environment(run: Run) -> dict[str, Any]:
    machine = run.hardware
    return {
        "os": run.environment.os,
        "containerImage": run.environment.container_image,
        "lockDigest": run.environment.lock_digest,
        "packagesDigest": run.environment.packages_digest,
        "gpus": [gpu.name for gpu in machine.gpus],
        "driver": machine.driver,
        "cuda": machine.cuda,
    }
