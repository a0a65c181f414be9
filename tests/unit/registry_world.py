"""A repository of the sandbox with a trained model on `main`, and the register stage over HTTP against it."""

from __future__ import annotations

import hashlib
import io
import json
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from plan_samples import FILES, PROCESSES

from conftest import bot_forge, user
from trackside.app import Context
from trackside.config.load import load as load_config
from trackside.config.model import Config
from trackside.documents.codec import load
from trackside.documents.release import Release
from trackside.documents.result import Result
from trackside.documents.run import Artifact, Dependency, Environment, Metric, Run, Source, Trigger, Usage
from trackside.event.model import DispatchEvent, PushEvent
from trackside.forge.github import GithubForge
from trackside.plan.objects import GitTree, fetch, read_commit
from trackside.plan.pipeline import inputs_of
from trackside.plan.resolve import Job, resolve
from trackside.registry.job import name_of, register
from trackside.registry.package import LIMIT
from trackside.registry.registration import RegisterJob
from trackside.sandbox.server import Sandbox
from trackside.store.branch import ApiRunStore
from trackside.system.process import Processes
from trackside.train.dvc import Object, Remotes

NOW = datetime(2026, 11, 21, 6, 0, tzinfo=UTC)
HELD = {"contents": "write", "pull-requests": "read", "actions": "write"}
ADA = user("ada")
WAITING = b"""\
on: {workflow_dispatch: {inputs: {model: {}, title: {}, commit: {}, input-digest: {}}}}
run-name: ${{ inputs.title }}
jobs: {wait: {runs-on: no-such-runner, steps: [{run: "true"}]}}
"""
POLICY = """\
version: 1
models:
  delay:
    path: model.bin
    stages: [evaluate]
    metrics: {auc: {file: metrics.json, direction: max}}
    card:
      description: Is a flight late by 15 minutes or more?
      license: apache-2.0
      intended-use: Examples.
      limitations: Only three airports.
      how-to-load: "open('model.bin')"
      tags: [tabular-classification]
"""


class StoppedClock:
    """Stands still; sleeping costs no time, so that retries are quick."""

    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        del seconds


