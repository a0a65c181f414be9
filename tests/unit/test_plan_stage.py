"""Plan and admit against the sandbox: real HTTP, real git over HTTP, real records on the data branch."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from plan_samples import FILES, PROCESSES

from conftest import ENV, bot_forge, user
from trackside.config.model import Model
from trackside.documents.run import Environment, Run, Source, Trigger, Usage
from trackside.errors import ConfigError, NotFound, Refused, ToolError
from trackside.event.model import Event, PullRequestEvent
from trackside.event.parse import parse_event
from trackside.forge.github import GithubForge
from trackside.forge.operations import CancelRun, DispatchWorkflow, UpsertCheck, UpsertComment
from trackside.plan.admit import admit
from trackside.plan.decide import after_dispatch
from trackside.plan.facts import Facts, Published
from trackside.plan.stage import Planned, Ports, plan_event
from trackside.report.marker import marker
from trackside.report.reuse import reused
from trackside.sandbox.actions.dispatcher import Dispatcher
from trackside.sandbox.bus import HookEvent
from trackside.sandbox.server import Sandbox
from trackside.store.branch import ApiRunStore
from trackside.system.clock import SystemClock

ADA, MALLORY = user("ada"), user("mallory")
# The shipped workflow less its last job, which runs after a cancel too and would wait for a runner for ever.
TRAIN_YML = (Path(__file__).parents[2] / "workflows" / "train.yml").read_bytes().partition(b"\n  publish:")[0]
SAMPLE = {name: text.encode() for name, text in FILES.items()} | {".github/workflows/train.yml": TRAIN_YML}
BOUND = "[evaluate], metrics: {auc: {file: metrics.json, direction: max, min: 0.7}}}"
NEW_LR = {"params.yaml": FILES["params.yaml"].replace("lr: 0.1", "lr: 0.2").encode()}


def shown(run: Run, baseline: Run | None, model: Model, facts: Facts) -> Published:
    """A report as publishing needs it; the gate is the run's metric against a bound."""
    passed = all(metric.value is not None and metric.value >= 0.7 for metric in run.metrics)
    text = f"{marker(model.name)}\n\nreport of {run.id} against {baseline.id if baseline else 'nothing'}\n"
    return Published(
        passed=passed,
        conclusion="success" if passed else "failure",
        title=f"report of {run.id}",
        summary=text,
        body=text,
    )


@dataclass
class Place:
    """A repository of the sandbox with the sample pipeline on main."""

    sandbox: Sandbox
    repo: str
    workdir: Path
    events: list[HookEvent]

    def event(self, name: str, action: str | None = None, **more: Any) -> Event:
        """The newest delivered event of a name; with another action and other fields if asked for."""
        hook = [one for one in self.events if one.name == name][-1]
        return parse_event(name, {**hook.payload, **({"action": action} if action else {}), **more}, {})

    def ports(self, **permissions: str) -> Ports:
        held = permissions or {"contents": "read", "pull-requests": "write", "checks": "write", "actions": "write"}
        forge = bot_forge(self.sandbox, self.repo, held)
        return Ports(
            forge=forge,
            store=ApiRunStore(forge, "trackside-data"),
            processes=PROCESSES,
            clock=SystemClock(),
            git_url=f"{self.sandbox.url}/{self.repo}",
            token=forge._token,
            workdir=self.workdir,
            web_url=f"{self.sandbox.url}/{self.repo}",
        )

    def commit(self, branch: str, files: dict[str, bytes | None], who: dict[str, object] = ADA) -> str:
        return self.sandbox.hub.commit_folder(self.repo, branch, files, "change", who)

    def pull(self, branch: str = "topic", files: dict[str, bytes | None] | None = None, **more: Any) -> int:
        self.commit(branch, dict(NEW_LR) if files is None else files)
        return self.sandbox.hub.open_pull(self.repo, title="Change", head=branch, base="main", actor=ADA, **more)

    def plan(self, number: int, action: str = "opened", ports: Ports | None = None, **more: Any) -> Planned:
        event = self.event("pull_request_target", action, **more)
        assert isinstance(event, PullRequestEvent)
        event = replace(event, number=number)
        return plan_event(event, ports or self.ports(), report=shown)

    def record(self, planned: Planned, *, value: float = 0.8, **source: Any) -> Run:
        """Record a run as if the training that was planned had been done."""
        (plan,), subject = planned.plan.models, planned.plan.subject
        run = Run(
            id="0123456789ab",
            model=plan.model,
            status="succeeded",
            reason_code="",
            input_digest=plan.input_digest,
            source=msgspec.structs.replace(
                Source(
                    repository=self.repo,
                    commit=subject.commit,
                    head_commit=subject.head_commit,
                    head_repository=subject.head_repository,
                    pull_request=subject.pull_request,
                ),
                **source,
            ),
            trigger=Trigger(event="workflow_dispatch"),
            started_at="2026-01-01T00:00:00Z",
            finished_at="2026-01-01T01:00:00Z",
            environment=Environment(python="3.12", os="linux"),
            usage=Usage(gpu_seconds=3600.0),
            metrics=[{"name": "auc", "value": value, "file": "metrics.json"}],
        )
        run = msgspec.convert(msgspec.to_builtins(run), Run)
        store = ApiRunStore(bot_forge(self.sandbox, self.repo), "trackside-data")
        (applied,) = bot_forge(self.sandbox, self.repo).apply([store.operations_for(run, reusable=True)])
        assert applied.outcome == "created", applied
        return run


