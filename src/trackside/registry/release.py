"""One model's release, step by step, so that whoever is killed at any point is carried on by the next attempt.

tag and record in one push, which is the claim → draft → files, verified → draft and files on record → publish → record.
A claim names run and commit: a re-run finds it and makes the same version. Whoever loses a race takes the next one.

Only the job that made a draft fills it. Of two jobs with one claim, the first to put its whole draft on record has the
release; the other one throws its own away. So what is published is a draft that nobody writes to any more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from trackside.documents.release import Release
from trackside.documents.run import Run
from trackside.errors import Conflict, ForgeError, NotFound
from trackside.forge.model import FoundAsset, FoundRelease
from trackside.forge.operations import (
    Applied,
    DiscardDraft,
    DraftRelease,
    FillRelease,
    Operation,
    PublishRelease,
)
from trackside.forge.ports import Writer
from trackside.registry.binding import RUN_ID, STATEMENT_SHA256
from trackside.registry.decide import Decision, Wish, decide, version_of
from trackside.registry.ledger import RACES, Known, Ledger
from trackside.registry.package import Package
from trackside.registry.tags import message
from trackside.train.provenance import statement

LINK = "releases.md"


class Forge(Writer, Protocol):
    """Releases, the order of commits, and the writer."""

    def contains(self, branch: str, sha: str) -> bool: ...
    def release(self, release_id: int) -> FoundRelease: ...
    def releases(self, *, limit: int = 0) -> tuple[FoundRelease, ...]: ...
    def assets(self, release_id: int) -> tuple[FoundAsset, ...]: ...


@dataclass(kw_only=True)
class Registrar:
    """Makes the releases of one model.

    `ask` completes a wish once a version is to be made of it. `inspect` raises for a model that must not be released;
    it is called before anything is written. `pack` puts the files and texts of a version together: called once the
    version is certain, and again by every attempt. `server` is GitHub's address; `job` names the job whose attempts
    may go on with each other's drafts.
    """

    forge: Forge
    ledger: Ledger
    ask: Callable[[Wish], Wish]
    inspect: Callable[[], None]
    pack: Callable[[Release, Known], tuple[Package, str]]
    server: str
    job: str
    say: Callable[[str], None]
    _before: dict[str, bool] = field(default_factory=dict)

    def release(self, wish: Wish) -> Decision:
        """Bring the wish to its end: the decision says what it was, its release is as it is recorded now.

        Raises:
            ForgeError: GitHub failed or refuses, or `RACES` attempts in a row were overtaken by others.
            DataError, ToolError: the model cannot be had as it was recorded.
            Refused: it could run code when it is loaded.
        """
        model, asked = wish.run.model, False
        for attempt in range(1, RACES + 1):
            known = self.ledger.known(model)
            decision = decide(wish, known.records, known.taken)
            if decision.kind in ("there", "unchanged"):
                return decision
            fresh, release = decision.kind == "claim", decision.release
            if fresh:
                newer = self._newer(release, known)
                if newer is not None:
                    return Decision(kind="superseded", release=newer)
                if not asked:
                    self.inspect()
                    wish, asked = self.ask(wish), True
                    release = decide(wish, known.records, known.taken).release
                release = self._described(release, wish.run)
                if not self.ledger.claim(release, f"Claim {release.tag} for run {release.run}", attempt):
                    self.say(f"{release.tag}: somebody else was faster")
                    continue
            made = self._publish(release, known, fresh=fresh)
            if made is not None:
                return Decision(kind=decision.kind, release=made)
            self.say(f"{release.tag}: another job releases it")
        raise Conflict(
            f"{model}: {RACES} attempts in a row were overtaken by others", remedy="run the job again", link=LINK
        )

    def _newer(self, release: Release, known: Known) -> Release | None:
        """The highest version, begun or out, where a newer commit has it: it must stay the highest."""
        last = max(known.records, key=version_of, default=None)
        if last is None or last.commit == release.commit:
            return None
        if last.commit not in self._before:
            self._before[last.commit] = self.forge.contains(last.commit, release.commit)
        return last if self._before[last.commit] else None

    def _described(self, release: Release, run: Run) -> Release:
        """With what is certain before the claim: the statement's digest, and the tag that names it."""
        digest = "sha256:" + hashlib.sha256(statement_of(run, self.server)).hexdigest()
        release = msgspec.structs.replace(release, statement_digest=digest)
        made = self.ledger.made_tag(release, tag_message(release))
        return msgspec.structs.replace(release, tag_object=made)

    def _tagged(self, release: Release) -> Release:
        """The release with its tag, which is put back where somebody took it away. Raises Conflict: it was moved."""
        there = self.ledger.look.tags.get(release.tag)
        if there is None:
            release = msgspec.structs.replace(release, tag_object=self.ledger.made_tag(release, tag_message(release)))
            if self.ledger.restore_tag(release):
                return release
            self.ledger.refresh()
            there = self.ledger.look.tags.get(release.tag)
        if there is None or there.commit != release.commit or not there.annotated:
            found = "is gone" if there is None else f"is at {there.commit[:12]}, not at {release.commit[:12]}"
            raise Conflict(
                f"the tag {release.tag} {found if there is None or there.annotated else 'is no annotated one'}",
                why="somebody changed it after the version was claimed",
                remedy=f"trackside models doctor {release.model}",
                link=LINK,
                reason_code="tag_taken",
            )
        return msgspec.structs.replace(release, tag_object=there.object)

    def _publish(self, before: Release, known: Known, *, fresh: bool) -> Release | None:
        """From the record of a claim (`fresh`: of just now) to the published one; None where another job was faster."""
        release = self._tagged(before)
        package, notes = self.pack(release, known)
        if release.state == "draft" and self._whole(release):
            return self._out(release, notes, before)
        number = int(self._apply(self._draft(release, fresh=fresh)).id)
        fill = FillRelease(release_id=number, assets=tuple(package.uploads), told=self.say)
        (filled,) = self.forge.apply([fill])
        if filled.outcome == "failed":
            self.ledger.refresh()
            if self.ledger.record(before.model, before.version) == before:
                raise _failed(filled)
            self._apply(DiscardDraft(release_id=number))
            return None
        release = msgspec.structs.replace(release, state="draft", release_id=number, assets=package.assets)
        if not self.ledger.write(release, f"Draft {release.tag}", before=before):
            self._apply(DiscardDraft(release_id=number))
            return None
        if not fresh:
            self._sweep(release)
        return self._out(release, notes, release)

    def _draft(self, release: Release, *, fresh: bool) -> DraftRelease:
        return DraftRelease(
            tag=release.tag,
            commit=release.commit,
            title=title_of(release.model, release.version),
            body=f"{waiting(release.model, release.version)}\n<!-- trackside: job {self.job} -->\n",
            fresh=fresh,
        )

    def _whole(self, release: Release) -> bool:
        """Whether a recorded draft, or what became of it, still holds every file."""
        try:
            found = self.forge.release(release.release_id)
        except NotFound:
            return False
        if not release.assets:
            return False
        held = {one.name: one.digest for one in self.forge.assets(found.id) if one.uploaded}
        return found.tag == release.tag and all(held.get(one.name) == one.digest for one in release.assets)

    def _sweep(self, release: Release) -> None:
        """Throw away what earlier attempts and slower jobs began: they can publish none of it any more."""
        ours = waiting(release.model, release.version).rstrip()
        for one in self.forge.releases():
            if one.tag == release.tag and one.draft and one.id != release.release_id and one.body.startswith(ours):
                self._apply(DiscardDraft(release_id=one.id))

    def _out(self, release: Release, notes: str, before: Release) -> Release | None:
        """Publish what is whole and on record (as `before`), then say so on record."""
        published = self._apply(PublishRelease(release_id=release.release_id, body=notes))
        made = msgspec.structs.replace(release, state="published", url=published.url)
        if not self.ledger.write(made, f"Release {release.tag}", before=before):
            return None
        self.say(f"{made.tag}: {made.url}")
        return made

    def _apply(self, operation: Operation) -> Applied:
        (applied,) = self.forge.apply([operation])
        if applied.outcome == "failed":
            raise _failed(applied)
        return applied


