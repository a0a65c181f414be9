"""A small real repository for the tests of train: git, DVC, a remote in a folder, three stages."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trackside.config.model import MetricPolicy, Model, Predictions, TrainPolicy
from trackside.documents.result import Result
from trackside.documents.run import Run, Source, Trigger
from trackside.system.process import Processes
from trackside.system.workflow import WorkflowCommands
from trackside.train.job import TrainJob, TrainPorts
from trackside.train.phases import run_phase

PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
SECRETS = {
    "GITHUB_TOKEN": "ghs_tokentokentoken",
    "AWS_SECRET_ACCESS_KEY": "aws-secret-aws-secret",
    "ACTIONS_RUNTIME_TOKEN": "runtime-token-runtime",
    "TRACKSIDE_REMOTE_ENV": "AZURE_KEY=azure-azure-azure",
}

STAGE = """\
import json, os, pathlib, sys, yaml
what = sys.argv[1]
lr = yaml.safe_load(pathlib.Path("params.yaml").read_text())["lr"]
extra = pathlib.Path("extra.py")
if extra.is_file():
    exec(compile(extra.read_text(), "extra.py", "exec"))
with open("executed.log", "a") as log:
    log.write(what + "\\n")
if what == "prep":
    pathlib.Path("p.txt").write_text(pathlib.Path("data/raw.csv").read_text() * 2)
if what == "train":
    pathlib.Path("model.bin").write_text(f"model {lr} " + pathlib.Path("p.txt").read_text())
if what == "evaluate":
    score = lambda i: 0.2 + lr * (i % 7) / 10 + 0.3 * (i % 2)
    rows = "".join(f"r{i},{i % 2},{score(i):.3f},{'ab'[i % 3 == 0]}\\n" for i in range(300))
    pathlib.Path("predictions.csv").write_text("id,label,score,group\\n" + rows)
    pathlib.Path("metrics.json").write_text(json.dumps({"roc_auc": 0.5 + lr, "deep": {"loss": float("nan"), "n": 3}}))
    print("::add-mask::p")
    print("::set-output name=x::y")
"""

DVC_YAML = """\
stages:
  prep:
    cmd: python stage.py prep
    deps: [stage.py, data/raw.csv]
    outs: [p.txt]
  train:
    cmd: python stage.py train
    deps: [stage.py, p.txt]
    params: [lr, seed]
    outs: [model.bin]
  evaluate:
    cmd: python stage.py evaluate
    deps: [stage.py, model.bin]
    outs: [predictions.csv]
    metrics:
      - metrics.json: {cache: false}
"""

FILES = {
    "dvc.yaml": DVC_YAML,
    "stage.py": STAGE,
    "params.yaml": "lr: 0.1  # learning rate\nseed: 7\n",
    ".gitignore": "/executed.log\n",
    "README.md": "# sample\n",
}

MODEL = Model(
    name="delay",
    path="model.bin",
    metrics=(MetricPolicy(name="roc_auc", file="metrics.json", direction="max"),),
    predictions=Predictions(file="predictions.csv", id="id", slices=("group",)),
)

_GIT = {
    "PATH": PATH,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "DVC_NO_ANALYTICS": "1",
    **{f"GIT_{who}_{what}": "t@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
}
OUTSIDE = Processes(_GIT)


def make_origin(root: Path) -> Path:
    """A repository with its data in `root/remote`."""
    repo = root / "origin"
    (repo / "data").mkdir(parents=True)
    env = {**_GIT, "HOME": str(root), "DVC_SITE_CACHE_DIR": str(root / "site")}
    dvc = [sys.executable, "-I", "-m", "dvc"]

    def run(*words: str | Path) -> None:
        OUTSIDE.run(words, cwd=repo, env=env)

    run("git", "init", "-q", "-b", "main")
    run(*dvc, "init", "-q")
    run(*dvc, "remote", "add", "-q", "-d", "store", root / "remote")
    for name, text in FILES.items():
        (repo / name).write_text(text)
    (repo / "data" / "raw.csv").write_text("1,2,3\n")
    run(*dvc, "add", "-q", "data/raw.csv")
    run(*dvc, "push", "-q")
    run("git", "add", "-A")
    run("git", "commit", "-q", "-m", "start")
    return repo


@dataclass
class Lab:
    """One clone and the job to train it; `lines` is what was shown."""

    root: Path
    job: TrainJob
    env: dict[str, str]
    lines: list[str]
    nvml: Any = None

    @classmethod
    def clone(cls, origin: Path, root: Path, *, changes: Mapping[str, str | bytes] | None = None, **more: Any) -> Lab:
        """A fresh clone with `changes` committed on top."""
        work = root / "work"
        OUTSIDE.run(["git", "clone", "-q", origin, work])
        for name, text in (changes or {}).items():
            path = work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode() if isinstance(text, str) else text)
        if changes:
            OUTSIDE.run(["git", "-C", work, "add", "-A", "-f"])
            OUTSIDE.run(["git", "-C", work, "commit", "-q", "-m", "change"])
        (root / "home").mkdir()
        return cls.open(origin, root, **more)

    @classmethod
    def open(cls, origin: Path, root: Path, **more: Any) -> Lab:
        """The clone that is there already."""
        work = root / "work"
        commit = OUTSIDE.run(["git", "-C", work, "rev-parse", "HEAD"]).text.strip()
        fields: dict[str, Any] = {
            "model": MODEL,
            "train": TrainPolicy(),
            "source": Source(repository="acme/flights", commit=commit, branch="feature"),
            "trigger": Trigger(event="workflow_dispatch", workflow_run_id=77, attempt=1),
            "workspace": work,
            "state": root / "state",
            "envs": root / "envs",
            "dvc_config": (origin / ".dvc" / "config").read_text(),
            "timeout_seconds": 60.0,
        }
        env = {"PATH": PATH, "HOME": str(root / "home"), "LANG": "C.UTF-8", **SECRETS}
        return cls(root=root, job=TrainJob(**{**fields, **more}), env=env, lines=[])

    def with_job(self, **changes: Any) -> Lab:
        self.job = replace(self.job, **changes)
        return self

    @property
    def ports(self) -> TrainPorts:
        stream = _Lines(self.lines)
        return TrainPorts(
            processes=Processes(self.env),
            commands=WorkflowCommands({"GITHUB_ACTIONS": "true"}, stream),
            say=self.lines.append,
            nvml=lambda: self.nvml,
        )

    def phase(self, name: str) -> Result:
        return run_phase(name, self.job, self.ports, out=self.root / "out")

    def train(self) -> Run:
        """All phases; the run document is read back."""
        for name in ("pull", "reproduce", "push"):
            self.phase(name)
        return self.record()

    def record(self) -> Run:
        from trackside.documents.codec import load

        self.phase("record")
        return load(Run, (self.root / "out" / "run.json").read_bytes())

    def executed(self) -> list[str]:
        """Stages whose command really ran, in order."""
        log = self.job.workspace / "executed.log"
        return log.read_text().split() if log.is_file() else []


def alive(mark: str) -> list[int]:
    """Processes with `mark` on their command line."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if mark.encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
    return found


class _Lines(io.StringIO):
    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self._into = lines

    def write(self, text: str) -> int:
        self._into.extend(text.splitlines())
        return len(text)