@pytest.fixture
def place(sandbox: Sandbox, repo: str, tmp_path: Path) -> Place:
    events: list[HookEvent] = []
    sandbox.hub.bus.subscribe(lambda hook: events.append(hook) if hook.repo == repo else None)
    made = Place(sandbox, repo, tmp_path, events)
    made.commit("main", dict(SAMPLE))
    return made


@pytest.fixture
def dispatcher(sandbox: Sandbox) -> Iterator[Dispatcher]:
    """Dispatched runs wait for ever: there is no runner."""
    made = Dispatcher(sandbox.hub, ENV, {}, runners=())
    sandbox.dispatcher = made
    made.start()
    yield made
    made.stop()
    sandbox.dispatcher = None
    sandbox.hub.bus._listeners.remove(made._accept)


def kinds(planned: Planned) -> list[str]:
    return [type(operation).__name__ for operation in planned.operations]


def check(planned: Planned) -> UpsertCheck:
    (found,) = [one for one in planned.operations if isinstance(one, UpsertCheck)]
    return found


def comment(planned: Planned) -> str:
    (found,) = [one for one in planned.operations if isinstance(one, UpsertComment)]
    return found.body


def dispatch(planned: Planned) -> DispatchWorkflow:
    (found,) = [one for one in planned.operations if isinstance(one, DispatchWorkflow)]
    return found


def test_a_changed_parameter_is_queued_once_however_often_it_is_planned(place: Place, dispatcher: Dispatcher) -> None:
    number = place.pull()
    ports = place.ports()
    planned = place.plan(number, ports=ports)
    (plan,) = planned.plan.models
    assert (plan.decision, plan.reason_code, planned.training) == ("train", "inputs_changed", ["delay"])
    assert plan.changed == ["parameter train.lr"]
    assert plan.input_digest != plan.baseline_digest
    assert kinds(planned) == ["UpsertComment", "UpsertCheck", "DispatchWorkflow"]
    pull = ports.forge.pull(number)
    started = dispatch(planned)
    assert (started.workflow, started.ref) == ("train.yml", "main")
    assert started.inputs == {
        "model": "delay",
        "title": f"train delay for #{number} at {pull.head_sha[:12]} ({plan.input_digest[7:19]})",
        "commit": pull.merge_sha,
        "base-commit": pull.base_sha,
        "head-commit": pull.head_sha,
        "head-repository": place.repo,
        "pull-request": str(number),
        "branch": "topic",
        "input-digest": plan.input_digest,
        "overrides": "{}",
    }
    assert (check(planned).conclusion, check(planned).head_sha) == (None, pull.head_sha)
    assert "`self-hosted`, `gpu`" in comment(planned)
    assert f"/{place.repo}/actions/workflows/train.yml" in comment(planned)
    first = ports.forge.apply(planned.operations)
    assert [one.outcome for one in first] == ["created", "created", "created"], first
    assert dispatcher.wait_idle(20)
    again = place.plan(number, ports=ports)
    assert again.operations == planned.operations[2:], "the run may be publishing: its words are left alone"
    assert [one.outcome for one in ports.forge.apply(again.operations)] == ["skipped"]


