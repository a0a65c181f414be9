"""What is to be reproduced: the run behind a version or a run's name, and whether its records fit each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trackside.app import Context
from trackside.config.model import CONFIG_FILE
from trackside.documents.release import Release
from trackside.documents.run import Run
from trackside.errors import DataError
from trackside.runs import find, is_clone

LINK = "reproduce.md"


@dataclass(frozen=True, kw_only=True)
class Subject:
    """`name` as people say it. `release` is the version's record, None for a run that no version was made from.

    `clone` is the user's, None where GitHub itself is read; `url` is asked for commits, with `token`; `policy` is
    today's `trackside.yaml`.
    """

    name: str
    run: Run
    release: Release | None = None
    clone: Path | None = None
    url: str = ""
    token: str = ""
    policy: str = ""

    @property
    def commits(self) -> tuple[str, ...]:
        """Commits that may have the code, the trained one first."""
        source = self.run.source
        return (source.commit, self.release.commit if self.release else "", source.head_commit)


def find_subject(context: Context, name: str, repo: Path, repository: str) -> Subject:
    """The run behind a version (`delay@v1.1.0`, `delay#prod`), a run's id or a run document.

    Raises:
        ConfigError, NotFound: there is none of that name.
        DataError: the run did not succeed, or names no outputs.
        Refused: the version's tag, record, statement and run do not fit each other.
    """
    run = find(context, repo, name)
    clone = repo.resolve() if is_clone(repo, context.processes) else None
    file = repo / CONFIG_FILE
    subject = Subject(
        name=f"run {run.id} of {run.model}",
        run=run,
        clone=clone,
        url=_origin(context, clone) if clone else "",
        policy=file.read_text(errors="replace") if file.is_file() else "",
    )
    return _complete(subject)


def _complete(subject: Subject) -> Subject:
    run = subject.run
    if run.status != "succeeded" or not run.artifacts:
        raise DataError(
            f"run {run.id} {run.status}: there is nothing that a new training could be held against",
            remedy="name a run that succeeded: trackside runs list",
            link=LINK,
            reason_code="nothing_recorded",
        )
    return subject


def _origin(context: Context, clone: Path) -> str:
    words = ["git", "-C", str(clone), "remote", "get-url", "origin"]
    return context.processes.run(words, check=False).text.strip()