def _failed(applied: Applied) -> ForgeError:
    return ForgeError(
        f"{type(applied.operation).__name__} failed",
        why=applied.error.removeprefix("error: "),
        remedy="re-run the job: it goes on where it was stopped",
        link=LINK,
        reason_code=applied.reason_code,
    )


def statement_of(run: Run, server: str) -> bytes:
    """The in-toto statement as the release ships it: stable bytes."""
    return msgspec.json.format(msgspec.json.encode(statement(run, server=server), order="sorted"), indent=2) + b"\n"


def title_of(model: str, version: str) -> str:
    """Title of a release, and first line of its tag's message."""
    return f"{model} {version}"


def tag_message(release: Release) -> str:
    """The message of a version's tag: whoever makes the tag again makes the same."""
    said = {RUN_ID: release.run, STATEMENT_SHA256: release.statement_digest.removeprefix("sha256:")}
    return message(title_of(release.model, release.version), said)


def waiting(model: str, version: str) -> str:
    """Notes of a draft whose files are not all there: by them a draft is known as one of ours."""
    return f"{title_of(model, version)} is being released: its files are on their way.\n"


def previous(release: Release, records: Iterable[Release]) -> Release | None:
    """The version that a release is compared with."""
    return next((one for one in records if release.previous and one.version == release.previous), None)
