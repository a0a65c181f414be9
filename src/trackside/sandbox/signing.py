"""The sandbox's own Sigstore: a certificate authority, a certificate log and a transparency log, all in one key folder.

What it signs is verified by Sigstore's own verifiers, but only against this sandbox's `trusted_root.json`: nobody else
believes it. Formats: RFC 6962 (timestamps of certificates, the log's tree), Fulcio's certificate extensions
(https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md), Rekor's `dsse` entries, Sigstore's bundle 0.3.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

ROOT = "trusted_root.json"
ISSUER = "https://token.actions.githubusercontent.com"
PAYLOAD_TYPE = "application/vnd.in-toto+json"

_SHA256 = ec.ECDSA(hashes.SHA256())
_FULCIO = "1.3.6.1.4.1.57264.1"
_SCT_LIST = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")
_PUBLIC = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
_LIFE = timedelta(minutes=10)
_ORIGIN = "log.sandbox"


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What GitHub's token says of a job. `server` is GitHub's address, `path` the workflow's file, `ref` a full ref."""

    server: str
    repository: str
    path: str
    ref: str
    sha: str
    event: str = "push"
    invocation: str = ""
    issuer: str = ISSUER

    @property
    def signer(self) -> str:
        return f"{self.server}/{self.repository}/{self.path}@{self.ref}"

    def extensions(self) -> dict[int, bytes]:
        """By the last number of Fulcio's object identifiers: the old ones plain, the newer ones as DER strings."""
        old = {1: self.issuer, 2: self.event, 3: self.sha, 5: self.repository, 6: self.ref}
        new = {
            **{8: self.issuer, 9: self.signer, 10: self.sha, 11: "github-hosted"},
            **{12: f"{self.server}/{self.repository}", 13: self.sha, 14: self.ref},
            **{16: f"{self.server}/{self.repository.partition('/')[0]}", 18: self.signer, 19: self.sha, 20: self.event},
            **({21: self.invocation} if self.invocation else {}),
        }
        return {key: text.encode() for key, text in old.items()} | {key: _utf8(text) for key, text in new.items()}


