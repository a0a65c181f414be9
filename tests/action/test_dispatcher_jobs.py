"""Jobs in the sandbox: what they see, matrices, time limits, cancels, re-runs, groups, events that start them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import ENV, user
from trackside.sandbox.actions.dispatcher import Dispatcher
from trackside.sandbox.problem import Problem
from trackside.sandbox.server import Sandbox

pytestmark = pytest.mark.act

BOT = {"login": "github-actions[bot]", "kind": "workflow"}


class World:
    """A repository with a dispatcher, in the words of the tests."""

    def __init__(self, sandbox: Sandbox, repo: str, dispatcher: Dispatcher) -> None:
        self.sandbox, self.repo, self.dispatcher, self.hub = sandbox, repo, dispatcher, sandbox.hub

    def add(self, text: str, name: str = "w.yml", branch: str = "main") -> str:
        sha = self.hub.commit_folder(
            self.repo, branch, {f".github/workflows/{name}": text.encode()}, "workflow", user("ada")
        )
        self.idle()
        return sha

    def dispatch(self, name: str = "w.yml", actor: dict[str, Any] | None = None, **inputs: str) -> int:
        path = f".github/workflows/{name}"
        complete = self.dispatcher.check_inputs(self.repo, path, "main", inputs)
        return self.hub.dispatch(self.repo, path, "main", complete, actor or user("ada"))

    def idle(self, timeout: float = 60) -> None:
        assert self.dispatcher.wait_idle(timeout)

    def run(self, run_id: int) -> dict[str, Any]:
        return self.sandbox.state.get("run", self.repo, run_id) or {}

    def runs(self, **equal: Any) -> list[dict[str, Any]]:
        return self.sandbox.state.list("run", self.repo, **equal)

    def jobs(self, run_id: int) -> dict[str, dict[str, Any]]:
        attempt = self.run(run_id).get("attempt", 1)
        return {one["name"]: one for one in self.sandbox.state.list("job", self.repo, run_id=run_id, attempt=attempt)}

    def log(self, job: dict[str, Any]) -> str:
        return (self.sandbox.state.root / job["log"]).read_text()

    def done(self, run_id: int, timeout: float = 60) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
        self.idle(timeout)
        return self.run(run_id), self.jobs(run_id)

    def until(self, check: Callable[[], bool], timeout: float = 30) -> None:
        deadline = time.monotonic() + timeout
        while not check():
            assert time.monotonic() < deadline, "it did not happen"
            time.sleep(0.02)


@pytest.fixture
def world(sandbox: Sandbox, repo: str) -> Iterator[World]:
    env = {**ENV, "LEAKED": "machine-secret", "PIP_INDEX_URL": "https://packages.invalid/simple", "AWS_SECRET": "no"}
    dispatcher = Dispatcher(sandbox.hub, env, {}, grace=(0.5, 0.3))
    sandbox.dispatcher = dispatcher
    dispatcher.start()
    yield World(sandbox, repo, dispatcher)
    dispatcher.stop()
    sandbox.dispatcher = None
    sandbox.bus._listeners.clear()
    assert not (sandbox.state.root / "dispatcher-errors.txt").exists()


def test_a_job_sees_its_own_environment_and_nothing_of_the_machine(world: World) -> None:
    world.dispatcher.set_variable(world.repo, "REGION", "north $1")
    world.dispatcher.set_secret(world.repo, "LINES", 'first-line$x\nsecond-"line"')
    world.add("""
on: {workflow_dispatch: {inputs: {n: {type: number, default: 3}, b: {type: boolean}, text: {type: string}}}}
run-name: "${{ format('n={0} {1}', inputs.n, github.actor) }}"
permissions: {}
jobs:
  look:
    runs-on: [self-hosted, gpu]
    env: {REGION: "${{ vars.REGION }}", SUM: "${{ inputs.n == 3 && !inputs.b }}", WHO: "${{ github.triggering_actor }}"}
    steps:
      - run: env; find "$(dirname "$SANDBOX_ARTIFACTS")" -name "*.yml"
        shell: bash
      - run: printf '%s' "$SECRET"; printf '%s' "$SECRET" | tail -1; printf '%s\\n' "$TEXT"
        shell: bash
        env: {SECRET: "${{ secrets.LINES }}", TEXT: "${{ inputs.text }}"}
      - if: inputs.n > 3
        run: exit 1
        shell: bash
      - run: test "${{ toJSON(fromJSON('[1]')[0]) }}${{ runner.name }}${{ github.workflow_ref != '' }}" = 1gpu-1true
        shell: bash
