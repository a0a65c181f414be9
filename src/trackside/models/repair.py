"""Repairs of a registry: each looks before it writes, may be repeated, and deletes nothing that somebody could need."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec

from trackside.documents.codec import dump
from trackside.errors import Conflict, ForgeError, NotFound, TracksideError
from trackside.forge.operations import (
    Applied,
    CommitFiles,
    DiscardDraft,
    DiscardRemnant,
    DispatchWorkflow,
    Operation,
    PublishRelease,
)
from trackside.models.checks import RUN, STATEMENT
from trackside.models.finding import (
    DropDraft,
    DropRemnant,
    Fetch,
    Finding,
    Local,
    Repair,
    Republish,
    Rerun,
    Restore,
    Retag,
    Rewrite,
    TakeTag,
)
from trackside.models.reading import Patient, Server
from trackside.models.restore import restored
from trackside.plan.objects import git_env
from trackside.registry.follow import TRAINED
from trackside.registry.ledger import Ledger
from trackside.registry.read import record
from trackside.registry.records import record_path
from trackside.registry.remote import TIMEOUT, Move

LINK = "models-doctor.md"
WORKFLOW = "release.yml"
KEPT = "refs/trackside/replaced"
"""Below it stays what a repair took a tag's name from: `refs/trackside/replaced/TAG/OBJECT`."""

Outcome = Literal["done", "started", "unchanged", "planned", "refused", "failed"]


@dataclass(frozen=True, kw_only=True)
class Done:
    """What became of a repair; `says` is what it does, `error` why it failed."""

    finding: Finding
    says: str
    outcome: Outcome
    error: str = ""
    reason_code: str = ""
    url: str = ""


def says(repair: Repair) -> str:
    """What a repair does, in one line."""
    match repair:
        case Fetch():
            return "fetch the server's tags and data branch" + (", and the history" if repair.unshallow else "")
        case TakeTag():
            return f"take the server's {repair.name} ({repair.theirs[:12]}); ours stays as {KEPT}/{repair.name}"
        case Retag(before=""):
            return f"create the tag {repair.name} at {repair.commit[:12]}"
        case Retag():
            return f"replace the tag {repair.name} by an annotated one at {repair.commit[:12]}"
        case Restore():
            return f"write the record of {repair.release.tag} from the files of its release"
        case Rewrite():
            return f"record: {repair.why}"
        case Republish():
            return f"publish the release of {repair.release.tag} again"
        case Rerun():
            return f"start {WORKFLOW}, which brings {repair.record.tag} to its end"
        case DropDraft():
            return f"delete the draft {repair.release.id} of {repair.release.tag}"
        case DropRemnant():
            return f"delete the remnant {repair.asset.name[:100]!r} of {repair.tag}"


def wanted(findings: Iterable[Finding], *, force: bool) -> Iterator[tuple[str, Finding, Repair]]:
    """Findings with what is to be done about them, each repair once: its key comes first."""
    seen: set[str] = set()
    for one in findings:
        if one.repair is None or (one.force and not force):
            continue
        # A job that was started brings the whole release to its end, whatever else is found wrong with it meanwhile.
        key = f"rerun {one.repair.record.tag}" if isinstance(one.repair, Rerun) else repr(one.repair)
        if key not in seen:
            seen.add(key)
            yield key, one, one.repair


def apply(patient: Patient, finding: Finding, repair: Repair) -> Done:
    """Do one repair. What fails is told and stops no other; a token without the right to write is refused."""
    text = says(repair)
    server = patient.server
    if server is None or (not isinstance(repair, Local) and not server.writes):
        why = "there is no token" if server is None else "the token may not write to the repository"
        return Done(finding=finding, says=text, outcome="refused", error=why, reason_code="rights_missing")
    try:
        outcome, url = _do(patient, server, repair)
    except TracksideError as error:
        told = error.render()
        return Done(finding=finding, says=text, outcome="failed", error=told, reason_code=error.reason_code)
    return Done(finding=finding, says=text, outcome=outcome, url=url)


def _do(patient: Patient, server: Server, repair: Repair) -> tuple[Outcome, str]:
    match repair:
        case Fetch():
            return _fetch(patient, server, repair), ""
        case TakeTag():
            return _take(patient, server, repair), ""
        case Retag():
            return _retag(patient, server, repair), ""
        case Restore():
            return _restore(patient, server, repair), repair.release.url
        case Rewrite():
            done = _ledger(patient, server).write(repair.after, repair.why, before=repair.before)
            return _won(done, repair.after.tag), ""
        case Republish():
            return _republish(server, repair)
        case Rerun():
            return _rerun(patient, server, repair)
        case DropDraft():
            return _drop(patient, server, repair), ""
        case DropRemnant():
            return _outcome(_one(server, DiscardRemnant(asset_id=repair.asset.id))), ""


# The clone


def _git(patient: Patient, server: Server, words: list[str | Path], text: str = "") -> str:
    """Git in the clone, talking to the server that was examined; of the user's own configuration nothing is used."""
    env = git_env(patient.processes.env, url=server.url, token=server.token)
    argv = ["git", "-C", patient.repo or Path(), *words]
    return patient.processes.run(argv, env=env, input=text.encode(), timeout=TIMEOUT).text.strip()


def _fetch(patient: Patient, server: Server, repair: Fetch) -> Outcome:
    """Only names that the clone lacks: git refuses the whole fetch for one tag that differs."""
    specs = [f"refs/tags/{name}:refs/tags/{name}" for name in repair.tags]
    if server.remote.look().heads.get(patient.branch):
        specs.append(f"+refs/heads/{patient.branch}:refs/remotes/origin/{patient.branch}")
    words: list[str | Path] = ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules"]
    words += ["--unshallow"] if repair.unshallow else []
    _git(patient, server, [*words, "--stdin", "--", server.url], "\n".join([*(specs or ["HEAD"]), ""]))
    return "done"


