"""The default action: which stage an event asks for, and that one job never both trains and publishes."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from trackside.cli import parser
from trackside.combined import guard, kind_of
from trackside.config.inputs import inputs_of
from trackside.default import STAGES, Unfit, choose
from trackside.errors import Refused
from trackside.stages import STAGES as COMMANDS

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "src/trackside/default.py"
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text())

# event, payload, stage (None: refused with these words)
CHOICES: list[tuple[str, dict[str, Any], str | None, str]] = [
    ("pull_request", {"action": "opened"}, "plan", ""),
    ("pull_request_target", {"action": "labeled"}, "plan", ""),
    ("merge_group", {"action": "checks_requested"}, "plan", ""),
    ("push", {"ref": "refs/heads/main"}, "register", ""),
    ("schedule", {"schedule": "13 4 * * *"}, "drift", ""),
    ("issue_comment", {"action": "created"}, "command", ""),
    ("workflow_dispatch", {"inputs": {"task": "register"}}, "register", ""),
    ("workflow_dispatch", {"inputs": {"task": "promote", "model": "m"}}, "promote", ""),
    ("workflow_dispatch", {"inputs": {"task": "rollback", "model": "m"}}, "promote", ""),
    ("workflow_dispatch", {"inputs": {"task": "deprecate", "model": "m"}}, "promote", ""),
    ("workflow_dispatch", {"inputs": {"task": "check", "model": "m"}}, "drift", ""),
    ("workflow_dispatch", {"inputs": {"task": "retrain", "model": "m"}}, "retrain", ""),
    ("workflow_dispatch", {"inputs": {"pull-request": "3", "comment": "7"}}, "plan", ""),
    ("workflow_dispatch", {"inputs": {"model": "m", "pull-request": "3"}}, None, "stage: admit"),
    ("workflow_dispatch", {"inputs": {"task": "other", "model": "m"}}, None, "stage: admit"),
    ("workflow_dispatch", {"inputs": {"task": ["register"]}}, None, "without the input task"),
    ("workflow_dispatch", {"inputs": None}, None, "without the input task"),
    ("workflow_dispatch", {}, None, "without the input task"),
    ("workflow_run", {}, None, "no stage goes with the event"),
    ("release", {}, None, "no stage goes with the event"),
    ("", {}, None, "no stage goes with the event"),
]


def test_the_stage_of_an_event() -> None:
    for event, payload, stage, words in CHOICES:
        if stage is None:
            with pytest.raises(Unfit, match=re.escape(words)):
                choose(event, payload)
        else:
            assert choose(event, payload) == stage, (event, payload)
    print(f"{len(CHOICES)} events")
    assert len(CHOICES) == 21


def every_event() -> set[str]:
    """All events that GitHub's description knows, as GITHUB_EVENT_NAME has them."""
    packed = ROOT / "tests/golden/events/webhooks-examples.json.gz"
    names = {one["event"] for one in json.loads(gzip.decompress(packed.read_bytes()))}
    return names | {"pull_request_target", "schedule", "workflow_call", "merge_group"}


def test_every_stage_with_every_event() -> None:
    """Only the events of the table; whatever the stage, an event of strangers never trains."""
    events, cases = every_event(), 0
    assert len(events) > 50
    for event in sorted(events):
        for name, stage in STAGES.items():
            cases += 1
            if event in stage.events:
                assert choose(event, {}, name) == name
            else:
                with pytest.raises(Unfit, match="does not go with the event"):
                    choose(event, {}, name)
        if event not in {"workflow_dispatch", *(row[0] for row in CHOICES if row[2])}:
            with pytest.raises(Unfit):
                choose(event, {})
    print(f"{cases} pairs of stage and event")
    assert cases == len(events) * len(STAGES)
    assert STAGES["train"].events == {"workflow_dispatch"}


@given(
    st.text(), st.recursive(st.none() | st.text() | st.integers(), lambda x: st.dictionaries(st.text(), x)), st.text()
)
def test_no_payload_breaks_the_choice(event: str, payload: Any, stage: str) -> None:
    try:
        chosen = choose(event, payload if isinstance(payload, dict) else {}, stage)
    except Unfit:
        return
    assert chosen in STAGES


def test_the_table_is_that_of_the_commands_and_actions() -> None:
    assert {stage.command for stage in STAGES.values()} <= set(COMMANDS), "each stage exists"
    sub = next(one for one in parser()._subparsers._group_actions if one.choices)
    names = next(one for one in sub.choices["stage"]._actions if one.dest == "name").choices
    assert {stage.command for stage in STAGES.values()} <= set(names or ())
    for name, stage in STAGES.items():
        action = yaml.safe_load((ROOT / f"actions/{stage.command}/action.yml").read_text())
        assert action["runs"]["steps"][0]["env"]["TRACKSIDE_SET"] == stage.set, name


