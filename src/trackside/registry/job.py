"""The register stage: which models a commit of the default branch changed, and their releases. No code is run."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from trackside.app import Context
from trackside.config.model import CONFIG_FILE, Config, DriftPolicy, Model
from trackside.documents.codec import dump
from trackside.documents.release import Release
from trackside.documents.result import Result
from trackside.documents.run import Run
from trackside.errors import ConfigError, DataError, NotFound, Refused, TracksideError
from trackside.event.model import DispatchEvent, Event, PushEvent
from trackside.forge.operations import DispatchWorkflow
from trackside.plan.admit import SHA
from trackside.plan.objects import GitTree
from trackside.plan.pipeline import inputs_of
from trackside.plan.resolve import Job, resolve
from trackside.plan.stage import Ports, policy_of
from trackside.plan.titles import run_title
from trackside.registry.card import card
from trackside.registry.decide import Wish, bump_of, model_of
from trackside.registry.files import RunFiles
from trackside.registry.follow import THEN, TRAINED
from trackside.registry.notes import Facts, notes
from trackside.registry.package import LIMIT, Package
from trackside.registry.read import of_path, parsed
from trackside.registry.release import Known, Registrar, previous, statement_of
from trackside.registry.state import fold
from trackside.system.clock import rfc3339
from trackside.trust.gate import require

if TYPE_CHECKING:
    from trackside.forge.github import GithubForge

LINK = "releases.md"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is registered. `model` is empty for all, `bump` empty for what the pull request's labels say."""

    commit: str
    model: str = ""
    bump: str = ""
    trained: bool = False


@dataclass(frozen=True, kw_only=True)
class RegisterJob:
    """One run of the stage. `limit` is the size in bytes above which files are split."""

    forge: GithubForge
    ports: Ports
    context: Context
    server: str
    credentials: Mapping[str, str]
    train_workflow: str = "train.yml"
    limit: int = LIMIT


def register(event: Event, job: RegisterJob) -> Result:
    """Release what the commit of an event changed.

    Raises:
        Refused: a dispatch names a commit that the default branch does not hold, or its comment does not ask for this.
        ConfigError: the policy or the pipeline of the commit cannot be read.
        ForgeError, ToolError, DataError: of the first model that failed, after the others were tried.
    """
    branch = job.forge.default_branch()
    if isinstance(event, PushEvent) and (event.deleted or event.branch != branch):
        return _ended("skipped", "event_ignored", f"nothing to register for {event.ref}", job)
    if not isinstance(event, PushEvent | DispatchEvent):
        raise ConfigError("actions/register is for push and workflow_dispatch", link=LINK)
    tip = job.forge.head_of(branch)
    asked = _asked(event, job, branch, tip)
    policy = policy_of(job.ports, asked.commit)
    if policy is None:
        return _ended("skipped", "not_configured", f"{asked.commit[:12]} has no {CONFIG_FILE}", job)
    config = policy[0]
    if asked.model and config.model(asked.model) is None:
        known = ", ".join(one.name for one in config.models)
        raise ConfigError(
            f"{CONFIG_FILE} has no model {asked.model[:100]!r}",
            remedy=f"known models: {known}",
            reason_code="model_unknown",
        )
    return _Registration(job, config, asked, branch, tip).run()


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
        bump = _said(given["comment"], commit, job)
    elif bump:
        from trackside.command.evidence import by_hand

        by_hand("release", job.context.actor, job.forge, _policy(job, branch))
    return Asked(commit=commit, model=given.get("model", ""), bump=bump, trained=given.get("reason") == TRAINED)


def _said(comment: str, commit: str, job: RegisterJob) -> str:
    """The step that a maintainer's `/release` names, read again from the comment. Raises Refused."""
    from trackside.command.evidence import read_again

    config = _policy(job, job.forge.default_branch())
    asked = read_again(comment, job.forge, config, now=job.ports.clock.now(), names=("release",))
    pull = job.forge.pull(asked.issue)
    if not pull.merged or pull.merge_sha != commit:
        raise Refused(f"#{asked.issue} did not bring {commit[:12]}", link=LINK, reason_code="identity_mismatch")
    return asked.command.bump


def _policy(job: RegisterJob, branch: str) -> Config:
    """Who may what is the default branch's to say, not the released commit's."""
    policy = policy_of(job.ports, branch)
    return policy[0] if policy else Config(models=())


