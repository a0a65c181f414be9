"""Signatures by Sigstore's own verifier: a good bundle passes, each single thing that is wrong is refused."""

from __future__ import annotations

import base64
import dataclasses
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st

from trackside.documents.release import Release
from trackside.errors import DataError, ToolError
from trackside.forge.attestations import FoundAttestation
from trackside.sandbox.signing import ROOT, Authority, Identity
from trackside.train.provenance import PREDICATE, STATEMENT
from trackside.trust.signatures import Attestation, Signer, Trust, any_verified, attested, in_files

WHEN = datetime(2026, 11, 21, 6, 0, tzinfo=UTC)
DIGEST = "sha256:" + "a" * 64
RUN = "0123456789ab"
SIGNER = Signer(repository="acme/flights", branch="main")
JOB = Identity(
    server="https://github.com",
    repository="acme/flights",
    path=".github/workflows/release.yml",
    ref="refs/heads/main",
    sha="c" * 40,
)
Bundle = dict[str, Any]


def said(digest: str = DIGEST, run: str = RUN, **changes: Any) -> bytes:
    made = {
        "_type": STATEMENT,
        "subject": [{"name": "model.bin", "digest": {"sha256": digest.removeprefix("sha256:")}}],
        "predicateType": PREDICATE,
        "predicate": {"buildDefinition": {"internalParameters": {"run": run}}},
    }
    return json.dumps({**made, **changes}).encode()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def trust(authority: Authority) -> Trust:
    return Trust(root=authority.folder / ROOT)


def judged(bundle: str | Bundle, trust: Trust, *, digest: str = DIGEST, signer: Signer = SIGNER) -> Attestation:
    text = bundle if isinstance(bundle, str) else json.dumps(bundle)
    made = any_verified([(text, "here")], digest, signer, trust, run=RUN)
    assert made is not None
    return made


def test_what_the_release_workflow_signed_is_believed(authority: Authority, trust: Trust) -> None:
    bundle = authority.sign(said(), JOB, WHEN)
    made = judged(bundle, trust)
    assert (made.signer, made.digest, made.url) == (JOB.signer, DIGEST, "here")
    assert made.statement["predicateType"] == PREDICATE
    again = Authority(authority.folder)  # keys and root are kept
    assert again.trusted_root() == authority.trusted_root()
    judged(again.sign(said(), JOB, WHEN), trust)
    bad = authority.sign(said(), dataclasses.replace(JOB, repository="mallory/flights"), WHEN)
    assert any_verified([(bad, "1"), (bundle, "2")], DIGEST, SIGNER, trust, run=RUN) is not None
    assert any_verified([("", "only an address")], DIGEST, SIGNER, trust, run=RUN) is None


SIGNED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "another repository": ({"repository": "mallory/flights"}, {}, "SANs do not match"),
    "another workflow": ({"path": ".github/workflows/train.yml"}, {}, "SANs do not match"),
    "another branch": ({"ref": "refs/heads/topic"}, {}, "SANs do not match"),
    "a pull request": ({"ref": "refs/pull/7/merge"}, {}, "SANs do not match"),
    "another server": ({"server": "https://ghe.example.org"}, {}, "SANs do not match"),
    "another issuer": ({"issuer": "https://accounts.example.org"}, {}, "policies succeeded"),
    "another model": ({}, {"digest": "sha256:" + "b" * 64}, "does not name"),
    "another run": ({}, {"run": "ba9876543210"}, "provenance of run"),
    "another predicate": ({}, {"predicateType": "https://example.org/x"}, "provenance of run"),
    "a predicate without a run": ({}, {"predicate": {"buildDefinition": []}}, "provenance of run"),
    "another kind of statement": ({}, {"_type": "https://in-toto.io/Statement/v0.1"}, "in-toto statement"),
    "subjects that are none": ({}, {"subject": [7, {"digest": 7}, {}]}, "does not name"),
}


@pytest.mark.parametrize("case", SIGNED)
def test_a_rightly_signed_bundle_of_something_else_is_refused(authority: Authority, trust: Trust, case: str) -> None:
    who, what, why = SIGNED[case]
    bundle = authority.sign(said(**what), dataclasses.replace(JOB, **who), WHEN)
    with pytest.raises(DataError, match="is verified") as caught:
        judged(bundle, trust)
    assert why in caught.value.why
    assert caught.value.reason_code == "attestation_invalid"


def entry(bundle: Bundle) -> dict[str, Any]:
    found: dict[str, Any] = bundle["verificationMaterial"]["tlogEntries"][0]
    return found


