"""The plan stage: gathers facts for an event through its ports, then lets the pure part decide."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from trackside.config.load import load
from trackside.config.model import CONFIG_FILE, Config, Model
from trackside.documents.plan import Plan, Subject
from trackside.documents.run import Run
from trackside.errors import ConfigError, ForgeError, NotFound, TracksideError
from trackside.event.model import DispatchEvent, Event, MergeGroupEvent, PullRequestEvent
from trackside.forge.model import Comment, Pull, WorkflowRun
from trackside.forge.operations import Operation, UpsertCheck, UpsertComment
from trackside.forge.ports import Forge
from trackside.plan import words
from trackside.plan.changes import policy_changes
from trackside.plan.decide import decide
from trackside.plan.facts import Facts, ModelFacts, Reporter, Request
from trackside.plan.objects import GitTree, fetch, read_commit
from trackside.plan.pipeline import PipelineInputs, inputs_of
from trackside.plan.resolve import Job, RawPipeline, resolve
from trackside.report.marker import check_name, marker
from trackside.system.clock import Clock
from trackside.system.process import Processes

ACTIONS = ("opened", "synchronize", "reopened", "ready_for_review", "labeled")
MERGE_TRIES = 5
"""How often a merge result that belongs to an older head is asked for again."""
MERGE_PAUSE = 3.0
Ask = Callable[[Config, Pull], Request]
"""(policy, pull request) → what a person asks for. Raises Refused."""
CONFIG_CHECK = "trackside"
"""Name of the check that fails when the policy itself cannot be read."""


class RecordedRuns(Protocol):
    """What the plan reads of the store."""

    def run(self, model: str, run_id: str) -> Run | None: ...
    def run_for_inputs(self, model: str, digest: str) -> Run | None: ...
    def runs(self, model: str | None = None, limit: int = ...) -> Sequence[Run]: ...


@dataclass(frozen=True, kw_only=True)
class Planned:
    """What was decided. `plan` without models and no operations means that the event asks for nothing."""

    plan: Plan
    operations: list[Operation]
    reason_code: str
    message: str
    refused: bool = False

    @property
    def training(self) -> list[str]:
        """Models whose training is to be started."""
        return [one.model for one in self.plan.models if one.decision == "train"]


@dataclass(frozen=True, kw_only=True)
class Ports:
    """What the stages of this folder reach the outside through.

    `git_url` is the repository's address for git (or a local path), `token` is sent to it, `workdir` holds the bare
    repository, `web_url` is the repository's page.
    """

    forge: Forge
    store: RecordedRuns
    processes: Processes
    clock: Clock
    git_url: str
    token: str
    workdir: Path
    web_url: str

    @property
    def git_dir(self) -> Path:
        return self.workdir / "objects.git"

    def fetch(self, wanted: Sequence[str]) -> tuple[str, ...]:
        return fetch(self.git_dir, self.git_url, wanted, processes=self.processes, token=self.token)


def plan_event(event: Event, ports: Ports, *, report: Reporter, train_workflow: str = "train.yml") -> Planned:
    """Plan for a pull request or merge group; for a dispatch, what a comment (or a person) asks for.

    Args:
        event: others than those, and other actions than `ACTIONS`, ask for nothing.
        report: makes the report of a recorded run that is reused.

    Raises:
        ForgeError: GitHub or the network failed.
        ToolError: git or DVC is missing or failed.
    """
    if isinstance(event, MergeGroupEvent):
        return _plan_merge_group(event, ports, report, train_workflow)
    if isinstance(event, DispatchEvent):
        from trackside.plan.asked import plan_asked

        return plan_asked(event, ports, report=report, train_workflow=train_workflow)
    if not isinstance(event, PullRequestEvent) or event.action not in ACTIONS:
        return nothing(ports, "event_ignored", f"nothing to do for {event.name} {event.action}".strip())
    label = event.label if event.action == "labeled" else ""
    return plan_pull(event.number, ports, report, train_workflow, label=label)


def nothing(ports: Ports, code: str, message: str) -> Planned:
    """A plan of nothing, and why."""
    subject = Subject(kind="commit", repository=ports.forge.repository, commit="")
    return Planned(plan=Plan(subject=subject), operations=[], reason_code=code, message=message)


def policy_of(ports: Ports, branch: str) -> tuple[Config, str] | None:
    """The default branch's policy and its text; None where it has none. Raises ConfigError."""
    return read_policy(ports.forge.file(CONFIG_FILE, branch))


