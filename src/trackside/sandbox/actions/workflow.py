"""A workflow file as data: its triggers, its jobs in order, what their tokens may do, their matrices. Pure."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from typing import Any

import yaml

from trackside.sandbox.actions.expressions import value
from trackside.sandbox.actions.values import ExpressionError

Doc = dict[str, Any]

MAX_MATRIX = 256
_SCOPES = (
    "actions",
    "attestations",
    "checks",
    "contents",
    "deployments",
    "discussions",
    "id-token",
    "issues",
    "models",
    "packages",
    "pages",
    "pull-requests",
    "security-events",
    "statuses",
)


class _Loader(yaml.SafeLoader):
    """YAML 1.2's core schema: `on` and `yes` stay text, so do dates and 12:30:45."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?(?:0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("merge", r"<<", "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first))


def parse(text: str) -> Doc:
    """The file as data, its triggers readable; its jobs are not looked at. Raises ValueError."""
    try:
        loaded = yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(f"no YAML: {error}") from None
    if not isinstance(loaded, dict) or not loaded.get("on"):
        raise ValueError("a workflow needs `on` and `jobs`")
    triggers(loaded)
    return loaded


def check(workflow: Doc) -> None:
    """Raises ValueError for jobs that cannot be run."""
    jobs = workflow.get("jobs")
    if not isinstance(jobs, dict) or not jobs:
        raise ValueError("a workflow needs `jobs`")
    for key, job in jobs.items():
        _check_job(str(key), job)
    order(jobs)


def _check_job(key: str, job: Any) -> None:
    if not re.fullmatch(r"[A-Za-z_][\w-]*", key, re.ASCII):
        raise ValueError(f"`{key}` is no name for a job")
    if not isinstance(job, dict):
        raise ValueError(f"job `{key}` is no mapping")
    if "uses" in job:
        raise ValueError(f"job `{key}` calls a reusable workflow, which the sandbox does not run")
    for name in ("container", "services"):
        if job.get(name):
            raise ValueError(f"job `{key}` asks for `{name}`; the sandbox runs jobs on the host only")
    steps = job.get("steps")
    if not isinstance(steps, list) or not steps or not all(isinstance(step, dict) for step in steps):
        raise ValueError(f"job `{key}` needs a list of `steps`")
    if "runs-on" not in job:
        raise ValueError(f"job `{key}` needs `runs-on`")


def triggers(workflow: Doc) -> dict[str, Doc]:
    """Event name → its filters; for `schedule` the cron lines under `cron`. Raises ValueError."""
    on = workflow["on"]
    if isinstance(on, str):
        return {on: {}}
    if isinstance(on, list):
        return {str(name): {} for name in on}
    if not isinstance(on, dict):
        raise ValueError("`on` names events")
    found = {str(name): filters if isinstance(filters, dict) else {} for name, filters in on.items()}
    if "schedule" in on:
        rows = on["schedule"] if isinstance(on["schedule"], list) else []
        found["schedule"] = {"cron": [str(row["cron"]) for row in rows if isinstance(row, dict) and "cron" in row]}
    return found


def permissions(workflow: Doc, job: Doc) -> dict[str, str]:
    """What a job's token may do: the job's own block, else the workflow's, else reading contents and packages."""
    granted = job.get("permissions", workflow.get("permissions"))
    if granted is None and "permissions" not in {**workflow, **job}:
        return {"contents": "read", "packages": "read", "metadata": "read"}
    if isinstance(granted, str):
        level = {"read-all": "read", "write-all": "write"}.get(granted)
        return {**dict.fromkeys(_SCOPES, level), "metadata": "read"} if level else {"metadata": "read"}
    return {str(name): str(level) for name, level in (granted or {}).items()} | {"metadata": "read"}


def read_only(granted: Mapping[str, str]) -> dict[str, str]:
    """What is left of permissions for the `pull_request` run of a fork."""
    return {name: "read" if level == "write" else level for name, level in granted.items() if name != "id-token"}


def order(jobs: Doc) -> list[str]:
    """Job keys, each after what it needs. Raises ValueError for a cycle or an unknown name."""
    done: list[str] = []
    waiting = {key: set(needs(job)) for key, job in jobs.items()}
    while waiting:
        ready = [key for key, missing in waiting.items() if missing <= set(done)]
        if not ready:
            raise ValueError(f"jobs {sorted(waiting)} need each other or a job that does not exist")
        done += ready
        for key in ready:
            del waiting[key]
    return done


def needs(job: Doc) -> list[str]:
    """Keys of the jobs that a job names under `needs`."""
    found = job.get("needs") or []
    return [str(one) for one in found] if isinstance(found, list) else [str(found)]


def ancestors(jobs: Doc, key: str) -> list[str]:
    """Keys of all jobs before one, direct or not."""
    found: list[str] = []
    waiting = needs(jobs[key])
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.append(one)
            waiting += needs(jobs[one])
    return found


def resolved(found: Any, contexts: Mapping[str, Any]) -> Any:
    """A piece of YAML with every expression in it evaluated. Raises ExpressionError."""
    if isinstance(found, dict):
        return {str(key): resolved(part, contexts) for key, part in found.items()}
    if isinstance(found, list):
        return [resolved(part, contexts) for part in found]
    return value(found, contexts)


def labels(job: Doc, contexts: Mapping[str, Any]) -> list[str]:
    """What `runs-on` asks for; a runner group counts as no label. Raises ExpressionError."""
    found = resolved(job["runs-on"], contexts)
    found = found.get("labels", []) if isinstance(found, dict) else found
    found = found if isinstance(found, list) else [found]
    if not found or not all(isinstance(one, str) and one for one in found):
        raise ExpressionError(f"runs-on has no labels: {found!r}")
    return found


def matrix(job: Doc, contexts: Mapping[str, Any]) -> list[Doc] | None:
    """The combinations of `strategy.matrix`; None without a matrix. Raises ExpressionError."""
    strategy = job.get("strategy") or {}
    if "matrix" not in strategy:
        return None
    given = resolved(strategy["matrix"], contexts)
    if not isinstance(given, dict):
        raise ExpressionError("strategy.matrix is no mapping")
    include, exclude = given.get("include") or [], given.get("exclude") or []
    vectors = {name: part for name, part in given.items() if name not in ("include", "exclude")}
    for name, part in vectors.items():
        if not isinstance(part, list) or not part:
            raise ExpressionError(f"matrix vector '{name}' does not contain any values")
    made = [dict(zip(vectors, row, strict=True)) for row in itertools.product(*vectors.values())] if vectors else []
    kept = [one for one in made if not any(all(one.get(k) == v for k, v in row.items()) for row in exclude)]
    combinations = _included(kept, include, set(vectors))
    if not combinations:
        raise ExpressionError("strategy.matrix has no combination")
    if len(combinations) > MAX_MATRIX:
        raise ExpressionError(f"strategy.matrix has {len(combinations)} combinations; GitHub takes {MAX_MATRIX}")
    return combinations


def _included(made: list[Doc], include: list[Doc], names: set[str]) -> list[Doc]:
    """Each entry of `include` goes to every combination whose own values it leaves alone, else it is one more."""
    extended, added = [dict(one) for one in made], []
    for row in include:
        fits = [
            place
            for place, one in enumerate(made)
            if all(one[name] == part for name, part in row.items() if name in names)
        ]
        if fits and names:
            for place in fits:
                extended[place].update(row)
        else:
            added.append(dict(row))
    return extended + added