""")
    hostile = "a'b ${{ github.token }} }} \" $(touch pwned)\nnext"
    run, jobs = world.done(world.dispatch(text=hostile))
    log = world.log(jobs["look"])
    assert run["conclusion"] == "success", log
    assert run["display_title"] == "n=3 ada"
    seen = dict(line.split("=", 1) for line in log.splitlines() if "=" in line and not line.startswith("##"))
    assert "LEAKED" not in seen
    assert "AWS_SECRET" not in seen
    assert "secrets.yml" not in log
    assert "job.yml" in log
    expected = {
        "REGION": "north $1",
        "SUM": "true",
        "WHO": "ada",
        "PIP_INDEX_URL": "https://packages.invalid/simple",
        "GITHUB_API_URL": world.sandbox.api_url,
        "GITHUB_REPOSITORY": world.repo,
        "GITHUB_REF": "refs/heads/main",
        "GITHUB_SHA": run["sha"],
        "GITHUB_RUN_ID": str(run["id"]),
        "GITHUB_RUN_ATTEMPT": "1",
        "GITHUB_WORKFLOW_REF": f"{world.repo}/.github/workflows/w.yml@refs/heads/main",
        "GITHUB_WORKFLOW_SHA": run["sha"],
        "GITHUB_ACTOR": "ada",
        "GITHUB_TRIGGERING_ACTOR": "ada",
        "RUNNER_NAME": "gpu-1",
        "RUNNER_ENVIRONMENT": "self-hosted",
    }
    assert {name: seen.get(name) for name in expected} == expected
    homes = str(world.dispatcher.homes / "self-hosted")
    assert seen["HOME"].startswith(homes)
    assert seen["RUNNER_TOOL_CACHE"].startswith(homes)
    assert "first-line" not in log
    assert "second-" not in log
    assert "***" in log
    assert hostile.split("\n")[0] in log
    assert [step["conclusion"] for step in jobs["look"]["steps"]] == ["success", "success", "skipped", "success"]


def test_a_token_grants_what_the_job_asks_and_no_more(world: World) -> None:
    call = "curl -s -o /dev/null -w '%{http_code} ' -H \"Authorization: Bearer $T\" "
    call += "$GITHUB_API_URL/repos/$GITHUB_REPOSITORY"
    text = f"""
on: workflow_dispatch
permissions: {{contents: read}}
jobs:
  inherits: &job
    runs-on: ubuntu-latest
    steps:
      - run: |
          {call}/branches/main
          {call}/actions/runs
        shell: bash
        env: {{T: "${{{{ github.token }}}}"}}
  own: {{<<: *job, permissions: {{actions: read}}}}
  none: {{<<: *job, permissions: {{}}}}
"""
    world.sandbox.state.put("repo", "", world.repo, {**world.hub.repo(world.repo), "private": True})
    world.add(text)
    run, jobs = world.done(world.dispatch())
    codes = {name: world.log(job).splitlines()[-1].split() for name, job in jobs.items()}
    assert codes["none"] == ["403", "403"], codes
    assert codes["inherits"] == ["200", "403"], codes
    assert codes["own"] == ["403", "200"], codes
    assert jobs["none"]["permissions"] == {"metadata": "read"}
    assert run["conclusion"] == "success"


def test_a_matrix_from_an_output_and_what_follows_it(world: World) -> None:
    world.add("""
on: workflow_dispatch
jobs:
  plan:
    runs-on: ubuntu-latest
    outputs: {models: "${{ steps.s.outputs.models }}", leak: "${{ secrets.KEY }}", odd: "${{ steps.s.outputs.odd }}"}
    steps:
      - id: s
        run: |
          echo 'models=["a","b"]' >> "$GITHUB_OUTPUT"
          echo "odd=}} $""{{ github.token }} it's" >> "$GITHUB_OUTPUT"
        shell: bash
  train:
    needs: plan
    strategy:
      fail-fast: false
      matrix: {model: "${{ fromJSON(needs.plan.outputs.models) }}", include: [{model: b, slow: true}]}
    runs-on: ubuntu-latest
    outputs: {last: "${{ matrix.model }}"}
    steps:
      - run: echo "model ${{ matrix.model }} ${{ matrix.slow }} ${{ strategy.job-index }}"; test ${{ matrix.model }} = a
        shell: bash
  none:
    needs: plan
    if: needs.plan.outputs.models == '[]'
    runs-on: ubuntu-latest
    steps: [{run: exit 1, shell: bash}]
  after:
    needs: [plan, train, none]
    if: ${{ !cancelled() && contains(needs.*.result, 'failure') }}
    runs-on: ubuntu-latest
    steps:
      - run: echo "saw $ALL $LEAK."; test "$ODD" = "}} $""{{ github.token }} it's"
        shell: bash
        env:
          ALL: ${{ join(needs.*.result) }}
          LEAK: ${{ needs.plan.outputs.leak }}
          ODD: ${{ needs.plan.outputs.odd }}
      - if: needs.train.outputs.last == 'b'
        run: echo last-is-b
        shell: bash
  never:
    needs: train
    runs-on: ubuntu-latest
    steps: [{run: exit 1, shell: bash}]
