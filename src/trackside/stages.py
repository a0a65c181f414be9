"""The composition root: what the actions call. Each stage gets its ports here and ends in a result document."""

from __future__ import annotations

import hashlib
import importlib
import json
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from trackside.app import Context
from trackside.documents.codec import dump
from trackside.documents.result import Result
from trackside.errors import ConfigError, ForgeError, NotFound, Refused
from trackside.system.clock import SystemClock, rfc3339

if TYPE_CHECKING:
    from trackside.documents.admission import Admission
    from trackside.event.model import Event
    from trackside.forge.github import GithubForge
    from trackside.forge.operations import Applied
    from trackside.plan.stage import Ports
    from trackside.report.publish import PublishJob
    from trackside.store.branch import RunStore


def forge_of(context: Context, action: str) -> GithubForge:
    """The adapter for this repository with the action's token."""
    from trackside.forge.github import GithubForge

    token = context.value("github-token", action)
    if not token:
        raise ConfigError("no token: set the input `github-token`", remedy="with:\n  github-token: ${{ github.token }}")
    context.commands.mask(token)
    return GithubForge(context.need("GITHUB_REPOSITORY"), token, context.need("GITHUB_API_URL"))


def event_of(context: Context) -> Event:
    """The event that started this workflow."""
    from trackside.event.parse import parse_event

    path = Path(context.need("GITHUB_EVENT_PATH"))
    return parse_event(context.need("GITHUB_EVENT_NAME"), json.loads(path.read_text() or "{}"), context.env)


def plan_ports(context: Context, forge: GithubForge, workdir: Path) -> Ports:
    """Ports of the plan and admit stages."""
    from trackside.plan.objects import fetch
    from trackside.plan.stage import Ports
    from trackside.store.branch import ApiRunStore, CloneRunStore

    branch = _data_branch(forge)
    token, processes = context.value("github-token", "plan"), context.processes
    page = f"{context.need('GITHUB_SERVER_URL')}/{forge.repository}"

    def clone() -> RunStore:
        """All records by one fetch, for lists."""
        objects = workdir / "objects.git"
        try:
            (tip,) = fetch(objects, page, [f"refs/heads/{branch}"], processes=processes, token=token)
        except NotFound:  # nothing is recorded yet
            return ApiRunStore(forge, branch)
        return CloneRunStore(objects, tip, processes, branch=branch)

    return Ports(
        forge=forge,
        store=ApiRunStore(forge, branch, lists=clone),
        processes=processes,
        clock=SystemClock(),
        git_url=page,
        token=token,
        workdir=workdir,
        web_url=page,
    )


def _data_branch(forge: GithubForge) -> str:
    """Where the policy keeps run records; an unreadable policy is complained about by the stage itself."""
    from trackside.config.load import load as load_config
    from trackside.config.model import CONFIG_FILE, Config

    text = forge.file(CONFIG_FILE, forge.default_branch()) or b""
    try:
        return load_config(text.decode("utf-8", "replace")).data_branch
    except ConfigError:
        return Config(models=()).data_branch


def stage_plan(context: Context) -> Result:
    """`actions/plan`: decide for the event, or admit a dispatched run."""
    mode = context.value("mode", "plan")
    if mode == "admit":
        return _admit(context)
    if mode != "plan":
        raise ConfigError(f"mode {mode!r} is neither plan nor admit")
    from trackside.plan.decide import after_dispatch
    from trackside.plan.stage import plan_event
    from trackside.report.reuse import reused

    forge = forge_of(context, "plan")
    out = Path(context.value("out", "plan"))
    dry_run = context.flag("dry-run", "plan")
    with tempfile.TemporaryDirectory(prefix="trackside-") as folder:
        planned = plan_event(
            event_of(context),
            plan_ports(context, forge, Path(folder)),
            report=reused,
            train_workflow=context.value("train-workflow", "plan"),
        )
    out.mkdir(parents=True, exist_ok=True)
    (out / "plan.json").write_bytes(dump(planned.plan))
    context.say(planned.message)
    for model in planned.plan.models:
        context.say(f"{model.model}: {model.decision} ({model.reason_code}) {model.reason}")
    applied = forge.apply(planned.operations, dry_run=dry_run)
    applied += forge.apply(after_dispatch(planned.plan, planned.operations, applied), dry_run=dry_run)
    tell(context, applied)
    result = written(
        "plan",
        applied,
        planned.reason_code,
        message=planned.message,
        values={"models": planned.training},
        calls=forge.calls,
        skipped=not planned.operations,
    )
    if planned.refused and result.decision != "failed":
        return msgspec.structs.replace(result, decision="refused")
    return result