def test_nothing_of_the_pull_request_is_executed_or_checked_out(place: Place, tmp_path: Path) -> None:
    mark = tmp_path / "MARK"
    evil = f"import os\nopen({str(mark)!r}, 'w')\nos.system('touch {mark}')\nrate = 1\n".encode()
    files = {
        "dvc.yaml": FILES["dvc.yaml"].replace("[train.lr, train.depth]", "[train.lr, {conf.py: [rate]}]").encode(),
        "conf.py": evil,
        "src/train.py": evil,
        ".dvc/config": f"[core]\n hooks = touch {mark}\n".encode(),
        ".gitattributes": b"* filter=evil\n",
        ".gitmodules": b'[submodule "x"]\n\tpath = x\n\turl = file:///nonexistent\n',
        "sitecustomize.py": evil,
        "dvc.py": evil,
        "yaml.py": evil,
    }
    planned = place.plan(place.pull(files=files))
    assert planned.training == ["delay"]
    assert planned.plan.models[0].params["conf.py:rate"] == 1
    assert not mark.exists()
    assert not list(place.workdir.rglob("*.py"))
    config = (place.workdir / "objects.git" / "config").read_text()
    assert "extraheader" not in config
    assert "job-" not in config


def test_readme_only_is_green_at_once_without_a_comment(place: Place) -> None:
    planned = place.plan(place.pull(files={"README.md": b"new\n"}))
    (plan,) = planned.plan.models
    assert (plan.decision, plan.reason_code) == ("nothing", "inputs_unchanged")
    assert kinds(planned) == ["UpsertCheck"]
    assert check(planned).conclusion == "success"


def test_going_back_to_the_base_replaces_the_comment_and_cancels_the_run(place: Place, dispatcher: Dispatcher) -> None:
    number = place.pull()
    ports = place.ports()
    planned = place.plan(number, ports=ports)
    ports.forge.apply(planned.operations)
    assert dispatcher.wait_idle(20)
    run = ports.forge.runs("train.yml", active=True)[0]
    place.commit("topic", {"params.yaml": FILES["params.yaml"].encode()})
    back = place.plan(number, "synchronize", ports=ports)
    assert kinds(back) == ["UpsertComment", "UpsertCheck", "CancelRun"]
    assert [one.run_id for one in back.operations if isinstance(one, CancelRun)] == [run.id]
    assert "nothing to train" in comment(back)


def test_a_re_run_of_the_older_run_does_not_end_the_newest(place: Place, dispatcher: Dispatcher) -> None:
    number, ports = place.pull(), place.ports()
    ports.forge.apply(place.plan(number, ports=ports).operations)
    assert dispatcher.wait_idle(20)
    (older,) = ports.forge.runs("train.yml", active=True)
    place.commit("topic", {"src/train.py": b"newer\n"})
    ports.forge.apply(place.plan(number, "synchronize", ports=ports).operations)
    assert dispatcher.wait_idle(20)
    (newest,) = ports.forge.runs("train.yml", active=True)
    assert newest.id != older.id
    dispatcher.rerun(place.repo, older.id)
    assert dispatcher.wait_idle(20)
    assert {run.id for run in ports.forge.runs("train.yml", active=True)} == {older.id, newest.id}


def test_a_newer_push_cancels_the_older_run_of_this_pull_request_alone(place: Place, dispatcher: Dispatcher) -> None:
    one, two = place.pull("one"), place.pull("two", {"params.yaml": b"months: 4\ntrain: {lr: 1, depth: 2}\n"})
    ports = place.ports()
    for number in (one, two):
        ports.forge.apply(place.plan(number, ports=ports).operations)
    assert dispatcher.wait_idle(20)
    active = ports.forge.runs("train.yml", active=True)
    assert len(active) == 2
    place.commit("one", {"src/train.py": b"new\n"})
    planned = place.plan(one, "synchronize", ports=ports)
    cancelled = [operation.run_id for operation in planned.operations if isinstance(operation, CancelRun)]
    assert cancelled == [run.id for run in active if f"#{one} " in run.title]
    assert kinds(planned)[-2:] == ["CancelRun", "DispatchWorkflow"]


