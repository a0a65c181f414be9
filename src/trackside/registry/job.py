"""The register stage: which models a commit of the default branch changed, and their releases. No code is run."""

from __future__ import annotations

import re
import tempfile
import uuid
from pathlib import Path
from typing import Any

from trackside.app import Context
from trackside.config.model import CONFIG_FILE, Config
from trackside.documents.codec import dump
from trackside.documents.result import Result
from trackside.errors import ConfigError, NotFound, Refused
from trackside.event.model import DispatchEvent, Event, PushEvent
from trackside.plan.admit import SHA
from trackside.registry.follow import TRAINED
from trackside.registry.ledger import Ledger
from trackside.registry.registration import Asked, RegisterJob, Registration, policy_in
from trackside.registry.remote import Look, Remote
from trackside.store.layout import DATA_BRANCH
from trackside.system.clock import SystemClock

LINK = "releases.md"


def register(event: Event, job: RegisterJob) -> Result:
    """Release what the commit of an event changed.

    Raises:
        Refused: a dispatch names a commit that the default branch does not hold, or its comment does not ask for this.
        ConfigError: the policy or the pipeline of the commit cannot be read.
        ForgeError, ToolError, DataError: of the first model that failed, after the others were tried.
    """
    branch = event.default_branch or job.forge.default_branch()
    if isinstance(event, PushEvent) and (event.deleted or event.branch != branch):
        return _ended("skipped", "event_ignored", f"nothing to register for {event.ref}", job)
    if not isinstance(event, PushEvent | DispatchEvent):
        raise ConfigError("actions/register is for push and workflow_dispatch", link=LINK)
    remote = Remote(job.git_dir, job.git_url, token=job.token, processes=job.processes, clock=job.clock)
    look = remote.look()
    tip = look.heads.get(branch, "")
    if not tip:
        raise NotFound(f"{job.forge.repository} has no branch {branch}", link=LINK)
    remote.fetch([tip, *(look.heads[one] for one in (DATA_BRANCH,) if one in look.heads)])
    asked = _asked(event, job, branch, tip)
    remote.fetch([asked.commit])
    config = policy_in(job.tree(asked.commit))
    if config is None:
        return _ended("skipped", "not_configured", f"{asked.commit[:12]} has no {CONFIG_FILE}", job)
    if asked.model and config.model(asked.model) is None:
        known = ", ".join(one.name for one in config.models)
        raise ConfigError(
            f"{CONFIG_FILE} has no model {asked.model[:100]!r}",
            remedy=f"known models: {known}",
            reason_code="model_unknown",
        )
    return _registered(job, config, asked, branch, remote, look)


def _registered(job: RegisterJob, config: Config, asked: Asked, branch: str, remote: Remote, look: Look) -> Result:
    ledger = Ledger(remote, job.processes, branch=config.data_branch, now=job.clock.now, look=look)
    done = Registration(job, config, asked, branch, look.heads[branch], ledger)
    done.run()
    released = [{"model": one.model, "version": one.version, "tag": one.tag} for one in done.released]
    order = ("released", "training_dispatched", "run_missing", "superseded", "model_deprecated", "model_unchanged")
    code = "released" if released else next((one for one in order if one in done.codes), "model_unchanged")
    return _ended(
        "done" if released or done.dispatched else "skipped",
        code,
        ", ".join(one.tag for one in done.released) or "no model changed",
        job,
        released=released,
        dispatched=done.dispatched,
        commit=asked.commit,
        urls={one.tag: one.url for one in done.released if one.url},
    )


def _asked(event: PushEvent | DispatchEvent, job: RegisterJob, branch: str, tip: str) -> Asked:
    """What is to be registered, held against GitHub. A version step without a comment needs the role of `/release`;
    all else does what the next push would.
    """
    if isinstance(event, PushEvent):
        return Asked(commit=event.sha)
    given = {name: text.strip() for name, text in event.inputs.items()}
    commit, bump = given.get("commit") or tip, given.get("bump", "")
    if bump not in ("", "major", "minor", "patch"):
        raise ConfigError(f"bump {bump[:40]!r} is none of major, minor, patch", link=LINK)
    if not SHA.fullmatch(commit) or (commit != tip and not job.forge.contains(branch, commit)):
        raise Refused(
            f"{commit[:40]!r} is no commit of {branch}",
            why="only what was merged is released",
            link=LINK,
            reason_code="identity_mismatch",
        )
    if given.get("comment"):
        bump = _said(given["comment"], commit, job, tip)
    elif bump:
        from trackside.command.evidence import by_hand

        by_hand("release", job.context.actor, job.forge, _policy(job, tip))
    return Asked(commit=commit, model=given.get("model", ""), bump=bump, trained=given.get("reason") == TRAINED)


def _said(comment: str, commit: str, job: RegisterJob, tip: str) -> str:
    """The step that a maintainer's `/release` names, read again from the comment. Raises Refused."""
    from trackside.command.evidence import read_again

    asked = read_again(comment, job.forge, _policy(job, tip), now=job.clock.now(), names=("release",))
    pull = job.forge.pull(asked.issue)
    if not pull.merged or pull.merge_sha != commit:
        raise Refused(f"#{asked.issue} did not bring {commit[:12]}", link=LINK, reason_code="identity_mismatch")
    return asked.command.bump


def _policy(job: RegisterJob, tip: str) -> Config:
    """Who may what is the default branch's to say, not the released commit's."""
    return policy_in(job.tree(tip)) or Config(models=())


def _ended(
    decision: Any,
    code: str,
    message: str,
    job: RegisterJob,
    *,
    released: list[dict[str, str]] | None = None,
    dispatched: list[str] | None = None,
    commit: str = "",
    urls: dict[str, str] | None = None,
) -> Result:
    return Result(
        command="register",
        decision=decision,
        reason_code=code,
        message=message,
        urls=urls or {},
        values={"released": released or [], "dispatched": dispatched or [], "commit": commit},
        api_calls=job.forge.calls,
    )


def name_of(context: Context) -> str:
    """What the attempts of one workflow run's job have in common; outside of GitHub each is a job of its own."""
    run, job = context.env.get("GITHUB_RUN_ID", ""), context.env.get("GITHUB_JOB", "")
    return re.sub(r"[^A-Za-z0-9_/]+", "-", f"{run}/{job}") if run else uuid.uuid4().hex


def stage_register(context: Context) -> Result:
    """`actions/register`: release what the tip of the default branch changed, then write down what came of it."""
    from trackside.stages import event_of, forge_of
    from trackside.train.job import remote_env

    forge = forge_of(context, "register")
    credentials = remote_env(context.env.get("TRACKSIDE_REMOTE_ENV", ""))
    for secret in credentials.values():
        context.commands.mask(secret)
    server = context.need("GITHUB_SERVER_URL")
    page = f"{server}/{forge.repository}"
    out = Path(context.value("out", "register"))
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="trackside-") as folder:
        job = RegisterJob(
            forge=forge,
            processes=context.processes,
            clock=SystemClock(),
            git_url=page,
            token=context.value("github-token", "register"),
            web_url=page,
            workdir=Path(folder),
            out=out,
            context=context,
            server=server,
            credentials=credentials,
            name=name_of(context),
            train_workflow=context.value("train-workflow", "register"),
        )
        result = register(event_of(context), job)
    (out / "result.json").write_bytes(dump(result))
    if result.urls:
        context.commands.summary("\n".join(f"- [{tag}]({url})" for tag, url in result.urls.items()) + "\n")
    return result
