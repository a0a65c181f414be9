"""Facts → plan and operations; pure, so that the same facts give the same writes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace

import msgspec

from trackside.documents.plan import Decision, ModelPlan, Plan
from trackside.errors import TracksideError
from trackside.forge.operations import Applied, CancelRun, DispatchWorkflow, Operation, UpsertCheck, UpsertComment
from trackside.plan import words
from trackside.plan.changes import changed_inputs
from trackside.plan.facts import Facts, ModelFacts, Reporter
from trackside.plan.titles import parse_title, run_title
from trackside.report.marker import check_name, external_id, marker
from trackside.retrain.decide import branch_of


def decide(facts: Facts, report: Reporter) -> tuple[Plan, list[Operation]]:
    """A decision per model, and the writes that publish it.

    Order of the writes: comments and checks first, then cancelling what a newer push replaced, then dispatching, so
    that a run never finds its own comment overwritten.
    """
    plans = [plan_model(facts, one) for one in facts.models]
    talk: list[Operation] = []
    starts: list[Operation] = []
    for plan, one in zip(plans, facts.models, strict=True):
        if not _runs_already(facts, plan):
            talk += _publish(facts, plan, one, report)
        if plan.decision == "train":
            starts.append(_dispatch(facts, plan))
    document = Plan(subject=facts.subject, models=plans, policy_changes=list(facts.policy_changes))
    return document, [*talk, *_cancellations(facts, plans), *starts]


def plan_model(facts: Facts, one: ModelFacts) -> ModelPlan:
    """The decision for one model; the first rule that applies wins."""
    error = facts.problem or one.error
    if facts.draft and facts.request.kind == "event":
        return _plan(one, "refused", "draft", "Drafts are not trained; mark the pull request ready for review.")
    if error is not None:
        hint = f" ({error.remedy})" if facts.request.experiment and error.remedy else ""
        return _plan(one, "failed", error.reason_code, error.message + hint)
    if one.current is None:
        raise ValueError("a model without error has inputs")
    if one.current.missing:
        names = ", ".join(one.current.missing[:10])
        return _plan(one, "failed", "dependency_missing", f"The pipeline needs what the tree lacks: {names}")
    if facts.request.experiment:
        return msgspec.structs.replace(_gated(facts, one), overrides=dict(facts.request.overrides))
    if one.baseline is not None and one.baseline.digest == one.current.digest:
        return _plan(one, "nothing", "inputs_unchanged", "All inputs are those of the base: nothing to train.")
    if _answers(facts, one):
        return _plan(one, "reuse", "already_trained", "A recorded run answers exactly these inputs.")
    return _gated(facts, one)


def _answers(facts: Facts, one: ModelFacts) -> bool:
    """Whether the recorded run may stand for training: its own model and inputs, not a fork's, not an experiment."""
    run, current = one.recorded, one.current
    if run is None or current is None:
        return False
    own = run.source.head_repository == facts.subject.repository and not run.experiment
    same = (run.model, run.input_digest, run.status) == (one.model.name, current.digest, "succeeded")
    # What the digest cannot see may have changed meanwhile, unless it is this very commit.
    fresh = not current.volatile or run.source.commit == facts.subject.commit
    return own and same and fresh


def _gated(facts: Facts, one: ModelFacts) -> ModelPlan:
    """Training is needed: may this event start it by itself?"""
    train, asked = facts.config.train, facts.request.kind
    if asked == "report":
        return _plan(one, "refused", "not_trained", "No recorded run answers these inputs.")
    if facts.subject.kind == "pull_request":
        if facts.from_fork and asked == "event":
            return _plan(one, "refused", "fork", "Heads of forks start nothing by themselves.")
        # Trackside's own proposal to retrain trains whatever starts others: the policy wants it by `drift.retrain`.
        waits = asked == "event" and facts.subject.branch != branch_of(one.model.name)
        if train.on == "command" and waits:
            return _plan(one, "refused", "command_only", "This repository trains on a comment command only.")
        if train.on == "label" and train.label not in facts.labels and waits:
            return _plan(one, "refused", "label_missing", f"Training waits for the label {train.label!r}.")
        cap = train.gpu_hours_per_pull
        if cap is not None and facts.gpu_seconds >= cap * 3600:
            used = facts.gpu_seconds / 3600
            return _plan(
                one, "refused", "gpu_hours_used_up", f"{used:.2f} of {cap:g} GPU hours of this pull request are used."
            )
    code, why = ("inputs_changed", "Inputs differ from the base.")
    if one.baseline is None:
        code, why = ("baseline_unknown", "The base's inputs cannot be read, so there is nothing to compare with.")
    return _plan(one, "train", code, why)


