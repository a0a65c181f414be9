"""Runs the worker that resolves pipelines with DVC, and turns its answer into typed values."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trackside
from trackside.errors import ConfigError, ToolError
from trackside.plan.overrides import by_file
from trackside.system.process import Processes

TIMEOUT_SECONDS = 120.0
LINK = "pipelines.md"


@dataclass(frozen=True, kw_only=True)
class RawStage:
    """A stage as DVC resolved it; paths of `deps`, `outs`, `metrics` and `plots` are relative to `wdir`.

    `params` maps params file → dotted name → value; `variables` the same for what templating used.
    `frozen` holds the recorded outputs of a frozen stage, else None.
    """

    name: str
    file: str
    wdir: str
    cmd: tuple[str, ...]
    deps: tuple[str, ...]
    outs: tuple[str, ...]
    metrics: tuple[str, ...]
    plots: tuple[str, ...]
    params: Mapping[str, Mapping[str, Any]]
    missing_params: tuple[str, ...]
    variables: Mapping[str, Mapping[str, Any]]
    frozen: tuple[Any, ...] | None
    always_changed: bool


@dataclass(frozen=True, kw_only=True)
class Tracked:
    """An output of a `.dvc` file: `path` from the root; `out` and `deps` as the file has them."""

    path: str
    out: Mapping[str, Any]
    deps: tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class RawPipeline:
    """All stages and all data tracked by `.dvc` files of one tree."""

    stages: tuple[RawStage, ...]
    tracked: tuple[Tracked, ...]


@dataclass(frozen=True, kw_only=True)
class Job:
    """One tree to resolve, with parameters overridden (`name` or `file:name` → value)."""

    commit: str
    overrides: Mapping[str, Any]


def resolve(git_dir: Path, jobs: Sequence[Job], *, processes: Processes) -> tuple[RawPipeline | ConfigError, ...]:
    """Resolve trees in one child process; a tree that is wrong gives its error instead.

    Raises:
        ConfigError: an override is malformed, or a pipeline needs more time or memory than is given.
        ToolError: DVC is not installed, or the child failed otherwise.
    """
    request = {
        "git_dir": str(git_dir.resolve()),
        "env": {"PATH": processes.env.get("PATH", "")},
        "jobs": [{"commit": job.commit, "overrides": by_file(job.overrides)} for job in jobs],
    }
    env = {
        "PATH": processes.env.get("PATH", ""),
        "HOME": "/nonexistent",
        "PYTHONPATH": str(Path(trackside.__file__).parents[1]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "DVC_NO_ANALYTICS": "1",
    }
    try:
        done = processes.run(
            [sys.executable, "-P", "-m", "trackside.plan.worker"],
            env=env,
            cwd=Path("/"),  # nothing of a checkout may be found by name
            input=json.dumps(request).encode(),
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except ToolError as error:
        if error.reason_code == "tool_timed_out":
            raise _too_large() from error
        raise
    if done.returncode != 0:
        log = done.stderr.decode("utf-8", "replace")
        if done.returncode < 0 or "MemoryError" in log:
            raise _too_large()
        if "No module named 'dvc'" in log:
            raise ToolError(
                "DVC is not installed",
                remedy="in a clone of Trackside: pip install '.[train]'",
                reason_code="tool_missing",
            )
        raise ToolError("the pipeline could not be resolved", log=log[-8000:])
    answers = json.loads(done.stdout)
    if len(answers) != len(jobs):
        raise _too_large()
    return tuple(_typed(answer) for answer in answers)


def _too_large() -> ConfigError:
    return ConfigError(
        "the pipeline takes too long or too much memory to resolve",
        why="dvc.yaml or a params file multiplies its entries, for example by matrix, foreach or aliases",
        remedy="split the pipeline, or generate fewer stages",
        link=LINK,
        reason_code="pipeline_too_large",
    )


def _typed(answer: Mapping[str, Any]) -> RawPipeline | ConfigError:
    if "error" in answer:
        made = ConfigError(answer["error"], remedy=answer["remedy"], link=LINK, reason_code=answer["reason_code"])
        made.file, made.line, made.column = answer["file"], answer["line"], answer["column"]
        return made
    raw = answer["pipeline"]
    return RawPipeline(
        stages=tuple(_stage(stage) for stage in raw["stages"]),
        tracked=tuple(Tracked(path=t["path"], out=t["out"], deps=tuple(t["deps"])) for t in raw["tracked"]),
    )


def _stage(raw: Mapping[str, Any]) -> RawStage:
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in raw.items()}
    return RawStage(**fields)
