"""The admit stage: a dispatch claims who and what; each claim is checked before a runner is given to it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from trackside.command.evidence import Asked, bind, read_again
from trackside.config.model import CONFIG_FILE, Config, Model
from trackside.documents.admission import Admission
from trackside.documents.plan import Subject
from trackside.errors import ConfigError, NotFound, Refused
from trackside.forge.model import ROLES, Pull
from trackside.plan.changes import policy_changes
from trackside.plan.objects import GitTree, read_commit
from trackside.plan.pipeline import PipelineInputs, inputs_of
from trackside.plan.resolve import Job, resolve
from trackside.plan.stage import Ports, config_text, policy_of
from trackside.retrain.decide import branch_of

SHA = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
NUMBER = r"[1-9][0-9]{0,14}"
MAX_OVERRIDES = 65_536
LINK = "security.md"


def admit(inputs: Mapping[str, str], ports: Ports, *, actor: str) -> Admission:
    """Check a dispatch of the training workflow.

    Args:
        inputs: of the dispatch: model, commit, base-commit, head-commit, head-repository, pull-request, branch,
            input-digest, overrides, comment. With a model alone, the tip of the default branch is trained.
        actor: who dispatched, as GitHub says; where a comment is named, its author takes that place.

    Raises:
        Refused: the pull request is closed or moved on (`pull_closed`, `head_moved`), a claim is not true
            (`identity_mismatch`, `digest_mismatch`), a fork without a maintainer's word (`fork`), an input is missing,
            the comment does not ask for just this (see `command.evidence`).
        ConfigError: the policy, the pipeline or an override is wrong.
        NotFound: GitHub no longer has the commit (`commit_gone`).
    """
    asked = {name: value.strip() for name, value in inputs.items()}
    branch = ports.forge.default_branch()
    policy_commit = ports.forge.head_of(branch)
    policy = policy_of(ports, policy_commit)
    if policy is None:
        raise ConfigError(f"{branch} has no {CONFIG_FILE}", reason_code="not_configured")
    config = policy[0]
    model = config.model(asked.get("model", ""))
    if model is None:
        raise ConfigError(
            f"{CONFIG_FILE} has no model {asked.get('model', '')[:100]!r}",
            remedy="known models: " + ", ".join(one.name for one in config.models),
            reason_code="model_unknown",
        )
    overrides = _overrides(asked.get("overrides", ""))
    said = _said(asked, ports, config, model.name, overrides) if asked.get("comment") else None
    if said is not None:
        actor = said.author
    pull, subject = _subject(asked, ports, config, actor=actor, branch=branch, tip=policy_commit)
    if said is not None and pull is not None:
        bind(said, pull, ports.forge)
    return _admission(asked, ports, config, model, subject, pull, overrides, actor=actor, policy_commit=policy_commit)


def _said(asked: Mapping[str, str], ports: Ports, config: Config, model: str, overrides: Mapping[str, Any]) -> Asked:
    """The comment that the dispatch names, which must ask for this model with these parameters. Raises Refused."""
    number = asked.get("pull-request", "")
    if not re.fullmatch(NUMBER, number):
        raise _mismatch("a comment, but no pull request")
    said = read_again(asked["comment"], ports.forge, config, now=ports.clock.now(), names=("train",), issue=int(number))
    if said.command.model not in ("", model):
        raise _mismatch("the comment is about another model")
    if dict(said.command.overrides) != dict(overrides):
        raise _mismatch("the comment sets other parameters")
    return said


def _overrides(text: str) -> dict[str, Any]:
    """Parameter overrides as JSON. Raises ConfigError."""
    if not text:
        return {}
    try:
        made = json.loads(text) if len(text) <= MAX_OVERRIDES else None
    except (ValueError, RecursionError) as error:
        raise ConfigError("overrides are not JSON", why=str(error)[:200]) from error
    if not isinstance(made, dict):
        raise ConfigError("overrides are not a JSON object of parameters", remedy='such as {"train.lr": 0.01}')
    return made


def _mismatch(what: str) -> Refused:
    return Refused(
        f"the dispatch does not describe what it claims: {what}",
        remedy="start training from a pull request, or name a model alone",
        link=LINK,
        reason_code="identity_mismatch",
    )


def _subject(
    asked: Mapping[str, str], ports: Ports, config: Config, *, actor: str, branch: str, tip: str
) -> tuple[Pull | None, Subject]:
    """What is trained, true by the API and by the commit itself."""
    for name in ("commit", "base-commit", "head-commit"):
        if asked.get(name) and not SHA.fullmatch(asked[name]):
            raise _mismatch(f"{name} is not a full SHA")
    number = asked.get("pull-request", "")
    if number:
        if not re.fullmatch(NUMBER, number):
            raise _mismatch("pull-request is not a number")
        return _pull_subject(asked, int(number), ports, config, actor)
    return None, _commit_subject(asked, ports, branch=branch, tip=tip)


def _pull_subject(
    asked: Mapping[str, str], number: int, ports: Ports, config: Config, actor: str
) -> tuple[Pull, Subject]:
    try:
        pull = ports.forge.pull(number)
    except NotFound as error:
        raise _mismatch(f"there is no pull request #{number}") from error
    if pull.state != "open":
        raise Refused(f"pull request #{number} is {pull.state}", reason_code="pull_closed")
    if pull.head_sha != asked.get("head-commit"):
        raise Refused(
            f"the head of #{number} is {pull.head_sha[:12]} by now",
            remedy="nothing to do: the newer push has a run of its own",
            reason_code="head_moved",
        )
    if pull.head_repo != asked.get("head-repository") or pull.base_repo != ports.forge.repository:
        raise _mismatch("the head's repository")
    if pull.from_fork:
        _need_maintainer(ports, config, actor, number)
    commit, base = asked.get("commit", ""), asked.get("base-commit", "")
    if not commit or not base:
        raise _mismatch("commit or base-commit is missing")
    ports.fetch([commit])
    if read_commit(ports.git_dir, commit, ports.processes).parents != (base, pull.head_sha):
        raise _mismatch("the commit is not the merge of base and head")
    subject = Subject(
        kind="pull_request",
        repository=ports.forge.repository,
        commit=commit,
        base_commit=base,
        head_commit=pull.head_sha,
        head_repository=pull.head_repo,
        pull_request=number,
        branch=pull.head_ref,
    )
    return pull, subject


def _need_maintainer(ports: Ports, config: Config, actor: str, number: int) -> None:
    """A fork's code is run only on the word of a person with the role that `/train` needs."""
    needed = config.commands.get("train", "write")
    role = "none" if not actor or actor.endswith("[bot]") else ports.forge.role(actor)
    if role not in ROLES or ROLES.index(role) < ROLES.index(needed):
        raise Refused(
            f"#{number} comes from a fork, and {actor or 'nobody'} may not start its training",
            why=f"that needs the role {needed}",
            remedy=f"someone with the role {needed} reads the change, then comments /train with the head's SHA",
            link=LINK,
            reason_code="fork",
        )


