"""What a stage asks of a version, held against what is known of it: pure. What is met becomes trailers of the tag."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from trackside.command.evidence import permitted
from trackside.config.model import Config, Model, StagePolicy
from trackside.documents.image import Image
from trackside.documents.release import Release
from trackside.errors import DataError, Refused
from trackside.forge.approvals import Review
from trackside.forge.model import CheckRun, Pull, Role
from trackside.registry.versions import Version
from trackside.report.marker import check_name, external_id

LINK = "promotion.md"
APPROVES: Role = "write"
"""The least role whose approving review counts."""
MAKER = "github-actions"
"""The app that makes the gate's checks: that of the token of every job."""


class Attested(Protocol):
    """A verified attestation: who signed what."""

    @property
    def signer(self) -> str: ...
    @property
    def digest(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of a version that is to enter a stage; only what its policy asks for was looked up.

    `commit` is the version's. `ever` are the versions that have held each stage of `after`; `pull` is the merged pull
    request that brought the version, with its `reviews`, and the `roles` of their authors; `let_in` who approved an
    environment of this run; `checks` those found by name at each commit; `inputs` the input digest that the statement
    names. `untrue` is why an attestation that is there does not hold good.
    """

    version: Version
    commit: str
    on_default: bool = True
    ever: Mapping[str, frozenset[Version]] = field(default_factory=dict)
    release: Release | None = None
    inputs: str = ""
    pull: Pull | None = None
    reviews: Sequence[Review] = ()
    roles: Mapping[str, Role] = field(default_factory=dict)
    let_in: Sequence[str] = ()
    checks: Mapping[tuple[str, str], Sequence[CheckRun]] = field(default_factory=dict)
    image: Image | None = None
    attestation: Attested | None = None
    untrue: DataError | None = None


@dataclass(frozen=True, kw_only=True)
class Lack:
    """Something that the policy asks for and the version has not; `key` is the policy's."""

    key: str
    reason_code: str
    message: str
    remedy: str
    why: str = ""


def judged(config: Config, model: Model, gate: StagePolicy, facts: Facts, *, actor: str) -> dict[str, str]:
    """The evidence by which a version meets the policy of a stage, as trailers.

    Args:
        actor: who asks for it; their own approval does not count.

    Raises:
        Refused: it does not. The reason is that of the first thing that lacks, and all are told: `stage_order`,
            `not_default_branch`, `approvals_missing`, `check_missing`, `check_not_green`, `image_missing`,
            `image_untested`, `attestation_missing`, `attestation_invalid`.
    """
    lacks, evidence = [*_place(model, gate, facts)], dict[str, str]()
    for one in (
        _approvals(model, gate, facts, actor),
        _checks(model, gate, facts),
        _image(model, gate, facts),
        _attestation(model, gate, facts),
    ):
        if isinstance(one, list):
            lacks += one
        else:
            evidence |= one
    if lacks:
        raise _refusal(config, model, gate, lacks)
    return evidence


def line_of(config: Config, model: Model, gate: StagePolicy, key: str) -> str:
    """Where the policy says so: `trackside.yaml:12`, or that it is the default."""
    at = model.promotion.index(gate.stage)
    places = (f"models.{model.name}.promotion[{at}]{end}" for end in (f".{key}", ""))
    found = next((config.positions[one] for one in places if one in config.positions), None)
    return f"{config.file}:{found.line}" if found is not None else f"the default of `promotion` in {config.file}"


def approvers(facts: Facts, actor: str) -> tuple[list[str], list[str]]:
    """Who approved, and why others do not count.

    Of a person's reviews of the pull request the last one that says anything counts, if it looked at the head that was
    merged and its author may still write here. Who let this run into an environment was chosen by its settings.
    """
    last: dict[str, Review] = {}
    for one in facts.reviews:
        if one.state in ("APPROVED", "CHANGES_REQUESTED", "DISMISSED"):
            last[one.author.lower()] = one
    good: dict[str, str] = {}
    passed_over = []
    for key, one in last.items():
        role = facts.roles.get(one.author, "none")
        if one.state != "APPROVED":
            passed_over.append(f"{one.author}'s last review says {one.state.lower().replace('_', ' ')}")
        elif key == actor.lower():
            passed_over.append(f"{one.author} asks for it")
        elif one.bot:
            passed_over.append(f"{one.author} is no person")
        elif facts.pull is None or one.commit != facts.pull.head_sha:
            passed_over.append(f"{one.author} approved {one.commit[:12]}, not the head that was merged")
        elif not permitted(role, APPROVES):
            passed_over.append(f"{one.author} has the role {role}, not {APPROVES}")
        else:
            good[key] = one.author
    for login in facts.let_in:
        if login.lower() == actor.lower():
            passed_over.append(f"{login} asks for it")
        elif login:
            good.setdefault(login.lower(), login)
    return sorted(good.values()), passed_over


def _place(model: Model, gate: StagePolicy, facts: Facts) -> Iterator[Lack]:
    """Order and branch."""
    what = f"{model.name} v{facts.version}"
    for stage in gate.after:
        if facts.version not in facts.ever.get(stage, frozenset()):
            yield Lack(
                key="after",
                reason_code="stage_order",
                message=f"{what} has not been in {stage}, which comes before {gate.stage}",
                remedy=f"/promote {model.name}@v{facts.version} {stage}",
            )
    if gate.branch == "default" and not facts.on_default:
        yield Lack(
            key="branch",
            reason_code="not_default_branch",
            message=f"{what} was made from {facts.commit[:12]}, which is not on the default branch",
            remedy="merge it: only what was reviewed and merged holds the stage",
        )


def _approvals(model: Model, gate: StagePolicy, facts: Facts, actor: str) -> list[Lack] | dict[str, str]:
    if not gate.approvals:
        return {}
    good, passed_over = approvers(facts, actor)
    if len(good) >= gate.approvals:
        return {"Approved-By": ", ".join(good)}
    pull = facts.pull
    where = f"#{pull.number}" if pull is not None else "no merged pull request is known that brought it"
    return [
        Lack(
            key="approvals",
            reason_code="approvals_missing",
            message=f"{gate.stage} needs {gate.approvals} approval{'s' * (gate.approvals > 1)} of "
            f"{model.name} v{facts.version} ({where}); it has {len(good)}" + (f": {', '.join(good)}" if good else ""),
            remedy="have somebody else approve: by a review of the pull request at the head that was merged, or as a "
            "required reviewer of an environment of the job `promote`",
            why="; ".join(passed_over),
        )
    ]


def _checks(model: Model, gate: StagePolicy, facts: Facts) -> list[Lack] | dict[str, str]:
    lacks, green = [], []
    commits = [facts.commit, *([facts.pull.head_sha] if facts.pull is not None else [])]
    for name in gate.checks:
        there = [(sha, run) for sha in commits for run in facts.checks.get((sha, name), ())]
        found = [(sha, run) for sha, run in there if _counts(model, facts.inputs, run)]
        sha = found[0][0] if found else ""
        runs = [run for at, run in found if at == sha]  # the commit of the release speaks before the head
        red = next((one for one in runs if (one.status, one.conclusion) != ("completed", "success")), None)
        if not runs:
            lacks.append(
                Lack(
                    key="checks",
                    reason_code="check_missing",
                    message=f"no check run {name!r} is on {' or '.join(one[:12] for one in commits)}",
                    remedy="let the workflow that makes this check run there, or correct its name in the policy",
                    why="those of that name there are not of what the version was trained on, or another app's"
                    if there
                    else "",
                )
            )
        elif red is not None:
            lacks.append(
                Lack(
                    key="checks",
                    reason_code="check_not_green",
                    message=f"the check run {name!r} on {sha[:12]} is {red.conclusion or red.status}, not success",
                    remedy=f"make it pass, or re-run it: {red.url}".rstrip(": "),
                )
            )
        else:
            green.append(f"{name} on {sha[:12]}")
    return lacks or ({"Checks": "; ".join(green)} if green else {})


def _counts(model: Model, inputs: str, run: CheckRun) -> bool:
    """A check of the gate's name counts if GitHub Actions made it, and for the inputs that the statement names."""
    if run.name != check_name(model.name):
        return True
    return run.app == MAKER and bool(inputs) and run.external_id == external_id(model.name, inputs)


def _image(model: Model, gate: StagePolicy, facts: Facts) -> list[Lack] | dict[str, str]:
    if not gate.image:
        return {}
    image, release, what = facts.image, facts.release, f"{model.name} v{facts.version}"
    wanted = (release.model_digest, facts.commit) if release is not None else None
    of_it = image is not None and (image.model_digest, image.commit) == wanted
    if image is None or not of_it or not image.digest:
        why = "none is recorded" if image is None else "it was not pushed" if of_it else "it holds another model"
        return [
            Lack(
                key="image",
                reason_code="image_missing",
                message=f"{what} has no pushed image: {why}",
                remedy="re-run the job `image` of the commit's release.yml",
            )
        ]
    smoke = image.smoke
    asked, answered = smoke.requests, smoke.passed
    if not asked or answered != asked or smoke.bad_refused != smoke.bad_requests:
        return [
            Lack(
                key="image",
                reason_code="image_untested",
                message=f"the image of {what} did not pass its smoke test: {answered} of {asked} requests, "
                f"{smoke.bad_refused} of {smoke.bad_requests} bad ones refused",
                remedy="repair the service and release a new version",
            )
        ]
    return {"Image": f"{image.reference.partition('@')[0]}@{image.digest}" if image.reference else image.digest}


def _attestation(model: Model, gate: StagePolicy, facts: Facts) -> list[Lack] | dict[str, str]:
    if not gate.attestation:
        return {}
    if facts.attestation is not None:
        return {"Attestation": f"{facts.attestation.digest} by {facts.attestation.signer}"}
    what = f"the model file of {model.name} v{facts.version}"
    error = facts.untrue
    if error is not None:
        return [
            Lack(
                key="attestation",
                reason_code=error.reason_code,
                message=f"the attestation of {what} does not hold good",
                remedy=error.remedy or f"trackside models verify {model.name}@v{facts.version}",
                why=f"{error.message}: {error.why}" if error.why else error.message,
            )
        ]
    return [
        Lack(
            key="attestation",
            reason_code="attestation_missing",
            message=f"{what} has no attestation",
            remedy="re-run the job `attest` of the commit's release.yml",
        )
    ]


def _refusal(config: Config, model: Model, gate: StagePolicy, lacks: Sequence[Lack]) -> Refused:
    first, *others = lacks
    why = [f"{line_of(config, model, gate, first.key)} asks for it", *([first.why] if first.why else [])]
    why += [f"also: {one.message} ({line_of(config, model, gate, one.key)})" for one in others]
    remedies = list(dict.fromkeys(one.remedy for one in lacks))
    return Refused(
        first.message,
        why="\n".join(why),
        remedy="\n".join(remedies),
        link=LINK,
        reason_code=first.reason_code,
    )
