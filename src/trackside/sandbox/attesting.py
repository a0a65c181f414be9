"""What GitHub's token service, Sigstore and the attestation store are to a job, in one: only `actions/attest` asks."""

from __future__ import annotations

import json
from pathlib import Path

from trackside.sandbox.access import held
from trackside.sandbox.core import Core
from trackside.sandbox.problem import Problem, invalid
from trackside.sandbox.rest.attestations import kept
from trackside.sandbox.signing import Authority, Identity
from trackside.sandbox.state import Doc

FOLDER = "signing"
"""Below the state folder: the keys, and the `trusted_root.json` that verifiers need."""

NEEDED = ("id_token", "attestations")


def authority(root: Path) -> Authority:
    """The sandbox's own authority, made when first asked for."""
    return Authority(root / FOLDER)


def attest(hub: Core, token: Doc | None, statement: bytes) -> Doc:
    """Sign a statement as the job that a token belongs to, and keep it: `id`, `signer` and `bundle`.

    Raises:
        Problem: 401 without a token, 403 for one that is no job's or lacks a permission, 422 for no statement.
    """
    if token is None:
        raise Problem(401, "Requires authentication")
    run = hub.state.get("run", token["repo"], token.get("run_id") or 0) if token["kind"] == "workflow" else None
    if run is None:
        raise Problem(403, "Only a job of a workflow can attest")
    for permission in NEEDED:
        if not held(token, permission, "write"):
            name = permission.replace("_", "-")
            raise Problem(403, f'missing "{name}" permission. Please add "permissions: {name}: write"')
    identity = Identity(
        server=hub.url,
        repository=token["repo"],
        path=run["workflow_path"],
        ref=run["ref"],
        sha=run["sha"],
        event=run["event"],
        invocation=f"{hub.url}/{token['repo']}/actions/runs/{run['id']}/attempts/{run['attempt']}",
    )
    try:
        json.loads(statement)
    except ValueError as error:
        raise invalid("Attestation", "statement") from error
    with hub.lock:
        signed = authority(hub.state.root).sign(statement, identity, hub.clock.now())
    doc = kept(hub, token["repo"], json.loads(signed), str(token.get("login", "")))
    return {"id": doc["id"], "signer": identity.signer, "bundle": doc["bundle"]}