@pytest.mark.parametrize(("value", "conclusion"), [(0.8, "success"), (0.6, "failure")])
def test_recorded_inputs_are_reused_with_the_gate_of_their_report(place: Place, value: float, conclusion: str) -> None:
    run = place.record(place.plan(place.pull("first")), value=value)
    place.commit("second", {**NEW_LR, "README.md": b"second\n"})
    number = place.sandbox.hub.open_pull(place.repo, title="x", head="second", base="main", actor=ADA)
    planned = place.plan(number)
    (plan,) = planned.plan.models
    assert (plan.decision, plan.reason_code, plan.run) == ("reuse", "already_trained", run.id)
    assert kinds(planned) == ["UpsertComment", "UpsertCheck"]
    assert check(planned).conclusion == conclusion
    assert f"report of {run.id}" in comment(planned)


def test_the_real_report_of_a_reused_run_is_shown(place: Place) -> None:
    place.commit("main", {"trackside.yaml": FILES["trackside.yaml"].replace("[evaluate]}", BOUND).encode()})
    number = place.pull()
    run = place.record(place.plan(number), value=0.6)
    planned = plan_event(replace(place.event("pull_request_target"), number=number), place.ports(), report=reused)
    assert planned.plan.models[0].run == run.id
    assert check(planned).conclusion == "failure"
    assert [note.path for note in check(planned).annotations] == ["trackside.yaml"]
    assert marker("delay") in comment(planned)
    assert "auc" in comment(planned)
    ports = place.ports()
    assert [one.outcome for one in ports.forge.apply(planned.operations)] == ["created", "created"]
    again = plan_event(replace(place.event("pull_request_target"), number=number), ports, report=reused)
    assert [one.outcome for one in ports.forge.apply(again.operations)] == ["unchanged", "unchanged"]


@pytest.mark.parametrize("source", [{"head_repository": "mallory/flights"}])
def test_what_a_fork_trained_is_never_reused(place: Place, source: dict[str, str]) -> None:
    number = place.pull()
    place.record(place.plan(number), **source)
    assert place.plan(number).training == ["delay"]


def test_a_url_dependency_is_reused_for_the_very_commit_only(place: Place) -> None:
    files = {"dvc.yaml": FILES["dvc.yaml"].replace("data/raw.csv]", "https://example.org/x.csv]").encode()}
    number = place.pull(files=files)
    place.record(place.plan(number))
    assert place.plan(number).plan.models[0].decision == "reuse"
    place.commit("topic", {"README.md": b"other commit\n"})
    assert place.plan(number, "synchronize").training == ["delay"]


def fork_pull(place: Place, files: dict[str, bytes | None]) -> int:
    hub, fork = place.sandbox.hub, f"mallory/{place.repo.split('/')[1]}"
    hub.add_repo(fork, parent=place.repo)
    hub.commit_folder(fork, "evil", files, "change", MALLORY)
    return hub.open_pull(place.repo, title="x", head="mallory:evil", base="main", actor=MALLORY)


def test_a_fork_starts_nothing_and_is_told_which_command_does(place: Place) -> None:
    number = fork_pull(place, dict(NEW_LR))
    ports = place.ports()
    planned = place.plan(number, ports=ports)
    (plan,) = planned.plan.models
    assert (plan.decision, plan.reason_code) == ("refused", "fork")
    assert kinds(planned) == ["UpsertComment", "UpsertCheck"]
    assert check(planned).conclusion == "action_required"
    head = ports.forge.pull(number).head_sha
    assert f"/train delay sha={head}" in comment(planned)
    script = comment(planned).partition("```sh\n")[2].partition("```")[0]
    words = shlex.split(script)
    assert words[:6] == ["gh", "workflow", "run", "train.yml", "--ref", "main"]
    inputs = dict(word.split("=", 1) for word in words if "=" in word)
    assert inputs["head-commit"] == head
    admitted = admit(inputs, replace(place.ports(), workdir=place.workdir / "by-hand"), actor="ada")
    assert (admitted.subject.pull_request, admitted.subject.commit) == (number, inputs["commit"])
    outcomes = [one.outcome for one in ports.forge.apply(planned.operations)]
    assert outcomes == ["created", "created"]