""")
    world.dispatcher.set_secret(world.repo, "KEY", "hunter2")
    run, jobs = world.done(world.dispatch())
    found = {name: job["conclusion"] for name, job in jobs.items()}
    assert found == {
        "plan": "success",
        "train (a)": "success",
        "train (b, true)": "failure",
        "none": "skipped",
        "after": "success",
        "never": "skipped",
    }, "\n".join(world.log(job) for job in jobs.values() if job["conclusion"] != "skipped")
    assert run["conclusion"] == "failure"
    assert "model b true 1" in world.log(jobs["train (b, true)"])
    assert "saw success,failure,skipped ." in world.log(jobs["after"])
    assert "last-is-b" in world.log(jobs["after"])
    assert "may contain secret" in world.log(jobs["plan"])


def test_a_time_limit_and_a_cancel_interrupt_the_step_and_leave_nobody_behind(world: World) -> None:
    steps = """
    steps:
      - run: |
          trap 'echo interrupted; exit 130' INT
          sleep 300 & echo "left $!"
          for i in $(seq 400); do sleep 0.1; done
        shell: bash
      - run: echo not-reached
        shell: bash
      - if: always()
        run: echo recorded
        shell: bash
"""
    world.add(f"""
on: workflow_dispatch
jobs:
  limited:
    runs-on: ubuntu-latest
    timeout-minutes: 0.02{steps}
  long:
    runs-on: [self-hosted]{steps}
  protected:
    needs: long
    if: always()
    runs-on: ubuntu-latest
    steps: [{{run: "echo still", shell: bash}}]
""")
    run_id = world.dispatch()
    world.until(
        lambda: any(step["status"] == "in_progress" for step in world.jobs(run_id).get("long", {}).get("steps", []))
    )
    world.until(lambda: world.jobs(run_id)["limited"]["status"] == "completed")
    time.sleep(0.3)
    world.dispatcher.cancel(world.repo, run_id)
    run, jobs = world.done(run_id)
    assert run["conclusion"] == "cancelled"
    assert {name: job["conclusion"] for name, job in jobs.items()} == {
        "limited": "cancelled",
        "long": "cancelled",
        "protected": "success",
    }
    for name in ("limited", "long"):
        log = world.log(jobs[name])
        assert "interrupted" in log
        assert "recorded" in log
        assert "not-reached" not in log
        assert [step["conclusion"] for step in jobs[name]["steps"]] == ["cancelled", "skipped", "success"]
        left = int(log.split("left ")[1].split()[0])
        world.until(lambda left=left: _gone(left))
    assert "maximum execution time of 0.02m" in world.log(jobs["limited"])


def _gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_waiting_for_some_runs_leaves_the_others_alone(world: World, tmp_path: Path) -> None:
    gate = tmp_path / "open"
    steps = "permissions: {}\njobs: {j: {runs-on: %s, steps: [{run: '%s', shell: bash}]}}"
    slow = steps % ("[self-hosted, gpu]", f"until [ -e {gate} ]; do sleep 0.05; done")
    world.add(f"on: workflow_dispatch\n{slow}", "slow.yml")
    world.add(f"on: workflow_dispatch\n{steps % ('ubuntu-latest', 'true')}", "quick.yml")
    waits, ends = world.dispatch("slow.yml"), world.dispatch("quick.yml")
    assert world.dispatcher.wait_idle(60, lambda run: run["id"] == ends)
    assert world.run(ends)["conclusion"] == "success"
    assert world.run(waits)["status"] != "completed"
    assert not world.dispatcher.wait_idle(0.2)
    gate.touch()
    assert world.done(waits)[0]["conclusion"] == "success"


def test_a_rerun_of_failed_jobs_takes_the_others_over_and_replaces_artifacts(world: World) -> None:
    world.add("""
