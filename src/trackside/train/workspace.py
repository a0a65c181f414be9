"""The checkout: which commit it is, what its pipeline needs, and whose DVC configuration counts in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trackside.documents.run import Dependency
from trackside.errors import ConfigError, DataError, Refused
from trackside.plan.objects import GitTree, ancestors, git_env
from trackside.plan.overrides import by_file
from trackside.plan.paths import inside
from trackside.plan.pipeline import PipelineInputs, pipeline_inputs
from trackside.report.values import parse
from trackside.system.process import Processes
from trackside.train.dvc import Object
from trackside.train.job import TrainJob
from trackside.train.state import write

LINK = "train.md"


def head_of(workspace: Path, processes: Processes) -> str:
    """The commit that is checked out. Raises ConfigError where there is none yet."""
    words: list[str | Path] = ["git", "-C", workspace, "rev-parse", "--verify", "--quiet", "HEAD^{commit}"]
    found = processes.run(words, env=git_env(processes.env), check=False).text.strip()
    if not found:
        raise ConfigError(f"{workspace} has no commit", remedy='git add --all && git commit -m "Start"', link=LINK)
    return found


def resolved(job: TrainJob, processes: Processes) -> tuple[GitTree, PipelineInputs]:
    """The commit's tree and what its pipeline needs.

    Raises:
        Refused: another commit is checked out, or its inputs have another digest than was planned.
        ConfigError: the pipeline cannot be read, or needs what the tree lacks.
    """
    commit = job.source.commit
    if not job.source.dirty and head_of(job.workspace, processes) != commit:
        raise Refused(f"the checkout is not {commit[:12]}", link=LINK, reason_code="identity_mismatch")
    tree = GitTree.open(job.workspace, commit, processes)
    inputs = pipeline_inputs(tree, job.model, job.train, job.overrides, processes=processes)
    if job.input_digest and inputs.digest != job.input_digest:
        raise Refused("the checkout's inputs have another digest than was planned", reason_code="digest_mismatch")
    if inputs.missing:
        raise ConfigError(
            "the pipeline needs what the tree lacks: " + ", ".join(inputs.missing[:10]),
            remedy="commit these files, or track them with `dvc add`",
            link=LINK,
            reason_code="dependency_missing",
        )
    return tree, inputs


def guard(workspace: Path) -> None:
    """Refuse links in places that Trackside and DVC write to. Raises DataError."""
    for name in (".dvc", ".dvc/cache", ".dvc/tmp", ".dvc/config", ".dvc/config.local"):
        if (workspace / name).is_symlink():
            raise DataError(
                f"{name} is a symbolic link", remedy="commit DVC's own folder as dvc init made it", link=LINK
            )


def use_policy(workspace: Path, text: str) -> list[str]:
    """Put the default branch's `.dvc/config` in force. Returns notes on what had other words."""
    guard(workspace)
    notes = []
    there = workspace / ".dvc" / "config"
    if there.is_file() and there.read_bytes() != text.encode():
        notes.append(".dvc/config differs from the default branch's, which is used")
    local = workspace / ".dvc" / "config.local"
    if local.exists():
        local.unlink()
        notes.append(".dvc/config.local is not used")
    write(there, text.encode())
    return notes


def apply_overrides(workspace: Path, overrides: Mapping[str, Any]) -> None:
    """Write an experiment's parameters into the checkout's params files. The plan checked names and types."""
    if not overrides:
        return
    from dvc.fs import LocalFileSystem
    from dvc.utils.serialize import MODIFIERS, load_path

    from trackside.plan.overrides import apply

    for name, changes in by_file(overrides).items():
        path = contained(workspace, name)
        wanted = apply(load_path(str(path), LocalFileSystem()), changes, file=name)
        with MODIFIERS[path.suffix.lower()](str(path), fs=LocalFileSystem()) as values:
            for key in changes:
                *folders, last = key.split(".")
                old, new = values, wanted
                for folder in folders:
                    old, new = old[folder], new[folder]
                old[last] = new[last]


def contained(workspace: Path, name: str) -> Path:
    """A path of the checkout to write to; no part of it may be a link. Raises DataError."""
    path = workspace / inside("", name, file="the record")
    for folder in ancestors(path.relative_to(workspace).as_posix()):
        if (workspace / folder).is_symlink():
            raise DataError(f"{folder} is a symbolic link; nothing is written through it")
    return path


@dataclass(frozen=True, kw_only=True)
class Pointer:
    """Data that a `.dvc` file tracks. `imported` data comes from where the file says, not from the remote."""

    path: str
    file: str
    obj: Object | None
    imported: bool


def pointers(tree: GitTree, dependencies: list[Dependency]) -> list[Pointer]:
    """The `.dvc` files behind data dependencies."""
    wanted = {one.path for one in dependencies if one.kind in ("data", "external")}
    made = []
    names = [path for path in tree.paths() if path.endswith(".dvc") and not path.endswith("/.dvc")] if wanted else []
    for file, data in tree.read(names).items():
        found = parse(file, data)
        if not isinstance(found, dict):
            continue
        folder = inside(file.rpartition("/")[0], str(found.get("wdir") or "."), file=file)
        for out in found.get("outs") or []:
            path = inside(folder, str(out.get("path", "")), file=file)
            if path in wanted:
                md5 = out.get("md5")
                obj = Object(digest=f"md5:{md5}", legacy=out.get("hash") != "md5") if isinstance(md5, str) else None
                made.append(Pointer(path=path, file=file, obj=obj, imported=bool(found.get("deps"))))
    return made
