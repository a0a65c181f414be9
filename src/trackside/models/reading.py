"""What the doctor reads, in this order: releases, then tags and records of the server by git, then the clone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trackside.documents.release import Release
from trackside.errors import DataError, Forbidden, NotFound, ToolError
from trackside.models.finding import Clone, Facts
from trackside.models.proof import doubts
from trackside.plan.objects import GitTree, git_env
from trackside.registry.clone import read_clone, require_whole
from trackside.registry.records import of_path, parsed
from trackside.registry.remote import TIMEOUT, Remote
from trackside.registry.state import RegistryState
from trackside.registry.tags import version_tag
from trackside.store.layout import DATA_BRANCH, run_of_path
from trackside.system.clock import Clock
from trackside.system.process import Processes

if TYPE_CHECKING:
    from trackside.forge.github import GithubForge
    from trackside.forge.model import FoundRelease, StageDeployment

DEPLOYMENTS = 300
"""So many of GitHub's deployments are compared with the stage tags, the newest."""
ASKED = 50
"""Releases that are asked for one by one, where the list does not have them."""


@dataclass(frozen=True, kw_only=True)
class Server:
    """GitHub, by API and by git at `url`. `writes`: the token may push, and so sees drafts. `folder` is our own."""

    forge: GithubForge
    remote: Remote
    url: str
    token: str
    folder: Path
    writes: bool


@dataclass(frozen=True, kw_only=True)
class Patient:
    """What is examined: the clone `repo`, if any, and the server, if it can be asked; one of them there is.

    `offline`: nothing is asked of the clone's origin either.
    """

    processes: Processes
    clock: Clock
    repo: Path | None = None
    server: Server | None = None
    branch: str = DATA_BRANCH
    offline: bool = False


def read(patient: Patient) -> Facts:
    """The registry as it is now.

    Raises:
        ForgeError, ToolError: GitHub or git failed.
        ConfigError: `repo` is no git repository.
    """
    server = patient.server
    if server is None:
        return _of_clone(patient, patient.repo or Path())
    releases = server.forge.releases()
    state = read_clone(_tags(patient, server), patient.processes)
    try:
        (tip,) = server.remote.fetch([f"refs/heads/{patient.branch}"])
    except NotFound:
        tip = ""
    records, damaged, runs = _records(server.remote.git_dir, tip, patient.processes)
    releases = (*releases, *_later(server, records, releases))
    return Facts(
        state=state,
        records=records,
        damaged=damaged,
        runs=runs,
        releases=releases,
        doubts=doubts(server.forge, server.folder, state, records, releases),
        deployments=_deployments(server),
        drafts=server.writes,
        now=patient.clock.now(),
        clone=_clone(patient, patient.repo, tip) if patient.repo else None,
    )


def _deployments(server: Server) -> tuple[StageDeployment, ...] | None:
    """What GitHub's deployments say of stages; None where the token may not read them."""
    try:
        return server.forge.stage_deployments(limit=DEPLOYMENTS)
    except (Forbidden, NotFound):
        return None


def _later(server: Server, records: Iterable[Release], releases: Iterable[FoundRelease]) -> Iterator[FoundRelease]:
    """Releases that are recorded and were not listed: what came out while the rest was read is not missing."""
    listed = {one.id for one in releases}
    for one in [one for one in records if one.release_id and one.release_id not in listed][:ASKED]:
        with suppress(NotFound):
            yield server.forge.release(one.release_id)


def _tags(patient: Patient, server: Server) -> Path:
    """A bare repository with the server's tags, their objects and commits, without files."""
    git_dir = server.folder / "tags.git"
    env = git_env(patient.processes.env, url=server.url, token=server.token)
    if not (git_dir / "HEAD").is_file():
        git_dir.mkdir(parents=True, exist_ok=True)
        patient.processes.run(["git", "init", "--quiet", "--bare", "--template=", git_dir], env=env, timeout=60)
    argv: list[str | Path] = [
        "git",
        "-C",
        git_dir,
        "fetch",
        "--quiet",
        "--prune",
        "--force",
        "--no-write-fetch-head",
        "--depth=1",
    ]
    argv += ["--filter=tree:0", "--no-recurse-submodules", "--", server.url, "+refs/tags/*:refs/tags/*"]
    try:
        patient.processes.run(argv, env=env, timeout=TIMEOUT)
    except ToolError:
        if server.remote.look().tags:  # git fails too where there is nothing to fetch
            raise
    return git_dir


Records = tuple[tuple[Release, ...], Mapping[str, bytes], frozenset[tuple[str, str]]]


def _records(git_dir: Path, commit: str, processes: Processes) -> Records:
    """Records, damaged ones by path, and model and id of every run: of a commit of the data branch."""
    if not commit:
        return (), {}, frozenset()
    tree = GitTree.open(git_dir, commit, processes)
    made: list[Release] = []
    damaged: dict[str, bytes] = {}
    for path, data in tree.read(one for one in tree.under("releases") if of_path(one)).items():
        try:
            record = parsed(path, data)
        except DataError:
            record = None
        if record is None or record.tag != version_tag(record.model, record.version):
            damaged[path] = data
        else:
            made.append(record)
    runs = frozenset(found for path in tree.under("runs") if (found := run_of_path(path)) is not None)
    return tuple(made), damaged, runs


def _of_clone(patient: Patient, repo: Path) -> Facts:
    """What a clone alone can tell: its own tags and records."""
    state = read_clone(repo, patient.processes)
    lacks = ""
    try:
        if not patient.offline:
            require_whole(repo, patient.processes, state)
    except DataError as error:
        lacks = error.message
    records, damaged, runs = _records(repo, _data(patient, repo), patient.processes)
    here = Clone(tags=_names(state), shallow=_shallow(patient, repo), lacks=lacks)
    return Facts(state=state, records=records, damaged=damaged, runs=runs, now=patient.clock.now(), clone=here)


def _clone(patient: Patient, repo: Path, server_data: str) -> Clone:
    return Clone(
        tags=_names(read_clone(repo, patient.processes)),
        shallow=_shallow(patient, repo),
        data=_data(patient, repo),
        server_data=server_data,
    )


def _names(state: RegistryState) -> Mapping[str, str]:
    return {one.name: one.object for one in state.events}


def _shallow(patient: Patient, repo: Path) -> bool:
    done = patient.processes.run(["git", "-C", repo, "rev-parse", "--is-shallow-repository"], check=False)
    return done.text.strip() == "true"


def _data(patient: Patient, repo: Path) -> str:
    """The clone's copy of the data branch; empty where it has none."""
    for ref in (f"refs/remotes/origin/{patient.branch}", f"refs/heads/{patient.branch}"):
        done = patient.processes.run(["git", "-C", repo, "rev-parse", "--quiet", "--verify", ref], check=False)
        if not done.returncode:
            return done.text.strip()
    return ""
