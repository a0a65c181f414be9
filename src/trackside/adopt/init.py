"""`trackside init`: look at the repository, draft what is missing, write it without overwriting."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path

from trackside.adopt import draft
from trackside.adopt.files import Change, planned, write
from trackside.adopt.guess import Candidate, candidates
from trackside.adopt.scan import Stage, Tree, scan
from trackside.app import Context
from trackside.config.load import load
from trackside.config.model import CONFIG_FILE
from trackside.errors import ConfigError
from trackside.system.process import Processes

WORKFLOWS = ".github/workflows"
OWN = re.compile(r"uses:\s*trackside-ml/trackside(/[\w/-]+)?@")
BRANCHES = "branches: [main, master]"
"""How a shipped workflow names the default branch."""
LINK = "quickstart.md"
_ASIDE = re.compile(r"(^|[^a-z])(dev|tests?|serv\w*|deploy\w*|docs?|lint)([^a-z]|$)", re.IGNORECASE)
_SAID = {"write": "wrote", "replace": "replaced", "keep": "kept", "same": "same"}
_WOULD = {"write": "would write", "replace": "would replace", "keep": "would keep", "same": "same"}


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What the command line asked for."""

    command: str = ""
    outputs: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    dry_run: bool = False
    force: bool = False


def init(context: Context, root: Path, wish: Wish) -> int:
    """Write `trackside.yaml`, the workflows and, with a command, a `dvc.yaml`.

    Raises:
        ConfigError: there is no pipeline and no command, no model can be found, or a file is in the way.
    """
    root = root.resolve()
    _at_the_top(root)
    tree = scan(root)
    wanted = _pipeline(tree, wish)
    models: tuple[Candidate, ...] = ()
    if not (root / CONFIG_FILE).is_file() or (root / CONFIG_FILE).is_symlink():
        models, wanted[CONFIG_FILE] = _policy(tree, wish)
    elif wish.force:
        said = f"{CONFIG_FILE} stays: it is yours; delete it to have a new one drafted"
        tree = replace(tree, notes=(*tree.notes, said))
    notes: dict[str, str] = {}
    branch = _default_branch(context.processes, root)
    for name in workflow_names():
        path = f"{WORKFLOWS}/{name}"
        wanted[path] = shipped_workflow(name).replace(BRANCHES, f"branches: [{branch}]" if branch else BRANCHES)
        notes[path] = _why_kept(root / path)
    changes = planned(root, wanted, force=wish.force, notes=notes)
    if not wish.dry_run:
        write(root, changes)
    tree = replace(tree, notes=(*tree.notes, *_tracked(context.processes, root, wish)))
    if context.json:
        context.say(json.dumps(_document(tree, models, changes, dry_run=wish.dry_run), indent=2))
    else:
        _tell(context, tree, models, changes, wish)
    return 0


def _default_branch(processes: Processes, root: Path) -> str:
    """The default branch as the clone knows it, where it is neither `main` nor `master`; empty otherwise."""
    done = processes.run(["git", "-C", root, "symbolic-ref", "--quiet", "refs/remotes/origin/HEAD"], check=False)
    name = done.text.strip().removeprefix("refs/remotes/origin/") if done.returncode == 0 else ""
    return "" if name in ("", "main", "master") else draft.scalar(name)


def _at_the_top(root: Path) -> None:
    """Workflows and policy count at the repository's root only. Raises ConfigError elsewhere."""
    top = next((folder for folder in (root, *root.parents) if (folder / ".git").exists()), root)
    if top != root:
        raise ConfigError(
            f"{root} is a folder within a repository",
            why="GitHub reads workflows at the repository's root only, and Trackside its policy",
            remedy=f"cd {top}; pipelines in folders are found from there",
            link=LINK,
        )


def _tracked(processes: Processes, root: Path, wish: Wish) -> list[str]:
    """Outputs of a new pipeline that git tracks: DVC would refuse to run."""
    if not wish.command:
        return []
    done = processes.run(["git", "-C", root, "ls-files", "-z", "--", *wish.outputs], check=False)
    names = [name for name in done.text.split("\0") if name] if done.returncode == 0 else []
    return [
        f"git tracks {name}, which DVC will keep from now on: git rm --cached {shlex.quote(name)}" for name in names
    ]


def workflow_names() -> tuple[str, ...]:
    """The shipped workflows."""
    shipped = (files("trackside") / "shipped/workflows").iterdir()
    return tuple(sorted(one.name for one in shipped if one.name.endswith(".yml")))


def shipped_workflow(name: str) -> str:
    """A shipped workflow's text: actions pinned to commits, permissions stated."""
    return (files("trackside") / "shipped/workflows" / name).read_text(encoding="utf-8")


def _why_kept(path: Path) -> str:
    if path.is_file() and not path.is_symlink() and not OWN.search(path.read_text(encoding="utf-8", errors="replace")):
        return "not Trackside's: rename it, since pull requests start a workflow of this name, then run init again"
    return "differs from the shipped one: --dry-run --force shows how, --force replaces it"


