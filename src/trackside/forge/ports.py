"""The narrow Protocols that stages depend on; `forge/github.py` implements them all over HTTP."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from trackside.forge.model import CheckRun, Comment, Commit, Job, Pull, Push, Role, WorkflowRun
from trackside.forge.operations import Applied, Operation


class PullReader(Protocol):
    """Pull requests."""

    def pull(self, number: int) -> Pull:
        """One pull request. Raises NotFound."""
        ...

    def pull_with_merge(self, number: int, *, wait: float = 30.0) -> Pull:
        """Like `pull`, but waits up to `wait` seconds until GitHub has computed `mergeable`."""
        ...

    def pulls_of_commit(self, sha: str, *, head: str = "") -> tuple[Pull, ...]:
        """Open pull requests whose head is `sha`; `head` (`owner:branch`) finds those of forks."""
        ...


class ProposalReader(Protocol):
    """Pull requests by their branch."""

    def pulls_from(self, branch: str, *, state: str = "all", limit: int = 30) -> tuple[Pull, ...]:
        """Pull requests from a branch of this repository, newest first; `state` is open, closed or all."""
        ...


class ContentReader(Protocol):
    """Files and commits of the repository without a clone."""

    def default_branch(self) -> str: ...
    def head_of(self, branch: str) -> str:
        """SHA at the tip of a branch. Raises NotFound."""
        ...

    def commit(self, sha: str) -> Commit: ...
    def file(self, path: str, ref: str) -> bytes | None:
        """A file's bytes at a ref, or None where there is none (a folder counts as none)."""
        ...

    def files(self, folder: str, ref: str) -> tuple[str, ...]:
        """Paths of all files below a folder at a ref; empty where there is none."""
        ...


class PeopleReader(Protocol):
    """Who may do what."""

    def role(self, login: str) -> Role:
        """`role_name` of a collaborator; `none` for a stranger."""
        ...

    def viewer(self) -> str:
        """Login that this token writes as, such as `github-actions[bot]`."""
        ...


class RunReader(Protocol):
    """Workflow runs and jobs."""

    def runs(self, workflow: str, *, active: bool = False, limit: int = 100) -> tuple[WorkflowRun, ...]:
        """Newest first; `active` keeps only those not completed."""
        ...

    def run(self, run_id: int) -> WorkflowRun: ...
    def jobs(self, run_id: int) -> tuple[Job, ...]: ...


class TalkReader(Protocol):
    """Comments and check runs."""

    def comments(self, issue: int) -> tuple[Comment, ...]:
        """All pages, oldest first."""
        ...

    def checks(self, sha: str, *, name: str = "") -> tuple[CheckRun, ...]: ...


class EvidenceReader(Protocol):
    """What a command is held against."""

    def comment(self, comment_id: int) -> Comment:
        """One comment. Raises NotFound."""
        ...

    def last_push(self, branch: str) -> Push | None:
        """The newest move of a branch as the server noted it."""
        ...

    def contains(self, branch: str, sha: str) -> bool:
        """Whether a branch holds a commit."""
        ...

    def changed(self, base: str, tip: str) -> tuple[str, ...] | None:
        """Paths that differ between a commit and a later one; None where that cannot be told."""
        ...


class Writer(Protocol):
    """The only way to write."""

    def apply(self, operations: Iterable[Operation], *, dry_run: bool = False) -> tuple[Applied, ...]:
        """Apply in order. A failing operation becomes `failed` with its error and does not stop the others."""
        ...


class Forge(PullReader, ContentReader, PeopleReader, RunReader, TalkReader, EvidenceReader, Writer, Protocol):
    """Everything, for the composition root."""

    repository: str
