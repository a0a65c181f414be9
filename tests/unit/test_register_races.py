"""Eight jobs at once release eight versions, round after round; two jobs with one claim make one release."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from plan_samples import PROCESSES
from registry_world import HELD, place, quick

from conftest import bot_forge
from trackside.documents.codec import dump
from trackside.documents.release import Release
from trackside.documents.run import Artifact, Environment, Run, Source, Trigger, Usage
from trackside.errors import TracksideError
from trackside.registry.decide import Wish
from trackside.registry.ledger import Known, Ledger
from trackside.registry.package import Package
from trackside.registry.release import Registrar
from trackside.registry.remote import Remote
from trackside.sandbox.server import Sandbox
from trackside.system.clock import SystemClock

__all__ = ["place", "quick"]
JOBS, ROUNDS = 8, 20


@pytest.fixture
def silent(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """No events of pushes: to make them costs more than the pushes."""
    monkeypatch.setattr(sandbox.hub, "pushed", lambda *_: None)


class Worker:
    """One job after the other on one machine, each with a run of its own."""

    def __init__(self, sandbox: Sandbox, repo: str, folder: Path, number: int) -> None:
        self.folder, self.number = folder / f"job{number}", number
        self.folder.mkdir()
        self.forge = bot_forge(sandbox, repo, HELD, viewer="github-actions[bot]")
        self.remote = Remote(
            self.folder / "objects.git",
            f"{sandbox.url}/{repo}",
            token=self.forge._token,
            processes=PROCESSES,
            clock=SystemClock(),
        )

    def release(self, commit: str, turn: int) -> Release:
        model = f"weights {turn} of {self.number}".encode()
        run = sample(model)

        def pack(release: Release, known: Known) -> tuple[Package, str]:
            folder = self.folder / release.version
            folder.mkdir(exist_ok=True)
            (folder / "source").write_bytes(model)
            package = Package(folder=folder)
            package.add_model(folder / "source", "model.bin", run.artifacts[0].digest)
            package.add("run", "run.json", dump(run))
            return package, f"Notes of {release.tag}.\n"

        self.remote.fetch([commit])
        clock = SystemClock()
        registrar = Registrar(
            forge=self.forge,
            ledger=Ledger(self.remote, PROCESSES, branch="trackside-data", now=clock.now),
            ask=lambda wish: wish,
            inspect=lambda: None,
            pack=pack,
            server="https://github.com",
            job=f"{turn}/{self.number}",
            say=lambda _: None,
        )
        return registrar.release(Wish(run=run, commit=commit, now="2026-11-21T06:00:00Z")).release

    def names(self) -> list[str]:
        """Refs here that no fetch made."""
        argv = ["git", "-C", self.remote.git_dir, "for-each-ref", "--format=%(refname)"]
        listed = PROCESSES.run(argv).text.split()
        return [one for one in listed if not one.startswith("refs/trackside/") or "/made/" in one]


def sample(model: bytes) -> Run:
    digest = "sha256:" + hashlib.sha256(model).hexdigest()
    return Run(
        id=digest[7:19],
        model="delay",
        status="succeeded",
        reason_code="trained",
        input_digest=digest,
        source=Source(repository="acme/flights", commit="1" * 40),
        trigger=Trigger(event="push"),
        started_at="2026-01-01T00:00:00Z",
        finished_at="2026-01-01T00:01:00Z",
        environment=Environment(python="3.12.4", os="linux"),
        usage=Usage(wall_seconds=60.0),
        artifacts=[Artifact(path="model.bin", role="model", digest=digest, size=len(model))],
    )


@pytest.fixture
def workers(sandbox: Sandbox, repo: str, tmp_path: Path) -> Iterator[list[Worker]]:
    with contextlib.ExitStack() as stack:
        made = [Worker(sandbox, repo, tmp_path, number) for number in range(JOBS)]
        for one in made:
            stack.enter_context(one.forge)
        yield made


def at_once(works: list[Any]) -> list[Any]:
    """What each made, or the error that it raised."""
    made: list[Any] = [None] * len(works)
    barrier = threading.Barrier(len(works))

    def run(index: int) -> None:
        barrier.wait()
        try:
            made[index] = works[index]()
        except TracksideError as error:
            made[index] = error

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return made


@pytest.mark.usefixtures("silent")
def test_eight_registers_at_once_are_eight_versions(sandbox: Sandbox, repo: str, workers: list[Worker]) -> None:
    bare = sandbox.hub.bare(repo)
    commit = bare.sha("refs/heads/main") or ""
    versions: list[str] = []
    before = len(sandbox.git_calls)
    for turn in range(ROUNDS):
        made = at_once([lambda one=one, turn=turn: one.release(commit, turn) for one in workers])
        assert all(isinstance(one, Release) and one.state == "published" for one in made), made
        versions += [one.version for one in made]
        assert len(set(versions)) == len(versions) == JOBS * (turn + 1)
    tags = bare.typed_refs("refs/tags/")
    assert sorted(tags) == sorted(f"refs/tags/delay@v{one}" for one in versions)
    assert Counter(kind for _, kind in tags.values()) == {"tag": JOBS * ROUNDS}
    assert all(bare.sha(name) == commit for name in tags)
    ledger = workers[0]
    known = Ledger(ledger.remote, PROCESSES, branch="trackside-data", now=SystemClock().now).known("delay")
    assert sorted(one.version for one in known.records) == sorted(versions)
    pages = {one["id"]: one for one in sandbox.state.list("release", repo)}
    assert len(pages) == len(known.records)
    assets = Counter[int]()
    for one in sandbox.state.list("asset", repo):
        assets[one["release"]] += 1
    for record in known.records:
        page = pages[record.release_id]
        assert (page["tag_name"], page["draft"]) == (record.tag, False)
        assert record.tag_object == tags[f"refs/tags/{record.tag}"][0]
        held = {one["name"]: one["digest"] for one in sandbox.state.list("asset", repo, release=record.release_id)}
        assert held == {one.name: one.digest for one in record.assets}
        assert held["model.bin"] == record.model_digest
    stale = [name for one in workers for name in one.names()]
    pushes = sum(path.endswith("service=git-receive-pack") for _, path in sandbox.git_calls[before:])
    print(f"{ROUNDS} rounds of {JOBS}: {len(versions)} versions, {pushes} pushes tried, {len(stale)} names left behind")
    assert stale == []
