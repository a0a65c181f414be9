"""The drift stage: every watched model against the version in use; history, reports, issue or check. No code is run."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from trackside.app import Context
from trackside.config.model import CONFIG_FILE, Config, DriftPolicy, Model
from trackside.documents.codec import dump, load
from trackside.documents.profile import Profile, intact
from trackside.documents.result import Result
from trackside.drift import render
from trackside.drift.check import Asked, check
from trackside.drift.course import classified
from trackside.drift.history import streak
from trackside.drift.profile import MAX_BYTES
from trackside.drift.seasons import Seasons
from trackside.drift.tell import CONCLUSIONS, Checked, exit_code, told
from trackside.errors import ConfigError, DataError, NotFound, Refused, TracksideError
from trackside.forge.operations import Applied, Operation
from trackside.performance.labels import labels_policy
from trackside.plan.objects import GitTree
from trackside.plan.stage import Ports
from trackside.registry import read
from trackside.registry.stage_tags import StageTags
from trackside.store import drift as store
from trackside.system.clock import rfc3339
from trackside.system.workflow import Level
from trackside.tables.placeholders import parse_date
from trackside.tables.sources import Data, Places, gather

if TYPE_CHECKING:
    from trackside.forge.github import GithubForge

LINK = "drift.md"
FAIL_ON = ("drift", "invalid", "never")


@dataclass(frozen=True, kw_only=True)
class DriftJob:
    """One run of the stage. `as_of` is empty for today, `model` for all; `comment` is the one that asked, if any."""

    forge: GithubForge
    ports: Ports
    places: Callable[[str], Places]
    out: Path
    model: str = ""
    as_of: str = ""
    comment: str = ""
    fail_on: str = "invalid"
    dry_run: bool = False
    workflow_run: str = ""
    say: Callable[[str], None] = print
    note: Callable[[Level, str, str], None] = lambda level, title, text: None
    summary: Callable[[str], object] = lambda text: None


def drift(job: DriftJob) -> Result:
    """Check every model that watches drift, then write it all down.

    A model whose check fails (its source, its release) does not stop the others: the result then is `failed` with the
    code of the first, and still names the models to retrain.

    Raises:
        ConfigError: no policy, or no such model.
        Refused: the comment does not ask for this (any longer).
        ForgeError: GitHub failed.
    """
    if job.fail_on not in FAIL_ON:
        raise ConfigError(f"fail-on {job.fail_on[:40]!r} is none of {', '.join(FAIL_ON)}", link=LINK)
    branch = job.forge.default_branch()
    tip = job.forge.head_of(branch)
    text = job.forge.file(CONFIG_FILE, tip)
    if text is None:
        raise ConfigError(f"the default branch has no {CONFIG_FILE}", link=LINK, reason_code="not_configured")
    from trackside.config.load import load as load_config

    config = load_config(text.decode("utf-8", "replace"))
    _asked_for(job, config)
    models = _chosen(config, job.model)
    today = job.ports.clock.now().date().isoformat()
    as_of = parse_date(job.as_of).isoformat() if job.as_of else today
    if as_of > today:
        raise ConfigError(
            f"{as_of} has not come yet",
            why="a verdict of a later day would keep all checks before it quiet",
            remedy=f"as-of {today} or an earlier day",
            link=LINK,
        )
    if not models:
        return Result(
            command="drift",
            decision="skipped",
            reason_code="drift_not_configured",
            message=f"no model of {CONFIG_FILE} watches drift",
            values={"verdict": {}, "propose": []},
            api_calls=job.forge.calls,
        )
    return _Check(job, config, tip, as_of).run(models)


def _asked_for(job: DriftJob, config: Config) -> None:
    """A check that a comment asks for is one that it still asks for. Raises Refused."""
    if not job.comment:
        return
    from trackside.command.evidence import read_again

    asked = read_again(job.comment, job.forge, config, now=job.ports.clock.now(), names=("drift",))
    if asked.command.action != "check" or asked.command.model != job.model:
        raise Refused(
            f"comment {job.comment} asks for something else", link="commands.md", reason_code="identity_mismatch"
        )


def _chosen(config: Config, name: str) -> list[Model]:
    if not name:
        return [model for model in config.models if model.drift is not None]
    model = config.model(name)
    if model is None:
        known = ", ".join(one.name for one in config.models)
        raise ConfigError(
            f"{CONFIG_FILE} has no model {name[:100]!r}", remedy=f"known models: {known}", reason_code="model_unknown"
        )
    if model.drift is None:
        raise ConfigError(
            f"model {name} watches no drift",
            remedy=f"models:\n  {name}:\n    drift: {{reference: …, current: …}}",
            link=LINK,
            reason_code="drift_not_configured",
        )
    return [model]


class _Check:
    """All models of one run."""

    def __init__(self, job: DriftJob, config: Config, tip: str, as_of: str) -> None:
        self.job, self.config, self.tip, self.as_of = job, config, tip, as_of
        self.now = job.ports.clock.now()
        self.without: dict[str, str] = {}
        self.errors: list[TracksideError] = []

    def run(self, models: list[Model]) -> Result:
        tree = self._records()
        checked: list[Checked] = []
        for model in models:
            try:
                found = self._model(model, tree)
            except TracksideError as error:  # the other models have their turn all the same
                self.errors.append(error)
                self.job.note("error", f"drift {model.name}", error.message)
                self.job.say(error.render())
                continue
            if found is not None:
                checked.append(found)
        self._write(checked)
        applied = self.job.forge.apply(self._operations(checked), dry_run=self.job.dry_run) if checked else ()
        for one in applied:
            self.job.say(
                f"{type(one.operation).__name__}: {one.outcome}{' ' + one.url if one.url else ''} {one.error}".rstrip()
            )
        return self._result(checked, applied)

    def _records(self) -> GitTree | None:
        """The data branch by one fetch; None where there is none yet."""
        try:
            (at,) = self.job.ports.fetch([f"refs/heads/{self.config.data_branch}"])
        except NotFound:
            return None
        return GitTree.open(self.job.ports.git_dir, at, self.job.ports.processes)

    def _model(self, model: Model, tree: GitTree | None) -> Checked | None:
        policy = model.drift
        if policy is None:
            return None
        found = self._reference(model)
        if found is None:
            return None
        profile, version = found
        past = self._history(model.name, policy, tree)
        for problem in past.problems:
            self.job.note("warning", f"drift {model.name}", f"left out of the history: {problem}")
        data: Data | DataError
        try:
            data = gather(policy, self.as_of, self.job.places(model.name))
        except DataError as error:
            data = error
        asked = Asked(
            model=model.name,
            as_of=self.as_of,
            checked_at=rfc3339(self.now),
            version=version,
            commit=self.tip,
            workflow_run=self.job.workflow_run,
        )
        verdict = check(profile, data, policy, asked, labels=self._labels(model.name, policy))
        earlier = past.before(self.as_of)
        verdict = msgspec.structs.replace(
            verdict, courses=classified(verdict, earlier, Seasons.from_document(profile.details.get("seasons")))
        )
        verdict = msgspec.structs.replace(verdict, streak=streak(verdict, earlier))
        recorded = past.of(self.as_of)
        if recorded is not None and store.same(recorded, verdict):
            verdict = recorded
        snooze = past.snoozed(self.now)
        quiet = f"snoozed until {snooze.until}" if snooze else ""
        if not past.newest(self.as_of):
            quiet = "a later day was checked already"
        self.job.say(f"{model.name}: {verdict.verdict}: {render.headline(verdict)}{f' ({quiet})' if quiet else ''}")
        return Checked(model=model, policy=policy, verdict=verdict, recorded=recorded, earlier=earlier, quiet=quiet)

    def _labels(self, model: str, policy: DriftPolicy) -> Data | DataError | None:
        """Labels that arrive apart from the data, where the policy names some."""
        if not policy.labels:
            return None
        places = self.job.places(model)
        try:
            return gather(labels_policy(policy), self.as_of, replace(places, folder=places.folder / "labels"))
        except DataError as error:
            return error

    def _history(self, model: str, policy: DriftPolicy, tree: GitTree | None) -> store.DriftHistory:
        if tree is None:
            return store.DriftHistory()
        folder = store.folder(model)
        if not tree.is_folder(folder):
            return store.DriftHistory()
        retrain = policy.retrain
        limit = max(policy.history, 2 * max(retrain.after, retrain.within) if retrain else 0) + 1
        paths = list(tree.under(folder))
        seasons = store.seasons(model, paths, self.as_of)
        keep = {*store.wanted(model, paths, limit), *seasons, store.verdict_path(model, self.as_of)}
        return store.history(model, tree.read(path for path in paths if path in keep))

    def _reference(self, model: Model) -> tuple[Profile, str] | None:
        """The profile of the version in the last stage, else of the newest; None (told) where there is no version."""
        forge, branch = self.job.forge, self.config.data_branch
        stage = model.promotion[-1] if model.promotion else ""
        held = StageTags(forge, model.name).holder(stage).holder(model.name, stage) if stage else None
        release = read.find(forge, model.name, held or "", branch=branch)
        if release is None:
            self.without[model.name] = "release_missing"
            self.job.note("warning", f"drift {model.name}", "there is no published release to compare with yet")
            return None
        if all(one.role != "profile" for one in release.assets):
            self.without[model.name] = "reference_missing"
            self.job.note(
                "warning",
                f"drift {model.name}",
                f"{release.tag} was released before drift was configured: the next version carries a profile",
            )
            return None
        with tempfile.TemporaryDirectory(dir=self.job.ports.workdir) as folder:
            (path,) = read.fetch(forge, release, "profile", Path(folder))
            return intact(load(Profile, path.read_bytes(), name=path.name, limit=MAX_BYTES)), release.version

    # What comes of it

    def _write(self, checked: list[Checked]) -> None:
        for one in checked:
            folder = self.job.out / one.model.name
            folder.mkdir(parents=True, exist_ok=True)
            shown = one.earlier[: one.policy.history - 1]
            words = render.markdown(one.verdict, shown, link=one.verdict.workflow_run)
            (folder / "verdict.json").write_bytes(dump(one.verdict))
            (folder / "report.md").write_text(words, encoding="utf-8")
            (folder / "report.html").write_text(
                render.page(one.verdict, shown, alpha=one.policy.alpha), encoding="utf-8"
            )
            (folder / "report.svg").write_text(render.picture_of(one.verdict, shown), encoding="utf-8")
            self.job.summary(words)

    def _operations(self, checked: list[Checked]) -> list[Operation]:
        """One commit; then an issue or a check for each model whose drift is not kept quiet."""
        made: list[Operation] = [
            store.operations_for(
                [(one.verdict, one.recorded) for one in checked], now=self.now, branch=self.config.data_branch
            )
        ]
        for one in checked:
            words = told(one, self.tip)
            if words is not None:
                made.append(words)
        return made

    def _result(self, checked: list[Checked], applied: tuple[Applied, ...]) -> Result:
        failed = next((one for one in applied if one.outcome == "failed"), None)
        kinds = {one.model.name: one.verdict.verdict for one in checked}
        worst = max(checked, key=lambda one: list(CONCLUSIONS).index(one.verdict.verdict), default=None)
        code = worst.verdict.reason_code if worst else next(iter(self.without.values()), "drift_not_configured")
        message = "; ".join(f"{one.model.name}: {render.headline(one.verdict)}" for one in checked)
        values: dict[str, object] = {
            "verdict": kinds,
            "propose": [one.model.name for one in checked if one.proposes],
            "as-of": self.as_of,
        }
        if self.errors:
            error = self.errors[0]
            values["exit-code"] = error.exit_code
            code, message = error.reason_code, "; ".join([*(one.message for one in self.errors), message])
        elif failed is None:
            values["exit-code"] = exit_code(kinds, self.job.fail_on)
        return Result(
            command="drift",
            decision="failed" if failed or self.errors else "done" if checked else "skipped",
            reason_code=(failed.reason_code or "forge_failed") if failed else code,
            message=failed.error if failed else message,
            ids={"comment": self.job.comment} if self.job.comment else {},
            urls={type(one.operation).__name__: one.url for one in applied if one.url},
            values=values,
            api_calls=self.job.forge.calls,
        )


def stage_drift(context: Context) -> Result:
    """`actions/drift`: check the watched models, write reports to the output folder, then the result document."""
    from trackside.stages import forge_of, plan_ports
    from trackside.train.job import remote_env

    def given(name: str) -> str:
        return context.value(name, "drift").strip()

    forge = forge_of(context, "drift")
    credentials = remote_env(context.env.get("TRACKSIDE_REMOTE_ENV", ""))
    for secret in credentials.values():
        context.commands.mask(secret)
    out = Path(given("out"))
    run, page = context.need("GITHUB_RUN_ID"), f"{context.need('GITHUB_SERVER_URL')}/{forge.repository}"
    with tempfile.TemporaryDirectory(prefix="trackside-") as folder:
        places = Places(
            root=Path(given("workspace")).resolve(),
            folder=Path(folder),
            processes=context.processes,
            credentials=credentials,
        )
        job = DriftJob(
            forge=forge,
            ports=plan_ports(context, forge, Path(folder)),
            places=lambda model: replace(places, folder=Path(folder) / "data" / model),
            out=out,
            model=given("model"),
            as_of=given("as-of"),
            comment=given("comment"),
            fail_on=given("fail-on"),
            dry_run=context.flag("dry-run", "drift"),
            workflow_run=f"{page}/actions/runs/{run}",
            say=context.say,
            note=lambda level, title, text: context.commands.annotate(level, text, title=title),
            summary=context.commands.summary,
        )
        result = drift(job)
    out.mkdir(parents=True, exist_ok=True)
    (out / "result.json").write_bytes(dump(result))
    return result
