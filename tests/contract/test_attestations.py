"""Attestations over real HTTP: stored, found by digest, and signed by the sandbox as the job that asks."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests

from conftest import bot_forge
from sandbox_client import Api, add_run, refused
from trackside.documents.release import Release
from trackside.errors import DataError, Forbidden
from trackside.sandbox.attesting import authority
from trackside.sandbox.server import Sandbox
from trackside.sandbox.signing import ROOT
from trackside.train.provenance import PREDICATE, STATEMENT
from trackside.trust.signatures import Trust, attested

DIGEST, RUN = "sha256:" + "a" * 64, "0123456789ab"
HELD = {"attestations": "write", "id-token": "write"}
RELEASE = Release(
    model="delay", version="1.0.0", tag="delay@v1.0.0", commit="c" * 40, run=RUN, state="published", model_digest=DIGEST
)


def said(*digests: str, kind: str = PREDICATE) -> dict[str, Any]:
    return {
        "_type": STATEMENT,
        "subject": [{"name": "model.bin", "digest": {"sha256": one.removeprefix("sha256:")}} for one in digests],
        "predicateType": kind,
        "predicate": {"buildDefinition": {"internalParameters": {"run": RUN}}},
    }


def asked(
    sandbox: Sandbox, repo: str, statement: Any, held: dict[str, str] | None = None, **run: Any
) -> requests.Response:
    """What the stand-in of actions/attest does, with the token of a job of a run."""
    run = {"workflow_path": ".github/workflows/release.yml", "event": "push", "sha": "c" * 40} | run
    held = HELD if held is None else held
    token = sandbox.seed.job_token(repo, held, run_id=add_run(sandbox, repo, **run), job="attest")
    headers = {"Authorization": f"Bearer {token}"}
    body = statement if isinstance(statement, bytes) else json.dumps(statement).encode()
    return requests.post(f"{sandbox.url}/_sandbox/attest", data=body, headers=headers, timeout=20)


def test_what_a_job_signs_is_found_and_verified(sandbox: Sandbox, repo: str) -> None:
    with bot_forge(sandbox, repo, {"attestations": "read"}) as forge:
        assert forge.attestations(DIGEST) == ()
        made = asked(sandbox, repo, said(DIGEST, "sha256:" + "b" * 64)).json()
        assert made["signer"] == f"{sandbox.url}/{repo}/.github/workflows/release.yml@refs/heads/main"
        for digest in (DIGEST, "sha256:" + "b" * 64):
            (found,) = forge.attestations(digest)
            assert json.loads(found.bundle) == made["bundle"]
        assert forge.attestations("sha256:" + "c" * 64) == ()
        trust = Trust(root=authority(sandbox.state.root).folder / ROOT)
        good = attested(forge, RELEASE, repository=repo, server=sandbox.url, trust=trust)
        assert good is not None
        assert good.signer == made["signer"]


@pytest.mark.parametrize(
    "run",
    [
        {"workflow_path": ".github/workflows/train.yml"},
        {"ref": "refs/heads/topic"},
        {"ref": "refs/pull/7/merge", "event": "pull_request"},
    ],
)
def test_what_another_job_signs_is_not_believed(sandbox: Sandbox, repo: str, run: dict[str, str]) -> None:
    assert asked(sandbox, repo, said(DIGEST), **run).status_code == 200
    trust = Trust(root=authority(sandbox.state.root).folder / ROOT)
    with bot_forge(sandbox, repo, {"attestations": "read"}) as forge, pytest.raises(DataError, match="is verified"):
        attested(forge, RELEASE, repository=repo, server=sandbox.url, trust=trust)


def test_signing_needs_a_job_and_both_permissions(sandbox: Sandbox, repo: str) -> None:
    for held, words in (({"id-token": "write"}, "attestations"), ({"attestations": "write"}, "id-token"), ({}, "id-")):
        refused(asked(sandbox, repo, said(DIGEST), held), 403, words)
    for broken in (b"{", {}, said(), said("sha256:beef"), {"subject": 7}):
        refused(asked(sandbox, repo, broken), 422)
    url, body = f"{sandbox.url}/_sandbox/attest", json.dumps(said(DIGEST))
    refused(requests.post(url, data=body, timeout=20), 401)
    refused(requests.post(url, data=body, headers={"Authorization": "token token-ada"}, timeout=20), 403, "a job")
    assert sandbox.state.list("attestation", repo) == []


def test_bundles_are_stored_as_they_are(sandbox: Sandbox, repo: str) -> None:
    """GitHub verifies nothing when a bundle is stored; neither does the sandbox. Whoever reads it must."""
    signed = asked(sandbox, repo, said(DIGEST)).json()["bundle"]
    api = Api(sandbox, repo, sandbox.seed.job_token(repo, {"attestations": "write"}))
    forged = json.loads(json.dumps(signed))
    forged["verificationMaterial"]["tlogEntries"] = []
    assert api("POST", "/attestations", {"bundle": forged}).status_code == 201
    listed = api("GET", f"/attestations/{DIGEST}").json()["attestations"]
    assert [one["bundle"] for one in listed] == [forged, signed]
    assert len(api("GET", f"/attestations/{DIGEST}", per_page=1).json()["attestations"]) == 1
    assert len(api("GET", f"/attestations/{DIGEST}", predicate_type="provenance").json()["attestations"]) == 2
    refused(api("GET", f"/attestations/{DIGEST}", predicate_type="sbom"), 404)
    trust = Trust(root=authority(sandbox.state.root).folder / ROOT)
    with bot_forge(sandbox, repo, {"attestations": "read"}) as forge:
        assert attested(forge, RELEASE, repository=repo, server=sandbox.url, trust=trust) is not None  # one suffices
    refused(api("POST", "/attestations", {"bundle": {"dsseEnvelope": {"payload": "x"}}}), 422)
    refused(api("GET", "/attestations/sha256:beef"), 422)


def test_a_token_without_the_permission_is_told_which(sandbox: Sandbox, repo: str) -> None:
    refused(Api(sandbox, repo, sandbox.seed.job_token(repo, {}))("POST", "/attestations", {"bundle": {}}), 403)
    private = f"acme/p{sandbox.state.next('test')}"
    sandbox.hub.add_repo(private, private=True)
    with bot_forge(sandbox, private, {"contents": "read"}) as forge, pytest.raises(Forbidden) as caught:
        forge.attestations(DIGEST)
    assert "attestations: read" in caught.value.remedy
