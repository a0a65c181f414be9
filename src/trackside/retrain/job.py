"""The retrain stage: for each model that is due, one branch, one pull request, and its training started."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from trackside.config.load import load as load_config
from trackside.config.model import CONFIG_FILE, Config
from trackside.documents.codec import dump
from trackside.documents.result import Result
from trackside.errors import ConfigError, NotFound, Refused, TracksideError
from trackside.event.model import DispatchEvent, Event
from trackside.plan.objects import GitTree, fetch
from trackside.retrain.propose import Proposing, Retrained, RetrainJob, Wish, proposal_path
from trackside.store.drift import wanted
from trackside.tables.placeholders import parse_date

if TYPE_CHECKING:
    from trackside.app import Context
    from trackside.forge.github import GithubForge

LINK = "retrain.md"
TASK = "retrain"
"""Input `task` of a dispatch that asks for a proposal now."""


def retrain(event: Event, job: RetrainJob) -> tuple[Result, list[Retrained]]:
    """Propose, refresh or wait, for every model that is due; after one that failed the others have their turn.

    Raises:
        Refused: a dispatch asks for it on behalf of nobody who may.
        ConfigError: there is no policy, or no such model.
        TracksideError: of the first model that failed.
    """
    branch = job.forge.default_branch()
    base = job.forge.head_of(branch)
    raw = job.forge.file(CONFIG_FILE, base)
    if raw is None:
        raise ConfigError(f"the default branch has no {CONFIG_FILE}", link=LINK, reason_code="not_configured")
    config = load_config(raw.decode("utf-8", "replace"))
    wish = wish_of(event, job, config)
    if not wish.models:
        return Result(command="retrain", decision="skipped", reason_code="no_drift", message="nothing is due"), []
    files = _data_branch(job, config, wish.models)
    done: list[Retrained] = []
    errors: list[TracksideError] = []
    for name in wish.models:
        model = config.model(name)
        try:
            if model is None:
                raise ConfigError(f"{CONFIG_FILE} has no model {name[:100]!r}", reason_code="model_unknown")
            one = Proposing(job, config, model, wish, branch, base, files)
            done.append(one.run())
        except TracksideError as error:
            errors.append(error)
    if errors:
        raise errors[0]
    return _result(job, done), done


def wish_of(event: Event, job: RetrainJob, config: Config) -> Wish:
    """What the event asks for. A comment is read again by its number; without one a person must have dispatched.

    Raises:
        Refused: nobody who may asks for it.
        ConfigError: a dispatch for no model.
    """
    inputs = {name: text.strip() for name, text in event.inputs.items()} if isinstance(event, DispatchEvent) else {}
    as_of = inputs.get("as-of", "")
    if as_of:
        parse_date(as_of)
    if inputs.get("task") != TASK:
        return Wish(models=job.models, as_of=as_of)
    model = inputs.get("model", "")
    if inputs.get("comment"):
        from trackside.command.evidence import read_again

        asked = read_again(inputs["comment"], job.forge, config, now=job.clock.now(), names=("retrain",))
        return Wish(
            models=(asked.command.model,) if asked.command.model else _all(config),
            asked=True,
            by=asked.author,
            comment=asked.comment,
            url=asked.url,
            as_of=as_of,
        )
    if not job.actor or job.actor.endswith("[bot]"):
        raise Refused(
            "only a person asks for retraining",
            why=f"this was dispatched by {job.actor or 'nobody'} and names no comment",
            remedy="comment /retrain, or run the workflow by hand",
            link=LINK,
        )
    from trackside.command.evidence import by_hand

    by_hand(TASK, job.actor, job.forge, config)
    return Wish(models=(model,) if model else _all(config), asked=True, by=job.actor, as_of=as_of)


def _all(config: Config) -> tuple[str, ...]:
    return tuple(one.name for one in config.models if one.drift is not None and one.drift.retrain is not None)


def _data_branch(job: RetrainJob, config: Config, models: tuple[str, ...]) -> dict[str, bytes]:
    """Verdicts, snoozes and last proposals, by one fetch; empty where nothing is recorded yet."""
    folder = job.workdir / "objects.git"
    ref = f"refs/heads/{config.data_branch}"
    try:
        (tip,) = fetch(folder, job.page, [ref], processes=job.processes, token=job.token)
    except NotFound:
        return {}
    tree = GitTree.open(folder, tip, job.processes)
    paths: set[str] = set()
    for name in models:
        model = config.model(name)
        if model is not None and model.drift is not None:
            within = model.drift.retrain.within if model.drift.retrain else 0
            paths |= {*wanted(name, tree.paths(), max(model.drift.history, 2 * within)), proposal_path(name)}
    return tree.read(sorted(path for path in paths if path in tree.entries))


def _result(job: RetrainJob, done: list[Retrained]) -> Result:
    made = [one for one in done if one.proposal is not None]
    waiting = [one for one in done if one.decision.action == "skip"]
    pulls = {one.model: one.proposal.pull_request for one in made if one.proposal is not None}
    first = (made or done)[0]
    return Result(
        command="retrain",
        decision="skipped" if len(waiting) == len(done) else "done",
        reason_code=first.decision.reason_code,
        message="; ".join(f"{one.model}: {one.decision.action}, {one.decision.message}" for one in done)[:4000],
        ids={one: str(number) for one, number in pulls.items()},
        urls={one.model: one.proposal.url for one in made if one.proposal is not None},
        values={"pull-requests": pulls},
        api_calls=job.forge.calls + (job.app.calls if job.app else 0),
    )


def stage_retrain(context: Context) -> Result:
    """`actions/retrain`: propose what the drift check found due, or what a person asks for."""
    from trackside.stages import event_of, forge_of, tell
    from trackside.train.job import remote_env

    forge = forge_of(context, "retrain")
    credentials = remote_env(context.env.get("TRACKSIDE_REMOTE_ENV", ""))
    for secret in credentials.values():
        context.commands.mask(secret)
    page = f"{context.need('GITHUB_SERVER_URL')}/{forge.repository}"
    with tempfile.TemporaryDirectory(prefix="trackside-") as folder:
        job = RetrainJob(
            forge=forge,
            app=app_of(context, "app-token", "retrain", forge.repository),
            processes=context.processes,
            page=page,
            token=context.value("github-token", "retrain"),
            workdir=Path(folder),
            models=names_of(context.value("models", "retrain")),
            credentials=credentials,
            plan_workflow=context.value("plan-workflow", "retrain"),
            actor=context.actor,
            dry_run=context.flag("dry-run", "retrain"),
        )
        result, done = retrain(event_of(context), job)
    out = Path(context.value("out", "retrain"))
    out.mkdir(parents=True, exist_ok=True)
    for one in done:
        context.say(f"{one.model}: {one.decision.action} ({one.decision.reason_code}) {one.decision.message}")
        tell(context, one.applied)
        if one.proposal is not None:
            (out / f"{one.model}.proposal.json").write_bytes(dump(one.proposal))
    (out / "result.json").write_bytes(dump(result))
    return result


def app_of(context: Context, name: str, action: str, repository: str) -> GithubForge | None:
    """An adapter with the token of a GitHub App, where that input is set."""
    from trackside.forge.github import GithubForge

    token = context.value(name, action)
    if not token:
        return None
    context.commands.mask(token)
    return GithubForge(repository, token, context.need("GITHUB_API_URL"))


def names_of(text: str) -> tuple[str, ...]:
    """Model names from a JSON list, as the drift check's output `propose` has them. Raises ConfigError."""
    if not text.strip():
        return ()
    try:
        made = json.loads(text)
    except ValueError:
        made = None
    if not isinstance(made, list) or not all(isinstance(one, str) for one in made):
        raise ConfigError("input `models` is no JSON list of names", remedy='such as ["delay"]', link=LINK)
    return tuple(dict.fromkeys(made))
