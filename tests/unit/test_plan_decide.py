"""Deciding, as a pure function: rules that hold for every combination of facts."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from trackside.config.model import Config, Model, TrainPolicy
from trackside.documents.codec import dump, load
from trackside.documents.plan import Plan, Subject
from trackside.documents.run import Environment, Run, Source, Trigger
from trackside.errors import ConfigError
from trackside.forge.model import WorkflowRun
from trackside.forge.operations import CancelRun, DispatchWorkflow, UpsertCheck, UpsertComment
from trackside.plan.decide import decide
from trackside.plan.facts import Facts, ModelFacts, Published
from trackside.plan.pipeline import PipelineInputs, ResolvedStage
from trackside.plan.titles import run_title
from trackside.reasons import REASONS
from trackside.report.marker import marker

REPO, HEAD = "acme/flights", "a" * 40
DIGESTS = [f"sha256:{char * 64}" for char in "123"]
HOSTILE = "@octo\n```\n<img src=x>|`#1"
NAMES = ("delay", "Delay_2", "x")


def _inputs(digest: str, missing: tuple[str, ...], volatile: tuple[str, ...]) -> PipelineInputs:
    stage = ResolvedStage(
        name="s",
        wdir=".",
        cmd=(digest,),
        deps=(HOSTILE,),
        outs=(),
        metrics=(),
        plots=(),
        params={"p": {HOSTILE: digest}},
    )
    return PipelineInputs(
        commit=HEAD,
        stages=(stage,),
        targets=("s",),
        dependencies=(),
        params={HOSTILE: digest},
        missing=missing,
        volatile=volatile,
        digest=digest,
    )


def _run(model: str, digest: str, status: Any, head_repository: str, experiment: bool, commit: str) -> Run:
    return Run(
        id="0123456789ab",
        model=model,
        status=status,
        reason_code="",
        input_digest=digest,
        source=Source(repository=REPO, commit=commit, head_repository=head_repository),
        trigger=Trigger(event="workflow_dispatch"),
        started_at="",
        finished_at="",
        experiment=experiment,
        environment=Environment(python="3.12", os="linux"),
    )


@st.composite
def model_facts(draw: st.DrawFn, name: str) -> ModelFacts:
    broken = draw(st.integers(0, 9)) == 9
    digest = draw(st.sampled_from(DIGESTS))
    missing = draw(st.sampled_from([(), (), (), (HOSTILE,)]))
    volatile = draw(st.sampled_from([(), (), ("https://h/x",)]))
    current = None if broken else _inputs(digest, missing, volatile)
    base = draw(st.none() | st.sampled_from(DIGESTS))
    recorded = st.builds(
        _run,
        st.sampled_from([name, "other"]),
        st.sampled_from([digest, digest, digest, DIGESTS[0]]),
        st.sampled_from(["succeeded", "succeeded", "failed"]),
        st.sampled_from([REPO, REPO, "", "mallory/flights"]),
        st.sampled_from([False, False, True]),
        st.sampled_from([HEAD, "c" * 40]),
    )
    return ModelFacts(
        model=Model(name=name, path="m"),
        current=current,
        baseline=_inputs(base, (), ()) if base else None,
        error=ConfigError(HOSTILE, file="trackside.yaml", line=3, reason_code="config_invalid") if broken else None,
        recorded=draw(st.none() | recorded),
    )


@st.composite
def all_facts(draw: st.DrawFn) -> Facts:
    kind: Any = draw(st.sampled_from(["pull_request", "pull_request", "merge_group"]))
    pull = 7 if kind == "pull_request" else None
    names = draw(st.sets(st.sampled_from(NAMES)))
    titles = st.builds(
        run_title,
        st.sampled_from(NAMES),
        pull=st.sampled_from([7, 8, None]),
        head=st.sampled_from([HEAD, "b" * 40]),
        digest=st.sampled_from(DIGESTS),
        experiment=st.booleans(),
    ) | st.just("train anything")
    rest: dict[str, Any] = dict.fromkeys(("path", "head_sha", "head_branch", "actor"), "")
    events = st.sampled_from(["workflow_dispatch", "push"])
    active = [
        WorkflowRun(id=n, title=title, event=event, status="queued", conclusion=None, **rest)
        for n, (title, event) in enumerate(draw(st.lists(st.tuples(titles, events), max_size=4)))
    ]
    on: Any = draw(st.sampled_from(["pull_request", "pull_request", "pull_request", "label", "command"]))
    cap = draw(st.sampled_from([None, 1.0]))
    return Facts(
        subject=Subject(
            kind=kind,
            repository=REPO,
            commit=HEAD,
            base_commit="d" * 40,
            head_commit=HEAD,
            head_repository=REPO,
            pull_request=pull,
            branch=HOSTILE,
        ),
        config=Config(models=(), train=TrainPolicy(on=on, runs_on=("gpu", HOSTILE), gpu_hours_per_pull=cap)),
        models=[draw(model_facts(name)) for name in sorted(names)],
        from_fork=pull is not None and draw(st.booleans()),
        draft=pull is not None and draw(st.integers(0, 9)) == 9,
        labels=draw(st.sampled_from([frozenset(), frozenset({"train"})])),
        problem=draw(st.sampled_from([None] * 9 + [ConfigError(HOSTILE, reason_code="merge_conflict")])),
        gpu_seconds=draw(st.sampled_from([0.0, 3600.0])),
        active=active,
        commented=frozenset(draw(st.sets(st.sampled_from(NAMES)))),
        policy_changes=draw(st.sampled_from([[], [HOSTILE]])),
        url="https://github.com/acme/flights/pull/7",
        runs_url="https://github.com/acme/flights/actions",
    )


def shown(passed: bool) -> Any:
    def report(run: Run, baseline: Run | None, model: Model, facts: Facts) -> Published:
        body = f"{marker(model.name)}\nreport"
        return Published(passed=passed, conclusion="failure", title="t", summary="s", body=body)

    return report


def _check_texts(body: str) -> None:
    """Foreign text stands in code only: nothing else has a mention, an issue number or HTML."""
    bare = re.sub(r"(`{3,})text\n.*?\n\1\n", "", body + "\n", flags=re.DOTALL)
    bare = re.sub(r"(`+)[^`].*?[^`]\1(?!`)", "", bare)
    bare = re.sub(r"^<!-- trackside:[a-z]+ model=[A-Za-z0-9_-]+ -->$", "", bare, flags=re.MULTILINE)
    assert not re.search(r"@octo|<img|#1", bare), body


def test_rules_that_hold_for_all_facts() -> None:
    seen: Counter[str] = Counter()

    @settings(max_examples=1000, deadline=None, database=None, derandomize=True)
    @given(all_facts(), st.booleans())
    def rules(facts: Facts, passed: bool) -> None:
        plan, operations = decide(facts, shown(passed))
        again = decide(facts, shown(passed))
        assert (plan, operations) == again
        assert load(Plan, dump(plan)) == plan
        assert [one.model for one in plan.models] == [one.model.name for one in facts.models]
        dispatched = [one for one in operations if isinstance(one, DispatchWorkflow)]
        trained = [one.model for one in plan.models if one.decision == "train"]
        assert [one.inputs["model"] for one in dispatched] == trained
        if facts.from_fork or facts.draft or facts.problem is not None:
            assert not dispatched
        if facts.subject.kind == "merge_group":
            assert not [one for one in operations if isinstance(one, UpsertComment | CancelRun)]
        kinds = [type(one) for one in operations]
        ranks = {UpsertComment: 0, UpsertCheck: 0, CancelRun: 1, DispatchWorkflow: 2}
        assert [ranks[kind] for kind in kinds] == sorted(ranks[kind] for kind in kinds)
        for one, model in zip(plan.models, facts.models, strict=True):
            seen[f"{one.decision}: {one.reason_code}"] += 1
            assert one.reason_code in REASONS
            checks = [o for o in operations if isinstance(o, UpsertCheck) and o.name == f"trackside / {one.model}"]
            comments = [o for o in operations if isinstance(o, UpsertComment) and o.marker == marker(one.model)]
            if one.reason_code == "draft":
                assert not checks
                assert not comments
                continue
            started = next((o.unless_title for o in dispatched if o.inputs["model"] == one.model), None)
            if started in [run.title for run in facts.active if run.event == "workflow_dispatch"]:
                seen["under way: inputs_changed"] += 1
                assert not checks
                assert not comments
                continue
            (check,) = checks
            assert check.head_sha == HEAD
            green = one.decision == "nothing" or (one.decision == "reuse" and passed)
            assert (check.conclusion == "success") == green
            assert check.conclusion not in ("neutral", "skipped")
            assert (check.conclusion is None) == (one.decision == "train")
            if one.decision == "reuse":
                assert model.recorded is not None
                assert model.recorded.source.head_repository == REPO
                assert not model.recorded.experiment
            assert len(comments) <= 1
            for comment in comments:
                assert comment.body.startswith(comment.marker)
                _check_texts(comment.body)
            _check_texts(check.summary)
        for cancel in (one for one in operations if isinstance(one, CancelRun)):
            run = facts.active[cancel.run_id]
            assert run.event == "workflow_dispatch"
            assert " for #7 at " in run.title
            assert run.title not in [one.unless_title for one in dispatched]

    rules()
    print(f"{seen.total()} decisions: {dict(sorted(seen.items()))}")
    assert {key.split(": ")[1] for key in seen} == {
        "already_trained",
        "baseline_unknown",
        "command_only",
        "config_invalid",
        "dependency_missing",
        "draft",
        "fork",
        "gpu_hours_used_up",
        "inputs_changed",
        "inputs_unchanged",
        "label_missing",
        "merge_conflict",
    }


def test_no_models_ask_for_nothing() -> None:
    subject = Subject(kind="pull_request", repository=REPO, commit=HEAD, head_commit=HEAD, pull_request=7)
    plan, operations = decide(Facts(subject=subject, config=Config(models=()), models=[]), shown(True))
    assert (plan.models, operations) == ([], [])