class _Registration:
    """All models of one commit, one after the other."""

    def __init__(self, job: RegisterJob, config: Config, asked: Asked, branch: str, tip: str) -> None:
        self.job, self.config, self.asked, self.branch, self.tip = job, config, asked, branch, tip
        self.ports, self.forge = job.ports, job.forge
        self.released: list[Release] = []
        self.codes: list[str] = []
        self.dispatched: list[str] = []
        self.errors: list[TracksideError] = []
        self.models: dict[str, Path] = {}

    def run(self) -> Result:
        self.ports.fetch([self.asked.commit])
        self.tree = GitTree.open(self.ports.git_dir, self.asked.commit, self.ports.processes)
        (pipeline,) = resolve(
            self.ports.git_dir, [Job(commit=self.asked.commit, overrides={})], processes=self.ports.processes
        )
        if isinstance(pipeline, ConfigError):
            raise pipeline
        for model in self.config.models:
            if self.asked.model not in ("", model.name):
                continue
            try:
                inputs = inputs_of(self.tree, pipeline, model, self.config.train)
                self.codes.append(self._model(model, inputs.digest))
            except TracksideError as error:  # the other models have their turn all the same
                self.errors.append(error)
                self.job.context.commands.annotate("error", error.message, title=f"register {model.name}")
        if self.errors:
            raise self.errors[0]
        return self._result()

    def _model(self, model: Model, digest: str) -> str:
        """Release one model; returns what became of it as a reason code."""
        say = self.job.context.say
        run = self.ports.store.run_for_inputs(model.name, digest)
        if run is None:
            return self._train(model.name, digest)
        merged = self.forge.merged_by(self.asked.commit)
        pull = next((one for one in merged if one.base_ref == self.branch), None)
        wish = Wish(
            run=run,
            commit=self.asked.commit,
            bump=bump_of(pull.labels if pull else (), self.asked.bump),
            pull_request=pull.number if pull else None,
            now=rfc3339(self.ports.clock.now()),
        )
        known = self._known(model.name)
        decision = self._registrar(model, run).release(wish, known)
        if decision.kind == "superseded":
            say(f"{model.name}: a newer commit has {decision.release.tag} already")
            return "superseded"
        say(f"{decision.release.tag}: {decision.kind}")
        if decision.release.commit == self.asked.commit or decision.kind == "resume":
            self.released.append(decision.release)
        return "model_unchanged" if decision.kind == "unchanged" else "released"

    def _train(self, model: str, digest: str) -> str:
        """No run answers these inputs: start one, which comes back here when it has succeeded."""
        if self.asked.trained:
            self.job.context.say(f"{model}: its training run is not recorded as an answer to these inputs")
            return "run_missing"
        if self.asked.commit != self.tip:
            self.job.context.say(f"{model}: {self.branch} has moved on, and its tip is registered on its own")
            return "superseded"
        title = run_title(model, pull=None, head=self.tip, digest=digest) + THEN
        inputs = {"model": model, "title": title, "commit": self.tip, "input-digest": digest}
        (started,) = self.forge.apply(
            [DispatchWorkflow(workflow=self.job.train_workflow, ref=self.branch, inputs=inputs, unless_title=title)]
        )
        if started.outcome == "failed":
            raise NotFound(
                f"training of {model} could not be started",
                why=started.error,
                remedy="copy workflows/train.yml to .github/workflows of the default branch",
                link="train.md",
                reason_code=started.reason_code,
            )
        self.dispatched.append(model)
        self.job.context.say(f"{model}: no run answers these inputs; training started {started.url}".rstrip())
        return "training_dispatched"

    # The registry of one model

    def _known(self, model: str) -> Known:
        """Records by one fetch of the data branch, version tags by one call."""
        records = []
        try:
            (at,) = self.ports.fetch([f"refs/heads/{self.config.data_branch}"])
        except NotFound:
            at = ""
        if at:
            tree = GitTree.open(self.ports.git_dir, at, self.ports.processes)
            for path, data in tree.read(one for one in tree.under(f"releases/{model}") if of_path(one)).items():
                try:
                    records.append(parsed(path, data))
                except DataError as error:
                    raise DataError(
                        f"{path} of {self.config.data_branch} is damaged",
                        why=error.why,
                        remedy="restore it from the branch's history",
                        link=LINK,
                        reason_code="document_invalid",
                    ) from error
        return Known(records=tuple(records), taken=fold(self.forge.tags(f"{model}@v")).taken(model))

    def _registrar(self, model: Model, run: Run) -> Registrar:
        def pack(release: Release, known: Known) -> tuple[Package, str]:
            return self._pack(release, known, model, run)

        return Registrar(
            forge=self.forge,
            branch=self.config.data_branch,
            read_again=lambda: self._known(model.name),
            inspect=lambda: self._inspect(model, run),
            pack=pack,
            server=self.job.server,
            say=self.job.context.say,
        )

    def _inspect(self, model: Model, run: Run) -> None:
        """Nobody can be sure of a model that runs code when it is loaded: it gets no version. Raises Refused."""
        path = self._model_file(run, self._files(run, self.tree))
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                require(file, model.trusted_imports)

    def _model_file(self, run: Run, files: RunFiles) -> Path:
        """The run's model, fetched once."""
        if run.id not in self.models:
            self.models[run.id] = files.artifact(run, model_of(run).path)
        return self.models[run.id]

    @cached_property
    def _dvc_config(self) -> str:
        return (self.forge.file(".dvc/config", self.tip) or b"").decode("utf-8", "replace")

    def _files(self, run: Run, tree: GitTree) -> RunFiles:
        return RunFiles(
            dvc_config=self._dvc_config,
            folder=Path(tempfile.mkdtemp(prefix="run-", dir=self.ports.workdir)),
            processes=self.ports.processes,
            credentials=self.job.credentials,
            tree=tree,
        )

    def _pack(self, release: Release, known: Known, model: Model, run: Run) -> tuple[Package, str]:
        """The files of a version and its notes: the same bytes in every attempt, by whichever commit's job."""
        tree = self.tree
        if release.commit != self.asked.commit:  # begun for an older commit of the same inputs: by its own words
            self.ports.fetch([release.commit])
            tree = GitTree.open(self.ports.git_dir, release.commit, self.ports.processes)
            policy = policy_of(self.ports, release.commit)
            model = (policy[0].model(model.name) if policy else None) or model
        before = previous(release, known.records)
        facts = Facts(
            release=release,
            run=run,
            model=model,
            web_url=self.ports.web_url,
            before=before,
            before_run=self.ports.store.run(model.name, before.run) if before else None,
        )
        folder = Path(tempfile.mkdtemp(prefix="release-", dir=self.ports.workdir))
        files = self._files(run, tree)
        package = Package(folder=folder, limit=self.job.limit)
        artifact = model_of(run)
        package.add_model(self._model_file(run, files), artifact.path, artifact.digest)
        package.add("run", "run.json", dump(run))
        package.add("statement", "provenance.intoto.json", statement_of(run, self.job.server))
        if model.drift is not None:
            package.add("profile", "drift-profile.json", _profile(model.name, model.drift, run, files))
        golden = model.image.golden if model.image is not None else ""
        if any(one.path == golden for one in run.artifacts):  # recorded by the run: what the image must answer
            package.add("golden", "golden.jsonl", files.artifact(run, golden).read_bytes(), "application/jsonl")
        package.add("card", "README.md", card(facts).encode(), "text/markdown")
        listed = replace(facts, release=msgspec.structs.replace(release, assets=package.assets))
        return package, notes(listed)

    def _result(self) -> Result:
        released = [{"model": one.model, "version": one.version, "tag": one.tag} for one in self.released]
        order = ("released", "training_dispatched", "run_missing", "superseded", "model_unchanged")
        code = "released" if released else next((one for one in order if one in self.codes), "model_unchanged")
        return _ended(
            "done" if released or self.dispatched else "skipped",
            code,
            ", ".join(one.tag for one in self.released) or "no model changed",
            self.job,
            released=released,
            dispatched=self.dispatched,
            commit=self.asked.commit,
            urls={one.tag: one.url for one in self.released if one.url},
        )