def _take(patient: Patient, server: Server, repair: TakeTag) -> Outcome:
    ref = f"refs/tags/{repair.name}"
    _git(patient, server, ["update-ref", f"{KEPT}/{repair.name}/{repair.ours}", repair.ours])
    words: list[str | Path] = ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules"]
    _git(patient, server, [*words, "--", server.url, f"+{ref}:{ref}"])
    return "done"


# The server


def _ledger(patient: Patient, server: Server) -> Ledger:
    return Ledger(server.remote, patient.processes, branch=patient.branch, now=patient.clock.now)


def _won(done: bool, name: str) -> Outcome:
    """Raises Conflict where somebody wrote meanwhile: what was found is not so any more."""
    if not done:
        raise Conflict(f"{name} changed meanwhile", remedy="trackside models doctor, again", link=LINK)
    return "done"


def _retag(patient: Patient, server: Server, repair: Retag) -> Outcome:
    """The tag, if its ref still holds what was found; an annotated one that it replaces stays under another name."""
    remote, of = server.remote, repair.record
    remote.fetch([repair.commit, *([repair.before] if repair.keep else [])])
    when = _time(of.created_at) if of else None
    made = remote.tag(repair.name, repair.commit, repair.message, when or patient.clock.now())
    moves = [Move(ref=f"refs/tags/{repair.name}", new=made, old=repair.before)]
    if repair.keep:
        kept = f"{KEPT}/{repair.name}/{repair.before}"
        there = server.forge.ref(kept.removeprefix("refs/")) or ""
        moves += [] if there == repair.before else [Move(ref=kept, new=repair.before, old=there)]
    _won(remote.push(moves), repair.name)
    if of is not None and of.tag_object not in ("", made):
        after = msgspec.structs.replace(of, tag_object=made)
        _won(_ledger(patient, server).write(after, f"Tag {of.tag} is made again", before=of), of.tag)
    return "done"


def _time(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _restore(patient: Patient, server: Server, repair: Restore) -> Outcome:
    """A record that is missing, or damaged; whatever stands there by now and can be read stays."""
    there = {one.name: one for one in repair.release.assets}
    with tempfile.TemporaryDirectory(prefix="trackside-", dir=server.folder) as folder:
        for name in (RUN, STATEMENT):
            server.forge.download(there[name].id, Path(folder) / name, digest=there[name].digest)
        run, statement = ((Path(folder) / name).read_bytes() for name in (RUN, STATEMENT))
    made = restored(repair, run, statement)
    path = record_path(repair.model, repair.version)
    if not repair.damaged:
        done = _ledger(patient, server).write(made, f"Restore the record of {made.tag}", before=None)
        return _won(done, made.tag)
    if server.forge.file(path, patient.branch) != repair.damaged:
        return _won(False, path)
    files: dict[str, str | None] = {path: dump(made).decode()}
    return _outcome(
        _one(server, CommitFiles(branch=patient.branch, message=f"Restore the record of {made.tag}", files=files))
    )


def _republish(server: Server, repair: Republish) -> tuple[Outcome, str]:
    now = server.forge.release(repair.release.id)
    if not now.draft or now.tag != repair.release.tag:
        return "unchanged", now.url
    applied = _one(server, PublishRelease(release_id=now.id, body=now.body))
    return _outcome(applied), applied.url


def _rerun(patient: Patient, server: Server, repair: Rerun) -> tuple[Outcome, str]:
    """The record says that the release is not whole, then the job is started which makes it so."""
    of = repair.record
    if repair.reopen:
        after = msgspec.structs.replace(of, state="claimed", release_id=0, url="", assets=[])
        _won(_ledger(patient, server).write(after, f"Reopen {of.tag}", before=of), of.tag)
    asked = {"task": "register", "model": of.model, "commit": of.commit, "reason": TRAINED}
    branch = server.forge.default_branch()
    title = f"register {of.model} {of.commit}"
    applied = _one(server, DispatchWorkflow(workflow=WORKFLOW, ref=branch, inputs=asked, unless_title=title))
    return "started", applied.url


def _drop(patient: Patient, server: Server, repair: DropDraft) -> Outcome:
    """Unless a record names it by now."""
    of = repair.release
    try:
        now = server.forge.release(of.id)
    except NotFound:
        return "unchanged"
    model, _, version = of.tag.partition("@v")
    named = record(server.forge, model, version, branch=patient.branch)
    if not now.draft or now.body != of.body or (named is not None and named.release_id == of.id):
        raise Conflict(f"the draft of {of.tag} changed meanwhile", remedy="trackside models doctor, again", link=LINK)
    return _outcome(_one(server, DiscardDraft(release_id=of.id)))


def _one(server: Server, operation: Operation) -> Applied:
    """Raises ForgeError where it failed."""
    (applied,) = server.forge.apply([operation])
    if applied.outcome == "failed":
        raise ForgeError(
            f"{type(operation).__name__} failed",
            why=applied.error.removeprefix("error: "),
            remedy="trackside models doctor --fix, again: it goes on where it was stopped",
            link=LINK,
            reason_code=applied.reason_code,
        )
    return applied


def _outcome(applied: Applied) -> Outcome:
    return "unchanged" if applied.outcome in ("unchanged", "skipped") else "done"