def read_policy(raw: bytes | None) -> tuple[Config, str] | None:
    """A policy file's bytes, understood, and its text; None for no file. Raises ConfigError."""
    if raw is None:
        return None
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise ConfigError("not UTF-8", file=CONFIG_FILE) from error
    return load(text), text


def plan_pull(
    number: int, ports: Ports, report: Reporter, workflow: str, *, label: str = "", ask: Ask | None = None
) -> Planned:
    """Plan for a pull request. `label` was just added to it; `ask` tells what a person asks for instead.

    Raises:
        Refused: by `ask`.
    """
    pull = ports.forge.pull_with_merge(number)
    if pull.state != "open":
        return nothing(ports, "pull_closed", f"pull request #{pull.number} is {pull.state}")
    branch = ports.forge.default_branch()
    try:
        policy = policy_of(ports, branch)
    except ConfigError as error:
        return _unreadable(error, ports, branch, head=pull.head_sha, number=pull.number)
    if policy is None:
        return nothing(ports, "not_configured", f"{branch} has no {CONFIG_FILE}")
    config = policy[0]
    request = ask(config, pull) if ask is not None else Request()
    starts = config.train.on == "label" and label == config.train.label
    if label and not starts and _answered(pull, config, ports):
        return nothing(ports, "label_ignored", f"label {label!r} starts nothing")
    viewer = ports.forge.viewer()
    comments = [one for one in ports.forge.comments(pull.number) if one.author == viewer]
    pull, commit, base, problem = _merge_result(pull, ports)
    subject = Subject(
        kind="pull_request",
        repository=ports.forge.repository,
        commit=commit,
        base_commit=base,
        head_commit=pull.head_sha,
        head_repository=pull.head_repo,
        pull_request=pull.number,
        branch=pull.head_ref,
    )
    models, edits = ((), []) if problem else _models(subject, config, ports, request)
    facts = Facts(
        subject=subject,
        config=config,
        models=models or [ModelFacts(model=model) for model in _wanted(config, request)],
        request=request,
        from_fork=pull.from_fork,
        draft=pull.draft,
        labels=frozenset(pull.labels),
        problem=problem,
        gpu_seconds=_used(config, pull.number, ports),
        active=_active(workflow, ports),
        commented=frozenset(
            m.name for m in config.models if any(one.body.startswith(marker(m.name)) for one in comments)
        ),
        policy_changes=edits,
        url=pull.url or f"{ports.web_url}/pull/{pull.number}",
        runs_url=f"{ports.web_url}/actions/workflows/{workflow}",
        train_workflow=workflow,
        default_branch=branch,
    )
    made = _decided(facts, report)
    return replace(made, operations=[*_withdrawn(comments, pull.number), *made.operations])


def _withdrawn(comments: Sequence[Comment], number: int) -> list[UpsertComment]:
    """The word that the policy is readable again, where an older one says that it is not."""
    stale = any(one.body.startswith(words.PLAN_MARKER) and one.body != words.readable() for one in comments)
    return [UpsertComment(issue=number, marker=words.PLAN_MARKER, body=words.readable())] if stale else []


