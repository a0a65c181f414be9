"""The models of one commit, each brought to its release: what a run recorded, put together as a version's files."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from trackside.app import Context
from trackside.config.model import CONFIG_FILE, Config, DriftPolicy, Model
from trackside.documents.codec import dump
from trackside.documents.release import Release
from trackside.documents.run import Run
from trackside.errors import ConfigError, NotFound, TracksideError
from trackside.forge.operations import DispatchWorkflow
from trackside.plan.objects import GitTree
from trackside.plan.pipeline import inputs_of
from trackside.plan.resolve import Job, resolve
from trackside.plan.stage import read_policy
from trackside.plan.titles import run_title
from trackside.registry.card import card
from trackside.registry.decide import Wish, bump_of, model_of
from trackside.registry.files import RunFiles
from trackside.registry.follow import THEN
from trackside.registry.ledger import Known, Ledger
from trackside.registry.notes import Facts, notes
from trackside.registry.package import LIMIT, Package
from trackside.registry.release import Registrar, previous, statement_of
from trackside.store.branch import CloneRunStore
from trackside.system.clock import Clock, rfc3339
from trackside.system.process import Processes
from trackside.trust import attest, bom
from trackside.trust.gate import require

if TYPE_CHECKING:
    from trackside.forge.github import GithubForge


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What is registered. `model` is empty for all, `bump` empty for what the pull request's labels say."""

    commit: str
    model: str = ""
    bump: str = ""
    trained: bool = False


@dataclass(frozen=True, kw_only=True)
class RegisterJob:
    """One run of the stage.

    `git_url` is the repository's address for git, `token` is sent to it, `web_url` its page; `workdir` holds what is
    fetched, `out` what later jobs take. `name` is what all attempts of this job have in common, and no other job has.
    `limit` is the size in bytes above which files are split.
    """

    forge: GithubForge
    processes: Processes
    clock: Clock
    git_url: str
    token: str
    web_url: str
    workdir: Path
    out: Path
    context: Context
    server: str
    credentials: Mapping[str, str]
    name: str
    train_workflow: str = "train.yml"
    limit: int = LIMIT

    @property
    def git_dir(self) -> Path:
        """The bare repository."""
        return self.workdir / "objects.git"

    def tree(self, commit: str) -> GitTree:
        """The tree of a commit that was fetched."""
        return GitTree.open(self.git_dir, commit, self.processes)


def policy_in(tree: GitTree) -> Config | None:
    """The policy of a commit; None where it has none. Raises ConfigError."""
    found = read_policy(tree.read([CONFIG_FILE])[CONFIG_FILE] if CONFIG_FILE in tree.entries else None)
    return found[0] if found else None