def _plan(one: ModelFacts, decision: Decision, code: str, reason: str) -> ModelPlan:
    now = one.current
    kept = decision == "reuse" and one.recorded is not None
    return ModelPlan(
        model=one.model.name,
        decision=decision,
        reason_code=code,
        reason=reason[:1000],
        input_digest=now.digest if now else "",
        baseline_digest=one.baseline.digest if one.baseline else "",
        run=one.recorded.id if kept and one.recorded else "",
        baseline_run=one.baseline_run.id if one.baseline_run else "",
        stages=[stage.name for stage in now.stages] if now else [],
        params=dict(now.params) if now else {},
        inputs=list(now.dependencies) if now else [],
        changed=changed_inputs(one.baseline, now) if now else [],
    )


def _publish(facts: Facts, plan: ModelPlan, one: ModelFacts, report: Reporter) -> list[Operation]:
    """Comment and check of one model. Drafts get neither; commits and merge groups have no comment."""
    if plan.reason_code == "draft":
        return []
    if plan.reason_code == "not_trained":
        return []  # a run may be under way: comment and check are its own
    if facts.request.experiment and plan.decision != "train":
        return []  # an earlier experiment's report stands there; asked.py replies
    if plan.decision == "reuse" and one.recorded is not None:
        shown = report(one.recorded, one.baseline_run, one.model, facts)
        conclusion = "success" if shown.passed else shown.conclusion
        check = _check(facts, plan, conclusion, shown.title, shown.summary, text=shown.text)
        done = replace(check, annotations=shown.annotations)
        return [*_comment(facts, plan, shown.body), done]
    error = facts.problem or one.error
    body = words.comment(facts, plan, error)
    outcome = {"train": None, "nothing": "success", "failed": "failure"}.get(plan.decision, "action_required")
    check = _check(facts, plan, outcome, words.title(plan), words.summary(facts, plan, error))
    if error is not None:
        check = replace(check, annotations=words.notes(error))
    if facts.request.experiment:
        return _comment(facts, plan, body)
    wanted = plan.decision != "nothing" or plan.model in facts.commented or facts.request.kind != "event"
    return [*(_comment(facts, plan, body) if wanted else []), check]


def _comment(facts: Facts, plan: ModelPlan, body: str) -> list[Operation]:
    pull = facts.subject.pull_request
    mark = marker(plan.model, experiment=facts.request.experiment)
    return [] if pull is None else [UpsertComment(issue=pull, marker=mark, body=body)]


def _check(
    facts: Facts, plan: ModelPlan, conclusion: str | None, title: str, summary: str, *, text: str = ""
) -> UpsertCheck:
    return UpsertCheck(
        name=check_name(plan.model),
        head_sha=facts.subject.head_commit,
        external_id=external_id(plan.model, plan.input_digest),
        title=title,
        summary=summary,
        text=text,
        conclusion=conclusion,
        details_url=facts.runs_url if conclusion is None else facts.url,
    )


def _title(facts: Facts, plan: ModelPlan) -> str:
    subject, digest, experiment = facts.subject, plan.input_digest, facts.request.experiment
    return run_title(
        plan.model, pull=subject.pull_request, head=subject.head_commit, digest=digest, experiment=experiment
    )