def _commit_subject(asked: Mapping[str, str], ports: Ports, *, branch: str, tip: str) -> Subject:
    """A commit without pull request: the tip of a branch of this repository, so that it is no fork's."""
    commit = asked.get("commit") or tip
    named = asked.get("branch") or branch
    if commit != tip:
        try:
            found = ports.forge.head_of(named)
        except NotFound as error:
            raise _mismatch(f"there is no branch {named[:200]!r}") from error
        if found != commit:
            raise _mismatch(f"{commit[:12]} is not the tip of {named[:200]!r}")
    if asked.get("head-commit", commit) not in ("", commit):
        raise _mismatch("head-commit is another one than commit")
    ports.fetch([commit])
    parents = read_commit(ports.git_dir, commit, ports.processes).parents
    queued = named.startswith("gh-readonly-queue/")  # a branch that GitHub alone writes, on a base that it names
    first = parents[0] if parents else ""
    base = (queued and asked.get("base-commit")) or first
    if asked.get("base-commit", base) not in ("", base):
        raise _mismatch("base-commit is not the first parent, which results are judged against")
    return Subject(
        kind="merge_group" if queued else "commit",
        repository=ports.forge.repository,
        commit=commit,
        base_commit=base,
        head_commit=commit,
        head_repository=ports.forge.repository,
        branch=named,
    )