def test_a_forks_readme_change_is_green(place: Place) -> None:
    planned = place.plan(fork_pull(place, {"README.md": b"x\n"}))
    assert planned.plan.models[0].decision == "nothing"
    assert check(planned).conclusion == "success"


def test_drafts_are_skipped_without_a_word(place: Place) -> None:
    planned = place.plan(place.pull(draft=True))
    assert planned.plan.models[0].reason_code == "draft"
    assert planned.operations == []


def policy(text: str) -> dict[str, bytes | None]:
    return {"trackside.yaml": (FILES["trackside.yaml"] + text).encode()}


def test_label_and_command_policies_wait(place: Place) -> None:
    place.commit("main", policy("train: {on: label, label: gpu please}\n"))
    number = place.pull()
    ports = place.ports()
    waiting = place.plan(number)
    ports.forge.apply(waiting.operations)
    assert waiting.plan.models[0].reason_code == "label_missing"
    assert check(waiting).conclusion == "action_required"
    assert "`gpu please`" in comment(waiting)
    place.sandbox.hub.add_labels(place.repo, number, ["gpu please"], ADA)
    queued = place.plan(number, "labeled", label={"name": "gpu please"})
    assert queued.training == ["delay"]
    assert place.plan(number, "labeled", label={"name": "bug"}).training == ["delay"], "it pushed out the other event"
    ports.forge.apply([replace(check(queued), conclusion="failure")])
    other = place.plan(number, "labeled", label={"name": "bug"})
    assert (other.reason_code, other.operations) == ("label_ignored", [])
    place.commit("main", policy("train: {on: command}\n"))
    assert place.plan(number, "synchronize").plan.models[0].reason_code == "command_only"


def test_a_label_that_pushed_out_the_event_of_a_push_plans_in_its_place(place: Place) -> None:
    """GitHub keeps one waiting run a group: opened waits, a label comes, and only the label's run is left."""
    number, ports = place.pull(), place.ports()
    planned = place.plan(number, "labeled", label={"name": "bug"}, ports=ports)
    assert kinds(planned) == ["UpsertComment", "UpsertCheck", "DispatchWorkflow"]
    ports.forge.apply(planned.operations[:2])
    assert place.plan(number, "labeled", label={"name": "bug"}).training == ["delay"], "in progress without a run"
    ports.forge.apply([replace(check(planned), conclusion="failure")])
    assert place.plan(number, "labeled", label={"name": "bug"}).reason_code == "label_ignored"
    place.commit("topic", {"src/train.py": b"newer\n"})
    assert place.plan(number, "labeled", label={"name": "bug"}).training == ["delay"]


def test_the_gpu_hour_cap_counts_the_runs_of_this_pull_request(place: Place) -> None:
    place.commit("main", policy("train: {gpu-hours-per-pull: 1}\n"))
    number, other = place.pull(), place.pull("other", {"src/train.py": b"z\n"})
    place.record(place.plan(number))
    place.commit("topic", {"src/train.py": b"y\n"})
    planned = place.plan(number, "synchronize")
    assert planned.plan.models[0].reason_code == "gpu_hours_used_up"
    assert check(planned).conclusion == "action_required"
    assert place.plan(other).training == ["delay"]


def test_a_conflict_is_an_explained_failure(place: Place) -> None:
    number = place.pull()
    place.commit("main", {"params.yaml": b"months: 9\n"})
    planned = place.plan(number)
    assert planned.plan.models[0].reason_code == "merge_conflict"
    assert check(planned).conclusion == "failure"
    assert "rebase" in comment(planned)


def test_an_unreadable_pipeline_is_an_explained_failure_that_pings_nobody(place: Place) -> None:
    text = FILES["dvc.yaml"].replace("src/train.py, src/lib", "'../@octo\n```\n# x', src/lib")
    planned = place.plan(place.pull(files={"dvc.yaml": text.encode()}))
    assert planned.plan.models[0].decision == "failed"
    assert check(planned).conclusion == "failure"
    missing = place.plan(place.pull("gone", {"src/train.py": None}))
    assert missing.plan.models[0].reason_code == "dependency_missing"
    assert "src/train.py" in comment(missing)


