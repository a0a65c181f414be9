"""The publish stage: an untrusted run document and trusted claims → record, comment, check and job summary."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from trackside.config.model import Config, Model
from trackside.documents.admission import Admission
from trackside.documents.codec import load
from trackside.documents.report import Report
from trackside.documents.result import Result
from trackside.documents.run import Environment, Run, Source, Status, Trigger
from trackside.errors import ConfigError, DataError, ForgeError, ToolError, TracksideError
from trackside.forge.operations import Applied, CommitFiles, Operation, UpsertCheck, UpsertComment
from trackside.forge.ports import Forge
from trackside.plan.words import code, fenced
from trackside.report import cml, render
from trackside.report.build import Baseline, build_report
from trackside.report.check import check_run
from trackside.report.identity import Identity, identify
from trackside.report.marker import check_name, external_id, marker
from trackside.report.sanitise import bounded
from trackside.report.snapshot import Request, snapshots
from trackside.store.branch import RunStore
from trackside.system.process import Processes

TEMPLATE_FILES = 10
JOB_ENDINGS: Mapping[str, Status] = {"cancelled": "cancelled", "failure": "failed", "skipped": "failed"}


@dataclass(frozen=True, kw_only=True)
class PublishJob:
    """What the publishing job knows for sure.

    `inputs` are those of the dispatch; `admission` comes from the admit job (None: it refused or broke);
    `admit_result` and `train_result` are GitHub's words for how the jobs ended; `run_id` is the id of this training
    run, computed from `trigger` and never read from the document. `now` is an RFC 3339 time.
    """

    inputs: Mapping[str, str]
    admission: Admission | None
    admit_result: str
    train_result: str
    run_id: str
    trigger: Trigger
    now: str
    dry_run: bool = False


@dataclass(frozen=True, kw_only=True)
class Published:
    """What was made. `summary` goes to the job summary, `html` and `report` to the artifact."""

    report: Report | None
    run: Run | None
    comment: str
    summary: str
    html: str
    applied: tuple[Applied, ...]
    result: Result
    exit_code: int = 0


@dataclass(frozen=True, kw_only=True)
class PublishPorts:
    """The outside. `processes` and `folder` are used by the `cml` publisher only."""

    forge: Forge
    store: RunStore
    processes: Processes | None = None
    folder: Path | None = None
    templates: Mapping[str, str] = field(default_factory=dict)


def publish(job: PublishJob, artifact: bytes | None, *, config: Config, ports: PublishPorts) -> Published:
    """Record the run and tell the reviewer.

    Args:
        artifact: bytes of `run.json`; None when the training job left none.
        config: policy of the default branch.

    Raises:
        Refused: the dispatch claims what is not so; nothing is written.
        ConfigError: the policy has no such model.
        ForgeError: GitHub could not be asked who the pull request is.
    """
    identity = identify(job.inputs, job.admission, ports.forge)
    model = config.model(identity.model)
    if model is None:
        raise ConfigError(
            f"{config.file} has no model {identity.model[:100]!r}",
            remedy="known models: " + ", ".join(one.name for one in config.models),
            reason_code="model_unknown",
        )
    run = _first_told(read_run(job, artifact, identity), job, ports.store)
    baseline, note = _baseline(job, identity, model, ports)
    changes = job.admission.policy_changes if job.admission else []
    report = build_report(
        run, model=model, config=config, baseline=baseline, baseline_note=note, policy_changes=changes
    )
    templates = {**_templates(config, ports.forge), **ports.templates}
    body = render.render_comment(report, config=config, templates=templates)
    operations = decide(report, run, body, job=job, identity=identity, config=config, store=ports.store)
    if run.status == "cancelled" and _replaced(report, identity, ports.forge):
        operations = [one for one in operations if isinstance(one, CommitFiles)]
    applied = _apply(operations, config, ports, dry_run=job.dry_run)
    return _published(report, run, body, identity, applied, config, templates)


def _replaced(report: Report, identity: Identity, forge: Forge) -> bool:
    """Whether the head was planned anew meanwhile, for other inputs (its base moved): comment and check tell of those.

    A check run written now would be the newest of its name, and block what may be green.
    """
    if not identity.current or not identity.subject.head_commit:
        return False
    found = forge.checks(identity.subject.head_commit, name=check_name(report.model))
    ours = external_id(report.model, report.input_digest)
    family = [one for one in found if one.external_id.startswith(external_id(report.model, ""))]
    return bool(family) and max(family, key=lambda one: one.id).external_id != ours


def end_check(job: PublishJob, error: Exception, forge: Forge) -> tuple[Applied, ...]:
    """Complete the check in progress of a run that cannot be published, and say why: a required check must not wait
    for a report that never comes. Only a check that the plan made for these inputs is ended; nothing is recorded.

    Raises:
        Refused, ForgeError: like `publish`.
    """
    identity = identify(job.inputs, job.admission, forge)
    subject = identity.subject
    digest = job.admission.input_digest if job.admission else _claimed_digest(job)
    if not identity.current or not subject.head_commit:
        return ()
    name, ident = check_name(identity.model), external_id(identity.model, digest)
    waiting = [one for one in forge.checks(subject.head_commit, name=name) if one.external_id == ident]
    if not any(one.status != "completed" for one in waiting):
        return ()
    why = error.render() if isinstance(error, TracksideError) else f"a defect in Trackside: {type(error).__name__}"
    text = f"{fenced(why)}\n\nOnce this is corrected, re-run the failed jobs of the training run: nothing trains again."
    title = "the report could not be made"
    check = UpsertCheck(
        name=name,
        head_sha=subject.head_commit,
        external_id=ident,
        title=title,
        summary=text,
        conclusion="failure",
        details_url=job.trigger.url,
    )
    mark = marker(identity.model)
    body = f"{mark}\n\n### Trackside: {code(identity.model)} – {title}\n\n{text}\n"
    pull = subject.pull_request
    talk = [UpsertComment(issue=pull, marker=mark, body=body)] if pull is not None else []
    return forge.apply([check, *talk], dry_run=job.dry_run)


def read_run(job: PublishJob, artifact: bytes | None, identity: Identity) -> Run:
    """The run with everything that says who and what it was taken from the trusted side.

    A document that is missing, malformed, of another model or of other inputs becomes a failed run that says so.
    """
    admission = job.admission
    try:
        if admission is None:
            ended = f" (it ended as {job.admit_result})" if job.admit_result else ""
            raise DataError(
                f"the run was not admitted; the log of the admit job says why{ended}", reason_code="not_admitted"
            )
        if artifact is None:
            raise DataError("the training job left no run document", reason_code="document_missing")
        run = bounded(load(Run, artifact, name="the run document"))
        if run.model != admission.model:
            raise DataError("the run document is of another model", reason_code="identity_mismatch")
        if run.input_digest != admission.input_digest:
            raise DataError("the run document answers other inputs than were dispatched", reason_code="digest_mismatch")
    except DataError as error:
        ended_by = job.train_result if admission is not None else job.admit_result
        ending = JOB_ENDINGS.get(ended_by, "failed")
        missing = error.reason_code in ("document_missing", "not_admitted")
        reason = ending if ending == "cancelled" and missing else error.reason_code
        text = error.message + (f"\n{error.why}" if error.why else "")
        run = _empty(job, identity, ending, reason, text)
    if run.status == "succeeded" and job.train_result in JOB_ENDINGS:
        run = msgspec.structs.replace(run, status=JOB_ENDINGS[job.train_result], reason_code="train_job_failed")
    if run.comparison is not None and not (admission and admission.champion == run.comparison.baseline_run):
        run = msgspec.structs.replace(run, comparison=msgspec.structs.replace(run.comparison, champion=[]))
    subject = identity.subject
    return msgspec.structs.replace(
        run,
        id=job.run_id,
        model=identity.model,
        input_digest=admission.input_digest if admission else _claimed_digest(job),
        source=subject.source(),
        trigger=_trigger(job, run),
        experiment=admission.experiment if admission else job.inputs.get("overrides", "{}").strip() not in ("", "{}"),
        overrides=admission.overrides if admission else {},
        params=admission.params if admission else {},
        dependencies=admission.inputs if admission else [],
    )


def _first_told(run: Run, job: PublishJob, store: RunStore) -> Run:
    """A re-run that restored what this very run had done changes nothing: the record stands.

    A run without a document bears the time of publishing: published again, it keeps the first.
    """
    restored = run.status == "succeeded" and run.restored_from == run.id
    undated = run.finished_at == job.now and job.admission is not None
    recorded = store.run(run.model, run.id) if restored or undated else None
    if recorded is None:
        return run
    if restored:
        return recorded if (recorded.status, recorded.input_digest) == (run.status, run.input_digest) else run
    when = {name: getattr(run, name) for name in ("started_at", "finished_at", "trigger")}
    return recorded if msgspec.structs.replace(recorded, **when) == run else run


def _trigger(job: PublishJob, run: Run) -> Trigger:
    """The job's own trigger, with the attempt that trained: publishing alone may be run again."""
    told, ours = run.trigger.attempt, job.trigger.attempt
    trained = told if told is not None and ours is not None and 0 < told <= ours else ours
    return msgspec.structs.replace(job.trigger, attempt=trained)


