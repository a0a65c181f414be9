"""A repository with registered versions, people with roles, and promotions over real HTTP against it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from conftest import bot_forge, user
from sweeps import Prepared, broken, cases, noted
from trackside.documents.codec import dump, load
from trackside.documents.image import Image
from trackside.documents.release import Asset, Release
from trackside.documents.result import Result
from trackside.errors import TracksideError
from trackside.forge.github import GithubForge
from trackside.forge.operations import CommitFiles, CreateTag
from trackside.registry import read
from trackside.registry.locks import Lock
from trackside.registry.promote_job import Dispatch, run_promotion
from trackside.registry.requirements import Attested
from trackside.registry.tags import message, trailers
from trackside.sandbox.server import Sandbox
from trackside.system.clock import SystemClock

BOT = "github-actions[bot]"
HELD = {
    "actions": "read", "attestations": "read", "checks": "read", "contents": "write", "deployments": "write",
    "issues": "write", "pull-requests": "write",
}  # fmt: skip
"""Those of the job in release.yml."""
POLICY = b"version: 1\nmodels:\n  delay: {path: m}\n  fare: {path: n, promotion: [shadow, canary, prod]}\n"


class Quick(SystemClock):
    """Counts what it was asked to sleep."""

    def __init__(self) -> None:
        self.asked = 0.0

    def monotonic(self) -> float:
        return self.asked

    def sleep(self, seconds: float) -> None:
        self.asked += seconds


def unsigned(release: Release, statement: bytes) -> None:
    """No stage of these tests asks for an attestation."""
    raise AssertionError((release.tag, statement))


@dataclass
class Place:
    """A repository with versions of `delay` on main, and one on a branch; `ada` maintains, `bob` writes."""

    sandbox: Sandbox
    repo: str
    issue: int = 0
    runs: int = 0
    commits: dict[str, str] = field(default_factory=dict)
    attested: Callable[[Release, bytes], Attested | None] = unsigned

    def forge(self, **more: Any) -> GithubForge:
        return bot_forge(self.sandbox, self.repo, HELD, viewer=BOT, **more)

    def commit(self, branch: str, files: dict[str, bytes]) -> str:
        return self.sandbox.hub.commit_folder(self.repo, branch, dict(files), "change", user("ada"))

    def version(self, number: str, branch: str = "main", model: str = "delay") -> str:
        commit = self.commit(branch, {"m": number.encode()})
        self.tag(number, commit, model)
        return commit

    def tag(self, number: str, commit: str, model: str = "delay", run: str = "r", statement: bytes = b"") -> None:
        """The tag of a version, as the register job makes it."""
        with self.forge() as forge:
            named = {"Run-Id": run, "Statement-Sha256": hashlib.sha256(statement).hexdigest()}
            text = message(f"{model} {number}", named)
            (made,) = forge.apply([CreateTag(name=f"{model}@v{number}", commit=commit, message=text)])
        assert made.outcome == "created", made
        self.commits[number] = commit

    def released(self, record: Release, statement: bytes) -> Release:
        """A record with its published release at GitHub, which has the statement and nothing else."""
        hub, ada, name = self.sandbox.hub, user("ada"), "provenance.intoto.json"
        made = hub.add_release(self.repo, {"tag_name": record.tag, "name": record.tag}, ada)
        hub.add_asset(self.repo, made["id"], name, statement, ada)
        digest = f"sha256:{hashlib.sha256(statement).hexdigest()}"
        file = Asset(name=name, role="statement", digest=digest, size=len(statement))
        return msgspec.structs.replace(record, release_id=made["id"], statement_digest=digest, assets=[file])

    def record(self, what: Release | Image | None, path: str = "") -> None:
        """Put a record on the data branch, or take away what is there."""
        where = (
            f"{'images' if isinstance(what, Image) else 'releases'}/{what.model}/{what.version}.json" if what else path
        )
        text = dump(what).decode() if what is not None else None
        with self.forge() as forge:
            (done,) = forge.apply([CommitFiles(branch="trackside-data", message="Record", files={where: text})])
        assert done.outcome in ("created", "updated"), done

    def open(self) -> None:
        """A new issue, where commands are written from now on."""
        issue = self.sandbox.hub.open_issue(self.repo, title="Stages", body="", actor=user("ada"))
        self.issue = int(issue["number"])

    def say(self, body: str, login: str = "ada") -> str:
        return str(self.sandbox.hub.add_comment(self.repo, self.issue, body, user(login))["id"])

    def dispatch(self, inputs: dict[str, str], actor: str = BOT, run: str = "") -> Dispatch:
        self.runs += 0 if run else 1
        return Dispatch(
            inputs=inputs, actor=actor, run=run or str(self.runs), url="https://x.test/run", now=datetime.now(UTC)
        )

    def run(self, dispatch: Dispatch, forge: GithubForge | None = None) -> Result:
        with forge or self.forge() as used:
            return run_promotion(dispatch, used, self.attested)[0]

    def ask(self, body: str, login: str = "ada", **inputs: str) -> Result:
        """A comment, passed on by the gate."""
        task = body[1:].split(" ")[0]
        return self.run(self.dispatch({"task": task, "comment": self.say(body, login), **inputs}))

    def tags(self, kind: str = "#") -> list[str]:
        names = self.sandbox.hub.bare(self.repo).refs("refs/tags/")
        return sorted(name.removeprefix("refs/tags/") for name in names if kind in name)

    def holder(self, stage: str, model: str = "delay") -> str:
        with self.forge() as forge:
            return str(read.state(forge, model, (stage,)).holder(model, stage))

    def replies(self) -> list[str]:
        return [one["body"] for one in self.sandbox.state.list("comment", self.repo, user=BOT)]

    def drop(self, names: list[str]) -> None:
        for name in names:
            self.sandbox.hub.bare(self.repo).git("update-ref", "-d", f"refs/tags/{name}")

    def said(self, tag: str) -> dict[str, str]:
        """Trailers of a tag."""
        return trailers(self.sandbox.hub.bare(self.repo).git("cat-file", "-p", f"refs/tags/{tag}").text)

    def deployed(self) -> dict[str, list[tuple[str, str]]]:
        """Of each environment the stage tags of its deployments and the state each is in, oldest first."""
        made: dict[str, list[tuple[str, str]]] = {}
        for one in self.sandbox.state.list("deployment", self.repo):
            state = self.sandbox.hub.deployment_state(self.repo, one["id"])
            made.setdefault(one["environment"], []).append((one["payload"]["tag"], state))
        return made


def opened(sandbox: Sandbox, repo: str, policy: bytes = POLICY) -> Place:
    """The repository with two versions of `delay` and an issue."""
    made = Place(sandbox, repo)
    sandbox.hub.set_role(repo, "ada", "maintain")
    sandbox.hub.set_role(repo, "bob", "write")
    made.commit("main", {"trackside.yaml": policy})
    made.open()
    for number in ("1.0.0", "1.1.0"):
        made.version(number)
    return made


def staged(sandbox: Sandbox, repo: str) -> Place:
    """Both versions have been in staging, one after the other."""
    made = opened(sandbox, repo)
    for number in ("1.0.0", "1.1.0"):
        made.run(made.dispatch({"task": "promote", "model": "delay", "stage": "staging", "version": number}, "ada"))
    assert made.tags() == ["delay#staging#1", "delay#staging#2"]
    return made


def end(place: Place) -> Any:
    """All that is left of it: tags with their words, deployments, who holds which lock, answers and reactions."""
    bare, state = place.sandbox.hub.bare(place.repo), place.sandbox.state
    form = "--format=%(refname) %(*objectname)%00%(contents)%00"
    tags = bare.git("for-each-ref", form, "refs/tags/").text.split("\0")
    held = bare.git("for-each-ref", "--format=%(refname)%00%(contents)%00", "refs/trackside/locks/").text.split("\0")
    locks = {name.strip(): load(Lock, text.encode()).state for name, text in zip(held[::2], held[1::2], strict=False)}
    reactions = sorted(one["content"] for one in state.list("reaction", place.repo))
    return tags, place.deployed(), locks, place.replies(), reactions


def swept(place: Place, dispatch: Dispatch, code: str) -> tuple[int, int]:
    """API calls of the work without a fault, and how many faults were tried, each followed by one re-run."""
    before = Prepared(place.sandbox, place.repo)
    with place.forge() as forge:
        methods = noted(forge)
        place.run(dispatch, forge)
    wanted, ran = end(place), 0

    def work(forge: GithubForge) -> None:
        try:
            run_promotion(dispatch, forge, unsigned)
        except TracksideError:
            return

    for case in cases(methods):
        before.restore()
        with place.forge(clock=Quick()) as forge:
            broken(case, place.sandbox, forge, work)
        result = place.run(dispatch, place.forge(clock=Quick()))
        assert (result.decision, result.reason_code) == ("done", code), (case, result)
        assert end(place) == wanted, case
        ran += 1
    print(f"{dispatch.inputs['task']}: {len(methods)} API calls, {ran} faults")
    assert ran == len(list(cases(methods)))
    return len(methods), ran