@dataclass
class Trained:
    """A repository and the data remote of its runs; `limit` is where files are split."""

    sandbox: Sandbox
    repo: str
    folder: Path
    policy: str = POLICY
    limit: int = LIMIT
    said: io.StringIO = field(default_factory=io.StringIO)

    @property
    def remote(self) -> Path:
        return self.folder / "remote"

    @property
    def config(self) -> Config:
        return load_config(self.policy)

    # People and their runs

    def start(self, files: Mapping[str, bytes] | None = None) -> str:
        """The sample project on `main`."""
        dvc = f"[core]\n    remote = store\n['remote \"store\"']\n    url = {self.remote}\n"
        texts = {**FILES, "trackside.yaml": self.policy, ".dvc/config": dvc}
        made = {name: text.encode() for name, text in texts.items()} | dict(files or {})
        made[".github/workflows/train.yml"] = WAITING
        return self.push(made)

    def push(self, files: Mapping[str, bytes | None], branch: str = "main") -> str:
        return self.sandbox.hub.commit_folder(self.repo, branch, dict(files), "Change", ADA)

    def change(self, rate: float) -> str:
        """Another learning rate on `main`."""
        return self.push({"params.yaml": FILES["params.yaml"].replace("lr: 0.1", f"lr: {rate}").encode()})

    def merge(self, branch: str, files: Mapping[str, bytes | None], labels: tuple[str, ...] = ()) -> tuple[int, str]:
        """A pull request, merged: its number and the commit on `main`."""
        self.push(files, branch)
        number = self.sandbox.hub.open_pull(self.repo, title="Change", head=branch, base="main", actor=ADA)
        if labels:
            self.sandbox.hub.add_labels(self.repo, number, list(labels), ADA)
        self.sandbox.hub.merge_pull(self.repo, number, ADA)
        return number, str(self.sandbox.hub.pull(self.repo, number)["merge_commit_sha"])

    def store(self, data: bytes) -> str:
        """Put content into the data remote; returns DVC's digest."""
        md5 = hashlib.md5(data).hexdigest()
        place = self.remote / "files/md5" / md5[:2] / md5[2:]
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        return f"md5:{md5}"

    def digest(self, commit: str) -> str:
        """Input digest of the model at a commit."""
        git = self.folder / "digests.git"
        fetch(git, f"{self.sandbox.url}/{self.repo}", [commit], processes=PROCESSES, token=self.forge()._token)
        (raw,) = resolve(git, [Job(commit=commit, overrides={})], processes=PROCESSES)
        tree = GitTree.open(git, commit, PROCESSES)
        return inputs_of(tree, raw, self.config.models[0], self.config.train).digest

    def trained(
        self, commit: str, model: bytes = b"weights", *, auc: float = 0.7, digest: str = "", **changes: Any
    ) -> Run:
        """Record a run for the inputs of a commit, as if its training had been done in a pull request."""
        digest = digest or self.digest(commit)
        run = Run(
            id=hashlib.sha256(digest.encode() + model).hexdigest()[:12],
            model="delay",
            status="succeeded",
            reason_code="trained",
            input_digest=digest,
            source=Source(repository="acme/flights", commit="1" * 40),
            trigger=Trigger(event="workflow_dispatch"),
            started_at="2026-01-01T00:00:00Z",
            finished_at="2026-01-01T00:01:00Z",
            params={"train.lr": 0.1, "seed": 7},
            dependencies=[Dependency(path="data/raw.csv", kind="data", digest="md5:" + "0" * 32, size=12)],
            environment=Environment(python="3.12.4", os="linux"),
            usage=Usage(wall_seconds=60.0),
            metrics=[Metric(name="auc", value=auc, file="metrics.json", direction="max")],
            artifacts=[
                Artifact(
                    path="model.bin",
                    role="model",
                    digest="sha256:" + hashlib.sha256(model).hexdigest(),
                    size=len(model),
                    dvc_digest=self.store(model),
                )
            ],
        )
        run = msgspec.structs.replace(run, **changes)
        with self.forge() as forge:
            (applied,) = forge.apply([ApiRunStore(forge, "trackside-data").operations_for(run, reusable=True)])
        assert applied.outcome in ("created", "updated"), applied
        return run

    # The stage

    def forge(self) -> GithubForge:
        return bot_forge(self.sandbox, self.repo, HELD, clock=StoppedClock(), viewer="github-actions[bot]", timeout=30)

    def pushed(self, commit: str) -> PushEvent:
        more = {"ref": "refs/heads/main", "branch": "main", "tag": "", "deleted": False}
        return PushEvent(**self._origin("push"), sha=commit, before="0" * 40, **more)

    def asked(self, **inputs: str) -> DispatchEvent:
        tip = self.sandbox.hub.default_tip(self.repo)[1]
        more = {"ref": "refs/heads/main", "sha": tip, "workflow": "release.yml"}
        return DispatchEvent(**self._origin("workflow_dispatch"), inputs=inputs, **more)

    def _origin(self, name: str) -> dict[str, str]:
        return {"name": name, "repository": self.repo, "actor": "ada", "default_branch": "main"}

    def register(
        self,
        event: PushEvent | DispatchEvent,
        forge: GithubForge | None = None,
        *,
        actor: str = "ada",
        run: str = "1",
        processes: Processes = PROCESSES,
    ) -> Result:
        """One attempt of the stage in the workflow run `run`, in a folder of its own; `actor` started it."""
        forge = forge or self.forge()
        page = f"{self.sandbox.url}/{self.repo}"
        env = {"GITHUB_SERVER_URL": self.sandbox.url, "GITHUB_REPOSITORY": self.repo, "GITHUB_ACTOR": actor}
        context = Context(env={**env, "GITHUB_RUN_ID": run, "GITHUB_JOB": "register"}, out=self.said)
        with forge, tempfile.TemporaryDirectory(dir=self.folder) as work:
            job = RegisterJob(
                forge=forge,
                processes=processes,
                clock=StoppedClock(),
                git_url=page,
                token=forge._token,
                web_url=page,
                workdir=Path(work),
                out=self.folder / "out",
                context=context,
                server=self.sandbox.url,
                credentials={},
                name=name_of(context),
                limit=self.limit,
            )
            return register(event, job)

    # What is there

    def records(self) -> list[Release]:
        bare = self.sandbox.hub.bare(self.repo)
        listed = bare.git("ls-tree", "-r", "--name-only", "trackside-data", "releases/", check=False).text.split()
        return [load(Release, bare.file("trackside-data", path) or b"") for path in listed]

    def releases(self) -> list[dict[str, Any]]:
        return self.sandbox.state.list("release", self.repo)

    def tags(self) -> list[str]:
        return sorted(name.removeprefix("refs/tags/") for name in self.sandbox.hub.bare(self.repo).refs("refs/tags/"))

    def asset(self, name: str, release_id: int) -> bytes:
        """An asset's bytes, by the reading side."""
        with self.forge() as forge, tempfile.TemporaryDirectory() as folder:
            (found,) = [one for one in forge.assets(release_id) if one.name == name]
            forge.download(found.id, Path(folder) / "x", digest=found.digest)
            return (Path(folder) / "x").read_bytes()

    def end_state(self) -> Any:
        """All that a release consists of, without numbers and addresses that GitHub gives."""
        bare = self.sandbox.hub.bare(self.repo)
        made: dict[str, Any] = {"tags": {}, "releases": [], "records": []}
        for name in self.tags():
            text = bare.git("cat-file", "-p", f"refs/tags/{name}").text
            made["tags"][name] = [
                bare.git("rev-parse", f"refs/tags/{name}^{{commit}}").text.strip(),
                text.partition("\n\n")[2],
            ]
        for one in self.releases():
            assets = [
                [a["name"], a["digest"], a["state"]]
                for a in self.sandbox.state.list("asset", self.repo, release=one["id"])
            ]
            made["releases"].append([one["tag_name"], one["name"], one["body"], one["draft"], sorted(assets)])
        for record in self.records():
            made["records"].append(msgspec.to_builtins(msgspec.structs.replace(record, release_id=0, url="")))
        return json.loads(json.dumps(made))