def _claimed_digest(job: PublishJob) -> str:
    """The digest that a refused dispatch named: only a label, so that the check in progress finds its end."""
    claimed = job.inputs.get("input-digest", "").strip()
    return claimed if re.fullmatch(r"sha256:[0-9a-f]{64}", claimed) else ""


def _empty(job: PublishJob, identity: Identity, status: Status, reason: str, text: str) -> Run:
    return Run(
        id=job.run_id,
        model=identity.model,
        status=status,
        reason_code=reason,
        input_digest="",
        source=Source(repository="", commit=""),
        trigger=job.trigger,
        started_at=job.now,
        finished_at=job.now,
        environment=Environment(python="", os=""),
        log_tail=text,
    )


def _baseline(job: PublishJob, identity: Identity, model: Model, ports: PublishPorts) -> tuple[Baseline, str]:
    """The run that is recorded for the base's inputs; else what git tracks there; else nothing, and why."""
    admission, base = job.admission, identity.subject.base_commit
    if admission is None or not base:
        return None, "The commit has no parent." if admission else ""
    if admission.baseline_digest:
        recorded = ports.store.run_for_inputs(model.name, admission.baseline_digest)
        if recorded is not None:
            return recorded, ""
    note = admission.baseline_note[:500] or "No run is recorded for the base's inputs."

    def read(requests: Sequence[Request]) -> list[bytes | None]:
        return [ports.forge.file(path, revision) for revision, path in requests]

    try:
        (tracked,) = snapshots(read, [base], model)
    except (DataError, ForgeError) as error:
        return None, f"{note} Its metrics in git cannot be read: {error.message}"[:1000]
    if tracked.metrics:
        return tracked, f"{note} Compared with the metrics that git tracks, without intervals."
    return None, f"{note} Git tracks no metrics there either; merging this gives the next report a baseline."


