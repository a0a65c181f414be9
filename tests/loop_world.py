"""A sandbox with runners and tiny DVC projects in it, whose pull requests the shipped workflows handle through act."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from trackside.documents.codec import load
from trackside.documents.run import Run
from trackside.sandbox.actions.dispatcher import Dispatcher, export_actions
from trackside.sandbox.hub import BOT
from trackside.sandbox.server import Sandbox
from trackside.store.layout import Pointer

SOURCE = Path(__file__).resolve().parents[1]
TOOLS = SOURCE / "build" / "test-cache" / "runners"
"""Homes of the runners: kept between test runs, since actions/setup keys each environment by its lock's digest."""
KEPT = ("PIP_", "UV_", "SSL_CERT_", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
MOST_CALLS, MOST_WRITES = 60, 20
"""API calls that one attempt of a job may make."""
LIMIT = 240.0
"""Seconds that the workflows of one step may take together."""

PLAN, TRAIN = ".github/workflows/pull-request.yml", ".github/workflows/train.yml"
SECRET = "hunter2-of-the-data-remote"
DATA = b"7919\n"
MODEL = "tiny"

TRAIN_PY = """\
import json, pathlib, re
import hook
params = dict(re.findall(r"^(\\w+): *(\\S+)", pathlib.Path("params.yaml").read_text(), re.M))
hook.run()
step = int(pathlib.Path("data/raw.csv").read_text())
pathlib.Path("model.json").write_text(json.dumps({"quality": float(params["quality"]), "step": step}))
print("trained with quality", params["quality"])
"""
EVALUATE_PY = """\
import json, pathlib
model = json.loads(pathlib.Path("model.json").read_text())
rows, right = ["id,label,score,group"], 0
for i in range(400):
    label = i * 31 // 7 % 2
    hit = i * model["step"] % 400 < 400 * model["quality"]
    right += hit
    rows.append(f"r{i},{label},{0.9 if hit == bool(label) else 0.1},{'ab'[i % 3 == 0]}")
pathlib.Path("predictions.csv").write_text("\\n".join(rows) + "\\n")
pathlib.Path("metrics.json").write_text(json.dumps({"accuracy": right / 400, "rows": 400}))
"""
DVC_YAML = """\
stages:
  train:
    cmd: python train.py
    deps: [train.py, hook.py, data/raw.csv]
    params: [quality]
    outs: [model.json]
  evaluate:
    cmd: python evaluate.py
    deps: [evaluate.py, model.json]
    outs: [predictions.csv]
    metrics:
      - metrics.json: {cache: false}
"""
POLICY = """\
version: 1
models:
  tiny:
    path: model.json
    metrics:
      accuracy: {file: metrics.json, direction: max, min: 0.6, tolerance: 0.01}
    predictions: {file: predictions.csv, label: label, score: score, id: id, slices: [group]}
train:
  runs-on: [self-hosted, gpu]
  timeout-minutes: 10
"""


def params(quality: float) -> dict[str, bytes]:
    """The one parameter: the share of rows that the model gets right."""
    return {"params.yaml": f"quality: {quality}\n".encode()}


def project(remote: Path) -> dict[str, bytes]:
    """Files of a pipeline of two stages that need nothing but Python; its data lies in `remote`."""
    md5 = hashlib.md5(DATA).hexdigest()
    stored = remote / "files/md5" / md5[:2] / md5[2:]
    stored.parent.mkdir(parents=True, exist_ok=True)
    stored.write_bytes(DATA)
    texts = {
        ".dvc/config": f"[core]\n    remote = store\n    analytics = false\n['remote \"store\"']\n    url = {remote}\n",
        ".gitignore": "/model.json\n/predictions.csv\n__pycache__/\n",
        "README.md": "# tiny\n",
        "data/.gitignore": "/raw.csv\n",
        "data/raw.csv.dvc": f"outs:\n- md5: {md5}\n  size: {len(DATA)}\n  hash: md5\n  path: raw.csv\n",
        "dvc.yaml": DVC_YAML,
        "evaluate.py": EVALUATE_PY,
        "hook.py": "def run():\n    pass\n",
        "train.py": TRAIN_PY,
        "trackside.yaml": POLICY,
    }
    shipped = {path: (SOURCE / "workflows" / Path(path).name).read_bytes() for path in (PLAN, TRAIN)}
    return {name: text.encode() for name, text in texts.items()} | params(0.7) | shipped


class World:
    """The running sandbox; one for all tests, each with repositories of its own."""

    def __init__(self, folder: Path) -> None:
        env = {name: text for name, text in os.environ.items() if name.upper().startswith(KEPT) or name == "LANG"}
        env["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.folder = folder
        self.sandbox = Sandbox(folder / "state", env)
        actions = export_actions(SOURCE, folder / "actions")
        self.dispatcher = Dispatcher(self.sandbox.hub, env, {"trackside-ml/trackside": actions}, homes=TOOLS)
        self.sandbox.dispatcher = self.dispatcher
        self.count = 0

    def repo(self, changes: Mapping[str, bytes | None] | None = None) -> Repo:
        """A new repository with the tiny project on `main`; `ada` may write there."""
        self._clear()
        self.count += 1
        name, remote = f"acme/tiny{self.count}", self.folder / f"remote{self.count}"
        self.sandbox.hub.add_repo(name)
        self.sandbox.hub.set_role(name, "ada", "write")
        self.dispatcher.set_secret(name, "TRACKSIDE_REMOTE_ENV", f"REMOTE_PASSWORD={SECRET}", "training")
        made = Repo(self, name, remote)
        made.push("main", {**project(remote), **(changes or {})})
        made.settle()
        return made

    def _clear(self) -> None:
        """End what a failed test left running, so that it does not hold the runners."""
        for repo in self.sandbox.state.list("repo", ""):
            for run in self.sandbox.state.list("run", repo["full_name"]):
                if run["status"] != "completed":
                    self.dispatcher.cancel(repo["full_name"], run["id"])
        self.dispatcher.wait_idle(60)
        self.sandbox.violations.clear()


class Repo:
    """One repository: what people do there, and what the workflows left."""

    def __init__(self, world: World, name: str, remote: Path) -> None:
        self.world, self.name, self.remote = world, name, remote
        self.hub, self.state, self.dispatcher = world.sandbox.hub, world.sandbox.state, world.dispatcher

    # People

    def person(self, login: str = "ada") -> dict[str, Any]:
        return self.world.sandbox.seed.person(login)

    def push(self, branch: str, files: Mapping[str, bytes | None], login: str = "ada", repo: str = "") -> str:
        return self.hub.commit_folder(repo or self.name, branch, files, "Change", self.person(login))

    def open(self, branch: str, files: Mapping[str, bytes | None], **more: Any) -> int:
        """Push a branch and open a pull request of it; returns its number."""
        self.push(branch, files)
        return self.hub.open_pull(
            self.name, title=f"About {branch}", head=branch, base="main", actor=self.person(), **more
        )

    def pull(self, branch: str, files: Mapping[str, bytes | None], **more: Any) -> int:
        """Open a pull request and wait until its workflows have ended."""
        number = self.open(branch, files, **more)
        self.settle()
        return number

    def train_main(self) -> Run:
        """Train the tip of `main` by hand, as the baseline."""
        inputs = self.dispatcher.check_inputs(self.name, TRAIN, "main", {"model": MODEL})
        self.hub.dispatch(self.name, TRAIN, "main", inputs, self.person())
        self.settle()
        (run,) = self.records().values()
        return run

    # Waiting

    def settle(self) -> None:
        """Wait until nothing moves; no exchange may have been off GitHub's description, no job have asked for much."""
        assert self.dispatcher.wait_idle(LIMIT), [one["display_title"] for one in self.runs() if not one["conclusion"]]
        assert not self.world.sandbox.violations, self.world.sandbox.violations[:5]
        attempts = {one["id"]: one["attempt"] for one in self.runs()}
        for (run, job), (calls, writes) in self.calls_by_job().items():
            if run in attempts:
                spent = f"job {job} of run {run}: {calls} API calls, {writes} of them writes"
                assert calls <= MOST_CALLS * attempts[run], spent
                assert writes <= MOST_WRITES * attempts[run], spent

    def until(self, what: Callable[[], Any], seconds: float = 60.0) -> Any:
        """Wait for a truth and return it."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if found := what():
                return found
            time.sleep(0.03)
        raise AssertionError("waited in vain\n" + self.logs())

    def training(self, word: str) -> dict[str, Any]:
        """Wait until the log of a training job says `word`; returns that workflow run."""

        def found() -> dict[str, Any] | None:
            for run in self.runs(TRAIN):
                if run["status"] != "completed" and word in self.log(run, "train"):
                    return run
            return None

        return self.until(found, LIMIT)

    # What is there

    def head(self, number: int) -> str:
        return str(self.hub.pull(self.name, number)["head_sha"])

    def comments(self, number: int) -> list[dict[str, Any]]:
        return self.state.list("comment", self.name, issue=number)

    def comment(self, number: int) -> str:
        """The one comment of a pull request, which the bot wrote."""
        found = self.comments(number)
        assert [one["user"] for one in found] == [BOT], ([one["body"][:200] for one in found], self.logs())
        return str(found[0]["body"])

    def checks(self, sha: str) -> list[dict[str, Any]]:
        return self.state.list("check_run", self.name, head_sha=sha)

    def check(self, number: int) -> dict[str, Any]:
        """The check of a pull request's head: of several runs by one name GitHub shows the newest. All have ended."""
        found = self.checks(self.head(number))
        assert len({one["name"] for one in found}) == 1, (found, self.logs())
        assert {one["status"] for one in found} == {"completed"}, found
        return max(found, key=lambda one: int(one["id"]))

    def runs(self, workflow: str = "") -> list[dict[str, Any]]:
        more = {"workflow_path": workflow} if workflow else {}
        return sorted(self.state.list("run", self.name, **more), key=lambda one: int(one["id"]))

    def jobs(self, run: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Jobs of a run's newest attempt."""
        newest = (self.state.get("run", self.name, run["id"]) or {})["attempt"]
        return {one["key"]: one for one in self.state.list("job", self.name, run_id=run["id"], attempt=newest)}

    def log(self, run: Mapping[str, Any], key: str) -> str:
        job = self.jobs(run).get(key)
        path = self.state.root / job["log"] if job else None
        return path.read_text(errors="replace") if path and path.is_file() else ""

    def logs(self) -> str:
        """The ends of the logs of jobs that did not succeed."""
        shown = []
        for run in self.runs():
            for key, job in self.jobs(run).items():
                if job["conclusion"] not in ("success", "skipped"):
                    shown.append(f"== {run['display_title']}: {key} {job['conclusion']}\n{self.log(run, key)[-3000:]}")
        return "\n".join(shown)

    def data(self) -> dict[str, bytes]:
        """Files of the data branch."""
        bare = self.hub.bare(self.name)
        listed = bare.git("ls-tree", "-r", "--name-only", "trackside-data", check=False).text.split()
        return {path: bare.file("trackside-data", path) or b"" for path in listed}

    def tip(self) -> str | None:
        """Commit of the data branch."""
        return self.hub.bare(self.name).sha("refs/heads/trackside-data")

    def records(self, model: str = MODEL) -> dict[str, Run]:
        """Recorded runs by path, each checked against its schema."""
        return {path: load(Run, raw) for path, raw in self.data().items() if path.startswith(f"runs/{model}/")}

    def record(self, number: int, model: str = MODEL) -> Run:
        """The one recorded run of a pull request's newest head."""
        head = self.head(number)
        (run,) = [one for one in self.records(model).values() if one.source.head_commit == head]
        return run

    def pointers(self) -> dict[str, Pointer]:
        return {path: load(Pointer, raw) for path, raw in self.data().items() if path.startswith("inputs/")}

    def state_of(self, number: int) -> Any:
        """All that a reviewer sees of a pull request, line by line, to compare before and after."""
        shown: list[Any] = []
        for one in self.comments(number):
            shown += [(one["id"], one["user"]), *one["body"].splitlines()]
        for one in sorted(self.checks(self.head(number)), key=lambda check: int(check["id"])):
            shown.append([one[key] for key in ("id", "name", "status", "conclusion", "external_id", "details_url")])
            shown += [one["output"]["title"], *one["output"]["summary"].splitlines()]
        return shown

    def calls_by_job(self) -> dict[tuple[int, str], tuple[int, int]]:
        """API calls and writes among them, by run and job, all attempts together."""
        made = Counter((one.run_id, one.job, one.method != "GET") for one in self.world.sandbox.calls)
        jobs = {(run, job) for run, job, _ in made if run is not None}
        return {(run, job): (made[run, job, False] + made[run, job, True], made[run, job, True]) for run, job in jobs}

    def calls(self, run: Mapping[str, Any], job: str) -> list[tuple[str, str, int]]:
        """API calls with the token of one job: method, path, status."""
        return [
            (one.method, one.path, one.status)
            for one in self.world.sandbox.calls
            if one.run_id == run["id"] and one.job == job
        ]


def executed(run: Run) -> list[str]:
    """Stages whose commands were run."""
    return [one.name for one in run.stages if one.outcome == "executed"]


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("loop"))
    made.sandbox.start()
    made.dispatcher.start()
    yield made
    made.sandbox.stop()
