"""Two released versions of a model with stages, a clone of them, and what the commands of the registry say there."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from registry_world import HELD, NOW, POLICY, Trained

from conftest import ENV, bot_forge, user
from sandbox_client import Api
from sweeps import Prepared
from trackside.app import Context
from trackside.cli import parser
from trackside.documents.codec import dump
from trackside.documents.release import Release
from trackside.errors import TracksideError
from trackside.plan.objects import read_commit
from trackside.plan.resolve import Job, resolve
from trackside.registry.promote_job import Dispatch, run_promotion
from trackside.registry.tags import message, stage_tag
from trackside.sandbox.actions.dispatcher import Dispatcher
from trackside.sandbox.git import Bare
from trackside.sandbox.server import Sandbox
from trackside.store.layout import DATA_BRANCH
from trackside.system.process import Processes
from trackside.train.dvc import Object, Remotes

STAGED = POLICY.replace("    card:\n", "    promotion: [staging, prod, live]\n    card:\n")
RELEASING = b"""\
on: {workflow_dispatch: {inputs: {task: {}, model: {}, commit: {}, reason: {}}}}
run-name: ${{ format('{0} {1} {2}', inputs.task, inputs.model, inputs.commit) }}
jobs: {wait: {runs-on: no-such-runner, steps: [{run: "true"}]}}
"""
GIT = Processes({"PATH": ENV["PATH"], "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null"})
WHO = {f"GIT_{who}_{what}": text for who in ("AUTHOR", "COMMITTER") for what, text in (("NAME", "t"), ("EMAIL", "t@t"))}


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a command answered: its exit code, its output, its error's reason code and text."""

    code: int
    out: str = ""
    reason: str = ""
    error: str = ""

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.out)
        return found

    @property
    def problems(self) -> set[str]:
        return {one["code"] for one in self.document["findings"] if one["level"] == "problem"}

    @property
    def notes(self) -> set[str]:
        return {one["code"] for one in self.document["findings"] if one["level"] == "note"}