def crowded(place: Trained, commit: str, count: int) -> None:
    """So many tags and releases of other models."""
    stream = []
    for number in range(count):
        text = f"other {number}\n"
        tag = f"tag other{number % 10}@v1.{number}.0\nfrom {commit}\ntagger A <a@localhost> 1700000000 +0000"
        stream.append(f"{tag}\ndata {len(text)}\n{text}\n")
    place.sandbox.hub.bare(place.repo).git("fast-import", "--quiet", data="".join(stream).encode())
    fields = {"target_commitish": commit, "name": "x", "body": "x", "draft": False, "prerelease": False}
    fields |= {"latest": True, "immutable": False, "author": "ada"}
    fields |= dict.fromkeys(("created_at", "updated_at", "published_at"), "2026-01-01T00:00:00Z")
    state = place.sandbox.state
    with state.transaction():
        for number in range(count):
            key = state.next("id")
            state.put("release", place.repo, key, fields | {"id": key, "tag_name": f"other{number % 10}@v1.{number}.0"})


@pytest.fixture
def place(sandbox: Sandbox, repo: str, tmp_path: Path) -> Trained:
    return Trained(sandbox, repo, tmp_path)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the sweep DVC's processes, which no fault of the API concerns: pipelines are read once for each commit's
    files, objects are copied from the remote's folder.
    """
    ask, seen = resolve, dict[str, Any]()

    def pipelines(git_dir: Path, jobs: list[Job], *, processes: Processes) -> Any:
        tree = str(read_commit(git_dir, jobs[0].commit, processes).tree)
        if tree not in seen:
            seen[tree] = ask(git_dir, jobs, processes=processes)
        return seen[tree]

    def copied(direction: str, objects: Iterable[Object], found: Remotes, **_: Any) -> str:
        assert direction == "fetch"
        store = Path(found.config.get("'remote \"store\"'", "url"))
        for obj in objects:
            source, target = obj.path(store), obj.path(found.cache)
            if source.is_file():
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(source.read_bytes())
        return ""

    for module in ("trackside.registry.registration", "registry_world"):
        monkeypatch.setattr(f"{module}.resolve", pipelines)
    monkeypatch.setattr("trackside.registry.files.transfer", copied)
