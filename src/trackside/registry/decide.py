"""Which version a run becomes, if any: pure, from the records of the data branch and the tags."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from trackside.documents.release import Release
from trackside.documents.run import Artifact, Run
from trackside.errors import DataError
from trackside.registry.tags import version_tag
from trackside.registry.versions import BUMPS, Bump, Version, following, parse

LABEL = "release:"
"""Labels `release:minor` and `release:major` of a merged pull request raise more than the last number."""


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is to be released: a run's model at a commit of the default branch, as far as it is known."""

    run: Run
    commit: str
    bump: Bump = "patch"
    pull_request: int | None = None
    now: str = ""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """`claim`: a new version. `resume`: one that was begun for this very run. `there`: published already for this
    commit. `unchanged`: the newest version has the same model. `superseded`: a newer commit has a version already.
    `release` is the version spoken of.
    """

    kind: Literal["claim", "resume", "there", "unchanged", "superseded"]
    release: Release


def model_of(run: Run) -> Artifact:
    """The model among a run's artifacts. Raises DataError where there is none that can be released."""
    found = next((one for one in run.artifacts if one.role == "model"), None)
    if found is None or not found.digest.startswith("sha256:"):
        raise DataError(
            f"run {run.id} recorded no model file",
            remedy=f"models:\n  {run.model}:\n    path: …  # a file that a stage of the pipeline makes",
            link="releases.md",
            reason_code="model_missing",
        )
    return found


def newest(records: Iterable[Release]) -> Release | None:
    """The published release with the highest version."""
    return max((one for one in records if one.state == "published"), key=version_of, default=None)


def version_of(release: Release) -> Version:
    """Raises DataError for a record without a version, which no reader of records gives."""
    found = parse(release.version)
    if found is None:
        raise DataError(f"{release.version[:60]!r} is no version", reason_code="document_invalid")
    return found


def decide(wish: Wish, records: Sequence[Release], taken: Iterable[Version]) -> Decision:
    """What to do for one model.

    Args:
        records: of this model, in every state.
        taken: versions whose tag names are used up, also by hand.
    """
    run, digest = wish.run, model_of(wish.run).digest
    mine = [one for one in records if one.run == run.id]
    begun = [one for one in mine if one.state != "published"]
    if begun:  # that of this commit before one of an older commit with the same inputs
        return Decision(kind="resume", release=max(begun, key=lambda one: (one.commit == wish.commit, version_of(one))))
    done = [one for one in mine if one.commit == wish.commit]
    if done:
        return Decision(kind="there", release=max(done, key=version_of))
    last = newest(records)
    if last is not None and last.model_digest == digest:
        return Decision(kind="unchanged", release=last)
    version = following({*taken, *(version_of(one) for one in records)}, wish.bump)
    claim = Release(
        model=run.model,
        version=str(version),
        tag=version_tag(run.model, version),
        commit=wish.commit,
        run=run.id,
        state="claimed",
        bump=wish.bump,
        previous=last.version if last is not None else "",
        pull_request=wish.pull_request,
        model_digest=digest,
        created_at=wish.now,
        metrics=list(run.metrics),
    )
    return Decision(kind="claim", release=claim)


def bump_of(labels: Iterable[str], asked: str = "") -> Bump:
    """What a person asked for, else the greatest label of the pull request, else patch."""
    wishes = [asked] if asked else [one.removeprefix(LABEL) for one in labels if one.startswith(LABEL)]
    known = [one for one in BUMPS if one in wishes]
    return known[-1] if known else "patch"
