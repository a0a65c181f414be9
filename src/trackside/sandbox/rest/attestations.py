"""Attestations: bundles kept by the digests of their subjects. As on GitHub, nothing is verified when one is stored."""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import Any

from trackside.sandbox.core import Core
from trackside.sandbox.problem import invalid, not_found
from trackside.sandbox.rest.route import Call, Reply, route
from trackside.sandbox.state import Doc

_R = "/repos/{owner}/{repo}/attestations"
_TYPES = {
    "provenance": "https://slsa.dev/provenance/",
    "sbom": ("https://spdx.dev/", "https://cyclonedx.org/"),
    "release": "https://in-toto.io/attestation/release/",
}
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@route("POST", _R, "attestations:write")
def create_attestation(call: Call) -> Reply:
    doc = kept(call.hub, call.repo, call.fields.get("bundle"), str(call.actor.get("login", "")))
    return Reply(status=201, body={"id": doc["id"]})


def kept(hub: Core, repo: str, bundle: Any, login: str) -> Doc:
    """Store a bundle. Raises Problem 422 for one without a statement."""
    statement = _statement(bundle)
    number = hub.state.next("id")
    doc: Doc = {
        "id": number,
        "bundle": bundle,
        "digests": [f"sha256:{one['digest']['sha256']}" for one in statement["subject"]],
        "predicate_type": str(statement.get("predicateType", "")),
        "initiator": login,
    }
    return hub.state.put("attestation", repo, number, doc)


@route("GET", _R + "/{subject_digest}", "attestations:read")
def list_attestations(call: Call) -> Reply:
    digest = call.params["subject_digest"]
    if not DIGEST.fullmatch(digest):
        raise invalid("Attestation", "subject_digest")
    wanted = call.query.get("predicate_type", "")
    kinds = _TYPES.get(wanted, wanted)
    docs = [
        doc
        for doc in reversed(call.hub.state.list("attestation", call.repo))
        if digest in doc["digests"] and (not kinds or doc["predicate_type"].startswith(kinds))
    ]
    if not docs:
        raise not_found()
    repository = call.hub.repo(call.repo)["id"]
    page = call.page(docs, lambda doc: _shown(doc, repository))
    return Reply(body={"attestations": page.body}, headers=page.headers)


def _shown(doc: Doc, repository: int) -> Doc:
    return {"bundle": doc["bundle"], "repository_id": repository, "initiator": doc["initiator"]}


def _statement(bundle: object) -> Doc:
    """The statement within a bundle. Raises Problem 422 for anything that names no subject by sha256."""
    try:
        envelope = bundle["dsseEnvelope"]  # type: ignore[index]
        statement = json.loads(base64.b64decode(envelope["payload"], validate=True))
        subjects = [one["digest"]["sha256"] for one in statement["subject"]]
    except (TypeError, KeyError, ValueError, binascii.Error) as error:
        raise invalid("Attestation", "bundle", message=f"it holds no statement: {error!r}"[:200]) from error
    if not subjects or not all(DIGEST.fullmatch(f"sha256:{one}") for one in subjects):
        raise invalid("Attestation", "bundle", message="its statement names no subject by sha256")
    return dict(statement)