def test_the_pull_requests_own_broken_policy_is_a_failure_on_its_line(place: Place) -> None:
    planned = place.plan(place.pull(files={"trackside.yaml": FILES["trackside.yaml"].encode() + b"tran: {}\n"}))
    assert planned.plan.models[0].reason_code == "config_invalid"
    (note,) = check(planned).annotations
    assert (note.path, note.line) == ("trackside.yaml", 4)


def test_policy_edits_are_listed_and_have_no_effect(place: Place) -> None:
    files = {**NEW_LR, **policy("train: {runs-on: [evil], timeout-minutes: 7000}\n")}
    planned = place.plan(place.pull(files=files))
    assert planned.plan.policy_changes == ["train.runs-on", "train.timeout-minutes"]
    assert "evil" not in comment(planned)
    assert "`train.runs-on`" in comment(planned)


def test_a_broken_policy_on_the_default_branch_is_told_and_withdrawn(place: Place) -> None:
    number = place.pull(files={"README.md": b"x\n"})
    place.commit("main", {"trackside.yaml": b"version: 2\n"})
    ports = place.ports()
    planned = place.plan(number, ports=ports)
    assert (check(planned).name, check(planned).conclusion) == ("trackside", "failure")
    assert "trackside.yaml:1" in comment(planned)
    ports.forge.apply(planned.operations)
    place.commit("main", {"trackside.yaml": FILES["trackside.yaml"].encode()})
    assert "again" in comment(place.plan(number, ports=ports))


def test_no_policy_no_models_and_other_events_ask_for_nothing(place: Place) -> None:
    number = place.pull()
    ignored = place.plan(number, "closed")
    push = parse_event("schedule", {"schedule": "1 1 * * *"}, {"GITHUB_SHA": "0" * 40})
    assert (ignored.reason_code, ignored.operations) == ("event_ignored", [])
    assert plan_event(push, place.ports(), report=shown).operations == []
    place.commit("main", {"trackside.yaml": None})
    assert (place.plan(number).reason_code, place.plan(number).operations) == ("not_configured", [])


def test_a_merge_group_is_checked_on_its_own_head(place: Place) -> None:
    number = place.pull()
    head = place.sandbox.hub.enqueue(place.repo, number, ADA)
    event = place.event("merge_group")
    ports = place.ports()
    planned = plan_event(event, ports, report=shown)
    assert kinds(planned) == ["UpsertCheck", "DispatchWorkflow"]
    assert check(planned).head_sha == head
    admitted = admit(dispatch(planned).inputs, ports, actor="github-actions[bot]")
    assert (admitted.subject.kind, admitted.subject.commit, admitted.reusable) == ("merge_group", head, True)
    place.record(place.plan(number))
    reused = plan_event(event, ports, report=shown)
    assert kinds(reused) == ["UpsertCheck"]
    assert (check(reused).conclusion, check(reused).head_sha) == ("success", head)


def test_a_failed_dispatch_turns_the_check_into_an_explained_failure(place: Place) -> None:
    number = place.pull()
    ports = place.ports(**{"contents": "read", "pull-requests": "write", "checks": "write", "actions": "read"})
    planned = place.plan(number, ports=ports)
    applied = ports.forge.apply(planned.operations)
    assert [one.outcome for one in applied] == ["created", "created", "failed"]
    after = after_dispatch(planned.plan, planned.operations, applied)
    assert [type(one).__name__ for one in after] == ["UpsertComment", "UpsertCheck"]
    assert "actions: write" in comment(replace(planned, operations=after))
    assert [one.outcome for one in ports.forge.apply(after)] == ["updated", "updated"]
    assert ports.forge.checks(check(planned).head_sha, name="trackside / delay")[0].conclusion == "failure"


Edit = Callable[[Place, dict[str, str]], None]


def _inputs(place: Place) -> dict[str, str]:
    return dict(dispatch(place.plan(place.pull())).inputs)


