"""Who and what a report is about: claims of the dispatch, held against GitHub, never against the run document."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from trackside.documents.admission import Admission
from trackside.documents.plan import Subject
from trackside.errors import NotFound, Refused
from trackside.forge.ports import Forge

_SHA = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_NUMBER = re.compile(r"[1-9][0-9]{0,14}")


@dataclass(frozen=True, kw_only=True)
class Identity:
    """`current`: the head is still the one that was trained, so that comment and check may be written.

    Otherwise `reason_code` and `note` say why not.
    """

    model: str
    subject: Subject
    current: bool = True
    reason_code: str = ""
    note: str = ""


def identify(inputs: Mapping[str, str], admission: Admission | None, forge: Forge) -> Identity:
    """Re-check a dispatch.

    Args:
        inputs: of the dispatch: model, commit, base-commit, head-commit, head-repository, pull-request, branch.
        admission: what the admit job found true; None when it refused or broke.

    Raises:
        Refused: a claim is not true (`identity_mismatch`): nothing may be published.
        ForgeError: GitHub or the network failed.
    """
    subject = _claimed(inputs, admission, forge.repository)
    model = admission.model if admission else inputs.get("model", "").strip()
    if subject.pull_request is None:
        return _commit(model, subject, admission)
    try:
        pull = forge.pull(subject.pull_request)
    except NotFound as error:
        raise _untrue(f"there is no pull request #{subject.pull_request}") from error
    if pull.base_repo != forge.repository or pull.head_repo != subject.head_repository:
        raise _untrue(f"the head of #{pull.number} is in another repository")
    if pull.state != "open":
        note = f"Pull request #{pull.number} is {pull.state}: the run is recorded, nothing else is touched."
        return Identity(model=model, subject=subject, current=False, reason_code="pull_closed", note=note)
    if pull.head_sha != subject.head_commit:
        note = f"The head of #{pull.number} moved on: the run is recorded, comment and check belong to the newer push."
        return Identity(model=model, subject=subject, current=False, reason_code="head_moved", note=note)
    return Identity(model=model, subject=subject)


def _claimed(inputs: Mapping[str, str], admission: Admission | None, repository: str) -> Subject:
    """The dispatch's claims, which an admission must bear out."""
    asked = {name: value.strip() for name, value in inputs.items()}
    for name in ("commit", "base-commit", "head-commit"):
        if asked.get(name) and not _SHA.fullmatch(asked[name]):
            raise _untrue(f"{name} is not a full SHA")
    number = asked.get("pull-request", "")
    if number and not _NUMBER.fullmatch(number):
        raise _untrue("pull-request is not a number")
    if admission is None:
        return Subject(
            kind="pull_request" if number else "commit",
            repository=repository,
            commit=asked.get("commit", ""),
            base_commit=asked.get("base-commit", ""),
            head_commit=asked.get("head-commit", "") or ("" if number else asked.get("commit", "")),
            head_repository=asked.get("head-repository", "") or repository,
            pull_request=int(number) if number else None,
            branch=asked.get("branch", ""),
        )
    found = admission.subject
    same = {
        "model": admission.model,
        "commit": found.commit,
        "base-commit": found.base_commit,
        "head-commit": found.head_commit,
        "head-repository": found.head_repository,
        "pull-request": str(found.pull_request or ""),
        "input-digest": admission.input_digest,
    }
    for name, value in same.items():
        if asked.get(name) and asked[name] != value:
            raise _untrue(f"{name} differs from what was admitted")
    if found.repository != repository or bool(number) != (found.pull_request is not None):
        raise _untrue("the admission is for something else")
    return found


def _commit(model: str, subject: Subject, admission: Admission | None) -> Identity:
    """Without a pull request the admission alone vouches for the commit: it found it at the tip of a branch."""
    if admission is None:
        note = "The commit was not admitted, so no check is written."
        return Identity(model=model, subject=subject, current=False, reason_code="not_admitted", note=note)
    return Identity(model=model, subject=subject)


def _untrue(what: str) -> Refused:
    return Refused(
        f"the dispatch does not describe what it claims: {what}",
        remedy="start training from a pull request, or name a model alone",
        link="security.md",
        reason_code="identity_mismatch",
    )