on: workflow_dispatch
jobs:
  first:
    runs-on: ubuntu-latest
    outputs: {token: "${{ steps.s.outputs.v }}"}
    steps:
      - id: s
        run: |
          echo "v=$GITHUB_RUN_ATTEMPT" >> "$GITHUB_OUTPUT"
          mkdir out; ln -s /etc/hostname out/link; echo x > out/.hidden
        shell: bash
      - uses: actions/upload-artifact@v5
        with: {name: one, path: out}
  second:
    needs: first
    runs-on: ubuntu-latest
    steps:
      - uses: actions/download-artifact@v5
      - run: |
          mkdir out; ls -A one
          echo "attempt $GITHUB_RUN_ATTEMPT first ${{ needs.first.outputs.token }}" | tee out/a.txt
        shell: bash
      - uses: actions/upload-artifact@v5
        with: {name: two, path: "out/*.txt"}
      - run: test "$GITHUB_RUN_ATTEMPT" = 2
        shell: bash
  third:
    needs: second
    runs-on: ubuntu-latest
    steps: [{run: echo third, shell: bash}]
""")
    run_id = world.dispatch()
    run, jobs = world.done(run_id)
    assert [job["conclusion"] for job in jobs.values()] == ["success", "failure", "skipped"], world.log(jobs["first"])
    world.dispatcher.rerun(world.repo, run_id, failed_only=True)
    run, jobs = world.done(run_id)
    assert (run["attempt"], run["conclusion"]) == (2, "success"), world.log(jobs["second"])
    assert "1-first" in jobs["first"]["log"]
    assert "2-second" in jobs["second"]["log"]
    folder = world.dispatcher.artifacts(run_id)
    assert (folder / "two/a.txt").read_text() == "attempt 2 first 1\n"
    assert [path.name for path in (folder / "one").iterdir()] == ["link"]
    assert not (folder / "one/link").is_symlink()
    world.dispatcher.rerun(world.repo, run_id)
    run, jobs = world.done(run_id)
    assert (run["attempt"], run["conclusion"]) == (3, "failure")
    assert "attempt 3 first 3" in world.log(jobs["second"])


def test_groups_of_runs_and_jobs(world: World) -> None:
    world.add("""
on: {workflow_dispatch: {inputs: {n: {}}}}
concurrency: one-at-a-time
jobs: {a: {runs-on: ubuntu-latest, steps: [{run: "sleep 0.6", shell: bash}]}}
""")
    ids = [world.dispatch(n=str(number)) for number in range(4)]
    world.until(lambda: world.run(ids[3]).get("status") == "pending")
    world.idle()
    assert [world.run(one)["conclusion"] for one in ids] == ["success", "cancelled", "cancelled", "success"]
    world.add(
        """
on: {workflow_dispatch: {inputs: {n: {}}}}
concurrency: {group: "${{ github.workflow }}-max", queue: max}
jobs: {a: {runs-on: ubuntu-latest, steps: [{run: "sleep 0.2", shell: bash}]}}
""",
        "max.yml",
    )
    ids = [world.dispatch("max.yml", n=str(number)) for number in range(4)]
    world.idle()
    assert [world.run(one)["conclusion"] for one in ids] == ["success"] * 4
    world.add(
        """
on: {workflow_dispatch: {inputs: {n: {}}}}
jobs:
  free: {runs-on: [self-hosted], steps: [{run: "true", shell: bash}]}
  grouped:
    concurrency: {group: jobs, cancel-in-progress: true}
    runs-on: ubuntu-latest
    steps: [{run: "sleep ${{ inputs.n }}", shell: bash}]
""",
        "jobs.yml",
    )
    first = world.dispatch("jobs.yml", n="50")
    world.until(lambda: world.jobs(first).get("grouped", {}).get("status") == "in_progress")
    second = world.dispatch("jobs.yml", n="0")
    world.idle()
    assert {job["conclusion"] for job in world.jobs(first).values()} == {"success", "cancelled"}
    assert world.run(first)["conclusion"] == "cancelled"
    assert world.run(second)["conclusion"] == "success"


PULL = """
on:
  pull_request: {branches: [main], paths: ['src/**', '!src/docs/**']}
  pull_request_target: {types: [opened, labeled]}
permissions: write-all
jobs:
  a:
    runs-on: ubuntu-latest
    steps:
      - run: echo "$GITHUB_EVENT_NAME key=[${{ secrets.KEY }}] home=$RUNNER_TOOL_CACHE"
        shell: bash