class Authority:
    """Signs statements as a job.

    Args:
        folder: where the keys and `trusted_root.json` are kept; made at first.
        began: from when the root holds.
    """

    def __init__(self, folder: Path, began: datetime = datetime(2020, 1, 1, tzinfo=UTC)) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.began = folder, began
        self.ca_key, self.ct_key, self.log_key = (self._key(name) for name in ("ca", "ct", "log"))
        self.root = self._certificate()
        self._write(ROOT, json.dumps(self.trusted_root(), indent=1).encode())

    def sign(self, statement: bytes, identity: Identity, when: datetime, *, logged: datetime | None = None) -> str:
        """A bundle of a statement, signed at `when` by a key that is used once and entered in the log (`logged`)."""
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = self._leaf(key.public_key(), identity, when)
        signature = key.sign(_encoded(statement), _SHA256)
        envelope = {
            "payload": _b64(statement),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": _b64(signature)}],
        }
        entry = self._entry(statement, envelope, leaf, signature, logged or when)
        return json.dumps(
            {
                "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
                "verificationMaterial": {
                    "certificate": {"rawBytes": _b64(leaf.public_bytes(serialization.Encoding.DER))},
                    "tlogEntries": [entry],
                },
                "dsseEnvelope": envelope,
            }
        )

    def trusted_root(self) -> dict[str, Any]:
        """What a verifier needs to know of this authority."""
        start = {"start": self.began.strftime("%Y-%m-%dT%H:%M:%SZ")}
        chain = {"certificates": [{"rawBytes": _b64(self.root.public_bytes(serialization.Encoding.DER))}]}
        ca = {
            "subject": {"organization": "sandbox", "commonName": "sandbox"},
            "uri": "https://ca.sandbox",
            "certChain": chain,
            "validFor": start,
        }
        return {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [_instance(self.log_key, "https://log.sandbox", start)],
            "certificateAuthorities": [ca],
            "ctlogs": [_instance(self.ct_key, "https://ct.sandbox", start)],
        }

    def _key(self, name: str) -> ec.EllipticCurvePrivateKey:
        path = self.folder / f"{name}.pem"
        if path.exists():
            found = serialization.load_pem_private_key(path.read_bytes(), None)
            if isinstance(found, ec.EllipticCurvePrivateKey):
                return found
        made = ec.generate_private_key(ec.SECP256R1())
        none = serialization.NoEncryption()
        self._write(path.name, made.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, none))
        return made

    def _write(self, name: str, data: bytes) -> None:
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_bytes(data)

    def _certificate(self) -> x509.Certificate:
        """The root; its signature differs each time it is made, so it is kept."""
        path = self.folder / "ca.crt"
        if path.exists():
            return x509.load_pem_x509_certificate(path.read_bytes())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sandbox")])
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self.ca_key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(self.began)
            .not_valid_after(self.began + timedelta(days=36500))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.ca_key.public_key()), critical=False)
            .sign(self.ca_key, hashes.SHA256())
        )
        self._write(path.name, made.public_bytes(serialization.Encoding.PEM))
        return made

    def _leaf(self, key: ec.EllipticCurvePublicKey, identity: Identity, when: datetime) -> x509.Certificate:
        """A certificate for minutes, with the certificate log's timestamp over itself without that timestamp."""
        issuer = self.ca_key.public_key()
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self.root.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(when - timedelta(seconds=1))
            .not_valid_after(when + _LIFE)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer), critical=False)
            .add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity.signer)]), critical=True
            )
        )
        for number, value in identity.extensions().items():
            known = x509.UnrecognizedExtension(x509.ObjectIdentifier(f"{_FULCIO}.{number}"), value)
            builder = builder.add_extension(known, critical=False)
        bare = builder.sign(self.ca_key, hashes.SHA256())
        listed = self._timestamps(bare.tbs_certificate_bytes, when)
        return builder.add_extension(x509.UnrecognizedExtension(_SCT_LIST, listed), critical=False).sign(
            self.ca_key, hashes.SHA256()
        )

    def _timestamps(self, tbs: bytes, when: datetime) -> bytes:
        """RFC 6962, 3.2 and 3.3: the list with one signed timestamp, as the extension's value."""
        stamp = struct.pack("!Q", int(when.timestamp() * 1000))
        issuer = hashlib.sha256(self.ca_key.public_key().public_bytes(*_PUBLIC)).digest()
        signed = b"\0\0" + stamp + b"\0\1" + issuer + len(tbs).to_bytes(3, "big") + tbs + b"\0\0"
        signature = self.ct_key.sign(signed, _SHA256)
        one = b"\0" + _key_id(self.ct_key) + stamp + b"\0\0" + b"\4\3" + _sized(signature)
        return _der(0x04, _sized(_sized(one)))

    def _entry(
        self, statement: bytes, envelope: Any, leaf: x509.Certificate, signature: bytes, when: datetime
    ) -> dict[str, Any]:
        """The log's entry: inclusion in a tree of two leaves, the signed head of the tree, and the log's promise."""
        verifier = _b64(leaf.public_bytes(serialization.Encoding.PEM))
        spec = {
            "envelopeHash": {"algorithm": "sha256", "value": _hex(json.dumps(envelope).encode())},
            "payloadHash": {"algorithm": "sha256", "value": _hex(statement)},
            "signatures": [{"signature": _b64(signature), "verifier": verifier}],
        }
        body = _canonical({"apiVersion": "0.0.1", "kind": "dsse", "spec": spec})
        log, seconds = _key_id(self.log_key), int(when.timestamp())
        promise = {"body": _b64(body), "integratedTime": seconds, "logID": log.hex(), "logIndex": 1}
        other = hashlib.sha256(b"\0the log's first entry").digest()
        root = hashlib.sha256(b"\1" + other + hashlib.sha256(b"\0" + body).digest()).digest()
        note = f"{_ORIGIN}\n2\n{_b64(root)}\n"
        signed = _b64(log[:4] + self.log_key.sign(note.encode(), _SHA256))
        return {
            "logIndex": "1",
            "logId": {"keyId": _b64(log)},
            "kindVersion": {"kind": "dsse", "version": "0.0.1"},
            "integratedTime": str(seconds),
            "inclusionPromise": {"signedEntryTimestamp": _b64(self.log_key.sign(_canonical(promise), _SHA256))},
            "inclusionProof": {
                "logIndex": "1",
                "rootHash": _b64(root),
                "treeSize": "2",
                "hashes": [_b64(other)],
                "checkpoint": {"envelope": f"{note}\n\N{EM DASH} {_ORIGIN} {signed}\n"},
            },
            "canonicalizedBody": _b64(body),
        }


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _instance(key: ec.EllipticCurvePrivateKey, url: str, valid: Any) -> dict[str, Any]:
    public = {
        "rawBytes": _b64(key.public_key().public_bytes(*_PUBLIC)),
        "keyDetails": "PKIX_ECDSA_P256_SHA_256",
        "validFor": valid,
    }
    return {
        "baseUrl": url,
        "hashAlgorithm": "SHA2_256",
        "publicKey": public,
        "logId": {"keyId": _b64(_key_id(key))},
    }


def _key_id(key: ec.EllipticCurvePrivateKey) -> bytes:
    return hashlib.sha256(key.public_key().public_bytes(*_PUBLIC)).digest()


def _encoded(payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding."""
    return b"DSSEv1 %d %b %d %b" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)


def _canonical(value: Any) -> bytes:
    """RFC 8785 for what is written here: ASCII keys and texts, whole numbers."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _sized(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


def _utf8(text: str) -> bytes:
    return _der(0x0C, text.encode())


def _der(tag: int, data: bytes) -> bytes:
    size = len(data)
    if size < 0x80:
        return bytes([tag, size]) + data
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + data


def _hex(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()
