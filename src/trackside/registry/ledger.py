"""Records of releases on the data branch, written by compare-and-swap together with the tags of their versions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from trackside.documents.codec import dump
from trackside.documents.release import Release
from trackside.errors import Conflict, DataError, NotFound
from trackside.plan.objects import GitTree
from trackside.registry.records import of_path, parsed, record_path
from trackside.registry.remote import Look, Move, Remote, Tagged
from trackside.registry.state import fold
from trackside.registry.versions import Version
from trackside.system.process import Processes

RACES = 40
"""How often a write gives way to others on the branch; each time at least one writer gets through."""

LINK = "data-branch.md"


@dataclass(frozen=True, kw_only=True)
class Known:
    """The registry as it was read: records of one model, and the versions whose tag names are used up.

    `deprecated` is the tag that took the model out of use, if one did.
    """

    records: tuple[Release, ...]
    taken: frozenset[Version]
    deprecated: str = ""


class Ledger:
    """The data branch and the tags at a server. `now` gives the time of commits and tags.

    Args:
        branch: the data branch.
        look: what the server was found to hold, where somebody asked already.
    """

    def __init__(
        self,
        remote: Remote,
        processes: Processes,
        *,
        branch: str,
        now: Callable[[], datetime],
        look: Look | None = None,
    ) -> None:
        self.remote, self.branch = remote, branch
        self._processes, self._now = processes, now
        self.look = look or remote.look()
        self._bring()

    @property
    def tip(self) -> str:
        """The data branch's newest commit as it was last seen; empty where there is no such branch yet."""
        return self.look.heads.get(self.branch, "")

    def refresh(self) -> None:
        """See the server anew."""
        self.look = self.remote.look()
        self._bring()

    def _bring(self) -> None:
        if self.tip:
            self.remote.fetch([self.tip])

    def _see_tip(self) -> None:
        """See the data branch anew, by one question less than all else."""
        try:
            (tip,) = self.remote.fetch([f"refs/heads/{self.branch}"])
        except NotFound:
            tip = ""
        self._moved(tip)

    def known(self, model: str) -> Known:
        """What was last seen of a model. Raises DataError: a record is damaged."""
        records = []
        if self.tip:
            tree = GitTree.open(self.remote.git_dir, self.tip, self._processes)
            for path, data in tree.read(one for one in tree.under(f"releases/{model}") if of_path(one)).items():
                records.append(self._parsed(path, data))
        state = fold([*self.look.refs(f"{model}@"), *self.look.refs(f"{model}#")])
        gone = state.deprecated(model)
        return Known(records=tuple(records), taken=state.taken(model), deprecated=gone.name if gone else "")

    def record(self, model: str, version: str) -> Release | None:
        """A record as it was last seen. Raises DataError: it is damaged."""
        path = record_path(model, version)
        data = self.remote.file(self.tip, path) if self.tip else None
        return None if data is None else self._parsed(path, data)

    def _parsed(self, path: str, data: bytes) -> Release:
        try:
            return parsed(path, data)
        except DataError as error:
            raise DataError(
                f"{path} of {self.branch} is damaged",
                why=error.why,
                remedy="restore it from the branch's history",
                link=LINK,
                reason_code="document_invalid",
            ) from error

    def made_tag(self, release: Release, message: str) -> str:
        """The tag object of a release, here and without a name; the same one however often it is made."""
        return self.remote.tag(release.tag, release.commit, message, datetime.fromisoformat(release.created_at))

    def claim(self, release: Release, text: str, attempt: int = 1) -> bool:
        """Begin a version: its tag and its record in one push, where neither is there. False where anybody wrote to
        the branch or took the tag meanwhile: what is known now calls for another decision. `attempt` counts from 1.

        Raises:
            ForgeError, ToolError: see `Remote.push`.
        """
        made = self._commit(release, text)
        tag = Move(ref=f"refs/tags/{release.tag}", new=release.tag_object)
        if self.remote.push([self._to(made), tag]):
            self._moved(made)
            self._tagged(release)
            return True
        self.remote.give_way(attempt)
        seen = self.tip
        self._see_tip()
        if self.tip == seen:  # then it was the tag
            self.refresh()
        # It may have landed without an answer, and others on top of it.
        return self.record(release.model, release.version) == release

    def write(self, release: Release, text: str, *, before: Release | None) -> bool:
        """The record, where the branch still holds `before` of it (None: nothing). False where it holds another one;
        as good as written where it says the very same.

        Raises:
            Conflict: the branch moved `RACES` times in a row.
            ForgeError, ToolError: see `Remote.push`.
        """
        for attempt in range(RACES):
            if attempt:
                self.remote.give_way(attempt)
                self._see_tip()
            there = self.record(release.model, release.version)
            if there != before:
                return there == release
            made = self._commit(release, text)
            if self.remote.push([self._to(made)]):
                self._moved(made)
                return True
        raise Conflict(
            f"branch {self.branch} moved {RACES} times while it was written to",
            remedy="run the job again",
            link=LINK,
        )

    def _commit(self, release: Release, text: str) -> str:
        files: dict[str, str | None] = {record_path(release.model, release.version): dump(release).decode()}
        return self.remote.commit(self.tip, files, text, self._now())

    def _to(self, commit: str) -> Move:
        return Move(ref=f"refs/heads/{self.branch}", new=commit, old=self.tip)

    def _moved(self, commit: str) -> None:
        self.look = replace(self.look, heads={**self.look.heads, self.branch: commit})

    def restore_tag(self, release: Release) -> bool:
        """Give a record its tag back, which somebody took away; False where the name is in use."""
        done = self.remote.push([Move(ref=f"refs/tags/{release.tag}", new=release.tag_object)])
        if done:
            self._tagged(release)
        return done

    def _tagged(self, release: Release) -> None:
        made = Tagged(object=release.tag_object, commit=release.commit)
        self.look = replace(self.look, tags={**self.look.tags, release.tag: made})