"""


def test_a_fork_gets_no_secret_and_reads_only_and_paths_decide(world: World) -> None:
    world.add(PULL, "pull.yml")
    world.dispatcher.set_secret(world.repo, "KEY", "hunter2")
    fork = world.sandbox.seed.fork(world.repo, "mallory")
    world.hub.commit_folder(fork, "topic", {"src/x.py": b"1\n"}, "change", user("mallory"))
    world.hub.open_pull(world.repo, title="Fork", head="mallory:topic", base="main", actor=user("mallory"))
    world.idle()
    runs = {run["event"]: run for run in world.runs()}
    assert set(runs) == {"pull_request", "pull_request_target"}
    jobs = {event: world.jobs(run["id"])["a"] for event, run in runs.items()}
    logs = {event: world.log(job) for event, job in jobs.items()}
    assert "key=[]" in logs["pull_request"]
    assert "key=[***]" in logs["pull_request_target"]
    assert set(jobs["pull_request"]["permissions"].values()) == {"read"}
    assert jobs["pull_request_target"]["permissions"]["contents"] == "write"
    homes = {event: log.split("home=")[-1].split()[0] for event, log in logs.items()}
    assert len(set(homes.values())) == 2
    before = len(world.runs())
    world.hub.commit_folder(world.repo, "docs", {"src/docs/a.md": b"1\n", "b": b"2\n"}, "docs", user("ada"))
    number = world.hub.open_pull(world.repo, title="Docs", head="docs", base="main", actor=user("ada"))
    world.idle()
    assert [run["event"] for run in world.runs()[before:]] == ["pull_request_target"], number


def test_events_of_workflow_tokens_and_workflow_run(world: World) -> None:
    world.add(PULL, "pull.yml")
    world.add(
        """
name: ci
on: {workflow_dispatch: , push: {branches: [main]}, schedule: [{cron: '7 3 * * *'}]}
jobs: {a: {runs-on: ubuntu-latest, steps: [{run: "true", shell: bash}]}}
""",
        "ci.yml",
    )
    world.add(
        """
on: {workflow_run: {workflows: [ci], types: [completed]}}
run-name: after ${{ github.event.workflow_run.event }} ${{ github.event.workflow_run.conclusion }}
jobs: {a: {runs-on: ubuntu-latest, steps: [{run: "true", shell: bash}]}}
""",
        "after.yml",
    )
    world.idle()
    started = len(world.runs())

    def new() -> list[tuple[str, str, str]]:
        return sorted((run["event"], run["conclusion"], run["display_title"]) for run in world.runs()[started:])

    world.hub.commit_folder(world.repo, "main", {"n": b"1"}, "by a job", BOT)
    world.hub.commit_folder(world.repo, "main", {"n": b"2"}, "words [skip ci]", user("ada"))
    with pytest.raises(Problem, match="no such schedule"):
        world.hub.run_schedule(world.repo, "ci.yml", "0 0 * * *")
    world.idle()
    assert new() == []
    world.dispatch("ci.yml", actor=BOT)
    world.idle()
    assert new() == [("workflow_dispatch", "success", "ci")]
    world.hub.run_schedule(world.repo, "ci.yml")
    world.idle()
    assert new()[:-1] == [("schedule", "success", "ci"), ("workflow_dispatch", "success", "ci")]
    assert new()[-1] == ("workflow_run", "success", "after schedule success")
    started = len(world.runs())
    world.hub.commit_folder(world.repo, "retrain", {"src/m": b"1"}, "retrain", BOT)
    world.hub.open_pull(world.repo, title="Retrain", head="retrain", base="main", actor=BOT)
    world.idle()
    held = world.runs()[started:]
    assert [(run["status"], run["conclusion"]) for run in held] == [("completed", "action_required")] * 2
    assert not world.jobs(held[0]["id"])
    world.dispatcher.rerun(world.repo, held[0]["id"], actor="ada")
    run, _ = world.done(held[0]["id"])
    assert (run["attempt"], run["conclusion"]) == (2, "success")


def test_what_was_running_when_the_sandbox_died_is_cancelled(world: World) -> None:
    world.add("""
