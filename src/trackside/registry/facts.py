"""What the policy of a stage asks about a version, looked up: reviews, checks, image, attestation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from trackside.config.model import StagePolicy
from trackside.documents.release import Release
from trackside.errors import DataError, NotFound, Refused
from trackside.forge.approvals import Review
from trackside.forge.model import Pull
from trackside.forge.ports import Forge
from trackside.image.publish import recorded
from trackside.registry.requirements import LINK, Attested, Facts
from trackside.registry.stage_tags import StageTags
from trackside.registry.versions import Version


class Evidence(Forge, Protocol):
    """Where evidence is read."""

    def reviews(self, number: int) -> tuple[Review, ...]: ...
    def run_approvals(self, run_id: int) -> tuple[str, ...]: ...
    def merged_by(self, sha: str) -> tuple[Pull, ...]: ...


def need_released(release: Release | None, version: Version, commit: str, tag_object: str) -> None:
    """Raises Refused for a version whose release is not out (`release_missing`), or whose tag is not the one that the
    release was made with (`tag_moved`). Versions of other tools have no record.
    """
    if release is None:
        return
    if release.commit != commit or (release.tag_object and release.tag_object != tag_object):
        raise Refused(
            f"the tag {release.tag} is not the one that the release was made with",
            why=f"it is at {commit[:12]}; the release was made of {release.commit[:12]}",
            remedy="trackside models doctor",
            link=LINK,
            reason_code="tag_moved",
        )
    if release.state != "published":
        raise Refused(
            f"{release.model} v{version} is not released",
            why="its files are not all there yet",
            remedy="re-run the job `register` of the commit's release.yml, then ask again",
            link="releases.md",
            reason_code="release_missing",
        )


def facts_of(
    forge: Evidence,
    tags: StageTags,
    gate: StagePolicy,
    *,
    version: Version,
    commit: str,
    branch: str,
    data_branch: str,
    release: Release | None,
    run: str,
    attested: Callable[[Release], Attested | None],
) -> Facts:
    """Only what the policy asks for is looked up.

    Args:
        branch: the default branch.
        run: id of this workflow run, whose environment people may have approved.
        attested: the verified attestation of a release; raises DataError for one that does not hold good.
    """
    ever = {stage: tags.ever(stage, version) for stage in gate.after}
    pull = _pull(forge, release, commit, branch) if gate.approvals or gate.checks else None
    reviews = forge.reviews(pull.number) if gate.approvals and pull is not None else ()
    commits = dict.fromkeys([commit, *([pull.head_sha] if pull is not None else [])])
    attestation: Attested | None = None
    untrue: DataError | None = None
    if gate.attestation and release is not None:
        try:
            attestation = attested(release)
        except DataError as error:
            untrue = error
    return Facts(
        version=version,
        commit=commit,
        on_default=gate.branch == "any" or forge.contains(branch, commit),
        ever=ever,
        release=release,
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
    """The pull request, merged into the default branch, that brought a version."""
    try:
        named = release.pull_request if release is not None else None
        found = (forge.pull(named),) if named is not None else forge.merged_by(commit)
    except NotFound:
        return None
    return next((one for one in found if one.merged and one.base_ref == branch), None)