def _admission(
    asked: Mapping[str, str],
    ports: Ports,
    config: Config,
    model: Model,
    subject: Subject,
    pull: Pull | None,
    overrides: Mapping[str, Any],
    *,
    actor: str,
    policy_commit: str,
) -> Admission:
    tree, base_tree = _trees(subject, ports)
    now, before, note = _pipelines(tree, base_tree, config, model, overrides, ports)
    if asked.get("input-digest") not in (None, "", now.digest):
        raise Refused(
            "the inputs of this commit have another digest than the dispatch claims",
            why="the policy of the default branch changed since it was planned, or the dispatch was made up",
            remedy="re-run the newest workflow run of the pull request",
            link=LINK,
            reason_code="digest_mismatch",
        )
    baseline = ports.store.run_for_inputs(model.name, before.digest) if before else None
    recorded = None if overrides else ports.store.run_for_inputs(model.name, now.digest)
    return Admission(
        model=model.name,
        subject=subject,
        actor=actor,
        policy_commit=policy_commit,
        runs_on=list(config.train.runs_on),
        timeout_minutes=config.train.timeout_minutes,
        input_digest=now.digest,
        targets=list(now.targets),
        stages=[stage.name for stage in now.stages],
        inputs=list(now.dependencies),
        params=dict(now.params),
        overrides=dict(overrides),
        experiment=bool(overrides),
        reusable=not overrides and not (pull is not None and pull.from_fork),
        run=recorded.id if recorded and not now.volatile else "",
        baseline_digest=before.digest if before else "",
        baseline_run=baseline.id if baseline else "",
        champion=baseline.id if baseline and not overrides and _retrains(pull, model.name) else "",
        baseline_note=note or ("" if baseline else "no run is recorded for the base's inputs"),
        policy_changes=_edits(base_tree, tree),
    )


def _retrains(pull: Pull | None, model: str) -> bool:
    """Whether a pull request is Trackside's own proposal to retrain the model: its branch is of this repository."""
    return pull is not None and not pull.from_fork and pull.head_ref == branch_of(model)


def _pipelines(
    tree: GitTree,
    base: GitTree | None,
    config: Config,
    model: Model,
    overrides: Mapping[str, Any],
    ports: Ports,
) -> tuple[PipelineInputs, PipelineInputs | None, str]:
    """Inputs of the commit and of its base, or why the latter are not known. Raises ConfigError for the commit's."""
    jobs = [Job(commit=tree.commit, overrides=overrides)]
    if base is not None:
        jobs.append(Job(commit=base.commit, overrides={}))
    now, *rest = resolve(ports.git_dir, jobs, processes=ports.processes)
    if isinstance(now, ConfigError):
        raise now
    current = inputs_of(tree, now, model, config.train)
    if current.missing:
        lacks = ", ".join(current.missing[:10])
        raise ConfigError(f"the pipeline needs what the tree lacks: {lacks}", reason_code="dependency_missing")
    if base is None:
        return current, None, "the commit has no parent"
    try:
        if isinstance(rest[0], ConfigError):
            raise rest[0]
        return current, inputs_of(base, rest[0], model, config.train), ""
    except ConfigError as error:
        return current, None, f"the base's pipeline cannot be read: {error.message}"[:500]


def _trees(subject: Subject, ports: Ports) -> tuple[GitTree, GitTree | None]:
    ports.fetch([sha for sha in (subject.commit, subject.base_commit) if sha])
    tree = GitTree.open(ports.git_dir, subject.commit, ports.processes)
    return tree, GitTree.open(ports.git_dir, subject.base_commit, ports.processes) if subject.base_commit else None


def _edits(base: GitTree | None, now: GitTree) -> list[str]:
    """Policy keys that the change edits; an unreadable file is the plan's to report."""
    try:
        return policy_changes(config_text(base), config_text(now)) if base is not None else []
    except ConfigError:
        return [f"{CONFIG_FILE} cannot be read"]