on: workflow_dispatch
jobs: {a: {runs-on: ubuntu-latest, steps: [{run: "true", shell: bash}]}}
""")
    run_id = world.dispatch()
    run, jobs = world.done(run_id)
    state, job = world.sandbox.state, jobs["a"]
    state.put("run", world.repo, run_id, {**run, "status": "in_progress", "conclusion": None})
    state.put("job", world.repo, job["id"], {**job, "status": "in_progress", "conclusion": None})
    token = world.dispatcher.mint(world.repo, {"contents": "write"}, run_id, "a")
    again = Dispatcher(world.sandbox.hub, ENV, {})
    again.start()
    again.stop()
    assert (world.run(run_id)["conclusion"], world.jobs(run_id)["a"]["conclusion"]) == ("cancelled", "cancelled")
    assert state.get("token", "", token) is None


def test_a_broken_file_is_a_failed_run_that_says_why(world: World) -> None:
    world.add("on: [push\njobs:", "broken.yml")
    world.add("on: push\njobs: {a: {runs-on: ubuntu-latest, container: debian, steps: [{run: ls}]}}", "box.yml")
    runs = world.runs()
    assert {run["conclusion"] for run in runs} == {"startup_failure"}
    texts = [(world.sandbox.state.root / "runs" / str(run["id"]) / "error.txt").read_text() for run in runs]
    assert any("no YAML" in text for text in texts)
    assert any("`container`" in text for text in texts)
    world.add("on: push\njobs: {a: {runs-on: '${{ fromJSON(1 }}', steps: [{run: ls}]}}", "expression.yml")
    jobs = [job for run in world.runs() for job in world.jobs(run["id"]).values()]
    assert [job["conclusion"] for job in jobs] == ["failure"]
    assert "not valid" in world.log(jobs[0])


def test_an_action_of_the_repository_may_use_what_the_sandbox_brings_along(world: World) -> None:
    own = b"runs: {using: composite, steps: [{uses: actions/setup-python@v1}, {run: echo own, shell: bash}]}"
    world.hub.commit_folder(world.repo, "main", {"act/action.yml": own}, "action", user("ada"))
    world.add("""
on: workflow_dispatch
jobs:
  a:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@8e8c483db84b4bee98b60c0593521ed34d9990e8 # v6
      - run: test "$(git branch --show-current)" = main
      - uses: ./act
""")
    run, jobs = world.done(world.dispatch())
    log = world.log(jobs["a"])
    assert run["conclusion"] == "success", log
    assert "own" in log
    assert "Python 3." in log


def test_stopping_the_sandbox_ends_jobs_at_once(world: World) -> None:
    world.add("""
on: workflow_dispatch
jobs: {a: {runs-on: ubuntu-latest, steps: [{run: "echo left $PPID; trap '' TERM INT; sleep 300"}]}}
""")
    run_id = world.dispatch()

    def log() -> str:
        job = world.jobs(run_id).get("a")
        return world.log(job) if job and (world.sandbox.state.root / job["log"]).exists() else ""

    world.until(lambda: "\nleft " in log())
    began = time.monotonic()
    world.dispatcher.stop()
    assert time.monotonic() - began < 100, "a third of what the step would sleep"
    assert (world.run(run_id)["conclusion"], world.jobs(run_id)["a"]["conclusion"]) == ("cancelled", "cancelled")
    assert _gone(int(log().split("\nleft ")[1].split()[0]))


def test_cancels_at_any_moment_leave_nothing_open(world: World) -> None:
    world.add("""
on: {workflow_dispatch: {inputs: {n: {}}}}
concurrency: {group: "g-${{ inputs.n }}", queue: max}
jobs:
  a: {runs-on: ubuntu-latest, steps: [{run: "sleep 0.1"}]}
  b: {needs: a, runs-on: [self-hosted], steps: [{run: "sleep 0.1"}]}
  c: {needs: [a, b], if: always(), runs-on: ubuntu-latest, steps: [{run: "true"}]}
""")
    cases = 24
    ids = [world.dispatch(n=str(number % 3)) for number in range(cases)]
    for number, run_id in enumerate(ids):
        time.sleep(0.01 * (number % 7))
        world.dispatcher.cancel(world.repo, run_id)
        if number % 2:
            world.dispatcher.cancel(world.repo, ids[-number])
    world.idle(120)
    runs = [world.run(run_id) for run_id in ids]
    print(f"{cases} runs cancelled")
    assert len(runs) == cases
    assert {run["status"] for run in runs} == {"completed"}
    assert {run["conclusion"] for run in runs} <= {"cancelled", "success"}
    jobs = [job for run_id in ids for job in world.jobs(run_id).values()]
    assert {job["status"] for job in jobs} <= {"completed"}
    left = [one for one in world.sandbox.state.list("token", "") if one["repo"] == world.repo and one.get("run_id")]
    assert left == []