class Registration:
    """All models of one commit, one after the other.

    Args:
        tip: the default branch's newest commit; like the asked one it was fetched.
    """

    def __init__(self, job: RegisterJob, config: Config, asked: Asked, branch: str, tip: str, ledger: Ledger) -> None:
        self.job, self.config, self.asked, self.branch, self.tip, self.ledger = job, config, asked, branch, tip, ledger
        self.released: list[Release] = []
        self.codes: list[str] = []
        self.dispatched: list[str] = []
        self.tree = job.tree(asked.commit)
        self._models: dict[str, Path] = {}

    def run(self) -> None:
        """Release what is to be released. Raises what the first failing model raised, after the others were tried."""
        job = self.job
        (pipeline,) = resolve(job.git_dir, [Job(commit=self.asked.commit, overrides={})], processes=job.processes)
        if isinstance(pipeline, ConfigError):
            raise pipeline
        errors: list[TracksideError] = []
        for model in self.config.models:
            if self.asked.model not in ("", model.name):
                continue
            try:
                inputs = inputs_of(self.tree, pipeline, model, self.config.train)
                self.codes.append(self._model(model, inputs.digest))
            except TracksideError as error:  # the other models have their turn all the same
                errors.append(error)
                job.context.commands.annotate("error", error.message, title=f"register {model.name}")
        if errors:
            raise errors[0]

    @cached_property
    def _store(self) -> CloneRunStore | None:
        """Run records as the data branch had them at first; None where there is no such branch."""
        at = self.ledger.tip
        return CloneRunStore(self.job.git_dir, at, self.job.processes, branch=self.config.data_branch) if at else None

    def _model(self, model: Model, digest: str) -> str:
        """Release one model; returns what became of it as a reason code."""
        say = self.job.context.say
        gone = self.ledger.known(model.name).deprecated
        if gone:
            say(f"{model.name} is out of use since {gone}: no version; a promotion takes it into use again")
            return "model_deprecated"
        run = self._store.run_for_inputs(model.name, digest) if self._store else None
        if run is None:
            return self._train(model.name, digest)
        wish = Wish(run=run, commit=self.asked.commit, now=rfc3339(self.job.clock.now()))
        decision = self._registrar(model, run).release(wish)
        if decision.kind == "superseded":
            say(f"{model.name}: a newer commit has {decision.release.tag} already")
            return "superseded"
        say(f"{decision.release.tag}: {decision.kind}")
        if decision.release.commit == self.asked.commit or decision.kind == "resume":
            self.released.append(decision.release)
            self._to_attest(decision.release, run)
        return "model_unchanged" if decision.kind == "unchanged" else "released"

    def _to_attest(self, release: Release, run: Run) -> None:
        """What the workflow signs, where this Trackside states the same as the one that released."""
        try:
            attest.write(self.job.out, release, statement_of(run, self.job.server))
        except TracksideError as error:
            self.job.context.say(f"{release.tag}: {error.message}")

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
        (started,) = self.job.forge.apply(
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

    # One model

    def _registrar(self, model: Model, run: Run) -> Registrar:
        def pack(release: Release, known: Known) -> tuple[Package, str]:
            return self._pack(release, known, model, run)

        return Registrar(
            forge=self.job.forge,
            ledger=self.ledger,
            ask=self._merged,
            inspect=lambda: self._inspect(model, run),
            pack=pack,
            server=self.job.server,
            job=self.job.name,
            say=self.job.context.say,
        )

    def _merged(self, wish: Wish) -> Wish:
        """The wish with what the merged pull request says, if one brought the commit."""
        merged = self.job.forge.merged_by(self.asked.commit)
        pull = next((one for one in merged if one.base_ref == self.branch), None)
        bump = bump_of(pull.labels if pull else (), self.asked.bump)
        return replace(wish, bump=bump, pull_request=pull.number if pull else None)

    def _inspect(self, model: Model, run: Run) -> None:
        """Nobody can be sure of a model that runs code when it is loaded: it gets no version. Raises Refused."""
        path = self._model_file(run, self._files(run, self.tree))
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                require(file, model.trusted_imports)

    def _model_file(self, run: Run, files: RunFiles) -> Path:
        """The run's model, fetched once."""
        if run.id not in self._models:
            self._models[run.id] = files.artifact(run, model_of(run).path)
        return self._models[run.id]

    @cached_property
    def _dvc_config(self) -> str:
        """The default branch says where data lies, not the released commit."""
        tree = self.tree if self.tip == self.asked.commit else self.job.tree(self.tip)
        path = ".dvc/config"
        return (tree.read([path])[path] if path in tree.entries else b"").decode("utf-8", "replace")

    def _files(self, run: Run, tree: GitTree) -> RunFiles:
        return RunFiles(
            dvc_config=self._dvc_config,
            folder=Path(tempfile.mkdtemp(prefix="run-", dir=self.job.workdir)),
            processes=self.job.processes,
            credentials=self.job.credentials,
            tree=tree,
        )

    def _pack(self, release: Release, known: Known, model: Model, run: Run) -> tuple[Package, str]:
        """The files of a version and its notes: the same bytes in every attempt, by whichever commit's job."""
        tree = self.tree
        if release.commit != self.asked.commit:  # begun for an older commit of the same inputs: by its own words
            self.ledger.remote.fetch([release.commit])
            tree = self.job.tree(release.commit)
            policy = policy_in(tree)
            model = (policy.model(model.name) if policy else None) or model
        before = previous(release, known.records)
        facts = Facts(
            release=release,
            run=run,
            model=model,
            web_url=self.job.web_url,
            before=before,
            before_run=self._store.run(model.name, before.run) if before and self._store else None,
        )
        folder = Path(tempfile.mkdtemp(prefix="release-", dir=self.job.workdir))
        files = self._files(run, tree)
        package = Package(folder=folder, limit=self.job.limit)
        artifact, stated = model_of(run), statement_of(run, self.job.server)
        package.add_model(self._model_file(run, files), artifact.path, artifact.digest)
        package.add("run", "run.json", dump(run))
        package.add("statement", "provenance.intoto.json", stated)
        if model.drift is not None:
            package.add("profile", "drift-profile.json", _profile(model.name, model.drift, run, files))
        golden = model.image.golden if model.image is not None else ""
        if any(one.path == golden for one in run.artifacts):  # recorded by the run: what the image must answer
            package.add("golden", "golden.jsonl", files.artifact(run, golden).read_bytes(), "application/jsonl")
        lock = run.environment.lock_file
        texts = tree.read([lock])[lock].decode("utf-8", "replace") if lock in tree.entries else ""
        listed = bom.bom(release, run, model, web_url=self.job.web_url, statement=stated, lock=texts)
        package.add("bom", bom.NAME, listed, bom.MEDIA_TYPE)
        package.add("card", "README.md", card(facts).encode(), "text/markdown")
        return package, notes(replace(facts, release=msgspec.structs.replace(release, assets=package.assets)))


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
