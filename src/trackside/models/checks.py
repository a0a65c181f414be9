"""What is wrong with versions: records, tags and releases held against each other; pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec

from trackside.documents.release import Release
from trackside.errors import DataError
from trackside.forge.model import FoundRelease
from trackside.models.finding import (
    DropDraft,
    DropRemnant,
    Facts,
    Finding,
    Republish,
    Rerun,
    Restore,
    Retag,
    Rewrite,
)
from trackside.registry.binding import RUN_ID, Bond, bond
from trackside.registry.records import parsed, record_path
from trackside.registry.release import tag_message, title_of, waiting
from trackside.registry.state import Event, RegistryState
from trackside.registry.tags import message, read, version_tag
from trackside.registry.versions import Version, parse

UNDER_WAY = timedelta(minutes=90)
"""So long a release that was begun is left alone: its job, which may take 60 minutes, may be running still."""

RUN, STATEMENT = "run.json", "provenance.intoto.json"


# Records, tags and releases of each version


def damaged(facts: Facts) -> Iterator[Finding]:
    out = _out(facts)
    for path, data in sorted(facts.damaged.items()):
        model, _, name = path.removeprefix("releases/").removesuffix(".json").partition("/")
        found = out.get(version_tag(model, name))
        yield Finding(
            code="record_damaged",
            subject=path,
            what=f"{path} of the data branch cannot be read",
            why=_unreadable(path, data),
            remedy=f"take it back from the branch's history: git log trackside-data -- {path}",
            repair=_restore(facts, model, name, found, data) if found else None,
        )


def _out(facts: Facts) -> dict[str, FoundRelease]:
    """Published releases by tag; of two the older one counts."""
    newest_first = sorted(facts.releases or (), key=lambda one: one.id, reverse=True)
    return {one.tag: one for one in newest_first if not one.draft}


def _unreadable(path: str, data: bytes) -> str:
    try:
        parsed(path, data)
    except DataError as error:
        return error.why or error.message
    return "it names another tag than its version's"


def _restore(facts: Facts, model: str, version: str, found: FoundRelease, data: bytes = b"") -> Restore | None:
    """Only a release that carries its run can tell what it is."""
    there = {one.name for one in found.assets if one.uploaded}
    event = named(facts.state, version_tag(model, version))
    if not {RUN, STATEMENT} <= there:
        return None
    before = _before(facts, model, parse(version))
    return Restore(model=model, version=version, release=found, event=event, before=before, damaged=data)


def _before(facts: Facts, model: str, version: Version | None) -> Version | None:
    """The version published before another, by records and releases: a record may be lost too."""
    names = {one.tag for one in facts.records if one.state == "published"}
    names |= {one.tag for one in facts.releases or () if not one.draft}
    known = (_version(name) for name in names if name.startswith(f"{model}@"))
    return max((one for one in known if one is not None and version is not None and one < version), default=None)


def named(state: RegistryState, name: str) -> Event | None:
    tag = read(name)
    return next((one for one in state.events_of(tag.model) if one.name == name), None) if tag else None


def versions(facts: Facts) -> Iterator[Finding]:
    """Tag by tag of versions, as records, tags or releases name them."""
    records = {one.tag: one for one in facts.records}
    managed = {one.model for one in facts.records}
    unread = {version_tag(*path.removeprefix("releases/").removesuffix(".json").split("/")) for path in facts.damaged}
    out = {name: one for name, one in _out(facts).items() if _version(name)}
    tags = {
        version_tag(one.tag.model, one.tag.version): one
        for one in facts.state.events
        if one.tag.action == "register" and one.tag.version is not None
    }
    retired = {model: facts.state.deregistered(model) for model in facts.state.models()}
    by_id = {one.id: one for one in facts.releases or ()}
    known = [(name.partition("@")[0], version, name) for name in {*records, *tags, *out} if (version := _version(name))]
    for model, version, name in sorted(known):
        if name in unread or version in retired.get(model, {}):
            continue  # what is out of use is not made again
        record = records.get(name)
        if record is None:
            yield from _unrecorded(facts, model, version, tags.get(name), out.get(name), managed=model in managed)
        elif record.state != "published":
            yield from _begun(facts, record)
        else:
            yield from _tag(record, tags.get(name), _doubt(facts, record))
            if facts.releases is not None:
                yield from _release(facts, record, by_id.get(record.release_id), out.get(name))


def _version(name: str) -> Version | None:
    tag = read(name)
    return tag.version if tag is not None and tag.action == "register" else None


def _unrecorded(
    facts: Facts, model: str, version: Version, event: Event | None, found: FoundRelease | None, *, managed: bool
) -> Iterator[Finding]:
    name = version_tag(model, version)
    if found is not None:
        repair = _restore(facts, model, str(version), found)
        yield Finding(
            code="record_missing",
            subject=name,
            what=f"{name} is released, and the data branch has no record of it",
            why="" if repair else f"the release does not carry {RUN} and {STATEMENT}: it was made by hand",
            remedy="trackside models doctor --fix" if repair else "let the register job make the releases",
            level="problem" if repair or managed else "note",
            repair=repair,
        )
    elif event is not None and (facts.releases is not None or managed):
        run = event.trailers.get("Run-Id", "")
        known = bool(run) and (model, run) in facts.runs
        yield Finding(
            code="tag_unknown",
            subject=name,
            what=f"the tag {name} is there, without release and record",
            why=f"it names the run {run[:64]}" if run else "it was made by hand or by another tool",
            remedy=f"/deprecate {name} takes it out of use" + ("; a re-run of release.yml makes the next" * known),
            level="problem" if managed else "note",
        )


def _begun(facts: Facts, record: Release) -> Iterator[Finding]:
    young = facts.now - at(record.created_at) < UNDER_WAY
    yield Finding(
        code="claim_unfinished",
        subject=record.tag,
        what=f"{record.tag} was begun{f' at {record.created_at}' if record.created_at else ''} and is not out yet",
        why="its job may be running" if young else f"its job ended before the release was whole ({record.state})",
        remedy="wait for it" if young else _rerun(record),
        level="note" if young else "problem",
        repair=None if young else _again(facts, Rerun(record=record)),
    )


def _again(facts: Facts, repair: Rerun) -> Rerun | None:
    """A release can be carried on only while its run is on record."""
    return repair if (repair.record.model, repair.record.run) in facts.runs else None


def _rerun(record: Release) -> str:
    return f"gh workflow run release.yml -f task=register -f model={record.model} -f commit={record.commit}"


def at(text: str) -> datetime:
    """An RFC 3339 time; what is none is long past."""
    try:
        made = datetime.fromisoformat(text)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)
    return made if made.tzinfo is not None else made.replace(tzinfo=UTC)


def _doubt(facts: Facts, record: Release) -> str:
    """Why `--fix` does not act on a record alone: whoever may push to the data branch can write one."""
    return facts.doubts.get(record.tag, "its release was not looked at")


def _unproven(cause: str, doubt: str) -> str:
    return f"{cause}, or the record was made up; --force is asked, since {doubt}" if doubt else cause


def _fix(record: Release, doubt: str) -> str:
    """What to do about a version that is to come back."""
    if not doubt:
        return "trackside models doctor --fix"
    path = record_path(record.model, record.version)
    return f"look who wrote it: git log origin/trackside-data -- {path}; then trackside models doctor --fix --force"


def _tag(record: Release, event: Event | None, doubt: str) -> Iterator[Finding]:
    words = tag_message(record)
    said = event.trailers.get(RUN_ID, "") if event else ""
    if event is None:
        yield Finding(
            code="tag_missing",
            subject=record.tag,
            what=f"{record.tag} is recorded at {record.commit[:12]}, and its tag is gone",
            why=_unproven("somebody deleted it at the server", doubt),
            remedy=f"{_fix(record, doubt)}; to take the version out of use: /deprecate {record.tag}",
            repair=Retag(name=record.tag, commit=record.commit, message=words, record=record),
            force=bool(doubt),
        )
        return
    again = Retag(name=event.name, commit=record.commit, message=words, before=event.object, record=record)
    forced = replace(again, keep=True)
    if event.commit != record.commit:
        yield Finding(
            code="tag_moved",
            subject=record.tag,
            what=f"{record.tag} is at {event.commit[:40]}, and was released from {record.commit[:40]}",
            why="tags of versions never move: somebody moved it by force",
            remedy="find out who and why; trackside models doctor --fix --force puts it back",
            repair=forced,
            force=True,
        )
    elif not event.annotated:
        yield lightweight(event, again, doubt)
    else:
        yield from _words(bond(event, record), record, said, forced)


def _words(seen: Bond, record: Release, said: str, repair: Retag) -> Iterator[Finding]:
    """What an annotated tag at the released commit says, as its record has it or not."""
    if seen.state == "unbound" and said == record.run and not record.statement_digest:
        yield Finding(
            code="tag_unbound",
            subject=record.tag,
            what=f"neither {record.tag} nor its record names a statement",
            why="nothing but the data branch says what it is, so `models get` asks for --unbound",
            remedy="use a newer version, whose tag names its statement",
            level="note",
        )
    elif seen.state != "bound":
        yield Finding(
            code="tag_rewritten",
            subject=record.tag,
            what=f"the tag {record.tag} is not as recorded: {seen.why}",
            why="the tag was made anew, or the record was changed",
            remedy="trackside models verify; then trackside models doctor --fix --force writes the tag as recorded",
            repair=repair,
            force=True,
        )


def _release(facts: Facts, record: Release, named: FoundRelease | None, out: FoundRelease | None) -> Iterator[Finding]:
    """`named` is the release that the record names by its id, `out` the published one of its tag."""
    mine = named if named is not None and named.tag == record.tag else None
    found = mine or out
    again, doubt = _again(facts, Rerun(record=record, reopen=True)), _doubt(facts, record)
    if found is None:
        if not facts.drafts:
            return  # it may be a draft that this token does not see; `_drafts` says so
        yield Finding(
            code="release_missing",
            subject=record.tag,
            what=f"{record.tag} is recorded as published, and its release is gone",
            why="somebody deleted it",
            remedy=f"trackside models doctor --fix, or /deprecate {record.tag} where that was meant"
            if again
            else f"its run is not recorded either, so nothing makes it again: /deprecate {record.tag}",
            repair=again,
        )
        return
    broken = list(_assets(record, found, again))
    yield from broken
    if mine is None and not broken:
        after = _replaced(record, found)
        yield Finding(
            code="release_renumbered",
            subject=record.tag,
            what=f"the release of {record.tag} is {found.id}, recorded is {record.release_id}",
            why="it was deleted and made again, with the same files",
            remedy="trackside models doctor --fix",
            repair=Rewrite(before=record, after=after, why=f"Release {record.tag} has the id {found.id}"),
        )
    if mine is not None and mine.draft and not broken:
        yield Finding(
            code="release_unpublished",
            subject=record.tag,
            what=f"the release of {record.tag} is a draft again",
            why=_unproven("GitHub makes a draft of a release whose tag is deleted", doubt),
            remedy=f"{_fix(record, doubt)}, or /deprecate {record.tag} where that was meant",
            repair=Republish(release=mine),
            force=bool(doubt),
        )
    known = {one.name for one in record.assets}
    for asset in found.assets:
        if not asset.uploaded and asset.name not in known:
            yield Finding(
                code="asset_starter",
                subject=record.tag,
                what=f"{record.tag} has a remnant of an interrupted upload: {asset.name[:100]!r}",
                remedy="trackside models doctor --fix deletes it",
                repair=DropRemnant(tag=record.tag, release_id=found.id, asset=asset),
            )


def _replaced(record: Release, found: FoundRelease) -> Release:
    return msgspec.structs.replace(record, release_id=found.id, url=found.url)


def _assets(record: Release, found: FoundRelease, again: Rerun | None) -> Iterator[Finding]:
    there = {one.name: one for one in found.assets}
    for asset in record.assets:
        one = there.get(asset.name)
        if one is None or not one.uploaded:
            what, code = ("is missing" if one is None else "was never wholly uploaded"), "asset_missing"
        elif one.size != asset.size or (one.digest and one.digest != asset.digest):
            what, code = f"is {one.digest or f'{one.size:,} bytes'}, recorded is {asset.digest}", "asset_wrong"
        else:
            continue
        yield Finding(
            code=code,
            subject=record.tag,
            what=f"{record.tag}: {asset.name} {what}",
            why="somebody changed the release's files after it was published",
            remedy=f"do not use the file; {_rerun(record)}",
            repair=again,
        )


# Drafts


def drafts(facts: Facts) -> Iterator[Finding]:
    if facts.releases is None:
        return
    if not facts.drafts:
        yield Finding(
            code="draft_left",
            subject="drafts",
            what="drafts were not looked at: this token does not see them",
            remedy="use a token that may write to the repository",
            level="note",
        )
    ids = {one.id for one in facts.releases}
    named_ids = {one.release_id for one in facts.records}
    records = {one.tag: one for one in facts.records}
    for draft in facts.releases:
        version = _version(draft.tag)
        if not draft.draft or version is None:
            continue
        model = draft.tag.partition("@")[0]
        record = records.get(draft.tag)
        if draft.id in named_ids or (record is not None and _claims(record, ids)):
            continue
        if f"releases/{model}/{version}.json" in facts.damaged:
            continue  # nobody knows whose it is until the record can be read again
        ours = draft.title == title_of(model, str(version)) and draft.body.startswith(
            waiting(model, str(version)).rstrip()
        )
        yield Finding(
            code="draft_left",
            subject=draft.tag,
            what=f"the draft {draft.id} of {draft.tag} was left behind: no record names it",
            why="a job was stopped, or another one was faster" if ours else "it was made or edited by hand",
            remedy="trackside models doctor --fix deletes it" if ours else "publish or delete it on the releases page",
            level="problem" if ours else "note",
            repair=DropDraft(release=draft) if ours else None,
        )


def _claims(record: Release, ids: set[int]) -> bool:
    """Whether a record may mean any draft of its tag: it is no release yet, and the id it names leads nowhere."""
    return record.state != "published" and record.release_id not in ids


def annotated(state: RegistryState, event: Event) -> Retag:
    """What a lightweight tag says, as an annotated one: nothing is made up about who or why."""
    tag, version = event.tag, state.version_of(event)
    title = title_of(tag.model, str(tag.version)) if tag.version else f"{tag.action} {tag.stage} of {tag.model}".strip()
    said = {"Version": str(version) if version else "", "Annotated": "later, by trackside models doctor"}
    return Retag(name=event.name, commit=event.commit, message=message(title, said), before=event.object)


def lightweight(event: Event, repair: Retag, doubt: str = "") -> Finding:
    """`doubt`: why the words of the record are not to be put into a tag."""
    cause = "it says neither who made it nor why, and GTO does not see it"
    return Finding(
        code="lightweight",
        subject=event.name,
        what=f"{event.name} is a lightweight tag",
        why=f"{cause}; --force is asked, since {doubt}" if doubt else cause,
        remedy=f"trackside models doctor --fix{' --force' * bool(doubt)} makes it an annotated one at the same commit",
        repair=repair,
        force=bool(doubt),
    )