def flipped(text: str) -> str:
    data = bytearray(base64.b64decode(text))
    data[len(data) // 2] ^= 1
    return base64.b64encode(bytes(data)).decode()


def payload(bundle: Bundle) -> None:
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(said("sha256:" + "b" * 64)).decode()


def signature(bundle: Bundle) -> None:
    one = bundle["dsseEnvelope"]["signatures"][0]
    one["sig"] = flipped(one["sig"])


def payload_type(bundle: Bundle) -> None:
    bundle["dsseEnvelope"]["payloadType"] = "application/vnd.in-toto+xml"


def second_signature(bundle: Bundle) -> None:
    bundle["dsseEnvelope"]["signatures"] *= 2


def certificate(bundle: Bundle) -> None:
    held = bundle["verificationMaterial"]["certificate"]
    held["rawBytes"] = flipped(held["rawBytes"])


def time(bundle: Bundle) -> None:
    entry(bundle)["integratedTime"] = str(int(entry(bundle)["integratedTime"]) + 1)


def promise(bundle: Bundle) -> None:
    held = entry(bundle)["inclusionPromise"]
    held["signedEntryTimestamp"] = flipped(held["signedEntryTimestamp"])


def no_promise(bundle: Bundle) -> None:
    del entry(bundle)["inclusionPromise"]


def place(bundle: Bundle) -> None:
    entry(bundle)["inclusionProof"]["logIndex"] = "0"


def neighbour(bundle: Bundle) -> None:
    held = entry(bundle)["inclusionProof"]["hashes"]
    held[0] = flipped(held[0])


def head(bundle: Bundle) -> None:
    held = entry(bundle)["inclusionProof"]["checkpoint"]
    held["envelope"] = held["envelope"].replace("\n2\n", "\n3\n", 1)


def no_head(bundle: Bundle) -> None:
    del entry(bundle)["inclusionProof"]["checkpoint"]


def body(bundle: Bundle) -> None:
    entry(bundle)["canonicalizedBody"] = flipped(entry(bundle)["canonicalizedBody"])


def not_logged(bundle: Bundle) -> None:
    bundle["verificationMaterial"]["tlogEntries"] = []


def logged_twice(bundle: Bundle) -> None:
    bundle["verificationMaterial"]["tlogEntries"] *= 2


def another_kind(bundle: Bundle) -> None:
    entry(bundle)["kindVersion"] = {"kind": "intoto", "version": "0.0.1"}


def no_envelope(bundle: Bundle) -> None:
    del bundle["dsseEnvelope"]


def another_form(bundle: Bundle) -> None:
    bundle["mediaType"] = "application/vnd.dev.sigstore.bundle.v9+json"


CHANGES: tuple[Callable[[Bundle], None], ...] = (
    *(payload, signature, payload_type, second_signature, certificate, time, promise, no_promise, place, neighbour),
    *(head, no_head, body, not_logged, logged_twice, another_kind, no_envelope, another_form),
)


@pytest.mark.parametrize("change", CHANGES, ids=lambda one: one.__name__)
def test_each_tampered_part_is_refused(authority: Authority, trust: Trust, change: Callable[[Bundle], None]) -> None:
    bundle: Bundle = json.loads(authority.sign(said(), JOB, WHEN))
    judged(bundle, trust)
    change(bundle)
    with pytest.raises(DataError, match="is verified"):
        judged(bundle, trust)


def test_parts_of_another_bundle_are_refused(authority: Authority, trust: Trust) -> None:
    """Each part is genuine, but belongs to another signature of the same job."""
    refused = 0
    for part in ("certificate", "tlogEntries"):
        bundle: Bundle = json.loads(authority.sign(said(), JOB, WHEN))
        other: Bundle = json.loads(authority.sign(said(), JOB, WHEN))
        bundle["verificationMaterial"][part] = other["verificationMaterial"][part]
        with pytest.raises(DataError, match="is verified"):
            judged(bundle, trust)
        refused += 1
    bundle["dsseEnvelope"] = other["dsseEnvelope"]
    with pytest.raises(DataError, match="is verified"):
        judged({**json.loads(authority.sign(said(), JOB, WHEN)), "dsseEnvelope": other["dsseEnvelope"]}, trust)
    assert refused == 2


@pytest.mark.parametrize("key", ["ca_key", "ct_key", "log_key"])
def test_the_key_of_somebody_else_is_refused(tmp_path: Path, key: str) -> None:
    own = Authority(tmp_path)
    setattr(own, key, ec.generate_private_key(ec.SECP256R1()))
    with pytest.raises(DataError, match="is verified"):
        judged(own.sign(said(), JOB, WHEN), Trust(root=tmp_path / ROOT))


def test_a_certificate_is_believed_in_its_minutes_alone(authority: Authority, trust: Trust, tmp_path: Path) -> None:
    judged(authority.sign(said(), JOB, WHEN, logged=WHEN + timedelta(minutes=9)), trust)
    for logged in (WHEN + timedelta(minutes=11), WHEN - timedelta(minutes=1), WHEN + timedelta(days=400)):
        with pytest.raises(DataError, match="is verified"):
            judged(authority.sign(said(), JOB, WHEN, logged=logged), trust)
    with pytest.raises(DataError, match="is verified"):  # an authority that nobody named
        judged(Authority(tmp_path).sign(said(), JOB, WHEN), trust)


@pytest.mark.parametrize(
    "text", ["{", "[]", "7", '"x"', "{}", '{"verificationMaterial": []}', '{"verificationMaterial": {}}', "[" * 10_000]
)
def test_what_is_no_bundle_is_refused(trust: Trust, text: str) -> None:
    with pytest.raises(DataError, match="is verified"):
        judged(text, trust)


def test_what_cannot_be_judged_says_what_can(authority: Authority, trust: Trust, tmp_path: Path) -> None:
    private: Bundle = json.loads(authority.sign(said(), JOB, WHEN))
    private["verificationMaterial"] |= {"tlogEntries": [], "timestampVerificationData": {"rfc3161Timestamps": [{}]}}
    with pytest.raises(DataError) as caught:
        judged(private, trust)
    assert caught.value.reason_code == "attestation_unsupported"
    assert "gh attestation verify" in caught.value.remedy
    with pytest.raises(ToolError) as missing:
        judged(authority.sign(said(), JOB, WHEN), Trust(root=tmp_path / "none.json"))
    assert missing.value.reason_code == "trust_root_missing"
    assert "--trusted-root" in missing.value.remedy


def test_without_the_library_it_says_so(authority: Authority, trust: Trust, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("sigstore", "sigstore.models", "sigstore.verify"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ToolError) as caught:
        judged(authority.sign(said(), JOB, WHEN), trust)
    assert caught.value.reason_code == "sigstore_missing"
    assert "trackside-ml[verify]" in caught.value.remedy


class Kept:
    """What GitHub would list."""

    def __init__(self, *found: FoundAttestation) -> None:
        self.found, self.asked = found, list[str]()

    def attestations(self, digest: str) -> tuple[FoundAttestation, ...]:
        self.asked.append(digest)
        return self.found

    def default_branch(self) -> str:
        return "main"


def test_promotion_asks_for_the_models_attestation(authority: Authority, trust: Trust) -> None:
    release = Release(
        model="delay", version="1.0.0", tag="delay@v1.0.0", commit="c" * 40, run=RUN, state="published",
        model_digest=DIGEST,
    )  # fmt: skip
    good = FoundAttestation(bundle=authority.sign(said(), JOB, WHEN), url="https://x.example/1")
    kept = Kept(good)
    made = attested(kept, release, repository="acme/flights", trust=trust)
    assert made is not None
    assert (made.signer, made.url, kept.asked) == (JOB.signer, "https://x.example/1", [DIGEST])
    assert attested(Kept(), release, repository="acme/flights", trust=trust) is None
    with pytest.raises(DataError, match="is verified"):
        attested(Kept(good), release, repository="acme/other", trust=trust)
    with pytest.raises(DataError) as caught:
        attested(Kept(FoundAttestation(bundle="", url="https://x.example")), release, repository="a/b", trust=trust)
    assert caught.value.reason_code == "attestation_unsupported"


def test_bundles_of_files(authority: Authority, trust: Trust, tmp_path: Path) -> None:
    one, two = tmp_path / "one.sigstore.json", tmp_path / "two.jsonl"
    bundle = authority.sign(said(), JOB, WHEN)
    one.write_text(json.dumps(json.loads(bundle), indent=2))
    two.write_text(f"{{}}\n\n{bundle}\n")
    found = in_files([one, two])
    assert [name for _, name in found] == ["one.sigstore.json", "two.jsonl", "two.jsonl"]
    assert any_verified(found[1:], DIGEST, SIGNER, trust, run=RUN) is not None
    two.write_bytes(b"\xff")
    for bad in (two, tmp_path / "missing"):
        with pytest.raises(DataError, match="cannot be read"):
            in_files([bad])


def test_no_change_of_a_character_makes_it_say_something_else(authority: Authority, trust: Trust) -> None:
    """Some characters mean nothing (a base64 digit's last bits); none can turn it into another statement."""
    bundle = authority.sign(said(), JOB, WHEN)
    verifier_of, counts = trust.verifier(), {"refused": 0, "the same": 0}

    class Once(Trust):
        def verifier(self) -> Any:
            return verifier_of

    @settings(max_examples=250, deadline=None, database=None)
    @given(st.integers(0, len(bundle) - 1), st.characters(codec="ascii"))
    def change(at: int, char: str) -> None:
        try:
            made = judged(bundle[:at] + char + bundle[at + 1 :], Once(root=trust.root))
        except DataError:
            counts["refused"] += 1
        else:
            assert made.statement == json.loads(said())
            counts["the same"] += 1

    change()
    print(counts)
    assert sum(counts.values()) >= 200
    assert counts["refused"] > counts["the same"]