def _profile(model: str, policy: DriftPolicy, run: Run, files: RunFiles) -> bytes:
    """What drift is measured against: the reference table of this very run."""
    from trackside.drift.importance import with_importance
    from trackside.drift.profile import build

    path = policy.reference
    made = build(files.artifact(run, path), policy, model)
    if policy.importance:
        made = with_importance(made, files.artifact(run, policy.importance))
    digests = {one.path: one.digest for one in run.dependencies} | {one.path: one.digest for one in run.artifacts}
    return dump(msgspec.structs.replace(made, source=path, digest=digests.get(path, "")))


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


def stage_register(context: Context) -> Result:
    """`actions/register`: release what the tip of the default branch changed, then write down what came of it."""
    from trackside.stages import event_of, forge_of, plan_ports
    from trackside.train.job import remote_env

    forge = forge_of(context, "register")
    credentials = remote_env(context.env.get("TRACKSIDE_REMOTE_ENV", ""))
    for secret in credentials.values():
        context.commands.mask(secret)
    with tempfile.TemporaryDirectory(prefix="trackside-") as folder:
        job = RegisterJob(
            forge=forge,
            ports=plan_ports(context, forge, Path(folder)),
            context=context,
            server=context.need("GITHUB_SERVER_URL"),
            credentials=credentials,
            train_workflow=context.value("train-workflow", "register"),
        )
        result = register(event_of(context), job)
    out = Path(context.value("out", "register"))
    out.mkdir(parents=True, exist_ok=True)
    (out / "result.json").write_bytes(dump(result))
    if result.urls:
        context.commands.summary("\n".join(f"- [{tag}]({url})" for tag, url in result.urls.items()) + "\n")
    return result
