"""What the policy of a stage asks about a version, looked up: reviews, checks, image, attestation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from trackside.config.model import StagePolicy
from trackside.documents.release import Release
from trackside.errors import DataError, NotFound
from trackside.forge.approvals import Review
from trackside.forge.model import Pull
from trackside.forge.ports import Forge
from trackside.image.publish import recorded
from trackside.registry.released import Out, ReleaseReader, statement_of
from trackside.registry.requirements import Attested, Facts
from trackside.registry.stage_tags import StageTags
from trackside.registry.versions import Version
from trackside.report.marker import check_name


class Evidence(Forge, ReleaseReader, Protocol):
    """Where evidence is read."""

    def reviews(self, number: int) -> tuple[Review, ...]: ...
    def run_approvals(self, run_id: int) -> tuple[str, ...]: ...
    def merged_by(self, sha: str) -> tuple[Pull, ...]: ...


def facts_of(
    forge: Evidence,
    tags: StageTags,
    gate: StagePolicy,
    *,
    version: Version,
    commit: str,
    branch: str,
    data_branch: str,
    out: Out | None,
    run: str,
    attested: Callable[[Release, bytes], Attested | None],
) -> Facts:
    """Only what the policy asks for is looked up.

    Args:
        branch: the default branch.
        run: id of this workflow run, whose environment people may have approved.
        attested: the verified attestation of a release and its statement; raises DataError for one that does not
            hold good.
    """
    release = out.release if out is not None else None
    asks = gate.image or gate.attestation or check_name(release.model if release is not None else "") in gate.checks
    statement = statement_of(forge, out) if out is not None and asks else None
    ever = {stage: tags.ever(stage, version) for stage in gate.after}
    pull = _pull(forge, release, commit, branch) if gate.approvals or gate.checks else None
    reviews = forge.reviews(pull.number) if gate.approvals and pull is not None else ()
    commits = dict.fromkeys([commit, *([pull.head_sha] if pull is not None else [])])
    attestation: Attested | None = None
    untrue: DataError | None = None
    if gate.attestation and release is not None and statement is not None:
        try:
            attestation = attested(release, statement.content)
        except DataError as error:
            untrue = error
    return Facts(
        version=version,
        commit=commit,
        on_default=gate.branch == "any" or forge.contains(branch, commit),
        ever=ever,
        release=release,
        inputs=statement.inputs if statement is not None else "",
        pull=pull,
        reviews=reviews,
        roles={login: forge.role(login) for login in sorted({one.author for one in reviews if one.author})},
        let_in=forge.run_approvals(int(run)) if gate.approvals and run.isdecimal() else (),
        checks={(sha, name): forge.checks(sha, name=name) for name in gate.checks for sha in commits},
        image=recorded(forge, data_branch, release.model, release.version) if gate.image and release else None,
        attestation=attestation,
        untrue=untrue,
    )


def _pull(forge: Evidence, release: Release | None, commit: str, branch: str) -> Pull | None:
    """The pull request, merged into the default branch, that brought a version, by what GitHub knows of its commit.

    A record that names another one is not believed. A later one lists the commit too, where its branch was brought up
    to date with it: the commit was there before its merge, and nobody who reviewed it saw that.
    """
    try:
        found = [one for one in forge.merged_by(commit) if one.base_ref == branch]
    except NotFound:
        return None
    if release is not None and release.pull_request is not None:
        found = [one for one in found if one.number == release.pull_request]
    return next((one for one in found if one.merge_sha == commit or _brought(forge, one, commit)), None)


def _brought(forge: Evidence, pull: Pull, commit: str) -> bool:
    """Whether a commit came with the merge of a pull request: it was not there before."""
    parents = forge.commit(pull.merge_sha).parents if pull.merge_sha else ()
    return bool(parents) and not forge.contains(parents[0], commit)