def _answered(pull: Pull, config: Config, ports: Ports) -> bool:
    """Whether the head has the checks that it needs, so that a label which asks for nothing can be passed over.

    GitHub keeps one waiting run of a concurrency group: this event may have pushed out the one of a push or of the
    label that starts training. So what counts is the state, not the event. A check in progress may have lost its run;
    where it has not, planning again changes nothing.
    """
    if pull.draft:
        return True
    found = {one.name: one for one in ports.forge.checks(pull.head_sha) if one.external_id.startswith("trackside:")}
    labelled = config.train.on == "label" and config.train.label in pull.labels
    for model in config.models:
        check = found.get(check_name(model.name))
        if check is None or check.status != "completed" or (labelled and check.conclusion == "action_required"):
            return False
    return True


def _plan_merge_group(event: MergeGroupEvent, ports: Ports, report: Reporter, workflow: str) -> Planned:
    if event.action != "checks_requested":
        return nothing(ports, "event_ignored", f"nothing to do for merge_group {event.action}")
    branch = ports.forge.default_branch()
    try:
        policy = policy_of(ports, branch)
    except ConfigError as error:
        return _unreadable(error, ports, branch, head=event.head_sha, number=None)
    if policy is None:
        return nothing(ports, "not_configured", f"{branch} has no {CONFIG_FILE}")
    subject = Subject(
        kind="merge_group",
        repository=ports.forge.repository,
        commit=event.head_sha,
        base_commit=event.base_sha,
        head_commit=event.head_sha,
        head_repository=ports.forge.repository,
        branch=event.head_ref.removeprefix("refs/heads/"),
    )
    models, edits = _models(subject, policy[0], ports)
    facts = Facts(
        subject=subject,
        config=policy[0],
        models=models,
        policy_changes=edits,
        url=f"{ports.web_url}/commit/{event.head_sha}",
        runs_url=f"{ports.web_url}/actions/workflows/{workflow}",
        train_workflow=workflow,
        default_branch=branch,
    )
    return _decided(facts, report)


def _decided(facts: Facts, report: Reporter) -> Planned:
    plan, operations = decide(facts, report)
    counts = ", ".join(f"{one.model}: {one.decision} ({one.reason_code})" for one in plan.models)
    codes = {one.reason_code for one in plan.models}
    return Planned(
        plan=plan, operations=operations, reason_code=codes.pop() if len(codes) == 1 else "planned", message=counts
    )


def _merge_result(pull: Pull, ports: Ports) -> tuple[Pull, str, str, TracksideError | None]:
    """The merge commit of this very head and its first parent, fetched; or why there is none."""
    for left in reversed(range(MERGE_TRIES)):
        if pull.mergeable is False:
            return pull, "", pull.base_sha, _conflict(pull)
        if pull.merge_sha:
            try:
                ports.fetch([pull.merge_sha])
                parents = read_commit(ports.git_dir, pull.merge_sha, ports.processes).parents
            except NotFound:
                parents = ()
            if len(parents) == 2 and parents[1] == pull.head_sha:
                ports.fetch([parents[0]])
                return pull, pull.merge_sha, parents[0], None
        if left:
            ports.clock.sleep(MERGE_PAUSE)
            pull = ports.forge.pull_with_merge(pull.number)
    unknown = ForgeError(
        f"GitHub has not made the merge result of #{pull.number} yet",
        remedy="re-run this workflow in a minute",
        reason_code="merge_unknown",
    )
    return pull, "", pull.base_sha, unknown


def _conflict(pull: Pull) -> ConfigError:
    return ConfigError(
        f"the head of #{pull.number} conflicts with its base, so there is no merge result to train",
        remedy="merge or rebase onto the base branch and push",
        reason_code="merge_conflict",
    )


def _wanted(config: Config, request: Request) -> list[Model]:
    return [one for one in config.models if request.model in ("", one.name)]


