"""Who signed a version: Sigstore bundles, verified by Sigstore's own library against what may have signed.

Who may: the repository's release workflow on its default branch, as GitHub's token service says. A bundle counts when
its certificate, its entry in the transparency log, its signature and its signer are right and its statement names the
digest.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from trackside.documents.release import Release
from trackside.errors import DataError, ToolError
from trackside.train.provenance import PREDICATE, STATEMENT, subjects

if TYPE_CHECKING:
    from sigstore.verify import Verifier

    from trackside.forge.attestations import FoundAttestation

ISSUER = "https://token.actions.githubusercontent.com"
MAX_BUNDLE = 16 * 1024 * 1024
"""Bytes of a bundle; a larger one is refused unread."""
MOST_BUNDLES = 100

LINK = "provenance.md#signatures"
_PAYLOAD = "application/vnd.in-toto+json"


class Reader(Protocol):
    """Where attestations are kept."""

    def attestations(self, digest: str) -> tuple[FoundAttestation, ...]: ...
    def default_branch(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Signer:
    """Who must have signed: a workflow file of a repository, on a branch."""

    repository: str
    branch: str
    server: str = "https://github.com"
    workflow: str = "release.yml"

    @property
    def identity(self) -> str:
        return f"{self.source}/.github/workflows/{self.workflow}@{self.ref}"

    @property
    def source(self) -> str:
        return f"{self.server}/{self.repository}"

    @property
    def ref(self) -> str:
        return f"refs/heads/{self.branch}"


@dataclass(frozen=True, kw_only=True)
class Attestation:
    """A statement whose signature was verified. `signer` is the workflow, `digest` what was asked for."""

    signer: str
    digest: str
    url: str = ""
    statement: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Trust:
    """Whose certificates and logs are believed: a `trusted_root.json`, else Sigstore's public one.

    `offline` takes the public one as the library brought it or last saw it, instead of asking for a newer one.
    """

    root: Path | None = None
    offline: bool = False

    def verifier(self) -> Verifier:
        """Raises ToolError: the library is not installed, or there is no root to be had."""
        try:
            from sigstore.models import TrustedRoot
            from sigstore.verify import Verifier
        except ImportError as error:
            raise ToolError(
                "signatures cannot be verified here: sigstore is not installed",
                why=str(error),
                remedy="pip install 'trackside-ml[verify]'",
                link=LINK,
                reason_code="sigstore_missing",
            ) from error
        try:
            if self.root is not None:
                return Verifier(trusted_root=TrustedRoot.from_file(str(self.root)))
            return Verifier.production(offline=self.offline)
        except Exception as error:  # whatever the network or a file can do to it
            raise ToolError(
                "there is no trust root to verify signatures with",
                why=f"{type(error).__name__}: {error}"[:300],
                remedy="--trusted-root FILE names one; --offline takes the one that sigstore brings along",
                link=LINK,
                reason_code="trust_root_missing",
            ) from error


def verified(bundle: str, digest: str, signer: Signer, verifier: Verifier, *, url: str = "") -> Attestation:
    """A bundle, verified.

    Args:
        bundle: JSON of a Sigstore bundle.
        digest: `sha256:<64 hex>` that its statement must name.

    Raises:
        DataError: anything is wrong with it (`attestation_invalid`), or it is of a kind that this cannot judge
            (`attestation_unsupported`).
    """
    if len(bundle) > MAX_BUNDLE:
        raise _invalid(f"the bundle has {len(bundle):,} bytes")
    _supported(bundle)
    from sigstore.errors import Error
    from sigstore.models import Bundle

    try:
        kind, payload = verifier.verify_dsse(Bundle.from_json(bundle), _policy(signer))
        statement = json.loads(payload)
    except Error as error:
        raise _invalid(str(error)) from error
    except Exception as error:  # hostile bundles fail in the parsers below it in many ways, all of them refusals
        raise _invalid(f"{type(error).__name__}: {error}") from error
    if kind != _PAYLOAD or not isinstance(statement, dict) or statement.get("_type") != STATEMENT:
        raise _invalid("it signs something else than an in-toto statement")
    if digest not in subjects(statement):
        raise _invalid(f"its statement does not name {digest}")
    return Attestation(signer=signer.identity, digest=digest, url=url, statement=statement)


def any_verified(
    bundles: Iterable[tuple[str, str]],
    digest: str,
    signer: Signer,
    trust: Trust,
    *,
    run: str,
    judge: Callable[[Attestation], str] = lambda _: "",
) -> Attestation | None:
    """The first of bundles (JSON, address) that is verified and attests what a run made; None where there are none.

    Args:
        judge: says why one does not count all the same; empty where it does.

    Raises:
        DataError: there are some and none counts: the reasons of the first ones.
        ToolError: see `Trust.verifier`.
    """
    found = [one for one in bundles if one[0]][:MOST_BUNDLES]
    if not found:
        return None
    verifier = trust.verifier()
    errors: list[DataError] = []
    for text, url in found:
        try:
            made = verified(text, digest, signer, verifier, url=url)
            _of_run(made.statement, run)
            why = judge(made)
            if not why:
                return made
            errors.append(_invalid(why))
        except DataError as error:
            errors.append(error)
    codes = {one.reason_code for one in errors}
    raise DataError(
        f"none of {len(errors)} attestations of {digest[:19]}… is verified",
        why="; ".join(dict.fromkeys(one.why for one in errors[:3])),
        remedy=next((one.remedy for one in errors if one.remedy), ""),
        link=LINK,
        reason_code=codes.pop() if len(codes) == 1 else "attestation_invalid",
    )


def attested(
    reader: Reader,
    release: Release,
    *,
    repository: str,
    server: str = "https://github.com",
    workflow: str = "release.yml",
    trust: Trust | None = None,
    statement: bytes | None = None,
) -> Attestation | None:
    """The verified attestation of a release's model that GitHub keeps; None where it keeps none.

    Args:
        statement: the released one, whose predicate must be what was signed, together with every file of the release.

    Raises:
        DataError: there are attestations, and none is verified for this run and repository.
        ToolError: sigstore is missing, or its trust root.
        ForgeError: GitHub failed.
    """
    found = reader.attestations(release.model_digest)
    if not found:
        return None
    signer = Signer(repository=repository, branch=reader.default_branch(), server=server, workflow=workflow)
    bundles = [(one.bundle, one.url) for one in found]

    def judge(found: Attestation) -> str:
        return "" if statement is None else foreign(found, statement) or unsigned(found, release)

    made = any_verified(bundles, release.model_digest, signer, trust or Trust(), run=release.run, judge=judge)
    if made is None:
        raise DataError(
            f"GitHub lists {len(found)} attestations of {release.tag} without their contents",
            remedy="gh attestation download FILE --repo OWNER/NAME, then: trackside models verify … --bundle FILE",
            link=LINK,
            reason_code="attestation_unsupported",
        )
    return made


def foreign(made: Attestation, statement: bytes) -> str:
    """Why an attestation is not of a released statement: empty where it signs the very same predicate."""
    try:
        said = json.loads(statement)["predicate"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return "the released statement cannot be read"
    return "" if said == made.statement.get("predicate") else "another predicate is signed than that of the statement"


def unsigned(made: Attestation, release: Release) -> str:
    """Which recorded files an attestation does not name; empty where it names all."""
    signed = subjects(made.statement)
    names = [one.name for one in release.assets if one.digest not in signed]
    return f"{', '.join(names)[:200]} is not among what was signed" if names else ""


def in_files(paths: Iterable[Path]) -> list[tuple[str, str]]:
    """Bundles of files: JSON, or one a line. Raises DataError for a file that cannot be read or is too large."""
    made = []
    for path in paths:
        try:
            if path.stat().st_size > MAX_BUNDLE:
                raise DataError(f"{path.name} is too large for a bundle", link=LINK, reason_code="attestation_invalid")
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(
                f"{path.name} cannot be read", why=str(error), link=LINK, reason_code="attestation_invalid"
            ) from error
        lines = text.splitlines() if path.suffix == ".jsonl" else [text]
        made += [(line, path.name) for line in lines if line.strip()]
    return made


def _policy(signer: Signer) -> Any:
    from sigstore.verify import policy

    return policy.AllOf(
        [
            policy.AnyOf([policy.OIDCIssuerV2(ISSUER), policy.OIDCIssuer(ISSUER)]),
            policy.Identity(identity=signer.identity),
            policy.OIDCSourceRepositoryURI(signer.source),
            policy.OIDCSourceRepositoryRef(signer.ref),
        ]
    )


def _supported(bundle: str) -> None:
    """GitHub signs for private repositories with an authority of its own, whose bundles are in no public log."""
    try:
        material = json.loads(bundle)["verificationMaterial"]
        logged, stamped = material.get("tlogEntries"), material.get("timestampVerificationData")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _invalid("it is no Sigstore bundle") from error
    if not logged and stamped:
        raise DataError(
            "the attestation is of GitHub's own authority for private repositories",
            why="it is in no public log, and sigstore verifies public ones only",
            remedy="gh attestation verify FILE --repo OWNER/NAME",
            link=LINK,
            reason_code="attestation_unsupported",
        )


def _of_run(statement: Mapping[str, Any], run: str) -> None:
    """Raises DataError for a statement of another kind or another run."""
    predicate = statement.get("predicate")
    try:
        named = predicate["buildDefinition"]["internalParameters"]["run"] if isinstance(predicate, dict) else None
    except (KeyError, TypeError):
        named = None
    if statement.get("predicateType") != PREDICATE or named != run:
        raise _invalid(f"its statement is not the provenance of run {run}")


def _invalid(why: str) -> DataError:
    return DataError("an attestation is not verified", why=why[:300], link=LINK, reason_code="attestation_invalid")