def _dispatch(facts: Facts, plan: ModelPlan) -> DispatchWorkflow:
    subject, title = facts.subject, _title(facts, plan)
    return DispatchWorkflow(
        workflow=facts.train_workflow,
        ref=facts.default_branch,
        inputs={
            "model": plan.model,
            "title": title,
            "commit": subject.commit,
            "base-commit": subject.base_commit,
            "head-commit": subject.head_commit,
            "head-repository": subject.head_repository,
            "pull-request": str(subject.pull_request or ""),
            "branch": subject.branch,
            "input-digest": plan.input_digest,
            "overrides": json.dumps(plan.overrides),
            **({"comment": str(facts.request.comment)} if facts.request.comment else {}),
        },
        unless_title=title,
    )


def _runs_already(facts: Facts, plan: ModelPlan) -> bool:
    """Whether just this training is under way: it may be publishing now, and its report must not become "queued"."""
    waits = plan.reason_code in ("fork", "command_only", "label_missing")  # somebody may have asked for it meanwhile
    wanted = _title(facts, plan) if plan.decision == "train" or waits else ""
    return any(run.title == wanted and run.event == "workflow_dispatch" for run in facts.active)


def _cancellations(facts: Facts, plans: list[ModelPlan]) -> list[Operation]:
    """Runs of this pull request that a newer head (or base) replaced. Experiments end with their head only."""
    planned = {plan.model: plan for plan in plans}
    head = facts.subject.head_commit[:12]
    made: list[Operation] = []
    for run in facts.active:
        title = parse_title(run.title)
        if title is None or run.event != "workflow_dispatch" or title.pull != facts.subject.pull_request:
            continue
        plan = planned.get(title.model)
        if plan is None:
            continue
        digest = plan.input_digest.removeprefix("sha256:")[:12]
        same_inputs = title.experiment or facts.request.experiment or not digest or title.digest == digest
        if title.head != head or not same_inputs:
            made.append(CancelRun(run_id=run.id, why=f"replaced by {head}"))
    return made


def after_dispatch(plan: Plan, operations: Iterable[Operation], applied: Iterable[Applied]) -> list[Operation]:
    """What to write after dispatches: the queued comment links its run; where one failed, comment and check say so."""
    operations, applied = tuple(operations), tuple(applied)
    failed = {
        one.operation.inputs["model"]: (one.error, _experiment(one.operation))
        for one in applied
        if one.outcome == "failed" and isinstance(one.operation, DispatchWorkflow)
    }
    made: list[Operation] = []
    for one in applied:
        if isinstance(one.operation, DispatchWorkflow) and one.outcome == "created" and one.url:
            made += _linked(operations, _marker(one.operation), one.url)
    for name, (error, experiment) in failed.items():
        mark = marker(name, experiment=experiment)
        told = words.not_started(mark, name, TracksideError(error or "the workflow could not be started"))
        for operation in operations:
            if isinstance(operation, UpsertComment) and operation.marker == mark:
                made.append(UpsertComment(issue=operation.issue, marker=operation.marker, body=told))
            elif isinstance(operation, UpsertCheck) and operation.name == check_name(name):
                made.append(
                    replace(operation, conclusion="failure", title="training could not be started", summary=told)
                )
    return made


def _experiment(dispatch: DispatchWorkflow) -> bool:
    return dispatch.inputs.get("overrides", "{}") != "{}"


def _marker(dispatch: DispatchWorkflow) -> str:
    """Of the comment about a dispatched run."""
    return marker(dispatch.inputs["model"], experiment=_experiment(dispatch))


def _linked(operations: Iterable[Operation], mark: str, url: str) -> Iterator[Operation]:
    """The queued comment again with the run's address, unless newer words stand there by now."""
    for operation in operations:
        if isinstance(operation, UpsertComment) and operation.marker == mark:
            body = words.linked(operation.body, url)
            if body != operation.body:
                yield replace(operation, body=body, only_over=operation.body)
