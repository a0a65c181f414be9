"""One model's release, step by step, so that whoever is killed at any point is carried on by the next attempt.

claim on the data branch → annotated tag → draft → its id on the data branch → files, verified → publish → record.
A claim names run and commit: a re-run finds it and makes the same version. Whoever loses a race takes the next one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import msgspec

from trackside.documents.codec import dump
from trackside.documents.release import Release
from trackside.documents.run import Run
from trackside.errors import Conflict, ForgeError
from trackside.forge.operations import (
    Applied,
    CommitFiles,
    CreateTag,
    DraftRelease,
    FillRelease,
    Operation,
    PublishRelease,
)
from trackside.forge.ports import Writer
from trackside.registry.decide import Decision, Wish, decide, version_of
from trackside.registry.package import Package
from trackside.registry.read import RegistryReader, record, record_path
from trackside.registry.tags import message
from trackside.registry.versions import Version
from trackside.train.provenance import statement

ROUNDS = 10
"""How often a version that somebody else took is given up for the next."""


class Forge(RegistryReader, Writer, Protocol):
    """Reads of the registry, the order of commits, and the writer."""

    def contains(self, tip: str, commit: str) -> bool: ...


@dataclass(frozen=True, kw_only=True)
class Known:
    """The registry as it was read: records of one model, and the versions whose tag names are used up."""

    records: tuple[Release, ...]
    taken: frozenset[Version]


@dataclass(frozen=True, kw_only=True)
class Registrar:
    """Makes releases.

    `read_again` reads the registry anew. `inspect` raises for a model that must not be released; it is called before
    anything is written. `pack` puts the files and texts of a version together: called once the version is certain, and
    again by every attempt. `branch` is the data branch, `server` GitHub's address.
    """

    forge: Forge
    branch: str
    read_again: Callable[[], Known]
    inspect: Callable[[], None]
    pack: Callable[[Release, Known], tuple[Package, str]]
    server: str
    say: Callable[[str], None]

    def release(self, wish: Wish, known: Known) -> Decision:
        """Bring the wish to its end: the decision says what it was, its release is as it is recorded now.

        Args:
            known: the registry as the caller read it.

        Raises:
            ForgeError: GitHub failed, or `ROUNDS` versions in a row were taken by others.
            DataError, ToolError: the model cannot be had as it was recorded.
            Refused: it could run code when it is loaded.
        """
        lost: set[Version] = set()
        for attempt in range(ROUNDS):
            known = self.read_again() if attempt else known
            decision = decide(wish, known.records, {*known.taken, *lost})
            if decision.kind in ("there", "unchanged"):
                return decision
            release = decision.release
            if decision.kind == "claim":
                newer = self._newer(release, known)
                if newer is not None:
                    return Decision(kind="superseded", release=newer)
                self.inspect()
                release = msgspec.structs.replace(
                    release, statement_digest=_digest(statement_of(wish.run, self.server))
                )
                if not self._claim(release):
                    self.say(f"{release.tag}: somebody else was faster")
                    continue
            if not self._tag(release):
                lost.add(version_of(release))
                continue
            return Decision(kind=decision.kind, release=self._publish(release, known))
        raise Conflict(
            f"{wish.run.model}: {ROUNDS} versions in a row were taken by others",
            remedy="run the job again",
            link="releases.md",
        )

    def _newer(self, release: Release, known: Known) -> Release | None:
        """The highest version, begun or out, where a newer commit has it: it must stay the highest."""
        last = max(known.records, key=version_of, default=None)
        if last is None or last.commit == release.commit or not self.forge.contains(last.commit, release.commit):
            return None
        return last

    def _claim(self, release: Release) -> bool:
        """Whether the version is ours now: the first to write its record has it."""
        path = record_path(release.model, release.version)
        self._commit(release, f"Claim {release.tag} for run {release.run}", keep=frozenset({path}))
        there = record(self.forge, release.model, release.version, branch=self.branch)
        return there is not None and (there.run, there.commit) == (release.run, release.commit)

    def _tag(self, release: Release) -> bool:
        """Tag the commit; where the name is used up elsewhere, our claim is taken back."""
        try:
            self._apply(CreateTag(name=release.tag, commit=release.commit, message=tag_message(release)))
        except ForgeError as error:
            if error.reason_code != "tag_taken" or release.state != "claimed":
                raise
            self.say(f"{release.tag}: the tag exists elsewhere")
            path = record_path(release.model, release.version)
            give_up = CommitFiles(branch=self.branch, message=f"Give up {release.tag}", files={path: None})
            self._apply(give_up)
            return False
        return True

    def _publish(self, release: Release, known: Known) -> Release:
        drafted = self._apply(
            DraftRelease(
                tag=release.tag,
                commit=release.commit,
                title=title_of(release.model, release.version),
                body=waiting(release.model, release.version),
                release_id=release.release_id,
            )
        )
        number = int(drafted.id)
        if release.release_id != number:
            release = msgspec.structs.replace(release, state="draft", release_id=number)
            self._commit(release, f"Draft {release.tag}")
        package, notes = self.pack(release, known)
        self._apply(FillRelease(release_id=number, assets=tuple(package.uploads)))
        published = self._apply(PublishRelease(release_id=number, body=notes))
        release = msgspec.structs.replace(
            release, state="published", release_id=number, url=published.url, assets=package.assets
        )
        self._commit(release, f"Release {release.tag}")
        self.say(f"{release.tag}: {release.url}")
        return release

    def _commit(self, release: Release, text: str, *, keep: frozenset[str] = frozenset()) -> None:
        files: dict[str, str | None] = {record_path(release.model, release.version): dump(release).decode()}
        self._apply(CommitFiles(branch=self.branch, message=text, files=files, keep=keep))

    def _apply(self, operation: Operation) -> Applied:
        (applied,) = self.forge.apply([operation])
        if applied.outcome == "failed":
            raise ForgeError(
                f"{type(operation).__name__} failed",
                why=applied.error.removeprefix("error: "),
                remedy="re-run the job: it goes on where it was stopped",
                link="releases.md",
                reason_code=applied.reason_code,
            )
        return applied


def statement_of(run: Run, server: str) -> bytes:
    """The in-toto statement as the release ships it: stable bytes."""
    return msgspec.json.format(msgspec.json.encode(statement(run, server=server), order="sorted"), indent=2) + b"\n"


def title_of(model: str, version: str) -> str:
    """Title of a release, and first line of its tag's message."""
    return f"{model} {version}"


def tag_message(release: Release) -> str:
    """The message of a version's tag: whoever makes the tag again makes the same."""
    said = {"Run-Id": release.run, "Statement-Sha256": release.statement_digest.removeprefix("sha256:")}
    return message(title_of(release.model, release.version), said)


def waiting(model: str, version: str) -> str:
    """Notes of a draft whose files are not all there: by them a draft is known as one of ours."""
    return f"{title_of(model, version)} is being released: its files are on their way.\n"


def previous(release: Release, records: Iterable[Release]) -> Release | None:
    """The version that a release is compared with."""
    return next((one for one in records if release.previous and one.version == release.previous), None)


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()