def test_the_action_hands_every_input_on() -> None:
    """What a single action takes, the default action takes too, under the same name."""
    steps = {step["id"]: step for step in ACTION["runs"]["steps"]}
    count = 0
    for command in dict.fromkeys(stage.command for stage in STAGES.values()):
        used = steps["run"] if command != "train" else steps["pull"]
        for row in inputs_of(command):
            if row.name in ("mode", "phase"):
                continue
            assert used["env"][row.variable] == f"${{{{ inputs.{row.name} }}}}", (command, row.name)
            if row.default.startswith("${{"):
                assert ACTION["inputs"][row.name]["default"] == row.default
            else:
                assert ACTION["inputs"][row.name]["default"] == "", "the stage's own default counts"
            count += 1
    assert count > 20
    assert steps["run"]["env"]["TRACKSIDE_MODE"] == "${{ steps.setup.outputs.mode }}"


def test_training_steps_see_no_token_and_code_of_pull_requests_no_credentials() -> None:
    for step in ACTION["runs"]["steps"]:
        if step["id"] in ("pull", "reproduce", "push", "record"):
            assert "token" not in json.dumps(step["env"]).lower()
            assert step["env"]["TRACKSIDE_PHASE"] == step["id"]
            given_ = step["env"]["TRACKSIDE_REMOTE_ENV"]
            assert given_ == ("${{ inputs.remote-env }}" if step["id"] in ("pull", "push") else "")
            assert "steps.setup.outputs.stage == 'train'" in step["if"]


def test_the_script_runs_alone(tmp_path: Path) -> None:
    """As setup.sh starts it: no package, an isolated interpreter, a workspace that may hold anything."""
    for name in ("json.py", "trackside.py", "dataclasses.py"):
        (tmp_path / name).write_text("raise SystemExit('imported from the workspace')\n")
    payload = tmp_path / "event.json"
    payload.write_text('{"inputs": {"task": "retrain"}}')

    def said(*words: str) -> tuple[int, str, str]:
        done = subprocess.run(
            [sys.executable, "-I", SCRIPT, *words], cwd=tmp_path, capture_output=True, text=True, env={}
        )
        return done.returncode, done.stdout.strip(), done.stderr

    assert said("workflow_dispatch", str(payload)) == (0, "retrain - drift", "")
    assert said("workflow_dispatch", str(payload), "admit") == (0, "plan admit plan", "")
    assert said("merge_group", str(payload), "") == (0, "plan plan plan", "")
    for words in (
        ("push", str(payload), "train"),
        ("x", ""),
        ("push", str(tmp_path / "none")),
        ("a\n::set-env::b", ""),
    ):
        code, out, err = said(*words)
        assert (code, out) == (2, "")
        assert err.startswith("::error title=trackside::")
        assert err.count("\n") == 1
    payload.write_text("[")
    assert said("push", str(payload))[0] == 2


# Combined jobs

JOB = {"GITHUB_REPOSITORY": "a/b", "GITHUB_RUN_ID": "7", "GITHUB_RUN_ATTEMPT": "1", "GITHUB_JOB": "all"}
NAMES = sorted({stage.command for stage in STAGES.values()})


def test_each_pair_of_stages_in_one_job(tmp_path: Path) -> None:
    pairs = [(first, second) for first in NAMES for second in NAMES]
    for index, (first, second) in enumerate(pairs):
        env = {**JOB, "RUNNER_TEMP": str(tmp_path / str(index)), "TRACKSIDE_MODE": "plan"}
        guard(env, first)
        if {kind_of(first, "plan"), kind_of(second, "plan")} == {"train", "publish"}:
            with pytest.raises(Refused) as refused:
                guard(env, second)
            assert refused.value.reason_code == "jobs_combined"
            assert refused.value.exit_code == 3
            with pytest.raises(Refused):
                guard(env, first)  # from here on the job does nothing more
        else:
            guard(env, second)
    print(f"{len(pairs)} pairs")
    assert len(pairs) == len(NAMES) ** 2


def test_other_jobs_are_other_jobs(tmp_path: Path) -> None:
    """A runner that keeps its temporary folder: job, attempt, run and repository are told apart."""
    env = {**JOB, "RUNNER_TEMP": str(tmp_path)}
    guard(env, "train")
    for name in JOB:
        guard(env | {name: "other"}, "report")
    guard(env | {"TRACKSIDE_MODE": "admit"}, "plan")
    with pytest.raises(Refused):
        guard(env | {"TRACKSIDE_MODE": "plan"}, "plan")
    guard({**JOB}, "report")  # outside of a runner there is no job


def test_a_combined_job_ends_with_exit_code_3(tmp_path: Path) -> None:
    env = {
        "PATH": "/usr/bin:/bin",
        "PYTHONPATH": str(ROOT / "src"),
        "RUNNER_TEMP": str(tmp_path),
        "GITHUB_OUTPUT": str(tmp_path / "output"),
        **JOB,
    }

    def stage(name: str) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "trackside", "stage", name]
        return subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True)

    assert stage("train").returncode == 2, "it lacks an admission, but has begun"
    done = stage("report")
    assert done.returncode == 3
    assert "may not run in a job that trains" in done.stderr
    assert "jobs_combined" in (tmp_path / "output").read_text()
    assert "Traceback" not in done.stderr