def _admit(context: Context) -> Result:
    """Check a dispatch and write all that the training job needs into one folder."""
    from trackside.config.model import CONFIG_FILE
    from trackside.event.model import DispatchEvent
    from trackside.plan.admit import admit

    forge = forge_of(context, "plan")
    event = event_of(context)
    if not isinstance(event, DispatchEvent):
        raise ConfigError("mode admit is for workflow_dispatch", link="actions.md")
    out = Path(context.value("out", "plan"))
    with tempfile.TemporaryDirectory(prefix="trackside-") as folder:
        ports = plan_ports(context, forge, Path(folder))
        admission = admit(event.inputs, ports, actor=context.actor)
        out.mkdir(parents=True, exist_ok=True)
        (out / "admission.json").write_bytes(dump(admission))
        for name, path in (("trackside.yaml", CONFIG_FILE), ("dvc-config", ".dvc/config")):
            (out / name).write_bytes(forge.file(path, admission.policy_commit) or b"")
        for name, run_id in (("recorded.json", admission.run), ("baseline.json", admission.baseline_run)):
            run = ports.store.run(admission.model, run_id) if run_id else None
            if run is not None:
                (out / name).write_bytes(dump(run))
    context.say(f"{admission.model}: admitted at {admission.subject.commit[:12]} for runners {admission.runs_on}")
    return Result(
        command="admit",
        decision="done",
        reason_code="recorded" if admission.run else "admitted",
        values={
            "runs-on": admission.runs_on,
            "timeout-minutes": admission.timeout_minutes,
            "admission-digest": "sha256:" + hashlib.sha256(dump(admission)).hexdigest(),
        },
        ids={"model": admission.model, "input-digest": admission.input_digest, "run": admission.run},
        api_calls=forge.calls,
    )


def tell(context: Context, applied: Iterable[Applied]) -> None:
    """The log: what was written, and an annotation for what was not."""
    for one in applied:
        name = type(one.operation).__name__
        context.say(f"{name}: {one.outcome}{' ' + one.url if one.url else ''}")
        if one.error:
            context.commands.annotate("error", one.error, title=name)


def written(
    command: str,
    applied: Iterable[Applied],
    reason_code: str,
    *,
    message: str,
    values: dict[str, Any],
    calls: int,
    skipped: bool = False,
) -> Result:
    """The result of a stage that wrote to GitHub: failed with the first failure's code, which decides the exit code."""
    rows = list(applied)
    failed = next((one for one in rows if one.outcome == "failed"), None)
    urls = {type(one.operation).__name__: one.url for one in rows if one.url}
    ids = {type(one.operation).__name__: str(one.id) for one in rows if one.id}
    return Result(
        command=command,
        decision="failed" if failed else "skipped" if skipped else "done",
        reason_code=(failed.reason_code or "forge_failed") if failed else reason_code,
        message=failed.error if failed else message,
        ids=ids,
        urls=urls,
        values=values,
        api_calls=calls,
    )


def stage_report(context: Context) -> Result:
    """`actions/report`: publish what a training run left, as the dispatch and the admission identify it."""
    from trackside.documents.run import run_id
    from trackside.event.model import DispatchEvent
    from trackside.report.publish import PublishJob, end_check
    from trackside.train.job import trigger_from

    forge = forge_of(context, "report")
    event = event_of(context)
    if not isinstance(event, DispatchEvent):
        raise ConfigError("actions/report is for workflow_dispatch", link="actions.md")
    admission = _admission(context)
    trigger = trigger_from(context.env, actor=admission.actor if admission else "")
    inputs = dict(event.inputs)
    if admission is None and not inputs.get("commit"):
        inputs |= {"commit": event.sha, "head-commit": event.sha, "head-repository": forge.repository}
    model = admission.model if admission else inputs.get("model", "")
    digest = admission.input_digest if admission else inputs.get("input-digest", "")
    job = PublishJob(
        inputs=inputs,
        admission=admission,
        admit_result=context.value("admit-result", "report"),
        train_result=context.value("train-result", "report"),
        run_id=run_id(model, digest, str(trigger.workflow_run_id or "")),
        trigger=trigger,
        now=rfc3339(SystemClock().now()),
        dry_run=context.flag("dry-run", "report"),
    )
    try:
        return _report(context, forge, job)
    except (Refused, ForgeError):
        raise
    except Exception as error:
        tell(context, end_check(job, error, forge))
        raise


def _report(context: Context, forge: GithubForge, job: PublishJob) -> Result:
    from trackside.config.load import load as load_config
    from trackside.config.model import CONFIG_FILE
    from trackside.registry.follow import follow
    from trackside.report.publish import PublishPorts, publish
    from trackside.report.render import render_json
    from trackside.retrain import merge
    from trackside.store.branch import ApiRunStore

    text = forge.file(CONFIG_FILE, forge.default_branch())
    if text is None:
        raise ConfigError(f"the default branch has no {CONFIG_FILE}", reason_code="not_configured")
    config = load_config(text.decode("utf-8", "replace"))
    published = publish(
        job,
        _bytes(Path(context.value("run", "report")) / "run.json"),
        config=config,
        ports=PublishPorts(
            forge=forge, store=ApiRunStore(forge, config.data_branch), processes=context.processes, folder=Path.cwd()
        ),
    )
    out = Path(context.value("out", "report"))
    out.mkdir(parents=True, exist_ok=True)
    files = {"comment.md": published.comment, "report.md": published.summary, "report.html": published.html}
    if published.report is not None:
        files["report.json"] = render_json(published.report)
    for name, content in files.items():
        (out / name).write_text(content, encoding="utf-8")
    context.commands.summary(published.summary)
    tell(context, published.applied)
    if published.result.decision == "done" and not job.dry_run:
        follow(context, forge, job.inputs, job.admission, published.run)
        merge.follow(context, forge, config, job.admission, published)
    urls = published.result.urls
    values = published.result.values | {
        "comment-url": urls.get("comment", ""),
        "check-url": urls.get("check", ""),
        "exit-code": published.exit_code,
    }
    return msgspec.structs.replace(published.result, values=values, api_calls=forge.calls)


