"""The code of a run, in a repository of its own that borrows the objects of a clone and writes nothing into it."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from trackside.config.load import load as load_config
from trackside.config.model import CONFIG_FILE, Model, TrainPolicy
from trackside.documents.run import Run
from trackside.errors import ConfigError, DataError, Refused, ToolError
from trackside.plan.objects import GitTree, git_env
from trackside.plan.pipeline import PipelineInputs, pipeline_inputs
from trackside.system.process import Processes

LINK = "reproduce.md"
FETCH_SECONDS = 1800.0
_SHA = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")


@dataclass(frozen=True, kw_only=True)
class Code:
    """A commit whose inputs are those of the run; `origin` says where it was found, `notes` what is unusual."""

    commit: str
    origin: str
    tree: GitTree
    model: Model
    train: TrainPolicy
    inputs: PipelineInputs
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Repository:
    """The repository at `folder`. `clone` lends its objects; `url` is asked for commits that it lacks.

    `processes` have the user's own environment, so that his credentials for git count; `token` is sent to `url` alone.
    """

    folder: Path
    clone: Path | None
    url: str
    processes: Processes
    token: str = ""

    def prepare(self) -> None:
        """Make it, empty."""
        self._git("init", "--quiet", "--template=", str(self.folder), here=False)
        if self.clone is None:
            return
        for name, target in (("objects", "objects/info/alternates"), ("shallow", "shallow")):
            words = ["-C", str(self.clone), "rev-parse", "--path-format=absolute", "--git-path", name]
            found = Path(self._git(*words, here=False))
            path = self.folder / ".git" / target
            path.parent.mkdir(parents=True, exist_ok=True)
            if name == "objects":
                path.write_text(f"{found}\n")
            elif found.is_file():
                path.write_bytes(found.read_bytes())

    def has(self, commit: str) -> bool:
        """Whether a commit and all its files are here: a partial clone lacks some."""
        if not _SHA.fullmatch(commit):
            return False
        words = ["git", "-C", str(self.folder), "ls-tree", "-r", "-l", "-z", commit]
        done = self.processes.run(words, env=git_env(self.processes.env), check=False, timeout=300)
        rows = done.stdout.split(b"\0")
        return done.returncode == 0 and not any(row.partition(b"\t")[0].endswith(b" BAD") for row in rows)

    def author(self, commit: str) -> str:
        """Who says to have written a commit."""
        return self._git("log", "-1", "--format=%an <%ae>", commit)

    def fetch(self, commit: str) -> None:
        """Bring one commit. Raises ToolError: there is no such commit, or nobody to ask."""
        if not self.url:
            raise ToolError("this clone has no remote called origin", reason_code="commit_gone")
        if self._half(commit):
            (self.folder / ".git" / "objects" / "info" / "alternates").unlink(missing_ok=True)
        env = {**self.processes.env, "GIT_TERMINAL_PROMPT": "0"}
        if self.token and self.url.startswith(("https://", "http://")):
            pair = base64.b64encode(f"x-access-token:{self.token}".encode()).decode()
            header = {f"http.{self.url}.extraheader": f"Authorization: Basic {pair}"}
            env |= {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": next(iter(header))}
            env["GIT_CONFIG_VALUE_0"] = next(iter(header.values()))
        options = ["--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--depth=1"]
        words = ["git", "-C", str(self.folder), "-c", "core.hooksPath=/dev/null", "fetch", *options, "--", self.url]
        self.processes.run([*words, f"{commit}:refs/trackside/{commit}"], env=env, timeout=FETCH_SECONDS)

    def _half(self, commit: str) -> bool:
        """Whether a commit is here without all of its files: then origin would send nothing."""
        words = ["git", "-C", str(self.folder), "cat-file", "-e", commit]
        return self.processes.run(words, env=git_env(self.processes.env), check=False, timeout=60).returncode == 0

    def checkout(self, commit: str) -> None:
        """Put the files of a commit in place. Raises DataError where some are nowhere."""
        try:
            self._git("checkout", "--quiet", "--force", "--detach", commit)
        except ToolError as error:
            raise DataError(
                f"the files of commit {commit[:12]} are not all here",
                why=error.log.strip()[-300:],
                remedy="git fetch --refetch --no-filter origin, in the clone",
                link=LINK,
                reason_code="commit_gone",
            ) from error

    def _git(self, *words: str, here: bool = True) -> str:
        place = ["-C", str(self.folder)] if here else []
        env = git_env(self.processes.env)
        return self.processes.run(["git", *place, *words], env=env, timeout=600).text.strip()


def find_code(repository: Repository, run: Run, commits: Sequence[str], policy: str = "") -> Code:
    """The first of these commits that is to be had, held against the input digest that the run recorded.

    Args:
        commits: the recorded one first; others count, since equal digests mean equal inputs.
        policy: today's `trackside.yaml`, for commits that have none.

    Raises:
        DataError: none is left (`commit_gone`), or the run trained what was never committed (`uncommitted`).
        Refused: the record does not fit its commit (`digest_mismatch`).
        ConfigError: no `trackside.yaml` has the model.
    """
    wanted = list(dict.fromkeys(one for one in commits if _SHA.fullmatch(one)))
    here = [one for one in wanted if repository.has(one)]
    why = ""
    for commit in [*here, *(one for one in wanted if one not in here)]:
        if commit not in here:
            try:
                repository.fetch(commit)
            except ToolError as error:
                why = why or (error.log.strip().rpartition("\n")[2] or error.message)[-300:]
                continue
        return _fitting(repository, run, commit, policy, "this clone" if commit in here else "origin")
    raise DataError(
        f"commit {run.source.commit[:12]}, which run {run.id} trained, is neither here nor at origin",
        why=why,
        remedy="fetch it from wherever it is left: git fetch REMOTE COMMIT",
        link=LINK,
        reason_code="commit_gone",
    )


def _fitting(repository: Repository, run: Run, commit: str, policy: str, origin: str) -> Code:
    tree = GitTree.open(repository.folder, commit, repository.processes)
    seen: PipelineInputs | None = None
    problem: ConfigError | None = None
    base = _base(repository, run.source.base_commit)
    for text in _policies(base, tree, policy):
        try:
            config = load_config(text)
            model = config.model(run.model)
            if model is None:
                continue
            inputs = pipeline_inputs(tree, model, config.train, run.overrides, processes=repository.processes)
        except ConfigError as error:
            problem = problem or error
            continue
        if inputs.digest == run.input_digest:
            train, notes = _passing(config.train, run, base, policy)
            if commit != run.source.commit:
                notes = (
                    *notes,
                    f"commit {run.source.commit[:12]} is gone; {commit[:12]} has the same inputs",
                )
            return Code(
                commit=commit,
                origin=origin,
                tree=tree,
                model=model,
                train=train,
                inputs=inputs,
                notes=notes,
            )
        seen = seen or inputs
    if seen is not None:
        raise _unlike(run, commit, seen)
    raise problem or ConfigError(
        f"no {CONFIG_FILE} of commit {commit[:12]} or of today has the model {run.model!r}",
        link=LINK,
        reason_code="model_unknown",
    )


def _base(repository: Repository, base: str) -> str | None:
    """`trackside.yaml` as the default branch had it when the run was planned; None where that commit is nowhere."""
    if not _SHA.fullmatch(base):
        return None
    if not repository.has(base):
        try:
            repository.fetch(base)
        except ToolError:
            return None
    return _text(GitTree.open(repository.folder, base, repository.processes), CONFIG_FILE)


def _policies(base: str | None, tree: GitTree, today: str) -> list[str]:
    """Of the base, of the commit, and of today."""
    return list(dict.fromkeys(text for text in (base, _text(tree, CONFIG_FILE), today) if text))


def _passing(train: TrainPolicy, run: Run, base: str | None, today: str) -> tuple[TrainPolicy, tuple[str, ...]]:
    """The policy with variables that the base's lists too, of a run without a base today's: a commit that somebody
    proposed does not choose what its own code sees. A note names the others.
    """
    judge = base if run.source.base_commit else today
    try:
        allowed = load_config(judge).train.pass_env if judge else ()
    except ConfigError:
        allowed = ()
    left = [name for name in train.pass_env if name not in allowed]
    if not left:
        return train, ()
    why = "today's trackside.yaml does not list them"
    if run.source.base_commit:
        gone = f"is neither here nor at origin: git fetch origin {run.source.base_commit}"
        why = f"base commit {run.source.base_commit[:12]} {gone if base is None else 'does not list them'}"
    kept = replace(train, pass_env=tuple(name for name in train.pass_env if name in allowed))
    return kept, (f"variables of pass-env that stages do not get ({', '.join(left)}): {why}",)


def _text(tree: GitTree, path: str) -> str:
    return tree.read([path])[path].decode("utf-8", "replace") if path in tree.entries else ""


def _unlike(run: Run, commit: str, inputs: PipelineInputs) -> DataError | Refused:
    """Why a commit's inputs are not the recorded ones."""
    then = {one.path: one.digest for one in run.dependencies}
    now = {one.path: one.digest for one in inputs.dependencies}
    other = [path for path in sorted({*then, *now}) if then.get(path) != now.get(path)]
    known = {**inputs.params}
    other += [name for name in sorted({*run.params, *known}) if run.params.get(name) != known.get(name)]
    named = ", ".join(other[:10]) + (f" and {len(other) - 10} more" if len(other) > 10 else "")
    if run.source.dirty:
        return DataError(
            f"run {run.id} trained changes that were never committed",
            why=f"commit {commit[:12]} has other inputs: {named}" if named else "",
            remedy="commit them, then train again",
            link=LINK,
            reason_code="uncommitted",
        )
    return Refused(
        f"run {run.id} does not fit its commit {commit[:12]}: the inputs there have another digest than it recorded",
        why=f"these differ: {named}" if named else "no input differs by name: the digest in the record is another one",
        remedy="find out who changed the record: git log on the data branch",
        link=LINK,
        reason_code="digest_mismatch",
    )