def test_what_was_planned_is_admitted_with_the_default_branchs_policy(place: Place) -> None:
    place.commit("main", policy("train: {runs-on: [big], timeout-minutes: 7}\n"))
    asked = _inputs(place)
    made = admit(asked, place.ports(contents="read", **{"pull-requests": "read"}), actor="github-actions[bot]")
    assert (made.runs_on, made.timeout_minutes) == (["big"], 7)
    assert (made.input_digest, made.subject.commit) == (asked["input-digest"], asked["commit"])
    assert (made.targets, made.stages) == (["evaluate"], ["prepare", "train", "evaluate"])
    assert (made.experiment, made.reusable, made.run, made.baseline_run) == (False, True, "", "")
    assert made.baseline_note
    record = place.record(place.plan(int(asked["pull-request"])))
    assert admit(asked, place.ports(), actor="ada").run == record.id


def test_a_base_that_moved_leaves_the_pinned_merge_result_valid(place: Place) -> None:
    asked = _inputs(place)
    place.commit("main", {"docs.md": b"x\n"})
    fresh = place.ports().forge.pull_with_merge(int(asked["pull-request"]))
    assert fresh.merge_sha != asked["commit"]
    made = admit(asked, replace(place.ports(), workdir=place.workdir / "other"), actor="github-actions[bot]")
    assert made.subject.base_commit == asked["base-commit"]


def test_experiments_are_admitted_with_other_inputs_and_never_reused(place: Place) -> None:
    asked = {**_inputs(place), "input-digest": "", "overrides": json.dumps({"train.lr": 0.5})}
    made = admit(asked, place.ports(), actor="ada")
    assert (made.experiment, made.reusable) == (True, False)
    assert made.params["train.lr"] == 0.5
    with pytest.raises(ConfigError, match="no parameter"):
        admit({**asked, "overrides": '{"nope": 1}'}, place.ports(), actor="ada")
    for wrong in ("[1]", "{", "1" * 70_000):
        with pytest.raises(ConfigError, match="overrides"):
            admit({**asked, "overrides": wrong}, place.ports(), actor="ada")


def test_a_model_alone_trains_the_tip_of_the_default_branch(place: Place) -> None:
    made = admit({"model": "delay"}, place.ports(), actor="ada")
    assert made.subject.commit == place.sandbox.hub.bare(place.repo).sha("refs/heads/main")
    assert (made.subject.kind, made.subject.pull_request, made.reusable) == ("commit", None, True)
    with pytest.raises(ConfigError, match="no model"):
        admit({"model": "@octo"}, place.ports(), actor="ada")


def test_a_commit_is_judged_against_its_own_first_parent(place: Place) -> None:
    """Whoever dispatches may not choose a worse baseline, which would turn a regression green."""
    worse = place.commit("worse", {"params.yaml": FILES["params.yaml"].replace("lr: 0.1", "lr: 99.0").encode()})
    tip = place.commit("topic", dict(NEW_LR))
    parent = place.sandbox.hub.bare(place.repo).commit(tip).parents[0]
    asked = {"model": "delay", "branch": "topic", "commit": tip}
    for base in ("", parent):
        assert admit({**asked, "base-commit": base}, place.ports(), actor="ada").subject.base_commit == parent
    for claim in (worse, tip):
        with pytest.raises(Refused, match="first parent"):
            admit({**asked, "base-commit": claim}, place.ports(), actor="ada")


def push_again(place: Place, asked: dict[str, str]) -> None:
    place.commit("topic", {"README.md": b"newer\n"})


def close(place: Place, asked: dict[str, str]) -> None:
    place.sandbox.hub.set_state(place.repo, int(asked["pull-request"]), "closed", ADA)


def other_policy(place: Place, asked: dict[str, str]) -> None:
    place.commit("main", {"trackside.yaml": FILES["trackside.yaml"].replace("[evaluate]", "[train]").encode()})


def forged_merge(place: Place, asked: dict[str, str]) -> None:
    """A commit that the attacker made: the head's tree is another, but the dispatch names the right head."""
    bare = place.sandbox.hub.bare(place.repo)
    tree = bare.commit(asked["head-commit"]).tree
    asked["commit"] = bare.write_commit(tree, [asked["head-commit"]], "forged\n")
    bare.update_ref("refs/heads/forged", asked["commit"])


