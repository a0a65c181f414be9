"""Commands for a laptop: check the configuration, train and report on the own branch, write the first files."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from trackside.app import Context
from trackside.config.load import load_file
from trackside.config.model import CONFIG_FILE, Config, Model
from trackside.documents.run import Run
from trackside.errors import ConfigError, GateFailed
from trackside.system.process import Processes


def config_of(root: Path) -> Config:
    """The work tree's own `trackside.yaml`. Raises ConfigError."""
    path = root / CONFIG_FILE
    if not path.is_file():
        raise ConfigError(
            f"there is no {CONFIG_FILE} in {root.resolve()}",
            why="it stands at the root of the repository",
            remedy="go there, or write one: trackside init",
            link="configuration.md",
            reason_code="not_configured",
        )
    return load_file(path)


def model_of(config: Config, name: str | None) -> Model:
    """The named model, or the only one. Raises ConfigError."""
    if name is None and len(config.models) == 1:
        return config.models[0]
    found = config.model(name or "")
    if found is None:
        known = ", ".join(model.name for model in config.models)
        raise ConfigError(f"{config.file} has no model {name!r}" if name else "which model?", remedy=f"one of: {known}")
    return found


def check(context: Context, path: Path) -> int:
    if not path.is_file():
        raise ConfigError(f"{path} does not exist", remedy="trackside init")
    config = load_file(path)
    names = ", ".join(f"{model.name} ({len(model.metrics)} metrics)" for model in config.models)
    context.say(f"{path}: valid; models: {names}")
    return 0


def schema(context: Context, kind: str) -> int:
    from trackside.config.raw import json_schema
    from trackside.documents import (
        admission,
        image,
        lineage,
        plan,
        profile,
        proposal,
        release,
        report,
        reproduction,
        result,
        run,
        verdict,
    )
    from trackside.documents.codec import Document
    from trackside.documents.codec import schema as document_schema

    kinds: dict[str, type[Document]] = {
        "run": run.Run,
        "plan": plan.Plan,
        "report": report.Report,
        "result": result.Result,
        "admission": admission.Admission,
        "release": release.Release,
        "image": image.Image,
        "verdict": verdict.Verdict,
        "proposal": proposal.Proposal,
        "drift-profile": profile.Profile,
        "lineage": lineage.Lineage,
        "reproduction": reproduction.Reproduction,
        "restoration": reproduction.Restoration,
    }
    context.say(json.dumps(json_schema() if kind == "config" else document_schema(kinds[kind]), indent=2))
    return 0


def train(context: Context, root: Path, name: str | None, assignments: list[str], *, out: Path | None) -> int:
    from trackside.documents.codec import dump
    from trackside.runs import known_runs
    from trackside.train.hardware import load_nvml
    from trackside.train.job import TrainPorts
    from trackside.train.local import train_local

    root = root.resolve()
    config = config_of(root)
    model = model_of(config, name)
    stream = sys.stderr if context.json else context.out

    def say(text: str) -> None:
        print(text, file=stream, flush=True)

    ports = TrainPorts(processes=Processes(context.env), commands=context.commands, say=say, nvml=load_nvml)
    earlier = [run for run in known_runs(context, root, model.name) if run.status == "succeeded" and not run.experiment]
    run, path = train_local(
        root,
        config,
        model.name,
        ports,
        overrides=_overrides(assignments),
        baseline=earlier[0] if earlier else None,
        out=out,
    )
    if context.json:
        context.say(dump(run).decode())
    else:
        metrics = ", ".join(f"{metric.name} {metric.value}" for metric in run.metrics)
        say(f"run {run.id}: {run.status}; {metrics}\nrecorded in {path}")
    return 0


def _overrides(assignments: list[str]) -> dict[str, object]:
    """`NAME=VALUE` with YAML values, as `dvc exp run -S` reads them."""
    import yaml

    made: dict[str, object] = {}
    for one in assignments:
        name, equals, text = one.partition("=")
        if not equals or not name:
            raise ConfigError(f"{one!r} is not NAME=VALUE", remedy="-S train.learning_rate=0.05")
        made[name] = yaml.safe_load(text)
    return made


def report(
    context: Context,
    root: Path,
    baseline: str,
    current: str,
    *,
    model: str | None,
    form: str,
    out: Path | None,
    fail: bool,
) -> int:
    """Each side is a run document, a commit (by what a run recorded for it, else by what git tracks) or a run id.

    Without `current`: the work tree, and the run that wrote it where its `dvc.lock` is a recorded one.
    """
    from trackside.report.local import report_between, write
    from trackside.runs import known_runs

    config = config_of(root)
    chosen = model_of(config, model)
    processes = Processes(context.env)
    runs = known_runs(context, root, chosen.name)
    now = _side(root, runs, current, processes) if current else _work_tree(root, runs)
    before = _side(root, _compared_first(runs, now), baseline, processes)
    made = report_between(root, before, now, model=chosen, config=config, processes=processes)
    text = write(made, form, config=config)
    if out is not None:
        _write(out, text)
        context.say(f"{out}: {made.headline}")
    else:
        context.say(text)
    if fail and made.gate == "failed":
        raise GateFailed(made.headline, reason_code=made.reason_code)
    return 0


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error.strerror}", remedy="--out a file in a folder that exists"
        ) from error


def _side(root: Path, runs: list[Run], name: str, processes: Processes) -> Run | str:
    """A run, or the revision itself where no run is recorded for it."""
    from trackside.runs import run_file, run_named

    if found := run_file(name):
        return found
    words: list[str | Path] = [
        "git",
        "-C",
        root,
        "rev-parse",
        "--verify",
        "--quiet",
        "--end-of-options",
        f"{name}^{{commit}}",
    ]
    commit = processes.run(words, check=False).text.strip()
    if not commit:
        return run_named(runs, name) or name
    answers = [run for run in runs if run.status == "succeeded" and not run.experiment]
    clean = [run for run in answers if not run.source.dirty]
    exact = [run for run in clean if run.source.commit == commit]
    found = next(iter(exact or [run for run in clean if run.source.head_commit == commit]), None)
    return next((run for run in answers if found and run.input_digest == found.input_digest), name)


def _compared_first(runs: list[Run], current: Run | str) -> list[Run]:
    """The run that the current one was compared with row by row goes before others of the same inputs."""
    known = current.comparison.baseline_run if isinstance(current, Run) and current.comparison else ""
    return sorted(runs, key=lambda run: run.id != known)


def _work_tree(root: Path, runs: list[Run]) -> Run | str:
    lock = root / "dvc.lock"
    text = lock.read_text(encoding="utf-8", errors="replace") if lock.is_file() else ""
    return next((run for run in runs if run.status == "succeeded" and text and run.restore.dvc_lock == text), "")
