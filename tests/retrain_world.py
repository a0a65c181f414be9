"""A repository of the sandbox whose model drifts, and the retrain stage over HTTP against it, with real git and DVC."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from conftest import ENV, bot_forge, user
from trackside.documents.codec import load
from trackside.documents.proposal import Proposal
from trackside.documents.result import Result
from trackside.documents.verdict import Kind, Test, Verdict, Window
from trackside.event.model import DispatchEvent, ScheduleEvent
from trackside.forge.github import GithubForge
from trackside.forge.operations import CommitFiles, UpsertCheck
from trackside.retrain.job import retrain
from trackside.retrain.propose import RetrainJob
from trackside.sandbox.actions.dispatcher import Dispatcher
from trackside.sandbox.server import Sandbox
from trackside.store.drift import operations_for
from trackside.system.process import Processes

BOT = "github-actions[bot]"
HELD = {"contents": "write", "pull-requests": "write", "actions": "write", "checks": "write", "issues": "write"}
MAIN = "main"
DATA = "trackside-data"
BRANCH = "trackside/retrain/delay"
ADA = user("ada")
START = date(2026, 1, 10)
POLICY = """\
version: 1
models:
  delay:
    path: model.bin
    drift:
      reference: data/train.csv
      current: prod/{date}.csv
      retrain:
        after: 2
        cooldown-days: 7
        update: [data/raw.csv.dvc]
        params: {prepare.train_to: "{date}", prepare.test_month: "{month-1}"}
        reviewers: [ada, team/ml]
"""
PARAMS = """\
# What is trained, and on what.
prepare:
  train_from: 2025-01-01   # the first day
  train_to: 2025-12-31     # the last day
  test_month: 1
train: {lr: 0.1}
"""
PLAN = b"""on:
  workflow_dispatch:
    inputs:
      pull-request: {type: string}
      comment: {type: string}
run-name: "plan #${{ inputs.pull-request }}"
jobs:
  plan:
    runs-on: no-such-runner
    steps:
      - run: "true"