def _pipeline(tree: Tree, wish: Wish) -> dict[str, str]:
    """`dvc.yaml` and what `dvc init` writes, where a command was given; nothing where there are stages."""
    if not wish.command:
        if not tree.stages and not (tree.root / CONFIG_FILE).exists():
            raise _no_pipeline(tree)
        return {}
    if tree.stages:
        raise ConfigError(
            f"{tree.pipelines[0]} has stages already: --command is for repositories without a pipeline",
            remedy="dvc stage add, or leave --command out",
            link=LINK,
        )
    if len(wish.outputs) != 1:
        raise ConfigError("--command needs one --output: the model file that it writes", remedy="--output model.pkl")
    text = draft.pipeline(
        wish.command, output=wish.outputs[0], metrics=wish.metrics, inputs=wish.inputs, root=tree.root
    )
    wanted = {"dvc.yaml": text}
    if not tree.dvc:
        wanted |= {".dvc/config": "", ".dvc/.gitignore": draft.IGNORED_BY_DVC}
    return wanted


def _no_pipeline(tree: Tree) -> ConfigError:
    script = tree.scripts[0] if tree.scripts else "train.py"
    return ConfigError(
        f"there is no pipeline in {tree.root}: no dvc.yaml with stages",
        why="Trackside trains DVC pipelines; a first one can be written around the command that trains today",
        remedy=f'trackside init --command "python {script}" --output model.pkl --metrics metrics.json\n'
        "--input names data and code that it reads, as often as needed",
        link=LINK,
        reason_code="pipeline_missing",
    )


def _policy(tree: Tree, wish: Wish) -> tuple[tuple[Candidate, ...], str]:
    """The models found and a `trackside.yaml` of them, which loads. Raises ConfigError."""
    models = _of_command(tree, wish) if wish.command else candidates(tree, wish.outputs)
    if not models:
        raise _no_model(tree, wish)
    text = draft.config(models, lock=_lock(tree))
    load(text)
    return models, text


def _of_command(tree: Tree, wish: Wish) -> tuple[Candidate, ...]:
    stage = Stage(name="train", outs=wish.outputs, metrics=wish.metrics)
    around = Tree(root=tree.root, dvc=True, stages=(stage,), locks=tree.locks)
    return candidates(around, wish.outputs)


def _lock(tree: Tree) -> str:
    """The lock file nearest to the root; one for something else than training only when there is no other."""
    return min(tree.locks, key=lambda path: (bool(_ASIDE.search(path)), path.count("/"), len(path), path), default="")


def _no_model(tree: Tree, wish: Wish) -> ConfigError:
    outs = [out for stage in tree.stages for out in stage.outs]
    listed = ", ".join(outs[:20]) or "none: a stage must list the model file under `outs`"
    what = f"no stage writes {', '.join(wish.outputs)}" if wish.outputs else "no output looks like a model file"
    return ConfigError(
        what,
        why=f"outputs of the pipeline: {listed}",
        remedy=f"trackside init --output {outs[-1] if outs else 'model.pkl'}",
        link=LINK,
        reason_code="model_unknown",
    )


def _tell(context: Context, tree: Tree, models: Sequence[Candidate], changes: Sequence[Change], wish: Wish) -> None:
    from trackside.report.escape import clean_block

    def say(text: str) -> None:
        context.say(clean_block(text))

    for note in tree.notes:
        say(f"note: {note}")
    for model in models:
        named = f"{len(model.metrics)} metrics" if model.metrics else "metrics to be named"
        say(f"found model {model.name}: {model.path}; {named}")
    words = _WOULD if wish.dry_run else _SAID
    for change in changes:
        say(f"{words[change.action]:8} {change.path}" + (f" ({change.note})" if change.note else ""))
        if wish.dry_run and change.action in ("write", "replace"):
            say(change.diff)
    if not tree.remote:
        say("next: a DVC remote for data and models: dvc remote add --default storage s3://BUCKET/PATH")
    say("next: look through trackside.yaml, `trackside check`, commit to the default branch, `trackside doctor`")


def _document(
    tree: Tree, models: Sequence[Candidate], changes: Sequence[Change], *, dry_run: bool
) -> dict[str, object]:
    return {
        "dry-run": dry_run,
        "stages": [stage.name for stage in tree.stages if stage.name],
        "models": [
            {
                "name": model.name,
                "path": model.path,
                "stages": list(model.stages),
                "metrics": {one.name: {"file": one.file, "direction": one.direction} for one in model.metrics},
                "predictions": model.predictions.file if model.predictions else None,
            }
            for model in models
        ],
        "params": sorted({name for stage in tree.stages for name in stage.params}),
        "requirements": _lock(tree),
        "files": [
            {"path": one.path, "action": one.action, "note": one.note, "diff": one.diff if one.action != "same" else ""}
            for one in changes
        ],
        "notes": list(tree.notes),
    }