REFUSED: dict[str, tuple[Edit, str]] = {
    "newer push": (push_again, "head_moved"),
    "closed": (close, "pull_closed"),
    "policy changed meanwhile": (other_policy, "digest_mismatch"),
    "not the merge": (forged_merge, "identity_mismatch"),
}
CLAIMS: list[tuple[dict[str, str], str]] = [
    ({"input-digest": "sha256:" + "0" * 64}, "digest_mismatch"),
    ({"pull-request": "99999"}, "identity_mismatch"),
    ({"pull-request": "1; id"}, "identity_mismatch"),
    ({"head-commit": "main"}, "identity_mismatch"),
    ({"head-commit": ""}, "head_moved"),
    ({"commit": "--upload-pack=x"}, "identity_mismatch"),
    ({"commit": ""}, "identity_mismatch"),
    ({"head-repository": "mallory/flights"}, "identity_mismatch"),
    ({"base-commit": "1" * 40}, "identity_mismatch"),
    ({"base-commit": ""}, "identity_mismatch"),
    ({"pull-request": ""}, "identity_mismatch"),
    ({"pull-request": "", "branch": "nope"}, "identity_mismatch"),
    ({"pull-request": "", "branch": "../../pulls/1"}, "identity_mismatch"),
]


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_longer_so_is_refused(place: Place, name: str) -> None:
    edit, code = REFUSED[name]
    asked = _inputs(place)
    edit(place, asked)
    with pytest.raises(Refused) as caught:
        admit(asked, place.ports(), actor="github-actions[bot]")
    assert caught.value.reason_code == code


def test_every_false_claim_is_refused(place: Place) -> None:
    asked, ports = _inputs(place), place.ports()
    for claim, code in CLAIMS:
        with pytest.raises(Refused) as caught:
            admit({**asked, **claim}, ports, actor="github-actions[bot]")
        assert caught.value.reason_code == code, claim
    print(f"{len(CLAIMS)} claims")
    assert len(CLAIMS) == 13


def test_a_commit_that_nobody_has_is_not_found(place: Place) -> None:
    with pytest.raises(NotFound) as caught:
        admit({**_inputs(place), "commit": "1" * 40}, place.ports(), actor="ada")
    assert caught.value.reason_code == "commit_gone"


def test_a_fork_is_admitted_on_a_maintainers_word_alone_and_never_reusable(place: Place) -> None:
    number = fork_pull(place, dict(NEW_LR))
    ports = place.ports()
    pull = ports.forge.pull_with_merge(number)
    asked = {
        "model": "delay",
        "commit": pull.merge_sha,
        "base-commit": pull.base_sha,
        "head-commit": pull.head_sha,
        "head-repository": pull.head_repo,
        "pull-request": str(number),
    }
    for actor in ("github-actions[bot]", "mallory", "nobody-at-all", ""):
        with pytest.raises(Refused) as caught:
            admit(asked, ports, actor=actor)
        assert caught.value.reason_code == "fork"
    made = admit(asked, ports, actor="ada")
    assert (made.subject.head_repository, made.reusable, made.experiment) == (pull.head_repo, False, False)
    place.commit(
        "main", {"trackside.yaml": (FILES["trackside.yaml"] + "commands: {train: {permission: maintain}}\n").encode()}
    )
    with pytest.raises(Refused):
        admit(asked, ports, actor="ada")


def test_the_token_reaches_neither_arguments_nor_files(place: Place) -> None:
    ports = place.ports()
    seen: list[tuple[str, ...]] = []

    class Watching(type(PROCESSES)):
        def _start(self, words: tuple[str, ...], **more: Any) -> Any:
            seen.append(words)
            return super()._start(words, **more)

    watched = replace(ports, processes=Watching(PROCESSES.env))
    place.plan(place.pull(), ports=watched)
    assert len(seen) > 5
    assert not [words for words in seen if ports.token in " ".join(words)]
    files = [path for path in place.workdir.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if ports.token.encode() in path.read_bytes()]


def test_a_token_that_git_refuses_is_explained(place: Place) -> None:
    ports = replace(place.ports(), token="wrong")
    with pytest.raises(ToolError, match="git could not fetch from http") as caught:
        place.plan(place.pull(), ports=ports)
    assert "contents: read" in caught.value.render()
    assert "wrong" not in caught.value.render()


def test_the_forge_of_these_tests_is_the_real_one(place: Place) -> None:
    assert isinstance(place.ports().forge, GithubForge)
    assert place.ports().git_url.startswith("http://127.0.0.1:")