def _models(
    subject: Subject, config: Config, ports: Ports, request: Request | None = None
) -> tuple[list[ModelFacts], list[str]]:
    """Per model its inputs in both trees and what is recorded for them; and the edited policy keys."""
    ports.fetch([subject.commit, subject.base_commit])
    now = GitTree.open(ports.git_dir, subject.commit, ports.processes)
    base = GitTree.open(ports.git_dir, subject.base_commit, ports.processes)
    request = request or Request()
    jobs = [Job(commit=now.commit, overrides=request.overrides), Job(commit=base.commit, overrides={})]
    raw_now, raw_base = resolve(ports.git_dir, jobs, processes=ports.processes)
    broken: TracksideError | None = None
    edits: list[str] = []
    try:
        edits = _policy_edits(base, now)
    except ConfigError as error:
        broken = error
    made = []
    for model in _wanted(config, request):
        current = _inputs(now, raw_now, model.name, config)
        before = _inputs(base, raw_base, model.name, config)
        baseline = before if isinstance(before, PipelineInputs) else None
        wrong = broken if broken is not None else current if isinstance(current, TracksideError) else None
        good = current if isinstance(current, PipelineInputs) and wrong is None else None
        made.append(
            ModelFacts(
                model=model,
                current=good,
                baseline=baseline,
                error=wrong,
                recorded=ports.store.run_for_inputs(model.name, good.digest) if good else None,
                baseline_run=ports.store.run_for_inputs(model.name, baseline.digest) if baseline else None,
            )
        )
    return made, edits


def _inputs(
    tree: GitTree, raw: RawPipeline | ConfigError, model: str, config: Config
) -> PipelineInputs | TracksideError:
    found = config.model(model)
    if isinstance(raw, ConfigError) or found is None:
        return raw if isinstance(raw, ConfigError) else ConfigError(f"no model {model!r}")
    try:
        return inputs_of(tree, raw, found, config.train)
    except ConfigError as error:
        return error


def config_text(tree: GitTree) -> str | None:
    """`trackside.yaml` of a tree as text, checked; None where there is none. Raises ConfigError."""
    found = tree.resolve(CONFIG_FILE)
    if found is None or found not in tree.entries:
        return None
    text = tree.read([found])[found].decode("utf-8", "replace")
    load(text)
    return text


def _policy_edits(base: GitTree, now: GitTree) -> list[str]:
    """Policy keys that differ. An unreadable file counts only where this change made it so."""
    same = (tree.entries.get(CONFIG_FILE) for tree in (base, now))
    if len({entry.sha if entry else "" for entry in same}) == 1:
        return []
    after = config_text(now)
    try:
        before = config_text(base)
    except ConfigError:
        return ["trackside.yaml is corrected"]
    return policy_changes(before, after)


def _used(config: Config, number: int, ports: Ports) -> float:
    """GPU seconds of all recorded runs of a pull request; looked up only where they are capped."""
    if config.train.gpu_hours_per_pull is None:
        return 0.0
    return sum(
        max(0.0, run.usage.gpu_seconds) for run in ports.store.runs(limit=100_000) if run.source.pull_request == number
    )


def _active(workflow: str, ports: Ports) -> tuple[WorkflowRun, ...]:
    """Training runs that have not ended; a missing workflow shows when it is dispatched, with its remedy."""
    try:
        return ports.forge.runs(workflow, active=True)
    except NotFound:
        return ()


def _unreadable(error: ConfigError, ports: Ports, branch: str, *, head: str, number: int | None) -> Planned:
    """The default branch's policy is wrong: say so on the head, where it is seen."""
    body = words.unreadable(error, branch)
    check = UpsertCheck(
        name=CONFIG_CHECK,
        head_sha=head,
        external_id="trackside:config",
        title=f"{CONFIG_FILE} of the default branch cannot be read",
        summary=body.partition("\n")[2].strip(),
        conclusion="failure",
        details_url=f"{ports.web_url}/blob/{branch}/{CONFIG_FILE}",
    )
    talk: list[Operation] = [] if number is None else [UpsertComment(issue=number, marker=words.PLAN_MARKER, body=body)]
    return replace(nothing(ports, error.reason_code, error.message), operations=[*talk, check])
