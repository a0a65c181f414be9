"""What the graph is made of, read from a clone or from GitHub by git: tags, records, deploy files, folder listings."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trackside.config.load import load as load_config
from trackside.config.model import CONFIG_FILE, Config, DeployTarget
from trackside.deploy.job import BRANCH
from trackside.documents.codec import load
from trackside.documents.run import Run
from trackside.errors import ConfigError, DataError
from trackside.lineage.graph import Deployed, Graph, Records
from trackside.lineage.start import LINK
from trackside.lineage.tags import doubts, holdings, registered
from trackside.models.source import Source, source_of
from trackside.models.which import Found, Spec, find
from trackside.store.branch import Problem
from trackside.store.files import CloneFiles
from trackside.store.layout import DATA_BRANCH, FETCH_DATA
from trackside.system.process import Processes
from trackside.train.dvc import Object, file_md5, members, remotes

if TYPE_CHECKING:
    from trackside.app import Context

_IMAGE = re.compile(r"sha256:[0-9a-f]{64}")

ReadFile = Callable[[str, str], bytes | None]
"""A file of the project by path and branch (empty: the default branch)."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """All that was read. `meant` is the version that was asked for by name, where one was.

    `doubts` say what could not be read, `notes` what is worth knowing all the same.
    """

    meant: Found | None
    records: Records
    doubts: tuple[str, ...]
    notes: tuple[str, ...]


def known(context: Context, repo: Path, repository: str, spec: Spec | None = None) -> Known:
    """The clone at `repo`, or a repository of GitHub.

    Raises:
        NotFound: there is no such version.
        DataError: nothing is recorded here, or the clone lacks tags (`registry_incomplete`).
        ConfigError: no git repository, or no token for GitHub.
        ForgeError, ToolError: GitHub or git failed.
    """
    source = source_of(context, repo, repository)
    if not repository:
        processes = Processes(context.env)
        return _of(source, spec, lambda path, branch: _here(repo, path, branch, processes), *_local(repo))
    with source.forge() as forge:
        return _of(source, spec, lambda path, branch: forge.file(path, branch or forge.default_branch()))


def _local(repo: Path) -> tuple[list[Run], list[Problem]]:
    """Runs of this machine that were never published, and what is damaged of them."""
    runs, damaged = [], []
    for path in sorted(repo.glob(".trackside/runs/*/*.json")):
        try:
            runs.append(load(Run, path.read_bytes(), name=path.name))
        except (DataError, OSError) as error:
            damaged.append(Problem(path=path.relative_to(repo).as_posix(), why=str(error)))
    return runs, damaged


def _of(
    source: Source, spec: Spec | None, file: ReadFile, local: Sequence[Run] = (), lost: Sequence[Problem] = ()
) -> Known:
    state = source.state()
    recorded, releases, images = source.runs(), source.releases(), source.images()
    runs = tuple({(run.model, run.id): run for run in (*local, *recorded)}.values())
    damaged = (*source.problems, *lost)
    if not runs and not releases and not damaged:
        raise DataError(
            "no run and no release is recorded here",
            why=f"records are on the branch {DATA_BRANCH}, which this clone does not have or which is empty",
            remedy=f"{FETCH_DATA}\nor ask GitHub itself: --repository OWNER/NAME (with GITHUB_TOKEN set)",
            link=LINK,
            reason_code="registry_incomplete",
        )
    text = file(CONFIG_FILE, "")
    deployed, notes = deployments(text, file)
    said = [f"the record {one.path} is damaged and left out: {one.why}" for one in damaged]
    return Known(
        meant=find(source, spec) if spec is not None else None,
        records=Records(
            runs=runs,
            releases=releases,
            images=images,
            registered=tuple(registered(state)),
            holdings=tuple(holdings(state)),
            deployed=deployed,
        ),
        doubts=(*said, *doubts(state)),
        notes=notes,
    )


# Where images are deployed


def deployments(policy: bytes | None, file: ReadFile) -> tuple[tuple[Deployed, ...], tuple[str, ...]]:
    """Deploy files that the policy names, as they stand on their branch and on the deploy pull request's branch.

    Returns:
        The files with the digests in them; and notes on those that are not read here.
    """
    made: list[Deployed] = []
    notes: list[str] = []
    if policy is None:
        return (), ()
    try:
        config = _config(policy)
    except ConfigError as error:
        return (), (f"where images are deployed is not known: {error.message}",)
    for model in config.models:
        target = model.image.deploy if model.image else None
        if target is None:
            continue
        if target.repository or re.search(r"\s", target.file):
            where = f"{target.repository}:" if target.repository else ""
            notes.append(f"{model.name} is deployed from {where}{target.file}, which is not read here")
            continue
        now = _digests(file(target.file, target.branch))
        proposed = _digests(file(target.file, BRANCH + model.name)) - now
        made.append(_deployed(target, target.branch or "default branch", now))
        if proposed:
            made.append(_deployed(target, BRANCH + model.name, proposed, proposed=True))
    return tuple(dict.fromkeys(made)), tuple(notes)


def _deployed(target: DeployTarget, branch: str, digests: frozenset[str], *, proposed: bool = False) -> Deployed:
    return Deployed(repository=target.repository, branch=branch, file=target.file, digests=digests, proposed=proposed)


def _digests(data: bytes | None) -> frozenset[str]:
    return frozenset(_IMAGE.findall((data or b"").decode("utf-8", "replace")))


def _config(text: bytes) -> Config:
    return load_config(text.decode("utf-8", "replace"))


def _here(repo: Path, path: str, branch: str, processes: Processes) -> bytes | None:
    """A file of a branch of the clone; of the default branch, where the clone knows it, else of what is checked out."""
    if path == CONFIG_FILE and (repo / path).is_file():
        return (repo / path).read_bytes()
    found = CloneFiles(repo, branch or "HEAD", processes).read([path])
    if not found and not branch:
        head = processes.run(["git", "-C", repo, "symbolic-ref", "--quiet", "HEAD"], check=False).text.strip()
        found = CloneFiles(repo, head, processes).read([path]) if head else {}
    return found.get(path)


# Files in tracked folders


def listings(repo: Path, graph: Graph) -> dict[str, dict[str, str]]:
    """Files of the tracked folders that runs read or made, as far as DVC's cache, or a remote in a folder, has them."""
    wanted = [
        node.name for node in graph.of_kind("data") if node.name.startswith("md5:") and node.name.endswith(".dir")
    ]
    if not wanted:
        return {}
    texts = [repo / ".dvc" / name for name in ("config", "config.local")]
    text = "\n".join(one.read_text(encoding="utf-8", errors="replace") for one in texts if one.is_file())
    try:
        found = remotes(text, repo.resolve())
    except ConfigError:
        return {}
    urls = [found.config.get(name, "url", fallback="") for name in found.config.sections()]
    places = [found.cache, *(Path(url) for url in urls if url.startswith("/"))]
    made: dict[str, dict[str, str]] = {}
    for digest in wanted:
        for place in places:
            rows = _listing(digest, place)
            if rows is not None:
                made[digest] = rows
                break
    return made


def _listing(digest: str, place: Path) -> dict[str, str] | None:
    """The files of a folder; None where its listing is not in this place, or is not what its name says."""
    for legacy in (False, True):
        try:
            obj = Object(digest=digest, legacy=legacy)
            path = obj.path(place)
            if path.is_file() and file_md5(path) == obj.md5.removesuffix(".dir"):
                return {name: one.digest for name, one in (members(obj, place) or {}).items()}
        except (DataError, OSError):
            continue
    return None