def _templates(config: Config, forge: Forge) -> dict[str, str]:
    """The user's templates, always from the default branch."""
    if not config.report.template:
        return {}
    folder, branch = config.report.template.rstrip("/"), forge.default_branch()
    paths = [path for path in forge.files(folder, branch) if path.endswith(".j2")][:TEMPLATE_FILES]
    found = {path[len(folder) + 1 :]: forge.file(path, branch) for path in paths}
    return {name: data.decode("utf-8", "replace") for name, data in found.items() if data is not None}


def decide(
    report: Report, run: Run, body: str, *, job: PublishJob, identity: Identity, config: Config, store: RunStore
) -> list[Operation]:
    """Record first, so that a report never points to a run that is nowhere; then check; then comment. Pure."""
    made: list[Operation] = []
    admission = job.admission
    if admission is not None:
        made.append(store.operations_for(run, reusable=admission.reusable and not run.experiment))
    if not identity.current:
        return made
    subject = identity.subject
    check = check_run(report, body, config=config, head_sha=subject.head_commit) if subject.head_commit else None
    if check is not None:
        made.append(check)
    if subject.pull_request is not None:
        mark = marker(report.model, experiment=report.experiment)
        made.append(UpsertComment(issue=subject.pull_request, marker=mark, body=body))
    return made


def _apply(
    operations: Sequence[Operation], config: Config, ports: PublishPorts, *, dry_run: bool
) -> tuple[Applied, ...]:
    """Apply by the forge; with `publisher: cml`, comments go through `cml` where it is installed."""
    if config.report.publisher != "cml" or ports.processes is None or ports.folder is None:
        return ports.forge.apply(operations, dry_run=dry_run)
    done: list[Applied] = []
    for one in operations:
        if isinstance(one, UpsertComment) and not dry_run:
            done.append(cml.comment(one, ports.processes, folder=ports.folder))
        else:
            done += ports.forge.apply([one], dry_run=dry_run)
    return tuple(done)


def _published(
    report: Report,
    run: Run,
    body: str,
    identity: Identity,
    applied: tuple[Applied, ...],
    config: Config,
    templates: Mapping[str, str],
) -> Published:
    failed = [one for one in applied if one.outcome == "failed"]
    check = next((one for one in applied if isinstance(one.operation, UpsertCheck)), None)
    comment = next((one for one in applied if isinstance(one.operation, UpsertComment)), None)
    record = next((one for one in applied if isinstance(one.operation, CommitFiles)), None)
    notes = [identity.note, *(f"Not written: {one.error}" for one in failed)]
    summary = render.render_summary(report, config=config, templates=templates)
    for note in filter(None, notes):
        summary += f"\n> [!WARNING]\n> {render.quoted(note)}\n"
    result = Result(
        command="report",
        decision="failed" if failed else "done" if identity.current else "skipped",
        reason_code=failed[0].reason_code if failed else identity.reason_code or report.reason_code,
        message="; ".join(filter(None, [report.headline, *notes]))[:4000],
        ids={"run": run.id} | ({"record": str(record.id)} if record and record.id else {}),
        urls={name: one.url for name, one in (("comment", comment), ("check", check)) if one is not None and one.url},
        values={"gate": report.gate},
    )
    html = render.render_html(report, config=config, templates=templates)
    return Published(
        report=report,
        run=run,
        comment=body,
        summary=summary,
        html=html,
        applied=applied,
        result=result,
        exit_code=_exit_code(failed),
    )


def _exit_code(failed: Sequence[Applied]) -> int:
    """4 where GitHub refused a write, 5 where only an external publisher broke."""
    if not failed:
        return 0
    return ToolError.exit_code if all(one.reason_code.startswith("tool_") for one in failed) else ForgeError.exit_code