"""


@dataclass
class Clock:
    """Moves from night to night; sleeping costs no time."""

    at: datetime = field(default_factory=lambda: datetime(2026, 1, 10, 4, 43, tzinfo=UTC))

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        del seconds


@dataclass
class Drifting:
    """One repository, its data remote and the source of its raw data."""

    sandbox: Sandbox
    repo: str
    folder: Path
    clock: Clock = field(default_factory=Clock)
    policy: str = POLICY

    @property
    def remote(self) -> Path:
        return self.folder / "remote"

    @property
    def source(self) -> Path:
        return self.folder / "warehouse" / "raw.csv"

    @property
    def processes(self) -> Processes:
        return Processes(ENV | {"HOME": str(self.folder / "home")})

    # The repository and its people

    def start(self) -> None:
        self.sandbox.hub.set_setting(self.repo, "actions_can_create_pull_requests", True)
        self.land(b"a,b\n1,2\n")
        first = hashlib.md5(b"a,b\n").hexdigest()
        pointer = {
            "frozen": True,
            "deps": [{"md5": first, "size": 4, "hash": "md5", "path": str(self.source)}],
            "outs": [{"md5": first, "size": 4, "hash": "md5", "path": "raw.csv"}],
        }
        config = f"[core]\n    remote = store\n['remote \"store\"']\n    url = {self.remote}\n"
        self.push(
            {
                "trackside.yaml": self.policy.encode(),
                "params.yaml": PARAMS.encode(),
                "data/raw.csv.dvc": yaml.safe_dump(pointer, sort_keys=False).encode(),
                ".dvc/config": config.encode(),
                ".github/workflows/pull-request.yml": PLAN,
            }
        )
        home = self.folder / "home"
        home.mkdir(parents=True, exist_ok=True)
        (home / ".gitconfig").write_text("[user]\n\tname = Owner\n")

    def push(self, files: Mapping[str, bytes | None], branch: str = MAIN) -> str:
        return self.sandbox.hub.commit_folder(self.repo, branch, dict(files), "Change", ADA)

    def land(self, data: bytes) -> None:
        """New raw data at its source."""
        self.source.parent.mkdir(parents=True, exist_ok=True)
        self.source.write_bytes(data)

    def check(self, kind: Kind = "drift", *, streak: int = 1, day: date | None = None) -> Verdict:
        """A night's drift check, as its stage leaves it on the data branch."""
        as_of = (day or self.clock.at.date()).isoformat()
        alarm = Test(
            heading="features", column="hour", test="ks", effect=0.31, low=0.27, high=0.35, threshold=0.1, p_value=0.0,
            q_value=0.0, alarm=True, kind="drift", sentence="later hours",
        )  # fmt: skip
        verdict = Verdict(
            model="delay",
            verdict=kind,
            reason_code="drift_found" if kind == "drift" else "drift_none",
            as_of=as_of,
            checked_at=self.clock.at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            reference=Window(source="profile", rows=5000, version="1.0.0"),
            current=Window(source="prod", rows=1234),
            tests=[alarm] if kind == "drift" else [],
            moved=["hour"] if kind == "drift" else [],
            streak=streak if kind == "drift" else 0,
            shapes={"hour": {"kind": "levels", "names": ["a", "b"], "reference": [0.4, 0.6], "current": [0.7, 0.3]}},
        )
        with self.forge() as forge:
            (applied,) = forge.apply([operations_for([(verdict, None)], now=self.clock.at, branch=DATA)])
        assert applied.outcome in ("created", "updated"), applied.error
        return verdict

    def snooze(self, days: int) -> None:
        until = (self.clock.at + timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")
        text = f'{{"schema": "trackside.snooze/1", "until": "{until}", "by": "ada"}}\n'
        files: dict[str, str | None] = {"drift/delay/snooze.json": text}
        with self.forge() as forge:
            forge.apply([CommitFiles(branch=DATA, message="Snooze", files=files)])

    # The stage

    def forge(self) -> GithubForge:
        return bot_forge(self.sandbox, self.repo, HELD, clock=self.clock, viewer=BOT, timeout=30)

    def job(self, forge: GithubForge, workdir: Path, **more: Any) -> RetrainJob:
        return RetrainJob(
            forge=forge,
            processes=self.processes,
            page=f"{self.sandbox.url}/{self.repo}",
            token=forge._token,
            workdir=workdir,
            clock=self.clock,
            **{"models": ("delay",), **more},
        )

    def night(self, forge: GithubForge | None = None, **more: Any) -> Result:
        """One run of the stage after a scheduled check; its folder is searched for the token."""
        event = ScheduleEvent(name="schedule", repository=self.repo, cron="43 4 * * *", sha="0" * 40)
        return self._run(event, forge, more)

    def asked(self, forge: GithubForge | None = None, actor: str = "ada", **inputs: str) -> Result:
        """A dispatch of task `retrain`."""
        given = {"task": "retrain", "model": "delay", **inputs}
        event = DispatchEvent(
            name="workflow_dispatch", repository=self.repo, ref="refs/heads/main", sha="0" * 40, workflow="drift.yml",
            inputs=given,
        )  # fmt: skip
        return self._run(event, forge, {"actor": actor, "models": ()})

    def _run(self, event: ScheduleEvent | DispatchEvent, forge: GithubForge | None, more: dict[str, Any]) -> Result:
        with forge or self.forge() as made, tempfile.TemporaryDirectory(dir=self.folder) as work:
            try:
                return retrain(event, self.job(made, Path(work), **more))[0]
            finally:
                assert holding(Path(work), made._token.encode()) == [], "the token is in a file"

    def finish(self) -> int:
        """End the plans that were started, and mark the head as planned; returns how many there were."""
        self.settle()
        runs = [one for one in self.sandbox.state.list("run", self.repo) if one["status"] != "completed"]
        for run in runs:
            self.sandbox.state.put("run", self.repo, run["id"], run | {"status": "completed", "conclusion": "success"})
        check = UpsertCheck(
            name="trackside / delay", head_sha=self.tip(BRANCH) or "", external_id="trackside:delay:d", title="queued",
            summary="s", conclusion=None,
        )  # fmt: skip
        with self.forge() as forge:
            forge.apply([check])
        return len(runs)

    def settle(self) -> None:
        self.sandbox.dispatcher.wait_idle(10)

    # What is there

    def tip(self, branch: str) -> str | None:
        return self.sandbox.hub.bare(self.repo).sha(f"refs/heads/{branch}")

    def file(self, path: str, branch: str = BRANCH) -> bytes:
        return self.sandbox.hub.bare(self.repo).file(f"refs/heads/{branch}", path) or b""

    def pulls(self, state: str = "open") -> list[dict[str, Any]]:
        found = self.sandbox.state.list("pull", self.repo, head_ref=BRANCH)
        return [one for one in found if self.sandbox.hub.issue(self.repo, one["number"])["state"] == state]

    def proposal(self) -> Proposal | None:
        raw = self.sandbox.hub.bare(self.repo).file(f"refs/heads/{DATA}", "retrain/delay.json")
        return load(Proposal, raw) if raw else None

    def plans(self) -> list[dict[str, Any]]:
        self.settle()
        return self.sandbox.state.list("run", self.repo, workflow_path=".github/workflows/pull-request.yml")


def holding(folder: Path, secret: bytes) -> list[str]:
    """Files below a folder that hold a secret."""
    return [str(path) for path in folder.rglob("*") if path.is_file() and secret in path.read_bytes()]


@contextmanager
def dispatching(sandbox: Sandbox) -> Iterator[None]:
    """Dispatched workflows become runs."""
    dispatcher = sandbox.dispatcher = Dispatcher(sandbox.hub, ENV, {})
    dispatcher.start()
    try:
        yield
    finally:
        sandbox.dispatcher = None
        dispatcher.stop()