def _admission(context: Context) -> Admission | None:
    """What the admit job found true, held against the digest that came as that job's own output."""
    from trackside.documents.admission import Admission
    from trackside.documents.codec import load

    raw = _bytes(Path(context.value("admission", "report")) / "admission.json")
    wanted = context.value("admission-digest", "report")
    if raw is None or not wanted:
        return None
    if "sha256:" + hashlib.sha256(raw).hexdigest() != wanted:
        raise Refused(
            "the admission was changed after the admit job wrote it",
            why="only that job may write the artifact trackside-admission",
            link="security.md",
            reason_code="identity_mismatch",
        )
    return load(Admission, raw, name="the admission")


def _bytes(path: Path) -> bytes | None:
    """A document's bytes; of one above the limit, which is refused, only so many that it is seen."""
    from trackside.documents.codec import MAX_BYTES

    if path.is_symlink() or not path.is_file():
        return None
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def stage_train(context: Context) -> Result:
    """`actions/train`: one phase of a run, from what the admit job wrote. Needs no access to GitHub."""
    from trackside.config.load import load as load_config
    from trackside.documents.admission import Admission
    from trackside.documents.codec import load
    from trackside.documents.run import Run
    from trackside.train.hardware import load_nvml
    from trackside.train.job import TrainJob, TrainPorts, remote_env, trigger_from
    from trackside.train.phases import run_phase

    folder = Path(context.value("admission", "train")).resolve()
    admitted = _bytes(folder / "admission.json")
    if admitted is None:
        raise ConfigError(
            f"{folder} holds no admission",
            why="a run is trained only after `actions/plan` with `mode: admit` has checked it",
            remedy="- uses: actions/download-artifact@…\n  with: {name: trackside-admission, path: trackside-plan}",
            link="train.md",
            reason_code="not_admitted",
        )
    admission = load(Admission, admitted, name="the admission")
    config = load_config((folder / "trackside.yaml").read_text())
    model = config.model(admission.model)
    if model is None:
        raise ConfigError(f"{config.file} has no model {admission.model!r}", reason_code="model_unknown")
    recorded, baseline = (_bytes(folder / name) for name in ("recorded.json", "baseline.json"))
    subject = admission.subject
    credentials = remote_env(context.env.get("TRACKSIDE_REMOTE_ENV", ""))
    for secret in credentials.values():
        context.commands.mask(secret)
    job = TrainJob(
        model=model,
        train=config.train,
        source=subject.source(),
        trigger=trigger_from(context.env, actor=admission.actor),
        workspace=Path(context.value("workspace", "train")).resolve(),
        state=Path(context.need("RUNNER_TEMP")) / f"trackside-{admission.model}",
        envs=Path(context.need("RUNNER_TOOL_CACHE")) / "trackside-stages",
        dvc_config=(folder / "dvc-config").read_text(),
        input_digest=admission.input_digest,
        overrides=admission.overrides,
        recorded=load(Run, recorded, name="the recorded run") if recorded else None,
        baseline=load(Run, baseline, name="the baseline run") if baseline else None,
        champion=bool(admission.champion),
        confidence=config.report.confidence,
        remote_env=credentials,
    )
    ports = TrainPorts(processes=context.processes, commands=context.commands, say=context.say, nvml=load_nvml)
    out = Path(context.value("out", "train")).resolve()
    phase = context.value("phase", "train")
    result = run_phase(phase, job, ports, out=out)
    if phase == "record":  # what failed has failed its own step already; writing it down went well
        return msgspec.structs.replace(result, values=result.values | {"exit-code": 0})
    return result


def _lazy(module: str, name: str) -> Callable[[Context], Result]:
    """A stage of another module, imported when it is called."""

    def stage(context: Context) -> Result:
        result: Result = getattr(importlib.import_module(module), name)(context)
        return result

    return stage


STAGES: dict[str, Callable[[Context], Result]] = {
    "command": _lazy("trackside.command.job", "stage_command"),
    "drift": _lazy("trackside.drift.job", "stage_drift"),
    "image": _lazy("trackside.image.job", "stage_image"),
    "plan": stage_plan,
    "promote": _lazy("trackside.registry.promote_stage", "stage_promote"),
    "register": _lazy("trackside.registry.job", "stage_register"),
    "report": stage_report,
    "retrain": _lazy("trackside.retrain.job", "stage_retrain"),
    "train": stage_train,
}