@dataclass
class World:
    """The repository at its server (`at`) and a clone of it; `commits` are those of the versions 1.0.0 and 1.0.1, and
    one that is trained and not released yet.
    """

    at: Trained
    clone: Path
    commits: list[str] = field(default_factory=list)

    @property
    def sandbox(self) -> Sandbox:
        return self.at.sandbox

    @property
    def bare(self) -> Bare:
        return self.sandbox.hub.bare(self.at.repo)

    def build(self) -> None:
        self.commits = [self.at.start({".github/workflows/release.yml": RELEASING})]
        self.at.trained(self.commits[0], b"first")
        self.at.register(self.at.pushed(self.commits[0]))
        self.commits.append(self.at.change(0.2))
        self.at.trained(self.commits[1], b"second", auc=0.8)
        self.at.register(self.at.pushed(self.commits[1]))
        self.commits.append(self.at.change(0.3))
        self.at.trained(self.commits[2], b"third", auc=0.9)
        self.sandbox.hub.set_role(self.at.repo, "ada", "maintain")
        for number, (version, stage) in enumerate(product(("1.0.0", "1.0.1"), ("staging", "prod")), 1):
            text = message(f"Give {stage} of delay to v{version}", {"Version": version, "Actor": "ada"})
            commit = self.commits[version == "1.0.1"]
            self.tagged(stage_tag("delay", stage, number), commit, text, NOW + timedelta(hours=number))

    def promote(self, version: str, stage: str, *, run: str = "") -> str:
        """The reason code of a promotion by a maintainer, or of its refusal."""
        inputs = {"task": "promote", "model": "delay", "version": version, "stage": stage}
        run = run or str(self.sandbox.state.next("run-of-a-test"))
        asked = Dispatch(inputs=inputs, actor="ada", run=run, url="", now=datetime(2026, 11, 21, 7, tzinfo=UTC))
        rights = {**HELD, "issues": "write", "deployments": "write", "pull-requests": "write"}
        with bot_forge(self.sandbox, self.at.repo, rights, viewer="github-actions[bot]") as forge:
            try:
                return run_promotion(asked, forge, lambda release, statement: None)[0].reason_code
            except TracksideError as error:
                return error.reason_code

    def register(self, commit: str) -> str:
        """The version that a commit becomes, or the reason code of why it becomes none."""
        try:
            result = self.at.register(self.at.pushed(commit))
        except TracksideError as error:
            return error.reason_code
        return ", ".join(one["version"] for one in result.values["released"]) or result.reason_code

    def rerun(self) -> list[str]:
        """What the jobs come to that a repair started: their dispatches, done here."""
        made = []
        for one in self.sandbox.state.list("run", self.at.repo):
            if one["status"] != "completed":
                made.append(self.at.register(self.at.asked(**one["inputs"])).reason_code)
                self.sandbox.state.put("run", self.at.repo, one["id"], one | {"status": "completed"})
        return made

    # The clone

    def fresh(self, *flags: str) -> Path:
        """A clone as `git clone` with these flags makes it."""
        words = ["git", "clone", "--quiet", *flags, self.bare.path.resolve().as_uri(), self.clone]
        GIT.run(words)
        self.git("remote", "set-url", "origin", f"{self.sandbox.url}/{self.at.repo}")
        self.git("config", f"http.{self.sandbox.url}/.extraHeader", "Authorization: Basic " + basic("token-ada"))
        return self.clone

    def git(self, *words: str, env: dict[str, str] | None = None) -> str:
        """Git in the clone, as a person uses it."""
        return GIT.run(["git", "-C", self.clone, *words], env={**GIT.env, **WHO, **(env or {})}).text.strip()

    # The commands

    def say(self, *words: str, token: str = "token-ada", folder: Path | None = None) -> Said:
        """`trackside models …` in the clone, with JSON where the command has it."""
        arguments = parser().parse_args(["models", *words, "--repo", str(folder or self.clone)])
        access = {"GITHUB_TOKEN": token, "GITHUB_API_URL": self.sandbox.api_url} if token else {}
        env = {**ENV, **access, "XDG_CACHE_HOME": str(self.clone.with_name(f"{self.clone.name}-cache"))}
        context = Context(env=env, out=io.StringIO(), json=arguments.json)
        try:
            code = arguments.handler(context, arguments)
        except TracksideError as error:
            return Said(code=error.exit_code, reason=error.reason_code, error=error.render())
        return Said(code=code, out=context.out.getvalue())  # type: ignore[attr-defined]

    def fetched(self) -> str:
        """The model that `get` gives for the stage prod, or the reason code of why it gives none."""
        folder = self.clone.with_name(f"{self.clone.name}-fetched")
        said = self.say("get", "delay#prod", "--out", str(folder), "--no-progress")
        assert said.code == 0 or "fix:" in said.error, said
        assert said.code == 0 or not list(folder.rglob("model.bin")), "what is not right is not handed over"
        return said.reason or (folder / "model.bin").read_text()

    def doctor(self, *words: str, **more: Any) -> Said:
        return self.say("doctor", *words, "--json", **more)

    def everything(self) -> tuple[object, ...]:
        """All refs, releases and their files at the server, but for the locks of promotions."""
        refs = {name: sha for name, sha in self.bare.refs().items() if not name.startswith("refs/trackside/locks/")}
        return refs, self.at.releases(), self.sandbox.state.list("asset", self.at.repo)

    # Doing harm

    @property
    def api(self) -> Api:
        return Api(self.sandbox, self.at.repo, "token-ada")

    def forced(self, name: str, sha: str) -> None:
        """Move or make a tag at the server, whatever it was."""
        self.bare.git("update-ref", f"refs/tags/{name}", sha)

    def gone(self, name: str) -> None:
        self.bare.git("update-ref", "-d", f"refs/tags/{name}")

    def tagged(self, name: str, commit: str, text: str, when: datetime) -> None:
        """An annotated tag at the server, whoever's clock said `when`."""
        person = f"Somebody <some@body> {int(when.timestamp())} +0000"
        self.forced(name, self.bare.write_tag(name, commit, "commit", text, person))

    def record(self, version: str) -> Release:
        (found,) = [one for one in self.at.records() if one.version == version]
        return found

    def write(self, release: Release | None, version: str = "", text: str = "") -> None:
        """Put a record, any text in its place, or nothing, on the data branch."""
        path = f"releases/delay/{release.version if release else version}.json"
        data = dump(release) if release else text.encode() or None
        self.sandbox.hub.commit_folder(self.at.repo, DATA_BRANCH, {path: data}, "Harm", user("ada"))


def building(server: Sandbox, folder: Path) -> Iterator[tuple[World, Prepared]]:
    """For a fixture of a module: the world before anything went wrong, made once."""
    repo = f"acme/d{server.state.next('test')}"
    server.hub.add_repo(repo)
    for login in ("ada", "mallory"):
        server.hub.add_user(login)
        server.hub.add_token(f"token-{login}", login)
    server.dispatcher = Dispatcher(server.hub, ENV, {})
    server.dispatcher.start()
    world = World(at=Trained(server, repo, folder, policy=STAGED), clone=folder / "none")
    with pytest.MonkeyPatch.context() as patch:
        _without_dvc(patch)
        world.build()
        yield world, Prepared(server, repo)
    server.dispatcher.stop()
    server.dispatcher = None


def _without_dvc(patch: pytest.MonkeyPatch) -> None:
    """Pipelines are read once a tree, objects copied from the remote's folder: DVC's processes are no part of this."""
    seen: dict[str, Any] = {}

    def pipelines(git_dir: Path, jobs: list[Job], *, processes: Processes) -> Any:
        tree = str(read_commit(git_dir, jobs[0].commit, processes).tree)
        if tree not in seen:
            seen[tree] = resolve(git_dir, jobs, processes=processes)
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
        patch.setattr(f"{module}.resolve", pipelines)
    patch.setattr("trackside.registry.files.transfer", copied)


def basic(token: str) -> str:
    return base64.b64encode(f"x-access-token:{token}".encode()).decode()
