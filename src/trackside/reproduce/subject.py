"""What is to be reproduced: the run behind a version or a run's name, and whether its records fit each other."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from trackside.app import Context
from trackside.config.model import CONFIG_FILE
from trackside.documents.release import Release
from trackside.documents.run import Run
from trackside.errors import ConfigError, DataError
from trackside.forge.access import Access, access, origin_of, server_of
from trackside.models.source import source_of
from trackside.models.which import Spec, find, parse_spec
from trackside.registry.tags import version_tag
from trackside.reproduce.proven import Known, prove
from trackside.runs import find as find_run
from trackside.runs import is_clone, run_named
from trackside.store.layout import FETCH_DATA

if TYPE_CHECKING:
    from trackside.models.source import Source

LINK = "reproduce.md"
_RUN = re.compile(r"[0-9a-f]{1,12}")


@dataclass(frozen=True, kw_only=True)
class Subject:
    """`name` as people say it. `release` is the version's record, None for a run that is named itself.

    `clone` is the user's, None where GitHub itself is read; `url` is asked for commits, with `token`; `policy` is
    today's `trackside.yaml`; `notes` tell what the record leaves open.
    """

    name: str
    run: Run
    release: Release | None = None
    clone: Path | None = None
    url: str = ""
    token: str = ""
    policy: str = ""
    notes: tuple[str, ...] = ()

    @property
    def commits(self) -> tuple[str, ...]:
        """Commits that may have the code, the trained one first."""
        source = self.run.source
        return (source.commit, self.release.commit if self.release else "", source.head_commit)


def find_subject(context: Context, name: str, repo: Path, repository: str) -> Subject:
    """The run behind a version (`delay@v1.1.0`, `delay#prod`), a run's id or a run document.

    Raises:
        ConfigError, NotFound: there is none of that name.
        DataError: the run did not succeed or names no outputs, or the version has no records.
        Refused: the version's tag, record, statement and run do not fit each other.
    """
    repo = _top(context, repo)
    source = source_of(context, repo, repository)
    release: Release | None = None
    if "@" in name or "#" in name:
        known = _version(source, parse_spec(name))
        run, release = prove(context, source, known)
        name = known.tag
    elif repository:
        found = run_named(source.runs(), name) if _RUN.fullmatch(name) else None
        if found is None:
            raise ConfigError(
                f"{repository} has no recorded run {name[:80]!r}", remedy="trackside runs list", reason_code="not_found"
            )
        run, name = found, f"run {found.id} of {found.model}"
    else:
        run = find_run(context, repo, name)
        name = f"run {run.id} of {run.model}"
    if run.status != "succeeded" or not run.artifacts:
        raise DataError(
            f"run {run.id} {run.status}: there is nothing that a new training could be held against",
            remedy="name a run that succeeded: trackside runs list",
            link=LINK,
            reason_code="nothing_recorded",
        )
    run, notes = as_trained(source, run)
    return _placed(context, Subject(name=name, run=run, release=release, notes=notes), source, repo, repository)


def as_trained(source: Source, run: Run) -> tuple[Run, tuple[str, ...]]:
    """The run with software, machine and times of the run that trained: one that was restored describes another job."""
    made, seen = run, {run.id}
    while made.restored_from and made.restored_from not in seen:
        seen.add(made.restored_from)
        before = source.run(run.model, made.restored_from)
        if before is None:
            break
        made = before
    if made.restored_from:
        return run, (
            f"run {made.restored_from}, which trained this, is not recorded here: its environment is not known",
        )
    if any(one.outcome == "restored" for one in made.stages):
        return run, ("some stages were put back from earlier runs, whose environment this record does not hold",)
    if made is run:
        return run, ()
    return msgspec.structs.replace(run, environment=made.environment, hardware=made.hardware, stages=made.stages), (
        f"trained by run {made.id}, which run {run.id} put back: environment and times are those of {made.id}",
    )


def _top(context: Context, repo: Path) -> Path:
    """The clone's uppermost folder; the folder itself where it is none, or has no work tree."""
    words = ["git", "-C", str(repo), "rev-parse", "--show-toplevel"]
    return Path(context.processes.run(words, check=False).text.strip() or repo).resolve()


def _version(source: Source, spec: Spec) -> Known:
    """Tag and records; a version that is named outright is looked for even where its tag is gone."""
    if spec.query == "version" and spec.version is not None:
        version, event = spec.version, source.state(spec.model).version_event(spec.model, spec.version)
    else:
        found = find(source, spec)
        version, event = found.version, found.event
    release = source.release(spec.model, version)
    if event is None and release is None:
        find(source, spec)  # tells what there is
    tag = version_tag(spec.model, version)
    run = source.run(spec.model, release.run) if release is not None else None
    if release is None or run is None:
        lost = f"record of {tag}" if release is None else f"run {release.run}, which made {tag}"
        damaged = "; ".join(f"{one.path}: {one.why}" for one in source.problems)
        raise DataError(
            f"the data branch has no {lost}",
            why=damaged,
            remedy=FETCH_DATA,
            link=LINK,
            reason_code="release_missing",
        )
    return Known(tag=tag, model=spec.model, version=version, event=event, release=release, run=run)


def _placed(context: Context, subject: Subject, source: Source, repo: Path, repository: str) -> Subject:
    """With where code and data may be had."""
    policy = (source.text(CONFIG_FILE) or b"").decode("utf-8", "replace")
    processes = context.processes
    if repository:
        found = access(context.env, repository, ("", ""))
        url = f"{server_of(context.env)}/{repository}"
        return dataclasses.replace(
            subject, url=url, token=found.token if isinstance(found, Access) else "", policy=policy
        )
    if not is_clone(repo, processes):
        return dataclasses.replace(subject, policy=policy)
    words = ["git", "-C", str(repo), "remote", "get-url", "origin"]
    url = processes.run(words, check=False).text.strip()
    found = access(context.env, "", origin_of(repo, processes))
    token = found.token if isinstance(found, Access) and url.startswith(server_of(context.env) + "/") else ""
    return dataclasses.replace(subject, clone=repo, url=url, token=token, policy=policy)
